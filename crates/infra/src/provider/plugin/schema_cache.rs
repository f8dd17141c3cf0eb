//! Schemas kept between runs, so that a plan does not wait for a provider to describe a thousand types of
//! which it uses five.
//!
//! One file for each program, valid while the program's size and time of change stay the same. It holds an
//! index, which is read at once, and the schemas as the provider sent them, each of which is read when it
//! is asked for. Checksums tell a damaged file. Nothing depends on the file: without it the provider is
//! asked.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

use super::{convert, wire};
use crate::provider::schema::{Error, Kind, ResourceSchema, Schemas, Source};

const MAGIC: &[u8; 8] = b"CSRTSCH1";
/// Above this an index is not read; the largest known provider's has 200 KB.
const MAX_INDEX: u32 = 64 << 20;

/// What a provider sent, in parts.
pub(super) struct Fetched {
    pub(super) protocol: u8,
    pub(super) schema: wire::ProviderSchema,
    pub(super) identities: HashMap<String, wire::IdentitySchema>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Index {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(uint32, tag = "2")]
    protocol: u32,
    #[prost(bytes = "bytes", tag = "3")]
    provider: Bytes,
    #[prost(bytes = "bytes", optional, tag = "4")]
    provider_meta: Option<Bytes>,
    #[prost(message, optional, tag = "5")]
    capabilities: Option<wire::ServerCapabilities>,
    #[prost(map = "string, message", tag = "6")]
    functions: HashMap<String, wire::Function>,
    #[prost(map = "string, message", tag = "7")]
    identities: HashMap<String, wire::IdentitySchema>,
    #[prost(message, repeated, tag = "8")]
    entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Entry {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(uint64, tag = "3")]
    offset: u64,
    #[prost(uint64, tag = "4")]
    length: u64,
    #[prost(fixed32, tag = "5")]
    checksum: u32,
}

fn kind_of(number: u32) -> Option<Kind> {
    Some(match number {
        0 => Kind::Managed,
        1 => Kind::Data,
        2 => Kind::Ephemeral,
        _ => return None,
    })
}

/// Which program, and which version of it.
pub(super) fn key(binary: &Path) -> io::Result<String> {
    let path = binary.canonicalize()?;
    let meta = path.metadata()?;
    Ok(format!(
        "{}\0{}\0{}.{:09}\0{}",
        path.display(),
        meta.size(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ino()
    ))
}

fn file_for(directory: &Path, key: &str) -> PathBuf {
    let program = key.split('\0').next().unwrap_or(key);
    let name: String = Sha256::digest(program.as_bytes())
        .iter()
        .take(16)
        .map(|b| format!("{b:02x}"))
        .collect();
    directory.join(format!("{name}.schema"))
}

/// Reads the index of what is kept for a program; `None` if there is nothing of use.
pub(super) fn load(directory: &Path, key: &str) -> Option<Schemas> {
    let path = file_for(directory, key);
    match read(&path, key) {
        Ok(schemas) => schemas,
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "the kept schemas of a provider cannot be used");
            None
        }
    }
}

fn read(path: &Path, key: &str) -> io::Result<Option<Schemas>> {
    let mut file = File::open(path)?;
    let mut head = [0; 16];
    file.read_exact(&mut head)?;
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (length, checksum) = (word(8), word(12));
    if &head[..8] != MAGIC || length > MAX_INDEX {
        return Err(io::Error::other("not a file of schemas"));
    }
    let mut encoded = vec![0; length as usize];
    file.read_exact(&mut encoded)?;
    if crc32fast::hash(&encoded) != checksum {
        return Err(io::Error::other("the index is damaged"));
    }
    let index = Index::decode(Bytes::from(encoded)).map_err(io::Error::other)?;
    if index.key != key {
        return Ok(None);
    }
    let protocol = index.protocol as u8;
    let entries: HashMap<(Kind, Arc<str>), Place> = index
        .entries
        .iter()
        .filter_map(|e| Some(((kind_of(e.kind)?, e.name.as_str().into()), Place::new(e))))
        .collect();
    let names: Vec<(Kind, Arc<str>)> = entries.keys().cloned().collect();
    let base = 16 + u64::from(length);
    let source = Kept {
        file,
        path: path.to_owned(),
        base,
        entries,
        identities: index.identities,
        protocol,
    };
    build(
        index.provider,
        index.provider_meta,
        index.functions,
        index.capabilities,
        protocol,
        names,
        Box::new(source),
    )
    .map(Some)
    .map_err(io::Error::other)
}

fn build(
    provider: Bytes,
    provider_meta: Option<Bytes>,
    functions: HashMap<String, wire::Function>,
    capabilities: Option<wire::ServerCapabilities>,
    protocol: u8,
    names: Vec<(Kind, Arc<str>)>,
    source: Box<dyn Source>,
) -> Result<Schemas, Error> {
    let provider = convert::schema("provider", provider, protocol)?.block;
    let provider_meta = provider_meta
        .map(|meta| convert::schema("provider_meta", meta, protocol))
        .transpose()?
        .map(|s| s.block);
    let functions = convert::functions(functions)?;
    Ok(Schemas::lazy(
        provider,
        provider_meta,
        functions,
        convert::capabilities(capabilities),
        names,
        source,
    ))
}

struct Place {
    offset: u64,
    length: u64,
    checksum: u32,
}

impl Place {
    fn new(entry: &Entry) -> Self {
        Self {
            offset: entry.offset,
            length: entry.length,
            checksum: entry.checksum,
        }
    }
}

/// Schemas in a file.
struct Kept {
    file: File,
    path: PathBuf,
    base: u64,
    entries: HashMap<(Kind, Arc<str>), Place>,
    identities: HashMap<String, wire::IdentitySchema>,
    protocol: u8,
}

impl Source for Kept {
    fn load(&self, kind: Kind, name: &str) -> Result<ResourceSchema, Error> {
        let place = self
            .entries
            .get(&(kind, name.into()))
            .ok_or_else(|| Error::NoSuchType {
                kind,
                name: name.into(),
            })?;
        let damaged = |message: String| Error::Malformed {
            name: name.into(),
            message: format!(
                "{message}; remove {} to have the provider asked again",
                self.path.display()
            ),
        };
        if place.length > super::channel::MAX_MESSAGE as u64 {
            return Err(damaged("the kept copy is damaged".to_owned()));
        }
        let mut encoded = vec![0; place.length as usize];
        self.file
            .read_exact_at(&mut encoded, self.base + place.offset)
            .map_err(|e| damaged(format!("reading the kept copy: {e}")))?;
        if crc32fast::hash(&encoded) != place.checksum {
            return Err(damaged("the kept copy is damaged".to_owned()));
        }
        complete(
            convert::schema(name, encoded.into(), self.protocol)?,
            kind,
            name,
            &self.identities,
        )
    }
}

/// Schemas in memory, as they came.
struct Received {
    entries: HashMap<(Kind, Arc<str>), Bytes>,
    identities: HashMap<String, wire::IdentitySchema>,
    protocol: u8,
}

impl Source for Received {
    fn load(&self, kind: Kind, name: &str) -> Result<ResourceSchema, Error> {
        let encoded = self
            .entries
            .get(&(kind, name.into()))
            .ok_or_else(|| Error::NoSuchType {
                kind,
                name: name.into(),
            })?;
        complete(
            convert::schema(name, encoded.clone(), self.protocol)?,
            kind,
            name,
            &self.identities,
        )
    }
}

fn complete(
    mut schema: ResourceSchema,
    kind: Kind,
    name: &str,
    identities: &HashMap<String, wire::IdentitySchema>,
) -> Result<ResourceSchema, Error> {
    if kind == Kind::Managed
        && let Some(identity) = identities.get(name)
    {
        schema.identity = Some(convert::identity_schema(name, identity.clone())?);
    }
    Ok(schema)
}

/// All schemas of an answer.
pub(super) fn received(fetched: Fetched) -> Result<Schemas, Error> {
    let Fetched {
        protocol,
        schema,
        identities,
    } = fetched;
    let provider = schema.provider.ok_or_else(|| Error::Malformed {
        name: "provider".into(),
        message: "missing provider schema".to_owned(),
    })?;
    let mut entries = HashMap::new();
    for (kind, list) in [
        (Kind::Managed, schema.resources),
        (Kind::Data, schema.data),
        (Kind::Ephemeral, schema.ephemeral),
    ] {
        entries.extend(
            list.into_iter()
                .map(|e| ((kind, Arc::from(e.name)), e.schema)),
        );
    }
    let names = entries.keys().cloned().collect();
    let source = Received {
        entries,
        identities,
        protocol,
    };
    build(
        provider,
        schema.provider_meta,
        schema.functions,
        schema.capabilities,
        protocol,
        names,
        Box::new(source),
    )
}

/// Keeps an answer. The file appears whole or not at all.
pub(super) fn store(directory: &Path, key: &str, fetched: &Fetched) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let schema = &fetched.schema;
    let mut entries = Vec::new();
    let mut blobs: Vec<&Bytes> = Vec::new();
    let mut offset = 0;
    for (kind, list) in [
        (0, &schema.resources),
        (1, &schema.data),
        (2, &schema.ephemeral),
    ] {
        for entry in list {
            let length = entry.schema.len() as u64;
            let checksum = crc32fast::hash(&entry.schema);
            entries.push(Entry {
                kind,
                name: entry.name.clone(),
                offset,
                length,
                checksum,
            });
            blobs.push(&entry.schema);
            offset += length;
        }
    }
    let index = Index {
        key: key.to_owned(),
        protocol: u32::from(fetched.protocol),
        provider: schema.provider.clone().unwrap_or_default(),
        provider_meta: schema.provider_meta.clone(),
        capabilities: schema.capabilities,
        functions: schema.functions.clone(),
        identities: fetched.identities.clone(),
        entries,
    }
    .encode_to_vec();
    let length = u32::try_from(index.len()).ok().filter(|l| *l <= MAX_INDEX);
    let Some(length) = length else {
        return Err(io::Error::other("the index is too large"));
    };
    let target = file_for(directory, key);
    let partial = target.with_extension(format!("{}.partial", uuid::Uuid::new_v4().simple()));
    let written = (|| {
        let mut file = io::BufWriter::with_capacity(1 << 20, File::create_new(&partial)?);
        file.write_all(MAGIC)?;
        file.write_all(&length.to_be_bytes())?;
        file.write_all(&crc32fast::hash(&index).to_be_bytes())?;
        file.write_all(&index)?;
        for blob in blobs {
            file.write_all(blob)?;
        }
        file.into_inner().map_err(io::IntoInnerError::into_error)?;
        std::fs::rename(&partial, &target)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    written
}
