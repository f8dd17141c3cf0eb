//! A plan with nothing to do over very many Kubernetes objects, beside bare lists of the same objects.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use consort_api::identity::{User, pki::Pki, tokens::Signer};
use consort_manifests::{Manifests, Spec};
use consort_plan::{
    Action, Intent, Lines, Order, Outcome, Part as _, PartPlan, Planned, Problem, Progress,
    Request, WalkOptions, walk,
};
use tokio_util::sync::CancellationToken;

use crate::executor;
use crate::times::Times;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Number of objects
    #[arg(long, default_value_t = 15_000)]
    objects: usize,
    /// Plans to make
    #[arg(long, default_value_t = 7)]
    runs: usize,
    /// Where to make temporary directories
    #[arg(long, default_value = ".")]
    dir: std::path::PathBuf,
}

/// The collections the objects are in.
const COLLECTIONS: [&str; 4] = [
    "/apis/batch/v1/cronjobs",
    "/api/v1/configmaps",
    "/api/v1/services",
    "/api/v1/namespaces",
];

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    executor()?.block_on(measure(arguments))
}

async fn measure(arguments: &Arguments) -> Result<()> {
    let dir = tempfile::tempdir_in(&arguments.dir)?;
    let store = consort_store::Store::open(consort_store::Options::new(dir.path().join("store")))?;
    let pki = Pki::open(&dir.path().join("pki"), &["localhost".into()], &[])?;
    let signer = Signer::new(pki.service_account_key(), "https://kubernetes.default.svc")?;
    let api = consort_api::Api::new(consort_api::Options::new(store, Arc::new(signer))).await?;
    let client = api.client(User::admin());
    let score = dir.path().join("score");
    let objects = write(&score, arguments.objects)?;
    let part = Manifests::open(
        "app",
        "bench",
        Spec::of_path("deploy"),
        Lines::default(),
        &score,
        Some(client.clone()),
    )
    .map_err(|problems| anyhow::anyhow!("{problems:?}"))?;

    let begun = Instant::now();
    let first = plan(&part).await?;
    let creates = first
        .changes
        .iter()
        .filter(|change| change.action == Action::Create)
        .count();
    println!(
        "{objects} objects: first plan (a dry run each) {:.1} s, {:.0} us an object",
        begun.elapsed().as_secs_f64(),
        begun.elapsed().as_secs_f64() * 1e6 / objects as f64
    );
    if creates != objects {
        bail!("{creates} of {objects} are to be made");
    }
    carry_out(&part, &first, dir.path()).await?;
    drop(first);

    let mut bare = Vec::new();
    let mut bytes = 0;
    for _ in 0..arguments.runs {
        let begun = Instant::now();
        bytes = 0;
        for path in COLLECTIONS {
            bytes += list(&client, path).await?;
        }
        bare.push(begun.elapsed());
    }
    let bare = Times::new(bare);

    let before = resident("VmRSS:")?;
    std::fs::write("/proc/self/clear_refs", "5").context("resetting the peak of memory")?;
    let mut times = Vec::new();
    for _ in 0..arguments.runs {
        let begun = Instant::now();
        let plan = plan(&part).await?;
        times.push(begun.elapsed());
        let moving = plan
            .changes
            .iter()
            .filter(|change| change.action != Action::NoOp)
            .count();
        if moving > 0 || plan.changes.len() != objects {
            bail!("{moving} of {} are to be changed", plan.changes.len());
        }
    }
    let peak = resident("VmHWM:")?;
    let times = Times::new(times);
    println!(
        "{:<34} {:>8} {:>8} {:>9}",
        "", "p50 ms", "max ms", "of bare"
    );
    for (name, times) in [
        ("plan with nothing to do", &times),
        ("bare lists of the same objects", &bare),
    ] {
        println!(
            "{name:<34} {:>8.0} {:>8.0} {:>9.2}",
            times.ms(0.5),
            times.ms(1.0),
            times.ms(0.5) / bare.ms(0.5)
        );
    }
    println!(
        "lists {:.1} MB; memory of the process with the server in it: {before:.0} MB before, {peak:.0} MB at most",
        bytes as f64 / 1e6
    );
    api.close().await;
    Ok(())
}

/// Writes manifests as teams have them: a third of each kind, a directory for every hundred.
fn write(score: &Path, objects: usize) -> Result<usize> {
    let mut written = 0;
    let mut namespace = 0;
    while written < objects {
        let directory = score.join(format!("deploy/team-{namespace:03}"));
        std::fs::create_dir_all(&directory)?;
        let mut text =
            format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: team-{namespace:03}\n");
        written += 1;
        for n in 0..100 {
            if written + 3 > objects {
                break;
            }
            let _ = write!(
                text,
                r#"---
apiVersion: v1
kind: ConfigMap
metadata:
  name: job-{n}
  namespace: team-{namespace:03}
  labels: {{app: job-{n}, team: team-{namespace:03}}}
data:
  mode: fast
  settings.json: |
    {{"workers": 8, "endpoint": "http://service-{n}", "retries": 3}}
---
apiVersion: v1
kind: Service
metadata:
  name: job-{n}
  namespace: team-{namespace:03}
  labels: {{app: job-{n}, team: team-{namespace:03}}}
spec:
  clusterIP: None
  selector: {{app: job-{n}}}
  ports:
    - name: http
      port: 80
      targetPort: 8080
---
apiVersion: batch/v1
kind: CronJob
metadata:
  name: job-{n}
  namespace: team-{namespace:03}
  labels: {{app: job-{n}, team: team-{namespace:03}}}
spec:
  schedule: "*/5 * * * *"
  jobTemplate:
    spec:
      template:
        metadata:
          labels: {{app: job-{n}}}
        spec:
          restartPolicy: OnFailure
          containers:
            - name: job
              image: registry.example.com/team/job:1.4.2
              args: [--settings=/etc/job/settings.json, --verbose]
              ports:
                - containerPort: 8080
              env:
                - name: POD
                  valueFrom:
                    fieldRef:
                      fieldPath: metadata.name
                - name: MODE
                  valueFrom:
                    configMapKeyRef:
                      name: job-{n}
                      key: mode
              resources:
                requests: {{cpu: 100m, memory: 64Mi}}
                limits: {{memory: 128Mi}}
              volumeMounts:
                - name: settings
                  mountPath: /etc/job
          volumes:
            - name: settings
              configMap:
                name: job-{n}
"#
            );
            written += 3;
        }
        std::fs::write(directory.join("all.yaml"), text)?;
        namespace += 1;
        if written + 4 > objects {
            break;
        }
    }
    Ok(written)
}

async fn plan(part: &Manifests) -> Result<PartPlan> {
    let (inputs, cancel) = (BTreeMap::new(), CancellationToken::new());
    part.plan(Request {
        intent: Intent::Apply,
        inputs: &inputs,
        documented: false,
        healing: false,
        cancel: &cancel,
    })
    .await
    .map_err(|problems| anyhow::anyhow!("{problems:?}"))
}

struct Quiet;

impl Progress for Quiet {
    fn began(&self, _: u32) {}
    fn note(&self, _: u32, _: &str) {}
    fn done(&self, _: u32) {}
    fn failed(&self, _: u32, _: Problem) {}
    fn input(&self, name: &str) -> Result<Planned, Box<Problem>> {
        Err(Box::new(Problem {
            summary: format!("there is no input {name}"),
            ..Problem::default()
        }))
    }
}

async fn carry_out(part: &Manifests, plan: &PartPlan, scratch: &Path) -> Result<()> {
    let (inputs, cancel) = (BTreeMap::new(), CancellationToken::new());
    let done = vec![false; plan.changes.len()];
    let carrier = part
        .carrier(Order {
            intent: Intent::Apply,
            payload: &plan.payload,
            changes: &plan.changes,
            inputs: &inputs,
            done: &done,
            scratch: scratch.to_owned(),
            cancel: &cancel,
        })
        .await
        .map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let options = WalkOptions {
        parallelism: 64,
        step_deadline: Some(Duration::from_secs(60)),
        ..WalkOptions::default()
    };
    let begun = Instant::now();
    let carrier = &carrier;
    let report = walk(carrier.steps(), &options, |id| async move {
        match carrier.step(id, &Quiet).await {
            Ok(()) => Outcome::Done,
            Err(problems) => Outcome::Failed(problems),
        }
    })
    .await;
    if !report.is_complete() {
        let first = report
            .ended
            .iter()
            .find(|end| !matches!(end, consort_plan::Ended::Done));
        bail!("the walk did not end well: {first:?}");
    }
    println!("applied in {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// All objects of a collection of this score; how many bytes they are.
async fn list(client: &kube::Client, path: &str) -> Result<usize> {
    let mut bytes = 0;
    let mut token = String::new();
    loop {
        let request = http::Request::get(format!(
            "{path}?limit=1000&labelSelector=consort.dev%2Fscore%3Dbench{token}"
        ))
        .body(kube::client::Body::empty())?;
        let page = client
            .send(request)
            .await?
            .into_body()
            .collect_bytes()
            .await?;
        bytes += page.len();
        // The metadata of a list stands before its items.
        let head = String::from_utf8_lossy(&page[..page.len().min(4096)]).into_owned();
        let Some((_, rest)) = head.split_once("\"continue\":\"") else {
            return Ok(bytes);
        };
        let more = rest.split('"').next().unwrap_or_default();
        if more.is_empty() {
            return Ok(bytes);
        }
        token = format!("&continue={more}");
    }
}

/// A line of the process's memory, in megabytes.
fn resident(line: &str) -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let value = status
        .lines()
        .find_map(|own| own.strip_prefix(line))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .context("no such line in /proc/self/status")?;
    Ok(value.trim().parse::<f64>()? / 1024.0)
}
