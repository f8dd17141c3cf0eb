//! The OpenAPI documents of what is served: made when they are asked for, and kept.
//!
//! A document is named by a hash of what it is made from (the schemas this program knows, the kinds of the
//! group and version, the stamps of custom schemas), so that the index costs no document, and names stay as
//! they are over restarts.

use crate::encoding;
use crate::kind::Kind;
use crate::registry::Registry;
use bytes::Bytes;
use consort_object::openapi;
use consort_object::schema::{Gvk, Schema};
use parking_lot::Mutex;
use sha2::{Digest, Sha512};
use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;

/// Documents of version 3 are kept up to so many bytes together.
const KEPT_BYTES: usize = 24 * 1024 * 1024;

/// A document and its hash.
#[derive(Clone)]
pub(crate) struct Document {
    /// Its text.
    pub bytes: Bytes,
    /// Its hash, as in its address and ETag.
    pub hash: String,
}

/// The forms of the version 2 document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum V2 {
    /// JSON.
    Json,
    /// `gnostic`'s protobuf.
    Protobuf,
}

/// All documents.
#[derive(Default)]
pub(crate) struct Documents {
    v3: Mutex<VecDeque<Document>>,
    v2: Mutex<VecDeque<(V2, Document)>>,
}

fn resource(kind: &Kind) -> openapi::Resource {
    let gvk = encoding::gvk(kind);
    openapi::Resource {
        plural: kind.plural.clone(),
        namespaced: kind.namespaced,
        verbs: kind.verbs.iter().map(|&verb| verb.into()).collect(),
        custom: kind.custom().map(|version| openapi::Custom {
            list_kind: kind.list_kind.clone(),
            schema: version.props().unwrap_or_else(|error| {
                tracing::error!(error, "reading a custom kind's schema");
                serde_json::Value::Null
            }),
            selectable: version.selectable().to_vec(),
        }),
        subresources: kind
            .subresources
            .iter()
            .map(|sub| {
                let (group, version, name) = sub.kind;
                let name = if name.is_empty() {
                    gvk.kind.as_str()
                } else {
                    name
                };
                openapi::Subresource {
                    name: sub.name.into(),
                    gvk: if version.is_empty() {
                        Gvk::new(gvk.group.as_str(), gvk.version.as_str(), name)
                    } else {
                        Gvk::new(group, version, name)
                    },
                    verbs: sub.verbs.iter().map(|&verb| verb.into()).collect(),
                }
            })
            .collect(),
        gvk,
    }
}

/// Where a group and version's document is: `api/v1`, `apis/apps/v1`.
fn path(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

/// The hash of what the documents of these kinds are made from.
fn hash<'k>(version: u8, kinds: impl Iterator<Item = &'k Arc<Kind>>) -> String {
    let mut hasher = Sha512::new();
    let mut add = |text: &str| {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text);
    };
    add(openapi::fingerprint());
    add(if version == 2 { "v2" } else { "v3" });
    for kind in kinds {
        for text in [
            &kind.group,
            &kind.version,
            &kind.kind,
            &kind.list_kind,
            &kind.plural,
        ] {
            add(text);
        }
        add(if kind.namespaced { "n" } else { "c" });
        kind.verbs.iter().for_each(|verb| add(verb));
        for sub in &kind.subresources {
            add(sub.name);
            sub.verbs.iter().for_each(|verb| add(verb));
        }
        if let Some(version) = kind.custom() {
            add(version.stamp());
        }
    }
    hasher
        .finalize()
        .iter()
        .fold(String::with_capacity(128), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02X}");
            text
        })
}

impl Documents {
    /// The index of version 3.
    pub(crate) fn index(registry: &Registry) -> Bytes {
        let hashes: Vec<(String, String)> = registry
            .by_group()
            .map(|(group, version, kinds)| (path(group, version), hash(3, kinds.iter().copied())))
            .collect();
        let index = openapi::index(
            hashes
                .iter()
                .map(|(path, hash)| (path.as_str(), hash.as_str())),
        );
        index.to_string().into()
    }

    /// The hash of the document at a path; none if there is none.
    pub(crate) fn hash_of(registry: &Registry, wanted: &str) -> Option<String> {
        registry
            .by_group()
            .find(|(group, version, _)| path(group, version) == wanted)
            .map(|(_, _, kinds)| hash(3, kinds.iter().copied()))
    }

    /// A document of version 3, made if it is not there. Takes some tens of milliseconds then.
    pub(crate) fn v3(&self, registry: &Registry, wanted: &str) -> Option<Document> {
        let (group, version, kinds) = registry
            .by_group()
            .find(|(group, version, _)| path(group, version) == wanted)?;
        let hash = hash(3, kinds.iter().copied());
        if let Some(found) = self.v3.lock().iter().find(|kept| kept.hash == hash) {
            return Some(found.clone());
        }
        let resources = kinds.iter().map(|kind| resource(kind));
        let bytes = openapi::document(Schema::builtin(), group, version, resources);
        let document = Document {
            bytes: bytes.into(),
            hash,
        };
        let mut kept = self.v3.lock();
        kept.push_back(document.clone());
        let mut total: usize = kept.iter().map(|one| one.bytes.len()).sum();
        while total > KEPT_BYTES && kept.len() > 1 {
            total -= kept.pop_front().map_or(0, |oldest| oldest.bytes.len());
        }
        Some(document)
    }

    /// The document of version 2, made if it is not there.
    pub(crate) fn v2(&self, registry: &Registry, form: V2) -> Document {
        let hash = hash(2, registry.kinds().iter());
        let found = |kept: &VecDeque<(V2, Document)>| {
            kept.iter()
                .find(|(own, document)| *own == form && document.hash == hash)
                .map(|(_, document)| document.clone())
        };
        if let Some(found) = found(&self.v2.lock()) {
            return found;
        }
        let resources = registry.kinds().iter().map(|kind| resource(kind));
        let document = openapi::document_v2(Schema::builtin(), resources);
        let bytes = match form {
            V2::Json => document.to_string().into_bytes(),
            V2::Protobuf => openapi::gnostic::encode(&document),
        };
        let document = Document {
            bytes: bytes.into(),
            hash,
        };
        let mut kept = self.v2.lock();
        kept.retain(|(own, _)| *own != form);
        kept.push_back((form, document.clone()));
        document
    }
}
