//! `authorizer`: asking from an expression whether someone may do something.

use std::fmt;
use std::sync::Arc;

use super::format::Format;
use super::{Answer, failed, no_overload};
use crate::functions::{Context, Library};
use crate::value::{Opaque, Value};

/// Answers authorization checks of an expression. Upstream lets two checks run in one evaluation.
pub trait Authorizer: fmt::Debug + Send + Sync {
    /// The decision on one check.
    fn check(&self, check: &Check) -> Decision;
}

/// Who is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The user of the request.
    Requester,
    /// A service account (namespace, name), with the groups such accounts have.
    ServiceAccount(String, String),
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A path that is no resource.
    Path(String),
    /// A resource; empty texts where the expression named none.
    Resource {
        /// API group.
        group: String,
        /// Plural resource name.
        resource: String,
        /// Subresource.
        subresource: String,
        /// Namespace.
        namespace: String,
        /// Object name.
        name: String,
        /// Field selector as written, if one was given.
        field_selector: Option<String>,
        /// Label selector as written, if one was given.
        label_selector: Option<String>,
    },
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Who.
    pub subject: Subject,
    /// On what.
    pub target: Target,
    /// The verb.
    pub verb: String,
}

/// One answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why.
    pub reason: String,
    /// What went wrong in finding out.
    pub error: Option<String>,
}

/// Who and what an expression has said so far.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    pub(crate) authorizer: &'a dyn Authorizer,
    pub(crate) subject: Subject,
    pub(crate) path: String,
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) field_selector: String,
    pub(crate) label_selector: String,
}

/// An answer as a value.
pub type Verdict = Decision;

impl<'a> Asked<'a> {
    pub(crate) fn new(authorizer: &'a dyn Authorizer) -> Self {
        Asked {
            authorizer,
            subject: Subject::Requester,
            path: String::new(),
            group: String::new(),
            resource: String::new(),
            subresource: String::new(),
            namespace: String::new(),
            name: String::new(),
            field_selector: String::new(),
            label_selector: String::new(),
        }
    }

    fn parts(&self) -> [&str; 8] {
        [
            &self.path,
            &self.group,
            &self.resource,
            &self.subresource,
            &self.namespace,
            &self.name,
            &self.field_selector,
            &self.label_selector,
        ]
    }

    pub(crate) fn same(&self, other: &Self) -> bool {
        self.subject == other.subject && self.parts() == other.parts()
    }

    fn ask(&self, verb: &str, on_path: bool) -> Decision {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let target = if on_path {
            Target::Path(self.path.clone())
        } else {
            Target::Resource {
                group: self.group.clone(),
                resource: self.resource.clone(),
                subresource: self.subresource.clone(),
                namespace: self.namespace.clone(),
                name: self.name.clone(),
                field_selector: given(&self.field_selector),
                label_selector: given(&self.label_selector),
            }
        };
        self.authorizer.check(&Check {
            subject: self.subject.clone(),
            target,
            verb: verb.to_owned(),
        })
    }
}

/// Declarations and code.
pub(crate) const LIBRARY: Library = Library {
    declarations: "
        authorizer_path: Authorizer::path(string) -> PathCheck
        authorizer_group: Authorizer::group(string) -> GroupCheck
        authorizer_serviceaccount: Authorizer::serviceAccount(string, string) -> Authorizer
        groupcheck_resource: GroupCheck::resource(string) -> ResourceCheck
        resourcecheck_subresource: ResourceCheck::subresource(string) -> ResourceCheck
        resourcecheck_namespace: ResourceCheck::namespace(string) -> ResourceCheck
        resourcecheck_name: ResourceCheck::name(string) -> ResourceCheck
        authorizer_fieldselector: ResourceCheck::fieldSelector(string) -> ResourceCheck
        authorizer_labelselector: ResourceCheck::labelSelector(string) -> ResourceCheck
        pathcheck_check: PathCheck::check(string) -> Decision
        resourcecheck_check: ResourceCheck::check(string) -> Decision
        decision_errored: Decision::errored() -> bool
        decision_error: Decision::error() -> string
        decision_allowed: Decision::allowed() -> bool
        decision_reason: Decision::reason() -> string
    ",
    functions: &[
        ("path", path),
        ("group", |_, args| {
            refine(args, |asked, text| asked.group = text)
        }),
        ("serviceAccount", service_account),
        ("resource", resource),
        ("subresource", |_, args| {
            refine(args, |asked, text| asked.subresource = text)
        }),
        ("namespace", |_, args| {
            refine(args, |asked, text| asked.namespace = text)
        }),
        ("name", |_, args| {
            refine(args, |asked, text| asked.name = text)
        }),
        ("fieldSelector", |_, args| {
            refine(args, |asked, text| asked.field_selector = text)
        }),
        ("labelSelector", |_, args| {
            refine(args, |asked, text| asked.label_selector = text)
        }),
        ("check", check),
        ("errored", |_, args| {
            decided(args, |decision| Value::Bool(decision.error.is_some()))
        }),
        ("error", |_, args| {
            decided(args, |decision| {
                Value::owned_text(decision.error.clone().unwrap_or_default())
            })
        }),
        ("allowed", |_, args| {
            decided(args, |decision| Value::Bool(decision.allowed))
        }),
        ("reason", |_, args| {
            decided(args, |decision| Value::owned_text(decision.reason.as_str()))
        }),
    ],
};

/// The next question: the last one with something more said.
fn refine<'a>(args: &[Value<'a>], set: fn(&mut Asked<'a>, String)) -> Answer<'a> {
    let [Value::Opaque(opaque), Value::String(text)] = args else {
        return no_overload();
    };
    let with = |asked: &Arc<Asked<'a>>| {
        let mut asked = (**asked).clone();
        set(&mut asked, (**text).to_owned());
        Arc::new(asked)
    };
    Ok(Value::Opaque(match opaque {
        Opaque::Authorizer(asked) => Opaque::GroupCheck(with(asked)),
        Opaque::GroupCheck(asked) | Opaque::ResourceCheck(asked) => {
            Opaque::ResourceCheck(with(asked))
        }
        _ => return no_overload(),
    }))
}

fn path<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let [
        Value::Opaque(Opaque::Authorizer(asked)),
        Value::String(path),
    ] = args
    else {
        return no_overload();
    };
    if path.trim().is_empty() {
        return Err(failed("path must not be empty"));
    }
    let asked = Asked {
        path: (**path).to_owned(),
        ..(**asked).clone()
    };
    Ok(Value::Opaque(Opaque::PathCheck(Arc::new(asked))))
}

fn resource<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    if let [_, Value::String(resource)] = args
        && resource.trim().is_empty()
    {
        return Err(failed("resource must not be empty"));
    }
    refine(args, |asked, text| asked.resource = text)
}

fn service_account<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let [
        Value::Opaque(Opaque::Authorizer(asked)),
        Value::String(namespace),
        Value::String(name),
    ] = args
    else {
        return no_overload();
    };
    if !Format::SUBDOMAIN.validate(name).is_empty() {
        return Err(failed("Invalid service account name"));
    }
    if !Format::LABEL.validate(namespace).is_empty() {
        return Err(failed("Invalid service account namespace"));
    }
    let subject = Subject::ServiceAccount((**namespace).to_owned(), (**name).to_owned());
    Ok(Value::Opaque(Opaque::Authorizer(Arc::new(Asked {
        subject,
        ..(**asked).clone()
    }))))
}

fn check<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let decision = match args {
        [Value::Opaque(Opaque::PathCheck(asked)), Value::String(verb)] => asked.ask(verb, true),
        [
            Value::Opaque(Opaque::ResourceCheck(asked)),
            Value::String(verb),
        ] => asked.ask(verb, false),
        _ => return no_overload(),
    };
    Ok(Value::Opaque(Opaque::Decision(Arc::new(decision))))
}

fn decided<'a>(args: &[Value<'a>], answer: fn(&Decision) -> Value<'a>) -> Answer<'a> {
    match args {
        [Value::Opaque(Opaque::Decision(decision))] => Ok(answer(decision)),
        _ => no_overload(),
    }
}
