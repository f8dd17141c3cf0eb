//! Values of which some is not known before the apply, and some must not be shown.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::address::Address;

/// Where in a value something lies: a JSON pointer (RFC 6901). Empty means the whole value.
pub type Pointer = String;

/// A place in a value that is known only after the apply. In the value itself there is null.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unknown {
    /// Where.
    pub at: Pointer,
    /// Its type in Terraform's notation (`string`, `list(string)`); `dynamic` when not even that is known.
    #[serde(rename = "type")]
    pub kind: String,
    /// What will tell it, if that is not the resource itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Address>,
}

/// A value as a plan sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// The value, null where it is not known. Sensitive places hold their real value: show it only through
    /// [`Planned::shown`].
    pub value: Value,
    /// What is not known before the apply, ordered by place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<Unknown>,
    /// What must not be shown, ordered by place. All below such a place is sensitive too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensitive: Vec<Pointer>,
}

impl Planned {
    /// A value that is wholly known and may be shown.
    pub fn known(value: Value) -> Self {
        Planned {
            value,
            unknown: Vec::new(),
            sensitive: Vec::new(),
        }
    }

    /// A value of which only the type is known.
    pub fn unknown(kind: impl Into<String>, from: Option<Address>) -> Self {
        Planned {
            value: Value::Null,
            unknown: vec![Unknown {
                at: String::new(),
                kind: kind.into(),
                from,
            }],
            sensitive: Vec::new(),
        }
    }

    /// Whether nothing of it is unknown.
    pub fn is_wholly_known(&self) -> bool {
        self.unknown.is_empty()
    }

    /// The same, with all of it sensitive.
    #[must_use]
    pub fn into_sensitive(mut self) -> Self {
        self.sensitive = vec![String::new()];
        self
    }

    /// The value for eyes and policies: sensitive places hold `"(sensitive value)"`, unknown ones
    /// `"(known after apply)"`.
    pub fn shown(&self) -> Value {
        let mut value = self.value.clone();
        for unknown in &self.unknown {
            put(&mut value, &unknown.at, "(known after apply)");
        }
        for at in &self.sensitive {
            put(&mut value, at, "(sensitive value)");
        }
        value
    }
}

fn put(value: &mut Value, at: &str, text: &str) {
    if let Some(place) = value.pointer_mut(at) {
        *place = Value::String(text.to_owned());
    }
}

/// A pointer one step further down.
pub fn below(at: &str, step: &str) -> Pointer {
    let mut pointer = String::with_capacity(at.len() + step.len() + 1);
    pointer.push_str(at);
    pointer.push('/');
    for c in step.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            c => pointer.push(c),
        }
    }
    pointer
}
