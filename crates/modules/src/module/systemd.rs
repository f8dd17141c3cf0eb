//! `systemd_service`, also known as `systemd`: units of systemd, and systemd itself.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::arguments::{Arguments, Spec, boolean, text};
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::process::{self, Command, Finished};
use crate::registry::Module;
use crate::services;

pub(crate) const MODULE: Module = Module {
    name: "systemd",
    act,
};

pub(crate) const SERVICE: Module = Module {
    name: "systemd_service",
    act,
};

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("name", text().aliases(&["service", "unit"]))
        .with(
            "state",
            text().choices(&["reloaded", "restarted", "started", "stopped"]),
        )
        .with("enabled", boolean())
        .with("force", boolean())
        .with("masked", boolean())
        .with(
            "daemon_reload",
            boolean().default(false).aliases(&["daemon-reload"]),
        )
        .with(
            "daemon_reexec",
            boolean().default(false).aliases(&["daemon-reexec"]),
        )
        .with(
            "scope",
            text()
                .default("system")
                .choices(&["system", "user", "global"]),
        )
        .with("no_block", boolean().default(false))
        .required_one_of(&[
            "state",
            "enabled",
            "masked",
            "daemon_reload",
            "daemon_reexec",
        ])
        .required_by("state", &["name"])
        .required_by("enabled", &["name"])
        .required_by("masked", &["name"])
        .supports_check_mode()
});

/// States of unit files that tell that there is such a unit.
const STATES: [&str; 11] = [
    "enabled",
    "enabled-runtime",
    "linked",
    "linked-runtime",
    "masked",
    "masked-runtime",
    "static",
    "indirect",
    "disabled",
    "generated",
    "transient",
];

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let unit = arguments.text("name");
    if let Some(unit) = unit
        && let Some(pattern) = ["*", "?", "["]
            .into_iter()
            .find(|pattern| unit.contains(pattern))
    {
        return Err(Failure::new(format!(
            "This module does not currently support using glob patterns, found '{pattern}' in service name: {unit}"
        )));
    }
    let control = Control::of(context, &arguments)?;
    let mut report = Report::new();
    report.insert("name".to_owned(), json!(unit));
    report.insert("changed".to_owned(), false.into());
    report.insert("status".to_owned(), json!({}));
    for (argument, word) in [
        ("daemon_reload", "daemon-reload"),
        ("daemon_reexec", "daemon-reexec"),
    ] {
        if arguments.flag(argument) && !context.settings.check {
            control.itself(context, word)?;
        }
    }
    let Some(unit) = unit.filter(|unit| !unit.is_empty()) else {
        return Ok(report);
    };
    let has_script = services::has_script(unit);
    let known = control.look(context, unit)?;
    let found = known.is_unit || has_script;
    if has_script && !known.is_unit {
        context.warn(format!(
            "The service ({unit}) is actually an init script but the system is managed by systemd"
        ));
    }
    let status = known.properties;
    let active = status.get("ActiveState").cloned();
    report.insert("status".to_owned(), Value::Object(status));
    if let Some(wanted) = arguments.given_flag("masked") {
        mask(context, &control, unit, wanted, found, &mut report)?;
    }
    if let Some(wanted) = arguments.given_flag("enabled") {
        if !found {
            return Err(services::missing(unit, "host"));
        }
        let by_script = has_script && arguments.text("scope") == Some("system");
        enable(context, &control, unit, wanted, by_script, &mut report)?;
    }
    if let Some(wanted) = arguments.text("state") {
        if !found {
            return Err(services::missing(unit, "host"));
        }
        bring(context, &control, unit, wanted, active, &mut report)?;
    }
    Ok(report)
}

/// What is known of a unit.
struct Known {
    /// systemd has it.
    is_unit: bool,
    /// Its properties.
    properties: Report,
}

/// `systemctl` with its options.
struct Control {
    line: String,
    runtime: Option<String>,
}

impl Control {
    fn of(context: &Context<'_>, arguments: &Arguments) -> Result<Control, Failure> {
        let mut line = process::required(context, "systemctl", &[])?;
        match arguments.text("scope") {
            None | Some("system") => {}
            Some(scope) => line.push_str(&format!(" --{scope}")),
        }
        for (argument, option) in [("no_block", " --no-block"), ("force", " --force")] {
            if arguments.flag(argument) {
                line.push_str(option);
            }
        }
        let runtime = match context.variable("XDG_RUNTIME_DIR") {
            Some(_) => None,
            None => Some(format!("/run/user/{}", nix::unistd::geteuid())),
        };
        Ok(Control { line, runtime })
    }

    fn command(&self, words: &str) -> Command {
        let mut line = self.line.clone();
        if !words.is_empty() {
            line.push(' ');
            line.push_str(words);
        }
        let command = Command::line(line);
        match &self.runtime {
            Some(runtime) => command.variable("XDG_RUNTIME_DIR", runtime),
            None => command,
        }
    }

    fn run(&self, context: &Context<'_>, words: &str) -> Result<Finished, Failure> {
        self.command(words).run(context)
    }

    /// Has systemd itself reload, or start anew.
    fn itself(&self, context: &mut Context<'_>, word: &str) -> Result<(), Failure> {
        let done = self.run(context, word)?;
        if done.success() {
            return Ok(());
        }
        if services::is_offline(context) {
            context.warn(format!(
                "{word} failed, but target is a chroot or systemd is offline. Continuing. Error was: {} / {}",
                done.code,
                done.err()
            ));
            return Ok(());
        }
        Err(Failure::new(format!(
            "failure {} during {word}: {}",
            done.code,
            done.err()
        )))
    }

    /// Finds out what there is of a unit.
    fn look(&self, context: &Context<'_>, unit: &str) -> Result<Known, Failure> {
        let done = self.run(context, &format!("show '{unit}'"))?;
        let (out, err) = (done.out(), done.err());
        if done.success() && !was_ignored(&out) && !was_ignored(&err) {
            let mut known = Known {
                is_unit: false,
                properties: Report::new(),
            };
            if out.is_empty() {
                return Ok(known);
            }
            known.properties = services::properties(&out);
            let load = known.properties.get("LoadState").and_then(Value::as_str);
            known.is_unit = load.is_some_and(|state| state != "not-found");
            if known.is_unit
                && load != Some("masked")
                && let Some(error) = known.properties.get("LoadError").and_then(Value::as_str)
            {
                return Err(Failure::new(format!(
                    "Error loading unit file '{unit}': {error}"
                )));
            }
            return Ok(known);
        }
        if done.code == 1 && err.contains("Failed to parse bus message") {
            let mut properties = services::properties(&out);
            let searched = match unit.find('@') {
                Some(at) => &unit[..=at],
                None => unit,
            };
            let listed = self.run(context, &format!("list-unit-files '{searched}*'"))?;
            let active = self.run(context, &format!("is-active '{unit}'"))?;
            properties.insert(
                "ActiveState".to_owned(),
                active.out().trim_end_matches('\n').into(),
            );
            return Ok(Known {
                is_unit: listed.out().contains(searched),
                properties,
            });
        }
        // It does not show units in some places (another root, for one), but may know the files of them.
        let enabled = self.run(context, &format!("is-enabled '{unit}'"))?;
        let mut is_unit = STATES.contains(&enabled.out().trim());
        if !is_unit {
            is_unit = self
                .run(context, &format!("list-unit-files '{unit}'"))?
                .success();
            if !is_unit {
                self.command("").check().run(context)?;
            }
        }
        Ok(Known {
            is_unit,
            properties: Report::new(),
        })
    }
}

fn was_ignored(told: &str) -> bool {
    !told.contains('=') && (told.contains("ignoring request") || told.contains("ignoring command"))
}

fn mask(
    context: &Context<'_>,
    control: &Control,
    unit: &str,
    wanted: bool,
    found: bool,
    report: &mut Report,
) -> Result<(), Failure> {
    let told = control.run(context, &format!("is-enabled '{unit}'"))?.out();
    if (told.trim() == "masked") == wanted {
        return Ok(());
    }
    report.insert("changed".to_owned(), true.into());
    if context.settings.check {
        return Ok(());
    }
    let word = if wanted { "mask" } else { "unmask" };
    let done = control.run(context, &format!("{word} '{unit}'"))?;
    if done.success() {
        return Ok(());
    }
    // Some can mask what is not there; that it is not there is said only if this one cannot.
    Err(if found {
        Failure::new(format!(
            "Failed to {word} the service ({unit}): {}",
            done.err().trim()
        ))
    } else {
        services::missing(unit, "host")
    })
}

fn enable(
    context: &Context<'_>,
    control: &Control,
    unit: &str,
    wanted: bool,
    by_script: bool,
    report: &mut Report,
) -> Result<(), Failure> {
    let told = control.run(context, &format!("is-enabled '{unit}' -l"))?;
    let out = told.out();
    let enabled = match told.code {
        // What is enabled only until the next boot, or by another, is to be enabled by itself.
        0 => !matches!(out.trim_end(), "enabled-runtime" | "indirect" | "alias"),
        1 => by_script && !out.trim().ends_with("disabled") && services::starts_by_init(unit, None),
        _ => false,
    };
    report.insert("enabled".to_owned(), enabled.into());
    if enabled == wanted {
        return Ok(());
    }
    report.insert("changed".to_owned(), true.into());
    if !context.settings.check {
        let word = if wanted { "enable" } else { "disable" };
        let done = control.run(context, &format!("{word} '{unit}'"))?;
        if !done.success() {
            return Err(Failure::new(format!(
                "Unable to {word} service {unit}: {}{}",
                done.out(),
                done.err()
            )));
        }
    }
    report.insert("enabled".to_owned(), (!enabled).into());
    Ok(())
}

fn bring(
    context: &mut Context<'_>,
    control: &Control,
    unit: &str,
    wanted: &str,
    active: Option<Value>,
    report: &mut Report,
) -> Result<(), Failure> {
    report.insert("state".to_owned(), wanted.into());
    let Some(active) = active else {
        if services::is_offline(context) {
            context.warn(
                "Target is a chroot or systemd is offline. This can lead to false positives or prevent the init system tools from working.",
            );
            return Ok(());
        }
        let status = report.get("status").cloned().unwrap_or_default();
        return Err(Failure::new("Service is in unknown state").with("status", status));
    };
    let state = active.as_str().unwrap_or_default();
    let runs = matches!(state, "active" | "activating");
    let word = match wanted {
        "started" => (!runs).then_some("start"),
        "stopped" => (runs || state == "deactivating").then_some("stop"),
        _ => {
            report.insert("state".to_owned(), "started".into());
            Some(match wanted {
                _ if !runs => "start",
                "reloaded" => "reload",
                _ => "restart",
            })
        }
    };
    let Some(word) = word else {
        return Ok(());
    };
    report.insert("changed".to_owned(), true.into());
    if context.settings.check {
        return Ok(());
    }
    let done = control.run(context, &format!("{word} '{unit}'"))?;
    if done.success() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "Unable to {word} service {unit}: {}",
        done.err()
    )))
}
