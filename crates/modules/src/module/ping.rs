//! `ping`: whether modules run on the machine at all.

use std::sync::LazyLock;

use serde_json::json;

use crate::arguments::{Spec, text};
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::registry::Module;

pub(crate) const MODULE: Module = Module { name: "ping", act };

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("data", text().default("pong"))
        .supports_check_mode()
});

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    if arguments.text("data") == Some("crash") {
        return Err(Failure::unhandled("boom"));
    }
    Ok(Report::from_iter([(
        "ping".to_owned(),
        json!(arguments.get("data")),
    )]))
}
