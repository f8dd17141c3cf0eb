//! The server's keys, as reconcilers use them: through calls, never the keys themselves.

use std::sync::Arc;
use std::time::Duration;

use consort_api::identity::pki::Pki;
use consort_api::identity::tokens::Signer;
use consort_workloads::{CertificateSigner, TokenSigner};

/// Signs certificate requests with the authority of the installation.
#[derive(Debug)]
pub(super) struct Certificates(pub(super) Arc<Pki>);

impl CertificateSigner for Certificates {
    fn sign(
        &self,
        request: &[u8],
        usages: &[String],
        lifetime: Duration,
    ) -> Result<String, String> {
        self.0
            .sign_request(request, usages, lifetime)
            .map_err(|error| error.to_string())
    }
}

/// Makes the tokens that stand in secrets.
#[derive(Debug)]
pub(super) struct Tokens(pub(super) Arc<Signer>);

impl TokenSigner for Tokens {
    fn issue(
        &self,
        namespace: &str,
        secret: &str,
        account: &str,
        uid: &str,
    ) -> Result<String, String> {
        self.0
            .issue_legacy(namespace, secret, account, uid)
            .map_err(|error| error.to_string())
    }
}
