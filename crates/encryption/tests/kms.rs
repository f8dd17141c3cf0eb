//! A KMS version 2 plug-in of our own, and a store whose secrets it guards.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use consort_encryption::{Encryption, LocalKeys};
use consort_object::Draft;
use consort_store::{Expect, Key, Options, Store, Transform, Write};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use serde_json::json;

/// What the plug-in does and has seen.
#[derive(Default)]
struct Behaviour {
    key_id: String,
    unwell: bool,
    decrypts: usize,
    encrypts: usize,
}

/// A plug-in on a thread of its own; it ends with the test's process.
struct Plugin {
    behaviour: Arc<Mutex<Behaviour>>,
    _stop: tokio::sync::oneshot::Sender<()>,
}

fn put(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag << 3 | 2);
    let mut len = bytes.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(bytes);
}

/// Fields of a message that has nothing but short texts.
fn fields(mut rest: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut fields = Vec::new();
    while let [key, len, tail @ ..] = rest {
        let (value, left) = tail.split_at(usize::from(*len));
        fields.push((key >> 3, value.to_vec()));
        rest = left;
    }
    fields
}

fn field(fields: &[(u8, Vec<u8>)], tag: u8) -> Vec<u8> {
    let found = fields.iter().find(|(have, _)| *have == tag);
    found.map(|(_, value)| value.clone()).unwrap_or_default()
}

/// "Encrypts" by a key that follows from the ID: enough to show that the wrong one does not do.
fn cipher(key_id: &[u8], bytes: &[u8]) -> Vec<u8> {
    let key = key_id
        .iter()
        .fold(0x5a, |key: u8, byte| key.rotate_left(3) ^ byte);
    bytes.iter().map(|byte| byte ^ key).collect()
}

fn answer(method: &str, message: &[u8], behaviour: &Mutex<Behaviour>) -> Result<Vec<u8>, String> {
    let mut behaviour = behaviour.lock();
    let given = fields(message);
    let mut out = Vec::new();
    match method {
        "Status" => {
            put(&mut out, 1, b"v2");
            put(
                &mut out,
                2,
                if behaviour.unwell { b"broken" } else { b"ok" },
            );
            put(&mut out, 3, behaviour.key_id.as_bytes());
        }
        "Encrypt" => {
            behaviour.encrypts += 1;
            let key_id = behaviour.key_id.clone();
            put(&mut out, 1, &cipher(key_id.as_bytes(), &field(&given, 1)));
            put(&mut out, 2, key_id.as_bytes());
            let mut pair = Vec::new();
            put(&mut pair, 1, b"made.example.com");
            put(&mut pair, 2, b"here");
            put(&mut out, 3, &pair);
        }
        "Decrypt" => {
            behaviour.decrypts += 1;
            if field(&given, 4).is_empty() {
                return Err("the annotations are missing".to_owned());
            }
            put(&mut out, 1, &cipher(&field(&given, 3), &field(&given, 1)));
        }
        other => return Err(format!("no method {other}")),
    }
    Ok(out)
}

impl Plugin {
    fn start(socket: &Path, key_id: &str) -> Self {
        let behaviour = Arc::new(Mutex::new(Behaviour {
            key_id: key_id.to_owned(),
            ..Behaviour::default()
        }));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (socket, shared) = (socket.to_owned(), Arc::clone(&behaviour));
        let _ = std::fs::remove_file(&socket);
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                tokio::select! {
                    () = serve(listener, shared) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            behaviour,
            _stop: stop,
        }
    }
}

async fn serve(listener: std::os::unix::net::UnixListener, behaviour: Arc<Mutex<Behaviour>>) {
    let listener = tokio::net::UnixListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let behaviour = Arc::clone(&behaviour);
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let behaviour = Arc::clone(&behaviour);
            async move {
                let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let (message, trailers) = match answer(&method, &body[5..], &behaviour) {
                    Ok(message) => (
                        message,
                        HeaderMap::from_iter([(
                            "grpc-status".parse().unwrap(),
                            HeaderValue::from_static("0"),
                        )]),
                    ),
                    Err(why) => (
                        Vec::new(),
                        HeaderMap::from_iter([
                            (
                                "grpc-status".parse().unwrap(),
                                HeaderValue::from_static("2"),
                            ),
                            (
                                "grpc-message".parse().unwrap(),
                                HeaderValue::from_str(&why).unwrap(),
                            ),
                        ]),
                    ),
                };
                let mut framed = BytesMut::new();
                framed.put_u8(0);
                framed.put_u32(message.len() as u32);
                framed.put_slice(&message);
                let frames = [
                    Ok::<_, Infallible>(Frame::data(framed.freeze())),
                    Ok(Frame::trailers(trailers)),
                ];
                Ok::<_, Infallible>(Response::new(StreamBody::new(futures::stream::iter(
                    frames,
                ))))
            }
        });
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = connection
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }
}

fn encryption(dir: &Path, socket: &Path) -> Encryption {
    let config = dir.join("config.yaml");
    let text = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n  - kms: {{apiVersion: v2, name: ours, endpoint: 'unix://{}', timeout: 2s}}\n  - identity: {{}}\n",
        socket.display()
    );
    std::fs::write(&config, text).unwrap();
    let keys = LocalKeys::open(&dir.join("keys.json")).unwrap();
    Encryption::configured(&config, keys).unwrap()
}

fn options(dir: &Path, encryption: &Encryption) -> Options {
    let mut options = Options::new(dir.join("store"));
    options.transform = Some(Arc::new(encryption.clone()));
    options.cache_bytes = 0;
    options
}

fn secret(name: &str) -> Key {
    Key::new("", "secrets", Some("shop"), name).unwrap()
}

async fn write(store: &Store, name: &str) -> Result<(), consort_store::Error> {
    let value = json!({"metadata": {"name": name}, "data": {"password": "aHVzaC1odXNo"}});
    let put = Write::Put {
        key: secret(name),
        draft: Draft::from_value(&value, vec![]).unwrap(),
        expect: Expect::Any,
    };
    store.commit(vec![put]).await.map(drop)
}

fn on_disk(dir: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(dir.join("store")).unwrap();
    let paths = files.map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = paths.collect();
    paths.sort();
    paths
        .iter()
        .flat_map(|path| std::fs::read(path).unwrap())
        .collect()
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plug_in_guards_secrets_and_its_key_can_change() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("kms.sock");
    let plugin = Plugin::start(&socket, "first");
    let sealing = encryption(dir.path(), &socket);
    assert_eq!(sealing.health().len(), 1);
    assert_eq!(sealing.health()[0].failure, None);
    let store = Store::open(options(dir.path(), &sealing)).unwrap();
    for n in 0..20 {
        write(&store, &format!("s{n}")).await.unwrap();
    }
    // One seed for all of them, and it is known here: nothing was asked of the plug-in since.
    let asked = |behaviour: &Behaviour| (behaviour.encrypts, behaviour.decrypts);
    assert_eq!(asked(&plugin.behaviour.lock()), (1, 0));
    store.close().await;
    let raw = on_disk(dir.path());
    assert!(!contains(&raw, b"aHVzaC1odXNo") && !contains(&raw, b"password"));
    assert!(contains(&raw, b"k8s:enc:kms:v2:ours:"));

    // Another process: the seed is decrypted once.
    let sealing = encryption(dir.path(), &socket);
    let store = Store::open(options(dir.path(), &sealing)).unwrap();
    for n in 0..20 {
        let object = store.get(&secret(&format!("s{n}"))).unwrap().unwrap();
        assert!(contains(&object.json, b"aHVzaC1odXNo"));
    }
    assert_eq!(plugin.behaviour.lock().decrypts, 1);
    let old = sealing.seal(&secret("x"), b"hush").unwrap().unwrap();
    store.close().await;

    plugin.behaviour.lock().key_id = "second".to_owned();
    let sealing = encryption(dir.path(), &socket);
    assert!(sealing.stale(&secret("x"), Some(&old)));
    assert_eq!(sealing.open(&secret("x"), &old).unwrap(), b"hush");
    assert!(sealing.open(&secret("y"), &old).is_err());
    let store = Store::open(options(dir.path(), &sealing)).unwrap();
    assert_eq!(store.reseal().await.unwrap(), 20);
    assert_eq!(store.reseal().await.unwrap(), 0);
    store.shrink().await.unwrap();
    assert!(!contains(&on_disk(dir.path()), b"first"));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_plug_in_secrets_are_neither_written_nor_read_and_others_are() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("kms.sock");
    let begun = Instant::now();
    let sealing = encryption(dir.path(), &socket);
    let store = Store::open(options(dir.path(), &sealing)).unwrap();
    let refused = write(&store, "s").await.unwrap_err();
    assert!(refused.to_string().contains("connecting to"), "{refused}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    let failure = sealing.health()[0].failure.clone().unwrap();
    assert!(failure.contains("connecting to"), "{failure}");
    let value = json!({"metadata": {"name": "open"}});
    let put = Write::Put {
        key: Key::new("", "configmaps", Some("shop"), "open").unwrap(),
        draft: Draft::from_value(&value, vec![]).unwrap(),
        expect: Expect::Any,
    };
    store.commit(vec![put]).await.unwrap();
    store.close().await;

    let plugin = Plugin::start(&socket, "first");
    plugin.behaviour.lock().unwell = true;
    let sealing = encryption(dir.path(), &socket);
    let failure = sealing.health()[0].failure.clone().unwrap();
    assert!(failure.contains("broken"), "{failure}");
    assert!(sealing.seal(&secret("s"), b"x").is_err());
}
