//! Selection without taking a head apart: what selectors ask is read in its encoded form.

use crate::model::{Error, FORMAT, Head, Input};

/// What selectors look at.
pub trait Selectable {
    /// `metadata.name`.
    fn name(&self) -> &str;

    /// Value of a label.
    fn label(&self, key: &str) -> Option<&str>;

    /// Value of a selectable field, `metadata.name` and `metadata.namespace` included.
    fn field(&self, path: &str) -> Option<&str>;
}

impl Selectable for Head {
    fn name(&self) -> &str {
        &self.name
    }

    fn label(&self, key: &str) -> Option<&str> {
        Head::label(self, key)
    }

    fn field(&self, path: &str) -> Option<&str> {
        Head::field(self, path)
    }
}

/// A head in its encoded form ([`Head::encode`]). Making one allocates nothing; labels and fields are
/// looked for where they stand.
#[derive(Clone, Copy, Debug)]
pub struct HeadView<'a> {
    name: &'a str,
    namespace: Option<&'a str>,
    labels: &'a [u8],
    fields: &'a [u8],
}

impl<'a> HeadView<'a> {
    /// Finds the parts of an encoded head.
    ///
    /// # Errors
    ///
    /// [`Error::Encoding`] when the bytes are no such form.
    pub fn new(encoded: &'a [u8]) -> Result<Self, Error> {
        let mut input = Input(encoded);
        if input.byte()? != FORMAT {
            return Err(Error::Encoding);
        }
        input.slice()?;
        input.slice()?;
        let name = input.str()?;
        let namespace = match input.byte()? {
            0 => None,
            _ => Some(input.str()?),
        };
        input.slice()?;
        input.number()?;
        input.slice()?;
        if input.byte()? != 0 {
            input.slice()?;
        }
        let labels = input.0;
        for _ in 0..input.number()? {
            input.slice()?;
            input.slice()?;
        }
        for _ in 0..input.number()? {
            input.byte()?;
            for _ in 0..4 {
                input.slice()?;
            }
        }
        for _ in 0..input.number()? {
            input.slice()?;
        }
        Ok(Self {
            name,
            namespace,
            labels,
            fields: input.0,
        })
    }
}

impl Selectable for HeadView<'_> {
    fn name(&self) -> &str {
        self.name
    }

    fn label(&self, key: &str) -> Option<&str> {
        find(self.labels, key)
    }

    fn field(&self, path: &str) -> Option<&str> {
        match path {
            "metadata.name" => Some(self.name),
            "metadata.namespace" => Some(self.namespace.unwrap_or_default()),
            _ => find(self.fields, path),
        }
    }
}

/// The value of a key in an encoded list of pairs.
fn find<'a>(pairs: &'a [u8], key: &str) -> Option<&'a str> {
    let mut input = Input(pairs);
    for _ in 0..input.number().ok()? {
        let have = input.slice().ok()?;
        if have == key.as_bytes() {
            return input.str().ok();
        }
        input.slice().ok()?;
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_encoded_head_answers_as_the_head_does() {
        let value = json!({"metadata": {
            "name": "web", "namespace": "shop", "uid": "u", "labels": {"b": "2", "a": ""},
            "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x/y", "z"],
            "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "o", "uid": "i", "controller": true}],
        }});
        let fields = vec![("spec.nodeName".to_owned(), "n1".to_owned())];
        let head = Head::extract(&value, fields).unwrap();
        let mut encoded = Vec::new();
        head.encode(&mut encoded);
        let view = HeadView::new(&encoded).unwrap();
        assert_eq!(Selectable::name(&view), "web");
        for key in ["a", "b", "c", ""] {
            assert_eq!(view.label(key), head.label(key), "{key}");
        }
        for path in ["metadata.name", "metadata.namespace", "spec.nodeName", "x"] {
            assert_eq!(view.field(path), head.field(path), "{path}");
        }
        for end in 0..encoded.len() {
            // Cut short it is refused, or has at least lost nothing that is asked for wrongly.
            if let Ok(view) = HeadView::new(&encoded[..end]) {
                assert_ne!(view.label("a"), Some("2"));
            }
        }
    }
}
