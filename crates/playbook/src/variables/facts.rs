//! Facts of hosts, and where they are kept from run to run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use consort_jinja::{Dict, Key, Value};
use indexmap::IndexMap;
use parking_lot::Mutex;

use crate::values;

/// The facts of a host: as modules gave them, and as `ansible_facts` shows them.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// With their prefix: `ansible_distribution`.
    pub given: Dict,
    /// Without it: `distribution`.
    pub shown: Dict,
}

impl Facts {
    /// Adds facts, which take the place of those of the same names. Costs as much as is added.
    pub(super) fn add(&self, facts: &Dict) {
        let facts = facts.read().clone();
        self.shown.change(|shown| {
            for (key, value) in &facts {
                let name = match key.as_str() {
                    Some("ansible_local") | None => key.clone(),
                    Some(name) => name
                        .strip_prefix("ansible_")
                        .map_or_else(|| key.clone(), Key::from),
                };
                shown.insert(name, value.clone());
            }
        });
        self.given.change(|given| given.extend(facts));
    }
}

/// Whether a fact may be seen under its own name: those that would change how a host is reached may not.
pub(crate) fn may_be_variable(name: &str) -> bool {
    const RESERVED: &[&str] = &[
        "ansible_connection",
        "ansible_module_compression",
        "ansible_shell_type",
        "ansible_shell_executable",
        "ansible_ssh_host",
        "ansible_host",
        "ansible_ssh_user",
        "ansible_user",
        "ansible_ssh_pass",
        "ansible_password",
        "ansible_ssh_port",
        "ansible_port",
        "ansible_ssh_pipelining",
        "ansible_pipelining",
        "ansible_ssh_timeout",
        "ansible_timeout",
        "ansible_ssh_private_key_file",
        "ansible_private_key_file",
        "ansible_network_os",
        "ansible_connection_user",
        "ansible_become",
        "ansible_playbook_python",
        "ansible_facts",
    ];
    /// The plugins whose variables begin with their names.
    const CONNECTIONS: &[&str] = &[
        "ansible_local_",
        "ansible_paramiko_ssh_",
        "ansible_psrp_",
        "ansible_ssh_",
        "ansible_winrm_",
    ];
    if name.starts_with("ansible_ssh_host_key_") {
        return true;
    }
    if RESERVED.contains(&name)
        || name.starts_with("ansible_become_")
        || name.starts_with("_ansible_")
        || (name.starts_with("ansible_") && name.ends_with("_interpreter"))
    {
        return false;
    }
    !(CONNECTIONS.iter().any(|prefix| name.starts_with(prefix))
        && !name.ends_with("_bridge")
        && !name.ends_with("_gwbridge"))
}

/// Where facts are kept.
pub trait FactCache: Send + Sync {
    /// The facts of a host; none if there are none, or they are too old.
    fn load(&self, host: &str) -> Option<Dict>;
    /// Keeps the facts of a host.
    ///
    /// # Errors
    /// They cannot be written: a message.
    fn store(&self, host: &str, facts: &Dict) -> Result<(), String>;
    /// Forgets the facts of a host.
    fn forget(&self, host: &str);
}

/// Facts are kept while the run lasts only.
#[derive(Default)]
pub struct Memory;

impl FactCache for Memory {
    fn load(&self, _host: &str) -> Option<Dict> {
        None
    }

    fn store(&self, _host: &str, _facts: &Dict) -> Result<(), String> {
        Ok(())
    }

    fn forget(&self, _host: &str) {}
}

/// Facts are kept in files of JSON, one a host.
pub struct JsonFiles {
    directory: PathBuf,
    prefix: String,
    /// How old they may be; any age if there is none.
    timeout: Option<Duration>,
    loaded: Mutex<HashMap<String, SystemTime>>,
}

impl JsonFiles {
    /// In a directory, which is made when it is wanted.
    pub fn new(directory: &Path, prefix: &str, timeout: Option<Duration>) -> Self {
        JsonFiles {
            directory: directory.to_owned(),
            prefix: prefix.to_owned(),
            timeout,
            loaded: Mutex::default(),
        }
    }

    fn path(&self, host: &str) -> PathBuf {
        self.directory
            .join(format!("{}{}", self.prefix, host.replace('/', "_")))
    }
}

impl FactCache for JsonFiles {
    fn load(&self, host: &str) -> Option<Dict> {
        let path = self.path(host);
        let written = std::fs::metadata(&path).ok()?.modified().ok()?;
        let young = self.timeout.is_none_or(|timeout| {
            SystemTime::now()
                .duration_since(written)
                .is_ok_and(|age| age < timeout)
        });
        if !young {
            return None;
        }
        let text = std::fs::read(&path).ok()?;
        self.loaded.lock().insert(host.to_owned(), written);
        match serde_json::from_slice(&text).ok()? {
            serde_json::Value::Object(entries) => Some(values::from_report(entries)),
            _ => None,
        }
    }

    fn store(&self, host: &str, facts: &Dict) -> Result<(), String> {
        let path = self.path(host);
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(&self.directory)?;
            let text = serde_json::to_vec_pretty(&values::to_json(&Value::Dict(facts.clone())))
                .map_err(std::io::Error::other)?;
            // Whole or not at all: another run may read it meanwhile.
            let beside = path.with_extension(format!("{}.new", std::process::id()));
            std::fs::write(&beside, text)?;
            std::fs::rename(&beside, &path)
        };
        write().map_err(|error| {
            format!(
                "error in 'jsonfile' cache plugin while trying to write to '{}' : {error}",
                path.display()
            )
        })
    }

    fn forget(&self, host: &str) {
        // What is not there is forgotten already.
        let _ = std::fs::remove_file(self.path(host));
    }
}

/// A dict without entries.
pub(super) fn empty() -> Dict {
    Dict::new(IndexMap::new())
}
