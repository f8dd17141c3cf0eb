//! `async_status`: what became of a job that was left to itself.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::arguments::{Spec, path, text};
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::python;
use crate::registry::Module;

pub(crate) const MODULE: Module = Module {
    name: "async_status",
    act,
};

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("jid", text().required())
        .with(
            "mode",
            text().default("status").choices(&["cleanup", "status"]),
        )
        .with("_async_dir", path().required())
        .supports_check_mode()
});

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let job = arguments.required("jid");
    let shown = python::join(arguments.required("_async_dir"), job);
    let file = context.path(&shown);
    if !file.exists() {
        return Err(Failure::new("could not find job")
            .with("ansible_job_id", job)
            .with("started", true)
            .with("finished", true));
    }
    if arguments.text("mode") == Some("cleanup") {
        std::fs::remove_file(&file)
            .map_err(|error| Failure::unhandled(python::os_error_at_text(&error, &shown)))?;
        return Ok(Report::from_iter([
            ("ansible_job_id".to_owned(), json!(job)),
            ("erased".to_owned(), json!(shown)),
        ]));
    }
    let told = std::fs::read(&file)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    // What is not written yet, or not whole, is still running.
    let Some(Value::Object(mut told)) = told else {
        return Ok(Report::from_iter([
            ("results_file".to_owned(), json!(shown)),
            ("ansible_job_id".to_owned(), json!(job)),
            ("started".to_owned(), json!(true)),
            ("finished".to_owned(), json!(false)),
        ]));
    };
    if !told.contains_key("started") {
        told.insert("finished".to_owned(), true.into());
        told.insert("ansible_job_id".to_owned(), job.into());
    } else if !told.contains_key("finished") {
        told.insert("finished".to_owned(), false.into());
    }
    Ok(told)
}
