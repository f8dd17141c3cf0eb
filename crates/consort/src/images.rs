//! Work on a data directory's images: done by the server that runs on it, or else here.
//!
//! The image store belongs to one process at a time. A running server takes requests over a socket
//! in its data directory that only its owner can reach.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use consort_image::{ErrorKind, Image, Images, Options, Reference, Registries};
use consort_node::ImageUsers;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::error::{Failure, Kind, Result, chain};
use crate::server::{images_dir, runtime_dir};

/// A request is a few names; an answer lists the images of one machine.
const LARGEST: usize = 64 << 20;

/// What is to be done.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Request {
    /// Take images in from a path that the server can read.
    Import {
        /// An archive, or a layout's directory.
        path: PathBuf,
        /// The name for an image that has none of its own.
        name: Option<String>,
    },
    /// Pull one image.
    Pull {
        /// Its name.
        name: String,
    },
    /// List all images.
    List,
    /// Remove names, and what only they needed.
    Remove {
        /// The names.
        names: Vec<String>,
        /// Even names of images that containers use; those keep their layers.
        force: bool,
    },
}

/// An image as it is listed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Its name.
    pub(crate) name: String,
    /// The digest of its manifest.
    pub(crate) digest: String,
    /// The size of what it is made of, in bytes.
    pub(crate) size: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Done(Vec<Entry>),
    Failed {
        message: String,
        hint: Option<String>,
    },
}

/// What the one who asked can do about it.
pub(crate) fn hint(error: &anyhow::Error) -> Option<String> {
    let error = error.downcast_ref::<consort_image::Error>()?;
    (error.kind() == ErrorKind::InUse).then(|| {
        "delete these pods first, or take only the name away with --force: the layers stay until \
         nothing uses them"
            .to_owned()
    })
}

/// The image store of a data directory. It asks the node's runtime who uses its images.
pub(crate) fn options(data_dir: &Path, registries: Registries) -> Options {
    let mut options = Options::new(images_dir(data_dir));
    options.registries = registries;
    options.builtin = vec![Arc::new(crate::toolbox::Image::new())];
    options.users = Arc::new(ImageUsers::new(runtime_dir(data_dir)));
    options
}

fn entries(image: &Image) -> Vec<Entry> {
    let entry = |name: &Reference| Entry {
        name: name.to_string(),
        digest: image.digest.to_string(),
        size: image.size,
    };
    image.references.iter().map(entry).collect()
}

/// Does what is asked; gives the images it is about.
pub(crate) async fn perform(images: &Images, request: Request) -> anyhow::Result<Vec<Entry>> {
    let parse = |name: &str| -> anyhow::Result<Reference> {
        name.parse()
            .with_context(|| format!("{name:?} is not an image's name"))
    };
    match request {
        Request::Import { path, name } => {
            let name = name.as_deref().map(parse).transpose()?;
            let mut imported = Vec::new();
            for name in images.import(&path, name.as_ref()).await? {
                if let Some(image) = images.get(&name).await? {
                    imported.push(Entry {
                        name: name.to_string(),
                        digest: image.digest.to_string(),
                        size: image.size,
                    });
                }
            }
            Ok(imported)
        }
        Request::Pull { name } => {
            let name = parse(&name)?;
            let image = images.pull(&name, &[], &|_| {}).await?;
            Ok(vec![Entry {
                name: name.to_string(),
                digest: image.digest.to_string(),
                size: image.size,
            }])
        }
        Request::List => Ok(images.list().await?.iter().flat_map(entries).collect()),
        Request::Remove { names, force } => {
            let names = names
                .iter()
                .map(|name| parse(name))
                .collect::<anyhow::Result<Vec<_>>>()?;
            let mut removed = Vec::new();
            for name in names {
                images.remove(&name, force).await?;
                removed.push(Entry {
                    name: name.to_string(),
                    digest: String::new(),
                    size: 0,
                });
            }
            Ok(removed)
        }
    }
}

fn socket(data_dir: &Path) -> PathBuf {
    data_dir.join("images.sock")
}

/// Opens the socket requests come in by. One that an earlier run left is replaced: the caller
/// holds the data directory's lock.
pub(crate) fn listen(data_dir: &Path) -> std::io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = socket(data_dir);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // The data directory itself is closed to others.
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers requests until `shutdown`.
pub(crate) async fn serve(listener: UnixListener, images: Images, shutdown: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "accepting on the image socket");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let images = images.clone();
        connections.spawn(async move {
            let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
                let images = images.clone();
                async move { Ok::<_, std::convert::Infallible>(answer(&images, request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            if let Err(error) = connection
                .serve_connection(TokioIo::new(stream), service)
                .await
            {
                tracing::debug!(%error, "an image request broke off");
            }
        });
    }
    connections.shutdown().await;
}

async fn answer(images: &Images, request: http::Request<Incoming>) -> http::Response<Full<Bytes>> {
    let done = async {
        let body = Limited::new(request.into_body(), LARGEST).collect().await;
        let body = body
            .map_err(|error| anyhow::anyhow!("reading the request: {error}"))?
            .to_bytes();
        let request = serde_json::from_slice(&body).context("reading the request")?;
        perform(images, request).await
    };
    let answer = match done.await {
        Ok(entries) => Answer::Done(entries),
        Err(error) => Answer::Failed {
            message: format!("{error:#}"),
            hint: hint(&error),
        },
    };
    let body = serde_json::to_vec(&answer).unwrap_or_default();
    http::Response::new(Full::new(body.into()))
}

/// Asks the server that runs on the data directory.
pub(crate) async fn ask(data_dir: &Path, request: &Request) -> Result<Vec<Entry>> {
    let path = socket(data_dir);
    let unreachable = |error: &dyn std::error::Error| {
        Failure::new(
            Kind::Unreachable,
            format!("asking the server at {}: {}", path.display(), chain(error)),
        )
    };
    let stream = UnixStream::connect(&path)
        .await
        .map_err(|e| unreachable(&e))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| unreachable(&e))?;
    let body = serde_json::to_vec(request).map_err(anyhow::Error::from)?;
    let request = http::Request::post("/")
        .header(http::header::HOST, "consort")
        .body(Full::new(Bytes::from(body)))
        .map_err(anyhow::Error::from)?;
    let exchange = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|e| unreachable(&e))?;
        let body = Limited::new(response.into_body(), LARGEST).collect().await;
        let body = body
            .map_err(|error| anyhow::anyhow!("reading the answer: {error}"))?
            .to_bytes();
        match serde_json::from_slice(&body).map_err(anyhow::Error::from)? {
            Answer::Done(entries) => Ok(entries),
            Answer::Failed { message, hint } => {
                let failure = Failure::new(Kind::Failed, message);
                Err(hint.into_iter().fold(failure, Failure::hint))
            }
        }
    };
    tokio::select! {
        result = exchange => result,
        _ = connection => Err(Failure::new(Kind::Unreachable, "the server closed the connection")),
    }
}
