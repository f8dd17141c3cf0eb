//! Clients that are connected to a container's standard streams.

use std::os::fd::OwnedFd;

use super::container::{set_nonblocking, write_some};

/// An attacher that is further behind than this is cut off: memory is bounded, and a stuck client must not
/// stop the container.
const MAX_BEHIND: usize = 1 << 20;

/// One direction to a client.
#[derive(Debug)]
pub(super) struct Sink {
    pub(super) fd: OwnedFd,
    pub(super) pending: Vec<u8>,
}

impl Sink {
    /// Whether the client is still there and keeps up.
    pub(super) fn flush(&mut self) -> bool {
        match write_some(&self.fd, &self.pending) {
            Ok(length) => {
                self.pending.drain(..length);
                self.pending.len() <= MAX_BEHIND
            }
            Err(_) => false,
        }
    }
}

/// One attached client; its connection is the key under which the server keeps it.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) container: String,
    pub(super) input: Option<OwnedFd>,
    pub(super) sinks: [Option<Sink>; 2],
    /// The container has ended: what is pending is still delivered.
    pub(super) ending: bool,
}

impl Attachment {
    /// `fds`: standard input if asked for, then the outputs.
    pub(super) fn new(
        container: String,
        stdin: bool,
        mut fds: Vec<OwnedFd>,
    ) -> std::io::Result<Self> {
        for fd in &fds {
            set_nonblocking(fd)?;
        }
        let input = (stdin && !fds.is_empty()).then(|| fds.remove(0));
        let mut sinks = fds.into_iter().map(|fd| Sink {
            fd,
            pending: Vec::new(),
        });
        let sinks = [sinks.next(), sinks.next()];
        Ok(Self {
            container,
            input,
            sinks,
            ending: false,
        })
    }

    /// Passes output on; `false` if the client is to be dropped.
    pub(super) fn push(&mut self, number: usize, data: &[u8]) -> bool {
        match &mut self.sinks[number] {
            Some(sink) => {
                sink.pending.extend_from_slice(data);
                sink.flush()
            }
            None => true,
        }
    }

    pub(super) fn delivered(&self) -> bool {
        self.sinks
            .iter()
            .flatten()
            .all(|sink| sink.pending.is_empty())
    }
}
