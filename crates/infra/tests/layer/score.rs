//! Scores of Terraform parts in directories of their own.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use consort_infra::install::CliConfig;
use consort_infra::layer::{BuiltIn, Environment, Spec, Terraform};
use consort_plan::carry::{Carried, Carry, CarryOptions, Retry, carry};
use consort_plan::record::Record;
use consort_plan::{
    Blueprint, BlueprintEdge, Change, Entry, Feed, From, Intent, Lines, Mode, Parent, Part,
    PartPlan, Planned, PlannedPart, Problem, Request, Source,
};
use tokio_util::sync::CancellationToken;

/// A score in a directory of its own.
pub(crate) struct Score {
    folder: tempfile::TempDir,
    pub(crate) parts: Vec<Terraform>,
    built_in: BuiltIn,
}

fn environment(folder: &Path, built_in: BuiltIn) -> Arc<Environment> {
    Arc::new(Environment {
        built_in,
        variables: HashMap::new(),
        cli_config: Arc::new(CliConfig::default()),
        data: folder.join("data"),
        schema_cache: None,
        client: None,
        namespace: "consort-system".to_owned(),
        author: "a test".to_owned(),
    })
}

pub(crate) fn write(folder: &Path, file: &str, text: &str) {
    let path = folder.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

pub(crate) fn from(output: &str) -> Feed {
    Feed::From(From {
        from: output.to_owned(),
    })
}

impl Score {
    pub(crate) fn new(files: &[(&str, &str)]) -> Score {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in files {
            write(folder.path(), file, text);
        }
        Score {
            folder,
            parts: Vec::new(),
            built_in: Arc::new(|_| None),
        }
    }

    /// With these built-in providers.
    pub(crate) fn built_in(mut self, built_in: BuiltIn) -> Score {
        self.built_in = built_in;
        self
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Adds a part whose directory has its name.
    pub(crate) fn part(mut self, name: &str, variables: &[(&str, Feed)]) -> Score {
        let spec = Spec {
            variables: variables
                .iter()
                .map(|(name, feed)| ((*name).to_owned(), feed.clone()))
                .collect(),
            ..Spec::of(name)
        };
        let lines = Lines::new("consort.yaml", 5, BTreeMap::new());
        let environment = environment(self.folder.path(), self.built_in.clone());
        let part = Terraform::new(name, "test", spec, &self.root(), lines, environment).unwrap();
        self.parts.push(part);
        self
    }

    pub(crate) async fn plan(
        &self,
        intent: Intent,
    ) -> Result<(Blueprint, Vec<PartPlan>), Vec<Problem>> {
        let cancel = CancellationToken::new();
        let mut plans: Vec<PartPlan> = Vec::new();
        let mut given: HashMap<String, Planned> = HashMap::new();
        let mut blueprint = Blueprint {
            format: Blueprint::FORMAT,
            score: "test".to_owned(),
            mode: match intent {
                Intent::Apply => Mode::Apply,
                Intent::Destroy => Mode::Destroy,
            },
            author: "a test".to_owned(),
            time: jiff::Timestamp::UNIX_EPOCH,
            source: Source::Directory {
                path: ".".to_owned(),
                commit: None,
            },
            parent: Parent {
                revision: 0,
                seen: BTreeMap::new(),
            },
            parts: Vec::new(),
            changes: Vec::new(),
            edges: Vec::new(),
            joints: Vec::new(),
            verdicts: Vec::new(),
            blast: consort_plan::BlastRadius::default(),
            warnings: Vec::new(),
        };
        for part in &self.parts {
            let inputs: BTreeMap<String, Planned> = part
                .inputs()
                .into_iter()
                .map(|input| {
                    let value = given[&format!("{}.{}", input.part, input.output)].clone();
                    (input.name, value)
                })
                .collect();
            let plan = part
                .plan(Request {
                    intent,
                    inputs: &inputs,
                    documented: true,
                    healing: false,
                    cancel: &cancel,
                })
                .await?;
            for (name, output) in &plan.outputs {
                given.insert(format!("{}.{name}", part.name()), output.value.clone());
            }
            let first = blueprint.changes.len() as u32;
            blueprint.changes.extend(plan.changes.iter().cloned());
            blueprint
                .edges
                .extend(plan.edges.iter().map(|edge| BlueprintEdge {
                    dependent: edge.dependent + first,
                    dependency: edge.dependency + first,
                    edge: edge.edge,
                }));
            blueprint
                .parent
                .seen
                .insert(part.name().to_owned(), plan.seen.clone());
            blueprint.parts.push(PlannedPart {
                name: part.name().to_owned(),
                layer: part.layer().to_owned(),
                intent,
                after: Vec::new(),
                first,
                count: plan.changes.len() as u32,
                outputs: plan
                    .outputs
                    .iter()
                    .map(|(name, output)| (name.clone(), output.value.clone()))
                    .collect(),
                inputs,
                payload: plan.payload.clone(),
            });
            plans.push(plan);
        }
        Ok((blueprint, plans))
    }

    pub(crate) async fn carry(&self, blueprint: &Blueprint, entries: &[Entry]) -> Carried {
        self.carry_recorded(blueprint, entries, &()).await
    }

    pub(crate) async fn carry_recorded(
        &self,
        blueprint: &Blueprint,
        entries: &[Entry],
        record: &dyn Record,
    ) -> Carried {
        let parts: Vec<&dyn Part> = self.parts.iter().map(|part| part as &dyn Part).collect();
        let retry = Retry {
            first_wait: Duration::from_millis(1),
            ..Retry::default()
        };
        carry(
            Carry {
                blueprint,
                parts: &parts,
                entries,
                scratch: &self.scratch(),
                record,
                watcher: &(),
            },
            &CarryOptions {
                retry,
                ..CarryOptions::default()
            },
        )
        .await
    }

    pub(crate) fn scratch(&self) -> PathBuf {
        self.folder.path().join("scratch")
    }

    /// Plans and carries out; gives the plan and what came of it.
    pub(crate) async fn apply(&self, intent: Intent) -> (Blueprint, Carried) {
        let (blueprint, _) = self.plan(intent).await.unwrap();
        let carried = self.carry(&blueprint, &[]).await;
        // Each operation has a directory of its own.
        let _ = std::fs::remove_dir_all(self.root().join("scratch"));
        (blueprint, carried)
    }
}

pub(crate) fn change<'b>(blueprint: &'b Blueprint, address: &str) -> &'b Change {
    blueprint
        .changes
        .iter()
        .find(|change| change.address.as_str() == address)
        .unwrap_or_else(|| panic!("no {address} in {:#?}", blueprint.changes))
}

pub(crate) fn state(score: &Score, part: &str) -> serde_json::Value {
    let path = score.root().join(part).join("terraform.tfstate");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}
