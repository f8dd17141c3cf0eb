//! SPDY/3.1, as far as remote commands and port-forwarding use it: a client opens streams with
//! headers, both sides send data on them and end them.
//!
//! Follows the protocol's draft 3.1 and what its users here do (upstream's `httpstream/spdy` over
//! `spdystream`): windows are announced but not enforced, streams are opened by the client only.

mod command;
mod compression;
mod frame;
mod session;

pub(super) use command::{CommandVersion, command_streams, command_version};
pub(super) use session::{Session, Stream, Writer};
