//! `replace`: all that matches an expression in a file.

use std::sync::LazyLock;

use serde_json::json;

use crate::arguments::{Spec, boolean, path, text};
use crate::atomic;
use crate::attributes::real_path;
use crate::context::Context;
use crate::edit;
use crate::encoding::universal_newlines;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::python_re::{Flags, Pattern, Template};
use crate::registry::Module;

pub(crate) const MODULE: Module = Module {
    name: "replace",
    act,
};

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with(
            "path",
            path().required().aliases(&["dest", "destfile", "name"]),
        )
        .with("regexp", text().required())
        .with("replace", text().default(""))
        .with("after", text())
        .with("before", text())
        .with("backup", boolean().default(false))
        .with("validate", text())
        .with("encoding", text().default("utf-8"))
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
    if !whole.exists() {
        return Err(Failure::new(format!("Path {path} does not exist !")).with("rc", 257));
    }
    let encoding = edit::encoding_of(&arguments)?;
    let contents = universal_newlines(edit::read(context, path, encoding)?);
    let mut report = Report::from_iter([("rc".to_owned(), json!(0))]);
    let failed = |error: crate::python_re::Error| Failure::unhandled(error.0);
    let section = match (arguments.filled("after"), arguments.filled("before")) {
        (Some(after), Some(before)) => Some(format!("{after}(?P<subsection>.*?){before}")),
        (Some(after), None) => Some(format!("{after}(?P<subsection>.*)")),
        (None, Some(before)) => Some(format!("(?P<subsection>.*){before}")),
        (None, None) => None,
    };
    let (from, to) = match &section {
        None => (0, contents.len()),
        Some(expression) => {
            let pattern = Pattern::with(
                expression,
                Flags {
                    dot_all: true,
                    ..Flags::default()
                },
            )
            .map_err(failed)?;
            let found = pattern.search(&contents, 0).map_err(failed)?;
            let group = pattern
                .names()
                .iter()
                .find(|(name, _)| name == "subsection")
                .map_or(0, |(_, number)| *number);
            match found.and_then(|found| found.span(group)) {
                Some(span) => span,
                None => {
                    report.insert(
                        "msg".to_owned(),
                        format!(
                            "Pattern for before/after params did not match the given file: {expression}"
                        )
                        .into(),
                    );
                    report.insert("changed".to_owned(), false.into());
                    return Ok(report);
                }
            }
        }
    };
    let pattern = Pattern::with(
        arguments.required("regexp"),
        Flags {
            multi_line: true,
            ..Flags::default()
        },
    )
    .map_err(failed)?;
    let template = Template::parse(&pattern, arguments.required("replace")).map_err(|error| {
        // Python has another kind of error for names nobody gave, which is not told so.
        if error.0.starts_with("unknown group name") {
            failed(error)
        } else {
            Failure::new(format!("Unable to process replace due to error: {error}"))
        }
    })?;
    let part = &contents[from..to];
    let (replaced, count) = pattern.sub(part, &template, 0).map_err(failed)?;
    let mut message = String::new();
    let mut changed = false;
    let mut result = String::new();
    if count > 0 && replaced != part {
        result = [&contents[..from], &replaced, &contents[to..]].concat();
        message = format!("{count} replacements made");
        changed = true;
        if context.settings.diff {
            report.insert(
                "diff".to_owned(),
                json!({
                    "before_header": path,
                    "before": contents,
                    "after_header": path,
                    "after": result,
                }),
            );
        }
    }
    if changed && !context.settings.check {
        if arguments.flag("backup") {
            report.insert(
                "backup_file".to_owned(),
                json!(atomic::backup(context, path)?),
            );
        }
        let real = real_path(context, path);
        edit::write(context, &arguments, &result, &real, encoding)?;
    }
    edit::set_attributes(context, &arguments, &mut message, &mut changed, None)?;
    report.insert("msg".to_owned(), message.into());
    report.insert("changed".to_owned(), changed.into());
    Ok(report)
}
