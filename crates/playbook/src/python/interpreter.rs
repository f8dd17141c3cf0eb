//! The Python interpreter of a machine: the one that is named, or the first that is found there.

use crate::connection::{Command, Connection, Error};

/// What is used where nothing is found.
const FALLBACK: &str = "/usr/bin/python3";

/// Interpreters that are looked for, in this order, if the settings (`interpreter_python_fallback`) do not say otherwise.
pub const USUAL: &[&str] = &[
    "python3.14",
    "python3.13",
    "python3.12",
    "python3.11",
    "python3.10",
    "python3.9",
    "/usr/bin/python3",
    "python3",
];

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Discovered {
    /// The interpreter.
    pub interpreter: String,
    /// What is to be warned of, unless it is to be silent; with hints.
    pub warnings: Vec<(String, Option<String>)>,
}

/// Looks for an interpreter on a machine, as who logged in.
///
/// # Errors
/// The machine cannot be reached.
pub async fn discover(
    connection: &dyn Connection,
    host: &str,
    candidates: &[String],
) -> Result<Discovered, Error> {
    let looks: Vec<String> = candidates
        .iter()
        .map(|candidate| format!("command -v '{candidate}'"))
        .collect();
    let line = format!("echo FOUND; {}; echo ENDFOUND", looks.join("; "));
    let command = Command {
        line,
        ..Command::default()
    };
    let output = connection.command(command, None, None).await?;
    let said = String::from_utf8_lossy(&output.stdout);
    let found = said
        .find("FOUND")
        .and_then(|start| {
            let after = &said[start + "FOUND".len()..];
            Some(&after[..after.find("ENDFOUND")?])
        })
        .map(|between| {
            let mut lines = between.lines().map(str::trim);
            lines.find(|line| line.starts_with('/')).map(str::to_owned)
        });
    Ok(match found {
        Some(Some(interpreter)) => Discovered {
            warnings: vec![using(host, &interpreter)],
            interpreter,
        },
        Some(None) => {
            let tried: Vec<String> = candidates.iter().map(|name| format!("'{name}'")).collect();
            Discovered {
                interpreter: FALLBACK.to_owned(),
                warnings: vec![(
                    format!(
                        "No python interpreters found for host '{host}' (tried [{}]).",
                        tried.join(", ")
                    ),
                    None,
                )],
            }
        }
        None => Discovered {
            interpreter: FALLBACK.to_owned(),
            warnings: vec![
                (
                    format!(
                        "Unhandled error in Python interpreter discovery for host '{host}': unexpected output from Python interpreter discovery"
                    ),
                    None,
                ),
                using(host, FALLBACK),
            ],
        },
    })
}

/// That an interpreter is used which may be another one tomorrow.
fn using(host: &str, interpreter: &str) -> (String, Option<String>) {
    (
        format!(
            "Host '{host}' is using the discovered Python interpreter at '{interpreter}', but future installation of another Python interpreter could cause a different interpreter to be discovered."
        ),
        Some("See https://docs.ansible.com/ansible-core/2.21/reference_appendices/interpreter_discovery.html for more information.".to_owned()),
    )
}
