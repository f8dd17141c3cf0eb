//! `unarchive`: archives unpacked, by the programs `unzip` and `tar`.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::LazyLock;

use nix::unistd::{AccessFlags, access};
use serde_json::{Value, json};

use crate::arguments::{Arguments, Kind, Spec, boolean, integer, list, path};
use crate::attributes::{Wanted, group_id, group_name, resolve_mode, user_id, user_name};
use crate::context::Context;
use crate::glob;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::process::{self, Command, Finished};
use crate::python;
use crate::registry::Module;
use crate::times;

pub(crate) const MODULE: Module = Module {
    name: "unarchive",
    act,
};

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("src", path().required())
        .with("dest", path().required())
        .with("remote_src", boolean().default(false))
        .with("creates", path())
        .with("list_files", boolean().default(false))
        .with("keep_newer", boolean().default(false))
        .with("exclude", list(Kind::Text).default(json!([])))
        .with("include", list(Kind::Text).default(json!([])))
        .with("extra_opts", list(Kind::Text).default(json!([])))
        .with("validate_certs", boolean().default(true))
        .with("io_buffer_size", integer().default(64 * 1024))
        .with("copy", boolean().default(true))
        .with("decrypt", boolean().default(true))
        .mutually_exclusive(&["include", "exclude"])
        .file_common()
        .supports_check_mode()
});

/// A path that is not relative, decided on its text.
fn absolute(context: &Context<'_>, path: &str) -> String {
    if path.starts_with('/') {
        return python::normalize(path);
    }
    let base = if context.settings.directory.is_empty() {
        std::env::current_dir()
            .map(|directory| directory.to_string_lossy().into_owned())
            .unwrap_or_default()
    } else {
        context.settings.directory.clone()
    };
    python::normalize(&python::join(&base, path))
}

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let mut src = arguments.required("src").to_owned();
    let dest = arguments.required("dest");
    let place = absolute(context, dest);
    if !dest.starts_with('/') {
        context.warn(format!(
            "Relative destination path '{dest}' was resolved to absolute path '{place}'."
        ));
    }
    let wanted = Wanted::of(context, &arguments, None);
    if !context.path(&src).exists() {
        if !arguments.flag("remote_src") {
            return Err(Failure::new(format!("Source '{src}' failed to transfer")));
        }
        if !src.contains("://") {
            return Err(Failure::new(format!("Source '{src}' does not exist")));
        }
        src = crate::url::fetch_file(context, &arguments, &src)?;
    }
    if access(context.path(&src).as_path(), AccessFlags::R_OK).is_err() {
        return Err(Failure::new(format!("Source '{src}' not readable")));
    }
    let src = absolute(context, &src);
    match std::fs::metadata(&src) {
        Ok(meta) if meta.len() == 0 => {
            return Err(Failure::new(format!(
                "Invalid archive '{src}', the file is 0 bytes"
            )));
        }
        Ok(_) => {}
        Err(error) => {
            return Err(Failure::new(format!(
                "Source '{src}' not readable, {}",
                python::os_error_at_text(&error, &src)
            )));
        }
    }
    if !Path::new(&place).is_dir() {
        return Err(Failure::new(format!(
            "Destination '{dest}' is not a directory"
        )));
    }
    let archive = Archive {
        src: &src,
        dest: &place,
        wanted: &wanted,
        arguments: &arguments,
    };
    let handler = archive.pick(context)?;
    let mut report = Report::from_iter([
        ("handler".to_owned(), json!(handler.name)),
        ("dest".to_owned(), json!(dest)),
        ("src".to_owned(), json!(src)),
    ]);
    let check = match &handler.kind {
        Means::Zip { program, info } => archive.compare_zip(context, program, info)?,
        Means::Tar { program, flag } => archive.compare_tar(context, program, flag)?,
    };
    let mut changed = !check.unarchived;
    if !context.settings.check && !check.unarchived {
        let command = match &handler.kind {
            Means::Zip { program, .. } => archive.zip_command(program, &check.excludes),
            Means::Tar { program, flag } => archive.tar_command(program, flag, "--extract"),
        };
        let done = archive.run(context, &handler, &command)?;
        report.insert(
            "extract_results".to_owned(),
            json!({"cmd": command, "rc": done.code, "out": done.out(), "err": done.err()}),
        );
        if !done.success() {
            return Err(Failure {
                message: format!("failed to unpack {src} to {dest}"),
                more: Box::new(report),
                ..Failure::default()
            });
        }
    }
    let has_diff = !check.diff.is_empty();
    if has_diff {
        report.insert("diff".to_owned(), json!({"prepared": check.diff}));
    }
    if !context.settings.check {
        let mut tops: Vec<&str> = Vec::new();
        for name in &handler.files {
            let at = python::join(&place, name);
            changed = archive.set(context, &at, changed)?;
            if let Some((top, _)) = name.split_once('/')
                && !tops.contains(&top)
            {
                tops.push(top);
            }
        }
        for top in tops {
            changed = archive.set(context, &format!("{dest}/{top}"), changed)?;
        }
    }
    report.insert("changed".to_owned(), changed.into());
    if arguments.flag("list_files") {
        report.insert("files".to_owned(), handler.files.into());
    }
    Ok(report)
}

/// What unpacks an archive.
struct Handler {
    /// Its name in results.
    name: &'static str,
    kind: Means,
    /// The names in the archive that are wanted.
    files: Vec<String>,
}

enum Means {
    /// `unzip`, and how its contents are listed.
    Zip { program: String, info: Vec<String> },
    /// `tar`, and the flag for how the archive is compressed.
    Tar { program: String, flag: &'static str },
}

/// How what is on the disk compares to the archive.
#[derive(Default)]
struct Comparison {
    unarchived: bool,
    diff: String,
    excludes: Vec<String>,
}

struct Archive<'a> {
    src: &'a str,
    dest: &'a str,
    wanted: &'a Wanted,
    arguments: &'a Arguments,
}

impl Archive<'_> {
    fn set(&self, context: &mut Context<'_>, path: &str, changed: bool) -> Result<bool, Failure> {
        self.wanted.at(path).apply(context, changed, None)
    }

    fn run(
        &self,
        context: &Context<'_>,
        handler: &Handler,
        command: &[String],
    ) -> Result<Finished, Failure> {
        match handler.kind {
            Means::Zip { .. } => Command::new(command.to_vec()).run(context),
            Means::Tar { .. } => self.tar(context, command),
        }
    }

    /// Runs tar with messages that can be read.
    fn tar(&self, context: &Context<'_>, command: &[String]) -> Result<Finished, Failure> {
        let mut command = Command::new(command.to_vec()).directory(self.dest);
        for name in ["LANG", "LC_ALL", "LC_MESSAGES", "LANGUAGE"] {
            command = command.variable(name, "C.UTF-8");
        }
        command.run(context)
    }

    /// The first of the handlers that can read the archive.
    fn pick(&self, context: &Context<'_>) -> Result<Handler, Failure> {
        let mut reasons: Vec<String> = Vec::new();
        for (name, lister) in [("ZipArchive", "zipinfo"), ("ZipZArchive", "unzip")] {
            match self.try_zip(context, name, lister)? {
                Ok(handler) => return Ok(handler),
                Err(reason) => reasons.push(reason),
            }
        }
        if context.settings.check {
            return Err(Failure::skipped(
                "remote module (unarchive) does not support check mode when using gtar",
            ));
        }
        for (name, flag) in [
            ("TgzArchive", "-z"),
            ("TarArchive", ""),
            ("TarBzipArchive", "-j"),
            ("TarXzArchive", "-J"),
            ("TarZstdArchive", "--use-compress-program=zstd"),
        ] {
            match self.try_tar(context, name, flag)? {
                Ok(handler) => return Ok(handler),
                Err(reason) => reasons.push(reason),
            }
        }
        let mut told: Vec<String> = Vec::new();
        for reason in reasons {
            if !told.contains(&reason) {
                told.push(reason);
            }
        }
        Err(Failure::new(format!(
            "Failed to find handler for \"{}\". Make sure the required command to extract the file is installed.\n{}",
            self.src,
            told.join("\n")
        )))
    }

    fn try_zip(
        &self,
        context: &Context<'_>,
        name: &'static str,
        lister: &str,
    ) -> Result<Result<Handler, String>, Failure> {
        let programs =
            ["unzip", lister].map(|program| (program, process::find(context, program, &[])));
        let missing: Vec<&str> = programs
            .iter()
            .filter(|(_, found)| found.is_none())
            .map(|(program, _)| *program)
            .collect();
        let [(_, Some(program)), (_, Some(lister))] = programs else {
            return Ok(Err(format!(
                "Unable to find required '{}' binary in the path.",
                missing.join("' or '")
            )));
        };
        let done = Command::new([program.as_str(), "-l", self.src]).run(context)?;
        if !done.success() {
            return Ok(Err(format!(
                "Command \"{program}\" could not handle archive: {}",
                done.err()
            )));
        }
        let mut info = vec![lister.clone()];
        if name == "ZipZArchive" {
            info.push("-Zl".to_owned());
            let done = Command::new(info.clone()).run(context)?;
            if !done.out().to_lowercase().contains("zipinfo") {
                return Ok(Err(format!(
                    "Command \"unzip -Z\" could not handle archive: {}",
                    done.err()
                )));
            }
        }
        let (includes, excludes) = (
            self.arguments.texts("include"),
            self.arguments.texts("exclude"),
        );
        let files = sums(self.src)?
            .into_iter()
            .map(|(name, _)| name)
            .filter(|name| {
                if includes.is_empty() {
                    !excludes.iter().any(|exclude| glob::fits(name, exclude))
                } else {
                    includes.iter().any(|include| glob::fits(name, include))
                }
            })
            .collect();
        Ok(Ok(Handler {
            name,
            kind: Means::Zip { program, info },
            files,
        }))
    }

    fn try_tar(
        &self,
        context: &Context<'_>,
        name: &'static str,
        flag: &'static str,
    ) -> Result<Result<Handler, String>, Failure> {
        let Some(program) =
            process::find(context, "gtar", &[]).or_else(|| process::find(context, "tar", &[]))
        else {
            return Ok(Err(
                "Unable to find required 'gtar' or 'tar' binary in the path".to_owned(),
            ));
        };
        let told = Command::new([program.as_str(), "--version"])
            .run(context)?
            .out();
        let kind = if told.starts_with("bsdtar") {
            "bsd"
        } else if told.starts_with("tar") && told.contains("GNU") {
            "gnu"
        } else {
            "None"
        };
        if kind != "gnu" {
            return Ok(Err(format!(
                "Command \"{program}\" detected as tar type {kind}. GNU tar required."
            )));
        }
        let done = self.tar(context, &self.tar_list_command(&program, flag))?;
        if !done.success() {
            return Ok(Err(format!(
                "Command \"{program}\" could not handle archive: Unable to list files in the archive: {}",
                done.err()
            )));
        }
        let excludes = self.tar_excludes();
        let files: Vec<String> = python::split_lines(&done.out())
            .into_iter()
            .map(|line| {
                let bytes = python::unescape(line.trim_end_matches('\n').as_bytes());
                String::from_utf8_lossy(&bytes).into_owned()
            })
            .map(|name| name.strip_prefix('/').map_or(name.clone(), str::to_owned))
            .filter(|name| !excludes.iter().any(|exclude| glob::fits(name, exclude)))
            .collect();
        if files.is_empty() {
            return Ok(Err(format!(
                "Command \"{program}\" found no files in archive. Empty archive files are not supported."
            )));
        }
        Ok(Ok(Handler {
            name,
            kind: Means::Tar { program, flag },
            files,
        }))
    }

    fn tar_excludes(&self) -> Vec<String> {
        self.arguments
            .texts("exclude")
            .iter()
            .map(|exclude| exclude.trim_end_matches('/').to_owned())
            .collect()
    }

    fn tar_start(&self, program: &str, flag: &str, action: &str) -> Vec<String> {
        let mut command = vec![
            program.to_owned(),
            action.to_owned(),
            "-C".to_owned(),
            self.dest.to_owned(),
        ];
        if !flag.is_empty() {
            command.push(flag.to_owned());
        }
        let options = self.arguments.texts("extra_opts");
        if !options.is_empty() {
            command.push("--show-transformed-names".to_owned());
            command.extend(options);
        }
        command
    }

    fn tar_end(&self, command: &mut Vec<String>) {
        command.extend(
            self.tar_excludes()
                .iter()
                .map(|exclude| format!("--exclude={exclude}")),
        );
        command.extend(["-f".to_owned(), self.src.to_owned()]);
        command.extend(self.arguments.texts("include"));
    }

    fn tar_list_command(&self, program: &str, flag: &str) -> Vec<String> {
        let mut command = self.tar_start(program, flag, "--list");
        self.tar_end(&mut command);
        command
    }

    fn tar_command(&self, program: &str, flag: &str, action: &str) -> Vec<String> {
        let mut command = self.tar_start(program, flag, action);
        for (option, value) in [
            ("--owner=", &self.wanted.owner),
            ("--group=", &self.wanted.group),
        ] {
            if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
                command.push(format!("{option}{}", python::shell_quote(value)));
            }
        }
        if self.arguments.flag("keep_newer") {
            command.push("--keep-newer-files".to_owned());
        }
        self.tar_end(&mut command);
        command
    }

    /// Whether all of a tar archive is there already: what tar tells of differences, without those that are set anyway.
    fn compare_tar(
        &self,
        context: &Context<'_>,
        program: &str,
        flag: &str,
    ) -> Result<Comparison, Failure> {
        let done = self.tar(context, &self.tar_command(program, flag, "--diff"))?;
        let is_root = nix::unistd::getuid().is_root();
        let given = |value: &Option<String>| value.as_ref().is_some_and(|text| !text.is_empty());
        let mode_given = match &self.wanted.mode {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            _ => true,
        };
        let told = format!("{}\n{}", done.out(), done.err());
        let unarchived = !told.lines().any(|line| {
            if line.ends_with(": : Warning: Cannot stat: No such file or directory") {
                return false;
            }
            (is_root && !given(&self.wanted.owner) && line.ends_with(": Uid differs"))
                || (is_root && !given(&self.wanted.group) && line.ends_with(": Gid differs"))
                || (!mode_given && line.ends_with(": Mode differs"))
                || [
                    ": Mod time differs",
                    ": Warning: Cannot stat: No such file or directory",
                    ": Symlink differs",
                    ": Contents differ",
                    ": Size differs",
                ]
                .iter()
                .any(|end| line.ends_with(end))
                || line.contains(": Invalid owner")
                || line.contains(": Invalid group")
        });
        Ok(Comparison {
            unarchived,
            ..Comparison::default()
        })
    }

    fn zip_command(&self, program: &str, excludes: &[String]) -> Vec<String> {
        let mut command = vec![program.to_owned(), "-o".to_owned()];
        command.extend(self.arguments.texts("extra_opts"));
        command.push(self.src.to_owned());
        if !excludes.is_empty() {
            command.push("-x".to_owned());
            command.extend(excludes.iter().cloned());
        }
        command.extend(self.arguments.texts("include"));
        command.extend(["-d".to_owned(), self.dest.to_owned()]);
        command
    }

    /// Whether all of a zip archive is there already, entry by entry, as `zipinfo` lists them.
    fn compare_zip(
        &self,
        context: &Context<'_>,
        _program: &str,
        info: &[String],
    ) -> Result<Comparison, Failure> {
        let mut excludes = self.arguments.texts("exclude");
        let mut command = info.to_vec();
        command.extend(["-T", "-s", self.src].map(str::to_owned));
        if !excludes.is_empty() {
            command.push("-x".to_owned());
            command.extend(excludes.iter().cloned());
        }
        command.extend(self.arguments.texts("include"));
        let done = Command::new(command).run(context)?;
        let mut unarchived = done.success();
        let mut includes: BTreeSet<String> = BTreeSet::new();
        let mut diff = String::new();
        let checksums: BTreeMap<String, u32> = sums(self.src)?.into_iter().collect();
        let owners = Owners::of(self.wanted);
        let zone = times::zone(context);
        for line in done.out().lines() {
            let Some(entry) = Entry::read(line, &zone)? else {
                continue;
            };
            if excludes.contains(&entry.path) {
                continue;
            }
            let place = python::join(self.dest, &entry.path);
            let kind = entry.kind();
            let Ok(meta) = std::fs::symlink_metadata(&place) else {
                diff.push_str(&format!(">{kind}++++++.?? {}\n", entry.path));
                includes.insert(entry.path);
                continue;
            };
            let is_kind = match kind {
                'd' => meta.is_dir(),
                'L' => meta.file_type().is_symlink(),
                _ => meta.is_file(),
            };
            if !is_kind {
                diff.push_str(&format!("c{kind}++++++.?? {}\n", entry.path));
                if kind == 'f' {
                    unarchived = false;
                }
                includes.insert(entry.path);
                continue;
            }
            let mut marks: Vec<char> = format!(".{kind}.......??").chars().collect();
            if meta.is_file() {
                let there = times::modified(&meta);
                if self.arguments.flag("keep_newer") {
                    if entry.time > there {
                        marks[4] = 't';
                    } else if entry.time < there {
                        excludes.push(entry.path);
                        continue;
                    }
                } else if (entry.time - there).abs() > f64::EPSILON {
                    marks[4] = 't';
                }
                if entry.size != meta.len() {
                    marks[3] = 's';
                }
                let sum = checksum(Path::new(&place))?;
                if checksums.get(&entry.path) != Some(&sum) {
                    marks[2] = 'c';
                }
            }
            if kind != 'L' {
                let mode = self.mode_of(context, &entry, &meta)?;
                if mode != meta.mode() & 0o7777 {
                    marks[5] = 'p';
                }
            }
            owners.compare(&entry.path, &meta, &mut marks)?;
            if marks[2..7].iter().any(|mark| *mark != '.') {
                let marks: String = marks.into_iter().collect();
                diff.push_str(&format!("{marks} {}\n", entry.path));
                includes.insert(entry.path);
            }
        }
        if !includes.is_empty() {
            unarchived = false;
        }
        Ok(Comparison {
            unarchived,
            diff,
            excludes,
        })
    }

    fn mode_of(
        &self,
        context: &Context<'_>,
        entry: &Entry,
        meta: &std::fs::Metadata,
    ) -> Result<u32, Failure> {
        let given = match &self.wanted.mode {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            _ => true,
        };
        if given {
            return resolve_mode(context, meta.mode(), meta.is_dir(), &self.wanted.mode)
                .map_err(|reason| Failure::new(reason).with("path", entry.path.as_str()));
        }
        let umask = if entry.is_dos && !entry.is_special {
            context.umask()
        } else {
            0
        };
        Ok(entry.mode & !umask)
    }
}

/// Who unpacked files belong to.
struct Owners {
    run_uid: u32,
    owner: String,
    uid: u32,
    group: String,
    gid: u32,
    run_owner: String,
    run_gid: u32,
    groups: Vec<u32>,
}

impl Owners {
    fn of(wanted: &Wanted) -> Self {
        let run_uid = nix::unistd::getuid().as_raw();
        let run_gid = nix::unistd::getgid().as_raw();
        let number = |text: &String| text.trim().parse::<u32>().ok();
        let uid = wanted
            .owner
            .as_ref()
            .filter(|owner| !owner.is_empty())
            .map_or(run_uid, |owner| {
                user_id(owner)
                    .or_else(|| number(owner).filter(|uid| user_name(*uid).is_some()))
                    .unwrap_or(run_uid)
            });
        let gid = wanted
            .group
            .as_ref()
            .filter(|group| !group.is_empty())
            .map_or(run_gid, |group| {
                group_id(group)
                    .or_else(|| number(group).filter(|gid| group_name(*gid).is_some()))
                    .unwrap_or(run_gid)
            });
        let named = |uid: u32| user_name(uid).unwrap_or_else(|| uid.to_string());
        Owners {
            run_uid,
            owner: named(uid),
            uid,
            group: group_name(gid).unwrap_or_else(|| gid.to_string()),
            gid,
            run_owner: named(run_uid),
            run_gid,
            groups: nix::unistd::getgroups()
                .map(|groups| groups.into_iter().map(nix::unistd::Gid::as_raw).collect())
                .unwrap_or_default(),
        }
    }

    fn compare(
        &self,
        path: &str,
        meta: &std::fs::Metadata,
        marks: &mut [char],
    ) -> Result<(), Failure> {
        if self.run_uid != 0 && self.uid != self.run_uid {
            return Err(Failure::unhandled(format!(
                "Cannot change ownership of {path} to {}, as user {}",
                self.owner, self.run_owner
            )));
        }
        let differs = match user_name(meta.uid()) {
            Some(owner) => owner != self.owner,
            None => meta.uid() != self.uid,
        };
        if differs {
            marks[6] = 'o';
        }
        if self.run_uid != 0 && self.gid != self.run_gid && !self.groups.contains(&self.gid) {
            return Err(Failure::unhandled(format!(
                "Cannot change group ownership of {path} to {}, as user {}",
                self.group, self.run_owner
            )));
        }
        let differs = match group_name(meta.gid()) {
            Some(group) => group != self.group,
            None => meta.gid() != self.gid,
        };
        if differs {
            marks[6] = 'g';
        }
        Ok(())
    }
}

/// A line of `zipinfo`.
struct Entry {
    path: String,
    /// `d`, `l`, `-` or `?`.
    letter: char,
    mode: u32,
    /// Its permissions are those of DOS, to which the umask applies.
    is_dos: bool,
    is_special: bool,
    size: u64,
    time: f64,
}

impl Entry {
    fn kind(&self) -> char {
        if self.path.ends_with('/') {
            'd'
        } else if self.letter == 'l' {
            'L'
        } else {
            'f'
        }
    }

    /// Reads a line; `None` for one that is of no entry.
    fn read(line: &str, zone: &jiff::tz::TimeZone) -> Result<Option<Entry>, Failure> {
        let mut fields = Vec::with_capacity(8);
        let mut rest = line.trim_start();
        while fields.len() < 7 {
            let Some(end) = rest.find(char::is_whitespace) else {
                return Ok(None);
            };
            fields.push(&rest[..end]);
            rest = rest[end..].trim_start();
        }
        if rest.is_empty() {
            return Ok(None);
        }
        let written = fields[0];
        let (Some(letter), permissions) = (written.chars().next(), written.get(1..).unwrap_or(""))
        else {
            return Ok(None);
        };
        if !matches!(written.len(), 7 | 8 | 10)
            || fields[6].len() != 15
            || !"dl-?".contains(letter)
            || !permissions.chars().all(|c| "rwxstah-".contains(c))
        {
            return Ok(None);
        }
        let is_dos = permissions.len() != 9;
        let permissions = match permissions.len() {
            6 if rest.ends_with('/') || permissions == "rwx---" => "rwxrwxrwx",
            7 if permissions == "rwxa---" => "rwxrwxrwx",
            6 | 7 => "rw-rw-rw-",
            _ => permissions,
        };
        let sound = permissions.len() == 9
            && permissions.as_bytes().chunks(3).all(|three| {
                matches!(three[0], b'r' | b'-')
                    && matches!(three[1], b'w' | b'-')
                    && matches!(three[2], b'S' | b's' | b'T' | b't' | b'x' | b'-')
            });
        if !sound {
            return Err(Failure::unhandled(format!(
                "ZIP info perm format incorrect, {permissions}"
            )));
        }
        let mode = permissions
            .chars()
            .rev()
            .enumerate()
            .fold(0, |mode, (bit, c)| {
                if matches!(c, 'r' | 'w' | 'x' | 's' | 't') {
                    mode | (1 << bit)
                } else {
                    mode
                }
            });
        Ok(Some(Entry {
            path: rest.to_owned(),
            letter,
            mode,
            is_dos,
            is_special: letter == '?',
            size: fields[3].parse().unwrap_or(0),
            time: time_of(fields[6], zone),
        }))
    }
}

/// The local time `20240131.235959` means, in seconds.
fn time_of(text: &str, zone: &jiff::tz::TimeZone) -> f64 {
    let number =
        |from: usize, to: usize| text.get(from..to).and_then(|part| part.parse::<i16>().ok());
    let parts =
        [(0, 4), (4, 6), (6, 8), (9, 11), (11, 13), (13, 15)].map(|(from, to)| number(from, to));
    let epoch = jiff::civil::date(1980, 1, 1).at(0, 0, 0, 0);
    let time = match parts {
        [
            Some(year),
            Some(month),
            Some(day),
            Some(hour),
            Some(minute),
            Some(second),
        ] if (1980..=2107).contains(&year) => jiff::civil::DateTime::new(
            year,
            month as i8,
            day as i8,
            hour as i8,
            minute as i8,
            second as i8,
            0,
        )
        .unwrap_or(epoch),
        [Some(year), ..] if year > 2107 => jiff::civil::date(2107, 12, 31).at(23, 59, 59, 0),
        _ => epoch,
    };
    time.to_zoned(zone.clone())
        .map_or(0.0, |zoned| zoned.timestamp().as_second() as f64)
}

/// The names in a zip archive with their checksums, in their order.
fn sums(src: &str) -> Result<Vec<(String, u32)>, Failure> {
    let failed = |reason: String| {
        Failure::unhandled(format!("Unable to list files in the archive: {reason}"))
    };
    let file = std::fs::File::open(src).map_err(|error| failed(error.to_string()))?;
    let mut archive = zip::ZipArchive::new(std::io::BufReader::new(file))
        .map_err(|error| failed(error.to_string()))?;
    let mut sums = Vec::with_capacity(archive.len());
    for number in 0..archive.len() {
        let entry = archive
            .by_index_raw(number)
            .map_err(|error| failed(error.to_string()))?;
        let name = entry.name().map_err(|error| failed(error.to_string()))?;
        sums.push((name.into_owned(), entry.crc32()));
    }
    Ok(sums)
}

/// The CRC-32 of a file.
fn checksum(path: &Path) -> Result<u32, Failure> {
    use std::io::Read as _;
    let told = |error: std::io::Error| Failure::unhandled(python::os_error_at(&error, path));
    let mut file = std::fs::File::open(path).map_err(told)?;
    let mut sum = flate2::Crc::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let length = file.read(&mut chunk).map_err(told)?;
        if length == 0 {
            return Ok(sum.sum());
        }
        sum.update(&chunk[..length]);
    }
}
