//! One request and its response: HTTP/1.1 over TCP, TLS, a socket of the machine, or through a proxy.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;

use super::address::Address;

/// How a request goes out.
pub(super) struct Way<'a> {
    pub(super) timeout: Duration,
    pub(super) tls: &'a Arc<rustls::ClientConfig>,
    /// A socket of the machine instead of the host.
    pub(super) socket: Option<PathBuf>,
    pub(super) proxy: Option<Address>,
}

/// Why there is no response.
#[derive(Debug)]
pub(super) enum Lost {
    /// No connection: what Python calls `URLError`.
    Unreachable(String),
    /// The connection broke.
    Broken(String),
    /// What came was no HTTP.
    NoHttp(String),
}

/// Headers as they came, and what follows them.
pub(super) struct Received {
    pub(super) status: u16,
    pub(super) reason: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Box<dyn Read>,
}

trait Both: Read + Write {}
impl<T: Read + Write> Both for T {}

/// The longest line of a header, and how many there may be.
const LONGEST_LINE: u64 = 65_536;
const MOST_HEADERS: usize = 200;

/// An error of the system without the path or the words of Rust.
fn told(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "timed out".to_owned(),
        _ => crate::python::os_error(error),
    }
}

/// A name that was not found, with the number that `getaddrinfo` gave and Rust tells in words alone.
fn unresolved(error: &io::Error) -> String {
    let words = error.to_string();
    let told = [
        (-3, "Temporary failure in name resolution"),
        (-4, "Non-recoverable failure in name resolution"),
        (-5, "No address associated with hostname"),
    ];
    let (number, reason) = told
        .into_iter()
        .find(|(_, reason)| words.ends_with(reason))
        .unwrap_or((-2, "Name or service not known"));
    format!("[Errno {number}] {reason}")
}

fn connect(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, Lost> {
    let unreachable = |reason: String| Lost::Unreachable(format!("<urlopen error {reason}>"));
    let addresses =
        crate::names::addresses(host, port).map_err(|error| unreachable(unresolved(&error)))?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => {
                let set = stream
                    .set_read_timeout(Some(timeout))
                    .and_then(|()| stream.set_write_timeout(Some(timeout)))
                    .and_then(|()| stream.set_nodelay(true));
                set.map_err(|error| unreachable(told(&error)))?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(unreachable(last.map_or_else(
        || "[Errno -2] Name or service not known".to_owned(),
        |error| told(&error),
    )))
}

/// Sends a request and reads the head of its response.
pub(super) fn exchange(
    address: &Address,
    method: &str,
    headers: &[(String, String)],
    body: Option<&[u8]>,
    way: &Way<'_>,
) -> Result<Received, Lost> {
    let secure = address.scheme == "https";
    let port = address.port_or_usual();
    let host = address.host();
    let mut target = address.target();
    let mut stream: Box<dyn Both> = if let Some(socket) = &way.socket {
        let invalid = |error: io::Error| {
            Lost::Unreachable(format!(
                "<urlopen error Invalid Socket File ({}): {}>",
                socket.display(),
                crate::python::os_error(&error)
            ))
        };
        let stream = UnixStream::connect(socket).map_err(invalid)?;
        stream
            .set_read_timeout(Some(way.timeout))
            .and_then(|()| stream.set_write_timeout(Some(way.timeout)))
            .map_err(invalid)?;
        if secure {
            encrypted(stream, &host, way.tls)?
        } else {
            Box::new(stream)
        }
    } else if let Some(proxy) = &way.proxy {
        let mut stream = connect(&proxy.host(), proxy.port().unwrap_or(80), way.timeout)?;
        if secure {
            tunnel(&mut stream, &host, port, proxy)?;
            encrypted(stream, &host, way.tls)?
        } else {
            target = address.clone().without_credentials().text();
            Box::new(stream)
        }
    } else {
        let stream = connect(&host, port, way.timeout)?;
        if secure {
            encrypted(stream, &host, way.tls)?
        } else {
            Box::new(stream)
        }
    };
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    for (name, value) in headers {
        // A line within a value would be another header.
        if value.contains(['\r', '\n']) || name.contains(['\r', '\n', ':']) {
            return Err(Lost::Broken(format!("Invalid header value {value:?}")));
        }
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let broken = |error: io::Error| Lost::Broken(told(&error));
    stream.write_all(head.as_bytes()).map_err(tls_or(broken))?;
    if let Some(body) = body {
        stream.write_all(body).map_err(tls_or(broken))?;
    }
    stream.flush().map_err(tls_or(broken))?;
    receive(stream, method)
}

/// Errors of TLS come with the first bytes, and are of the connection.
fn tls_or(other: impl Fn(io::Error) -> Lost) -> impl Fn(io::Error) -> Lost {
    move |error| match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        Some(inner) => Lost::Unreachable(format!("<urlopen error {}>", of_tls(inner))),
        None => other(error),
    }
}

/// An error of TLS in the words of OpenSSL.
fn of_tls(error: &rustls::Error) -> String {
    use rustls::CertificateError as Certificate;
    let reason = match error {
        rustls::Error::InvalidCertificate(reason) => match reason {
            Certificate::Expired | Certificate::ExpiredContext { .. } => {
                "certificate has expired".to_owned()
            }
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                "certificate is not yet valid".to_owned()
            }
            Certificate::UnknownIssuer => "unable to get local issuer certificate".to_owned(),
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                "Hostname mismatch, certificate is not valid for the host".to_owned()
            }
            other => other.to_string(),
        },
        other => return format!("[SSL] {other}"),
    };
    format!("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {reason}")
}

fn encrypted<S: Read + Write + 'static>(
    mut stream: S,
    host: &str,
    config: &Arc<rustls::ClientConfig>,
) -> Result<Box<dyn Both>, Lost> {
    let failed = |reason: String| Lost::Unreachable(format!("<urlopen error {reason}>"));
    let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(error.to_string()))?;
    let mut connection = rustls::ClientConnection::new(config.clone(), name)
        .map_err(|error| failed(of_tls(&error)))?;
    while connection.is_handshaking() {
        connection
            .complete_io(&mut stream)
            .map_err(tls_or(|error| failed(told(&error))))?;
    }
    Ok(Box::new(rustls::StreamOwned::new(connection, stream)))
}

/// Has a proxy connect to the host.
fn tunnel(stream: &mut TcpStream, host: &str, port: u16, proxy: &Address) -> Result<(), Lost> {
    let failed = |reason: String| Lost::Unreachable(format!("<urlopen error {reason}>"));
    let mut head = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    if let Some(value) = super::auth::of_address(proxy) {
        head.push_str(&format!("Proxy-Authorization: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream
        .write_all(head.as_bytes())
        .map_err(|error| failed(told(&error)))?;
    // Byte by byte: what follows the head is TLS already.
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() as u64 > LONGEST_LINE {
            return Err(failed(
                "Tunnel connection failed: no end of headers".to_owned(),
            ));
        }
        match stream.read(&mut byte) {
            Ok(0) => return Err(failed("Tunnel connection failed: closed".to_owned())),
            Ok(_) => answer.push(byte[0]),
            Err(error) => return Err(failed(told(&error))),
        }
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let line = answer.lines().next().unwrap_or("");
    let (_, told) = line.split_once(' ').unwrap_or(("", ""));
    if told.starts_with("200") {
        Ok(())
    } else {
        Err(failed(format!("Tunnel connection failed: {told}")))
    }
}

fn line(reader: &mut impl BufRead) -> Result<String, Lost> {
    let mut text = Vec::new();
    reader
        .take(LONGEST_LINE)
        .read_until(b'\n', &mut text)
        .map_err(tls_or(|error| {
            Lost::Broken(match error.kind() {
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "timed out".to_owned(),
                _ => crate::python::os_error(&error),
            })
        }))?;
    if text.len() as u64 == LONGEST_LINE {
        return Err(Lost::NoHttp(
            "got more than 65536 bytes when reading a line".to_owned(),
        ));
    }
    while matches!(text.last(), Some(b'\r' | b'\n')) {
        text.pop();
    }
    Ok(text.into_iter().map(char::from).collect())
}

fn receive(stream: Box<dyn Both>, method: &str) -> Result<Received, Lost> {
    let mut reader = BufReader::with_capacity(64 * 1024, stream);
    loop {
        let first = line(&mut reader)?;
        if first.is_empty() {
            return Err(Lost::Broken(
                "Remote end closed connection without response".to_owned(),
            ));
        }
        let mut parts = first.splitn(3, ' ');
        let (version, status, reason) = (parts.next(), parts.next(), parts.next().unwrap_or(""));
        let status = match (
            version,
            status.and_then(|status| status.trim().parse::<u16>().ok()),
        ) {
            (Some(version), Some(status))
                if version.starts_with("HTTP/") && (100..1000).contains(&status) =>
            {
                status
            }
            _ => return Err(Lost::NoHttp(first)),
        };
        let mut headers: Vec<(String, String)> = Vec::new();
        loop {
            let text = line(&mut reader)?;
            if text.is_empty() {
                break;
            }
            if headers.len() >= MOST_HEADERS {
                return Err(Lost::NoHttp("got more than 200 headers".to_owned()));
            }
            if text.starts_with([' ', '\t'])
                && let Some((_, value)) = headers.last_mut()
            {
                value.push_str(text.trim());
            } else if let Some((name, value)) = text.split_once(':') {
                headers.push((name.trim().to_owned(), value.trim().to_owned()));
            }
        }
        if status == 100 {
            continue;
        }
        let value = |wanted: &str| {
            headers
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
                .map(|(_, value)| value.clone())
        };
        let nothing = method == "HEAD" || status == 204 || status == 304 || status < 200;
        let chunked =
            value("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
        let body: Box<dyn Read> = if nothing {
            Box::new(io::empty())
        } else if chunked {
            Box::new(Chunked {
                reader,
                left: 0,
                state: State::Before,
            })
        } else if let Some(length) = value("content-length").and_then(|text| text.parse().ok()) {
            Box::new(reader.take(length))
        } else {
            Box::new(reader)
        };
        return Ok(Received {
            status,
            reason: reason.trim().to_owned(),
            headers,
            body,
        });
    }
}

/// A body in chunks.
struct Chunked<R> {
    reader: R,
    left: u64,
    state: State,
}

#[derive(PartialEq)]
enum State {
    Before,
    Within,
    Done,
}

impl<R: BufRead> Read for Chunked<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.state == State::Done || into.is_empty() {
            return Ok(0);
        }
        let mut one_line = || -> io::Result<String> {
            let mut text = Vec::new();
            (&mut self.reader)
                .take(LONGEST_LINE)
                .read_until(b'\n', &mut text)?;
            if text.is_empty() {
                return Err(io::Error::other("IncompleteRead"));
            }
            Ok(String::from_utf8_lossy(&text).trim().to_owned())
        };
        if self.state == State::Before {
            let size = one_line()?;
            let size = size.split(';').next().unwrap_or("").trim();
            self.left =
                u64::from_str_radix(size, 16).map_err(|_| io::Error::other("IncompleteRead"))?;
            if self.left == 0 {
                while !one_line().unwrap_or_default().is_empty() {}
                self.state = State::Done;
                return Ok(0);
            }
            self.state = State::Within;
        }
        let most = into
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let length = self.reader.read(&mut into[..most])?;
        if length == 0 {
            return Err(io::Error::other("IncompleteRead"));
        }
        self.left -= length as u64;
        if self.left == 0 {
            let mut end = Vec::new();
            (&mut self.reader).take(2).read_until(b'\n', &mut end)?;
            self.state = State::Before;
        }
        Ok(length)
    }
}
