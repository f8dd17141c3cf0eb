//! Unpacking of archives that come from elsewhere: nothing lands outside the target directory, whatever their entries say.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use super::error::Error;

/// How an archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `.zip`
    Zip,
    /// `.tar`
    Tar,
    /// `.tar.gz`, `.tgz`
    TarGz,
    /// `.tar.bz2`, `.tbz2`
    TarBz2,
    /// `.tar.xz`, `.txz`
    TarXz,
}

/// What one archive may unpack to: a guard against bombs.
const LARGEST: u64 = 8 << 30;

/// How many entries one archive may have.
const MOST_ENTRIES: usize = 1 << 20;

impl Format {
    /// The format a name ends with.
    pub fn of_name(name: &str) -> Option<Self> {
        const ENDS: [(&str, Format); 8] = [
            (".zip", Format::Zip),
            (".tar.gz", Format::TarGz),
            (".tgz", Format::TarGz),
            (".tar.bz2", Format::TarBz2),
            (".tbz2", Format::TarBz2),
            (".tar.xz", Format::TarXz),
            (".txz", Format::TarXz),
            (".tar", Format::Tar),
        ];
        ENDS.iter()
            .find(|(end, _)| name.ends_with(end))
            .map(|(_, format)| *format)
    }

    /// The format that an `archive=` argument names.
    pub fn of_argument(argument: &str) -> Option<Self> {
        match argument {
            "zip" => Some(Self::Zip),
            "tar.gz" | "tgz" => Some(Self::TarGz),
            "tar.bz2" | "tar.tbz2" | "tbz2" => Some(Self::TarBz2),
            "tar.xz" | "txz" => Some(Self::TarXz),
            "tar" => Some(Self::Tar),
            _ => None,
        }
    }
}

/// A path inside the target: only plain names, so that `..`, a root or a prefix is an error.
fn inside(target: &Path, name: &Path) -> Result<PathBuf, Error> {
    let mut path = target.to_path_buf();
    for component in name.components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            _ => {
                return Err(Error::other(format!(
                    "the archive's entry {:?} would be outside of its directory",
                    name.display().to_string()
                )));
            }
        }
    }
    Ok(path)
}

/// Whether a link that stands at `at` inside the target leads to somewhere inside the target.
fn stays_inside(at: &Path, link: &Path) -> bool {
    let mut depth = at
        .components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .count() as i64
        - 1;
    for component in link.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::ParentDir => depth -= 1,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return false,
        }
        if depth < 0 {
            return false;
        }
    }
    true
}

/// No part of the way from `target` to `path` may be a symbolic link that an earlier entry made.
fn make_parents(target: &Path, path: &Path) -> Result<(), Error> {
    let relative = path.strip_prefix(target).unwrap_or(path);
    let mut parent = target.to_path_buf();
    if let Some(parents) = relative.parent() {
        for part in parents.components() {
            parent.push(part);
            match fs::symlink_metadata(&parent) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => {
                    return Err(Error::other(format!(
                        "the archive writes through {}, which is no directory",
                        parent.display()
                    )));
                }
                Err(_) => fs::create_dir(&parent).map_err(Error::io("creating", &parent))?,
            }
        }
    }
    Ok(())
}

struct Unpacked<'a> {
    target: &'a Path,
    left: u64,
}

impl Unpacked<'_> {
    fn directory(&self, name: &Path) -> Result<(), Error> {
        let path = inside(self.target, name)?;
        make_parents(self.target, &path.join("x"))
    }

    fn file(&mut self, name: &Path, mode: Option<u32>, content: impl Read) -> Result<(), Error> {
        let path = inside(self.target, name)?;
        make_parents(self.target, &path)?;
        if fs::symlink_metadata(&path).is_ok_and(|existing| !existing.is_dir()) {
            fs::remove_file(&path).map_err(Error::io("replacing", &path))?;
        }
        let mode = mode.map_or(0o644, |mode| mode & 0o755 | 0o600);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)
            .map_err(Error::io("creating", &path))?;
        let written = io::copy(&mut content.take(self.left + 1), &mut file)
            .map_err(Error::io("unpacking", &path))?;
        self.left = self
            .left
            .checked_sub(written)
            .ok_or_else(|| Error::other("the archive is too large once unpacked"))?;
        file.set_permissions(fs::Permissions::from_mode(mode))
            .map_err(Error::io("writing", &path))
    }

    fn link(&self, name: &Path, to: &Path) -> Result<(), Error> {
        let path = inside(self.target, name)?;
        let relative = path.strip_prefix(self.target).unwrap_or(&path);
        if !stays_inside(relative, to) {
            return Err(Error::other(format!(
                "the archive's link {:?} leads outside of its directory",
                name.display().to_string()
            )));
        }
        make_parents(self.target, &path)?;
        std::os::unix::fs::symlink(to, &path).map_err(Error::io("creating", &path))
    }
}

/// Unpacks an archive into a directory, which is made if it is not there.
///
/// # Errors
/// When the archive is broken or too large, an entry or a link would lead out of the directory, or a file cannot be written.
pub fn unpack(archive: &Path, format: Format, target: &Path) -> Result<(), Error> {
    fs::create_dir_all(target).map_err(Error::io("creating", target))?;
    let target = fs::canonicalize(target).map_err(Error::io("reading", target))?;
    let file = io::BufReader::new(File::open(archive).map_err(Error::io("reading", archive))?);
    let mut unpacked = Unpacked {
        target: &target,
        left: LARGEST,
    };
    match format {
        Format::Zip => unpack_zip(archive, file, &mut unpacked),
        Format::Tar => unpack_tar(archive, file, &mut unpacked),
        Format::TarGz => unpack_tar(
            archive,
            flate2::bufread::MultiGzDecoder::new(file),
            &mut unpacked,
        ),
        Format::TarBz2 => unpack_tar(
            archive,
            bzip2::bufread::MultiBzDecoder::new(file),
            &mut unpacked,
        ),
        Format::TarXz => unpack_tar(
            archive,
            lzma_rust2::XzReader::new(file, true),
            &mut unpacked,
        ),
    }
}

/// Packs the files of a directory into a zip archive.
///
/// # Errors
/// When a file cannot be read or the archive cannot be written.
pub fn pack_zip(directory: &Path, archive: &Path) -> Result<(), Error> {
    let failed = |error: zip::result::ZipError| {
        Error::other(format!("writing {}: {error}", archive.display()))
    };
    let file = File::create(archive).map_err(Error::io("creating", archive))?;
    let mut writer = zip::ZipWriter::new(io::BufWriter::new(file));
    let root = fs::canonicalize(directory).map_err(Error::io("reading", directory))?;
    let mut pending = vec![root.clone()];
    while let Some(directory) = pending.pop() {
        let mut entries: Vec<PathBuf> = fs::read_dir(&directory)
            .map_err(Error::io("reading", &directory))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<_>>()
            .map_err(Error::io("reading", &directory))?;
        entries.sort();
        for path in entries {
            let metadata = fs::metadata(&path).map_err(Error::io("reading", &path))?;
            if metadata.is_dir() {
                pending.push(path);
                continue;
            }
            let name = path
                .strip_prefix(&root)
                .unwrap_or(&path)
                .to_string_lossy()
                .into_owned();
            let options = zip::write::SimpleFileOptions::default()
                .unix_permissions(metadata.permissions().mode() & 0o777);
            writer.start_file(name, options).map_err(failed)?;
            let mut content = File::open(&path).map_err(Error::io("reading", &path))?;
            io::copy(&mut content, &mut writer).map_err(Error::io("reading", &path))?;
        }
    }
    writer.finish().map_err(failed)?;
    Ok(())
}

fn unpack_zip(
    path: &Path,
    file: io::BufReader<File>,
    unpacked: &mut Unpacked<'_>,
) -> Result<(), Error> {
    let broken =
        |error: zip::result::ZipError| Error::other(format!("reading {}: {error}", path.display()));
    let mut archive = zip::ZipArchive::new(file).map_err(broken)?;
    if archive.len() > MOST_ENTRIES {
        return Err(Error::other("the archive has too many entries"));
    }
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(broken)?;
        let name = PathBuf::from(entry.name().map_err(broken)?.replace('\\', "/"));
        if entry.is_dir() {
            unpacked.directory(&name)?;
        } else if entry.is_symlink() {
            let mut to = String::new();
            entry
                .by_ref()
                .take(4096)
                .read_to_string(&mut to)
                .map_err(Error::io("reading", path))?;
            unpacked.link(&name, Path::new(&to))?;
        } else {
            let mode = entry.unix_mode();
            unpacked.file(&name, mode, entry)?;
        }
    }
    Ok(())
}

fn unpack_tar(path: &Path, reader: impl Read, unpacked: &mut Unpacked<'_>) -> Result<(), Error> {
    let broken = |error: io::Error| Error::other(format!("reading {}: {error}", path.display()));
    let mut archive = tar::Archive::new(reader);
    for (count, entry) in archive.entries().map_err(broken)?.enumerate() {
        if count > MOST_ENTRIES {
            return Err(Error::other("the archive has too many entries"));
        }
        let entry = entry.map_err(broken)?;
        let name = entry.path().map_err(broken)?.into_owned();
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            unpacked.directory(&name)?;
        } else if kind.is_file() {
            let mode = entry.header().mode().ok();
            unpacked.file(&name, mode, entry)?;
        } else if kind.is_symlink() {
            let to = entry
                .link_name()
                .map_err(broken)?
                .unwrap_or_default()
                .into_owned();
            unpacked.link(&name, &to)?;
        } else if kind.is_hard_link() {
            let to = entry
                .link_name()
                .map_err(broken)?
                .unwrap_or_default()
                .into_owned();
            let existing = inside(unpacked.target, &to)?;
            if !fs::symlink_metadata(&existing).is_ok_and(|metadata| metadata.is_file()) {
                return Err(Error::other(format!(
                    "the archive links to {:?}, which is not in it",
                    to.display().to_string()
                )));
            }
            make_parents(unpacked.target, &existing)?;
            let content = File::open(&existing).map_err(Error::io("reading", &existing))?;
            let mode = entry.header().mode().ok();
            unpacked.file(&name, mode, content)?;
        }
        // Devices, pipes and the headers of other tools have no place in a module.
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn tar_with(name: &str, link: Option<&str>) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        // Straight into the bytes: the crate itself refuses to write such names.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_mode(0o755);
        match link {
            Some(to) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.as_old_mut().linkname[..to.len()].copy_from_slice(to.as_bytes());
                header.set_size(0);
            }
            None => header.set_size(2),
        }
        header.set_cksum();
        let mut archive = tar::Builder::new(Vec::new());
        archive
            .append(&header, if link.is_some() { &b""[..] } else { &b"hi"[..] })
            .unwrap();
        archive.into_inner().unwrap()
    }

    fn unpack_bytes(bytes: &[u8], format: Format) -> (Result<(), Error>, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let archive = directory.path().join("archive");
        fs::write(&archive, bytes).unwrap();
        let result = unpack(&archive, format, &directory.path().join("target/deep"));
        (result, directory)
    }

    #[test]
    fn an_archive_unpacks_in_every_format() {
        let tar = tar_with("a/b.sh", None);
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gz.write_all(&tar).unwrap();
        let mut bz2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
        bz2.write_all(&tar).unwrap();
        for (bytes, format) in [
            (tar, Format::Tar),
            (gz.finish().unwrap(), Format::TarGz),
            (bz2.finish().unwrap(), Format::TarBz2),
        ] {
            let (result, directory) = unpack_bytes(&bytes, format);
            result.unwrap();
            let path = directory.path().join("target/deep/a/b.sh");
            assert_eq!(fs::read_to_string(&path).unwrap(), "hi");
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o755
            );
        }
    }

    #[test]
    fn nothing_is_written_outside_the_target() {
        for bytes in [
            tar_with("../evil", None),
            tar_with("/evil", None),
            tar_with("a/../../evil", None),
            tar_with("link", Some("/etc")),
            tar_with("a/link", Some("../../..")),
        ] {
            let (result, directory) = unpack_bytes(&bytes, Format::Tar);
            assert!(result.is_err());
            assert!(
                !directory.path().join("target/evil").exists()
                    && !directory.path().join("evil").exists()
            );
        }
        // Through a link that stays inside.
        let mut two = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        two.append_link(&mut header, "here", "there").unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o644);
        two.append_data(&mut header, "here/file", &b"x"[..])
            .unwrap();
        assert!(
            unpack_bytes(&two.into_inner().unwrap(), Format::Tar)
                .0
                .is_err()
        );
        let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        zip.start_file("../evil", zip::write::SimpleFileOptions::default())
            .unwrap();
        let bytes = zip.finish().unwrap().into_inner();
        assert!(unpack_bytes(&bytes, Format::Zip).0.is_err());
    }
}
