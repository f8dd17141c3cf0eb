//! Removing what no name leads to.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::images::Inner;
use crate::{Digest, Error, Removed, disk};

impl Inner {
    /// One pass over blobs and unpacked layers.
    pub(crate) fn collect(&self, in_use: &[PathBuf]) -> Result<Removed, Error> {
        let _no_import = self.imports.write();
        let mut live = HashSet::new();
        let named: Vec<_> = {
            let names = self.names.lock();
            names.iter().map(|(_, named)| named.clone()).collect()
        };
        for named in named {
            live.insert(named.manifest);
            match self.describe(&named) {
                Ok(Some(image)) => {
                    live.insert(image.id);
                    for layer in image.layers.iter() {
                        live.extend([layer.blob, layer.diff_id]);
                    }
                }
                // What is left of it will be pulled again with the rest.
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(manifest = %named.manifest, error = %error.message(), "unreadable image");
                }
            }
        }
        for image in self.made.lock().values() {
            live.extend(image.layers.iter().map(|layer| layer.diff_id));
        }
        let mut removed = Removed::default();
        for (digest, size) in self.blobs.all()? {
            if live.contains(&digest) {
                continue;
            }
            if let Some(result) = self.pins.unless_held(digest, || self.blobs.remove(digest)) {
                result?;
                self.forget(digest);
                removed.items += 1;
                removed.bytes += size;
            }
        }
        let in_use: HashSet<&Path> = in_use.iter().map(PathBuf::as_path).collect();
        for (digest, path) in self.all_unpacked()? {
            if live.contains(&digest) || in_use.contains(path.as_path()) {
                continue;
            }
            // Only the rename happens while pins are held back; deleting a tree takes longer.
            let doomed = disk::temporary_beside(&path);
            let renamed = self.pins.unless_held(digest, || fs::rename(&path, &doomed));
            if let Some(result) = renamed {
                result.map_err(Error::io("removing", &path))?;
                disk::remove_all(&doomed)?;
                disk::remove_all(&self.boot_marker(digest))?;
                removed.items += 1;
            }
        }
        Ok(removed)
    }

    fn all_unpacked(&self) -> Result<Vec<(Digest, PathBuf)>, Error> {
        let entries =
            fs::read_dir(&self.layer_dir).map_err(Error::io("reading", &self.layer_dir))?;
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::io("reading", &self.layer_dir))?;
            if let Some(digest) = Digest::from_hex(&entry.file_name().to_string_lossy()) {
                found.push((digest, entry.path()));
            }
        }
        Ok(found)
    }
}
