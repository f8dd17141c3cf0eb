//! Installation of modules and providers.

pub mod archive;
pub mod cli_config;
mod error;
mod getter;
pub mod hash;
mod http;
mod lock;
mod manifest;
mod mirror;
mod modules;
pub mod openpgp;
mod platform;
mod provider_registry;
mod providers;

pub use cli_config::CliConfig;
pub use error::Error;
pub use http::Http;
pub use lock::{LOCK_FILE, Lock, Locks};
pub use manifest::{Manifest, Record};
pub use modules::{ModuleEvent, ModuleInstaller};
pub use platform::Platform;
pub use providers::{Authentication, Event, Failure, Installer, Mode, executables};

use std::io::Write as _;
use std::path::Path;

/// Writes a file whole or not at all: beside its place first, then moved there.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> Result<(), Error> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let directory = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    std::fs::create_dir_all(directory).map_err(Error::io("creating", directory))?;
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let beside = directory.join(format!(".{name}.{}.new", std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    };
    write().map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        Error::io("writing", path)(error)
    })
}
