//! What a case runs on: an API of its own, a copy of its directory, and the steps.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_api::identity::{User, pki::Pki, tokens::Signer};
use consort_infra::layer;
use consort_plan::{Blueprint, Event, Mode, Source};
use consort_score::execute::{self, Error, Options};
use consort_score::planner::{self, PlanOptions};
use consort_score::records::{Approval, Decision, Records};
use consort_score::render::{self, Style};
use consort_score::{Definition, Environment, NAMESPACE, System, snapshot};
use kube::Client;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use regex::Regex;
use tokio_util::sync::CancellationToken;

/// Certificates take longer to make than most cases take to run.
pub(crate) struct Keys {
    pki: Pki,
    _dir: tempfile::TempDir,
}

impl Keys {
    pub(crate) fn make() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(&dir.path().join("pki"), &["localhost".into()], &[]).unwrap();
        Keys { pki, _dir: dir }
    }
}

/// A case under way.
pub(crate) struct Bench {
    dir: tempfile::TempDir,
    client: Client,
    records: Records,
    environment: Environment,
    /// A plan that waits to be carried out.
    held: Option<(System, Blueprint)>,
    /// What the score was when something was last carried out.
    unpacked: Vec<tempfile::TempDir>,
    out: String,
}

const STYLE: Style = Style {
    colours: false,
    width: 110,
    full: false,
    brief: false,
};

impl Bench {
    /// Runs the steps of a case, and gives what they say.
    pub(crate) async fn run(case: &Path, keys: &Keys) -> String {
        let dir = tempfile::tempdir().unwrap();
        copy(case, &dir.path().join("case"));
        let store =
            consort_store::Store::open(consort_store::Options::new(dir.path().join("store")))
                .unwrap();
        let signer = Signer::new(
            keys.pki.service_account_key(),
            "https://kubernetes.default.svc",
        )
        .unwrap();
        let options = consort_api::Options::new(store.clone(), Arc::new(signer));
        let api = consort_api::Api::new(options).await.unwrap();
        let client = api.client(User::admin());
        let terraform = layer::Environment {
            built_in: Arc::new(|_| None),
            variables: std::env::vars().collect(),
            cli_config: Arc::default(),
            data: dir.path().join("providers"),
            schema_cache: None,
            client: Some(client.clone()),
            namespace: NAMESPACE.to_owned(),
            author: "tester".to_owned(),
        };
        let mut bench = Bench {
            records: Records::new(client.clone(), NAMESPACE),
            environment: Environment {
                client: Some(client.clone()),
                terraform: Arc::new(terraform),
                scratch: dir.path().join("scratch"),
                prune: None,
            },
            client,
            dir,
            held: None,
            unpacked: Vec::new(),
            out: String::new(),
        };
        bench.records.install().await.unwrap();
        let steps = std::fs::read_to_string(case.join("steps")).unwrap_or("plan score\n".into());
        for step in steps.lines().filter(|line| !line.trim().is_empty()) {
            if !bench.out.is_empty() {
                bench.out.push('\n');
            }
            let _ = writeln!(bench.out, "$ {step}");
            let said = bench.step(step).await;
            bench.out.push_str(said.trim_end());
            bench.out.push('\n');
        }
        let out = mask(&bench.out, bench.dir.path());
        drop(bench);
        api.close().await;
        store.close().await;
        out
    }

    async fn step(&mut self, step: &str) -> String {
        let (word, rest) = step.split_once(' ').unwrap_or((step, ""));
        let mut words = rest.split(' ').filter(|word| !word.is_empty());
        let mut next = || words.next().unwrap_or_default();
        match word {
            // `plan DIR [PART...]`, `plan-destroy DIR`: shows a plan, and nothing else.
            "plan" => {
                let dir = next();
                let only: BTreeSet<String> = words.map(str::to_owned).collect();
                let only = (!only.is_empty()).then_some(only);
                self.show(dir, Mode::Apply, only).await
            }
            "plan-destroy" => self.show(next(), Mode::Destroy, None).await,
            // `hold DIR`, `carry`: the plan of a directory, carried out later.
            "hold" => match self.plan(next(), Mode::Apply, None).await {
                Ok(held) => {
                    self.held = Some(held);
                    String::new()
                }
                Err(text) => text,
            },
            "carry" => self.carry().await,
            // `approve` and `reject` are about the plan that is held.
            "approve" => self.decide(Decision::Approve).await,
            "reject" => self.decide(Decision::Reject).await,
            "apply" => self.apply(next(), Mode::Apply).await,
            // The same, while another plan is held.
            "apply-aside" => {
                let held = self.held.take();
                let told = self.apply(next(), Mode::Apply).await;
                self.held = held;
                told
            }
            "destroy" => self.apply(next(), Mode::Destroy).await,
            "resume" => self.resume(next()).await,
            // What others do: `delete KIND NAMESPACE NAME`, `patch MANAGER KIND NAMESPACE NAME JSON`.
            "delete" => {
                let (api, name) = self.object(next(), next(), next());
                match api.delete(&name, &kube::api::DeleteParams::default()).await {
                    Ok(_) => "deleted".to_owned(),
                    Err(error) => error.to_string(),
                }
            }
            "patch" => {
                let manager = next().to_owned();
                let (api, name) = self.object(next(), next(), next());
                let json = step.split_once(" {").map_or("", |(_, rest)| rest);
                let patch: serde_json::Value = serde_json::from_str(&format!("{{{json}")).unwrap();
                let params = PatchParams {
                    field_manager: Some(manager),
                    ..PatchParams::default()
                };
                match api.patch(&name, &params, &Patch::Merge(patch)).await {
                    Ok(_) => "patched".to_owned(),
                    Err(error) => error.to_string(),
                }
            }
            // `show KIND NAMESPACE NAME POINTER`
            "show" => {
                let (api, name) = self.object(next(), next(), next());
                match api.get_opt(&name).await.unwrap() {
                    None => "not there".to_owned(),
                    Some(object) => serde_json::to_value(object)
                        .unwrap()
                        .pointer(next())
                        .map_or("nothing".to_owned(), ToString::to_string),
                }
            }
            "touch" => {
                std::fs::write(self.path(next()), "").unwrap();
                String::new()
            }
            "history" => {
                let score = next();
                let mut text = String::new();
                for operation in self.records.operations(score).await.unwrap() {
                    let _ = writeln!(
                        text,
                        "{}-{} {:?}: {} of {} done, {} failed, {} not tried",
                        operation.score,
                        operation.revision,
                        operation.phase,
                        operation.done,
                        operation.total,
                        operation.failed,
                        operation.skipped
                    );
                }
                text
            }
            other => panic!("no step {other:?}"),
        }
    }

    fn path(&self, dir: &str) -> PathBuf {
        self.dir.path().join("case").join(dir)
    }

    /// `v1/ConfigMap` in a namespace; `-` for none.
    fn object(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> (kube::Api<DynamicObject>, String) {
        let (version, kind) = kind.rsplit_once('/').unwrap();
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let plural = format!("{}s", kind.to_lowercase());
        let resource = ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk(group, version, kind),
            &plural,
        );
        let api = match namespace {
            "-" => kube::Api::all_with(self.client.clone(), &resource),
            namespace => kube::Api::namespaced_with(self.client.clone(), namespace, &resource),
        };
        (api, name.to_owned())
    }

    async fn plan(
        &mut self,
        dir: &str,
        mode: Mode,
        only: Option<BTreeSet<String>>,
    ) -> Result<(System, Blueprint), String> {
        let problems = |problems: Vec<consort_plan::Problem>| render::problems(&problems, &STYLE);
        let definition = Definition::read(&self.path(dir)).map_err(problems)?;
        let score = definition.name.clone();
        let parent = self.records.revision(&score).await.unwrap();
        let mut system = System::open(definition, &self.environment)
            .await
            .map_err(problems)?;
        if let Some(archive) = self.records.snapshot(&score, parent).await.unwrap() {
            let former = tempfile::tempdir().unwrap();
            snapshot::unpack(&archive, former.path()).unwrap();
            let definition = Definition::read_as(former.path(), &score).map_err(problems)?;
            self.unpacked.push(former);
            system = system
                .with_former(&definition, &self.environment)
                .await
                .map_err(problems)?;
        }
        let options = PlanOptions {
            mode,
            author: "tester".to_owned(),
            source: Source::Directory {
                path: dir.to_owned(),
                commit: None,
            },
            parent,
            only,
            cancel: CancellationToken::new(),
        };
        let blueprint = planner::plan(&system, options).await.map_err(problems)?;
        Ok((system, blueprint))
    }

    async fn show(&mut self, dir: &str, mode: Mode, only: Option<BTreeSet<String>>) -> String {
        match self.plan(dir, mode, only).await {
            Ok((_, blueprint)) => {
                format!("{}{}", render::plan(&blueprint, &STYLE), across(&blueprint))
            }
            Err(text) => text,
        }
    }

    async fn apply(&mut self, dir: &str, mode: Mode) -> String {
        match self.plan(dir, mode, None).await {
            Ok(held) => {
                self.held = Some(held);
                self.carry().await
            }
            Err(text) => text,
        }
    }

    fn options(&self) -> Options<'_> {
        Options {
            records: &self.records,
            watcher: &(),
            author: "tester".to_owned(),
            cause: None,
            cancel: CancellationToken::new(),
        }
    }

    async fn carry(&mut self) -> String {
        let (system, blueprint) = self.held.as_ref().unwrap();
        let done = execute::carry_out(system, blueprint, self.options()).await;
        self.told(done).await
    }

    async fn resume(&mut self, score: &str) -> String {
        let operation = self.records.latest(score).await.unwrap().unwrap();
        let (system, blueprint) = self.held.as_ref().unwrap();
        let done = execute::resume(system, blueprint, &operation, self.options()).await;
        self.told(done).await
    }

    async fn told(&self, done: Result<execute::Done, Error>) -> String {
        let done = match done {
            Ok(done) => done,
            Err(Error::Stale(stale)) => return render::stale(&stale, &STYLE),
            Err(Error::Problems(problems)) => return render::problems(&problems, &STYLE),
            Err(Error::Denied(verdicts)) => {
                let told: Vec<&str> = verdicts.iter().map(|one| one.message.as_str()).collect();
                return format!("denied: {}", told.join("; "));
            }
            Err(error) => return error.to_string(),
        };
        let operation = done.operation;
        let entries = self
            .records
            .entries(&operation.score, operation.revision)
            .await
            .unwrap();
        let mut lines: Vec<String> = entries
            .iter()
            .filter_map(|entry| {
                let event = match &entry.event {
                    Event::Began { .. } => return None,
                    Event::Done => "done",
                    Event::Failed { .. } => "failed",
                    Event::Skipped { .. } => "not tried",
                };
                Some(format!(
                    "{} {event} ({})",
                    entry.address,
                    entry.action.words().join(", ")
                ))
            })
            .collect();
        // Independent steps end in any order.
        lines.sort();
        let mut text = lines.join("\n");
        text.push('\n');
        for problem in done
            .carried
            .problems
            .iter()
            .filter(|one| one.address.is_none())
        {
            text.push_str(&render::problem(problem, &STYLE));
        }
        text.push_str(&render::operation(&operation, &entries, &STYLE));
        text
    }

    async fn decide(&mut self, decision: Decision) -> String {
        let (system, blueprint) = self.held.as_ref().unwrap();
        let id = execute::keep(system, blueprint, &self.records)
            .await
            .unwrap();
        let approval = Approval {
            blueprint: id,
            decision,
            by: self.records.whoami().await.unwrap(),
            reason: "seen".to_owned(),
            time: jiff::Timestamp::now(),
        };
        match self.records.decide(&blueprint.score, &approval).await {
            Ok(()) => "decided".to_owned(),
            Err(error) => error.to_string(),
        }
    }
}

/// The edges between parts: what no part shows by itself.
fn across(blueprint: &Blueprint) -> String {
    let address = |place: &u32| &blueprint.changes[*place as usize].address;
    let mut lines: Vec<String> = blueprint
        .edges
        .iter()
        .map(|edge| (address(&edge.dependent), address(&edge.dependency)))
        .filter(|(dependent, dependency)| dependent.part() != dependency.part())
        .map(|(dependent, dependency)| format!("  {dependent} waits for {dependency}"))
        .collect();
    lines.extend(
        blueprint
            .joints
            .iter()
            .filter(|joint| {
                let part =
                    |places: &[u32]| places.first().map(|place| address(place).part().to_owned());
                part(&joint.dependents) != part(&joint.dependencies)
            })
            .map(|joint| {
                format!(
                    "  {} wait for {}: {}",
                    joint.dependents.len(),
                    joint.dependencies.len(),
                    joint.label
                )
            }),
    );
    lines.sort();
    lines.dedup();
    if lines.is_empty() {
        return String::new();
    }
    format!("\nacross parts:\n{}\n", lines.join("\n"))
}

/// Puts words in place of what differs from run to run.
fn mask(text: &str, dir: &Path) -> String {
    let text = text.replace(&dir.display().to_string(), "DIR");
    let masks = [
        (
            r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            "UUID",
        ),
        (r"/tmp/\.tmp[A-Za-z0-9]+", "FORMER"),
        (r"\b[0-9a-f]{12}\b", "ID"),
        (
            r"\bafter [0-9]+(\.[0-9]+)?(ms|s|m)( [0-9]+s)?",
            "after TIME",
        ),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
    ];
    masks.iter().fold(text, |text, (pattern, with)| {
        Regex::new(pattern)
            .unwrap()
            .replace_all(&text, *with)
            .into_owned()
    })
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
