//! The `assert` blocks of a run, evaluated in the module that was run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::evaluate::{Function, Resolution, Scope};
use consort_hcl::{Expr, Marks, Sources, Traversal, Type, Value, convert};

use super::suite::Status;
use super::variables::Runs;
use crate::address::{Mode, ProviderSource};
use crate::config::{CheckRule, Module, Place, Reference, Resource, Subject, check_in_place};
use crate::provider::schema::{Kind, Schemas};

/// The names of an assertion: those of the module's root, its outputs, the variables of the test, and the
/// runs before.
pub(super) struct Names<'a> {
    pub(super) inner: &'a dyn Scope,
    pub(super) module: &'a Module,
    pub(super) outputs: &'a BTreeMap<Arc<str>, Value>,
    pub(super) variables: &'a BTreeMap<Arc<str>, Value>,
    pub(super) runs: &'a Runs,
    /// Of the providers of the module's resources.
    pub(super) schemas: &'a BTreeMap<ProviderSource, Arc<Schemas>>,
}

fn failed(summary: &str, detail: String, reference: &Reference) -> Resolution {
    Resolution::Failed(
        Diagnostic::error(summary, detail)
            .at(reference.range)
            .into(),
    )
}

impl Scope for Names<'_> {
    fn variable(&self, root: &str) -> Option<Value> {
        self.inner.variable(root)
    }

    fn function(&self, name: &str) -> Option<Arc<Function>> {
        self.inner.function(name)
    }

    fn function_names(&self) -> Vec<Arc<str>> {
        self.inner.function_names()
    }

    fn explain_unknown_function(&self, name: &str) -> Option<(String, String)> {
        self.inner.explain_unknown_function(name)
    }

    fn sources(&self) -> Option<&Sources> {
        self.inner.sources()
    }

    fn resolve(&self, traversal: &Traversal) -> Resolution {
        let reference = match Reference::parse_in_test(traversal) {
            Ok(reference) => reference,
            Err(diagnostic) => return Resolution::Failed((*diagnostic).into()),
        };
        let found = |value: Value| Resolution::Found { value, steps: 1 };
        let module = self.module;
        match &reference.subject {
            Subject::Variable(name) if !module.variables.contains_key(name) => {
                match self.variables.get(name) {
                    Some(value) => found(value.clone()),
                    None => failed(
                        "Reference to undeclared input variable",
                        format!(
                            "An input variable with the name \"{name}\" has not been declared. This variable can be declared with a variable \"{name}\" {{}} block."
                        ),
                        &reference,
                    ),
                }
            }
            Subject::Local(name) if !module.locals.contains_key(name) => failed(
                "Reference to undeclared local value",
                format!("A local value with the name \"{name}\" has not been declared."),
                &reference,
            ),
            Subject::Resource(resource, _) if !module.resources.contains_key(resource) => {
                let kind = match resource.mode {
                    Mode::Managed => "managed resource",
                    Mode::Data => "data resource",
                    Mode::Ephemeral => "ephemeral resource",
                };
                failed(
                    "Reference to undeclared resource",
                    format!(
                        "A {kind} \"{}\" \"{}\" has not been declared in the root module.",
                        resource.kind, resource.name
                    ),
                    &reference,
                )
            }
            Subject::Module(name, _) | Subject::ModuleOutput(name, ..)
                if !module.module_calls.contains_key(name) =>
            {
                failed(
                    "Reference to undeclared module",
                    format!("No module call named \"{name}\" is declared in the root module."),
                    &reference,
                )
            }
            Subject::Output(name) => {
                if module.outputs.contains_key(name) {
                    found(self.outputs.get(name).cloned().unwrap_or(Value::DYNAMIC))
                } else {
                    failed(
                        "Reference to undeclared output value",
                        format!("An output value with the name \"{name}\" has not been declared."),
                        &reference,
                    )
                }
            }
            Subject::Check(_) => failed(
                "Reference to \"check\" in invalid context",
                "The \"check\" object can only be referenced from an \"expect_failures\" attribute within a Terraform testing \"run\" block.".to_owned(),
                &reference,
            ),
            Subject::Run(name) => match self.runs.get(name) {
                Some(Some(value)) => found(value.clone()),
                Some(None) => failed(
                    "Reference to unevaluated run block",
                    format!(
                        "The run \"{name}\" block has not yet been evaluated, so its results are not available here."
                    ),
                    &reference,
                ),
                None => failed(
                    "Reference to undeclared run block",
                    format!("There is no run \"{name}\" declared in this test suite."),
                    &reference,
                ),
            },
            _ => self.inner.resolve(traversal),
        }
    }
}

/// Evaluates all assertions: how they end, and what is to be said.
pub(super) fn evaluate(rules: &[CheckRule], names: &Names<'_>) -> (Status, Diagnostics) {
    let mut status = Status::Pass;
    let mut diagnostics = Diagnostics::new();
    for rule in rules {
        let (Some(condition), Some(message)) = (&rule.condition, &rule.error_message) else {
            status = status.merge(Status::Error);
            continue;
        };
        let missing = missing(condition, message, names);
        if missing.has_errors() {
            diagnostics.append(missing);
            status = status.merge(Status::Error);
            continue;
        }
        let (message, mut found) = error_message(message, names);
        let (value, more) = condition.evaluate(names);
        found.append(more);
        let failed = found.has_errors();
        diagnostics.append(found);
        if failed {
            status = status.merge(Status::Error);
            continue;
        }
        let (outcome, diagnostic) = judge(condition, &value.unmark_deep().0, message, names);
        status = status.merge(outcome);
        if let Some(diagnostic) = diagnostic {
            diagnostics.push(diagnostic);
        }
    }
    (status, diagnostics)
}

/// What references of an assertion lead nowhere: told once each, before anything is evaluated.
fn missing(condition: &Expr, message: &Expr, names: &Names<'_>) -> Diagnostics {
    let mut diagnostics = Diagnostics::new();
    let mut seen = BTreeSet::new();
    let mut suggestions = 1;
    for traversal in condition.references().iter().chain(&message.references()) {
        let subject = Reference::parse_in_test(traversal)
            .map(|reference| reference.subject.to_string())
            .unwrap_or_default();
        if let Resolution::Failed(found) = names.resolve(traversal) {
            if seen.insert(subject) {
                diagnostics.append(found);
            }
        } else if matches!(
            Reference::parse(traversal).map(|reference| reference.subject),
            Ok(Subject::Resource(resource, _)) if names.module.resources.contains_key(&resource)
        ) {
            // What its type does not have.
            let schema_of = |resource: &Resource| {
                let kind = match resource.address.mode {
                    Mode::Managed => Kind::Managed,
                    Mode::Data => Kind::Data,
                    Mode::Ephemeral => Kind::Ephemeral,
                };
                let schemas = names.schemas.get(&resource.provider)?;
                schemas.resource(kind, &resource.address.kind).ok()
            };
            let found = check_in_place(
                names.module,
                std::slice::from_ref(traversal),
                Place::default(),
                &schema_of,
                &mut suggestions,
            );
            diagnostics.append(found.diagnostics);
        }
    }
    diagnostics
}

fn judge(
    condition: &Expr,
    value: &Value,
    message: Option<String>,
    names: &Names<'_>,
) -> (Status, Option<Diagnostic>) {
    let wrong = |summary: &str, detail: String| {
        Diagnostic::error(summary, detail)
            .at(condition.range())
            .with_expression(condition, names)
    };
    if value.is_null() {
        let detail = "Condition expression must return either true or false, not null.".to_owned();
        return (Status::Error, Some(wrong("Invalid condition run", detail)));
    }
    if !value.is_known() {
        let detail = "Condition expression could not be evaluated at this time. This means you have executed a `run` block with `command = plan` and one of the values your condition depended on is not known until after the plan has been applied. Either remove this value from your condition, or execute an `apply` command from this `run` block. Alternatively, if there is an override for this value, you can make it available during the plan phase by setting `override_during = plan` in the `override_` block.".to_owned();
        return (
            Status::Error,
            Some(wrong("Unknown condition value", detail)),
        );
    }
    match convert(value, &Type::Bool) {
        Err(error) => (
            Status::Error,
            Some(wrong(
                "Invalid condition run",
                format!("Invalid condition run value: {error}."),
            )),
        ),
        Ok(value) if value.as_bool() == Some(true) => (Status::Pass, None),
        Ok(_) => (
            Status::Fail,
            Some(wrong("Test assertion failed", message.unwrap_or_default())),
        ),
    }
}

/// What an assertion says; nothing where that may not be shown.
fn error_message(expr: &Expr, names: &Names<'_>) -> (Option<String>, Diagnostics) {
    let (value, mut diagnostics) = expr.evaluate(names);
    if diagnostics.has_errors() {
        return (None, diagnostics);
    }
    let (value, marks) = value.unmark_deep();
    let mut unsuitable = |why: String| {
        diagnostics.push(
            Diagnostic::error(
                "Invalid error message",
                format!("Unsuitable value for error message: {why}."),
            )
            .at(expr.range())
            .with_expression(expr, names),
        );
    };
    let text = match convert(&value, &Type::String) {
        Err(error) => {
            unsuitable(error.to_string());
            return (None, diagnostics);
        }
        Ok(text) => text,
    };
    if !text.is_known() {
        return (None, diagnostics);
    }
    if text.is_null() {
        unsuitable("must not be null".to_owned());
        return (None, diagnostics);
    }
    let (what, advice) = if marks.intersects(Marks::SENSITIVE) {
        (
            "sensitive",
            "carefully using the nonsensitive() function if the expression will not reveal the sensitive data.",
        )
    } else if marks.intersects(Marks::EPHEMERAL) {
        (
            "ephemeral",
            "using the ephemeralasnull() function on the references to not reveal ephemeral data.",
        )
    } else {
        let text = text.as_str().unwrap_or_default().trim().to_owned();
        return (Some(text), diagnostics);
    };
    diagnostics.push(
        Diagnostic::warning(
            format!("Error message refers to {what} values"),
            format!(
                "The error expression used to explain this condition refers to {what} values, so Terraform will not display the resulting message.\n\nYou can correct this by removing references to {what} values, or by {advice}"
            ),
        )
        .at(expr.range()),
    );
    (None, diagnostics)
}
