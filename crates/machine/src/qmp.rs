//! What is said to a running QEMU: its machine protocol, one JSON object a line.

use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

/// How long QEMU may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest line.
const LINE_MAX: usize = 1 << 20;

pub(crate) struct Qmp(BufReader<UnixStream>);

impl Qmp {
    /// Connects to the socket in a machine's directory. By a descriptor of the directory: paths of sockets are short.
    pub(crate) async fn connect(home: &Path) -> io::Result<Self> {
        let dir = std::fs::File::open(home)?;
        let path = format!("/proc/self/fd/{}/qmp.sock", dir.as_raw_fd());
        let mut qmp = Self(BufReader::new(UnixStream::connect(path).await?));
        qmp.line().await?;
        qmp.ask("qmp_capabilities").await?;
        Ok(qmp)
    }

    async fn line(&mut self) -> io::Result<Value> {
        let mut bytes = Vec::new();
        let read = async {
            loop {
                let part = self.0.fill_buf().await?;
                if part.is_empty() {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                }
                let end = part.iter().position(|byte| *byte == b'\n');
                let length = end.map_or(part.len(), |end| end + 1);
                bytes.extend_from_slice(&part[..length]);
                self.0.consume(length);
                if end.is_some() {
                    return Ok(());
                }
                if bytes.len() > LINE_MAX {
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
        };
        tokio::time::timeout(PATIENCE, read)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Asks for a command without arguments; events on the way are passed over.
    pub(crate) async fn ask(&mut self, command: &str) -> io::Result<Value> {
        let mut request = json!({ "execute": command }).to_string();
        request.push('\n');
        self.0.get_mut().write_all(request.as_bytes()).await?;
        loop {
            let mut answer = self.line().await?;
            if let Some(found) = answer.get_mut("return") {
                return Ok(found.take());
            }
            if let Some(error) = answer.get("error") {
                let text = error["desc"]
                    .as_str()
                    .unwrap_or("an error without description");
                return Err(io::Error::other(text.to_owned()));
            }
        }
    }
}
