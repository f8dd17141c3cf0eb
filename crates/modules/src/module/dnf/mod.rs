//! `dnf`: packages of Fedora and its relatives, by dnf's own program (version 4).
//!
//! Plain names of packages are worked on here; what rpm's records say is enough costs no call of dnf. Groups, modules, files,
//! patterns, versions and lists are left to the real module ([`takes`]).

mod plan;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::arguments::{Argument, Arguments, Kind, Spec, boolean, integer, list, text};
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::process::{self, Command, Finished};
use crate::registry::Module;

pub(crate) const MODULE: Module = Module { name: "dnf", act };

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    let no = || boolean().default(false);
    let texts = || list(Kind::Text).default(json!([]));
    let options: [(&str, Argument); 31] = [
        ("allow_downgrade", no()),
        ("allowerasing", no()),
        ("autoremove", no()),
        ("best", boolean()),
        ("bugfix", no()),
        ("cacheonly", no()),
        ("conf_file", text()),
        ("disable_excludes", text()),
        ("disable_gpg_check", no()),
        ("disable_plugin", texts()),
        ("disablerepo", texts()),
        ("download_only", no()),
        ("download_dir", text()),
        ("enable_plugin", texts()),
        ("enablerepo", texts()),
        ("exclude", texts()),
        ("installroot", text().default("/")),
        ("install_weak_deps", boolean().default(true)),
        ("list", text()),
        ("name", texts().aliases(&["pkg"])),
        ("nobest", boolean()),
        ("releasever", text()),
        ("security", no()),
        ("skip_broken", no()),
        (
            "state",
            text().choices(&["absent", "installed", "latest", "present", "removed"]),
        ),
        ("update_cache", no().aliases(&["expire-cache"])),
        ("update_only", no()),
        ("validate_certs", boolean().default(true)),
        ("sslverify", boolean().default(true)),
        ("lock_timeout", integer().default(30)),
        (
            "use_backend",
            text()
                .default("auto")
                .choices(&["auto", "dnf", "yum", "yum4", "dnf4", "dnf5"]),
        ),
    ];
    options
        .into_iter()
        .fold(Spec::new(), |spec, (name, argument)| {
            spec.with(name, argument)
        })
        .required_one_of(&["name", "list", "update_cache"])
        .mutually_exclusive(&["name", "list"])
        .mutually_exclusive(&["best", "nobest"])
        .supports_check_mode()
});

const NO_RELEASE: &str =
    "Unable to detect release version (use \"releasever\" option to specify release version)";

/// Whether the arguments ask for nothing but plain packages.
pub(crate) fn takes(arguments: &Map<String, Value>) -> bool {
    let is_false = |value: &Value| crate::arguments::boolean_of(value) == Ok(false);
    let plain = |name: &str| {
        let name = name.trim();
        name == "*"
            || (!name.is_empty()
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c))
                // What may be a version is for dnf to tell.
                && !name
                    .as_bytes()
                    .windows(2)
                    .any(|pair| pair[0] == b'-' && pair[1].is_ascii_digit())
                && name.strip_suffix(".rpm").is_none())
    };
    let only_plain = ["name", "pkg"].iter().all(|key| match arguments.get(*key) {
        None | Some(Value::Null) => true,
        Some(Value::String(names)) => names.split(',').all(plain),
        Some(Value::Array(names)) => names.iter().all(|name| {
            name.as_str()
                .is_some_and(|names| names.split(',').all(plain))
        }),
        Some(_) => false,
    });
    let absent = [
        "autoremove",
        "bugfix",
        "security",
        "download_only",
        "update_only",
        "allow_downgrade",
    ];
    only_plain
        && arguments.get("list").is_none_or(Value::is_null)
        && absent
            .iter()
            .all(|key| arguments.get(*key).is_none_or(is_false))
}

/// A run of the module.
struct Dnf<'r> {
    arguments: &'r Arguments,
    program: String,
    rpm: String,
}

/// The packages of the machine, by what is told of them.
type Packages = BTreeSet<String>;

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let names = names(&arguments);
    let state = match arguments.filled("state") {
        Some("installed") | None => "present",
        Some("removed") => "absent",
        Some(state) => state,
    };
    let Some(program) = process::find(context, "dnf-3", &[]) else {
        return Err(Failure::new(
            "Could not import the dnf python module. Please install `python3-dnf` package. (attempted \
             ['/usr/bin/python3', '/usr/libexec/platform-python', '/usr/bin/python3', '/usr/bin/python'])",
        )
        .with("results", json!([])));
    };
    if !takes(&invocation.arguments) {
        return Err(Failure::new(
            "Groups, modules, files, patterns, versions and lists of packages are not built into the native dnf: \
             install ansible-core on the controller for them.",
        )
        .with("results", json!([])));
    }
    let dnf = Dnf {
        arguments: &arguments,
        program,
        rpm: process::required(context, "rpm", &[])?,
    };
    dnf.checked(context)?;
    if names.is_empty() {
        let done = dnf.run(context, &["makecache"], &[])?;
        if !done.success() {
            return Err(failed(&plan::error_of(&done.err()), &[], &[]));
        }
        return Ok(told(false, "Cache updated", &[]));
    }
    let outcome = match state {
        "absent" => dnf.remove(context, &names),
        "latest" => dnf.install(context, &names, true),
        _ => dnf.install(context, &names, false),
    };
    if outcome.is_err() {
        // Told only where the work was done.
        context.warnings.retain(|warning| warning != NO_RELEASE);
    }
    outcome
}

/// The names of the arguments; texts with commas are several.
fn names(arguments: &Arguments) -> Vec<String> {
    let (several, mut names): (Vec<String>, Vec<String>) = arguments
        .texts("name")
        .into_iter()
        .map(|name| name.trim().to_owned())
        .partition(|name| name.contains(','));
    for name in &several {
        names.extend(name.split(',').map(|name| name.trim().to_owned()));
    }
    names.retain(|name| !name.is_empty());
    names
}

fn told(changed: bool, message: &str, results: &[String]) -> Report {
    Report::from_iter([
        ("changed".to_owned(), changed.into()),
        ("msg".to_owned(), message.into()),
        ("rc".to_owned(), 0.into()),
        ("results".to_owned(), json!(results)),
    ])
}

fn failed(message: &str, failures: &[String], results: &[String]) -> Failure {
    let mut failure = Failure::new(message)
        .with("results", json!(results))
        .with("rc", 1);
    if !failures.is_empty() {
        failure = failure.with("failures", json!(failures));
    }
    failure
}

impl Dnf<'_> {
    /// What is wrong with the arguments that dnf would not tell as the real module does.
    fn checked(&self, context: &Context<'_>) -> Result<(), Failure> {
        if let Some(file) = self.arguments.filled("conf_file")
            && std::fs::File::open(context.path(file)).is_err()
        {
            let why = format!("cannot read configuration file: {file}");
            return Err(failed(&why, &[], &[]));
        }
        let root = self.arguments.required("installroot");
        if !context.path(root).is_dir() {
            let why = format!("Installroot {root} must be a directory");
            return Err(failed(&why, &[], &[]));
        }
        Ok(())
    }

    /// The options of dnf that the arguments ask for.
    fn options(&self) -> Vec<String> {
        let given = self.arguments;
        let yes = |name: &str| i32::from(given.flag(name));
        let mut options = vec![
            format!(
                "--setopt=clean_requirements_on_remove={}",
                yes("autoremove")
            ),
            format!("--setopt=install_weak_deps={}", yes("install_weak_deps")),
        ];
        for (name, option) in [
            ("disable_gpg_check", "--nogpgcheck"),
            ("skip_broken", "--setopt=strict=0"),
            ("cacheonly", "--cacheonly"),
            ("allowerasing", "--allowerasing"),
            ("update_cache", "--refresh"),
        ] {
            if given.flag(name) {
                options.push(option.to_owned());
            }
        }
        if !given.flag("sslverify") {
            options.push("--setopt=sslverify=0".to_owned());
        }
        match given
            .given_flag("nobest")
            .map(|nobest| !nobest)
            .or(given.given_flag("best"))
        {
            Some(true) => options.push("--best".to_owned()),
            Some(false) => options.push("--nobest".to_owned()),
            None => {}
        }
        for (name, option) in [
            ("conf_file", "--config"),
            ("disable_excludes", "--disableexcludes"),
            ("releasever", "--releasever"),
        ] {
            if let Some(value) = given.filled(name) {
                options.push(format!("{option}={value}"));
            }
        }
        if given.required("installroot") != "/" {
            options.push(format!("--installroot={}", given.required("installroot")));
        }
        for (name, option) in [
            ("disable_plugin", "--disableplugin"),
            ("disablerepo", "--disablerepo"),
            ("enable_plugin", "--enableplugin"),
            ("enablerepo", "--enablerepo"),
            ("exclude", "--exclude"),
        ] {
            for value in given.texts(name) {
                options.push(format!("{option}={value}"));
            }
        }
        options
    }

    fn run(
        &self,
        context: &mut Context<'_>,
        command: &[&str],
        names: &[String],
    ) -> Result<Finished, Failure> {
        let words: Vec<String> = [self.program.clone()]
            .into_iter()
            .chain(self.options())
            .chain(command.iter().map(|word| (*word).to_owned()))
            .chain(["--".to_owned()].into_iter().filter(|_| !names.is_empty()))
            .chain(names.iter().cloned())
            .collect();
        let done = Command::new(words)
            .literal()
            .plain_messages()
            .run(context)?;
        if done.err().contains("Unable to detect release version") {
            context.warn(NO_RELEASE);
        }
        Ok(done)
    }

    fn rpm(&self, context: &Context<'_>, words: &[&str]) -> Result<Finished, Failure> {
        let root = self.arguments.required("installroot");
        let mut all = vec![self.rpm.as_str()];
        if root != "/" {
            all.extend(["--root", root]);
        }
        all.extend(words);
        Command::new(all).literal().plain_messages().run(context)
    }

    /// The packages that are installed.
    fn packages(&self, context: &Context<'_>) -> Result<Packages, Failure> {
        let format = "%{NAME}\t%{EPOCHNUM}\t%{VERSION}-%{RELEASE}.%{ARCH}\n";
        let done = self.rpm(context, &["-qa", "--qf", format])?;
        Ok(done
            .out()
            .lines()
            .filter_map(|line| {
                let mut fields = line.split('\t');
                let (name, epoch, rest) = (fields.next()?, fields.next()?, fields.next()?);
                (name != "gpg-pubkey").then(|| plan::shown(name, epoch, rest))
            })
            .collect())
    }

    /// Whether packages of a name are installed, or ones that provide it.
    fn is_installed(&self, context: &Context<'_>, name: &str) -> Result<bool, Failure> {
        Ok(self.rpm(context, &["-q", "--", name])?.success()
            || self
                .rpm(context, &["-q", "--whatprovides", "--", name])?
                .success())
    }

    fn install(&self, context: &mut Context<'_>, names: &[String], newest: bool) -> Outcome {
        if names.iter().any(|name| name == "*") {
            return if newest && names.len() == 1 {
                self.carry_out(context, &[(&["upgrade"], Vec::new())], Vec::new())
            } else {
                Err(failed("No package * available.", &[], &[]))
            };
        }
        // One call of rpm tells whether there is anything to do at all.
        let mut words = vec!["-q", "--"];
        words.extend(names.iter().map(String::as_str));
        let all_there = self.rpm(context, &words)?.success();
        if all_there && !newest && !self.arguments.flag("update_cache") {
            return Ok(told(false, "Nothing to do", &[]));
        }
        let (mut there, mut missing) = (Vec::new(), Vec::new());
        for name in names {
            if all_there || self.is_installed(context, name)? {
                there.push(name.clone());
            } else {
                missing.push(name.clone());
            }
        }
        let mut steps: Vec<Step<'_>> = Vec::new();
        if newest && !there.is_empty() {
            steps.push((&["upgrade"], there));
        }
        if !missing.is_empty() {
            steps.push((&["install"], missing));
        }
        if steps.is_empty() {
            return Ok(told(false, "Nothing to do", &[]));
        }
        self.carry_out(context, &steps, Vec::new())
    }

    fn remove(&self, context: &mut Context<'_>, names: &[String]) -> Outcome {
        let (mut there, mut results) = (Vec::new(), Vec::new());
        for name in names {
            if self.is_installed(context, name)? {
                there.push(name.clone());
            } else {
                results.push(format!("No match for argument: {name}"));
            }
        }
        if there.is_empty() {
            return Ok(told(false, "Nothing to do", &results));
        }
        self.carry_out(context, &[(&["remove"], there)], results)
    }

    /// Lets dnf do some steps: in check mode it only says what it would do.
    fn carry_out(
        &self,
        context: &mut Context<'_>,
        steps: &[Step<'_>],
        mut results: Vec<String>,
    ) -> Outcome {
        // What cannot be had is found out before anything is done.
        let before = self.packages(context)?;
        let mut planned: Vec<String> = Vec::new();
        let mut failures: Vec<String> = Vec::new();
        let mut open: Vec<Step<'_>> = Vec::new();
        for (command, names) in steps {
            let mut names = names.clone();
            let words: Vec<&str> = [&["--assumeno"], *command].concat();
            let mut done = self.run(context, &words, &names)?;
            let unknown = plan::unknown(&done, &names);
            if !unknown.is_empty() && *command == ["install"] {
                for name in &unknown {
                    let why = format!("No package {name} available.");
                    if self.arguments.flag("skip_broken") {
                        results.push(why);
                    } else {
                        failures.push(why);
                    }
                }
                names.retain(|name| !unknown.contains(name));
                if names.is_empty() {
                    continue;
                }
                done = self.run(context, &words, &names)?;
            }
            let error = plan::error_of(&done.err());
            let is_refused = done.code != 0 && !error.is_empty() && !plan::is_only_asked(&error);
            if is_refused {
                let message = format!("Depsolve Error occurred: {error}");
                return Err(failed(&message, &failures, &results));
            }
            let lines = plan::of(&done.out(), &before);
            if !lines.is_empty() {
                planned.extend(lines);
                open.push((command, names));
            }
        }
        if !failures.is_empty() {
            results.extend(planned);
            let message = "Failed to install some of the specified packages";
            return Err(failed(message, &failures, &results));
        }
        if open.is_empty() {
            return Ok(told(false, "Nothing to do", &results));
        }
        if context.settings.check {
            results.extend(planned);
            let message = "Check mode: No changes made, but would have if not in check mode";
            return Ok(told(true, message, &results));
        }
        for (command, names) in &open {
            let words: Vec<&str> = [&["--assumeyes"], *command].concat();
            let done = self.run(context, &words, names)?;
            if !done.success() {
                let error = plan::error_of(&done.err());
                return Err(failed(&error, &[], &results));
            }
        }
        let after = self.packages(context)?;
        let only_in = |one: &Packages, other: &Packages, word: &str| {
            one.difference(other)
                .map(|package| format!("{word}: {package}"))
                .collect::<Vec<String>>()
        };
        results.extend(only_in(&after, &before, "Installed"));
        results.extend(only_in(&before, &after, "Removed"));
        Ok(told(true, "", &results))
    }
}

/// A command of dnf and the names it gets.
type Step<'s> = (&'s [&'s str], Vec<String>);
