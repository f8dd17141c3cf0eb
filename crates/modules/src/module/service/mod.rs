//! `service`: services, by whatever the machine manages them with.

mod enable;

use std::sync::LazyLock;
use std::time::Duration;

use crate::arguments::{Arguments, Spec, boolean, integer, text};
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::locale;
use crate::process::{self, Command, Finished};
use crate::python;
use crate::registry::Module;
use crate::services;

pub(crate) const MODULE: Module = Module {
    name: "service",
    act,
};

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("name", text().required())
        .with(
            "state",
            text().choices(&["started", "stopped", "reloaded", "restarted"]),
        )
        .with("sleep", integer())
        .with("pattern", text())
        .with("enabled", boolean())
        .with("runlevel", text().default("default"))
        .with("arguments", text().default("").aliases(&["args"]))
        .required_one_of(&["state", "enabled"])
        .supports_check_mode()
});

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let service = Service::of(context, &arguments)?;
    let mut report = Report::new();
    report.insert("name".to_owned(), service.name.into());
    let mut changed = false;
    if let Some(wanted) = arguments.given_flag("enabled") {
        match service.enable(context, wanted)? {
            enable::Done::Changed(yes) => changed = yes,
            enable::Done::Would(yes) => {
                return Ok(Report::from_iter([("changed".to_owned(), yes.into())]));
            }
        }
        report.insert("enabled".to_owned(), wanted.into());
    }
    let Some(state) = arguments.text("state") else {
        report.insert("changed".to_owned(), changed.into());
        return Ok(report);
    };
    let shown = if state == "stopped" {
        "stopped"
    } else {
        "started"
    };
    report.insert("state".to_owned(), shown.into());
    let known = service.look(context)?;
    let Some(runs) = known.runs else {
        return Err(Failure::new(
            "failed determining service state, possible typo of service name?",
        ));
    };
    let word = match state {
        "started" => (!runs).then_some("start"),
        "stopped" => runs.then_some("stop"),
        "reloaded" if runs => Some("reload"),
        "reloaded" => Some("start"),
        _ => Some("restart"),
    };
    if let Some(word) = word {
        if context.settings.check {
            return Ok(Report::from_iter([
                ("changed".to_owned(), true.into()),
                ("msg".to_owned(), "service state changed".into()),
            ]));
        }
        let done = service.control(context, word, known.crashed)?;
        // Upstart may say so of a service it has no links for.
        if done.code != 0 && !done.err.contains("Job is already running") {
            return Err(Failure::new(if done.err.is_empty() {
                done.out
            } else {
                done.err
            }));
        }
    }
    report.insert("changed".to_owned(), (changed || word.is_some()).into());
    Ok(report)
}

/// What a program, or several, gave.
struct Done {
    code: i32,
    out: String,
    err: String,
}

impl From<Finished> for Done {
    fn from(finished: Finished) -> Self {
        Done {
            code: finished.code,
            out: finished.out(),
            err: finished.err(),
        }
    }
}

/// What starts and stops a service.
enum Control {
    /// `systemctl`.
    Systemd(String),
    /// `initctl`.
    Upstart(String),
    /// `rc-service`.
    OpenRc(String),
    /// `service`.
    Service(String),
    /// The script of init itself.
    Script(String),
}

/// What has a service started with the machine.
enum Enabling {
    Systemd(String),
    /// `initctl`, and whether the version of it has the word `manual`.
    Upstart {
        knows_manual: bool,
    },
    /// `rc-update`.
    OpenRc(String),
    UpdateRc(String),
    Insserv(String),
    Chkconfig(String),
}

/// Whether a service runs.
#[derive(Default)]
struct Known {
    runs: Option<bool>,
    crashed: bool,
}

/// A service, and what manages it.
struct Service<'a> {
    arguments: &'a Arguments,
    name: &'a str,
    control: Control,
    enabling: Option<Enabling>,
    /// Upstart is there, whether it manages this service or not.
    initctl: Option<String>,
    locale: String,
}

impl<'a> Service<'a> {
    fn of(context: &Context<'_>, arguments: &'a Arguments) -> Result<Self, Failure> {
        let name = arguments.required("name");
        let find = |program| {
            process::find(
                context,
                program,
                &["/sbin", "/usr/sbin", "/bin", "/usr/bin"],
            )
        };
        let script = Some(format!("/etc/init.d/{name}"))
            .filter(|script| std::path::Path::new(script).is_file());
        let service = |control, enabling, initctl| Service {
            arguments,
            name,
            control,
            enabling,
            initctl,
            locale: locale::readable(context),
        };
        let initctl = find("initctl");
        if let Some(systemctl) = find("systemctl")
            && services::is_systemd_managed(context)
        {
            return Ok(service(
                Control::Systemd(systemctl.clone()),
                Some(Enabling::Systemd(systemctl)),
                initctl,
            ));
        }
        if let Some(initctl) = &initctl
            && std::path::Path::new(&format!("/etc/init/{name}.conf")).exists()
        {
            return Ok(service(
                Control::Upstart(initctl.clone()),
                Some(Enabling::Upstart {
                    knows_manual: knows_manual(context, initctl),
                }),
                Some(initctl.clone()),
            ));
        }
        if let Some(openrc) = find("rc-service") {
            return Ok(service(
                Control::OpenRc(openrc),
                find("rc-update").map(Enabling::OpenRc),
                None,
            ));
        }
        let enabling = script.as_ref().and_then(|_| {
            find("update-rc.d")
                .map(Enabling::UpdateRc)
                .or_else(|| find("insserv").map(Enabling::Insserv))
                .or_else(|| find("chkconfig").map(Enabling::Chkconfig))
        });
        if enabling.is_none() {
            return Err(services::missing(name, "host"));
        }
        let Some(control) = find("service")
            .map(Control::Service)
            .or(script.map(Control::Script))
        else {
            return Err(Failure::new(
                "cannot find 'service' binary or init script for service,  possible typo in service name?, aborting",
            ));
        };
        Ok(service(control, enabling, initctl))
    }

    fn run(&self, context: &Context<'_>, line: &str) -> Result<Done, Failure> {
        services::speaking(Command::line(line), &self.locale)
            .run(context)
            .map(Done::from)
    }

    /// Runs a command that may leave something running: in a session of its own, with nothing of this environment.
    fn run_apart(&self, context: &Context<'_>, line: &str) -> Result<Done, Failure> {
        services::speaking(Command::line(line), &self.locale)
            .literal()
            .bare()
            .detached()
            .run(context)
            .map(Done::from)
    }

    /// Whether it runs.
    fn look(&self, context: &Context<'_>) -> Result<Known, Failure> {
        if let Some(pattern) = self.arguments.filled("pattern") {
            let told = services::processes(context, Some(&self.locale))?;
            return Ok(Known {
                runs: told.map(|told| {
                    told.split('\n')
                        .any(|line| line.contains(pattern) && !line.contains("pattern="))
                }),
                crashed: false,
            });
        }
        if let Control::Systemd(systemctl) = &self.control {
            return self.look_at_unit(context, systemctl);
        }
        let done = self.control(context, "status", false)?;
        let mut known = Known::default();
        if let Some(initctl) = &self.initctl {
            let line = format!(
                "{initctl} status {} {}",
                self.name,
                self.arguments.required("arguments")
            );
            let out = self.run(context, &line)?.out;
            if out.contains("stop/waiting") {
                known.runs = Some(false);
            } else if out.contains("start/running") {
                known.runs = Some(true);
            }
        }
        if let (None, Control::OpenRc(openrc)) = (known.runs, &self.control) {
            let told = self.run(context, &format!("{openrc} {} status", self.name))?;
            known.runs = Some(told.out.contains("started"));
            known.crashed = told.err.contains("crashed");
        }
        known.runs = known.runs.or_else(|| told(self.name, &done));
        Ok(known)
    }

    fn look_at_unit(&self, context: &Context<'_>, systemctl: &str) -> Result<Known, Failure> {
        let unit = python::repr(self.name);
        let done = self.run(context, &format!("{systemctl} show '{}'", self.name))?;
        if done.code != 0 {
            return Err(Failure::new(format!(
                "failure {} running systemctl show for {unit}: {}",
                done.code, done.err
            )));
        }
        if done.out.contains("LoadState=not-found") {
            return Err(Failure::new(format!(
                "systemd could not find the requested service \"{unit}\": {}",
                done.err
            )));
        }
        match active_state(&done.out) {
            Some(state) => Ok(Known {
                // One that has run once and ended well is active, and is not to be run again.
                runs: Some(state == "active"),
                crashed: state == "failed",
            }),
            None => Err(Failure::new(format!(
                "No ActiveState value in systemctl show output for {unit}"
            ))),
        }
    }

    /// Has it do something.
    fn control(&self, context: &Context<'_>, word: &str, crashed: bool) -> Result<Done, Failure> {
        let arguments = self.arguments.required("arguments");
        let line = |word: &str| match &self.control {
            Control::Systemd(program) | Control::Upstart(program) => {
                format!("{program} {word} {} {arguments}", self.name)
            }
            Control::OpenRc(program) | Control::Service(program) => {
                format!("{program} {} {word} {arguments}", self.name)
            }
            Control::Script(script) => format!("{script} {word} {arguments}"),
        };
        let is_openrc = matches!(self.control, Control::OpenRc(_));
        if is_openrc && word == "start" && crashed {
            self.run_apart(context, &line("zap"))?;
        }
        if word != "restart" || is_openrc {
            return self.run_apart(context, &line(word));
        }
        // Not all services can restart.
        let stopped = self.run_apart(context, &line("stop"))?;
        let seconds = self.arguments.integer("sleep").unwrap_or(0).max(0);
        services::pause(context, Duration::from_secs(seconds.unsigned_abs()));
        let started = self.run_apart(context, &line("start"))?;
        if stopped.code != 0 && started.code == 0 {
            return Ok(started);
        }
        Ok(Done {
            code: stopped.code + started.code,
            out: stopped.out + &started.out,
            err: stopped.err + &started.err,
        })
    }
}

/// Whether a version of upstart has a word for services that are not started by themselves: from 0.6.7 on.
fn knows_manual(context: &Context<'_>, initctl: &str) -> bool {
    let Ok(done) = Command::line(format!("{initctl} version")).run(context) else {
        return false;
    };
    let out = done.out();
    let version: Vec<u32> = out
        .split_once("(upstart ")
        .and_then(|(_, rest)| rest.split_once(')'))
        .map(|(version, _)| {
            version
                .split('.')
                .map_while(|part| part.parse().ok())
                .collect()
        })
        .unwrap_or_default();
    done.success() && version >= vec![0, 6, 7]
}

/// Words that say that a service is down.
const DOWN: [&str; 4] = [
    "could not access pid file",
    "is dead and pid file exists",
    "dead but subsys locked",
    "dead but pid file exists",
];

/// What a script of init says of its state, by its exit code or by its words; `None` if neither tells.
fn told(name: &str, done: &Done) -> Option<bool> {
    if matches!(done.code, 1..=4 | 69) {
        return Some(false);
    }
    if done.out.matches('\n').count() <= 1 {
        let said = done.out.to_lowercase().replace(&name.to_lowercase(), "");
        let is_not = said.contains("not ");
        if said.contains("stop") {
            return Some(false);
        }
        if said.contains("run") {
            return Some(!is_not);
        }
        if said.contains("start") && !is_not {
            return Some(true);
        }
        if DOWN.iter().any(|word| said.contains(word)) {
            return Some(false);
        }
    }
    if done.code == 0 || (name == "iptables" && done.out.contains("ACCEPT")) {
        return Some(true);
    }
    None
}

/// `ActiveState` in what `systemctl show` says, where the value of a property that begins with `{` goes on to the line that
/// ends with `}`.
fn active_state(told: &str) -> Option<&str> {
    let mut state = None;
    let mut is_open = false;
    for line in python::lines(told) {
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        if is_open {
            is_open = !line.trim_end().ends_with('}');
            continue;
        }
        is_open = value.trim_start().starts_with('{') && !value.trim_end().ends_with('}');
        if key == "ActiveState" && !is_open {
            state = Some(value);
        }
    }
    state
}
