//! A plain HTTP/1.1 client: one connection, one request at a time, with or without TLS. No pool and no
//! retries, so that what is measured is the server.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

/// Where to connect to and as whom.
#[derive(Clone)]
pub(crate) struct Endpoint {
    address: SocketAddr,
    tls: Option<Arc<rustls::ClientConfig>>,
}

impl Endpoint {
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    pub(crate) fn tls(address: SocketAddr, config: Arc<rustls::ClientConfig>) -> Self {
        Self {
            address,
            tls: Some(config),
        }
    }

    /// As the user of a kubeconfig that holds its certificates inline, as the server writes it.
    pub(crate) fn kubeconfig(address: SocketAddr, path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&inline(
            &text,
            "certificate-authority-data",
        )?)?)?;
        let chain = CertificateDer::pem_slice_iter(&inline(&text, "client-certificate-data")?)
            .collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(&inline(&text, "client-key-data")?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        Ok(Self::tls(address, Arc::new(config)))
    }

    pub(crate) async fn connect(&self) -> Result<Connection> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => Connection::over(TokioIo::new(stream)).await,
            Some(config) => {
                let name = ServerName::try_from("localhost")?;
                let stream = TlsConnector::from(config.clone())
                    .connect(name, stream)
                    .await?;
                Connection::over(TokioIo::new(stream)).await
            }
        }
    }
}

/// A value of a kubeconfig, which is PEM in base64.
fn inline(text: &str, key: &str) -> Result<Vec<u8>> {
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(':'));
    let value = line.with_context(|| format!("no {key} in the kubeconfig"))?;
    Ok(BASE64_STANDARD.decode(value.trim().trim_matches('"'))?)
}

/// An open connection.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    async fn over<S>(stream: S) -> Result<Self>
    where
        S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(1 << 20)
            .handshake(stream)
            .await?;
        let driver = tokio::spawn(async move {
            // What goes wrong is told to the one who waits for the answer.
            let _ = connection.await;
        });
        Ok(Self { sender, driver })
    }

    /// Sends a request and gives the answer's head; the body follows.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>> {
        self.send_as(method, path, "application/json", body).await
    }

    async fn send_as(
        &mut self,
        method: Method,
        path: &str,
        media: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("content-type", media)
            .header("accept", "application/json")
            .body(Full::new(body))?;
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }

    /// Sends a request and reads the whole answer, which must be a success.
    pub(crate) async fn call(&mut self, method: Method, path: &str, body: Bytes) -> Result<Bytes> {
        self.call_as(method, path, "application/json", body).await
    }

    /// As [`call`](Self::call), with a body of some media type.
    pub(crate) async fn call_as(
        &mut self,
        method: Method,
        path: &str,
        media: &str,
        body: Bytes,
    ) -> Result<Bytes> {
        let response = self.send_as(method.clone(), path, media, body).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            bail!(
                "{method} {path}: {status}: {}",
                String::from_utf8_lossy(&body[..body.len().min(400)])
            );
        }
        Ok(body)
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<Bytes> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// Whether a request gets an answer of 200.
    pub(crate) async fn answers(&mut self, path: &str) -> bool {
        match self.send(Method::GET, path, Bytes::new()).await {
            Ok(response) => response.status() == StatusCode::OK,
            Err(_) => false,
        }
    }

    /// Sends a watch request, whose answer never ends.
    pub(crate) async fn watch(mut self, path: &str) -> Result<Lines> {
        let response = self.send(Method::GET, path, Bytes::new()).await?;
        if !response.status().is_success() {
            bail!("watch {path}: {}", response.status());
        }
        Ok(Lines {
            body: response.into_body(),
            rest: Vec::new(),
            _connection: self,
        })
    }
}

/// The lines of an answer as they come.
pub(crate) struct Lines {
    body: Incoming,
    rest: Vec<u8>,
    _connection: Connection,
}

impl Lines {
    /// Waits for more and calls `take` with every whole line; gives the bytes received.
    pub(crate) async fn more(&mut self, mut take: impl FnMut(&[u8])) -> Result<usize> {
        let frame = self.body.frame().await.context("the watch ended")??;
        let Ok(data) = frame.into_data() else {
            return Ok(0);
        };
        let mut new = &data[..];
        while let Some(end) = new.iter().position(|byte| *byte == b'\n') {
            if self.rest.is_empty() {
                take(&new[..end]);
            } else {
                self.rest.extend_from_slice(&new[..end]);
                take(&self.rest);
                self.rest.clear();
            }
            new = &new[end + 1..];
        }
        self.rest.extend_from_slice(new);
        Ok(data.len())
    }
}
