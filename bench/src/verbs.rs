//! Creates, updates, applies, gets and lists at several numbers of connections, over TLS and in process,
//! with the processor time of each, beside what a real kube-apiserver took on such a machine.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bytes::Bytes;
use consort_api::identity::User;
use consort_api::{Api, ApiService};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::client::Connection;
use crate::objects::config_map;
use crate::server::Server;
use crate::times::Times;
use crate::{Place, executor, limits, process, serve};

const PATH: &str = "/api/v1/namespaces/default/configmaps";
const JSON: &str = "application/json";
const APPLY: &str = "application/apply-patch+yaml";

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Seconds for each rate
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Objects that are updated, applied, read and listed
    #[arg(long, default_value_t = 5_000)]
    objects: usize,
    /// Size of an object in bytes, about
    #[arg(long, default_value_t = 1_000)]
    size: usize,
    /// Numbers of connections
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, 256])]
    connections: Vec<usize>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Create,
    Update,
    Apply,
    Get,
    List,
}

impl Verb {
    const ALL: [Self; 5] = [
        Self::Create,
        Self::Update,
        Self::Apply,
        Self::Get,
        Self::List,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Apply => "apply",
            Self::Get => "get",
            Self::List => "list of 500",
        }
    }

    /// Requests a second, and processor time of each with its etcd's in microseconds, of a kube-apiserver
    /// 1.36 with ConfigMaps, on an idle machine of this size.
    fn upstream(self, connections: usize) -> Option<(f64, f64)> {
        match (self, connections) {
            (Self::Create, 1) => Some((388.0, 807.0)),
            (Self::Create, 16) => Some((1_492.0, 807.0)),
            (Self::Create, 64) => Some((1_932.0, 807.0)),
            (Self::Get, 1) => Some((997.0, 392.0)),
            (Self::Get, 16) => Some((3_788.0, 392.0)),
            (Self::Get, 64) => Some((3_977.0, 392.0)),
            _ => None,
        }
    }

    fn request(
        self,
        n: usize,
        run: &str,
        arguments: &Arguments,
    ) -> (Method, String, &'static str, Bytes) {
        let name = format!("base-{:06}", n * 7919 % arguments.objects);
        match self {
            Self::Create => {
                let body = config_map(&format!("{run}-{n}"), arguments.size);
                (Method::POST, PATH.to_owned(), JSON, body)
            }
            Self::Update => {
                let body = changed(&name, n, arguments.size);
                (Method::PUT, format!("{PATH}/{name}"), JSON, body)
            }
            Self::Apply => {
                let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
                    "data": {"applied": n.to_string()}});
                let path = format!("{PATH}/{name}?fieldManager=bench&force=true");
                (Method::PATCH, path, APPLY, body.to_string().into())
            }
            Self::Get => (Method::GET, format!("{PATH}/{name}"), JSON, Bytes::new()),
            Self::List => (Method::GET, format!("{PATH}?limit=500"), JSON, Bytes::new()),
        }
    }
}

/// The object with something new in it: a write that changes nothing is not one.
fn changed(name: &str, n: usize, size: usize) -> Bytes {
    let mut value: Value = serde_json::from_slice(&config_map(name, size)).unwrap_or_default();
    value["data"]["change"] = n.to_string().into();
    value.to_string().into()
}

/// A way to the server.
enum Caller {
    Tls(Box<Connection>),
    Inside(Box<ApiService>, Arc<User>),
}

impl Caller {
    async fn call(&mut self, method: Method, path: &str, media: &str, body: Bytes) -> Result<()> {
        match self {
            Self::Tls(connection) => {
                connection.call_as(method, path, media, body).await?;
            }
            Self::Inside(service, user) => {
                let mut request = Request::builder()
                    .method(method)
                    .uri(path)
                    .header("content-type", media)
                    .body(Full::new(body))?;
                request.extensions_mut().insert(Arc::clone(user));
                let response = match service.as_ref().clone().oneshot(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                };
                let status = response.status();
                let body = response.into_body().collect().await;
                let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
                if !status.is_success() {
                    bail!("{path}: {status}: {}", String::from_utf8_lossy(&body));
                }
            }
        }
        Ok(())
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    executor()?.block_on(measure(arguments))
}

async fn measure(arguments: &Arguments) -> Result<()> {
    let dir = tempfile::tempdir_in(&arguments.place.dir)?;
    over_tls(arguments, dir.path()).await?;
    inside(arguments, dir.path()).await
}

async fn over_tls(arguments: &Arguments, dir: &Path) -> Result<()> {
    let data = dir.join("data");
    std::fs::create_dir(&data)?;
    let server = Server::start(&arguments.place, &data, false).await?;
    let endpoint = server.endpoint()?;
    let mut callers = Vec::new();
    for _ in 0..arguments.connections.iter().copied().max().unwrap_or(1) {
        callers.push(Caller::Tls(Box::new(endpoint.connect().await?)));
    }
    println!("over TLS; CPU us is the server's");
    table(arguments, dir, callers, || process::cpu_time(server.pid())).await?;
    server.stop().await?;
    Ok(())
}

async fn inside(arguments: &Arguments, dir: &Path) -> Result<()> {
    let data = dir.join("inside");
    std::fs::create_dir(&data)?;
    let (store, api, _) = serve::open(&data, [127, 0, 0, 1].into()).await?;
    let user = Arc::new(User::admin());
    let caller = |api: &Api| Caller::Inside(Box::new(api.service()), Arc::clone(&user));
    let count = arguments.connections.iter().copied().max().unwrap_or(1);
    let callers = (0..count).map(|_| caller(&api)).collect();
    println!("\nin process; CPU us is everything's");
    table(arguments, dir, callers, || {
        process::cpu_time(std::process::id())
    })
    .await?;
    api.close().await;
    store.close().await;
    Ok(())
}

async fn table(
    arguments: &Arguments,
    dir: &Path,
    mut callers: Vec<Caller>,
    cpu: impl Fn() -> Duration,
) -> Result<()> {
    callers = fill(arguments, callers).await?;
    println!(
        "{:<12} {:>6} {:>9} {:>10} {:>8} {:>8} {:>8} {:>9} {:>9} {:>9}",
        "",
        "conns",
        "syncs/s",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "CPU us",
        "of syncs",
        "of k8s",
        "k8s CPU"
    );
    for verb in Verb::ALL {
        for &connections in &arguments.connections {
            let probe = dir.to_owned();
            let time = Duration::from_secs_f64(arguments.seconds / 4.0);
            let syncs =
                tokio::task::spawn_blocking(move || limits::sync_rate(&probe, time, 4096, false))
                    .await??;
            let before = cpu();
            let rest = callers.split_off(connections);
            let (rate, times, back) = load(arguments, verb, callers).await?;
            callers = back;
            callers.extend(rest);
            let each = cpu().saturating_sub(before).as_secs_f64() * 1e6 / times.len() as f64;
            let (of_k8s, k8s_cpu) = verb
                .upstream(connections)
                .map_or((f64::NAN, f64::NAN), |(theirs, cpu)| {
                    (rate / theirs, cpu / each)
                });
            println!(
                "{:<12} {connections:>6} {syncs:>9.0} {rate:>10.0} {:>8.2} {:>8.2} {each:>8.1} {:>9.2} {of_k8s:>9.1} {k8s_cpu:>9.1}",
                verb.name(),
                times.ms(0.5),
                times.ms(0.99),
                rate / syncs
            );
        }
    }
    Ok(())
}

/// Makes the objects that are read and changed.
async fn fill(arguments: &Arguments, callers: Vec<Caller>) -> Result<Vec<Caller>> {
    let next = Arc::new(AtomicUsize::new(0));
    let (objects, size) = (arguments.objects, arguments.size);
    let mut tasks = JoinSet::new();
    for mut caller in callers {
        let next = Arc::clone(&next);
        tasks.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= objects {
                    return anyhow::Ok(caller);
                }
                let body = config_map(&format!("base-{n:06}"), size);
                caller.call(Method::POST, PATH, JSON, body).await?;
            }
        });
    }
    let mut back = Vec::new();
    while let Some(done) = tasks.join_next().await {
        back.push(done??);
    }
    Ok(back)
}

async fn load(
    arguments: &Arguments,
    verb: Verb,
    callers: Vec<Caller>,
) -> Result<(f64, Times, Vec<Caller>)> {
    let time = Duration::from_secs_f64(arguments.seconds);
    let next = Arc::new(AtomicUsize::new(0));
    let shape = Arc::new((
        Arguments {
            place: arguments.place.clone(),
            connections: Vec::new(),
            ..*arguments
        },
        format!("run-{:x}", random()),
    ));
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for mut caller in callers {
        let (next, shape) = (Arc::clone(&next), Arc::clone(&shape));
        tasks.spawn(async move {
            let mut times = Vec::new();
            while begun.elapsed() < time {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let (method, path, media, body) = verb.request(n, &shape.1, &shape.0);
                let sent = Instant::now();
                caller.call(method, &path, media, body).await?;
                times.push(sent.elapsed());
            }
            anyhow::Ok((caller, times))
        });
    }
    let (mut back, mut times) = (Vec::new(), Vec::new());
    while let Some(done) = tasks.join_next().await {
        let (caller, taken) = done??;
        back.push(caller);
        times.extend(taken);
    }
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    Ok((rate, Times::new(times), back))
}

/// A name no earlier run had.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish() >> 16
}
