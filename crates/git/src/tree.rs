//! The files of a commit.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use consort_plan::Commit;

use crate::error::Error;

/// The tree of a commit as a directory.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The commit.
    pub commit: Commit,
    /// Its files. Shared by all who ask for it: nothing in it is to be changed.
    pub directory: PathBuf,
    /// Directories that belong to submodules, and are empty.
    pub submodules: Vec<String>,
    /// The files stay for as long as somebody has this.
    pub(crate) _held: Arc<()>,
}

impl Tree {
    /// A directory of the tree.
    ///
    /// # Errors
    /// When the path leads out of the tree, or is no directory of it.
    pub fn at(&self, path: &str) -> Result<PathBuf, Error> {
        let fail = |why: &str| Error::Path {
            path: path.to_owned(),
            why: why.to_owned(),
        };
        let mut directory = self.directory.clone();
        for step in Path::new(path.trim_start_matches('/')).components() {
            match step {
                Component::Normal(step) => directory.push(step),
                Component::CurDir => {}
                _ => return Err(fail("it leads out of the repository")),
            }
        }
        if directory.is_dir() {
            Ok(directory)
        } else if directory.exists() {
            Err(fail("it is no directory"))
        } else {
            Err(fail("there is no such directory in the commit"))
        }
    }
}
