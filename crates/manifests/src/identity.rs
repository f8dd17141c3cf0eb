//! What tells one object from another, and how people name one.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What tells one object of a cluster from all others. Versions do not: an object is the same in each.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(crate) struct Key {
    /// The group; empty for the core group.
    pub(crate) group: String,
    /// The kind.
    pub(crate) kind: String,
    /// The namespace; empty for what has none.
    pub(crate) namespace: String,
    /// The name.
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(group: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Key {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// `v1/ConfigMap/shop/settings`: its name within its part.
    pub(crate) fn local(&self, version: &str) -> String {
        let mut local = String::new();
        for step in [&self.group, version, &self.kind, &self.namespace] {
            if !step.is_empty() {
                local.push_str(step);
                local.push('/');
            }
        }
        local + &self.name
    }
}

impl fmt::Display for Key {
    /// `Deployment shop/web`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// Group and version of an `apiVersion`.
pub(crate) fn group_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// A text below a path of fields; empty if there is none.
pub(crate) fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    let mut value = value;
    for step in path {
        match value.get(step) {
            Some(next) => value = next,
            None => return "",
        }
    }
    value.as_str().unwrap_or_default()
}

/// An object as people name it: `Deployment/web`, `Deployment/shop/web`, `apps/v1/Deployment/shop/web`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Named {
    group: Option<String>,
    version: Option<String>,
    kind: String,
    namespace: Option<String>,
    name: String,
}

impl Named {
    /// Reads a name.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} names no object: expected KIND/NAME, KIND/NAMESPACE/NAME or GROUP/VERSION/KIND/NAMESPACE/NAME"
            )
        };
        let steps: Vec<&str> = text.split('/').collect();
        let at = steps
            .iter()
            .position(|step| step.starts_with(|c: char| c.is_ascii_uppercase()))
            .ok_or_else(wrong)?;
        if steps.iter().any(|step| step.is_empty()) {
            return Err(wrong());
        }
        let (group, version) = match &steps[..at] {
            [] => (None, None),
            // A version alone is one of the core group; anything else alone is a group.
            [one] if is_version(one) => (Some(String::new()), Some((*one).to_owned())),
            [one] => (Some((*one).to_owned()), None),
            [group, version] => (Some((*group).to_owned()), Some((*version).to_owned())),
            _ => return Err(wrong()),
        };
        let (namespace, name) = match &steps[at + 1..] {
            [name] => (None, (*name).to_owned()),
            [namespace, name] => (Some((*namespace).to_owned()), (*name).to_owned()),
            _ => return Err(wrong()),
        };
        Ok(Named {
            group,
            version,
            kind: steps[at].to_owned(),
            namespace,
            name,
        })
    }

    /// Whether an object in a version is meant.
    pub(crate) fn is(&self, key: &Key, version: &str) -> bool {
        self.kind == key.kind
            && self.name == key.name
            && self.group.as_ref().is_none_or(|group| *group == key.group)
            && self.version.as_ref().is_none_or(|own| own == version)
            && self
                .namespace
                .as_ref()
                .is_none_or(|namespace| *namespace == key.namespace)
    }
}

/// `v1`, `v2beta1`.
fn is_version(text: &str) -> bool {
    text.strip_prefix('v')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_named_shortly_or_in_full() {
        let web = Key::new("apps", "Deployment", "shop", "web");
        for name in [
            "Deployment/web",
            "Deployment/shop/web",
            "apps/Deployment/web",
            "apps/v1/Deployment/shop/web",
        ] {
            assert!(Named::parse(name).unwrap().is(&web, "v1"), "{name}");
        }
        assert!(!Named::parse("v1/Deployment/web").unwrap().is(&web, "v1"));
        assert!(!Named::parse("Deployment/other/web").unwrap().is(&web, "v1"));
        let shop = Key::new("", "Namespace", "", "shop");
        assert!(Named::parse("v1/Namespace/shop").unwrap().is(&shop, "v1"));
        assert!(Named::parse("deployment/web").is_err());
        assert_eq!(web.local("v1"), "apps/v1/Deployment/shop/web");
        assert_eq!(shop.local("v1"), "v1/Namespace/shop");
    }
}
