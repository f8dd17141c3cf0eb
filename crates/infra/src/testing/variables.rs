//! The variables of a run: from the run, from its file, and from outside; and the names they can use.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::evaluate::{Function, Functions, Resolution, Scope};
use consort_hcl::{Range, Sources, Traversal, Value};

use crate::config::{
    CheckRule, GivenValues, Module, Origin, Reference, Run, Subject, TestFile, admit,
};
use crate::engine::Given;

/// What the runs of a file came to: the outputs of those that are done.
pub(super) type Runs = BTreeMap<Arc<str>, Option<Value>>;

/// A value from outside or from the file, or why there is none.
type Known = Result<(Value, Origin, Option<Range>), Diagnostics>;

/// From where names are looked up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// The file's `variables` block.
    File,
    /// A run's `variables` block.
    Run,
    /// A `provider` block of the file.
    Provider,
}

/// The names of expressions in test files that stand outside of assertions.
struct Names<'a> {
    place: Place,
    variables: &'a BTreeMap<Arc<str>, Known>,
    runs: Option<&'a Runs>,
    functions: &'a Functions,
    sources: &'a Sources,
}

fn failed(summary: &str, detail: String, at: Range) -> Resolution {
    Resolution::Failed(Diagnostic::error(summary, detail).at(at).into())
}

impl Scope for Names<'_> {
    fn variable(&self, _root: &str) -> Option<Value> {
        None
    }

    fn function(&self, name: &str) -> Option<Arc<Function>> {
        self.functions.get(name).cloned()
    }

    fn function_names(&self) -> Vec<Arc<str>> {
        self.functions.keys().cloned().collect()
    }

    fn explain_unknown_function(&self, name: &str) -> Option<(String, String)> {
        consort_hcl::evaluate::unknown_provider_function(name)
    }

    fn sources(&self) -> Option<&Sources> {
        Some(self.sources)
    }

    fn resolve(&self, traversal: &Traversal) -> Resolution {
        let reference = match Reference::parse_in_test(traversal) {
            Ok(reference) => reference,
            Err(diagnostic) => return Resolution::Failed((*diagnostic).into()),
        };
        let at = reference.range;
        match (&reference.subject, self.runs) {
            (Subject::Variable(name), _) => match self.variables.get(name) {
                Some(Ok((value, ..))) => Resolution::Found {
                    value: value.clone(),
                    steps: 1,
                },
                Some(Err(diagnostics)) => Resolution::Failed(diagnostics.clone()),
                None => failed(
                    "Reference to unavailable variable",
                    match self.place {
                        Place::File => format!(
                            "The input variable \"{name}\" is not available to the current context. You can only reference global variables."
                        ),
                        Place::Run => format!(
                            "The input variable \"{name}\" is not available to the current run block. You can only reference variables defined at the file or global levels."
                        ),
                        Place::Provider => format!(
                            "The input variable \"{name}\" is not available to the current provider configuration. You can only reference variables defined at the file or global levels."
                        ),
                    },
                    at,
                ),
            },
            (Subject::Run(name), Some(runs)) => {
                let before = if self.place == Place::Provider {
                    "the provider is required"
                } else {
                    "the current run block"
                };
                match runs.get(name) {
                    Some(Some(value)) => Resolution::Found {
                        value: value.clone(),
                        steps: 1,
                    },
                    Some(None) => failed(
                        "Reference to unavailable run block",
                        format!(
                            "The run block \"{name}\" has not executed yet. You can only reference run blocks that are in the same test file and will execute before {before}."
                        ),
                        at,
                    ),
                    None => failed(
                        "Reference to unknown run block",
                        format!(
                            "The run block \"{name}\" does not exist within this test file. You can only reference run blocks that are in the same test file and will execute before {before}."
                        ),
                        at,
                    ),
                }
            }
            _ => failed(
                "Invalid reference",
                match self.place {
                    Place::File => {
                        "You can only reference global variables within the test file variables block."
                    }
                    Place::Run => {
                        "You can only reference earlier run blocks, file level, and global variables while defining variables from inside a run block."
                    }
                    Place::Provider => {
                        "You can only reference earlier run blocks, file level, and global variables while defining providers from inside a test file."
                    }
                }
                .to_owned(),
                at,
            ),
        }
    }
}

/// The variables of one run.
#[derive(Default)]
pub(super) struct Variables {
    /// Those of the module that are given, converted and marked as declared.
    pub(super) values: BTreeMap<Arc<str>, Value>,
    /// The same as they were given.
    pub(super) given: BTreeMap<Arc<str>, Given>,
    /// Those that only assertions use.
    pub(super) others: BTreeMap<Arc<str>, Value>,
}

/// The values of all variables that a file and its surroundings give, for what stands in the file.
pub(super) struct FileVariables {
    known: BTreeMap<Arc<str>, Known>,
}

impl FileVariables {
    /// Those a file's runs of a module can use.
    pub(super) fn new(
        file: &TestFile,
        module: &Module,
        globals: &GivenValues,
        functions: &Functions,
        sources: &mut Sources,
    ) -> FileVariables {
        let mut outside: BTreeMap<Arc<str>, Known> = BTreeMap::new();
        for name in globals.names() {
            let declared = module.variables.get(name);
            if let Some(known) = globals.value_of(name, declared, sources) {
                outside.insert(name.clone(), known);
            }
        }
        let mut known = BTreeMap::new();
        for (name, expr) in &file.variables {
            let names = Names {
                place: Place::File,
                variables: &outside,
                runs: None,
                functions,
                sources,
            };
            let (value, diagnostics) = expr.evaluate(&names);
            known.insert(
                name.clone(),
                if diagnostics.has_errors() {
                    Err(diagnostics)
                } else {
                    Ok((value, Origin::NamedFile, Some(expr.range())))
                },
            );
        }
        for (name, value) in outside {
            known.entry(name).or_insert(value);
        }
        FileVariables { known }
    }
}

/// The names that provider blocks of a test file can use.
pub(super) struct ProviderNames<'a> {
    pub(super) variables: &'a FileVariables,
    pub(super) runs: &'a Runs,
    pub(super) functions: &'a Functions,
    pub(super) sources: &'a Sources,
}

impl ProviderNames<'_> {
    fn names(&self) -> Names<'_> {
        Names {
            place: Place::Provider,
            variables: &self.variables.known,
            runs: Some(self.runs),
            functions: self.functions,
            sources: self.sources,
        }
    }
}

impl Scope for ProviderNames<'_> {
    fn variable(&self, _root: &str) -> Option<Value> {
        None
    }

    fn function(&self, name: &str) -> Option<Arc<Function>> {
        self.functions.get(name).cloned()
    }

    fn sources(&self) -> Option<&Sources> {
        Some(self.sources)
    }

    fn resolve(&self, traversal: &Traversal) -> Resolution {
        self.names().resolve(traversal)
    }
}

/// The variables that assertions name.
fn named_in(rules: &[CheckRule]) -> Vec<Arc<str>> {
    rules
        .iter()
        .flat_map(|rule| rule.condition.iter().chain(&rule.error_message))
        .flat_map(consort_hcl::Expr::references)
        .filter(|traversal| &*traversal.root == "var")
        .filter_map(|traversal| traversal.attribute(0).cloned())
        .collect()
}

/// The values of a run's variables.
///
/// # Errors
/// Values that cannot be evaluated or do not fit, and required variables without one. Warnings come back with
/// the values.
pub(super) fn of_run(
    run: &Run,
    file: &FileVariables,
    module: &Module,
    runs: &Runs,
    functions: &Functions,
    sources: &Sources,
) -> Result<(Variables, Diagnostics), Diagnostics> {
    let mut diagnostics = Diagnostics::new();
    let mut variables = Variables::default();
    let names = Names {
        place: Place::Run,
        variables: &file.known,
        runs: Some(runs),
        functions,
        sources,
    };
    let mut own: BTreeMap<Arc<str>, (Value, Range)> = BTreeMap::new();
    for (name, expr) in &run.variables {
        let (value, found) = expr.evaluate(&names);
        let failed = found.has_errors();
        diagnostics.append(found);
        if !failed {
            own.insert(name.clone(), (value, expr.range()));
        }
    }
    let asserted = named_in(&run.asserts);
    for (name, variable) in &module.variables {
        let given = match (run.variables.contains_key(name), own.get(name)) {
            (true, None) => continue,
            (_, Some((value, range))) => Some((value.clone(), Origin::NamedFile, Some(*range))),
            (false, None) => match file.known.get(name) {
                Some(Ok(known)) => Some(known.clone()),
                Some(Err(found)) => {
                    diagnostics.append(found.clone());
                    continue;
                }
                None => None,
            },
        };
        let Some((value, origin, range)) = given else {
            if variable.required() {
                diagnostics.push(
                    Diagnostic::error(
                        "No value for required variable",
                        format!(
                            "The module under test for run block \"{}\" has a required variable \"{name}\" with no set value. Use a -var or -var-file command line argument or add this variable into a \"variables\" block within the test file or run block.",
                            run.name
                        ),
                    )
                    .at(variable.range),
                );
            }
            continue;
        };
        match admit(variable, value, origin, range, sources) {
            Ok(value) => {
                let given = Given {
                    value: value.given.unmark_deep().0,
                    range: value.range,
                };
                variables.given.insert(name.clone(), given);
                variables
                    .values
                    .insert(name.clone(), value.value.with_marks(variable.marks()));
            }
            Err(diagnostic) => diagnostics.push(*diagnostic),
        }
    }
    for (name, (value, range)) in &own {
        if module.variables.contains_key(name) {
            continue;
        }
        variables.others.insert(name.clone(), value.clone());
        if !asserted.contains(name) {
            diagnostics.push(
                Diagnostic::warning(
                    "Value for undeclared variable",
                    format!(
                        "The module under test does not declare a variable named \"{name}\", but it is declared in run block \"{}\".",
                        run.name
                    ),
                )
                .at(*range),
            );
        }
    }
    for name in asserted {
        if module.variables.contains_key(&name) || variables.others.contains_key(&name) {
            continue;
        }
        match file.known.get(&name) {
            Some(Ok((value, ..))) => {
                variables.others.insert(name, value.clone());
            }
            Some(Err(found)) => diagnostics.append(found.clone()),
            None => {}
        }
    }
    if diagnostics.has_errors() {
        Err(diagnostics)
    } else {
        Ok((variables, diagnostics))
    }
}
