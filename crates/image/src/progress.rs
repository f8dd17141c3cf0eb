//! How far a pull is.

use std::fmt;

/// A snapshot of a running pull, handed to the progress callback whenever it changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Layers that are complete on disk.
    pub layers_done: usize,
    /// Layers of the image; 0 until its manifest is known.
    pub layers: usize,
    /// Compressed bytes that are on disk.
    pub bytes_done: u64,
    /// Compressed bytes in all; 0 until the manifest is known.
    pub bytes: u64,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.layers == 0 {
            return f.write_str("resolving");
        }
        let mega = |bytes: u64| bytes as f64 / 1e6;
        write!(
            f,
            "{}/{} layers, {:.1}/{:.1} MB",
            self.layers_done,
            self.layers,
            mega(self.bytes_done),
            mega(self.bytes)
        )
    }
}
