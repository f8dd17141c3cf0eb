//! The store with very many objects: memory of each, opening, listing, selecting, compacting, backing up.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use consort_object::{Draft, Revision, Selectable};
use consort_store::{Expect, Filter, Key, Options, Store, Write};
use serde_json::json;

use crate::{executor, limits};

/// Objects of one commit while the store is filled.
const COMMIT: usize = 500;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where to make the temporary directory; the disk there is what is measured
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Numbers of objects
    #[arg(long, value_delimiter = ',', default_values_t = [100_000, 1_000_000])]
    objects: Vec<usize>,
    /// Size of an object in bytes, about
    #[arg(long, default_value_t = 1_000)]
    size: usize,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let runtime = executor()?;
    for &objects in &arguments.objects {
        let dir = tempfile::tempdir_in(&arguments.dir)?;
        runtime.block_on(measure(dir.path(), objects, arguments.size))?;
    }
    Ok(())
}

fn draft(n: usize, size: usize) -> Result<(Key, Draft)> {
    let name = format!("object-{n:07}");
    let mut value = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": name, "namespace": format!("space-{}", n % 100),
            "uid": format!("00000000-0000-0000-0000-{n:012}"),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": format!("app-{}", n % 1000), "tier": "bench"},
        },
        "data": {"fill": ""},
    });
    let fill = size.saturating_sub(value.to_string().len());
    value["data"]["fill"] = "x".repeat(fill).into();
    let space = format!("space-{}", n % 100);
    let key = Key::new("", "configmaps", Some(&space), &name)?;
    Ok((key, Draft::from_value(&value, vec![])?))
}

async fn measure(dir: &Path, objects: usize, size: usize) -> Result<()> {
    println!("\n{objects} objects of {size} bytes");
    let path = dir.join("store");
    let store = Store::open(Options::new(&path))?;
    let begun = Instant::now();
    for first in (0..objects).step_by(COMMIT) {
        let writes = (first..(first + COMMIT).min(objects)).map(|n| {
            let (key, draft) = draft(n, size)?;
            Ok(Write::Put {
                key,
                draft,
                expect: Expect::Absent,
            })
        });
        store.commit(writes.collect::<Result<_>>()?).await?;
    }
    row("written", begun.elapsed(), "");
    store.close().await;

    // Memory of a store whose values are not held.
    let before = resident();
    let mut options = Options::new(&path);
    options.cache_bytes = 8 << 20;
    options.head_bytes = 0;
    let (cpu, begun) = (cpu_time(), Instant::now());
    let store = Store::open(options)?;
    let took = begun.elapsed();
    let each = resident().saturating_sub(before) * 1024 / objects as u64;
    row(
        "opened after a clean end",
        took,
        &format!(
            "CPU {:.2?}, {each} bytes of memory an object",
            cpu_time().saturating_sub(cpu)
        ),
    );
    store.close().await;

    let store = Store::open(Options::new(&path))?;
    for what in ["list of all, first", "list of all, again"] {
        let (cpu, begun) = (cpu_time(), Instant::now());
        let bytes = list(&store)?;
        let took = begun.elapsed();
        let copy = limits::copy_time(&vec![7; bytes.min(256 << 20)]);
        let share = bytes as f64 / (bytes.min(256 << 20)) as f64;
        row(
            what,
            took,
            &format!(
                "CPU {:.2?}, {:.0} MB/s, {:.1} times a copy",
                cpu_time().saturating_sub(cpu),
                bytes as f64 / 1e6 / took.as_secs_f64(),
                took.as_secs_f64() / (copy.as_secs_f64() * share)
            ),
        );
    }
    for what in [
        "one in a thousand by label, first",
        "one in a thousand by label, again",
    ] {
        let (cpu, begun) = (cpu_time(), Instant::now());
        let mut wanted = |head: &dyn Selectable| head.label("app") == Some("app-7");
        let filter: Filter<'_> = &mut wanted;
        let found = store.scan("/core/configmaps/", None, None, None, Some(filter))?;
        row(
            what,
            begun.elapsed(),
            &format!(
                "CPU {:.2?}, {} found",
                cpu_time().saturating_sub(cpu),
                found.len()
            ),
        );
    }
    let each = resident().saturating_sub(before) * 1024 / objects as u64;
    println!(
        "{:<36} {each} bytes an object, caches included",
        "memory now"
    );

    let begun = Instant::now();
    let backup = store.backup(std::io::BufWriter::with_capacity(
        1 << 20,
        std::fs::File::create(dir.join("backup"))?,
    ))?;
    row(
        "backup",
        begun.elapsed(),
        &format!("{:.0} MB", backup.bytes as f64 / 1e6),
    );
    let begun = Instant::now();
    consort_store::restore(&dir.join("backup"), &dir.join("restored"), 0)?;
    row("restored", begun.elapsed(), "");
    std::fs::remove_dir_all(dir.join("restored"))?;

    // A tenth of everything is replaced, then history goes.
    for first in (0..objects / 10).step_by(COMMIT) {
        let writes = (first..(first + COMMIT).min(objects / 10)).map(|n| {
            let (key, draft) = draft(n, size)?;
            Ok(Write::Put {
                key,
                draft,
                expect: Expect::Any,
            })
        });
        store.commit(writes.collect::<Result<_>>()?).await?;
    }
    let (cpu, begun) = (cpu_time(), Instant::now());
    store.compact(store.revision()).await?;
    row(
        "history of a tenth dropped",
        begun.elapsed(),
        &format!("CPU {:.2?}", cpu_time().saturating_sub(cpu)),
    );
    let (cpu, begun) = (cpu_time(), Instant::now());
    store.shrink().await?;
    row(
        "everything rewritten",
        begun.elapsed(),
        &format!("CPU {:.2?}", cpu_time().saturating_sub(cpu)),
    );
    assert!(store.compacted() > Revision(0));
    store.close().await;
    Ok(())
}

fn row(what: &str, took: Duration, more: &str) {
    println!("{what:<36} {took:>10.2?}  {more}");
}

/// Reads a list as the server does; gives its bytes.
fn list(store: &Store) -> Result<usize> {
    let scan = store.scan("/core/configmaps/", None, None, None, None)?;
    let mut piece = Vec::with_capacity(80 << 10);
    let mut bytes = 0;
    for at in 0..scan.len() {
        piece.extend_from_slice(&scan.json(at)?);
        if piece.len() >= 64 << 10 {
            bytes += piece.len();
            piece.clear();
        }
    }
    Ok(bytes + piece.len())
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

/// Processor time of this process, to a hundredth of a second.
fn cpu_time() -> Duration {
    crate::process::cpu_time(std::process::id())
}
