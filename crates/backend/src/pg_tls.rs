//! TLS to PostgreSQL, as `sslmode` and its companions ask for it.
//!
//! The modes mean what they mean to Terraform's driver: `require`, also when nothing is said, takes any
//! certificate unless `sslrootcert` is given, and is then `verify-ca`; `verify-ca` wants a certificate of a known
//! authority; `verify-full` wants it to be for the host's name as well.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore,
    SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};

use crate::Error;
use crate::pg_options::TlsOptions;

/// How sure we want to be of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Require,
    VerifyCa,
    VerifyFull,
}

/// Makes TLS sessions for the driver.
#[derive(Clone)]
pub(crate) struct Connector(Arc<ClientConfig>);

fn wrong(why: &str) -> Error {
    Error::Remote(format!("pq: {why}"))
}

fn readable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    wrong(&format!("{}: {error}", path.display()))
}

impl Connector {
    /// What the options ask for; none for no TLS at all.
    pub(crate) fn new(options: &TlsOptions) -> Result<Option<Connector>, Error> {
        let root = options.get("sslrootcert").map(PathBuf::from);
        let mode = match options.get("sslmode").map(String::as_str) {
            Some("disable") => return Ok(None),
            None | Some("" | "require") if root.is_some() => Mode::VerifyCa,
            None | Some("" | "require") => Mode::Require,
            Some("verify-ca") => Mode::VerifyCa,
            Some("verify-full") => Mode::VerifyFull,
            Some(other) => {
                return Err(wrong(&format!(
                    "unsupported sslmode {other:?}; only \"require\" (default), \"verify-full\", \"verify-ca\", and \
                     \"disable\" supported"
                )));
            }
        };
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        let mut own = Vec::new();
        match &root {
            Some(path) => {
                for certificate in
                    CertificateDer::pem_file_iter(path).map_err(|error| readable(path, &error))?
                {
                    let certificate = certificate.map_err(|error| readable(path, &error))?;
                    roots
                        .add(certificate.clone())
                        .map_err(|error| readable(path, &error))?;
                    own.push(certificate);
                }
            }
            None if mode != Mode::Require => {
                for certificate in rustls_native_certs::load_native_certs().certs {
                    // One that cannot be read is as good as none.
                    let _ = roots.add(certificate);
                }
            }
            None => {}
        }
        let chain = if roots.is_empty() {
            None
        } else {
            let verifier =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                    .build()
                    .map_err(|error| wrong(&error.to_string()))?;
            Some(verifier)
        };
        if chain.is_none() && mode != Mode::Require {
            return Err(wrong("no certificates of authorities to verify with"));
        }
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier {
                mode,
                chain,
                own,
                provider,
            }));
        let mut config = match identity(options)? {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| wrong(&error.to_string()))?,
        };
        config.enable_sni = options.get("sslsni").is_none_or(|sni| sni != "0");
        Ok(Some(Connector(Arc::new(config))))
    }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Our own certificate, from where it is said to be or from `~/.postgresql`.
fn identity(options: &TlsOptions) -> Result<Option<Identity>, Error> {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".postgresql"));
    let path = |name: &str, file: &str| {
        options
            .get(name)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
            .or_else(|| Some(home.as_ref()?.join(file)))
    };
    let Some(certificate) = path("sslcert", "postgresql.crt") else {
        return Ok(None);
    };
    if !options.contains_key("sslcert") && !certificate.exists() {
        return Ok(None);
    }
    let Some(key) = path("sslkey", "postgresql.key") else {
        return Ok(None);
    };
    let metadata = std::fs::metadata(&key).map_err(|error| readable(&key, &error))?;
    let (mode, owner) = {
        use std::os::unix::fs::MetadataExt as _;
        (metadata.mode() & 0o777, metadata.uid())
    };
    // As the other clients: a key of root's may be readable by a group.
    let most = if owner == 0 { 0o640 } else { 0o600 };
    if mode & !most != 0 {
        return Err(wrong(
            "private key file has group or world access; permissions should be u=rw (0600) or less, or u=rw,g=r \
             (0640) or less if it belongs to root",
        ));
    }
    let chain = CertificateDer::pem_file_iter(&certificate)
        .and_then(Iterator::collect)
        .map_err(|error| readable(&certificate, &error))?;
    let key = PrivateKeyDer::from_pem_file(&key).map_err(|error| readable(&key, &error))?;
    Ok(Some((chain, key)))
}

#[derive(Debug)]
struct Verifier {
    mode: Mode,
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// The certificates that were named: a server's own may be among them.
    own: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        if self.own.iter().any(|own| own == certificate) {
            if self.mode == Mode::VerifyFull {
                let parsed = ParsedCertificate::try_from(certificate)?;
                rustls::client::verify_server_name(&parsed, name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        match chain.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            // The name is looked at last: everything else was in order.
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.mode != Mode::VerifyFull => Ok(ServerCertVerified::assertion()),
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl<S> MakeTlsConnect<S> for Connector
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Stream<S>;
    type TlsConnect = Handshake;
    type Error = std::io::Error;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Handshake, std::io::Error> {
        Ok(Handshake {
            config: Arc::clone(&self.0),
            name: ServerName::try_from(domain.to_owned()).map_err(std::io::Error::other)?,
        })
    }
}

/// A handshake to come.
pub(crate) struct Handshake {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl<S> TlsConnect<S> for Handshake
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Stream<S>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Stream<S>, std::io::Error>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            tokio_rustls::TlsConnector::from(self.config)
                .connect(self.name, stream)
                .await
                .map(|stream| Stream(Box::new(stream)))
        })
    }
}

/// A TLS session.
pub(crate) struct Stream<S>(Box<tokio_rustls::client::TlsStream<S>>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Stream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(context)
    }
}
