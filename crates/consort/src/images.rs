//! Work on a data directory's images: done by the server that runs on it, or else here.
//!
//! The image store belongs to one process at a time. A running server takes requests over a socket
//! in its data directory that only its owner can reach.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use consort_image::{ErrorKind, Hold, Image, Images, Options, Reference, Registries, User, Users};
use consort_machine::Resolved;
use consort_node::ImageUsers;
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::error::{Failure, Kind, Result};
use crate::server::{images_dir, runtime_dir};

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
    /// Get one image ready to be used: here, pulled if need be, and unpacked.
    Prepare {
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
    Prepared(Box<Resolved>),
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
    options.users = Arc::new(Everyone {
        pods: ImageUsers::new(runtime_dir(data_dir)),
        machines: crate::machines::machines_dir(data_dir),
    });
    options
}

/// Those who use the images of a data directory: its node's pods, and its machines.
struct Everyone {
    pods: ImageUsers,
    machines: PathBuf,
}

impl Users for Everyone {
    fn users(&self) -> std::io::Result<Vec<User>> {
        let mut all = self.pods.users()?;
        let machines = consort_machine::layers_in_use(&self.machines)?;
        all.extend(machines.into_iter().map(|(name, image, layers)| {
            User {
                name: format!("machine {name}"),
                // As the store writes names.
                image: image
                    .parse::<Reference>()
                    .map_or(image, |name| name.to_string()),
                layers,
            }
        }));
        Ok(all)
    }
}

/// Finds an image here, or pulls it, and unpacks it. What comes with it keeps it until it is dropped.
pub(crate) async fn prepare(
    images: &Images,
    name: &Reference,
) -> std::result::Result<(Resolved, Hold), consort_image::Error> {
    let image = match images.get(name).await? {
        Some(image) => image,
        None => images.pull(name, &[], &|_| {}).await?,
    };
    let hold = images.hold(&image);
    let layers = images.layers(&image).await?;
    let config = &image.config;
    let digest = image.index.unwrap_or(image.digest);
    let resolved = Resolved {
        digest: format!("{}@{digest}", name.name()),
        layers,
        entrypoint: config.entrypoint.clone(),
        cmd: config.cmd.clone(),
        env: config.env.clone(),
        user: config.user.clone(),
        working_dir: config.working_dir.clone(),
        stop_signal: config.stop_signal.clone().unwrap_or_default(),
    };
    Ok((resolved, hold))
}

async fn answer(images: &Images, request: Request) -> anyhow::Result<Answer> {
    match request {
        Request::Prepare { name } => {
            let name: Reference = name
                .parse()
                .with_context(|| format!("{name:?} is not an image's name"))?;
            let (resolved, _) = prepare(images, &name).await?;
            Ok(Answer::Prepared(Box::new(resolved)))
        }
        request => Ok(Answer::Done(perform(images, request).await?)),
    }
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
        // Not told as a list; see `answer`.
        Request::Prepare { name } => {
            drop(prepare(images, &parse(&name)?).await?);
            Ok(Vec::new())
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

/// Whether somebody answers requests there.
pub(crate) fn is_served(data_dir: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(socket(data_dir)).is_ok()
}

/// Opens the socket requests come in by. The caller holds the data directory's lock.
pub(crate) fn listen(data_dir: &Path) -> std::io::Result<UnixListener> {
    admin::listen(&socket(data_dir))
}

/// Answers requests until `shutdown`.
pub(crate) async fn serve(listener: UnixListener, images: Images, shutdown: CancellationToken) {
    let respond = move |request: Request| {
        let images = images.clone();
        async move {
            match answer(&images, request).await {
                Ok(answer) => answer,
                Err(error) => Answer::Failed {
                    message: format!("{error:#}"),
                    hint: hint(&error),
                },
            }
        }
    };
    admin::serve(listener, respond, shutdown).await;
}

/// Asks the server that runs on the data directory.
pub(crate) async fn ask(data_dir: &Path, request: &Request) -> Result<Vec<Entry>> {
    match asked(data_dir, request).await? {
        Answer::Done(entries) => Ok(entries),
        _ => Err(Failure::new(
            Kind::Failed,
            "the server gave another answer than was asked for",
        )),
    }
}

/// Asks the server that runs on the data directory for an image ([`Request::Prepare`]).
pub(crate) async fn resolve_by_server(data_dir: &Path, request: &Request) -> Result<Resolved> {
    match asked(data_dir, request).await? {
        Answer::Prepared(resolved) => Ok(*resolved),
        _ => Err(Failure::new(
            Kind::Failed,
            "the server gave another answer than was asked for",
        )),
    }
}

async fn asked(data_dir: &Path, request: &Request) -> Result<Answer> {
    match admin::ask(&socket(data_dir), request).await? {
        Answer::Failed { message, hint } => {
            let failure = Failure::new(Kind::Failed, message);
            Err(hint.into_iter().fold(failure, Failure::hint))
        }
        answer => Ok(answer),
    }
}
