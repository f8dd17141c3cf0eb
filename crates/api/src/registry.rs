//! The kinds served, found by resource or by kind.

use crate::kind::Kind;
use std::collections::HashMap;
use std::sync::Arc;

/// Every kind served, as it stands at one moment: a change of a kind makes a new registry.
pub(crate) struct Registry {
    kinds: Vec<Arc<Kind>>,
    resources: HashMap<String, Vec<usize>>,
    groups: Vec<(String, String)>,
}

impl Registry {
    /// A registry of these kinds.
    pub(crate) fn new(kinds: Vec<Kind>) -> Self {
        let kinds: Vec<Arc<Kind>> = kinds.into_iter().map(Arc::new).collect();
        let mut resources: HashMap<String, Vec<usize>> = HashMap::new();
        let mut groups = Vec::new();
        for (index, kind) in kinds.iter().enumerate() {
            resources
                .entry(kind.plural.clone())
                .or_default()
                .push(index);
            let group = (kind.group.clone(), kind.version.clone());
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        Self {
            kinds,
            resources,
            groups,
        }
    }

    /// All kinds, in the order of discovery.
    pub(crate) fn kinds(&self) -> &[Arc<Kind>] {
        &self.kinds
    }

    /// The kinds of one group and version.
    pub(crate) fn kinds_of<'a>(
        &'a self,
        group: &'a str,
        version: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Kind>> {
        self.kinds
            .iter()
            .filter(move |kind| kind.group == group && kind.version == version)
    }

    /// Groups with their versions, in the order of discovery; the core group's name is empty.
    pub(crate) fn groups(&self) -> &[(String, String)] {
        &self.groups
    }

    /// The kind behind a resource path.
    pub(crate) fn resource(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.resources
            .get(plural)?
            .iter()
            .map(|index| &self.kinds[*index])
            .find(|kind| kind.group == group && kind.version == version)
    }
}
