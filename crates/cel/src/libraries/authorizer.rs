//! `authorizer`: asking from an expression whether someone may do something.

use std::fmt;

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
