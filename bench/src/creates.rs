//! Durable creates over TLS beside the disk's own rate of syncs and beside etcd.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::Method;
use tokio::task::JoinSet;

use crate::client::Endpoint;
use crate::etcd::Etcd;
use crate::objects::config_map;
use crate::server::Server;
use crate::times::Times;
use crate::{Place, executor, limits, process};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Seconds for each rate
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
}

/// What a load came to.
struct Rate {
    per_second: f64,
    times: Times,
    cpu_us: f64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    executor()?.block_on(measure(arguments))
}

async fn measure(arguments: &Arguments) -> Result<()> {
    let dir = tempfile::tempdir_in(&arguments.place.dir)?;
    let data = dir.path().join("data");
    std::fs::create_dir(&data)?;
    let server = Server::start(&arguments.place, &data, false).await?;
    let etcd = Etcd::start(&dir.path().join("etcd")).await?;
    let time = Duration::from_secs_f64(arguments.seconds);
    println!(
        "{:>6} {:>6} {:>9} {:>9} {:>8} {:>8} {:>8} {:>9} {:>8} {:>8} {:>9} {:>8}",
        "bytes",
        "conns",
        "syncs/s",
        "creates/s",
        "p50 ms",
        "p99 ms",
        "CPU us",
        "etcd/s",
        "p99 ms",
        "CPU us",
        "of syncs",
        "of etcd"
    );
    for size in [1000, 3000] {
        for connections in [1, 16, 64] {
            let probe = dir.path().to_owned();
            let syncs = tokio::task::spawn_blocking(move || {
                limits::sync_rate(&probe, time / 4, 4096, false)
            })
            .await??;
            let name = move |n: usize| {
                let name = format!("c{connections}-s{size}-{n}");
                let body = config_map(&name, size);
                ("/api/v1/namespaces/default/configmaps".to_owned(), body)
            };
            let ours = load(&server.endpoint()?, server.pid(), connections, time, name).await?;
            let peer = match &etcd {
                Some(etcd) => {
                    let put = move |n: usize| {
                        let key = BASE64_STANDARD.encode(format!(
                            "/registry/configmaps/default/c{connections}-s{size}-{n}"
                        ));
                        let value = BASE64_STANDARD.encode(config_map("name", size));
                        (
                            "/v3/kv/put".to_owned(),
                            Bytes::from(format!(r#"{{"key":"{key}","value":"{value}"}}"#)),
                        )
                    };
                    load(
                        &Endpoint::plain(etcd.address),
                        etcd.pid(),
                        connections,
                        time,
                        put,
                    )
                    .await?
                }
                None => Rate {
                    per_second: f64::NAN,
                    times: Times::default(),
                    cpu_us: f64::NAN,
                },
            };
            println!(
                "{size:>6} {connections:>6} {syncs:>9.0} {:>9.0} {:>8.2} {:>8.2} {:>8.0} {:>9.0} {:>8.2} {:>8.0} {:>9.2} {:>8.2}",
                ours.per_second,
                ours.times.ms(0.5),
                ours.times.ms(0.99),
                ours.cpu_us,
                peer.per_second,
                peer.times.ms(0.99),
                peer.cpu_us,
                ours.per_second / syncs,
                ours.per_second / peer.per_second
            );
        }
    }
    println!(
        "(syncs/s: one writer appending 4 KiB and calling fdatasync. etcd is spoken to in JSON without TLS or authorisation, validation or defaults.)"
    );
    server.stop().await?;
    Ok(())
}

/// Posts until the time is over, each connection one request after the other.
async fn load<F>(
    endpoint: &Endpoint,
    pid: u32,
    connections: usize,
    time: Duration,
    request: F,
) -> Result<Rate>
where
    F: Fn(usize) -> (String, Bytes) + Clone + Send + 'static,
{
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(endpoint.connect().await?);
    }
    let next = Arc::new(AtomicUsize::new(0));
    let (cpu, begun) = (process::cpu_time(pid), Instant::now());
    let mut tasks = JoinSet::new();
    for mut connection in open {
        let (next, request) = (next.clone(), request.clone());
        tasks.spawn(async move {
            let mut times = Vec::new();
            while begun.elapsed() < time {
                let (path, body) = request(next.fetch_add(1, Ordering::Relaxed));
                let sent = Instant::now();
                connection.call(Method::POST, &path, body).await?;
                times.push(sent.elapsed());
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    let (took, cpu) = (begun.elapsed(), process::cpu_time(pid).saturating_sub(cpu));
    Ok(Rate {
        per_second: times.len() as f64 / took.as_secs_f64(),
        cpu_us: cpu.as_secs_f64() * 1e6 / times.len() as f64,
        times: Times::new(times),
    })
}

/// Creates `count` ConfigMaps of `size` bytes through the API.
pub(crate) async fn fill(server: &Server, count: usize, size: usize) -> Result<()> {
    post_all(
        server,
        "/api/v1/namespaces/default/configmaps",
        count,
        move |n| config_map(&format!("fill-{n:07}"), size),
    )
    .await
}

/// Posts objects 0 to `count` over 32 connections.
pub(crate) async fn post_all<F>(
    server: &Server,
    path: &'static str,
    count: usize,
    object: F,
) -> Result<()>
where
    F: Fn(usize) -> Bytes + Clone + Send + 'static,
{
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..32 {
        let (next, object) = (next.clone(), object.clone());
        let mut connection = server.connect().await?;
        tasks.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return anyhow::Ok(());
                }
                connection.call(Method::POST, path, object(n)).await?;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}
