//! The files of a playbook on this machine.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};

use consort_git::{Credentials, Repositories, Resolved, Tree};
use k8s_openapi::api::core::v1::ConfigMap;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use crate::object::{GitSource, MapSource};

/// What is wrong with a source, in a word and a sentence.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Fault {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Fault {
            reason,
            message: message.into(),
        }
    }
}

impl From<consort_git::Error> for Fault {
    fn from(error: consort_git::Error) -> Self {
        Fault::new(error.reason(), error.to_string())
    }
}

/// What a source is at, before its files are here.
#[derive(Clone, Debug)]
pub(crate) enum Version {
    /// A commit.
    Commit(Resolved),
    /// Files, with a digest of them.
    Files {
        files: BTreeMap<PathBuf, Vec<u8>>,
        digest: String,
    },
}

impl Version {
    /// The commit, or the digest of the files.
    pub(crate) fn digest(&self) -> &str {
        match self {
            Version::Commit(resolved) => &resolved.commit,
            Version::Files { digest, .. } => digest,
        }
    }

    /// The files of a ConfigMap.
    pub(crate) fn of_map(map: &ConfigMap, source: &MapSource) -> Result<Self, Fault> {
        let invalid = |message: String| Fault::new("InvalidSource", message);
        let content = |key: &str| {
            let text = map.data.as_ref().and_then(|data| data.get(key));
            let bytes = map.binary_data.as_ref().and_then(|data| data.get(key));
            text.map(|text| text.clone().into_bytes())
                .or_else(|| bytes.map(|bytes| bytes.0.clone()))
        };
        let mut files = BTreeMap::new();
        if source.items.is_empty() {
            let texts = map.data.iter().flatten().map(|(key, _)| key);
            let bytes = map.binary_data.iter().flatten().map(|(key, _)| key);
            for key in texts.chain(bytes) {
                files.insert(PathBuf::from(key), content(key).unwrap_or_default());
            }
        }
        for item in &source.items {
            let path = Path::new(&item.path);
            let plain = |step: Component<'_>| matches!(step, Component::Normal(_));
            if item.path.is_empty() || !path.components().all(plain) {
                return Err(invalid(format!(
                    "configmap {}: path {:?} of key {} does not lead to a file of the source",
                    source.name, item.path, item.key
                )));
            }
            let content = content(&item.key).ok_or_else(|| {
                invalid(format!("configmap {} has no key {}", source.name, item.key))
            })?;
            if files.insert(path.to_owned(), content).is_some() {
                return Err(invalid(format!(
                    "configmap {}: two keys become the file {}",
                    source.name, item.path
                )));
            }
        }
        if let Some(path) = files.keys().find(|path| {
            path.ancestors()
                .skip(1)
                .any(|above| files.contains_key(above))
        }) {
            return Err(invalid(format!(
                "configmap {}: {} lies below another file",
                source.name,
                path.display()
            )));
        }
        let mut hash = Sha256::new();
        for (path, content) in &files {
            for part in [path.as_os_str().as_encoded_bytes(), content] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        let digest = format!("sha256:{}", hex(&hash.finalize()[..16]));
        Ok(Version::Files { files, digest })
    }
}

/// In hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A directory with the files of a version.
pub(crate) struct Files {
    pub(crate) directory: PathBuf,
    /// The commit, for people.
    pub(crate) revision: String,
    /// What keeps the directory there.
    _held: Held,
}

enum Held {
    Tree { _tree: Tree },
    Written { _files: Written },
}

/// A directory that is removed when this is dropped.
struct Written(PathBuf);

impl Drop for Written {
    fn drop(&mut self) {
        // What stays is removed before the next run.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Checks a commit out.
pub(crate) async fn check_out(
    repositories: &Repositories,
    git: &GitSource,
    credentials: &Credentials,
    resolved: &Resolved,
    cancel: &CancellationToken,
) -> Result<Files, Fault> {
    let tree = repositories
        .tree(&git.url, credentials, resolved, cancel)
        .await?;
    let id = &tree.commit.id;
    Ok(Files {
        directory: tree.at(&git.path)?,
        revision: format!(
            "{} {}",
            &id[..id.floor_char_boundary(8)],
            tree.commit.subject
        ),
        _held: Held::Tree { _tree: tree },
    })
}

/// Writes files into a directory, in place of all that is there; it is gone when they are dropped.
pub(crate) fn write_out(
    directory: &Path,
    files: &BTreeMap<PathBuf, Vec<u8>>,
) -> std::io::Result<Files> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    if let Err(error) = std::fs::remove_dir_all(directory)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error);
    }
    // Readable by its owner only, as all of it is.
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    let held = Written(directory.to_owned());
    for (path, content) in files {
        let path = directory.join(path);
        if let Some(above) = path.parent() {
            std::fs::create_dir_all(above)?;
        }
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?
            .write_all(content)?;
    }
    Ok(Files {
        directory: directory.to_owned(),
        revision: String::new(),
        _held: Held::Written { _files: held },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Item;

    fn map(data: &[(&str, &str)]) -> ConfigMap {
        ConfigMap {
            data: Some(
                data.iter()
                    .map(|(key, text)| ((*key).to_owned(), (*text).to_owned()))
                    .collect(),
            ),
            ..ConfigMap::default()
        }
    }

    fn source(items: &[(&str, &str)]) -> MapSource {
        MapSource {
            name: "site".into(),
            items: items
                .iter()
                .map(|(key, path)| Item {
                    key: (*key).to_owned(),
                    path: (*path).to_owned(),
                })
                .collect(),
        }
    }

    #[test]
    fn keys_become_files_where_they_are_said_to_be_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let map = map(&[("site.yml", "[]"), ("main", "- debug:")]);
        let items = source(&[
            ("site.yml", "site.yml"),
            ("main", "roles/web/tasks/main.yml"),
        ]);
        let version = Version::of_map(&map, &items).unwrap();
        let Version::Files { files, .. } = &version else {
            panic!("{version:?}");
        };
        let out = write_out(&dir.path().join("site"), files).unwrap();
        let read = |path: &str| std::fs::read_to_string(out.directory.join(path)).unwrap();
        assert_eq!(read("roles/web/tasks/main.yml"), "- debug:");
        assert_eq!(read("site.yml"), "[]");
        let other = Version::of_map(&map, &source(&[])).unwrap();
        assert_ne!(version.digest(), other.digest());
        drop(out);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

        for (items, says) in [
            (&[("site.yml", "../up")][..], "\"../up\""),
            (&[("site.yml", "/etc/passwd")], "/etc/passwd"),
            (&[("site.yml", "")], "\"\""),
            (&[("gone", "a")], "no key gone"),
            (&[("site.yml", "a"), ("main", "a")], "two keys"),
            (&[("site.yml", "a"), ("main", "a/b")], "below"),
        ] {
            let fault = Version::of_map(&map, &source(items)).unwrap_err();
            assert!(fault.message.contains(says), "{items:?}: {fault}");
        }
    }
}
