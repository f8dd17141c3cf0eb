//! The way through a proxy.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Error;
use crate::connect::dial;

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP's `CONNECT`.
    Http,
    /// SOCKS version 5 (RFC 1928), with names resolved by the proxy.
    Socks5,
}

/// A proxy, and who we are to it.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// What it speaks.
    pub scheme: Scheme,
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// A name and a password, if it asks for them.
    pub credentials: Option<(String, String)>,
}

/// The longest head of an HTTP answer that is read.
const LONGEST: usize = 16 * 1024;

impl Proxy {
    /// A stream to `address` (`host:port`).
    pub(crate) async fn open(&self, address: &str) -> Result<TcpStream, Error> {
        let host = bracketed(&self.host);
        let mut stream = dial(&format!("{host}:{}", self.port)).await?;
        let talk = async {
            match self.scheme {
                Scheme::Http => self.connect(&mut stream, address).await,
                Scheme::Socks5 => self.socks(&mut stream, address).await,
            }
        };
        match tokio::time::timeout(std::time::Duration::from_secs(15), talk).await {
            Ok(Ok(Ok(()))) => Ok(stream),
            Ok(Ok(Err(refused))) => Err(Error::Proxy(refused)),
            Ok(Err(broken)) => Err(Error::Proxy(format!("proxy: {broken}"))),
            Err(_) => Err(Error::Proxy("proxy: i/o timeout".to_owned())),
        }
    }

    async fn connect(
        &self,
        stream: &mut TcpStream,
        address: &str,
    ) -> std::io::Result<Result<(), String>> {
        let mut request = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n");
        if let Some((name, password)) = &self.credentials {
            let basic = STANDARD.encode(format!("{name}:{password}"));
            request.push_str(&format!("Proxy-Authorization: Basic {basic}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await?;
        // Byte by byte: what follows the head is the other side's already.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() > LONGEST {
                return Ok(Err("proxy: the answer is too long".to_owned()));
            }
            head.push(stream.read_u8().await?);
        }
        let status = std::str::from_utf8(&head)
            .ok()
            .and_then(|text| text.split_whitespace().nth(1))
            .and_then(|code| code.parse::<u16>().ok());
        Ok(match status {
            Some(200) => Ok(()),
            Some(code) => Err(format!("Connection Error: StatusCode: {code}")),
            None => Err("proxy: the answer is not HTTP".to_owned()),
        })
    }

    async fn socks(
        &self,
        stream: &mut TcpStream,
        address: &str,
    ) -> std::io::Result<Result<(), String>> {
        let Some((host, port)) = address
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)))
        else {
            return Ok(Err(format!("socks: {address:?} has no port")));
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let methods: &[u8] = if self.credentials.is_some() {
            &[5, 2, 0, 2]
        } else {
            &[5, 1, 0]
        };
        stream.write_all(methods).await?;
        let mut chosen = [0; 2];
        stream.read_exact(&mut chosen).await?;
        match (chosen, &self.credentials) {
            ([5, 0], _) => {}
            ([5, 2], Some((name, password))) => {
                if name.len() > 255 || password.len() > 255 {
                    return Ok(Err("socks: user name or password is too long".to_owned()));
                }
                let mut request = vec![1, name.len() as u8];
                request.extend(name.as_bytes());
                request.push(password.len() as u8);
                request.extend(password.as_bytes());
                stream.write_all(&request).await?;
                stream.read_exact(&mut chosen).await?;
                if chosen[1] != 0 {
                    return Ok(Err(
                        "socks: username/password authentication failed".to_owned()
                    ));
                }
            }
            _ => return Ok(Err("socks: no acceptable authentication methods".to_owned())),
        }
        let mut request = vec![5, 1, 0];
        match host.parse() {
            Ok(std::net::IpAddr::V4(found)) => {
                request.push(1);
                request.extend(found.octets());
            }
            Ok(std::net::IpAddr::V6(found)) => {
                request.push(4);
                request.extend(found.octets());
            }
            Err(_) if host.len() > 255 => return Ok(Err("socks: the name is too long".to_owned())),
            Err(_) => {
                request.extend([3, host.len() as u8]);
                request.extend(host.as_bytes());
            }
        }
        request.extend(port.to_be_bytes());
        stream.write_all(&request).await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        if answer[1] != 0 {
            let why = match answer[1] {
                1 => "general SOCKS server failure",
                2 => "connection not allowed by ruleset",
                3 => "network unreachable",
                4 => "host unreachable",
                5 => "connection refused",
                6 => "TTL expired",
                7 => "command not supported",
                8 => "address type not supported",
                _ => "unknown code",
            };
            return Ok(Err(format!("socks connect tcp {address}: {why}")));
        }
        let rest = match answer[3] {
            1 => 4,
            4 => 16,
            _ => usize::from(stream.read_u8().await?),
        };
        let mut bound = vec![0; rest + 2];
        stream.read_exact(&mut bound).await?;
        Ok(Ok(()))
    }
}

/// A host as it stands before a port: IPv6 addresses in brackets.
pub(crate) fn bracketed(host: &str) -> String {
    if host.parse::<std::net::Ipv6Addr>().is_ok() {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}
