//! Mode, owner, group, attributes and SELinux context of files, as `AnsibleModule.set_fs_attributes_if_different` sets them.
//!
//! ```ignore
//! let wanted = Wanted::of(context, &arguments, None);             // load_file_common_arguments(params)
//! let changed = wanted.apply(context, changed, Some(&mut diff))?; // set_fs_attributes_if_different(...)
//! ```

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::arguments::Arguments;
use crate::context::Context;
use crate::invocation::Failure;
use crate::names;
use crate::process::{self, Command};
use crate::python;
use crate::selinux;

/// What the attributes of a file are to be.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The file, its variables and `~` expanded.
    pub path: String,
    /// The mode: a number, a text with an octal number, or symbols as for chmod.
    pub mode: Value,
    /// The owner: a name or a number.
    pub owner: Option<String>,
    /// The group: a name or a number.
    pub group: Option<String>,
    /// The parts of the SELinux context.
    pub secontext: Vec<Option<String>>,
    /// The attributes as for chattr.
    pub attributes: Option<String>,
}

impl Wanted {
    /// From the arguments of a module, for another path or for its `path` or `dest`. With `follow` the path is that of what
    /// a link leads to.
    pub fn of(context: &Context<'_>, arguments: &Arguments, path: Option<&str>) -> Wanted {
        let Some(path) = path
            .or_else(|| arguments.text("path"))
            .or_else(|| arguments.text("dest"))
        else {
            return Wanted::default();
        };
        let mut path = python::expand_path(context, path);
        if arguments.flag("follow") && context.path(&path).is_symlink() {
            path = real_path(context, &path);
        }
        let part = |name: &str| arguments.text(name).map(str::to_owned);
        let mut secontext = vec![part("seuser"), part("serole"), part("setype")];
        if selinux::is_mls() {
            secontext.push(part("selevel"));
        }
        if secontext.iter().flatten().any(|part| part == "_default") {
            let usual = selinux::default_context(context, &path);
            for (part, usual) in secontext.iter_mut().zip(usual) {
                if part.as_deref() == Some("_default") {
                    *part = usual;
                }
            }
        }
        Wanted {
            path,
            mode: arguments.get("mode").clone(),
            owner: part("owner"),
            group: part("group"),
            secontext,
            attributes: part("attributes"),
        }
    }

    /// The same for another path.
    #[must_use]
    pub fn at(&self, path: &str) -> Wanted {
        Wanted {
            path: path.to_owned(),
            ..self.clone()
        }
    }

    /// Brings the file to it. Gives whether something changed, by this or (`changed`) before; in check mode whether it
    /// would. What changes goes into `before` and `after` of the diff.
    pub fn apply(
        &self,
        context: &mut Context<'_>,
        changed: bool,
        mut diff: Option<&mut Map<String, Value>>,
    ) -> Result<bool, Failure> {
        let changed = selinux::set(
            context,
            &self.path,
            &self.secontext,
            changed,
            diff.as_deref_mut(),
        )?;
        let changed = self.set_owner(context, changed, diff.as_deref_mut())?;
        let changed = self.set_group(context, changed, diff.as_deref_mut())?;
        let changed = set_mode(
            context,
            &self.path,
            &self.mode,
            changed,
            diff.as_deref_mut(),
        )?;
        set_attributes(
            context,
            &self.path,
            self.attributes.as_deref(),
            changed,
            diff,
        )
    }

    fn set_owner(
        &self,
        context: &Context<'_>,
        changed: bool,
        diff: Option<&mut Map<String, Value>>,
    ) -> Result<bool, Failure> {
        let Some(owner) = &self.owner else {
            return Ok(changed);
        };
        let path = context.path(&self.path);
        if absent_in_check_mode(context, &path) {
            return Ok(true);
        }
        let before = status(&path)?.uid();
        let uid = match number(owner) {
            Some(uid) => uid,
            None => i64::from(user_id(owner).ok_or_else(|| {
                Failure::new(format!("chown failed: failed to look up user {owner}"))
                    .with("path", self.path.as_str())
            })?),
        };
        if i64::from(before) == uid {
            return Ok(changed);
        }
        note(diff, "owner", before.into(), uid.into());
        if context.settings.check {
            return Ok(true);
        }
        std::os::unix::fs::lchown(&path, within_ids("uid", uid)?, None).map_err(|error| {
            Failure::new("chown failed")
                .with("path", self.path.as_str())
                .because(python::os_error_at(&error, &path))
        })?;
        Ok(true)
    }

    fn set_group(
        &self,
        context: &Context<'_>,
        changed: bool,
        diff: Option<&mut Map<String, Value>>,
    ) -> Result<bool, Failure> {
        let Some(group) = &self.group else {
            return Ok(changed);
        };
        let path = context.path(&self.path);
        if absent_in_check_mode(context, &path) {
            return Ok(true);
        }
        let before = status(&path)?.gid();
        let gid = match number(group) {
            Some(gid) => gid,
            None => i64::from(group_id(group).ok_or_else(|| {
                Failure::new(format!("chgrp failed: failed to look up group {group}"))
                    .with("path", self.path.as_str())
            })?),
        };
        if i64::from(before) == gid {
            return Ok(changed);
        }
        note(diff, "group", before.into(), gid.into());
        if context.settings.check {
            return Ok(true);
        }
        std::os::unix::fs::lchown(&path, None, within_ids("gid", gid)?)
            .map_err(|_| Failure::new("chgrp failed").with("path", self.path.as_str()))?;
        Ok(true)
    }
}

/// The path a path leads to when all links are followed (`os.path.realpath`): parts that do not exist stay.
pub fn real_path(context: &Context<'_>, path: &str) -> String {
    let whole = context.path(path);
    if let Ok(real) = std::fs::canonicalize(&whole) {
        return real.to_string_lossy().into_owned();
    }
    // As far as it exists; what does not exist follows as it is written.
    let mut pending: Vec<String> = python::normalize_keeping_dots(&whole.to_string_lossy());
    pending.reverse();
    let mut done = if whole.is_absolute() {
        std::path::PathBuf::from("/")
    } else {
        std::env::current_dir().unwrap_or_default()
    };
    let mut links = 0;
    while let Some(part) = pending.pop() {
        if part == ".." {
            done.pop();
            continue;
        }
        let candidate = done.join(&part);
        match std::fs::read_link(&candidate) {
            Ok(target) if links < 40 => {
                links += 1;
                if target.is_absolute() {
                    done = "/".into();
                }
                let mut parts = python::normalize_keeping_dots(&target.to_string_lossy());
                parts.reverse();
                pending.extend(parts);
            }
            _ => done = candidate,
        }
    }
    done.to_string_lossy().into_owned()
}

/// The id of a user by name.
pub fn user_id(name: &str) -> Option<u32> {
    names::user(name).map(|user| user.uid.as_raw())
}

/// The id of a group by name.
pub fn group_id(name: &str) -> Option<u32> {
    names::group(name).map(|group| group.gid.as_raw())
}

/// The name of a user by id, if it has one.
pub fn user_name(uid: u32) -> Option<String> {
    names::user_of(uid.into()).map(|user| user.name)
}

/// The name of a group by id, if it has one.
pub fn group_name(gid: u32) -> Option<String> {
    names::group_of(gid.into()).map(|group| group.name)
}

/// A number that is to be an id of a user or a group; -1 leaves it as it is. The error is Python's.
pub(crate) fn within_ids(what: &str, number: i64) -> Result<Option<u32>, Failure> {
    if number == -1 {
        return Ok(None);
    }
    u32::try_from(number)
        .map(Some)
        // What is too large counts as too small there too.
        .map_err(|_| Failure::unhandled(format!("{what} is less than minimum")))
}

fn number(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

fn status(path: &Path) -> Result<std::fs::Metadata, Failure> {
    std::fs::symlink_metadata(path)
        .map_err(|error| Failure::unhandled(python::os_error_at(&error, path)))
}

/// Whether nothing is there and nothing may be made: then everything would change.
pub fn absent_in_check_mode(context: &Context<'_>, path: &Path) -> bool {
    context.settings.check && !path.exists()
}

/// Writes down a change in `before` and `after` of a diff.
pub fn note(diff: Option<&mut Map<String, Value>>, key: &str, before: Value, after: Value) {
    let Some(diff) = diff else {
        return;
    };
    for (side, value) in [("before", before), ("after", after)] {
        let entry = diff.entry(side).or_insert_with(|| json!({}));
        if let Value::Object(entries) = entry {
            entries.insert(key.to_owned(), value);
        }
    }
}

/// Sets the mode of a file (`set_mode_if_different`).
pub fn set_mode(
    context: &Context<'_>,
    shown: &str,
    mode: &Value,
    changed: bool,
    diff: Option<&mut Map<String, Value>>,
) -> Result<bool, Failure> {
    if mode.is_null() {
        return Ok(changed);
    }
    let path = context.path(shown);
    if absent_in_check_mode(context, &path) {
        return Ok(true);
    }
    let meta = status(&path)?;
    let mode = resolve_mode(context, meta.mode(), meta.is_dir(), mode).map_err(|details| {
        Failure::new("mode must be in octal or symbolic form")
            .with("path", shown)
            .with("details", details)
    })?;
    let before = meta.mode() & 0o7777;
    if before == mode {
        return Ok(changed);
    }
    note(diff, "mode", octal(before).into(), octal(mode).into());
    if context.settings.check {
        return Ok(true);
    }
    // Linux has no modes of links; the mode of what a link leads to is not to be touched.
    if !meta.file_type().is_symlink() {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))
            .map_err(|error| Failure::unhandled(python::os_error_at(&error, &path)))?;
    }
    Ok(changed || status(&path)?.mode() & 0o7777 != before)
}

/// A mode as results show it: `0644`.
pub fn octal(mode: u32) -> String {
    format!("0{mode:03o}")
}

/// The mode a `mode` argument means for a file that has a mode and is a directory or not: the system takes the permission bits of it. The error says what is wrong.
pub fn resolve_mode(
    context: &Context<'_>,
    current: u32,
    is_directory: bool,
    mode: &Value,
) -> Result<u32, String> {
    let text = match mode {
        Value::Number(number) if number.is_i64() => {
            return Ok(number.as_i64().unwrap_or(0) as u32);
        }
        Value::Bool(flag) => return Ok(u32::from(*flag)),
        Value::String(text) => text,
        other => {
            return Err(format!(
                "'{}' object has no attribute 'split'",
                python::type_name(other)
            ));
        }
    };
    let plain = text.trim().replace('_', "");
    let digits = plain
        .strip_prefix("0o")
        .or_else(|| plain.strip_prefix("0O"))
        .unwrap_or(&plain);
    if let Ok(number) = i64::from_str_radix(digits, 8) {
        return Ok(number as u32);
    }
    symbolic(context, current, is_directory, text)
}

/// A mode written in symbols: `u=rwX,g-w`.
fn symbolic(
    context: &Context<'_>,
    current: u32,
    is_directory: bool,
    symbols: &str,
) -> Result<u32, String> {
    let mut mode = current & 0o7777;
    let is_operator = |c: char| matches!(c, '+' | '=' | '-');
    for part in symbols.split(',') {
        let bad = || format!("bad symbolic permission for mode: {part}");
        let end = part.find(is_operator).unwrap_or(part.len());
        let mut users = &part[..end];
        let by_umask = users.is_empty();
        if users.is_empty() || users == "a" {
            users = "ugo";
        }
        if !users.chars().all(|c| "ugo".contains(c)) {
            return Err(bad());
        }
        let mut rest = &part[end..];
        while let Some(operator) = rest.chars().next() {
            let after = &rest[1..];
            let end = after.find(is_operator).unwrap_or(after.len());
            let permissions = &after[..end];
            rest = &after[end..];
            if !permissions.chars().all(|c| "rwxXstugo".contains(c)) {
                return Err(bad());
            }
            for user in users.chars() {
                let shift = match user {
                    'u' => 6,
                    'g' => 3,
                    _ => 0,
                };
                let may = if by_umask {
                    !context.umask() & 0o7777
                } else {
                    0o7777
                };
                let mut bits = 0;
                for permission in permissions.chars() {
                    bits |= match permission {
                        'r' => (0o4 << shift) & may,
                        'w' => (0o2 << shift) & may,
                        'x' => (0o1 << shift) & may,
                        'X' if is_directory || mode & 0o111 != 0 => 0o1 << shift,
                        's' => match user {
                            'u' => 0o4000,
                            'g' => 0o2000,
                            _ => 0,
                        },
                        't' if user == 'o' => 0o1000,
                        'u' => ((mode >> 6) & 0o7) << shift,
                        'g' => ((mode >> 3) & 0o7) << shift,
                        'o' => (mode & 0o7) << shift,
                        _ => 0,
                    };
                }
                mode = match operator {
                    '=' => {
                        let mask = (0o7 << shift)
                            | match user {
                                'u' => 0o4000,
                                'g' => 0o2000,
                                _ => 0o1000,
                            };
                        (mode & !mask) | bits
                    }
                    '+' => mode | bits,
                    _ => mode & !bits,
                };
            }
        }
    }
    Ok(mode)
}

/// Sets the attributes of a file by chattr (`set_attributes_if_different`).
pub fn set_attributes(
    context: &Context<'_>,
    shown: &str,
    attributes: Option<&str>,
    changed: bool,
    diff: Option<&mut Map<String, Value>>,
) -> Result<bool, Failure> {
    let Some(attributes) = attributes else {
        return Ok(changed);
    };
    let path = context.path(shown);
    if absent_in_check_mode(context, &path) {
        return Ok(true);
    }
    let before = flags_of(context, &path, false);
    let existing = before.as_ref().map(|known| known.flags.as_str());
    let (sign, attributes) = match attributes.chars().next() {
        Some(sign @ ('-' | '+')) => (sign, &attributes[1..]),
        _ => ('=', attributes),
    };
    if attributes.is_empty() || (existing.unwrap_or("") == attributes && sign != '-') {
        return Ok(changed);
    }
    let Some(program) = process::find(context, "chattr", &[]) else {
        return Ok(changed);
    };
    note(
        diff,
        "attributes",
        existing.map_or(Value::Null, Value::from),
        format!("{sign}{attributes}").into(),
    );
    if !context.settings.check {
        let done = Command::new([
            program,
            format!("{sign}{attributes}"),
            path.to_string_lossy().into_owned(),
        ])
        .literal()
        .run(context)?;
        if !done.success() || !done.stderr.is_empty() {
            return Err(Failure::new("chattr failed").with("path", shown).with(
                "details",
                format!(
                    "Error while setting attributes: {}{}",
                    done.out(),
                    done.err()
                ),
            ));
        }
    }
    Ok(true)
}

/// The attributes of a file as lsattr tells them.
#[derive(Clone, Debug, Default)]
pub struct FileFlags {
    /// The version of the file, if it was asked for.
    pub version: Option<String>,
    /// The letters.
    pub flags: String,
}

impl FileFlags {
    /// The letters in words: `extents`, `immutable`.
    pub fn words(&self) -> Vec<&'static str> {
        self.flags
            .chars()
            .filter_map(|letter| {
                Some(match letter {
                    'A' => "noatime",
                    'a' => "append",
                    'c' => "compressed",
                    'C' => "nocow",
                    'd' => "nodump",
                    'D' => "dirsync",
                    'e' => "extents",
                    'E' => "encrypted",
                    'h' => "blocksize",
                    'i' => "immutable",
                    'I' => "indexed",
                    'j' => "journalled",
                    'N' => "inline",
                    's' => "zero",
                    'S' => "synchronous",
                    't' => "notail",
                    'T' => "blockroot",
                    'u' => "undelete",
                    'X' => "compressedraw",
                    'Z' => "compresseddirty",
                    _ => return None,
                })
            })
            .collect()
    }
}

/// The attributes of a file (`get_file_attributes`); `None` if they cannot be told.
pub fn flags_of(context: &Context<'_>, path: &Path, version: bool) -> Option<FileFlags> {
    let program = process::find(context, "lsattr", &[])?;
    let done = Command::new([
        program,
        if version { "-vd" } else { "-d" }.to_owned(),
        path.to_string_lossy().into_owned(),
    ])
    .literal()
    .run(context)
    .ok()?;
    if !done.success() {
        return None;
    }
    let out = done.out();
    let mut words = out.split_whitespace();
    let told = if version {
        Some(words.next()?.to_owned())
    } else {
        None
    };
    Some(FileFlags {
        version: told,
        flags: words.next()?.replace('-', ""),
    })
}

/// What results tell of the file they are about (`add_path_info`): added to a result that has a `path` or a `dest` that
/// exists.
pub(crate) fn add_path_information(context: &Context<'_>, report: &mut Map<String, Value>) {
    let Some(shown) = report
        .get("path")
        .or_else(|| report.get("dest"))
        .and_then(Value::as_str)
        .map(str::to_owned)
    else {
        return;
    };
    let path = context.path(&shown);
    if !path.exists() {
        return;
    }
    // The owner is asked for with `~` and variables expanded, as everywhere else.
    let Ok(meta) = std::fs::symlink_metadata(&path) else {
        return;
    };
    let (uid, gid) = (meta.uid(), meta.gid());
    let mut add = |key: &str, value: Value| {
        report.insert(key.to_owned(), value);
    };
    add("uid", uid.into());
    add("gid", gid.into());
    add(
        "owner",
        user_name(uid).unwrap_or_else(|| uid.to_string()).into(),
    );
    add(
        "group",
        group_name(gid).unwrap_or_else(|| gid.to_string()).into(),
    );
    add("mode", octal(meta.mode() & 0o7777).into());
    let state = if meta.file_type().is_symlink() {
        "link"
    } else if meta.is_dir() {
        "directory"
    } else if meta.nlink() > 1 {
        "hard"
    } else {
        "file"
    };
    add("state", state.into());
    if selinux::is_enabled() {
        let known: Vec<String> = selinux::context_of(&path).into_iter().flatten().collect();
        add("secontext", known.join(":").into());
    }
    add("size", meta.size().into());
}
