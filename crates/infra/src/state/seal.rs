//! A journal's lines, sealed: where the state is encrypted, what is to become of it is too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SecureRandom as _;

use crate::encryption::{open, seal};

/// A key for one journal, and the same key as whoever opens the state can read it.
#[derive(Clone)]
pub struct Seal {
    key: [u8; 32],
    /// The key, sealed with the keys of the state.
    pub(super) envelope: String,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(..)")
    }
}

impl Seal {
    /// A key that is `envelope` when it is sealed.
    pub fn new(key: [u8; 32], envelope: String) -> Seal {
        Seal { key, envelope }
    }

    /// A key that nobody knows yet.
    ///
    /// # Errors
    /// What the system said of its random bytes.
    pub fn random_key() -> Result<[u8; 32], String> {
        let mut key = [0; 32];
        ring::rand::SystemRandom::new()
            .fill(&mut key)
            .map_err(|_| "the system gives no random bytes".to_owned())?;
        Ok(key)
    }

    pub(super) fn close(&self, line: &[u8]) -> Result<Vec<u8>, String> {
        Ok(STANDARD.encode(seal(&self.key, &[], line)?).into_bytes())
    }

    pub(super) fn open(&self, line: &str) -> Result<String, String> {
        let sealed = STANDARD
            .decode(line.trim_end())
            .map_err(|error| error.to_string())?;
        String::from_utf8(open(&self.key, &[], sealed)?).map_err(|error| error.to_string())
    }
}
