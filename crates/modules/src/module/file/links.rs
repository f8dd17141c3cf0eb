//! Links, symbolic and hard.

use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

use serde_json::{Map, Value};

use super::times::{update_times, wanted_times};
use super::{initial_diff, report, state_of};
use crate::arguments::Arguments;
use crate::attributes::{Wanted, note};
use crate::context::Context;
use crate::invocation::{Failure, Outcome, Report};
use crate::python;

pub(super) fn link(context: &mut Context<'_>, arguments: &Arguments, path: &str) -> Outcome {
    let before = state_of(context, path)?;
    let times = wanted_times(context, arguments)?;
    let follow = arguments.flag("follow");
    let force = arguments.flag("force");
    let whole = context.path(path);
    let mut src = arguments.text("src").map(str::to_owned);
    if src.is_none() && follow && whole.exists() {
        let target = std::fs::read_link(&whole)
            .map_err(|error| Failure::unhandled(python::os_error_at(&error, &whole)))?;
        src = Some(target.to_string_lossy().into_owned());
    }
    let base = if !whole.is_symlink() && whole.is_dir() {
        path.to_owned()
    } else {
        python::dirname(path).to_owned()
    };
    if let Some(src) = &src {
        let target = python::join(&base, src);
        if !force && !context.path(&target).exists() {
            return Err(Failure::new(format!(
                "src file does not exist, use 'force=yes' if you really want to create the link: {target}"
            ))
            .with("path", path)
            .with("src", src.as_str()));
        }
    }
    let refuse = |message: String| Err(Failure::new(message).with("path", path));
    match before {
        "directory" | "file" | "hard" if !force => {
            return refuse(format!(
                "refusing to convert from {before} to symlink for {path}"
            ));
        }
        "directory"
            if std::fs::read_dir(&whole).is_ok_and(|mut entries| entries.next().is_some()) =>
        {
            return refuse(format!(
                "the directory {path} is not empty, refusing to convert it"
            ));
        }
        _ => {}
    }
    let mut diff = initial_diff(context, path, "link", before);
    let mut changed = false;
    if before == "link" {
        if let Some(src) = &src {
            changed = differs_from_link(&whole, src, &mut diff);
        }
    } else {
        if src.is_none() {
            return Err(Failure::new("src is required for creating new symlinks"));
        }
        changed = true;
    }
    if let (true, false, Some(src)) = (changed, context.settings.check, &src) {
        if before == "absent" {
            symlink(src, &whole).map_err(|error| linking(&error, "linking", src, path))?;
        } else {
            replace(&whole, path, src, |temporary| {
                if before == "directory" {
                    std::fs::remove_dir(&whole)?;
                }
                symlink(src, temporary)
            })?;
        }
    }
    if context.settings.check && !whole.exists() {
        return Ok(linked(path, src.as_deref(), changed, diff));
    }
    let wanted = Wanted::of(context, arguments, Some(path));
    if follow && whole.is_symlink() && !context.path(&wanted.path).exists() {
        context.warn(
            "Cannot set fs attributes on a non-existent symlink target. follow should be set to False to avoid this.",
        );
    } else {
        changed = wanted.apply(context, changed, Some(&mut diff))?;
        changed |= update_times(context, &wanted.path, times, Some(&mut diff))?;
    }
    Ok(linked(path, src.as_deref(), changed, diff))
}

fn linked(path: &str, src: Option<&str>, changed: bool, diff: Map<String, Value>) -> Report {
    report(&[
        ("dest", path.into()),
        ("src", src.map_or(Value::Null, Value::from)),
        ("changed", changed.into()),
        ("diff", diff.into()),
    ])
}

/// Whether a link leads elsewhere; if so, both are written down.
fn differs_from_link(path: &Path, src: &str, diff: &mut Map<String, Value>) -> bool {
    let Ok(old) = std::fs::read_link(path) else {
        return true;
    };
    if old.as_os_str() == src {
        return false;
    }
    note(
        Some(diff),
        "src",
        old.to_string_lossy().into_owned().into(),
        src.into(),
    );
    true
}

fn linking(error: &std::io::Error, doing: &str, src: &str, path: &str) -> Failure {
    Failure::new(format!(
        "Error while {doing}: {}: {} -> {}",
        python::os_error(error),
        python::repr_bytes(src.as_bytes()),
        python::repr_bytes(path.as_bytes())
    ))
    .with("path", path)
}

/// Makes something beside a path and lets it take its place.
fn replace(
    whole: &Path,
    path: &str,
    src: &str,
    make: impl FnOnce(&Path) -> std::io::Result<()>,
) -> Result<(), Failure> {
    let temporary = whole.with_file_name(format!(
        ".{}.{}.tmp",
        std::process::id(),
        uuid::Uuid::new_v4().simple()
    ));
    let shown = temporary.to_string_lossy().into_owned();
    let done = make(&temporary)
        .map_err(|error| linking(&error, "replacing", src, path))
        .and_then(|()| {
            std::fs::rename(&temporary, whole)
                .map_err(|error| linking(&error, "replacing", &shown, path))
        });
    // There still if nothing took its place; a name of the same file does not take the place of another.
    let _ = std::fs::remove_file(&temporary);
    done
}

pub(super) fn hard_link(context: &mut Context<'_>, arguments: &Arguments, path: &str) -> Outcome {
    let before = state_of(context, path)?;
    let wanted = Wanted::of(context, arguments, None);
    let times = wanted_times(context, arguments)?;
    let force = arguments.flag("force");
    let whole = context.path(path);
    let src = arguments.text("src").map(str::to_owned);
    if before != "hard" && src.is_none() {
        return Err(Failure::new("src is required for creating new hardlinks"));
    }
    let about = |message: String| {
        Failure::new(message)
            .with("dest", path)
            .with("src", src.as_deref().map_or(Value::Null, Value::from))
    };
    let mut source = src.as_deref().map(|src| context.path(src));
    if let Some(source) = &source
        && !source.exists()
    {
        return Err(about("src does not exist".to_owned()));
    }
    let mut diff = initial_diff(context, path, "hard", before);
    let inode = |path: &Path| std::fs::metadata(path).map(|meta| meta.ino()).ok();
    let mut changed = false;
    match before {
        "absent" => changed = true,
        "link" => {
            if let Some(src) = &src {
                changed = differs_from_link(&whole, src, &mut diff);
            }
        }
        "hard" => {
            if let Some(source) = &source
                && inode(&whole) != inode(source)
            {
                changed = true;
                if !force {
                    return Err(about(
                        "Cannot link, different hard link exists at destination".to_owned(),
                    ));
                }
            }
        }
        "file" => {
            changed = true;
            if !force {
                return Err(about(format!(
                    "Cannot link, {before} exists at destination"
                )));
            }
        }
        _ => {
            changed = true;
            if let Some(source) = &source
                && whole.exists()
            {
                if inode(&whole) == inode(source) {
                    return Ok(report(&[("path", path.into()), ("changed", false.into())]));
                }
                if !force {
                    return Err(about(
                        "Cannot link: different hard link exists at destination".to_owned(),
                    ));
                }
            }
        }
    }
    if let (true, false, Some(src)) = (changed, context.settings.check, &src) {
        if before == "absent" {
            let mut shown = src.clone();
            if let Some(source) = source.as_mut()
                && arguments.flag("follow")
                && source.is_symlink()
                && let Ok(target) = std::fs::read_link(&*source)
            {
                shown = target.to_string_lossy().into_owned();
                *source = context.path(target);
            }
            let source = source.unwrap_or_default();
            std::fs::hard_link(&source, &whole)
                .map_err(|error| linking(&error, "linking", &shown, path))?;
        } else {
            let source = source.unwrap_or_default();
            replace(&whole, path, src, |temporary| {
                if before == "directory" && whole.exists() {
                    match std::fs::remove_file(&whole) {
                        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                            return Err(error);
                        }
                        _ => {}
                    }
                }
                std::fs::hard_link(&source, temporary)
            })?;
        }
    }
    if context.settings.check && !whole.exists() {
        return Ok(linked(path, src.as_deref(), changed, diff));
    }
    changed = wanted.apply(context, changed, Some(&mut diff))?;
    changed |= update_times(context, &wanted.path, times, Some(&mut diff))?;
    Ok(linked(path, src.as_deref(), changed, diff))
}
