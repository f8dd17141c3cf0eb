//! Label and field selectors of lists, watches and collections' deletion.

use crate::custom::Version;
use crate::error::{Outcome, bad_request};
use crate::kind::Kind;
use crate::request::ListOptions;
use consort_object::{FieldSelector, LabelSelector, Selectable};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a list or watch asks for.
#[derive(Clone)]
pub(crate) struct Selection {
    labels: Option<LabelSelector>,
    fields: Option<FieldSelector>,
    /// What brought the kind, if it is a custom one.
    custom: Option<Arc<Version>>,
    stale: Arc<AtomicBool>,
    /// The only object wanted, if the fields name one.
    pub name: Option<String>,
    /// The only namespace wanted, if the fields name one.
    pub namespace: Option<String>,
}

impl Selection {
    /// Read the selectors; fields the kind cannot be selected by are refused.
    pub(crate) fn parse(kind: &Kind, options: &ListOptions, name: Option<&str>) -> Outcome<Self> {
        let labels = match &options.label_selector {
            None => None,
            Some(text) => {
                let selector = LabelSelector::parse(text).map_err(|error| {
                    bad_request(format!("unable to parse requirement: {error}"))
                })?;
                (!selector.is_empty()).then_some(selector)
            }
        };
        let mut selection = Self {
            labels,
            fields: None,
            custom: kind.custom().cloned(),
            stale: Arc::default(),
            name: name.map(str::to_owned),
            namespace: None,
        };
        let Some(text) = &options.field_selector else {
            return Ok(selection);
        };
        let text = stored_fields(kind, text);
        let selector =
            FieldSelector::parse(&text).map_err(|error| bad_request(error.to_string()))?;
        for requirement in selector.requirements() {
            let field = requirement.field.as_str();
            let known = field == "metadata.name"
                || (field == "metadata.namespace" && kind.namespaced)
                || kind.strategy.selects(field);
            if !known {
                return Err(bad_request(format!("field label not supported: {field}")));
            }
        }
        if let Some(exact) = selector.exact("metadata.name") {
            if name.is_some_and(|name| name != exact) {
                return Err(bad_request(
                    "fieldSelector metadata.name doesn't match requested name",
                ));
            }
            selection.name = Some(exact.to_owned());
        }
        selection.namespace = selector.exact("metadata.namespace").map(str::to_owned);
        if !selector.is_empty() {
            selection.fields = Some(selector);
        }
        Ok(selection)
    }

    /// Is the stored object wanted? One that is shown in another form than it is stored in may be.
    pub(crate) fn matches(&self, head: &(impl Selectable + ?Sized)) -> bool {
        if self.name.as_deref().is_some_and(|name| head.name() != name) {
            return false;
        }
        if let Some(version) = &self.custom
            && !version.is_current(head)
        {
            self.stale.store(true, Ordering::Relaxed);
            return true;
        }
        self.matches_shown(head)
    }

    /// Is the object, in the form it is shown in, wanted?
    pub(crate) fn matches_shown(&self, head: &(impl Selectable + ?Sized)) -> bool {
        self.name.as_deref().is_none_or(|name| head.name() == name)
            && self
                .labels
                .as_ref()
                .is_none_or(|labels| labels.matches(head))
            && self
                .fields
                .as_ref()
                .is_none_or(|fields| fields.matches(head))
    }

    /// Does every object have to be looked at? Of a custom kind, for the form it is stored in.
    pub(crate) fn looks(&self) -> bool {
        !self.all() || self.custom.is_some()
    }

    /// Was there an object that is shown in another form than it is stored in?
    pub(crate) fn found_stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed)
    }

    /// The kind has another schema by now.
    pub(crate) fn follow(&mut self, kind: &Kind) {
        self.custom = kind.custom().cloned();
    }

    /// Is everything wanted?
    pub(crate) fn all(&self) -> bool {
        self.labels.is_none() && self.fields.is_none() && self.name.is_none()
    }
}

/// A second view of a kind has its own names for fields: turn them into the stored ones.
fn stored_fields(kind: &Kind, text: &str) -> String {
    let Some(view) = kind.view else {
        return text.to_owned();
    };
    text.split(',')
        .map(|term| {
            let end = term.find(['=', '!']).unwrap_or(term.len());
            let (field, rest) = term.split_at(end);
            let stored = view
                .fields
                .iter()
                .find(|(shown, _)| *shown == field.trim())
                .map_or(field, |(_, stored)| stored);
            format!("{stored}{rest}")
        })
        .collect::<Vec<_>>()
        .join(",")
}
