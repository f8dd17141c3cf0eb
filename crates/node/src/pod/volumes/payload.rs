//! Files of a volume that change all at once.
//!
//! The scheme is the one that users of ConfigMap and Secret volumes rely on: the files lie in a
//! directory named by time, `..data` is a symbolic link to it that is replaced by rename, and every
//! visible name is a link through `..data`. A reader sees all old files or all new ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{
    DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink,
};
use std::path::{Component, Path, PathBuf};

const DATA: &str = "..data";
const DATA_NEXT: &str = "..data_tmp";

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) data: Vec<u8>,
    /// Permission bits.
    pub(crate) mode: u32,
    /// Owner; `None` is root.
    pub(crate) uid: Option<u32>,
}

/// Files by path relative to the volume.
pub(crate) type Payload = BTreeMap<String, File>;

/// Whether a path stays in the volume and cannot be mistaken for the scheme's own names.
pub(crate) fn check_path(path: &str) -> Result<(), String> {
    let parsed = Path::new(path);
    let plain = parsed
        .components()
        .all(|c| matches!(c, Component::Normal(_)));
    if path.is_empty() || !plain || path.starts_with("..") {
        return Err(format!(
            "invalid path \"{path}\": it must be relative and may not contain or start with \"..\""
        ));
    }
    Ok(())
}

/// Makes the directory hold exactly these files. Returns whether anything changed.
///
/// With `group` (the pod's `fsGroup`) files belong to it and are readable by it.
pub(crate) fn write(dir: &Path, payload: &Payload, group: Option<u32>) -> io::Result<bool> {
    let wanted: Payload = payload
        .iter()
        .map(|(path, file)| {
            let mode = if group.is_some() {
                file.mode | 0o440
            } else {
                file.mode
            };
            (
                path.clone(),
                File {
                    mode,
                    ..file.clone()
                },
            )
        })
        .collect();
    let current = fs::read_link(dir.join(DATA)).ok();
    if let Some(current) = &current
        && same(&dir.join(current), &wanted)?
    {
        return Ok(false);
    }
    let stamp = jiff::Timestamp::now()
        .strftime("..%Y_%m_%d_%H_%M_%S.%9f")
        .to_string();
    let next = dir.join(&stamp);
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o755);
    builder.create(&next)?;
    own_directory(&next, group)?;
    for (path, file) in &wanted {
        let target = next.join(path);
        let mut made = PathBuf::new();
        for part in Path::new(path)
            .parent()
            .into_iter()
            .flat_map(Path::components)
        {
            made.push(part);
            let sub = next.join(&made);
            if !sub.is_dir() {
                builder.create(&sub)?;
                own_directory(&sub, group)?;
            }
        }
        let mut out = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&target)?;
        io::Write::write_all(&mut out, &file.data)?;
        if group.is_some() || file.uid.is_some() {
            chown(&target, file.uid, group)?;
        }
        // After the change of owner, which clears special bits.
        out.set_permissions(fs::Permissions::from_mode(file.mode))?;
    }
    let link = dir.join(DATA_NEXT);
    match fs::remove_file(&link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(&stamp, &link)?;
    fs::rename(&link, dir.join(DATA))?;

    let visible: BTreeSet<&str> = wanted
        .keys()
        .map(|path| path.split('/').next().unwrap_or(path.as_str()))
        .collect();
    for name in &visible {
        let path = dir.join(name);
        if fs::symlink_metadata(&path).is_err() {
            symlink(Path::new(DATA).join(name), &path)?;
        }
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.starts_with("..") {
            if name != DATA && name != stamp {
                fs::remove_dir_all(entry.path())?;
            }
        } else if !visible.contains(name) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(true)
}

fn own_directory(path: &Path, group: Option<u32>) -> io::Result<()> {
    if let Some(group) = group {
        chown(path, None, Some(group))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o2755))?;
    }
    Ok(())
}

/// Whether a directory holds exactly these files with these modes.
fn same(dir: &Path, wanted: &Payload) -> io::Result<bool> {
    fn count(dir: &Path) -> io::Result<usize> {
        let mut files = 0;
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            files += if entry.file_type()?.is_dir() {
                count(&entry.path())?
            } else {
                1
            };
        }
        Ok(files)
    }
    if !dir.is_dir() || count(dir)? != wanted.len() {
        return Ok(false);
    }
    for (path, file) in wanted {
        let path = dir.join(path);
        let Ok(meta) = fs::symlink_metadata(&path) else {
            return Ok(false);
        };
        if meta.mode() & 0o7777 != file.mode
            || meta.len() != file.data.len() as u64
            || file.uid.is_some_and(|uid| uid != meta.uid())
            || fs::read(&path)? != file.data
        {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(files: &[(&str, &str, u32)]) -> Payload {
        files
            .iter()
            .map(|(path, data, mode)| {
                (
                    (*path).to_owned(),
                    File {
                        data: data.as_bytes().to_vec(),
                        mode: *mode,
                        uid: None,
                    },
                )
            })
            .collect()
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|n| !n.starts_with(".."))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn files_are_replaced_as_a_whole_and_left_alone_when_nothing_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        assert!(
            write(
                path,
                &payload(&[("a", "1", 0o644), ("sub/b", "2", 0o400)]),
                None
            )
            .unwrap()
        );
        assert_eq!(names(path), ["a", "sub"]);
        assert_eq!(fs::read_to_string(path.join("sub/b")).unwrap(), "2");
        assert_eq!(
            fs::metadata(path.join("sub/b")).unwrap().mode() & 0o7777,
            0o400
        );
        let before = fs::read_link(path.join(DATA)).unwrap();
        assert_eq!(
            fs::read_link(path.join("a")).unwrap(),
            Path::new("..data/a")
        );

        assert!(
            !write(
                path,
                &payload(&[("a", "1", 0o644), ("sub/b", "2", 0o400)]),
                None
            )
            .unwrap()
        );
        assert_eq!(fs::read_link(path.join(DATA)).unwrap(), before);

        assert!(
            write(
                path,
                &payload(&[("a", "new", 0o644), ("c", "3", 0o600)]),
                None
            )
            .unwrap()
        );
        assert_eq!(names(path), ["a", "c"]);
        assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "new");
        assert!(!path.join(before).exists(), "the old directory is gone");
        assert!(
            write(
                path,
                &payload(&[("a", "new", 0o640), ("c", "3", 0o600)]),
                None
            )
            .unwrap(),
            "a mode is a change"
        );

        assert!(write(path, &Payload::new(), None).unwrap());
        assert!(names(path).is_empty());
    }

    #[test]
    fn the_group_of_the_pod_may_read() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &payload(&[("s", "x", 0o400)]), Some(1234)).unwrap();
        let meta = fs::metadata(dir.path().join("s")).unwrap();
        assert_eq!((meta.gid(), meta.mode() & 0o7777), (1234, 0o440));
        let data = fs::metadata(dir.path().join(DATA)).unwrap();
        assert_eq!((data.gid(), data.mode() & 0o7777), (1234, 0o2755));
    }

    #[test]
    fn paths_that_leave_the_volume_are_refused() {
        for bad in ["", "/etc/passwd", "../x", "a/../../b", "..data", "a/./../b"] {
            assert!(check_path(bad).is_err(), "{bad}");
        }
        for good in ["a", "a/b.c", ".hidden"] {
            assert!(check_path(good).is_ok(), "{good}");
        }
    }
}
