//! Those who have images mounted, and so keep them.

use std::io;
use std::path::PathBuf;

/// Something made from an image, such as a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// What it is, in words that follow "in use by": `pod shop/web (container main)`.
    pub name: String,
    /// The image's name that it was made by, as [`Reference`](crate::Reference) writes it.
    pub image: String,
    /// The layers it has mounted, as [`Images::layers`](crate::Images::layers) gave them.
    pub layers: Vec<PathBuf>,
}

/// Knows who uses the images of a store.
///
/// Between [`Images::layers`](crate::Images::layers) and the moment when its user is told of here, an
/// image has to be kept by [`Images::hold`](crate::Images::hold).
pub trait Users: Send + Sync {
    /// All users there are now. Called where blocking is fine.
    ///
    /// # Errors
    /// When that cannot be found out: then nothing is removed.
    fn users(&self) -> io::Result<Vec<User>>;
}

/// No one uses the images of this store.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl Users for Nobody {
    fn users(&self) -> io::Result<Vec<User>> {
        Ok(Vec::new())
    }
}
