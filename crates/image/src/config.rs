//! What an image says about how it is to be run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// The execution parameters of an image (OCI image specification, "Image Configuration",
/// property `config`), with absent lists as empty ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// The start of the command line. A pod's `command` replaces it.
    pub entrypoint: Vec<String>,
    /// The rest of the command line. A pod's `args` replace it.
    pub cmd: Vec<String>,
    /// Environment as `NAME=value`.
    pub env: Vec<String>,
    /// `user`, `uid`, `user:group`, `uid:gid` and mixtures; empty means root.
    pub user: String,
    /// Working directory; empty means `/`.
    pub working_dir: String,
    /// `port/protocol`, as `80/tcp`. For people; nothing is opened by it.
    pub exposed_ports: Vec<String>,
    /// Paths that want storage of their own.
    pub volumes: Vec<String>,
    /// The signal that asks the container to stop, as `SIGQUIT` or `3`.
    pub stop_signal: Option<String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
}

/// The configuration document as it lies in the blob.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ConfigFile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<String>,
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default)]
    pub(crate) config: Option<Execution>,
    #[serde(default)]
    pub(crate) rootfs: RootFs,
}

/// `config` within the document. Every list may be absent or null.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Execution {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entrypoint: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cmd: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    env: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    working_dir: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    volumes: Option<BTreeMap<String, serde_json::Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stop_signal: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    labels: Option<BTreeMap<String, String>>,
}

/// `rootfs` within the document: the digests of the unpacked layers, lowest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct RootFs {
    #[serde(default, rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) diff_ids: Vec<Digest>,
}

impl From<Execution> for Config {
    fn from(raw: Execution) -> Self {
        let keys = |map: Option<BTreeMap<String, serde_json::Value>>| {
            map.unwrap_or_default().into_keys().collect()
        };
        Self {
            entrypoint: raw.entrypoint.unwrap_or_default(),
            cmd: raw.cmd.unwrap_or_default(),
            env: raw.env.unwrap_or_default(),
            user: raw.user.unwrap_or_default(),
            working_dir: raw.working_dir.unwrap_or_default(),
            exposed_ports: keys(raw.exposed_ports),
            volumes: keys(raw.volumes),
            stop_signal: raw.stop_signal.filter(|signal| !signal.is_empty()),
            labels: raw.labels.unwrap_or_default(),
        }
    }
}

impl From<Config> for Execution {
    fn from(config: Config) -> Self {
        let list = |list: Vec<String>| (!list.is_empty()).then_some(list);
        let text = |text: String| (!text.is_empty()).then_some(text);
        let keys = |list: Vec<String>| {
            (!list.is_empty()).then(|| {
                list.into_iter()
                    .map(|key| (key, serde_json::json!({})))
                    .collect()
            })
        };
        Self {
            entrypoint: list(config.entrypoint),
            cmd: list(config.cmd),
            env: list(config.env),
            user: text(config.user),
            working_dir: text(config.working_dir),
            exposed_ports: keys(config.exposed_ports),
            volumes: keys(config.volumes),
            stop_signal: config.stop_signal,
            labels: (!config.labels.is_empty()).then_some(config.labels),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_lists_are_empty_and_maps_become_their_keys() {
        let file: ConfigFile = serde_json::from_str(
            r#"{"architecture":"amd64","os":"linux","config":{"Entrypoint":null,"Cmd":["sh"],
                "ExposedPorts":{"80/tcp":{}},"Volumes":{"/data":{}},"StopSignal":"SIGQUIT",
                "Labels":null,"ArgsEscaped":true},"rootfs":{"type":"layers","diff_ids":[]}}"#,
        )
        .unwrap();
        let config = Config::from(file.config.unwrap());
        assert_eq!(config.cmd, ["sh"]);
        assert_eq!(config.exposed_ports, ["80/tcp"]);
        assert_eq!(config.volumes, ["/data"]);
        assert_eq!(config.stop_signal.as_deref(), Some("SIGQUIT"));
        assert!(config.entrypoint.is_empty() && config.labels.is_empty());
    }

    #[test]
    fn a_configuration_survives_being_written() {
        let config = Config {
            entrypoint: vec!["/bin/x".into()],
            env: vec!["A=b".into()],
            user: "1:2".into(),
            volumes: vec!["/v".into()],
            labels: [("k".to_owned(), "v".to_owned())].into(),
            ..Config::default()
        };
        let json = serde_json::to_vec(&Execution::from(config.clone())).unwrap();
        let back: Execution = serde_json::from_slice(&json).unwrap();
        assert_eq!(Config::from(back), config);
    }
}
