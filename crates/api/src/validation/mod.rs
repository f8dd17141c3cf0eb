//! Checks of objects: is what is well-formed also meaningful?
//!
//! Structure (types, unknown fields) is checked before, against the schema. The checks here follow
//! upstream's, field paths and wording included, as users and tools read them.

mod admission;
mod certificate;
mod container;
mod cron_job;
mod endpoints;
mod ingress;
mod job;
mod job_policy;
mod labels;
mod metadata;
mod mounts;
mod network_policy;
mod persistent;
mod pod;
mod pod_update;
mod probe;
mod resources;
mod scheduling;
mod security;
mod service;
mod volume;
mod webhook;
mod workload;

pub(crate) use admission::{admission_policy, policy_binding};
pub(crate) use certificate::{
    certificates, request_conditions, signer_name, signing_request, trust_bundle,
};
pub(crate) use cron_job::cron_job;
pub(crate) use endpoints::{endpoint_slice, endpoints};
pub(crate) use ingress::{ingress, load_balancer};
pub(crate) use job::{job, job_update};
pub(crate) use labels::{label_selector, labels};
pub(crate) use metadata::{embedded_metadata, metadata, metadata_update};
pub(crate) use network_policy::network_policy;
pub(crate) use persistent::{
    claim_spec, claim_update, persistent_volume, persistent_volume_update,
};
pub(crate) use pod::{pod, pod_template, pod_warnings};
pub(crate) use pod_update::{ephemeral_containers_update, pod_update, resize};
pub(crate) use resources::{
    limit_range, resource_list, resource_quota, resource_quota_status, resource_quota_update,
};
pub(crate) use scheduling::tolerations;
pub(crate) use service::{service, service_status, service_update, service_warnings};
pub(crate) use volume::csi_driver_name;
pub(crate) use webhook::webhooks;
pub(crate) use workload::{
    at_most_all, daemon_set, daemon_set_update, deployment, deployment_update, int_or_percent,
    replica_set, replica_set_update, replication_controller, stateful_set, stateful_set_update,
};

use consort_object::field_error::FieldError;
use consort_object::names;
use serde_json::Value;
use std::fmt;
use std::net::IpAddr;

/// Check a name with a domain: `example.com/name`.
pub(crate) fn domain_path(value: &str) -> Result<(), String> {
    let (domain, path) = value.split_once('/').unwrap_or_default();
    if domain.is_empty() || path.is_empty() {
        return Err("must be a domain-prefixed path (such as \"acme.io/foo\")".to_owned());
    }
    names::dns1123_subdomain(domain)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "/-._~%!$&'()*+,;=:".contains(c);
    if path.chars().all(allowed) {
        return Ok(());
    }
    Err("Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')".to_owned())
}

/// Check a range of addresses.
pub(crate) fn cidr(value: &str) -> Result<(), String> {
    match value.parse::<ipnet::IpNet>() {
        Ok(_) => Ok(()),
        Err(_) => Err("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned()),
    }
}

/// Check a range of addresses that may be spelled in one way only.
pub(crate) fn canonical_cidr(value: &str) -> Result<(), String> {
    cidr(value)?;
    let canonical = value
        .parse::<ipnet::IpNet>()
        .map_or_else(|_| String::new(), |net| net.trunc().to_string());
    if canonical == value {
        return Ok(());
    }
    Err(format!("must be in canonical form ({canonical:?})"))
}

/// Check an address that may be spelled in one way only.
pub(crate) fn canonical_ip(value: &str) -> Result<(), String> {
    match value.parse::<std::net::IpAddr>() {
        Err(_) => Err("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()),
        Ok(ip) if ip.to_string() != value => {
            Err(format!("must be in canonical form ({:?})", ip.to_string()))
        }
        Ok(_) => Ok(()),
    }
}

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

/// As many faults of one object as are told, and as many bytes as they may take: an object may have a million of
/// them, and each may repeat the whole of what it is about.
const MOST: usize = 2_000;
const MOST_BYTES: usize = 4 << 20;

/// About the bytes a value takes.
fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 8,
        Value::Array(items) => 8 + items.iter().map(weight).sum::<usize>(),
        Value::Object(map) => {
            8 + map
                .iter()
                .map(|(key, value)| key.len() + weight(value))
                .sum::<usize>()
        }
        _ => 8,
    }
}

/// What was found wrong so far; beyond a number of faults no more are taken.
#[derive(Default)]
pub(crate) struct Errors {
    found: Vec<FieldError>,
    bytes: usize,
}

impl Errors {
    /// Note a fault.
    pub(crate) fn push(&mut self, error: FieldError) {
        if self.is_full() {
            return;
        }
        let value = error.bad_value.as_ref().map_or(0, weight);
        self.bytes += error.field.len() + error.detail.len() + value;
        self.found.push(error);
    }

    /// Note faults.
    pub(crate) fn extend(&mut self, errors: impl IntoIterator<Item = FieldError>) {
        errors.into_iter().for_each(|error| self.push(error));
    }

    /// Whether no more faults are taken: nothing more need be looked for.
    pub(crate) fn is_full(&self) -> bool {
        self.found.len() >= MOST || self.bytes >= MOST_BYTES
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// What is wrong, in the order found.
    pub(crate) fn list(&self) -> &[FieldError] {
        &self.found
    }

    /// The same, to keep.
    pub(crate) fn into_list(self) -> Vec<FieldError> {
        self.found
    }

    /// A value must be given.
    pub(crate) fn required(&mut self, at: &Path<'_>, detail: &str) {
        self.push(FieldError::required(at.to_string(), detail));
    }

    /// The value is malformed or out of bounds.
    pub(crate) fn invalid(
        &mut self,
        at: &Path<'_>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) {
        if !self.is_full() {
            self.push(FieldError::invalid(at.to_string(), value, detail));
        }
    }

    /// The value is not one of those supported.
    pub(crate) fn not_supported(
        &mut self,
        at: &Path<'_>,
        value: impl Into<Value>,
        supported: &[&str],
    ) {
        self.push(FieldError::not_supported(at.to_string(), value, supported));
    }

    /// The value must be unique and is not.
    pub(crate) fn duplicate(&mut self, at: &Path<'_>, value: impl Into<Value>) {
        self.push(FieldError::duplicate(at.to_string(), value));
    }

    /// The value may not be here.
    pub(crate) fn forbidden(&mut self, at: &Path<'_>, detail: impl Into<String>) {
        self.push(FieldError::forbidden(at.to_string(), detail));
    }

    /// The value names something that is not there.
    pub(crate) fn not_found(&mut self, at: &Path<'_>, value: impl Into<Value>) {
        self.push(FieldError::not_found(at.to_string(), value));
    }

    /// The value is longer than `limit` bytes.
    pub(crate) fn too_long(&mut self, at: &Path<'_>, limit: usize) {
        self.push(FieldError::too_long(at.to_string(), limit));
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

    /// Require one of some words.
    pub(crate) fn supported(&mut self, at: &Path<'_>, value: &str, words: &[&str]) {
        if !words.contains(&value) {
            self.not_supported(at, value, words);
        }
    }

    /// Require a text; what is there is checked by `rule`.
    pub(crate) fn named(
        &mut self,
        at: &Path<'_>,
        value: &str,
        rule: fn(&str) -> Result<(), String>,
    ) {
        if value.is_empty() {
            self.required(at, "");
        } else {
            self.check(at, value, rule(value));
        }
    }

    /// Check a text by `rule` if it is there.
    pub(crate) fn optional(
        &mut self,
        at: &Path<'_>,
        value: &str,
        rule: fn(&str) -> Result<(), String>,
    ) {
        if !value.is_empty() {
            self.check(at, value, rule(value));
        }
    }

    /// The list is longer than `limit`.
    pub(crate) fn too_many(&mut self, at: &Path<'_>, actual: usize, limit: usize) {
        self.push(FieldError::too_many(at.to_string(), actual, limit));
    }

    /// Require an address of the internet protocol.
    pub(crate) fn ip(&mut self, at: &Path<'_>, value: &str) {
        if value.parse::<IpAddr>().is_err() {
            self.invalid(
                at,
                value,
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            );
        }
    }

    /// Require an address that is one other host's: not this host's own, and not that of many.
    pub(crate) fn ordinary_ip(&mut self, at: &Path<'_>, value: &str) {
        let Ok(ip) = value.parse::<IpAddr>() else {
            self.ip(at, value);
            return;
        };
        let (link_local, link_multicast) = match ip {
            IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == [224, 0, 0]),
            IpAddr::V6(ip) => (
                ip.is_unicast_link_local(),
                ip.segments()[0] & 0xff0f == 0xff02,
            ),
        };
        for (special, why) in [
            (
                ip.is_unspecified(),
                "may not be unspecified (0.0.0.0 or ::)",
            ),
            (
                ip.is_loopback(),
                "may not be in the loopback range (127.0.0.0/8, ::1/128)",
            ),
            (
                link_local,
                "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
            ),
            (
                link_multicast,
                "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
            ),
        ] {
            if special {
                self.invalid(at, value, why);
            }
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
