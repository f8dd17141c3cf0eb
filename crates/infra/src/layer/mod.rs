//! Terraform directories as parts of the one plan of a score.
//!
//! [`Terraform`] is a directory with what the score says of it ([`Spec`]) and what is around it ([`Environment`]).
//!
//! To plan it, its modules and providers are installed where they are missing, its state is read, and the engine
//! plans. What comes out is told in the words that all layers share: a change for each instance, also for those that
//! stay as they are, the edges between them, the outputs with the changes they are made of, and the whole plan as
//! `terraform show -json` has it, for policies. Values of other parts come in as variables; what is not known of them
//! is unknown here, of its type.
//!
//! To carry a plan out, the engine's own graph of blocks is handed to the walk over all parts, step by step. A
//! variable that another part gives is set when its step is visited. What is done is kept in a journal until the state
//! itself is written, so that an interrupted walk goes on where it ended.
//!
//! The state is where the configuration's `backend` block says; without one it is kept by the server, as a Secret in
//! the form of Terraform's `kubernetes` backend, or without a server in a file beside the configuration.

mod carrying;
mod drift;
mod edges;
mod environment;
mod planning;
mod prepare;
mod problems;
mod resting;
mod scratch;
mod spec;
mod values;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_plan::{
    Call, Carrier, Feed, Input, Lines, Moved, Order, Part, PartPlan, Problem, Request, Seen,
};

pub use crate::session::BuiltIn;
use carrying::{Kept, Prepared};
pub use environment::Environment;
use problems::Teller;
pub use spec::Spec;

/// A Terraform directory as a part of a score.
pub struct Terraform {
    name: String,
    score: String,
    spec: Spec,
    /// The score's directory.
    root: PathBuf,
    lines: Lines,
    environment: Arc<Environment>,
    inputs: Vec<Input>,
    teller: Teller,
    /// What walks borrow from.
    kept: Kept<Prepared>,
}

impl Terraform {
    /// A part by its name in the score `score`, whose directory is `root`. `lines` are those of the `terraform`
    /// stanza (`/variables/peer/from`).
    ///
    /// # Errors
    /// What is wrong in the stanza, as far as that is seen without reading the directory.
    pub fn new(
        name: &str,
        score: &str,
        spec: Spec,
        root: &Path,
        lines: Lines,
        environment: Arc<Environment>,
    ) -> Result<Terraform, Vec<Problem>> {
        let teller = Teller {
            part: name.to_owned(),
            otherwise: lines.at("/path"),
        };
        let mut inputs = Vec::new();
        let mut problems = Vec::new();
        for (variable, feed) in &spec.variables {
            let Feed::From(from) = feed else { continue };
            let location = lines.at(&format!("/variables/{variable}/from"));
            match from.from.split_once('.') {
                Some((part, output)) if !part.is_empty() && !output.is_empty() => {
                    inputs.push(Input {
                        name: variable.clone(),
                        part: part.to_owned(),
                        output: output.to_owned(),
                        location,
                    });
                }
                _ => problems.push(teller.of(
                    location,
                    format!("{:?} names no output", from.from),
                    "Expected PART.OUTPUT, such as infra.address",
                )),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Terraform {
            name: name.to_owned(),
            score: score.to_owned(),
            spec,
            root: root.to_owned(),
            lines,
            environment,
            inputs,
            teller,
            kept: Kept::default(),
        })
    }

    async fn has_moved(&self, seen: &[Seen]) -> Result<Vec<Moved>, Vec<Problem>> {
        let (root, directory) = self.places()?;
        let told = |found, sources: &_| self.told(&found, sources);
        // The root module alone says where the state is.
        let mut sources = consort_hcl::Sources::below(&root);
        let path = crate::address::ModulePath::root();
        let (module, found) = crate::config::load_module(&directory, &path, None, &mut sources);
        let Some(module) = module.filter(|_| !found.has_errors()) else {
            return Err(told(found, &sources));
        };
        let encryption = self
            .encryption(&module, &directory, &mut sources)
            .map_err(|found| told(found, &sources))?;
        let backing = self
            .backing(&module, &directory, encryption)
            .map_err(|found| told(found, &sources))?;
        let state = backing
            .look()
            .await
            .map_err(|found| told(found, &sources))?;
        let now = planning::version(state.as_ref());
        Ok(seen
            .iter()
            .filter(|seen| seen.what == self.seen_name() && seen.version != now)
            .map(|seen| Moved {
                what: seen.what.clone(),
                how: how(&seen.version, &now),
                by: None,
            })
            .collect())
    }
}

/// How one version of a state differs from another.
fn how(was: &str, is: &str) -> String {
    match (was.rsplit_once('/'), is.rsplit_once('/')) {
        (_, None) => "deleted".to_owned(),
        (None, Some(_)) => "made by somebody else".to_owned(),
        (Some((lineage, serial)), Some((other, now))) if lineage == other => {
            format!("serial {serial} -> {now}")
        }
        (Some((lineage, _)), Some((other, _))) => format!("lineage {lineage} -> {other}"),
    }
}

impl Part for Terraform {
    fn name(&self) -> &str {
        &self.name
    }

    fn layer(&self) -> &'static str {
        "terraform"
    }

    fn inputs(&self) -> Vec<Input> {
        self.inputs.clone()
    }

    fn plan<'a>(&'a self, request: Request<'a>) -> Call<'a, Result<PartPlan, Vec<Problem>>> {
        Box::pin(self.plan_part(request))
    }

    fn moved<'a>(&'a self, seen: &'a [Seen]) -> Call<'a, Result<Vec<Moved>, Vec<Problem>>> {
        Box::pin(self.has_moved(seen))
    }

    fn carrier<'a>(
        &'a self,
        order: Order<'a>,
    ) -> Call<'a, Result<Box<dyn Carrier + 'a>, Vec<Problem>>> {
        Box::pin(self.carrying(order))
    }
}
