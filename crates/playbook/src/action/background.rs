//! `async_status`: how far a job in the background is.

use consort_jinja::{Dict, Value};
use consort_modules::arguments::{Spec, text};

use super::given::{checked, copied, dict, says, set, update};
use super::machine::expand_user;
use super::{Action, Outcome};
use crate::connection::Call;
use crate::executor::Attempt;
use crate::paths;

/// `async_status`.
pub(super) struct AsyncStatus;

impl Action for AsyncStatus {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(async_status(attempt, arguments))
    }
}

async fn async_status(attempt: &Attempt<'_>, arguments: Dict) -> Outcome {
    let spec = Spec::new().with("jid", text().required()).with(
        "mode",
        text().choices(&["status", "cleanup"]).default("status"),
    );
    let given = checked(attempt.name, &spec, &arguments)?;
    let job = given.required("jid").to_owned();
    let directory = match attempt.variable("ansible_async_dir")? {
        Some(Value::Str(text)) => text.to_string(),
        _ => attempt
            .raw(&["ANSIBLE_ASYNC_DIR"], &[("defaults", "async_dir")])
            .unwrap_or_else(|| "~/.ansible_async".to_owned()),
    };
    let directory = expand_user(attempt, &directory).await?;
    let log = paths::join(&directory, &job);
    let result = dict([
        ("started", false.into()),
        ("finished", false.into()),
        ("stdout", "".into()),
        ("stderr", "".into()),
        ("stdout_lines", Value::list(Vec::new())),
        ("stderr_lines", Value::list(Vec::new())),
        ("ansible_job_id", job.as_str().into()),
    ]);
    if given.text("mode") == Some("cleanup") {
        set(&result, "erased", log);
    } else {
        set(&result, "results_file", log);
        set(&result, "started", true);
    }
    let inner = copied(&arguments);
    set(&inner, "_async_dir", directory);
    let report = attempt.module("ansible.legacy.async_status", inner).await?;
    update(&result, &report);
    for name in ["started", "finished"] {
        let truth = says(&result, name);
        set(&result, name, truth);
    }
    Ok(result)
}
