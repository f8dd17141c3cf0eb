//! `service_facts`: the services of the machine, and what they do.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::arguments::Spec;
use crate::context::Context;
use crate::invocation::{Invocation, Outcome, Report};
use crate::locale;
use crate::process::{self, Command, Finished};
use crate::registry::Module;

pub(crate) const MODULE: Module = Module {
    name: "service_facts",
    act,
};

static SPEC: LazyLock<Spec> = LazyLock::new(|| Spec::new().supports_check_mode());

/// The services by their names.
type Services = Map<String, Value>;

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    context.arguments(&SPEC, invocation)?;
    let mut scan = Scan {
        locale: locale::readable(context),
        context,
    };
    let mut services = scan.scripts();
    services.extend(scan.units());
    services.extend(scan.of_rcctl());
    let mut report = Report::new();
    if services.is_empty() {
        report.insert("skipped".to_owned(), json!(true));
        report.insert(
            "msg".to_owned(),
            json!("Failed to find any services. This can be due to privileges or some other configuration issue."),
        );
    } else {
        report.insert("ansible_facts".to_owned(), json!({"services": services}));
    }
    Ok(report)
}

struct Scan<'a, 'c> {
    context: &'a mut Context<'c>,
    locale: String,
}

impl Scan<'_, '_> {
    fn program(&self, name: &str) -> Option<String> {
        process::find(self.context, name, &[])
    }

    fn run(&self, command: Command) -> Finished {
        command
            .variable("LANG", self.locale.as_str())
            .variable("LC_ALL", self.locale.as_str())
            .run(self.context)
            .unwrap_or_else(|failure| Finished {
                code: 257,
                stdout: Vec::new(),
                stderr: failure.message.into_bytes(),
            })
    }

    /// Services of scripts, of upstart and of OpenRC.
    fn scripts(&mut self) -> Services {
        let mut services = Services::new();
        let [service, chkconfig, initctl, status, update] =
            ["service", "chkconfig", "initctl", "rc-status", "rc-update"]
                .map(|name| self.program(name));
        if let (Some(service), None, None) = (&service, &chkconfig, &status) {
            self.of_sysvinit(service, &mut services);
        }
        if let (Some(initctl), None) = (&initctl, &chkconfig) {
            self.of_upstart(initctl, &mut services);
        } else if let Some(chkconfig) = &chkconfig {
            let service = service.as_deref().unwrap_or("None");
            self.of_chkconfig(chkconfig, service, &mut services);
        } else if let (Some(status), Some(update)) = (&status, &update) {
            self.of_openrc(status, update, &mut services);
        }
        services
    }

    fn of_sysvinit(&mut self, service: &str, services: &mut Services) {
        let done = self.run(Command::new([service, "--status-all"]));
        if done.code == 4 && !self.context.path("/etc/init.d").exists() {
            return;
        }
        if !done.success() {
            self.context.warn(format!(
                "Unable to query 'service' tool ({}): {}",
                done.code,
                done.err()
            ));
        }
        for line in done.out().lines() {
            let Some((sign, name)) = line
                .trim_start()
                .strip_prefix("[ ")
                .and_then(|rest| rest.split_once(" ]"))
            else {
                continue;
            };
            let state = match sign {
                "+" => "running",
                "-" => "stopped",
                _ => continue,
            };
            let bare = name.trim_start();
            if bare.is_empty() || bare.len() == name.len() {
                continue;
            }
            services.insert(
                bare.to_owned(),
                json!({"name": bare, "state": state, "source": "sysv"}),
            );
        }
    }

    fn of_upstart(&mut self, initctl: &str, services: &mut Services) {
        let done = self.run(Command::new([initctl, "list"]));
        if !done.success() {
            self.context.warn(format!(
                "Unable to query upstart for service data: {}",
                done.err()
            ));
            return;
        }
        for line in done.out().replace('\r', "").lines() {
            // `name goal/state, process 1`
            let line = line.trim_end();
            let line = line
                .rsplit_once(", process ")
                .filter(|(_, number)| number.bytes().all(|byte| byte.is_ascii_digit()))
                .map_or(line, |(rest, _)| rest);
            let Some((name, (goal, state))) = line
                .rsplit_once(' ')
                .and_then(|(name, last)| Some((name, last.split_once('/')?)))
            else {
                continue;
            };
            let name = name.strip_prefix(' ').unwrap_or(name);
            services.insert(
                name.to_owned(),
                json!({"name": name, "state": state, "goal": goal, "source": "upstart"}),
            );
        }
    }

    fn of_chkconfig(&mut self, chkconfig: &str, service: &str, services: &mut Services) {
        let mut done = self.run(Command::shell(chkconfig));
        let mut said = done.out();
        if !said.lines().any(|line| levels_of(line).is_some()) {
            let simple = said.lines().any(|line| {
                let mut words = line.split_whitespace();
                words.next().is_some()
                    && words.any(|word| word.starts_with("on") || word.starts_with("off"))
            });
            if simple {
                done = self.run(Command::shell(format!("{chkconfig} -l --allservices")));
                said = done.out();
            } else if done.err().contains("--list") {
                done = self.run(Command::shell(format!("{chkconfig} --list")));
                said = done.out();
            }
        }
        for line in said.lines() {
            let Some((name, is_on)) = levels_of(line) else {
                continue;
            };
            let done = self.run(Command::shell(format!("{service} {name} status")));
            let mut state = json!("stopped");
            if done.success() {
                state = json!("running");
            } else {
                let wrong = done.err().to_lowercase();
                if ["root", "permission", "not in sudoers"]
                    .iter()
                    .any(|word| wrong.contains(word))
                {
                    self.context.warn(format!(
                        "Insufficient permissions to query sysV service \"{name}\" and their states"
                    ));
                    state = json!(done.code);
                }
            }
            let status = if is_on { "enabled" } else { "disabled" };
            services.insert(
                name.to_owned(),
                json!({"name": name, "state": state, "status": status, "source": "sysv"}),
            );
        }
    }

    fn of_openrc(&mut self, status: &str, update: &str, services: &mut Services) {
        let done = self.run(Command::shell(format!(
            "{status} -a -s -m 2>&1 | grep '^ ' | tr -d '[]'"
        )));
        let updated = self
            .run(Command::shell(format!("{update} show -v 2>&1 | grep '|'")))
            .out();
        let levels: HashMap<&str, Value> = updated
            .lines()
            .filter_map(|line| {
                let mut parts = line.split('|');
                let (name, levels) = (parts.next()?.trim(), parts.next()?.trim());
                let levels = if levels.is_empty() {
                    Value::Null
                } else {
                    json!(levels.split_whitespace().collect::<Vec<_>>())
                };
                Some((name, levels))
            })
            .collect();
        for line in done.out().lines() {
            let mut words = line.split_whitespace();
            let (Some(name), Some(state)) = (words.next(), words.next()) else {
                continue;
            };
            if name == "*" {
                continue;
            }
            match levels.get(name) {
                Some(levels) => {
                    services.insert(
                        name.to_owned(),
                        json!({"name": name, "runlevels": levels, "state": state, "source": "openrc"}),
                    );
                }
                None => self
                    .context
                    .warn(format!("Service {name} not found in the service list")),
            }
        }
    }

    /// Services of systemd.
    fn units(&mut self) -> Services {
        const BAD: [&str; 3] = ["not-found", "masked", "failed"];
        let mut services = Services::new();
        let Some(systemctl) = self.program("systemctl") else {
            return services;
        };
        if !runs_systemd(self.context) {
            return services;
        }
        let loaded = self.run(Command::new([
            systemctl.as_str(),
            "list-units",
            "--no-pager",
            "--type",
            "service",
            "--all",
            "--plain",
        ]));
        if loaded.success() {
            for line in loaded
                .out()
                .lines()
                .filter(|line| line.contains(".service"))
            {
                let fields: Vec<&str> = line.split_whitespace().collect();
                let [name, _, active, sub, ..] = fields.as_slice() else {
                    continue;
                };
                let status = BAD
                    .iter()
                    .find(|bad| fields[..fields.len() - 1].contains(bad))
                    .unwrap_or(active);
                let state = if *sub == "running" {
                    "running"
                } else {
                    "stopped"
                };
                services.insert(
                    (*name).to_owned(),
                    json!({"name": name, "state": state, "status": status, "source": "systemd"}),
                );
            }
        } else {
            self.context.warn(format!(
                "Could not list units from systemd: {}",
                loaded.err()
            ));
        }
        let files = self.run(Command::new([
            systemctl.as_str(),
            "list-unit-files",
            "--no-pager",
            "--type",
            "service",
            "--all",
        ]));
        if !files.success() {
            self.context.warn(format!(
                "Could not get unit files data from systemd: {}",
                files.err()
            ));
            return services;
        }
        let mut unknown: Vec<(String, String)> = Vec::new();
        for line in files.out().lines().filter(|line| line.contains(".service")) {
            let mut fields = line.split_whitespace();
            let (Some(name), Some(status)) = (fields.next(), fields.next()) else {
                continue;
            };
            match services.get_mut(name) {
                None => unknown.push((name.to_owned(), status.to_owned())),
                Some(service) => {
                    let is_bad = service["status"]
                        .as_str()
                        .is_some_and(|status| BAD.contains(&status));
                    if !is_bad {
                        service["status"] = json!(status);
                    }
                }
            }
        }
        let names: Vec<&str> = unknown.iter().map(|(name, _)| name.as_str()).collect();
        let states = self.active_states(&systemctl, &names);
        for ((name, status), state) in unknown.iter().zip(states) {
            services.insert(
                name.clone(),
                json!({"name": name, "state": state, "status": status, "source": "systemd"}),
            );
        }
        services
    }

    /// How units that are not loaded are. All are asked for at once: one call for each is what takes longest otherwise.
    /// Templates cannot be asked for.
    fn active_states(&self, systemctl: &str, names: &[&str]) -> Vec<String> {
        let asked: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| !name.contains("@."))
            .collect();
        let show = |units: &[&str]| -> Option<Vec<String>> {
            let words = [systemctl, "show"]
                .into_iter()
                .chain(units.iter().copied())
                .chain(["--property=ActiveState"]);
            let done = self.run(Command::new(words).literal());
            let states: Vec<String> = done
                .out()
                .lines()
                .filter_map(|line| line.strip_prefix("ActiveState="))
                .map(|state| state.trim_end().to_owned())
                .collect();
            (done.success() && states.len() == units.len()).then_some(states)
        };
        let mut told: HashMap<&str, String> = HashMap::new();
        for units in asked.chunks(500) {
            let states = show(units).unwrap_or_else(|| {
                units
                    .iter()
                    .map(|unit| {
                        show(&[*unit])
                            .and_then(|states| states.into_iter().next())
                            .unwrap_or_else(|| "unknown".to_owned())
                    })
                    .collect()
            });
            told.extend(units.iter().copied().zip(states));
        }
        names
            .iter()
            .map(|name| {
                told.get(name)
                    .cloned()
                    .unwrap_or_else(|| "unknown".to_owned())
            })
            .collect()
    }

    /// Services of OpenBSD's `rcctl`.
    fn of_rcctl(&mut self) -> Services {
        let mut services = Services::new();
        let Some(rcctl) = self.program("rcctl") else {
            return services;
        };
        for name in self.listed(&rcctl, "all") {
            let mut service = Map::from_iter([
                ("name".to_owned(), json!(name)),
                ("source".to_owned(), json!("rcctl")),
                ("rogue".to_owned(), json!(false)),
            ]);
            let told = self.run(Command::new([rcctl.as_str(), "get", &name])).out();
            for line in told.lines() {
                if let Some((key, value)) =
                    line.replacen(&format!("{name}_"), "", 1).split_once('=')
                {
                    service.insert(key.to_owned(), json!(value));
                }
            }
            services.insert(name, service.into());
        }
        for (list, key, value, other) in [
            ("on", "status", "enabled", "disabled"),
            ("started", "state", "running", "stopped"),
            ("failed", "state", "failed", "stopped"),
        ] {
            for name in self.listed(&rcctl, list) {
                if let Some(service) = services.get_mut(&name) {
                    service[key] = json!(value);
                }
            }
            if list != "started" {
                for (_, service) in &mut services {
                    if service.get(key).is_none_or(Value::is_null) {
                        service[key] = json!(other);
                    }
                }
            }
        }
        for name in self.listed(&rcctl, "rogue") {
            if let Some(service) = services.get_mut(&name) {
                service["rogue"] = json!(true);
            }
        }
        services
    }

    fn listed(&mut self, rcctl: &str, list: &str) -> Vec<String> {
        let done = self.run(Command::new([rcctl, "ls", list]));
        if done.err().to_lowercase().contains("needs root privileges") {
            self.context.warn("rcctl requires root privileges");
            return Vec::new();
        }
        done.out()
            .lines()
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    }
}

/// Whether systemd is the first process.
fn runs_systemd(context: &Context<'_>) -> bool {
    [
        "/run/systemd/system/",
        "/dev/.run/systemd/",
        "/dev/.systemd/",
    ]
    .iter()
    .any(|place| context.path(place).exists())
        || std::fs::read_to_string("/proc/1/comm").is_ok_and(|name| name.trim() == "systemd")
}

/// The service of a line like `name 0:off 1:off 2:on 3:on …`, and whether it is on in level 3.
fn levels_of(line: &str) -> Option<(&str, bool)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|word| is_level(word))?;
    let levels = words.get(at..at + 7)?;
    if at == 0 || !levels.iter().all(|word| is_level(word)) {
        return None;
    }
    let end = line.find(levels[0])?;
    Some((line[..end].trim_end(), levels[3].ends_with("on")))
}

fn is_level(word: &str) -> bool {
    word.split_once(':').is_some_and(|(level, state)| {
        level.len() == 1
            && level.bytes().all(|byte| byte.is_ascii_digit())
            && (state == "on" || state == "off")
    })
}
