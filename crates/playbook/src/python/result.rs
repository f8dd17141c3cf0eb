//! The report of a module that is not native, from what its process wrote.

use consort_modules::Report;
use consort_modules::protocol::message::{PackedCall, PackedProgram};
use consort_modules::protocol::output;

use crate::connection::Error;

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
    output::report(&text).ok_or_else(|| none(call, status, &text, &String::from_utf8_lossy(stderr)))
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
            if output::object(stdout).is_some_and(|(object, _)| holds_lone_surrogate(object)) {
                "Refusing to deserialize an invalid UTF8 string value."
            } else if output::object(stdout).is_some() {
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

/// Whether a text in JSON has half of a character, as Python writes bytes that are no UTF-8.
fn holds_lone_surrogate(json: &str) -> bool {
    let mut rest = json;
    let mut high = false;
    while let Some(at) = rest.find('\\') {
        let lone = high && at > 0;
        let escape = &rest[at + 1..];
        let unit = escape
            .strip_prefix('u')
            .and_then(|digits| digits.get(..4))
            .and_then(|digits| u16::from_str_radix(digits, 16).ok());
        let low = unit.is_some_and(|unit| (0xDC00..0xE000).contains(&unit));
        if lone || low != high {
            return true;
        }
        high = unit.is_some_and(|unit| (0xD800..0xDC00).contains(&unit));
        let length = if unit.is_some() {
            5
        } else {
            escape.chars().next().map_or(0, char::len_utf8)
        };
        rest = &escape[length..];
    }
    high
}
