//! Which requests a webhook or a policy is about: rules and selectors, as upstream matches them.

use super::{Operation, Request};
use crate::error::Outcome;
use crate::handlers::read::store_failure;
use crate::kind::Kind;
use crate::values::{at, items, text};
use consort_object::LabelSelector;
use consort_store::Key;
use serde_json::Value;
use std::sync::Arc;

/// One rule: operations on resources.
#[derive(Debug, Default)]
pub(super) struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    /// `*`, `Cluster` or `Namespaced`.
    scope: String,
    /// Only objects of these names; none means all (rules of policies have it).
    names: Vec<String>,
}

fn texts(value: &Value, field: &str) -> Vec<String> {
    items(value, &[field])
        .iter()
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == "*" || item == wanted)
}

impl Rule {
    /// A rule as `webhooks[].rules[]` or `matchConstraints.resourceRules[]` has it.
    pub(super) fn new(value: &Value) -> Self {
        Self {
            operations: texts(value, "operations"),
            groups: texts(value, "apiGroups"),
            versions: texts(value, "apiVersions"),
            resources: texts(value, "resources"),
            scope: text(value, &["scope"]).to_owned(),
            names: texts(value, "resourceNames"),
        }
    }

    fn matches(&self, kind: &Kind, request: &Request<'_>) -> bool {
        // A namespace is an object of the cluster, though requests for it name it as their namespace.
        let scope = match self.scope.as_str() {
            "Cluster" => !kind.namespaced,
            "Namespaced" => kind.namespaced,
            _ => true,
        };
        let resource = self.resources.iter().any(|rule| {
            let (resource, sub) = rule.split_once('/').unwrap_or((rule, ""));
            (resource == "*" || resource == kind.plural)
                && (sub == "*" || sub == request.subresource)
        });
        scope
            && resource
            && has(&self.operations, request.operation.name())
            && has(&self.groups, &kind.group)
            && has(&self.versions, &kind.version)
            && (self.names.is_empty() || self.names.iter().any(|name| name == request.name))
    }
}

/// What a webhook, a policy or a binding is about.
#[derive(Debug)]
pub(super) struct Matcher {
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    /// A rule also stands for the same resource in its other versions and groups.
    equivalent: bool,
    namespaces: LabelSelector,
    objects: LabelSelector,
    /// No rules at all: everything matches (bindings).
    open: bool,
}

impl Matcher {
    /// From a value with `matchPolicy`, `namespaceSelector` and `objectSelector`, its rules in `rules`.
    ///
    /// # Errors
    /// In words, if a selector cannot be read.
    pub(super) fn new(value: &Value, rules: &str) -> Result<Self, String> {
        let selector = |field: &str| -> Result<LabelSelector, String> {
            match at(value, &[field]) {
                Some(selector) => {
                    LabelSelector::from_json(selector).map_err(|error| format!("{field}: {error}"))
                }
                None => Ok(LabelSelector::from_requirements(Vec::new())),
            }
        };
        let all = |field: &str| items(value, &[field]).iter().map(Rule::new).collect();
        Ok(Self {
            rules: all(rules),
            excluded: all("excludeResourceRules"),
            equivalent: text(value, &["matchPolicy"]) != "Exact",
            namespaces: selector("namespaceSelector")?,
            objects: selector("objectSelector")?,
            open: false,
        })
    }

    /// The same where no rules mean all resources.
    pub(super) fn open(value: &Value, rules: &str) -> Result<Self, String> {
        let mut matcher = Self::new(value, rules)?;
        matcher.open = matcher.rules.is_empty();
        Ok(matcher)
    }

    /// Does it match this request? The answer is the kind in whose form the object is to be shown: the one asked
    /// for, or an equivalent one that a rule names.
    pub(super) fn matches<'a>(
        &self,
        request: &Request<'a>,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Outcome<Option<&'a Kind>> {
        let Some(kind) = self.kind(request) else {
            return Ok(None);
        };
        if !self.objects.is_empty() {
            let matches = |value: Option<&Value>| {
                value.is_some_and(|value| matches_labels(&self.objects, value))
            };
            if !matches(object) && !matches(old) {
                return Ok(None);
            }
        }
        if self.namespaces.is_empty() || self.namespace_matches(request, object)? {
            Ok(Some(kind))
        } else {
            Ok(None)
        }
    }

    fn kind<'a>(&self, request: &Request<'a>) -> Option<&'a Kind> {
        if rule_for(&self.excluded, self.equivalent, request).is_some() {
            return None;
        }
        if self.open {
            return Some(request.kind);
        }
        rule_for(&self.rules, self.equivalent, request)
    }

    fn namespace_matches(&self, request: &Request<'_>, object: Option<&Value>) -> Outcome<bool> {
        let is_namespace = request.kind.group.is_empty() && request.kind.plural == "namespaces";
        if is_namespace {
            if let Some(object) = object
                && request.operation != Operation::Delete
                && request.subresource.is_empty()
            {
                return Ok(matches_labels(&self.namespaces, object));
            }
        } else if !request.kind.namespaced {
            return Ok(true);
        }
        let name = if is_namespace {
            request.name
        } else {
            request.namespace.unwrap_or_default()
        };
        let Ok(key) = Key::new("", "namespaces", None, name) else {
            return Ok(false);
        };
        let found = request.inner.store.get(&key).map_err(store_failure)?;
        Ok(found.is_some_and(|object| self.namespaces.matches(&*object.head)))
    }
}

fn rule_for<'a>(rules: &[Rule], equivalent: bool, request: &Request<'a>) -> Option<&'a Kind> {
    if rules.iter().any(|rule| rule.matches(request.kind, request)) {
        return Some(request.kind);
    }
    if !equivalent || rules.is_empty() {
        return None;
    }
    let same = |kind: &&Arc<Kind>| {
        kind.storage == request.kind.storage
            && (kind.group != request.kind.group || kind.version != request.kind.version)
            && (request.subresource.is_empty() || kind.subresource(request.subresource).is_some())
    };
    rules.iter().find_map(|rule| {
        request
            .registry
            .kinds()
            .iter()
            .filter(same)
            .find(|kind| rule.matches(kind, request))
            .map(|kind| &**kind)
    })
}

fn matches_labels(selector: &LabelSelector, object: &Value) -> bool {
    let labels = at(object, &["metadata", "labels"]);
    selector.matches_labels(|key| labels?.get(key)?.as_str())
}
