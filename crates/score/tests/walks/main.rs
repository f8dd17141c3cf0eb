//! Walks of a score of real layers, with each of its steps failing, repeated, and the last before a crash: applied from
//! nothing, changed, and destroyed, on the API in this process, through the same records as ever.
//!
//! Whatever goes wrong, what follows is the same: the operation is resumed or the plan made again, and then the world is
//! what it is when nothing goes wrong.
#![allow(missing_docs, clippy::large_futures)] // a test waits for one at a time

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_api::identity::{User, pki::Pki, tokens::Signer};
use consort_infra::layer;
use consort_plan::faults::{Fault, Faults};
use consort_plan::{Blueprint, Event, Mode, Phase, Problem, Source};
use consort_score::execute::{self, Done};
use consort_score::planner::{self, PlanOptions};
use consort_score::records::Records;
use consort_score::{Definition, Environment, System};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service};
use kube::api::{ApiResource, DynamicObject, ListParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const SCORE: &str = "walks";

struct Place {
    client: Client,
    records: Records,
    environment: Environment,
    _dir: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store =
            consort_store::Store::open(consort_store::Options::new(dir.path().join("store")))
                .unwrap();
        let pki = Pki::open(&dir.path().join("pki"), &["localhost".into()], &[]).unwrap();
        let signer = Signer::new(pki.service_account_key(), "https://issuer.test").unwrap();
        let options = consort_api::Options::new(store, Arc::new(signer));
        let api = consort_api::Api::new(options).await.unwrap();
        let client = api.client(User::admin());
        let records = Records::new(client.clone(), "consort-system");
        records.install().await.unwrap();
        // No controllers run here, so nobody would empty it when it is deleted.
        let namespace = serde_json::from_value(json!({"metadata": {"name": SCORE}})).unwrap();
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let params = PostParams::default();
        namespaces.create(&params, &namespace).await.unwrap();
        let terraform = layer::Environment {
            built_in: Arc::new(|_| None),
            variables: HashMap::new(),
            cli_config: Arc::default(),
            data: dir.path().join("providers"),
            schema_cache: None,
            client: Some(client.clone()),
            namespace: "consort-system".to_owned(),
            author: "ada".to_owned(),
        };
        Place {
            environment: Environment {
                client: Some(client.clone()),
                terraform: Arc::new(terraform),
                scratch: dir.path().join("scratch"),
                prune: None,
            },
            client,
            records,
            _dir: dir,
        }
    }

    async fn open(&self, version: &str, faults: &Arc<Faults>) -> System {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/walks/scores");
        let definition = Definition::read(&path.join(version)).unwrap_or_else(|told| wrong(&told));
        let system = System::open(definition, &self.environment).await;
        let system = system.unwrap_or_else(|told| wrong(&told));
        let faults = faults.clone();
        system.around(move |part| Box::new(faults.around(part)))
    }

    async fn plan(&self, system: &System, mode: Mode) -> Blueprint {
        let options = PlanOptions {
            mode,
            author: "ada".to_owned(),
            source: Source::Directory {
                path: PathBuf::from("walks").display().to_string(),
                commit: None,
            },
            parent: self.records.revision(SCORE).await.unwrap(),
            only: None,
            cancel: CancellationToken::new(),
        };
        let planned = planner::plan(system, options).await;
        planned.unwrap_or_else(|told| wrong(&told))
    }

    fn options(&self) -> execute::Options<'_> {
        execute::Options {
            records: &self.records,
            watcher: &(),
            author: "ada".to_owned(),
            cause: None,
            cancel: CancellationToken::new(),
        }
    }

    async fn carry_out(&self, system: &System, blueprint: &Blueprint) -> Done {
        match execute::carry_out(system, blueprint, self.options()).await {
            Ok(done) => done,
            Err(error) => panic!("{error}: {error:?}"),
        }
    }

    /// Applies a version of the score, or makes all of it go, and nothing goes wrong. Gives how many steps that took.
    async fn bring(&self, version: &str, mode: Mode) -> usize {
        let faults = Faults::none();
        let system = self.open(version, &faults).await;
        let blueprint = self.plan(&system, mode).await;
        let done = self.carry_out(&system, &blueprint).await;
        assert_eq!(
            done.operation.phase,
            Phase::Succeeded,
            "{:#?}",
            done.carried.problems
        );
        faults.steps()
    }

    /// All that the score has to do with.
    async fn world(&self) -> BTreeMap<String, Value> {
        let mut world = BTreeMap::new();
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), SCORE);
        for map in maps.list(&ListParams::default()).await.unwrap() {
            world.insert(map.name_any(), json!(map.data));
        }
        let services: Api<Service> = Api::namespaced(self.client.clone(), SCORE);
        for service in services.list(&ListParams::default()).await.unwrap() {
            let ports = service.spec.as_ref().unwrap().ports.as_ref();
            world.insert(service.name_any(), json!(ports.unwrap()[0].port));
        }
        let card = ApiResource::from_gvk(&GroupVersionKind::gvk("walks.test", "v1", "Card"));
        let cards: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), SCORE, &card);
        if let Ok(cards) = cards.list(&ListParams::default()).await {
            for card in cards {
                world.insert(card.name_any(), card.data["spec"].clone());
            }
        }
        world
    }

    /// What the record of an operation says last of each resource.
    async fn last(&self, revision: u64) -> BTreeMap<String, Event> {
        let entries = self.records.entries(SCORE, revision).await.unwrap();
        let last = entries
            .into_iter()
            .map(|entry| (entry.address.to_string(), entry.event));
        last.collect()
    }
}

fn wrong(told: &[Problem]) -> ! {
    panic!("{told:#?}")
}

/// Brings the score to a version with one step going wrong, and then makes that good.
async fn bring_with(place: &Place, version: &str, mode: &Mode, step: usize, fault: Fault) {
    let about = format!("{mode:?} of {version}, {fault:?} at {step}");
    let faults = Faults::new(step, fault);
    let system = place.open(version, &faults).await;
    let blueprint = place.plan(&system, mode.clone()).await;
    let revision = blueprint.parent.revision + 1;
    let done = tokio::select! {
        biased;
        () = faults.cut().cancelled() => None,
        done = place.carry_out(&system, &blueprint) => Some(done),
    };
    assert_eq!(done.is_none(), fault.is_cut(), "{about}");
    let Some(done) = done else {
        let crashed = place.records.latest(SCORE).await.unwrap().unwrap();
        assert_eq!(
            (crashed.revision, crashed.phase),
            (revision, Phase::Running),
            "{about}"
        );
        let kept = place.records.blueprint(&crashed.blueprint).await.unwrap();
        assert_eq!(kept.as_ref(), Some(&blueprint), "{about}");
        let system = place.open(version, &Faults::none()).await;
        let resumed = execute::resume(&system, &blueprint, &crashed, place.options()).await;
        let resumed = resumed.unwrap_or_else(|error| panic!("{about}: {error}"));
        let problems = &resumed.carried.problems;
        assert_eq!(
            resumed.operation.phase,
            Phase::Succeeded,
            "{about}: {problems:#?}"
        );
        let last = place.last(revision).await;
        assert!(
            last.values().all(|event| *event == Event::Done),
            "{about}: {last:#?}"
        );
        return;
    };
    let problems = &done.carried.problems;
    if fault == Fault::Repeat {
        assert_eq!(
            done.operation.phase,
            Phase::Succeeded,
            "{about}: {problems:#?}"
        );
        return;
    }
    assert_eq!(done.operation.phase, Phase::Failed, "{about}");
    let last = place.last(revision).await;
    let wanted = |event: &Event| matches!(event, Event::Failed { problem } if problem.summary.contains("a test wanted it"));
    assert!(last.values().any(wanted), "{about}: {last:#?}");
    // Of all that was not done it is told why.
    for (address, event) in &last {
        let told = match event {
            Event::Began { .. } => false,
            Event::Skipped { because } => because.is_some(),
            Event::Done | Event::Failed { .. } => true,
        };
        assert!(told, "{about}: {address} {event:?}");
    }
    place.bring(version, mode.clone()).await;
}

/// The life of a score: made from nothing, changed, destroyed. Over and over, with every step going wrong in one way.
async fn life(fault: Fault) {
    let place = Place::new().await;
    let walks = [
        ("first", Mode::Apply),
        ("second", Mode::Apply),
        ("second", Mode::Destroy),
    ];
    let mut steps = Vec::new();
    let mut worlds = Vec::new();
    for (version, mode) in &walks {
        steps.push(place.bring(version, mode.clone()).await);
        worlds.push(place.world().await);
    }
    assert!(steps.iter().all(|steps| *steps >= 8), "{steps:?}");
    assert!(
        worlds[0] != worlds[1] && worlds[2].is_empty(),
        "{worlds:#?}"
    );
    for step in 0..steps.iter().copied().max().unwrap_or_default() {
        for (at, (version, mode)) in walks.iter().enumerate() {
            if step >= steps[at] {
                place.bring(version, mode.clone()).await;
                continue;
            }
            bring_with(&place, version, mode, step, fault).await;
            let about = format!("{mode:?} of {version}, {fault:?} at {step}");
            assert_eq!(place.world().await, worlds[at], "{about}");
            let system = place.open(version, &Faults::none()).await;
            let again = place.plan(&system, mode.clone()).await;
            let changes = again
                .changes
                .iter()
                .filter(|change| change.action.changes());
            let left: Vec<_> = changes
                .map(|change| (&change.address, change.action))
                .collect();
            assert!(left.is_empty(), "{about}: {left:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_step_fails_the_rest_is_told_of_and_the_next_walk_makes_it_good() {
    life(Fault::Fail).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_step_is_done_twice_it_comes_to_the_same() {
    life(Fault::Repeat).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_killed_before_any_step_is_resumed_to_the_same_end() {
    life(Fault::CutBefore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_killed_when_a_step_is_done_and_unrecorded_is_resumed_to_the_same_end() {
    life(Fault::CutAfter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_killed_after_any_step_is_resumed_to_the_same_end() {
    life(Fault::CutTold).await;
}
