//! The OpenAPI documents of what is served, made on first request and kept.

use crate::encoding;
use crate::kind::Kind;
use crate::registry::Registry;
use bytes::Bytes;
use consort_object::openapi;
use consort_object::schema::{Gvk, Schema};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// A document and the hash of its bytes.
#[derive(Clone)]
pub(crate) struct Document {
    /// The JSON text.
    pub bytes: Bytes,
    /// Its hash, as in its address and ETag.
    pub hash: String,
}

/// All documents.
#[derive(Default)]
pub(crate) struct Documents {
    v3: OnceLock<(Bytes, BTreeMap<String, Document>)>,
    v2: OnceLock<Document>,
}

fn resource(kind: &Kind) -> openapi::Resource {
    let gvk = encoding::gvk(kind);
    openapi::Resource {
        plural: kind.plural.clone(),
        namespaced: kind.namespaced,
        verbs: kind.verbs.iter().map(|&verb| verb.into()).collect(),
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

impl Documents {
    /// The index of version 3 and its documents by path. Takes some hundred milliseconds the first
    /// time.
    pub(crate) fn v3(&self, registry: &Registry) -> &(Bytes, BTreeMap<String, Document>) {
        self.v3.get_or_init(|| {
            let documents: BTreeMap<String, Document> = registry
                .groups()
                .iter()
                .map(|(group, version)| {
                    let resources: Vec<_> = registry
                        .kinds_of(group, version)
                        .map(|kind| resource(kind))
                        .collect();
                    let bytes = openapi::document(Schema::builtin(), group, version, &resources);
                    let hash = openapi::hash(&bytes);
                    let bytes = bytes.into();
                    (path(group, version), Document { bytes, hash })
                })
                .collect();
            let index = openapi::index(
                documents
                    .iter()
                    .map(|(path, document)| (path.as_str(), document.hash.as_str())),
            );
            (index.to_string().into(), documents)
        })
    }

    /// The document of version 2.
    pub(crate) fn v2(&self, registry: &Registry) -> &Document {
        self.v2.get_or_init(|| {
            let resources: Vec<_> = registry.kinds().iter().map(|kind| resource(kind)).collect();
            let bytes = openapi::document_v2(Schema::builtin(), &resources);
            let hash = openapi::hash(&bytes);
            Document {
                bytes: bytes.into(),
                hash,
            }
        })
    }
}
