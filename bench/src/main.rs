//! Benchmarks, one file each. They print what was measured beside a peer or a physical limit that was
//! measured in the same run, because a bare time means nothing on another machine.
//!
//! Those of the whole server start the `consort` binary that was built beside this one, on a data
//! directory and a port of its own; those that run pods do it in a network namespace of their own.

mod client;
mod container;
mod creates;
mod etcd;
mod idle;
mod limits;
mod list;
mod manifests;
mod objects;
mod play;
mod pod;
mod points;
mod process;
mod ready;
mod scale;
mod score;
mod serve;
mod server;
mod store;
mod sync;
mod terraform;
mod times;
mod verbs;
mod walk;
mod watch;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

// What the server runs with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(about = "Benchmarks of Consort and of its parts")]
struct Arguments {
    #[command(subcommand)]
    benchmark: Benchmark,
}

/// Where the server comes from and where it keeps its data.
#[derive(Clone, clap::Args)]
pub(crate) struct Place {
    /// The server to measure [default: the one built beside this program]
    #[arg(long)]
    consort: Option<PathBuf>,
    /// Where to make temporary directories; the disk there is what is measured
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Measure the API and the store alone: without reconcilers, scheduler and node
    #[arg(long)]
    api_only: bool,
}

/// What to measure of containers.
#[derive(clap::Args)]
struct Containers {
    #[command(flatten)]
    place: Place,
    /// Containers of each kind
    #[arg(long, default_value_t = 40)]
    runs: usize,
}

#[derive(Subcommand)]
enum Benchmark {
    /// From process start to an answer, with an empty and a full data directory, beside etcd
    Ready(ready::Arguments),
    /// Memory and processor time of a server with nothing to do
    Idle(idle::Arguments),
    /// Durable creates over TLS beside the disk's syncs and etcd
    Creates(creates::Arguments),
    /// A list of many pods, and single reads, beside a bare HTTP server and a copy in memory
    List(list::Arguments),
    /// Creates, updates, applies, gets and lists over TLS and in process, at 1 to 256 connections
    Verbs(verbs::Arguments),
    /// The store with 100,000 and 1,000,000 objects
    Scale(scale::Arguments),
    /// Watch latency and fan-out
    Watch(watch::Arguments),
    /// From the create of a pod to Running
    Pod(pod::Arguments),
    /// Container start beside runc and crun
    Container(Containers),
    /// The object store alone: durable writes, opening, listing, watching
    Store(store::Arguments),
    /// What a walk of 10,000 steps that do nothing costs a step, with its record
    Walk(walk::Arguments),
    /// A plan of 15,000 resources of both layers with nothing to do, beside one list of the objects
    Score(score::Arguments),
    /// What following 1,000 scores costs while nothing changes, beside a bare loop of the same questions to Git
    Sync(sync::Arguments),
    /// A plan with nothing to do over 15,000 Kubernetes objects, beside bare lists of them
    Manifests(manifests::Arguments),
    /// Terraform configurations in six shapes, beside the real terraform
    Terraform(terraform::Arguments),
    /// Playbooks, beside ansible-core and the engine `ansible-core-rs`
    Play(play::Arguments),
    /// The points of changes in a large graph, and a write held against policies
    Points(points::Arguments),
    /// Runs a command and prints the processor time and memory it took
    #[command(hide = true)]
    Measured {
        /// The command
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// The API and the store alone, as a server: what `--api-only` starts
    #[command(hide = true, name = "server")]
    Serve(serve::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().benchmark {
        Benchmark::Ready(arguments) => ready::run(&arguments),
        Benchmark::Idle(arguments) => idle::run(&arguments),
        Benchmark::Creates(arguments) => creates::run(&arguments),
        Benchmark::List(arguments) => list::run(&arguments),
        Benchmark::Verbs(arguments) => verbs::run(&arguments),
        Benchmark::Scale(arguments) => scale::run(&arguments),
        Benchmark::Watch(arguments) => watch::run(&arguments),
        Benchmark::Pod(arguments) => pod::run(&arguments),
        Benchmark::Container(arguments) => {
            let shim = server::binary(&arguments.place)?;
            container::run(&shim, arguments.runs).map_err(|error| anyhow::anyhow!("{error}"))
        }
        Benchmark::Store(arguments) => store::run(&arguments),
        Benchmark::Score(arguments) => score::run(&arguments),
        Benchmark::Sync(arguments) => sync::run(&arguments),
        Benchmark::Terraform(arguments) => terraform::run(&arguments),
        Benchmark::Play(arguments) => play::run(&arguments),
        Benchmark::Walk(arguments) => walk::run(&arguments),
        Benchmark::Points(arguments) => points::run(&arguments),
        Benchmark::Manifests(arguments) => manifests::run(&arguments),
        Benchmark::Measured { words } => terraform::measured(&words),
        Benchmark::Serve(arguments) => serve::run(&arguments),
    }
}

/// Threads for the load: as many as the machine has cores.
fn executor() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}
