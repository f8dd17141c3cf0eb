//! Terraform directories as parts of the one plan of a score.
//!
//! [`Terraform`] is a directory with what the score says of it ([`Spec`]) and what is around it ([`Environment`]). It
//! is planned by the engine, and what comes out is told in the words all layers share: changes, edges, outputs.

mod environment;
mod spec;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_plan::{
    Call, Carrier, Feed, Input, Lines, Moved, Order, Part, PartPlan, Problem, Request, Seen,
};

pub use crate::session::BuiltIn;
pub use environment::Environment;
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
                    })
                }
                _ => problems.push(Problem {
                    part: name.to_owned(),
                    address: None,
                    location: Some(location),
                    summary: format!("{:?} names no output", from.from),
                    detail: "Expected PART.OUTPUT, such as infra.address".to_owned(),
                    hint: None,
                    transient: false,
                }),
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
        })
    }

    /// The directory of the root module.
    pub fn directory(&self) -> PathBuf {
        self.root.join(&self.spec.path)
    }

    fn unready(&self) -> Vec<Problem> {
        vec![Problem {
            part: self.name.clone(),
            address: None,
            location: Some(self.lines.at("/path")),
            summary: format!(
                "Terraform parts of the score {} cannot be planned yet",
                self.score
            ),
            detail: format!("{}", self.environment.data.display()),
            hint: None,
            transient: false,
        }]
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

    fn plan<'a>(&'a self, _: Request<'a>) -> Call<'a, Result<PartPlan, Vec<Problem>>> {
        Box::pin(async { Err(self.unready()) })
    }

    fn moved<'a>(&'a self, _: &'a [Seen]) -> Call<'a, Result<Vec<Moved>, Vec<Problem>>> {
        Box::pin(async { Err(self.unready()) })
    }

    fn carrier<'a>(
        &'a self,
        _: Order<'a>,
    ) -> Call<'a, Result<Box<dyn Carrier + 'a>, Vec<Problem>>> {
        Box::pin(async { Err(self.unready()) })
    }
}
