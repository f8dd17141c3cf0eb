//! The part: read, planned, carried out.

use std::path::{Path, PathBuf};

use consort_plan::{
    Call, Carrier, Input, Lines, Moved, Order, Part, PartPlan, Problem, Request, Seen,
};
use kube::Client;
use parking_lot::Mutex;

use crate::carrier::Steps;
use crate::field::Field;
use crate::identity::Named;
use crate::shared::Shared;
use crate::source::Sources;
use crate::spec::Spec;
use crate::target::{self, Reach};

/// Manifests as a part of a score.
pub struct Manifests {
    pub(crate) name: String,
    pub(crate) score: String,
    pub(crate) spec: Spec,
    pub(crate) lines: Lines,
    pub(crate) directory: PathBuf,
    pub(crate) client: Option<Client>,
    pub(crate) shared: Shared,
    /// What was read of its files before it is planned.
    pub(crate) sources: Mutex<Option<Sources>>,
}

impl Manifests {
    /// The part `name` of the score `score`, whose files lie in `directory`. `lines` tells where the fields of the
    /// stanza stand. Objects go to `client` unless the stanza names another target. Reads no file yet.
    ///
    /// # Errors
    ///
    /// What is wrong with the stanza itself: feeds that are no `PART.OUTPUT`, objects and fields that cannot be
    /// read, paths that leave the score.
    pub fn open(
        name: &str,
        score: &str,
        spec: Spec,
        lines: Lines,
        directory: &Path,
        client: Option<Client>,
    ) -> Result<Self, Vec<Problem>> {
        let part = Manifests {
            name: name.to_owned(),
            score: score.to_owned(),
            spec,
            lines,
            directory: directory.to_owned(),
            client,
            shared: Shared::default(),
            sources: Mutex::default(),
        };
        let problems = part.wrong();
        if problems.is_empty() {
            Ok(part)
        } else {
            Err(problems)
        }
    }

    /// What is wrong with the stanza.
    fn wrong(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut tell = |pointer: &str, summary: String| {
            problems.push(Problem {
                location: Some(self.lines.at(pointer)),
                ..self.problem(summary)
            });
        };
        for (what, name) in [("part", &self.name), ("score", &self.score)] {
            if !is_label(name) {
                tell(
                    "",
                    format!(
                        "the name of the {what}, {name:?}, cannot be a label: at most 63 letters, digits, '-', '_' and '.'"
                    ),
                );
            }
        }
        for (feed, pointer) in self.spec.feeds() {
            let known = feed
                .split_once('.')
                .is_some_and(|(part, output)| !part.is_empty() && !output.is_empty());
            if !known {
                tell(
                    &pointer,
                    format!("{feed:?} is no output: expected PART.OUTPUT"),
                );
            }
        }
        for (at, replacement) in self.spec.replacements.iter().enumerate() {
            for (number, to) in replacement.to.iter().enumerate() {
                let pointer = format!("/replacements/{at}/to/{number}");
                if let Err(wrong) = Named::parse(&to.object) {
                    tell(&format!("{pointer}/object"), wrong);
                }
                if let Err(wrong) = Field::parse(&to.field) {
                    tell(&format!("{pointer}/field"), wrong);
                }
            }
        }
        for (name, output) in &self.spec.outputs {
            let pointer = consort_plan::below("/outputs", name);
            if let Err(wrong) = Named::parse(&output.object) {
                tell(&format!("{pointer}/object"), wrong);
            }
            if let Err(wrong) = Field::parse(&output.field) {
                tell(&format!("{pointer}/field"), wrong);
            }
        }
        for (at, ignore) in self.spec.ignore_differences.iter().enumerate() {
            for (number, pointer) in ignore.json_pointers.iter().enumerate() {
                if !pointer.starts_with('/') {
                    tell(
                        &format!("/ignoreDifferences/{at}/jsonPointers/{number}"),
                        format!(
                            "{pointer:?} is no JSON pointer: expected /spec/replicas and the like"
                        ),
                    );
                }
            }
        }
        problems
    }
}

fn is_label(name: &str) -> bool {
    let outer = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.len() <= 63
        && outer(name.chars().next())
        && outer(name.chars().last())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

impl Part for Manifests {
    fn name(&self) -> &str {
        &self.name
    }

    fn layer(&self) -> &'static str {
        "manifests"
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
        inputs.extend(self.shared.takes.values().cloned());
        inputs
    }

    fn plan<'a>(&'a self, request: Request<'a>) -> Call<'a, Result<PartPlan, Vec<Problem>>> {
        Box::pin(crate::plan::plan(self, request))
    }

    fn moved<'a>(&'a self, seen: &'a [Seen]) -> Call<'a, Result<Vec<Moved>, Vec<Problem>>> {
        Box::pin(async move {
            // The inputs are not at hand: of a cluster that another part tells of nothing is asked.
            let none = std::collections::BTreeMap::new();
            if target::input(self.spec.target.as_ref()).is_some() {
                return Ok(Vec::new());
            }
            let reach = target::reach(
                self.spec.target.as_ref(),
                self.client.as_ref(),
                &none,
                &self.directory,
            )
            .await
            .map_err(|wrong| vec![self.problem(wrong)])?;
            match reach {
                Reach::There(server) => crate::seen::moved(self, &server, seen).await,
                Reach::ToCome => Ok(Vec::new()),
            }
        })
    }

    fn carrier<'a>(
        &'a self,
        order: Order<'a>,
    ) -> Call<'a, Result<Box<dyn Carrier + 'a>, Vec<Problem>>> {
        Box::pin(async move {
            self.sources.lock().take();
            let steps = Steps::new(self, order).await?;
            Ok(Box::new(steps) as Box<dyn Carrier>)
        })
    }
}
