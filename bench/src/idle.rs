//! What a server costs that has nothing to do: memory and processor time of everything together.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::server::{Server, isolate};
use crate::{Place, executor, process};

const AIM_MB: f64 = 60.0;
const AIM_PERCENT: f64 = 1.0;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Seconds to look for
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Seconds to let the server come to rest
    #[arg(long, default_value_t = 10)]
    settle: u64,
    /// An application to run besides
    #[arg(long, default_value = "examples/hello")]
    application: PathBuf,
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
    println!(
        "{:<44} {:>8} {:>7} {:>8} {:>7}",
        "idle", "PSS MB", "of aim", "CPU %", "of aim"
    );
    row(arguments, &server, "server with a node").await;
    server.apply(&arguments.application)?;
    settled(&server).await?;
    row(
        arguments,
        &server,
        &format!("with {} running", arguments.application.display()),
    )
    .await;
    server.stop().await?;
    Ok(())
}

/// Waits until every pod is ready or has done its work.
async fn settled(server: &Server) -> Result<()> {
    let begun = Instant::now();
    let mut connection = server.connect().await?;
    loop {
        let pods: serde_json::Value =
            serde_json::from_slice(&connection.get("/api/v1/pods").await?)?;
        let items = pods["items"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let waiting = items.iter().filter(|pod| {
            let ready = |c: &serde_json::Value| c["type"] == "Ready" && c["status"] == "True";
            let conditions = pod["status"]["conditions"].as_array();
            pod["status"]["phase"] != "Succeeded"
                && !conditions.is_some_and(|all| all.iter().any(ready))
        });
        if !items.is_empty() && waiting.count() == 0 {
            return Ok(());
        }
        if begun.elapsed() > Duration::from_secs(120) {
            bail!("the application did not become ready");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn row(arguments: &Arguments, server: &Server, what: &str) {
    tokio::time::sleep(Duration::from_secs(arguments.settle)).await;
    // Shims are told the directory they work in.
    let family = process::family(server.pid(), &server.marker());
    let cpu = |pids: &[u32]| {
        pids.iter()
            .map(|pid| process::cpu_time(*pid))
            .sum::<Duration>()
    };
    let (before, own, begun) = (cpu(&family), cpu(&family[..1]), Instant::now());
    tokio::time::sleep(Duration::from_secs(arguments.seconds)).await;
    let share = |used: Duration| used.as_secs_f64() * 100.0 / begun.elapsed().as_secs_f64();
    let (all, own) = (
        share(cpu(&family).saturating_sub(before)),
        share(cpu(&family[..1]).saturating_sub(own)),
    );
    let memory = |pids: &[u32]| pids.iter().map(|pid| process::pss(*pid)).sum::<u64>() as f64 / 1e6;
    for (name, memory, cpu) in [
        (format!("{what}: the server"), memory(&family[..1]), own),
        (
            format!("  and all {} processes", family.len()),
            memory(&family),
            all,
        ),
    ] {
        println!(
            "{name:<44} {memory:>8.1} {:>7.2} {cpu:>8.2} {:>7.2}",
            memory / AIM_MB,
            cpu / AIM_PERCENT
        );
    }
}
