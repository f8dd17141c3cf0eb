//! Watches: how long an event takes to reach one watcher, and how fast events reach a hundred.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use http::Method;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::client::Lines;
use crate::objects::config_map;
use crate::server::Server;
use crate::times::Times;
use crate::{Place, executor, limits, process};

const PATH: &str = "/api/v1/namespaces/default/configmaps";

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Creates for the latency, 50 a second
    #[arg(long, default_value_t = 300)]
    creates: usize,
    /// Number of watchers for the fan-out
    #[arg(long, default_value_t = 100)]
    watchers: usize,
    /// Creates for the fan-out, by 16 clients as fast as they can
    #[arg(long, default_value_t = 4000)]
    burst: usize,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    executor()?.block_on(measure(arguments))
}

async fn measure(arguments: &Arguments) -> Result<()> {
    let dir = tempfile::tempdir_in(&arguments.place.dir)?;
    let data = dir.path().join("data");
    std::fs::create_dir(&data)?;
    let server = Server::start(&arguments.place, &data, false).await?;
    latency(arguments, &server, dir.path()).await?;
    fan_out(arguments, &server).await?;
    server.stop().await?;
    Ok(())
}

async fn revision(server: &Server) -> Result<String> {
    let list: serde_json::Value = serde_json::from_slice(
        &server
            .connect()
            .await?
            .get(&format!("{PATH}?limit=1"))
            .await?,
    )?;
    Ok(list["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or("0")
        .to_owned())
}

async fn watch(server: &Server, revision: &str) -> Result<Lines> {
    server
        .connect()
        .await?
        .watch(&format!("{PATH}?watch=true&resourceVersion={revision}"))
        .await
}

/// The name in a watch line, without parsing all of it.
fn name(line: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(line).ok()?;
    let rest = line.split_once(r#""name":""#)?.1;
    Some(rest.split_once('"')?.0)
}

async fn latency(arguments: &Arguments, server: &Server, dir: &std::path::Path) -> Result<()> {
    let mut lines = watch(server, &revision(server).await?).await?;
    let count = arguments.creates;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut seen = HashMap::new();
        while seen.len() < count {
            lines
                .more(|line| {
                    if let Some(name) = name(line) {
                        seen.entry(name.to_owned()).or_insert_with(Instant::now);
                    }
                })
                .await?;
        }
        anyhow::Ok(seen)
    });
    let mut connection = server.connect().await?;
    let mut sent = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    for n in 0..count {
        tick.tick().await;
        let name = format!("latency-{n}");
        let body = config_map(&name, 1000);
        let begun = Instant::now();
        connection.call(Method::POST, PATH, body).await?;
        sent.push((name, begun, Instant::now()));
    }
    let Some(seen) = tasks.join_next().await else {
        bail!("the watcher is gone")
    };
    let seen = seen??;
    let after = |from: &dyn Fn(&(String, Instant, Instant)) -> Instant| {
        let times = sent
            .iter()
            .filter_map(|sent| Some(seen.get(&sent.0)?.saturating_duration_since(from(sent))));
        Times::new(times.collect())
    };
    let (whole, acknowledged) = (after(&|sent| sent.1), after(&|sent| sent.2));
    let probe = dir.to_owned();
    let syncs = tokio::task::spawn_blocking(move || {
        limits::sync_rate(&probe, Duration::from_secs(1), 4096, false)
    })
    .await??;
    let sync = 1e3 / syncs;
    println!("watch latency, {count} creates at 50 a second      p50 ms   p99 ms  p50 of a sync");
    println!(
        "create sent to event received          {:>16.2} {:>8.2} {:>14.2}",
        whole.ms(0.5),
        whole.ms(0.99),
        whole.ms(0.5) / sync
    );
    println!(
        "create answered to event received      {:>16.2} {:>8.2}",
        acknowledged.ms(0.5),
        acknowledged.ms(0.99)
    );
    println!("(one fdatasync of 4 KiB takes {sync:.2} ms)");
    Ok(())
}

async fn fan_out(arguments: &Arguments, server: &Server) -> Result<()> {
    let mut alone = Duration::ZERO;
    let burst = arguments.burst / 16 * 16;
    println!("\nfan-out of {burst} creates by 16 clients");
    for watchers in [0, arguments.watchers] {
        let from = revision(server).await?;
        let begin = Arc::new(Barrier::new(watchers + 16 + 1));
        let mut readers = JoinSet::new();
        for _ in 0..watchers {
            let mut lines = watch(server, &from).await?;
            let begin = begin.clone();
            readers.spawn(async move {
                begin.wait().await;
                let (mut seen, mut bytes) = (0, 0);
                while seen < burst {
                    bytes += lines
                        .more(|line| seen += usize::from(!line.is_empty()))
                        .await?;
                }
                anyhow::Ok(bytes)
            });
        }
        let mut writers = JoinSet::new();
        for writer in 0..16 {
            let mut connection = server.connect().await?;
            let begin = begin.clone();
            writers.spawn(async move {
                begin.wait().await;
                for n in 0..burst / 16 {
                    let body = config_map(&format!("fan-{watchers}-{writer}-{n}"), 1000);
                    connection.call(Method::POST, PATH, body).await?;
                }
                anyhow::Ok(())
            });
        }
        let cpu = process::cpu_time(server.pid());
        begin.wait().await;
        let begun = Instant::now();
        while let Some(done) = writers.join_next().await {
            done??;
        }
        let written = begun.elapsed();
        let mut bytes = 0;
        while let Some(done) = readers.join_next().await {
            bytes += done??;
        }
        let (took, cpu) = (
            begun.elapsed(),
            process::cpu_time(server.pid()).saturating_sub(cpu),
        );
        if watchers == 0 {
            alone = cpu;
            println!(
                "without watchers: {:.2} s, {:.0} creates/s, server CPU {:.2} s",
                took.as_secs_f64(),
                burst as f64 / written.as_secs_f64(),
                cpu.as_secs_f64()
            );
            continue;
        }
        let events = (burst * watchers) as f64;
        let copy = limits::copy_time(&vec![7; bytes]);
        println!(
            "{watchers} watchers: all written after {:.2} s, the last event received after {:.2} s: {:.0} events/s, {:.0} MB/s over TLS",
            written.as_secs_f64(),
            took.as_secs_f64(),
            events / took.as_secs_f64(),
            bytes as f64 / 1e6 / took.as_secs_f64()
        );
        println!(
            "server CPU {:.2} us for each event given out; {:.1} times a copy of the same {:.0} MB in memory ({:.3} s)",
            cpu.saturating_sub(alone).as_secs_f64() * 1e6 / events,
            cpu.saturating_sub(alone).as_secs_f64() / copy.as_secs_f64(),
            bytes as f64 / 1e6,
            copy.as_secs_f64()
        );
    }
    Ok(())
}
