//! What the process that runs plugins is told when it begins.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json, json};

use crate::vault::Vault;

/// What the process that runs plugins is told when it begins.
#[derive(Clone, Default)]
pub struct BridgeOptions {
    /// The directory of the playbook.
    pub directory: PathBuf,
    /// The options of the command line, by the names ansible-core has for them.
    pub arguments: Map<String, Json>,
    /// What opens vaults.
    pub vault: Option<Arc<Vault>>,
}

impl BridgeOptions {
    /// The options with places of plugins, as the process reads them.
    pub(super) fn as_json(&self, directories: &[PathBuf]) -> Json {
        let secrets: Vec<Json> = self
            .vault
            .iter()
            .flat_map(|vault| vault.secrets())
            .map(|secret| json!([secret.id, STANDARD.encode(&secret.password)]))
            .collect();
        let directory = self.directory.to_string_lossy();
        json!({
            "directory": directory,
            "adjacent": true,
            "arguments": self.arguments,
            "vault": secrets,
            "directories": directories
                .iter()
                .map(|directory| directory.to_string_lossy().into_owned())
                .collect::<Vec<_>>(),
        })
    }
}
