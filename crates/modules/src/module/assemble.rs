//! `assemble`: a file out of the files of a directory.

use std::sync::LazyLock;

use serde_json::json;

use crate::arguments::{Arguments, Spec, boolean, path, text};
use crate::atomic::{self, Keep};
use crate::attributes::Wanted;
use crate::context::Context;
use crate::digest;
use crate::edit;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::python;
use crate::python_re::Pattern;
use crate::registry::Module;

pub(crate) const MODULE: Module = Module {
    name: "assemble",
    act,
};

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("src", path().required())
        .with("delimiter", text())
        .with("dest", path().required())
        .with("backup", boolean().default(false))
        .with("remote_src", boolean().default(true))
        .with("regexp", text())
        .with("ignore_hidden", boolean().default(false))
        .with("validate", text())
        .with("decrypt", boolean().default(true))
        .file_common()
        .supports_check_mode()
});

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let (src, dest) = (arguments.required("src"), arguments.required("dest"));
    let source = context.path(src);
    if !source.exists() {
        return Err(Failure::new(format!("Source ({src}) does not exist")));
    }
    if !source.is_dir() {
        return Err(Failure::new(format!("Source ({src}) is not a directory")));
    }
    let pattern =
        match arguments.text("regexp") {
            None => None,
            Some(regexp) => Some(Pattern::new(regexp).map_err(|error| {
                Failure::new(format!("Invalid Regexp ({error}) in \"{regexp}\""))
            })?),
        };
    let validate = arguments.filled("validate");
    if let Some(validate) = validate
        && !validate.contains("%s")
    {
        return Err(Failure::new(format!(
            "validate must contain %s: {validate}"
        )));
    }
    let contents = assembled(context, &arguments, pattern.as_ref())?;
    let checksum = digest::sha1(&contents);
    let mut report = Report::from_iter([
        ("src".to_owned(), json!(src)),
        ("dest".to_owned(), json!(dest)),
        ("checksum".to_owned(), json!(checksum)),
        (
            "md5sum".to_owned(),
            json!(digest::of_bytes(&contents, "md5")),
        ),
    ]);
    let there = digest::of_file(&context.path(dest), dest, "sha1")?;
    let mut changed = false;
    if there.as_deref() != Some(checksum.as_str()) {
        if let Some(validate) = validate {
            let (done, _) = edit::validated(context, validate, &contents)?;
            report.insert(
                "validation".to_owned(),
                json!({"rc": done.code, "stdout": done.out(), "stderr": done.err()}),
            );
            if !done.success() {
                return Err(Failure::new(format!(
                    "failed to validate: rc:{} error:{}",
                    done.code,
                    done.err()
                )));
            }
        }
        if arguments.flag("backup") && there.is_some() {
            report.insert(
                "backup_file".to_owned(),
                json!(atomic::backup(context, dest)?),
            );
        }
        if !context.settings.check {
            atomic::write(context, dest, &contents, Keep::of(&arguments))?;
        }
        changed = true;
    }
    let changed = Wanted::of(context, &arguments, None).apply(context, changed, None)?;
    report.insert("changed".to_owned(), changed.into());
    report.insert("msg".to_owned(), json!("OK"));
    Ok(report)
}

/// The contents of the files of the directory one after the other, in the order of their names.
fn assembled(
    context: &Context<'_>,
    arguments: &Arguments,
    pattern: Option<&Pattern>,
) -> Result<Vec<u8>, Failure> {
    let source = context.path(arguments.required("src"));
    let told = |error: std::io::Error, path: &std::path::Path| {
        Failure::unhandled(python::os_error_at_text(&error, &path.to_string_lossy()))
    };
    let mut names: Vec<String> = std::fs::read_dir(&source)
        .map_err(|error| told(error, &source))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let mut delimiter = arguments
        .filled("delimiter")
        .map(|delimiter| delimiter.as_bytes().to_vec());
    let mut contents = Vec::new();
    let mut any = false;
    let mut open_line = false;
    for name in names {
        if let Some(pattern) = pattern
            && pattern
                .search(&name, 0)
                .map_err(|error| Failure::unhandled(error.0))?
                .is_none()
        {
            continue;
        }
        let path = source.join(&name);
        if !path.is_file() || (arguments.flag("ignore_hidden") && name.starts_with('.')) {
            continue;
        }
        let fragment = std::fs::read(&path).map_err(|error| told(error, &path))?;
        if open_line {
            contents.push(b'\n');
        }
        if any && let Some(delimiter) = &mut delimiter {
            *delimiter = python::unescape(delimiter).map_err(Failure::unhandled)?;
            contents.extend_from_slice(delimiter);
            if !delimiter.ends_with(b"\n") {
                contents.push(b'\n');
            }
        }
        contents.extend_from_slice(&fragment);
        any = true;
        open_line = !fragment.ends_with(b"\n");
    }
    Ok(contents)
}
