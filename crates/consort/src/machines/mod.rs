//! Machines of this host, as the command line, the server and Terraform configurations see them.

mod images;
mod provider;

use std::path::{Path, PathBuf};

use consort_machine::{Machines, Options};

use crate::cli::Global;
use crate::error::{Failure, Kind, Result, chain};
use crate::settings::Configuration;

pub(crate) use images::Store;
pub(crate) use provider::Consort;

/// The machines' directory within a data directory.
pub(crate) fn machines_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("machines")
}

/// The machines of a data directory.
pub(crate) fn open(data_dir: &Path) -> Result<Machines> {
    let options = Options {
        dir: machines_dir(data_dir),
        instance: crate::identity::instance(data_dir),
        shim_exe: std::env::current_exe()?,
    };
    Machines::open(options).map_err(|error| failure(&error))
}

/// An error of machines as a command's failure.
pub(crate) fn failure(error: &consort_machine::Error) -> Failure {
    let kind = match error {
        consort_machine::Error::NotRoot => Kind::Permission,
        consort_machine::Error::Invalid(_) => Kind::Input,
        _ => Kind::Failed,
    };
    Failure::new(kind, chain(error))
}

/// The settings that commands without the usual options have: of the environment and the configuration file.
pub(crate) fn configuration() -> Result<Configuration> {
    Configuration::read(&Global {
        config: std::env::var_os("CONSORT_CONFIG").map(PathBuf::from),
        log: None,
        log_format: None,
        colour: crate::output::Colour::default(),
    })
}

/// The data directory that the environment names, or else the settings; absolute.
pub(crate) fn data_dir(settings: &Configuration, flag: Option<&PathBuf>) -> Result<PathBuf> {
    let named = std::env::var_os("CONSORT_DATA_DIR")
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from);
    let dir = settings.data_dir(flag.or(named.as_ref()));
    std::path::absolute(&dir).map_err(|error| {
        Failure::new(
            Kind::Usage,
            format!("data directory {}: {error}", dir.display()),
        )
    })
}
