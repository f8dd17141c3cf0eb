//! Unpacked layers, each made once.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::{StreamExt as _, TryStreamExt as _};

use crate::images::{Inner, blocking};
use crate::layer::{Unpack, unpack};
use crate::{Error, Image, Layer, disk};

/// Layers of one image that are unpacked at the same time; each uses up to three threads.
const AT_ONCE: usize = 2;

/// Gives the directories, top first.
pub(crate) async fn layers(inner: &Arc<Inner>, image: &Image) -> Result<Vec<PathBuf>, Error> {
    let _pinned = inner.pins.hold(
        image
            .layers
            .iter()
            .flat_map(|layer| [layer.blob, layer.diff_id]),
    );
    // A lower copy of a layer changes nothing that its upper copy does not say again.
    let mut seen = HashSet::new();
    let distinct = image
        .layers
        .iter()
        .rev()
        .filter(|layer| seen.insert(layer.diff_id));
    // Collected: a closure over references that lives across an await keeps the future from being `Send`.
    let each: Vec<_> = distinct.map(|layer| one(inner, layer)).collect();
    futures::stream::iter(each)
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

async fn one(inner: &Arc<Inner>, layer: &Layer) -> Result<PathBuf, Error> {
    let dir = inner.unpacked(layer.diff_id);
    let only = inner.unpacks.lock(layer.diff_id).await;
    if dir.is_dir() {
        return Ok(dir);
    }
    // When the caller goes away the work ends early, and the lock goes only then.
    let cancelled = Arc::new(AtomicBool::new(false));
    let _cancel = CancelOnDrop(cancelled.clone());
    let layer = layer.clone();
    blocking(inner, move |inner| {
        let _only = only;
        make(inner, &layer, &dir, &cancelled)?;
        Ok(dir)
    })
    .await
}

struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Unpacks beside the final place and moves there what is whole and durable.
fn make(inner: &Inner, layer: &Layer, dir: &Path, cancelled: &AtomicBool) -> Result<(), Error> {
    let blob = inner.blobs.path(layer.blob);
    let archive = File::open(&blob).map_err(Error::io("reading", &blob))?;
    let temporary = disk::temporary_beside(dir);
    fs::create_dir(&temporary).map_err(Error::io("creating", &temporary))?;
    let what = Unpack {
        blob: layer.blob,
        diff_id: layer.diff_id,
        limits: &inner.options.limits,
        cancelled,
    };
    let unpacked = set_mode(&temporary)
        .and_then(|()| unpack(archive, &temporary, &what))
        .and_then(|()| disk::sync_file_system(&temporary))
        .and_then(|()| fs::rename(&temporary, dir).map_err(Error::io("creating", dir)))
        .and_then(|()| disk::sync_parent(dir));
    if unpacked.is_err()
        && let Err(error) = disk::remove_all(&temporary)
    {
        tracing::warn!(error = %error.message(), "left behind a layer that could not be unpacked");
    }
    unpacked
}

/// The container's root directory, unless the layer says otherwise.
pub(crate) fn set_mode(dir: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).map_err(Error::io("creating", dir))
}
