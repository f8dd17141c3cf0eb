//! `copy`, the half of it that is done on the machine: a file that is there takes the place of another; directories that
//! are there are copied.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use nix::unistd::{AccessFlags, access};
use serde_json::{Value, json};

use crate::arguments::{Arguments, Spec, boolean, path, raw, text};
use crate::atomic::{self, Keep};
use crate::attributes::{self, Wanted, octal, real_path};
use crate::context::Context;
use crate::digest;
use crate::glob;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::process::Command;
use crate::python;
use crate::registry::Module;

pub(crate) const MODULE: Module = Module { name: "copy", act };

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("src", path())
        .with("_original_basename", text())
        .with("content", text().no_log(true))
        .with("dest", path().required())
        .with("backup", boolean().default(false))
        .with("force", boolean().default(true))
        .with("validate", text())
        .with("directory_mode", raw())
        .with("remote_src", boolean().default(false))
        .with("local_follow", boolean())
        .with("checksum", text())
        .with("follow", boolean().default(false))
        .file_common()
        .supports_check_mode()
});

fn may(path: &Path, flags: AccessFlags) -> bool {
    access(path, flags).is_ok()
}

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let mut arguments = context.arguments(&SPEC, invocation)?;
    let Some(src) = arguments.text("src").map(str::to_owned) else {
        return Err(Failure::new("Source None not found"));
    };
    let source = context.path(&src);
    let mut dest = arguments.required("dest").to_owned();
    if !dest.contains('/') {
        dest = format!("./{dest}");
    }
    if !source.exists() {
        return Err(Failure::new(format!("Source {src} not found")));
    }
    if !may(&source, AccessFlags::R_OK) {
        return Err(Failure::new(format!("Source {src} not readable")));
    }
    let remote = arguments.flag("remote_src");
    if arguments.text("mode") == Some("preserve") {
        let meta = std::fs::metadata(&source)
            .map_err(|error| Failure::unhandled(python::os_error_at(&error, &source)))?;
        let mode = octal(meta.permissions().mode() & 0o7777);
        context.told_as("mode", mode.as_str());
        arguments.set("mode", mode);
    }
    let mut checksum = None;
    let mut md5 = None;
    if source.is_file() {
        checksum = digest::of_file(&source, &src, "sha1")?;
        md5 = digest::of_file(&source, &src, "md5")?;
    } else if remote && !source.is_dir() {
        return Err(Failure::new(format!(
            "Cannot copy invalid source '{src}': not a file"
        )));
    }
    if let Some(expected) = arguments.filled("checksum")
        && checksum.as_deref() != Some(expected)
    {
        return Err(Failure::new(
            "Copied file does not match the expected checksum. Transfer failed.",
        )
        .with("checksum", checksum.map_or(Value::Null, Value::from))
        .with("expected_checksum", expected));
    }
    let mut changed = false;
    if dest.ends_with('/') {
        if let Some(name) = arguments.filled("_original_basename") {
            dest = python::join(&dest, name);
        }
        let directory = python::dirname(&dest).to_owned();
        if !context.path(&directory).exists() {
            if context.settings.check {
                return Ok(Report::from_iter([
                    (
                        "msg".to_owned(),
                        format!("dest directory {directory} would be created").into(),
                    ),
                    ("changed".to_owned(), true.into()),
                    ("src".to_owned(), src.into()),
                ]));
            }
            make_directories(context, &arguments, &directory)?;
            changed = true;
        }
    }
    if context.path(&dest).is_dir() {
        let name = arguments
            .filled("_original_basename")
            .unwrap_or_else(|| python::basename(&src))
            .to_owned();
        dest = python::join(&dest, &name);
    }
    let mut place = context.path(&dest);
    let mut checksum_there = None;
    if place.exists() {
        if place.is_symlink() && arguments.flag("follow") {
            dest = real_path(context, &dest);
            place = context.path(&dest);
        }
        if !arguments.flag("force") {
            return Ok(Report::from_iter([
                ("msg".to_owned(), json!("file already exists")),
                ("src".to_owned(), src.into()),
                ("dest".to_owned(), dest.into()),
                ("changed".to_owned(), json!(false)),
            ]));
        }
        if may(&place, AccessFlags::R_OK) && place.is_file() {
            checksum_there = digest::of_file(&place, &dest, "sha1")?;
        }
    } else {
        let above = python::dirname(&dest);
        if let Err(error) = std::fs::metadata(context.path(above)) {
            return Err(Failure::new(
                if error.kind() == std::io::ErrorKind::PermissionDenied {
                    format!("Destination directory {above} is not accessible")
                } else {
                    format!("Destination directory {above} does not exist")
                },
            ));
        }
    }
    let above = python::dirname(&dest).to_owned();
    if !may(&context.path(&above), AccessFlags::W_OK) && !arguments.flag("unsafe_writes") {
        return Err(Failure::new(format!("Destination {above} not writable")));
    }
    let mut backup = None;
    if checksum != checksum_there || place.is_symlink() {
        if !context.settings.check {
            backup = put(context, &arguments, &src, &dest)?;
        }
        changed = true;
    }
    let given_dest = context.path(arguments.required("dest"));
    if checksum.is_none()
        && checksum_there.is_none()
        && remote
        && source.is_dir()
        && (given_dest.is_dir() || !given_dest.exists())
    {
        let target = if src.ends_with('/') {
            given_dest
        } else {
            given_dest.join(python::basename(&src))
        };
        changed |= copy_directory(context, &arguments, &source, &target)?;
    }
    let mut report = Report::from_iter([
        ("dest".to_owned(), json!(dest)),
        ("src".to_owned(), json!(src)),
        ("md5sum".to_owned(), json!(md5)),
        ("checksum".to_owned(), json!(checksum)),
    ]);
    if let Some(backup) = backup {
        report.insert("backup_file".to_owned(), backup.into());
    }
    let mut wanted = Wanted::of(context, &arguments, Some(&dest));
    if place.is_dir() && arguments.has("directory_mode") {
        wanted.mode = arguments.get("directory_mode").clone();
    }
    let changed = wanted.apply(context, changed, None)?;
    report.insert("changed".to_owned(), changed.into());
    Ok(report)
}

/// Lets the source take the place of the destination. Gives the backup that was made.
fn put(
    context: &mut Context<'_>,
    arguments: &Arguments,
    src: &str,
    dest: &str,
) -> Result<Option<String>, Failure> {
    let place = context.path(dest);
    let source = context.path(src);
    let failed = |error: std::io::Error| {
        Failure::unhandled(format!(
            "Failed to copy {} to {}.",
            python::repr(src),
            python::repr(dest)
        ))
        .because(python::os_error_at(&error, &place))
    };
    let mut backup = None;
    if arguments.flag("backup") && place.exists() {
        backup = atomic::backup(context, dest)?;
    }
    if let Some(validate) = arguments.filled("validate") {
        attributes::set_mode(context, src, arguments.get("mode"), false, None)?;
        own(context, arguments, &source)?;
        if !validate.contains("%s") {
            return Err(Failure::new(format!(
                "validate must contain %s: {validate}"
            )));
        }
        let done = Command::line(validate.replace("%s", src).replace("%%", "%")).run(context)?;
        if !done.success() {
            return Err(Failure::new("failed to validate")
                .with("exit_status", done.code)
                .with("stdout", done.out())
                .with("stderr", done.err()));
        }
    }
    // What a link led to is no longer of interest: it becomes a file.
    if place.is_symlink() {
        std::fs::remove_file(&place).map_err(failed)?;
        std::fs::File::create(&place).map_err(failed)?;
        let umask = context.umask();
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o666 & !umask))
            .map_err(failed)?;
    }
    let remote = arguments.flag("remote_src");
    let keep = Keep {
        attributes: !remote,
        unsafe_writes: arguments.flag("unsafe_writes"),
    };
    if remote && source.is_file() {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let temporary = place.with_file_name(format!("tmp{}", &unique[..8]));
        let copied = atomic::copy_with_status(&source, &temporary);
        let done = match copied {
            Ok(_) => atomic::take_place_by_bytes(context, &temporary, dest, keep),
            Err(error) => Err(Failure::unhandled(format!(
                "Failed to copy {} to {}.",
                python::repr(src),
                python::repr(dest)
            ))
            .because(python::os_error_at(&error, &temporary))),
        };
        if done.is_err() {
            // Gone if it has taken its place.
            let _ = std::fs::remove_file(&temporary);
        }
        done?;
    } else {
        atomic::take_place_by_bytes(context, &source, dest, keep)?;
    }
    Ok(backup)
}

/// Makes the directories that are missing; the new ones have the wanted attributes, with `directory_mode`.
fn make_directories(
    context: &mut Context<'_>,
    arguments: &Arguments,
    directory: &str,
) -> Result<(), Failure> {
    let mut missing = Vec::new();
    let mut current = directory.to_owned();
    while !current.is_empty() && !context.path(&current).exists() {
        missing.push(current.clone());
        current = python::dirname(&current).to_owned();
    }
    missing.reverse();
    for directory in &missing {
        let place = context.path(directory);
        std::fs::create_dir(&place)
            .and_then(|()| {
                std::fs::set_permissions(
                    &place,
                    std::fs::Permissions::from_mode(0o777 & !context.umask()),
                )
            })
            .map_err(|error| Failure::unhandled(python::os_error_at(&error, &place)))?;
    }
    let mut wanted = Wanted::of(context, arguments, None);
    wanted.mode = arguments.get("directory_mode").clone();
    for directory in &missing {
        wanted.at(directory).apply(context, true, None)?;
    }
    Ok(())
}

/// Sets owner and group of a path.
fn own(context: &mut Context<'_>, arguments: &Arguments, path: &Path) -> Result<bool, Failure> {
    Wanted {
        path: path.to_string_lossy().into_owned(),
        owner: arguments.text("owner").map(str::to_owned),
        group: arguments.text("group").map(str::to_owned),
        ..Wanted::default()
    }
    .apply(context, false, None)
}

fn own_all(context: &mut Context<'_>, arguments: &Arguments, top: &Path) -> Result<bool, Failure> {
    if !arguments.has("owner") && !arguments.has("group") {
        return Ok(false);
    }
    let mut changed = false;
    let mut pending = vec![top.to_owned()];
    while let Some(path) = pending.pop() {
        changed |= own(context, arguments, &path)?;
        if path.is_dir() && !path.is_symlink() {
            pending.extend(
                glob::names_in(&path)
                    .into_iter()
                    .map(|name| path.join(name)),
            );
        }
    }
    Ok(changed)
}

/// Copies a directory that is on the machine into another, what differs and what is missing.
fn copy_directory(
    context: &mut Context<'_>,
    arguments: &Arguments,
    source: &Path,
    dest: &Path,
) -> Result<bool, Failure> {
    if !dest.exists() {
        if !context.settings.check {
            copy_tree(source, dest, arguments.flag("local_follow"))?;
            own_all(context, arguments, dest)?;
        }
        return Ok(true);
    }
    let copied = merge(context, arguments, source, dest)?;
    let owned = own_all(context, arguments, dest)?;
    Ok(copied || owned)
}

fn merge(
    context: &mut Context<'_>,
    arguments: &Arguments,
    source: &Path,
    dest: &Path,
) -> Result<bool, Failure> {
    let mut changed = false;
    let follow = arguments.flag("local_follow");
    // Not following has to be said: without a word links inside are copied as what they lead to.
    let keeps_links = arguments.given_flag("local_follow") == Some(false);
    for name in glob::names_in(source) {
        // What `filecmp.dircmp` leaves out.
        if matches!(
            name.to_str(),
            Some("RCS" | "CVS" | "tags" | ".git" | ".hg" | ".bzr" | "_darcs" | "__pycache__")
        ) {
            continue;
        }
        let (from, to) = (source.join(&name), dest.join(&name));
        if to.symlink_metadata().is_err() {
            changed = true;
            if context.settings.check {
                continue;
            }
            if from.is_symlink() {
                if keeps_links {
                    copy_link(&from, &to)?;
                } else if follow && from.is_dir() {
                    copy_tree(&from, &to, follow)?;
                    own_all(context, arguments, &to)?;
                } else if follow && from.is_file() {
                    copy_contents(&from, &to, false)?;
                    own(context, arguments, &to)?;
                }
            } else if from.is_dir() {
                copy_tree(&from, &to, follow)?;
                own_all(context, arguments, &to)?;
            } else if from.is_file() {
                copy_contents(&from, &to, true)?;
                own(context, arguments, &to)?;
            }
        } else if from.is_dir() && to.is_dir() {
            changed |= merge(context, arguments, &from, &to)?;
        } else if from.is_file() && to.is_file() && !same_contents(&from, &to)? {
            changed = true;
            if context.settings.check {
                continue;
            }
            if from.is_symlink() && keeps_links {
                copy_link(&from, &to)?;
            } else {
                copy_contents(&from, &to, true)?;
            }
            own(context, arguments, &to)?;
        }
    }
    Ok(changed)
}

fn told(path: &Path) -> impl Fn(std::io::Error) -> Failure {
    let path = path.to_owned();
    move |error| Failure::unhandled(python::os_error_at(&error, &path))
}

fn same_contents(one: &Path, other: &Path) -> Result<bool, Failure> {
    let (a, b) = (
        std::fs::metadata(one).map_err(told(one))?,
        std::fs::metadata(other).map_err(told(other))?,
    );
    if a.len() != b.len() {
        return Ok(false);
    }
    let name = |path: &Path| path.to_string_lossy().into_owned();
    Ok(digest::of_file(one, &name(one), "sha1")? == digest::of_file(other, &name(other), "sha1")?)
}

fn copy_link(from: &Path, to: &Path) -> Result<(), Failure> {
    let target = std::fs::read_link(from).map_err(told(from))?;
    symlink(target, to).map_err(told(to))
}

/// Copies what is in a file: beside its place first, so that nobody finds half of it.
fn copy_contents(from: &Path, to: &Path, mode: bool) -> Result<(), Failure> {
    let temporary = to.with_file_name(format!(".ansible_tmp{}", uuid::Uuid::new_v4().simple()));
    let mode = if mode {
        Some(std::fs::metadata(from).map_err(told(from))?.permissions())
    } else {
        std::fs::metadata(to).ok().map(|meta| meta.permissions())
    };
    let copied = (|| {
        std::fs::copy(from, &temporary)?;
        if let Some(mode) = mode {
            std::fs::set_permissions(&temporary, mode)?;
        }
        std::fs::rename(&temporary, to)
    })();
    copied.map_err(|error| {
        // What was not finished is of no use.
        let _ = std::fs::remove_file(&temporary);
        told(to)(error)
    })
}

/// Copies a tree; links stay links unless they are followed.
fn copy_tree(source: &Path, dest: &Path, follow: bool) -> Result<(), Failure> {
    let mut pending: Vec<(PathBuf, PathBuf, usize)> = vec![(source.to_owned(), dest.to_owned(), 0)];
    let mut finished = Vec::new();
    while let Some((from, to, depth)) = pending.pop() {
        if depth > 200 {
            return Err(Failure::unhandled(format!(
                "Too many levels of directories below {}",
                source.display()
            )));
        }
        if from.is_symlink() && !follow {
            copy_link(&from, &to)?;
        } else if from.is_dir() {
            // A copy within what is copied is not copied with it.
            let names = glob::names_in(&from);
            std::fs::create_dir_all(&to).map_err(told(&to))?;
            finished.push((from.clone(), to.clone()));
            for name in names {
                pending.push((from.join(&name), to.join(&name), depth + 1));
            }
        } else {
            atomic::copy_with_status(&from, &to).map_err(told(&from))?;
        }
    }
    // The innermost first: a directory that may not be written to is closed when all is in it.
    for (from, to) in finished.into_iter().rev() {
        let meta = std::fs::metadata(&from).map_err(told(&from))?;
        std::fs::set_permissions(&to, meta.permissions()).map_err(told(&to))?;
        crate::times::set(
            &to,
            Some((crate::times::accessed(&meta), crate::times::modified(&meta))),
        )
        .map_err(told(&to))?;
    }
    Ok(())
}
