//! What seals and opens: one key or one plug-in, known by the prefix of what it seals.

use consort_store::Key;

/// One way to seal.
pub(crate) trait Provider: Send + Sync {
    /// What everything it seals begins with, key's name included; empty for none.
    fn prefix(&self) -> &str;

    /// Seals bytes for a key; the prefix is not part of the result.
    fn seal(&self, key: &Key, plain: &[u8]) -> Result<Vec<u8>, String>;

    /// Opens what stood after the prefix.
    fn open(&self, key: &Key, sealed: &[u8]) -> Result<Vec<u8>, String>;

    /// Whether what it sealed once it would seal with another key now.
    fn stale(&self, _sealed: &[u8]) -> bool {
        false
    }

    /// Whether it can do its work now.
    fn health(&self) -> Result<(), String> {
        Ok(())
    }

    /// Whether it is an external one, whose health is worth showing by itself.
    fn external(&self) -> Option<&str> {
        None
    }
}

/// Leaves objects as they are.
pub(crate) struct Identity;

impl Provider for Identity {
    fn prefix(&self) -> &'static str {
        ""
    }

    fn seal(&self, _: &Key, plain: &[u8]) -> Result<Vec<u8>, String> {
        Ok(plain.to_vec())
    }

    fn open(&self, _: &Key, sealed: &[u8]) -> Result<Vec<u8>, String> {
        Ok(sealed.to_vec())
    }
}

/// Random bytes.
pub(crate) fn random<const N: usize>() -> Option<[u8; N]> {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0; N];
    ring::rand::SystemRandom::new().fill(&mut bytes).ok()?;
    Some(bytes)
}

/// The text for a system without randomness.
pub(crate) const NO_RANDOM: &str = "the system gives no random bytes";
