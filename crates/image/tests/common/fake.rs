//! A registry of a few lines that counts what it is asked, and misbehaves when told to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use consort_image::Digest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::Made;

#[derive(Default)]
pub(crate) struct Behaviour {
    /// Answers of `/v2/...` paths.
    pub(crate) content: HashMap<String, Vec<u8>>,
    /// Requests as `path` or `path range`, in order.
    pub(crate) seen: Vec<String>,
    /// Cut the first answer to this path after so many bytes.
    pub(crate) cut: Option<(String, usize)>,
    /// Basic credentials that the token service wants; none: no token is wanted.
    pub(crate) basic: Option<String>,
    /// Tokens given out so far.
    pub(crate) tokens: usize,
    /// Answer all with this status.
    pub(crate) status: Option<u16>,
    /// Send this many bytes as every manifest.
    pub(crate) endless: Option<usize>,
}

pub(crate) struct Fake {
    pub(crate) address: String,
    pub(crate) state: Arc<Mutex<Behaviour>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::<Mutex<Behaviour>>::default();
        let (shared, host) = (state.clone(), address.clone());
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    break;
                };
                open.spawn(serve(stream, shared.clone(), host.clone()));
            }
        });
        Self {
            address,
            state,
            task,
        }
    }

    /// Makes an image known under a tag, and its manifest under its digest.
    pub(crate) fn add(&self, repository: &str, tag: &str, image: &Made) {
        let content = &mut self.state.lock().unwrap().content;
        let manifests = format!("/v2/{repository}/manifests");
        content.insert(format!("{manifests}/{tag}"), image.manifest.clone());
        content.insert(
            format!("{manifests}/{}", image.digest()),
            image.manifest.clone(),
        );
        for (digest, bytes) in &image.blobs {
            content.insert(format!("/v2/{repository}/blobs/{digest}"), bytes.clone());
        }
    }

    pub(crate) fn put(&self, path: &str, bytes: Vec<u8>) {
        self.state
            .lock()
            .unwrap()
            .content
            .insert(path.to_owned(), bytes);
    }

    /// How often a blob was asked for.
    pub(crate) fn asked(&self, digest: Digest) -> Vec<String> {
        let seen = &self.state.lock().unwrap().seen;
        let wanted = digest.to_string();
        seen.iter()
            .filter(|path| path.contains(&wanted))
            .cloned()
            .collect()
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<Behaviour>>, host: String) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_exact(&mut byte).await.is_err() || head.len() > 16384 {
            return;
        }
        head.push(byte[0]);
        // A TLS handshake: this speaks HTTP.
        if head[0] == 0x16 {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            return;
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let (answer, body) = respond(&head, &state, &host);
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.write_all(&body).await;
    let _ = stream.shutdown().await;
}

fn respond(head: &str, state: &Mutex<Behaviour>, host: &str) -> (String, Vec<u8>) {
    let target = head.split(' ').nth(1).unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default().to_owned();
    let header = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        let mut found = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.to_owned())
    };
    let mut state = state.lock().unwrap();
    let range = header("range");
    state.seen.push(match &range {
        Some(range) => format!("{path} {range}"),
        None => path.clone(),
    });
    let plain = |status: &str, extra: &str, body: &[u8]| {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{extra}\r\n"
        );
        (head, body.to_vec())
    };
    let authorization = header("authorization").unwrap_or_default();
    if let Some(status) = state.status {
        return plain(
            &format!("{status} X"),
            "",
            b"{\"errors\":[{\"message\":\"out of order\"}]}",
        );
    }
    if path == "/token" {
        if state
            .basic
            .as_deref()
            .is_some_and(|basic| authorization != format!("Basic {basic}"))
        {
            return plain("401 Unauthorized", "", b"");
        }
        state.tokens += 1;
        return plain("200 OK", "", b"{\"token\":\"good\"}");
    }
    if state.basic.is_some() && authorization != "Bearer good" {
        let extra =
            format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"fake\"\r\n");
        return plain(
            "401 Unauthorized",
            &extra,
            b"{\"errors\":[{\"message\":\"authentication required\"}]}",
        );
    }
    if let (Some(length), true) = (state.endless, path.contains("/manifests/")) {
        return plain("200 OK", "", &vec![b' '; length]);
    }
    let Some(body) = state.content.get(&path).cloned() else {
        return plain(
            "404 Not Found",
            "",
            b"{\"errors\":[{\"message\":\"manifest unknown\"}]}",
        );
    };
    let from = range
        .and_then(|range| {
            range
                .strip_prefix("bytes=")?
                .strip_suffix('-')?
                .parse::<usize>()
                .ok()
        })
        .unwrap_or(0);
    let (status, extra) = if from > 0 {
        let last = body.len() - 1;
        (
            "206 Partial Content",
            format!("Content-Range: bytes {from}-{last}/{}\r\n", body.len()),
        )
    } else {
        ("200 OK", String::new())
    };
    let (head, mut body) = plain(status, &extra, &body[from..]);
    if let Some((cut, after)) = &state.cut
        && path.ends_with(cut.as_str())
    {
        body.truncate(*after);
        state.cut = None;
    }
    (head, body)
}
