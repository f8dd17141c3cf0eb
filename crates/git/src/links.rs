//! Symbolic links of a tree that lead out of it.

use std::path::{Component, Path, PathBuf};

use crate::error::Error;

/// Refuses a tree in which a symbolic link leads out: what such a link names is not in the commit, and may be
/// anything of this host. `inside` are the links, relative to the tree.
pub(crate) fn check(tree: &Path, inside: &[PathBuf]) -> Result<(), Error> {
    let whole = tree.canonicalize().map_err(Error::io("resolving", tree))?;
    for link in inside {
        let path = tree.join(link);
        let target = std::fs::read_link(&path).map_err(Error::io("reading", &path))?;
        let out = || Error::Link {
            path: link.display().to_string(),
            target: target.display().to_string(),
        };
        if !stays(link, &target) {
            return Err(out());
        }
        // Links to links: what the whole way leads to counts as well.
        match path.canonicalize() {
            Ok(end) if end.starts_with(&whole) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            // Beyond the tree; or a circle, or a way through a file: it names nothing, but nobody should stumble over it.
            Ok(_) | Err(_) => return Err(out()),
        }
    }
    Ok(())
}

/// Whether a link's text stays within the tree.
fn stays(link: &Path, target: &Path) -> bool {
    let mut depth = link.components().count().saturating_sub(1);
    for step in target.components() {
        match step {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return false,
            },
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_within_the_tree_are_taken_and_others_refused() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir_all(tree.join("a/b")).unwrap();
        std::fs::write(dir.path().join("secret"), "x").unwrap();
        std::fs::write(tree.join("a/file"), "x").unwrap();
        let try_link = |at: &str, target: &str| {
            let path = tree.join(at);
            symlink(target, &path).unwrap();
            let outcome = check(&tree, &[PathBuf::from(at)]);
            std::fs::remove_file(&path).unwrap();
            outcome.is_ok()
        };
        assert!(try_link("a/b/good", "../file"));
        assert!(try_link("a/dangling", "nothing"));
        assert!(try_link("up", "a/b/../file"));
        assert!(!try_link("a/b/bad", "../../../secret"));
        assert!(!try_link("bad", "/etc/passwd"));
        assert!(!try_link("a/circle", "circle"));
        // Text that stays, and a way that does not: `b` is itself a link upwards.
        symlink("..", tree.join("a/b/up")).unwrap();
        assert!(!try_link("a/b/sly", "up/../../secret"));
    }
}
