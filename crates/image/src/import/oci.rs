//! OCI image layouts.

use super::source::Source;
use super::{is_full, name_of, written_name};
use crate::config::ConfigFile;
use crate::images::Inner;
use crate::manifest::{Descriptor, Document, Index, Manifest, OCI_MANIFEST};
use crate::names::Named;
use crate::{Digest, Error, Reference};

/// Whether every image of the index has a full name.
pub(super) fn names_all(index: &[u8]) -> bool {
    serde_json::from_slice::<Index>(index).is_ok_and(|index| {
        let mut images = index.manifests.iter();
        images.all(|image| written_name(image).is_some_and(is_full))
    })
}

pub(super) fn import(
    inner: &Inner,
    source: &Source,
    index: &[u8],
    name: Option<&Reference>,
) -> Result<Vec<Reference>, Error> {
    let index: Index = serde_json::from_slice(index)
        .map_err(|error| Error::malformed(format!("index.json of {}", source.shown()), error))?;
    if index.manifests.is_empty() {
        return Err(Error::malformed(source.shown(), "it has no images"));
    }
    let count = index.manifests.len();
    // All names first: nothing is read for an import that cannot be named.
    let names = index.manifests.iter().map(|entry| {
        let name = name_of(source, written_name(entry), name, count)?;
        Ok((name, entry))
    });
    let names = names.collect::<Result<Vec<_>, Error>>()?;
    let mut imported = Vec::new();
    for (name, entry) in names {
        let named = image(inner, source, &name.to_string(), entry)?;
        inner.names.lock().set(name.clone(), named)?;
        imported.push(name);
    }
    Ok(imported)
}

fn image(inner: &Inner, source: &Source, what: &str, entry: &Descriptor) -> Result<Named, Error> {
    let limits = &inner.options.limits;
    let mut bytes = document(source, entry, limits.document_bytes)?;
    let mut digest = entry.digest;
    let mut chosen_from = None;
    let manifest: Manifest = match Document::parse(what, &bytes)? {
        Document::Manifest(manifest) => manifest,
        Document::Index(index) => {
            let chosen = index.select(what)?;
            bytes = document(source, chosen, limits.document_bytes)?;
            digest = chosen.digest;
            chosen_from = Some(entry.digest);
            match Document::parse(what, &bytes)? {
                Document::Manifest(manifest) => manifest,
                Document::Index(_) => {
                    return Err(Error::malformed(what, "its index leads to another index"));
                }
            }
        }
    };
    manifest.check(what, limits)?;
    let config = document(source, &manifest.config, limits.document_bytes)?;
    ConfigFile::parse(what, &config, &manifest)?;
    for layer in &manifest.layers {
        if inner.blobs.has(layer.digest) {
            continue;
        }
        let mut content = source.required(&blob_path(layer.digest))?;
        let name = format!("layer {} of {what}", layer.digest);
        let expected = Some(layer.digest);
        let limit = limits.layer_bytes;
        inner
            .blobs
            .put_stream(&name, &mut content, expected, limit)?;
    }
    inner.blobs.put(&config)?;
    inner.blobs.put(&bytes)?;
    Ok(Named {
        manifest: digest,
        media_type: manifest
            .media_type
            .unwrap_or_else(|| OCI_MANIFEST.to_owned()),
        size: bytes.len() as u64,
        index: chosen_from,
    })
}

fn document(source: &Source, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, Error> {
    let name = blob_path(descriptor.digest);
    let missing = || Error::malformed(source.shown(), format!("{name} is missing in it"));
    let bytes = source.document(&name, limit)?.ok_or_else(missing)?;
    let actual = Digest::of(&bytes);
    if actual != descriptor.digest {
        return Err(Error::DigestMismatch {
            what: format!("{name} of {}", source.shown()),
            expected: descriptor.digest,
            actual,
        });
    }
    Ok(bytes)
}

fn blob_path(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}
