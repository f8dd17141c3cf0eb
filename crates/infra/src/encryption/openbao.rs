//! Data keys from the transit engine of OpenBao, and of Vault, whose interface is the same.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::keys::{Keys, base64_bytes};

/// A key in a server's transit engine.
#[derive(Clone)]
pub(super) struct OpenBao {
    client: reqwest::Client,
    base: reqwest::Url,
    token: Option<String>,
    path: String,
    key: String,
    bits: u64,
    associated_data: Option<String>,
}

impl std::fmt::Debug for OpenBao {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenBao")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// What is kept of a data key: the key itself, sealed by the server.
#[derive(Serialize, Deserialize)]
struct Metadata {
    #[serde(with = "base64_bytes")]
    ciphertext: Vec<u8>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    associated_data: String,
}

impl OpenBao {
    pub(super) fn new(
        address: &str,
        token: Option<String>,
        path: String,
        key: String,
        bits: u64,
        associated_data: Option<String>,
    ) -> Result<OpenBao, String> {
        if associated_data
            .as_ref()
            .is_some_and(|data| STANDARD.decode(data).is_err())
        {
            return Err("associated data is not valid base64".to_owned());
        }
        let base: reqwest::Url = address
            .parse()
            .map_err(|error| format!("the address {address:?}: {error}"))?;
        // The process's choice if it made one; reqwest has none of its own.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = reqwest::Client::builder().timeout(Duration::from_secs(60));
        if let Some(path) = std::env::var_os("BAO_CACERT").filter(|path| !path.is_empty()) {
            let shown = path.display().to_string();
            let pem = std::fs::read(&path).map_err(|error| format!("{shown}: {error}"))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|error| format!("{shown}: {error}"))?;
            client = client.tls_certs_merge(certificates);
        }
        Ok(OpenBao {
            client: client.build().map_err(|error| error.to_string())?,
            base,
            token,
            path,
            key,
            bits,
            associated_data,
        })
    }

    async fn ask(&self, action: &str, mut body: Json, associated: &str) -> Result<Json, String> {
        if !associated.is_empty() {
            body["associated_data"] = associated.into();
        }
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| "the address cannot have a path".to_owned())?
            .pop_if_empty()
            .push("v1")
            .extend(self.path.split('/').filter(|part| !part.is_empty()))
            .extend(action.split('/'))
            .push(&self.key);
        let mut request = self
            .client
            .put(url)
            .header("Content-Type", "application/json")
            .header("X-Vault-Request", "true")
            .body(body.to_string());
        if let Some(token) = &self.token {
            request = request.header("X-Vault-Token", token);
        }
        if let Ok(namespace) = std::env::var("BAO_NAMESPACE") {
            request = request.header("X-Vault-Namespace", namespace);
        }
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(|error| error.to_string())?;
        let found: Json = serde_json::from_slice(&bytes).unwrap_or_default();
        if status.is_success() {
            return Ok(found["data"].clone());
        }
        let errors: Vec<&str> = found["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
            .collect();
        Err(format!(
            "Error making API request: code {}: {}",
            status.as_u16(),
            errors.join("; ")
        ))
    }

    /// New keys, the old one if there is metadata of it, and the metadata of the new one.
    pub(super) async fn provide(&self, kept: Option<&[u8]>) -> Result<(Keys, Vec<u8>), String> {
        let own = self.associated_data.clone().unwrap_or_default();
        let made = self
            .ask("datakey/plaintext", json!({"bits": self.bits}), &own)
            .await
            .map_err(|why| {
                format!("failed to generate OpenBao data key (check if the configuration valid and OpenBao server accessible): {why}")
            })?;
        let encryption = plaintext(&made)?;
        let ciphertext = made["ciphertext"]
            .as_str()
            .ok_or("the server's answer has no ciphertext")?;
        let metadata = Metadata {
            ciphertext: ciphertext.as_bytes().to_vec(),
            associated_data: own,
        };
        let decryption = match kept {
            None => None,
            Some(kept) => {
                let kept: Metadata =
                    serde_json::from_slice(kept).map_err(|error| error.to_string())?;
                let sealed = String::from_utf8_lossy(&kept.ciphertext).into_owned();
                let found = self
                    .ask("decrypt", json!({"ciphertext": sealed}), &kept.associated_data)
                    .await
                    .map_err(|why| {
                        format!("failed to decrypt ciphertext (check if the configuration valid and OpenBao server accessible): {why}")
                    })?;
                Some(plaintext(&found)?)
            }
        };
        let keys = Keys {
            encryption,
            decryption,
        };
        let metadata = serde_json::to_vec(&metadata).map_err(|error| error.to_string())?;
        Ok((keys, metadata))
    }
}

fn plaintext(answer: &Json) -> Result<Vec<u8>, String> {
    answer["plaintext"]
        .as_str()
        .and_then(|text| STANDARD.decode(text).ok())
        .ok_or_else(|| "the server's answer has no plaintext".to_owned())
}
