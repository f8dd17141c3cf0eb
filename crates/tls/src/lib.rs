//! TLS to servers that nobody vouches for.
//!
//! Probes, proxied connections to pods and a client told not to care ask whether something answers, not
//! who. They take any certificate, but the handshake must be sound: the other side proves that it holds
//! the certificate's key. This is the one place that does so.
//!
//! ```
//! let config = consort_tls::unverified()?;
//! assert!(config.alpn_protocols.is_empty());
//! # Ok::<(), rustls::Error>(())
//! ```

mod unverified;

pub use unverified::{anyone, unverified};
