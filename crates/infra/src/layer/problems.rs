//! What the engine says, as problems of a part.

use std::path::Path;

use consort_hcl::Sources;
use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::source::Range;
use consort_plan::{Address, Location, Problem};

/// Words by which a failure is known that may well not come again: of networks, of servers under load, of what is not
/// there yet everywhere. Providers give no codes.
const PASSING: [&str; 24] = [
    "connection refused",
    "connection reset",
    "broken pipe",
    "i/o timeout",
    "tls handshake timeout",
    "timeout while waiting",
    "context deadline exceeded",
    "deadline exceeded",
    "temporary failure",
    "temporarily unavailable",
    "service unavailable",
    "bad gateway",
    "gateway timeout",
    "too many requests",
    "rate exceeded",
    "rate limit",
    "throttl",
    "requestlimitexceeded",
    "eventual consistency",
    "unexpected eof",
    "no such host",
    "server misbehaving",
    "internalerror",
    "try again",
];

/// Whether a failure may well not come again.
pub(super) fn is_passing(problem: &Diagnostic) -> bool {
    let text = format!("{} {}", problem.summary, problem.detail).to_lowercase();
    PASSING.iter().any(|word| text.contains(word))
}

/// Tells what the engine says of one part.
#[derive(Clone, Debug)]
pub(super) struct Teller {
    /// The part.
    pub(super) part: String,
    /// Where what has no place of its own is told.
    pub(super) otherwise: Location,
}

impl Teller {
    /// Where a range begins.
    pub(super) fn location(range: Range, sources: &Sources) -> Option<Location> {
        let source = sources.get(range.source)?;
        if source.name().starts_with('<') {
            return None;
        }
        Some(Location {
            file: short(source.name()),
            line: source.position(range.start).line,
        })
    }

    /// One message.
    pub(super) fn problem(&self, diagnostic: &Diagnostic, sources: &Sources) -> Problem {
        let location = diagnostic
            .subject
            .and_then(|range| Self::location(range, sources))
            .unwrap_or_else(|| self.otherwise.clone());
        Problem {
            part: self.part.clone(),
            address: diagnostic
                .address
                .as_ref()
                .map(|address| Address::new(&self.part, address)),
            location: Some(location),
            summary: diagnostic.summary.trim_end_matches('.').to_owned(),
            detail: diagnostic.detail.clone(),
            hint: diagnostic.hint.clone(),
            transient: false,
        }
    }

    /// The errors among some messages.
    pub(super) fn errors(&self, found: &Diagnostics, sources: &Sources) -> Vec<Problem> {
        found
            .into_iter()
            .filter(|one| one.is_error())
            .map(|one| self.problem(one, sources))
            .collect()
    }

    /// The warnings among some messages.
    pub(super) fn warnings(&self, found: &Diagnostics, sources: &Sources) -> Vec<Problem> {
        found
            .into_iter()
            .filter(|one| !one.is_error())
            .map(|one| self.problem(one, sources))
            .collect()
    }

    /// A problem of the stanza.
    pub(super) fn of(
        &self,
        location: Location,
        summary: impl Into<String>,
        detail: impl Into<String>,
    ) -> Problem {
        Problem {
            part: self.part.clone(),
            location: Some(location),
            summary: summary.into(),
            detail: detail.into(),
            ..Problem::default()
        }
    }
}

/// A path without `.` and needless `..`.
fn short(name: &str) -> String {
    let cleaned = crate::config::source::clean_path(name);
    Path::new(&cleaned).display().to_string()
}
