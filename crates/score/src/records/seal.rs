//! Bytes of any size in Secrets: compressed, and cut into chunks.
//!
//! The first chunk is written last. So if it is there, all are.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::PostParams;

use super::{Error, FIELD_MANAGER, Records, SCORE_LABEL, code, doing};

/// The most bytes of a chunk. In base64 and with its metadata it stays below 900 kB; an object may have 1 MiB.
const CHUNK: usize = 640 * 1024;

/// More than this is not unpacked: what was written here is never that large.
const LARGEST: u64 = 1 << 30;

const KEY: &str = "chunk";
const CHUNKS: &str = "consort.dev/chunks";

/// What is sealed.
#[derive(Clone, Copy)]
pub(super) enum What {
    Blueprint,
    Record,
    Snapshot,
}

impl What {
    fn word(self) -> &'static str {
        match self {
            What::Blueprint => "blueprint",
            What::Record => "record",
            What::Snapshot => "snapshot",
        }
    }

    /// The name of a chunk.
    pub(super) fn chunk(self, of: &str, number: usize) -> String {
        format!("{}.{of}.{number}", self.word())
    }
}

/// A chunk as a Secret.
pub(super) fn secret(
    what: What,
    of: &str,
    number: usize,
    score: &str,
    owner: OwnerReference,
    bytes: Vec<u8>,
) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(what.chunk(of, number)),
            labels: Some(BTreeMap::from([(SCORE_LABEL.to_owned(), score.to_owned())])),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        type_: Some(format!("consort.dev/{}", what.word())),
        data: Some(BTreeMap::from([(KEY.to_owned(), ByteString(bytes))])),
        ..Secret::default()
    }
}

/// The bytes of a chunk.
pub(super) fn bytes(secret: Secret) -> Vec<u8> {
    let chunk = secret.data.and_then(|mut data| data.remove(KEY));
    chunk.map(|chunk| chunk.0).unwrap_or_default()
}

/// Puts the bytes of one chunk in place of others.
pub(super) fn set_bytes(secret: &mut Secret, bytes: Vec<u8>) {
    secret.data = Some(BTreeMap::from([(KEY.to_owned(), ByteString(bytes))]));
}

pub(super) fn post() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

/// Compresses bytes, off the reactor.
pub(super) async fn pack(bytes: Vec<u8>) -> std::io::Result<Vec<u8>> {
    let packed = tokio::task::spawn_blocking(move || {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(3));
        encoder.write_all(&bytes)?;
        encoder.finish()
    });
    packed.await.map_err(std::io::Error::other)?
}

/// Gives back what was compressed, in one piece or several behind each other.
pub(super) async fn unpack(packed: Vec<u8>) -> std::io::Result<Vec<u8>> {
    let unpacked = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        MultiGzDecoder::new(packed.as_slice())
            .take(LARGEST + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST {
            return Err(std::io::Error::other("it is larger than 1 GiB"));
        }
        Ok(bytes)
    });
    unpacked.await.map_err(std::io::Error::other)?
}

impl Records {
    /// Seals bytes under a name. What is sealed under it already stays: names are made of digests or of revisions.
    pub(super) async fn seal(
        &self,
        what: What,
        of: &str,
        score: &str,
        owner: &OwnerReference,
        bytes: Vec<u8>,
    ) -> Result<(), Error> {
        let about = || format!("keeping the {} {of}", what.word());
        let packed = pack(bytes).await.map_err(|error| Error::Unreadable {
            what: format!("{} {of}", what.word()),
            why: error.to_string(),
        })?;
        let chunks: Vec<&[u8]> = packed.chunks(CHUNK).collect();
        let secrets = self.secrets();
        for (number, chunk) in chunks.iter().enumerate().rev() {
            let mut secret = secret(what, of, number, score, owner.clone(), chunk.to_vec());
            secret.immutable = Some(true);
            secret.metadata.annotations = Some(BTreeMap::from([(
                CHUNKS.to_owned(),
                chunks.len().to_string(),
            )]));
            match secrets.create(&post(), &secret).await {
                Err(error) if code(&error) == Some(409) => {}
                created => {
                    doing(about, created)?;
                }
            }
        }
        Ok(())
    }

    /// What was sealed under a name.
    pub(super) async fn unseal(&self, what: What, of: &str) -> Result<Option<Vec<u8>>, Error> {
        let about = || format!("reading the {} {of}", what.word());
        let secrets = self.secrets();
        let first = doing(about, secrets.get_opt(&what.chunk(of, 0)).await)?;
        let Some(first) = first else {
            return Ok(None);
        };
        let unreadable = |why: String| Error::Unreadable {
            what: format!("the {} {of}", what.word()),
            why,
        };
        let count = first
            .metadata
            .annotations
            .as_ref()
            .and_then(|annotations| annotations.get(CHUNKS)?.parse::<usize>().ok())
            .ok_or_else(|| unreadable(format!("it does not say {CHUNKS}")))?;
        let mut packed = bytes(first);
        let rest: Vec<Secret> = futures::stream::iter(1..count)
            .map(|number| {
                let secrets = &secrets;
                async move { secrets.get(&what.chunk(of, number)).await }
            })
            .buffered(4)
            .try_collect()
            .await
            .map_err(|source| Error::Api {
                doing: about(),
                source: Box::new(source),
            })?;
        for chunk in rest {
            packed.extend(bytes(chunk));
        }
        let unpacked = unpack(packed).await;
        Ok(Some(
            unpacked.map_err(|error| unreadable(error.to_string()))?,
        ))
    }
}
