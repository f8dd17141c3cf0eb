//! TLS to what presents a certificate nobody vouches for.

use rustls::pki_types::ServerName;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Speak TLS over a connection, whoever answers.
pub(super) async fn connect(
    stream: TcpStream,
    address: IpAddr,
) -> std::io::Result<TlsStream<TcpStream>> {
    let config = consort_tls::unverified().map_err(std::io::Error::other)?;
    TlsConnector::from(Arc::new(config))
        .connect(ServerName::IpAddress(address.into()), stream)
        .await
}
