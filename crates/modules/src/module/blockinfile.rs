//! `blockinfile`: lines of a file between two markers.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::arguments::{Arguments, Spec, boolean, path, text};
use crate::atomic;
use crate::attributes::real_path;
use crate::context::Context;
use crate::edit;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::python;
use crate::python_re::{Pattern, Template};
use crate::registry::Module;

pub(crate) const MODULE: Module = Module {
    name: "blockinfile",
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
        .with("marker", text().default("# {mark} ANSIBLE MANAGED BLOCK"))
        .with("block", text().default("").aliases(&["content"]))
        .with("insertafter", text())
        .with("insertbefore", text())
        .with("create", boolean().default(false))
        .with("backup", boolean().default(false))
        .with("validate", text())
        .with("marker_begin", text().default("BEGIN"))
        .with("marker_end", text().default("END"))
        .with("append_newline", boolean().default(false))
        .with("prepend_newline", boolean().default(false))
        .with("encoding", text().default("utf-8"))
        .mutually_exclusive(&["insertbefore", "insertafter"])
        .file_common()
        .supports_check_mode()
});

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let path = arguments.required("path");
    let whole = context.path(path);
    if whole.is_dir() {
        return Err(Failure::new(format!("Path {path} is a directory !")).with("rc", 256));
    }
    let encoding = edit::encoding_of(&arguments)?;
    let existed = whole.exists();
    let present = arguments.text("state") == Some("present");
    let original = if existed {
        Some(edit::read(context, path, encoding)?)
    } else {
        if !arguments.flag("create") {
            return Err(Failure::new(format!("Path {path} does not exist !")).with("rc", 257));
        }
        let above = python::dirname(path);
        if !above.is_empty()
            && !context.path(above).exists()
            && !context.settings.check
            && let Err(error) = context.make_directories(&context.path(above))
        {
            let number = error.raw_os_error().unwrap_or(0);
            return Err(Failure::new(format!(
                "Error creating {above} Error code: {number} Error description: {}",
                python::strerror(number)
            )));
        }
        None
    };
    let mut diff = Map::new();
    for (key, value) in [
        ("before", String::new()),
        ("after", String::new()),
        ("before_header", format!("{path} (content)")),
        ("after_header", format!("{path} (content)")),
    ] {
        diff.insert(key.to_owned(), value.into());
    }
    if context.settings.diff
        && let Some(original) = &original
    {
        diff.insert("before".to_owned(), original.as_str().into());
    }
    if !present && !existed {
        return Ok(Report::from_iter([
            ("changed".to_owned(), false.into()),
            ("msg".to_owned(), format!("File {path} not present").into()),
        ]));
    }
    let (result, has_block) = placed(&arguments, original.as_deref().unwrap_or(""), present)?;
    if context.settings.diff {
        diff.insert("after".to_owned(), result.as_str().into());
    }
    let (mut message, mut changed) = match &original {
        Some(original) if *original == result => (String::new(), false),
        None => ("File created".to_owned(), true),
        Some(_) if has_block => ("Block inserted".to_owned(), true),
        Some(_) => ("Block removed".to_owned(), true),
    };
    let mut backup = None;
    if changed && !context.settings.check {
        if arguments.flag("backup") && existed {
            backup = atomic::backup(context, path)?;
        }
        let real = real_path(context, path);
        edit::write(context, &arguments, &result, &real, encoding)?;
    }
    let mut report = Report::new();
    if context.settings.check && !existed {
        report.insert("diff".to_owned(), diff.into());
    } else {
        let mut attributes = Map::new();
        edit::set_attributes(
            context,
            &arguments,
            &mut message,
            &mut changed,
            Some(&mut attributes),
        )?;
        for side in ["before_header", "after_header"] {
            attributes.insert(
                side.to_owned(),
                Value::from(format!("{path} (file attributes)")),
            );
        }
        report.insert("diff".to_owned(), json!([diff, attributes]));
    }
    report.insert("changed".to_owned(), changed.into());
    report.insert("msg".to_owned(), message.into());
    if let Some(backup) = backup {
        report.insert("backup_file".to_owned(), backup.into());
    }
    Ok(report)
}

/// The text with the block in its place, or without it; and whether it has one.
fn placed(arguments: &Arguments, original: &str, present: bool) -> Result<(String, bool), Failure> {
    let before = arguments.text("insertbefore");
    let after = match (before, arguments.text("insertafter")) {
        (None, None) => Some("EOF"),
        (_, after) => after,
    };
    let anchor = match (after, before) {
        (Some(after), _) if after != "EOF" => Some(edit::pattern(after)?),
        (_, Some(before)) if before != "BOF" => Some(edit::pattern(before)?),
        _ => None,
    };
    let marker = |name: &str| -> Result<String, Failure> {
        let failed = |error: crate::python_re::Error| Failure::unhandled(error.0);
        let pattern = Pattern::new("{mark}").map_err(failed)?;
        let template = Template::parse(&pattern, arguments.required(name)).map_err(failed)?;
        let (made, _) = pattern
            .sub(arguments.required("marker"), &template, 0)
            .map_err(failed)?;
        Ok(made + "\n")
    };
    let (begin, end) = (marker("marker_begin")?, marker("marker_end")?);
    let block = arguments.required("block");
    let mut inserted: Vec<String> = Vec::new();
    if present && !block.is_empty() {
        inserted.push(begin.clone());
        inserted.extend(python::split_lines(block).into_iter().map(str::to_owned));
        if !block.ends_with('\n')
            && let Some(last) = inserted.last_mut()
        {
            last.push('\n');
        }
        inserted.push(end.clone());
    }
    let mut lines: Vec<String> = python::split_lines(original)
        .into_iter()
        .map(str::to_owned)
        .collect();
    let first = lines.iter().rposition(|line| *line == begin);
    let last = lines.iter().rposition(|line| *line == end);
    let mut at = match (first, last) {
        (Some(first), Some(last)) => {
            let (from, to) = (first.min(last), first.max(last));
            lines.drain(from..=to);
            from
        }
        _ => match &anchor {
            Some(anchor) => anchored(anchor, original, &lines, after)?,
            None if before.is_some() => 0,
            None => lines.len(),
        },
    };
    if at > 0 && !lines[at - 1].ends_with('\n') {
        lines[at - 1].push('\n');
    }
    if arguments.flag("prepend_newline") && present && at != 0 && lines[at - 1] != "\n" {
        lines.insert(at, "\n".to_owned());
        at += 1;
    }
    let has_block = !inserted.is_empty();
    let follows = at + inserted.len();
    lines.splice(at..at, inserted);
    if arguments.flag("append_newline")
        && present
        && lines.get(follows).is_some_and(|line| line != "\n")
    {
        lines.insert(follows, "\n".to_owned());
    }
    Ok((lines.concat(), has_block))
}

/// The line at which a block goes in by an expression.
fn anchored(
    anchor: &Pattern,
    original: &str,
    lines: &[String],
    after: Option<&str>,
) -> Result<usize, Failure> {
    let failed = |error: crate::python_re::Error| Failure::unhandled(error.0);
    let mut at = None;
    if anchor.flags().multi_line {
        if let Some(found) = anchor.search(original, 0).map_err(failed)? {
            let end = if after.is_some_and(|after| !after.is_empty()) {
                found.end()
            } else {
                found.start()
            };
            at = Some(original[..end].matches('\n').count());
        }
    } else {
        for (number, line) in lines.iter().enumerate() {
            if anchor.search(line, 0).map_err(failed)?.is_some() {
                at = Some(number);
            }
        }
    }
    Ok(match at {
        None => lines.len(),
        Some(at) if after.is_some() => (at + 1).min(lines.len()),
        Some(at) => at,
    })
}
