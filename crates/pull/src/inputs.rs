//! Variables and passwords out of ConfigMaps and Secrets.

use std::collections::BTreeMap;

use consort_reconcile::Sources;
use serde_json::{Map, Value, json};

use crate::object::{Named, Spec, VariablesFrom};
use crate::source::Fault;

/// What a run is given beside its source.
#[derive(Clone, Default)]
pub(crate) struct Inputs {
    /// Variables whose texts are taken as they are.
    pub(crate) values: Map<String, Value>,
    /// Passwords of the vault by their ids.
    pub(crate) vault: Vec<(String, String)>,
}

impl Inputs {
    /// Reads them.
    pub(crate) async fn read(sources: &Sources, spec: &Spec) -> Result<Self, Fault> {
        let mut inputs = Inputs::default();
        for from in &spec.variables_from {
            let found = match from {
                VariablesFrom::ConfigMap(named) => config_map(sources, named).await?,
                VariablesFrom::Secret(named) => secret(sources, named).await?,
            };
            let texts = found.into_iter().map(|(key, text)| (key, text.into()));
            inputs.values.extend(texts);
        }
        if let Some(vault) = &spec.vault {
            let named = Named {
                name: vault.secret.clone(),
                optional: false,
            };
            inputs.vault = secret(sources, &named)
                .await?
                .into_iter()
                // As files of passwords are read.
                .map(|(id, password)| (id, password.trim().to_owned()))
                .collect();
        }
        Ok(inputs)
    }

    /// All of it as one value, of which a digest is made.
    pub(crate) fn value(&self) -> Value {
        json!({"values": self.values, "vault": self.vault})
    }
}

fn missing(kind: &str, named: &Named) -> Result<BTreeMap<String, String>, Fault> {
    if named.optional {
        return Ok(BTreeMap::new());
    }
    Err(Fault::new(
        "MissingInput",
        format!("there is no {kind} {}", named.name),
    ))
}

async fn config_map(sources: &Sources, named: &Named) -> Result<BTreeMap<String, String>, Fault> {
    let found = sources
        .config_map(&named.name)
        .await
        .map_err(|said| Fault::new("MissingInput", said))?;
    match found {
        Some(found) => Ok(found.data.clone().unwrap_or_default()),
        None => missing("configmap", named),
    }
}

async fn secret(sources: &Sources, named: &Named) -> Result<BTreeMap<String, String>, Fault> {
    let found = sources
        .secret(&named.name)
        .await
        .map_err(|said| Fault::new("MissingInput", said))?;
    let Some(found) = found else {
        return missing("secret", named);
    };
    found
        .data
        .iter()
        .flatten()
        .map(|(key, bytes)| {
            let text = String::from_utf8(bytes.0.clone()).map_err(|_| {
                Fault::new(
                    "InvalidInput",
                    format!("key {key} of secret {} is no text", named.name),
                )
            })?;
            Ok((key.clone(), text))
        })
        .collect()
}
