//! `expect_failures`: which failed conditions a run is there for.

use consort_hcl::diagnostic::{Diagnostic, Diagnostics, Severity};
use consort_hcl::{Range, Traversal};

use crate::address::Key;
use crate::config::{Reference, Subject};
use crate::engine::{Checkable, FailedCheck};

/// What a run says will fail, and whether it did.
pub(super) struct Expected(Vec<(Subject, Range, bool)>);

/// What can be expected to fail, of what is written.
///
/// # Errors
/// What names something that has no conditions.
pub(super) fn check(written: &[Traversal]) -> Diagnostics {
    let mut diagnostics = Diagnostics::new();
    for traversal in written {
        match Reference::parse_in_test(traversal) {
            Err(diagnostic) => diagnostics.push(*diagnostic),
            Ok(reference) => {
                let checkable = matches!(
                    reference.subject,
                    Subject::Output(_)
                        | Subject::Variable(_)
                        | Subject::Check(_)
                        | Subject::Resource(..)
                );
                if !checkable {
                    diagnostics.push(
                        Diagnostic::error(
                            "Invalid `expect_failures` reference",
                            format!(
                                "You cannot expect failures from {}. You can only expect failures from checkable objects such as input variables, output values, check blocks, managed resources and data sources.",
                                reference.subject
                            ),
                        )
                        .at(reference.range),
                    );
                }
            }
        }
    }
    diagnostics
}

impl Expected {
    pub(super) fn of(written: &[Traversal]) -> Expected {
        Expected(
            written
                .iter()
                .filter_map(|traversal| Reference::parse_in_test(traversal).ok())
                .map(|reference| (reference.subject, reference.range, false))
                .collect(),
        )
    }

    /// Whether this failure is one of those; notes that it came.
    fn meet(&mut self, check: &FailedCheck) -> bool {
        let mut met = false;
        for (subject, _, failed) in &mut self.0 {
            let name = subject.to_string();
            let whole = matches!(subject, Subject::Resource(_, Key::None))
                && check
                    .object
                    .strip_prefix(&name)
                    .is_some_and(|rest| rest.starts_with('['));
            if name == check.object || whole {
                *failed = true;
                met = true;
            }
        }
        met
    }

    fn contains(&self, check: &FailedCheck) -> bool {
        let mut copy = Expected(self.0.clone());
        copy.meet(check)
    }

    /// Takes away what was expected, makes errors of what only a test takes for one, and adds what did not come.
    pub(super) fn judge(mut self, found: Diagnostics) -> Diagnostics {
        let mut judged = Diagnostics::new();
        for mut diagnostic in found {
            let Some(check) = diagnostic.origin::<FailedCheck>().cloned() else {
                judged.push(diagnostic);
                continue;
            };
            let is_error = diagnostic.is_error() || check.was_error;
            if check.in_root && is_error && self.meet(&check) {
                continue;
            }
            if check.kind == Checkable::Check && check.was_error {
                diagnostic.severity = Severity::Error;
            }
            judged.push(diagnostic);
        }
        for (subject, range, failed) in &self.0 {
            if !failed {
                judged.push(
                    Diagnostic::error(
                        "Missing expected failure",
                        format!(
                            "The checkable object, {subject}, was expected to report an error but did not."
                        ),
                    )
                    .at(*range),
                );
            }
        }
        judged
    }

    /// What a plan found that is to be applied: failures that were expected come too early, and what checks
    /// say is left to the apply.
    pub(super) fn too_early(&self, found: Diagnostics) -> Diagnostics {
        let mut judged = Diagnostics::new();
        for diagnostic in found {
            let Some(check) = diagnostic.origin::<FailedCheck>().cloned() else {
                judged.push(diagnostic);
                continue;
            };
            if check.kind == Checkable::Check && !diagnostic.is_error() {
                continue;
            }
            let early = check.in_root && diagnostic.is_error() && self.contains(&check);
            judged.push(diagnostic);
            if early {
                judged.push(Diagnostic::warning(
                    "Expected failure while planning",
                    format!(
                        "A custom condition within {} failed during the planning stage and prevented the requested apply operation. While this was an expected failure, the apply operation could not be executed and so the overall test case will be marked as a failure and the original diagnostic included in the test report.",
                        check.object
                    ),
                ));
            }
        }
        judged
    }
}
