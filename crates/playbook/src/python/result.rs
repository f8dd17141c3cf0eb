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
