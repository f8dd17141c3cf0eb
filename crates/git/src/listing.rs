//! What a commit consists of.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// What a commit consists of.
#[derive(Default)]
pub(crate) struct Listing {
    pub(crate) files: usize,
    pub(crate) bytes: u64,
    pub(crate) links: Vec<PathBuf>,
    pub(crate) submodules: Vec<String>,
}

impl Listing {
    /// The output of `ls-tree -r -l -z`: `MODE TYPE ID SIZE\tPATH\0`.
    pub(crate) fn parse(output: &[u8]) -> Self {
        let mut listing = Self::default();
        for entry in output.split(|byte| *byte == 0) {
            let Some(tab) = entry.iter().position(|byte| *byte == b'\t') else {
                continue;
            };
            let path = &entry[tab + 1..];
            let head = String::from_utf8_lossy(&entry[..tab]);
            let mut words = head.split_whitespace();
            let mode = words.next().unwrap_or_default();
            let size: u64 = words
                .nth(2)
                .and_then(|size| size.parse().ok())
                .unwrap_or_default();
            listing.files += 1;
            listing.bytes = listing.bytes.saturating_add(size);
            match mode {
                "120000" => listing
                    .links
                    .push(PathBuf::from(OsString::from_vec(path.to_vec()))),
                "160000" => listing
                    .submodules
                    .push(String::from_utf8_lossy(path).into_owned()),
                _ => {}
            }
        }
        listing
    }
}
