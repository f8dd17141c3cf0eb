//! Pulling: from a name to blobs in the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::OwnedMutexGuard;
use tokio::sync::mpsc;

use crate::blobs::Partial;
use crate::config::ConfigFile;
use crate::credential::fitting;
use crate::images::{Inner, blocking};
use crate::manifest::{self, Descriptor, Document, Manifest};
use crate::names::Named;
use crate::registry::{Session, is_passing, pause};
use crate::{Credential, Digest, Error, Image, Progress, Reference};

/// Tries of one blob that bring nothing new before it is given up.
const TRIES: u32 = 4;

type Report<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// Pulls from the first of mirrors and registry that has the image.
pub(crate) async fn pull(
    inner: &Arc<Inner>,
    image: &Reference,
    given: &[Credential],
    report: Report<'_>,
) -> Result<Image, Error> {
    if let Some(image) = already_here(inner, image).await? {
        return Ok(image);
    }
    report(Progress::default());
    let registries = &inner.options.registries;
    let mut last = None;
    for endpoint in inner.hosts.endpoints(image, registries) {
        let result = match endpoint {
            Ok(endpoint) => {
                let (host, repository) = (endpoint.host(), endpoint.repository());
                let credentials = fitting(host, repository, given, &registries.credentials);
                let session = Session::new(&endpoint, image, credentials);
                let result = pull_from(inner, &session, image, report).await;
                if let Err(error) = &result
                    && endpoint.is_mirror()
                {
                    tracing::warn!(%image, mirror = endpoint.host(), error = %error.message(), "mirror failed");
                }
                result
            }
            Err(error) => Err(error),
        };
        match result {
            Ok(image) => return Ok(image),
            // The last is the registry itself, whose word counts.
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| Error::NotFound {
        image: image.to_string(),
        reason: "there is no registry to ask".into(),
    }))
}

/// Content named by digest cannot have changed.
async fn already_here(inner: &Arc<Inner>, image: &Reference) -> Result<Option<Image>, Error> {
    if image.digest().is_none() {
        return Ok(None);
    }
    let image = image.clone();
    blocking(inner, move |inner| {
        let named = inner.names.lock().find(&image).cloned();
        let Some(named) = named else { return Ok(None) };
        let found = inner.describe(&named)?;
        if found.is_some() {
            inner.names.lock().set(image, named.clone())?;
        }
        // Once more, for the name it may just have got.
        found.map_or(Ok(None), |_| inner.describe(&named))
    })
    .await
}

struct Resolved {
    bytes: Vec<u8>,
    digest: Digest,
    manifest: Manifest,
    index: Option<Digest>,
}

async fn pull_from(
    inner: &Arc<Inner>,
    session: &Session<'_>,
    image: &Reference,
    report: Report<'_>,
) -> Result<Image, Error> {
    let what = image.to_string();
    let limits = &inner.options.limits;
    let resolved = resolve(inner, session, image, &what).await?;
    let Resolved {
        bytes,
        digest,
        manifest,
        index,
    } = resolved;
    manifest.check(&what, limits)?;
    let parts = manifest.layers.iter().chain([&manifest.config]);
    let _pinned = inner
        .pins
        .hold(parts.map(|part| part.digest).chain([digest]));
    let tally = Tally::new(&manifest, report);
    // The configuration first: an image for another machine is refused before its layers come.
    fetch(inner, session, &manifest.config, None).await?;
    let (config, limit) = (manifest.config.digest, limits.document_bytes);
    let config = blocking(inner, move |inner| inner.blobs.document(config, limit)).await?;
    ConfigFile::parse(&what, &config.unwrap_or_default(), &manifest)?;
    // Collected: a closure over references that lives across an await keeps the future from being `Send`.
    let layers: Vec<_> = manifest
        .layers
        .iter()
        .map(|layer| {
            let tally = &tally;
            async move {
                fetch(inner, session, layer, Some(tally)).await?;
                tally.layer_done();
                Ok::<_, Error>(())
            }
        })
        .collect();
    futures::stream::iter(layers)
        .buffer_unordered(limits.parallel.max(1))
        .try_collect::<()>()
        .await?;
    let media_type = manifest
        .media_type
        .unwrap_or_else(|| manifest::OCI_MANIFEST.to_owned());
    let named = Named {
        manifest: digest,
        media_type,
        size: bytes.len() as u64,
        index,
    };
    let (image, missing) = (image.clone(), what.clone());
    let found = blocking(inner, move |inner| {
        inner.blobs.put(&bytes)?;
        inner.names.lock().set(image, named.clone())?;
        inner.describe(&named)
    })
    .await?;
    found.ok_or_else(|| Error::malformed(missing, "a part of it vanished while it was pulled"))
}

/// Finds the manifest for this machine.
async fn resolve(
    inner: &Arc<Inner>,
    session: &Session<'_>,
    image: &Reference,
    what: &str,
) -> Result<Resolved, Error> {
    let limit = inner.options.limits.document_bytes;
    let name = match image.digest() {
        Some(digest) => digest.to_string(),
        None => image.tag().unwrap_or("latest").to_owned(),
    };
    let bytes = session.manifest(&name, limit).await?;
    let digest = Digest::of(&bytes);
    check(what, image.digest().unwrap_or(digest), digest)?;
    let index = match Document::parse(what, &bytes)? {
        Document::Manifest(manifest) => {
            return Ok(Resolved {
                bytes,
                digest,
                manifest,
                index: None,
            });
        }
        Document::Index(index) => index,
    };
    let chosen = index.select(what)?.digest;
    let stored = blocking(inner, move |inner| inner.blobs.document(chosen, limit)).await?;
    let bytes = match stored {
        Some(bytes) => bytes,
        None => session.manifest(&chosen.to_string(), limit).await?,
    };
    check(what, chosen, Digest::of(&bytes))?;
    match Document::parse(what, &bytes)? {
        Document::Manifest(manifest) => Ok(Resolved {
            bytes,
            digest: chosen,
            manifest,
            index: Some(digest),
        }),
        Document::Index(_) => Err(Error::malformed(what, "its index leads to another index")),
    }
}

fn check(what: &str, expected: Digest, actual: Digest) -> Result<(), Error> {
    if expected == actual {
        return Ok(());
    }
    Err(Error::DigestMismatch {
        what: format!("the manifest of {what}"),
        expected,
        actual,
    })
}

/// Brings one blob, unless it is here. Two pulls that need the same one transfer it once.
async fn fetch(
    inner: &Arc<Inner>,
    session: &Session<'_>,
    blob: &Descriptor,
    tally: Option<&Tally<'_>>,
) -> Result<(), Error> {
    let mut only = inner.transfers.lock(blob.digest).await;
    if inner.blobs.has(blob.digest) {
        if let Some(tally) = tally {
            tally.arrived(blob.size);
        }
        return Ok(());
    }
    let Ok(_slot) = inner.slots.acquire().await else {
        return Err(session.unreachable("the store is closing".into()));
    };
    let mut counted = 0;
    let mut attempt = 0;
    loop {
        let (digest, size) = (blob.digest, blob.size);
        let partial = blocking(inner, move |inner| inner.blobs.resume(digest, size)).await?;
        let before = partial.have();
        let mut transfer = Transfer {
            counted: &mut counted,
            tally,
        };
        let ended = transfer.run(session, blob, partial, only).await?;
        only = ended.only;
        let error = match ended.result {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        attempt = if ended.have > before { 1 } else { attempt + 1 };
        if !is_passing(&error) || attempt >= TRIES {
            return Err(error);
        }
        tracing::debug!(blob = %blob.digest, error = %error.message(), "trying again");
        tokio::time::sleep(pause(attempt)).await;
    }
}

/// One try to bring a blob, or what is missing of it.
struct Transfer<'a> {
    /// Bytes that the tally knows of.
    counted: &'a mut u64,
    tally: Option<&'a Tally<'a>>,
}

/// Keeps others off the partial file for as long as something writes to it.
type Only = OwnedMutexGuard<()>;

/// How a try ended.
struct Ended {
    result: Result<(), Error>,
    /// Bytes of the blob that are here now.
    have: u64,
    only: Only,
}

impl Transfer<'_> {
    /// The outer error is one after which there is no other try.
    async fn run(
        &mut self,
        session: &Session<'_>,
        blob: &Descriptor,
        mut partial: Partial,
        only: Only,
    ) -> Result<Ended, Error> {
        let mut stream = None;
        if !partial.is_complete() {
            match session.blob(blob.digest, partial.have()).await {
                Ok(opened) => stream = Some(opened),
                Err(error) => {
                    let have = partial.have();
                    let mut result = Err(error);
                    if let Err(Error::Registry { status: 416, .. }) = result
                        && have > 0
                    {
                        partial.restart()?;
                        let reason = "it refused to continue a transfer";
                        result = Err(session.unreachable(reason.into()));
                    }
                    return Ok(Ended { result, have, only });
                }
            }
        }
        if stream.as_ref().is_some_and(|stream| !stream.partial) {
            partial.restart()?;
        }
        let mut here = partial.have();
        self.count(here);
        let (pieces, from) = mpsc::channel::<Bytes>(16);
        let writer = tokio::task::spawn_blocking(move || write(partial, from, only));
        let mut broken = "it ended the transfer early".to_owned();
        if let Some(stream) = &mut stream {
            loop {
                match stream.next().await {
                    Ok(Some(piece)) => {
                        here += piece.len() as u64;
                        if pieces.send(piece).await.is_err() {
                            break;
                        }
                        self.count(here);
                    }
                    Ok(None) => break,
                    Err(reason) => {
                        broken = reason;
                        break;
                    }
                }
            }
        }
        drop(pieces);
        match writer.await {
            Ok((written, have, only)) => {
                let result = match written {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(session.unreachable(broken)),
                    Err(error) => Err(error),
                };
                Ok(Ended { result, have, only })
            }
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is going down before the writer began.
                Err(error) => Err(Error::malformed("the image store", error)),
            },
        }
    }

    fn count(&mut self, have: u64) {
        if let Some(tally) = self.tally
            && have > *self.counted
        {
            tally.arrived(have - *self.counted);
            *self.counted = have;
        }
    }
}

/// Writes and hashes what comes. Gives whether the blob is complete, and how much there is.
fn write(
    mut partial: Partial,
    mut from: mpsc::Receiver<Bytes>,
    only: Only,
) -> (Result<bool, Error>, u64, Only) {
    while let Some(piece) = from.blocking_recv() {
        if let Err(error) = partial.write(&piece) {
            return (Err(error), partial.have(), only);
        }
    }
    let have = partial.have();
    if !partial.is_complete() {
        return (Ok(false), have, only);
    }
    (partial.finish().map(|()| true), have, only)
}

/// Adds up what arrives and reports it, at most once for every so many bytes.
struct Tally<'a> {
    report: Report<'a>,
    layers: usize,
    bytes: u64,
    layers_done: AtomicUsize,
    bytes_done: AtomicU64,
    reported: AtomicU64,
}

/// Bytes between two reports.
const STEP: u64 = 512 << 10;

impl<'a> Tally<'a> {
    fn new(manifest: &Manifest, report: Report<'a>) -> Self {
        let tally = Self {
            report,
            layers: manifest.layers.len(),
            bytes: manifest.layers.iter().map(|layer| layer.size).sum(),
            layers_done: AtomicUsize::new(0),
            bytes_done: AtomicU64::new(0),
            reported: AtomicU64::new(0),
        };
        tally.tell();
        tally
    }

    fn arrived(&self, bytes: u64) {
        let done = self.bytes_done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if done >= self.reported.load(Ordering::Relaxed) + STEP {
            self.reported.store(done, Ordering::Relaxed);
            self.tell();
        }
    }

    fn layer_done(&self) {
        self.layers_done.fetch_add(1, Ordering::Relaxed);
        self.tell();
    }

    fn tell(&self) {
        (self.report)(Progress {
            layers_done: self.layers_done.load(Ordering::Relaxed),
            layers: self.layers,
            bytes_done: self.bytes_done.load(Ordering::Relaxed).min(self.bytes),
            bytes: self.bytes,
        });
    }
}
