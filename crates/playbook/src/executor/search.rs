//! Where files that tasks name are looked for.

use std::path::{Path, PathBuf};

use crate::action::Failure;
use crate::paths::{Surroundings, unfrack};
use crate::source::Located;

/// The first of the files a name may stand for that exists.
pub(super) fn find(
    search_path: &[PathBuf],
    directory: &Path,
    kind: &str,
    name: &str,
) -> Result<PathBuf, Failure> {
    let mut candidates: Vec<PathBuf> = Vec::new();
    if name.starts_with('/') || name.starts_with('~') {
        candidates.push(PathBuf::from(unfrack(
            name,
            &Surroundings::of_process(),
            None,
        )));
    } else {
        let has_kind = kind.is_empty() || name.split('/').next() == Some(kind);
        for path in search_path {
            let parent = path.parent().unwrap_or(path);
            if parent.ends_with("tasks") && is_role(path) {
                if let Some(role) = parent.parent().filter(|_| !kind.is_empty()) {
                    candidates.push(role.join(kind).join(name));
                }
                candidates.push(parent.join(name));
            }
            if !has_kind {
                candidates.push(path.join(kind).join(name));
            }
            candidates.push(path.join(name));
        }
        if !has_kind {
            candidates.push(directory.join(kind).join(name));
        }
        candidates.push(directory.join(name));
    }
    if let Some(found) = candidates.iter().find(|path| path.exists()) {
        return Ok(found.clone());
    }
    let mut message = format!("Could not find or access '{name}'");
    if !candidates.is_empty() {
        message.push_str("\nSearched in:");
        for path in &candidates {
            message.push_str("\n\t");
            message.push_str(&path.to_string_lossy());
        }
    }
    message.push_str(" on the Ansible Controller.");
    Err(Located::new(message)
        .hint("If you are using a module and expect the file to exist on the remote, see the remote_src option.")
        .into())
}

fn is_role(path: &Path) -> bool {
    let beside = path.parent().unwrap_or(path);
    ["main.yml", "main.yaml", "main"].iter().any(|main| {
        [path, beside].iter().any(|directory| {
            directory.join("tasks").join(main).exists()
                || directory.join("meta").join(main).exists()
        })
    })
}
