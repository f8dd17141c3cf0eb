//! `git`: a working copy of a repository, at a version.

mod archive;
mod copy;
mod refs;
mod ssh;
mod submodules;

use std::path::Path;
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::arguments::{Arguments, Kind, Spec, boolean, integer, list, path, raw, text};
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::locale;
use crate::process::{self, Command, Finished};
use crate::python;
use crate::registry::Module;

pub(crate) const MODULE: Module = Module { name: "git", act };

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("dest", path())
        .with("repo", text().required().aliases(&["name"]))
        .with("version", text().default("HEAD"))
        .with("remote", text().default("origin"))
        .with("refspec", text())
        .with("reference", text())
        .with("force", boolean().default(false))
        .with("depth", integer())
        .with("clone", boolean().default(true))
        .with("update", boolean().default(true))
        .with("verify_commit", boolean().default(false))
        .with("gpg_allowlist", list(Kind::Text).default(json!([])))
        .with("accept_hostkey", boolean().default(false))
        .with("accept_newhostkey", boolean().default(false))
        .with("key_file", path())
        .with("ssh_opts", text())
        .with("executable", path())
        .with("bare", boolean().default(false))
        .with("recursive", boolean().default(true))
        .with("single_branch", boolean().default(false))
        .with("track_submodules", boolean().default(false))
        .with("umask", raw())
        .with("archive", path())
        .with("archive_prefix", text())
        .with("separate_git_dir", path())
        .mutually_exclusive(&["separate_git_dir", "bare"])
        .mutually_exclusive(&["accept_hostkey", "accept_newhostkey"])
        .required_by("archive_prefix", &["archive"])
        .supports_check_mode()
});

/// A version of git, as far as it is numbers.
type Version = Vec<u32>;

/// What is asked for, and the git that does it.
struct Work<'a, 'c> {
    context: &'a mut Context<'c>,
    git: String,
    git_version: Option<Version>,
    environment: Vec<(String, String)>,
    umask: Option<u32>,
    /// The repository as git is told of it, and as it was given.
    repo: String,
    given_repo: String,
    /// The working copy; empty if there is to be none.
    dest: String,
    version: String,
    remote: String,
    refspec: Option<String>,
    reference: Option<String>,
    depth: Option<i64>,
    force: bool,
    bare: bool,
    single_branch: bool,
    track_submodules: bool,
    verify_commit: bool,
    keys: Vec<String>,
    separate: Option<String>,
}

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let mut work = Work::new(context, &arguments)?;
    let mut report = Report::from_iter([("changed".to_owned(), json!(false))]);
    let allow_clone = arguments.flag("clone");
    let settings = if work.dest.is_empty() {
        if allow_clone {
            return Err(Failure::new(
                "the destination directory must be specified unless clone=no",
            ));
        }
        None
    } else {
        Some(work.git_directory(&mut report)?)
    };
    work.set_up(&arguments)?;
    report.insert("before".to_owned(), Value::Null);
    let check = work.context.settings.check;
    let there = settings
        .as_ref()
        .is_some_and(|directory| work.path(&format!("{directory}/config")).exists());
    let (mut local_changes, mut url_changed) = (false, false);
    let archive = arguments.text("archive");
    let prefix = arguments.text("archive_prefix");
    if !there {
        if check || !allow_clone {
            let repo = work.repo.clone();
            let head = work.remote_head(&repo)?;
            report.insert("changed".to_owned(), json!(true));
            report.insert("after".to_owned(), json!(head));
            work.tell_difference(&mut report)?;
            return Ok(report);
        }
        work.clone_it(&mut report)?;
    } else if !arguments.flag("update") {
        let now = work.revision()?;
        report.insert("before".to_owned(), json!(now));
        report.insert("after".to_owned(), json!(now));
        if let Some(archive) = archive {
            if check {
                report.insert("changed".to_owned(), json!(true));
            } else {
                let changed = work.archive(archive, prefix)?;
                report.insert("changed".to_owned(), json!(changed));
            }
        }
        return Ok(report);
    } else {
        local_changes = work.has_local_changes()?;
        report.insert("before".to_owned(), json!(work.revision()?));
        if local_changes {
            let told = format!(
                "Local modifications exist in the destination: {}",
                work.dest
            );
            if !work.force {
                let mut failure = Failure::new(format!("{told} (force=no)."));
                for (name, value) in report {
                    failure = failure.with(&name, value);
                }
                return Err(failure);
            }
            if !check {
                work.checked(&["reset", "--hard", "HEAD"])?;
                report.insert("changed".to_owned(), json!(true));
                report.insert("msg".to_owned(), json!(told));
            }
        }
        url_changed = if check {
            work.has_other_url()?
        } else {
            work.set_url()?
        };
        report.insert("remote_url_changed".to_owned(), json!(url_changed));
        if check {
            let remote = work.remote.clone();
            let head = work.remote_head(&remote)?;
            let changed = report["before"] != json!(head) || url_changed;
            report.insert("changed".to_owned(), json!(changed));
            report.insert("after".to_owned(), json!(head));
            work.tell_difference(&mut report)?;
            return Ok(report);
        }
        work.fetch()?;
        report.insert("after".to_owned(), json!(work.revision()?));
    }
    if !work.bare {
        work.switch()?;
    }
    let mut submodules_changed = false;
    if arguments.flag("recursive") && !work.bare {
        submodules_changed = work.fetch_submodules()?;
        if submodules_changed {
            report.insert("submodules_changed".to_owned(), json!(true));
            work.update_submodules()?;
        }
    }
    let now = json!(work.revision()?);
    let changed = report["before"] != now || local_changes || submodules_changed || url_changed;
    report.insert("after".to_owned(), now);
    if changed {
        report.insert("changed".to_owned(), json!(true));
        work.tell_difference(&mut report)?;
    }
    if let Some(archive) = archive {
        let changed = work.archive(archive, prefix)?;
        report.insert("changed".to_owned(), json!(changed));
    }
    Ok(report)
}

impl<'a, 'c> Work<'a, 'c> {
    fn new(context: &'a mut Context<'c>, arguments: &Arguments) -> Result<Self, Failure> {
        let git = match arguments.filled("executable") {
            Some(executable) => executable.to_owned(),
            None => process::required(context, "git", &[])?,
        };
        let given = arguments.required("repo").to_owned();
        let expanded = python::expand_user(context, &given);
        let umask = match arguments.get("umask") {
            Value::Null => None,
            Value::String(text) => Some(octal(text)?),
            _ => {
                return Err(Failure::new(
                    "umask must be defined as a quoted octal integer",
                ));
            }
        };
        let place = |path: &str| python::normalize(&context.path(path).to_string_lossy());
        let dest = arguments.filled("dest").map(place).unwrap_or_default();
        let separate = arguments
            .filled("separate_git_dir")
            .map(|path| crate::attributes::real_path(context, &place(path)));
        let locale = locale::readable(context);
        let environment = locale::variables(&locale)
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        Ok(Work {
            git,
            git_version: None,
            environment,
            umask,
            repo: if expanded.starts_with('/') {
                format!("file://{expanded}")
            } else {
                given.clone()
            },
            given_repo: given,
            dest,
            version: arguments.required("version").to_owned(),
            remote: arguments.required("remote").to_owned(),
            refspec: arguments.filled("refspec").map(str::to_owned),
            reference: arguments.filled("reference").map(str::to_owned),
            depth: arguments.integer("depth").filter(|depth| *depth != 0),
            force: arguments.flag("force"),
            bare: arguments.flag("bare"),
            single_branch: arguments.flag("single_branch"),
            track_submodules: arguments.flag("track_submodules"),
            verify_commit: arguments.flag("verify_commit"),
            keys: arguments.texts("gpg_allowlist"),
            separate,
            context,
        })
    }

    /// Finds out which git it is, and what it reaches repositories over ssh with.
    fn set_up(&mut self, arguments: &Arguments) -> Result<(), Failure> {
        self.git_version = self.ask_version()?;
        self.set_ssh(arguments)?;
        if self.depth.is_some() && self.is_older_than(&[1, 9, 1]) {
            self.context.warn(
                "git version is too old to fully support the depth argument. Falling back to full checkouts.",
            );
            self.depth = None;
        }
        Ok(())
    }

    fn ask_version(&self) -> Result<Option<Version>, Failure> {
        let done = self.run_in(&["--version"], None)?;
        Ok(done
            .success()
            .then(|| {
                let said = done.out();
                let (_, number) = said.trim_end().split_once("git version ")?;
                let number = number.split(' ').next()?;
                Some(
                    number
                        .split('.')
                        .map_while(|part| part.parse().ok())
                        .collect(),
                )
            })
            .flatten())
    }

    /// Whether git is known to be older than a version.
    fn is_older_than(&self, version: &[u32]) -> bool {
        self.git_version
            .as_ref()
            .is_some_and(|own| own.as_slice() < version)
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.context.path(path)
    }

    fn command(&self, words: &[&str], directory: Option<&str>) -> Command {
        let mut command =
            Command::new(std::iter::once(self.git.as_str()).chain(words.iter().copied()));
        for (name, value) in &self.environment {
            command = command.variable(name.as_str(), value.as_str());
        }
        if let Some(umask) = self.umask {
            command = command.umask(umask);
        }
        if let Some(directory) = directory.filter(|directory| !directory.is_empty()) {
            command = command.directory(directory);
        }
        command
    }

    /// Runs git in a directory.
    fn run_in(&self, words: &[&str], directory: Option<&str>) -> Result<Finished, Failure> {
        self.command(words, directory).run(self.context)
    }

    /// Runs git in the working copy.
    fn run(&self, words: &[&str]) -> Result<Finished, Failure> {
        self.run_in(words, Some(&self.dest))
    }

    /// Runs git in the working copy; it has to succeed.
    fn checked(&self, words: &[&str]) -> Result<Finished, Failure> {
        self.command(words, Some(&self.dest))
            .check()
            .run(self.context)
    }

    /// What differs between before and after, if it is to be told.
    fn tell_difference(&self, report: &mut Report) -> Result<(), Failure> {
        if !self.context.settings.diff {
            return Ok(());
        }
        let after = report
            .get("after")
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned();
        let told = match report.get("before").and_then(Value::as_str) {
            None => format!(">> Newly checked out {after}"),
            Some(before) if before == after => return Ok(()),
            Some(before) => {
                self.fetch_version(&after)?;
                let done = self.run(&["diff", before, &after])?;
                let (said, wrong) = (done.out(), done.err());
                match (done.success(), said.is_empty()) {
                    (true, false) => said,
                    (true, true) => {
                        format!(">> No visual differences between {before} and {after}")
                    }
                    (false, _) if !wrong.is_empty() => format!(
                        ">> Failed to get proper diff between {before} and {after}:\n>> {wrong}"
                    ),
                    (false, _) => {
                        format!(">> Failed to get proper diff between {before} and {after}")
                    }
                }
            }
        };
        report.insert("diff".to_owned(), json!({"prepared": told}));
        Ok(())
    }

    /// The directory git keeps its things in: `.git`, or where that file leads. Moves it where it is to be kept apart.
    fn git_directory(&self, report: &mut Report) -> Result<String, Failure> {
        let directory = self.repository_path()?;
        if let Some(separate) = &self.separate
            && self.path(&directory).exists()
            && *separate != directory
        {
            report.insert("changed".to_owned(), json!(true));
            if !self.context.settings.check {
                self.move_apart(report, separate, &directory)?;
                return Ok(separate.clone());
            }
        }
        Ok(directory)
    }

    fn repository_path(&self) -> Result<String, Failure> {
        let usual = if self.bare {
            self.dest.clone()
        } else {
            python::join(&self.dest, ".git")
        };
        let place = self.path(&usual);
        if !place.is_file() {
            return Ok(usual);
        }
        let wrong = |details: String| {
            Failure::new(
                "Current repo does not have a valid reference to a separate Git dir or it refers to the invalid path",
            )
            .with("details", details.clone())
            .because(details)
        };
        let text = std::fs::read_to_string(&place)
            .map_err(|error| wrong(python::os_error_at_text(&error, &usual)))?;
        let target = text
            .trim_end()
            .strip_prefix("gitdir: ")
            .ok_or_else(|| wrong(".git file has invalid git dir reference format".to_owned()))?;
        let target = python::join(&self.dest, target);
        if !self.path(&target).is_dir() {
            return Err(wrong(format!("{target} is not a directory")));
        }
        Ok(target)
    }

    fn move_apart(&self, report: &mut Report, to: &str, from: &str) -> Result<(), Failure> {
        if self.path(to).exists() {
            return Err(Failure::new(format!(
                "Separate-git-dir path {to} already exists."
            )));
        }
        let moved = std::fs::rename(self.path(from), self.path(to)).and_then(|()| {
            let file = self.path(&python::join(&self.dest, ".git"));
            std::fs::write(file, format!("gitdir: {to}")).inspect_err(|_| {
                // What could not be told of has to stay where it was.
                let _ = std::fs::rename(self.path(to), self.path(from));
            })
        });
        moved.map_err(|error| {
            Failure::unhandled("Unable to move git dir.")
                .because(python::os_error_at_text(&error, from))
        })?;
        report.insert("git_dir_before".to_owned(), json!(from));
        report.insert("git_dir_now".to_owned(), json!(to));
        Ok(())
    }
}

fn octal(text: &str) -> Result<u32, Failure> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    u32::from_str_radix(digits, 8).map_err(|_| {
        Failure::new("umask must be an octal integer").with(
            "details",
            format!(
                "invalid literal for int() with base 8: {}",
                python::repr(text)
            ),
        )
    })
}

/// What a command gave, with a failure.
fn with_output(failure: Failure, done: &Finished) -> Failure {
    failure
        .with("stdout", done.out())
        .with("stderr", done.err())
        .with("rc", done.code)
}

/// The directory above a path, which has to be there for git to work in.
fn above(path: &str) -> &str {
    Path::new(path)
        .parent()
        .and_then(Path::to_str)
        .unwrap_or("/")
}
