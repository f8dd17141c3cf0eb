//! A score of many resources with nothing to do: what a plan of it takes, beside one list of the same objects.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::Place;
use crate::server::{Server, binary};
use crate::terraform::Taken;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// How many Kubernetes objects
    #[arg(long, default_value_t = 10_000)]
    objects: usize,
    /// How many resources of Terraform
    #[arg(long, default_value_t = 5_000)]
    resources: usize,
    /// How often each is run; the quickest is told
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

/// Files of at most so many objects.
const A_FILE: usize = 500;

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    crate::executor()?.block_on(measure(arguments))
}

async fn measure(arguments: &Arguments) -> Result<()> {
    let dir = tempfile::tempdir_in(&arguments.place.dir)?;
    let score = dir.path().join("score");
    write(&score, arguments)?;
    let data = dir.path().join("data");
    let server = Server::start(&arguments.place, &data, false).await?;
    let program = binary(&arguments.place)?;
    let consort = |words: &[&str]| taken(&program, words, &data);
    let path = score.display().to_string();

    let first = consort(&["apply", "--auto-approve", &path])?;
    println!(
        "first apply of {} objects and {} resources: {:.1} s, {:.1} CPU s",
        arguments.objects, arguments.resources, first.wall, first.cpu
    );
    let mut plans = Vec::new();
    let mut lists = Vec::new();
    for _ in 0..arguments.runs.max(1) {
        plans.push(consort(&["plan", &path])?);
        lists.push(consort(&["get", "configmaps", "-A", "-o", "json"])?);
    }
    let plan = quickest(plans).context("no run")?;
    let list = quickest(lists).context("no run")?;
    println!(
        "plan with nothing to do: {:.2} s, {:.2} CPU s, {:.0} MiB",
        plan.wall, plan.cpu, plan.memory
    );
    println!(
        "one list of the objects as JSON: {:.2} s, {:.2} CPU s; the plan takes {:.1} times as long",
        list.wall,
        list.cpu,
        plan.wall / list.wall
    );
    server.stop().await?;
    Ok(())
}

fn quickest(runs: Vec<Taken>) -> Option<Taken> {
    runs.into_iter().min_by(|a, b| a.wall.total_cmp(&b.wall))
}

fn write(score: &Path, arguments: &Arguments) -> Result<()> {
    let (app, infra) = (score.join("app"), score.join("infra"));
    std::fs::create_dir_all(&app)?;
    std::fs::create_dir_all(&infra)?;
    std::fs::write(
        score.join("consort.yaml"),
        "apiVersion: consort.dev/v1\nkind: Score\nmetadata: {name: many}\nspec:\n  parts:\n    - name: infra\n      terraform: {path: infra}\n    - name: app\n      manifests:\n        path: app\n        configMaps:\n          - name: ids\n            namespace: default\n            data: {first: {from: infra.first}}\n  steps: {parallelism: 32}\n",
    )?;
    for (file, from) in (0..arguments.objects).step_by(A_FILE).enumerate() {
        let mut text = String::new();
        for n in from..(from + A_FILE).min(arguments.objects) {
            let _ = write!(
                text,
                "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings-{n}\n  namespace: default\n  labels: {{app: many}}\ndata:\n  mode: fast\n  number: \"{n}\"\n  text: |\n    some lines of settings\n    as they are in the wild\n"
            );
        }
        std::fs::write(app.join(format!("{file:03}.yaml")), text)?;
    }
    let resources = arguments.resources;
    std::fs::write(
        infra.join("main.tf"),
        format!(
            "resource \"terraform_data\" \"many\" {{\n  count = {resources}\n  input = \"number ${{count.index}}\"\n}}\n\noutput \"first\" {{\n  value = terraform_data.many[0].id\n}}\n"
        ),
    )?;
    Ok(())
}

fn taken(program: &PathBuf, words: &[&str], data: &Path) -> Result<Taken> {
    let output = Command::new(std::env::current_exe()?)
        .arg("measured")
        .arg("--")
        .arg(program)
        .args(words)
        .arg("--data-dir")
        .arg(data)
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        bail!(
            "{} failed: {}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
