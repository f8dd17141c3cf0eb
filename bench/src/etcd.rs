//! An etcd of our own as a peer, if it is installed (`apt-get install etcd-server`).

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::client::Endpoint;
use crate::server::free_port;

/// A running etcd with one member.
pub(crate) struct Etcd {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) ready_after: Duration,
}

impl Etcd {
    /// Starts it and waits until it says it is healthy; `None` where it is not installed.
    pub(crate) async fn start(dir: &Path) -> Result<Option<Self>> {
        let (address, peer) = (free_port()?, free_port()?);
        let (url, peer) = (format!("http://{address}"), format!("http://{peer}"));
        let begun = Instant::now();
        let child = Command::new("etcd")
            .arg("--data-dir")
            .arg(dir)
            .args([
                "--listen-client-urls",
                &url,
                "--advertise-client-urls",
                &url,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args(["--initial-cluster", &format!("default={peer}")])
            .args([
                "--log-level",
                "error",
                "--quota-backend-bytes",
                "8589934592",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = child else { return Ok(None) };
        let mut etcd = Self {
            child,
            address,
            ready_after: Duration::ZERO,
        };
        loop {
            if let Ok(mut connection) = Endpoint::plain(address).connect().await
                && connection.answers("/health").await
            {
                etcd.ready_after = begun.elapsed();
                return Ok(Some(etcd));
            }
            if etcd.child.try_wait()?.is_some() || begun.elapsed() > Duration::from_secs(30) {
                bail!("etcd did not become healthy");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
