//! What the modules that change texts in files have in common.

use std::io::Write as _;

use serde_json::{Map, Value};

use crate::arguments::Arguments;
use crate::atomic::{self, Keep};
use crate::attributes::Wanted;
use crate::context::Context;
use crate::encoding::Encoding;
use crate::invocation::Failure;
use crate::process::Command;
use crate::python;
use crate::python_re::Pattern;

/// The encoding the arguments name.
pub(crate) fn encoding_of(arguments: &Arguments) -> Result<Encoding, Failure> {
    Encoding::named(arguments.text("encoding").unwrap_or("utf-8")).map_err(Failure::unhandled)
}

/// The text of a file, its ends of lines as they are.
pub(crate) fn read(
    context: &Context<'_>,
    path: &str,
    encoding: Encoding,
) -> Result<String, Failure> {
    let whole = context.path(path);
    let bytes = std::fs::read(&whole)
        .map_err(|error| Failure::unhandled(python::os_error_at(&error, &whole)))?;
    let text = encoding
        .decode(&bytes)
        .map_err(|(_, reason)| Failure::unhandled(reason))?;
    // Python wants the mark in files, not in texts.
    if encoding == Encoding::Utf16
        && !bytes.is_empty()
        && !bytes.starts_with(&[0xff, 0xfe])
        && !bytes.starts_with(&[0xfe, 0xff])
    {
        return Err(Failure::unhandled(
            "'utf-16' codec can't decode bytes in position 0-1: Stream does not start with BOM",
        ));
    }
    Ok(text)
}

/// An expression of the arguments; one that is none fails as in Python.
pub(crate) fn pattern(expression: &str) -> Result<Pattern, Failure> {
    Pattern::new(expression).map_err(|error| Failure::unhandled(error.0))
}

/// Gives a file a new text, if the program that is to check it (`validate`) has nothing against it.
pub(crate) fn write(
    context: &mut Context<'_>,
    arguments: &Arguments,
    text: &str,
    dest: &str,
    encoding: Encoding,
) -> Result<(), Failure> {
    let bytes = encoding.encode(text).map_err(Failure::unhandled)?;
    if let Some(validate) = arguments.filled("validate") {
        let (done, _) = validated(context, validate, &bytes)?;
        if !done.success() {
            return Err(Failure::new(format!(
                "failed to validate: rc:{} error:{}",
                done.code,
                done.err()
            )));
        }
    }
    atomic::write(context, dest, &bytes, Keep::of(arguments))
}

/// Has a program check contents in a temporary file: what it says, and the file's path.
pub(crate) fn validated(
    context: &mut Context<'_>,
    validate: &str,
    contents: &[u8],
) -> Result<(crate::process::Finished, String), Failure> {
    use std::os::unix::fs::OpenOptionsExt as _;
    if !validate.contains("%s") {
        return Err(Failure::new(format!(
            "validate must contain %s: {validate}"
        )));
    }
    let file = context.temporary_directory()?.join(format!(
        "tmp{}",
        &uuid::Uuid::new_v4().simple().to_string()[..8]
    ));
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&file)
        .and_then(|mut opened| opened.write_all(contents))
        .map_err(|error| Failure::unhandled(python::os_error_at(&error, &file)))?;
    let shown = file.to_string_lossy().into_owned();
    let done = Command::line(python::format_one(validate, &shown)).run(context);
    // It goes with the directory, if not now.
    let _ = std::fs::remove_file(&file);
    done.map(|done| (done, shown))
}

/// Sets the attributes of the file, and says so in the message.
pub(crate) fn set_attributes(
    context: &mut Context<'_>,
    arguments: &Arguments,
    message: &mut String,
    changed: &mut bool,
    diff: Option<&mut Map<String, Value>>,
) -> Result<(), Failure> {
    if Wanted::of(context, arguments, None).apply(context, false, diff)? {
        if *changed {
            message.push_str(" and ");
        }
        *changed = true;
        message.push_str("ownership, perms or SE linux context changed");
    }
    Ok(())
}
