//! Homes of users, made like the skeleton.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::atomic;
use crate::context::Context;
use crate::invocation::Failure;
use crate::python;

/// Makes a home with all that leads to it, like the skeleton, if it is not there.
pub(super) fn create(
    context: &Context<'_>,
    skeleton: Option<&str>,
    home: &str,
) -> Result<(), Failure> {
    let path = context.path(home);
    if path.exists() {
        return Ok(());
    }
    let told = |error: std::io::Error| Failure::new(python::os_error_at_text(&error, home));
    if context.settings.check {
        return Ok(());
    }
    let skeleton = skeleton.unwrap_or("/etc/skel");
    let from = context.path(skeleton);
    if from.exists() && skeleton != "/dev/null" {
        copy_tree(&from, &path)?;
    } else {
        std::fs::create_dir_all(&path).map_err(told)?;
    }
    if let Ok(definitions) = std::fs::read_to_string("/etc/login.defs") {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode(&definitions)))
            .map_err(told)?;
    }
    Ok(())
}

/// The mode of new homes by the definitions of logins.
fn mode(definitions: &str) -> u32 {
    let value = |line: &str, name: &str| {
        let rest = line.strip_prefix(name)?;
        let digits = rest.trim_start();
        let is_number = rest.len() > digits.len() && digits.bytes().all(|b| b.is_ascii_digit());
        is_number
            .then(|| u32::from_str_radix(digits, 8).ok())
            .flatten()
    };
    let mut mode = 0o755;
    for line in definitions.lines() {
        if let Some(own) = value(line, "HOME_MODE") {
            return own;
        }
        if let Some(umask) = value(line, "UMASK") {
            mode = 0o777 & !umask;
        }
    }
    mode
}

/// Copies a directory with what is in it; links stay links.
fn copy_tree(from: &Path, to: &Path) -> Result<(), Failure> {
    let told = |error: std::io::Error, path: &Path| {
        Failure::new(python::os_error_at_text(&error, &path.to_string_lossy()))
    };
    let mut pending = vec![(from.to_owned(), to.to_owned())];
    let mut made = Vec::new();
    while let Some((from, to)) = pending.pop() {
        std::fs::create_dir_all(&to).map_err(|error| told(error, &to))?;
        for entry in std::fs::read_dir(&from).map_err(|error| told(error, &from))? {
            let entry = entry.map_err(|error| told(error, &from))?;
            let (source, target) = (entry.path(), to.join(entry.file_name()));
            let kind = entry.file_type().map_err(|error| told(error, &source))?;
            if kind.is_dir() {
                pending.push((source, target));
            } else if kind.is_symlink() {
                std::fs::read_link(&source)
                    .and_then(|leads| std::os::unix::fs::symlink(leads, &target))
                    .map_err(|error| told(error, &target))?;
            } else {
                atomic::copy_with_status(&source, &target).map_err(|error| told(error, &target))?;
            }
        }
        made.push((from, to));
    }
    for (from, to) in made {
        let like = std::fs::metadata(&from).map_err(|error| told(error, &from))?;
        std::fs::set_permissions(&to, like.permissions()).map_err(|error| told(error, &to))?;
    }
    Ok(())
}

/// Gives a home and all that is in it to a user. Links, and what they lead to, stay whose they are.
pub(super) fn give(context: &Context<'_>, home: &str, uid: u32, gid: u32) -> Result<(), Failure> {
    let own = |path: &Path| {
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(|error| {
            Failure::new(python::os_error_at_text(&error, &path.to_string_lossy()))
        })
    };
    let top = context.path(home);
    own(&top)?;
    let mut pending = vec![top];
    while let Some(directory) = pending.pop() {
        // What cannot be read is left, as a walk in Python leaves it.
        for entry in std::fs::read_dir(&directory)
            .into_iter()
            .flatten()
            .flatten()
        {
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_symlink() {
                continue;
            }
            own(&entry.path())?;
            if kind.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    Ok(())
}
