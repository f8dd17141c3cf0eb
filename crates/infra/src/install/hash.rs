//! Checksums of provider packages, in the two schemes a lock file knows.
//!
//! `h1:` covers the files of a package and is the same packed or not: the base64 SHA-256 over one line
//! `<sha256 in hex>  <name>` for each file, sorted by name. `zh:` is the SHA-256 of the archive itself.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Context, SHA256};

use super::error::Error;

/// A checksum with its scheme, such as `h1:..` or `zh:..`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(String);

impl Hash {
    /// Parses `scheme:value`; schemes nobody knows are kept as they are.
    ///
    /// # Errors
    /// With what is wrong, for a message.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match text.find(':') {
            Some(colon) if colon > 0 => Ok(Self(text.to_string())),
            _ => Err("hash string must start with a scheme keyword followed by a colon"),
        }
    }

    /// A `zh:` checksum from the digest of an archive.
    pub fn of_archive_digest(digest: &[u8]) -> Self {
        Self(format!("zh:{}", hex(digest)))
    }

    /// The part before the colon.
    pub fn scheme(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }

    /// The part after the colon.
    pub fn value(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, value)| value)
    }

    /// Whether this program can check it.
    pub fn is_known(&self) -> bool {
        matches!(self.scheme(), "h1" | "zh")
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digest of everything a reader gives.
pub(crate) fn sha256(mut reader: impl Read) -> io::Result<[u8; 32]> {
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = reader.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        context.update(&buffer[..count]);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    Ok(digest)
}

/// The SHA-256 of a file.
pub(crate) fn sha256_file(path: &Path) -> Result<[u8; 32], Error> {
    std::fs::File::open(path)
        .and_then(sha256)
        .map_err(Error::io("reading", path))
}

fn lines_to_hash(mut files: Vec<(String, [u8; 32])>) -> Hash {
    files.sort();
    let mut context = Context::new(&SHA256);
    for (name, digest) in files {
        context.update(format!("{}  {name}\n", hex(&digest)).as_bytes());
    }
    Hash(format!("h1:{}", STANDARD.encode(context.finish())))
}

/// The `h1:` checksum of an unpacked package.
///
/// # Errors
/// When a file cannot be read, or has a line break in its name.
pub fn of_directory(directory: &Path) -> Result<Hash, Error> {
    let mut files = Vec::new();
    let root = std::fs::canonicalize(directory).map_err(Error::io("reading", directory))?;
    let mut pending: Vec<(PathBuf, String)> = vec![(root, String::new())];
    while let Some((directory, prefix)) = pending.pop() {
        for entry in std::fs::read_dir(&directory).map_err(Error::io("reading", &directory))? {
            let entry = entry.map_err(Error::io("reading", &directory))?;
            let path = entry.path();
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if name.contains('\n') {
                return Err(Error::other(format!(
                    "a file of {} has a line break in its name",
                    directory.display()
                )));
            }
            if entry
                .file_type()
                .map_err(Error::io("reading", &path))?
                .is_dir()
            {
                pending.push((path, format!("{name}/")));
            } else {
                let digest = sha256_file(&path)?;
                files.push((name, digest));
            }
        }
    }
    Ok(lines_to_hash(files))
}

/// The `h1:` checksum of a packed package.
///
/// # Errors
/// When the archive cannot be read.
pub fn of_zip(path: &Path) -> Result<Hash, Error> {
    let file = std::fs::File::open(path).map_err(Error::io("reading", path))?;
    let broken =
        |error: zip::result::ZipError| Error::other(format!("reading {}: {error}", path.display()));
    let mut archive = zip::ZipArchive::new(io::BufReader::new(file)).map_err(broken)?;
    let mut files = Vec::with_capacity(archive.len());
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(broken)?;
        let name = entry.name().map_err(broken)?.to_string();
        if name.contains('\n') {
            return Err(Error::other(format!(
                "a file in {} has a line break in its name",
                path.display()
            )));
        }
        let digest = sha256(entry).map_err(Error::io("reading", path))?;
        files.push((name, digest));
    }
    Ok(lines_to_hash(files))
}

/// The `zh:` checksum of an archive.
///
/// # Errors
/// When it cannot be read.
pub fn of_archive(path: &Path) -> Result<Hash, Error> {
    Ok(Hash::of_archive_digest(&sha256_file(path)?))
}

/// Where a package is when it is checked.
#[derive(Clone, Copy, Debug)]
pub enum Package<'a> {
    /// Unpacked.
    Directory(&'a Path),
    /// As an archive.
    Archive(&'a Path),
}

/// Whether a package has one of the given checksums. Those of unknown schemes, and `zh:` for a directory, never match.
///
/// # Errors
/// When the package cannot be read.
pub fn matches_any(package: Package<'_>, wanted: &[Hash]) -> Result<bool, Error> {
    if wanted.iter().any(|hash| hash.scheme() == "h1") {
        let actual = match package {
            Package::Directory(path) => of_directory(path)?,
            Package::Archive(path) => of_zip(path)?,
        };
        if wanted.contains(&actual) {
            return Ok(true);
        }
    }
    if let Package::Archive(path) = package
        && wanted.iter().any(|hash| hash.scheme() == "zh")
    {
        return Ok(wanted.contains(&of_archive(path)?));
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_has_one_h1_checksum_packed_or_not() {
        let directory = tempfile::tempdir().unwrap();
        let unpacked = directory.path().join("unpacked");
        std::fs::create_dir_all(unpacked.join("b")).unwrap();
        std::fs::write(unpacked.join("a"), "one").unwrap();
        std::fs::write(unpacked.join("b/c"), "two").unwrap();
        let packed = directory.path().join("packed.zip");
        let mut archive = zip::ZipWriter::new(std::fs::File::create(&packed).unwrap());
        for (name, text) in [("b/c", "two"), ("a", "one")] {
            archive
                .start_file(name, zip::write::SimpleFileOptions::default())
                .unwrap();
            io::Write::write_all(&mut archive, text.as_bytes()).unwrap();
        }
        archive.finish().unwrap();
        let hash = of_directory(&unpacked).unwrap();
        assert_eq!(hash, of_zip(&packed).unwrap());
        // By sha256sum and base64 over the two lines.
        assert_eq!(
            hash.to_string(),
            "h1:KXgGMUKo/6VCqEzeXvAmGo7Nmd490RhuXS0CDJIvmXg="
        );
        assert!(matches_any(Package::Directory(&unpacked), &[hash]).unwrap());
        let zip = of_archive(&packed).unwrap();
        assert!(matches_any(Package::Archive(&packed), std::slice::from_ref(&zip)).unwrap());
        assert!(!matches_any(Package::Directory(&unpacked), &[zip]).unwrap());
    }
}
