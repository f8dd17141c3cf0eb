//! States and plans encrypted, whatever keeps them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use consort_backend::{Error, LockInfo, Snapshots};
use consort_hcl::diagnostic::Diagnostics;
use consort_hcl::{Sources, Value};
use consort_infra::config::{GivenValues, Module};
use consort_infra::encryption::{Context, Encryption, Target, VARIABLE, is_sealed};
use consort_infra::state::Seal;
use futures::future::BoxFuture;

use super::place::{Place, causes, error};
use super::session;

/// What is to be encrypted here, and the warnings about that.
pub(super) fn load(
    place: &Place,
    module: Option<&Module>,
    sources: &mut Sources,
) -> Result<(Encryption, Diagnostics), Diagnostics> {
    let environment = std::env::var(VARIABLE).ok();
    let configured = module.is_some_and(|module| module.encryption.is_some());
    if !configured
        && environment
            .as_ref()
            .is_none_or(|text| text.trim().is_empty())
    {
        return Ok((Encryption::default(), Diagnostics::new()));
    }
    let variables = variables(place, module, sources);
    let functions = session::language(false, "");
    let context = Context {
        variables: &variables,
        functions: &functions,
    };
    let (encryption, diagnostics) =
        Encryption::read(module, environment.as_deref(), &context, sources);
    if diagnostics.has_errors() {
        Err(diagnostics)
    } else {
        Ok((encryption, diagnostics))
    }
}

/// Whether anything is to be encrypted here.
pub(super) fn is_configured(place: &Place, sources: &mut Sources) -> bool {
    let module = place.root_module(sources).ok().flatten();
    module.is_some_and(|module| module.encryption.is_some())
        || std::env::var(VARIABLE).is_ok_and(|text| !text.trim().is_empty())
}

/// The values of variables that can be told without asking; what is wrong with the others is told when they are
/// needed.
fn variables(
    place: &Place,
    module: Option<&Module>,
    sources: &mut Sources,
) -> BTreeMap<Arc<str>, Value> {
    let Some(module) = module else {
        return BTreeMap::new();
    };
    let (given, found) = GivenValues::collect(
        place.root(),
        session::environment(),
        &place.variables,
        sources,
    );
    if found.has_errors() {
        return BTreeMap::new();
    }
    let (values, _) = given.resolve(&module.variables, None, sources);
    values
        .into_iter()
        .map(|(name, value)| (name, value.value))
        .collect()
}

/// Snapshots that are sealed before they leave, and opened when they come.
pub(super) struct Encrypted {
    pub(super) inner: Box<dyn Snapshots>,
    pub(super) target: Target,
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
pub(super) async fn sealed(target: Option<&Target>, text: String) -> Result<Vec<u8>, Diagnostics> {
    match target {
        None => Ok(text.into_bytes()),
        Some(target) => target
            .seal_state(text.into_bytes())
            .await
            .map_err(|failed| error("Failed to encrypt the state", causes(&failed))),
    }
}

/// The bytes of a state file, opened if they are sealed.
pub(super) async fn opened(
    target: Option<&Target>,
    bytes: Vec<u8>,
) -> Result<Vec<u8>, Diagnostics> {
    match target {
        Some(target) if is_sealed(&bytes) => target
            .open_state(bytes)
            .await
            .map_err(|failed| error("Failed to load state", causes(&failed))),
        _ => Ok(bytes),
    }
}

/// The bytes of a saved plan, opened if plans are sealed.
pub(super) async fn opened_plan(
    encryption: &Encryption,
    bytes: Vec<u8>,
) -> Result<Vec<u8>, Diagnostics> {
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
pub(super) async fn journal_seal(target: Option<&Target>) -> Result<Option<Seal>, Diagnostics> {
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
pub(super) async fn journal_key(
    target: Option<&Target>,
    envelope: String,
) -> Result<Seal, Diagnostics> {
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
