//! Archives of `docker save`: a `manifest.json` that names configurations and layers.

use serde::Deserialize;

use super::name_of;
use super::source::Source;
use crate::config::ConfigFile;
use crate::images::Inner;
use crate::layer::Compression;
use crate::manifest::{Descriptor, Manifest, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use crate::names::Named;
use crate::{Digest, Error, Reference};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

pub(super) fn import(
    inner: &Inner,
    source: &Source,
    manifest: &[u8],
    name: Option<&Reference>,
) -> Result<Vec<Reference>, Error> {
    let entries: Vec<Entry> = serde_json::from_slice(manifest)
        .map_err(|error| Error::malformed(format!("manifest.json of {}", source.shown()), error))?;
    if entries.is_empty() {
        return Err(Error::malformed(source.shown(), "it has no images"));
    }
    let count = entries.len();
    let named = entries.into_iter().map(|entry| {
        let tags = entry.repo_tags.iter().flatten();
        let mut names: Vec<Reference> = tags
            .map(|tag| {
                Reference::parse(tag).map_err(|error| Error::malformed(source.shown(), error))
            })
            .collect::<Result<_, _>>()?;
        if names.is_empty() || (count == 1 && name.is_some()) {
            names = vec![name_of(source, None, name, count)?];
        }
        Ok((names, entry))
    });
    let named = named.collect::<Result<Vec<_>, Error>>()?;
    let mut imported = Vec::new();
    for (names, entry) in named {
        let image = image(inner, source, &entry)?;
        for name in names {
            inner.names.lock().set(name.clone(), image.clone())?;
            imported.push(name);
        }
    }
    Ok(imported)
}

fn image(inner: &Inner, source: &Source, entry: &Entry) -> Result<Named, Error> {
    let limits = &inner.options.limits;
    let what = format!("{} of {}", entry.config, source.shown());
    let missing = || Error::malformed(source.shown(), format!("{} is missing in it", entry.config));
    let config = source
        .document(&entry.config, limits.document_bytes)?
        .ok_or_else(missing)?;
    // The layers' digests in their stored form are not in the archive; the content's are in the
    // configuration.
    let parsed: ConfigFile =
        serde_json::from_slice(&config).map_err(|error| Error::malformed(&what, error))?;
    let names = entry.layers.as_deref().unwrap_or_default();
    if names.len() != parsed.rootfs.diff_ids.len() {
        let reason = format!(
            "it has {} layers and its configuration {}",
            names.len(),
            parsed.rootfs.diff_ids.len()
        );
        return Err(Error::malformed(what, reason));
    }
    let layers = names.iter().zip(&parsed.rootfs.diff_ids);
    let layers = layers
        .map(|(name, diff_id)| layer(inner, source, name, *diff_id))
        .collect::<Result<Vec<_>, Error>>()?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(OCI_MANIFEST.to_owned()),
        config: Descriptor::new(OCI_CONFIG, Digest::of(&config), config.len() as u64),
        layers,
    };
    manifest.check(&what, limits)?;
    ConfigFile::parse(&what, &config, &manifest)?;
    let bytes = serde_json::to_vec(&manifest).map_err(|error| Error::malformed(&what, error))?;
    inner.blobs.put(&config)?;
    Ok(Named {
        manifest: inner.blobs.put(&bytes)?,
        media_type: OCI_MANIFEST.to_owned(),
        size: bytes.len() as u64,
        index: None,
    })
}

/// Stores a layer. An uncompressed one is its own content and is checked at once; a compressed
/// one is when it is unpacked.
fn layer(inner: &Inner, source: &Source, name: &str, diff_id: Digest) -> Result<Descriptor, Error> {
    let what = format!("{name} of {}", source.shown());
    let mut start = Vec::new();
    std::io::Read::read_to_end(
        &mut std::io::Read::take(source.required(name)?, 6),
        &mut start,
    )
    .map_err(|error| Error::malformed(&what, error))?;
    let compression = Compression::of(&start).map_err(|error| Error::malformed(&what, error))?;
    let (suffix, expected) = match compression {
        Compression::None => ("", Some(diff_id)),
        Compression::Gzip => ("+gzip", None),
        Compression::Zstd => ("+zstd", None),
    };
    let mut content = source.required(name)?;
    let limit = inner.options.limits.layer_bytes;
    let (digest, size) = inner
        .blobs
        .put_stream(&what, &mut content, expected, limit)?;
    Ok(Descriptor::new(
        &format!("{OCI_LAYER}{suffix}"),
        digest,
        size,
    ))
}
