//! Content-addressed files: `blobs/sha256/<hex>` of the OCI image layout.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::digest::Hasher;
use crate::{Digest, Error, disk};

/// Partial downloads older than this are not worth resuming.
const PARTIAL_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The blobs and, beside them in `ingest`, what is still on its way to become one.
#[derive(Debug)]
pub(crate) struct Blobs {
    dir: PathBuf,
    ingest: PathBuf,
}

impl Blobs {
    pub(crate) fn open(root: &Path) -> Result<Self, Error> {
        let blobs = Self {
            dir: root.join("blobs/sha256"),
            ingest: root.join("ingest"),
        };
        for dir in [&blobs.dir, &blobs.ingest] {
            fs::create_dir_all(dir).map_err(Error::io("creating", dir))?;
            disk::sweep_temporaries(dir)?;
        }
        blobs.sweep_partials()?;
        Ok(blobs)
    }

    fn sweep_partials(&self) -> Result<(), Error> {
        let entries = fs::read_dir(&self.ingest).map_err(Error::io("reading", &self.ingest))?;
        for entry in entries.flatten() {
            let age = entry
                .metadata()
                .and_then(|metadata| metadata.modified())
                .ok()
                .and_then(|modified| SystemTime::now().duration_since(modified).ok());
            if age.is_none_or(|age| age > PARTIAL_KEPT) {
                disk::remove_all(&entry.path())?;
            }
        }
        Ok(())
    }

    pub(crate) fn path(&self, digest: Digest) -> PathBuf {
        self.dir.join(digest.hex())
    }

    pub(crate) fn has(&self, digest: Digest) -> bool {
        self.path(digest).is_file()
    }

    /// A document, checked again against its digest; `None` when it is not there.
    pub(crate) fn document(&self, digest: Digest, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("reading", path)(error)),
        };
        let bytes = read_limited(file, limit, &format!("blob {digest}"))?
            .map_err(Error::io("reading", &path))?;
        let actual = Digest::of(&bytes);
        if actual != digest {
            // Gone, so that the next pull brings it again.
            disk::remove_all(&path)?;
            return Err(Error::DigestMismatch {
                what: format!("stored blob {}", path.display()),
                expected: digest,
                actual,
            });
        }
        Ok(Some(bytes))
    }

    /// Stores bytes that are in memory.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<Digest, Error> {
        let digest = Digest::of(bytes);
        if !self.has(digest) {
            disk::write_atomically(&self.path(digest), bytes)?;
        }
        Ok(digest)
    }

    /// Copies a stream into a blob without holding it in memory. With `expected` the content
    /// must have that digest.
    pub(crate) fn put_stream(
        &self,
        what: &str,
        reader: &mut dyn Read,
        expected: Option<Digest>,
        limit: u64,
    ) -> Result<(Digest, u64), Error> {
        let temporary = disk::temporary_beside(&self.ingest.join("import"));
        let result = self.copy_in(what, reader, &temporary, expected, limit);
        if result.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        result
    }

    fn copy_in(
        &self,
        what: &str,
        reader: &mut dyn Read,
        temporary: &Path,
        expected: Option<Digest>,
        limit: u64,
    ) -> Result<(Digest, u64), Error> {
        let mut file = File::create(temporary).map_err(Error::io("creating", temporary))?;
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; 256 * 1024];
        let mut total = 0;
        loop {
            let read = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::malformed(what, error)),
            };
            total += read as u64;
            if total > limit {
                return Err(Error::TooLarge {
                    what: what.to_owned(),
                    limit,
                    unit: "bytes",
                });
            }
            hasher.update(&buffer[..read]);
            file.write_all(&buffer[..read])
                .map_err(Error::io("writing", temporary))?;
        }
        let (actual, size) = hasher.finish();
        if let Some(expected) = expected.filter(|expected| *expected != actual) {
            return Err(Error::DigestMismatch {
                what: what.to_owned(),
                expected,
                actual,
            });
        }
        file.sync_all().map_err(Error::io("syncing", temporary))?;
        adopt(temporary, &self.path(actual))?;
        Ok((actual, size))
    }

    /// Opens the partial download of a blob: what an earlier try brought is kept and hashed.
    pub(crate) fn resume(&self, digest: Digest, size: u64) -> Result<Partial, Error> {
        let path = self.ingest.join(format!("{}.partial", digest.hex()));
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io("opening", &path))?;
        let mut hasher = Hasher::default();
        let mut have = 0;
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let read = file
                .read(&mut buffer)
                .map_err(Error::io("reading", &path))?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            have += read as u64;
        }
        let mut partial = Partial {
            target: self.path(digest),
            digest,
            size,
            path,
            file,
            hasher,
            have,
        };
        if have > size {
            partial.restart()?;
        }
        Ok(partial)
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        disk::temporary_beside(&self.ingest.join("spool"))
    }

    /// All blobs with their sizes.
    pub(crate) fn all(&self) -> Result<Vec<(Digest, u64)>, Error> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(Error::io("reading", &self.dir))? {
            let entry = entry.map_err(Error::io("reading", &self.dir))?;
            if let Some(digest) = Digest::from_hex(&entry.file_name().to_string_lossy()) {
                let size = entry.metadata().map_or(0, |metadata| metadata.len());
                found.push((digest, size));
            }
        }
        Ok(found)
    }

    pub(crate) fn remove(&self, digest: Digest) -> Result<(), Error> {
        disk::remove_all(&self.path(digest))
    }
}

/// A blob that is being downloaded.
pub(crate) struct Partial {
    target: PathBuf,
    digest: Digest,
    size: u64,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    have: u64,
}

impl Partial {
    /// Bytes that are here already.
    pub(crate) fn have(&self) -> u64 {
        self.have
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.have == self.size
    }

    /// Forgets what is here.
    pub(crate) fn restart(&mut self) -> Result<(), Error> {
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)))
            .map_err(Error::io("truncating", &self.path))?;
        self.hasher = Hasher::default();
        self.have = 0;
        Ok(())
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.have += bytes.len() as u64;
        if self.have > self.size {
            let error = Error::TooLarge {
                what: format!("blob {}", self.digest),
                limit: self.size,
                unit: "bytes",
            };
            self.restart()?;
            return Err(error);
        }
        self.hasher.update(bytes);
        self.file
            .write_all(bytes)
            .map_err(Error::io("writing", &self.path))
    }

    /// Checks the whole and makes it a blob. What does not match is thrown away.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let (actual, _) = self.hasher.finish();
        if actual != self.digest {
            let _ = fs::remove_file(&self.path);
            return Err(Error::DigestMismatch {
                what: "a downloaded blob".to_owned(),
                expected: self.digest,
                actual,
            });
        }
        self.file
            .sync_all()
            .map_err(Error::io("syncing", &self.path))?;
        adopt(&self.path, &self.target)
    }
}

/// Gives a synced file of known content its place.
fn adopt(from: &Path, target: &Path) -> Result<(), Error> {
    fs::rename(from, target).map_err(Error::io("creating", target))?;
    disk::sync_parent(target)
}

/// Reads everything, but not more than `limit`. The outer result is about the limit.
pub(crate) fn read_limited(
    reader: impl Read,
    limit: u64,
    what: &str,
) -> Result<io::Result<Vec<u8>>, Error> {
    let mut bytes = Vec::new();
    if let Err(error) = reader.take(limit + 1).read_to_end(&mut bytes) {
        return Ok(Err(error));
    }
    if bytes.len() as u64 > limit {
        return Err(Error::TooLarge {
            what: what.to_owned(),
            limit,
            unit: "bytes",
        });
    }
    Ok(Ok(bytes))
}
