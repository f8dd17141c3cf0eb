//! Patterns of file names, as Python's `glob` and `fnmatch` have them.

use std::path::{Path, PathBuf};

/// Whether a pattern has anything in it that is not to be taken as it is.
fn has_magic(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// The names in a directory, in order; none where it cannot be read.
pub(crate) fn names_in(directory: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    names.sort();
    names
}

/// Whether anything has a name of a pattern, which is relative to a directory.
pub(crate) fn exists(base: &Path, pattern: &str) -> bool {
    !matches(base, pattern).is_empty()
}

/// The paths that have a name of a pattern, which is relative to a directory, in the order of their names.
pub(crate) fn matches(base: &Path, pattern: &str) -> Vec<PathBuf> {
    if !has_magic(pattern) {
        let path = base.join(pattern);
        // A link that leads nowhere is there too.
        return if path.symlink_metadata().is_ok() && (!pattern.ends_with('/') || path.is_dir()) {
            vec![path]
        } else {
            Vec::new()
        };
    }
    let mut found = vec![if pattern.starts_with('/') {
        PathBuf::from("/")
    } else {
        base.to_owned()
    }];
    let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    for part in parts {
        let mut next = Vec::new();
        for directory in found {
            if !has_magic(part) {
                let path = directory.join(part);
                if path.symlink_metadata().is_ok() {
                    next.push(path);
                }
                continue;
            }
            let start = if directory.as_os_str().is_empty() {
                Path::new(".")
            } else {
                directory.as_path()
            };
            let Ok(entries) = std::fs::read_dir(start) else {
                continue;
            };
            let mut names: Vec<_> = entries
                .flatten()
                .map(|entry| entry.file_name())
                .filter(|name| {
                    let name = name.to_string_lossy();
                    (part.starts_with('.') || !name.starts_with('.')) && fits(&name, part)
                })
                .collect();
            names.sort();
            next.extend(names.into_iter().map(|name| directory.join(name)));
        }
        found = next;
    }
    if pattern.ends_with('/') {
        found.retain(|path| path.is_dir());
    }
    found
}

/// Whether a name fits a pattern (`fnmatch.fnmatchcase`).
pub(crate) fn fits(name: &str, pattern: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let pattern: Vec<char> = pattern.chars().collect();
    let (mut n, mut p) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            Some('?') => Some(p + 1),
            Some('[') => match class(&pattern, p, name[n]) {
                Some((true, after)) => Some(after),
                Some((false, _)) => None,
                None => (name[n] == '[').then_some(p + 1),
            },
            Some(other) => (*other == name[n]).then_some(p + 1),
            None => None,
        };
        match (step, &mut star) {
            (Some(after), _) => {
                p = after;
                n += 1;
            }
            (None, Some((at, from))) => {
                *from += 1;
                n = *from;
                p = *at + 1;
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Whether a character is of a class, and where the class ends; `None` if it is none.
fn class(pattern: &[char], open: usize, character: char) -> Option<(bool, usize)> {
    let mut at = open + 1;
    let negated = pattern.get(at) == Some(&'!');
    if negated {
        at += 1;
    }
    let first = at;
    let close = (first..pattern.len()).find(|i| pattern[*i] == ']' && *i > first)?;
    let mut found = false;
    while at < close {
        if pattern.get(at + 1) == Some(&'-') && at + 2 < close {
            found |= (pattern[at]..=pattern[at + 2]).contains(&character);
            at += 3;
        } else {
            found |= pattern[at] == character;
            at += 1;
        }
    }
    Some((found != negated, close + 1))
}
