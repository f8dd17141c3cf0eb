//! `pip`: Python's packages.

mod foresight;
mod requirement;
mod version;

use std::os::unix::fs::PermissionsExt as _;
use std::sync::LazyLock;

use serde_json::json;

use crate::arguments::{Arguments, Kind, Spec, boolean, list, path, text};
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::locale;
use crate::process::{self, Command, Finished};
use crate::python;
use crate::registry::Module;
use requirement::{Package, joined};

pub(crate) const MODULE: Module = Module { name: "pip", act };

/// The states, and what pip is told for them.
const STATES: [(&str, &[&str]); 4] = [
    ("present", &["install"]),
    ("absent", &["uninstall", "-y"]),
    ("latest", &["install", "-U"]),
    ("forcereinstall", &["install", "-U", "--force-reinstall"]),
];

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with(
            "state",
            text()
                .default("present")
                .choices(&STATES.map(|(state, _)| state)),
        )
        .with("name", list(Kind::Text))
        .with("version", text())
        .with("requirements", text())
        .with("virtualenv", path())
        .with("virtualenv_site_packages", boolean().default(false))
        .with("virtualenv_command", path().default("virtualenv"))
        .with("virtualenv_python", text())
        .with("extra_args", text())
        .with("editable", boolean().default(false))
        .with("chdir", path())
        .with("executable", path())
        .with("umask", text())
        .with("break_system_packages", boolean().default(false))
        .required_one_of(&["name", "requirements"])
        .mutually_exclusive(&["name", "requirements"])
        .mutually_exclusive(&["executable", "virtualenv"])
        .mutually_exclusive(&["editable", "requirements"])
        .supports_check_mode()
});

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let mut work = Work::new(context, &arguments)?;
    let state = arguments.required("state");
    if state == "latest" && arguments.has("version") {
        return Err(Failure::new("version is incompatible with state=latest"));
    }
    let mut report = Report::new();
    for name in ["name", "version", "state", "requirements"] {
        report.insert(name.to_owned(), arguments.get(name).clone());
    }
    report.insert("virtualenv".to_owned(), json!(work.environment));
    let made = match &work.environment {
        Some(environment) => {
            let there = work
                .context
                .path(python::join(environment, "bin/activate"))
                .exists();
            if there {
                None
            } else if work.context.settings.check {
                return Ok(Report::from_iter([("changed".to_owned(), json!(true))]));
            } else {
                Some(work.make_environment(&arguments)?)
            }
        }
        None => None,
    };
    let names = arguments.texts("name");
    let pip = work.pip(arguments.text("executable"))?;
    let packages = wanted(&arguments, &names)?;
    let mut command = pip.clone();
    if let Some((_, words)) = STATES.iter().find(|(name, _)| *name == state) {
        command.extend(words.iter().map(|word| (*word).to_owned()));
    }
    if let Some(more) = arguments.filled("extra_args") {
        let more = python::shell_split(more).map_err(Failure::unhandled)?;
        command.extend(more);
    }
    if arguments.flag("break_system_packages") {
        work.variables
            .push(("PIP_BREAK_SYSTEM_PACKAGES".to_owned(), "1".to_owned()));
    }
    if !names.is_empty() {
        for package in &packages {
            if arguments.flag("editable") {
                command.push("-e".to_owned());
            }
            command.push(package.text.clone());
        }
    } else if let Some(requirements) = arguments.filled("requirements") {
        command.extend(["-r".to_owned(), requirements.to_owned()]);
    } else if let Some(made) = made {
        report.insert("changed".to_owned(), json!(true));
        report.insert("cmd".to_owned(), json!(made));
        report.insert("stdout".to_owned(), json!(work.out));
        report.insert("stderr".to_owned(), json!(work.err));
        return Ok(report);
    } else {
        work.context
            .warn("No valid name or requirements file found.");
        return Ok(Report::from_iter([("changed".to_owned(), json!(false))]));
    }
    if work.context.settings.check {
        return work.foresee(&arguments, &names, packages, &pip);
    }
    let is_from_source = names.iter().any(|name| is_version_control(name));
    let before = if arguments.filled("requirements").is_some() || is_from_source {
        Some(work.installed(&pip)?.1.stdout)
    } else {
        None
    };
    let done = work.run(&command)?;
    let (out, err) = (done.out(), done.err());
    work.out.push_str(&out);
    work.err.push_str(&err);
    let was_missing = done.code == 1
        && state == "absent"
        && (out.contains("not installed") || err.contains("not installed"));
    if !done.success() && !was_missing {
        return Err(failed(&command, &work.out, &work.err));
    }
    let changed = if state == "absent" {
        out.contains("Successfully uninstalled")
    } else {
        match before {
            None => out.contains("Successfully installed"),
            Some(before) => before != work.installed(&pip)?.1.stdout,
        }
    };
    report.insert("changed".to_owned(), json!(changed || made.is_some()));
    report.insert("cmd".to_owned(), json!(command));
    report.insert("stdout".to_owned(), json!(work.out));
    report.insert("stderr".to_owned(), json!(work.err));
    Ok(report)
}

fn is_version_control(name: &str) -> bool {
    ["svn+", "git+", "hg+", "bzr+"]
        .iter()
        .any(|start| name.starts_with(start))
}

/// The packages that are asked for.
fn wanted(arguments: &Arguments, names: &[String]) -> Result<Vec<Package>, Failure> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let mut packages: Vec<Package> = joined(names)
        .iter()
        .map(|name| Package::new(name))
        .collect();
    if let Some(version) = arguments.filled("version") {
        let [package] = packages.as_mut_slice() else {
            return Err(Failure::new(
                "'version' argument is ambiguous when installing multiple package distributions. Please specify version restrictions next to each package in 'name' argument.",
            ));
        };
        if package.has_demands() {
            return Err(Failure::new(
                "The 'version' argument conflicts with any version specifier provided along with a package name. Please keep the version specifier, but remove the 'version' argument.",
            ));
        }
        *package = Package::of_version(&package.text, version);
    }
    Ok(packages)
}

/// A call, and what the programs it ran said so far.
struct Work<'a, 'c> {
    context: &'a mut Context<'c>,
    /// The virtual environment, if it is to be one.
    environment: Option<String>,
    directory: String,
    umask: Option<u32>,
    /// The interpreter modules would run in.
    python: String,
    variables: Vec<(String, String)>,
    out: String,
    err: String,
}

impl<'a, 'c> Work<'a, 'c> {
    fn new(context: &'a mut Context<'c>, arguments: &Arguments) -> Result<Self, Failure> {
        let directory = arguments.text("chdir");
        let environment = arguments.filled("virtualenv").map(|environment| {
            directory.map_or_else(
                || environment.to_owned(),
                |directory| python::join(directory, environment),
            )
        });
        let umask = match arguments.filled("umask") {
            None => None,
            Some(text) => Some(
                u32::from_str_radix(text.strip_prefix("0o").unwrap_or(text), 8).map_err(|_| {
                    Failure::new("umask must be an octal integer").with(
                        "details",
                        format!(
                            "invalid literal for int() with base 8: {}",
                            python::repr(text)
                        ),
                    )
                })?,
            ),
        };
        let told = context.settings.python.clone();
        let python = if told.starts_with('/') {
            Some(told)
        } else {
            [told.as_str(), "python3", "python"]
                .iter()
                .filter(|name| !name.is_empty())
                .find_map(|name| process::find(context, name, &[]))
        };
        Ok(Work {
            environment,
            directory: directory.map_or_else(
                || std::env::temp_dir().to_string_lossy().into_owned(),
                str::to_owned,
            ),
            umask,
            python: python.unwrap_or_else(|| "/usr/bin/python3".to_owned()),
            variables: Vec::new(),
            out: String::new(),
            err: String::new(),
            context,
        })
    }

    fn command(&self, words: &[String]) -> Command {
        let mut command = Command::new(words.iter().cloned()).directory(self.directory.as_str());
        if let Some(umask) = self.umask {
            command = command.umask(umask);
        }
        for (name, value) in &self.variables {
            command = command.variable(name.as_str(), value.as_str());
        }
        command
    }

    /// Runs pip; the programs of the environment are found first.
    fn run(&self, words: &[String]) -> Result<Finished, Failure> {
        let mut command = self.command(words);
        if let Some(environment) = &self.environment {
            command = command.path_prefix(python::join(environment, "bin"));
        }
        command.run(self.context)
    }

    /// Makes the virtual environment, and gives the command that did.
    fn make_environment(&mut self, arguments: &Arguments) -> Result<Vec<String>, Failure> {
        let line = arguments.required("virtualenv_command");
        let mut words = python::shell_split(line).map_err(Failure::unhandled)?;
        let Some(program) = words.first_mut() else {
            return Err(Failure::unhandled("list index out of range"));
        };
        let is_venv = program == "pyvenv";
        if python::basename(program) == program {
            *program = process::required(self.context, program, &[])?;
        }
        let program = program.clone();
        let is_venv = is_venv
            || words.windows(2).any(|pair| pair == ["-m", "venv"])
            || words.iter().any(|word| word == "-mvenv");
        if arguments.flag("virtualenv_site_packages") {
            words.push("--system-site-packages".to_owned());
        } else {
            let help = Command::line(format!("{program} --help")).run(self.context)?;
            if !help.success() {
                return Err(Failure::new(format!(
                    "Could not get output from {program} --help: {}{}",
                    help.out(),
                    help.err()
                )));
            }
            if help
                .out()
                .split_whitespace()
                .any(|word| word == "--no-site-packages")
            {
                words.push("--no-site-packages".to_owned());
            }
        }
        match (is_venv, arguments.filled("virtualenv_python")) {
            (false, told) => {
                words.push(format!("-p{}", told.unwrap_or(&self.python)));
            }
            (true, Some(_)) => {
                return Err(Failure::new(
                    "virtualenv_python should not be used when using the venv module or pyvenv as virtualenv_command",
                ));
            }
            (true, None) => {}
        }
        words.extend(self.environment.clone());
        let done = self.command(&words).run(self.context)?;
        self.out.push_str(&done.out());
        self.err.push_str(&done.err());
        if done.success() {
            Ok(words)
        } else {
            Err(failed(&words, &self.out, &self.err))
        }
    }

    /// The words pip is called with.
    fn pip(&self, executable: Option<&str>) -> Result<Vec<String>, Failure> {
        let name = match executable {
            Some(executable) if executable.starts_with('/') => {
                return Ok(vec![executable.to_owned()]);
            }
            Some(executable) => executable,
            None => "pip3",
        };
        if let Some(environment) = &self.environment {
            let place = python::join(environment, "bin");
            return [name, "pip"]
                .iter()
                .map(|name| python::join(&place, name))
                .find(|path| {
                    std::fs::metadata(self.context.path(path)).is_ok_and(|meta| {
                        meta.is_file() && meta.permissions().mode() & 0o111 != 0
                    })
                })
                .map(|pip| vec![pip])
                .ok_or_else(|| {
                    Failure::new(format!(
                        "Unable to find pip in the virtualenv, {environment}, under any of these names: {name}, pip. Make sure pip is present in the virtualenv."
                    ))
                });
        }
        if executable.is_none() && self.has_pip() {
            return Ok(vec![self.python.clone(), "-m".to_owned(), "pip".to_owned()]);
        }
        process::find(self.context, name, &[])
            .map(|pip| vec![pip])
            .ok_or_else(|| {
                Failure::new(format!(
                    "Unable to find any of {name} to use.  pip needs to be installed."
                ))
            })
    }

    /// Whether the interpreter has pip as a module.
    fn has_pip(&self) -> bool {
        const QUESTION: &str =
            "import sys, importlib.util; sys.exit(importlib.util.find_spec('pip') is None)";
        Command::new([self.python.as_str(), "-c", QUESTION])
            .literal()
            .run(self.context)
            .is_ok_and(|done| done.success())
    }

    /// The packages there are: the command that told, and what it said.
    fn installed(&self, pip: &[String]) -> Result<(String, Finished), Failure> {
        let with = |words: &[&str]| -> Vec<String> {
            pip.iter()
                .cloned()
                .chain(words.iter().map(|word| (*word).to_owned()))
                .collect()
        };
        let words = with(&["list", "--format=freeze"]);
        let locale = locale::readable(self.context);
        let mut command = self.command(&words);
        for name in ["LANG", "LC_ALL", "LC_MESSAGES"] {
            command = command.variable(name, locale.as_str());
        }
        let done = command.run(self.context)?;
        if done.success() {
            return Ok((words.join(" "), done));
        }
        let words = with(&["freeze"]);
        let done = self.command(&words).run(self.context)?;
        if done.success() {
            return Ok((words.join(" "), done));
        }
        Err(failed(&words, &done.out(), &done.err()))
    }
}

fn failed(words: &[String], out: &str, err: &str) -> Failure {
    let mut message = String::new();
    if !out.is_empty() {
        message.push_str(&format!("stdout: {out}"));
    }
    if !err.is_empty() {
        message.push_str(&format!("\n:stderr: {err}"));
    }
    Failure::new(message).with("cmd", json!(words))
}
