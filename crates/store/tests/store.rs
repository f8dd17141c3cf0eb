//! What the store promises while all goes well.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{delete, draft, key, list, note, pod, put, small, write};
use consort_object::Revision;
use consort_store::{Change, Error, Expect, Key, Options, Retention, Store, Transform, Write};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

fn open() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Options::new(dir.path())).unwrap();
    (dir, store)
}

#[tokio::test]
async fn what_was_committed_is_read_back_before_and_after_reopening() {
    let (dir, store) = open();
    assert_eq!(store.revision(), Revision(0));
    let committed = store
        .commit(vec![put(&pod("web"), "one", Expect::Absent)])
        .await
        .unwrap();
    assert_eq!(committed.revision, Revision(1));
    let stored = store.get(&pod("web")).unwrap().unwrap();
    assert_eq!(committed.objects, [Some(stored.clone())]);
    assert_eq!(note(&stored), "one");
    store.close().await;

    let store = Store::open(Options::new(dir.path())).unwrap();
    assert_eq!(store.revision(), Revision(1));
    assert_eq!(store.get(&pod("web")).unwrap(), Some(stored));
    assert_eq!(store.get(&pod("nope")).unwrap(), None);
    assert_eq!(store.count("/core/pods/"), 1);
}

#[tokio::test]
async fn a_commit_happens_whole_or_not_at_all() {
    let (_dir, store) = open();
    write(&store, &pod("a"), "1").await;
    let failed = store
        .commit(vec![
            put(&pod("b"), "2", Expect::Absent),
            put(&pod("a"), "2", Expect::Absent),
        ])
        .await;
    match failed {
        Err(Error::Conflict {
            key,
            expected: Expect::Absent,
            found: Some(found),
        }) => {
            assert_eq!((key, note(&found)), (pod("a"), "1".to_owned()));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(store.revision(), Revision(1));
    assert_eq!(store.get(&pod("b")).unwrap(), None);
    let both = vec![
        put(&pod("b"), "2", Expect::Absent),
        delete(&pod("a"), Expect::At(Revision(1))),
    ];
    let committed = store.commit(both).await.unwrap();
    let last = committed.objects[1].as_ref().unwrap();
    assert_eq!((last.revision, note(last)), (Revision(2), "1".to_owned()));
    assert_eq!(
        list(&store, "/core/pods/", None),
        [("b".to_owned(), "2".to_owned())]
    );
}

#[tokio::test]
async fn expectations_are_compared_with_the_last_write() {
    let (_dir, store) = open();
    let at = write(&store, &pod("a"), "1").await;
    let cas = |revision| vec![put(&pod("a"), "x", Expect::At(revision))];
    let now = store.commit(cas(at)).await.unwrap().revision;
    assert!(matches!(
        store.commit(cas(at)).await,
        Err(Error::Conflict { .. })
    ));
    assert!(matches!(
        store.commit(vec![delete(&pod("a"), Expect::At(at))]).await,
        Err(Error::Conflict { .. })
    ));
    store
        .commit(vec![delete(&pod("a"), Expect::At(now))])
        .await
        .unwrap();
    for write in [
        delete(&pod("a"), Expect::Any),
        put(&pod("a"), "y", Expect::At(now)),
    ] {
        match store.commit(vec![write]).await {
            Err(Error::Conflict { found: None, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    store
        .commit(vec![put(&pod("a"), "again", Expect::Absent)])
        .await
        .unwrap();
}

#[tokio::test]
async fn malformed_commits_are_refused_and_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path());
    options.max_commit_bytes = 4096;
    let store = Store::open(options).unwrap();
    let twice = vec![
        put(&pod("a"), "1", Expect::Any),
        delete(&pod("a"), Expect::Any),
    ];
    assert!(matches!(
        store.commit(twice).await,
        Err(Error::Repeated { .. })
    ));
    let large = vec![put(&pod("a"), &"x".repeat(5000), Expect::Any)];
    assert!(matches!(
        store.commit(large).await,
        Err(Error::TooLarge { limit: 4096, .. })
    ));
    assert_eq!(store.commit(vec![]).await.unwrap().revision, Revision(0));
    assert_eq!(store.revision(), Revision(0));
}

#[tokio::test]
async fn pages_show_one_revision_whatever_is_written_between_them() {
    let (_dir, store) = open();
    for n in 0..25 {
        write(&store, &pod(&format!("p{n:02}")), "old").await;
    }
    write(&store, &key("/core/secrets/shop/other"), "x").await;
    let prefix = Key::prefix("", "pods", Some("shop"));
    let mut page = store
        .range(&prefix, None, Some(10), None, |_| true)
        .unwrap();
    assert_eq!((page.objects.len(), page.remaining), (10, Some(15)));
    let at = page.revision;
    let mut seen = page.objects;
    while let Some(next) = page.next {
        write(&store, &pod("p12"), "new").await;
        store
            .commit(vec![delete(&pod("p24"), Expect::Any)])
            .await
            .ok();
        write(&store, &pod(&format!("p{}x", seen.len())), "new").await;
        page = store
            .range(&prefix, Some(&next), Some(10), Some(at), |_| true)
            .unwrap();
        assert_eq!(page.revision, at);
        seen.extend(page.objects);
    }
    let names: Vec<_> = seen.iter().map(|o| o.head.name.clone()).collect();
    assert_eq!(
        names,
        (0..25).map(|n| format!("p{n:02}")).collect::<Vec<_>>()
    );
    assert!(seen.iter().all(|o| note(o) == "old"));
    assert_eq!(
        store
            .get_at(&pod("p12"), at)
            .unwrap()
            .map(|o| note(&o))
            .as_deref(),
        Some("old")
    );
    assert_eq!(store.count(&prefix), 26);
}

#[tokio::test]
async fn a_filter_selects_by_head_and_the_limit_counts_what_it_selects() {
    let (_dir, store) = open();
    for n in 0..20 {
        write(
            &store,
            &pod(&format!("p{n:02}")),
            if n % 2 == 0 { "even" } else { "odd" },
        )
        .await;
    }
    let even = |head: &dyn consort_object::Selectable| head.label("note") == Some("even");
    let first = store
        .range("/core/pods/", None, Some(6), None, even)
        .unwrap();
    let next = first.next.unwrap();
    let second = store
        .range("/core/pods/", Some(&next), Some(6), None, even)
        .unwrap();
    assert_eq!(
        (first.objects.len(), second.objects.len(), second.next),
        (6, 4, None)
    );
}

#[tokio::test]
async fn watches_see_each_write_once_in_order_from_any_kept_revision() {
    let (_dir, store) = open();
    let mut live = store.watch("/core/pods/shop/", Revision(0)).unwrap();
    let mut wide = store.watch("/", Revision(0)).unwrap();
    write(&store, &pod("a"), "1").await;
    write(&store, &key("/apps/deployments/shop/d"), "1").await;
    write(&store, &pod("a"), "2").await;
    write(&store, &key("/core/pods/other/z"), "1").await;
    store
        .commit(vec![
            delete(&pod("a"), Expect::Any),
            put(&pod("b"), "3", Expect::Any),
        ])
        .await
        .unwrap();

    let mut late = store.watch("/core/pods/shop/", Revision(1)).unwrap();
    let mut events = Vec::new();
    while events.len() < 4 {
        events.extend(timeout(SOON, live.next()).await.unwrap().unwrap().events);
    }
    let told: Vec<_> = events
        .iter()
        .map(|e| {
            let previous = e.previous.as_ref().map(note);
            (
                e.revision.0,
                e.key.name().to_owned(),
                e.kind,
                note(&e.object),
                previous,
            )
        })
        .collect();
    let text = str::to_owned;
    assert_eq!(
        told,
        [
            (1, text("a"), Change::Created, text("1"), None),
            (3, text("a"), Change::Updated, text("2"), Some(text("1"))),
            (5, text("a"), Change::Deleted, text("2"), Some(text("2"))),
            (5, text("b"), Change::Created, text("3"), None),
        ]
    );
    let replayed = timeout(SOON, late.next()).await.unwrap().unwrap();
    assert_eq!(replayed.upto, Revision(5));
    for (have, again) in events[1..].iter().zip(&replayed.events) {
        assert!(Arc::ptr_eq(have, again), "watchers share events");
    }
    let all = timeout(SOON, wide.next()).await.unwrap().unwrap();
    let revisions: Vec<_> = all.events.iter().map(|e| e.revision.0).collect();
    assert_eq!(revisions, [1, 2, 3, 4, 5, 5]);
}

#[tokio::test]
async fn a_quiet_watch_knows_how_far_it_has_come() {
    let (_dir, store) = open();
    let mut quiet = store.watch("/core/secrets/", Revision(0)).unwrap();
    let last = {
        write(&store, &pod("a"), "1").await;
        write(&store, &pod("b"), "1").await
    };
    assert!(quiet.take().unwrap().events.is_empty());
    assert_eq!(quiet.progress(), last);
    write(&store, &key("/core/secrets/shop/s"), "1").await;
    assert_eq!(
        quiet.progress(),
        last,
        "an event that waits is not passed over"
    );
    assert_eq!(quiet.take().unwrap().events.len(), 1);
}

#[tokio::test]
async fn compaction_ends_reading_and_watching_before_it_and_nothing_after() {
    let (dir, store) = open();
    let first = write(&store, &pod("a"), "1").await;
    let mut slow = store.watch("/core/pods/", first).unwrap();
    let mut quiet = store.watch("/core/secrets/", Revision(0)).unwrap();
    let second = write(&store, &pod("a"), "2").await;
    store
        .commit(vec![delete(&pod("a"), Expect::Any)])
        .await
        .unwrap();
    write(&store, &pod("b"), "1").await;
    let last = write(&store, &pod("b"), "2").await;
    store.compact(second).await.unwrap();
    assert_eq!(store.compacted(), second);
    assert_eq!(
        list(&store, "/core/pods/", Some(second)),
        [("a".to_owned(), "2".to_owned())]
    );
    assert!(matches!(
        store.range("/", None, None, Some(first), |_| true),
        Err(Error::Compacted { asked, oldest }) if asked == first && oldest == second
    ));
    assert!(matches!(slow.next().await, Err(Error::Lagged { .. })));
    assert!(matches!(
        store.watch("/core/pods/", first),
        Err(Error::Compacted { .. })
    ));
    let mut kept = store.watch("/core/pods/", second).unwrap();
    let kinds: Vec<_> = kept
        .next()
        .await
        .unwrap()
        .events
        .iter()
        .map(|e| e.kind)
        .collect();
    assert_eq!(kinds, [Change::Deleted, Change::Created, Change::Updated]);

    store.compact(last).await.unwrap();
    store.compact(first).await.unwrap();
    assert_eq!(store.compacted(), last);
    assert!(matches!(
        store.compact(Revision(99)).await,
        Err(Error::Future { .. })
    ));
    assert!(
        quiet.take().is_ok(),
        "a watcher that missed nothing goes on"
    );
    store.close().await;
    let store = Store::open(Options::new(dir.path())).unwrap();
    assert_eq!((store.revision(), store.compacted()), (last, last));
    assert_eq!(list(&store, "/", None), [("b".to_owned(), "2".to_owned())]);
}

#[tokio::test]
async fn the_future_is_refused() {
    let (_dir, store) = open();
    assert!(matches!(
        store.watch("/core/pods/", Revision(1)),
        Err(Error::Future { .. })
    ));
    assert!(matches!(
        store.range("/", None, None, Some(Revision(1)), |_| true),
        Err(Error::Future { .. })
    ));
    assert!(matches!(
        store.get_at(&pod("a"), Revision(1)),
        Err(Error::Future { .. })
    ));
}

#[tokio::test]
async fn history_is_kept_over_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for round in 0..3 {
        let store = Store::open(small(dir.path())).unwrap();
        for n in 0..60 {
            let name = format!("p{}", n % 7);
            if n % 11 == 10 {
                store
                    .commit(vec![delete(&pod(&name), Expect::Any)])
                    .await
                    .ok();
            } else {
                write(
                    &store,
                    &pod(&name),
                    &format!("{round}-{n}-{}", "x".repeat(200)),
                )
                .await;
            }
        }
        let mut watch = store.watch("/core/pods/", Revision(0)).unwrap();
        let mut events = Vec::new();
        while watch.progress() < store.revision() {
            let batch = watch.next().await.unwrap();
            events.extend(batch.events.iter().map(|e| {
                (
                    e.revision,
                    e.key.clone(),
                    e.kind,
                    note(&e.object),
                    e.previous.as_ref().map(note),
                )
            }));
        }
        assert!(events.starts_with(&expected), "round {round}");
        assert!(events.len() > expected.len());
        expected = events;
        store.close().await;
    }
}

#[tokio::test]
async fn old_history_goes_by_itself_and_its_space_is_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = small(dir.path());
    options.retention = Retention {
        revisions: 50,
        ..Retention::default()
    };
    let store = Store::open(options.clone()).unwrap();
    for n in 0..20 {
        write(&store, &key(&format!("/core/secrets/shop/s{n}")), "stays").await;
    }
    let filler = "x".repeat(1000);
    for n in 0..1500 {
        write(
            &store,
            &pod(&format!("p{}", n % 10)),
            &format!("{n}{filler}"),
        )
        .await;
    }
    let used = || -> u64 {
        let entries = std::fs::read_dir(dir.path()).unwrap();
        // Files come and go meanwhile.
        entries
            .map(|e| e.unwrap().metadata().map_or(0, |m| m.len()))
            .sum()
    };
    // Of 3.4 MB written, about 140 KB are kept; as much again may wait, and the segment in use has
    // 1 MB of zeros ahead of its end.
    let bound = (1 << 20) + (450 << 10);
    timeout(SOON, async {
        while store.compacted().0 < 1000 || used() > bound {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("compacted {} used {}", store.compacted(), used()));
    let before = list(&store, "/", None);
    assert_eq!(before.len(), 30);
    store.close().await;
    std::fs::remove_file(dir.path().join("index")).ok();
    let store = Store::open(options).unwrap();
    assert_eq!(
        list(&store, "/", None),
        before,
        "the log alone has everything"
    );
    assert_eq!(store.revision(), Revision(1520));
}

#[tokio::test]
async fn history_goes_by_age() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path());
    options.retention.age = Duration::from_millis(200);
    let store = Store::open(options).unwrap();
    let last = write(&store, &pod("a"), "1").await;
    timeout(SOON, async {
        while store.compacted() < last {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_that_compare_and_swap_never_lose_an_increment() {
    let (_dir, store) = open();
    write(&store, &pod("counter"), "0").await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            let mut done = 0;
            while done < 25 {
                let now = store.get(&pod("counter")).unwrap().unwrap();
                let next = (note(&now).parse::<u32>().unwrap() + 1).to_string();
                let write = put(&pod("counter"), &next, Expect::At(now.revision));
                match store.commit(vec![write]).await {
                    Ok(_) => done += 1,
                    Err(Error::Conflict { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(note(&store.get(&pod("counter")).unwrap().unwrap()), "200");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_and_fast_watchers_all_see_everything() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(small(dir.path())).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for slow in [false, true] {
        let mut watch = store.watch("/core/pods/", Revision(0)).unwrap();
        tasks.spawn(async move {
            let mut seen = 0;
            while seen < 2000 {
                let batch = watch.next().await.unwrap();
                for event in batch.events {
                    seen += 1;
                    assert_eq!(event.revision.0, seen);
                }
                if slow && seen < 1000 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        });
    }
    let mut writers = tokio::task::JoinSet::new();
    for w in 0..20 {
        let store = store.clone();
        writers.spawn(async move {
            for n in 0..100 {
                write(&store, &pod(&format!("p{w}")), &n.to_string()).await;
            }
        });
    }
    timeout(SOON, async {
        while tasks.join_next().await.transpose().unwrap().is_some() {}
        while writers.join_next().await.transpose().unwrap().is_some() {}
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn closing_ends_watches_and_writes_and_lets_the_next_one_in() {
    let (dir, store) = open();
    let other = store.clone();
    write(&store, &pod("a"), "1").await;
    let mut watch = store.watch("/core/pods/", store.revision()).unwrap();
    match Store::open(Options::new(dir.path())) {
        Err(Error::Locked { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    store.close().await;
    assert!(matches!(
        timeout(SOON, watch.next()).await.unwrap(),
        Err(Error::Closed)
    ));
    let refused = other.commit(vec![put(&pod("b"), "1", Expect::Any)]).await;
    assert!(matches!(refused, Err(Error::Closed)));
    Store::open(Options::new(dir.path())).unwrap();
}

struct Flip;

impl Transform for Flip {
    fn seal(&self, key: &Key, plain: &[u8]) -> Result<Option<Vec<u8>>, String> {
        match key.name() {
            "refused" => Err("no key".to_owned()),
            "open" => Ok(None),
            _ => Ok(Some(plain.iter().map(|b| !b).collect())),
        }
    }

    fn open(&self, _: &Key, sealed: &[u8]) -> Result<Vec<u8>, String> {
        Ok(sealed.iter().map(|b| !b).collect())
    }
}

#[tokio::test]
async fn objects_can_be_transformed_at_rest_and_labels_go_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path());
    options.transform = Some(Arc::new(Flip));
    let store = Store::open(options.clone()).unwrap();
    let value = serde_json::json!({"metadata": {"name": "s", "labels": {"hush-hush": "x"}}, "data": "hush-hush"});
    let secret = key("/core/secrets/shop/s");
    let draft = consort_object::Draft::from_value(&value, vec![]).unwrap();
    let put = Write::Put {
        key: secret.clone(),
        draft,
        expect: Expect::Any,
    };
    let stored = store.commit(vec![put]).await.unwrap().objects.remove(0);
    let refused = common::put(&key("/core/secrets/shop/refused"), "x", Expect::Any);
    assert!(matches!(
        store.commit(vec![refused]).await,
        Err(Error::Transform { .. })
    ));
    write(&store, &key("/core/secrets/shop/open"), "plainly").await;
    store.close().await;
    let on_disk = std::fs::read(dir.path().join("0000000001.log")).unwrap();
    assert!(on_disk.windows(7).any(|w| w == b"plainly"));
    assert!(!on_disk.windows(9).any(|w| w == b"hush-hush"));
    let store = Store::open(options).unwrap();
    assert_eq!(store.get(&secret).unwrap(), stored);
    store.close().await;
    let store = Store::open(Options::new(dir.path())).unwrap();
    assert!(matches!(store.get(&secret), Err(Error::Transform { .. })));
}

#[tokio::test]
async fn a_draft_keeps_its_head_through_the_store() {
    let (dir, store) = open();
    let mut draft = draft(&pod("a"), "x");
    draft.head.fields = vec![("spec.nodeName".to_owned(), "n1".to_owned())];
    let head = draft.head.clone();
    store
        .commit(vec![Write::Put {
            key: pod("a"),
            draft,
            expect: Expect::Any,
        }])
        .await
        .unwrap();
    store.close().await;
    let store = Store::open(Options::new(dir.path())).unwrap();
    assert_eq!(*store.get(&pod("a")).unwrap().unwrap().head, head);
}

/// How many of a list's values are in memory.
fn resident(store: &Store) -> usize {
    let scan = store.scan("/core/pods/", None, None, None, None).unwrap();
    (0..scan.len())
        .filter(|at| scan.resident(*at..at + 1))
        .count()
}

fn read_all(store: &Store) {
    let scan = store.scan("/core/pods/", None, None, None, None).unwrap();
    for at in 0..scan.len() {
        scan.json(at).unwrap();
    }
}

#[tokio::test]
async fn a_list_that_fits_in_memory_stays_there_though_watchers_read_it_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path());
    options.cache_bytes = 400 << 10;
    let store = Store::open(options).unwrap();
    let mut watch = store.watch("/core/pods/", Revision(0)).unwrap();
    for n in 0..300 {
        write(&store, &pod(&format!("p{n:03}")), &"x".repeat(100)).await;
        watch.next().await.unwrap();
    }
    // Older states are what makes room.
    for n in 0..300 {
        write(&store, &pod(&format!("p{n:03}")), &"y".repeat(100)).await;
        watch.next().await.unwrap();
    }
    for _ in 0..3 {
        read_all(&store);
    }
    assert_eq!(resident(&store), 300);
}

#[tokio::test]
async fn a_list_larger_than_memory_does_not_push_out_what_is_read_often() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path());
    options.cache_bytes = 100 << 10;
    let store = Store::open(options).unwrap();
    for n in 0..1000 {
        write(&store, &pod(&format!("p{n:03}")), "x").await;
    }
    let often = |store: &Store| {
        for n in 0..20 {
            store.get(&pod(&format!("p{n:03}"))).unwrap().unwrap();
        }
    };
    for _ in 0..4 {
        often(&store);
    }
    for _ in 0..3 {
        read_all(&store);
        often(&store);
    }
    read_all(&store);
    let scan = store
        .scan("/core/pods/shop/p0", None, Some(20), None, None)
        .unwrap();
    assert!(scan.resident(0..20));
    assert!(resident(&store) < 120, "{} in memory", resident(&store));
}

#[tokio::test]
async fn a_list_can_be_read_although_its_objects_were_replaced_and_their_history_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(common::small(dir.path())).unwrap();
    for n in 0..200 {
        write(&store, &pod(&format!("p{n:03}")), &"a".repeat(200)).await;
    }
    let scan = store.scan("/core/pods/", None, None, None, None).unwrap();
    for round in 0..3 {
        for n in 0..200 {
            write(&store, &pod(&format!("p{n:03}")), &format!("b{round}")).await;
        }
        store.compact(store.revision()).await.unwrap();
    }
    let first = dir.path().join("0000000001.log");
    let deadline = std::time::Instant::now() + SOON;
    while first.exists() {
        assert!(std::time::Instant::now() < deadline, "the segment stays");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    for at in 0..200 {
        assert_eq!(note(&scan.object(at).unwrap()), "a".repeat(200));
    }
}

#[tokio::test]
async fn selecting_reads_heads_that_are_kept_when_values_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path());
    options.cache_bytes = 0;
    let store = Store::open(options).unwrap();
    for n in 0..50 {
        write(&store, &pod(&format!("p{n:02}")), &(n % 2).to_string()).await;
    }
    let odd = |head: &dyn consort_object::Selectable| head.label("note") == Some("1");
    for _ in 0..2 {
        let page = store.range("/core/pods/", None, None, None, odd).unwrap();
        assert_eq!(page.objects.len(), 25);
        assert!(page.objects.iter().all(|object| note(object) == "1"));
    }
    write(&store, &pod("p00"), "1").await;
    let page = store.range("/core/pods/", None, None, None, odd).unwrap();
    assert_eq!(page.objects.len(), 26);
}
