//! The files of a directory of the controller that is copied.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::Failure;
use crate::paths;

/// What a directory holds: each with its place, and its path below the destination.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub files: Vec<(PathBuf, String)>,
    pub directories: Vec<(PathBuf, String)>,
    /// Links that stay links: where they point to.
    pub links: Vec<(String, String)>,
}

type Place = (u64, u64);

fn place(path: &Path) -> std::io::Result<Place> {
    std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

/// The files, directories and links below a directory. With a slash at its end what is in it is meant, without one the
/// directory itself as well.
pub(super) fn tree(top: &str, follow: bool) -> Result<Tree, Failure> {
    let failed = |error: std::io::Error| {
        Failure::error(consort_modules::python::os_error_at_text(&error, top))
    };
    let base = if top.ends_with('/') {
        top.trim_end_matches('/').to_owned()
    } else {
        paths::dirname(top).to_owned()
    };
    let offset = if base.ends_with('/') {
        base.len()
    } else {
        base.len() + 1
    };
    let mut found = Tree::default();
    let whole = Path::new(top.trim_end_matches('/'));
    if !follow && !top.ends_with('/') && whole.is_symlink() {
        let target = std::fs::read_link(whole).map_err(failed)?;
        found.links.push((
            target.to_string_lossy().into_owned(),
            paths::basename(top).to_owned(),
        ));
        return Ok(found);
    }
    let parents = BTreeSet::from([place(whole).map_err(failed)?]);
    Walk {
        follow,
        found: &mut found,
    }
    .recurse(whole, offset, &parents, "", 0)
    .map_err(failed)?;
    Ok(found)
}

struct Walk<'a> {
    follow: bool,
    found: &'a mut Tree,
}

impl Walk<'_> {
    fn recurse(
        &mut self,
        top: &Path,
        offset: usize,
        parents: &BTreeSet<Place>,
        base: &str,
        depth: usize,
    ) -> std::io::Result<()> {
        if depth > 200 {
            return Ok(());
        }
        let mut entries: Vec<PathBuf> = std::fs::read_dir(top)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<std::io::Result<_>>()?;
        entries.sort_unstable();
        let (directories, files): (Vec<PathBuf>, Vec<PathBuf>) =
            entries.into_iter().partition(|path| path.is_dir());
        let below = |path: &Path| {
            let shown = path.to_string_lossy();
            paths::join(base, shown.get(offset..).unwrap_or_default())
        };
        for path in files {
            if !path.is_symlink() {
                let below = below(&path);
                self.found.files.push((path, below));
                continue;
            }
            match std::fs::canonicalize(&path) {
                Ok(real) if self.follow && real.is_file() => {
                    self.found.files.push((real, below(&path)));
                }
                _ => self.link(&path, below(&path))?,
            }
        }
        for path in directories {
            if !path.is_symlink() {
                self.found.directories.push((path.clone(), below(&path)));
                self.recurse(&path, offset, parents, base, depth + 1)?;
            } else if self.follow {
                self.linked(&path, below(&path), parents, depth)?;
            } else {
                self.link(&path, below(&path))?;
            }
        }
        Ok(())
    }

    fn link(&mut self, path: &Path, below: String) -> std::io::Result<()> {
        let target = std::fs::read_link(path)?.to_string_lossy().into_owned();
        self.found.links.push((target, below));
        Ok(())
    }

    /// A link to a directory that is followed, unless that leads in a circle.
    fn linked(
        &mut self,
        path: &Path,
        below: String,
        parents: &BTreeSet<Place>,
        depth: usize,
    ) -> std::io::Result<()> {
        let real = std::fs::canonicalize(path)?;
        let target = place(&real)?;
        if parents.contains(&target) {
            return self.link(path, below);
        }
        let mut known = parents.clone();
        let mut parent = path.parent();
        while let Some(directory) = parent {
            let at = place(directory)?;
            if !known.insert(at) {
                break;
            }
            parent = directory.parent();
        }
        if known.contains(&target) {
            return self.link(path, below);
        }
        known.insert(target);
        self.found.directories.push((real.clone(), below.clone()));
        let offset = real.to_string_lossy().len() + 1;
        self.recurse(&real, offset, &known, &below, depth + 1)
    }
}
