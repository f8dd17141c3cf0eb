//! The hub against a server that misbehaves on demand.

mod fake;

use consort_reconcile::{
    Action, Controller, Event, Expectations, Hub, Informer, Key, Subscription,
};
use fake::Fake;
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;
use std::{collections::BTreeSet, convert::Infallible, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(20);

struct Setup {
    fake: Fake,
    hub: Hub,
    shutdown: CancellationToken,
    maps: Informer<ConfigMap>,
}

async fn setup(fake: Fake) -> Setup {
    let shutdown = CancellationToken::new();
    let hub = Hub::new(fake.client(), shutdown.clone());
    let maps = hub.informer::<ConfigMap>();
    tokio::time::timeout(DEADLINE, maps.synced())
        .await
        .expect("the informer syncs");
    Setup {
        fake,
        hub,
        shutdown,
        maps,
    }
}

impl Setup {
    async fn end(self) {
        self.shutdown.cancel();
        tokio::time::timeout(DEADLINE, self.hub.closed())
            .await
            .expect("all watches end");
    }
}

fn describe(event: &Event<ConfigMap>) -> String {
    let value = |map: &ConfigMap| {
        map.data
            .as_ref()
            .map_or("", |data| data["value"].as_str())
            .to_owned()
    };
    let name = |map: &ConfigMap| map.metadata.name.clone().unwrap();
    match event {
        Event::Applied { old, new } => {
            format!(
                "{} {}->{}",
                name(new),
                old.as_ref().map_or("none".into(), |old| value(old)),
                value(new)
            )
        }
        Event::Deleted(last) => format!("{} {}->none", name(last), value(last)),
        Event::Synced => "synced".into(),
    }
}

async fn next(changes: &mut Subscription<ConfigMap>) -> String {
    let event = tokio::time::timeout(DEADLINE, changes.next())
        .await
        .expect("an event in time");
    describe(&event.expect("the subscription is open"))
}

async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let wait = async {
        while !check() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait)
        .await
        .unwrap_or_else(|_| panic!("never happened: {what}"));
}

#[tokio::test]
async fn subscribers_early_and_late_see_every_object_and_every_change() {
    let fake = Fake::new();
    fake.put("a", "one", "1");
    let setup = setup(fake).await;
    let mut early = setup.maps.subscribe();
    assert_eq!(next(&mut early).await, "one none->1");
    assert_eq!(next(&mut early).await, "synced");
    setup.fake.put("a", "two", "1");
    assert_eq!(next(&mut early).await, "two none->1");
    setup.fake.put("a", "one", "2");
    assert_eq!(next(&mut early).await, "one 1->2");
    setup.fake.delete("a", "two");
    assert_eq!(next(&mut early).await, "two 1->none");

    let mut late = setup.maps.subscribe();
    assert_eq!(next(&mut late).await, "one none->2");
    assert_eq!(next(&mut late).await, "synced");
    setup.fake.put("a", "one", "3");
    assert_eq!(next(&mut late).await, "one 2->3");
    assert!(
        setup
            .maps
            .get(Some("a"), "one")
            .unwrap()
            .metadata
            .managed_fields
            .is_none()
    );
    setup.end().await;
}

#[tokio::test]
async fn one_watch_serves_all_who_ask_for_a_kind_and_ends_with_the_last_of_them() {
    let setup = setup(Fake::new()).await;
    let again = setup.hub.informer::<ConfigMap>();
    setup.fake.put("a", "one", "1");
    eventually("the second handle sees the object", || again.len() == 1).await;
    assert!(Arc::ptr_eq(
        &again.get(Some("a"), "one").unwrap(),
        &setup.maps.get(Some("a"), "one").unwrap()
    ));
    assert_eq!((setup.fake.lists(), setup.fake.watches()), (1, 1));
    setup.end().await;
}

#[tokio::test]
async fn a_cut_watch_goes_on_where_it_was_without_a_new_list() {
    let setup = setup(Fake::new()).await;
    setup.fake.put("a", "one", "1");
    eventually("the object arrives", || setup.maps.len() == 1).await;
    setup.fake.refuse_watches(true);
    setup.fake.disconnect();
    setup.fake.put("a", "two", "1");
    setup.fake.delete("a", "one");
    setup.fake.refuse_watches(false);
    eventually("what happened meanwhile arrives", || {
        setup.maps.get(Some("a"), "one").is_none() && setup.maps.get(Some("a"), "two").is_some()
    })
    .await;
    assert_eq!(setup.fake.lists(), 1);
    setup.end().await;
}

#[tokio::test]
async fn after_410_the_list_is_read_again_and_deletions_in_between_are_told() {
    let fake = Fake::new();
    fake.put("a", "kept", "1");
    fake.put("a", "gone", "1");
    fake.put("a", "reborn", "1");
    let setup = setup(fake).await;
    let mut changes = setup.maps.subscribe();
    for _ in 0..4 {
        next(&mut changes).await;
    }
    setup.fake.refuse_watches(true);
    setup.fake.disconnect();
    setup.fake.delete("a", "gone");
    setup.fake.delete("a", "reborn");
    setup.fake.put("a", "reborn", "2");
    setup.fake.put("a", "new", "1");
    setup.fake.compact();
    setup.fake.refuse_watches(false);
    let mut told = BTreeSet::new();
    for _ in 0..4 {
        told.insert(next(&mut changes).await);
    }
    // The unchanged object is not told again; the one of the same name is told as two lives.
    let expected = [
        "gone 1->none",
        "new none->1",
        "reborn 1->none",
        "reborn none->2",
    ];
    assert_eq!(told, expected.map(str::to_owned).into());
    assert_eq!(setup.fake.lists(), 2);
    setup.end().await;
}

#[tokio::test]
async fn creation_and_deletion_in_one_read_do_not_stall_anything() {
    let setup = setup(Fake::new()).await;
    let mut changes = setup.maps.subscribe();
    assert_eq!(next(&mut changes).await, "synced");
    for round in 0..50 {
        let name = format!("blink-{round}");
        setup.fake.put("a", &name, "1");
        setup.fake.delete("a", &name);
    }
    setup.fake.put("a", "last", "1");
    loop {
        if next(&mut changes).await == "last none->1" {
            break;
        }
    }
    assert_eq!(setup.maps.len(), 1);
    setup.end().await;
}

#[tokio::test]
async fn a_slow_subscriber_catches_up_with_one_change_per_object() {
    let fake = Fake::new();
    fake.put("a", "busy", "0");
    let setup = setup(fake).await;
    let mut slow = setup.maps.subscribe();
    assert_eq!(next(&mut slow).await, "busy none->0");
    assert_eq!(next(&mut slow).await, "synced");
    for round in 1..=5_000 {
        setup.fake.put("a", "busy", &round.to_string());
    }
    let last = setup.fake.put("a", "other", "1");
    eventually("the cache has it all", || setup.maps.revision() >= last).await;
    assert_eq!(next(&mut slow).await, "busy 0->5000");
    assert_eq!(next(&mut slow).await, "other none->1");
    setup.end().await;
}

#[tokio::test]
async fn thousands_of_objects_are_listed_in_pages_and_found_by_index_and_namespace() {
    let fake = Fake::new();
    for n in 0..3_000 {
        fake.put(
            &format!("ns{}", n % 10),
            &format!("map-{n:05}"),
            &(n % 7).to_string(),
        );
    }
    let setup = setup(fake).await;
    setup.maps.add_index("value", |map: &ConfigMap| {
        map.data.iter().map(|data| data["value"].clone()).collect()
    });
    assert_eq!(setup.maps.len(), 3_000);
    assert!(setup.fake.pages() >= 6);
    assert_eq!(setup.maps.list_in("ns3").len(), 300);
    assert_eq!(
        setup.maps.by_index("value", "4").len(),
        (0..3_000).filter(|n| n % 7 == 4).count()
    );
    setup.fake.put("ns4", "map-00004", "moved");
    eventually("the index follows", || {
        setup.maps.by_index("value", "moved").len() == 1
    })
    .await;
    assert_eq!(
        setup.maps.by_index("value", "4").len(),
        (0..3_000).filter(|n| n % 7 == 4).count() - 1
    );
    let stream = setup.maps.subscribe().into_stream();
    let replayed = stream
        .take_while(|event| futures::future::ready(!matches!(event, Event::Synced)))
        .count();
    assert_eq!(replayed.await, 3_000);
    setup.end().await;
}

#[tokio::test]
async fn an_object_that_does_not_decode_hides_no_other() {
    let fake = Fake::new();
    fake.put("a", "good", "1");
    fake.put_raw("a", "bad", json!({"metadata": {}, "data": "not a map"}));
    let setup = setup(fake).await;
    assert_eq!(setup.maps.len(), 1);
    setup
        .fake
        .put_raw("a", "worse", json!({"metadata": {}, "data": [1]}));
    setup.fake.put("a", "fine", "1");
    eventually("later objects arrive", || {
        setup.maps.get(Some("a"), "fine").is_some()
    })
    .await;
    assert_eq!(setup.fake.lists(), 1);
    setup.end().await;
}

#[tokio::test]
async fn a_controller_sees_present_objects_changes_and_deletions() {
    let fake = Fake::new();
    fake.put("a", "one", "1");
    let setup = setup(fake).await;
    let (sender, mut seen) = tokio::sync::mpsc::channel(64);
    let cache = setup.maps.clone();
    let controller = Controller::new("test").queue_on(&setup.maps, Event::key);
    let stop = setup.shutdown.child_token();
    let running = controller.run(
        4,
        move |key: Key| {
            let (cache, sender) = (cache.clone(), sender.clone());
            async move {
                let value = cache
                    .by_key(&key)
                    .map(|map| map.data.as_ref().unwrap()["value"].clone());
                let _ = sender.send((key.to_string(), value)).await;
                Ok::<_, Infallible>(Action::Done)
            }
        },
        stop.clone(),
    );
    let script = async {
        let mut expect = async |value: Option<&str>| {
            let wait = async { while seen.recv().await.unwrap().1.as_deref() != value {} };
            tokio::time::timeout(DEADLINE, wait).await.unwrap();
        };
        expect(Some("1")).await;
        setup.fake.put("a", "one", "2");
        expect(Some("2")).await;
        setup.fake.delete("a", "one");
        expect(None).await;
        stop.cancel();
    };
    tokio::join!(running, script);
    setup.end().await;
}

#[tokio::test]
async fn expectations_are_met_when_the_cache_shows_the_write_or_has_passed_it() {
    let setup = setup(Fake::new()).await;
    let expectations = Expectations::default();
    let written = |name: &str, revision: u64, uid: &str| -> ConfigMap {
        serde_json::from_value(json!({"metadata": {
            "namespace": "a", "name": name, "uid": uid, "resourceVersion": revision.to_string(),
        }}))
        .unwrap()
    };
    let next = setup.maps.revision() + 1;
    expectations.applied("owner", &written("one", next, &format!("uid-{next}")));
    assert!(!expectations.met(&"owner", &setup.maps));
    assert!(expectations.met(&"another", &setup.maps));
    assert_eq!(setup.fake.put("a", "one", "1"), next);
    eventually("the creation shows", || {
        expectations.met(&"owner", &setup.maps)
    })
    .await;

    expectations.deleted("owner", &*setup.maps.get(Some("a"), "one").unwrap());
    assert!(!expectations.met(&"owner", &setup.maps));
    setup.fake.delete("a", "one");
    eventually("the deletion shows", || {
        expectations.met(&"owner", &setup.maps)
    })
    .await;

    // Created and deleted again before the cache looked: passed all the same.
    expectations.applied(
        "owner",
        &written("never-seen", setup.maps.revision(), "uid-x"),
    );
    assert!(expectations.met(&"owner", &setup.maps));
    setup.end().await;
}

#[tokio::test]
async fn a_subscription_ends_when_the_hub_does() {
    let setup = setup(Fake::new()).await;
    let mut changes = setup.maps.subscribe();
    assert_eq!(next(&mut changes).await, "synced");
    setup.shutdown.cancel();
    let end = tokio::time::timeout(DEADLINE, changes.next())
        .await
        .expect("in time");
    assert!(end.is_none());
    setup.end().await;
}
