//! Provider processes: plugin protocol 5 and 6 over gRPC.
//!
//! [`Launcher::start`] runs a provider's binary, which answers with one line on its standard output: where
//! it listens, which protocol it speaks and by which certificate it will be known . The
//! connection is pinned to that certificate , and to the provider goes ours, so that nobody else on
//! the host can talk to it. What it writes to its standard error goes to the log under [`LOG_TARGET`].

mod channel;
mod convert;
mod error;
mod handshake;
mod log;
mod process;
mod provider;
mod schema_cache;
mod tls;
mod wire;

#[cfg(test)]
mod tests;

pub use error::{BadHandshake, Error};
pub use log::TARGET as LOG_TARGET;
pub use process::{Attach, Launcher};
pub use provider::Plugin;
