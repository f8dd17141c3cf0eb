//! Walks over parts made for tests: every step failing, repeated, and the last before a crash.
#![allow(missing_docs)]

mod system;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use consort_plan::carry::{Carry, CarryOptions, End, carry};
use consort_plan::faults::{Fault, Faults};
use consort_plan::{
    Action, Call, Entry, Event, FileRecord, Intent, Part, Phase, Record, Seen, Unrecorded, moved,
};
use system::{Memory, TestPart, Trick, World, blueprint, ends, go_on, part, quick, run, thing};

/// Two machines behind a network, a service that is told the address of the first, one that needs nothing of them,
/// and a page on top.
fn shop(world: &Arc<World>) -> [TestPart; 2] {
    [
        part(
            world,
            "infra",
            &[
                thing("network"),
                thing("first").needs("network").gives("address"),
                thing("second").needs("network"),
            ],
        ),
        part(
            world,
            "app",
            &[
                thing("namespace"),
                thing("settings").needs("namespace").takes("infra.address"),
                thing("orders").needs("namespace").needs("settings"),
                thing("mail").needs("namespace"),
                thing("page").needs("orders").needs("mail"),
            ],
        ),
    ]
}

const SHOP: [&str; 8] = [
    "first",
    "mail",
    "namespace",
    "network",
    "orders",
    "page",
    "second",
    "settings",
];

/// What depends on each, directly or not.
fn behind(name: &str) -> BTreeSet<&'static str> {
    let names: &[&'static str] = match name {
        "network" => &["first", "second", "settings", "orders", "page"],
        "first" => &["settings", "orders", "page"],
        "namespace" => &["settings", "orders", "mail", "page"],
        "settings" => &["orders", "page"],
        "orders" | "mail" => &["page"],
        _ => &[],
    };
    names.iter().copied().collect()
}

/// The last that the record says of each.
fn last(entries: &[Entry]) -> BTreeMap<String, Event> {
    let told = entries.iter();
    told.map(|entry| (entry.address.local().to_owned(), entry.event.clone()))
        .collect()
}

#[tokio::test]
async fn a_step_waits_for_the_values_it_takes_from_another_part_and_for_nothing_else() {
    let world = Arc::new(World::default());
    world.trick("network", Trick::Slow(Duration::from_millis(50)));
    let [infra, app] = shop(&world);
    let carried = run(&[&infra, &app], &(), &quick()).await;
    assert_eq!(carried.phase, Phase::Succeeded, "{:?}", carried.problems);
    assert_eq!((carried.total, carried.done), (8, 8));
    assert!(world.before("first", "settings"));
    assert!(
        world.before("mail", "first"),
        "mail waits for no machine: {:?}",
        world.log()
    );
    let things = world.things.lock().unwrap();
    assert_eq!(things["settings"], serde_json::json!(["address of first"]));
    let address = &carried.outputs["infra"]["address"];
    assert_eq!(address.value, "address of first");
    assert_eq!(world.finished.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn whichever_step_fails_only_what_depends_on_it_is_skipped_and_the_record_says_why() {
    for broken in SHOP {
        let world = Arc::new(World::default());
        world.trick(broken, Trick::Fail);
        let [infra, app] = shop(&world);
        let record = Memory::default();
        let carried = run(&[&infra, &app], &record, &quick()).await;
        assert_eq!(carried.phase, Phase::Failed);
        let skipped = behind(broken);
        let last = last(&record.0.lock().unwrap());
        for (name, end) in ends(&[&infra, &app], &carried) {
            if name == broken {
                assert_eq!(end, End::Failed);
                assert!(
                    matches!(&last[name], Event::Failed { problem } if problem.summary.contains("broken"))
                );
            } else if skipped.contains(name) {
                assert_eq!(end, End::Skipped, "{name} with {broken} broken");
                let Event::Skipped {
                    because: Some(because),
                } = &last[name]
                else {
                    panic!("{:?}", last[name]);
                };
                assert_eq!(because.local(), broken);
            } else {
                assert_eq!(end, End::Done, "{name} with {broken} broken");
                assert_eq!(last[name], Event::Done);
            }
        }
        assert_eq!(carried.problems.len(), 1, "{:?}", carried.problems);
        assert_eq!(
            (carried.failed, carried.skipped as usize),
            (1, skipped.len())
        );
        assert_eq!(world.finished.lock().unwrap().len(), 2);
        let skipped: BTreeSet<_> = skipped.iter().map(|&name| name.to_owned()).collect();
        let told: BTreeSet<_> = world.skipped.lock().unwrap().iter().cloned().collect();
        assert_eq!(told, skipped);
    }
}

#[tokio::test]
async fn whichever_step_is_repeated_the_world_is_the_same_and_the_attempts_are_recorded() {
    for step in 0..SHOP.len() {
        let world = Arc::new(World::default());
        let [infra, app] = shop(&world);
        let blueprint = blueprint(&[&infra, &app]);
        let faults = Faults::new(step, Fault::Repeat);
        let (infra, app) = (faults.around(&infra), faults.around(&app));
        let record = Memory::default();
        let work = Carry {
            blueprint: &blueprint,
            parts: &[&infra, &app],
            entries: &[],
            scratch: std::path::Path::new("/nonexistent"),
            record: &record,
            watcher: &(),
        };
        let carried = carry(work, &quick()).await;
        assert_eq!(carried.phase, Phase::Succeeded, "{:?}", carried.problems);
        assert_eq!(world.names(), SHOP);
        assert!(
            world
                .deeds
                .lock()
                .unwrap()
                .values()
                .all(|times| *times == 1)
        );
        let entries = record.0.lock().unwrap();
        let again = entries
            .iter()
            .filter(|it| it.event == Event::Began { attempt: 2 });
        assert_eq!(again.count(), 1);
        let failed = entries
            .iter()
            .filter(|it| matches!(it.event, Event::Failed { .. }));
        assert_eq!(failed.count(), 1);
        assert!(last(&entries).values().all(|event| *event == Event::Done));
    }
}

#[tokio::test]
async fn a_walk_killed_at_any_step_goes_on_from_its_record_and_does_nothing_twice_that_is_recorded()
{
    for fault in Fault::ALL.into_iter().filter(|fault| fault.is_cut()) {
        for step in 0..SHOP.len() {
            for parallelism in [1, 10] {
                let dir = tempfile::tempdir().unwrap();
                let path = dir.path().join("record");
                let world = Arc::new(World::default());
                let [infra, app] = shop(&world);
                let blueprint = blueprint(&[&infra, &app]);
                let options = CarryOptions {
                    parallelism,
                    ..quick()
                };
                let faults = Faults::new(step, fault);
                {
                    let (infra, app) = (faults.around(&infra), faults.around(&app));
                    let (record, _) = FileRecord::open(&path).unwrap();
                    let work = Carry {
                        blueprint: &blueprint,
                        parts: &[&infra, &app],
                        entries: &[],
                        scratch: dir.path(),
                        record: &record,
                        watcher: &(),
                    };
                    tokio::select! {
                        biased;
                        () = faults.cut().cancelled() => {}
                        carried = carry(work, &options) => panic!("{carried:?}"),
                    }
                }
                // A crash in the middle of a write.
                let mut torn = std::fs::OpenOptions::new()
                    .append(true)
                    .open(&path)
                    .unwrap();
                std::io::Write::write_all(&mut torn, b"{\"time\":\"2026-").unwrap();
                drop(torn);
                let (record, entries) = FileRecord::open(&path).unwrap();
                let recorded: BTreeSet<String> = last(&entries)
                    .into_iter()
                    .filter(|(_, event)| *event == Event::Done)
                    .map(|(name, _)| name)
                    .collect();
                world.log.lock().unwrap().clear();
                let work = Carry {
                    blueprint: &blueprint,
                    parts: &[&infra, &app],
                    entries: &entries,
                    scratch: dir.path(),
                    record: &record,
                    watcher: &(),
                };
                let carried = carry(work, &options).await;
                drop(record);
                assert_eq!(carried.phase, Phase::Succeeded, "{:?}", carried.problems);
                assert_eq!((carried.done, carried.total), (8, 8));
                assert_eq!(world.names(), SHOP);
                assert!(
                    world
                        .deeds
                        .lock()
                        .unwrap()
                        .values()
                        .all(|times| *times == 1)
                );
                assert_eq!(*world.told_done.lock().unwrap(), recorded);
                let (_, all) = FileRecord::open(&path).unwrap();
                assert_eq!(all[..entries.len()], entries);
                assert!(last(&all).values().all(|event| *event == Event::Done));
                for name in SHOP {
                    let done = all
                        .iter()
                        .filter(|it| it.address.local() == name && it.event == Event::Done);
                    assert_eq!(done.count(), 1, "{name} is done once");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_problem_that_may_pass_is_tried_again_and_one_that_stays_fails() {
    let world = Arc::new(World::default());
    world.trick("first", Trick::Flaky(3));
    world.trick("mail", Trick::Flaky(4));
    let [infra, app] = shop(&world);
    let record = Memory::default();
    let carried = run(&[&infra, &app], &record, &quick()).await;
    let ends = ends(&[&infra, &app], &carried);
    assert_eq!(
        (ends["first"], ends["mail"], ends["page"]),
        (End::Done, End::Failed, End::Skipped)
    );
    assert_eq!(ends["orders"], End::Done);
    assert_eq!(carried.problems.len(), 1);
    let entries = record.0.lock().unwrap();
    let began = |name: &str| {
        let of = entries.iter().filter(|it| it.address.local() == name);
        of.filter(|it| matches!(it.event, Event::Began { .. }))
            .count()
    };
    assert_eq!((began("first"), began("mail"), began("page")), (4, 4, 0));
}

#[tokio::test(start_paused = true)]
async fn a_step_past_its_deadline_fails_with_what_was_last_heard_and_the_others_go_on() {
    let world = Arc::new(World::default());
    world.trick("orders", Trick::Hang("1/3 available"));
    let [infra, app] = shop(&world);
    let options = CarryOptions {
        deadline: Some(Duration::from_secs(90)),
        ..quick()
    };
    let carried = run(&[&infra, &app], &(), &options).await;
    let ends = ends(&[&infra, &app], &carried);
    assert_eq!(
        (ends["orders"], ends["page"], ends["mail"]),
        (End::Failed, End::Skipped, End::Done)
    );
    let problem = &carried.problems[0];
    assert_eq!(problem.summary, "not done within 1m30s");
    assert_eq!(problem.detail, "last heard: 1/3 available");
    assert_eq!(problem.address.as_ref().unwrap().as_str(), "app/orders");
}

#[tokio::test]
async fn a_cancelled_walk_finishes_what_is_under_way_and_starts_nothing_more() {
    let world = Arc::new(World::default());
    let options = quick();
    world.trick("network", Trick::Cancel(options.cancel.clone()));
    let [infra, app] = shop(&world);
    let record = Memory::default();
    let carried = run(&[&infra, &app], &record, &options).await;
    assert_eq!(carried.phase, Phase::Cancelled);
    let ends = ends(&[&infra, &app], &carried);
    assert_eq!((ends["network"], ends["namespace"]), (End::Done, End::Done));
    assert_eq!((carried.done, carried.skipped), (2, 6));
    let last = last(&record.0.lock().unwrap());
    assert_eq!(last["first"], Event::Skipped { because: None });
    assert_eq!(world.finished.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn what_an_earlier_walk_did_stays_done_when_nothing_more_is_walked() {
    let world = Arc::new(World::default());
    let options = quick();
    world.trick("network", Trick::Cancel(options.cancel.clone()));
    let [infra, app] = shop(&world);
    let record = Memory::default();
    run(&[&infra, &app], &record, &options).await;
    let before = record.0.lock().unwrap().clone();
    // The token is cancelled already: an operation that was cut off is brought to its end so.
    let carried = go_on(&[&infra, &app], &before, &record, &options).await;
    assert_eq!(carried.phase, Phase::Cancelled);
    let ends = ends(&[&infra, &app], &carried);
    assert_eq!((ends["network"], ends["first"]), (End::Done, End::Skipped));
    assert_eq!((carried.done, carried.skipped), (2, 6));
    assert_eq!(last(&record.0.lock().unwrap())["network"], Event::Done);
}

#[tokio::test]
async fn what_goes_goes_in_the_order_against_its_making_over_all_parts() {
    let world = Arc::new(World::default());
    let [mut infra, mut app] = shop(&world);
    for name in SHOP {
        world
            .things
            .lock()
            .unwrap()
            .insert(name.to_owned(), serde_json::json!([]));
    }
    infra.intent = Intent::Destroy;
    app.intent = Intent::Destroy;
    let carried = run(&[&infra, &app], &(), &quick()).await;
    assert_eq!(carried.phase, Phase::Succeeded, "{:?}", carried.problems);
    assert!(world.names().is_empty());
    assert!(world.before("page", "orders") && world.before("orders", "settings"));
    assert!(world.before("settings", "first") && world.before("first", "network"));
    assert!(
        !world.before("namespace", "second"),
        "nothing is told of the second machine: {:?}",
        world.log()
    );
}

#[tokio::test]
async fn what_a_part_deletes_waits_for_those_who_move_off_it() {
    for (dependent, broken) in [(true, false), (true, true), (false, false)] {
        let world = Arc::new(World::default());
        let infra = part(
            &world,
            "infra",
            &[
                thing("database").action(Action::Delete),
                thing("cache").gives("address"),
            ],
        );
        let mut orders = thing("orders");
        if dependent {
            orders = orders.takes("infra.address");
        }
        if broken {
            world.trick("orders", Trick::Fail);
        }
        let app = part(&world, "app", &[orders]);
        let carried = run(&[&infra, &app], &(), &quick()).await;
        if broken {
            let ends = ends(&[&infra, &app], &carried);
            assert_eq!(ends["database"], End::Skipped, "it is still in use");
        } else {
            assert_eq!(carried.phase, Phase::Succeeded);
            assert_eq!(world.before("orders", "database"), dependent);
        }
    }
}

#[tokio::test]
async fn a_part_that_left_the_score_goes_when_the_others_stand_and_before_what_it_was_built_on() {
    let world = Arc::new(World::default());
    world.trick("orders", Trick::Slow(Duration::from_millis(20)));
    let infra = part(
        &world,
        "infra",
        &[
            thing("network").gives("address"),
            thing("database").action(Action::Delete),
        ],
    );
    let app = part(&world, "app", &[thing("orders")]);
    let mut old = part(&world, "old", &[thing("mail").takes("infra.address")]);
    old.intent = Intent::Destroy;
    for name in ["mail", "database"] {
        world
            .things
            .lock()
            .unwrap()
            .insert(name.to_owned(), serde_json::json!([]));
    }
    let carried = run(&[&infra, &app, &old], &(), &quick()).await;
    assert_eq!(carried.phase, Phase::Succeeded, "{:?}", carried.problems);
    assert_eq!(world.names(), ["network", "orders"]);
    assert!(world.before("orders", "mail") && world.before("mail", "database"));
}

#[tokio::test]
async fn a_part_that_comes_after_another_waits_for_all_of_it_and_is_skipped_with_it() {
    for broken in [false, true] {
        let world = Arc::new(World::default());
        let [infra, mut app] = shop(&world);
        app.after = vec!["infra"];
        if broken {
            world.trick("second", Trick::Fail);
        }
        let carried = run(&[&infra, &app], &(), &quick()).await;
        if broken {
            assert_eq!((carried.done, carried.failed, carried.skipped), (2, 1, 5));
        } else {
            assert!(world.before("second", "namespace") && world.before("first", "namespace"));
            assert_eq!(carried.done, 8);
        }
    }
}

#[tokio::test]
async fn a_carrier_with_an_account_of_its_own_is_called_after_failures_and_others_are_not() {
    let world = Arc::new(World::default());
    let [mut infra, app] = shop(&world);
    infra.accounts = true;
    world.trick("network", Trick::Fail);
    let record = Memory::default();
    let carried = run(&[&infra, &app], &record, &quick()).await;
    let ends = ends(&[&infra, &app], &carried);
    assert_eq!(ends["network"], End::Failed);
    assert_eq!(
        (ends["first"], ends["second"]),
        (End::Skipped, End::Skipped)
    );
    assert_eq!(
        (ends["settings"], ends["orders"], ends["mail"]),
        (End::Skipped, End::Skipped, End::Done)
    );
    assert_eq!(carried.problems.len(), 1, "{:?}", carried.problems);
    // The other way round: what another part keeps from being done is told to the carrier, which passes it on.
    let world = Arc::new(World::default());
    let [infra, mut app] = shop(&world);
    app.accounts = true;
    world.trick("first", Trick::Fail);
    let carried = run(&[&infra, &app], &record, &quick()).await;
    let ends = system::ends(&[&infra, &app], &carried);
    assert_eq!(
        (ends["settings"], ends["orders"], ends["page"]),
        (End::Skipped, End::Skipped, End::Skipped)
    );
    assert_eq!(*world.skipped.lock().unwrap(), ["settings"]);
}

#[tokio::test]
async fn a_step_that_only_evaluates_is_recorded_when_it_fails() {
    let world = Arc::new(World::default());
    let infra = part(
        &world,
        "infra",
        &[
            thing("local.size").evaluates(),
            thing("disk").needs("local.size"),
        ],
    );
    world.trick("local.size", Trick::Fail);
    let record = Memory::default();
    let carried = run(&[&infra], &record, &quick()).await;
    assert_eq!((carried.failed, carried.skipped), (0, 1));
    assert_eq!(carried.problems.len(), 1);
    let last = last(&record.0.lock().unwrap());
    assert!(matches!(last["local.size"], Event::Failed { .. }));
    let because = "infra/local.size".parse().unwrap();
    assert_eq!(
        last["disk"],
        Event::Skipped {
            because: Some(because)
        }
    );
}

#[tokio::test]
async fn nothing_is_started_when_a_part_cannot_get_ready() {
    let world = Arc::new(World::default());
    let [mut infra, app] = shop(&world);
    infra.unready = true;
    let carried = run(&[&infra, &app], &(), &quick()).await;
    assert_eq!((carried.phase, carried.skipped), (Phase::Failed, 8));
    assert_eq!(carried.problems[0].summary, "the state is locked");
    assert!(world.log().is_empty());
    assert_eq!(*world.finished.lock().unwrap(), ["app"]);
}

#[tokio::test]
async fn steps_of_two_parts_that_wait_for_each_other_are_named() {
    let world = Arc::new(World::default());
    let infra = part(
        &world,
        "infra",
        &[thing("first").takes("app.size").gives("address")],
    );
    let app = part(
        &world,
        "app",
        &[thing("orders").takes("infra.address").gives("size")],
    );
    let carried = run(&[&infra, &app], &(), &quick()).await;
    assert!(world.log().is_empty());
    let told = &carried.problems[0].summary;
    assert!(
        told.contains("infra/first -> app/orders -> infra/first")
            || told.contains("app/orders -> infra/first -> app/orders"),
        "{told}"
    );
}

/// Takes one group, then no more.
struct Full(std::sync::atomic::AtomicU32);

impl Record for Full {
    fn commit(&self, _: Vec<Entry>) -> Call<'_, Result<(), Unrecorded>> {
        let before = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Box::pin(async move {
            if before == 0 {
                return Ok(());
            }
            Err(Unrecorded::new(std::io::Error::from(
                std::io::ErrorKind::StorageFull,
            )))
        })
    }
}

#[tokio::test]
async fn a_walk_whose_record_cannot_be_kept_starts_nothing_more() {
    let world = Arc::new(World::default());
    let [infra, app] = shop(&world);
    let options = CarryOptions {
        parallelism: 1,
        ..quick()
    };
    let carried = run(&[&infra, &app], &Full(0.into()), &options).await;
    assert_eq!(carried.phase, Phase::Failed);
    assert!(carried.done < 8, "{carried:?}");
    let told = carried.problems.last().unwrap();
    assert!(told.summary.contains("keeping the record"), "{told:?}");
}

#[tokio::test]
async fn a_stale_plan_says_what_has_moved() {
    let world = Arc::new(World::default());
    let [infra, app] = shop(&world);
    let mut blueprint = blueprint(&[&infra, &app]);
    blueprint.parent.revision = 3;
    let seen = Seen {
        what: "network".to_owned(),
        version: "1".to_owned(),
    };
    blueprint.parent.seen.insert("infra".to_owned(), vec![seen]);
    let parts: [&dyn Part; 2] = [&infra, &app];
    let stale = moved(&blueprint, &parts, 5).await.unwrap().unwrap();
    assert_eq!(
        stale.to_string(),
        "the world has moved since the plan was made\n  revision 3 -> 5\n  network: deleted by bob"
    );
    world
        .things
        .lock()
        .unwrap()
        .insert("network".to_owned(), serde_json::json!([]));
    assert_eq!(moved(&blueprint, &parts, 3).await.unwrap(), None);
}

#[tokio::test]
async fn a_blueprint_reads_back_with_its_id_and_a_text_that_is_none_is_refused() {
    let world = Arc::new(World::default());
    let [infra, app] = shop(&world);
    let whole = blueprint(&[&infra, &app]);
    let (json, id) = whole.to_json();
    assert_eq!(id, whole.id());
    assert_eq!(
        consort_plan::Blueprint::from_json(&json).unwrap(),
        (whole.clone(), id)
    );
    let mut odd = whole.clone();
    odd.edges[0].dependency = 99;
    for (bytes, said) in [
        (&b"{}"[..], "it is no blueprint"),
        (
            b"{\"format\":9}",
            "it has the form 9, and this version reads the form 1",
        ),
        (b"[", "it cannot be read"),
        (
            &odd.to_json().0,
            "its parts, changes and edges do not fit together",
        ),
    ] {
        let error = consort_plan::Blueprint::from_json(bytes).unwrap_err();
        assert_eq!(error.to_string(), said);
    }
}

#[tokio::test]
async fn ten_thousand_steps_in_a_chain_and_ten_thousand_that_all_fail_are_walked_quickly() {
    let names: Vec<&'static str> = (0..10_000).map(|n| &*format!("t{n}").leak()).collect();
    let began = std::time::Instant::now();
    let world = Arc::new(World::default());
    let mut things: Vec<_> = names.iter().map(|name| thing(name)).collect();
    for n in 1..names.len() {
        things[n] = things[n].clone().needs(names[n - 1]);
    }
    let chain = part(&world, "chain", &things);
    let dir = tempfile::tempdir().unwrap();
    let (record, _) = FileRecord::open(&dir.path().join("record")).unwrap();
    assert_eq!(run(&[&chain], &record, &quick()).await.done, 10_000);
    let flat: Vec<_> = names.iter().map(|name| thing(name)).collect();
    for name in &names {
        world.trick(name, Trick::Fail);
    }
    let flat = part(&world, "flat", &flat);
    assert_eq!(run(&[&flat], &(), &quick()).await.failed, 10_000);
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
}
