//! From the create of a pod to Running, the image present: one after the other, and many at once.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use http::Method;

use crate::client::Lines;
use crate::objects::sleeper;
use crate::server::{Server, isolate};
use crate::times::Times;
use crate::{Place, executor, process};

const PATH: &str = "/api/v1/namespaces/default/pods";
const AIM_MS: f64 = 250.0;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Pods one after the other
    #[arg(long, default_value_t = 30)]
    runs: usize,
    /// Pods at once
    #[arg(long, default_value_t = 50)]
    burst: usize,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    isolate()?;
    executor()?.block_on(measure(arguments))
}

async fn measure(arguments: &Arguments) -> Result<()> {
    let dir = tempfile::tempdir_in(&arguments.place.dir)?;
    let data = dir.path().join("data");
    std::fs::create_dir(&data)?;
    let server = Server::start(&arguments.place, &data, true).await?;
    let mut connection = server.connect().await?;
    let mut watch = Watch {
        lines: server
            .connect()
            .await?
            .watch(&format!("{PATH}?watch=true"))
            .await?,
        running: HashMap::new(),
        gone: HashSet::new(),
    };
    let mut one = async |name: String| -> Result<Duration> {
        let begun = Instant::now();
        connection.call(Method::POST, PATH, sleeper(&name)).await?;
        let at = watch.running(&name).await?;
        connection
            .call(Method::DELETE, &format!("{PATH}/{name}"), "".into())
            .await?;
        watch.gone(&name).await?;
        Ok(at.duration_since(begun))
    };
    println!(
        "{:<40} {:>8} {:>8} {:>8} {:>8}",
        "create sent to Running seen", "p50 ms", "p99 ms", "best", "of aim"
    );
    let first = one("first".to_owned()).await?;
    row("the first, which makes the image", &Times::new(vec![first]));
    let mut times = Vec::new();
    let cpu = process::cpu_time(server.pid());
    for n in 0..arguments.runs {
        times.push(one(format!("single-{n}")).await?);
    }
    let cpu = process::cpu_time(server.pid()).saturating_sub(cpu);
    row(
        &format!("{} one after the other", arguments.runs),
        &Times::new(times),
    );
    println!(
        "  server CPU for the life of each pod: {:.1} ms",
        cpu.as_secs_f64() * 1e3 / arguments.runs as f64
    );

    let names: Vec<String> = (0..arguments.burst).map(|n| format!("burst-{n}")).collect();
    let begun = Instant::now();
    for name in &names {
        connection.call(Method::POST, PATH, sleeper(name)).await?;
    }
    let mut times = Vec::new();
    for name in &names {
        times.push(watch.running(name).await?.duration_since(begun));
    }
    let times = Times::new(times);
    row(&format!("{} at once", arguments.burst), &times);
    println!(
        "  the last after {:.0} ms: {:.0} pods a second",
        times.ms(1.0),
        arguments.burst as f64 / times.ms(1.0) * 1e3
    );
    server.stop().await?;
    Ok(())
}

fn row(what: &str, times: &Times) {
    let median = times.ms(0.5);
    println!(
        "{what:<40} {median:>8.0} {:>8.0} {:>8.0} {:>8.2}",
        times.ms(0.99),
        times.ms(0.0),
        median / AIM_MS
    );
}

/// A watch on pods that remembers when it saw them run and end.
struct Watch {
    lines: Lines,
    running: HashMap<String, Instant>,
    gone: HashSet<String>,
}

impl Watch {
    async fn more(&mut self) -> Result<()> {
        let Self {
            lines,
            running,
            gone,
        } = self;
        let more = lines.more(|line| {
            let Ok(event) = serde_json::from_slice::<serde_json::Value>(line) else {
                return;
            };
            let Some(name) = event["object"]["metadata"]["name"].as_str() else {
                return;
            };
            if event["type"] == "DELETED" {
                gone.insert(name.to_owned());
            } else if event["object"]["status"]["phase"] == "Running" {
                running.entry(name.to_owned()).or_insert_with(Instant::now);
            }
        });
        tokio::time::timeout(Duration::from_secs(60), more)
            .await
            .context("no news of pods for a minute")??;
        Ok(())
    }

    async fn running(&mut self, name: &str) -> Result<Instant> {
        loop {
            if let Some(at) = self.running.get(name) {
                return Ok(*at);
            }
            self.more().await?;
        }
    }

    async fn gone(&mut self, name: &str) -> Result<()> {
        while !self.gone.contains(name) {
            self.more().await?;
        }
        Ok(())
    }
}
