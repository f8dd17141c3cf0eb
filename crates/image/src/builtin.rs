//! Images that are made from the running program.

use std::io;
use std::path::{Path, PathBuf};

use crate::Config;

/// An image with one layer that is made at need, so that there is one where no registry is.
pub trait Builtin: Send + Sync {
    /// The repository it answers for, with any tag: `consort.dev/toolbox`.
    fn name(&self) -> &str;

    /// How it is run.
    fn config(&self) -> Config;

    /// Lists the content of the layer. Files of the host are only named here; they are read when
    /// the image is wanted and they, or the list, changed since it was made.
    fn build(&self, layer: &mut LayerBuilder) -> io::Result<()>;
}

/// Collects what goes into a built-in image's layer. Paths are absolute within the image; parents
/// that are not listed come into being with mode 0755; everything belongs to root.
#[derive(Debug, Default)]
pub struct LayerBuilder {
    pub(crate) entries: Vec<(PathBuf, Entry)>,
}

#[derive(Debug, Clone, Hash)]
pub(crate) enum Entry {
    Dir { mode: u32 },
    File { mode: u32, content: Vec<u8> },
    HostFile { mode: u32, source: PathBuf },
    Symlink { target: PathBuf },
}

impl LayerBuilder {
    /// A directory with permission bits `mode`.
    pub fn dir(&mut self, path: impl AsRef<Path>, mode: u32) {
        self.add(path.as_ref(), Entry::Dir { mode });
    }

    /// A file with this content.
    pub fn file(&mut self, path: impl AsRef<Path>, mode: u32, content: impl Into<Vec<u8>>) {
        let content = content.into();
        self.add(path.as_ref(), Entry::File { mode, content });
    }

    /// A file with the content that `source` has on this machine.
    pub fn host_file(&mut self, path: impl AsRef<Path>, mode: u32, source: impl Into<PathBuf>) {
        let source = source.into();
        self.add(path.as_ref(), Entry::HostFile { mode, source });
    }

    /// A symbolic link.
    pub fn symlink(&mut self, path: impl AsRef<Path>, target: impl Into<PathBuf>) {
        let target = target.into();
        self.add(path.as_ref(), Entry::Symlink { target });
    }

    fn add(&mut self, path: &Path, entry: Entry) {
        let path = path.strip_prefix("/").unwrap_or(path).to_owned();
        self.entries.push((path, entry));
    }
}
