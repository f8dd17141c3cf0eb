//! Settings: `ansible.cfg` and `ANSIBLE_*` variables, as ansible-core 2.21 reads them.
//!
//! A setting comes from the first that has it of: its environment variables, the file, its default. Which file is read:
//! that of `ANSIBLE_CONFIG`, else `ansible.cfg` here (unless everybody may write here), `~/.ansible.cfg`,
//! `/etc/ansible/ansible.cfg`.

mod outgoing;
mod unheeded;
#[macro_use]
mod value;
mod table;

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use consort_modules::ini::{Ini, Reading};

use crate::paths::{self, Surroundings};
use crate::source::{Located, Notice};

pub(crate) use outgoing::outgoing;
pub use table::Settings;
pub(crate) use unheeded::unheeded;
pub use value::Entry;

/// The ansible-core whose settings, messages and behaviour are followed.
pub const ANSIBLE_VERSION: &str = "2.21.5";

/// Where settings come from: a file and the variables of the environment.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file, if one was found.
    pub file: Option<PathBuf>,
    ini: Ini,
    surroundings: Surroundings,
}

impl Sources {
    /// Finds and reads the file. What there is to warn of goes to `notices`.
    ///
    /// # Errors
    /// The file is none of settings.
    pub fn find(surroundings: Surroundings, notices: &mut Vec<Notice>) -> Result<Sources, Located> {
        let mut candidates = Vec::new();
        let named = surroundings
            .variables
            .get("ANSIBLE_CONFIG")
            .map(|path| paths::unfrack(path, &surroundings, None))
            .map(|path| {
                if Path::new(&path).is_dir() {
                    paths::join(&path, "ansible.cfg")
                } else {
                    path
                }
            });
        candidates.extend(named.clone());
        let here = paths::join(&surroundings.directory, "ansible.cfg");
        let public = std::fs::metadata(&surroundings.directory)
            .is_ok_and(|meta| meta.permissions().mode() & 0o002 != 0);
        if !public {
            candidates.push(here.clone());
        }
        candidates.push(paths::unfrack("~/.ansible.cfg", &surroundings, None));
        candidates.push("/etc/ansible/ansible.cfg".to_owned());
        let file = candidates
            .into_iter()
            .find(|path| std::fs::File::open(path).is_ok());
        if public && (file.is_none() || file != named) && Path::new(&here).exists() {
            notices.push(Notice::Warning(Located::new(format!(
                "Ansible is being run in a world writable directory ({}), ignoring it as an ansible.cfg source. For more information see https://docs.ansible.com/ansible/devel/reference_appendices/config.html#cfg-in-world-writable-dir",
                surroundings.directory
            ))));
        }
        let mut ini = Ini::default();
        if let Some(file) = &file {
            let bytes = std::fs::read(file).map_err(|error| {
                Located::new(format!("Error reading config file ({file}): {error}")).exiting(5)
            })?;
            let text = String::from_utf8(bytes).map_err(|error| {
                Located::new(format!(
                    "Error reading config file({file}) because the config file was not utf8 encoded: {error}"
                ))
                .exiting(5)
            })?;
            let reading = Reading {
                name: "<string>",
                comments: true,
                ..Reading::default()
            };
            ini.read(&text, &reading).map_err(|wrong| {
                let message = wrong.into_message();
                Located::new(format!("Error reading config file ({file}): {message}")).exiting(5)
            })?;
        }
        Ok(Sources {
            file: file.map(PathBuf::from),
            ini,
            surroundings,
        })
    }

    /// No file: the environment alone.
    pub fn bare(surroundings: Surroundings) -> Sources {
        Sources {
            file: None,
            ini: Ini::default(),
            surroundings,
        }
    }

    /// The environment and the directory settings are seen from.
    pub fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    /// What the environment says for the first of some variables, or the file for the first of some keys: for the
    /// options of plugins, which have settings of their own. With whether it is from the file.
    pub fn raw(&self, environment: &[&str], keys: &[(&str, &str)]) -> Option<(String, bool)> {
        let variables = &self.surroundings.variables;
        environment
            .iter()
            .rev()
            .find_map(|name| variables.get(*name))
            .map(|value| (value.clone(), false))
            .or_else(|| {
                keys.iter()
                    .rev()
                    .find_map(|(section, key)| self.ini.value(section, key))
                    .map(|value| (value.to_owned(), true))
            })
    }

    /// The value of a setting by its name in the documentation (`DEFAULT_FORKS`), and where it is from; none if there is no
    /// such setting.
    pub fn value(&self, name: &str) -> Option<Result<(consort_jinja::Value, String), Located>> {
        let entry = Settings::entries()
            .iter()
            .find(|entry| entry.name == name)?;
        Some(value::read(entry, self).map(|read| {
            let origin = match self.raw(entry.environment, entry.keys) {
                None => "default".to_owned(),
                Some((_, true)) => self
                    .file
                    .as_ref()
                    .map(|file| file.display().to_string())
                    .unwrap_or_default(),
                Some((_, false)) => {
                    format!("env: {}", entry.environment.last().unwrap_or(&""))
                }
            };
            (read.into_value(), origin)
        }))
    }

    /// The entries of a section of the file.
    pub fn section(&self, name: &str) -> HashMap<String, String> {
        let entries = self.ini.sections.get(name).into_iter().flatten();
        entries
            .filter_map(|(name, value)| Some((name.clone(), value.as_deref()?.to_owned())))
            .collect()
    }
}

impl Settings {
    /// All settings.
    ///
    /// # Errors
    /// A value is not of its setting's type or choices.
    pub fn load(sources: &Sources) -> Result<Settings, Located> {
        Settings::read(&|entry| value::read(entry, sources))
    }

    /// The defaults, as if there were neither a file nor an environment.
    ///
    /// # Errors
    /// There are none: the defaults are of their types.
    pub fn defaults() -> Result<Settings, Located> {
        Settings::load(&Sources::default())
    }

    /// The colour settings, retries, and all others by their names in the documentation (`DEFAULT_FORKS`): what is said
    /// of each.
    pub fn entries() -> &'static [Entry] {
        table::ENTRIES
    }
}
