//! The store against a model of it: a list of all states there ever were.

mod common;

use std::collections::BTreeMap;

use common::{delete, note, pod, put, small};
use consort_object::Revision;
use consort_store::{Change, Error, Expect, Key, Store, Write};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    /// Key, content or deletion, expectation.
    Commit(Vec<(u8, Option<u16>, Want)>),
    Compact(u8),
    Reopen {
        without_index: bool,
    },
    Range {
        limit: u8,
        back: u8,
    },
    Watch {
        back: u8,
    },
}

#[derive(Clone, Copy, Debug)]
enum Want {
    Any,
    Absent,
    Current,
    Stale,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let want = prop_oneof![
        4 => Just(Want::Any), 2 => Just(Want::Absent), 3 => Just(Want::Current), 1 => Just(Want::Stale)
    ];
    let write = (0_u8..6, proptest::option::weighted(0.7, any::<u16>()), want);
    let step = prop_oneof![
        12 => proptest::collection::vec(write, 1..4).prop_map(Step::Commit),
        1 => any::<u8>().prop_map(Step::Compact),
        1 => any::<bool>().prop_map(|without_index| Step::Reopen { without_index }),
        2 => (1_u8..4, any::<u8>()).prop_map(|(limit, back)| Step::Range { limit, back }),
        2 => any::<u8>().prop_map(|back| Step::Watch { back }),
    ];
    proptest::collection::vec(step, 1..60)
}

type Content = BTreeMap<Key, (u64, String)>;

#[derive(Default)]
struct Model {
    /// The content at each revision; the first is revision 0.
    states: Vec<Content>,
    /// Revision, key, change, content, content before.
    events: Vec<(u64, Key, Change, String, Option<String>)>,
    compacted: u64,
}

impl Model {
    fn revision(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    /// A revision some way back from the present, perhaps compacted.
    fn back(&self, by: u8) -> u64 {
        self.revision().saturating_sub(u64::from(by) % 32)
    }

    fn commit(&mut self, writes: &[Write]) -> Option<u64> {
        let now = self.states.last().unwrap();
        let revision = self.revision() + 1;
        let mut next = now.clone();
        let mut events = Vec::new();
        for write in writes {
            let before = now.get(write.key());
            let holds = match write.expect() {
                Expect::Any => true,
                Expect::Absent => before.is_none(),
                Expect::At(revision) => before.is_some_and(|(at, _)| *at == revision.0),
            };
            let key = write.key().clone();
            match write {
                Write::Put { draft, .. } if holds => {
                    let content = draft.head.label("note").unwrap().to_owned();
                    let change = if before.is_some() {
                        Change::Updated
                    } else {
                        Change::Created
                    };
                    let previous = before.map(|(_, content)| content.clone());
                    events.push((revision, key.clone(), change, content.clone(), previous));
                    next.insert(key, (revision, content));
                }
                Write::Delete { .. } if holds && before.is_some() => {
                    let content = before.unwrap().1.clone();
                    next.remove(&key);
                    events.push((
                        revision,
                        key,
                        Change::Deleted,
                        content.clone(),
                        Some(content),
                    ));
                }
                _ => return None,
            }
        }
        self.states.push(next);
        self.events.extend(events);
        Some(revision)
    }
}

fn build(model: &Model, writes: Vec<(u8, Option<u16>, Want)>) -> Vec<Write> {
    let mut seen = Vec::new();
    let mut out = Vec::new();
    for (name, content, want) in writes {
        if seen.contains(&name) {
            continue;
        }
        seen.push(name);
        let key = pod(&format!("p{name}"));
        let current = model
            .states
            .last()
            .unwrap()
            .get(&key)
            .map_or(0, |(at, _)| *at);
        let expect = match want {
            Want::Any => Expect::Any,
            Want::Absent => Expect::Absent,
            Want::Current => Expect::At(Revision(current)),
            Want::Stale => Expect::At(Revision(current.saturating_sub(1))),
        };
        out.push(match content {
            Some(content) => put(&key, &format!("{content}-{}", "x".repeat(300)), expect),
            None => delete(&key, expect),
        });
    }
    out
}

async fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let mut model = Model {
        states: vec![Content::new()],
        ..Model::default()
    };
    let mut store = Store::open(small(dir.path())).unwrap();
    for step in steps {
        match step {
            Step::Commit(writes) => {
                let writes = build(&model, writes);
                let expected = model.commit(&writes);
                match (store.commit(writes).await, expected) {
                    (Ok(done), Some(revision)) => assert_eq!(done.revision.0, revision),
                    (Err(Error::Conflict { .. }), None) => {}
                    (got, expected) => panic!("{got:?}, expected {expected:?}"),
                }
            }
            Step::Compact(back) => {
                let at = model.back(back);
                store.compact(Revision(at)).await.unwrap();
                model.compacted = model.compacted.max(at);
            }
            Step::Reopen { without_index } => {
                store.close().await;
                if without_index {
                    std::fs::remove_file(dir.path().join("index")).ok();
                }
                store = Store::open(small(dir.path())).unwrap();
            }
            Step::Range { limit, back } => check_range(&store, &model, limit, model.back(back)),
            Step::Watch { back } => check_watch(&store, &model, model.back(back)),
        }
        assert_eq!(store.revision().0, model.revision());
        assert_eq!(store.compacted().0, model.compacted);
        assert_eq!(
            store.count("/core/pods/"),
            model.states.last().unwrap().len()
        );
    }
    store.close().await;
    let store = Store::open(small(dir.path())).unwrap();
    check_range(&store, &model, 3, model.revision());
    check_watch(&store, &model, model.compacted);
}

fn check_range(store: &Store, model: &Model, limit: u8, at: u64) {
    let mut got = Vec::new();
    let mut after = None;
    loop {
        let page = store.range(
            "/core/pods/",
            after.as_ref(),
            Some(limit.into()),
            Some(Revision(at)),
            |_| true,
        );
        if at < model.compacted {
            assert!(matches!(page, Err(Error::Compacted { .. })));
            return;
        }
        let page = page.unwrap();
        got.extend(page.objects.iter().map(|o| (o.revision.0, note(o))));
        let expected = model.states[at as usize].len() - got.len();
        assert_eq!(page.remaining.unwrap_or(0), expected);
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    let expected: Vec<_> = model.states[at as usize].values().cloned().collect();
    assert_eq!(got, expected);
}

fn check_watch(store: &Store, model: &Model, after: u64) {
    let watch = store.watch("/core/pods/", Revision(after));
    if after < model.compacted {
        assert!(matches!(watch, Err(Error::Compacted { .. })));
        return;
    }
    let batch = watch.unwrap().take().unwrap();
    assert_eq!(batch.upto.0, model.revision());
    let got: Vec<_> = batch
        .events
        .iter()
        .map(|e| {
            let previous = e.previous.as_ref().map(note);
            (
                e.revision.0,
                e.key.clone(),
                e.kind,
                note(&e.object),
                previous,
            )
        })
        .collect();
    let expected: Vec<_> = model
        .events
        .iter()
        .filter(|e| e.0 > after)
        .cloned()
        .collect();
    assert_eq!(got, expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_model_does(steps in steps()) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(steps));
    }
}
