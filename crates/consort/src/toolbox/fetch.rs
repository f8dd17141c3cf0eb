//! `fetch`: one request, tried again if wanted.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};

use super::client::{Connection, Trust, Url, get};

/// The largest body that is printed.
const BODY: usize = 64 << 20;

/// Makes an HTTP request, prints the body to the standard output and status, size and time to
/// the standard error. Succeeds when the status is below 400. Redirections are not followed.
#[derive(Clone, Debug, clap::Args)]
#[allow(clippy::doc_markdown)]
pub(crate) struct Args {
    /// URL; `http://` may be left out
    url: Url,
    /// Method
    #[arg(short = 'X', long, default_value = "GET")]
    method: http::Method,
    /// Additional header, as `Name: value`; may be given several times
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// File whose content is sent as a bearer token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Body to send
    #[arg(short, long)]
    data: Option<String>,
    /// Time for everything, retries included
    #[arg(short, long, default_value = "30s", value_parser = super::duration)]
    timeout: Duration,
    /// Try again so many times after a failure
    #[arg(long, default_value_t = 0, conflicts_with = "until_success")]
    retry: u32,
    /// Try again until it succeeds or the time is over
    #[arg(long)]
    until_success: bool,
    /// Time between tries
    #[arg(long, default_value = "1s", value_parser = super::duration)]
    interval: Duration,
    /// Fail unless the body holds this text
    #[arg(long, value_name = "TEXT")]
    expect: Option<String>,
    /// Print no status line
    #[arg(short, long)]
    quiet: bool,
    /// Print the answer's headers to the standard error
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    trust: Trust,
}

pub(crate) async fn run(args: &Args) -> anyhow::Result<u8> {
    let deadline = tokio::time::Instant::now() + args.timeout;
    let mut left = args.retry;
    let mut failure = None;
    loop {
        match tokio::time::timeout_at(deadline, once(args)).await {
            Ok(Ok(body)) => {
                let mut out = std::io::stdout().lock();
                out.write_all(&body)?;
                out.flush()?;
                return Ok(0);
            }
            Ok(Err(error)) => failure = Some(error),
            Err(_) => {
                let over = format!("no success within {:?}", args.timeout);
                return Err(match failure {
                    Some(error) => error.context(over),
                    None => anyhow::anyhow!(over),
                });
            }
        }
        if !args.until_success {
            let Some(less) = left.checked_sub(1) else {
                break;
            };
            left = less;
        }
        if let (false, Some(error)) = (args.quiet, &failure) {
            eprintln!("fetch: {error:#}; trying again");
        }
        tokio::time::sleep_until(deadline.min(tokio::time::Instant::now() + args.interval)).await;
    }
    Err(failure.unwrap_or_else(|| anyhow::anyhow!("it was not tried")))
}

async fn once(args: &Args) -> anyhow::Result<Vec<u8>> {
    let started = Instant::now();
    let mut request = get(&args.url)?;
    *request.method_mut() = args.method.clone();
    for header in &args.headers {
        let (name, value) = header
            .split_once(':')
            .with_context(|| format!("header {header:?} is not `Name: value`"))?;
        let name = http::HeaderName::try_from(name.trim())?;
        request.headers_mut().insert(name, value.trim().try_into()?);
    }
    if let Some(path) = &args.token_file {
        let token =
            std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let value = format!("Bearer {}", token.trim()).try_into()?;
        request
            .headers_mut()
            .insert(http::header::AUTHORIZATION, value);
    }
    if let Some(data) = &args.data {
        *request.body_mut() = Full::new(Bytes::from(data.clone()));
    }
    let mut connection = Connection::open(&args.url, &args.trust).await?;
    let response = connection.sender.send_request(request).await?;
    let status = response.status();
    if args.verbose {
        for (name, value) in response.headers() {
            eprintln!("{name}: {}", String::from_utf8_lossy(value.as_bytes()));
        }
    }
    let mut body = response.into_body();
    let mut content = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            content.extend_from_slice(&data);
        }
        if content.len() > BODY {
            bail!("the body is larger than {BODY} bytes");
        }
    }
    if !args.quiet {
        let millis = started.elapsed().as_secs_f64() * 1e3;
        eprintln!("{status}, {} bytes, {millis:.1} ms", content.len());
    }
    if status.is_client_error() || status.is_server_error() {
        bail!("{} answered {status}", args.url.uri);
    }
    if let Some(expected) = &args.expect
        && !String::from_utf8_lossy(&content).contains(expected)
    {
        bail!("the body of {} does not hold {expected:?}", args.url.uri);
    }
    Ok(content)
}
