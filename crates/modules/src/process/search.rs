//! Where programs are found.

use std::os::unix::fs::PermissionsExt as _;

use crate::context::Context;
use crate::invocation::Failure;
use crate::python;

/// The path of a program: as it is with a slash in it, or found in `PATH` of an environment. The error is what the system
/// would say.
pub(super) fn look_up(
    program: &str,
    environment: &[(String, String)],
    base: &std::path::Path,
) -> std::io::Result<String> {
    let missing = || std::io::Error::from_raw_os_error(libc::ENOENT);
    let may_run = |path: &std::path::Path| {
        nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).map_err(std::io::Error::from)
    };
    if program.contains('/') {
        may_run(&base.join(program))?;
        return Ok(program.to_owned());
    }
    let path = environment
        .iter()
        .rev()
        .find(|(name, _)| name == "PATH")
        .map(|(_, value)| value.clone())
        .or_else(|| std::env::var("PATH").ok())
        .ok_or_else(missing)?;
    path.split(':')
        .filter(|directory| !directory.is_empty())
        .map(|directory| format!("{directory}/{program}"))
        .find(|path| {
            let path = base.join(path);
            !path.is_dir() && may_run(&path).is_ok()
        })
        .ok_or_else(missing)
}

fn is_program(context: &Context<'_>, path: &str) -> bool {
    std::fs::metadata(context.path(path))
        .is_ok_and(|meta| !meta.is_dir() && meta.permissions().mode() & 0o111 != 0)
}

/// The directories programs are searched in: first the ones given that exist, then `PATH`, then those of `sbin`.
fn search_path(context: &Context<'_>, first: &[&str]) -> Vec<String> {
    let mut directories: Vec<String> = first
        .iter()
        .filter(|directory| context.path(directory).exists())
        .map(|directory| (*directory).to_owned())
        .collect();
    directories.extend(
        context
            .variable("PATH")
            .unwrap_or_default()
            .split(':')
            .map(str::to_owned),
    );
    for directory in ["/sbin", "/usr/sbin", "/usr/local/sbin"] {
        if !directories.iter().any(|known| known == directory)
            && std::path::Path::new(directory).exists()
        {
            directories.push(directory.to_owned());
        }
    }
    directories
}

/// The path of a program (`get_bin_path`), searched in directories of the module's own first.
pub fn find(context: &Context<'_>, program: &str, first: &[&str]) -> Option<String> {
    search_path(context, first)
        .into_iter()
        .filter(|directory| !directory.is_empty())
        .map(|directory| python::join(&directory, program))
        .find(|path| is_program(context, path))
}

/// The path of a program without which the module cannot work (`get_bin_path(required=True)`).
pub fn required(context: &Context<'_>, program: &str, first: &[&str]) -> Result<String, Failure> {
    find(context, program, first).ok_or_else(|| {
        Failure::new(format!(
            "Failed to find required executable \"{program}\" in paths: {}",
            search_path(context, first).join(":")
        ))
    })
}
