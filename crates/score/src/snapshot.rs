//! The files of a score as one archive: what a revision was made of, so that it can be planned again.

use std::io::{self, Read, Write as _};
use std::path::{Component, Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::definition::Definition;

/// More than this is no source of a score.
const LARGEST: u64 = 256 << 20;
const MOST_FILES: usize = 100_000;
const DEPTH: usize = 64;

/// What kept a score's files from being put away or brought back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory could not be read or written.
    #[error("{doing} {}", path.display())]
    File {
        /// `reading` or `writing`.
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is too much of it.
    #[error(
        "{} holds more than {} MiB or {MOST_FILES} files: a score's directory holds its sources only",
        path.display(),
        LARGEST >> 20
    )]
    TooLarge {
        /// The directory.
        path: PathBuf,
    },
    /// The archive is damaged, or holds what no archive of this program does.
    #[error("the archive cannot be read")]
    Archive(#[source] io::Error),
}

/// Packs the files below `directory`: what is hidden is left out but for Terraform's lock files, and so are states,
/// downloaded providers and links. The same files give the same bytes.
///
/// # Errors
/// A file cannot be read, or there are too many.
pub fn pack(directory: &Path) -> Result<Vec<u8>, Error> {
    let mut files = Vec::new();
    let mut size = 0;
    collect(directory, Path::new(""), DEPTH, &mut files, &mut size)?;
    pack_files(directory, files)
}

/// Packs the files of a score.
///
/// # Errors
/// As [`pack`].
pub fn pack_score(definition: &Definition) -> Result<Vec<u8>, Error> {
    match &definition.only {
        Some(file) => pack_files(&definition.directory, vec![PathBuf::from(file)]),
        None => pack(&definition.directory),
    }
}

fn pack_files(directory: &Path, files: Vec<PathBuf>) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::File {
        doing: "packing",
        path: directory.to_owned(),
        source,
    };
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for file in files {
        let path = directory.join(&file);
        let bytes = std::fs::read(&path).map_err(|source| Error::File {
            doing: "reading",
            path,
            source,
        })?;
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        archive
            .append_data(&mut header, &file, bytes.as_slice())
            .map_err(failed)?;
    }
    let compressed = archive.into_inner().map_err(failed)?;
    compressed.finish().map_err(failed)
}

fn collect(
    root: &Path,
    place: &Path,
    depth: usize,
    files: &mut Vec<PathBuf>,
    size: &mut u64,
) -> Result<(), Error> {
    let here = root.join(place);
    let failed = |source| Error::File {
        doing: "reading",
        path: here.clone(),
        source,
    };
    let too_large = || Error::TooLarge {
        path: root.to_owned(),
    };
    if depth == 0 {
        return Err(too_large());
    }
    let mut entries = std::fs::read_dir(&here)
        .and_then(Iterator::collect::<io::Result<Vec<_>>>)
        .map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let text = name.to_string_lossy();
        let hidden = text.starts_with('.') && text != ".terraform.lock.hcl";
        let state = text.ends_with(".tfstate") || text.ends_with(".tfstate.backup");
        if hidden || state || text == "node_modules" {
            continue;
        }
        let kind = entry.file_type().map_err(failed)?;
        let inner = place.join(&name);
        if kind.is_dir() {
            collect(root, &inner, depth - 1, files, size)?;
        } else if kind.is_file() {
            *size += entry.metadata().map_err(failed)?.len();
            if *size > LARGEST || files.len() >= MOST_FILES {
                return Err(too_large());
            }
            files.push(inner);
        }
    }
    Ok(())
}

/// Brings the files of an archive back into a directory, which is made if it is missing. Nothing is written outside
/// it, whatever the archive says.
///
/// # Errors
/// The archive cannot be read, or a file not written.
pub fn unpack(archive: &[u8], directory: &Path) -> Result<(), Error> {
    let mut archive = tar::Archive::new(GzDecoder::new(archive).take(2 * LARGEST));
    for entry in archive.entries().map_err(Error::Archive)? {
        let mut entry = entry.map_err(Error::Archive)?;
        let place = entry.path().map_err(Error::Archive)?.into_owned();
        let inside = place
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !inside || !entry.header().entry_type().is_file() {
            let error = format!("it holds {}, which is no plain file", place.display());
            return Err(Error::Archive(io::Error::other(error)));
        }
        let path = directory.join(&place);
        let failed = |source| Error::File {
            doing: "writing",
            path: path.clone(),
            source,
        };
        if let Some(above) = path.parent() {
            std::fs::create_dir_all(above).map_err(failed)?;
        }
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(failed)?;
        io::copy(&mut entry, &mut file).map_err(failed)?;
        file.flush().map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_back_and_only_sources_are_packed() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("consort.yaml", "a: b\n");
        write("infra/main.tf", "locals {}\n");
        write("infra/.terraform.lock.hcl", "lock\n");
        write("infra/.terraform/providers/x", "binary");
        write("infra/terraform.tfstate", "{}");
        write(".git/HEAD", "ref");
        let packed = pack(dir.path()).unwrap();
        assert_eq!(packed, pack(dir.path()).unwrap());
        let back = tempfile::tempdir().unwrap();
        unpack(&packed, back.path()).unwrap();
        let read = |name: &str| std::fs::read_to_string(back.path().join(name)).ok();
        assert_eq!(read("infra/main.tf").as_deref(), Some("locals {}\n"));
        assert_eq!(read("infra/.terraform.lock.hcl").as_deref(), Some("lock\n"));
        assert_eq!(
            [
                read("infra/terraform.tfstate"),
                read(".git/HEAD"),
                read("infra/.terraform/providers/x")
            ],
            [None, None, None]
        );
    }

    #[test]
    fn an_archive_cannot_write_outside_its_directory() {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        // The crate refuses to write such a name; a hostile archive has it all the same.
        header.as_gnu_mut().unwrap().name[..5].copy_from_slice(b"../ab");
        header.set_cksum();
        builder.append(&header, &b"x"[..]).unwrap();
        let bytes = builder.into_inner().unwrap().finish().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        assert!(matches!(unpack(&bytes, &inner), Err(Error::Archive(_))));
        assert!(!dir.path().join("ab").exists());
    }
}
