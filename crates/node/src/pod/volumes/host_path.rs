//! `hostPath`: a path of the node, checked for what it is said to be.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Checks the path against its type, and makes it where the type asks for that.
///
/// # Errors
/// The message for the `FailedMount` event.
pub(crate) fn prepare(path: &Path, kind: &str) -> Result<(), String> {
    let failed = |text: String| format!("hostPath type check failed: {text}");
    let shown = path.display();
    match kind {
        "DirectoryOrCreate" if !path.exists() => {
            return fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(path)
                .map_err(|error| failed(format!("creating {shown}: {error}")));
        }
        "FileOrCreate" if !path.exists() => {
            return fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o644)
                .open(path)
                .map(drop)
                .map_err(|error| failed(format!("creating {shown}: {error}")));
        }
        _ => {}
    }
    let found = match fs::metadata(path) {
        Ok(meta) => meta.file_type(),
        // Without a type nothing is checked; the runtime makes a directory.
        Err(_) if kind.is_empty() => {
            return fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(path)
                .map_err(|error| format!("creating {shown}: {error}"));
        }
        Err(_) => return Err(failed(format!("{shown} is not {}", article(kind)))),
    };
    let fits = match kind {
        "" => true,
        "Directory" | "DirectoryOrCreate" => found.is_dir(),
        "File" | "FileOrCreate" => found.is_file(),
        "Socket" => found.is_socket(),
        "CharDevice" => found.is_char_device(),
        "BlockDevice" => found.is_block_device(),
        other => return Err(format!("unknown hostPath type {other:?}")),
    };
    if fits {
        Ok(())
    } else {
        Err(failed(format!("{shown} is not {}", article(kind))))
    }
}

fn article(kind: &str) -> &'static str {
    match kind {
        "Directory" | "DirectoryOrCreate" => "a directory",
        "File" | "FileOrCreate" => "a file",
        "Socket" => "a socket file",
        "CharDevice" => "a character device",
        "BlockDevice" => "a block device",
        _ => "there",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_must_be_what_its_type_says() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "x").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for (path, kind, ok) in [
            (at("file"), "File", true),
            (at("file"), "Directory", false),
            (at("none"), "Directory", false),
            (at("none"), "File", false),
            (at("new/dir"), "DirectoryOrCreate", true),
            (at("new/file"), "FileOrCreate", true),
            (at("nowhere/file"), "FileOrCreate", false),
            (at("socket"), "Socket", true),
            (at("file"), "Socket", false),
            (Path::new("/dev/null").to_owned(), "CharDevice", true),
            (Path::new("/dev/null").to_owned(), "BlockDevice", false),
            (at("file"), "", true),
            (at("made"), "", true),
            (at("file"), "Nonsense", false),
        ] {
            assert_eq!(
                prepare(&path, kind).is_ok(),
                ok,
                "{} {kind}",
                path.display()
            );
        }
        assert_eq!(
            prepare(&at("file"), "Directory").unwrap_err(),
            format!(
                "hostPath type check failed: {} is not a directory",
                at("file").display()
            )
        );
    }
}
