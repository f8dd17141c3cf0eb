//! `ansible.posix.mount`: file systems in their places, now and in `/etc/fstab`.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::LazyLock;

use crate::arguments::{Arguments, Spec, boolean, path, text};
use crate::atomic;
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::process::{self, Command};
use crate::python;
use crate::registry::Module;

pub(crate) const MODULE: Module = Module { name: "mount", act };

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("boot", boolean().default(true))
        .with("dump", text().default("0"))
        .with("fstab", text())
        .with("fstype", text())
        .with("path", path().required().aliases(&["name"]))
        .with("opts", text())
        .with("opts_no_log", boolean().default(false))
        .with("passno", text().no_log(false).default("0"))
        .with("src", path())
        .with("backup", boolean().default(false))
        .with(
            "state",
            text().required().choices(&[
                "absent",
                "absent_from_fstab",
                "mounted",
                "present",
                "unmounted",
                "remounted",
                "ephemeral",
            ]),
        )
        .required_if("state", "mounted", &["src", "fstype"])
        .required_if("state", "present", &["src", "fstype"])
        .required_if("state", "ephemeral", &["src", "fstype"])
        .supports_check_mode()
});

/// What is to be mounted.
struct Wanted {
    name: String,
    src: Option<String>,
    kind: Option<String>,
    options: String,
    dump: String,
    pass: String,
    fstab: String,
    boot: &'static str,
    backup: String,
}

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    if arguments.flag("opts_no_log")
        && let Some(options) = arguments.filled("opts")
    {
        context.keep_secret(options);
    }
    let state = arguments.required("state").to_owned();
    let owned = |name: &str| arguments.text(name).map(str::to_owned);
    let mut wanted = Wanted {
        name: arguments.required("path").to_owned(),
        src: owned("src"),
        kind: owned("fstype"),
        options: owned("opts").unwrap_or_else(|| "defaults".to_owned()),
        dump: arguments.required("dump").to_owned(),
        pass: arguments.required("passno").to_owned(),
        fstab: owned("fstab").unwrap_or_else(|| "/etc/fstab".to_owned()),
        boot: "yes",
        backup: String::new(),
    };
    if arguments.flag("boot") {
        if wanted.options.split(',').any(|option| option == "noauto") {
            context.warn("Ignore the 'boot' due to 'opts' contains 'noauto'.");
        }
    } else {
        wanted.boot = "no";
        wanted.options.push_str(",noauto");
    }
    if state != "ephemeral" {
        make_fstab(context, &wanted.fstab)?;
    }
    let mounts = Mounts::read(context);
    let changed = match state.as_str() {
        "absent_from_fstab" => remove_line(context, &arguments, &mut wanted)?,
        "absent" => absent(context, &arguments, &mut wanted, &mounts)?,
        "unmounted" => {
            let mounted = mounts.is_mounted(context, &wanted.name, None);
            if mounted && !context.settings.check {
                unmount(context, &wanted.name)?;
            }
            mounted
        }
        "mounted" | "ephemeral" => mounted(context, &arguments, &mut wanted, &mounts)?,
        "present" => write_line(context, &arguments, &mut wanted)?.0,
        _ => {
            if !context.settings.check {
                remount(context, &wanted, &state)?.map_err(|reason| {
                    Failure::new(format!("Error remounting {}: {reason}", wanted.name))
                })?;
            }
            true
        }
    };
    let mut report = Report::from_iter([
        ("changed".to_owned(), changed.into()),
        ("name".to_owned(), wanted.name.into()),
        ("opts".to_owned(), wanted.options.into()),
        ("dump".to_owned(), wanted.dump.into()),
        ("passno".to_owned(), wanted.pass.into()),
        ("fstab".to_owned(), wanted.fstab.into()),
        ("boot".to_owned(), wanted.boot.into()),
        ("backup_file".to_owned(), wanted.backup.into()),
    ]);
    if let Some(src) = wanted.src {
        report.insert("src".to_owned(), src.into());
    }
    if let Some(kind) = wanted.kind {
        report.insert("fstype".to_owned(), kind.into());
    }
    Ok(report)
}

fn make_fstab(context: &Context<'_>, fstab: &str) -> Result<(), Failure> {
    let place = context.path(fstab);
    if place.exists() {
        return Ok(());
    }
    let made = match place.parent() {
        Some(above) if !above.as_os_str().is_empty() => std::fs::create_dir_all(above),
        _ => Ok(()),
    };
    made.and_then(|()| {
        std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&place)
            .map(|_| ())
    })
    .map_err(|error| {
        Failure::new(if error.kind() == std::io::ErrorKind::PermissionDenied {
            format!("Failed to open {fstab} due to permission issue")
        } else {
            format!(
                "Failed to open {fstab} due to {}",
                python::os_error_at_text(&error, fstab)
            )
        })
    })
}

// The table of file systems ---------------------------------------------------------------------------------------------

fn escaped(text: &str) -> String {
    text.replace('\\', "\\134")
        .replace(' ', "\\040")
        .replace('&', "\\046")
}

fn read_table(context: &Context<'_>, fstab: &str) -> Result<Vec<String>, Failure> {
    std::fs::read_to_string(context.path(fstab))
        .map(|text| text.split_inclusive('\n').map(str::to_owned).collect())
        .map_err(|error| Failure::unhandled(python::os_error_at_text(&error, fstab)))
}

fn write_table(
    context: &mut Context<'_>,
    arguments: &Arguments,
    wanted: &mut Wanted,
    lines: &[String],
) -> Result<(), Failure> {
    if arguments.flag("backup") {
        wanted.backup = atomic::backup(context, &wanted.fstab)?.unwrap_or_default();
    }
    let real = crate::attributes::real_path(context, &wanted.fstab);
    let keep = atomic::Keep {
        attributes: true,
        // Tables of containers are mounted from outside and cannot be replaced.
        unsafe_writes: true,
    };
    atomic::write(context, &real, lines.concat().as_bytes(), keep)
}

impl Wanted {
    /// Whether a line of the table is about this.
    fn is_of(&self, src: &str, name: &str, kind: &str) -> bool {
        let other_swap = self
            .src
            .as_ref()
            .is_some_and(|own| name == "none" && kind == "swap" && src != own);
        name == escaped(&self.name) && !other_swap
    }

    fn line(&self) -> String {
        format!(
            "{} {} {} {} {} {}\n",
            escaped(self.src.as_deref().unwrap_or("")),
            escaped(&self.name),
            escaped(self.kind.as_deref().unwrap_or("")),
            escaped(&self.options),
            escaped(&self.dump),
            escaped(&self.pass)
        )
    }
}

/// Puts the line into the table: whether it was not there so, and the table as it was.
fn write_line(
    context: &mut Context<'_>,
    arguments: &Arguments,
    wanted: &mut Wanted,
) -> Result<(bool, Vec<String>), Failure> {
    let mut old = read_table(context, &wanted.fstab)?;
    if let Some(last) = old.last_mut()
        && !last.ends_with('\n')
    {
        last.push('\n');
    }
    let mut new = Vec::with_capacity(old.len() + 1);
    let (mut exists, mut changed) = (false, false);
    for line in &old {
        let bare = line.split('#').next().unwrap_or("");
        let fields: Vec<&str> = bare.split_whitespace().collect();
        let is_entry = !line.trim().is_empty()
            && !line.trim().starts_with('#')
            && (4..=6).contains(&fields.len());
        if !is_entry || !wanted.is_of(fields[0], fields[1], fields[2]) {
            new.push(line.clone());
            continue;
        }
        exists = true;
        let differs = fields[0] != escaped(wanted.src.as_deref().unwrap_or(""))
            || fields[2] != escaped(wanted.kind.as_deref().unwrap_or(""))
            || fields[3] != escaped(&wanted.options)
            || fields.get(4) != Some(&escaped(&wanted.dump).as_str())
            || fields.get(5) != Some(&escaped(&wanted.pass).as_str());
        changed |= differs;
        new.push(if changed { wanted.line() } else { line.clone() });
    }
    if !exists {
        new.push(wanted.line());
        changed = true;
    }
    if changed && !context.settings.check {
        write_table(context, arguments, wanted, &new)?;
    }
    Ok((changed, old))
}

/// Takes the line out of the table: whether it was there.
fn remove_line(
    context: &mut Context<'_>,
    arguments: &Arguments,
    wanted: &mut Wanted,
) -> Result<bool, Failure> {
    let old = read_table(context, &wanted.fstab)?;
    let new: Vec<String> = old
        .iter()
        .filter(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            line.trim().starts_with('#')
                || fields.len() != 6
                || !wanted.is_of(fields[0], fields[1], fields[2])
        })
        .cloned()
        .collect();
    let changed = new.len() != old.len();
    if changed && !context.settings.check {
        write_table(context, arguments, wanted, &new)?;
    }
    Ok(changed)
}

// What is mounted -------------------------------------------------------------------------------------------------------

/// What is mounted where, with the directories that are mounted in other places told as such.
struct Mounts(Option<BTreeMap<String, String>>);

impl Mounts {
    fn read(context: &mut Context<'_>) -> Mounts {
        struct Entry {
            parent: i64,
            root: String,
            place: String,
            src: String,
        }
        let Ok(text) = std::fs::read_to_string("/proc/self/mountinfo") else {
            context.warn(
                "Cannot open file /proc/self/mountinfo. Bind mounts might be misinterpreted.",
            );
            return Mounts(None);
        };
        let mut entries: BTreeMap<i64, Entry> = BTreeMap::new();
        for line in text.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields.len() < 9 {
                continue;
            }
            let (Ok(id), Ok(parent)) = (fields[0].parse(), fields[1].parse()) else {
                continue;
            };
            entries.insert(
                id,
                Entry {
                    parent,
                    root: fields[3].to_owned(),
                    place: fields[4].to_owned(),
                    src: fields[fields.len() - 2].to_owned(),
                },
            );
        }
        let mut mounts = BTreeMap::new();
        for entry in entries.values() {
            let src = match entries.get(&entry.parent) {
                Some(parent) if entry.parent != 1 => {
                    let mut root = entry.root.as_str();
                    if parent.root.len() > 1
                        && let Some(rest) = root.strip_prefix(parent.root.as_str())
                        && rest.starts_with('/')
                    {
                        root = rest;
                    }
                    if parent.place == "/" {
                        root.to_owned()
                    } else {
                        format!("{}{root}", parent.place)
                    }
                }
                _ => entry.src.clone(),
            };
            mounts.insert(entry.place.clone(), src);
        }
        Mounts(Some(mounts))
    }

    /// Whether something (or a certain source) is mounted at a place.
    fn is_mounted(&self, context: &Context<'_>, place: &str, src: Option<&str>) -> bool {
        if is_mount_point(&context.path(place)) {
            return true;
        }
        self.is_bound(place, src)
    }

    fn is_bound(&self, place: &str, src: Option<&str>) -> bool {
        self.0
            .as_ref()
            .and_then(|mounts| mounts.get(place))
            .is_some_and(|known| src.is_none_or(|src| known == src))
    }
}

fn is_mount_point(place: &std::path::Path) -> bool {
    let Ok(own) = std::fs::symlink_metadata(place) else {
        return false;
    };
    if own.file_type().is_symlink() {
        return false;
    }
    let above = std::fs::canonicalize(place)
        .ok()
        .map(|real| real.join(".."))
        .and_then(|above| std::fs::metadata(above).ok());
    above.is_some_and(|above| own.dev() != above.dev() || own.ino() == above.ino())
}

/// Runs mount or umount: what it says, if it fails.
fn run(context: &Context<'_>, words: Vec<String>) -> Result<Result<(), String>, Failure> {
    let done = Command::new(words).run(context)?;
    Ok(if done.success() {
        Ok(())
    } else {
        Err(done.out() + &done.err())
    })
}

fn unmount_now(context: &Context<'_>, place: &str) -> Result<Result<(), String>, Failure> {
    let umount = process::required(context, "umount", &[])?;
    run(context, vec![umount, place.to_owned()])
}

fn unmount(context: &Context<'_>, place: &str) -> Result<(), Failure> {
    unmount_now(context, place)?
        .map_err(|reason| Failure::new(format!("Error unmounting {place}: {reason}")))
}

impl Wanted {
    /// What is told to mount for a state: another table, or all of it.
    fn words(&self, state: &str) -> Vec<String> {
        let mut words = Vec::new();
        if state == "ephemeral" {
            words.extend(["-t".to_owned(), self.kind.clone().unwrap_or_default()]);
            if self.options != "defaults" {
                words.extend(["-o".to_owned(), self.options.clone()]);
            }
            words.push(self.src.clone().unwrap_or_default());
        } else if self.fstab != "/etc/fstab" && !self.fstab.is_empty() {
            words.extend(["-T".to_owned(), self.fstab.clone()]);
        }
        words
    }
}

fn mount_now(
    context: &Context<'_>,
    wanted: &Wanted,
    state: &str,
) -> Result<Result<(), String>, Failure> {
    let mut words = vec![process::required(context, "mount", &[])?];
    words.extend(wanted.words(state));
    words.push(wanted.name.clone());
    run(context, words)
}

fn remount(
    context: &Context<'_>,
    wanted: &Wanted,
    state: &str,
) -> Result<Result<(), String>, Failure> {
    let given = state == "remounted" && wanted.options != "defaults";
    let mut words = vec![process::required(context, "mount", &[])?, "-o".to_owned()];
    words.push(if given {
        format!("remount,{}", wanted.options)
    } else {
        "remount".to_owned()
    });
    words.extend(wanted.words(state));
    words.push(wanted.name.clone());
    if run(context, words)?.is_ok() {
        return Ok(Ok(()));
    }
    if given {
        return Err(Failure::new(
            "Options were specified with remounted, but the remount command failed. Failing in order to prevent an \
             unexpected mount result. Try replacing this command with a \"state: unmounted\" followed by a \"state: \
             mounted\" using the full desired mount options instead.",
        ));
    }
    match unmount_now(context, &wanted.name)? {
        Ok(()) => mount_now(context, wanted, state),
        Err(reason) => Ok(Err(reason)),
    }
}

fn absent(
    context: &mut Context<'_>,
    arguments: &Arguments,
    wanted: &mut Wanted,
    mounts: &Mounts,
) -> Result<bool, Failure> {
    let changed = remove_line(context, arguments, wanted)?;
    if changed && !context.settings.check {
        let name = &wanted.name;
        if mounts.is_mounted(context, name, None) {
            unmount(context, name)?;
        }
        let place = context.path(name);
        if place.exists() {
            std::fs::remove_dir(&place).map_err(|error| {
                Failure::new(format!(
                    "Error rmdir {name}: {}",
                    python::os_error_at_text(&error, name)
                ))
            })?;
        }
    }
    Ok(changed)
}

fn mounted(
    context: &mut Context<'_>,
    arguments: &Arguments,
    wanted: &mut Wanted,
    mounts: &Mounts,
) -> Result<bool, Failure> {
    let ephemeral = arguments.text("state") == Some("ephemeral");
    let state = if ephemeral { "ephemeral" } else { "mounted" };
    let made = make_place(context, &wanted.name)?;
    let (mut changed, old) = if ephemeral {
        (false, Vec::new())
    } else {
        write_line(context, arguments, wanted)?
    };
    let src = wanted.src.clone().unwrap_or_default();
    let mut result = Ok(());
    if mounts.is_mounted(context, &wanted.name, Some(&src)) {
        if ephemeral {
            if !is_source(context, mounts, &src, &wanted.name)? {
                return Err(Failure::new(
                    "Ephemeral mount point is already mounted with a different source than the specified one. Failing in \
                     order to prevent an unwanted unmount or override operation. Try replacing this command with a \
                     \"state: unmounted\" followed by a \"state: ephemeral\", or use a different destination path.",
                ));
            }
            changed = true;
        }
        if changed && !context.settings.check {
            result = remount(context, wanted, state)?;
        }
    } else {
        changed = true;
        if !context.settings.check {
            result = mount_now(context, wanted, state)?;
        }
    }
    if let Err(reason) = result {
        // A line that cannot be mounted would keep the machine from starting.
        if !ephemeral {
            write_table(context, arguments, wanted, &old)?;
        }
        for directory in made.iter().rev() {
            // One that is in use by now stays.
            let _ = std::fs::remove_dir(directory);
        }
        return Err(Failure::new(format!(
            "Error mounting {}: {reason}",
            wanted.name
        )));
    }
    Ok(changed)
}

/// Makes the directory to mount at, and those above it: the ones made.
fn make_place(context: &Context<'_>, name: &str) -> Result<Vec<PathBuf>, Failure> {
    let place = context.path(name);
    let mut made = Vec::new();
    if place.exists() || context.settings.check {
        return Ok(made);
    }
    let mut missing: Vec<PathBuf> = place
        .ancestors()
        .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
        .map(std::path::Path::to_owned)
        .collect();
    missing.reverse();
    for directory in missing {
        match std::fs::create_dir(&directory) {
            Ok(()) => made.push(directory),
            Err(error)
                if error.kind() == std::io::ErrorKind::AlreadyExists && directory.is_dir() => {}
            Err(error) => {
                return Err(Failure::new(format!(
                    "Error making dir {name}: {}",
                    python::os_error_at(&error, &directory)
                )));
            }
        }
    }
    Ok(made)
}

/// Whether what is mounted at a place is from a source.
fn is_source(
    context: &Context<'_>,
    mounts: &Mounts,
    src: &str,
    place: &str,
) -> Result<bool, Failure> {
    if mounts.is_bound(place, Some(src)) {
        return Ok(true);
    }
    let mount = process::required(context, "mount", &[])?;
    let done = Command::new([mount.as_str(), "-v"]).run(context)?;
    let out = done.out();
    if out.is_empty() {
        return Err(Failure::new(format!(
            "Unable to retrieve mount info with command '{mount} -v'"
        )));
    }
    Ok(out.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.first() == Some(&src) && fields.get(2) == Some(&place)
    }))
}
