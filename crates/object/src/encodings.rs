//! Other forms of an object's bytes, made once for all who send them.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// What one object looks like in other encodings and shapes (protobuf, metadata alone, ...), kept
/// beside its JSON as long as that is. Whoever makes a form chooses its number; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Encodings(Arc<Mutex<Vec<(u64, Bytes)>>>);

impl Encodings {
    /// The form of this number, made when it is asked for the first time. Others who ask meanwhile
    /// wait for it: making it twice costs more.
    ///
    /// # Errors
    ///
    /// What `make` fails with; nothing is kept then.
    pub fn get_or_make<E>(
        &self,
        form: u64,
        make: impl FnOnce() -> Result<Bytes, E>,
    ) -> Result<Bytes, E> {
        let mut forms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = forms.iter().find(|(have, _)| *have == form) {
            return Ok(bytes.clone());
        }
        let bytes = make()?;
        forms.push((form, bytes.clone()));
        Ok(bytes)
    }

    /// Bytes of all forms.
    pub fn bytes(&self) -> usize {
        let forms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        forms.iter().map(|(_, bytes)| bytes.len()).sum()
    }
}

/// Forms follow from the object: they make no difference.
impl PartialEq for Encodings {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Encodings {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_made_once_and_a_failure_is_not_kept() {
        let encodings = Encodings::default();
        assert_eq!(encodings.get_or_make(1, || Err("no")), Err("no"));
        let make = || Ok::<_, ()>(Bytes::from_static(b"abc"));
        assert_eq!(encodings.get_or_make(1, make).unwrap(), "abc");
        let again = encodings.clone().get_or_make(1, || Err(()));
        assert_eq!(again.unwrap(), "abc");
        assert_eq!(encodings.bytes(), 3);
    }
}
