//! What lies below a directory, a line each.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// Path, mode, owner, group, and what a file or link holds, sorted.
pub(crate) fn tree(top: &Path) -> std::io::Result<Vec<String>> {
    let mut lines = Vec::new();
    below(top, top, &mut lines)?;
    Ok(lines)
}

fn below(top: &Path, directory: &Path, lines: &mut Vec<String>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let about = std::fs::symlink_metadata(&path)?;
        let kind = about.file_type();
        let what = if kind.is_symlink() {
            format!(" -> {}", std::fs::read_link(&path)?.display())
        } else if kind.is_file() {
            let data = std::fs::read(&path)?;
            let digest: String = Sha256::digest(&data)
                .iter()
                .take(8)
                .map(|byte| format!("{byte:02x}"))
                .collect();
            format!(" {} {digest}", data.len())
        } else {
            String::new()
        };
        let owner = nix::unistd::User::from_uid(about.uid().into())?
            .map_or_else(|| about.uid().to_string(), |user| user.name);
        let group = nix::unistd::Group::from_gid(about.gid().into())?
            .map_or_else(|| about.gid().to_string(), |group| group.name);
        lines.push(format!(
            "{}  {} {owner}:{group}{what}",
            path.strip_prefix(top).unwrap_or(&path).display(),
            letters(kind, about.permissions().mode()),
        ));
        if kind.is_dir() {
            below(top, &path, lines)?;
        }
    }
    Ok(())
}

/// A mode as `ls -l` has it.
fn letters(kind: std::fs::FileType, mode: u32) -> String {
    let mut text = String::from(if kind.is_symlink() {
        "l"
    } else if kind.is_dir() {
        "d"
    } else if kind.is_fifo() {
        "p"
    } else {
        "-"
    });
    for (shift, special, set, unset) in [
        (6, 0o4000, 's', 'S'),
        (3, 0o2000, 's', 'S'),
        (0, 0o1000, 't', 'T'),
    ] {
        let bits = mode >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => set,
            (true, false) => unset,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}
