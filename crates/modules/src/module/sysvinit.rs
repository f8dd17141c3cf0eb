//! `sysvinit`: services by their scripts of init.

use std::sync::LazyLock;
use std::time::Duration;

use serde_json::{Value, json};

use crate::arguments::{Arguments, Kind, Spec, boolean, integer, list, text};
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::process::{self, Command, Finished};
use crate::registry::Module;
use crate::services;

pub(crate) const MODULE: Module = Module {
    name: "sysvinit",
    act,
};

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("name", text().required().aliases(&["service"]))
        .with(
            "state",
            text().choices(&["started", "stopped", "restarted", "reloaded"]),
        )
        .with("enabled", boolean())
        .with("sleep", integer().default(1))
        .with("pattern", text())
        .with("arguments", text().aliases(&["args"]))
        .with("runlevels", list(Kind::Text))
        .with("daemonize", boolean().default(false))
        .required_one_of(&["state", "enabled"])
        .supports_check_mode()
});

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let name = arguments.required("name");
    if !services::has_script(name) {
        return Err(services::missing(name, ""));
    }
    let script = Script {
        name,
        levels: arguments.texts("runlevels"),
        programs: Programs::of(context),
        arguments: &arguments,
    };
    let enabled = script.enabled();
    let (runs, last) = script.is_started(context)?;
    let mut report = Report::new();
    report.insert("name".to_owned(), name.into());
    report.insert("changed".to_owned(), false.into());
    let mut status = Report::new();
    let told = script.enable(context, &enabled, last, &mut report)?;
    status.insert("enabled".to_owned(), Value::Object(told));
    script.bring(context, runs, &mut report, &mut status)?;
    report.insert("status".to_owned(), Value::Object(status));
    Ok(report)
}

/// A script of init, and what is asked of it.
struct Script<'a> {
    name: &'a str,
    levels: Vec<String>,
    programs: Programs,
    arguments: &'a Arguments,
}

/// The programs that tell of services and enable them.
struct Programs {
    service: Option<String>,
    update: Option<String>,
    chkconfig: Option<String>,
}

impl Programs {
    fn of(context: &Context<'_>) -> Programs {
        let find = |name| process::find(context, name, &["/sbin", "/usr/sbin", "/bin", "/usr/bin"]);
        Programs {
            service: find("service"),
            update: find("update-rc.d"),
            chkconfig: find("chkconfig"),
        }
    }
}

impl Script<'_> {
    /// Whether init starts it, for each runlevel that is given, or for any.
    fn enabled(&self) -> Vec<bool> {
        if self.levels.is_empty() {
            return vec![services::starts_by_init(self.name, None)];
        }
        self.levels
            .iter()
            .map(|level| services::starts_by_init(self.name, Some(level)))
            .collect()
    }

    /// Whether it runs, and what the program said that was asked for it.
    fn is_started(&self, context: &mut Context<'_>) -> Result<(bool, Finished), Failure> {
        let unknown = "Unable to determine if service is up, assuming it is down";
        if let Some(pattern) = self.arguments.filled("pattern") {
            let runs = services::has_process(context, pattern)?;
            if !runs {
                context.warn(unknown);
            }
            return Ok((runs, Finished::default()));
        }
        let line = match &self.programs.service {
            Some(service) => format!("{service} {} status", self.name),
            None => format!("{} status", services::script_of(self.name)),
        };
        let done = Command::line(line).run(context)?;
        if done.code != -1
            && let Some(runs) = told(self.name, done.code, &done.out())
        {
            return Ok((runs, done));
        }
        if done.code == 0 {
            return Ok((true, done));
        }
        let runs = services::has_process(context, self.name)?;
        context.warn(if runs {
            "Used ps output to match service name and determine it is up, this is very unreliable"
        } else {
            unknown
        });
        Ok((runs, done))
    }

    /// Has init start it, or no longer start it: what is told of that.
    fn enable(
        &self,
        context: &Context<'_>,
        enabled: &[bool],
        last: Finished,
        report: &mut Report,
    ) -> Result<Report, Failure> {
        let wanted = self.arguments.given_flag("enabled");
        // With runlevels what is not asked for counts as something else than what is.
        let changed = if self.levels.is_empty() {
            wanted.is_some_and(|wanted| enabled != [wanted])
        } else {
            enabled.iter().any(|enabled| wanted != Some(*enabled))
        };
        let mut done = last;
        if changed {
            report.insert("changed".to_owned(), true.into());
            if !context.settings.check
                && let Some(line) = self.enabling(wanted == Some(true))
            {
                done = Command::line(line).run(context)?;
            }
        }
        let done = (changed && !context.settings.check).then_some(done);
        let mut told = outcome(changed, done.as_ref());
        if !self.levels.is_empty() {
            told.insert("runlevels".to_owned(), json!(self.levels));
        }
        if done.is_some_and(|done| done.err().contains("illegal runlevel specified")) {
            let mut failure = Failure::new(format!(
                "Illegal runlevel specified for enable operation on service {}",
                self.name
            ));
            (*failure.more).clone_from(report);
            return Err(failure.with("status", json!({ "enabled": told })));
        }
        Ok(told)
    }

    /// The command that has init start it, or no longer start it.
    fn enabling(&self, wanted: bool) -> Option<String> {
        let (name, levels) = (self.name, &self.levels);
        if let Some(update) = &self.programs.update {
            let word = match (wanted, levels.is_empty()) {
                (true, true) => return Some(format!("{update} {name} defaults")),
                (true, false) => "enable",
                (false, _) => "disable",
            };
            return Some(format!("{update} {name} {word} {}", levels.join(" ")));
        }
        let chkconfig = self.programs.chkconfig.as_ref()?;
        let word = if wanted { "on" } else { "off" };
        Some(if levels.is_empty() {
            format!("{chkconfig} {name} {word}")
        } else {
            format!("{chkconfig} --level {} {name} {word}", levels.concat())
        })
    }

    /// Brings it into the state that is asked for.
    fn bring(
        &self,
        context: &Context<'_>,
        runs: bool,
        report: &mut Report,
        status: &mut Report,
    ) -> Result<(), Failure> {
        let Some(state) = self.arguments.text("state") else {
            status.insert("null".to_owned(), Value::Object(outcome(false, None)));
            return Ok(());
        };
        let words: &[&str] = match state {
            "restarted" => &["stop", "start"],
            "started" if runs => &[],
            "started" => &["start"],
            "stopped" if !runs => &[],
            "stopped" => &["stop"],
            _ => &["reload"],
        };
        let mut last = None;
        if !words.is_empty() {
            report.insert("changed".to_owned(), true.into());
        }
        if !context.settings.check {
            for word in words {
                last = Some(self.run(context, state, word)?);
                if state == "restarted" {
                    let seconds = self.arguments.integer("sleep").unwrap_or(0).max(0);
                    services::pause(context, Duration::from_secs(seconds.unsigned_abs()));
                }
            }
        }
        let told = outcome(!words.is_empty(), last.as_ref());
        status.insert(state.to_owned(), Value::Object(told));
        Ok(())
    }

    /// Runs the script with a word.
    fn run(&self, context: &Context<'_>, state: &str, word: &str) -> Result<Finished, Failure> {
        let line = Command::line(format!(
            "{} {word} {}",
            services::script_of(self.name),
            self.arguments.text("arguments").unwrap_or("")
        ));
        let done = if self.arguments.flag("daemonize") {
            line.literal().detached().run(context)?
        } else {
            line.run(context)?
        };
        if done.success() {
            return Ok(done);
        }
        let action = match state {
            "restarted" => "restart",
            "reloaded" => "reload",
            "stopped" => "stop",
            _ => "start",
        };
        Err(
            Failure::new(format!("Failed to {action} service: {}", self.name))
                .with("rc", done.code)
                .with("stdout", done.out())
                .with("stderr", done.err()),
        )
    }
}

/// Words that say that a service is down.
const DOWN: [&str; 5] = [
    "stop",
    "is dead ",
    "dead but ",
    "could not access pid file",
    "inactive",
];

/// What the script says of its state, by its words or else by its exit code; `None` if neither tells.
fn told(name: &str, code: i32, out: &str) -> Option<bool> {
    if name == "iptables" && out.contains("ACCEPT") {
        return Some(true);
    }
    if out.matches('\n').count() <= 1 {
        let said = out.to_lowercase().replace(&name.to_lowercase(), "");
        if DOWN.iter().any(|word| said.contains(word)) {
            return Some(false);
        }
        if !said.contains("not ")
            && ["run", "start", "active"]
                .iter()
                .any(|word| said.contains(word))
        {
            return Some(true);
        }
    }
    matches!(code, 1..=4 | 69).then_some(false)
}

/// What a change of one kind gave, as the result tells it.
fn outcome(changed: bool, done: Option<&Finished>) -> Report {
    let mut told = Report::new();
    told.insert("changed".to_owned(), changed.into());
    told.insert("rc".to_owned(), json!(done.map(|done| done.code)));
    told.insert("stdout".to_owned(), json!(done.map(Finished::out)));
    told.insert("stderr".to_owned(), json!(done.map(Finished::err)));
    told
}
