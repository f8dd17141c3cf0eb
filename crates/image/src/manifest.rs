//! Manifests and indexes, of OCI and of Docker (schema 2), which differ in media types only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::ConfigFile;
use crate::{Digest, Error};

pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// What a pull accepts.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// The annotation that names an image within a layout.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// A pointer to content (OCI "Content Descriptors").
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
}

impl Descriptor {
    pub(crate) fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: None,
        }
    }

    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

/// What an entry of an index runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Platform {
    pub(crate) architecture: String,
    pub(crate) os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
}

/// An image manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// An index, or Docker manifest list; also `index.json` of a layout.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    #[serde(default)]
    pub(crate) manifests: Vec<Descriptor>,
}

/// Either of them.
#[derive(Debug)]
pub(crate) enum Document {
    Manifest(Manifest),
    Index(Index),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default)]
    schema_version: u32,
    media_type: Option<String>,
    config: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    manifests: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Reads a document by what it holds. One that could be read as both is refused: tools that
    /// disagree about it would run different things under one digest (CVE-2021-41190).
    pub(crate) fn parse(what: &str, bytes: &[u8]) -> Result<Self, Error> {
        let bad = |reason: &dyn std::fmt::Display| Error::malformed(what, reason);
        let shape: Shape = serde_json::from_slice(bytes).map_err(|error| bad(&error))?;
        if shape.schema_version != 2 {
            return Err(bad(&format!(
                "schema version {} is not supported, only 2 is",
                shape.schema_version
            )));
        }
        let image = shape.config.is_some() || shape.layers.is_some();
        let declared = shape.media_type.as_deref();
        let fits = |kinds: [&str; 2]| declared.is_none_or(|declared| kinds.contains(&declared));
        match (image, shape.manifests.is_some()) {
            (true, false) if fits([OCI_MANIFEST, DOCKER_MANIFEST]) => serde_json::from_slice(bytes)
                .map(Self::Manifest)
                .map_err(|error| bad(&error)),
            (false, true) if fits([OCI_INDEX, DOCKER_LIST]) => serde_json::from_slice(bytes)
                .map(Self::Index)
                .map_err(|error| bad(&error)),
            (true, true) => Err(bad(&"it is a manifest and an index at once")),
            (false, false) => Err(bad(&"it is neither a manifest nor an index")),
            _ => Err(bad(&format!(
                "its media type {:?} does not fit its content",
                declared.unwrap_or_default()
            ))),
        }
    }
}

impl Manifest {
    /// Refuses what is no container image or has layers that cannot be unpacked.
    pub(crate) fn check(&self, what: &str, limits: &crate::Limits) -> Result<(), Error> {
        let config = self.config.media_type.as_str();
        if ![OCI_CONFIG, DOCKER_CONFIG, ""].contains(&config) {
            return Err(Error::malformed(
                what,
                format!("it is not a container image (its configuration is {config:?})"),
            ));
        }
        let too_large = |what: String, limit: u64, unit| Err(Error::TooLarge { what, limit, unit });
        if self.layers.len() > limits.layers {
            return too_large(what.to_owned(), limits.layers as u64, "layers");
        }
        if self.config.size > limits.document_bytes {
            let what = format!("the configuration of {what}");
            return too_large(what, limits.document_bytes, "bytes");
        }
        for layer in &self.layers {
            if !layer.media_type.contains("tar") || layer.media_type.ends_with("encrypted") {
                return Err(Error::malformed(
                    what,
                    format!("layer type {:?} is not supported", layer.media_type),
                ));
            }
            if layer.size > limits.layer_bytes {
                return too_large(
                    format!("layer {}", layer.digest),
                    limits.layer_bytes,
                    "bytes",
                );
            }
        }
        Ok(())
    }
}

impl ConfigFile {
    /// Reads a configuration and checks that it belongs to `manifest` and to this machine.
    pub(crate) fn parse(what: &str, bytes: &[u8], manifest: &Manifest) -> Result<Self, Error> {
        let file: Self = serde_json::from_slice(bytes)
            .map_err(|error| Error::malformed(format!("the configuration of {what}"), error))?;
        if file.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(Error::malformed(
                what,
                format!(
                    "its manifest has {} layers and its configuration {}",
                    manifest.layers.len(),
                    file.rootfs.diff_ids.len()
                ),
            ));
        }
        let (os, architecture) = (file.os.as_str(), file.architecture.as_str());
        let host = Platform::host();
        let unset = os.is_empty() && architecture.is_empty();
        if !unset && (os != host.os || architecture != host.architecture) {
            return Err(Error::Platform {
                image: what.to_owned(),
                wanted: host.to_string(),
                available: format!("{os}/{architecture}"),
            });
        }
        Ok(file)
    }
}

impl Platform {
    /// This machine's, in Go's words, which are those of the specification.
    pub(crate) fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Self {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            variant: None,
        }
    }

    /// Whether content for `self` runs on `host`. A variant above the baseline may not.
    fn runs_on(&self, host: &Self) -> bool {
        self.os == host.os
            && self.architecture == host.architecture
            && matches!(
                (host.architecture.as_str(), self.variant.as_deref()),
                (_, None | Some("")) | ("arm64", Some("v8")) | ("amd64", Some("v1"))
            )
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match self.variant.as_deref() {
            Some(variant) if !variant.is_empty() => write!(f, "/{variant}"),
            _ => Ok(()),
        }
    }
}

impl Index {
    /// The entry for this machine. Entries without a platform count when nothing else fits.
    pub(crate) fn select(&self, image: &str) -> Result<&Descriptor, Error> {
        let host = Platform::host();
        let fitting = |entry: &&Descriptor| {
            entry
                .platform
                .as_ref()
                .is_some_and(|platform| platform.runs_on(&host))
        };
        let unstated = || self.manifests.iter().find(|entry| entry.platform.is_none());
        self.manifests
            .iter()
            .find(fitting)
            .or_else(unstated)
            .ok_or_else(|| {
                let platforms = self.manifests.iter().filter_map(|e| e.platform.as_ref());
                let mut available: Vec<_> = platforms
                    .filter(|platform| platform.os != "unknown")
                    .map(ToString::to_string)
                    .collect();
                available.sort();
                available.dedup();
                Error::Platform {
                    image: image.to_owned(),
                    wanted: host.to_string(),
                    available: available.join(", "),
                }
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(os: &str, architecture: &str, variant: Option<&str>) -> serde_json::Value {
        let mut platform = serde_json::json!({"os": os, "architecture": architecture});
        if let Some(variant) = variant {
            platform["variant"] = variant.into();
        }
        let digest = Digest::of(format!("{os}{architecture}{variant:?}").as_bytes());
        serde_json::json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": 1, "platform": platform})
    }

    #[test]
    fn an_index_gives_the_entry_for_this_machine() {
        let host = Platform::host();
        let index: Index = serde_json::from_value(serde_json::json!({"schemaVersion": 2,
            "manifests": [entry("windows", &host.architecture, None), entry("linux", "s390x", None),
                entry("linux", &host.architecture, None), entry("unknown", "unknown", None)]}))
        .unwrap();
        let chosen = index.select("x").unwrap();
        assert_eq!(chosen.platform.as_ref().unwrap(), &host);
    }

    #[test]
    fn an_index_without_this_machine_says_what_it_has() {
        let index: Index = serde_json::from_value(serde_json::json!({"schemaVersion": 2,
            "manifests": [entry("linux", "s390x", None), entry("linux", "arm", Some("v7")),
                entry("unknown", "unknown", None)]}))
        .unwrap();
        let error = index.select("x").unwrap_err().to_string();
        assert!(
            error.contains("it has linux/arm/v7, linux/s390x"),
            "{error}"
        );
    }

    #[test]
    fn documents_that_are_two_things_at_once_are_refused() {
        let digest = Digest::of(b"");
        let config = serde_json::json!({"mediaType": OCI_CONFIG, "digest": digest, "size": 0});
        for (document, reason) in [
            (
                serde_json::json!({"schemaVersion": 2, "config": config, "layers": [], "manifests": []}),
                "at once",
            ),
            (serde_json::json!({"schemaVersion": 2}), "neither"),
            (
                serde_json::json!({"schemaVersion": 1, "fsLayers": []}),
                "schema version 1",
            ),
            (
                serde_json::json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "config": config, "layers": []}),
                "does not fit",
            ),
        ] {
            let bytes = serde_json::to_vec(&document).unwrap();
            let error = Document::parse("m", &bytes).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
