//! Where images come from: the caller's image store.

use std::any::Any;
use std::path::PathBuf;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

/// An image as far as a machine needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resolved {
    /// `repository@sha256:...`, or what else tells exactly which image it is.
    pub digest: String,
    /// Unpacked layers, topmost first.
    pub layers: Vec<PathBuf>,
    /// The start of its command line.
    pub entrypoint: Vec<String>,
    /// The rest of its command line.
    pub cmd: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Its user; empty is root.
    pub user: String,
    /// Its working directory; empty is `/`.
    pub working_dir: String,
    /// The signal that asks it to stop; empty is the usual one.
    pub stop_signal: String,
}

/// Finds images by name. What comes with an image keeps its layers while it is held.
pub trait Images: Send + Sync {
    /// Gets the image, from its registry if need be, and unpacks it.
    ///
    /// # Errors
    /// When it cannot be had.
    #[allow(
        clippy::type_complexity,
        reason = "an image, what holds it, or any error"
    )]
    fn resolve<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<
        'a,
        Result<(Resolved, Box<dyn Any + Send>), Box<dyn std::error::Error + Send + Sync>>,
    >;
}

/// For those who make machines from directories and disks alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoImages;

impl Images for NoImages {
    fn resolve<'a>(
        &'a self,
        _: &'a str,
    ) -> BoxFuture<
        'a,
        Result<(Resolved, Box<dyn Any + Send>), Box<dyn std::error::Error + Send + Sync>>,
    > {
        Box::pin(std::future::ready(Err("there is no image store".into())))
    }
}
