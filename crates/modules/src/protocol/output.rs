//! The result of a module among what its process wrote.

use serde_json::Value;

use crate::invocation::Report;

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

/// The result in an output, if there is one.
pub fn report(output: &str) -> Option<Report> {
    match serde_json::from_str(object(output)?.0) {
        Ok(Value::Object(report)) => Some(report),
        _ => None,
    }
}
