//! How a store is opened.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::Transform;

/// Where the store lives and what it keeps.
#[derive(Clone)]
pub struct Options {
    /// The directory; made when absent. One process at a time can have it open.
    pub dir: PathBuf,
    /// How much history is kept.
    pub retention: Retention,
    /// About how many bytes of values are kept in memory. Others are read from the disk at need.
    pub cache_bytes: usize,
    /// About how many bytes of heads are kept of objects whose values are not in memory, so that
    /// selecting by labels and fields reads no disk. An object takes some 250.
    pub head_bytes: usize,
    /// Size at which a log segment is finished and the next begun, in bytes.
    pub segment_bytes: u64,
    /// Largest commit, in bytes of keys, heads and values.
    pub max_commit_bytes: usize,
    /// How often history and log are looked at for what can go.
    pub upkeep: Duration,
    /// Transforms objects on their way to the disk and back, e.g. encrypts them.
    pub transform: Option<Arc<dyn Transform>>,
}

impl Options {
    /// The usual options for a directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            retention: Retention::default(),
            cache_bytes: 64 << 20,
            head_bytes: 256 << 20,
            segment_bytes: 64 << 20,
            max_commit_bytes: 32 << 20,
            upkeep: Duration::from_millis(500),
            transform: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("dir", &self.dir)
            .field("retention", &self.retention)
            .field("cache_bytes", &self.cache_bytes)
            .field("head_bytes", &self.head_bytes)
            .field("segment_bytes", &self.segment_bytes)
            .field("max_commit_bytes", &self.max_commit_bytes)
            .field("upkeep", &self.upkeep)
            .field("transform", &self.transform.is_some())
            .finish()
    }
}

/// How much history is kept for watches and reads at a revision. What exceeds any of the bounds is
/// compacted by itself; the newest state of each object always stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Age of the oldest revision kept, counted from opening for what was written before it.
    pub age: Duration,
    /// Number of revisions kept.
    pub revisions: u64,
    /// Size of the events kept, on disk, in bytes.
    pub bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            // As long as upstream keeps it at least.
            age: Duration::from_mins(5),
            revisions: 250_000,
            bytes: 1 << 30,
        }
    }
}
