//! Remote commands over SPDY: one stream each for input, output, error output, sizes and the end.

use http::HeaderMap;

use super::session::{Reader, Session, Stream, Writer};
use crate::streaming::Error;
use crate::streaming::process::Streams;
use crate::streaming::upgrade::STREAM_PROTOCOL;

/// A version of the remote command protocol over SPDY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::streaming) enum CommandVersion {
    /// The end is a `Status`.
    V4,
    /// Terminal sizes have a stream.
    V3,
    /// The first with a fixed meaning of the streams.
    V2,
}

impl CommandVersion {
    /// Its name in the handshake.
    pub(in crate::streaming) fn name(self) -> &'static str {
        match self {
            Self::V4 => "v4.channel.k8s.io",
            Self::V3 => "v3.channel.k8s.io",
            Self::V2 => "v2.channel.k8s.io",
        }
    }

    /// What the process's end is told as.
    pub(in crate::streaming) fn tells_status(self) -> bool {
        self == Self::V4
    }
}

/// Picks the newest version the client offers.
pub(in crate::streaming) fn command_version(headers: &HeaderMap) -> Result<CommandVersion, Error> {
    let values = headers.get_all(STREAM_PROTOCOL);
    let offered: Vec<&str> = values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(',').map(str::trim))
        .collect();
    [CommandVersion::V4, CommandVersion::V3, CommandVersion::V2]
        .into_iter()
        .find(|version| offered.contains(&version.name()))
        .ok_or_else(|| {
            Error::BadRequest(format!(
                "none of the offered protocols is known: {}",
                offered.join(", ")
            ))
        })
}

/// The streams of one command.
pub(in crate::streaming) struct Parts {
    pub(in crate::streaming) stdin: Option<Reader>,
    pub(in crate::streaming) stdout: Option<Writer>,
    pub(in crate::streaming) stderr: Option<Writer>,
    pub(in crate::streaming) resize: Option<Reader>,
    pub(in crate::streaming) error: Writer,
}

/// Waits for all streams that the request announced; `None` if the client goes first.
pub(in crate::streaming) async fn command_streams(
    session: &mut Session,
    wanted: Streams,
    version: CommandVersion,
) -> Option<Parts> {
    let resizes = wanted.tty && version != CommandVersion::V2;
    let (mut stdin, mut stdout, mut stderr, mut resize, mut error) = (None, None, None, None, None);
    loop {
        let complete = error.is_some()
            && (stdin.is_some() || !wanted.stdin)
            && (stdout.is_some() || !wanted.stdout)
            && (stderr.is_some() || !wanted.stderr)
            && (resize.is_some() || !resizes);
        if complete {
            return Some(Parts {
                stdin,
                stdout,
                stderr,
                resize,
                error: error?,
            });
        }
        let stream: Stream = session.accept().await?;
        let kind = stream.header("streamtype").unwrap_or_default().to_owned();
        let (reader, writer) = stream.split();
        match kind.as_str() {
            "stdin" => stdin = Some(reader),
            "stdout" => stdout = Some(writer),
            "stderr" => stderr = Some(writer),
            "resize" => resize = Some(reader),
            "error" => error = Some(writer),
            _ => writer.reset().await,
        }
    }
}
