//! Backends from outside: what is written is read again, and a lock is held by one only.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use consort_backend::{
    Backend, DEFAULT_WORKSPACE, Error, Kind, LocalPaths, LockInfo, Settings, acquire, open,
};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use serde_json::json;
use tempfile::TempDir;

fn local(directory: &TempDir, paths: &LocalPaths) -> Box<dyn Backend> {
    open(&Settings::local(), directory.path(), paths).unwrap()
}

fn info() -> LockInfo {
    LockInfo::new("OperationTypeApply", "1.11.4")
}

#[tokio::test]
async fn a_local_state_has_one_backup_of_what_was_there_before() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| std::fs::read_to_string(directory.path().join(name)).ok();
    let first = local(&directory, &LocalPaths::default())
        .snapshots(DEFAULT_WORKSPACE)
        .unwrap();
    assert_eq!(first.read().await.unwrap(), None);
    first.write(b"one".to_vec()).await.unwrap();
    assert_eq!(file("terraform.tfstate.backup"), None);
    let second = local(&directory, &LocalPaths::default())
        .snapshots(DEFAULT_WORKSPACE)
        .unwrap();
    second.write(b"two".to_vec()).await.unwrap();
    second.write(b"three".to_vec()).await.unwrap();
    assert_eq!(second.read().await.unwrap().unwrap(), b"three");
    assert_eq!(file("terraform.tfstate").unwrap(), "three");
    assert_eq!(file("terraform.tfstate.backup").unwrap(), "one");
}

#[tokio::test]
async fn a_local_lock_is_held_by_one_also_after_the_file_was_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let one = local(&directory, &LocalPaths::default());
    let one = one.snapshots(DEFAULT_WORKSPACE).unwrap();
    let other = local(&directory, &LocalPaths::default());
    let other = other.snapshots(DEFAULT_WORKSPACE).unwrap();
    let held = acquire(&*one, &info(), Duration::ZERO).await.unwrap();
    one.write(b"new".to_vec()).await.unwrap();
    let refused = acquire(&*other, &info(), Duration::ZERO).await.unwrap_err();
    let Error::Held {
        holder: Some(holder),
        ..
    } = refused
    else {
        panic!("{refused}");
    };
    assert_eq!(holder.id, held.id());
    assert_eq!(holder.path, "terraform.tfstate");
    held.release(&*one).await.unwrap();
    let held = acquire(&*other, &info(), Duration::ZERO).await.unwrap();
    held.release(&*other).await.unwrap();
    let left: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["terraform.tfstate"]);
}

#[tokio::test]
async fn a_lock_that_is_given_up_in_time_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let one = local(&directory, &LocalPaths::default());
    let one = one.snapshots(DEFAULT_WORKSPACE).unwrap();
    let other = local(&directory, &LocalPaths::default());
    let other = other.snapshots(DEFAULT_WORKSPACE).unwrap();
    let held = acquire(&*one, &info(), Duration::ZERO).await.unwrap();
    let waiting =
        tokio::spawn(async move { acquire(&*other, &info(), Duration::from_secs(60)).await });
    held.release(&*one).await.unwrap();
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test]
async fn local_workspaces_are_directories() {
    let directory = tempfile::tempdir().unwrap();
    let backend = local(&directory, &LocalPaths::default());
    backend.create("b").await.unwrap();
    backend.create("a").await.unwrap();
    backend
        .snapshots("a")
        .unwrap()
        .write(b"x".to_vec())
        .await
        .unwrap();
    assert_eq!(backend.workspaces().await.unwrap(), ["default", "a", "b"]);
    assert!(
        directory
            .path()
            .join("terraform.tfstate.d/a/terraform.tfstate")
            .exists()
    );
    backend.delete("a").await.unwrap();
    assert_eq!(backend.workspaces().await.unwrap(), ["default", "b"]);
    assert!(matches!(
        backend.delete(DEFAULT_WORKSPACE).await,
        Err(Error::DefaultWorkspace)
    ));
}

/// What a server of the protocol keeps.
#[derive(Default)]
struct Kept {
    state: Option<Bytes>,
    lock: Option<LockInfo>,
    /// Answers of 503 still to give.
    busy: usize,
    ids: Vec<Option<String>>,
}

async fn answer(kept: Arc<Mutex<Kept>>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut kept = kept.lock();
    let plain = |status: u16, body: Bytes| {
        Response::builder()
            .status(status)
            .body(Full::new(body))
            .unwrap()
    };
    if kept.busy > 0 {
        kept.busy -= 1;
        return plain(503, Bytes::new());
    }
    match parts.method.as_str() {
        "GET" => match &kept.state {
            Some(state) => plain(200, state.clone()),
            None => plain(404, Bytes::new()),
        },
        "POST" => {
            assert!(parts.headers.contains_key("content-md5"));
            kept.ids.push(parts.uri.query().map(str::to_owned));
            kept.state = Some(body);
            plain(200, Bytes::new())
        }
        "LOCK" => match &kept.lock {
            Some(held) => plain(423, serde_json::to_vec(held).unwrap().into()),
            None => {
                kept.lock = Some(serde_json::from_slice(&body).unwrap());
                plain(200, Bytes::new())
            }
        },
        "UNLOCK" => {
            let asked: LockInfo = serde_json::from_slice(&body).unwrap();
            assert_eq!(kept.lock.take().unwrap().id, asked.id);
            plain(200, Bytes::new())
        }
        _ => plain(405, Bytes::new()),
    }
}

async fn serve(kept: Arc<Mutex<Kept>>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let kept = Arc::clone(&kept);
            tokio::spawn(async move {
                let service = hyper::service::service_fn(move |request| {
                    let kept = Arc::clone(&kept);
                    async move { Ok::<_, Infallible>(answer(kept, request).await) }
                });
                let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

#[tokio::test]
async fn http_keeps_state_and_locks_as_terraform_does() {
    let kept = Arc::new(Mutex::new(Kept {
        busy: 1,
        ..Kept::default()
    }));
    let address = format!("http://{}/state", serve(Arc::clone(&kept)).await);
    let given = json!({
        "address": address, "lock_address": address, "unlock_address": address,
        "retry_wait_min": 0,
    });
    let settings = Settings::new(Kind::Http, given.as_object().unwrap(), |_| None).unwrap();
    let backend = open(&settings, ".".as_ref(), &LocalPaths::default()).unwrap();
    let one = backend.snapshots(DEFAULT_WORKSPACE).unwrap();
    let other = backend.snapshots(DEFAULT_WORKSPACE).unwrap();
    // The first answer is a 503, which is tried again.
    assert_eq!(one.read().await.unwrap(), None);
    let held = acquire(&*one, &info(), Duration::ZERO).await.unwrap();
    let refused = acquire(&*other, &info(), Duration::ZERO).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!("HTTP remote state already locked: ID={}", held.id())
    );
    one.write(b"{}".to_vec()).await.unwrap();
    assert_eq!(one.read().await.unwrap().unwrap(), b"{}");
    assert_eq!(kept.lock().ids, [Some(format!("ID={}", held.id()))]);
    let id = held.id().to_owned();
    // As `force-unlock` does, from a process that never took the lock.
    other.unlock(&id).await.unwrap();
    assert!(kept.lock().lock.is_none());
    assert!(matches!(
        backend.workspaces().await,
        Err(Error::OneWorkspace)
    ));
}
