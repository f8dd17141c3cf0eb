//! A directory, or a tar archive of which any member can be read without unpacking it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::blobs::read_limited;
use crate::images::Inner;
use crate::layer::{Compression, decoder};
use crate::{Error, disk};

/// Members of an archive that are accepted; more is not an image archive.
const MEMBERS: usize = 100_000;

/// Where an import reads from.
pub(super) struct Source {
    path: PathBuf,
    kind: Kind,
}

enum Kind {
    Directory,
    Archive {
        file: Arc<File>,
        members: HashMap<PathBuf, Member>,
        /// A decompressed copy, removed in the end.
        spooled: Option<PathBuf>,
    },
}

enum Member {
    File {
        offset: u64,
        size: u64,
    },
    /// Docker links layers that several images share.
    Link(PathBuf),
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Kind::Archive {
            spooled: Some(path),
            ..
        } = &self.kind
        {
            let _ = fs::remove_file(path);
        }
    }
}

impl Source {
    pub(super) fn open(inner: &Inner, path: &Path) -> Result<Self, Error> {
        let reading = Error::io("reading", path);
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) => return Err(reading(error)),
        };
        if metadata.is_dir() {
            return Ok(Self {
                path: path.to_owned(),
                kind: Kind::Directory,
            });
        }
        let (file, spooled) = open_archive(inner, path, metadata.is_file())?;
        // From here on the copy is removed whatever happens.
        let mut source = Self {
            path: path.to_owned(),
            kind: Kind::Archive {
                file: Arc::new(file),
                members: HashMap::new(),
                spooled,
            },
        };
        if let Kind::Archive { file, members, .. } = &mut source.kind {
            *members =
                index(file).map_err(|error| Error::malformed(path.display().to_string(), error))?;
        }
        Ok(source)
    }

    /// The path, for messages.
    pub(super) fn shown(&self) -> String {
        self.path.display().to_string()
    }

    /// Opens a member; `None` when there is none of that name.
    pub(super) fn member(&self, name: &str) -> Result<Option<Box<dyn Read>>, Error> {
        let Some(clean) = clean(Path::new(name)) else {
            let reason = format!("it refers to {name:?}, which is outside of it");
            return Err(Error::malformed(self.shown(), reason));
        };
        match &self.kind {
            Kind::Directory => {
                let path = self.path.join(clean);
                match File::open(&path) {
                    Ok(file) => Ok(Some(Box::new(file))),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(Error::io("reading", path)(error)),
                }
            }
            Kind::Archive { file, members, .. } => {
                let mut name = clean;
                // Links lead to links only in archives that are meant to hang their readers.
                for _ in 0..8 {
                    match members.get(&name) {
                        None => return Ok(None),
                        Some(Member::Link(target)) => name.clone_from(target),
                        Some(Member::File { offset, size }) => {
                            return Ok(Some(Box::new(Section {
                                file: file.clone(),
                                at: *offset,
                                end: offset + size,
                            })));
                        }
                    }
                }
                Ok(None)
            }
        }
    }

    /// A member that must be there.
    pub(super) fn required(&self, name: &str) -> Result<Box<dyn Read>, Error> {
        self.member(name)?
            .ok_or_else(|| Error::malformed(self.shown(), format!("{name} is missing in it")))
    }

    /// A small member as a whole.
    pub(super) fn document(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some(member) = self.member(name)? else {
            return Ok(None);
        };
        let bytes = read_limited(member, limit, &format!("{name} of {}", self.shown()))?;
        bytes
            .map(Some)
            .map_err(Error::io("reading", self.path.join(name)))
    }
}

/// Opens an archive so that it can be read at any place: what is compressed, or comes through a
/// pipe, is copied first.
fn open_archive(
    inner: &Inner,
    path: &Path,
    seekable: bool,
) -> Result<(File, Option<PathBuf>), Error> {
    let mut file = File::open(path).map_err(Error::io("reading", path))?;
    if seekable {
        let mut start = [0; 6];
        let read = file.read(&mut start).map_err(Error::io("reading", path))?;
        file.seek(SeekFrom::Start(0))
            .map_err(Error::io("reading", path))?;
        let compression = Compression::of(&start[..read]);
        let compression =
            compression.map_err(|error| Error::malformed(path.display().to_string(), error))?;
        if compression == Compression::None {
            return Ok((file, None));
        }
    }
    let (_, reader) = decoder(file).map_err(Error::io("reading", path))?;
    let copy = inner.blobs.temporary();
    match spool(reader, &copy, path, inner.options.limits.unpacked_bytes) {
        Ok(file) => Ok((file, Some(copy))),
        Err(error) => {
            disk::remove_all(&copy)?;
            Err(error)
        }
    }
}

fn spool(reader: impl Read, copy: &Path, path: &Path, limit: u64) -> Result<File, Error> {
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(copy)
        .map_err(Error::io("creating", copy))?;
    let copied =
        io::copy(&mut reader.take(limit + 1), &mut file).map_err(Error::io("unpacking", path))?;
    if copied > limit {
        return Err(Error::TooLarge {
            what: path.display().to_string(),
            limit,
            unit: "bytes",
        });
    }
    file.seek(SeekFrom::Start(0))
        .map_err(Error::io("reading", copy))?;
    Ok(file)
}

/// Where every member lies. Contents are skipped by seeking.
fn index(file: &File) -> io::Result<HashMap<PathBuf, Member>> {
    let mut members = HashMap::new();
    let mut archive = tar::Archive::new(file);
    for (position, entry) in archive.entries_with_seek()?.enumerate() {
        // What is no archive at all is an error that quotes it: nothing anyone wants on a terminal.
        let entry = entry.map_err(|error| match position {
            0 => io::Error::other(
                "it is no archive of an image (`docker save`, or an OCI layout in a tar file)",
            ),
            _ => error,
        })?;
        let Some(name) = clean(&entry.path()?) else {
            continue;
        };
        let kind = entry.header().entry_type();
        let member = if kind.is_file() {
            Member::File {
                offset: entry.raw_file_position(),
                size: entry.size(),
            }
        } else if let (true, Some(target)) =
            (kind.is_symlink() || kind.is_hard_link(), entry.link_name()?)
        {
            let from = name.parent().filter(|_| kind.is_symlink());
            match clean(&from.unwrap_or(Path::new("")).join(target)) {
                Some(target) => Member::Link(target),
                None => continue,
            }
        } else {
            continue;
        };
        members.insert(name, member);
        if members.len() > MEMBERS {
            return Err(io::Error::other("it has more than 100000 members"));
        }
    }
    Ok(members)
}

/// A name without `.` and with `..` resolved; `None` when it leads outside.
fn clean(name: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in name.components() {
        match component {
            Component::Normal(part) => clean.push(part),
            Component::ParentDir if !clean.pop() => return None,
            _ => {}
        }
    }
    Some(clean)
}

/// A part of a file, read without moving a shared position.
struct Section {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.file.read_at(&mut buffer[..wanted], self.at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        Ok(read)
    }
}
