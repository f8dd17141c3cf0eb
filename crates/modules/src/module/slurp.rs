//! `slurp`: the contents of a file.

use std::sync::LazyLock;

use base64::Engine as _;
use serde_json::json;

use crate::arguments::{Spec, boolean, path};
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::python;
use crate::registry::Module;

pub(crate) const MODULE: Module = Module { name: "slurp", act };

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("src", path().required().aliases(&["path"]))
        .with("armor", boolean().default(true))
        .supports_check_mode()
});

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let source = arguments.required("src");
    let data = std::fs::read(context.path(source)).map_err(|error| {
        let message = match error.raw_os_error() {
            Some(libc::ENOENT) => format!("File not found: {source}"),
            Some(libc::EACCES) => format!("File is not readable: {source}"),
            Some(libc::EISDIR) => format!("Source is a directory and must be a file: {source}"),
            _ => "Unable to slurp file: {source}".to_owned(),
        };
        Failure::new(message).because(python::os_error_at_text(&error, source))
    })?;
    let (encoding, content) = if arguments.flag("armor") {
        (
            "base64",
            base64::engine::general_purpose::STANDARD.encode(&data),
        )
    } else {
        (
            "utf-8",
            String::from_utf8(data).map_err(|_| {
                Failure::unhandled("Refusing to deserialize an invalid UTF8 string value.")
            })?,
        )
    };
    Ok(Report::from_iter([
        ("content".to_owned(), json!(content)),
        ("source".to_owned(), json!(source)),
        ("encoding".to_owned(), json!(encoding)),
    ]))
}
