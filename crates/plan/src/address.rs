//! The one name of a resource across all layers.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The one name of a resource across all layers: the part it belongs to, a slash, and its name in that
/// part's own language.
///
/// `infra/aws_instance.web["a"]` is a resource of Terraform, `app/apps/v1/Deployment/shop/web` an object of
/// Kubernetes (`GROUP/VERSION/KIND/NAMESPACE/NAME`; the core group is left out, and so is the namespace of
/// what has none: `app/v1/Namespace/shop`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    text: Arc<str>,
    part: u32,
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no address: expected PART/RESOURCE, such as infra/aws_instance.web")]
pub struct NoAddress {
    /// What was given.
    pub text: String,
}

impl Address {
    /// The address of a resource by the name of its part (which holds no slash) and its own name there.
    pub fn new(part: &str, local: &str) -> Self {
        Address {
            text: format!("{part}/{local}").into(),
            part: part.len() as u32,
        }
    }

    /// The name of the part.
    pub fn part(&self) -> &str {
        &self.text[..self.part as usize]
    }

    /// The name within the part.
    pub fn local(&self) -> &str {
        &self.text[self.part as usize + 1..]
    }

    /// The name within the part up to its first key in quotes: of a task on a host the host.
    pub fn before_key(&self) -> &str {
        let local = self.local();
        local.split_once("[\"").map_or(local, |(before, _)| before)
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Address {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        match text.split_once('/') {
            Some((part, local)) if !part.is_empty() && !local.is_empty() => Ok(Address {
                text: text.into(),
                part: part.len() as u32,
            }),
            _ => Err(NoAddress {
                text: text.to_owned(),
            }),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}
