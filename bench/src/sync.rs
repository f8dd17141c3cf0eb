//! What it costs to follow many scores whose repositories have not moved: the processor time of a round of polls,
//! beside a bare loop of the same `git ls-remote`. What the server uses without any scores is taken off.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::Method;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use serde_json::{Value, json};

use crate::server::Server;
use crate::{Place, executor, process};

/// How long the scores may take to be followed at first.
const PATIENCE: Duration = Duration::from_secs(1800);

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Scores
    #[arg(long, default_value_t = 1000)]
    scores: usize,
    /// Seconds between two polls of a repository
    #[arg(long, default_value_t = 60)]
    interval: u64,
    /// Rounds of polls to look at
    #[arg(long, default_value_t = 2)]
    rounds: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    println!(
        "{:<52} {:>10} {:>12} {:>8}",
        format!(
            "{} scores with no change, a round of polls",
            arguments.scores
        ),
        "CPU ms",
        "bare loop ms",
        "ratio"
    );
    // All in one repository, as in a monorepo; then one each.
    for repositories in [1, arguments.scores] {
        executor()?.block_on(measure(arguments, repositories))?;
    }
    Ok(())
}

async fn measure(arguments: &Arguments, repositories: usize) -> Result<()> {
    let dir = tempfile::tempdir_in(&arguments.place.dir)?;
    let dir_path = dir.path().canonicalize()?;
    let origins: Vec<String> = (0..repositories)
        .map(|n| {
            let path = dir_path.join(format!("origins/{n}"));
            let scores = (n..arguments.scores).step_by(repositories);
            origin(&path, scores)?;
            Ok(path.display().to_string())
        })
        .collect::<Result<_>>()?;
    let data = dir_path.join("data");
    std::fs::create_dir(&data)?;
    let server = Server::start(&arguments.place, &data, false).await?;
    let mut connection = server.connect().await?;
    let path = "/apis/consort.dev/v1/namespaces/consort-system/scores";
    let begun = Instant::now();
    while connection.get(path).await.is_err() {
        if begun.elapsed() > Duration::from_secs(30) {
            bail!("the server does not serve scores");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        connection = server.connect().await?;
    }
    // What the server does by itself is none of it.
    let used = || process::cpu_time_with_children(server.pid());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = used();
    tokio::time::sleep(Duration::from_secs(arguments.interval)).await;
    let idle = used().checked_sub(before).unwrap();
    let begun = Instant::now();
    for n in 0..arguments.scores {
        let score = json!({
            "apiVersion": "consort.dev/v1", "kind": "Score",
            "metadata": {"name": format!("score-{n}")},
            "spec": {"source": {"git": {
                "url": origins[n % origins.len()], "reference": "main", "path": format!("score-{n}"),
                "interval": format!("{}s", arguments.interval),
            }}},
        });
        connection
            .call(Method::POST, path, Bytes::from(score.to_string()))
            .await?;
    }
    loop {
        let list: Value = serde_json::from_slice(&connection.get(path).await?)?;
        let synced = |score: &&Value| {
            let conditions = score["status"]["conditions"].as_array();
            conditions.is_some_and(|all| {
                all.iter()
                    .any(|one| one["type"] == "Synced" && one["status"] == "True")
            })
        };
        let done = list["items"]
            .as_array()
            .map_or(0, |items| items.iter().filter(synced).count());
        if done == arguments.scores {
            break;
        }
        if begun.elapsed() > PATIENCE {
            bail!(
                "only {done} of {} scores were synced in time",
                arguments.scores
            );
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // What followed from the first sync comes to rest.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let before = used();
    tokio::time::sleep(Duration::from_secs(arguments.interval * arguments.rounds)).await;
    let ours = (used().checked_sub(before).unwrap() / u32::try_from(arguments.rounds)?)
        .saturating_sub(idle);
    server.stop().await?;

    let bare = bare_loop(&origins)?;
    println!(
        "{:<52} {:>10.0} {:>12.0} {:>8.2}",
        format!("in {repositories} repositories"),
        ours.as_secs_f64() * 1e3,
        bare.as_secs_f64() * 1e3,
        ours.as_secs_f64() / bare.as_secs_f64()
    );
    Ok(())
}

/// A repository with one commit: a directory for each score, with an object of its own.
fn origin(path: &Path, scores: impl Iterator<Item = usize>) -> Result<()> {
    std::fs::create_dir_all(path)?;
    git(path, &["init", "--quiet", "--initial-branch=main"])?;
    for n in scores {
        let directory = path.join(format!("score-{n}"));
        std::fs::create_dir(&directory)?;
        std::fs::write(
            directory.join("settings.yaml"),
            format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings-{n}, namespace: default}}\n\
                 data: {{mode: fast}}\n"
            ),
        )?;
    }
    git(path, &["add", "--all"])?;
    git(
        path,
        &[
            "-c",
            "user.name=Bench",
            "-c",
            "user.email=bench@example.org",
            "commit",
            "--quiet",
            "-m",
            "First",
        ],
    )
}

fn git(path: &Path, arguments: &[&str]) -> Result<()> {
    let done = Command::new("git")
        .arg("-C")
        .arg(path)
        .args(arguments)
        .status()
        .context("running git")?;
    if !done.success() {
        bail!("git {arguments:?} failed in {}", path.display());
    }
    Ok(())
}

/// The processor time of asking each repository once, and nothing else.
fn bare_loop(origins: &[String]) -> Result<Duration> {
    let used = || -> Result<Duration> {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        Ok(Duration::from_micros(u64::try_from(micros)?))
    };
    let before = used()?;
    for origin in origins {
        let done = Command::new("git")
            .args([
                "ls-remote",
                "--quiet",
                &format!("file://{origin}"),
                "refs/heads/main",
            ])
            .stdout(Stdio::null())
            .status()?;
        if !done.success() {
            bail!("git ls-remote {origin} failed");
        }
    }
    Ok(used()?.checked_sub(before).unwrap())
}
