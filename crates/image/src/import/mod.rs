//! Archives and directories that images come in.

mod docker;
mod oci;
mod source;

use std::path::Path;

use crate::images::Inner;
use crate::manifest::REF_NAME;
use crate::{Error, Reference};
use source::Source;

/// How containerd, and Docker since 25, write the full name into a layout's index.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// Reads whatever lies at `path`.
pub(crate) fn import(
    inner: &Inner,
    path: &Path,
    name: Option<&Reference>,
) -> Result<Vec<Reference>, Error> {
    let _no_collection = inner.imports.read();
    let source = Source::open(inner, path)?;
    let limit = inner.options.limits.document_bytes;
    let index = source.document("index.json", limit)?;
    let docker = source.document("manifest.json", limit)?;
    match (index, docker) {
        // Docker's newer archives are both; the layout keeps the digests that a registry knows.
        (Some(index), Some(docker)) if !oci::names_all(&index) => {
            docker::import(inner, &source, &docker, name)
        }
        (Some(index), _) => oci::import(inner, &source, &index, name),
        (None, Some(docker)) => docker::import(inner, &source, &docker, name),
        (None, None) => Err(Error::malformed(
            path.display().to_string(),
            "it is neither an OCI layout (index.json) nor a Docker archive (manifest.json)",
        )),
    }
}

/// Whether a layout's annotation is a whole name and not only a tag.
fn is_full(name: &str) -> bool {
    name.contains(['/', ':'])
}

/// The name of one of `count` images: what the archive says, else what the caller says.
fn name_of(
    source: &Source,
    written: Option<&str>,
    given: Option<&Reference>,
    count: usize,
) -> Result<Reference, Error> {
    let what = || source.shown();
    let parse =
        |name: &str| Reference::parse(name).map_err(|error| Error::malformed(what(), error));
    match (written, given) {
        (Some(written), None) if is_full(written) => parse(written),
        (Some(tag), None) => Err(Error::malformed(
            what(),
            format!("it names an image only {tag:?}; give a full name for it"),
        )),
        (None, None) => Err(Error::malformed(
            what(),
            "it has an image without a name; give one",
        )),
        (_, Some(given)) if count == 1 => Ok(given.clone()),
        (Some(written), Some(_)) if is_full(written) => parse(written),
        (Some(tag), Some(given)) => parse(&format!("{}:{tag}", given.name())),
        (None, Some(_)) => Err(Error::malformed(
            what(),
            "it has several images and not all have a tag; import them one by one",
        )),
    }
}

/// What a layout's index entry calls its image.
fn written_name(descriptor: &crate::manifest::Descriptor) -> Option<&str> {
    descriptor
        .annotation(CONTAINERD_NAME)
        .or_else(|| descriptor.annotation(REF_NAME))
}
