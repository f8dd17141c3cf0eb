//! How connections are encrypted: whom is trusted, and who we say we are.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// What connections are encrypted with.
pub(super) struct Trust<'a> {
    pub(super) validate: bool,
    /// A file with the certificates that are trusted instead of those of the system.
    pub(super) authorities: Option<&'a Path>,
    pub(super) certificate: Option<&'a Path>,
    pub(super) key: Option<&'a Path>,
}

/// The configuration. The error is what is told of it.
pub(super) fn configuration(trust: &Trust<'_>) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = if trust.validate {
        let mut roots = RootCertStore::empty();
        if let Some(file) = trust.authorities {
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|error| error.to_string())?;
            }
        } else {
            for certificate in rustls_native_certs::load_native_certs().certs {
                // Stores of systems hold certificates of odd kinds, which are of no use here.
                let _ = roots.add(certificate);
            }
        }
        builder.with_root_certificates(roots)
    } else {
        // As it was asked to (`validate_certs: false`).
        builder
            .dangerous()
            .with_custom_certificate_verifier(consort_tls::anyone(provider))
    };
    let config = match trust.certificate {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let chain = certificates(file)?;
            let key = trust.key.unwrap_or(file);
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| format!("{}: {error}", key.display()))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| error.to_string())?
        }
    };
    Ok(Arc::new(config))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let told = |reason: &dyn std::fmt::Display| format!("{}: {reason}", file.display());
    let found = CertificateDer::pem_file_iter(file)
        .map_err(|error| match &error {
            rustls::pki_types::pem::Error::Io(error) => crate::python::os_error(error),
            other => told(other),
        })?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| told(&error))?;
    if found.is_empty() {
        return Err(told(&"no certificates in it"));
    }
    Ok(found)
}
