//! What seals and opens one kind of thing, with fallbacks for what was sealed before.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::OnceCell;

use super::Error;
use super::keys::{KeySource, Keys, Metadata, Provider};
use super::method::Method;

/// Everything a configuration declares.
#[derive(Debug)]
pub(super) struct Recipes {
    pub(super) providers: Vec<Provider>,
    pub(super) methods: Vec<Method>,
}

/// How states, or plans, or the states of others are sealed.
#[derive(Clone, Debug)]
pub struct Target {
    name: Arc<str>,
    recipes: Arc<Recipes>,
    /// The one that seals, and then those that may also open.
    methods: Arc<[usize]>,
    /// The keys of the first method, fetched once: what can be sealed at the beginning of a run can be sealed
    /// at its end, whatever has become of the network.
    ready: Arc<OnceCell<(Keys, Metadata)>>,
}

/// What is sealed, in OpenTofu's form.
#[derive(Serialize, Deserialize)]
struct Envelope {
    #[serde(default)]
    meta: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    encrypted_data: String,
    #[serde(default)]
    encryption_version: String,
}

/// A sealed state, which keeps these two in the clear.
#[derive(Serialize)]
struct SealedState<'a> {
    serial: Option<&'a RawValue>,
    lineage: &'a str,
    #[serde(flatten)]
    envelope: Envelope,
}

#[derive(Deserialize)]
struct Clear<'a> {
    #[serde(borrow, default)]
    serial: Option<&'a RawValue>,
    #[serde(default)]
    lineage: Option<String>,
}

#[derive(Deserialize)]
struct Plain {
    terraform_version: Option<String>,
}

const VERSION: &str = "v0";

/// Whether bytes are sealed.
pub fn is_sealed(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Version {
        #[serde(default)]
        encryption_version: String,
    }
    serde_json::from_slice::<Version>(bytes).is_ok_and(|found| !found.encryption_version.is_empty())
}

impl Target {
    pub(super) fn new(name: &str, recipes: Arc<Recipes>, methods: Vec<usize>) -> Target {
        Target {
            name: name.into(),
            recipes,
            methods: methods.into(),
            ready: Arc::default(),
        }
    }

    fn method(&self, at: usize) -> &Method {
        &self.recipes.methods[at]
    }

    /// Fetches the keys to seal with, unless it is done already.
    ///
    /// # Errors
    /// [`Error::Key`] and [`Error::Method`].
    pub async fn prepare(&self) -> Result<(), Error> {
        self.keys().await.map(drop)
    }

    async fn keys(&self) -> Result<&(Keys, Metadata), Error> {
        self.ready
            .get_or_try_init(|| async {
                let method = self.method(self.methods[0]);
                self.fetch(method, &Metadata::new()).await
            })
            .await
    }

    async fn fetch(&self, method: &Method, input: &Metadata) -> Result<(Keys, Metadata), Error> {
        let none = KeySource::Keys(Keys::default());
        let mut output = Metadata::new();
        let source = method.keys().unwrap_or(&none);
        let keys = self.recipes.keys(source, input, &mut output).await?;
        if method.keys().is_some() {
            method.check(&keys).map_err(Error::Method)?;
        }
        Ok((keys, output))
    }

    async fn envelope(&self, data: Vec<u8>) -> Result<Envelope, Error> {
        let (keys, metadata) = self.keys().await?;
        let sealed = self
            .method(self.methods[0])
            .seal(keys, data)
            .await
            .map_err(|reason| Error::Seal {
                target: Arc::clone(&self.name),
                reason,
            })?;
        Ok(Envelope {
            meta: metadata
                .iter()
                .map(|(name, kept)| (name.clone(), STANDARD.encode(kept)))
                .collect(),
            encrypted_data: STANDARD.encode(sealed),
            encryption_version: VERSION.to_owned(),
        })
    }

    /// Whether what is written is not sealed at all.
    fn writes_plain(&self) -> bool {
        self.method(self.methods[0]).is_unencrypted()
    }

    /// Seals bytes that have no form of their own.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn seal(&self, data: Vec<u8>) -> Result<Vec<u8>, Error> {
        if self.writes_plain() {
            return Ok(data);
        }
        let envelope = self.envelope(data).await?;
        serde_json::to_vec(&envelope).map_err(|error| Error::Format(error.to_string()))
    }

    /// Seals a state; its serial and lineage stay readable.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn seal_state(&self, state: Vec<u8>) -> Result<Vec<u8>, Error> {
        if self.writes_plain() {
            return Ok(state);
        }
        let format = |error: serde_json::Error| Error::Format(error.to_string());
        let clear: Clear<'_> = serde_json::from_slice(&state).map_err(format)?;
        let serial = clear.serial.map(ToOwned::to_owned);
        let lineage = clear.lineage.unwrap_or_default();
        let sealed = SealedState {
            serial: serial.as_deref(),
            lineage: &lineage,
            envelope: self.envelope(state).await?,
        };
        serde_json::to_vec(&sealed).map_err(format)
    }

    /// Opens what [`Target::seal`] made. What is not sealed is given back, where that is allowed.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn open(&self, data: Vec<u8>) -> Result<Vec<u8>, Error> {
        match self.unseal(&data).await? {
            Some(opened) => Ok(opened),
            None if data.first() == Some(&b'{') => {
                Err(Error::Format("it is neither sealed nor a plan".to_owned()))
            }
            None => self.plain(data),
        }
    }

    /// Opens a state. One that is not sealed is given back, where that is allowed.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn open_state(&self, data: Vec<u8>) -> Result<Vec<u8>, Error> {
        let Some(opened) = self.unseal(&data).await? else {
            let found = serde_json::from_slice::<Plain>(&data)
                .map_err(|error| Error::Format(error.to_string()))?;
            if found
                .terraform_version
                .is_none_or(|version| version.is_empty())
            {
                return Err(Error::Format(
                    "Given payload is not a state file".to_owned(),
                ));
            }
            return self.plain(data);
        };
        let format = |error: serde_json::Error| Error::Format(error.to_string());
        let outside: Clear<'_> = serde_json::from_slice(&data).map_err(format)?;
        let inside: Clear<'_> = serde_json::from_slice(&opened).map_err(format)?;
        if let (Some(outside), Some(inside)) = (outside.serial, inside.serial)
            && outside.get() != inside.get()
        {
            return Err(Error::Mismatch {
                field: "serial",
                outside: outside.get().to_owned(),
                inside: inside.get().to_owned(),
            });
        }
        let lineages = (
            outside.lineage.unwrap_or_default(),
            inside.lineage.unwrap_or_default(),
        );
        if !lineages.0.is_empty() && lineages.0 != lineages.1 {
            return Err(Error::Mismatch {
                field: "lineage",
                outside: lineages.0,
                inside: lineages.1,
            });
        }
        Ok(opened)
    }

    fn plain(&self, data: Vec<u8>) -> Result<Vec<u8>, Error> {
        if self
            .methods
            .iter()
            .any(|at| self.method(*at).is_unencrypted())
        {
            Ok(data)
        } else {
            Err(Error::Plain)
        }
    }

    /// What is in an envelope; none if these bytes are none.
    async fn unseal(&self, data: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let Ok(envelope) = serde_json::from_slice::<Envelope>(data) else {
            return Ok(None);
        };
        if envelope.encryption_version.is_empty() {
            return Ok(None);
        }
        if envelope.encryption_version != VERSION {
            return Err(Error::Version(envelope.encryption_version));
        }
        let decode = |text: &String| {
            STANDARD
                .decode(text)
                .map_err(|error| Error::Format(error.to_string()))
        };
        let sealed = decode(&envelope.encrypted_data)?;
        let mut input = Metadata::new();
        for (name, kept) in &envelope.meta {
            input.insert(name.clone(), decode(kept)?);
        }
        let mut reasons = Vec::new();
        for at in self.methods.iter() {
            let method = self.method(*at);
            if method.is_unencrypted() {
                continue;
            }
            let (keys, _) = self.fetch(method, &input).await?;
            match method.open(&keys, sealed.clone()).await {
                Ok(opened) => return Ok(Some(opened)),
                Err(reason) => reasons.push(format!(
                    "attempted decryption failed for {}: {reason}",
                    self.name
                )),
            }
        }
        Err(Error::Open(reasons.join("\n")))
    }
}
