//! The files that are read and written: whole or not at all, and for their owner alone.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::source::Located;

/// The file behind links; `-` stays.
pub(super) fn real(file: &str) -> String {
    if file == "-" {
        return file.to_owned();
    }
    let path = Path::new(file);
    path.canonicalize()
        .or_else(|_| std::path::absolute(path))
        .map_or_else(
            |_| file.to_owned(),
            |path| path.to_string_lossy().into_owned(),
        )
}

pub(super) fn read(file: &str) -> Result<Vec<u8>, Located> {
    let result = if file == "-" {
        let mut content = Vec::new();
        std::io::stdin().read_to_end(&mut content).map(|_| content)
    } else {
        std::fs::read(file)
    };
    let absolute = std::path::absolute(file).unwrap_or_else(|_| PathBuf::from(file));
    let shown = if file == "-" {
        file.to_owned()
    } else {
        absolute.to_string_lossy().into_owned()
    };
    result.map_err(|error| {
        Located::new(format!(
            "Unable to read source file ({shown}): {}",
            crate::inventory::os_error(&error, &shown)
        ))
    })
}

/// Writes a result to a file, whole or not at all, or to standard output.
pub(super) fn write(content: &[u8], to: &str, shreds: bool) -> Result<(), Located> {
    if to == "-" {
        return std::io::stdout()
            .write_all(content)
            .and_then(|()| std::io::stdout().flush())
            .map_err(|error| Located::new(format!("writing standard output: {error}")));
    }
    let path = Path::new(to);
    let beside = beside(path);
    create(&beside, content)?;
    if shreds && path.is_file() {
        shred(path);
    }
    std::fs::rename(&beside, path).map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        Located::new(format!("Unable to write to {to}: {error}"))
    })
}

/// Replaces a file, with the rights and owner it has.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), Located> {
    let before = std::fs::metadata(path).ok();
    write(content, &path.to_string_lossy(), true)?;
    if let Some(before) = before {
        let kept = std::fs::set_permissions(
            path,
            std::fs::Permissions::from_mode(before.mode() & 0o7777),
        )
        .and_then(|()| std::os::unix::fs::chown(path, Some(before.uid()), Some(before.gid())));
        kept.map_err(|error| {
            Located::new(format!("keeping the rights of {}: {error}", path.display()))
        })?;
    }
    Ok(())
}

fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", uuid::Uuid::new_v4()));
    path.with_file_name(name)
}

/// Makes a file that only its owner may look into.
pub(super) fn create(path: &Path, content: &[u8]) -> Result<(), Located> {
    let made = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        });
    made.map_err(|error| {
        let directory = path.parent().unwrap_or(Path::new("/"));
        if matches!(
            error.kind(),
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::NotFound
        ) {
            Located::new(format!(
                "Destination '{}' not writable",
                directory.display()
            ))
        } else {
            Located::new(format!(
                "Problem creating temporary vault file: {}: {error}",
                path.display()
            ))
        }
    })
}

/// Overwrites a file before it is removed, as well as that can be done.
pub(super) fn shred(path: &Path) {
    let Ok(metadata) = std::fs::metadata(path) else {
        return;
    };
    if let Ok(mut file) = std::fs::OpenOptions::new().write(true).open(path) {
        let mut left = metadata.len();
        let mut noise = [0_u8; 4096];
        while left > 0 {
            for chunk in noise.chunks_mut(16) {
                chunk.copy_from_slice(&rand::random::<[u8; 16]>()[..chunk.len()]);
            }
            let part = left.min(noise.len() as u64) as usize;
            if file.write_all(&noise[..part]).is_err() {
                break;
            }
            left -= part as u64;
        }
        let _ = file.sync_all();
    }
    let _ = std::fs::remove_file(path);
}
