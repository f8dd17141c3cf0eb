//! The image store's public face.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Config, Credential, Digest, Error, Options, Progress, Reference};

/// An image that is in the store.
#[derive(Debug, Clone)]
pub struct Image {
    /// Digest of the configuration: what Docker calls the image ID.
    pub id: Digest,
    /// Digest of the manifest for this platform.
    pub digest: Digest,
    /// Digest of the index it was chosen from, when there was one.
    pub index: Option<Digest>,
    /// The names it has in the store.
    pub references: Vec<Reference>,
    /// How it is run.
    pub config: Arc<Config>,
    /// Bytes of configuration and layers, as transferred.
    pub size: u64,
    /// When it was made, as its configuration says (RFC 3339).
    pub created: Option<String>,
    /// Layers, lowest first.
    pub layers: Arc<[Layer]>,
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Digest of the blob as it is transferred, usually compressed.
    pub blob: Digest,
    /// Digest of the uncompressed archive.
    pub diff_id: Digest,
    /// Bytes of the blob.
    pub size: u64,
}

impl Image {
    /// `repository@digest` for every repository this image was pulled from, with the digest that
    /// the registry knows it by: what a pod's status shows as `imageID`.
    pub fn repo_digests(&self) -> Vec<String> {
        let digest = self.index.unwrap_or(self.digest);
        let mut names: Vec<_> = self.references.iter().map(Reference::name).collect();
        names.sort();
        names.dedup();
        names
            .iter()
            .map(|name| format!("{name}@{digest}"))
            .collect()
    }
}

/// What a removal or a collection gave back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Blobs and unpacked layers that are gone.
    pub items: usize,
    /// Bytes of the blobs that are gone.
    pub bytes: u64,
}

/// The store. Clones share it.
#[derive(Clone)]
pub struct Images {
    inner: Arc<Options>,
}

impl Images {
    /// Opens the store, takes its lock, and throws away what a crash left half made.
    ///
    /// # Errors
    /// [`Error::Locked`] while another process has it open.
    pub fn open(options: Options) -> Result<Self, Error> {
        Ok(Self {
            inner: Arc::new(options),
        })
    }

    /// Brings an image into the store and returns it. The registry is always asked what the name
    /// means now; content that is here already is not transferred again.
    pub async fn pull(
        &self,
        image: &Reference,
        credentials: &[Credential],
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Image, Error> {
        let _ = (image, credentials, progress);
        todo!()
    }

    /// The image of that name, if it is in the store or built in.
    pub async fn get(&self, image: &Reference) -> Result<Option<Image>, Error> {
        let _ = image;
        todo!()
    }

    /// The image with that configuration or manifest digest, if it is in the store.
    pub async fn get_by_digest(&self, digest: Digest) -> Result<Option<Image>, Error> {
        let _ = digest;
        todo!()
    }

    /// All images of the store.
    pub async fn list(&self) -> Result<Vec<Image>, Error> {
        todo!()
    }

    /// Takes a name away, then what no other name needs. Layers in `in_use` (directories that
    /// containers still have mounted) stay until a later [`Images::gc`].
    pub async fn remove(&self, image: &Reference, in_use: &[PathBuf]) -> Result<Removed, Error> {
        let _ = (image, in_use);
        todo!()
    }

    /// Reads an OCI layout (directory or tar) or a Docker archive and gives the names it brought.
    pub async fn import(&self, path: &Path) -> Result<Vec<Reference>, Error> {
        let _ = path;
        todo!()
    }

    /// The directories of the image's unpacked layers, top first, as `lowerdir` of an overlay
    /// mount wants them. Layers are unpacked when they are first asked for.
    pub async fn layers(&self, image: &Image) -> Result<Vec<PathBuf>, Error> {
        let _ = (image, &self.inner);
        todo!()
    }

    /// Removes blobs and unpacked layers that no name leads to and that are not `in_use`.
    pub async fn gc(&self, in_use: &[PathBuf]) -> Result<Removed, Error> {
        let _ = in_use;
        todo!()
    }
}
