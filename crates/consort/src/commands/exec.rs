//! `consort exec`.

use std::io::IsTerminal as _;

use futures::SinkExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{AttachParams, TerminalSize};
use nix::sys::termios::{self, SetArg, Termios};
use tokio::io::AsyncWriteExt as _;
use tokio::signal::unix::{SignalKind, signal};

use super::pods;
use crate::cli::Exec;
use crate::connect::connect;
use crate::error::{Failure, Kind, Result};

/// Runs a command in a container; the process ends with the command's exit code.
pub(super) async fn run(args: Exec) -> Result<()> {
    let connection = connect(&args.target).await?;
    let pod = pods::find(&connection, &args.what).await?;
    let terminal = args.tty && std::io::stdin().is_terminal();
    let mut params = AttachParams::default()
        .stdin(args.stdin)
        .stdout(true)
        .stderr(!args.tty)
        .tty(args.tty);
    if let Some(container) = pods::container(&pod, args.container) {
        params = params.container(container);
    }
    let api: Api<Pod> = Api::namespaced(connection.client, &connection.namespace);
    let name = pod.metadata.name.unwrap_or_default();
    let mut process = api.exec(&name, args.command, &params).await?;

    let _raw = terminal.then(RawTerminal::enter).transpose()?;
    let mut tasks = tokio::task::JoinSet::new();
    if terminal && let Some(mut sizes) = process.terminal_size() {
        tasks.spawn(async move {
            let Ok(mut changed) = signal(SignalKind::window_change()) else {
                return;
            };
            loop {
                if let Some(size) = terminal_size()
                    && sizes.send(size).await.is_err()
                {
                    return;
                }
                if changed.recv().await.is_none() {
                    return;
                }
            }
        });
    }
    if let Some(mut input) = process.stdin() {
        tasks.spawn(async move {
            // A closed pipe only means that the command ended first.
            let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut input).await;
            let _ = input.shutdown().await;
        });
    }
    let stdout = process.stdout();
    let stderr = process.stderr();
    let out = async {
        if let Some(mut stdout) = stdout {
            let _ = tokio::io::copy(&mut stdout, &mut tokio::io::stdout()).await;
        }
    };
    let err = async {
        if let Some(mut stderr) = stderr {
            let _ = tokio::io::copy(&mut stderr, &mut tokio::io::stderr()).await;
        }
    };
    let status = process.take_status();
    let ended = async {
        match status {
            Some(status) => status.await,
            None => None,
        }
    };
    let ((), (), status) = tokio::join!(out, err, ended);
    tasks.abort_all();
    let Some(status) = status else {
        return Err(Failure::new(
            Kind::Failed,
            "the connection ended before the command did",
        ));
    };
    if status.status.as_deref() == Some("Success") {
        return Ok(());
    }
    let causes = status
        .details
        .and_then(|details| details.causes)
        .unwrap_or_default();
    let code = causes
        .iter()
        .find(|cause| cause.reason.as_deref() == Some("ExitCode"))
        .and_then(|cause| cause.message.as_deref()?.parse::<u8>().ok());
    match code {
        Some(code) => Err(Failure::code(code)),
        None => Err(Failure::new(
            Kind::Failed,
            status.message.unwrap_or_default(),
        )),
    }
}

pub(super) fn terminal_size() -> Option<TerminalSize> {
    let (terminal_size::Width(width), terminal_size::Height(height)) =
        terminal_size::terminal_size_of(std::io::stdin())?;
    Some(TerminalSize { width, height })
}

/// The terminal passes keys on as they are; put back as it was when dropped.
pub(super) struct RawTerminal(Termios);

impl RawTerminal {
    pub(super) fn enter() -> Result<Self> {
        let stdin = std::io::stdin();
        let before = termios::tcgetattr(&stdin).map_err(std::io::Error::from)?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(&stdin, SetArg::TCSANOW, &raw).map_err(std::io::Error::from)?;
        Ok(Self(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, &self.0);
    }
}
