//! What names mean in the expressions of one module instance.

use std::sync::Arc;

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::evaluate::{Function, Resolution, Scope};
use consort_hcl::{Traversal, Value};

use super::run::Run;
use super::world::{ModuleTable, Repetition};
use crate::address::{Key, Mode};
use crate::config::{Reference, Subject};

/// The scope of an expression: a module instance, and the instance of a block in it.
pub(super) struct Names<'r> {
    pub(super) run: &'r Run<'r>,
    pub(super) table: &'r ModuleTable,
    pub(super) repetition: &'r Repetition,
    pub(super) itself: Option<&'r Value>,
}

impl<'r> Names<'r> {
    pub(super) fn of_module(run: &'r Run<'r>, table: &'r ModuleTable) -> Self {
        static NONE: Repetition = Repetition {
            count_index: None,
            each: None,
        };
        Names {
            run,
            table,
            repetition: &NONE,
            itself: None,
        }
    }

    pub(super) fn repeated(
        run: &'r Run<'r>,
        table: &'r ModuleTable,
        repetition: &'r Repetition,
    ) -> Self {
        Names {
            run,
            table,
            repetition,
            itself: None,
        }
    }
}

fn found(value: Value, steps: usize) -> Resolution {
    Resolution::Found { value, steps }
}

fn failed(summary: &str, detail: String, reference: &Reference) -> Resolution {
    Resolution::Failed(Diagnostics::from(
        Diagnostic::error(summary, detail).at(reference.range),
    ))
}

impl Scope for Names<'_> {
    fn variable(&self, _root: &str) -> Option<Value> {
        None
    }

    fn function(&self, name: &str) -> Option<Arc<Function>> {
        self.run.function(self.table.ix, name)
    }

    fn function_names(&self) -> Vec<Arc<str>> {
        self.run.functions.keys().cloned().collect()
    }

    fn explain_unknown_function(&self, name: &str) -> Option<(String, String)> {
        self.run.explain_function(self.table.ix, name)
    }

    fn sources(&self) -> Option<&consort_hcl::Sources> {
        Some(self.run.input.sources)
    }

    fn resolve(&self, traversal: &Traversal) -> Resolution {
        let reference = match Reference::parse(traversal) {
            Ok(reference) => reference,
            Err(diagnostic) => return Resolution::Failed(Diagnostics::from(*diagnostic)),
        };
        let table = self.table;
        match &reference.subject {
            Subject::Variable(name) => found(table.variables.read().get(name).cloned().unwrap_or(Value::DYNAMIC), 1),
            Subject::Local(name) => found(table.locals.read().get(name).cloned().unwrap_or(Value::DYNAMIC), 1),
            Subject::Count(name) => match &self.repetition.count_index {
                Some(index) if &**name == "index" => found(index.clone(), 1),
                Some(_) => failed(
                    "Invalid \"count\" attribute",
                    format!(
                        "The \"count\" object does not have an attribute named \"{name}\". The only supported attribute is count.index, which is the index of each instance of a resource block that has the \"count\" argument set."
                    ),
                    &reference,
                ),
                None => failed(
                    "Reference to \"count\" in non-counted context",
                    "The \"count\" object can only be used in \"module\", \"resource\", and \"data\" blocks, and only when the \"count\" argument is set.".to_owned(),
                    &reference,
                ),
            },
            Subject::Each(name) => match &self.repetition.each {
                Some((key, _)) if &**name == "key" => found(key.clone(), 1),
                Some((_, value)) if &**name == "value" => found(value.clone(), 1),
                Some(_) => failed(
                    "Invalid \"each\" attribute",
                    format!(
                        "The \"each\" object does not have an attribute named \"{name}\". The supported attributes are each.key and each.value, the current key and value pair of the \"for_each\" attribute set."
                    ),
                    &reference,
                ),
                None => failed(
                    "Reference to \"each\" in context without for_each",
                    "The \"each\" object can be used only in \"module\" or \"resource\" blocks, and only when the \"for_each\" argument is set.".to_owned(),
                    &reference,
                ),
            },
            Subject::Path(name) => match self.run.path(table.ix, name) {
                Some(path) => found(Value::string(path), 1),
                None => failed(
                    "Invalid \"path\" attribute",
                    format!("The \"path\" object does not have an attribute named \"{name}\"."),
                    &reference,
                ),
            },
            Subject::Terraform(name) => match &**name {
                "workspace" => found(Value::string(self.run.input.workspace), 1),
                "applying" => found(Value::bool(self.run.applying).with_marks(consort_hcl::Marks::EPHEMERAL), 1),
                "env" => failed(
                    "Invalid \"terraform\" attribute",
                    "The terraform.env attribute was deprecated in v0.10 and removed in v0.12. The \"state environment\" concept was renamed to \"workspace\" in v0.12, and so the workspace name can now be accessed using the terraform.workspace attribute.".to_owned(),
                    &reference,
                ),
                _ => failed(
                    "Invalid \"terraform\" attribute",
                    format!(
                        "The \"terraform\" object does not have an attribute named \"{name}\". The only supported attribute is terraform.workspace, the name of the currently-selected workspace."
                    ),
                    &reference,
                ),
            },
            Subject::Itself => match self.itself {
                Some(value) => found(value.clone(), 0),
                None => failed(
                    "Invalid \"self\" reference",
                    "The \"self\" object is not available in this context. This object can be used only in resource provisioner, connection, and postcondition blocks.".to_owned(),
                    &reference,
                ),
            },
            Subject::Resource(resource, _) => {
                let steps = if resource.mode == Mode::Managed && &*traversal.root != "resource" { 1 } else { 2 };
                match table.resources.read().get(resource) {
                    Some(value) => found(value.clone(), steps),
                    None => found(Value::DYNAMIC, steps),
                }
            }
            Subject::ModuleOutput(name, key, output) => {
                let steps = if key.is_none() { 2 } else { 3 };
                let calls = table.calls.read();
                if let Some(child) = calls.get(name).and_then(|calls| calls.get(key)) {
                    if let Some(value) = child.outputs.read().get(output) {
                        return found(value.clone(), steps);
                    }
                    if self.run.index.module(child.ix).outputs.contains_key(output) {
                        return found(Value::DYNAMIC, steps);
                    }
                }
                drop(calls);
                found(table.whole_module(name), 1)
            }
            Subject::Module(name, Key::None | Key::Int(_) | Key::String(_)) => found(table.whole_module(name), 1),
            Subject::Output(_) | Subject::Check(_) | Subject::Run(_) => Resolution::Missing,
        }
    }
}
