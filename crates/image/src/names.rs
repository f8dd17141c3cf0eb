//! Which names the store knows: `index.json` of the OCI image layout.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::manifest::{Descriptor, Index, OCI_INDEX, REF_NAME};
use crate::{Digest, Error, Reference, disk};

/// Holds the digest of the index that an image was chosen from.
const CHOSEN_FROM: &str = "dev.consort.image.index";

/// A name's image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) manifest: Digest,
    pub(crate) media_type: String,
    pub(crate) size: u64,
    pub(crate) index: Option<Digest>,
}

/// The names, in memory and on disk. Every change is durable when it returns.
#[derive(Debug)]
pub(crate) struct Names {
    path: PathBuf,
    names: BTreeMap<Reference, Named>,
}

impl Names {
    pub(crate) fn open(root: &Path) -> Result<Self, Error> {
        let layout = root.join("oci-layout");
        if !layout.exists() {
            disk::write_atomically(&layout, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        let path = root.join("index.json");
        let names = match fs::read(&path) {
            Ok(bytes) => Self::parse(&path, &bytes)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(Error::io("reading", path)(error)),
        };
        Ok(Self { path, names })
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<BTreeMap<Reference, Named>, Error> {
        let bad = |reason: String| Error::malformed(path.display().to_string(), reason);
        let index: Index = serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
        let mut names = BTreeMap::new();
        for entry in index.manifests {
            let Some(name) = entry.annotation(REF_NAME) else {
                continue;
            };
            let reference = Reference::parse(name).map_err(|error| bad(error.to_string()))?;
            let chosen_from = entry
                .annotation(CHOSEN_FROM)
                .map(str::parse)
                .transpose()
                .map_err(|error: crate::DigestParseError| bad(error.to_string()))?;
            let named = Named {
                manifest: entry.digest,
                media_type: entry.media_type.clone(),
                size: entry.size,
                index: chosen_from,
            };
            names.insert(reference, named);
        }
        Ok(names)
    }

    fn write(&self, names: &BTreeMap<Reference, Named>) -> Result<(), Error> {
        let manifests = names.iter().map(|(reference, named)| {
            let mut annotations = BTreeMap::from([(REF_NAME.to_owned(), reference.to_string())]);
            if let Some(index) = named.index {
                annotations.insert(CHOSEN_FROM.to_owned(), index.to_string());
            }
            Descriptor {
                annotations: Some(annotations),
                ..Descriptor::new(&named.media_type, named.manifest, named.size)
            }
        });
        let index = Index {
            schema_version: 2,
            media_type: Some(OCI_INDEX.to_owned()),
            manifests: manifests.collect(),
        };
        let json = serde_json::to_vec(&index)
            .map_err(|error| Error::malformed(self.path.display().to_string(), error))?;
        disk::write_atomically(&self.path, &json)
    }

    /// Gives a name to an image, taking it from another that had it.
    pub(crate) fn set(&mut self, reference: Reference, named: Named) -> Result<(), Error> {
        if self.names.get(&reference) == Some(&named) {
            return Ok(());
        }
        let mut names = self.names.clone();
        names.insert(reference, named);
        self.write(&names)?;
        self.names = names;
        Ok(())
    }

    /// Takes a name away; false when it was not there.
    pub(crate) fn remove(&mut self, reference: &Reference) -> Result<bool, Error> {
        let mut names = self.names.clone();
        if names.remove(reference).is_none() {
            return Ok(false);
        }
        self.write(&names)?;
        self.names = names;
        Ok(true)
    }

    /// The image of a name. A digest decides over a tag, and finds an image that was pulled from
    /// the same repository under another name.
    pub(crate) fn find(&self, reference: &Reference) -> Option<&Named> {
        self.names.get(reference).or_else(|| {
            let digest = reference.digest()?;
            let same = |(name, _): &(&Reference, &Named)| {
                name.registry() == reference.registry()
                    && name.repository() == reference.repository()
            };
            let mut same_repository = self.names.iter().filter(same);
            same_repository
                .find(|(_, named)| named.manifest == digest || named.index == Some(digest))
                .map(|(_, named)| named)
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Reference, &Named)> {
        self.names.iter()
    }

    /// All names of an image.
    pub(crate) fn of(&self, manifest: Digest) -> Vec<Reference> {
        let names = self.names.iter();
        names
            .filter(|(_, named)| named.manifest == manifest)
            .map(|(reference, _)| reference.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(content: &[u8], index: Option<&[u8]>) -> Named {
        Named {
            manifest: Digest::of(content),
            media_type: crate::manifest::OCI_MANIFEST.into(),
            size: content.len() as u64,
            index: index.map(Digest::of),
        }
    }

    #[test]
    fn names_survive_a_restart_and_are_found_by_digest_within_their_repository() {
        let dir = tempfile::tempdir().unwrap();
        let mut names = Names::open(dir.path()).unwrap();
        let tagged: Reference = "r.io/a:1".parse().unwrap();
        names.set(tagged.clone(), named(b"m", Some(b"i"))).unwrap();
        let names = Names::open(dir.path()).unwrap();
        assert_eq!(names.find(&tagged), Some(&named(b"m", Some(b"i"))));
        for content in [b"m", b"i"] {
            let by_digest = tagged.at(Digest::of(content));
            assert!(names.find(&by_digest).is_some());
        }
        let elsewhere: Reference = "r.io/b".parse().unwrap();
        assert_eq!(names.find(&elsewhere.at(Digest::of(b"m"))), None);
        assert_eq!(names.of(Digest::of(b"m")), [tagged]);
    }

    #[test]
    fn a_damaged_index_is_an_error_and_not_an_empty_store() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("index.json"), b"{\"manifests\": [").unwrap();
        let error = Names::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains("index.json"), "{error}");
    }
}
