//! A blocking netlink socket.

use std::io;
use std::os::fd::AsFd;

use netlink_sys::SocketAddr;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{ReceiveTimeout, SndBufForce};
use nix::sys::time::TimeVal;

use super::{HEADER, Messages};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
/// Room for the largest datagram the kernel makes for a dump.
const RECEIVE: usize = 1 << 16;
/// How long the kernel may take for an answer before we take it for lost.
const PATIENCE_SECONDS: i64 = 20;

/// What a dump brought: message types with their payloads.
pub(crate) type Dump = Vec<(u16, Vec<u8>)>;

/// Bound to the network namespace of the thread that opened it, wherever it is used later.
#[derive(Debug)]
pub(crate) struct Socket {
    inner: netlink_sys::Socket,
    buffer: Vec<u8>,
    room: usize,
}

impl Socket {
    /// Opens a socket of a netlink family (`NETLINK_ROUTE` 0, `NETLINK_NETFILTER` 12).
    pub(crate) fn open(family: isize) -> io::Result<Self> {
        let mut socket = netlink_sys::Socket::new(family)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Acknowledgements repeat the request only in parts; without this each error would carry all of it.
        socket.set_cap_ack(true)?;
        setsockopt(
            &socket.as_fd(),
            ReceiveTimeout,
            &TimeVal::new(PATIENCE_SECONDS, 0),
        )?;
        Ok(Self {
            inner: socket,
            buffer: Vec::with_capacity(RECEIVE),
            room: 0,
        })
    }

    /// Sends all messages as one datagram and waits for the answer to the last. The first error the
    /// kernel reports for any of them is returned.
    pub(crate) fn transact(&mut self, messages: &Messages) -> io::Result<()> {
        self.transact_until(messages, messages.last())
    }

    /// As [`Socket::transact`], where message number `last` is the one that is acknowledged.
    pub(crate) fn transact_until(&mut self, messages: &Messages, last: u32) -> io::Result<()> {
        self.send(messages)?;
        let mut outcome = Ok(());
        loop {
            let mut done = false;
            self.receive(|message| {
                if message.kind == NLMSG_ERROR {
                    let code = message.code();
                    if code != 0 && outcome.is_ok() {
                        outcome = Err(io::Error::from_raw_os_error(-code));
                    }
                    // A batch refused as a whole is answered under the number of its first message.
                    done |= message.sequence == last || (code != 0 && message.sequence == 1);
                }
            })?;
            if done {
                return outcome;
            }
        }
    }

    /// Sends one request and collects what comes before its acknowledgement.
    pub(crate) fn ask(&mut self, request: &Messages) -> io::Result<Dump> {
        self.dump(request)
    }

    /// Sends a dump request and collects the answer. A dump that was disturbed by a concurrent change
    /// fails with [`io::ErrorKind::Interrupted`].
    pub(crate) fn dump(&mut self, request: &Messages) -> io::Result<Dump> {
        self.send(request)?;
        let mut found = Dump::new();
        let mut disturbed = false;
        let mut end = None;
        while end.is_none() {
            self.receive(|message| {
                disturbed |= message.flags & NLM_F_DUMP_INTR != 0;
                match message.kind {
                    NLMSG_DONE | NLMSG_ERROR => end = Some(message.code()),
                    kind => found.push((kind, message.payload.to_vec())),
                }
            })?;
        }
        match end {
            Some(code) if code < 0 => Err(io::Error::from_raw_os_error(-code)),
            _ if disturbed => Err(io::ErrorKind::Interrupted.into()),
            _ => Ok(found),
        }
    }

    /// As [`Socket::dump`], repeated until it was not disturbed.
    pub(crate) fn dump_consistent(&mut self, request: &Messages) -> io::Result<Dump> {
        const TRIES: usize = 20;
        for _ in 1..TRIES {
            match self.dump(request) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
        self.dump(request)
    }

    fn send(&mut self, messages: &Messages) -> io::Result<()> {
        // What an earlier, abandoned exchange left behind must not answer this one.
        while self
            .inner
            .recv(&mut &mut [0u8; HEADER][..], libc::MSG_DONTWAIT)
            .is_ok()
        {}
        let wanted = messages.len() * 2 + (1 << 16);
        if wanted > self.room {
            setsockopt(&self.inner.as_fd(), SndBufForce, &wanted)?;
            self.room = wanted;
        }
        let sent = self.inner.send(messages.bytes(), 0)?;
        if sent == messages.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    fn receive(&mut self, mut each: impl FnMut(Message<'_>)) -> io::Result<()> {
        self.buffer.clear();
        loop {
            match self.inner.recv(&mut self.buffer, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => {
                    outcome?;
                    break;
                }
            }
        }
        let mut rest = &self.buffer[..];
        while let Some((message, after)) = Message::parse(rest) {
            each(message);
            rest = after;
        }
        Ok(())
    }
}

struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

impl<'a> Message<'a> {
    fn parse(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let head = bytes.get(..HEADER)?;
        let length = u32::from_ne_bytes(head[..4].try_into().ok()?) as usize;
        let message = Self {
            kind: u16::from_ne_bytes([head[4], head[5]]),
            flags: u16::from_ne_bytes([head[6], head[7]]),
            sequence: u32::from_ne_bytes(head[8..12].try_into().ok()?),
            payload: bytes.get(HEADER..length)?,
        };
        Some((
            message,
            bytes.get(length.next_multiple_of(4)..).unwrap_or_default(),
        ))
    }

    /// The error number of an `NLMSG_ERROR` or `NLMSG_DONE`: 0 or negative.
    fn code(&self) -> i32 {
        self.payload
            .get(..4)
            .and_then(|b| b.try_into().ok())
            .map_or(0, i32::from_ne_bytes)
    }
}
