//! Which lines were evaluated.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Source;

/// The coverage of all modules.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Coverage {
    /// By file, in the order in which they were added.
    pub files: Vec<FileCoverage>,
}

/// The coverage of one module.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FileCoverage {
    /// The file, as it was named when it was added.
    pub file: String,
    /// The lines that were evaluated, from one.
    pub covered: BTreeSet<u32>,
    /// The lines that could have been.
    pub not_covered: BTreeSet<u32>,
}

impl FileCoverage {
    /// The share of lines that were evaluated, in per cent.
    pub fn percent(&self) -> f64 {
        share(self.covered.len(), self.not_covered.len())
    }
}

impl Coverage {
    /// How many lines were evaluated, and how many were not.
    pub fn lines(&self) -> (usize, usize) {
        self.files.iter().fold((0, 0), |(covered, not), file| {
            (covered + file.covered.len(), not + file.not_covered.len())
        })
    }

    /// The share of lines that were evaluated, in per cent.
    pub fn percent(&self) -> f64 {
        let (covered, not) = self.lines();
        share(covered, not)
    }
}

#[expect(clippy::cast_precision_loss, reason = "lines of files are few")]
fn share(covered: usize, not: usize) -> f64 {
    if covered + not == 0 {
        0.0
    } else {
        100.0 * covered as f64 / (covered + not) as f64
    }
}

pub(super) fn of(sources: &[Arc<Source>], report: Option<regorus::coverage::Report>) -> Coverage {
    let Some(report) = report else {
        return Coverage::default();
    };
    let files = sources
        .iter()
        .map(|source| {
            let lines = u32::try_from(source.text.lines().count()).unwrap_or(u32::MAX);
            let mut file = FileCoverage {
                file: source.file.clone(),
                ..FileCoverage::default()
            };
            // What was made of a module may be several; lines that were added to it are none of its own.
            for found in report
                .files
                .iter()
                .filter(|found| found.path == source.file)
            {
                file.covered
                    .extend(found.covered.iter().filter(|line| **line <= lines));
                file.not_covered
                    .extend(found.not_covered.iter().filter(|line| **line <= lines));
            }
            let covered = file.covered.clone();
            file.not_covered.retain(|line| !covered.contains(line));
            file
        })
        .collect();
    Coverage { files }
}
