//! Files that were most likely meant by a name that is no file's.

use std::path::Path;

use super::nearest::nearest;

/// The file or directory beside a path whose name is near; none if there is none.
pub(super) fn near(path: &str) -> Option<String> {
    let path = Path::new(path);
    let name = path.file_name()?.to_str()?;
    let directory = path.parent()?;
    let directory = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    let names: Vec<String> = std::fs::read_dir(directory)
        .ok()?
        .take(5000)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let other_end = |name: &str| -> Option<String> {
        let stem = Path::new(name).file_stem()?.to_str()?.to_owned();
        names
            .iter()
            .find(|known| {
                Path::new(known).file_stem().and_then(|stem| stem.to_str()) == Some(&stem)
            })
            .cloned()
    };
    let found = nearest(name, names.iter().map(String::as_str))
        .map(str::to_owned)
        .or_else(|| other_end(name))?;
    Some(path.with_file_name(found).to_string_lossy().into_owned())
}

/// What lies in the directory where a file is looked for; none if there is no such directory, which is told.
pub(super) fn beside(path: &str) -> Option<String> {
    let parent = Path::new(path).parent()?;
    let directory = if parent.as_os_str().is_empty() {
        std::env::current_dir().ok()?
    } else {
        parent.to_owned()
    };
    let Ok(entries) = std::fs::read_dir(&directory) else {
        return Some(format!("there is no directory {}", directory.display()));
    };
    let extension = Path::new(path).extension();
    let mut names: Vec<String> = entries
        .take(5000)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| extension.is_none() || Path::new(name).extension() == extension)
        .collect();
    names.sort_unstable();
    if names.is_empty() {
        return Some(format!("{} holds no such files", directory.display()));
    }
    Some(format!(
        "{} holds: {}",
        directory.display(),
        super::hints::listed(&names)
    ))
}
