//! `serve`: a small HTTP server whose behaviour can be bent for trying things out.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use serde_json::json;
use tokio::net::TcpListener;

use super::client::{Connection, Trust, Url, get};

/// The largest request body that is echoed, file that is served, and upstream answer.
const BODY: usize = 64 << 20;

/// Serves HTTP until it is asked to end.
///
/// Paths: /healthz and /readyz for probes, /echo for the request, /env for the variables named by
/// --env, anything else for the text, file or directory given, or else a greeting. With
/// `Accept: application/json` the greeting and /env are JSON.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Port; 0 takes a free one
    #[arg(short, long, env = "PORT", default_value_t = 8080)]
    port: u16,
    /// Address to listen at
    #[arg(long, default_value = "0.0.0.0")]
    address: IpAddr,
    /// Answer with this text
    #[arg(short, long, group = "content")]
    text: Option<String>,
    /// Answer with this file, read anew for every request
    #[arg(short, long, group = "content")]
    file: Option<PathBuf>,
    /// Answer with the files below this directory
    #[arg(short, long, group = "content")]
    dir: Option<PathBuf>,
    /// Ask this server for every request and add its answer to the greeting
    #[arg(short, long, value_name = "URL", group = "content")]
    upstream: Option<Url>,
    /// Show this environment variable in the greeting and at /env; may be given several times
    #[arg(short, long = "env", value_name = "NAME")]
    show: Vec<String>,
    /// Wait before every answer except those for probes
    #[arg(long, value_parser = super::duration)]
    delay: Option<Duration>,
    /// Answer /readyz with 503 until so long after the start
    #[arg(long, value_parser = super::duration)]
    ready_after: Option<Duration>,
    /// Answer /healthz and /readyz with 500 from so long after the start
    #[arg(long, value_parser = super::duration)]
    fail_after: Option<Duration>,
    /// Time for requests that are being answered when it is asked to end
    #[arg(long, default_value = "10s", value_parser = super::duration)]
    grace: Duration,
    /// Print no line for every request
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    trust: Trust,
}

/// Prints a line. Serving goes on when nobody reads.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

struct Server {
    args: Args,
    host: String,
    started: Instant,
}

pub(crate) async fn run(args: &Args) -> anyhow::Result<u8> {
    let address = SocketAddr::from((args.address, args.port));
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listening at {address}"))?;
    serve(listener, args, super::asked_to_end()).await?;
    Ok(0)
}

/// Serves until `asked` resolves, then finishes what is being answered.
async fn serve(
    listener: TcpListener,
    args: &Args,
    asked: impl Future<Output = io::Result<()>>,
) -> anyhow::Result<()> {
    let server = Arc::new(Server {
        args: args.clone(),
        host: super::host_name(),
        started: Instant::now(),
    });
    say(&format!("serving at http://{}", listener.local_addr()?));
    let graceful = GracefulShutdown::new();
    let mut connections = tokio::task::JoinSet::new();
    tokio::pin!(asked);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    let server = server.clone();
                    let service = service_fn(move |request| {
                        let server = server.clone();
                        async move { Ok::<_, Infallible>(server.answer(request).await) }
                    });
                    let connection = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(Duration::from_secs(30))
                        .serve_connection(TokioIo::new(stream), service);
                    let connection = graceful.watch(connection);
                    connections.spawn(async move {
                        // A client that goes away is no news.
                        let _ = connection.await;
                    });
                }
                // Out of descriptors, or a connection that ended before it began.
                Err(error) => {
                    eprintln!("serve: accepting: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            ended = &mut asked => {
                ended?;
                break;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(args.grace, graceful.shutdown())
        .await
        .is_err()
    {
        eprintln!("serve: requests were cut off after {:?}", args.grace);
    }
    Ok(())
}

type Answer = Response<Full<Bytes>>;

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let kind = http::HeaderValue::from_static(kind);
    answer
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, kind);
    answer
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

impl Server {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let started = Instant::now();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let probe = matches!(path.as_str(), "/healthz" | "/readyz");
        if let (false, Some(delay)) = (probe, self.args.delay) {
            tokio::time::sleep(delay).await;
        }
        let answer = match path.as_str() {
            "/healthz" => self.health(Duration::ZERO),
            "/readyz" => self.health(self.args.ready_after.unwrap_or_default()),
            "/echo" => self.echo(request).await,
            "/env" => self.environment(&request),
            path => self.content(&request, path).await,
        };
        if !self.args.quiet && !probe {
            let millis = started.elapsed().as_secs_f64() * 1e3;
            say(&format!(
                "{method} {path} {} {millis:.1} ms",
                answer.status().as_u16()
            ));
        }
        answer
    }

    fn health(&self, ready_after: Duration) -> Answer {
        let up = self.started.elapsed();
        if self.args.fail_after.is_some_and(|after| up >= after) {
            return answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "failing as told\n");
        }
        if up < ready_after {
            return answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, "not ready yet\n");
        }
        answer(StatusCode::OK, TEXT, "ok\n")
    }

    fn variables(&self) -> Vec<(&String, String)> {
        let shown = self.args.show.iter();
        shown
            .map(|name| (name, std::env::var(name).unwrap_or_default()))
            .collect()
    }

    fn environment<B>(&self, request: &Request<B>) -> Answer {
        let variables = self.variables();
        if wants_json(request) {
            let map: serde_json::Map<_, _> = variables
                .into_iter()
                .map(|(name, value)| (name.clone(), value.into()))
                .collect();
            return answer(
                StatusCode::OK,
                JSON,
                serde_json::Value::from(map).to_string(),
            );
        }
        let lines = variables
            .iter()
            .map(|(name, value)| format!("{name}={value}\n"));
        answer(StatusCode::OK, TEXT, lines.collect::<String>())
    }

    async fn echo(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let body = match Limited::new(body, BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => {
                return answer(StatusCode::PAYLOAD_TOO_LARGE, TEXT, format!("{error}\n"));
            }
        };
        let headers: serde_json::Map<_, _> = head
            .headers
            .iter()
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.to_string(), value.into())
            })
            .collect();
        let echo = json!({"host": self.host, "method": head.method.as_str(),
            "path": head.uri.path(), "query": head.uri.query(), "headers": headers,
            "body": String::from_utf8_lossy(&body)});
        answer(StatusCode::OK, JSON, format!("{echo:#}\n"))
    }

    async fn content<B>(&self, request: &Request<B>, path: &str) -> Answer {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            return answer(
                StatusCode::METHOD_NOT_ALLOWED,
                TEXT,
                "only GET is served here\n",
            );
        }
        if let Some(text) = &self.args.text {
            return answer(StatusCode::OK, TEXT, format!("{text}\n"));
        }
        if let Some(file) = &self.args.file {
            return self::file(file).await;
        }
        if let Some(dir) = &self.args.dir {
            return match below(dir, path) {
                Some(path) => self::file(&path).await,
                None => answer(StatusCode::BAD_REQUEST, TEXT, "a path cannot hold ..\n"),
            };
        }
        let upstream = match &self.args.upstream {
            Some(url) => match self.ask(url).await {
                Ok(text) => Some(text),
                Err(error) => {
                    let text = format!("{} cannot reach {}: {error:#}\n", self.host, url.uri);
                    return answer(StatusCode::BAD_GATEWAY, TEXT, text);
                }
            },
            None => None,
        };
        self.greeting(request, upstream.as_deref())
    }

    fn greeting<B>(&self, request: &Request<B>, upstream: Option<&str>) -> Answer {
        let variables = self.variables();
        if wants_json(request) {
            let env: serde_json::Map<_, _> = variables
                .into_iter()
                .map(|(name, value)| (name.clone(), value.into()))
                .collect();
            let greeting = json!({"host": self.host, "env": env, "upstream": upstream});
            return answer(StatusCode::OK, JSON, format!("{greeting}\n"));
        }
        let own = variables
            .iter()
            .map(|(name, value)| format!("{name}={value}\n"));
        let added = upstream.into_iter().flat_map(str::lines);
        let added = added.map(|line| format!("> {line}\n"));
        let text = std::iter::once(format!("hello from {}\n", self.host));
        let text: String = text.chain(own).chain(added).collect();
        answer(StatusCode::OK, TEXT, text)
    }

    /// One request to the upstream on a connection of its own, so that a service's load balancing
    /// shows.
    async fn ask(&self, url: &Url) -> anyhow::Result<String> {
        let asked = async {
            let mut connection = Connection::open(url, &self.args.trust).await?;
            let response = connection.sender.send_request(get(url)?).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), BODY).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
            anyhow::ensure!(status.is_success(), "it answered {status}");
            Ok(String::from_utf8_lossy(&body).into_owned())
        };
        tokio::time::timeout(Duration::from_secs(10), asked)
            .await
            .context("no answer within 10 s")?
    }
}

fn wants_json<B>(request: &Request<B>) -> bool {
    let accept = request.headers().get(http::header::ACCEPT);
    accept.is_some_and(|accept| accept.to_str().is_ok_and(|accept| accept.contains(JSON)))
}

/// A file below `dir` by the path of a URL; `None` when the path could lead elsewhere. Links in
/// the directory are followed: mounted ConfigMaps are made of them.
fn below(dir: &Path, path: &str) -> Option<PathBuf> {
    let mut file = dir.to_owned();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(part) => file.push(part),
            Component::RootDir | Component::CurDir => {}
            _ => return None,
        }
    }
    Some(file)
}

async fn file(path: &Path) -> Answer {
    match read(path).await {
        Ok((kind, content)) => answer(StatusCode::OK, kind, content),
        Err(error) => {
            let status = match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => StatusCode::NOT_FOUND,
                io::ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            answer(status, TEXT, format!("{error}\n"))
        }
    }
}

/// A file with its type, or a directory as a list of names.
async fn read(path: &Path) -> io::Result<(&'static str, Vec<u8>)> {
    let stat = tokio::fs::metadata(path).await?;
    if stat.is_dir() {
        let index = path.join("index.html");
        if tokio::fs::metadata(&index)
            .await
            .is_ok_and(|index| index.is_file())
        {
            return Ok(("text/html; charset=utf-8", tokio::fs::read(index).await?));
        }
        let mut entries = tokio::fs::read_dir(path).await?;
        let mut names = Vec::new();
        while let Some(entry) = entries.next_entry().await? {
            names.push(format!("{}\n", entry.file_name().to_string_lossy()));
        }
        names.sort();
        return Ok((TEXT, names.concat().into_bytes()));
    }
    if stat.len() > BODY as u64 {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let kind = match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("json") => JSON,
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        None | Some("txt" | "md" | "yaml" | "yml" | "conf" | "log") => TEXT,
        Some(_) => "application/octet-stream",
    };
    Ok((kind, tokio::fs::read(path).await?))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    use super::super::{Command, fetch, load};
    use super::*;

    /// Parses a command line as a container would give it.
    fn command(line: &[&str]) -> Command {
        super::super::ByName::parse_from(line).command
    }

    struct Running {
        url: String,
        end: oneshot::Sender<()>,
        task: JoinHandle<anyhow::Result<()>>,
    }

    async fn start(options: &[&str]) -> Running {
        let line = [&["serve", "--quiet"], options].concat();
        let Command::Serve(args) = command(&line) else {
            unreachable!("it was given as serve")
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (end, ended) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let asked = async {
                let _ = ended.await;
                Ok(())
            };
            serve(listener, &args, asked).await
        });
        Running { url, end, task }
    }

    async fn fetched(url: &str, options: &[&str]) -> anyhow::Result<u8> {
        let line = [&["fetch", "--quiet", "--timeout=5s"], options, &[url]].concat();
        let Command::Fetch(args) = command(&line) else {
            unreachable!("it was given as fetch")
        };
        fetch::run(&args).await
    }

    #[tokio::test]
    async fn the_front_end_adds_what_the_backend_says() {
        let backend = start(&["--text", "from the backend"]).await;
        let front = start(&["--upstream", &backend.url]).await;
        fetched(&front.url, &["--expect", "> from the backend"])
            .await
            .unwrap();
        backend.end.send(()).unwrap();
        backend.task.await.unwrap().unwrap();
        let error = fetched(&front.url, &[]).await.unwrap_err().to_string();
        assert!(error.contains("502"), "{error}");
    }

    #[tokio::test]
    async fn a_server_becomes_ready_and_fetch_waits_for_it() {
        let server = start(&["--ready-after=300ms", "--fail-after=1h"]).await;
        let ready = format!("{}/readyz", server.url);
        assert!(fetched(&ready, &[]).await.is_err());
        fetched(&ready, &["--until-success", "--interval=50ms"])
            .await
            .unwrap();
        fetched(&format!("{}/healthz", server.url), &[])
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn what_is_being_answered_is_finished_when_the_server_is_asked_to_end() {
        let server = start(&["--text=slow", "--delay=300ms"]).await;
        let url = server.url.clone();
        let answer = tokio::spawn(async move { fetched(&url, &["--expect=slow"]).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.end.send(()).unwrap();
        assert_eq!(answer.await.unwrap().unwrap(), 0);
        server.task.await.unwrap().unwrap();
        assert!(
            fetched(&server.url, &[]).await.is_err(),
            "it no longer listens"
        );
    }

    #[tokio::test]
    async fn files_are_served_from_below_the_directory_only() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.txt"), "content of a").unwrap();
        let server = start(&["--dir", &dir.path().display().to_string()]).await;
        let at = |path: &str| format!("{}{path}", server.url);
        fetched(&at("/a.txt"), &["--expect=content of a"])
            .await
            .unwrap();
        fetched(&at("/"), &["--expect=a.txt"]).await.unwrap();
        assert!(
            fetched(&at("/none"), &[])
                .await
                .unwrap_err()
                .to_string()
                .contains("404")
        );
        assert!(fetched(&at("/../../etc/passwd"), &[]).await.is_err());
    }

    #[tokio::test]
    async fn load_counts_what_was_answered_and_fails_without_a_server() {
        let server = start(&["--text=x"]).await;
        let run = async |url: &str| {
            let Command::Load(args) = command(&["load", "-c2", "-n50", "-d5s", "--json", url])
            else {
                unreachable!("it was given as load")
            };
            load::run(&args).await.unwrap()
        };
        assert_eq!(run(&server.url).await, 0);
        server.end.send(()).unwrap();
        server.task.await.unwrap().unwrap();
        assert_eq!(run(&server.url).await, 1);
    }

    #[test]
    fn paths_of_requests_stay_below_the_directory() {
        let dir = Path::new("/srv");
        assert_eq!(below(dir, "/a/b.txt").unwrap(), Path::new("/srv/a/b.txt"));
        assert_eq!(
            below(dir, "//etc/passwd").unwrap(),
            Path::new("/srv/etc/passwd")
        );
        assert_eq!(below(dir, "/../etc/passwd"), None);
        assert_eq!(below(dir, "/a/../../b"), None);
    }
}
