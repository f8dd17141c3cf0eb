//! Label selectors of workload objects.

use crate::error::Error;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{
    Resource,
    core::{Selector, SelectorExt},
};
use std::collections::BTreeMap;

/// A parsed selector that selects nothing if it is empty, as workload selectors do.
pub(crate) struct Labels(Option<Selector>);

impl Labels {
    pub(crate) fn parse(selector: &LabelSelector, of: &impl Resource) -> Result<Self, Error> {
        let empty = selector
            .match_labels
            .as_ref()
            .is_none_or(BTreeMap::is_empty)
            && selector
                .match_expressions
                .as_ref()
                .is_none_or(Vec::is_empty);
        if empty {
            return Ok(Self(None));
        }
        let parsed = Selector::try_from(selector.clone()).map_err(|problem| Error::Selector {
            of: of.meta().name.clone().unwrap_or_default(),
            problem: problem.to_string(),
        })?;
        Ok(Self(Some(parsed)))
    }

    pub(crate) fn matches(&self, object: &impl Resource) -> bool {
        let Some(selector) = &self.0 else {
            return false;
        };
        match &object.meta().labels {
            Some(labels) => selector.matches(labels),
            None => selector.matches(&BTreeMap::new()),
        }
    }
}
