//! `find`: files by what they are.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::arguments::{Arguments, Kind, Spec, boolean, integer, list, raw, text};
use crate::attributes::{group_name, resolve_mode, user_name};
use crate::context::Context;
use crate::digest;
use crate::encoding::{Encoding, universal_newlines};
use crate::glob;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::python;
use crate::python_re::Pattern;
use crate::registry::Module;
use crate::{status, times};

pub(crate) const MODULE: Module = Module { name: "find", act };

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with(
            "paths",
            list(Kind::Path).required().aliases(&["name", "path"]),
        )
        .with(
            "patterns",
            list(Kind::Text).default(json!([])).aliases(&["pattern"]),
        )
        .with("excludes", list(Kind::Text).aliases(&["exclude"]))
        .with("contains", text())
        .with("read_whole_file", boolean().default(false))
        .with(
            "file_type",
            text()
                .default("file")
                .choices(&["any", "directory", "file", "link"]),
        )
        .with("age", text())
        .with(
            "age_stamp",
            text()
                .default("mtime")
                .choices(&["atime", "ctime", "mtime"]),
        )
        .with("size", text())
        .with("recurse", boolean().default(false))
        .with("hidden", boolean().default(false))
        .with("follow", boolean().default(false))
        .with("get_checksum", boolean().default(false))
        .with(
            "checksum_algorithm",
            text()
                .default("sha1")
                .choices(&digest::ALGORITHMS)
                .aliases(&["checksum", "checksum_algo"]),
        )
        .with("use_regex", boolean().default(false))
        .with("depth", integer())
        .with("mode", raw())
        .with("exact_mode", boolean().default(true))
        .with("encoding", text())
        .with("limit", integer())
        .supports_check_mode()
});

/// What of an entry's name, age and mode is wanted.
struct Wanted {
    patterns: Names,
    excludes: Names,
    age: Option<i64>,
    size: Option<i64>,
    mode: Option<u32>,
    contains: Option<Result<Pattern, String>>,
    encoding: Encoding,
    now: f64,
}

/// Patterns of names.
enum Names {
    Globs(Vec<String>),
    /// An expression that is none is only told when it is used, as in Python.
    Expressions(Vec<Result<Pattern, String>>),
}

impl Names {
    fn of(patterns: Vec<String>, expressions: bool) -> Self {
        if expressions {
            Names::Expressions(patterns.iter().map(|pattern| compiled(pattern)).collect())
        } else {
            Names::Globs(patterns)
        }
    }

    fn fit(&self, name: &str) -> Result<bool, String> {
        match self {
            Names::Globs(globs) => Ok(globs.iter().any(|glob| glob::fits(name, glob))),
            Names::Expressions(patterns) => {
                for pattern in patterns {
                    if pattern
                        .as_ref()
                        .map_err(String::clone)?
                        .match_at(name, 0)
                        .map_err(|error| error.0)?
                        .is_some()
                    {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}

fn compiled(expression: &str) -> Result<Pattern, String> {
    Pattern::new(expression).map_err(|error| error.0)
}

/// A whole number with a letter for its unit.
fn amount(text: &str, units: &[(char, i64)]) -> Option<i64> {
    let text = text.to_lowercase();
    let (digits, unit) = match text.chars().last()? {
        letter if letter.is_ascii_alphabetic() => {
            let (_, factor) = units.iter().find(|(known, _)| *known == letter)?;
            (&text[..text.len() - 1], *factor)
        }
        _ => (text.as_str(), 1),
    };
    let bare = digits.strip_prefix('-').unwrap_or(digits);
    if bare.is_empty() || !bare.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<i64>().ok()?.checked_mul(unit)
}

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    if arguments.texts("patterns").is_empty() {
        let all = if arguments.flag("use_regex") {
            ".*"
        } else {
            "*"
        };
        context.told_as("patterns", json!([all]));
    }
    let mode = arguments.get("mode");
    let is_nothing = match mode {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        Value::Bool(true) => false,
    };
    if !is_nothing && !mode.is_string() {
        return Err(Failure::new(format!(
            "argument 'mode' is not a string and conversion is not allowed, value is of type {}",
            python::type_name(mode)
        )));
    }
    let age = match arguments.text("age") {
        None => None,
        Some(text) => Some(
            amount(
                text,
                &[
                    ('s', 1),
                    ('m', 60),
                    ('h', 3600),
                    ('d', 86_400),
                    ('w', 604_800),
                ],
            )
            .ok_or_else(|| Failure::new("failed to process age").with("age", text))?,
        ),
    };
    let size = match arguments.text("size") {
        None => None,
        Some(text) => Some(
            amount(
                text,
                &[
                    ('b', 1),
                    ('k', 1024),
                    ('m', 1024 * 1024),
                    ('g', 1 << 30),
                    ('t', 1 << 40),
                ],
            )
            .ok_or_else(|| Failure::new("failed to process size").with("size", text))?,
        ),
    };
    let limit = match arguments.integer("limit") {
        Some(limit) if limit <= 0 => {
            return Err(Failure::new(format!(
                "limit cannot be {limit} (use None for unlimited)"
            )));
        }
        limit => limit.map(|limit| limit as usize),
    };
    let mut search = Search {
        found: Vec::new(),
        skipped: Map::new(),
        examined: 0,
        limit,
        limited: false,
        warned: false,
    };
    for path in arguments.texts("paths") {
        // What is wrong with the patterns shows only where they are used.
        let done = wanted(context, &arguments, age, size)
            .and_then(|wanted| search.path(context, &arguments, &wanted, &path));
        if let Err(reason) = done {
            context.warn(format!(
                "Skipped '{path}' path due to this access issue: {reason}\n"
            ));
            search.skipped.insert(path, reason.into());
            search.warned = true;
        }
    }
    let message = if search.warned {
        "Not all paths examined, check warnings for details"
    } else if search.limited {
        "Limit of matches reached"
    } else {
        "All paths examined"
    };
    Ok(Report::from_iter([
        ("matched".to_owned(), search.found.len().into()),
        ("files".to_owned(), search.found.into()),
        ("changed".to_owned(), false.into()),
        ("msg".to_owned(), message.into()),
        ("examined".to_owned(), search.examined.into()),
        ("skipped_paths".to_owned(), search.skipped.into()),
    ]))
}

fn wanted(
    context: &Context<'_>,
    arguments: &Arguments,
    age: Option<i64>,
    size: Option<i64>,
) -> Result<Wanted, String> {
    let expressions = arguments.flag("use_regex");
    let mut patterns = arguments.texts("patterns");
    if patterns.is_empty() {
        patterns.push(if expressions { ".*" } else { "*" }.to_owned());
    }
    let mode = match arguments.filled("mode") {
        None => None,
        Some(mode) => {
            // Symbols are for a file without any permissions.
            Some(resolve_mode(context, 0, false, &mode.into())? & 0o7777)
        }
    };
    Ok(Wanted {
        patterns: Names::of(patterns, expressions),
        excludes: Names::of(arguments.texts("excludes"), expressions),
        age,
        size,
        mode,
        contains: arguments.text("contains").map(compiled),
        encoding: match arguments.text("encoding") {
            // Nobody looks at its name where nothing is read.
            Some(name) if arguments.has("contains") => Encoding::named(name)?,
            _ => Encoding::Utf8,
        },
        now: times::now(),
    })
}

struct Search {
    found: Vec<Value>,
    skipped: Map<String, Value>,
    examined: usize,
    limit: Option<usize>,
    limited: bool,
    warned: bool,
}

impl Search {
    fn is_full(&self) -> bool {
        self.limit == Some(self.found.len())
    }

    /// Looks through a directory, and through those below it.
    fn path(
        &mut self,
        context: &mut Context<'_>,
        arguments: &Arguments,
        wanted: &Wanted,
        top: &str,
    ) -> Result<(), String> {
        if !context.path(top).is_dir() {
            return Err(format!("'{top}' is not a directory"));
        }
        let follow = arguments.flag("follow");
        let depth_of = |path: &str| path.matches('/').count();
        let top_depth = depth_of(&format!("{}/", top.trim_end_matches('/')));
        let mut pending = vec![top.to_owned()];
        let mut levels = 0_usize;
        while let Some(directory) = pending.pop() {
            levels += 1;
            if levels > 10_000_000 {
                return Err(format!("'{top}' has no end"));
            }
            let Some((files, mut directories)) = self.entries(context, &directory)? else {
                continue;
            };
            self.examined += files.len() + directories.len();
            let names: Vec<String> = files.iter().chain(&directories).cloned().collect();
            for name in names {
                let shown = python::normalize(&python::join(&directory, &name));
                if let Some(most) = arguments.integer("depth").filter(|depth| *depth != 0) {
                    let depth = depth_of(&shown) as i64 - top_depth as i64 + 1;
                    if depth > most {
                        directories.clear();
                        continue;
                    }
                }
                if name.starts_with('.') && !arguments.flag("hidden") {
                    continue;
                }
                let meta = match std::fs::symlink_metadata(context.path(&shown)) {
                    Ok(meta) => meta,
                    Err(error) => {
                        let reason = python::os_error_at_text(&error, &shown);
                        context.warn_because(
                            &format!(
                                "Skipped entry {} due to access issue.",
                                python::repr(&shown)
                            ),
                            &reason,
                        );
                        self.skipped.insert(shown, reason.into());
                        self.warned = true;
                        continue;
                    }
                };
                if let Some(entry) = entry(context, arguments, wanted, &name, &shown, &meta)? {
                    self.found.push(entry);
                }
                if self.is_full() {
                    self.limited = true;
                    break;
                }
            }
            if !arguments.flag("recurse") || self.is_full() {
                break;
            }
            for name in directories.into_iter().rev() {
                let below = python::join(&directory, &name);
                if follow || !context.path(&below).is_symlink() {
                    pending.push(below);
                }
            }
        }
        Ok(())
    }

    /// The files and the directories in a directory; `None` if it may not be read.
    #[allow(clippy::type_complexity)]
    fn entries(
        &mut self,
        context: &Context<'_>,
        directory: &str,
    ) -> Result<Option<(Vec<String>, Vec<String>)>, String> {
        let whole: PathBuf = context.path(directory);
        let entries = match std::fs::read_dir(&whole) {
            Ok(entries) => entries,
            Err(error) => {
                let reason = python::os_error_at_text(&error, directory);
                return match error.raw_os_error() {
                    Some(libc::EPERM | libc::EACCES | libc::ENOENT) => {
                        self.skipped.insert(directory.to_owned(), reason.into());
                        Ok(None)
                    }
                    _ => Err(reason),
                };
            }
        };
        let (mut files, mut directories) = (Vec::new(), Vec::new());
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_directory = match entry.file_type() {
                Ok(kind) if kind.is_symlink() => entry.path().is_dir(),
                Ok(kind) => kind.is_dir(),
                Err(_) => false,
            };
            if is_directory {
                directories.push(name);
            } else {
                files.push(name);
            }
        }
        Ok(Some((files, directories)))
    }
}

/// What is told of an entry, if it is wanted.
fn entry(
    context: &Context<'_>,
    arguments: &Arguments,
    wanted: &Wanted,
    name: &str,
    shown: &str,
    meta: &Metadata,
) -> Result<Option<Value>, String> {
    let kind = arguments.required("file_type");
    let is_kind = match kind {
        "directory" => meta.is_dir(),
        "file" => meta.is_file(),
        "link" => meta.file_type().is_symlink(),
        _ => true,
    };
    let excludes = !matches!(&wanted.excludes, Names::Globs(globs) if globs.is_empty())
        && !matches!(&wanted.excludes, Names::Expressions(patterns) if patterns.is_empty());
    if !is_kind
        || !wanted.patterns.fit(name)?
        || (excludes && wanted.excludes.fit(name)?)
        || !of_age(wanted, arguments.required("age_stamp"), meta)
    {
        return Ok(None);
    }
    let path = context.path(shown);
    if kind == "file" && (!of_size(wanted, meta) || !contains(wanted, arguments, &path, shown)?) {
        return Ok(None);
    }
    if let Some(mode) = wanted.mode {
        let own = meta.mode() & 0o7777;
        let fits = if arguments.flag("exact_mode") {
            own == mode
        } else {
            own & mode != 0
        };
        if !fits {
            return Ok(None);
        }
    }
    let mut told = status(shown, meta);
    if meta.is_file() && matches!(kind, "any" | "file") && arguments.flag("get_checksum") {
        let checksum = digest::of_file(&path, shown, arguments.required("checksum_algorithm"))
            .map_err(|failure| failure.message)?;
        told.insert("checksum".to_owned(), json!(checksum));
    }
    if kind == "any" && meta.is_file() && !of_size(wanted, meta) {
        return Ok(None);
    }
    Ok(Some(told.into()))
}

fn of_age(wanted: &Wanted, stamp: &str, meta: &Metadata) -> bool {
    let Some(age) = wanted.age else {
        return true;
    };
    let time = match stamp {
        "atime" => times::accessed(meta),
        "ctime" => times::changed(meta),
        _ => times::modified(meta),
    };
    let passed = wanted.now - time;
    if age >= 0 {
        passed >= age as f64
    } else {
        passed <= -(age as f64)
    }
}

fn of_size(wanted: &Wanted, meta: &Metadata) -> bool {
    match wanted.size {
        None => true,
        Some(size) if size >= 0 => meta.size() >= size.unsigned_abs(),
        Some(size) => meta.size() <= size.unsigned_abs(),
    }
}

/// Whether a file has what it is to contain: in one of its lines from the start on, or anywhere in the whole.
fn contains(
    wanted: &Wanted,
    arguments: &Arguments,
    path: &Path,
    shown: &str,
) -> Result<bool, String> {
    let Some(pattern) = &wanted.contains else {
        return Ok(true);
    };
    let pattern = pattern.as_ref().map_err(String::clone)?;
    let Ok(bytes) = std::fs::read(path) else {
        return Ok(false);
    };
    let (text, broken) = match wanted.encoding.decode(&bytes) {
        Ok(text) => (text, None),
        Err((at, reason)) => {
            // What Python reads before it comes upon it is searched.
            let sound = at / 8192 * 8192;
            let whole_lines = bytes[..sound]
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |newline| newline + 1);
            (
                wanted
                    .encoding
                    .decode(&bytes[..whole_lines])
                    .unwrap_or_default(),
                Some(reason),
            )
        }
    };
    let text = universal_newlines(text);
    let failed = |error: crate::python_re::Error| error.0;
    if arguments.flag("read_whole_file") {
        if broken.is_none() {
            return Ok(pattern.search(&text, 0).map_err(failed)?.is_some());
        }
    } else {
        for line in text.split_inclusive('\n') {
            if pattern.match_at(line, 0).map_err(failed)?.is_some() {
                return Ok(true);
            }
        }
    }
    match broken {
        None => Ok(false),
        Some(_) => {
            let name = arguments
                .text("encoding")
                .map_or_else(|| "utf-8 (Python default)".to_owned(), str::to_owned);
            Err(format!(
                "Failed to decode the file {} with encoding: {name}",
                python::repr(shown)
            ))
        }
    }
}

fn status(shown: &str, meta: &Metadata) -> Map<String, Value> {
    let mut told = status::of(shown, meta);
    let names = [
        ("gr_name", group_name(meta.gid())),
        ("pw_name", user_name(meta.uid())),
    ];
    for (key, name) in names {
        told.insert(key.to_owned(), name.unwrap_or_default().into());
    }
    told
}
