//! Digests of files and bytes, by the names they have in Python's `hashlib`.

use std::io::Read;
use std::path::Path;

use sha2::Digest as _;

use crate::invocation::Failure;
use crate::python;

/// The algorithms there are, by name.
pub const ALGORITHMS: [&str; 6] = ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"];

/// A digest in the making.
#[derive(Clone)]
pub enum Digest {
    /// MD5.
    Md5(md5::Md5),
    /// SHA-1.
    Sha1(sha1::Sha1),
    /// SHA-224.
    Sha224(sha2::Sha224),
    /// SHA-256.
    Sha256(sha2::Sha256),
    /// SHA-384.
    Sha384(sha2::Sha384),
    /// SHA-512.
    Sha512(sha2::Sha512),
}

impl Digest {
    /// Of an algorithm, if it is known.
    pub fn named(algorithm: &str) -> Option<Self> {
        Some(match algorithm {
            "md5" => Digest::Md5(md5::Md5::default()),
            "sha1" => Digest::Sha1(sha1::Sha1::default()),
            "sha224" => Digest::Sha224(sha2::Sha224::default()),
            "sha256" => Digest::Sha256(sha2::Sha256::default()),
            "sha384" => Digest::Sha384(sha2::Sha384::default()),
            "sha512" => Digest::Sha512(sha2::Sha512::default()),
            _ => return None,
        })
    }

    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Digest::Md5(digest) => digest.update(bytes),
            Digest::Sha1(digest) => digest.update(bytes),
            Digest::Sha224(digest) => digest.update(bytes),
            Digest::Sha256(digest) => digest.update(bytes),
            Digest::Sha384(digest) => digest.update(bytes),
            Digest::Sha512(digest) => digest.update(bytes),
        }
    }

    /// The digest in hexadecimal.
    pub fn hex(self) -> String {
        fn text(bytes: &[u8]) -> String {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            let mut written = String::with_capacity(bytes.len() * 2);
            for byte in bytes {
                written.push(DIGITS[usize::from(byte >> 4)] as char);
                written.push(DIGITS[usize::from(byte & 15)] as char);
            }
            written
        }
        match self {
            Digest::Md5(digest) => text(&digest.finalize()),
            Digest::Sha1(digest) => text(&digest.finalize()),
            Digest::Sha224(digest) => text(&digest.finalize()),
            Digest::Sha256(digest) => text(&digest.finalize()),
            Digest::Sha384(digest) => text(&digest.finalize()),
            Digest::Sha512(digest) => text(&digest.finalize()),
        }
    }
}

/// The digest of bytes, in hexadecimal; `None` if the algorithm is not known.
pub fn of_bytes(bytes: &[u8], algorithm: &str) -> Option<String> {
    let mut digest = Digest::named(algorithm)?;
    digest.update(bytes);
    Some(digest.hex())
}

/// The SHA-1 of bytes: the `checksum` of results.
pub fn sha1(bytes: &[u8]) -> String {
    of_bytes(bytes, "sha1").unwrap_or_default()
}

/// The digest of what a reader gives.
pub fn of_reader(mut reader: impl Read, mut digest: Digest) -> std::io::Result<String> {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match reader.read(&mut chunk) {
            Ok(0) => return Ok(digest.hex()),
            Ok(length) => digest.update(&chunk[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The digest of a file (`digest_from_file`): `None` if there is none. `path` is what the system sees; `name` what messages
/// say.
pub fn of_file(path: &Path, name: &str, algorithm: &str) -> Result<Option<String>, Failure> {
    let Ok(meta) = std::fs::metadata(path) else {
        return Ok(None);
    };
    if meta.is_dir() {
        return Err(Failure::new(format!(
            "attempted to take checksum of directory: {name}"
        )));
    }
    let Some(digest) = Digest::named(algorithm) else {
        return Err(Failure::new(format!(
            "Could not hash file '{name}' with algorithm '{algorithm}'. Available algorithms: {}",
            ALGORITHMS.join(", ")
        )));
    };
    std::fs::File::open(path)
        .and_then(|file| of_reader(file, digest))
        .map(Some)
        .map_err(|error| Failure::unhandled(python::os_error_at(&error, path)))
}
