//! Paths as Python and Ansible take them: text, `~` and `$VARIABLES` expanded, without `..`.

use std::collections::BTreeMap;

/// The environment and the directory of whoever runs this.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The variables of the environment.
    pub variables: BTreeMap<String, String>,
    /// The current directory, absolute.
    pub directory: String,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        Surroundings {
            variables: std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
            directory: std::env::current_dir().map_or_else(
                |_| "/".to_owned(),
                |path| path.to_string_lossy().into_owned(),
            ),
        }
    }
}

/// Two paths one behind the other; the second alone if it is absolute.
pub fn join(base: &str, path: &str) -> String {
    if path.starts_with('/') || base.is_empty() {
        path.to_owned()
    } else if base.ends_with('/') {
        format!("{base}{path}")
    } else {
        format!("{base}/{path}")
    }
}

/// The directory of a path.
pub fn dirname(path: &str) -> &str {
    match path.rfind('/') {
        None => "",
        Some(at) => {
            let head = &path[..=at];
            let trimmed = head.trim_end_matches('/');
            if trimmed.is_empty() { head } else { trimmed }
        }
    }
}

/// The last part of a path.
pub fn basename(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A path without `.`, `..` and double slashes.
pub fn normal(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    if absolute {
        // Two slashes at the beginning mean something else than one.
        if path.starts_with("//") && !path.starts_with("///") {
            format!("//{joined}")
        } else {
            format!("/{joined}")
        }
    } else if joined.is_empty() {
        ".".to_owned()
    } else {
        joined
    }
}

/// An absolute path, with `~` and `$VARIABLES` expanded; a relative one begins at `base`, or at the current directory.
/// Symbolic links stay.
pub fn unfrack(path: &str, surroundings: &Surroundings, base: Option<&str>) -> String {
    let path = expand_user(&expand_variables(path, surroundings), surroundings);
    let path = if path.starts_with('/') {
        path
    } else {
        join(base.unwrap_or(&surroundings.directory), &path)
    };
    normal(&path)
}

/// Puts in what `$NAME` and `${NAME}` stand for; unknown ones stay.
pub fn expand_variables(text: &str, surroundings: &Surroundings) -> String {
    consort_modules::python::expand_variables_of(text, |name| {
        surroundings.variables.get(name).cloned()
    })
}

/// Puts in the home directory for `~` and `~USER` at the beginning.
pub fn expand_user(path: &str, surroundings: &Surroundings) -> String {
    let Some(rest) = path.strip_prefix('~') else {
        return path.to_owned();
    };
    let (user, tail) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let home = if user.is_empty() {
        surroundings.variables.get("HOME").cloned().or_else(|| {
            nix::unistd::User::from_uid(nix::unistd::getuid())
                .ok()
                .flatten()
                .map(|user| user.dir.to_string_lossy().into_owned())
        })
    } else {
        nix::unistd::User::from_name(user)
            .ok()
            .flatten()
            .map(|user| user.dir.to_string_lossy().into_owned())
    };
    match home {
        Some(home) => {
            let whole = format!("{}{tail}", home.trim_end_matches('/'));
            if whole.is_empty() {
                "/".to_owned()
            } else {
                whole
            }
        }
        None => path.to_owned(),
    }
}

/// Without the quotes around it, if it has the same at both ends.
pub fn unquote(text: &str) -> &str {
    let bytes = text.as_bytes();
    match bytes {
        [first @ (b'"' | b'\''), .., before, last] if first == last && *before != b'\\' => {
            &text[1..text.len() - 1]
        }
        [first @ (b'"' | b'\''), last] if first == last => "",
        _ => text,
    }
}
