//! States, plans and journals sealed and opened, whatever keeps them.

use std::path::Path;

use consort_backend::{Error, LockInfo, Snapshots};
use consort_hcl::diagnostic::Diagnostics;
use futures::future::BoxFuture;

use super::{causes, error};
use crate::encryption::{Encryption, Target, is_sealed};
use crate::state::Seal;

/// Snapshots that are sealed before they leave, and opened when they come.
pub struct Encrypted {
    /// Where the sealed ones are.
    pub inner: Box<dyn Snapshots>,
    /// How they are sealed.
    pub target: Target,
}

fn contents(failed: &dyn std::error::Error) -> Error {
    Error::Contents(causes(failed))
}

impl Snapshots for Encrypted {
    fn read(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, Error>> {
        Box::pin(async move {
            // What cannot be sealed at the end must not begin.
            self.target
                .prepare()
                .await
                .map_err(|failed| contents(&failed))?;
            match self.inner.read().await? {
                None => Ok(None),
                Some(bytes) => self
                    .target
                    .open_state(bytes)
                    .await
                    .map(Some)
                    .map_err(|failed| contents(&failed)),
            }
        })
    }

    fn write(&self, bytes: Vec<u8>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let sealed = self
                .target
                .seal_state(bytes)
                .await
                .map_err(|failed| contents(&failed))?;
            self.inner.write(sealed).await
        })
    }

    fn lock<'a>(&'a self, info: &'a LockInfo) -> BoxFuture<'a, Result<String, Error>> {
        self.inner.lock(info)
    }

    fn unlock<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        self.inner.unlock(id)
    }

    fn file(&self) -> Option<&Path> {
        self.inner.file()
    }
}

/// A state's text as it may stand on a disk.
pub async fn sealed(target: Option<&Target>, text: String) -> Result<Vec<u8>, Diagnostics> {
    match target {
        None => Ok(text.into_bytes()),
        Some(target) => target
            .seal_state(text.into_bytes())
            .await
            .map_err(|failed| error("Failed to encrypt the state", causes(&failed))),
    }
}

/// The bytes of a state file, opened if they are sealed.
pub async fn opened(target: Option<&Target>, bytes: Vec<u8>) -> Result<Vec<u8>, Diagnostics> {
    match target {
        Some(target) if is_sealed(&bytes) => target
            .open_state(bytes)
            .await
            .map_err(|failed| error("Failed to load state", causes(&failed))),
        _ => Ok(bytes),
    }
}

/// The bytes of a saved plan, opened if plans are sealed.
pub async fn opened_plan(encryption: &Encryption, bytes: Vec<u8>) -> Result<Vec<u8>, Diagnostics> {
    match &encryption.plan {
        Some(target) => target
            .open(bytes)
            .await
            .map_err(|failed| error("Failed to decrypt the plan file", causes(&failed))),
        None if is_sealed(&bytes) => Err(error(
            "Failed to read the plan file",
            "This plan file is encrypted and can not be read without an encryption configuration",
        )),
        None => Ok(bytes),
    }
}

/// A key of its own for the changes of one walk.
pub async fn journal_seal(target: Option<&Target>) -> Result<Option<Seal>, Diagnostics> {
    let Some(target) = target else {
        return Ok(None);
    };
    let key =
        Seal::random_key().map_err(|failed| error("Failed to encrypt the journal", failed))?;
    let envelope = target
        .seal(key.to_vec())
        .await
        .map_err(|failed| error("Failed to encrypt the journal", causes(&failed)))?;
    String::from_utf8(envelope)
        .map(|envelope| Some(Seal::new(key, envelope)))
        .map_err(|failed| error("Failed to encrypt the journal", causes(&failed)))
}

/// The key that a journal was written with.
pub async fn journal_key(target: Option<&Target>, envelope: String) -> Result<Seal, Diagnostics> {
    let wrong = |why: String| error("Failed to load state", format!("The journal: {why}."));
    let Some(target) = target else {
        return Err(wrong(
            "it is encrypted and can not be read without an encryption configuration".to_owned(),
        ));
    };
    let key = target
        .open(envelope.clone().into_bytes())
        .await
        .map_err(|failed| wrong(causes(&failed)))?;
    key.try_into()
        .map(|key| Seal::new(key, envelope))
        .map_err(|_| wrong("its key is of another size".to_owned()))
}
