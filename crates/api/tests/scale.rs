//! Lists and watches of many objects, and what keeps one client from taking the server from the others.
#![allow(missing_docs)]

mod support;

use consort_api::Options;
use consort_api::identity::User;
use consort_object::Revision;
use consort_object::proto;
use consort_object::schema::Schema;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::io::Read as _;
use std::time::{Duration, Instant};
use support::{Lines, Server, config_map, pod, request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

const PODS: &str = "/api/v1/namespaces/default/pods";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn accepting(server: &Server, path: &str, accept: &str) -> support::Answer {
    let mut asked = request(Method::GET, path, "", "");
    asked
        .headers_mut()
        .insert("accept", accept.parse().unwrap());
    server.ask(asked).await
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_long_list_is_the_same_whole_compressed_and_in_protobuf() {
    let server = Server::start().await;
    for n in 0..150 {
        server.post(PODS, &pod(&format!("p{n:03}"))).await;
    }
    let plain = server.get(PODS).await;
    let list = plain.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 150);
    assert!(plain.bytes.len() > 130_000, "several pieces");
    let mut asked = request(Method::GET, PODS, "", "");
    asked
        .headers_mut()
        .insert("accept-encoding", "gzip".parse().unwrap());
    let packed = server.ask(asked).await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed.bytes[..])
        .read_to_end(&mut unpacked)
        .unwrap();
    assert_eq!(unpacked, plain.bytes);
    for _ in 0..2 {
        // The second time from what was kept of the first.
        let binary = accepting(&server, PODS, "application/vnd.kubernetes.protobuf").await;
        let whole = proto::encode(Schema::builtin(), &list).unwrap();
        assert_eq!(binary.bytes, whole);
    }
    let metadata = accepting(
        &server,
        PODS,
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
    )
    .await
    .json();
    assert_eq!(names(&metadata), names(&list));
    assert_eq!(metadata["kind"], "PartialObjectMetadataList");
    assert!(metadata["items"][7].get("spec").is_none());
    let table = accepting(
        &server,
        PODS,
        "application/json;as=Table;g=meta.k8s.io;v=v1",
    )
    .await
    .json();
    assert_eq!(table["rows"].as_array().unwrap().len(), 150);
    assert_eq!(table["rows"][3]["object"]["metadata"]["name"], "p003");
    let some = server
        .get(&format!("{PODS}?labelSelector=app%20in%20(p007,p077)"))
        .await
        .json();
    assert_eq!(names(&some), ["p007", "p077"]);
    let one = server
        .get(&format!("{PODS}?fieldSelector=metadata.name%3Dp01"))
        .await
        .json();
    assert!(names(&one).is_empty(), "a name is no prefix");
}

#[tokio::test]
async fn a_list_is_of_the_revision_that_is_asked_for() {
    let server = Server::start().await;
    server.post(MAPS, &config_map("a", "1")).await;
    let first = server.get(MAPS).await.json();
    let revision: u64 = first["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    server.post(MAPS, &config_map("b", "1")).await;
    let all = ["a", "b"];
    let cases: [(String, &[&str]); 7] = [
        (String::new(), &all),
        ("resourceVersion=0".to_owned(), &all),
        (format!("resourceVersion={revision}"), &all),
        (
            format!("resourceVersion={revision}&resourceVersionMatch=NotOlderThan"),
            &all,
        ),
        (
            "resourceVersion=0&resourceVersionMatch=NotOlderThan&limit=5".to_owned(),
            &all,
        ),
        (
            format!("resourceVersion={revision}&resourceVersionMatch=Exact"),
            &["a"],
        ),
        // As it always was.
        (format!("resourceVersion={revision}&limit=5"), &["a"]),
    ];
    for (query, want) in cases {
        let list = server.get(&format!("{MAPS}?{query}")).await.json();
        let have: Vec<_> = names(&list)
            .into_iter()
            .filter(|name| name.len() == 1)
            .collect();
        assert_eq!(have, want, "{query}");
    }
    let refused = [
        (
            "resourceVersionMatch=Exact",
            422,
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (
            "resourceVersion=1&resourceVersionMatch=Exact&continue=x",
            422,
            "resourceVersionMatch is forbidden when continue is provided",
        ),
        (
            "resourceVersion=0&resourceVersionMatch=Exact",
            422,
            "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
        ),
        (
            "resourceVersion=1&resourceVersionMatch=Maybe",
            422,
            "supported values",
        ),
        ("resourceVersion=x", 422, "Invalid value"),
        ("sendInitialEvents=true", 422, "forbidden for list"),
        (
            "watch=1&sendInitialEvents=true",
            422,
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        ("continue=nonsense", 400, "continue key is not valid"),
        (
            "continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6NSwic3RhcnQiOiJhXHUwMDAwIn0&resourceVersion=4",
            400,
            "specifying resource version is not allowed when using continue",
        ),
    ];
    for (query, code, text) in refused {
        let answer = server.get(&format!("{MAPS}?{query}")).await;
        assert_eq!(answer.code.as_u16(), code, "{query}");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(text), "{query}: {message}");
    }
    let store = server.api.store();
    store.compact(store.revision()).await.unwrap();
    let old = server
        .get(&format!(
            "{MAPS}?resourceVersion={revision}&resourceVersionMatch=Exact"
        ))
        .await;
    assert_eq!(old.code, StatusCode::GONE);
    assert_eq!(
        old.json()["message"],
        "The resourceVersion for the provided list is too old."
    );
}

#[tokio::test]
async fn what_is_yet_to_come_is_waited_for_and_then_refused() {
    let server = Server::start().await;
    let next = server.api.store().revision().0 + 1;
    let path = format!("{MAPS}?resourceVersion={next}&resourceVersionMatch=NotOlderThan");
    let value = config_map("a", "1");
    let write = async {
        tokio::task::yield_now().await;
        server.post(MAPS, &value).await
    };
    let (list, _) = tokio::join!(server.get(&path), write);
    assert!(names(&list.json()).contains(&"a".to_owned()));
    let begun = Instant::now();
    let never = server
        .get(&format!("{MAPS}/a?resourceVersion=999999"))
        .await;
    assert!(begun.elapsed() >= Duration::from_secs(3));
    let status = never.json();
    assert_eq!(
        (never.code.as_u16(), status["reason"].as_str()),
        (504, Some("Timeout"))
    );
    assert_eq!(
        status["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
    assert!(never.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn pages_of_a_large_list_tell_exactly_how_many_are_left() {
    let server = Server::start().await;
    for n in 0..30 {
        server
            .post(MAPS, &config_map(&format!("m{n:02}"), "1"))
            .await;
    }
    let path = "/api/v1/configmaps?limit=7";
    let mut page = server.get(path).await.json();
    let mut seen = page["items"].as_array().unwrap().len() as u64;
    let total = seen + page["metadata"]["remainingItemCount"].as_u64().unwrap();
    while let Some(token) = page["metadata"]["continue"].as_str() {
        server
            .post(MAPS, &config_map(&format!("x{seen}"), "1"))
            .await;
        page = server.get(&format!("{path}&continue={token}")).await.json();
        seen += page["items"].as_array().unwrap().len() as u64;
        let left = page["metadata"]["remainingItemCount"].as_u64();
        assert_eq!(left.unwrap_or(0), total - seen);
    }
    assert_eq!(seen, total);
    let selected = server
        .get(&format!("{path}&labelSelector=!nothing"))
        .await
        .json();
    assert!(selected["metadata"]["continue"].is_string());
    assert!(selected["metadata"].get("remainingItemCount").is_none());
}

#[tokio::test]
async fn a_watch_from_anywhere_says_when_it_has_told_all_there_was() {
    let server = Server::start().await;
    for n in 0..100 {
        server.post(PODS, &pod(&format!("p{n:03}"))).await;
    }
    for query in [
        "watch=1&allowWatchBookmarks=true",
        "watch=1&allowWatchBookmarks=true&resourceVersion=0",
    ] {
        let asked = request(Method::GET, &format!("{PODS}?{query}"), "", "");
        let mut lines = Lines::new(server.send(asked, User::admin()).await);
        for n in 0..100 {
            let event = lines.next().await.unwrap();
            assert_eq!(event["type"], "ADDED");
            assert_eq!(event["object"]["metadata"]["name"], format!("p{n:03}"));
        }
        let end = lines.next().await.unwrap();
        assert_eq!(end["type"], "BOOKMARK");
        assert_eq!(
            end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
            "true"
        );
        server.delete(&format!("{PODS}/p000")).await;
        let gone = lines.next().await.unwrap();
        assert_eq!(gone["type"], "DELETED");
        server.post(PODS, &pod("p000")).await;
    }
    let now = server.api.store().revision();
    let query = "watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan";
    let asked = request(Method::GET, &format!("{PODS}?{query}"), "", "");
    let mut lines = Lines::new(server.send(asked, User::admin()).await);
    server.post(PODS, &pod("new")).await;
    let event = lines.next().await.unwrap();
    assert_eq!(event["object"]["metadata"]["name"], "new");
    assert!(server.api.store().revision() > now);
    assert_ne!(now, Revision(0));
}

/// A server on a socket, without TLS, whose anonymous callers may do everything.
struct Open {
    server: Server,
    address: std::net::SocketAddr,
    shutdown: CancellationToken,
}

impl Open {
    async fn start(configure: impl FnOnce(&mut Options)) -> Self {
        let server = Server::start_with(configure).await;
        let binding = json!({
            "metadata": {"name": "anyone"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:anonymous"}],
        });
        let bound = server
            .post(
                "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
                &binding,
            )
            .await;
        assert_eq!(bound.code, StatusCode::CREATED);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let (api, stop) = (server.api.clone(), shutdown.clone());
        tokio::spawn(async move { api.serve(listener, None, stop).await });
        Self {
            server,
            address,
            shutdown,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a request's bytes and reads until the server closes.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // The server may answer, and close, before it has read everything.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let _ = tokio::time::timeout(Duration::from_secs(10), read).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Until the open access holds: roles are followed by a watch.
    async fn ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let ask = format!("GET {MAPS} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        while self.raw(ask.as_bytes()).await.starts_with("HTTP/1.1 403") {
            assert!(Instant::now() < deadline);
        }
    }
}

#[tokio::test]
async fn a_full_server_says_when_to_come_back_and_watches_do_not_fill_it() {
    let open = Open::start(|options| options.limits.reading = 0).await;
    open.ready().await;
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let full = open.raw(ask(MAPS).as_bytes()).await;
    assert!(full.starts_with("HTTP/1.1 429"), "{full}");
    assert!(full.to_lowercase().contains("retry-after: 1"), "{full}");
    assert!(full.contains("Too many requests, please try again later."));
    let watch = open
        .raw(ask(&format!("{MAPS}?watch=1&timeoutSeconds=1")).as_bytes())
        .await;
    assert!(watch.starts_with("HTTP/1.1 200"), "{watch}");
    let body = config_map("a", "1").to_string();
    let post = format!(
        "POST {MAPS} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let written = open.raw(post.as_bytes()).await;
    assert!(written.starts_with("HTTP/1.1 201"), "{written}");
    open.shutdown.cancel();
}

#[tokio::test]
async fn clients_that_send_too_much_or_nothing_are_sent_away() {
    let open = Open::start(|options| {
        options.limits.header_timeout = Duration::from_millis(300);
        options.limits.header_bytes = 16 * 1024;
        options.limits.body_bytes = 64 * 1024;
    })
    .await;
    open.ready().await;
    let large = format!(
        "GET {MAPS} HTTP/1.1\r\nhost: x\r\nx-large: {}\r\n\r\n",
        "x".repeat(40_000)
    );
    let answer = open.raw(large.as_bytes()).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    for unfinished in [
        &b""[..],
        b"GET /version HT",
        b"GET /version HTTP/1.1\r\nhost: x\r\n",
    ] {
        let mut stream = open.connect().await;
        stream.write_all(unfinished).await.unwrap();
        let mut answer = Vec::new();
        let ended =
            tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "the server waits for {unfinished:?}");
    }
    let post = |body: &str| {
        format!(
            "POST {MAPS} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let large = open
        .raw(post(&config_map("a", &"x".repeat(100_000)).to_string()).as_bytes())
        .await;
    assert!(large.starts_with("HTTP/1.1 413"), "{large}");
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let answer = open.raw(post(&deep).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    open.shutdown.cancel();
}

#[tokio::test]
async fn a_client_that_does_not_read_its_list_is_cut_off() {
    let open = Open::start(|options| {
        options.limits.stalled = Duration::from_millis(200);
    })
    .await;
    open.ready().await;
    for n in 0..150 {
        let value = config_map(&format!("m{n:03}"), &"x".repeat(200_000));
        let made = open.server.post(MAPS, &value).await;
        assert_eq!(made.code, StatusCode::CREATED);
    }
    let mut stalled = open.connect().await;
    let ask = format!("GET {MAPS} HTTP/1.1\r\nhost: x\r\n\r\n");
    stalled.write_all(ask.as_bytes()).await.unwrap();
    // It sends on now and then, so that it learns that nobody is there any more.
    let deadline = Instant::now() + Duration::from_secs(20);
    while stalled.write_all(b"G").await.is_ok() {
        assert!(Instant::now() < deadline, "it is still connected");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Who reads gets everything.
    let ask = format!("GET {MAPS} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let whole = open.raw(ask.as_bytes()).await;
    assert!(whole.len() > 150 * 200_000, "{} bytes", whole.len());
    open.shutdown.cancel();
}
