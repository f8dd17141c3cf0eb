//! Making room: images that nothing uses go when the disk is nearly full.

use std::time::Duration;

use consort_image::ErrorKind;
use tokio_util::sync::CancellationToken;

use crate::machine::Disk;
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
    let unused = match shared.images.unused().await {
        Ok(unused) => unused,
        Err(error) => {
            tracing::warn!(error = error.message(), "looking for unused images");
            return;
        }
    };
    for image in unused {
        match shared.images.remove(&image, false).await {
            Ok(removed) => {
                tracing::info!(%image, bytes = removed.bytes, "removed an unused image");
            }
            // A container has been made from it just now.
            Err(error) if error.kind() == ErrorKind::InUse => {}
            Err(error) => {
                tracing::warn!(%image, error = error.message(), "removing an unused image");
            }
        }
    }
    // Layers whose name went while they were in use.
    if let Err(error) = shared.images.gc().await {
        tracing::warn!(error = error.message(), "removing unused layers");
    }
}
