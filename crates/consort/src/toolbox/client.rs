//! A small HTTP/1.1 client: one connection, over TCP or TLS.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// How to trust a server over https.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Trust {
    /// PEM file with the certificate authorities to trust for https
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Do not verify the server's certificate
    #[arg(short = 'k', long)]
    insecure: bool,
}

/// A parsed http or https URL.
#[derive(Clone, Debug)]
pub(crate) struct Url {
    pub(crate) uri: Uri,
    secure: bool,
    host: String,
    port: u16,
}

impl std::str::FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let whole = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let uri: Uri = whole
            .parse()
            .map_err(|error| format!("{text:?} is not a URL: {error}"))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            other => {
                let scheme = other.unwrap_or_default();
                return Err(format!(
                    "{scheme:?} is not supported: expected http or https"
                ));
            }
        };
        let host = uri.host().ok_or_else(|| format!("{text:?} has no host"))?;
        Ok(Self {
            secure,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            uri,
        })
    }
}

impl Url {
    /// The value of the `Host` header.
    pub(crate) fn authority(&self) -> &str {
        self.uri
            .authority()
            .map_or("", http::uri::Authority::as_str)
    }

    /// What stands in the request line.
    pub(crate) fn target(&self) -> &str {
        self.uri
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str)
    }
}

/// An open connection. Its task ends when this is dropped.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    pub(crate) async fn open(url: &Url, trust: &Trust) -> anyhow::Result<Self> {
        let address = format!("{}:{}", url.host, url.port);
        let stream = TcpStream::connect((url.host.as_str(), url.port))
            .await
            .with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        if !url.secure {
            return Self::speak(stream).await;
        }
        let name = ServerName::try_from(url.host.clone())
            .with_context(|| format!("{:?} cannot be the name of a TLS server", url.host))?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(tls(trust)?));
        let stream = connector
            .connect(name, stream)
            .await
            .with_context(|| format!("setting up TLS with {address}"))?;
        Self::speak(stream).await
    }

    async fn speak(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> anyhow::Result<Self> {
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(async move {
            // What breaks the connection is seen by the request that is on it.
            let _ = connection.await;
        });
        Ok(Self { sender, driver })
    }
}

/// A GET for `url`.
pub(crate) fn get(url: &Url) -> anyhow::Result<Request<Full<Bytes>>> {
    Ok(Request::builder()
        .uri(url.target())
        .header("host", url.authority())
        .header(
            "user-agent",
            concat!("consort-toolbox/", env!("CARGO_PKG_VERSION")),
        )
        .body(Full::default())?)
}

fn tls(trust: &Trust) -> anyhow::Result<rustls::ClientConfig> {
    if trust.insecure {
        return Ok(consort_tls::unverified()?);
    }
    let Some(path) = &trust.cacert else {
        bail!("the toolbox has no certificate authorities of its own: give --cacert or --insecure");
    };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path)
        .with_context(|| format!("reading {}", path.display()))?
    {
        roots.add(certificate.with_context(|| format!("reading {}", path.display()))?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_may_leave_out_what_is_obvious() {
        let url: Url = "backend:8080/a?b=c".parse().unwrap();
        assert_eq!(
            (url.host.as_str(), url.port, url.target()),
            ("backend", 8080, "/a?b=c")
        );
        let url: Url = "https://[::1]".parse().unwrap();
        assert_eq!(
            (url.host.as_str(), url.port, url.authority()),
            ("::1", 443, "[::1]")
        );
        assert!("ftp://x".parse::<Url>().is_err());
        assert!("http://".parse::<Url>().is_err());
    }
}
