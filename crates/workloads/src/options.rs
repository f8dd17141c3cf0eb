//! How the reconcilers are set up.

use crate::{CertificateSigner, TokenSigner};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// Settings of the reconcilers. The defaults are those of an upstream control plane.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// PEM of the certificate authority that signed the API server's certificate; published in
    /// every namespace as ConfigMap `kube-root-ca.crt`. None: it is not published.
    pub ca_pem: Option<String>,
    /// A node that has not renewed its lease for this long is unhealthy.
    pub node_grace: Duration,
    /// How many finished pods may exist before the oldest are removed.
    pub finished_pods: usize,
    /// A pod whose node no longer exists is removed after this time.
    pub gone_node_grace: Duration,
    /// How often the kinds the server offers are looked up again, for garbage collection.
    pub discovery_interval: Duration,
    /// Endpoints per EndpointSlice, at most 1000.
    pub endpoints_per_slice: usize,
    /// Workers of each reconciler.
    pub workers: usize,
    /// Signs certificate requests. None: they are not signed here.
    #[serde(skip)]
    pub certificates: Option<Arc<dyn CertificateSigner>>,
    /// Makes the tokens of token secrets. None: these are not filled here.
    #[serde(skip)]
    pub tokens: Option<Arc<dyn TokenSigner>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ca_pem: None,
            node_grace: Duration::from_secs(40),
            finished_pods: 12_500,
            gone_node_grace: Duration::from_secs(40),
            discovery_interval: Duration::from_secs(30),
            endpoints_per_slice: 100,
            workers: 4,
            certificates: None,
            tokens: None,
        }
    }
}
