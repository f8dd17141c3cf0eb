//! What a walk costs beside its steps: 10,000 steps that do nothing, carried out with and without a record, beside a bare
//! loop over the same futures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use consort_api::identity::{User, pki::Pki, tokens::Signer};
use consort_plan::carry::{Carry, CarryOptions, carry};
use consort_plan::{
    Action, Address, BlastRadius, Blueprint, Call, Carrier, Change, Edge, FileRecord, Graph, Input,
    Intent, Mode, Moved, NodeId, Operation, Order, Parent, Part, PartPlan, Phase, Planned,
    PlannedPart, Problem, Progress, Record, Request, Reversal, Seen, Source, Step,
};
use consort_score::records::Records;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where to make the temporary directory; records are kept there
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// How many steps
    #[arg(long, default_value_t = 10_000)]
    steps: u32,
    /// How often each walk is run; the quickest is told
    #[arg(long, default_value_t = 5)]
    runs: u32,
}

/// How the steps hang together.
#[derive(Clone, Copy)]
enum Shape {
    /// Not at all.
    Wide,
    /// Each needs the one before.
    Chain,
    /// A hundred layers; each step needs two of the layer before.
    Layers,
}

struct Nothing {
    steps: u32,
    shape: Shape,
}

impl Nothing {
    fn blueprint(&self) -> Blueprint {
        let change = |n: u32| Change {
            address: Address::new("nothing", &format!("v1/ConfigMap/default/nothing-{n}")),
            kind: "v1/ConfigMap".to_owned(),
            action: Action::Update,
            before: None,
            after: None,
            replaces: Vec::new(),
            reasons: Vec::new(),
            moved_from: None,
            drift: Vec::new(),
            reversal: Reversal::Reversible,
            location: None,
        };
        Blueprint {
            format: Blueprint::FORMAT,
            score: "walk".to_owned(),
            mode: Mode::Apply,
            author: "bench".to_owned(),
            time: jiff::Timestamp::UNIX_EPOCH,
            source: source(),
            parent: Parent {
                revision: 0,
                seen: BTreeMap::new(),
            },
            parts: vec![PlannedPart {
                name: "nothing".to_owned(),
                layer: "nothing".to_owned(),
                intent: Intent::Apply,
                after: Vec::new(),
                first: 0,
                count: self.steps,
                outputs: BTreeMap::new(),
                inputs: BTreeMap::new(),
                payload: Vec::new(),
            }],
            changes: (0..self.steps).map(change).collect(),
            edges: Vec::new(),
            joints: Vec::new(),
            verdicts: Vec::new(),
            blast: BlastRadius::default(),
            warnings: Vec::new(),
        }
    }
}

fn source() -> Source {
    Source::Directory {
        path: "/nowhere".to_owned(),
        commit: None,
    }
}

impl Part for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }
    fn layer(&self) -> &'static str {
        "nothing"
    }
    fn inputs(&self) -> Vec<Input> {
        Vec::new()
    }
    fn plan<'a>(&'a self, _: Request<'a>) -> Call<'a, Result<PartPlan, Vec<Problem>>> {
        Box::pin(std::future::ready(Ok(PartPlan::default())))
    }
    fn moved<'a>(&'a self, _: &'a [Seen]) -> Call<'a, Result<Vec<Moved>, Vec<Problem>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
    fn carrier<'a>(
        &'a self,
        _: Order<'a>,
    ) -> Call<'a, Result<Box<dyn Carrier + 'a>, Vec<Problem>>> {
        let mut graph = Graph::new();
        let nodes: Vec<NodeId> = (0..self.steps)
            .map(|n| {
                graph.add(Step {
                    label: format!("nothing-{n}"),
                    changes: vec![n],
                    ..Step::default()
                })
            })
            .collect();
        let layer = (nodes.len() / 100).max(1);
        for (at, node) in nodes.iter().enumerate() {
            match self.shape {
                Shape::Chain if at > 0 => graph.connect(*node, nodes[at - 1], Edge::Value),
                Shape::Layers if at > layer => {
                    graph.connect(*node, nodes[at - layer], Edge::Value);
                    graph.connect(*node, nodes[at - layer - 1], Edge::Value);
                }
                _ => {}
            }
        }
        Box::pin(std::future::ready(Ok(
            Box::new(Carries(graph)) as Box<dyn Carrier>
        )))
    }
}

struct Carries(Graph<Step>);

impl Carrier for Carries {
    fn steps(&self) -> &Graph<Step> {
        &self.0
    }
    fn step<'a>(&'a self, _: NodeId, _: &'a dyn Progress) -> Call<'a, Result<(), Vec<Problem>>> {
        Box::pin(async { Ok(()) })
    }
    fn skip(&self, _: NodeId, _: &Problem) {}
    fn output(&self, _: &str) -> Result<Planned, Box<Problem>> {
        Err(Box::default())
    }
    fn finish<'a>(self: Box<Self>) -> Call<'a, Result<Vec<Problem>, Vec<Problem>>>
    where
        Self: 'a,
    {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

/// Hears of nothing.
struct Deaf;

impl Progress for Deaf {
    fn began(&self, _: u32) {}
    fn note(&self, _: u32, _: &str) {}
    fn done(&self, _: u32) {}
    fn failed(&self, _: u32, _: Problem) {}
    fn input(&self, _: &str) -> Result<Planned, Box<Problem>> {
        Err(Box::default())
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let runtime = crate::executor()?;
    runtime.block_on(measure(arguments))
}

async fn measure(arguments: &Arguments) -> Result<()> {
    let dir = tempfile::tempdir_in(&arguments.dir)?;
    println!(
        "{} steps that do nothing, microseconds a step",
        arguments.steps
    );
    println!(
        "{:>8} {:>22} {:>10} {:>10} {:>10} {:>10}",
        "shape", "record", "bare loop", "walk", "overhead", "times"
    );
    let api = server(&dir.path().join("server")).await?;
    let records = Records::new(api.client(User::admin()), "consort-system");
    records.install().await?;
    let mut revision = 0;
    for (name, shape) in [
        ("wide", Shape::Wide),
        ("chain", Shape::Chain),
        ("layers", Shape::Layers),
    ] {
        let part = Nothing {
            steps: arguments.steps,
            shape,
        };
        let blueprint = part.blueprint();
        for kept in ["none", "file, synced", "objects of the API"] {
            let mut quickest = (Duration::MAX, Duration::MAX);
            for _ in 0..arguments.runs.max(1) {
                revision += 1;
                let bare = bare(&part).await?;
                let took = match kept {
                    "none" => walk(&part, &blueprint, &()).await?,
                    "file, synced" => {
                        let path = dir.path().join(format!("record-{revision}"));
                        let (record, _) = FileRecord::open(&path)?;
                        walk(&part, &blueprint, &record).await?
                    }
                    _ => in_api(&part, &blueprint, &records).await?,
                };
                quickest = (quickest.0.min(bare), quickest.1.min(took));
            }
            let each = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(arguments.steps);
            let (bare, took) = (each(quickest.0), each(quickest.1));
            println!(
                "{name:>8} {kept:>22} {bare:>10.3} {took:>10.2} {:>10.2} {:>10.0}",
                took - bare,
                took / bare
            );
        }
    }
    drop(records);
    api.close().await;
    Ok(())
}

async fn bare(part: &Nothing) -> Result<Duration> {
    let carrier = Carries(Graph::new());
    let mut nodes = Graph::new();
    let nodes: Vec<NodeId> = (0..part.steps).map(|_| nodes.add(())).collect();
    let began = Instant::now();
    for node in nodes {
        let done = carrier.step(node, &Deaf).await;
        ensure!(
            std::hint::black_box(done).is_ok(),
            "a step that does nothing failed"
        );
    }
    Ok(began.elapsed())
}

async fn walk(part: &Nothing, blueprint: &Blueprint, record: &dyn Record) -> Result<Duration> {
    let work = Carry {
        blueprint,
        parts: &[part],
        entries: &[],
        scratch: Path::new("."),
        record,
        watcher: &(),
    };
    let began = Instant::now();
    let carried = carry(work, &CarryOptions::default()).await;
    let took = began.elapsed();
    ensure!(carried.phase == Phase::Succeeded, "{:?}", carried.problems);
    Ok(took)
}

/// The whole of an operation: begun, recorded to its last entry, ended.
async fn in_api(part: &Nothing, blueprint: &Blueprint, records: &Records) -> Result<Duration> {
    let revision = records.revision(&blueprint.score).await? + 1;
    let operation = Operation {
        score: blueprint.score.clone(),
        revision,
        blueprint: "000000000000".to_owned(),
        mode: Mode::Apply,
        author: "bench".to_owned(),
        cause: None,
        approved_by: None,
        source: source(),
        started: jiff::Timestamp::now(),
        ended: None,
        phase: Phase::Running,
        total: part.steps,
        done: 0,
        failed: 0,
        skipped: 0,
    };
    let began = Instant::now();
    let recorder = records.begin(&operation).await?;
    let work = Carry {
        blueprint,
        parts: &[part],
        entries: &[],
        scratch: Path::new("."),
        record: &recorder,
        watcher: &(),
    };
    let carried = carry(work, &CarryOptions::default()).await;
    recorder.finish(&carried).await?;
    let took = began.elapsed();
    ensure!(carried.phase == Phase::Succeeded, "{:?}", carried.problems);
    let entries = records.entries(&blueprint.score, revision).await?.len();
    ensure!(
        entries == 2 * part.steps as usize,
        "{entries} entries were recorded"
    );
    Ok(took)
}

async fn server(dir: &Path) -> Result<consort_api::Api> {
    let store = consort_store::Store::open(consort_store::Options::new(dir.join("store")))?;
    let pki = Pki::open(&dir.join("pki"), &["localhost".into()], &[])?;
    let signer = Signer::new(pki.service_account_key(), "https://kubernetes.default.svc")?;
    let options = consort_api::Options::new(store, Arc::new(signer));
    consort_api::Api::new(options)
        .await
        .context("starting the API")
}
