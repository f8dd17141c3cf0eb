//! The callback `junit`: a report of the run as JUnit XML.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use consort_jinja::repr;
use indexmap::IndexMap;

use super::display::Display;
use super::shown::{Shown, hides};
use super::{Callback, Event, Status, TaskResult};

/// What counts as a test, and as one that failed: the `JUNIT_*` variables.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools)]
pub struct Options {
    /// Where the report goes (`JUNIT_OUTPUT_DIR`).
    pub directory: PathBuf,
    /// One class a file (`JUNIT_TASK_CLASS`).
    pub class_a_file: bool,
    /// Paths are told from here (`JUNIT_TASK_RELATIVE_PATH`).
    pub relative_to: Option<PathBuf>,
    /// A task that changes something fails (`JUNIT_FAIL_ON_CHANGE`).
    pub fail_on_change: bool,
    /// So does one whose failure is ignored (`JUNIT_FAIL_ON_IGNORE`).
    pub fail_on_ignore: bool,
    /// Gathering facts is no test (`JUNIT_INCLUDE_SETUP_TASKS_IN_REPORT` is false).
    pub without_setup: bool,
    /// Arguments are not told (`JUNIT_HIDE_TASK_ARGUMENTS`).
    pub without_arguments: bool,
    /// Only tasks whose names begin so are tests (`JUNIT_TEST_CASE_PREFIX`).
    pub prefix: String,
    /// What stands for paths outside of the tree (`JUNIT_REPLACE_OUT_OF_TREE_PATH`).
    pub outside: Option<String>,
}

/// Writes the report at the end.
pub struct Junit {
    options: Options,
    shown: Shown,
    display: Display,
    playbook: String,
    play: String,
    tasks: IndexMap<u64, Tested>,
}

struct Tested {
    name: String,
    place: String,
    play: String,
    setup: bool,
    began: Instant,
    hosts: IndexMap<Arc<str>, Case>,
}

struct Case {
    status: &'static str,
    took: f64,
    output: String,
    /// What is said of a failure, and what was skipped for.
    message: String,
    /// It failed by an exception.
    broke: bool,
}

impl Junit {
    /// Writes to a directory; what goes wrong with that is told on a display.
    pub fn new(options: Options, shown: Shown, display: Display) -> Self {
        Junit {
            options,
            shown,
            display,
            playbook: String::new(),
            play: String::new(),
            tasks: IndexMap::new(),
        }
    }

    fn finish(&mut self, id: u64, host: &Arc<str>, mut status: &'static str, case: Case) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        if status == "failed" && task.name.contains("EXPECTED FAILURE") {
            status = "ok";
        } else if task.name.contains("TOGGLE RESULT") {
            status = match status {
                "failed" => "ok",
                "ok" => "failed",
                other => other,
            };
        }
        if !task.name.starts_with(&self.options.prefix) && status != "failed" {
            return;
        }
        let took = task.began.elapsed().as_secs_f64();
        match task.hosts.get_mut(host) {
            Some(known) if status == "included" => {
                known.output = format!("{}\n{}", known.output, case.output);
            }
            _ => {
                task.hosts.insert(
                    Arc::clone(host),
                    Case {
                        status,
                        took,
                        ..case
                    },
                );
            }
        }
    }

    fn result(&mut self, result: &TaskResult) {
        let of = &result.result;
        let mut status = match result.status {
            Status::Ok => "ok",
            Status::Skipped => "skipped",
            Status::Failed if result.ignored && !self.options.fail_on_ignore => "ok",
            Status::Failed => "failed",
            Status::Unreachable => return,
        };
        if self.options.fail_on_change && status == "ok" && result.changed {
            status = "failed";
        }
        let text = |name: &str| of.get(name).map(|value| repr::text(&value));
        let message = match status {
            "skipped" => text("skip_reason").unwrap_or_else(|| "skipped".to_owned()),
            _ => match (&result.error, text("msg")) {
                (Some(error), _) => brief(error),
                (None, Some(msg)) => msg,
                (None, None) => format!("rc={}", text("rc").unwrap_or_else(|| "0".to_owned())),
            },
        };
        let case = Case {
            status,
            took: 0.0,
            output: match &result.error {
                Some(error) => tracebacks(error),
                None => self.shown.result(of, Some(0)),
            },
            message,
            broke: result.error.is_some(),
        };
        self.finish(result.task.id, &result.host, status, case);
    }

    fn class(&self, place: &str) -> String {
        let mut class = match &self.options.relative_to {
            Some(base) => relative(Path::new(place), base),
            None => place.to_owned(),
        };
        if let Some(outside) = &self.options.outside
            && class.starts_with("../")
        {
            class = format!("{outside}{}", crate::paths::basename(&class));
        }
        if self.options.class_a_file
            && let Some((file, line)) = class.rsplit_once(':')
            && std::path::Path::new(file)
                .extension()
                .is_some_and(|end| end == "yml")
            && line.bytes().all(|byte| byte.is_ascii_digit())
        {
            class = file.to_owned();
        }
        class
    }

    fn report(&mut self) {
        let mut cases = String::new();
        let (mut count, mut errors, mut failures, mut skipped, mut time) = (0, 0, 0, 0, 0.0);
        for task in self.tasks.values() {
            if task.setup && self.options.without_setup {
                continue;
            }
            for (host, case) in &task.hosts {
                count += 1;
                time += case.took;
                let _ = write!(
                    cases,
                    "\t\t<testcase classname=\"{}\" name=\"{}\" time=\"{}\"",
                    escaped(&self.class(&task.place)),
                    escaped(&format!("[{host}] {}: {}", task.play, task.name)),
                    case.took
                );
                match case.status {
                    "failed" => {
                        let kind = if case.broke {
                            errors += 1;
                            "error"
                        } else {
                            failures += 1;
                            "failure"
                        };
                        let output = &case.output;
                        let _ = write!(
                            cases,
                            ">\n\t\t\t<{kind} message=\"{}\" type=\"{kind}\">{}</{kind}>\n\t\t</testcase>\n",
                            escaped(&case.message),
                            text(output)
                        );
                    }
                    "skipped" => {
                        skipped += 1;
                        let _ = write!(
                            cases,
                            ">\n\t\t\t<skipped>{}</skipped>\n\t\t</testcase>\n",
                            text(&case.message)
                        );
                    }
                    _ => {
                        let _ = write!(
                            cases,
                            ">\n\t\t\t<system-out>{}</system-out>\n\t\t</testcase>\n",
                            text(&case.output)
                        );
                    }
                }
            }
        }
        let figures = format!("disabled=\"0\" errors=\"{errors}\" failures=\"{failures}\"");
        let text = format!(
            "<?xml version=\"1.0\" ?>\n<testsuites {figures} tests=\"{count}\" time=\"{time}\">\n\t<testsuite {figures} \
             name=\"{}\" skipped=\"{skipped}\" tests=\"{count}\" time=\"{time}\">\n{cases}\t</testsuite>\n</testsuites>\n",
            escaped(&self.playbook)
        );
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |time| time.as_secs_f64());
        let path = self
            .options
            .directory
            .join(format!("{}-{now}.xml", self.playbook));
        let written = std::fs::create_dir_all(&self.options.directory)
            .and_then(|()| std::fs::write(&path, text));
        if let Err(error) = written {
            self.display.warning(&format!(
                "the report could not be written to {}: {error}",
                path.display()
            ));
        }
    }
}

/// What stands for the tracebacks of an error and its causes.
fn tracebacks(error: &str) -> String {
    let causes = error.matches("\n<<< caused by >>>\n").count();
    vec!["(traceback missing)\n"; causes + 1]
        .join("\nThe above exception was the direct cause of the following exception:\n\n")
}

/// The message of an error without the places it is told with.
fn brief(error: &str) -> String {
    let head = error.split("\nOrigin: ").next().unwrap_or(error);
    let head = head.split("\n\nTask failed.").next().unwrap_or(head);
    head.trim().to_owned()
}

/// A path from a directory on.
fn relative(path: &Path, base: &Path) -> String {
    let mut own = path.components().peekable();
    let mut other = base.components().peekable();
    while let (Some(a), Some(b)) = (own.peek(), other.peek()) {
        if a != b {
            break;
        }
        own.next();
        other.next();
    }
    let mut relative = PathBuf::new();
    other.for_each(|_| relative.push(".."));
    own.for_each(|part| relative.push(part));
    relative.to_string_lossy().into_owned()
}

/// A text between tags: quotes stay as they are.
fn text(text: &str) -> String {
    escaped(text).replace("&quot;", "\"")
}

/// A text for XML: what it has no form for is left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(c),
            c if (c as u32) < 0x20 => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

impl Callback for Junit {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Playbook(playbook) => {
                self.playbook = playbook
                    .path
                    .file_stem()
                    .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            }
            Event::Play { name, .. } => (*name).clone_into(&mut self.play),
            Event::Task {
                task,
                name,
                arguments,
                ..
            } => {
                let mut name = name.trim().to_owned();
                let secret = hides(task);
                if !secret && !self.options.without_arguments && !arguments.is_empty() {
                    let pairs: Vec<String> = arguments
                        .read()
                        .iter()
                        .map(|(key, value)| {
                            format!("{}={}", repr::text(key.value()), repr::text(value))
                        })
                        .collect();
                    name = format!("{name} {}", pairs.join(", "));
                }
                let play = self.play.clone();
                self.tasks.entry(task.id).or_insert_with(|| Tested {
                    name,
                    place: task.place(),
                    play,
                    setup: matches!(task.action.builtin(), Some("setup" | "gather_facts")),
                    began: Instant::now(),
                    hosts: IndexMap::new(),
                });
            }
            Event::Result(result) => self.result(result),
            Event::Included { task, path, .. } => {
                let case = Case {
                    status: "included",
                    took: 0.0,
                    output: (*path).to_owned(),
                    message: String::new(),
                    broke: false,
                };
                self.finish(task.id, &Arc::from("include"), "included", case);
            }
            Event::Stats(_) => self.report(),
            _ => {}
        }
    }
}
