//! The report of a module that is not native, from what its process wrote.

use consort_modules::Report;
use consort_modules::protocol::message::{PackedCall, PackedProgram};
use consort_modules::protocol::output;
use serde_json::Value;

use crate::connection::Error;

/// How deep a result may be.
const DEPTH: usize = 100;

/// The report in an output.
///
/// # Errors
/// There is none in it: with what was written, and the status.
pub(crate) fn result(
    call: &PackedCall,
    status: i32,
    stdout: &[u8],
    stderr: &[u8],
) -> Result<Report, Error> {
    let text = String::from_utf8_lossy(stdout);
    let found =
        output::object(&text).and_then(|(object, junk)| match serde_json::from_str(object) {
            Ok(Value::Object(report)) => Some((report, junk)),
            _ => None,
        });
    let Some((report, junk)) = found else {
        return Err(none(call, status, &text, &String::from_utf8_lossy(stderr)));
    };
    let mut report: Report = report
        .into_iter()
        .map(|(name, value)| (name, untyped(value, DEPTH)))
        .collect();
    told(&mut report);
    if !junk.is_empty() {
        let warning = format!(
            "Module invocation had junk after the JSON data: {}",
            junk.join("\n")
        );
        match report
            .entry("warnings")
            .or_insert_with(|| Value::Array(Vec::new()))
        {
            Value::Array(warnings) => warnings.push(warning.into()),
            other => *other = Value::Array(vec![warning.into()]),
        }
    }
    Ok(report)
}

/// No result: says so as ansible-core does.
fn none(call: &PackedCall, status: i32, stdout: &str, stderr: &str) -> Error {
    let interpreter = match &call.kind {
        PackedProgram::Python { interpreter, .. } | PackedProgram::Program { interpreter, .. } => {
            interpreter.join(" ")
        }
    };
    let missing = !interpreter.is_empty()
        && [
            "No such file or directory",
            "not found",
            "command not found",
        ]
        .iter()
        .any(|said| {
            let said = format!("{interpreter}: {said}");
            stderr.contains(&said) || stdout.contains(&said)
        });
    let message = if missing {
        format!("The module interpreter '{interpreter}' was not found.")
    } else {
        let why = if stdout
            .lines()
            .any(|line| line.trim_start().starts_with('{'))
        {
            if output::object(stdout).is_some() {
                "Failed to decode the JSON of the result"
            } else {
                "No end of json char found"
            }
        } else {
            "No start of json char found"
        };
        format!("Module result deserialization failed: {why}")
    };
    let mut more = Report::new();
    more.insert("module_stdout".to_owned(), stdout.into());
    more.insert("module_stderr".to_owned(), stderr.into());
    more.insert("rc".to_owned(), status.into());
    Error::Failed { message, more }
}

/// A value without what ansible-core says of its type on the way.
fn untyped(value: Value, depth: usize) -> Value {
    match value {
        Value::Object(mut entries) if depth > 0 => {
            let tagged = entries
                .get("__ansible_type")
                .and_then(Value::as_str)
                .is_some_and(|kind| kind.starts_with("_AnsibleTagged"));
            if tagged && let Some(value) = entries.remove("value") {
                return untyped(value, depth - 1);
            }
            Value::Object(
                entries
                    .into_iter()
                    .map(|(name, value)| (name, untyped(value, depth - 1)))
                    .collect(),
            )
        }
        Value::Array(items) if depth > 0 => Value::Array(
            items
                .into_iter()
                .map(|item| untyped(item, depth - 1))
                .collect(),
        ),
        other => other,
    }
}

/// Makes texts of warnings, deprecations and the exception.
fn told(report: &mut Report) {
    if let Some(Value::Array(warnings)) = report.get_mut("warnings") {
        for warning in warnings {
            if let Some(event) = warning.get("event") {
                *warning = brief(event).into();
            }
        }
    }
    if let Some(Value::Array(deprecations)) = report.get_mut("deprecations") {
        for deprecation in deprecations {
            let Value::Object(entries) = deprecation else {
                continue;
            };
            if let Some(event) = entries.remove("event") {
                entries.insert("msg".to_owned(), brief(&event).into());
                entries.shift_remove("__ansible_type");
                if let Some(Value::Object(deprecator)) = entries.remove("deprecator") {
                    let name = deprecator
                        .get("resolved_name")
                        .cloned()
                        .unwrap_or(Value::Null);
                    entries.insert("collection_name".to_owned(), name);
                }
            }
        }
    }
    let event = report
        .get("exception")
        .and_then(|exception| exception.get("event"))
        .cloned();
    if let Some(event) = event {
        let mut causes = chain(&event);
        report.shift_remove("exception");
        if causes.first().map(String::as_str) == report.get("msg").and_then(Value::as_str) {
            causes.remove(0);
        }
        if !causes.is_empty() {
            report.insert(consort_modules::CAUSES.to_owned(), causes.into());
        }
    }
}

/// What an event says, and what led to it.
fn chain(event: &Value) -> Vec<String> {
    let mut said = Vec::new();
    let mut at = Some(event);
    for _ in 0..20 {
        let Some(event) = at else { break };
        let message = event.get("msg").and_then(Value::as_str).unwrap_or_default();
        if !message.is_empty() {
            said.push(message.to_owned());
        }
        at = event
            .get("chain")
            .filter(|chain| {
                chain
                    .get("follow")
                    .and_then(Value::as_bool)
                    .unwrap_or(false)
            })
            .and_then(|chain| chain.get("event"));
    }
    said
}

/// An event and what led to it as one line.
fn brief(event: &Value) -> String {
    chain(event).join(": ")
}
