//! Where facts are kept from run to run.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use consort_jinja::Dict;
use sha2::{Digest as _, Sha256};

use super::persisted;
use crate::source::Reader;

/// Where facts are kept.
pub trait FactCache: Send + Sync {
    /// The facts of a host; none if there are none, or they are too old.
    ///
    /// # Errors
    /// What is kept cannot be read: a message.
    fn load(&self, host: &str) -> Result<Option<Dict>, String>;
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
    fn load(&self, _host: &str) -> Result<Option<Dict>, String> {
        Ok(None)
    }

    fn store(&self, _host: &str, _facts: &Dict) -> Result<(), String> {
        Ok(())
    }

    fn forget(&self, _host: &str) {}
}

/// Facts are kept in files of JSON, one a host: those of ansible-core's plugin `jsonfile`, which reads and writes the same.
pub struct JsonFiles {
    directory: PathBuf,
    prefix: String,
    /// How old they may be; any age if there is none.
    timeout: Option<Duration>,
    /// Opens what is kept encrypted.
    reader: Reader,
}

/// What ansible-core puts before the names of hosts: the form in which values are written.
const FORM: &str = "s1_";
/// The key of the text in which all facts are written.
const PAYLOAD: &str = "__payload__";

impl JsonFiles {
    /// In a directory, which is made when it is not there.
    ///
    /// # Errors
    /// It cannot be made, or not be used: a message.
    pub fn new(
        directory: &Path,
        prefix: &str,
        timeout: Option<Duration>,
        reader: Reader,
    ) -> Result<Self, String> {
        use nix::unistd::{AccessFlags, access};
        if !directory.exists() && std::fs::create_dir_all(directory).is_err() {
            return Err(format!(
                "Error in 'jsonfile' cache plugin while trying to create cache dir '{}'.",
                directory.display()
            ));
        }
        let needed = AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK;
        if access(directory, needed).is_err() {
            return Err(format!(
                "''jsonfile'' cache, configured path ({}) does not have necessary permissions (rwx), disabling plugin",
                directory.display()
            ));
        }
        Ok(JsonFiles {
            directory: directory.to_owned(),
            prefix: prefix.to_owned(),
            timeout,
            reader,
        })
    }

    fn path(&self, host: &str) -> PathBuf {
        let key = format!("{FORM}{host}");
        // What cannot stand in the name of a file is known by its hash.
        let safe = if ["/", "..", "<", ">", "|"]
            .iter()
            .any(|part| key.contains(part))
        {
            let mut hash = String::new();
            for byte in Sha256::digest(&key) {
                let _ = write!(hash, "{byte:02x}");
            }
            hash.truncate(key.chars().count().max(12));
            hash
        } else {
            key
        };
        self.directory.join(format!("{}{safe}", self.prefix))
    }
}

impl FactCache for JsonFiles {
    fn load(&self, host: &str) -> Result<Option<Dict>, String> {
        let path = self.path(host);
        let Ok(about) = std::fs::metadata(&path) else {
            return Ok(None);
        };
        let young = self.timeout.is_none_or(|timeout| {
            let written = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            // What is of the future is not old.
            SystemTime::now()
                .duration_since(written)
                .map_or(true, |age| age <= timeout)
        });
        if !young {
            return Ok(None);
        }
        let content = std::fs::read(&path)
            .map_err(|_| format!("Error while accessing the cache file '{}'.", path.display()))?;
        let kept = serde_json::from_slice::<serde_json::Value>(&content).ok();
        let facts = kept
            .as_ref()
            .and_then(|kept| kept.get(PAYLOAD)?.as_str())
            .and_then(|text| persisted::read(text, &self.reader));
        match facts {
            Some(facts) => Ok(Some(facts)),
            None => {
                // The next run begins anew.
                let _ = std::fs::remove_file(&path);
                Err(format!(
                    "The cache file {} was corrupt, or did not otherwise contain valid data. It has been removed, so you can \
                     re-run your command now.",
                    path.display()
                ))
            }
        }
    }

    fn store(&self, host: &str, facts: &Dict) -> Result<(), String> {
        let path = self.path(host);
        let write = || -> std::io::Result<()> {
            let payload = persisted::written(facts, &self.reader);
            let text = serde_json::json!({PAYLOAD: payload}).to_string();
            // Whole or not at all: another run may read it meanwhile.
            let mut beside = tempfile::NamedTempFile::new_in(&self.directory)?;
            beside.write_all(text.as_bytes())?;
            beside
                .as_file()
                .set_permissions(std::fs::Permissions::from_mode(0o644))?;
            beside.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(|error| {
            format!(
                "Error in 'jsonfile' cache plugin while trying to write to '{}'.: {error}",
                path.display()
            )
        })
    }

    fn forget(&self, host: &str) {
        // What is not there is forgotten already.
        let _ = std::fs::remove_file(self.path(host));
    }
}
