//! Why a plugin could not be started.

use std::path::PathBuf;
use std::time::Duration;

pub use super::handshake::BadHandshake;

/// Why a plugin could not be started. After any of these no process of it is left.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program could not be run.
    #[error("could not run the provider {binary}", binary = binary.display())]
    Spawn {
        /// The program.
        binary: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It ended before it said where it listens.
    #[error("the provider {binary} ended ({status}) before it could be used{output}", binary = binary.display())]
    Exited {
        /// The program.
        binary: PathBuf,
        /// How it ended.
        status: String,
        /// The last lines it wrote, after a line break; may be empty.
        output: String,
    },
    /// It wrote no usable handshake.
    #[error("the provider {binary} cannot be used: {source}{output}", binary = binary.display())]
    Handshake {
        /// The program.
        binary: PathBuf,
        /// What is wrong.
        source: BadHandshake,
        /// The last lines it wrote, after a line break; may be empty.
        output: String,
    },
    /// It did not say anything in time.
    #[error("the provider {binary} did not say where it listens within {timeout:?}", binary = binary.display())]
    HandshakeTimeout {
        /// The program.
        binary: PathBuf,
        /// The time it had.
        timeout: Duration,
    },
    /// It could not be connected to, or it did not prove to be what it said.
    #[error("could not connect to the provider {binary}", binary = binary.display())]
    Connect {
        /// The program.
        binary: PathBuf,
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
    /// It wants to be talked to without TLS on a socket that others can reach.
    #[error("the provider {binary} listens on TCP without TLS; refusing to send it credentials in the clear", binary = binary.display())]
    Plain {
        /// The program.
        binary: PathBuf,
    },
    /// Our certificate could not be made.
    #[error("could not make a certificate for the connection to a provider")]
    Identity(#[source] rcgen::Error),
    /// The other side's certificate cannot be used.
    #[error("the certificate of the provider {binary} cannot be used", binary = binary.display())]
    Certificate {
        /// The program.
        binary: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rustls::Error,
    },
}
