//! Evaluating conditions: what has to be true, and what to say when it is not.

use std::sync::Arc;

use consort_hcl::diagnostic::{Diagnostic, Diagnostics, Severity};
use consort_hcl::evaluate::Scope;
use consort_hcl::{Expr, Marks, Range, Type, convert};

use super::checks::{CheckStatus, Checkable};
use super::run::{Failed, Run};
use super::under_test::FailedCheck;
use crate::config::CheckRule;

/// Which kind of condition it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RuleKind {
    Precondition,
    Postcondition,
    OutputPrecondition,
    Assertion,
    Validation(Range),
}

impl RuleKind {
    fn summary(self) -> &'static str {
        match self {
            RuleKind::Precondition => "Resource precondition failed",
            RuleKind::Postcondition => "Resource postcondition failed",
            RuleKind::OutputPrecondition => "Module output value precondition failed",
            RuleKind::Assertion => "Check block assertion failed",
            RuleKind::Validation(_) => "Invalid value for variable",
        }
    }
}

/// Whose conditions they are.
pub(super) struct Checked<'c> {
    pub(super) kind: Checkable,
    pub(super) block: &'c str,
    pub(super) object: &'c str,
}

impl Run<'_> {
    /// Evaluates the conditions of one object and keeps what they said.
    pub(super) fn check_rules(
        &self,
        kind: RuleKind,
        rules: &[CheckRule],
        scope: &dyn Scope,
        checked: &Checked<'_>,
    ) -> Result<(), Failed> {
        // What is about to be destroyed is bound by no condition, and nothing is kept of those of variables.
        if self.before_destroy && !matches!(kind, RuleKind::Validation(_)) {
            return Ok(());
        }
        let mut worst = CheckStatus::Pass;
        let mut failures = Vec::new();
        let mut diagnostics = Diagnostics::new();
        for rule in rules {
            let (status, message, found) = self.check_rule(kind, rule, scope);
            worst = worst.max(status);
            failures.extend(message);
            diagnostics.append(found);
        }
        if !rules.is_empty() && !self.before_destroy {
            self.checks.lock().report(
                checked.kind,
                checked.block,
                checked.object.to_owned(),
                worst,
                failures,
            );
        }
        for diagnostic in &mut diagnostics {
            diagnostic.origin = Some(Arc::new(FailedCheck {
                kind: checked.kind,
                object: checked.object.to_owned(),
                in_root: !checked.block.starts_with("module."),
                nested_data: false,
                // What a check cannot tell yet counts as a failure of it in tests.
                was_error: diagnostic.is_error() || kind == RuleKind::Assertion,
            }));
        }
        if kind == RuleKind::Assertion {
            for diagnostic in &mut diagnostics {
                diagnostic.severity = Severity::Warning;
            }
        }
        self.note(diagnostics)
    }

    fn check_rule(
        &self,
        kind: RuleKind,
        rule: &CheckRule,
        scope: &dyn Scope,
    ) -> (CheckStatus, Option<String>, Diagnostics) {
        let Some(condition) = &rule.condition else {
            return (CheckStatus::Error, None, Diagnostics::new());
        };
        let (value, mut diagnostics) = condition.evaluate(scope);
        let (message, found) = match &rule.error_message {
            Some(expr) => error_message(expr, scope),
            None => (None, Diagnostics::new()),
        };
        diagnostics.append(found);
        if diagnostics.has_errors() {
            return (CheckStatus::Error, None, diagnostics);
        }
        let (value, _) = value.unmark();
        let invalid = |detail: String| {
            Diagnostics::from(
                Diagnostic::error("Invalid condition result", detail)
                    .at(condition.range())
                    .with_expression(condition, scope),
            )
        };
        if value.is_null() {
            return (
                CheckStatus::Error,
                None,
                invalid(
                    "Condition expression must return either true or false, not null.".to_owned(),
                ),
            );
        }
        if !value.is_known() {
            if kind == RuleKind::Assertion && !self.applying {
                diagnostics.push(
                    Diagnostic::warning(
                        "Check block assertion known after apply",
                        "The condition could not be evaluated at this time, a result will be known when this plan is applied.",
                    )
                    .at(condition.range())
                    .with_expression(condition, scope),
                );
            }
            return (CheckStatus::Unknown, None, diagnostics);
        }
        let holds = match convert(&value, &Type::Bool) {
            Ok(value) => value.as_bool(),
            Err(error) => {
                return (
                    CheckStatus::Error,
                    None,
                    invalid(format!("Invalid condition result value: {error}.")),
                );
            }
        };
        match holds {
            Some(true) => (CheckStatus::Pass, None, diagnostics),
            None => (CheckStatus::Unknown, None, diagnostics),
            Some(false) => {
                let message = message.unwrap_or_else(|| {
                    let hidden = matches!(kind, RuleKind::Validation(_))
                        && diagnostics.iter().all(|diagnostic| !diagnostic.is_error())
                        && !diagnostics.is_empty();
                    if hidden {
                        "The error message included a sensitive value, so it will not be displayed."
                    } else {
                        "This check failed, but has an invalid error message as described in the other accompanying messages."
                    }
                    .to_owned()
                });
                let diagnostic = match kind {
                    RuleKind::Validation(range) => Diagnostic::error(
                        kind.summary(),
                        format!(
                            "{message}\n\nThis was checked by the validation rule at {}.",
                            self.input.sources.describe(rule.range)
                        ),
                    )
                    .at(range),
                    _ => Diagnostic::error(kind.summary(), message.clone()).at(condition.range()),
                };
                diagnostics.push(diagnostic.with_expression(condition, scope));
                (CheckStatus::Fail, Some(message), diagnostics)
            }
        }
    }
}

/// What the message of a rule says; nothing where that is not known, or may not be shown.
pub(super) fn error_message(expr: &Expr, scope: &dyn Scope) -> (Option<String>, Diagnostics) {
    let (value, mut diagnostics) = expr.evaluate(scope);
    if diagnostics.has_errors() {
        return (None, diagnostics);
    }
    let (value, marks) = value.unmark_deep();
    if !value.is_known() {
        return (None, diagnostics);
    }
    if marks.intersects(Marks::SENSITIVE | Marks::EPHEMERAL) {
        let what = if marks.intersects(Marks::SENSITIVE) {
            "sensitive"
        } else {
            "ephemeral"
        };
        diagnostics.push(
            Diagnostic::warning(
                format!("Error message refers to {what} values"),
                format!(
                    "The error expression used to explain this condition refers to {what} values, so Terraform will not display the resulting message.\n\nYou can correct this by removing references to {what} values, or by {}",
                    if what == "sensitive" {
                        "carefully using the nonsensitive() function if the expression will not reveal the sensitive data."
                    } else {
                        "using the ephemeralasnull() function on the references to not reveal ephemeral data."
                    }
                ),
            )
            .at(expr.range()),
        );
        return (None, diagnostics);
    }
    match convert(&value, &Type::String) {
        Ok(text) if !text.is_null() => (
            text.as_str().map(|text| text.trim().to_owned()),
            diagnostics,
        ),
        _ => {
            diagnostics.push(
                Diagnostic::error(
                    "Invalid error message",
                    "Unsuitable value for error message: a string is required.",
                )
                .at(expr.range())
                .with_expression(expr, scope),
            );
            (None, diagnostics)
        }
    }
}
