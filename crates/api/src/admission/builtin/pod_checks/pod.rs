//! A pod as the checks see it, and the wording they share.

use crate::values::{items, members, text};
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) struct Pod<'p> {
    pub(super) meta: &'p Value,
    pub(super) spec: &'p Value,
    /// Init containers, containers, ephemeral ones.
    pub(super) containers: Vec<&'p Value>,
}

impl<'p> Pod<'p> {
    pub(super) fn new(pod: &'p Value) -> Self {
        let spec = &pod["spec"];
        let lists = ["initContainers", "containers", "ephemeralContainers"];
        Self {
            meta: &pod["metadata"],
            spec,
            containers: lists.iter().flat_map(|list| items(spec, &[list])).collect(),
        }
    }

    /// The names of the containers of which `wrong` holds.
    pub(super) fn having(&self, mut wrong: impl FnMut(&'p Value) -> bool) -> Vec<&'p str> {
        let bad = self.containers.iter().filter(|container| wrong(container));
        bad.map(|container| text(container, &["name"])).collect()
    }

    pub(super) fn annotations(&self) -> impl Iterator<Item = (&'p str, &'p str)> {
        members(self.meta, &["annotations"])
            .map(|(key, value)| (key, value.as_str().unwrap_or_default()))
    }
}

pub(super) fn quoted<S: AsRef<str>>(list: &[S]) -> String {
    let all: Vec<String> = list
        .iter()
        .map(|own| format!("\"{}\"", own.as_ref()))
        .collect();
    all.join(", ")
}

pub(super) fn sorted(set: &BTreeSet<&str>) -> String {
    quoted(&set.iter().collect::<Vec<_>>())
}

pub(super) fn plural(count: usize, one: &'static str, more: &'static str) -> &'static str {
    if count == 1 { one } else { more }
}

pub(super) fn containers(names: &[&str]) -> String {
    let word = plural(names.len(), "container", "containers");
    format!("{word} {}", quoted(names))
}

/// `pod`, `container "a"`, or both.
pub(super) fn setters(pod: bool, names: &[&str]) -> Vec<String> {
    let mut setters = Vec::new();
    if pod {
        setters.push("pod".to_owned());
    }
    if !names.is_empty() {
        setters.push(containers(names));
    }
    setters
}
