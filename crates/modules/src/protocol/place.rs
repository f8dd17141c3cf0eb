//! Where a helper works.
//!
//! Whoever is become begins in the directory of who logged in, and may not be allowed to look into it. Ansible's modules then go to the
//! directory for temporary files, which they make and warn of; a helper goes home, and does the rest as they do.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::unistd::{AccessFlags, access};
use serde_json::Value;

use super::files;
use crate::invocation::{Report, Settings};

/// Whether this process began where it may not look.
static ASTRAY: AtomicBool = AtomicBool::new(false);

fn is_readable(directory: &Path) -> bool {
    access(directory, AccessFlags::F_OK | AccessFlags::R_OK).is_ok()
}

/// Leaves a directory that cannot be looked into. To be called before there are threads.
pub(super) fn settle() {
    if std::env::current_dir().is_ok_and(|directory| is_readable(&directory)) {
        return;
    }
    ASTRAY.store(true, Ordering::Relaxed);
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let places = home.into_iter().chain(["/tmp".into(), "/".into()]);
    for place in places.filter(|place| is_readable(place)) {
        if std::env::set_current_dir(&place).is_ok() {
            return;
        }
    }
}

/// Makes the directory for temporary files, where this process began astray, and warns of it in a module's report.
pub(super) fn warn(settings: &Settings, report: &mut Report) {
    if !ASTRAY.load(Ordering::Relaxed) {
        return;
    }
    let base = files::expand(&settings.remote_tmp);
    if base.exists() {
        return;
    }
    let warning = match files::private_directory(&base) {
        Ok(()) => format!(
            "Module remote_tmp {} did not exist and was created with a mode of 0700, this may cause issues when running as another user. \
             To avoid this, create the remote_tmp dir with the correct permissions manually",
            base.display()
        ),
        Err(error) => format!(
            "Unable to use {} as temporary directory, failing back to system: {}",
            base.display(),
            crate::python::os_error_at_text(&error, &base.to_string_lossy())
        ),
    };
    match report.get_mut("warnings") {
        Some(Value::Array(warnings)) => warnings.push(warning.into()),
        _ => {
            report.insert("warnings".to_owned(), vec![Value::from(warning)].into());
        }
    }
}
