//! Objects encrypted at rest.
//!
//! [`Encryption`] is the store's [`Transform`](consort_store::Transform): for each resource it knows which
//! provider seals what is written, and every provider that may have sealed what is read. What it
//! seals begins with a prefix that names provider and key, so keys can be changed at any time: the
//! first provider of a resource writes, all of them read, and
//! [`Store::reseal`](consort_store::Store::reseal) writes anew what another key has sealed.
//!
//! Without a configuration, secrets are sealed with a key that is made at the first start
//! ([`LocalKeys`]). An `EncryptionConfiguration` (`apiserver.config.k8s.io/v1`) chooses resources and
//! providers as upstream does, in upstream's formats: `aescbc`, `aesgcm`, `secretbox`, `identity`, and
//! `kms` version 2, which asks an external plug-in over a unix socket.
//!
//! ```
//! use consort_encryption::{Encryption, LocalKeys};
//! use consort_store::{Key, Transform};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! let keys = LocalKeys::open(&dir.path().join("encryption-keys.json"))?;
//! let encryption = Encryption::local(keys);
//! let key = Key::new("", "secrets", Some("shop"), "password")?;
//! let sealed = encryption.seal(&key, b"hush")?.ok_or("secrets are sealed")?;
//! assert!(sealed.starts_with(b"consort:enc:v1:"));
//! assert_eq!(encryption.open(&key, &sealed)?, b"hush");
//! # Ok(())
//! # }
//! ```

mod classic;
mod config;
mod encryption;
mod error;
mod extended;
mod kms;
mod local;
mod provider;

pub use encryption::{Encryption, Health};
pub use error::Error;
pub use local::LocalKeys;
