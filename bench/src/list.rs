//! A list of many pods and reads of one, beside a bare HTTP server with the same TLS that gives out the
//! same bytes, and beside a copy of them in memory.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::client::Endpoint;
use crate::objects::unplaced;
use crate::server::Server;
use crate::times::Times;
use crate::{Place, creates, executor, limits, process};

const PATH: &str = "/api/v1/namespaces/default/pods";

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Number of pods
    #[arg(long, default_value_t = 10_000)]
    pods: usize,
    /// Lists to take
    #[arg(long, default_value_t = 9)]
    runs: usize,
    /// Seconds of reading single pods
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    executor()?.block_on(measure(arguments))
}

async fn measure(arguments: &Arguments) -> Result<()> {
    let dir = tempfile::tempdir_in(&arguments.place.dir)?;
    let data = dir.path().join("data");
    std::fs::create_dir(&data)?;
    let server = Server::start(&arguments.place, &data, false).await?;
    creates::post_all(&server, PATH, arguments.pods, |n| {
        unplaced(&format!("pod-{n:06}"))
    })
    .await?;

    let cpu = process::cpu_time(server.pid());
    let (times, body) = fetch(&server.endpoint()?, PATH, arguments.runs).await?;
    let cpu = process::cpu_time(server.pid()).saturating_sub(cpu) / (arguments.runs as u32 + 1);
    let bare = Bare::start(&data, body.clone()).await?;
    let (bare_times, _) = fetch(&bare.endpoint, "/", arguments.runs).await?;
    let copy = limits::copy_time(&body).as_secs_f64() * 1e3;
    let megabytes = body.len() as f64 / 1e6;
    println!(
        "list of {} pods, {megabytes:.1} MB of JSON over TLS",
        arguments.pods
    );
    println!(
        "{:<34} {:>8} {:>8} {:>9} {:>9} {:>9}",
        "", "p50 ms", "max ms", "MB/s", "of bare", "of copy"
    );
    for (name, times) in [
        ("consort", &times),
        ("bare HTTP server, same bytes", &bare_times),
    ] {
        let median = times.ms(0.5);
        println!(
            "{name:<34} {median:>8.1} {:>8.1} {:>9.0} {:>9.2} {:>9.1}",
            times.ms(1.0),
            megabytes / median * 1e3,
            median / bare_times.ms(0.5),
            median / copy
        );
    }
    println!("{:<34} {copy:>8.2}", "copy in memory");
    println!(
        "server CPU for each list: {:.1} ms",
        cpu.as_secs_f64() * 1e3
    );

    println!(
        "\nreads of one pod {:>10} {:>9} {:>8} {:>8} {:>8}",
        "conns", "gets/s", "p50 ms", "p99 ms", "CPU us"
    );
    for connections in [1, 16, 64] {
        gets(arguments, &server, connections).await?;
    }
    server.stop().await?;
    Ok(())
}

async fn fetch(endpoint: &Endpoint, path: &str, runs: usize) -> Result<(Times, Bytes)> {
    let mut connection = endpoint.connect().await?;
    let mut body = connection.get(path).await?;
    let mut times = Vec::new();
    for _ in 0..runs {
        let begun = Instant::now();
        body = connection.get(path).await?;
        times.push(begun.elapsed());
    }
    Ok((Times::new(times), body))
}

async fn gets(arguments: &Arguments, server: &Server, connections: usize) -> Result<()> {
    let time = Duration::from_secs_f64(arguments.seconds);
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(server.connect().await?);
    }
    let (cpu, begun, pods) = (
        process::cpu_time(server.pid()),
        Instant::now(),
        arguments.pods,
    );
    let mut tasks = JoinSet::new();
    for (first, mut connection) in open.into_iter().enumerate() {
        tasks.spawn(async move {
            let (mut times, mut n) = (Vec::new(), first * 7919);
            while begun.elapsed() < time {
                let path = format!("{PATH}/pod-{:06}", n % pods);
                let sent = Instant::now();
                connection.get(&path).await?;
                times.push(sent.elapsed());
                n += 104_729;
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    let (took, cpu) = (
        begun.elapsed(),
        process::cpu_time(server.pid()).saturating_sub(cpu),
    );
    let times = Times::new(times);
    println!(
        "{connections:>27} {:>9.0} {:>8.2} {:>8.2} {:>8.1}",
        times.len() as f64 / took.as_secs_f64(),
        times.ms(0.5),
        times.ms(0.99),
        cpu.as_secs_f64() * 1e6 / times.len() as f64
    );
    Ok(())
}

/// hyper and rustls with one answer: what the protocol costs by itself.
struct Bare {
    endpoint: Endpoint,
    _tasks: JoinSet<()>,
}

impl Bare {
    /// Serves `body` with the certificate of the server that was measured.
    async fn start(data_dir: &std::path::Path, body: Bytes) -> Result<Self> {
        let pki = data_dir.join("pki");
        let chain =
            CertificateDer::pem_file_iter(pki.join("server.crt"))?.collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_file(pki.join("server.key"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(pki.join("ca.crt"))?)?;
        let client = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = Endpoint::tls(listener.local_addr()?, Arc::new(client));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // One connection at a time is all that is asked of it.
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let body = body.clone();
                let service = service_fn(move |_| {
                    let body = body.clone();
                    async move { Ok::<_, Infallible>(Response::new(Full::new(body))) }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            }
        });
        Ok(Self {
            endpoint,
            _tasks: tasks,
        })
    }
}
