//! The part: read, planned, carried out.

use std::path::{Path, PathBuf};

use consort_plan::{
    Call, Carrier, Input, Lines, Moved, Order, Part, PartPlan, Problem, Request, Seen,
};
use kube::Client;

use crate::spec::Spec;

/// Manifests as a part of a score.
pub struct Manifests {
    name: String,
    score: String,
    spec: Spec,
    lines: Lines,
    directory: PathBuf,
    client: Option<Client>,
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
        Ok(Manifests {
            name: name.to_owned(),
            score: score.to_owned(),
            spec,
            lines,
            directory: directory.to_owned(),
            client,
        })
    }
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
        inputs
    }

    fn plan<'a>(&'a self, request: Request<'a>) -> Call<'a, Result<PartPlan, Vec<Problem>>> {
        let _ = (request, &self.score, &self.directory, &self.client);
        Box::pin(async { Ok(PartPlan::default()) })
    }

    fn moved<'a>(&'a self, seen: &'a [Seen]) -> Call<'a, Result<Vec<Moved>, Vec<Problem>>> {
        let _ = seen;
        Box::pin(async { Ok(Vec::new()) })
    }

    fn carrier<'a>(
        &'a self,
        order: Order<'a>,
    ) -> Call<'a, Result<Box<dyn Carrier + 'a>, Vec<Problem>>> {
        let _ = order;
        Box::pin(async { Err(Vec::new()) })
    }
}
