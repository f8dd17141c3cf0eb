//! Filters over paths.

use std::path::{Path, PathBuf};

use consort_jinja::{Arguments, Environment, Result, State, Str, Value};

use super::add_all;
use crate::paths::{Surroundings, basename, dirname, expand_user, expand_variables, join, normal};
use crate::source::splits_extension;
use crate::template::context::{class, refused};

pub(super) fn add(environment: &mut Environment) {
    add_all(
        environment,
        &[
            ("basename", |_, value, _| {
                let path = path(&value)?;
                Ok(Value::from(basename(&path)))
            }),
            ("dirname", |_, value, _| {
                let path = path(&value)?;
                Ok(Value::from(dirname(&path)))
            }),
            ("expanduser", |_, value, _| {
                Ok(Value::from(expand_user(
                    &path(&value)?,
                    &Surroundings::of_process(),
                )))
            }),
            ("expandvars", |_, value, _| {
                Ok(Value::from(expand_variables(
                    &path(&value)?,
                    &Surroundings::of_process(),
                )))
            }),
            ("path_join", path_join),
            ("realpath", |_, value, _| {
                Ok(Value::from(real_path(&path(&value)?)))
            }),
            ("relpath", |_, value, arguments| {
                let [start] = arguments.bind("relpath", ["start"])?;
                let start = start.map_or(Ok(Str::new(".")), |start| path(&start))?;
                let path = path(&value)?;
                if path.is_empty() {
                    return refused("no path specified");
                }
                Ok(Value::from(relative(&absolute(&path), &absolute(&start))))
            }),
            ("splitext", |_, value, _| {
                let path = path(&value)?;
                let (root, extension) = splits_extension(&path);
                Ok(Value::tuple(vec![
                    Value::from(root),
                    Value::from(extension),
                ]))
            }),
            ("win_basename", |_, value, _| {
                let path = path(&value)?;
                Ok(Value::from(win_split(&path).1))
            }),
            ("win_dirname", |_, value, _| {
                let path = path(&value)?;
                Ok(Value::from(win_split(&path).0))
            }),
            ("win_splitdrive", |_, value, _| {
                let path = path(&value)?;
                let at = drive(&path);
                Ok(Value::tuple(vec![
                    Value::from(&path[..at]),
                    Value::from(&path[at..]),
                ]))
            }),
            ("commonpath", common_path),
            ("normpath", |_, value, _| {
                Ok(Value::from(normal(&path(&value)?)))
            }),
            ("fileglob", |_, value, _| {
                let pattern = path(&value)?;
                Ok(Value::list(
                    glob(&pattern)
                        .into_iter()
                        .filter(|found| Path::new(found).is_file())
                        .map(Value::from)
                        .collect(),
                ))
            }),
        ],
    );
}

fn path(value: &Value) -> Result<Str> {
    match value {
        Value::Str(text) => Ok(text.clone()),
        other => refused(format!(
            "expected str, bytes or os.PathLike object, not {}",
            other.type_name()
        )),
    }
}

fn path_join(_: &mut State<'_, '_>, value: Value, _: &Arguments) -> Result<Value> {
    match &value {
        Value::Str(_) => Ok(value),
        Value::List(_) | Value::Tuple(_) => {
            let parts = value.iterate()?;
            let Some((first, rest)) = parts.split_first() else {
                return refused("join() missing 1 required positional argument: 'a'");
            };
            let mut joined = path(first)?.to_string();
            for part in rest {
                joined = join(&joined, &path(part)?);
            }
            Ok(Value::from(joined))
        }
        other => refused(format!(
            "|path_join expects string or sequence, got {} instead.",
            class(other)
        )),
    }
}

/// The path from the root on, without asking the disk.
fn absolute(path: &str) -> String {
    normal(&absolute_raw(path))
}

/// The path with every link followed, as far as there is something.
pub(in crate::template) fn real_path(path: &str) -> String {
    let whole = absolute_raw(path);
    let mut done = PathBuf::from("/");
    let mut left: Vec<String> = whole
        .split('/')
        .rev()
        .filter(|part| !part.is_empty() && *part != ".")
        .map(str::to_owned)
        .collect();
    let mut links = 0;
    while let Some(part) = left.pop() {
        if part == ".." {
            done.pop();
            continue;
        }
        let next = done.join(&part);
        match std::fs::read_link(&next) {
            Ok(target) if links < 40 => {
                links += 1;
                let target = target.to_string_lossy().into_owned();
                if target.starts_with('/') {
                    done = PathBuf::from("/");
                }
                left.extend(
                    target
                        .split('/')
                        .rev()
                        .filter(|part| !part.is_empty() && *part != ".")
                        .map(str::to_owned),
                );
            }
            _ => done = next,
        }
    }
    done.to_string_lossy().into_owned()
}

fn absolute_raw(path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    join(&here.to_string_lossy(), path)
}

fn relative(path: &str, start: &str) -> String {
    let parts = |path: &str| -> Vec<String> {
        path.split('/')
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let (path, start) = (parts(path), parts(start));
    let common = path
        .iter()
        .zip(&start)
        .take_while(|(one, two)| one == two)
        .count();
    let mut steps: Vec<&str> = vec![".."; start.len() - common];
    steps.extend(path[common..].iter().map(String::as_str));
    if steps.is_empty() {
        ".".to_owned()
    } else {
        steps.join("/")
    }
}

fn common_path(_: &mut State<'_, '_>, value: Value, _: &Arguments) -> Result<Value> {
    if !matches!(value, Value::List(_) | Value::Tuple(_)) {
        return refused(format!(
            "|commonpath expects sequence, got {} instead.",
            class(&value)
        ));
    }
    let paths = value
        .iterate()?
        .iter()
        .map(path)
        .collect::<Result<Vec<Str>>>()?;
    let Some(first) = paths.first() else {
        return refused("commonpath() arg is an empty iterable");
    };
    let rooted = first.starts_with('/');
    if paths.iter().any(|path| path.starts_with('/') != rooted) {
        return refused("Can't mix absolute and relative paths");
    }
    let split: Vec<Vec<&str>> = paths
        .iter()
        .map(|path| {
            path.split('/')
                .filter(|part| !part.is_empty() && *part != ".")
                .collect()
        })
        .collect();
    let mut common = split[0].clone();
    for parts in &split[1..] {
        let same = common
            .iter()
            .zip(parts)
            .take_while(|(one, two)| one == two)
            .count();
        common.truncate(same);
    }
    Ok(Value::from(format!(
        "{}{}",
        if rooted { "/" } else { "" },
        common.join("/")
    )))
}

/// Where the drive of a Windows path ends.
fn drive(path: &str) -> usize {
    let slashed = path.replace('/', "\\");
    if let Some(rest) = slashed.strip_prefix("\\\\") {
        // \\host\share
        let Some(host) = rest.find('\\') else {
            return path.len();
        };
        return match rest[host + 1..].find('\\') {
            Some(share) => 2 + host + 1 + share,
            None => path.len(),
        };
    }
    let mut chars = path.char_indices();
    match (chars.next(), chars.next()) {
        (Some((_, letter)), Some((at, ':'))) if letter != '\\' && letter != '/' => at + 1,
        _ => 0,
    }
}

fn win_split(path: &str) -> (&str, &str) {
    let at = drive(path);
    let rooted = path[at..].starts_with(['\\', '/']);
    let start = at + usize::from(rooted);
    let cut = path[start..]
        .rfind(['\\', '/'])
        .map_or(start, |cut| start + cut + 1);
    let (head, tail) = path.split_at(cut);
    let bare = head[start.min(head.len())..].trim_end_matches(['\\', '/']);
    (&head[..start + bare.len()], tail)
}

/// The paths that match a pattern, as Python's `glob` finds them.
pub(in crate::template) fn glob(pattern: &str) -> Vec<String> {
    let magic = |text: &str| text.contains(['*', '?', '[']);
    if !magic(pattern) {
        return if std::fs::symlink_metadata(pattern).is_ok() {
            vec![pattern.to_owned()]
        } else {
            Vec::new()
        };
    }
    let (directory, name) = match pattern.rfind('/') {
        Some(at) => (&pattern[..=at], &pattern[at + 1..]),
        None => ("", pattern),
    };
    let bare = directory.trim_end_matches('/');
    let directories = if magic(directory) {
        glob(bare)
            .into_iter()
            .filter(|found| Path::new(found).is_dir())
            .collect()
    } else if directory.is_empty() {
        vec![String::new()]
    } else if bare.is_empty() {
        vec!["/".to_owned()]
    } else {
        vec![bare.to_owned()]
    };
    let mut found = Vec::new();
    for directory in directories {
        if !magic(name) {
            let whole = join(&directory, name);
            if std::fs::symlink_metadata(&whole).is_ok() {
                found.push(whole);
            }
            continue;
        }
        let here = if directory.is_empty() {
            "."
        } else {
            &directory
        };
        let Ok(entries) = std::fs::read_dir(here) else {
            continue;
        };
        for entry in entries.flatten() {
            let entry = entry.file_name().to_string_lossy().into_owned();
            if (!entry.starts_with('.') || name.starts_with('.')) && matches(name, &entry) {
                found.push(if directory.is_empty() {
                    entry
                } else {
                    join(&directory, &entry)
                });
            }
        }
    }
    found
}

/// Whether a name matches a pattern of `*`, `?` and `[...]`.
pub(in crate::template) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, n));
                p += 1;
                continue;
            }
            None if n == name.len() => return true,
            Some('?') => (n < name.len()).then_some(p + 1),
            Some('[') => match (bracketed(&pattern[p..]), name.get(n)) {
                (Some((set, negated, length)), Some(c)) => {
                    (set.iter().any(|(from, to)| (from..=to).contains(&c)) != negated)
                        .then_some(p + length)
                }
                (None, Some('[')) => Some(p + 1),
                _ => None,
            },
            Some(c) => (name.get(n) == Some(c)).then_some(p + 1),
            None => None,
        };
        match (step, star) {
            (Some(next), _) => {
                p = next;
                n += 1;
            }
            (None, Some((after, from))) if from < name.len() => {
                star = Some((after, from + 1));
                p = after;
                n = from + 1;
            }
            _ => return false,
        }
    }
}

type Class = (Vec<(char, char)>, bool, usize);

fn bracketed(pattern: &[char]) -> Option<Class> {
    let mut at = 1;
    let negated = pattern.get(at) == Some(&'!');
    at += usize::from(negated);
    let start = at;
    let end = start + 1 + pattern.get(start + 1..)?.iter().position(|c| *c == ']')?;
    let mut set = Vec::new();
    while at < end {
        if at + 2 < end && pattern[at + 1] == '-' {
            set.push((pattern[at], pattern[at + 2]));
            at += 3;
        } else {
            set.push((pattern[at], pattern[at]));
            at += 1;
        }
    }
    Some((set, negated, end + 1))
}
