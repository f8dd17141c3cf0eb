//! The store is killed at random moments under concurrent writers, and opened again: every
//! acknowledged write must be there, nothing torn, and the history must make sense.
//!
//! The test runs its own binary again as the process to be killed. `CONSORT_TORTURE` sets how often
//! (20 when unset).

mod common;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{delete, note, pod, put};
use consort_object::Revision;
use consort_store::{Change, Error, Expect, Key, Options, Retention, Store};

const WRITERS: usize = 12;
const KEYS: usize = 24;

/// Set in the process to be killed: its directory.
const VICTIM: &str = "CONSORT_TORTURE_VICTIM";
/// Set there too: number of this run, to make contents unique.
const RUN: &str = "CONSORT_TORTURE_RUN";

/// A small deterministic generator, so that a run can be told by its seed.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn options(dir: &Path) -> Options {
    let mut options = Options::new(dir);
    // Small, so that segments end, checkpoints are written and old ones go within a run's life.
    options.segment_bytes = 32 << 10;
    options.cache_bytes = 64 << 10;
    options.upkeep = Duration::from_millis(10);
    options.retention = Retention {
        revisions: 400,
        ..Retention::default()
    };
    options
}

/// Writes until killed. Each writer says on standard output what it is about to do, and what was
/// acknowledged: `i <content> <key>` (`-` for a deletion) and `a <content> <revision>`.
#[test]
fn victim() {
    let Ok(dir) = std::env::var(VICTIM) else {
        return;
    };
    let run: u64 = std::env::var(RUN).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = Store::open(options(Path::new(&dir))).unwrap();
        // On a line of its own: the test harness has begun one.
        say(&format!("\no {}", store.revision()));
        let mut tasks = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            tasks.spawn(attack(store.clone(), run, writer));
        }
        while tasks.join_next().await.is_some() {}
    });
}

async fn attack(store: Store, run: u64, writer: usize) {
    let mut dice = Dice::new(run * 1000 + writer as u64);
    for n in 0_u64.. {
        let key = pod(&format!("k{}", dice.below(KEYS as u64)));
        let now = store.get(&key).unwrap();
        // Contents of very different sizes, told apart by their beginning.
        let id = format!("r{run}.w{writer}.n{n}");
        let content = format!("{id} {}", "#".repeat(dice.below(3000) as usize));
        let (writes, told) = match (&now, dice.below(10)) {
            (Some(now), 0 | 1) => (vec![delete(&key, Expect::At(now.revision))], "-".to_owned()),
            (Some(now), 2..=8) => (
                vec![put(&key, &content, Expect::At(now.revision))],
                id.clone(),
            ),
            (None, _) => (vec![put(&key, &content, Expect::Absent)], id.clone()),
            // Several keys at once, all with the same content.
            (Some(_), _) => {
                let other = pod(&format!("m{writer}"));
                let both = vec![
                    put(&key, &content, Expect::Any),
                    put(&other, &content, Expect::Any),
                ];
                (both, id.clone())
            }
        };
        let expected = now.map_or(0, |now| now.revision.0);
        let any = writes.len() > 1;
        let keys: Vec<_> = writes.iter().map(|w| w.key().to_string()).collect();
        let base = if any {
            "any".to_owned()
        } else {
            expected.to_string()
        };
        say(&format!("i {id} {told} {base} {}", keys.join(" ")));
        match store.commit(writes).await {
            Ok(done) => say(&format!("a {id} {}", done.revision)),
            Err(Error::Conflict { .. }) => say(&format!("c {id}")),
            Err(error) => panic!("{error}"),
        }
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).unwrap();
}

/// What a run said before it was killed.
#[derive(Default)]
struct Told {
    /// By id: content or `-`, the expected revision unless any, keys.
    issued: HashMap<String, (String, Option<u64>, Vec<Key>)>,
    acknowledged: BTreeMap<String, u64>,
    conflicted: HashSet<String>,
    opened_at: Option<u64>,
}

fn spawn(dir: &Path, run: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--nocapture", "--test-threads=1"])
        .env(VICTIM, dir)
        .env(RUN, run.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Lets a victim write for a while after its first word, kills it, and returns what it said.
fn kill_one(dir: &Path, run: u64, dice: &mut Dice) -> Told {
    let mut child = spawn(dir, run);
    let out = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || read_words(out));
    // From before it is open until well into its work.
    std::thread::sleep(Duration::from_millis(15 + dice.below(300)));
    child.kill().unwrap();
    child.wait().unwrap();
    let mut complaints = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut complaints)
        .unwrap();
    assert!(!complaints.contains("panicked"), "run {run}: {complaints}");
    reader.join().unwrap()
}

fn read_words(out: impl Read) -> Told {
    let mut told = Told::default();
    let mut lines = BufReader::new(out);
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        // The last line may be cut short by the kill.
        if line.ends_with('\n') {
            let words: Vec<_> = line.split_whitespace().collect();
            match words[..] {
                ["o", revision] => told.opened_at = Some(revision.parse().unwrap()),
                ["i", id, content, base, ref keys @ ..] => {
                    let keys = keys.iter().map(|k| Key::parse(k).unwrap()).collect();
                    told.issued
                        .insert(id.into(), (content.into(), base.parse().ok(), keys));
                }
                ["a", id, revision] => {
                    told.acknowledged
                        .insert(id.into(), revision.parse().unwrap());
                }
                ["c", id] => {
                    told.conflicted.insert(id.into());
                }
                _ => {}
            }
        }
        line.clear();
    }
    told
}

fn id_of(content: &str) -> String {
    content.split(' ').next().unwrap().to_owned()
}

/// What the store's history said so far, for as long as it is kept.
#[derive(Default)]
struct Record {
    /// By revision and key: id of the content (`None` deleted).
    events: BTreeMap<(u64, Key), Option<String>>,
    /// The present by these events.
    present: BTreeMap<Key, (u64, String)>,
    revision: u64,
}

/// Reads the history after the last known revision and checks it against what the victim said.
fn check(store: &Store, record: &mut Record, told: &Told, run: u64) {
    let now = store.revision().0;
    let before = record.revision;
    assert!(now >= before, "run {run}: the revision went back");
    if let Some(opened) = told.opened_at {
        assert_eq!(
            opened, before,
            "run {run}: it opened with what the last one left"
        );
    }
    for (id, revision) in &told.acknowledged {
        assert!(
            *revision <= now,
            "run {run}: {id} was acknowledged at {revision}, now is {now}"
        );
    }
    assert!(store.compacted().0 <= now);
    let from = before.max(store.compacted().0);
    if from > before {
        // What was compacted in between leaves a gap that nothing can be concluded across.
        record.events.clear();
    }
    let mut watch = store.watch("/core/pods/", Revision(from)).unwrap();
    let mut by_revision: BTreeMap<u64, Vec<(Key, Option<String>)>> = BTreeMap::new();
    while watch.progress().0 < now {
        for event in watch.take().unwrap().events {
            let content = (event.kind != Change::Deleted).then(|| id_of(&note(&event.object)));
            // With all events at hand, each continues the state the ones before it left.
            if from == before {
                let expected = record.present.get(&event.key);
                let had = event
                    .previous
                    .as_ref()
                    .map(|p| (p.revision.0, id_of(&note(p))));
                assert_eq!(
                    had.as_ref(),
                    expected,
                    "run {run}: {} at {}",
                    event.key,
                    event.revision
                );
                assert_eq!(event.kind == Change::Created, expected.is_none());
            }
            match &content {
                Some(id) => record
                    .present
                    .insert(event.key.clone(), (event.revision.0, id.clone())),
                None => record.present.remove(&event.key),
            };
            record
                .events
                .insert((event.revision.0, event.key.clone()), content.clone());
            by_revision
                .entry(event.revision.0)
                .or_default()
                .push((event.key.clone(), content));
        }
    }
    let revisions: Vec<_> = by_revision.keys().copied().collect();
    assert_eq!(
        revisions,
        (from + 1..=now).collect::<Vec<_>>(),
        "run {run}: no revision is missing"
    );

    // Each acknowledged write is the one at its revision, whole.
    let mut explained = HashSet::new();
    for (id, revision) in &told.acknowledged {
        assert!(*revision > before, "run {run}: {id} got an old revision");
        assert!(
            explained.insert(*revision),
            "run {run}: revision {revision} was given twice"
        );
        if *revision > from {
            check_commit(&by_revision[revision], id, *revision, told, record, run);
        }
    }
    // Each other revision is a write that was issued, whole, and not refused.
    for (revision, events) in by_revision.iter().filter(|(r, _)| !explained.contains(r)) {
        let id = events.iter().find_map(|(_, id)| id.clone());
        let known = match &id {
            Some(id) => told.issued.contains_key(id) && !told.conflicted.contains(id),
            // A deletion does not carry its writer's name; one must have been waiting.
            None => told.issued.iter().any(|(id, (content, _, keys))| {
                content == "-"
                    && keys[0] == events[0].0
                    && !told.acknowledged.contains_key(id)
                    && !told.conflicted.contains(id)
            }),
        };
        assert!(known, "run {run}: nobody wrote {events:?} at {revision}");
        if let Some(id) = id {
            check_commit(events, &id, *revision, told, record, run);
        }
    }
    record.revision = now;
    check_present(store, record, from == before, run);
}

fn check_commit(
    events: &[(Key, Option<String>)],
    id: &str,
    revision: u64,
    told: &Told,
    record: &Record,
    run: u64,
) {
    let (content, base, keys) = &told.issued[id];
    let wrote = (content != "-").then(|| id.to_owned());
    let mut expected: Vec<_> = keys
        .iter()
        .map(|key| (key.clone(), wrote.clone()))
        .collect();
    let mut got = events.to_vec();
    expected.sort();
    got.sort();
    assert_eq!(got, expected, "run {run}: {id} at {revision}");
    // The compare-and-swap held: the write before it on the key is the one it saw.
    if let Some(base) = *base {
        let mut earlier = record.events.range(..(revision, keys[0].clone())).rev();
        match earlier.find(|((_, key), _)| *key == keys[0]) {
            Some(((at, _), Some(_))) => assert_eq!(*at, base, "run {run}: {id} at {revision}"),
            Some((_, None)) => assert_eq!(base, 0, "run {run}: {id} at {revision}"),
            // What came before is no longer kept.
            None => {}
        }
    }
}

fn check_present(store: &Store, record: &mut Record, complete: bool, run: u64) {
    let page = store
        .range("/core/pods/", None, None, None, |_| true)
        .unwrap();
    let present: BTreeMap<_, _> = page
        .objects
        .iter()
        .map(|o| (pod(&o.head.name), (o.revision.0, id_of(&note(o)))))
        .collect();
    if complete {
        assert_eq!(
            present, record.present,
            "run {run}: the present is the sum of its history"
        );
    }
    assert_eq!(store.count("/core/pods/"), present.len());
    record.present = present;
    let oldest = store.compacted().0;
    record.events.retain(|(revision, _), _| *revision > oldest);
    // Some state in the middle of what is kept.
    let at = Revision(oldest.midpoint(record.revision));
    let page = store
        .range("/core/pods/", None, None, Some(at), |_| true)
        .unwrap();
    assert!(page.objects.iter().all(|o| o.revision <= at));
}

#[test]
fn killed_at_any_moment_it_keeps_every_acknowledged_write() {
    let runs: u64 = std::env::var("CONSORT_TORTURE")
        .ok()
        .map_or(20, |n| n.parse().unwrap());
    let seed = std::process::id().into();
    let mut dice = Dice::new(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut record = Record::default();
    let (mut acknowledged, mut rebuilt) = (0, 0);
    let begun = Instant::now();
    for run in 0..runs {
        let told = kill_one(dir.path(), run, &mut dice);
        acknowledged += told.acknowledged.len();
        if dice.below(4) == 0 {
            // The log alone must do.
            rebuilt += u64::from(std::fs::remove_file(dir.path().join("index")).is_ok());
        }
        // Nothing moves under the checker.
        let mut still = options(dir.path());
        still.upkeep = Duration::from_hours(1);
        let store =
            Store::open(still).unwrap_or_else(|error| panic!("run {run}, seed {seed}: {error}"));
        check(&store, &mut record, &told, run);
        // Leave as a crash does, or closed, to begin the next from either.
        if dice.below(2) == 0 {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            runtime.block_on(store.close());
        }
    }
    println!(
        "{runs} kills in {:.1?}, {acknowledged} acknowledged writes, revision {}, {rebuilt} times without the index",
        begun.elapsed(),
        record.revision
    );
    assert!(acknowledged > 0);
}

#[test]
fn a_second_process_is_told_who_holds_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = spawn(dir.path(), 0);
    let pid = child.id();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let opened = lines
        .by_ref()
        .map_while(Result::ok)
        .find(|line| line.starts_with("o "));
    let refused = Store::open(options(dir.path())).map(Arc::new);
    // Read on, so that the victim is not stopped by a full pipe, until it is gone.
    child.kill().unwrap();
    drop(lines);
    child.wait().unwrap();
    assert!(opened.is_some());
    match refused {
        Err(Error::Locked {
            pid: Some(holder), ..
        }) => assert_eq!(holder, pid),
        other => panic!("{other:?}"),
    }
    Store::open(options(dir.path())).unwrap();
}
