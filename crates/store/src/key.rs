//! Names of stored objects. Their byte order is the order of lists.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::Error;

/// The longest key, in bytes. A group, a plural, a namespace and a name at their own limits fit.
pub const MAX_KEY: usize = 1024;

/// The key of one object: `/{group}/{plural}/{namespace}/{name}`, or `/{group}/{plural}/{name}` for
/// a cluster-scoped one. The legacy group is written `core`. Cloning shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// Builds a key of its parts; `group` may be empty for the legacy group.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] when a part is empty or has a `/` in it, or the whole is too long.
    pub fn new(
        group: &str,
        plural: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Self, Error> {
        let mut text = Self::prefix(group, plural, namespace);
        text.push_str(name);
        let parts = [group_name(group), plural, namespace.unwrap_or("-"), name];
        if parts
            .iter()
            .any(|part| part.is_empty() || part.contains('/'))
        {
            return Err(Error::Key { key: text });
        }
        Self::parse(&text)
    }

    /// Takes a key's text.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] when it is no such text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let parts = text.strip_prefix('/').map_or(0, |rest| {
            if rest.split('/').any(str::is_empty) {
                0
            } else {
                rest.split('/').count()
            }
        });
        if (3..=4).contains(&parts) && text.len() <= MAX_KEY {
            Ok(Self(text.into()))
        } else {
            Err(Error::Key {
                key: text.to_owned(),
            })
        }
    }

    /// The prefix of all keys of a resource, or of those in one namespace; it ends with `/`.
    pub fn prefix(group: &str, plural: &str, namespace: Option<&str>) -> String {
        let group = group_name(group);
        match namespace {
            Some(namespace) => format!("/{group}/{plural}/{namespace}/"),
            None => format!("/{group}/{plural}/"),
        }
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// API group, `core` for the legacy group.
    pub fn group(&self) -> &str {
        self.parts().next().unwrap_or_default()
    }

    /// Plural of the resource, e.g. `pods`.
    pub fn plural(&self) -> &str {
        self.parts().nth(1).unwrap_or_default()
    }

    /// Namespace, `None` when cluster scoped.
    pub fn namespace(&self) -> Option<&str> {
        let mut parts = self.parts().skip(2);
        let namespace = parts.next();
        parts.next().and(namespace)
    }

    /// Name of the object.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The part that chooses the bucket: `/{group}/{plural}/`.
    pub(crate) fn bucket(&self) -> &str {
        bucket_of(&self.0).unwrap_or(&self.0)
    }

    fn parts(&self) -> std::str::Split<'_, char> {
        self.0[1..].split('/')
    }
}

/// The `/{group}/{plural}/` at the start of a prefix, if it is that long.
pub(crate) fn bucket_of(prefix: &str) -> Option<&str> {
    let third = prefix
        .bytes()
        .enumerate()
        .filter(|(_, b)| *b == b'/')
        .nth(2)?
        .0;
    Some(&prefix[..=third])
}

fn group_name(group: &str) -> &str {
    if group.is_empty() { "core" } else { group }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_gives_its_parts_back() {
        let pod = Key::new("", "pods", Some("shop"), "web").unwrap();
        assert_eq!(pod.as_str(), "/core/pods/shop/web");
        assert_eq!(
            (
                pod.group(),
                pod.plural(),
                pod.namespace(),
                pod.name(),
                pod.bucket()
            ),
            ("core", "pods", Some("shop"), "web", "/core/pods/")
        );
        let node = Key::new("", "nodes", None, "n1").unwrap();
        assert_eq!((node.namespace(), node.name()), (None, "n1"));
        assert_eq!(node.bucket(), "/core/nodes/");
    }

    #[test]
    fn parts_that_would_make_another_key_are_refused() {
        for (plural, namespace, name) in [
            ("pods", Some(""), "a"),
            ("pods", Some("a"), ""),
            ("pods", Some("a/b"), "c"),
            ("", None, "a"),
        ] {
            assert!(Key::new("apps", plural, namespace, name).is_err());
        }
        for text in ["", "/", "a/b/c", "/a/b", "/a/b/c/d/e", "/a//b/c"] {
            assert!(Key::parse(text).is_err(), "{text}");
        }
        assert!(Key::new("", "pods", None, &"x".repeat(MAX_KEY)).is_err());
    }
}
