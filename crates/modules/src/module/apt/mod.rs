//! `apt`: packages of Debian and its relatives.
//!
//! What is to be done is found out from dpkg's own records where they suffice: a package that is there and needs to be
//! no newer costs no call of apt.

mod change;
mod deb;
mod install;
mod policy_rc_d;
mod upgrade;
mod wanted;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::apt::installed::Installed;
use crate::apt::update::{self, Trouble};
use crate::apt::{Environment, cache};
use crate::arguments::{Arguments, Kind, Spec, boolean, integer, list, path, text};
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::process::{self, Command};
use crate::registry::Module;
use crate::times;

pub(crate) const MODULE: Module = Module { name: "apt", act };

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with(
            "state",
            text().default("present").choices(&[
                "absent",
                "build-dep",
                "fixed",
                "latest",
                "present",
            ]),
        )
        .with("update_cache", boolean().aliases(&["update-cache"]))
        .with("update_cache_retries", integer().default(5))
        .with("update_cache_retry_max_delay", integer().default(12))
        .with("cache_valid_time", integer().default(0))
        .with("purge", boolean().default(false))
        .with("package", list(Kind::Text).aliases(&["pkg", "name"]))
        .with("deb", path())
        .with("default_release", text().aliases(&["default-release"]))
        .with(
            "install_recommends",
            boolean().aliases(&["install-recommends"]),
        )
        .with("force", boolean().default(false))
        .with(
            "upgrade",
            text()
                .choices(&["dist", "full", "no", "safe", "yes"])
                .default("no"),
        )
        .with(
            "dpkg_options",
            text().default("force-confdef,force-confold"),
        )
        .with("autoremove", boolean().default(false))
        .with("autoclean", boolean().default(false))
        .with("fail_on_autoremove", boolean().default(false))
        .with("policy_rc_d", integer())
        .with("only_upgrade", boolean().default(false))
        .with("force_apt_get", boolean().default(false))
        .with("clean", boolean().default(false))
        .with(
            "allow_unauthenticated",
            boolean().default(false).aliases(&["allow-unauthenticated"]),
        )
        .with(
            "allow_downgrade",
            boolean().default(false).aliases(&[
                "allow-downgrade",
                "allow_downgrades",
                "allow-downgrades",
            ]),
        )
        .with("allow_change_held_packages", boolean().default(false))
        .with("lock_timeout", integer().default(60))
        .with("auto_install_module_deps", boolean().default(true))
        .mutually_exclusive(&["deb", "package", "upgrade"])
        .required_one_of(&["autoremove", "deb", "package", "update_cache", "upgrade"])
        .supports_check_mode()
});

/// A run of the module.
struct Apt<'r> {
    arguments: &'r Arguments,
    /// `apt-get`, with its path.
    get: String,
    /// `aptitude`, if it is there.
    aptitude: Option<String>,
    /// Known when the first program is run.
    environment: Option<Environment>,
}

/// The options for dpkg, as apt-get takes them.
fn dpkg_options(arguments: &Arguments) -> String {
    let given: Vec<String> = arguments
        .required("dpkg_options")
        .split(',')
        .map(|option| format!("-o \"Dpkg::Options::=--{option}\""))
        .collect();
    format!(
        "{} -o DPkg::Lock::Timeout={}",
        given.join(" "),
        arguments.integer("lock_timeout").unwrap_or(60)
    )
}

/// What apt-get said it does, for the diff: what stands between its preparations and its count.
fn diff_of(output: &str) -> Map<String, Value> {
    let lines = crate::python::split_lines(output);
    let lines: Vec<&str> = lines
        .iter()
        .map(|line| line.trim_end_matches(['\n', '\r']))
        .collect();
    let start = ["Resolving dependencies...", "Reading state information..."]
        .iter()
        .find_map(|mark| lines.iter().position(|line| line == mark))
        .map_or(0, |at| at + 1);
    let end = lines
        .iter()
        .position(|line| counts(line))
        .map_or(lines.len(), |at| at + 1);
    let prepared = lines.get(start..end).unwrap_or_default().join("\n");
    Map::from_iter([("prepared".to_owned(), prepared.into())])
}

/// The same, if a diff is wanted.
fn wanted_diff(context: &Context<'_>, output: &str) -> Map<String, Value> {
    if context.settings.diff {
        diff_of(output)
    } else {
        Map::new()
    }
}

/// `3 upgraded, ...`, `3 packages upgraded, ...`.
fn counts(line: &str) -> bool {
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let Some(rest) = rest.strip_prefix(' ').filter(|_| rest.len() < line.len()) else {
        return false;
    };
    rest.strip_prefix("packages ")
        .unwrap_or(rest)
        .starts_with("upgraded")
}

impl Apt<'_> {
    fn environment(&mut self, context: &Context<'_>) -> Environment {
        self.environment
            .get_or_insert_with(|| Environment::new(context))
            .clone()
    }

    /// Runs a line of a command; services are kept from starting if `policy_rc_d` asks for it.
    fn change(
        &mut self,
        context: &mut Context<'_>,
        line: &str,
        prompt: Option<&str>,
    ) -> Result<process::Finished, Failure> {
        let mut command = self.environment(context).of(Command::line(line));
        if let Some(prompt) = prompt {
            command = command.prompt(prompt);
        }
        let guard = policy_rc_d::Guard::enter(context, self.arguments)?;
        let done = command.run(context);
        guard.leave()?;
        done
    }

    /// The release packages are taken from, if one is preferred.
    fn release(&self) -> Option<&str> {
        self.arguments.filled("default_release")
    }

    /// An option of apt-get that an argument asks for.
    fn option(&self, argument: &str, option: &'static str) -> &'static str {
        if self.arguments.flag(argument) {
            option
        } else {
            ""
        }
    }
}

fn outcome(changed: bool, done: &process::Finished, diff: impl Into<Value>) -> Report {
    Report::from_iter([
        ("changed".to_owned(), changed.into()),
        ("stdout".to_owned(), done.out().into()),
        ("stderr".to_owned(), done.err().into()),
        ("diff".to_owned(), diff.into()),
    ])
}

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let mut apt = Apt {
        get: process::required(context, "apt-get", &[])?,
        aptitude: process::find(context, "aptitude", &[]),
        environment: None,
        arguments: &arguments,
    };
    if arguments.required("upgrade") == "no" {
        context.told_as("upgrade", Value::Null);
    }
    let upgrade = Some(arguments.required("upgrade")).filter(|mode| *mode != "no");
    let has_packages = !arguments.texts("package").is_empty();
    let has_work = has_packages || upgrade.is_some() || arguments.filled("deb").is_some();
    if arguments.flag("clean") {
        let cleaned = apt.clean(context)?;
        if !has_work {
            return Ok(cleaned);
        }
    }
    let patience = Duration::from_secs(
        arguments
            .integer("lock_timeout")
            .unwrap_or(60)
            .max(0)
            .unsigned_abs(),
    );
    let begin = Instant::now();
    loop {
        match apt.all(context, upgrade, has_work) {
            Ok(report) => return Ok(report),
            Err(Trouble::Locked(_)) if begin.elapsed() < patience => {
                if context
                    .cancel
                    .as_ref()
                    .is_some_and(process::Cancel::is_cancelled)
                {
                    return Err(Failure::new("cancelled"));
                }
                update::pause(context, 0.5);
            }
            Err(Trouble::Locked(why)) => {
                return Err(Failure::new(format!(
                    "Failed to lock apt for exclusive operation: {why}"
                )));
            }
            Err(Trouble::Fetch(why)) => {
                return Err(Failure::new(format!(
                    "Could not fetch updated apt files: {why}"
                )));
            }
            Err(Trouble::Unreadable(why)) => return Err(Failure::new(why)),
            Err(Trouble::Failed(failure)) => return Err(failure),
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Trouble::Failed(failure)
    }
}

impl Apt<'_> {
    /// All that is asked for, once.
    fn all(
        &mut self,
        context: &mut Context<'_>,
        upgrade: Option<&str>,
        has_work: bool,
    ) -> Result<Report, Trouble> {
        let arguments = self.arguments;
        self.lists_exist(context)?;
        if let Some(release) = self.release().map(str::to_owned) {
            // One that apt does not know is told at once.
            let environment = self.environment(context);
            cache::known(context, &environment, &["apt"], (&[], Some(&release)))?;
        }
        let (updated, time) = self.update(context)?;
        let told = |report: &mut Report| {
            report.insert("cache_updated".to_owned(), updated.into());
            report.insert("cache_update_time".to_owned(), time.into());
        };
        if (arguments.flag("update_cache") || arguments.integer("cache_valid_time") != Some(0))
            && !has_work
        {
            let mut report = Report::from_iter([("changed".to_owned(), updated.into())]);
            told(&mut report);
            return Ok(report);
        }
        if let Some(mode) = upgrade {
            return Ok(self.upgrade(context, mode)?);
        }
        if let Some(given) = arguments.filled("deb") {
            if arguments.required("state") != "present" {
                return Err(Failure::new("deb only supports state=present").into());
            }
            let files = if given.contains("://") {
                crate::url::fetch_file(context, arguments, given)?
            } else {
                given.to_owned()
            };
            return Ok(self.install_files(context, &files)?);
        }
        let given = arguments.texts("package");
        let packages: Vec<String> = given
            .iter()
            .filter(|name| *name != "*")
            .map(|name| name.trim().to_owned())
            .collect();
        if arguments.required("state") == "latest" && packages.len() < given.len() {
            if !packages.is_empty() {
                return Err(Failure::new(
                    "unable to install additional packages when upgrading all installed packages",
                )
                .into());
            }
            return Ok(self.upgrade(context, "yes")?);
        }
        if let Some(wrong) = packages.iter().find(|name| name.matches('=').count() > 1) {
            return Err(Failure::new(format!("invalid package spec: {wrong}")).into());
        }
        if packages.is_empty() {
            for operation in ["autoclean", "autoremove"] {
                if arguments.flag(operation) {
                    return Ok(self.clean_up(context, operation)?);
                }
            }
        }
        if arguments.required("state") == "absent" {
            return Ok(self.remove(context, packages)?);
        }
        let mut result = self.install(context, packages, true)?;
        match &mut result {
            Ok(report) => told(report),
            Err(failure) => told(&mut failure.more),
        }
        Ok(result?)
    }

    /// Fetches the lists if there are none at all.
    fn lists_exist(&mut self, context: &Context<'_>) -> Result<(), Failure> {
        if context.path(update::LISTS).is_dir() {
            return Ok(());
        }
        let environment = self.environment(context);
        let mut done = process::Finished::default();
        for _ in 0..2 {
            done = environment
                .of(Command::new(["apt-get", "update", "-q"]))
                .run(context)?;
            if done.success() {
                return Ok(());
            }
        }
        Err(Failure::new(format!(
            "Failed to recreate the cache: {}{}",
            done.out(),
            done.err()
        ))
        .with("rc", done.code))
    }

    /// Updates the lists if that is asked for and they are not new enough: whether they were, and when they were last.
    fn update(&mut self, context: &mut Context<'_>) -> Result<(bool, i64), Trouble> {
        let arguments = self.arguments;
        let before = update::last(context);
        let time = before.floor() as i64;
        let valid = arguments.integer("cache_valid_time").unwrap_or(0);
        if !arguments.flag("update_cache") && valid == 0 {
            return Ok((false, time));
        }
        if before + valid as f64 >= times::now() {
            return Ok((false, time));
        }
        let environment = self.environment(context);
        let get = self.get.clone();
        update::patiently(
            context,
            arguments,
            &get,
            |command| environment.of(command),
            (
                |number, why| {
                    format!("Failed to update cache after {number} retries due to {why}, retrying")
                },
                "refresh",
            ),
        )?
        .map_err(Failure::new)?;
        let after = update::last(context).floor() as i64;
        Ok((context.settings.check || time != after, after))
    }

    /// What dpkg says now.
    fn installed(context: &Context<'_>) -> Installed {
        Installed::read(context)
    }
}
