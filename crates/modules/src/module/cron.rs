//! `cron`: jobs and variables in a user's crontab, or in a file of `/etc/cron.d`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::arguments::{Arguments, Spec, boolean, path, text};
use crate::atomic::{self, Keep};
use crate::attributes::real_path;
use crate::context::Context;
use crate::edit;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::process::{self, Command, Finished};
use crate::python;
use crate::registry::Module;
use crate::selinux;

pub(crate) const MODULE: Module = Module { name: "cron", act };

const TIMES: [&str; 5] = ["minute", "hour", "day", "month", "weekday"];

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("name", text().required())
        .with("user", text())
        .with("job", text().aliases(&["value"]))
        .with("cron_file", path())
        .with(
            "state",
            text().default("present").choices(&["present", "absent"]),
        )
        .with("backup", boolean().default(false))
        .with("minute", text().default("*"))
        .with("hour", text().default("*"))
        .with("day", text().default("*").aliases(&["dom"]))
        .with("month", text().default("*"))
        .with("weekday", text().default("*").aliases(&["dow"]))
        .with(
            "special_time",
            text().choices(&[
                "reboot", "yearly", "annually", "monthly", "weekly", "daily", "hourly",
            ]),
        )
        .with("disabled", boolean().default(false))
        .with("env", boolean().default(false))
        .with("insertafter", text())
        .with("insertbefore", text())
        .mutually_exclusive(&["insertafter", "insertbefore"])
        .supports_check_mode()
});

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let file = arguments.filled("cron_file");
    if let Some(file) = file {
        if file == "/etc/crontab" {
            return Err(Failure::new(
                "Will not manage /etc/crontab via cron_file, see documentation.",
            ));
        }
        let name = python::basename(file);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if name.is_empty() || !name.chars().all(is_plain) {
            context.warn(format!(
                "Filename portion of cron_file (\"{name}\") should consist solely of upper- and lower-case letters, digits, underscores, and hyphens"
            ));
        }
    }
    let mut table = Table::read(context, &arguments)?;
    let mut diff = Map::new();
    diff.insert("before".to_owned(), table.existing.as_str().into());
    diff.insert("before_header".to_owned(), table.header().into());
    check(&arguments)?;
    let acts = !context.settings.check;
    let backup = if arguments.flag("backup") && acts {
        let path = temporary(context);
        write_new(&path, table.text().as_bytes(), 0o600)?;
        Some(path)
    } else {
        None
    };
    let is_wanted = arguments.text("state") == Some("present");
    let mut changed = if arguments.flag("env") {
        table.bring_variable(&arguments, is_wanted)?
    } else if is_wanted {
        table.add_job(context, &arguments)
    } else {
        let found = table.remove_job(arguments.required("name"));
        if found
            && table.is_empty()
            && let Some(place) = &table.file
        {
            let there = context.path(place).is_file();
            let gone = if acts {
                std::fs::remove_file(context.path(place)).is_ok()
            } else {
                there
            };
            diff.insert("after".to_owned(), "".into());
            diff.insert("after_header".to_owned(), "/dev/null".into());
            return Ok(Report::from_iter([
                ("changed".to_owned(), gone.into()),
                ("cron_file".to_owned(), json!(file)),
                ("state".to_owned(), arguments.get("state").clone()),
                (
                    "diff".to_owned(),
                    if context.settings.diff {
                        Value::Object(diff)
                    } else {
                        json!({})
                    },
                ),
            ]));
        }
        found
    };
    // What has no newline at its end is to get one.
    changed |= !table.existing.is_empty() && !table.existing.ends_with(['\r', '\n']);
    let mut report = Report::new();
    report.insert("jobs".to_owned(), json!(table.jobs()));
    report.insert("envs".to_owned(), json!(table.variables()));
    report.insert("changed".to_owned(), changed.into());
    if changed {
        if acts {
            table.write(context)?;
        }
        if context.settings.diff {
            diff.insert("after".to_owned(), table.text().into());
            diff.insert("after_header".to_owned(), table.header().into());
            report.insert("diff".to_owned(), Value::Object(diff));
        }
    }
    if let Some(backup) = backup {
        if changed {
            let shown = backup.to_string_lossy().into_owned();
            report.insert("backup_file".to_owned(), shown.into());
        } else {
            // What is left of it is only rubbish.
            let _ = std::fs::remove_file(&backup);
        }
    }
    if let Some(file) = file {
        report.insert("cron_file".to_owned(), file.into());
    }
    Ok(report)
}

/// What cannot be meant.
fn check(arguments: &Arguments) -> Result<(), Failure> {
    let is_timed = TIMES.iter().any(|name| arguments.text(name) != Some("*"));
    let is_wanted = arguments.text("state") == Some("present");
    let placed =
        arguments.filled("insertafter").is_some() || arguments.filled("insertbefore").is_some();
    for (wrong, message) in [
        (
            arguments.has("special_time") && is_timed,
            "You cannot combine special_time with any of the time or day/date parameters.",
        ),
        (
            is_wanted
                && arguments.filled("cron_file").is_some()
                && arguments.filled("user").is_none(),
            "To use cron_file=... parameter you must specify user=... as well",
        ),
        (
            is_wanted && !arguments.has("job"),
            "You must specify 'job' to install a new cron job or variable",
        ),
        (
            is_wanted && placed && !arguments.flag("env"),
            "Insertafter and insertbefore parameters are valid only with env=yes",
        ),
    ] {
        if wrong {
            return Err(Failure::new(message));
        }
    }
    if arguments.flag("env") && arguments.required("name").contains(' ') {
        return Err(Failure::new("Invalid name for environment variable"));
    }
    Ok(())
}

/// What stands before the name of a job in the line above it.
const MARK: &str = "#Ansible: ";

/// A crontab.
struct Table {
    program: String,
    user: Option<String>,
    /// The file it is, if it is none of a user's.
    file: Option<String>,
    /// What it was.
    existing: String,
    lines: Vec<String>,
}

impl Table {
    fn read(context: &Context<'_>, arguments: &Arguments) -> Result<Table, Failure> {
        let mut table = Table {
            program: process::required(context, "crontab", &[])?,
            user: arguments.filled("user").map(str::to_owned),
            file: arguments
                .filled("cron_file")
                .map(|file| python::join("/etc/cron.d", file)),
            existing: String::new(),
            lines: Vec::new(),
        };
        if let Some(file) = &table.file {
            if let Ok(bytes) = std::fs::read(context.path(file)) {
                table.existing = String::from_utf8_lossy(&bytes).into_owned();
                table.lines = python::lines(&table.existing).map(str::to_owned).collect();
            }
            return Ok(table);
        }
        let done = table.run(context, "-l")?;
        // 1 may only mean that there are no jobs.
        if !matches!(done.code, 0 | 1) {
            return Err(Failure::unhandled("Unable to read crontab"));
        }
        let out = done.out();
        table.existing.clone_from(&out);
        for (place, line) in python::lines(&out).enumerate() {
            if place > 2 || !is_head(line) {
                table.lines.push(line.to_owned());
            } else if let Some(at) = table.existing.find(line) {
                let end = at + line.len();
                let ends = usize::from(table.existing[end..].starts_with(['\r', '\n']));
                table.existing.replace_range(at..end + ends, "");
            }
        }
        Ok(table)
    }

    /// Runs the program for the user.
    fn run(&self, context: &Context<'_>, word: &str) -> Result<Finished, Failure> {
        let mut words = vec![self.program.as_str()];
        let own = crate::attributes::user_name(nix::unistd::getuid().as_raw());
        if let Some(user) = &self.user
            && own.as_ref() != Some(user)
        {
            words.extend(["-u", user]);
        }
        words.push(word);
        Command::new(words).literal().run(context)
    }

    /// What the differences of it are headed with.
    fn header(&self) -> String {
        match (&self.file, &self.user) {
            (Some(file), _) => file.clone(),
            (None, Some(user)) => format!("crontab for user \"{user}\""),
            (None, None) => "crontab".to_owned(),
        }
    }

    fn is_empty(&self) -> bool {
        self.lines.iter().all(|line| line.trim().is_empty())
    }

    fn text(&self) -> String {
        let text = self.lines.join("\n");
        if text.is_empty() {
            return text;
        }
        format!("{}\n", text.trim_end_matches(['\r', '\n']))
    }

    fn write(&self, context: &mut Context<'_>) -> Result<(), Failure> {
        let text = self.text();
        let Some(file) = &self.file else {
            let place = temporary(context);
            write_new(&place, text.as_bytes(), 0o644)?;
            let shown = place.to_string_lossy().into_owned();
            let done = self.run(context, &shown);
            // What is left of it is only rubbish.
            let _ = std::fs::remove_file(&place);
            let done = done?;
            if !done.success() {
                return Err(
                    Failure::new(format!("Failed to install new cronfile: {shown}"))
                        .with("stderr", done.err())
                        .with("stdout", done.out())
                        .with("rc", done.code),
                );
            }
            return Ok(());
        };
        let real = real_path(context, file);
        let place = context.path(&real);
        if let Some(above) = place.parent()
            && !above.is_dir()
        {
            let missing = std::io::Error::from_raw_os_error(libc::ENOENT);
            return Err(Failure::unhandled(python::os_error_at(
                &missing,
                context.path(file),
            )));
        }
        let is_new = !place.exists();
        let keep = Keep {
            attributes: true,
            unsafe_writes: true,
        };
        atomic::write(context, &real, text.as_bytes(), keep)?;
        if is_new {
            // Only its owner may write it, whatever else the permissions of new files are.
            std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o644))
                .map_err(|error| Failure::unhandled(python::os_error_at(&error, &place)))?;
        }
        if selinux::is_enabled() {
            let usual = selinux::default_context(context, file);
            selinux::set(context, file, &usual, false, None)?;
        }
        Ok(())
    }

    /// Brings the job into it. Gives whether something changed.
    fn add_job(&mut self, context: &mut Context<'_>, arguments: &Arguments) -> bool {
        let name = arguments.required("name");
        let job = arguments.required("job").trim_matches(['\r', '\n']);
        if job.contains(['\r', '\n']) {
            context.warn("Job should not contain line breaks");
        }
        let job = self.line(arguments, job);
        match self.find(name, &job) {
            None => {
                self.lines.extend([format!("{MARK}{name}"), job]);
                true
            }
            Some(Found { line, is_named_now }) => {
                let changes = line != job || is_named_now;
                if changes {
                    self.replace_job(name, Some(&job));
                }
                changes
            }
        }
    }

    /// The line of a job.
    fn line(&self, arguments: &Arguments, job: &str) -> String {
        let mut line = String::new();
        if arguments.flag("disabled") {
            line.push('#');
        }
        match arguments.filled("special_time") {
            Some(special) => line.push_str(&format!("@{special} ")),
            None => {
                for name in TIMES {
                    line.push_str(arguments.required(name));
                    line.push(' ');
                }
            }
        }
        if self.file.is_some() {
            line.push_str(self.user.as_deref().unwrap_or("None"));
            line.push(' ');
        }
        line.push_str(job);
        line
    }

    /// The line below the name of a job; or else the line of the job itself, which gets its name if it has none.
    fn find(&mut self, name: &str, job: &str) -> Option<Found> {
        if let Some(line) = self.named(name) {
            return Some(Found {
                line: line.to_owned(),
                is_named_now: false,
            });
        }
        for place in 0..self.lines.len() {
            if self.lines[place] != job {
                continue;
            }
            // Above the first line is the last one, for Python.
            let above = place.checked_sub(1).unwrap_or(self.lines.len() - 1);
            if !self.lines[above].starts_with(MARK) {
                self.lines.insert(place, format!("{MARK}{name}"));
            } else if !name.is_empty() && self.lines[above] == format!("{MARK}None") {
                self.lines[above] = format!("{MARK}{name}");
            } else {
                continue;
            }
            return Some(Found {
                line: job.to_owned(),
                is_named_now: true,
            });
        }
        None
    }

    fn named(&self, name: &str) -> Option<&str> {
        let mut above: Option<String> = None;
        for line in &self.lines {
            match above.take() {
                Some(known) if known == name => return Some(line),
                None if line.starts_with(MARK) => above = Some(line.replace(MARK, "")),
                _ => {}
            }
        }
        None
    }

    /// Takes a job out. Gives whether it was there.
    fn remove_job(&mut self, name: &str) -> bool {
        let found = self.named(name).is_some();
        if found {
            self.replace_job(name, None);
        }
        found
    }

    /// Puts another line below each name of a job, or takes both out.
    fn replace_job(&mut self, name: &str, job: Option<&str>) {
        let mark = format!("{MARK}{name}");
        let mut lines = Vec::with_capacity(self.lines.len());
        let mut is_below = false;
        for line in std::mem::take(&mut self.lines) {
            if is_below {
                lines.extend(
                    job.map(|job| [mark.clone(), job.to_owned()])
                        .into_iter()
                        .flatten(),
                );
                is_below = false;
            } else if line == mark {
                is_below = true;
            } else {
                lines.push(line);
            }
        }
        self.lines = lines;
    }

    /// Brings a variable into it, or takes it out. Gives whether something changed.
    fn bring_variable(&mut self, arguments: &Arguments, is_wanted: bool) -> Result<bool, Failure> {
        let name = arguments.required("name");
        let text = format!("{name}=\"{}\"", arguments.text("job").unwrap_or("None"));
        let places = self.places_of(name)?;
        let Some(first) = places.first() else {
            if is_wanted {
                self.add_variable(arguments, text)?;
            }
            return Ok(is_wanted);
        };
        if is_wanted && self.lines[*first] == text {
            return Ok(false);
        }
        let lines = std::mem::take(&mut self.lines);
        self.lines = lines
            .into_iter()
            .enumerate()
            .filter_map(|(place, line)| match (places.contains(&place), is_wanted) {
                (false, _) => Some(line),
                (true, true) => Some(text.clone()),
                (true, false) => None,
            })
            .collect();
        Ok(true)
    }

    fn add_variable(&mut self, arguments: &Arguments, text: String) -> Result<(), Failure> {
        let after = arguments.filled("insertafter");
        let Some(other) = after.or_else(|| arguments.filled("insertbefore")) else {
            self.lines.insert(0, text);
            return Ok(());
        };
        let Some(place) = self.places_of(other)?.first().copied() else {
            return Err(Failure::new(format!("Variable named '{other}' not found.")));
        };
        self.lines
            .insert(place + usize::from(after.is_some()), text);
        Ok(())
    }

    /// Where a variable is set. Its name is an expression.
    fn places_of(&self, name: &str) -> Result<Vec<usize>, Failure> {
        let pattern = edit::pattern(&format!("^{name}="))?;
        let mut places = Vec::new();
        for (place, line) in self.lines.iter().enumerate() {
            let found = pattern
                .match_at(line, 0)
                .map_err(|error| Failure::unhandled(error.0))?;
            if found.is_some() {
                places.push(place);
            }
        }
        Ok(places)
    }

    fn jobs(&self) -> Vec<String> {
        self.lines
            .iter()
            .filter(|line| line.starts_with(MARK))
            .map(|line| line.replace(MARK, ""))
            .collect()
    }

    fn variables(&self) -> Vec<&str> {
        self.lines
            .iter()
            .filter(|line| {
                let end = line.find(char::is_whitespace).unwrap_or(line.len());
                line[..end].rfind('=').is_some_and(|at| at > 0)
            })
            .filter_map(|line| line.split('=').next())
            .collect()
    }
}

/// A job that is there.
struct Found {
    line: String,
    /// It had no name before.
    is_named_now: bool,
}

/// Whether a line is one of those the program puts before a table.
fn is_head(line: &str) -> bool {
    if line.starts_with("# DO NOT EDIT THIS FILE - edit the master and reinstall") {
        return line.len() > "# DO NOT EDIT THIS FILE - edit the master and reinstall".len();
    }
    let follows = |begin: &str, word: &str| {
        line.strip_prefix(begin)
            .and_then(|rest| rest.split_once(word))
            .is_some_and(|(_, rest)| rest.contains(')'))
    };
    follows("# (/tmp/", "installed on") || follows("# (", "version")
}

/// A name for a file in the directory for those that are there for a moment.
fn temporary(context: &Context<'_>) -> PathBuf {
    let directory = context
        .variable("TMPDIR")
        .filter(|directory| context.path(directory).is_dir())
        .map_or_else(
            || PathBuf::from("/tmp"),
            |directory| context.path(directory),
        );
    let unique = uuid::Uuid::new_v4().simple().to_string();
    directory.join(format!("crontab{}", &unique[..8]))
}

/// Makes a file that must not be there yet.
fn write_new(path: &std::path::Path, contents: &[u8], mode: u32) -> Result<(), Failure> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            file.write_all(contents)?;
            file.set_permissions(std::fs::Permissions::from_mode(mode))
        })
        .map_err(|error| Failure::unhandled(python::os_error_at(&error, path)))
}
