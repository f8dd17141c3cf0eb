//! A `consort server` of our own, started for a benchmark and stopped after it.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Place;
use crate::client::{Connection, Endpoint};

/// How long a server may take to come up or to go.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running server.
pub(crate) struct Server {
    child: Child,
    data_dir: PathBuf,
    binary: PathBuf,
    pub(crate) address: SocketAddr,
    /// From the start of the process until it said that it is ready.
    pub(crate) ready_after: Duration,
}

/// The server's executable.
pub(crate) fn binary(place: &Place) -> Result<PathBuf> {
    let path = match &place.consort {
        Some(path) => std::path::absolute(path)?,
        None if place.api_only => std::env::current_exe()?,
        None => std::env::current_exe()?.with_file_name("consort"),
    };
    if !path.exists() {
        bail!(
            "{} is missing: `cargo build --release` makes it",
            path.display()
        );
    }
    Ok(path)
}

/// A port nobody listens on now.
pub(crate) fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Goes into a network namespace of its own, with a loopback and no way out. Has to be called before
/// any thread is started.
pub(crate) fn isolate() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("this benchmark runs pods, which needs root");
    }
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
        .context("making a network namespace")?;
    let done = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status()?;
    if !done.success() {
        bail!("ip link set lo up failed");
    }
    Ok(())
}

impl Server {
    /// Starts a server and waits until `/readyz` answers.
    pub(crate) async fn start(place: &Place, data_dir: &Path, node: bool) -> Result<Self> {
        let binary = binary(place)?;
        let address = free_port()?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(data_dir.with_extension("log"))?;
        let mut command = Command::new(&binary);
        command
            .arg("server")
            .arg("--data-dir")
            .arg(data_dir)
            .arg("--listen")
            .arg(address.to_string());
        if !node {
            command.arg("--no-node");
        }
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let begun = Instant::now();
        let child = command.spawn()?;
        let mut server = Self {
            child,
            data_dir: data_dir.to_owned(),
            binary,
            address,
            ready_after: Duration::ZERO,
        };
        loop {
            if server.is_ready().await {
                server.ready_after = begun.elapsed();
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait()? {
                bail!(
                    "the server ended with {status}; see {}",
                    data_dir.with_extension("log").display()
                );
            }
            if begun.elapsed() > PATIENCE {
                bail!("the server did not become ready");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn is_ready(&self) -> bool {
        // The kubeconfig of this start is written when the API answers; one of an earlier start, which
        // is as good, is there before.
        let Ok(endpoint) = self.endpoint() else {
            return false;
        };
        match endpoint.connect().await {
            Ok(mut connection) => connection.answers("/readyz").await,
            Err(_) => false,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A text in the command line of every process that works for this server, and of no other: the
    /// name of the temporary directory above its data directory.
    pub(crate) fn marker(&self) -> String {
        let above = self.data_dir.parent().and_then(Path::file_name);
        above.map_or_else(String::new, |name| format!("{}/", name.to_string_lossy()))
    }

    pub(crate) fn endpoint(&self) -> Result<Endpoint> {
        Endpoint::kubeconfig(self.address, &self.data_dir.join("admin.kubeconfig"))
    }

    pub(crate) async fn connect(&self) -> Result<Connection> {
        self.endpoint()?.connect().await
    }

    /// Applies a directory with the program's own command.
    pub(crate) fn apply(&self, path: &Path) -> Result<()> {
        let output = Command::new(&self.binary)
            .arg("apply")
            .arg("--data-dir")
            .arg(&self.data_dir)
            .arg("-f")
            .arg(path)
            .output()?;
        if !output.status.success() {
            bail!("apply failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Stops it as `SIGTERM` does: pods are stopped too.
    pub(crate) async fn stop(mut self) -> Result<Duration> {
        let begun = Instant::now();
        kill(
            Pid::from_raw(self.child.id().cast_signed()),
            Signal::SIGTERM,
        )?;
        while self.child.try_wait()?.is_none() {
            if begun.elapsed() > PATIENCE {
                bail!("the server did not stop");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(begun.elapsed())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Reached only when the benchmark failed: the way out is still the polite one.
            let _ = kill(
                Pid::from_raw(self.child.id().cast_signed()),
                Signal::SIGTERM,
            );
            let _ = self.child.wait();
        }
    }
}
