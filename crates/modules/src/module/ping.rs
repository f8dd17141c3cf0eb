//! `ping`: whether modules run on the machine at all.

use serde_json::Value;

use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::registry::Module;

pub(crate) const MODULE: Module = Module { name: "ping", act };

fn act(_context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let data = invocation
        .arguments
        .get("data")
        .cloned()
        .unwrap_or_else(|| "pong".into());
    if data.as_str() == Some("crash") {
        return Err(Failure::new("boom"));
    }
    let mut report = Report::new();
    report.insert("changed".to_owned(), Value::Bool(false));
    report.insert("ping".to_owned(), data);
    Ok(report)
}
