//! The image store's public face.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;

use crate::blobs::Blobs;
use crate::config::ConfigFile;
use crate::disk::DirLock;
use crate::locks::{Keyed, Pinned, Pins};
use crate::manifest::{Document, Manifest};
use crate::names::{Named, Names};
use crate::registry::Hosts;
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

/// The store. Clones share it; the lock on its directory goes with the last of them.
#[derive(Clone)]
pub struct Images {
    inner: Arc<Inner>,
}

/// Keeps the content of an image; see [`Images::hold`].
#[must_use]
pub struct Hold {
    _pinned: Pinned,
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hold")
    }
}

/// How a pull ended, for those who waited for it.
type Ended = Option<(Instant, Result<Image, Arc<Error>>)>;

pub(crate) struct Inner {
    pub(crate) options: Options,
    pub(crate) blobs: Blobs,
    pub(crate) layer_dir: PathBuf,
    pub(crate) names: Mutex<Names>,
    pub(crate) hosts: Hosts,
    pub(crate) pins: Pins,
    /// Held for reading by imports, whose digests are not known beforehand; by gc for writing.
    pub(crate) imports: RwLock<()>,
    pub(crate) transfers: Keyed<Digest, ()>,
    pub(crate) unpacks: Keyed<Digest, ()>,
    pub(crate) slots: Semaphore,
    /// Built-in images that were made, by name.
    pub(crate) made: Mutex<HashMap<String, Image>>,
    pub(crate) making: Keyed<String, ()>,
    pulls: Keyed<(Reference, u64), Ended>,
    described: Mutex<HashMap<Digest, Described>>,
    _lock: DirLock,
}

/// What manifest and configuration say, kept as they cannot change.
#[derive(Clone)]
struct Described {
    id: Digest,
    config: Arc<Config>,
    size: u64,
    created: Option<String>,
    layers: Arc<[Layer]>,
}

impl fmt::Debug for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Images")
            .field("options", &self.inner.options)
            .finish_non_exhaustive()
    }
}

impl Images {
    /// Opens the store, takes its lock, and throws away what a crash left half made.
    ///
    /// # Errors
    /// [`Error::Locked`] while another process has it open.
    pub fn open(options: Options) -> Result<Self, Error> {
        let dir = &options.dir;
        std::fs::create_dir_all(dir).map_err(Error::io("creating", dir))?;
        let lock = DirLock::take(dir)?;
        let layer_dir = dir.join("layers");
        std::fs::create_dir_all(&layer_dir).map_err(Error::io("creating", &layer_dir))?;
        crate::disk::sweep_temporaries(dir)?;
        crate::disk::sweep_temporaries(&layer_dir)?;
        Ok(Self {
            inner: Arc::new(Inner {
                blobs: Blobs::open(dir)?,
                names: Mutex::new(Names::open(dir)?),
                layer_dir,
                hosts: Hosts::default(),
                pins: Pins::default(),
                imports: RwLock::default(),
                transfers: Keyed::default(),
                unpacks: Keyed::default(),
                slots: Semaphore::new(options.limits.parallel.max(1)),
                made: Mutex::default(),
                making: Keyed::default(),
                pulls: Keyed::default(),
                described: Mutex::default(),
                options,
                _lock: lock,
            }),
        })
    }

    /// Brings an image into the store and returns it. The registry is always asked what a tag
    /// means now; content that is here already is not transferred again. Pulls of one name at the
    /// same time, with the same credentials, are one pull.
    ///
    /// `credentials` are tried before those of the configuration; `progress` is called from this
    /// task whenever more has arrived.
    pub async fn pull(
        &self,
        image: &Reference,
        credentials: &[Credential],
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Image, Error> {
        if let Some(made) = self.builtin(image).await? {
            return Ok(made);
        }
        let asked = Instant::now();
        let mut hasher = DefaultHasher::new();
        credentials.hash(&mut hasher);
        let key = (image.clone(), hasher.finish());
        let mut ended = self.inner.pulls.lock(key).await;
        if let Some((when, result)) = &*ended
            && *when >= asked
        {
            return result.clone().map_err(Error::Shared);
        }
        match crate::pull::pull(&self.inner, image, credentials, progress).await {
            Ok(image) => {
                *ended = Some((Instant::now(), Ok(image.clone())));
                Ok(image)
            }
            Err(error) => {
                let error = Arc::new(error);
                *ended = Some((Instant::now(), Err(error.clone())));
                Err(Error::Shared(error))
            }
        }
    }

    /// The image of that name, if it is whole in the store or built in.
    pub async fn get(&self, image: &Reference) -> Result<Option<Image>, Error> {
        if let Some(made) = self.builtin(image).await? {
            return Ok(Some(made));
        }
        let image = image.clone();
        self.blocking(move |inner| {
            let named = inner.names.lock().find(&image).cloned();
            match named {
                Some(named) => inner.describe(&named),
                None => Ok(None),
            }
        })
        .await
    }

    /// The image with that configuration or manifest digest, if it is in the store.
    pub async fn get_by_digest(&self, digest: Digest) -> Result<Option<Image>, Error> {
        let images = self.list().await?;
        Ok(images.into_iter().find(|image| {
            image.id == digest || image.digest == digest || image.index == Some(digest)
        }))
    }

    /// All images of the store, and the built-in ones that were used since it was opened.
    pub async fn list(&self) -> Result<Vec<Image>, Error> {
        self.blocking(|inner| {
            let mut named: Vec<Named> = {
                let names = inner.names.lock();
                names.iter().map(|(_, named)| named.clone()).collect()
            };
            named.sort_by_key(|named| (named.manifest, named.index.is_none()));
            named.dedup_by_key(|named| named.manifest);
            let mut images = Vec::new();
            for named in named {
                images.extend(inner.describe(&named)?);
            }
            images.extend(inner.made.lock().values().cloned());
            images.sort_by(|a, b| a.references.cmp(&b.references));
            Ok(images)
        })
        .await
    }

    /// Takes a name away, then what no other name needs. Layers that are mounted stay until a later
    /// [`Images::gc`].
    ///
    /// Unless it is `force`d, the name stays if containers were made by it, or were made from the image
    /// and know no other name for it.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the store does not have the name; built-in images cannot be
    /// removed and are not found here. [`Error::InUse`] tells who uses it.
    pub async fn remove(&self, image: &Reference, force: bool) -> Result<Removed, Error> {
        let image = image.clone();
        self.blocking(move |inner| {
            if !force {
                inner.check_unused(&image)?;
            }
            if !inner.names.lock().remove(&image)? {
                return Err(Error::NotFound {
                    image: image.to_string(),
                    reason: "it is not in the store".into(),
                });
            }
            inner.collect()
        })
        .await
    }

    /// Reads an OCI layout (a directory or a tar archive) or a Docker archive, compressed or not,
    /// and gives the names it brought.
    ///
    /// `name` is for archives that name their images by tag only, or not at all: the repository,
    /// and for a single image without a tag the tag too.
    pub async fn import(
        &self,
        path: &Path,
        name: Option<&Reference>,
    ) -> Result<Vec<Reference>, Error> {
        let (path, name) = (path.to_owned(), name.cloned());
        self.blocking(move |inner| crate::import::import(inner, &path, name.as_ref()))
            .await
    }

    /// The directories of the image's unpacked layers, top first, as `lowerdir` of an overlay
    /// mount wants them. Layers are unpacked when they are first asked for, each once. A layer
    /// that an image has twice is given once, at its upper place, as overlayfs demands.
    pub async fn layers(&self, image: &Image) -> Result<Vec<PathBuf>, Error> {
        crate::layers::layers(&self.inner, image).await
    }

    /// Keeps an image's content from being removed, whatever becomes of its names, until what comes
    /// back is dropped.
    pub fn hold(&self, image: &Image) -> Hold {
        let digests = image
            .layers
            .iter()
            .flat_map(|layer| [layer.blob, layer.diff_id])
            .chain([image.digest, image.id]);
        Hold {
            _pinned: self.inner.pins.hold(digests),
        }
    }

    /// The names of images that no one was made from.
    pub async fn unused(&self) -> Result<Vec<Reference>, Error> {
        self.blocking(Inner::unused).await
    }

    /// Removes blobs and unpacked layers that no name leads to and that no one uses.
    pub async fn gc(&self) -> Result<Removed, Error> {
        self.blocking(Inner::collect).await
    }

    async fn builtin(&self, image: &Reference) -> Result<Option<Image>, Error> {
        crate::builtin::image(&self.inner, image).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        blocking(&self.inner, work).await
    }
}

/// Runs work that waits for the disk off the reactor.
pub(crate) async fn blocking<T: Send + 'static>(
    inner: &Arc<Inner>,
    work: impl FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let inner = inner.clone();
    match tokio::task::spawn_blocking(move || work(&inner)).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going down before the work began.
            Err(error) => Err(Error::malformed("the image store", error)),
        },
    }
}

impl Inner {
    /// Reads what a name stands for; `None` when a part of it is missing, so that it is pulled
    /// again.
    pub(crate) fn describe(&self, named: &Named) -> Result<Option<Image>, Error> {
        let cached = self.described.lock().get(&named.manifest).cloned();
        let described = match cached {
            Some(described) => described,
            None => match self.read_description(named.manifest)? {
                Some(described) => described,
                None => return Ok(None),
            },
        };
        let whole = described
            .layers
            .iter()
            .all(|layer| self.blobs.has(layer.blob) || self.unpacked(layer.diff_id).is_dir());
        if !whole {
            return Ok(None);
        }
        self.described
            .lock()
            .insert(named.manifest, described.clone());
        Ok(Some(Image {
            id: described.id,
            digest: named.manifest,
            index: named.index,
            references: self.names.lock().of(named.manifest),
            config: described.config,
            size: described.size,
            created: described.created,
            layers: described.layers,
        }))
    }

    fn read_description(&self, manifest: Digest) -> Result<Option<Described>, Error> {
        let limit = self.options.limits.document_bytes;
        let what = format!("stored manifest {manifest}");
        let Some(bytes) = self.blobs.document(manifest, limit)? else {
            return Ok(None);
        };
        let Document::Manifest(manifest) = Document::parse(&what, &bytes)? else {
            return Err(Error::malformed(what, "it is an index"));
        };
        let Some(bytes) = self.blobs.document(manifest.config.digest, limit)? else {
            return Ok(None);
        };
        let file = ConfigFile::parse(&what, &bytes, &manifest)?;
        Ok(Some(Described {
            id: manifest.config.digest,
            size: manifest.config.size + manifest.layers.iter().map(|l| l.size).sum::<u64>(),
            layers: layers_of(&manifest, &file),
            created: file.created,
            config: Arc::new(file.config.unwrap_or_default().into()),
        }))
    }

    /// Forgets what was read of a manifest that is gone.
    pub(crate) fn forget(&self, manifest: Digest) {
        self.described.lock().remove(&manifest);
    }

    /// Where the unpacked layer is, or will be.
    pub(crate) fn unpacked(&self, diff_id: Digest) -> PathBuf {
        self.layer_dir.join(diff_id.hex())
    }
}

fn layers_of(manifest: &Manifest, file: &ConfigFile) -> Arc<[Layer]> {
    let pairs = manifest.layers.iter().zip(&file.rootfs.diff_ids);
    pairs
        .map(|(layer, diff_id)| Layer {
            blob: layer.digest,
            diff_id: *diff_id,
            size: layer.size,
        })
        .collect()
}
