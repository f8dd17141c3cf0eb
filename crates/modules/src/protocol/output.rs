//! The result of a module among what its process wrote.

use serde_json::{Value, json};

use crate::invocation::Report;

/// How deep a result may be.
const DEPTH: usize = 100;

/// A result of a Python module of ansible-core without what is said of types on the way: warnings and deprecations as texts,
/// an exception as [`crate::CAUSES`].
pub fn plain(report: Report) -> Report {
    let mut report = report
        .into_iter()
        .map(|(name, value)| (name, untyped(value, DEPTH)))
        .collect();
    told(&mut report);
    report
}

/// The object in an output: from the first line that begins with a brace to the last that ends with one.
///
/// What stands before it (greetings, warnings of interpreters) is passed over; what stands after it, too.
pub fn object(output: &str) -> Option<(&str, Vec<&str>)> {
    let mut start = None;
    let mut at = 0;
    for line in output.split_inclusive('\n') {
        if line.trim_start().starts_with('{') {
            start = Some(at);
            break;
        }
        at += line.len();
    }
    let rest = &output[start?..];
    let mut end = rest.len();
    let mut junk = Vec::new();
    for line in rest.split_inclusive('\n').rev() {
        if line.trim().ends_with('}') {
            break;
        }
        end -= line.len();
        if !line.trim().is_empty() {
            junk.push(line.trim());
        }
    }
    junk.reverse();
    (end > 0).then(|| (rest[..end].trim(), junk))
}

/// The result in an output, if there is one, with a warning of what stands after it.
pub fn report(output: &str) -> Option<Report> {
    let (object, junk) = object(output)?;
    let Ok(Value::Object(report)) = serde_json::from_str(object) else {
        return None;
    };
    let mut report = plain(report);
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
    Some(report)
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
                let deprecator = entries.remove("deprecator").unwrap_or(Value::Null);
                let name = deprecator["resolved_name"].as_str().unwrap_or_default();
                let collection: Vec<&str> = name.split('.').take(2).collect();
                entries.insert(
                    "collection_name".to_owned(),
                    if name.is_empty() {
                        Value::Null
                    } else {
                        collection.join(".").into()
                    },
                );
                let kind = deprecator["type"].as_str().unwrap_or_default();
                entries.insert(crate::DEPRECATOR.to_owned(), json!([kind, name]));
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
            report.insert(crate::CAUSES.to_owned(), causes.into());
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
