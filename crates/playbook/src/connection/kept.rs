//! What is made of the helper once and kept for later runs, in the user's directory for such things.

use std::path::{Path, PathBuf};
use std::time::Duration;

use consort_modules::protocol::files;

/// After how long without use what is kept of another helper is taken away.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);

/// A packed helper that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    directory: PathBuf,
    path: PathBuf,
}

impl Kept {
    /// Of the helper of a digest; none where there is no directory for it.
    pub(super) fn of(digest: &str) -> Option<Self> {
        let given = |name: &str| {
            std::env::var_os(name)
                .filter(|path| !path.is_empty())
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let base = given("XDG_CACHE_HOME").or_else(|| Some(given("HOME")?.join(".cache")))?;
        Some(Kept::within(&base.join("consort"), digest))
    }

    fn within(directory: &Path, digest: &str) -> Self {
        Kept {
            directory: directory.to_owned(),
            path: directory.join(format!("helper-{digest}.gz")),
        }
    }

    /// What is kept, if it is whole: gzip ends with the length of what was packed.
    pub(super) fn read(&self) -> Option<Vec<u8>> {
        let packed = std::fs::read(&self.path).ok()?;
        (packed.starts_with(&[0x1f, 0x8b]) && packed.len() > 18).then_some(packed)
    }

    /// Keeps it, and takes away what was not used for long. Where that cannot be done it is packed again next time.
    pub(super) fn write(&self, packed: &[u8]) {
        let written = files::private_directory(&self.directory)
            .and_then(|()| files::put(packed, &self.path, 0o600));
        if written.is_err() {
            return;
        }
        for entry in std::fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name();
            let is_one = name.to_str().is_some_and(|name| {
                name.strip_prefix("helper-")
                    .is_some_and(|name| name.strip_suffix(".gz").is_some())
            });
            let is_old = entry
                .metadata()
                .and_then(|found| found.modified())
                .is_ok_and(|when| when.elapsed().is_ok_and(|since| since > UNUSED));
            if is_one && is_old {
                // whoever removes it first does
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_again_and_what_is_broken_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let kept = Kept::within(&directory.path().join("cache"), "abc");
        assert_eq!(kept.read(), None);
        let packed = [&[0x1f, 0x8b][..], &[7; 100]].concat();
        kept.write(&packed);
        assert_eq!(kept.read(), Some(packed));
        std::fs::write(&kept.path, b"").unwrap();
        assert_eq!(kept.read(), None);
    }
}
