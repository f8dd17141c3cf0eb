//! From a layer's archive to a directory for an overlay mount.
//!
//! Three threads work on one layer: one reads and decompresses, one hashes the archive (its digest
//! is the layer's `diffID`), and the caller's creates the files. Chunks are shared, not copied.

mod archive;
mod tree;
mod unpack;

pub(crate) use archive::{Compression, decoder};
pub(crate) use tree::{Meta, Tree};
pub(crate) use unpack::{Unpack, unpack};
