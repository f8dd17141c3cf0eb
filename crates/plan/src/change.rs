//! What a plan does to one resource.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::planned::{Planned, Pointer};

/// What is done to a resource.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Nothing; it is as it should be.
    NoOp,
    /// It is read while the plan is carried out.
    Read,
    /// It is made.
    Create,
    /// It is changed in place.
    Update,
    /// It is deleted, then made anew.
    DeleteThenCreate,
    /// It is made anew, then the old one is deleted.
    CreateThenDelete,
    /// It is deleted.
    Delete,
    /// It is no longer looked after and stays as it is.
    Forget,
}

impl Action {
    /// Whether another takes its place.
    pub fn is_replace(self) -> bool {
        matches!(self, Action::DeleteThenCreate | Action::CreateThenDelete)
    }

    /// Whether the world is changed by it.
    pub fn changes(self) -> bool {
        !matches!(self, Action::NoOp | Action::Read)
    }

    /// The words of Terraform's plan format.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Action::NoOp => &["no-op"],
            Action::Read => &["read"],
            Action::Create => &["create"],
            Action::Update => &["update"],
            Action::DeleteThenCreate => &["delete", "create"],
            Action::CreateThenDelete => &["create", "delete"],
            Action::Delete => &["delete"],
            Action::Forget => &["forget"],
        }
    }
}

/// What can be done about a change once it is made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reversal {
    /// A plan back gives what was before.
    Reversible,
    /// A plan back gives something like it: another address, a new identity, no history.
    Compensable,
    /// What was there is gone for good (data on a deleted disk, a sent message).
    Irreversible,
}

/// A place in the sources of a score.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Location {
    /// The file, relative to the score.
    pub file: String,
    /// The line, counted from one.
    pub line: u32,
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Where the fields of a part's description stand in the score: what its inputs and problems are located with.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lines {
    file: String,
    first: u32,
    fields: BTreeMap<Pointer, u32>,
}

impl Lines {
    /// Of a description in `file` that begins on line `first`, with the lines of its fields by their JSON pointers.
    pub fn new(file: impl Into<String>, first: u32, lines: BTreeMap<Pointer, u32>) -> Self {
        Lines {
            file: file.into(),
            first,
            fields: lines,
        }
    }

    /// Where the field stands, or, if it is not there, the nearest field around it.
    pub fn at(&self, pointer: &str) -> Location {
        let mut pointer = pointer;
        let line = loop {
            if let Some(line) = self.fields.get(pointer) {
                break *line;
            }
            match pointer.rfind('/') {
                Some(slash) => pointer = &pointer[..slash],
                None => break self.first,
            }
        };
        Location {
            file: self.file.clone(),
            line,
        }
    }

    /// The same for what lies below a field.
    #[must_use]
    pub fn below(&self, pointer: &str) -> Lines {
        let lines = self
            .fields
            .iter()
            .filter_map(|(at, line)| {
                let rest = at.strip_prefix(pointer)?;
                (rest.is_empty() || rest.starts_with('/')).then(|| (rest.to_owned(), *line))
            })
            .collect();
        Lines::new(self.file.clone(), self.at(pointer).line, lines)
    }
}

/// Who owns a field whose value differs from the source's.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "name")]
pub enum Owner {
    /// This score: somebody else had no claim to it.
    Score,
    /// An autoscaler, through the scale of the object.
    Autoscaler(String),
    /// A reconciler or operator.
    Controller(String),
    /// A person with a client such as kubectl.
    Person(String),
    /// Nobody: the server filled it in.
    Default,
    /// The world outside the store, as a provider told.
    Outside,
}

/// A field that is not as the source has it, found before anything was changed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Drift {
    /// The field; empty when the whole resource is gone or came.
    pub at: Pointer,
    /// What the source has.
    pub wanted: Planned,
    /// What was found.
    pub found: Planned,
    /// Who owns the field now.
    pub owner: Owner,
    /// Whether the plan puts it back. What an autoscaler or a controller owns is left alone.
    pub corrected: bool,
}

/// A planned change of one resource; also a resource that stays as it is ([`Action::NoOp`]).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Change {
    /// Which resource.
    pub address: Address,
    /// Its type in its own language: `aws_instance`, `apps/v1/Deployment`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What is done.
    pub action: Action,
    /// The resource now; none if there is none, and none for [`Action::NoOp`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Planned>,
    /// The resource afterwards; none if there is none then, and none for [`Action::NoOp`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Planned>,
    /// The fields that cannot be changed in place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<Pointer>,
    /// Why it is done, in a few words, where before and after do not tell: `not in the source any more`,
    /// `rolls: v1/ConfigMap/shop/settings changes`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// The address it had before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_from: Option<Address>,
    /// What was found to differ from the source since it was last applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Drift>,
    /// What can be done about it afterwards.
    pub reversal: Reversal,
    /// Where it is described; none for what is no longer in the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
}
