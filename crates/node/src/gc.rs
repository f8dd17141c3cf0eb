//! Making room: images that nothing uses go when the disk is nearly full.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::machine::Disk;
use crate::pod::chain;
use crate::shared::Handle;

/// How often the disk is looked at.
const EVERY: Duration = Duration::from_secs(300);

/// Looks after the disk until `shutdown`.
pub(crate) async fn run(shared: Handle, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let used = Disk::of(&shared.options.data_dir).map_or(0, |d| d.used_percent());
        if used >= shared.options.image_gc_high_percent {
            collect(&shared).await;
        }
    }
}

/// Removes every image that no container on this machine was made from.
async fn collect(shared: &Handle) {
    let sandboxes = match shared.runtime.adopt().await {
        Ok(all) => all,
        Err(error) => {
            tracing::warn!(error = chain(&error), "looking for images in use");
            return;
        }
    };
    let mut in_use: HashSet<PathBuf> = HashSet::new();
    for sandbox in &sandboxes {
        for container in sandbox.containers().unwrap_or_default() {
            in_use.extend(container.spec().lower_dirs.iter().cloned());
        }
    }
    let in_use: Vec<PathBuf> = in_use.into_iter().collect();
    let images = match shared.images.list().await {
        Ok(images) => images,
        Err(error) => {
            tracing::warn!(error = error.message(), "listing images");
            return;
        }
    };
    for image in images {
        let used = match shared.images.layers(&image).await {
            Ok(layers) => layers.iter().any(|layer| in_use.contains(layer)),
            Err(error) => {
                tracing::warn!(image = %image.id, error = error.message(), "reading an image's layers");
                true
            }
        };
        if used {
            continue;
        }
        for reference in &image.references {
            match shared.images.remove(reference, &in_use).await {
                Ok(removed) => {
                    tracing::info!(image = %reference, bytes = removed.bytes, "removed an unused image");
                }
                Err(error) => {
                    tracing::warn!(image = %reference, error = error.message(), "removing an unused image");
                }
            }
        }
    }
}
