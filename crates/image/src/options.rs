//! How the image store is set up.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use crate::{Builtin, Credential, Nobody, Users};

/// What [`Images::open`](crate::Images::open) needs.
pub struct Options {
    /// The store's directory; made when it is missing.
    pub dir: PathBuf,
    /// Where and how to pull.
    pub registries: Registries,
    /// What a registry or an archive may make the store swallow.
    pub limits: Limits,
    /// Images that are made at need and never pulled.
    pub builtin: Vec<Arc<dyn Builtin>>,
    /// Who has layers mounted. The store asks before it removes anything.
    pub users: Arc<dyn Users>,
}

impl Options {
    /// Defaults, with the store in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            registries: Registries::default(),
            limits: Limits::default(),
            builtin: Vec::new(),
            users: Arc::new(Nobody),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("dir", &self.dir)
            .field("registries", &self.registries)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Where images come from. As a part of the configuration file it reads:
///
/// ```json
/// {
///   "mirrors": {"docker.io": ["mirror.example:5000", "cache.example/dockerhub"]},
///   "hosts": {"mirror.example:5000": {"plain_http": true}},
///   "credentials": [{"registry": "cache.example", "username": "u", "password": "p"}]
/// }
/// ```
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Registries {
    /// For a registry's host, the hosts to try before it, in this order.
    pub mirrors: BTreeMap<String, Vec<Mirror>>,
    /// How to speak to a host (with its port, where it has one).
    pub hosts: BTreeMap<String, HostOptions>,
    /// Credentials used when a pull brings none that fit.
    pub credentials: Vec<Credential>,
}

/// A host, and optionally a path, that serves the content of another registry: with
/// `cache.example/hub` the repository `library/nginx` is asked for as `hub/library/nginx`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct Mirror {
    /// Host with port.
    pub host: String,
    /// What is put before the repository's path; without slashes at its ends, may be empty.
    pub path: String,
}

impl From<String> for Mirror {
    fn from(text: String) -> Self {
        let (host, path) = text.split_once('/').unwrap_or((&text, ""));
        Self {
            host: host.to_owned(),
            path: path.trim_matches('/').to_owned(),
        }
    }
}

impl From<&str> for Mirror {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

/// How to speak to one registry host.
///
/// Without any of these a host is spoken to over verified TLS; loopback hosts that do not answer
/// TLS are tried over plain HTTP too, as Docker does it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostOptions {
    /// Use HTTP without TLS.
    pub plain_http: bool,
    /// Do not verify the host's certificate.
    pub skip_verify: bool,
    /// PEM file with the certificate authorities to trust for this host beside the system's.
    pub ca: Option<PathBuf>,
}

/// Bounds on what is accepted. They keep a hostile or broken image from filling memory or disk.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// A manifest, index or configuration, in bytes.
    pub document_bytes: u64,
    /// A layer as it is transferred, in bytes.
    pub layer_bytes: u64,
    /// A layer unpacked, in bytes.
    pub unpacked_bytes: u64,
    /// Entries of one layer.
    pub entries: u64,
    /// Layers of one image.
    pub layers: usize,
    /// Transfers at the same time, over all pulls.
    pub parallel: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const GIB: u64 = 1 << 30;
        Self {
            document_bytes: 4 << 20,
            layer_bytes: 32 * GIB,
            unpacked_bytes: 64 * GIB,
            entries: 4_000_000,
            layers: 500,
            parallel: 6,
        }
    }
}
