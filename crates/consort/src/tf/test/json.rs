//! Tests as programs read them: lines of JSON.

use consort_hcl::Sources;
use consort_hcl::diagnostic::{self, Diagnostics};
use consort_infra::address::ResourceInstance;
use consort_infra::render_json::{SchemaSet, plan_json, schemas_json, state_json};
use consort_infra::testing::{Event, FileReport, Left, Progress, Reporter, Status, Verbose};
use serde_json::{Map, Value, json};

use super::super::VERSION;
use super::super::terminal::Terminal;
use super::super::view::timestamp;
use super::{View, count, summary, word};

/// Writes a line for each event.
pub(super) struct Json;

/// What an event is about.
#[derive(Clone, Copy, Default)]
struct About<'a> {
    file: Option<&'a str>,
    run: Option<&'a str>,
}

impl Json {
    /// Says which program this is.
    pub(super) fn new(_terminal: &Terminal) -> Json {
        let view = Json;
        view.line(
            "info",
            &format!("Terraform {VERSION}"),
            "version",
            About::default(),
            json!({"terraform": VERSION, "ui": "1.2"}),
        );
        view
    }

    #[expect(clippy::unused_self, reason = "who has a view may speak")]
    fn line(&self, level: &str, message: &str, kind: &str, about: About<'_>, more: Value) {
        let mut line = Map::new();
        line.insert("@level".to_owned(), level.into());
        line.insert("@message".to_owned(), message.into());
        line.insert("@module".to_owned(), "terraform.ui".into());
        if let Some(file) = about.file {
            line.insert("@testfile".to_owned(), file.into());
        }
        if let Some(run) = about.run {
            line.insert("@testrun".to_owned(), run.into());
        }
        line.insert("@timestamp".to_owned(), timestamp().into());
        if let Value::Object(more) = more {
            line.extend(more);
        }
        line.insert("type".to_owned(), kind.into());
        crate::output::print(&format!("{}\n", Value::Object(line)));
    }

    fn told(&self, diagnostics: &Diagnostics, sources: &Sources, about: About<'_>) {
        let mut sorted = diagnostics.clone();
        sorted.sort(sources);
        for diagnostic in &sorted {
            let (level, word) = if diagnostic.is_error() {
                ("error", "Error")
            } else {
                ("warn", "Warning")
            };
            self.line(
                level,
                &format!("{word}: {}", diagnostic.summary),
                "diagnostic",
                about,
                json!({"diagnostic": diagnostic::json(diagnostic, sources)}),
            );
        }
    }

    fn verbose(&self, verbose: &Verbose, about: About<'_>) {
        let schemas = SchemaSet::of(verbose.schemas.clone());
        let mut shown = Map::new();
        let take = |shown: &mut Map<String, Value>, from: &Value, name: &str, to: &str| {
            if let Some(found) = from.get(name).filter(|found| {
                !found.is_null()
                    && found.as_array().is_none_or(|list| !list.is_empty())
                    && found.as_object().is_none_or(|map| !map.is_empty())
            }) {
                shown.insert(to.to_owned(), found.clone());
            }
        };
        let parsed = |text: Result<String, String>| {
            text.ok()
                .and_then(|text| serde_json::from_str::<Value>(&text).ok())
                .unwrap_or_default()
        };
        let (what, kind) = match &verbose.state {
            None => {
                let plan = parsed(plan_json(&verbose.plan, &verbose.tree, &schemas));
                take(&mut shown, &plan, "format_version", "plan_format_version");
                for name in ["output_changes", "resource_changes", "resource_drift"] {
                    take(&mut shown, &plan, name, name);
                }
                take(
                    &mut shown,
                    &plan,
                    "relevant_attributes",
                    "relevant_attributes",
                );
                ("plan", "test_plan")
            }
            Some(state) => {
                let state = parsed(state_json(state, &schemas));
                take(&mut shown, &state, "format_version", "state_format_version");
                if let Some(values) = state.get("values") {
                    take(&mut shown, values, "root_module", "root_module");
                    take(&mut shown, values, "outputs", "outputs");
                }
                ("state", "test_state")
            }
        };
        shown.insert("provider_format_version".to_owned(), "1.0".into());
        if let Ok(text) = schemas_json(&verbose.schemas)
            && let Ok(all) = serde_json::from_str::<Value>(&text)
        {
            take(&mut shown, &all, "provider_schemas", "provider_schemas");
        }
        self.line(
            "info",
            &format!("-verbose flag enabled, printing {what}"),
            kind,
            about,
            json!({ kind: shown }),
        );
    }
}

fn objects(left: &Left) -> Vec<Value> {
    left.objects
        .iter()
        .map(|(address, deposed)| match deposed {
            Some(key) => json!({"instance": address.to_string(), "deposed_key": &**key}),
            None => json!({"instance": address.to_string()}),
        })
        .collect()
}

impl Reporter for Json {
    fn event(&self, event: &Event<'_>, sources: &Sources) {
        match event {
            Event::Found(files) => {
                let plural = |count: usize, one: &str| {
                    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
                };
                let runs = files.values().map(Vec::len).sum();
                let found: Map<String, Value> = files
                    .iter()
                    .map(|(file, runs)| {
                        let runs: Vec<&str> = runs.iter().map(|run| &**run).collect();
                        (file.clone(), runs.into())
                    })
                    .collect();
                self.line(
                    "info",
                    &format!(
                        "Found {} and {}",
                        plural(files.len(), "file"),
                        plural(runs, "run block")
                    ),
                    "test_abstract",
                    About::default(),
                    json!({"test_abstract": found}),
                );
            }
            Event::FileStarting { file } => self.file(file, "in progress", "starting"),
            Event::FileTearDown { file } => self.file(file, "tearing down", "teardown"),
            Event::FileDone(report) => {
                let about = About {
                    file: Some(&report.name),
                    run: None,
                };
                self.line(
                    "info",
                    &format!("{}... {}", report.name, word(report.status)),
                    "test_file",
                    about,
                    json!({"test_file": {
                        "path": report.name, "progress": "complete", "status": report.status.word(),
                    }}),
                );
                self.told(&report.diagnostics, sources, about);
            }
            Event::Run {
                file,
                run,
                progress,
                elapsed,
            } => {
                let (text, progress) = match progress {
                    Progress::Starting => ("in progress", "starting"),
                    Progress::Running => ("in progress", "running"),
                    Progress::TearDown => ("tearing down", "teardown"),
                };
                let about = About {
                    file: Some(file),
                    run: Some(run),
                };
                self.line(
                    "info",
                    &format!("  {run:?}... {text}"),
                    "test_run",
                    about,
                    json!({"test_run": {
                        "path": file, "run": run, "progress": progress,
                        "elapsed": elapsed.as_millis() as u64,
                    }}),
                );
            }
            Event::RunDone { file, report } => {
                let about = About {
                    file: Some(file),
                    run: Some(&report.name),
                };
                self.line(
                    "info",
                    &format!("  {:?}... {}", &*report.name, word(report.status)),
                    "test_run",
                    about,
                    json!({"test_run": {
                        "path": file, "run": &*report.name, "progress": "complete",
                        "status": report.status.word(),
                    }}),
                );
                if let Some(verbose) = &report.verbose {
                    self.verbose(verbose, about);
                }
                self.told(&report.diagnostics, sources, about);
            }
            Event::Destroyed {
                file,
                run,
                diagnostics,
                left,
            } => {
                let about = About {
                    file: Some(file),
                    run: Some(run),
                };
                if !left.objects.is_empty() {
                    self.line(
                        "error",
                        &format!("Terraform left some resources in state after executing {file}/{run}, they need to be cleaned up manually."),
                        "test_cleanup",
                        about,
                        json!({"test_cleanup": {"failed_resources": objects(left)}}),
                    );
                }
                self.told(diagnostics, sources, about);
            }
            Event::Abandoned {
                file,
                run,
                left,
                others,
                planned,
                ..
            } => {
                let mut told = Map::new();
                if !left.objects.is_empty() {
                    told.insert("state".to_owned(), objects(left).into());
                }
                let states: Map<String, Value> = others
                    .iter()
                    .filter(|(.., left)| !left.objects.is_empty())
                    .map(|(run, _, left)| (run.to_string(), objects(left).into()))
                    .collect();
                if !states.is_empty() {
                    told.insert("states".to_owned(), states.into());
                }
                if !planned.is_empty() {
                    let planned: Vec<String> =
                        planned.iter().map(ResourceInstance::to_string).collect();
                    told.insert("planned".to_owned(), planned.into());
                }
                let about = About {
                    file: Some(file),
                    run: Some(run),
                };
                self.line(
                    "error",
                    "Terraform was interrupted during test execution, and may not have performed the expected cleanup operations.",
                    "test_interrupt",
                    about,
                    json!({"test_interrupt": told}),
                );
            }
        }
    }
}

impl Json {
    fn file(&self, file: &str, text: &str, progress: &str) {
        let about = About {
            file: Some(file),
            run: None,
        };
        self.line(
            "info",
            &format!("{file}... {text}"),
            "test_file",
            about,
            json!({"test_file": {"path": file, "progress": progress}}),
        );
    }
}

impl View for Json {
    fn diagnostics(&self, diagnostics: &Diagnostics, sources: &Sources) {
        self.told(diagnostics, sources, About::default());
    }

    fn notice(&self, text: &str) {
        self.line("info", text, "log", About::default(), json!({}));
    }

    fn conclusion(&self, status: Status, files: &[FileReport]) {
        let head = if status == Status::Pass {
            "Success!"
        } else {
            "Failure!"
        };
        self.line(
            "info",
            &format!("{head} {}", summary(files)),
            "test_summary",
            About::default(),
            json!({"test_summary": {
                "status": status.word(),
                "passed": count(files, Status::Pass),
                "failed": count(files, Status::Fail),
                "errored": count(files, Status::Error),
                "skipped": count(files, Status::Skip),
            }}),
        );
    }
}
