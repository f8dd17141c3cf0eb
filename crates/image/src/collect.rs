//! Removing what no name leads to and no one uses.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use crate::images::Inner;
use crate::locks::{Attempt, Moment};
use crate::users::User;
use crate::{Digest, Error, Layer, Reference, Removed, disk};

/// How often a collection looks anew when pulls and starts of containers end while it is at work. What
/// it leaves then is for the next one.
const LOOKS: usize = 8;

/// What a collection has to leave alone, and when that was so.
struct Kept {
    seen: Moment,
    /// Blobs and layers that names lead to.
    named: HashSet<Digest>,
    /// Layers that someone has mounted.
    mounted: HashSet<Digest>,
}

impl Inner {
    /// One pass over blobs and unpacked layers.
    pub(crate) fn collect(&self) -> Result<Removed, Error> {
        let _no_import = self.imports.write();
        let mut removed = Removed::default();
        for _ in 0..LOOKS {
            let kept = self.kept()?;
            if self.sweep(&kept, &mut removed)? {
                break;
            }
        }
        Ok(removed)
    }

    /// Refuses if the last name of a used image, or the name it is used by, is to go.
    pub(crate) fn check_unused(&self, image: &Reference) -> Result<(), Error> {
        let found = {
            let names = self.names.lock();
            let named = names.iter().find(|(name, _)| *name == image);
            named.map(|(_, named)| (named.clone(), names.of(named.manifest).len() == 1))
        };
        // Whether it is there at all is found out where it is removed.
        let Some((named, last)) = found else {
            return Ok(());
        };
        let Some(described) = self.describe(&named)? else {
            return Ok(());
        };
        let layers = diff_ids(&described.layers);
        let name = image.to_string();
        let mut users: Vec<String> = self
            .users()?
            .into_iter()
            .filter(|user| last || user.image == name)
            .filter(|user| mounted_by(user) == layers)
            .map(|user| user.name)
            .collect();
        if users.is_empty() {
            return Ok(());
        }
        users.sort();
        users.dedup();
        Err(Error::InUse { image: name, users })
    }

    /// The names of images that no one was made from.
    pub(crate) fn unused(&self) -> Result<Vec<Reference>, Error> {
        let named: Vec<_> = {
            let names = self.names.lock();
            let pairs = names.iter();
            pairs
                .map(|(name, named)| (name.clone(), named.clone()))
                .collect()
        };
        let users: Vec<HashSet<Digest>> = self.users()?.iter().map(mounted_by).collect();
        let mut unused = Vec::new();
        for (name, named) in named {
            match self.describe(&named) {
                Ok(Some(image)) if users.contains(&diff_ids(&image.layers)) => {}
                Ok(_) => unused.push(name),
                // One that cannot be read is not known to be unused.
                Err(error) => {
                    tracing::warn!(image = %name, error = %error.message(), "unreadable image");
                }
            }
        }
        Ok(unused)
    }

    fn users(&self) -> Result<Vec<User>, Error> {
        let users = self.options.users.users();
        users.map_err(Error::io(
            "finding out who uses the images in",
            &self.layer_dir,
        ))
    }

    fn kept(&self) -> Result<Kept, Error> {
        let seen = self.pins.now();
        let mounted = self.users()?.iter().flat_map(mounted_by).collect();
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
        Ok(Kept {
            seen,
            named: live,
            mounted,
        })
    }

    /// Removes what is not kept; false when it has to be looked again at what is.
    fn sweep(&self, kept: &Kept, removed: &mut Removed) -> Result<bool, Error> {
        for (digest, size) in self.blobs.all()? {
            if kept.named.contains(&digest) {
                continue;
            }
            let attempt = self
                .pins
                .unless_held(digest, kept.seen, || self.blobs.remove(digest));
            match attempt {
                Attempt::Made(result) => {
                    result?;
                    self.forget(digest);
                    removed.items += 1;
                    removed.bytes += size;
                }
                Attempt::Held => {}
                Attempt::Late => return Ok(false),
            }
        }
        for (digest, path) in self.all_unpacked()? {
            if kept.named.contains(&digest) || kept.mounted.contains(&digest) {
                continue;
            }
            // Only the rename happens while pins are held back; deleting a tree takes longer.
            let doomed = disk::temporary_beside(&path);
            let attempt = self
                .pins
                .unless_held(digest, kept.seen, || fs::rename(&path, &doomed));
            match attempt {
                Attempt::Made(result) => {
                    result.map_err(Error::io("removing", &path))?;
                    disk::remove_all(&doomed)?;
                    disk::remove_all(&self.boot_marker(digest))?;
                    removed.items += 1;
                }
                Attempt::Held => {}
                Attempt::Late => return Ok(false),
            }
        }
        Ok(true)
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

fn diff_ids(layers: &[Layer]) -> HashSet<Digest> {
    layers.iter().map(|layer| layer.diff_id).collect()
}

/// The layers of this store that someone has mounted. Told by their names: the way to the store may
/// have been written differently.
fn mounted_by(user: &User) -> HashSet<Digest> {
    let names = user.layers.iter().filter_map(|path| path.file_name());
    names
        .filter_map(|name| Digest::from_hex(&name.to_string_lossy()))
        .collect()
}
