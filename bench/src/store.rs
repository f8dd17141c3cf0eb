//! The store beside the disk's own rate of syncs, and beside SQLite as the other engine it could have.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(feature = "sqlite")]
use std::sync::mpsc;
use std::time::{Duration, Instant};

#[cfg(feature = "sqlite")]
use anyhow::Context;
use anyhow::Result;
use consort_object::{Draft, Revision};
use consort_store::{Expect, Key, Options, Store, Write};
use serde_json::{Value, json};
#[cfg(feature = "sqlite")]
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::limits::sync_rate;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where to make the temporary directory; the disk there is what is measured.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Seconds for each rate.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Size of the objects in bytes, about.
    #[arg(long, default_value_t = 3000)]
    size: usize,
    /// Number of objects for opening and memory.
    #[arg(long, default_value_t = 100_000)]
    objects: usize,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let dir = tempfile::tempdir_in(&arguments.dir)?;
    let time = Duration::from_secs_f64(arguments.seconds);
    creates(&runtime, dir.path(), time, arguments.size)?;
    runtime.block_on(fan_out(&dir.path().join("fan"), arguments.size))?;
    runtime.block_on(open(&dir.path().join("open"), arguments))
}

fn creates(
    runtime: &tokio::runtime::Runtime,
    dir: &Path,
    time: Duration,
    size: usize,
) -> Result<()> {
    println!("durable creates of {size} bytes a second");
    println!(
        "{:>8} {:>10} {:>10} {:>10} {:>12} {:>12} {:>12}",
        "writers", "syncs/s", "store", "sqlite", "store/syncs", "store/sqlite", "CPU us each"
    );
    for writers in [1, 16, 64, 256] {
        let raw = sync_rate(dir, time / 3, 4096, false)?;
        let path = dir.join(format!("creates-{writers}"));
        let cpu = cpu_time();
        let (ours, count) = runtime.block_on(store_rate(&path, writers, time, size))?;
        let each = cpu_time().saturating_sub(cpu).as_secs_f64() * 1e6 / count as f64;
        std::fs::remove_dir_all(&path)?;
        let sqlite = runtime.block_on(sqlite_rate(&dir.join("peer.db"), writers, time, size))?;
        println!(
            "{writers:>8} {raw:>10.0} {ours:>10.0} {sqlite:>10.0} {:>12.2} {:>12.2} {each:>12.1}",
            ours / raw,
            ours / sqlite
        );
    }
    println!(
        "(syncs/s: one writer appending 4 KiB and calling fdatasync; into written zeros {:.0})",
        sync_rate(dir, time / 3, 4096, true)?
    );
    Ok(())
}

async fn store_rate(dir: &Path, writers: usize, time: Duration, size: usize) -> Result<(f64, u64)> {
    let store = Store::open(Options::new(dir))?;
    let value = Arc::new(object("name", size));
    let count = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let (store, value, count) = (store.clone(), Arc::clone(&value), Arc::clone(&count));
        tasks.spawn(async move {
            let draft = Draft::from_value(&value, vec![])?;
            let mut n = 0;
            while begun.elapsed() < time {
                let key = Key::new("", "pods", Some("bench"), &format!("p{writer}-{n}"))?;
                let draft = draft.clone();
                store
                    .commit(vec![Write::Put {
                        key,
                        draft,
                        expect: Expect::Absent,
                    }])
                    .await?;
                count.fetch_add(1, Ordering::Relaxed);
                n += 1;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let count = count.load(Ordering::Relaxed);
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    store.close().await;
    Ok((rate, count))
}

/// Without the feature `sqlite` there is no such peer.
#[cfg(not(feature = "sqlite"))]
#[expect(clippy::unused_async, reason = "the other form waits")]
async fn sqlite_rate(_: &Path, _: usize, _: Duration, _: usize) -> Result<f64> {
    Ok(f64::NAN)
}

/// The same on SQLite: WAL, `synchronous=FULL`, one thread that takes all waiting writes into one
/// transaction.
#[cfg(feature = "sqlite")]
async fn sqlite_rate(path: &Path, writers: usize, time: Duration, size: usize) -> Result<f64> {
    let database = rusqlite::Connection::open(path)?;
    database.execute_batch(
        "pragma journal_mode=wal; pragma synchronous=full; pragma wal_autocheckpoint=4000;
         create table log (revision integer primary key, key text, head blob, value blob);
         create index by_key on log (key, revision);",
    )?;
    type Request = (String, Vec<u8>, oneshot::Sender<()>);
    let (queue, waiting) = mpsc::channel::<Request>();
    let writer = std::thread::spawn(move || -> Result<()> {
        let mut revision = 0_u64;
        while let Ok(first) = waiting.recv() {
            database.execute_batch("begin immediate")?;
            let mut replies = Vec::new();
            {
                let mut insert =
                    database.prepare_cached("insert into log values (?1, ?2, x'00', ?3)")?;
                for (key, value, reply) in
                    std::iter::once(first).chain(waiting.try_iter()).take(4096)
                {
                    revision += 1;
                    insert.execute((revision as i64, key, value))?;
                    replies.push(reply);
                }
            }
            database.execute_batch("commit")?;
            for reply in replies {
                reply.send(()).ok();
            }
        }
        Ok(())
    });
    let value = Arc::new(serde_json::to_vec(&object("name", size))?);
    let count = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let (queue, value, count) = (queue.clone(), Arc::clone(&value), Arc::clone(&count));
        tasks.spawn(async move {
            let mut n = 0;
            while begun.elapsed() < time {
                let (reply, answer) = oneshot::channel();
                queue.send((
                    format!("/core/pods/bench/p{writer}-{n}"),
                    value.to_vec(),
                    reply,
                ))?;
                answer.await?;
                count.fetch_add(1, Ordering::Relaxed);
                n += 1;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let rate = count.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
    drop(queue);
    writer.join().ok().context("the SQLite thread panicked")??;
    for suffix in ["", "-wal", "-shm"] {
        std::fs::remove_file(format!("{}{suffix}", path.display())).ok();
    }
    Ok(rate)
}

async fn fan_out(dir: &Path, size: usize) -> Result<()> {
    const WATCHERS: usize = 100;
    const EVENTS: usize = 2000;
    let store = Store::open(Options::new(dir))?;
    let draft = Draft::from_value(&object("name", size), vec![])?;
    let mut times = Vec::new();
    for watchers in [0, WATCHERS] {
        let from = store.revision();
        let mut tasks = JoinSet::new();
        for _ in 0..watchers {
            let mut watch = store.watch("/core/pods/", from)?;
            tasks.spawn(async move {
                let mut seen = 0;
                while seen < EVENTS {
                    seen += watch.next().await?.events.len();
                }
                anyhow::Ok(())
            });
        }
        // A thousand watches of another resource must cost nothing.
        let _idle: Vec<_> = (0..1000)
            .map(|_| store.watch("/core/secrets/", from))
            .collect();
        let (cpu, begun) = (cpu_time(), Instant::now());
        let mut writers = JoinSet::new();
        for writer in 0..16 {
            let (store, draft) = (store.clone(), draft.clone());
            writers.spawn(async move {
                for n in 0..EVENTS / 16 {
                    let key = Key::new("", "pods", None, &format!("w{watchers}-{writer}-{n}"))?;
                    let draft = draft.clone();
                    store
                        .commit(vec![Write::Put {
                            key,
                            draft,
                            expect: Expect::Absent,
                        }])
                        .await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = writers.join_next().await {
            done??;
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        times.push((begun.elapsed(), cpu_time().saturating_sub(cpu)));
    }
    let extra = times[1].1.saturating_sub(times[0].1);
    println!(
        "\n{EVENTS} creates by 16 writers: {:.0?} without watchers, {:.0?} until the last of {WATCHERS} watchers has all; {:.2} us CPU for each of the {} events given out",
        times[0].0,
        times[1].0,
        extra.as_secs_f64() * 1e6 / (EVENTS * WATCHERS) as f64,
        EVENTS * WATCHERS
    );
    store.close().await;
    Ok(())
}

async fn open(dir: &Path, arguments: &Arguments) -> Result<()> {
    let objects = arguments.objects;
    let before = resident();
    let store = Store::open(Options::new(dir))?;
    println!(
        "\nempty store: {} KiB resident",
        resident().saturating_sub(before)
    );
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    let value = Arc::new(object("name", arguments.size));
    for writer in 0..64 {
        let (store, value) = (store.clone(), Arc::clone(&value));
        tasks.spawn(async move {
            let draft = Draft::from_value(&value, vec![])?;
            for n in (writer..objects).step_by(64) {
                let key = Key::new("", "pods", Some("bench"), &format!("pod-{n:07}"))?;
                let draft = draft.clone();
                store
                    .commit(vec![Write::Put {
                        key,
                        draft,
                        expect: Expect::Absent,
                    }])
                    .await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    println!(
        "{objects} objects of {} bytes written in {:.2?}",
        arguments.size,
        begun.elapsed()
    );
    list(&store, "just written")?;
    // A copy as a crash would leave it.
    let crashed = dir.with_extension("crashed");
    std::fs::create_dir(&crashed)?;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        std::fs::copy(entry.path(), crashed.join(entry.file_name()))?;
    }
    let begun = Instant::now();
    store.close().await;
    println!("closed in {:.0?}", begun.elapsed());
    for (dir, what) in [
        (dir, "after a clean end"),
        (crashed.as_path(), "after a crash"),
    ] {
        let (before, cpu, begun) = (resident(), thread_time(), Instant::now());
        let store = Store::open(Options::new(dir))?;
        let (opened, cpu) = (begun.elapsed(), thread_time().saturating_sub(cpu));
        let bytes = resident().saturating_sub(before) * 1024 / objects as u64;
        println!(
            "opened {what} in {opened:.1?} ({cpu:.1?} CPU), {} objects, {bytes} bytes of memory each",
            store.count("/core/pods/")
        );
        list(&store, "first time")?;
        list(&store, "second time")?;
        store.close().await;
    }
    Ok(())
}

fn list(store: &Store, what: &str) -> Result<()> {
    let begun = Instant::now();
    let page = store.range("/core/pods/", None, Some(10_000), None, |_| true)?;
    let listed = begun.elapsed();
    let begun = Instant::now();
    let mut copy = Vec::new();
    for object in &page.objects {
        copy.extend_from_slice(&object.json);
    }
    let copied = begun.elapsed();
    println!(
        "  range of {} ({what}): {listed:.2?}, {:.2} of the time it takes to copy its {:.1} MB; revision {}",
        page.objects.len(),
        listed.as_secs_f64() / copied.as_secs_f64(),
        copy.len() as f64 / 1e6,
        Revision::to_string(&page.revision)
    );
    Ok(())
}

fn object(name: &str, size: usize) -> Value {
    let mut value = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "bench", "uid": "00000000-0000-0000-0000-000000000000",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": "bench", "pod-template-hash": "0123456789"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "bench", "uid":
                "00000000-0000-0000-0000-000000000001", "controller": true, "blockOwnerDeletion": true}],
        },
        "spec": {"fill": ""},
    });
    let fill = size.saturating_sub(value.to_string().len());
    value["spec"]["fill"] = Value::String("x".repeat(fill));
    value
}

/// Resident memory of this process in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

/// Processor time of this thread; other load on the machine does not count in it.
fn thread_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = stat
        .split_whitespace()
        .next()
        .and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

/// Processor time this process has used, to a hundredth of a second.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    let ticks: u64 = fields
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}
