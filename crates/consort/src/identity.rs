//! What tells one installation on a host from another.

use std::path::Path;

use sha2::{Digest as _, Sha256};

/// Six characters of `a-z0-9`, always the same for a data directory. Names of links, tables and
/// control groups carry it, so that two servers on one host never touch each other's.
pub(crate) fn instance(data_dir: &Path) -> String {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let digest = Sha256::digest(data_dir.as_os_str().as_encoded_bytes());
    digest[..6]
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_always_gives_the_same_name_and_another_a_different_one() {
        let name = instance(Path::new("/var/lib/consort"));
        assert_eq!(name, instance(Path::new("/var/lib/consort")));
        assert_ne!(name, instance(Path::new("/tmp/other")));
        assert_eq!(name.len(), 6);
    }
}
