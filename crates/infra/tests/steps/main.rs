//! Every walk again and again, with each of its steps failing, or being the last before a crash, in turn.

mod memory;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use consort_hcl::diagnostic::Diagnostics;
use consort_hcl::{Marks, Sources, functions};
use consort_infra::config;
use consort_infra::engine::{self, Action, ApplyOptions, Input, PlanOptions};
use consort_infra::install::Manifest;
use consort_infra::state::{State, recover};
use memory::{Fault, World};
use tokio_util::sync::CancellationToken;

/// One apply of a configuration; gives what came of it, or nothing if it crashed.
async fn apply(
    text: &str,
    state: &State,
    world: &Arc<World>,
    journal: Option<&Path>,
) -> Option<(State, Diagnostics)> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("main.tf"), text).unwrap();
    let mut sources = Sources::new();
    let (tree, found) = config::load(folder.path(), &Manifest::default(), None, &mut sources);
    assert!(!found.has_errors(), "{found:?}");
    let cancel = CancellationToken::new();
    let input = Input {
        tree: &tree.unwrap(),
        sources: &sources,
        functions: Arc::new(functions::core(&functions::Options::default())),
        providers: &memory::Providers(world.clone()),
        provisioners: &consort_infra::provisioner::Builtin,
        variables: BTreeMap::new(),
        given: BTreeMap::new(),
        workspace: "default",
        watcher: &engine::Silent,
        parallelism: 3,
        directory: None,
        under_test: None,
        cancel: cancel.clone(),
    };
    let (plan, found) = engine::plan(&input, &PlanOptions::default(), state).await;
    assert!(!found.has_errors(), "{found:?}");
    let plan = plan.unwrap();
    let options = ApplyOptions {
        journal: journal.map(Path::to_owned),
        ..ApplyOptions::default()
    };
    world.begin(cancel);
    tokio::select! {
        (applied, found) = engine::apply(&input, &plan, &options) => Some((applied.state, found)),
        () = world.crashed() => None,
    }
}

/// The ids of the objects in a state.
fn known(state: &State) -> Vec<String> {
    let mut ids: Vec<String> = state
        .resources
        .values()
        .flat_map(|resource| resource.instances.values())
        .flat_map(|instance| instance.current.iter().chain(instance.deposed.values()))
        .map(|object| {
            let attributes: serde_json::Value = serde_json::from_str(&object.attributes).unwrap();
            attributes["id"].as_str().unwrap().to_owned()
        })
        .collect();
    ids.sort();
    ids
}

const FIRST: &str = r#"
resource "mem_thing" "base" {
  name = "base"
}
resource "mem_thing" "many" {
  count = 3
  name  = "many-${count.index}"
  after = mem_thing.base.id
}
resource "mem_thing" "top" {
  name  = "top"
  after = join(",", mem_thing.many[*].id)
}
"#;

/// Replaces one way and the other, changes in place, deletes and creates.
const SECOND: &str = r#"
resource "mem_thing" "base" {
  name = "base-new"
}
resource "mem_thing" "many" {
  count = 2
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
"#;

const NOTHING: &str = "";

/// Goes on until nothing is left to be done, and checks that this is so.
async fn settle(text: &str, mut state: State, world: &Arc<World>) -> State {
    world.set(Fault::None);
    for _ in 0..2 {
        let (next, found) = apply(text, &state, world, None).await.unwrap();
        assert!(!found.has_errors(), "{found:?}");
        state = next;
    }
    assert_eq!(world.steps(), 0, "the second apply changed something");
    assert_eq!(known(&state), world.ids());
    state
}

#[tokio::test]
async fn a_failure_of_any_step_loses_nothing_and_the_next_apply_does_the_rest() {
    for (before, after) in [(NOTHING, FIRST), (FIRST, SECOND), (SECOND, NOTHING)] {
        for step in 0.. {
            let world = World::new();
            let state = settle(before, State::new(), &world).await;
            world.set(Fault::Fail(step));
            let (state, found) = apply(after, &state, &world, None).await.unwrap();
            assert_eq!(known(&state), world.ids(), "step {step} of {after}");
            let failed = world.steps() > step;
            assert_eq!(found.has_errors(), failed, "{found:?}");
            settle(after, state, &world).await;
            if !failed {
                assert!(step > 0);
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_crash_at_any_step_loses_nothing_that_a_provider_has_told() {
    for (before, after) in [(NOTHING, FIRST), (FIRST, SECOND), (SECOND, NOTHING)] {
        for step in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let journal = folder.path().join("journal");
            let world = World::new();
            let state = settle(before, State::new(), &world).await;
            world.set(Fault::Crash(step));
            let done = apply(after, &state, &world, Some(&journal)).await;
            let state = match &done {
                Some((state, _)) => state.clone(),
                None => {
                    let mut state = state;
                    recover(&journal, &mut state, None).unwrap();
                    state
                }
            };
            // Steps under way beside the one that crashed may be done without anybody having heard of it.
            let known = known(&state);
            for id in world.told() {
                assert!(
                    known.contains(&id),
                    "{id} is lost after step {step} of {after}"
                );
            }
            world.forget_untold(&known);
            settle(after, state, &world).await;
            if done.is_some() {
                assert!(step > 0);
                break;
            }
        }
    }
}

#[tokio::test]
async fn an_interrupt_at_any_step_lets_it_end_and_begins_no_other() {
    for step in 0.. {
        let world = World::new();
        let state = settle(FIRST, State::new(), &world).await;
        world.set(Fault::Interrupt(step));
        let (state, found) = apply(SECOND, &state, &world, None).await.unwrap();
        assert_eq!(known(&state), world.ids(), "step {step}");
        let interrupted = world.steps() > step;
        if interrupted {
            // What was begun at the same time ends too.
            assert!(
                world.steps() <= step + 3,
                "{} steps after {step}",
                world.steps()
            );
        } else {
            assert!(!found.has_errors(), "{found:?}");
        }
        settle(SECOND, state, &world).await;
        if !interrupted {
            break;
        }
    }
}

#[tokio::test]
async fn a_provider_that_puts_something_off_unasked_is_refused() {
    let world = World::new();
    world.put_off(Some("many-1"));
    let (_, found) = memory::plan(FIRST, &world, false).await;
    assert_eq!(
        found.first_error().unwrap().summary,
        "Provider deferred changes when Terraform did not allow deferrals"
    );
}

#[tokio::test]
async fn a_plan_tells_what_would_be_done_with_what_is_put_off() {
    let world = World::new();
    world.put_off(Some("many-1"));
    let (plan, found) = memory::plan(FIRST, &world, true).await;
    assert!(!found.has_errors(), "{found:?}");
    let plan = plan.unwrap();
    let changes: Vec<_> = plan
        .changes
        .iter()
        .filter(|change| change.action != Action::NoOp)
        .map(|change| change.address.to_string())
        .collect();
    assert_eq!(
        changes,
        ["mem_thing.base", "mem_thing.many[0]", "mem_thing.many[2]"]
    );
    let put_off: Vec<_> = plan
        .deferred
        .iter()
        .map(|deferred| (deferred.address(), deferred.reason.word()))
        .collect();
    assert_eq!(
        put_off,
        [
            ("mem_thing.many[1]".to_owned(), "absent_prereq"),
            ("mem_thing.top".to_owned(), "deferred_prereq"),
        ]
    );
    assert!(!plan.is_complete());
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_of_providers_are_called_with_what_is_known() {
    let text = r#"
terraform {
  required_providers {
    loud = { source = "hashicorp/mem" }
  }
}
resource "mem_thing" "a" {
  name     = "a"
  provider = loud
}
output "known" {
  value = provider::loud::shout("a")
}
output "later" {
  value = provider::loud::shout(mem_thing.a.id)
}
output "secret" {
  value     = provider::loud::shout(sensitive("b"))
  sensitive = true
}
"#;
    let (plan, found) = memory::plan(text, &World::new(), false).await;
    assert!(!found.has_errors(), "{found:?}");
    let outputs = plan.unwrap().outputs;
    assert_eq!(outputs["known"].after.as_str(), Some("A"));
    assert!(!outputs["later"].after.is_known());
    let (secret, marks) = outputs["secret"].after.clone().unmark();
    assert_eq!(secret.as_str(), Some("B"));
    assert!(marks.intersects(Marks::SENSITIVE));

    let wrong = text.replace("shout(\"a\")", "shout(\"\")");
    let (_, found) = memory::plan(&wrong, &World::new(), false).await;
    let error = found.first_error().unwrap();
    assert_eq!(error.summary, "Invalid function argument");
    assert_eq!(
        error.detail,
        "Invalid value for \"text\" parameter: nothing to shout."
    );
}
