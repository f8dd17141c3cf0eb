//! Why anything is as it is: causes across all layers.
//!
//! ```text
//! Subject -> explain(Evidence) -> Explanation, or what else has to be known -> gather -> Evidence -> ...
//! ```
//!
//! [`explain()`] is a pure function over [`Evidence`]: objects and events of the API, logs, and the records of
//! operations. What it has to look at and does not find there it names ([`Want`]); [`why()`] gets that through a client
//! and asks again, until nothing is left to ask. So the cost follows the causes, not the size of the cluster, and every
//! explanation can be tested with values.
//!
//! An explanation is a tree: what is asked about, below it what led to that, and below each cause its own: a pod that
//! waits for a secret, the secret that no step made, the step that failed, what the provider said, the commit that
//! changed it and who wrote that.

mod address;
mod cause;
mod evidence;
mod gather;
mod host;
mod message;
mod object;
mod pod;
mod provenance;
mod subject;
#[cfg(test)]
mod tests;
mod text;
mod workload;

pub use cause::{Cause, Standing};
pub use evidence::{Evidence, Log, Look, Ref, Want};
pub use gather::{Error, why};
pub use subject::{Subject, Word};
pub use text::{json, text};

use evidence::Asking;

/// An explanation, and what else would have to be known for it to be whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// What is asked about, with its causes.
    pub cause: Cause,
    /// What was looked for and is not among the evidence.
    pub wants: Vec<Want>,
}

/// Explains a subject from evidence.
pub fn explain(subject: &Subject, evidence: &Evidence) -> Explained {
    let mut explainer = Explainer {
        asking: Asking::new(evidence),
        path: Vec::new(),
        nodes: 0,
    };
    let cause = explainer.subject(subject);
    Explained {
        cause,
        wants: explainer.asking.into_wants(),
    }
}

/// How deep causes are followed.
const DEPTH: usize = 24;
/// How many causes an explanation has at most.
const NODES: usize = 400;

/// Follows causes.
struct Explainer<'e> {
    asking: Asking<'e>,
    /// What is being explained, from the subject down: nothing is its own cause.
    path: Vec<String>,
    nodes: usize,
}

impl Explainer<'_> {
    fn subject(&mut self, subject: &Subject) -> Cause {
        match subject {
            Subject::Object(reference) => self.object(reference),
            Subject::Address { address, score } => self.address(address, score.as_deref()),
            Subject::Operation(name) => self.operation(name),
            Subject::Blueprint(id) => self.blueprint(id),
        }
    }

    /// Explains something by its own function, unless it is being explained already or the tree is large enough.
    fn once(&mut self, key: String, explain: impl FnOnce(&mut Self) -> Cause) -> Option<Cause> {
        if self.path.len() >= DEPTH || self.nodes >= NODES || self.path.contains(&key) {
            return None;
        }
        self.nodes += 1;
        self.path.push(key);
        let cause = explain(self);
        self.path.pop();
        Some(cause)
    }
}
