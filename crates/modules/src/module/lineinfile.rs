//! `lineinfile`: one line of a file.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::arguments::{Arguments, Spec, boolean, path, text};
use crate::atomic;
use crate::attributes::real_path;
use crate::context::Context;
use crate::edit;
use crate::encoding::{Encoding, universal_newlines};
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::python;
use crate::python_re::{Match, Pattern, Template};
use crate::registry::Module;

pub(crate) const MODULE: Module = Module {
    name: "lineinfile",
    act,
};

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with(
            "path",
            path().required().aliases(&["dest", "destfile", "name"]),
        )
        .with(
            "state",
            text().default("present").choices(&["absent", "present"]),
        )
        .with("regexp", text().aliases(&["regex"]))
        .with("search_string", text())
        .with("line", text().aliases(&["value"]))
        .with("encoding", text().default("utf-8"))
        .with("insertafter", text())
        .with("insertbefore", text())
        .with("backrefs", boolean().default(false))
        .with("create", boolean().default(false))
        .with("backup", boolean().default(false))
        .with("firstmatch", boolean().default(false))
        .with("validate", text())
        .mutually_exclusive(&["insertbefore", "insertafter"])
        .mutually_exclusive(&["regexp", "search_string"])
        .mutually_exclusive(&["backrefs", "search_string"])
        .file_common()
        .supports_check_mode()
});

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    for (name, words, more) in [
        (
            "regexp",
            "regular expression",
            " If this is desired, use '^' to match every line in the file and avoid this warning.",
        ),
        ("search_string", "search string", ""),
    ] {
        if arguments.text(name) == Some("") {
            context.warn(format!(
                "The {words} is an empty string, which will match every line in the file. This may have unintended \
                 consequences, such as replacing the last line in the file rather than appending.{more}"
            ));
        }
    }
    let path = arguments.required("path");
    if context.path(path).is_dir() {
        return Err(Failure::new(format!("Path {path} is a directory !")).with("rc", 256));
    }
    if arguments.text("state") == Some("absent") {
        let nothing = ["regexp", "search_string", "line"]
            .iter()
            .all(|name| !arguments.has(name));
        if nothing {
            return Err(Failure::new(
                "one of line, search_string, or regexp is required with state=absent",
            ));
        }
        let encoding = edit::encoding_of(&arguments)?;
        return absent(context, &arguments, path, encoding);
    }
    if arguments.flag("backrefs") && !arguments.has("regexp") {
        return Err(Failure::new("regexp is required with backrefs=true"));
    }
    if !arguments.has("line") {
        return Err(Failure::new("line is required with state=present"));
    }
    let encoding = edit::encoding_of(&arguments)?;
    present(context, &arguments, path, encoding)
}

/// The lines of a file with their ends, all of which are newlines.
fn lines_of(text: &str) -> Vec<String> {
    text.split_inclusive('\n').map(str::to_owned).collect()
}

fn bare(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

fn found(pattern: &Pattern, line: &str) -> Result<Option<Match>, Failure> {
    pattern
        .search(line, 0)
        .map_err(|error| Failure::unhandled(error.0))
}

fn content_diff(path: &str) -> Map<String, Value> {
    let Value::Object(diff) = json!({
        "before": "",
        "after": "",
        "before_header": format!("{path} (content)"),
        "after_header": format!("{path} (content)"),
    }) else {
        return Map::new();
    };
    diff
}

/// Sets the attributes and gives the result.
fn finish(
    context: &mut Context<'_>,
    arguments: &Arguments,
    path: &str,
    mut message: String,
    mut changed: bool,
    diff: &Map<String, Value>,
    backup: Option<String>,
) -> Outcome {
    let mut attributes = Map::new();
    edit::set_attributes(
        context,
        arguments,
        &mut message,
        &mut changed,
        Some(&mut attributes),
    )?;
    for side in ["before_header", "after_header"] {
        attributes.insert(side.to_owned(), format!("{path} (file attributes)").into());
    }
    Ok(Report::from_iter([
        ("changed".to_owned(), changed.into()),
        ("msg".to_owned(), message.into()),
        ("backup".to_owned(), backup.unwrap_or_default().into()),
        ("diff".to_owned(), json!([diff, attributes])),
    ]))
}

fn present(
    context: &mut Context<'_>,
    arguments: &Arguments,
    path: &str,
    encoding: Encoding,
) -> Outcome {
    let mut diff = content_diff(path);
    let whole = context.path(path);
    let existed = whole.exists();
    let mut lines = Vec::new();
    if existed {
        lines = lines_of(&universal_newlines(edit::read(context, path, encoding)?));
    } else {
        if !arguments.flag("create") {
            return Err(
                Failure::new(format!("Destination {path} does not exist !")).with("rc", 257)
            );
        }
        let above = python::dirname(path);
        if !above.is_empty()
            && !context.path(above).exists()
            && !context.settings.check
            && let Err(error) = context.make_directories(&context.path(above))
        {
            return Err(Failure::new(format!(
                "Error creating {above} ({})",
                python::os_error_at(&error, above)
            )));
        }
    }
    if context.settings.diff {
        diff.insert("before".to_owned(), lines.concat().into());
    }
    let line = arguments.required("line").to_owned();
    let before = arguments.text("insertbefore");
    let after = match (before, arguments.text("insertafter")) {
        (None, None) => Some("EOF"),
        (_, after) => after,
    };
    let change = place(arguments, &mut lines, &line, before, after)?;
    if context.settings.diff {
        diff.insert("after".to_owned(), lines.concat().into());
    }
    let changed = change.is_some();
    let mut backup = None;
    if changed && !context.settings.check {
        if arguments.flag("backup") && existed {
            backup = atomic::backup(context, path)?;
        }
        let real = real_path(context, path);
        edit::write(context, arguments, &lines.concat(), &real, encoding)?;
    }
    let message = change.unwrap_or_default().to_owned();
    if context.settings.check && !existed {
        return Ok(Report::from_iter([
            ("changed".to_owned(), changed.into()),
            ("msg".to_owned(), message.into()),
            ("backup".to_owned(), backup.unwrap_or_default().into()),
            ("diff".to_owned(), diff.into()),
        ]));
    }
    finish(context, arguments, path, message, changed, &diff, backup)
}

/// Puts the line where it belongs: what was done, if anything.
fn place(
    arguments: &Arguments,
    lines: &mut Vec<String>,
    line: &str,
    before: Option<&str>,
    after: Option<&str>,
) -> Result<Option<&'static str>, Failure> {
    let first = arguments.flag("firstmatch");
    let regexp = arguments.text("regexp").map(edit::pattern).transpose()?;
    let anchor = match (after, before) {
        (Some(after), _) if !matches!(after, "BOF" | "EOF") => Some(edit::pattern(after)?),
        (_, Some(before)) if before != "BOF" => Some(edit::pattern(before)?),
        _ => None,
    };
    // Where the line is, and where it would have to be put.
    let mut at: Option<usize> = None;
    let mut put: Option<usize> = None;
    let mut matched: Option<Match> = None;
    let mut is_matched = false;
    if let Some(regexp) = &regexp {
        for (number, current) in lines.iter().enumerate() {
            if let Some(one) = found(regexp, current)? {
                at = Some(number);
                matched = Some(one);
                is_matched = true;
                if first {
                    break;
                }
            }
        }
    }
    if let Some(text) = arguments.text("search_string") {
        for (number, current) in lines.iter().enumerate() {
            if current.contains(text) {
                at = Some(number);
                is_matched = true;
                if first {
                    break;
                }
            }
        }
    }
    let after_given = after.is_some_and(|after| !after.is_empty());
    let before_given = before.is_some_and(|before| !before.is_empty());
    if !is_matched {
        for (number, current) in lines.iter().enumerate() {
            if line == bare(current) {
                at = Some(number);
            } else if let Some(anchor) = &anchor
                && found(anchor, current)?.is_some()
            {
                if after_given {
                    put = Some(number + 1);
                    if first {
                        break;
                    }
                }
                if before_given {
                    put = Some(number);
                    if first {
                        break;
                    }
                }
            }
        }
    }
    let ended = |text: &str| {
        if text.ends_with('\n') {
            text.to_owned()
        } else {
            format!("{text}\n")
        }
    };
    let whole = format!("{line}\n");
    if let Some(at) = at {
        let new = match (&matched, &regexp) {
            (Some(matched), Some(regexp)) if arguments.flag("backrefs") => {
                let template =
                    Template::parse(regexp, line).map_err(|error| Failure::unhandled(error.0))?;
                ended(&template.expand(&lines[at], matched))
            }
            _ => ended(line),
        };
        if lines[at] == new {
            return Ok(None);
        }
        lines[at] = new;
        return Ok(Some("line replaced"));
    }
    if arguments.flag("backrefs") {
        return Ok(None);
    }
    if before == Some("BOF") || after == Some("BOF") {
        lines.insert(0, whole);
        return Ok(Some("line added"));
    }
    let put = match put {
        Some(put) if after != Some("EOF") => put,
        _ => {
            if lines
                .last()
                .is_some_and(|last| !last.ends_with(['\n', '\r']))
            {
                lines.push("\n".to_owned());
            }
            lines.push(whole);
            return Ok(Some("line added"));
        }
    };
    if after_given {
        if put == lines.len() {
            if bare(&lines[put - 1]) == line {
                return Ok(None);
            }
            lines.push(whole);
        } else {
            if bare(&lines[put]) == line {
                return Ok(None);
            }
            lines.insert(put, whole);
        }
    } else {
        lines.insert(put, whole);
    }
    Ok(Some("line added"))
}

fn absent(
    context: &mut Context<'_>,
    arguments: &Arguments,
    path: &str,
    encoding: Encoding,
) -> Outcome {
    if !context.path(path).exists() {
        return Ok(Report::from_iter([
            ("changed".to_owned(), false.into()),
            ("msg".to_owned(), "file not present".into()),
        ]));
    }
    let mut diff = content_diff(path);
    let lines = lines_of(&universal_newlines(edit::read(context, path, encoding)?));
    if context.settings.diff {
        diff.insert("before".to_owned(), lines.concat().into());
    }
    let regexp = arguments.text("regexp").map(edit::pattern).transpose()?;
    let before = lines.len();
    let mut kept = Vec::with_capacity(lines.len());
    for line in lines {
        let goes = match (&regexp, arguments.text("search_string")) {
            (Some(regexp), _) => found(regexp, &line)?.is_some(),
            (None, Some(text)) => line.contains(text),
            (None, None) => arguments.required("line") == bare(&line),
        };
        if !goes {
            kept.push(line);
        }
    }
    let gone = before - kept.len();
    let changed = gone > 0;
    if context.settings.diff {
        diff.insert("after".to_owned(), kept.concat().into());
    }
    let mut backup = None;
    if changed && !context.settings.check {
        if arguments.flag("backup") {
            backup = atomic::backup(context, path)?;
        }
        let real = real_path(context, path);
        edit::write(context, arguments, &kept.concat(), &real, encoding)?;
    }
    let message = if changed {
        format!("{gone} line(s) removed")
    } else {
        String::new()
    };
    let mut report = finish(context, arguments, path, message, changed, &diff, backup)?;
    report.insert("found".to_owned(), gone.into());
    Ok(report)
}
