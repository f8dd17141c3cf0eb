//! `file`: files, directories and links, and their attributes.

mod links;
mod times;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::arguments::{Arguments, Spec, boolean, path, text};
use crate::attributes::{
    Wanted, group_id, group_name, note, real_path, user_id, user_name, within_ids,
};
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::python;
use crate::registry::Module;

use links::{hard_link, link};
use times::{Time, update_times, wanted_times};

pub(crate) const MODULE: Module = Module { name: "file", act };

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with(
            "state",
            text().choices(&["absent", "directory", "file", "hard", "link", "touch"]),
        )
        .with("path", path().required().aliases(&["dest", "name"]))
        .with("_original_basename", text())
        .with("recurse", boolean().default(false))
        .with("force", boolean().default(false))
        .with("follow", boolean().default(true))
        .with("_diff_peek", boolean())
        .with("src", path())
        .with("modification_time", text())
        .with("modification_time_format", text().default("%Y%m%d%H%M.%S"))
        .with("access_time", text())
        .with("access_time_format", text().default("%Y%m%d%H%M.%S"))
        .file_common()
        .supports_check_mode()
});

/// Links inside of followed links more than this are a loop.
const DEEPEST: usize = 200;

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let mut arguments = context.arguments(&SPEC, invocation)?;
    settle(context, &mut arguments)?;
    let state = arguments.required("state").to_owned();
    if context.settings.check && state != "absent" {
        warn_of_unknown_owners(context, &arguments)?;
    }
    let path = arguments.required("path").to_owned();
    if arguments.has("_diff_peek") {
        return Ok(report(&[
            ("path", path.as_str().into()),
            ("changed", false.into()),
            (
                "appears_binary",
                appears_binary(&context.path(&path)).into(),
            ),
        ]));
    }
    let mut result = match state.as_str() {
        "file" => attributes_of_file(context, &arguments, &path),
        "directory" => directory(context, &arguments, &path),
        "link" => link(context, &arguments, &path),
        "hard" => hard_link(context, &arguments, &path),
        "touch" => touch(context, &arguments, &path),
        _ => absent(context, &path),
    }?;
    if !context.settings.diff {
        result.remove("diff");
    }
    Ok(result)
}

fn report(entries: &[(&str, Value)]) -> Report {
    entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect()
}

/// Settles the path and the state where they follow from the rest.
fn settle(context: &mut Context<'_>, arguments: &mut Arguments) -> Result<(), Failure> {
    let path = arguments.required("path").to_owned();
    if !matches!(arguments.text("state"), Some("link" | "absent")) && context.path(&path).is_dir() {
        let basename = arguments
            .filled("_original_basename")
            .map(str::to_owned)
            .or_else(|| {
                arguments
                    .filled("src")
                    .map(|src| python::basename(src).to_owned())
            });
        if let Some(basename) = basename.filter(|name| !name.is_empty()) {
            arguments.set("path", python::join(&path, &basename));
        }
    }
    let path = arguments.required("path").to_owned();
    let before = state_of(context, &path)?;
    if !arguments.has("state") {
        let state = if before != "absent" {
            before
        } else if arguments.flag("recurse") {
            "directory"
        } else {
            "file"
        };
        arguments.set("state", state);
        context.told_as("state", state);
    }
    let state = arguments.required("state");
    if arguments.flag("recurse") && state != "directory" {
        return Err(
            Failure::new("recurse option requires state to be 'directory'").with("path", path),
        );
    }
    if arguments.filled("src").is_some() && !matches!(state, "link" | "hard") {
        return Err(
            Failure::new("src option requires state to be 'link' or 'hard'").with("path", path),
        );
    }
    Ok(())
}

/// What is at a path: `absent`, `link`, `directory`, `hard` or `file`.
fn state_of(context: &mut Context<'_>, path: &str) -> Result<&'static str, Failure> {
    match std::fs::symlink_metadata(context.path(path)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok("absent"),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            context.warn(format!(
                "Insufficient permissions to access {path}. Treating as absent"
            ));
            Ok("absent")
        }
        Err(error) => Err(Failure::unhandled(python::os_error_at(&error, path))),
        Ok(meta) if meta.file_type().is_symlink() => Ok("link"),
        Ok(meta) if meta.is_dir() => Ok("directory"),
        Ok(meta) if meta.nlink() > 1 => Ok("hard"),
        Ok(_) => Ok("file"),
    }
}

fn warn_of_unknown_owners(context: &mut Context<'_>, arguments: &Arguments) -> Result<(), Failure> {
    if let Some(owner) = arguments.filled("owner") {
        match owner.trim().parse::<i64>() {
            Ok(uid) if u32::try_from(uid).ok().and_then(user_name).is_none() => context.warn(format!(
                "failed to look up user with uid {uid}. Create user up to this point in real play"
            )),
            Err(_) if user_id(owner).is_none() => context.warn(format!(
                "failed to look up user {owner}. Create user up to this point in real play"
            )),
            _ => {}
        }
    }
    if let Some(group) = arguments.filled("group") {
        match group.trim().parse::<i64>() {
            Ok(gid) => {
                within_ids("gid", gid)?;
                if u32::try_from(gid).ok().and_then(group_name).is_none() {
                    context.warn(format!(
                        "failed to look up group with gid {gid}. Create group up to this point in real play"
                    ));
                }
            }
            Err(_) if group_id(group).is_none() => context.warn(format!(
                "failed to look up group {group}. Create group up to this point in real play"
            )),
            Err(_) => {}
        }
    }
    Ok(())
}

fn appears_binary(path: &Path) -> bool {
    use std::io::Read as _;
    let mut head = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(8192).read_to_end(&mut head))
        .is_ok_and(|_| head.contains(&0))
}

fn initial_diff(
    context: &Context<'_>,
    path: &str,
    state: &str,
    before: &str,
) -> Map<String, Value> {
    let mut diff = Map::new();
    diff.insert("before".to_owned(), json!({ "path": path }));
    diff.insert("after".to_owned(), json!({ "path": path }));
    if before != state {
        note(Some(&mut diff), "state", before.into(), state.into());
        if state == "absent" && before == "directory" {
            let mut directories = Vec::new();
            let mut files = Vec::new();
            let top = context.path(path);
            walk(&top, &mut |at, is_directory| {
                let below = at.strip_prefix(&top).unwrap_or(at);
                let shown = python::join(path, &below.to_string_lossy());
                if is_directory {
                    directories.push(shown);
                } else {
                    files.push(shown);
                }
            });
            diff["before"]["path_content"] = json!({"directories": directories, "files": files});
        }
    }
    diff
}

/// All that is below a directory, from the top down; links to directories count as directories and are not followed.
fn walk(top: &Path, visit: &mut dyn FnMut(&Path, bool)) {
    let mut pending = vec![top.to_owned()];
    while let Some(directory) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else {
            continue;
        };
        let mut below = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path();
            let is_directory = path.is_dir();
            visit(&path, is_directory);
            if is_directory && !path.is_symlink() {
                below.push(path);
            }
        }
        below.reverse();
        pending.extend(below);
    }
}

fn absent(context: &mut Context<'_>, path: &str) -> Outcome {
    let before = state_of(context, path)?;
    if before == "absent" {
        return Ok(report(&[
            ("path", path.into()),
            ("changed", false.into()),
            ("state", "absent".into()),
        ]));
    }
    let diff = initial_diff(context, path, "absent", before);
    if !context.settings.check {
        let whole = context.path(path);
        if before == "directory" {
            std::fs::remove_dir_all(&whole).map_err(|error| {
                Failure::new(format!(
                    "rmtree failed: {}",
                    python::os_error_at_text(&error, path)
                ))
            })?;
        } else if let Err(error) = std::fs::remove_file(&whole)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(Failure::new("Unlinking failed.")
                .with("path", path)
                .because(python::os_error_at(&error, &whole)));
        }
    }
    Ok(report(&[
        ("path", path.into()),
        ("changed", true.into()),
        ("diff", diff.into()),
        ("state", "absent".into()),
    ]))
}

fn touch(context: &mut Context<'_>, arguments: &Arguments, path: &str) -> Outcome {
    let before = state_of(context, path)?;
    let times = wanted_times(context, arguments)?;
    let whole = context.path(path);
    let mut changed = false;
    if before == "absent" {
        if context.settings.check {
            return Ok(report(&[("dest", path.into()), ("changed", true.into())]));
        }
        create_empty(context, &whole).map_err(|error| {
            Failure::new("Error, could not touch target.")
                .with("path", path)
                .because(python::os_error_at(&error, &whole))
        })?;
        changed = true;
    }
    let mut diff = initial_diff(context, path, "touch", before);
    let wanted = Wanted::of(context, arguments, None);
    let done = wanted
        .apply(context, changed, Some(&mut diff))
        .and_then(|changed| {
            Ok(update_times(context, &wanted.path, times, Some(&mut diff))? || changed)
        });
    match done {
        Ok(changed) => Ok(report(&[
            ("dest", path.into()),
            ("changed", changed.into()),
            ("diff", diff.into()),
        ])),
        Err(failure) => {
            if before == "absent" {
                // What was only just made can go again.
                let _ = std::fs::remove_file(&whole);
            }
            Err(failure)
        }
    }
}

fn create_empty(context: &Context<'_>, path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o666)
        .open(path)?;
    if let Some(umask) = context.settings.umask {
        file.set_permissions(std::fs::Permissions::from_mode(0o666 & !umask))?;
    }
    Ok(())
}

fn attributes_of_file(context: &mut Context<'_>, arguments: &Arguments, path: &str) -> Outcome {
    let mut path = path.to_owned();
    let mut before = state_of(context, &path)?;
    let mut wanted = Wanted::of(context, arguments, None);
    let times = wanted_times(context, arguments)?;
    if before == "link" && arguments.flag("follow") {
        path = real_path(context, &path);
        before = state_of(context, &path)?;
        wanted.path.clone_from(&path);
    }
    if !matches!(before, "file" | "hard") {
        return Err(
            Failure::new(format!("file ({path}) is {before}, cannot continue"))
                .with("path", path)
                .with("state", before),
        );
    }
    let mut diff = initial_diff(context, &path, "file", before);
    let mut changed = wanted.apply(context, false, Some(&mut diff))?;
    changed |= update_times(context, &wanted.path, times, Some(&mut diff))?;
    Ok(report(&[
        ("path", path.into()),
        ("changed", changed.into()),
        ("diff", diff.into()),
    ]))
}

fn directory(context: &mut Context<'_>, arguments: &Arguments, path: &str) -> Outcome {
    let mut path = path.to_owned();
    let mut before = state_of(context, &path)?;
    let mut wanted = Wanted::of(context, arguments, None);
    let times = wanted_times(context, arguments)?;
    if arguments.flag("follow") && before == "link" {
        path = real_path(context, &path);
        wanted.path.clone_from(&path);
        before = state_of(context, &path)?;
    }
    let mut changed = false;
    let mut diff = initial_diff(context, &path, "directory", before);
    if before == "absent" {
        if context.settings.check {
            return Ok(report(&[
                ("path", path.into()),
                ("changed", true.into()),
                ("diff", diff.into()),
            ]));
        }
        make_directories(context, &path, &wanted, times, &mut changed, &mut diff)?;
    } else if before == "directory" {
        changed = wanted.apply(context, changed, Some(&mut diff))?;
        changed |= update_times(context, &wanted.path, times, Some(&mut diff))?;
        if arguments.flag("recurse") {
            let top = context.path(&path);
            changed |= recursively(context, &top, arguments.flag("follow"), &wanted, times, 0)?;
        }
    } else {
        return Err(Failure::new(format!("{path} already exists as a {before}")).with("path", path));
    }
    Ok(report(&[
        ("path", path.into()),
        ("changed", changed.into()),
        ("diff", diff.into()),
    ]))
}

/// Makes a directory and those above it that are missing, each with the wanted attributes.
fn make_directories(
    context: &mut Context<'_>,
    path: &str,
    wanted: &Wanted,
    times: (Time, Time),
    changed: &mut bool,
    diff: &mut Map<String, Value>,
) -> Result<(), Failure> {
    let mut current = String::new();
    for name in path.trim_matches('/').split('/') {
        current = format!("{current}/{name}");
        if !path.starts_with('/') {
            current = current.trim_start_matches('/').to_owned();
        }
        let whole = context.path(&current);
        if whole.exists() {
            continue;
        }
        let issue = |reason: String| {
            Failure::new(format!(
                "There was an issue creating {current} as requested: {reason}"
            ))
            .with("path", path)
        };
        if let Err(error) = make_directory(context, &whole) {
            if !(error.kind() == std::io::ErrorKind::AlreadyExists && whole.is_dir()) {
                return Err(issue(python::os_error_at(&error, &current)));
            }
        } else {
            *changed = true;
        }
        *changed = wanted.at(&current).apply(context, *changed, Some(diff))?;
        *changed |= update_times(context, &wanted.path, times, Some(diff))?;
    }
    Ok(())
}

fn make_directory(context: &Context<'_>, path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir(path)?;
    if let Some(umask) = context.settings.umask {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777 & !umask))?;
    }
    Ok(())
}

/// Sets the attributes of all that is below a directory.
fn recursively(
    context: &mut Context<'_>,
    top: &Path,
    follow: bool,
    wanted: &Wanted,
    times: (Time, Time),
    depth: usize,
) -> Result<bool, Failure> {
    if depth > DEEPEST {
        return Err(Failure::new(format!(
            "Could not recursively set attributes on {}. Original error was: 'maximum recursion depth exceeded'",
            top.display()
        )));
    }
    let mut changed = false;
    let mut found: Vec<PathBuf> = Vec::new();
    walk(top, &mut |path, _| found.push(path.to_owned()));
    for path in found {
        let mut set = |context: &mut Context<'_>, path: &Path| -> Result<(), Failure> {
            let here = wanted.at(&path.to_string_lossy());
            changed = here.apply(context, changed, None)?;
            changed |= update_times(context, &here.path, times, None)?;
            Ok(())
        };
        set(context, &path)?;
        if follow && path.is_symlink() {
            let Ok(target) = std::fs::read_link(&path) else {
                continue;
            };
            let target = path.parent().unwrap_or(top).join(target);
            if target.exists() {
                let is_directory = target.is_dir();
                set(context, &target)?;
                if is_directory {
                    changed |= recursively(context, &target, follow, wanted, times, depth + 1)?;
                }
            }
        }
    }
    Ok(changed)
}
