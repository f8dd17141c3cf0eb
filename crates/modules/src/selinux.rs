//! SELinux contexts of files, read and set as extended attributes.

use std::path::Path;

use serde_json::{Map, Value};

use crate::attributes::{absent_in_check_mode, note};
use crate::context::Context;
use crate::invocation::Failure;
use crate::process::{self, Command};
use crate::python;

const ATTRIBUTE: &str = "security.selinux";

/// Whether the system is under SELinux.
pub fn is_enabled() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

/// Whether its contexts have levels.
pub fn is_mls() -> bool {
    std::fs::read_to_string("/sys/fs/selinux/mls").is_ok_and(|text| text.trim() == "1")
}

fn unknown() -> Vec<Option<String>> {
    vec![None; if is_mls() { 4 } else { 3 }]
}

fn parts(text: &str) -> Vec<Option<String>> {
    text.trim_end_matches(['\0', '\n'])
        .splitn(4, ':')
        .map(|part| Some(part.to_owned()))
        .collect()
}

/// The context of a file; its parts are `None` without SELinux.
pub fn context_of(path: &Path) -> Vec<Option<String>> {
    if !is_enabled() {
        return unknown();
    }
    match xattr::get(path, ATTRIBUTE) {
        Ok(Some(value)) => parts(&String::from_utf8_lossy(&value)),
        _ => unknown(),
    }
}

/// The context the policy has for a path; its parts are `None` if that cannot be told.
pub fn default_context(context: &Context<'_>, path: &str) -> Vec<Option<String>> {
    if !is_enabled() {
        return unknown();
    }
    let Some(program) = process::find(context, "matchpathcon", &[]) else {
        return unknown();
    };
    match Command::new([program.as_str(), "-n", path])
        .literal()
        .run(context)
    {
        Ok(done) if done.success() => {
            let found = parts(done.out().trim());
            if found.len() < 3 { unknown() } else { found }
        }
        _ => unknown(),
    }
}

/// Sets the parts of the context of a file that are given (`set_context_if_different`).
pub fn set(
    context: &mut Context<'_>,
    shown: &str,
    wanted: &[Option<String>],
    changed: bool,
    diff: Option<&mut Map<String, Value>>,
) -> Result<bool, Failure> {
    if !is_enabled() {
        return Ok(changed);
    }
    let path = context.path(shown);
    if absent_in_check_mode(context, &path) {
        return Ok(true);
    }
    let current = context_of(&path);
    let new = match special(context, &path) {
        Some(special) => special,
        None => current
            .iter()
            .enumerate()
            .map(|(place, part)| match wanted.get(place) {
                Some(Some(wanted)) => Some(wanted.clone()),
                _ => part.clone(),
            })
            .collect(),
    };
    if current == new {
        return Ok(changed);
    }
    let list = |parts: &[Option<String>]| -> Value {
        parts
            .iter()
            .map(|part| part.clone().map_or(Value::Null, Value::from))
            .collect()
    };
    note(diff, "secontext", list(&current), list(&new));
    if context.settings.check {
        return Ok(true);
    }
    let text: Vec<String> = new.iter().flatten().cloned().collect();
    let mut value = text.join(":").into_bytes();
    value.push(0);
    xattr::set(&path, ATTRIBUTE, &value).map_err(|error| {
        Failure::new(format!(
            "invalid selinux context: {}",
            python::os_error(&error)
        ))
        .with("path", shown)
        .with("new_context", list(&new))
        .with("cur_context", list(&current))
        .with("input_was", list(wanted))
    })?;
    Ok(true)
}

/// The context all files have on a file system without contexts of its own, if the path is on one.
fn special(context: &Context<'_>, path: &Path) -> Option<Vec<Option<String>>> {
    use std::os::unix::fs::MetadataExt as _;
    let mounts = std::fs::read_to_string("/proc/mounts").ok()?;
    let mut place = std::fs::canonicalize(path)
        .or_else(|_| std::fs::canonicalize(path.parent().unwrap_or(path)))
        .ok()?;
    while let Some(parent) = place.parent().map(Path::to_owned) {
        let here = std::fs::metadata(&place).ok()?.dev();
        if std::fs::metadata(&parent).ok()?.dev() != here {
            break;
        }
        place = parent;
    }
    let place = place.to_str()?;
    for line in mounts.lines() {
        let mut fields = line.split(' ');
        let (Some(point), Some(kind)) = (fields.nth(1), fields.next()) else {
            continue;
        };
        if point == place
            && context
                .settings
                .selinux_special_fs
                .iter()
                .any(|special| kind.contains(special.as_str()))
        {
            return Some(context_of(Path::new(point)));
        }
    }
    None
}
