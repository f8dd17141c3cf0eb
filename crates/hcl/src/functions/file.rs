//! Files and paths.

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::arguments::{Result, of_text, parameter, shown, text};
use super::{Options, Table, glob};
use crate::evaluate::{CallError, Function};
use crate::marks::Marks;
use crate::types::Type;
use crate::value::Value;

pub(super) fn add(table: &mut Table, options: &Options) {
    let base = options.base_dir.clone();
    let path = || parameter("path", Type::String).marked();
    let dir = base.clone();
    let file = Function::returning(Type::String, vec![path()], None, move |args| {
        let marks = args[0].marks();
        let bytes = read(&dir, text(args, 0), marks)?;
        utf8(bytes, text(args, 0), marks).map(|text| Value::string(text).with_marks(marks))
    });
    table.add("file", file.never_null());
    let dir = base.clone();
    let encoded = Function::returning(Type::String, vec![path()], None, move |args| {
        let marks = args[0].marks();
        let bytes = read(&dir, text(args, 0), marks)?;
        Ok(Value::string(STANDARD.encode(bytes)).with_marks(marks))
    });
    table.add("filebase64", encoded.never_null());
    let dir = base.clone();
    let exists = Function::returning(Type::Bool, vec![path()], None, move |args| {
        let marks = args[0].marks();
        exists(&dir, text(args, 0), marks).map(|found| Value::bool(found).with_marks(marks))
    });
    table.add("fileexists", exists.never_null());
    let pattern = parameter("pattern", Type::String).marked();
    let set = Type::set(Type::String);
    let dir = base.clone();
    let file_set = Function::returning(set, vec![path(), pattern], None, move |args| {
        let marks = args[0].marks() | args[1].marks();
        let root = resolved(&dir, text(args, 0))?;
        let found = glob::files(&root, text(args, 1)).map_err(|e| {
            let pattern = shown(&joined(&root, text(args, 1)), marks);
            CallError::new(format!("failed to glob pattern {pattern}: {e}"))
        })?;
        let found = found.iter().map(Value::string).collect();
        Ok(Value::set(Type::String, found).with_marks(marks))
    });
    table.add("fileset", file_set.never_null());
    table.add("basename", of_text(["path"], |[path]| Ok(basename(path))));
    table.add("dirname", of_text(["path"], |[path]| Ok(dirname(path))));
    let dir = base.clone();
    table.add(
        "abspath",
        of_text(["path"], move |[path]| absolute(&dir, path)),
    );
    table.add("pathexpand", of_text(["path"], |[path]| expanded(path)));
}

fn joined(root: &Path, pattern: &str) -> String {
    clean(&format!("{}/{pattern}", root.display()))
}

/// The bytes of a file, with the system's words where it cannot be read: for digests.
pub(super) fn contents(base_dir: &Path, path: &str) -> Result<Vec<u8>> {
    let full = resolved(base_dir, path)?;
    std::fs::read(&full).map_err(|e| CallError::new(system_error("open", &full, &e)))
}

fn system_error(operation: &str, path: &Path, error: &std::io::Error) -> String {
    let what = match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        std::io::ErrorKind::NotADirectory => "not a directory".to_owned(),
        _ => error.to_string(),
    };
    format!("{operation} {}: {what}", path.display())
}

/// The bytes of a file that belongs to the configuration.
pub(super) fn read(base_dir: &Path, path: &str, marks: Marks) -> Result<Vec<u8>> {
    let full = resolved(base_dir, path)?;
    std::fs::read(&full).map_err(|e| {
        let message = match e.kind() {
            std::io::ErrorKind::NotFound => format!(
                "no file exists at {}; this function works only with files that are distributed as part of the \
                 configuration source code, so if this file will be created by a resource in this configuration you \
                 must instead obtain this result from an attribute of that resource",
                shown(path, marks)
            ),
            std::io::ErrorKind::IsADirectory => {
                let error = system_error("read", &full, &e);
                format!("failed to read file: {error}")
            }
            _ => system_error("open", &full, &e),
        };
        CallError::argument(0, message)
    })
}

/// The text of a file.
pub(super) fn utf8(bytes: Vec<u8>, path: &str, marks: Marks) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| {
        CallError::new(format!(
            "contents of {} are not valid UTF-8; use the filebase64 function to obtain the Base64 encoded contents or \
             the other file functions (e.g. filemd5, filesha256) to obtain file hashing results instead",
            shown(path, marks)
        ))
    })
}

fn resolved(base_dir: &Path, path: &str) -> Result<PathBuf> {
    let path =
        expanded(path).map_err(|e| CallError::new(format!("failed to expand ~: {}", e.message)))?;
    if path.starts_with('/') {
        return Ok(PathBuf::from(clean(&path)));
    }
    let base = base_dir.to_string_lossy();
    if base.is_empty() {
        return Ok(PathBuf::from(clean(&path)));
    }
    Ok(PathBuf::from(clean(&format!("{base}/{path}"))))
}

fn exists(base_dir: &Path, path: &str, marks: Marks) -> Result<bool> {
    let full = resolved(base_dir, path)?;
    let shown = || shown(&full.to_string_lossy(), marks);
    let kind = match std::fs::metadata(&full) {
        Ok(metadata) => metadata.file_type(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(_) => return Err(CallError::new(format!("failed to stat {}", shown()))),
    };
    let what = if kind.is_file() {
        return Ok(true);
    } else if kind.is_dir() {
        "a directory, not a file"
    } else if kind.is_block_device() || kind.is_char_device() {
        "a device node, not a regular file"
    } else if kind.is_fifo() {
        "a named pipe, not a regular file"
    } else if kind.is_socket() {
        "a unix domain socket, not a regular file"
    } else {
        "not a regular file"
    };
    Err(CallError::new(format!("{} is {what}", shown())))
}

/// A path with a home directory in place of its tilde.
fn expanded(path: &str) -> Result<String> {
    let Some(rest) = path.strip_prefix('~') else {
        return Ok(path.to_owned());
    };
    if !rest.is_empty() && !rest.starts_with(['/', '\\']) {
        return Err(CallError::new("cannot expand user-specific home dir"));
    }
    let home =
        std::env::home_dir().ok_or_else(|| CallError::new("cannot find the home directory"))?;
    let home = home.to_string_lossy();
    Ok(if rest.is_empty() {
        home.into_owned()
    } else {
        clean(&format!("{home}/{rest}"))
    })
}

fn absolute(base_dir: &Path, path: &str) -> Result<String> {
    if path.starts_with('/') {
        return Ok(clean(path));
    }
    if base_dir.is_absolute() {
        return Ok(clean(&format!("{}/{path}", base_dir.display())));
    }
    let current = std::env::current_dir().map_err(|e| CallError::new(format!("getwd: {e}")))?;
    Ok(clean(&format!("{}/{path}", current.display())))
}

/// A path without `.`, needless `..` and double slashes, by its text alone.
pub(super) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(last) if *last != ".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(".."),
            },
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

fn basename(path: &str) -> String {
    if path.is_empty() {
        return ".".to_owned();
    }
    let trimmed = path.trim_end_matches('/');
    let name = trimmed.rsplit('/').next().unwrap_or_default();
    if name.is_empty() { "/" } else { name }.to_owned()
}

fn dirname(path: &str) -> String {
    match path.rfind('/') {
        Some(slash) => clean(&path[..=slash]),
        None => ".".to_owned(),
    }
}
