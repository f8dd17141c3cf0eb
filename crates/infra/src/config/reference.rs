//! What a traversal refers to: `var.a`, `aws_instance.web[0].id`, `module.x.y` and so on.

use std::fmt;
use std::sync::Arc;

use consort_hcl::Value;
use consort_hcl::diagnostic::Diagnostic;
use consort_hcl::source::Range;
use consort_hcl::traversal::{Step, Traversal};

use crate::address::{Key, Mode, Resource};

/// The object a reference starts from.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// `count.<name>`
    Count(Arc<str>),
    /// `each.<name>`
    Each(Arc<str>),
    /// `var.<name>`
    Variable(Arc<str>),
    /// `local.<name>`
    Local(Arc<str>),
    /// `path.<name>`
    Path(Arc<str>),
    /// `terraform.<name>`
    Terraform(Arc<str>),
    /// `self`
    Itself,
    /// A resource, and the key of the instance where one is written as a constant.
    Resource(Resource, Key),
    /// `module.<name>`, whole or one instance of it.
    Module(Arc<str>, Key),
    /// `module.<name>.<output>`
    ModuleOutput(Arc<str>, Key, Arc<str>),
    /// `output.<name>`, in tests
    Output(Arc<str>),
    /// `check.<name>`, in tests
    Check(Arc<str>),
    /// `run.<name>`, in tests
    Run(Arc<str>),
}

/// As messages name it.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(name) => write!(f, "count.{name}"),
            Self::Each(name) => write!(f, "each.{name}"),
            Self::Variable(name) => write!(f, "var.{name}"),
            Self::Local(name) => write!(f, "local.{name}"),
            Self::Path(name) => write!(f, "path.{name}"),
            Self::Terraform(name) => write!(f, "terraform.{name}"),
            Self::Itself => f.write_str("self"),
            Self::Resource(resource, key) => write!(f, "{resource}{key}"),
            Self::Module(name, key) => write!(f, "module.{name}{key}"),
            Self::ModuleOutput(name, key, output) => write!(f, "module.{name}{key}.{output}"),
            Self::Output(name) => write!(f, "output.{name}"),
            Self::Check(name) => write!(f, "check.{name}"),
            Self::Run(name) => write!(f, "run.{name}"),
        }
    }
}

/// A traversal, understood.
#[derive(Clone, Debug)]
pub struct Reference {
    /// What it starts from.
    pub subject: Subject,
    /// Where the subject stands.
    pub range: Range,
    /// How many steps after the root belong to the subject.
    pub consumed: usize,
}

impl Reference {
    /// The steps that follow the subject.
    pub fn remaining<'t>(&self, traversal: &'t Traversal) -> &'t [Step] {
        traversal.steps.get(self.consumed..).unwrap_or_default()
    }

    /// Understands a traversal of a module's expression.
    ///
    /// # Errors
    /// When it refers to nothing that exists in the language.
    pub fn parse(traversal: &Traversal) -> Result<Self, Box<Diagnostic>> {
        let root = &*traversal.root;
        match root {
            "count" => single(traversal, Subject::Count),
            "each" => single(traversal, Subject::Each),
            "local" => single(traversal, Subject::Local),
            "path" => single(traversal, Subject::Path),
            "terraform" => single(traversal, Subject::Terraform),
            "var" => single(traversal, Subject::Variable),
            "self" => Ok(Self { subject: Subject::Itself, range: traversal.root_range, consumed: 0 }),
            "data" | "ephemeral" | "resource" => {
                if traversal.steps.len() < 2 {
                    let parts = match root {
                        "data" => "the data source type and the resource name",
                        "ephemeral" => "the ephemeral resource type and the resource name",
                        _ => "the resource type and the resource name",
                    };
                    return invalid(
                        format!("The {root:?} object must be followed by two attribute names: {parts}."),
                        traversal.range(),
                    );
                }
                let mode = match root {
                    "data" => Mode::Data,
                    "ephemeral" => Mode::Ephemeral,
                    _ => Mode::Managed,
                };
                let Some(kind) = traversal.attribute(0) else {
                    return invalid(
                        format!("The {root:?} object does not support this operation."),
                        traversal.steps[0].range(),
                    );
                };
                resource(mode, kind, traversal, 1)
            }
            "module" => module(traversal),
            "template" | "lazy" | "arg" => Err(Box::new(
                Diagnostic::error(
                    "Reserved symbol name",
                    format!(
                        "The symbol name {root:?} is reserved for use in a future Terraform version. If you are using a provider that already uses this as a resource type name, add the prefix \"resource.\" to force interpretation as a resource type name."
                    ),
                )
                .at(traversal.root_range),
            )),
            _ => resource(Mode::Managed, &traversal.root, traversal, 0),
        }
    }

    /// Understands a traversal of a test file, where `output`, `check` and `run` exist too.
    ///
    /// # Errors
    /// As [`Reference::parse`].
    pub fn parse_in_test(traversal: &Traversal) -> Result<Self, Box<Diagnostic>> {
        match &*traversal.root {
            "output" => single(traversal, Subject::Output),
            "check" => single(traversal, Subject::Check),
            "run" => single(traversal, Subject::Run),
            _ => Self::parse(traversal),
        }
    }
}

fn invalid<T>(detail: String, at: Range) -> Result<T, Box<Diagnostic>> {
    Err(Box::new(
        Diagnostic::error("Invalid reference", detail).at(at),
    ))
}

fn single(
    traversal: &Traversal,
    subject: impl FnOnce(Arc<str>) -> Subject,
) -> Result<Reference, Box<Diagnostic>> {
    let root = &*traversal.root;
    match traversal.steps.first() {
        None => invalid(
            format!(
                "The {root:?} object cannot be accessed directly. Instead, access one of its attributes."
            ),
            traversal.root_range,
        ),
        Some(step) => match step.attribute() {
            Some(name) => Ok(Reference {
                subject: subject(name.clone()),
                range: traversal.root_range.to(step.range()),
                consumed: 1,
            }),
            None => invalid(
                format!("The {root:?} object does not support this operation."),
                step.range(),
            ),
        },
    }
}

fn key_of(value: &Value, what: &str, at: Range) -> Result<Key, Box<Diagnostic>> {
    let fail = |why: &str| {
        Err(Box::new(
            Diagnostic::error(
                "Invalid index key",
                format!("Invalid index for {what} instance: {why}."),
            )
            .at(at),
        ))
    };
    if let Some(text) = value.as_str() {
        return Ok(Key::String(text.into()));
    }
    match value.as_number() {
        Some(number) => match number.to_i64() {
            Some(index) => Ok(Key::Int(index)),
            None => fail("must be a whole number"),
        },
        None => fail("must be a string or an integer"),
    }
}

/// `at` is the index of the step that holds the name; the type stands before it.
fn resource(
    mode: Mode,
    kind: &Arc<str>,
    traversal: &Traversal,
    at: usize,
) -> Result<Reference, Box<Diagnostic>> {
    let Some(step) = traversal.steps.get(at) else {
        return invalid(
            "A reference to a resource type must be followed by at least one attribute access, specifying the resource name."
                .to_string(),
            traversal.range(),
        );
    };
    let Some(name) = step.attribute() else {
        let what = match mode {
            Mode::Data => "a data source",
            Mode::Ephemeral => "an ephemeral resource type",
            Mode::Managed => "a resource type",
        };
        return invalid(
            format!(
                "A reference to {what} must be followed by at least one attribute access, specifying the resource name."
            ),
            step.range(),
        );
    };
    let address = Resource {
        mode,
        kind: kind.clone(),
        name: name.clone(),
    };
    let mut reference = Reference {
        subject: Subject::Resource(address.clone(), Key::None),
        range: traversal.root_range.to(step.range()),
        consumed: at + 1,
    };
    if let Some(Step::Index { key, range }) = traversal.steps.get(at + 1) {
        reference.subject = Subject::Resource(address, key_of(key, "resource", *range)?);
        reference.range = reference.range.to(*range);
        reference.consumed += 1;
    }
    Ok(reference)
}

fn module(traversal: &Traversal) -> Result<Reference, Box<Diagnostic>> {
    let mut reference = single(traversal, |name| Subject::Module(name, Key::None))?;
    let Subject::Module(name, mut key) = reference.subject.clone() else {
        return Ok(reference);
    };
    if let Some(Step::Index { key: value, range }) = traversal.steps.get(1) {
        key = key_of(value, "module", *range)?;
        reference.subject = Subject::Module(name.clone(), key.clone());
        reference.range = reference.range.to(*range);
        reference.consumed = 2;
    }
    match traversal.steps.get(reference.consumed) {
        None => Ok(reference),
        Some(Step::Attribute {
            name: output,
            range,
        }) => {
            reference.subject = Subject::ModuleOutput(name, key, output.clone());
            reference.range = reference.range.to(*range);
            reference.consumed += 1;
            Ok(reference)
        }
        Some(step) => invalid(
            "Module instance objects do not support this operation.".to_string(),
            step.range(),
        ),
    }
}
