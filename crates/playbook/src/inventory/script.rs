//! Inventories that are programs.

use std::process::{Command, Stdio};
use std::sync::Arc;

use consort_jinja::{Dict, Key, Origin, Str, Value};
use indexmap::{IndexMap, IndexSet};

use super::read::Reading;
use crate::source::{Encrypted, Located};

/// Runs one and reads what it prints.
pub(super) fn parse(reading: &mut Reading<'_>, path: &str) -> Result<(), Located> {
    let shown = consort_jinja::repr::string(path);
    let place = described(&format!("<inventory script output from {shown}>"));
    let (output, complaint) = run(path, &["--list"])?;
    let help = complaint_help(&complaint);
    let hinted = |error: Located| match &help {
        Some(help) => error.hint(help.clone()),
        None => error,
    };
    let json: serde_json::Value = serde_json::from_str(&output).map_err(|error| {
        hinted(Located::new(
            "Unable to get JSON decoder for inventory script result.",
        ))
        .because(
            Located::new("Value could not be parsed as JSON.")
                .because(Located::new(json_error(&output, &error))),
        )
    })?;
    let serde_json::Value::Object(json) = json else {
        return Err(hinted(Located::new(
            "Unable to get JSON decoder for inventory script result.",
        ))
        .because(Located::new(format!(
            "Value is '{}' instead of 'dict'.",
            type_name(&json)
        ))));
    };
    check_profile(&json).map_err(|cause| {
        hinted(Located::new(
            "Unable to get JSON decoder for inventory script result.",
        ))
        .because(cause)
    })?;
    if !complaint.is_empty() && reading.settings().show_complaints {
        reading.error(&complaint);
    }
    let mut hosts: IndexSet<String> = IndexSet::new();
    let mut known: Option<&serde_json::Map<String, serde_json::Value>> = None;
    for (group, data) in &json {
        if group == "_meta" {
            known = match data.get("hostvars") {
                Some(serde_json::Value::Object(variables)) => Some(variables),
                other => {
                    return Err(Located::new(format!(
                        "Value contains '_meta.hostvars' which is '{}' instead of 'dict'.",
                        other.map_or("NoneType", type_name)
                    )));
                }
            };
        } else {
            parse_group(reading, group, data, &place, &mut hosts)?;
        }
    }
    if known.is_none() {
        reading.deprecate(
            Located::new(
                "Inventory scripts should always provide 'meta.hostvars'. Host variables will be collected by running the \
                 inventory script with the '--host' option for each host.",
            )
            .at(&place),
        );
    }
    for host in hosts {
        let variables = match known {
            Some(known) => known.get(&host).cloned().unwrap_or_default(),
            None => host_variables(path, &host)?,
        };
        let serde_json::Value::Object(variables) = variables else {
            if variables.is_null() && known.is_some_and(|known| !known.contains_key(&host)) {
                continue;
            }
            return Err(Located::parser(format!(
                "Invalid data from file, expected dictionary and got:\n\n{}",
                consort_jinja::repr::text(&value(&variables, false, reading, &place))
            )));
        };
        for (name, json) in &variables {
            let value = value(json, true, reading, &place);
            reading.set_variable(&host, &Key::from(name.as_str()), value)?;
        }
    }
    Ok(())
}

fn described(what: &str) -> Arc<Origin> {
    Arc::new(Origin {
        file: what.into(),
        line: 0,
        column: 0,
    })
}

/// What Python says of a text that is no JSON.
fn json_error(text: &str, error: &serde_json::Error) -> String {
    let blank = text.len() - text.trim_start().len();
    let first = text[blank..].chars().next();
    let starts = first.is_some_and(|first| {
        matches!(first, '{' | '[' | '"' | '-' | '0'..='9')
            || ["true", "false", "null"]
                .iter()
                .any(|word| text[blank..].starts_with(word))
    });
    if starts {
        return error.to_string();
    }
    let before = &text[..blank];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    format!(
        "Expecting value: line {line} column {column} (char {})",
        before.chars().count()
    )
}

fn complaint_help(complaint: &str) -> Option<String> {
    (!complaint.trim().is_empty())
        .then(|| format!("Standard error from inventory script:\n{complaint}"))
}

fn check_profile(json: &serde_json::Map<String, serde_json::Value>) -> Result<(), Located> {
    let Some(meta) = json.get("_meta") else {
        return Ok(());
    };
    let Some(meta) = meta.as_object() else {
        return Err(Located::new(format!(
            "Value contains '_meta' which is '{}' instead of 'dict'.",
            type_name(meta)
        )));
    };
    match meta.get("profile") {
        None => Ok(()),
        Some(serde_json::Value::String(profile)) if profile == "inventory_legacy" => Ok(()),
        Some(serde_json::Value::String(profile)) if profile.starts_with("inventory_") => {
            Err(Located::new(format!("Unknown profile name '{profile}'.")))
        }
        Some(serde_json::Value::String(profile)) => Err(Located::new(format!(
            "Non-inventory profile '{profile}' is not allowed."
        ))),
        Some(other) => Err(Located::new(format!(
            "Value contains '_meta.profile' which is '{}' instead of 'str'.",
            type_name(other)
        ))),
    }
}

fn parse_group(
    reading: &mut Reading<'_>,
    group: &str,
    data: &serde_json::Value,
    place: &Arc<Origin>,
    all: &mut IndexSet<String>,
) -> Result<(), Located> {
    use serde_json::Value as Json;

    let group = reading.add_group(group)?;
    let hosts;
    let mut variables = None;
    let mut children = None;
    // Variables of a group that is malformed are no templates.
    let mut trusted = true;
    let sole = Json::Array(vec![Json::String(group.to_string())]);
    match data {
        Json::Object(entries)
            if ["hosts", "vars", "children"]
                .iter()
                .any(|key| entries.contains_key(*key)) =>
        {
            hosts = entries.get("hosts");
            variables = entries.get("vars");
            children = entries.get("children");
        }
        Json::Object(_) => {
            reading.deprecate(
                Located::new(format!(
                    "Treating malformed group '{group}' as the sole host of that group. Variables provided in this manner \
                     cannot be templated."
                ))
                .at(place),
            );
            hosts = Some(&sole);
            variables = Some(data);
            trusted = false;
        }
        other => {
            reading.deprecate(
                Located::new(format!(
                    "Group '{group}' was converted to 'dict' from '{}'.",
                    type_name(other)
                ))
                .at(place),
            );
            hosts = Some(other);
        }
    }
    let wrong = |part: &str, json: &Json, wanted: &str| {
        Located::new(format!(
            "Value contains '{group}.{part}' which is '{}' instead of '{wanted}'.",
            type_name(json)
        ))
    };
    if let Some(hosts) = hosts {
        for host in hosts
            .as_array()
            .ok_or_else(|| wrong("hosts", hosts, "list"))?
        {
            let Json::String(host) = host else {
                return Err(Located::new(format!(
                    "Invalid host name supplied, expected a string but got <class '{}'> for {host}",
                    type_name(host)
                )));
            };
            all.insert(host.clone());
            reading.add_hosts(std::slice::from_ref(host), Some(&group), None, &[])?;
        }
    }
    if let Some(variables) = variables {
        let entries = variables
            .as_object()
            .ok_or_else(|| wrong("vars", variables, "dict"))?;
        for (name, json) in entries {
            let value = value(json, trusted, reading, place);
            reading.set_variable(&group, &Key::from(name.as_str()), value)?;
        }
    }
    if let Some(children) = children {
        for child in children.as_array().into_iter().flatten() {
            let Json::String(child) = child else {
                return Err(Located::new(format!(
                    "Invalid group name supplied, expected a string but got <class '{}'> for {child}",
                    type_name(child)
                )));
            };
            let child = reading.add_group(child)?;
            reading.inventory.add_child(&group, &child)?;
        }
    }
    Ok(())
}

fn host_variables(path: &str, host: &str) -> Result<serde_json::Value, Located> {
    let (output, complaint) = run(path, &["--host", host])?;
    if output.trim().is_empty() {
        return Ok(serde_json::Value::Object(serde_json::Map::new()));
    }
    serde_json::from_str(&output).map_err(|error| {
        let failed = Located::new(format!(
            "Inventory script result for host {} could not be parsed as JSON.",
            consort_jinja::repr::string(host)
        ))
        .because(Located::new(error.to_string()));
        match complaint_help(&complaint) {
            Some(help) => failed.hint(help),
            None => failed,
        }
    })
}

fn run(path: &str, options: &[&str]) -> Result<(String, String), Located> {
    let output = Command::new(path)
        .args(options)
        .stdin(Stdio::inherit())
        .output()
        .map_err(|error| {
            let line = std::iter::once(path)
                .chain(options.iter().copied())
                .map(|word| shlex::try_quote(word).unwrap_or_else(|_| word.into()))
                .collect::<Vec<_>>()
                .join(" ");
            Located::new(format!(
                "Failed to execute inventory script command {}.",
                consort_jinja::repr::string(&line)
            ))
            .because(Located::new(os_error(&error, path)))
        })?;
    let mut complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    if !complaint.is_empty() && !complaint.ends_with('\n') {
        complaint.push('\n');
    }
    let failed = |message: String| {
        let failed = Located::new(message);
        match complaint_help(&complaint) {
            Some(help) => failed.hint(help),
            None => failed,
        }
    };
    if !output.status.success() {
        use std::os::unix::process::ExitStatusExt as _;
        let status = output
            .status
            .code()
            .unwrap_or_else(|| -output.status.signal().unwrap_or(1));
        return Err(failed(format!(
            "Inventory script returned non-zero exit code {status}."
        )));
    }
    match String::from_utf8(output.stdout) {
        Ok(text) => Ok((text, complaint)),
        Err(_) => Err(failed(
            "Inventory script result contained characters that cannot be interpreted as UTF-8."
                .to_owned(),
        )),
    }
}

/// An error of the system as Python shows it.
pub(crate) fn os_error(error: &std::io::Error, path: &str) -> String {
    match error.raw_os_error() {
        Some(number) => format!(
            "[Errno {number}] {}: {}",
            nix::errno::Errno::from_raw(number).desc(),
            consort_jinja::repr::string(path)
        ),
        None => error.to_string(),
    }
}

fn type_name(json: &serde_json::Value) -> &'static str {
    match json {
        serde_json::Value::Null => "NoneType",
        serde_json::Value::Bool(_) => "bool",
        serde_json::Value::Number(number) if number.is_f64() => "float",
        serde_json::Value::Number(_) => "int",
        serde_json::Value::String(_) => "str",
        serde_json::Value::Array(_) => "list",
        serde_json::Value::Object(_) => "dict",
    }
}

/// A value of a program: its texts may be templates where it says nothing else (`__ansible_unsafe`), and may be encrypted
/// (`__ansible_vault`).
fn value(
    json: &serde_json::Value,
    trusted: bool,
    reading: &Reading<'_>,
    place: &Arc<Origin>,
) -> Value {
    let text = |text: &str, trusted: bool| {
        let text = if trusted {
            crate::blocking::heed(text);
            Str::template(text)
        } else {
            Str::new(text)
        };
        Value::Str(text.written_at(Arc::clone(place)))
    };
    match json {
        serde_json::Value::Null => Value::None,
        serde_json::Value::Bool(yes) => Value::Bool(*yes),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => number.to_string().parse().map_or_else(
                |_| Value::Float(number.as_f64().unwrap_or(f64::NAN)),
                Value::integer,
            ),
        },
        serde_json::Value::String(written) => text(written, trusted),
        serde_json::Value::Array(items) => Value::list(
            items
                .iter()
                .map(|item| value(item, trusted, reading, place))
                .collect(),
        ),
        serde_json::Value::Object(entries) => {
            if let (1, Some((key, inner))) = (entries.len(), entries.iter().next()) {
                match (key.as_str(), inner) {
                    ("__ansible_unsafe", serde_json::Value::String(written)) => {
                        return text(written, false);
                    }
                    ("__ansible_vault", serde_json::Value::String(ciphertext)) => {
                        return reading.settings().reader.open(Encrypted {
                            ciphertext: ciphertext.as_str().into(),
                            origin: Some(Arc::clone(place)),
                            trusted: false,
                            reason: None,
                        });
                    }
                    _ => {}
                }
            }
            Value::Dict(Dict::new(
                entries
                    .iter()
                    .map(|(key, item)| {
                        (
                            Key::from(key.as_str()),
                            value(item, trusted, reading, place),
                        )
                    })
                    .collect::<IndexMap<_, _>>(),
            ))
        }
    }
}
