//! Checks of objects: is what is well-formed also meaningful?
//!
//! Structure (types, unknown fields) is checked before, against the schema. The checks here follow
//! upstream's, field paths and wording included, as users and tools read them.

mod container;
mod job;
mod labels;
mod metadata;
mod pod;
mod probe;
mod service;
mod volume;
mod workload;

pub(crate) use job::{job, job_update};
pub(crate) use labels::{label_selector, labels};
pub(crate) use metadata::{metadata, metadata_update};
pub(crate) use pod::{ephemeral_containers_update, pod, pod_template, pod_update};
pub(crate) use service::{service, service_update};
pub(crate) use workload::{deployment, deployment_update, replica_set, replica_set_update};

use consort_object::field_error::FieldError;
use serde_json::Value;
use std::fmt;

/// Where in an object a check is. Nothing is written out until there is something to say.
#[derive(Clone, Copy)]
pub(crate) enum Path<'a> {
    /// The object itself.
    Root,
    /// A field.
    Field(&'a Path<'a>, &'a str),
    /// An item of a list.
    Index(&'a Path<'a>, usize),
    /// A member of a map.
    Key(&'a Path<'a>, &'a str),
}

impl<'a> Path<'a> {
    /// A field below this place.
    pub(crate) fn field(&'a self, name: &'a str) -> Path<'a> {
        Path::Field(self, name)
    }

    /// An item below this place.
    pub(crate) fn index(&'a self, index: usize) -> Path<'a> {
        Path::Index(self, index)
    }

    /// A map's member below this place.
    pub(crate) fn key(&'a self, key: &'a str) -> Path<'a> {
        Path::Key(self, key)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Field(Path::Root, name) => f.write_str(name),
            Path::Field(parent, name) => write!(f, "{parent}.{name}"),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
            Path::Key(parent, key) => write!(f, "{parent}[{key}]"),
        }
    }
}

/// What was found wrong so far.
#[derive(Default)]
pub(crate) struct Errors(pub Vec<FieldError>);

impl Errors {
    /// A value must be given.
    pub(crate) fn required(&mut self, at: &Path<'_>, detail: &str) {
        self.0.push(FieldError::required(at.to_string(), detail));
    }

    /// The value is malformed or out of bounds.
    pub(crate) fn invalid(
        &mut self,
        at: &Path<'_>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) {
        self.0
            .push(FieldError::invalid(at.to_string(), value, detail));
    }

    /// The value is not one of those supported.
    pub(crate) fn not_supported(
        &mut self,
        at: &Path<'_>,
        value: impl Into<Value>,
        supported: &[&str],
    ) {
        self.0
            .push(FieldError::not_supported(at.to_string(), value, supported));
    }

    /// The value must be unique and is not.
    pub(crate) fn duplicate(&mut self, at: &Path<'_>, value: impl Into<Value>) {
        self.0.push(FieldError::duplicate(at.to_string(), value));
    }

    /// The value may not be here.
    pub(crate) fn forbidden(&mut self, at: &Path<'_>, detail: impl Into<String>) {
        self.0.push(FieldError::forbidden(at.to_string(), detail));
    }

    /// The value names something that is not there.
    pub(crate) fn not_found(&mut self, at: &Path<'_>, value: impl Into<Value>) {
        self.0.push(FieldError::not_found(at.to_string(), value));
    }

    /// The value is longer than `limit` bytes.
    pub(crate) fn too_long(&mut self, at: &Path<'_>, limit: usize) {
        self.0.push(FieldError::too_long(at.to_string(), limit));
    }

    /// Note what a check of a text said.
    pub(crate) fn check(&mut self, at: &Path<'_>, value: &str, result: Result<(), String>) {
        if let Err(detail) = result {
            self.invalid(at, value, detail);
        }
    }

    /// Require a number in a range.
    pub(crate) fn between(&mut self, at: &Path<'_>, number: i64, low: i64, high: i64) {
        if number < low || number > high {
            self.invalid(
                at,
                number,
                format!("must be between {low} and {high}, inclusive"),
            );
        }
    }

    /// Require a number that is not negative.
    pub(crate) fn not_negative(&mut self, at: &Path<'_>, value: Option<&Value>) {
        if let Some(number) = value.and_then(Value::as_i64)
            && number < 0
        {
            self.invalid(at, number, "must be greater than or equal to 0");
        }
    }

    /// Require a port number.
    pub(crate) fn port(&mut self, at: &Path<'_>, number: i64) {
        self.between(at, number, 1, 65535);
    }

    /// Require one of some words; an absent value is required.
    pub(crate) fn one_of(&mut self, at: &Path<'_>, value: &str, words: &[&str]) {
        if value.is_empty() {
            self.required(at, "");
        } else if !words.contains(&value) {
            self.not_supported(at, value, words);
        }
    }

    /// Require that a field did not change.
    pub(crate) fn immutable(&mut self, at: &Path<'_>, new: Option<&Value>, old: Option<&Value>) {
        let empty = |value: &&Value| match value {
            Value::Null => false,
            Value::Object(map) => !map.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::String(text) => !text.is_empty(),
            _ => true,
        };
        if new.filter(empty) != old.filter(empty) {
            self.invalid(
                at,
                new.cloned().unwrap_or(Value::Null),
                "field is immutable",
            );
        }
    }
}
