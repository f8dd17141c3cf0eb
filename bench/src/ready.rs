//! Ready time: from the start of the process until `/readyz` answers 200 over TLS.

use std::path::Path;

use anyhow::Result;

use crate::etcd::Etcd;
use crate::server::{Server, isolate};
use crate::times::Times;
use crate::{Place, creates, executor};

/// The aim for a server with a node.
const AIM_MS: f64 = 300.0;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Starts of each kind
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Number of objects in the full data directory, ConfigMaps of 1 kB
    #[arg(long, default_value_t = 100_000)]
    objects: usize,
    /// Leave the node out, which needs root
    #[arg(long)]
    no_node: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if !arguments.no_node {
        isolate()?;
    }
    executor()?.block_on(measure(arguments))
}

async fn measure(arguments: &Arguments) -> Result<()> {
    let dir = tempfile::tempdir_in(&arguments.place.dir)?;
    let kinds: &[bool] = if arguments.no_node {
        &[false]
    } else {
        &[false, true]
    };
    println!(
        "{:<46} {:>9} {:>9} {:>9} {:>9}",
        "process start to ready, ms", "median", "best", "worst", "of aim"
    );
    for &node in kinds {
        let mut times = Vec::new();
        for run in 0..arguments.runs {
            let data = dir.path().join(format!("first-{node}-{run}"));
            std::fs::create_dir(&data)?;
            let server = Server::start(&arguments.place, &data, node).await?;
            times.push(server.ready_after);
            server.stop().await?;
        }
        print("first start, nothing there", node, &Times::new(times));
    }
    let data = dir.path().join("data");
    std::fs::create_dir(&data)?;
    starts(arguments, &data, kinds, "empty data directory").await?;
    let server = Server::start(&arguments.place, &data, false).await?;
    creates::fill(&server, arguments.objects, 1000).await?;
    server.stop().await?;
    starts(
        arguments,
        &data,
        kinds,
        &format!("{} objects", arguments.objects),
    )
    .await?;

    let mut times = Vec::new();
    for _ in 0..arguments.runs {
        // With its member made, as a second start finds it.
        let peer = dir.path().join("etcd");
        match Etcd::start(&peer).await? {
            Some(etcd) => times.push(etcd.ready_after),
            None => break,
        }
    }
    if times.is_empty() {
        println!("(etcd is not installed: no peer)");
    } else {
        print_row("peer: etcd alone, empty", &Times::new(times));
    }
    Ok(())
}

async fn starts(arguments: &Arguments, data: &Path, kinds: &[bool], what: &str) -> Result<()> {
    for &node in kinds {
        let mut times = Vec::new();
        // One start more: the first one after a fill is not like the others.
        for run in 0..=arguments.runs {
            let server = Server::start(&arguments.place, data, node).await?;
            if run > 0 {
                times.push(server.ready_after);
            }
            server.stop().await?;
        }
        print(what, node, &Times::new(times));
    }
    Ok(())
}

fn print(what: &str, node: bool, times: &Times) {
    print_row(
        &format!(
            "{what}, {}",
            if node {
                "with a node"
            } else {
                "without a node"
            }
        ),
        times,
    );
}

fn print_row(what: &str, times: &Times) {
    let median = times.ms(0.5);
    println!(
        "{what:<46} {median:>9.0} {:>9.0} {:>9.0} {:>9.2}",
        times.ms(0.0),
        times.ms(1.0),
        median / AIM_MS
    );
}
