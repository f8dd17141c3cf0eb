//! `ansible.posix.sysctl`: a parameter of the kernel, in a file of sysctl and at once.

use std::sync::LazyLock;

use crate::arguments::{Arguments, Spec, boolean, path, text};
use crate::atomic::{self, Keep};
use crate::attributes::real_path;
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::process::{self, Command, Finished};
use crate::python;
use crate::registry::Module;

pub(crate) const MODULE: Module = Module {
    name: "sysctl",
    act,
};

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("name", text().required().aliases(&["key"]))
        .with("value", text().aliases(&["val"]))
        .with(
            "state",
            text().default("present").choices(&["present", "absent"]),
        )
        .with("reload", boolean().default(true))
        .with("sysctl_set", boolean().default(false))
        .with("ignoreerrors", boolean().default(false))
        .with("sysctl_file", path().default("/etc/sysctl.conf"))
        .required_if("state", "present", &["value"])
        .supports_check_mode()
});

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let present = arguments.text("state") == Some("present");
    for (what, wrong) in [
        ("name cannot be None", !arguments.has("name")),
        ("value cannot be None", present && !arguments.has("value")),
        ("name cannot be blank", arguments.text("name") == Some("")),
        (
            "value cannot be blank",
            present && arguments.text("value") == Some(""),
        ),
    ] {
        if wrong {
            return Err(Failure::new(what));
        }
    }
    let name = arguments.required("name").trim();
    let value = as_written(arguments.text("value").unwrap_or(""));
    let sysctl = process::required(context, "sysctl", &[])?;
    let current = run(context, &Command::line(format!("{sysctl} -e -n {name}")))?;
    let current = current.success().then(|| current.out());
    let file = arguments.required("sysctl_file");
    let lines = lines_of(context, file)?;
    let there = lines
        .iter()
        .filter_map(|line| pair(line))
        .rfind(|(key, _)| *key == name)
        .map(|(_, value)| value.to_owned());
    let is_set = current
        .as_ref()
        .is_some_and(|current| current.split_whitespace().eq(value.split_whitespace()));
    let write = match (&there, present) {
        (None, present) => present,
        (Some(there), false) => !there.is_empty() || *there != value,
        (Some(there), true) => *there != value,
    };
    let mut changed = write;
    if !write && there.is_some() && arguments.flag("reload") && !is_set {
        changed = true;
    }
    let mut set = false;
    if arguments.flag("sysctl_set") && present && !is_set {
        changed = true;
        set = current.is_some();
    }
    if !context.settings.check {
        if set {
            set_now(context, &arguments, &sysctl, name, &value)?;
        }
        if write {
            let text = rewritten(&lines, name, present.then_some(value.as_str()));
            let real = real_path(context, file);
            let keep = Keep {
                attributes: true,
                unsafe_writes: false,
            };
            atomic::write(context, &real, text.as_bytes(), keep)?;
        }
        if changed && arguments.flag("reload") {
            reload(context, &arguments, &sysctl, file)?;
        }
    }
    Ok(Report::from_iter([("changed".to_owned(), changed.into())]))
}

/// A value as it is written: yes and no as 1 and 0.
fn as_written(value: &str) -> String {
    match value.to_lowercase().as_str() {
        "y" | "yes" | "on" | "1" | "true" | "t" => "1".to_owned(),
        "n" | "no" | "off" | "0" | "false" | "f" => "0".to_owned(),
        _ => value.trim().to_owned(),
    }
}

fn run(context: &Context<'_>, command: &Command) -> Result<Finished, Failure> {
    command
        .clone()
        .variable("LANG", "C")
        .variable("LC_ALL", "C")
        .variable("LC_MESSAGES", "C")
        .run(context)
}

/// sysctl may fail and end with 0: what it says tells.
fn has_failed(done: &Finished) -> bool {
    !done.success()
        || done.err().lines().any(|line| {
            line.starts_with("sysctl: setting key \"")
                && (line.ends_with("\": Invalid argument")
                    || line.ends_with("\": Read-only file system"))
        })
}

fn set_now(
    context: &Context<'_>,
    arguments: &Arguments,
    sysctl: &str,
    name: &str,
    value: &str,
) -> Result<(), Failure> {
    let mut words = vec![sysctl.to_owned()];
    if arguments.flag("ignoreerrors") {
        words.push("-e".to_owned());
    }
    words.extend(["-w".to_owned(), format!("{name}={value}")]);
    let done = run(context, &Command::new(words))?;
    if has_failed(&done) {
        return Err(Failure::new(format!(
            "setting {name} failed: {}{}",
            done.out(),
            done.err()
        )));
    }
    Ok(())
}

fn reload(
    context: &Context<'_>,
    arguments: &Arguments,
    sysctl: &str,
    file: &str,
) -> Result<(), Failure> {
    let mut words = vec![sysctl];
    if arguments.flag("ignoreerrors") {
        words.push("-e");
    }
    words.extend(["-p", file]);
    let done = run(context, &Command::new(words))?;
    if has_failed(&done) {
        return Err(Failure::new(format!(
            "Failed to reload sysctl: {}{}",
            done.out(),
            done.err()
        )));
    }
    Ok(())
}

fn lines_of(context: &Context<'_>, file: &str) -> Result<Vec<String>, Failure> {
    let path = context.path(file);
    if !path.is_file() {
        return Ok(Vec::new());
    }
    std::fs::read_to_string(&path)
        .map(|text| text.lines().map(|line| line.trim().to_owned()).collect())
        .map_err(|error| {
            Failure::new(format!(
                "Failed to open {file}: {}",
                python::os_error_at_text(&error, file)
            ))
        })
}

/// The parameter of a line and its value; `None` for comments and what is none.
fn pair(line: &str) -> Option<(&str, &str)> {
    if line.is_empty() || line.starts_with(['#', ';']) {
        return None;
    }
    line.split_once('=')
        .map(|(key, value)| (key.trim(), value.trim()))
}

/// The file with the value, or without the parameter; of parameters that come twice the first stays.
fn rewritten(lines: &[String], name: &str, value: Option<&str>) -> String {
    let mut text = String::new();
    let mut seen: Vec<&str> = Vec::new();
    for line in lines {
        let Some((key, there)) = pair(line) else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        if seen.contains(&key) {
            continue;
        }
        seen.push(key);
        let value = if key == name { value } else { Some(there) };
        if let Some(value) = value {
            text.push_str(format!("{key}={value}").trim());
            text.push('\n');
        }
    }
    if let (false, Some(value)) = (seen.contains(&name), value) {
        text.push_str(&format!("{name}={value}\n"));
    }
    text
}
