//! `load`: closed-loop load on one HTTP server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::time::Instant;

use super::client::{Connection, Trust, Url, get};
use super::latency::Latencies;

/// Sends GET requests over keep-alive connections, each waiting for its answer before the next,
/// and prints rate, latencies and statuses. Fails when no request succeeded.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// URL; `http://` may be left out
    url: Url,
    /// Connections
    #[arg(short, long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// How long
    #[arg(short, long, default_value = "10s", value_parser = super::duration)]
    duration: Duration,
    /// Stop after so many requests
    #[arg(short = 'n', long)]
    requests: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    trust: Trust,
}

#[derive(Default)]
struct Seen {
    latencies: Latencies,
    statuses: BTreeMap<u16, u64>,
    bytes: u64,
    errors: u64,
    /// The first of the errors.
    error: Option<String>,
}

impl Seen {
    fn merge(&mut self, other: Self) {
        self.latencies.merge(&other.latencies);
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.bytes += other.bytes;
        self.errors += other.errors;
        self.error = self.error.take().or(other.error);
    }
}

pub(crate) async fn run(args: &Args) -> anyhow::Result<u8> {
    let started = Instant::now();
    let deadline = started + args.duration;
    let left = Arc::new(AtomicU64::new(args.requests.unwrap_or(u64::MAX)));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..args.connections {
        let (args, left) = (args.clone(), left.clone());
        workers.spawn(async move {
            let mut seen = Seen::default();
            // The deadline ends a request that hangs, too.
            let _ = tokio::time::timeout_at(deadline, work(&args, &left, &mut seen)).await;
            seen
        });
    }
    let mut seen = Seen::default();
    let interrupted = tokio::select! {
        () = async {
            while let Some(done) = workers.join_next().await {
                if let Ok(done) = done {
                    seen.merge(done);
                }
            }
        } => false,
        asked = super::asked_to_end() => { asked?; true }
    };
    if interrupted {
        return Ok(143);
    }
    print(args, &seen, started.elapsed());
    let succeeded: u64 = seen.statuses.range(..400).map(|(_, count)| count).sum();
    Ok(u8::from(succeeded == 0))
}

async fn work(args: &Args, left: &AtomicU64, seen: &mut Seen) {
    let mut connection = None;
    loop {
        let claimed = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        });
        if claimed.is_err() {
            return;
        }
        let started = Instant::now();
        match request(args, &mut connection).await {
            Ok((status, bytes)) => {
                seen.latencies.add(started.elapsed());
                *seen.statuses.entry(status).or_default() += 1;
                seen.bytes += bytes;
            }
            Err(error) => {
                connection = None;
                seen.errors += 1;
                seen.error.get_or_insert_with(|| format!("{error:#}"));
                // A server that is not there must not be asked a hundred thousand times a second.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

async fn request(args: &Args, connection: &mut Option<Connection>) -> anyhow::Result<(u16, u64)> {
    let open = match connection {
        Some(open) if !open.sender.is_closed() => open,
        _ => connection.insert(Connection::open(&args.url, &args.trust).await?),
    };
    open.sender.ready().await?;
    let response = open.sender.send_request(get(&args.url)?).await?;
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, |data| data.len() as u64);
    }
    Ok((status, bytes))
}

fn print(args: &Args, seen: &Seen, took: Duration) {
    let count = seen.latencies.count();
    let rate = count as f64 / took.as_secs_f64();
    let millis = |duration: Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
    let at = |share| millis(seen.latencies.percentile(share));
    let longest = millis(seen.latencies.longest());
    if args.json {
        let statuses: BTreeMap<String, u64> = seen
            .statuses
            .iter()
            .map(|(status, count)| (status.to_string(), *count))
            .collect();
        println!(
            "{}",
            json!({"requests": count, "seconds": took.as_secs_f64(), "rps": rate,
                "latency_ms": {"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": longest},
                "bytes": seen.bytes, "statuses": statuses, "errors": seen.errors, "error": seen.error})
        );
        return;
    }
    println!(
        "{count} requests in {:.2} s: {rate:.0}/s",
        took.as_secs_f64()
    );
    println!(
        "latency ms: p50 {:.3}, p90 {:.3}, p99 {:.3}, max {longest:.3}",
        at(0.5),
        at(0.9),
        at(0.99)
    );
    for (status, number) in &seen.statuses {
        println!("status {status}: {number}");
    }
    if let Some(error) = &seen.error {
        println!("errors: {} ({error})", seen.errors);
    }
}
