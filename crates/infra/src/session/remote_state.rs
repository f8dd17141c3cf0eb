//! The outputs of other configurations, read through their backends.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::encryption::{Encryption, is_sealed};
use crate::provider::Call;
use crate::provider::builtin::{RemoteStateError, RemoteStates};
use crate::state::State;
use consort_backend::{Kind, LocalPaths, Settings, open};
use consort_hcl::{Value, json};

use super::causes;

/// Reads with the backends there are.
#[derive(Clone, Debug)]
pub struct States {
    /// How those states are sealed.
    pub encryption: Encryption,
    /// What relative paths start from; the working directory if it is empty.
    pub directory: PathBuf,
    /// Variables of the environment, which backends read.
    pub environment: HashMap<String, String>,
}

fn settings(
    backend: &str,
    config: &Value,
    environment: &HashMap<String, String>,
) -> Result<Settings, RemoteStateError> {
    let kind =
        Kind::named(backend).ok_or_else(|| RemoteStateError::NoSuchBackend(backend.to_owned()))?;
    let wrong = |message: String| RemoteStateError::Configuration {
        backend: backend.to_owned(),
        message: message.trim_end_matches('.').to_owned(),
    };
    let plain = config.clone().unmark_deep().0;
    let given = if plain.is_null() {
        serde_json::Map::new()
    } else {
        let bytes = json::encode_simple(&plain).map_err(|error| wrong(error.to_string()))?;
        serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?
    };
    Settings::new(kind, &given, |name| environment.get(name).cloned())
        .map_err(|error| wrong(error.to_string()))
}

impl States {
    fn root(&self) -> &Path {
        if self.directory.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &self.directory
        }
    }
}

impl RemoteStates for States {
    fn validate(&self, backend: &str, config: &Value) -> Result<(), RemoteStateError> {
        settings(backend, config, &self.environment).map(drop)
    }

    fn outputs<'a>(
        &'a self,
        address: &'a str,
        backend: &'a str,
        config: &'a Value,
        workspace: &'a str,
    ) -> Call<'a, Result<Option<BTreeMap<Arc<str>, Value>>, RemoteStateError>> {
        Box::pin(async move {
            let settings = settings(backend, config, &self.environment)?;
            let failed = |message: String| RemoteStateError::Configuration {
                backend: backend.to_owned(),
                message,
            };
            let opened = open(&settings, self.root(), &LocalPaths::default())
                .map_err(|error| failed(causes(&error)))?;
            let snapshots = opened
                .snapshots(workspace)
                .map_err(|error| failed(causes(&error)))?;
            let read = snapshots
                .read()
                .await
                .map_err(|error| failed(causes(&error)))?;
            let Some(bytes) = read else {
                return Ok(None);
            };
            let bytes = match self.encryption.remote(address) {
                Some(target) => target
                    .open_state(bytes)
                    .await
                    .map_err(|error| failed(causes(&error)))?,
                None if is_sealed(&bytes) => {
                    return Err(failed(
                        "This state file is encrypted and can not be read without an encryption configuration"
                            .to_owned(),
                    ));
                }
                None => bytes,
            };
            let text = String::from_utf8(bytes).map_err(|error| failed(error.to_string()))?;
            let state = State::read(&text).map_err(|error| failed(causes(&error)))?;
            let mut values = BTreeMap::new();
            for (name, output) in &state.outputs {
                // As in Terraform, what is sensitive there is not so here: the state says it of the output alone.
                let (value, _) = output.decoded().map_err(&failed)?.unmark_deep();
                values.insert(Arc::clone(name), value);
            }
            Ok(Some(values))
        })
    }
}
