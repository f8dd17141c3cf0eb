//! The files of a configuration, kept: what a saved plan is applied from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_hcl::source::Sources;

use super::tree::Tree;
use crate::install::Manifest;

/// The configuration files of all modules of a configuration, and where each module was installed.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The directory of the root module.
    pub root: PathBuf,
    /// The texts by path, as messages show paths.
    pub files: BTreeMap<PathBuf, Arc<str>>,
    /// Which module call is in which directory.
    pub manifest: Manifest,
}

impl Snapshot {
    /// Keeps what a tree was loaded from. `sources` are those it was loaded with.
    pub fn of(tree: &Tree, manifest: &Manifest, sources: &Sources) -> Self {
        let mut directories = std::collections::BTreeSet::new();
        tree.visit(&mut |tree| {
            directories.insert(plain(&tree.module.source_dir).to_owned());
        });
        let files = sources
            .iter()
            .filter_map(|source| {
                let path = sources.path(source);
                let name = path.file_name()?.to_str()?;
                let counts = [".tf", ".tf.json"].iter().any(|end| name.ends_with(end));
                let within = directories.contains(plain(path.parent()?));
                (counts && within).then(|| (path, Arc::from(source.text())))
            })
            .collect();
        Snapshot {
            root: tree.module.source_dir.clone(),
            files,
            manifest: manifest.clone(),
        }
    }

    /// The same with paths relative to a directory, as far as they lie below it.
    #[must_use]
    pub fn relative_to(mut self, base: &Path) -> Self {
        let short = |path: &Path| path.strip_prefix(base).unwrap_or(path).to_owned();
        self.root = short(&self.root);
        self.files = std::mem::take(&mut self.files)
            .into_iter()
            .map(|(path, text)| (short(&path), text))
            .collect();
        self.manifest.change_directories(short);
        self
    }

    /// The same with relative paths below a directory.
    #[must_use]
    pub fn below(mut self, base: &Path) -> Self {
        let long = |path: &Path| base.join(path);
        self.root = long(&self.root);
        self.files = std::mem::take(&mut self.files)
            .into_iter()
            .map(|(path, text)| (long(&path), text))
            .collect();
        self.manifest.change_directories(long);
        self
    }
}

/// `.` and no directory at all are the same.
fn plain(directory: &Path) -> &Path {
    directory.strip_prefix(".").unwrap_or(directory)
}

/// Where the files of modules are read from.
#[derive(Clone, Copy)]
pub(super) enum Texts<'a> {
    Disk,
    Kept(&'a Snapshot),
}

impl Texts<'_> {
    /// The names of the plain files of a directory, sorted.
    pub(super) fn names(self, directory: &Path) -> std::io::Result<Vec<String>> {
        let mut names = Vec::new();
        match self {
            Texts::Disk => {
                let directory = if directory.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    directory
                };
                for entry in std::fs::read_dir(directory)? {
                    let entry = entry?;
                    if entry.file_type()?.is_dir() {
                        continue;
                    }
                    names.extend(entry.file_name().into_string());
                }
            }
            Texts::Kept(snapshot) => {
                names.extend(snapshot.files.keys().filter_map(|path| {
                    (plain(path.parent()?) == plain(directory))
                        .then(|| Some(path.file_name()?.to_str()?.to_owned()))
                        .flatten()
                }));
            }
        }
        names.sort();
        Ok(names)
    }

    /// The contents of a file.
    pub(super) fn read(self, path: &Path) -> std::io::Result<Vec<u8>> {
        match self {
            Texts::Disk => std::fs::read(path),
            Texts::Kept(snapshot) => snapshot
                .files
                .get(path)
                .map(|text| text.as_bytes().to_vec())
                .ok_or_else(|| std::io::ErrorKind::NotFound.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::ModulePath;
    use crate::config::{load, load_snapshot};
    use crate::install::Record;

    #[test]
    fn a_configuration_loads_again_from_what_was_kept_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        let child = root.join("child");
        std::fs::create_dir(&child).unwrap();
        let call = "module \"child\" {\n  source = \"./child\"\n}\n";
        std::fs::write(root.join("main.tf"), call).unwrap();
        std::fs::write(root.join("notes.txt"), "of no interest").unwrap();
        std::fs::write(child.join("a.tf.json"), "{\"locals\": {\"a\": 1}}").unwrap();
        std::fs::write(child.join("a_override.tf.json"), "{\"locals\": {\"a\": 2}}").unwrap();
        let mut manifest = Manifest::default();
        let path = ModulePath::root().child("child");
        let record = Record {
            source: "./child".to_owned(),
            version: None,
            directory: child,
        };
        manifest.insert(&path, record);
        let mut sources = Sources::new();
        let (tree, found) = load(&root, &manifest, None, &mut sources);
        assert!(!found.has_errors(), "{found:?}");
        let snapshot = Snapshot::of(&tree.unwrap(), &manifest, &sources);
        assert_eq!(snapshot.files.len(), 3);

        drop(folder);
        let (tree, found) = load_snapshot(&snapshot, &mut Sources::new());
        assert!(!found.has_errors(), "{found:?}");
        let tree = tree.unwrap();
        let local = &tree.at(&path).unwrap().module.locals["a"];
        assert_eq!(
            local.expr.evaluate_constant().0,
            consort_hcl::Value::number(2)
        );
    }
}
