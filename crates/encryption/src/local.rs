//! Keys of this installation, made when none are there.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use consort_store::Key;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::extended::{Extended, SEED};
use crate::provider::{Provider, random};

/// The keys in one file, which only its owner can read. The first one seals, all of them open.
#[derive(Clone, Debug)]
pub struct LocalKeys {
    path: PathBuf,
    keys: Vec<Entry>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    /// Base64.
    seed: String,
    /// Seconds since 1970.
    created: u64,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    keys: Vec<Entry>,
}

impl LocalKeys {
    /// Reads the keys in a file, or makes it with one.
    ///
    /// # Errors
    ///
    /// [`Error::Keys`] and [`Error::Open`] when the file is not what it should be, [`Error::Io`],
    /// [`Error::Random`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        match std::fs::read(path) {
            Ok(bytes) => Self::parse(path, &bytes),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let mut keys = Self {
                    path: path.to_owned(),
                    keys: Vec::new(),
                };
                keys.rotate()?;
                Ok(keys)
            }
            Err(e) => Err(Error::io("reading", path, e)),
        }
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let meta = std::fs::metadata(path).map_err(|e| Error::io("reading", path, e))?;
        let mode = meta.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(Error::Open {
                path: path.to_owned(),
                mode,
            });
        }
        let bad = |detail: String| Error::Keys {
            path: path.to_owned(),
            detail,
        };
        // The parser's own text could show what stands in the file.
        let contents: Contents = serde_json::from_slice(bytes)
            .map_err(|e| bad(format!("line {}, column {}", e.line(), e.column())))?;
        let keys = Self {
            path: path.to_owned(),
            keys: contents.keys,
        };
        if keys.keys.is_empty() {
            return Err(bad("it has no key".to_owned()));
        }
        for (at, entry) in keys.keys.iter().enumerate() {
            if seed(entry).is_none() {
                return Err(bad(format!("keys[{at}].seed is not 32 bytes in base64")));
            }
            if !entry.name.starts_with('k') || entry.name.contains(':') {
                return Err(bad(format!("keys[{at}].name is not one of ours")));
            }
        }
        Ok(keys)
    }

    /// Makes a new key and puts it first: it seals from now on. Durable when this returns.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Random`].
    pub fn rotate(&mut self) -> Result<(), Error> {
        let seed: [u8; SEED] = random().ok_or(Error::Random)?;
        let number = self
            .keys
            .iter()
            .filter_map(|entry| {
                entry
                    .name
                    .strip_prefix('k')?
                    .split('-')
                    .next()?
                    .parse::<u64>()
                    .ok()
            })
            .max()
            .unwrap_or(0);
        let created = SystemTime::now().duration_since(UNIX_EPOCH);
        let entry = Entry {
            // The digest tells keys of different installations apart.
            name: format!("k{}-{}", number + 1, fingerprint(&seed)),
            seed: BASE64_STANDARD.encode(seed),
            created: created.map_or(0, |since| since.as_secs()),
        };
        self.keys.insert(0, entry);
        self.write()
    }

    /// Drops all keys but the first. What another one sealed cannot be read any more.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn forget(&mut self) -> Result<(), Error> {
        self.keys.truncate(1);
        self.write()
    }

    /// Names of the keys; the first one seals.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|entry| entry.name.as_str())
    }

    fn write(&self) -> Result<(), Error> {
        let contents = Contents {
            keys: self.keys.clone(),
        };
        let text = serde_json::to_vec_pretty(&contents).unwrap_or_default();
        let partial = self.path.with_extension("partial");
        let written = || -> std::io::Result<()> {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&partial)?;
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&partial, &self.path)?;
            let dir = self.path.parent().unwrap_or_else(|| Path::new("."));
            File::open(dir)?.sync_all()
        };
        written().map_err(|e| Error::io("writing", &self.path, e))
    }

    /// The keys as providers, the one that seals first.
    pub(crate) fn providers(&self) -> Vec<Local> {
        self.keys
            .iter()
            .filter_map(|entry| {
                Some(Local {
                    prefix: format!("{PREFIX}{}:", entry.name),
                    key: Extended::new(&seed(entry)?),
                })
            })
            .collect()
    }
}

fn fingerprint(seed: &[u8; SEED]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, seed);
    let digest = digest.as_ref().iter().take(4);
    digest.map(|byte| format!("{byte:02x}")).collect()
}

fn seed(entry: &Entry) -> Option<[u8; SEED]> {
    BASE64_STANDARD.decode(&entry.seed).ok()?.try_into().ok()
}

const PREFIX: &str = "consort:enc:v1:";

/// One key of this installation.
pub(crate) struct Local {
    prefix: String,
    key: Extended,
}

impl Provider for Local {
    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn seal(&self, key: &Key, plain: &[u8]) -> Result<Vec<u8>, String> {
        self.key.seal(key.as_str().as_bytes(), plain)
    }

    fn open(&self, key: &Key, sealed: &[u8]) -> Result<Vec<u8>, String> {
        self.key.open(key.as_str().as_bytes(), sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_kept_private_and_rotated_in_front() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        let mut keys = LocalKeys::open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let again = LocalKeys::open(&path).unwrap();
        assert_eq!(again.keys[0].seed, keys.keys[0].seed);
        keys.rotate().unwrap();
        let again = LocalKeys::open(&path).unwrap();
        let numbers: Vec<_> = again.names().map(|name| &name[..3]).collect();
        assert_eq!(numbers, ["k2-", "k1-"]);
        assert!(!format!("{again:?}").contains(&again.keys[0].seed));
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640))
            .unwrap();
        assert!(matches!(
            LocalKeys::open(&path),
            Err(Error::Open { mode: 0o640, .. })
        ));
    }

    #[test]
    fn a_damaged_file_of_keys_is_named_and_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        for text in [
            "",
            "{}",
            r#"{"keys": []}"#,
            r#"{"keys": [{"name": "k1", "seed": "SECRET", "created": 0}]}"#,
            r#"{"keys": "SECRET"}"#,
        ] {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&path)
                .unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let error = LocalKeys::open(&path).unwrap_err();
            assert!(matches!(error, Error::Keys { .. }), "{text}");
            assert!(!error.to_string().contains("SECRET"), "{error}");
        }
    }
}
