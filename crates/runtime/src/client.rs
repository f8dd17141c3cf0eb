//! A connection from the agent to a shim.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::layout::SOCKET;
use crate::wire::{self, Frames, Reply, Request};

#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    frames: Frames,
    fds: Vec<OwnedFd>,
}

impl Connection {
    /// Connects through a descriptor of the directory, because socket paths are short.
    pub(crate) async fn open(sandbox: &Path) -> io::Result<Self> {
        let dir = File::open(sandbox)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()));
        let stream = UnixStream::connect(path).await?;
        Ok(Self {
            stream,
            frames: Frames::default(),
            fds: Vec::new(),
        })
    }

    pub(crate) async fn send(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let frame = wire::encode(request)?;
        let mut sent = 0;
        while sent < frame.len() {
            self.stream.writable().await?;
            let with = if sent == 0 { fds } else { &[] };
            match self.stream.try_io(Interest::WRITABLE, || {
                wire::send(self.stream.as_fd(), &frame[sent..], with)
            }) {
                Ok(length) => sent += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next reply, or `UnexpectedEof` if the shim has closed the connection. Safe to cancel.
    pub(crate) async fn receive(&mut self) -> io::Result<Reply> {
        loop {
            if let Some(reply) = self.frames.next()? {
                return Ok(reply);
            }
            self.stream.readable().await?;
            let mut bytes = [0; 4096];
            let Self { stream, fds, .. } = self;
            match stream.try_io(Interest::READABLE, || {
                wire::receive(stream.as_fd(), &mut bytes, fds)
            }) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.frames.push(&bytes[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A descriptor that came with the replies so far.
    pub(crate) fn take_fd(&mut self) -> Option<OwnedFd> {
        self.fds.pop()
    }
}
