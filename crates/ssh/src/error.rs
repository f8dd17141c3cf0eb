//! What can go wrong on the way to another machine and on it.

/// Why a connection, a command or a copy failed. After [`Error::Command`] and [`Error::Copy`] the session is
/// still usable; after the others a new connection has to be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key, a certificate or a host's key cannot be used.
    #[error("{0}")]
    Key(String),
    /// The agent cannot be reached.
    #[error("SSH agent requested but {0}")]
    Agent(String),
    /// Nobody answered at the address.
    #[error("{0}")]
    Dial(String),
    /// The proxy did not let us through.
    #[error("{0}")]
    Proxy(String),
    /// The jump host cannot be used.
    #[error("Error connecting to bastion: {0}")]
    Bastion(#[source] Box<Error>),
    /// The other side is not who it should be, or does not take us for who we say.
    #[error("SSH authentication failed ({user}@{address}): ssh: handshake failed: {reason}")]
    Handshake {
        /// As whom we came.
        user: String,
        /// Where.
        address: String,
        /// What failed.
        reason: String,
        /// Whether it was the host's certificate that failed; its plain key may do.
        certificate: bool,
    },
    /// The connection broke, or the other side does not keep to the protocol.
    #[error("{0}")]
    Session(String),
    /// A command could not be started.
    #[error("ssh: {0}")]
    Command(String),
    /// The far end of a copy refused it, in its own words.
    #[error("{0}")]
    Copy(String),
    /// What was to be copied cannot be read.
    #[error("{path}: {source}")]
    Source {
        /// The file or directory.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    /// Whether a host's certificate was not taken.
    pub(crate) fn is_about_certificate(&self) -> bool {
        match self {
            Error::Bastion(inner) => inner.is_about_certificate(),
            Error::Handshake { certificate, .. } => *certificate,
            _ => false,
        }
    }
}

impl From<russh::Error> for Error {
    fn from(error: russh::Error) -> Error {
        Error::Session(format!("ssh: {error}"))
    }
}

/// What the system says of a failure, without its number.
pub(crate) fn system(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}
