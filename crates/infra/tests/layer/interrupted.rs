//! Walks in which each step fails, breaks once, or is the last before the process is gone.

use std::sync::Arc;

use consort_infra::provider::Provider;
use consort_plan::carry::{Carried, End};
use consort_plan::record::Record;
use consort_plan::{Blueprint, Entry, Event, Intent, Phase};
use parking_lot::Mutex;

use crate::memory::{Fault, Memory, World};
use crate::score::{Score, from, state, write};

const HEAD: &str = r#"
terraform {
  required_providers {
    mem = { source = "terraform.io/builtin/mem" }
  }
}
"#;

const FIRST: &str = r#"
resource "mem_thing" "base" {
  name = "base"
}
resource "mem_thing" "many" {
  count = 2
  name  = "many-${count.index}"
  after = mem_thing.base.id
}
output "id" {
  value = mem_thing.many[1].id
}
"#;

/// Replaces one way and the other, deletes, changes in place and creates.
const SECOND: &str = r#"
resource "mem_thing" "base" {
  name = "base-new"
}
resource "mem_thing" "many" {
  count = 1
  name  = "other-${count.index}"
  after = mem_thing.base.id
  lifecycle {
    create_before_destroy = true
  }
}
resource "mem_thing" "added" {
  name  = "added"
  after = mem_thing.many[0].id
}
output "id" {
  value = mem_thing.added.id
}
"#;

const TAKER: &str = r#"
variable "peer" {
  type = string
}
resource "mem_thing" "user" {
  name  = "user"
  after = var.peer
}
resource "mem_thing" "free" {
  name = "free"
}
"#;

/// Keeps what it is given, as a record on a disk would.
#[derive(Default)]
struct Kept(Mutex<Vec<Entry>>);

impl Record for Kept {
    fn commit(
        &self,
        entries: Vec<Entry>,
    ) -> consort_plan::Call<'_, Result<(), consort_plan::record::Unrecorded>> {
        self.0.lock().extend(entries);
        Box::pin(async { Ok(()) })
    }
}

fn score(world: &Arc<World>) -> Score {
    let world = world.clone();
    Score::new(&[
        ("giver/main.tf", &format!("{HEAD}{FIRST}")),
        ("taker/main.tf", &format!("{HEAD}{TAKER}")),
    ])
    .built_in(Arc::new(move |source| {
        (&*source.kind == "mem").then(|| Arc::new(Memory(world.clone())) as Arc<dyn Provider>)
    }))
    .part("giver", &[])
    .part("taker", &[("peer", from("giver.id"))])
}

/// The ids of the objects in the states of both parts.
fn known(score: &Score) -> Vec<String> {
    let mut ids: Vec<String> = ["giver", "taker"]
        .into_iter()
        .filter(|part| score.root().join(part).join("terraform.tfstate").exists())
        .flat_map(|part| {
            let state = state(score, part);
            let resources = state["resources"].as_array().cloned().unwrap_or_default();
            resources
                .iter()
                .flat_map(|resource| {
                    resource["instances"]
                        .as_array()
                        .cloned()
                        .unwrap_or_default()
                })
                .map(|instance| instance["attributes"]["id"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    ids.sort();
    ids
}

/// The first carried out, and a plan of the second.
async fn second(world: &Arc<World>) -> (Score, Blueprint) {
    let score = score(world);
    world.set(Fault::None);
    let (_, carried) = score.apply(Intent::Apply).await;
    assert_eq!(carried.phase, Phase::Succeeded, "{:#?}", carried.problems);
    write(&score.root(), "giver/main.tf", &format!("{HEAD}{SECOND}"));
    let (blueprint, _) = score.plan(Intent::Apply).await.unwrap();
    (score, blueprint)
}

/// Nothing is left to do, and the states know all there is.
async fn settled(score: &Score, world: &Arc<World>, what: &str) {
    assert_eq!(known(score), world.ids(), "{what}");
    let (again, _) = score.plan(Intent::Apply).await.unwrap();
    assert!(again.is_empty(), "{what}: {:#?}", again.changes);
}

fn complete(carried: &Carried, what: &str) {
    assert_eq!(
        carried.phase,
        Phase::Succeeded,
        "{what}: {:#?}",
        carried.problems
    );
    assert_eq!(carried.done, carried.total, "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_goes_on_after_each_step_in_which_the_process_may_end() {
    for step in 0.. {
        let what = format!("crash at step {step}");
        let world = World::new();
        let (score, blueprint) = second(&world).await;
        world.set(Fault::Crash(step));
        world.begin(tokio_util::sync::CancellationToken::new());
        let record = Kept::default();
        let done = tokio::select! {
            carried = score.carry_recorded(&blueprint, &[], &record) => Some(carried),
            () = world.crashed() => None,
        };
        if let Some(carried) = done {
            complete(&carried, &what);
            assert!(step > 4);
            break;
        }
        // What was made without anybody having heard of it is made again: take away the first.
        world.set(Fault::None);
        let told = world.told();
        let entries = std::mem::take(&mut *record.0.lock());
        let carried = score.carry(&blueprint, &entries).await;
        complete(&carried, &what);
        let begun = "was being created when the operation was interrupted";
        let warned = carried
            .warnings
            .iter()
            .any(|warning| warning.summary.contains(begun));
        // What was made without anybody having heard of it is told of.
        assert!(
            warned || world.ids().len() == known(&score).len(),
            "{what}: {:#?}",
            carried.warnings
        );
        let known = known(&score);
        for id in told {
            let gone = !world.ids().contains(&id);
            assert!(gone || known.contains(&id), "{what}: {id} is lost");
        }
        world.forget_untold(&known);
        settled(&score, &world, &what).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_any_step_is_told_and_the_operation_can_be_resumed() {
    for step in 0.. {
        let what = format!("failure of step {step}");
        let world = World::new();
        let (score, blueprint) = second(&world).await;
        world.set(Fault::Fail(step));
        world.begin(tokio_util::sync::CancellationToken::new());
        let record = Kept::default();
        let carried = score.carry_recorded(&blueprint, &[], &record).await;
        assert_eq!(known(&score), world.ids(), "{what}");
        if world.steps() <= step {
            complete(&carried, &what);
            assert!(step > 4);
            break;
        }
        assert_eq!(carried.phase, Phase::Failed, "{what}");
        assert_eq!(carried.failed, 1, "{what}: {:#?}", carried.problems);
        let failed = carried.problems[0].address.as_ref().unwrap();
        assert!(
            blueprint
                .changes
                .iter()
                .any(|change| change.address == *failed),
            "{what}: {failed}"
        );
        let entries = std::mem::take(&mut *record.0.lock());
        // What depends on it says so.
        for entry in &entries {
            if let Event::Skipped { because } = &entry.event {
                assert!(because.is_some(), "{what}: {entry:?}");
            }
        }
        world.set(Fault::None);
        let carried = score.carry(&blueprint, &entries).await;
        complete(&carried, &what);
        settled(&score, &world, &what).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_whose_connection_breaks_is_done_again() {
    for step in 0.. {
        let what = format!("step {step}");
        let world = World::new();
        let (score, blueprint) = second(&world).await;
        world.set(Fault::Flicker(step));
        world.begin(tokio_util::sync::CancellationToken::new());
        let carried = score.carry(&blueprint, &[]).await;
        complete(&carried, &what);
        settled(&score, &world, &what).await;
        if world.steps() <= step {
            assert!(step > 4);
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_stops_what_takes_from_it_in_other_parts_and_nothing_else() {
    let world = World::new();
    let score = score(&world);
    let (blueprint, _) = score.plan(Intent::Apply).await.unwrap();
    world.set(Fault::None);
    let many = blueprint
        .changes
        .iter()
        .position(|change| change.address.local() == "mem_thing.many[1]")
        .unwrap();
    // Base and free have no order between them; of what follows, some step is that of many[1].
    let mut seen = false;
    for step in 0..5 {
        let _ = std::fs::remove_dir_all(score.scratch());
        for part in ["giver", "taker"] {
            let _ = std::fs::remove_file(score.root().join(part).join("terraform.tfstate"));
        }
        world.set(Fault::Fail(step));
        world.begin(tokio_util::sync::CancellationToken::new());
        let carried = score.carry(&blueprint, &[]).await;
        if carried.ends[many] != End::Failed {
            continue;
        }
        seen = true;
        let end = |address: &str| {
            let place = blueprint
                .changes
                .iter()
                .position(|change| change.address.as_str() == address);
            carried.ends[place.unwrap()]
        };
        assert_eq!(end("giver/mem_thing.base"), End::Done);
        assert_eq!(end("giver/mem_thing.many[0]"), End::Done);
        assert_eq!(end("taker/mem_thing.free"), End::Done);
        assert_eq!(end("taker/mem_thing.user"), End::Skipped);
    }
    assert!(seen);
}
