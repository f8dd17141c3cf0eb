//! What the agent and the shim say to each other.
//!
//! A frame is a 32-bit little-endian length and that many bytes of JSON; descriptors travel with its
//! first byte. A connection carries one request. `Create`, `Start` and `Kill` get one reply; `Wait` gets
//! its reply when the container has ended; `Exec` and `Attach` keep their connection until the
//! process ends or the client leaves.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::{Deserialize, Serialize};

use crate::spec::{ContainerSpec, ExecSpec};
use crate::state::{Exit, State};
use crate::sys;

/// Largest frame. A container's environment may be big, but not this big.
pub(crate) const MAX_FRAME: usize = 16 << 20;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Create {
        spec: Box<ContainerSpec>,
        start: bool,
    },
    Start {
        id: String,
    },
    State {
        id: String,
    },
    Wait {
        id: String,
    },
    Kill {
        id: String,
        signal: i32,
    },
    Remove {
        id: String,
    },
    /// With standard input (if asked for), output and error; with a terminal without any.
    Exec {
        id: String,
        spec: Box<ExecSpec>,
    },
    /// With standard input (if asked for), output and error (unless it has a terminal).
    Attach {
        id: String,
        stdin: bool,
    },
    Resize {
        id: String,
        columns: u16,
        rows: u16,
    },
    ReopenLog {
        id: String,
    },
    /// Kill the exec of this connection.
    KillExec {
        signal: i32,
    },
    Shutdown,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Done,
    State(State),
    Exited(Exit),
    /// With the terminal, if one was asked for.
    ExecStarted,
    ExecExited(i32),
    Attached {
        tty: bool,
        stdin: bool,
    },
    Failed(Failure),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Failure {
    NotFound,
    AlreadyExists,
    WrongState { state: String, operation: String },
    Start(String),
    Other(String),
}

/// What the processes on the way to a container's program tell the shim, one packet each.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Progress {
    /// The first process is there and waits (or goes on at once, if so asked).
    Created { pid: i32 },
    /// With the terminal.
    Console,
    /// It could not be made or executed.
    Failed { message: String, code: i32 },
    /// Something that does not stop it, for the shim's log.
    Note(String),
}

pub(crate) fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = u32::try_from(frame.len() - 4).map_err(io::Error::other)?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

/// Sends as much as the socket takes; the descriptors go with the first byte.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let raw: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
    Ok(sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(bytes)],
        control,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?)
}

/// Receives bytes, and descriptors if some came along. 0 is the end.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    fds: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut control = nix::cmsg_space!([std::os::fd::RawFd; 4]);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = part {
            fds.extend(received.into_iter().map(sys::adopt_fd));
        }
    }
    Ok(message.bytes)
}

/// Bytes received so far, and the frames in them.
#[derive(Debug, Default)]
pub(crate) struct Frames(Vec<u8>);

impl Frames {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next whole frame.
    pub(crate) fn next<T: for<'de> Deserialize<'de>>(&mut self) -> io::Result<Option<T>> {
        let Some(length) = self.0.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length > MAX_FRAME {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a frame of {length} bytes"),
            ));
        }
        if self.0.len() < 4 + length {
            return Ok(None);
        }
        let message = serde_json::from_slice(&self.0[4..4 + length])?;
        self.0.drain(..4 + length);
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
        Ok(Some(message))
    }
}

/// Sends one packet of progress, blocking.
pub(crate) fn report(channel: BorrowedFd<'_>, progress: &Progress, fds: &[BorrowedFd<'_>]) {
    // The shim may be gone, and then there is no one to tell.
    if let Ok(bytes) = serde_json::to_vec(progress) {
        let _ = send(channel, &bytes[..bytes.len().min(60_000)], fds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_however_they_arrive() {
        let one = encode(&Request::Start { id: "a".to_owned() }).unwrap();
        let two = encode(&Request::Shutdown).unwrap();
        let mut frames = Frames::default();
        let bytes = [one, two].concat();
        let mut seen = Vec::new();
        for byte in bytes {
            frames.push(&[byte]);
            while let Some(request) = frames.next::<Request>().unwrap() {
                seen.push(format!("{request:?}"));
            }
        }
        assert_eq!(seen, ["Start { id: \"a\" }", "Shutdown"]);
    }

    #[test]
    fn an_absurd_length_is_refused() {
        let mut frames = Frames::default();
        frames.push(&u32::MAX.to_le_bytes());
        assert!(frames.next::<Request>().is_err());
    }
}
