//! Playbooks as parts of a score.
//!
//! [`Playbooks`] is what the score says of them ([`Spec`]) and what is around them ([`Environment`]).
//!
//! To plan them they are run in check mode with [foresight](crate::executor::Foresight): every task on every host is a
//! resource, and what it would change is its change, with both sides of it. What cannot be known before it is done (a command, a
//! machine that another part is about to make, a value of another part, and whatever follows from those) is said to be so.
//!
//! What tasks set is remembered by host ([`Memory`]): so what somebody else changed since is drift, what no task names any more
//! is known, and can be undone.
//!
//! To carry a plan out they are run, as one step of the walk over all parts: plays keep what they set and register. What
//! happens is told task by task and host by host, under the names the plan has.

mod carrying;
mod described;
mod drift;
mod foreseeing;
mod hosts;
mod identity;
mod notified;
mod opening;
mod outputs;
mod planning;
mod record;
mod remembered;
mod spec;
mod told;
mod undone;
mod unnamed;
mod values;
mod waiting;
mod walk;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_plan::{
    Call, Carrier, Input, Lines, Moved, Order, Part, PartPlan, Problem, Request, Seen,
};

pub use record::{HostRecord, Memory, Thing};
pub use spec::{Described, Group, Host, Hosts, Paths, Spec, VaultSecret};

/// What parts of playbooks find around them.
#[derive(Clone, Default)]
pub struct Environment {
    /// The environment that lookups and programs of the controller see: `PATH`, `HOME`, `SSH_AUTH_SOCK`.
    pub variables: BTreeMap<String, String>,
    /// What is remembered of hosts; without it nothing is, and so there is neither drift nor anything to undo.
    pub memory: Option<Arc<dyn Memory>>,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

/// Playbooks as a part of a score.
#[derive(Debug)]
pub struct Playbooks {
    name: String,
    spec: Spec,
    lines: Lines,
    root: PathBuf,
    environment: Environment,
}

impl Playbooks {
    /// The part `name` of a score whose files lie in `directory`. `lines` tells where the fields of the stanza
    /// stand. Reads no file yet.
    ///
    /// # Errors
    /// What is wrong with the stanza itself.
    pub fn open(
        name: &str,
        spec: Spec,
        lines: Lines,
        directory: &Path,
        environment: Environment,
    ) -> Result<Self, Vec<Problem>> {
        let root = directory
            .canonicalize()
            .unwrap_or_else(|_| directory.to_owned());
        let part = Playbooks {
            name: name.to_owned(),
            spec,
            lines,
            root,
            environment,
        };
        let problems = part.wrong();
        if problems.is_empty() {
            Ok(part)
        } else {
            Err(problems)
        }
    }

    fn wrong(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (feed, pointer) in self.spec.feeds() {
            let known = feed
                .split_once('.')
                .is_some_and(|(part, output)| !part.is_empty() && !output.is_empty());
            if !known {
                problems.push(self.at(
                    &pointer,
                    format!("{feed:?} is no output: expected PART.OUTPUT"),
                ));
            }
        }
        if let Some(wait) = &self.spec.wait
            && opening::duration(wait).is_none()
        {
            problems.push(self.at(
                "/wait",
                format!("{wait:?} is no duration: expected 90s, 5m or 1h"),
            ));
        }
        for (at, secret) in self.spec.vault.iter().enumerate() {
            if secret.file.is_some() == secret.password.is_some() {
                problems.push(self.at(
                    &format!("/vault/{at}"),
                    "a secret of a vault has a file or a password".to_owned(),
                ));
            }
        }
        problems
    }

    fn problem(&self, summary: impl Into<String>) -> Problem {
        Problem {
            part: self.name.clone(),
            location: Some(self.lines.at("/path")),
            summary: summary.into(),
            ..Problem::default()
        }
    }

    fn at(&self, pointer: &str, summary: impl Into<String>) -> Problem {
        Problem {
            location: Some(self.lines.at(pointer)),
            ..self.problem(summary)
        }
    }
}

impl Part for Playbooks {
    fn name(&self) -> &str {
        &self.name
    }

    fn layer(&self) -> &'static str {
        "playbook"
    }

    fn inputs(&self) -> Vec<Input> {
        let mut inputs: Vec<Input> = Vec::new();
        for (feed, pointer) in self.spec.feeds() {
            let Some((part, output)) = feed.split_once('.') else {
                continue;
            };
            if inputs.iter().any(|known| known.name == feed) {
                continue;
            }
            inputs.push(Input {
                name: feed.clone(),
                part: part.to_owned(),
                output: output.to_owned(),
                location: self.lines.at(&pointer),
            });
        }
        inputs
    }

    fn plan<'a>(&'a self, request: Request<'a>) -> Call<'a, Result<PartPlan, Vec<Problem>>> {
        Box::pin(self.planned(request))
    }

    fn moved<'a>(&'a self, seen: &'a [Seen]) -> Call<'a, Result<Vec<Moved>, Vec<Problem>>> {
        Box::pin(self.has_moved(seen))
    }

    fn carrier<'a>(
        &'a self,
        order: Order<'a>,
    ) -> Call<'a, Result<Box<dyn Carrier + 'a>, Vec<Problem>>> {
        Box::pin(async move { self.carrying(&order) })
    }
}
