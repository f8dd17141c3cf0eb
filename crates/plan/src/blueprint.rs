//! A plan of the whole system as an immutable value.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::address::Address;
use crate::change::Change;
use crate::graph::{Edge, Graph};
use crate::part::{Intent, Problem, Seen};
use crate::planned::Planned;

/// What is wanted of a plan.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Mode {
    /// That all be as the source says.
    Apply,
    /// That all be gone.
    Destroy,
    /// That all be as it was at a revision.
    Rollback {
        /// The revision.
        to: u64,
    },
    /// That what has drifted be put back.
    Heal,
}

impl Mode {
    /// What it asks of each part.
    pub fn intent(&self) -> Intent {
        match self {
            Mode::Destroy => Intent::Destroy,
            Mode::Apply | Mode::Rollback { .. } | Mode::Heal => Intent::Apply,
        }
    }
}

/// Where a score was read from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Source {
    /// A directory.
    Directory {
        /// Its path.
        path: String,
        /// The commit it is at, if it is in a Git repository and nothing in it was changed since.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<Commit>,
    },
    /// A path in a Git repository.
    Git {
        /// The repository, without credentials.
        url: String,
        /// What was asked for: a branch, tag or commit.
        reference: String,
        /// The directory in it; empty for its root.
        path: String,
        /// What that was.
        commit: Commit,
    },
    /// What an earlier operation applied.
    Revision {
        /// The revision.
        revision: u64,
    },
}

/// A commit of Git.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Commit {
    /// Its full id in hex.
    pub id: String,
    /// Who wrote it: `Name <address>`.
    pub author: String,
    /// When.
    pub time: Timestamp,
    /// The first line of its message.
    pub subject: String,
}

/// What a plan was made from; it may be carried out only while that stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Parent {
    /// The revision of the score; zero before its first operation.
    pub revision: u64,
    /// By part, what was seen of the world.
    pub seen: BTreeMap<String, Vec<Seen>>,
}

/// A part of a blueprint.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PlannedPart {
    /// Its name.
    pub name: String,
    /// Its language.
    pub layer: String,
    /// Whether it is to be there or gone: a part that was taken out of the score is planned to be gone while the rest
    /// is applied.
    #[serde(default)]
    pub intent: Intent,
    /// The parts that come before it because the score says so (`dependsOn`); when it is to be gone, they wait for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// Its resources are the changes from here ...
    pub first: u32,
    /// ... so many of them.
    pub count: u32,
    /// What it gives to others.
    pub outputs: BTreeMap<String, Planned>,
    /// What it takes, as planned.
    pub inputs: BTreeMap<String, Planned>,
    /// What its layer carries out (base64). May hold secrets.
    #[serde(with = "payload")]
    pub payload: Vec<u8>,
}

mod payload {
    use serde::{Deserialize as _, Deserializer, Serializer};

    // Hex: no dependency, and blueprints are compressed wherever they are kept.
    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        use std::fmt::Write as _;
        let mut text = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        (0..text.len())
            .step_by(2)
            .map(|at| {
                text.get(at..at + 2)
                    .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                    .ok_or_else(|| serde::de::Error::custom("a payload that is not hexadecimal"))
            })
            .collect()
    }
}

/// An edge between two changes, by their places in [`Blueprint::changes`]: what needs what while it is there. It runs the
/// same way in every mode; what is deleted goes in the order against it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BlueprintEdge {
    /// What needs the other.
    pub dependent: u32,
    /// What it needs.
    pub dependency: u32,
    /// Why.
    pub edge: Edge,
}

/// Edges of all of one set of changes to all of another, told without listing every pair: the cost stays linear
/// where a whole part waits for another, or a value made of many resources is used by many.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Joint {
    /// What they wait through: `infra.addresses`, or `app after infra`.
    pub label: String,
    /// What waits, by places in [`Blueprint::changes`].
    pub dependents: Vec<u32>,
    /// What they wait for.
    pub dependencies: Vec<u32>,
    /// Why.
    pub edge: Edge,
}

/// What a policy said.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether it stops the plan.
    pub kind: VerdictKind,
    /// The rule's own message.
    pub message: String,
    /// The rule: `data.shop.deny`.
    pub rule: String,
    /// Where the rule stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<crate::change::Location>,
    /// The resource it is about, if the rule said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
}

/// How much a verdict weighs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictKind {
    /// The plan must not be carried out.
    Deny,
    /// It is worth a thought.
    Warn,
}

/// The points of one change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Points {
    /// Which change, by its place in [`Blueprint::changes`].
    pub change: u32,
    /// Its points.
    pub points: u32,
    /// How they came to be, in a line: `database 100 x replace 1.0`.
    pub because: String,
    /// The dependent whose worth counted, if it was not its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downstream: Option<Address>,
}

/// Points that a rule of a policy gives.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RulePoints {
    /// The rule: `data.shop.points`.
    pub rule: String,
    /// The points; less than none take off.
    pub points: i32,
    /// Why, in its own words; empty if it does not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub because: String,
}

/// How far a plan reaches.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct BlastRadius {
    /// The sum of all points, never less than none.
    pub total: u32,
    /// More than this needs an approval.
    pub threshold: u32,
    /// The changes that have points.
    pub each: Vec<Points>,
    /// What policies add for the plan as a whole, or take off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_rule: Vec<RulePoints>,
    /// Why an approval is needed whatever the points, or may be left out although they are above: what policies
    /// said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approval: Vec<String>,
    /// Whether an approval is needed.
    pub needs_approval: bool,
}

/// A plan of the whole system, frozen: nothing is decided after it is made.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Blueprint {
    /// The form of this value; [`Blueprint::FORMAT`].
    pub format: u32,
    /// The score.
    pub score: String,
    /// What it is for.
    pub mode: Mode,
    /// Who asked for it.
    pub author: String,
    /// When it was made.
    pub time: Timestamp,
    /// What it was read from.
    pub source: Source,
    /// What it was made from.
    pub parent: Parent,
    /// The parts in the order they were planned.
    pub parts: Vec<PlannedPart>,
    /// All resources, part by part, in an order in which nothing comes before what it depends on within its part.
    pub changes: Vec<Change>,
    /// All edges between them, also across parts, but for those told by [`Blueprint::joints`].
    pub edges: Vec<BlueprintEdge>,
    /// Edges between many and many. [`Blueprint::graph`] has them too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joints: Vec<Joint>,
    /// What the policies said.
    pub verdicts: Vec<Verdict>,
    /// How far it reaches.
    pub blast: BlastRadius,
    /// What is worth saying and stops nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Problem>,
}

/// A text that is no blueprint of this version.
#[derive(Debug, thiserror::Error)]
pub enum NoBlueprint {
    /// It is no JSON, or a field of it is wrong.
    #[error("it cannot be read")]
    Unreadable(#[source] serde_json::Error),
    /// It is another form, written by another version.
    #[error(
        "it has the form {format}, and this version reads the form {}",
        Blueprint::FORMAT
    )]
    Form {
        /// Its form.
        format: u32,
    },
    /// It says of no form.
    #[error("it is no blueprint")]
    SomethingElse,
    /// It speaks of changes it does not have.
    #[error("its parts, changes and edges do not fit together")]
    Inconsistent,
}

fn short(hash: Sha256) -> String {
    use std::fmt::Write as _;
    let mut id = String::new();
    for byte in hash.finalize().iter().take(6) {
        let _ = write!(id, "{byte:02x}");
    }
    id
}

impl Blueprint {
    /// The form written by this version.
    pub const FORMAT: u32 = 1;

    /// Its id: the first 12 hex digits of the SHA-256 of its JSON. Whatever is in it changes its id, so an approval of
    /// one blueprint is never one of another.
    pub fn id(&self) -> String {
        struct Hash(Sha256);
        impl std::io::Write for Hash {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.update(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let mut hash = Hash(Sha256::new());
        // Writing into a hash does not fail, and every key of a blueprint is a text.
        let _ = serde_json::to_writer(&mut hash, self);
        short(hash.0)
    }

    /// Its JSON, and its id.
    pub fn to_json(&self) -> (Vec<u8>, String) {
        let mut json = Vec::new();
        // As above: this does not fail.
        let _ = serde_json::to_writer(&mut json, self);
        let id = short(Sha256::new_with_prefix(&json));
        (json, id)
    }

    /// Reads what [`Blueprint::to_json`] wrote, and tells its id.
    pub fn from_json(json: &[u8]) -> Result<(Self, String), NoBlueprint> {
        #[derive(Deserialize)]
        struct Form {
            format: Option<u32>,
        }
        match serde_json::from_slice::<Form>(json).map_err(NoBlueprint::Unreadable)? {
            Form {
                format: Some(Self::FORMAT),
            } => {}
            Form {
                format: Some(format),
            } => return Err(NoBlueprint::Form { format }),
            Form { format: None } => return Err(NoBlueprint::SomethingElse),
        }
        let blueprint: Blueprint = serde_json::from_slice(json).map_err(NoBlueprint::Unreadable)?;
        blueprint.is_consistent()?;
        Ok((blueprint, short(Sha256::new_with_prefix(json))))
    }

    /// That all places it speaks of are there.
    fn is_consistent(&self) -> Result<(), NoBlueprint> {
        let count = self.changes.len();
        let mut next = 0;
        for part in &self.parts {
            if part.first as usize != next {
                return Err(NoBlueprint::Inconsistent);
            }
            next += part.count as usize;
        }
        let edges = self
            .edges
            .iter()
            .flat_map(|edge| [edge.dependent, edge.dependency]);
        let joints = self
            .joints
            .iter()
            .flat_map(|joint| joint.dependents.iter().chain(&joint.dependencies).copied());
        let points = self.blast.each.iter().map(|points| points.change);
        if next == count
            && edges
                .chain(joints)
                .chain(points)
                .all(|place| (place as usize) < count)
        {
            Ok(())
        } else {
            Err(NoBlueprint::Inconsistent)
        }
    }

    /// Its changes and edges as a graph: the node of a change has the change's place as its index; after them comes a
    /// node for each joint, which holds none.
    pub fn graph(&self) -> Graph<Option<u32>> {
        let mut graph = Graph::new();
        let nodes: Vec<_> = (0..self.changes.len())
            .map(|place| graph.add(u32::try_from(place).ok()))
            .collect();
        let at = |place: u32| nodes.get(place as usize).copied();
        for edge in &self.edges {
            if let (Some(dependent), Some(dependency)) = (at(edge.dependent), at(edge.dependency)) {
                graph.connect(dependent, dependency, edge.edge);
            }
        }
        for joint in &self.joints {
            let middle = graph.add(None);
            for dependent in joint.dependents.iter().filter_map(|place| at(*place)) {
                graph.connect(dependent, middle, joint.edge);
            }
            for dependency in joint.dependencies.iter().filter_map(|place| at(*place)) {
                graph.connect(middle, dependency, joint.edge);
            }
        }
        graph
    }

    /// Whether nothing is to be done: no resource changes, and none is known by another address afterwards.
    pub fn is_empty(&self) -> bool {
        !self
            .changes
            .iter()
            .any(|change| change.action.changes() || change.moved_from.is_some())
    }

    /// Whether a policy forbids it.
    pub fn is_denied(&self) -> bool {
        self.verdicts
            .iter()
            .any(|verdict| verdict.kind == VerdictKind::Deny)
    }
}
