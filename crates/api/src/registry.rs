//! The kinds served, found by resource or by kind.

use crate::kind::Kind;
use std::collections::HashMap;
use std::sync::Arc;

/// Every kind served, as it stands at one moment: a change of a kind makes a new registry.
pub(crate) struct Registry {
    kinds: Vec<Arc<Kind>>,
    /// So many of them are built in; custom ones follow.
    builtin: usize,
    resources: HashMap<String, Vec<usize>>,
    /// The kinds of each group and version.
    members: HashMap<(String, String), Vec<usize>>,
    groups: Vec<(String, String)>,
}

impl Registry {
    /// A registry of the built-in kinds.
    pub(crate) fn new(kinds: Vec<Kind>) -> Self {
        let kinds: Vec<Arc<Kind>> = kinds.into_iter().map(Arc::new).collect();
        Self::of(kinds.len(), kinds)
    }

    /// The same built-in kinds, and these custom ones. A built-in kind hides a custom one of its name.
    pub(crate) fn with_custom(&self, mut custom: Vec<Arc<Kind>>) -> Self {
        custom.retain(|kind| {
            self.kinds[..self.builtin].iter().all(|own| {
                own.group != kind.group || own.version != kind.version || own.plural != kind.plural
            })
        });
        custom.sort_by(|left, right| {
            left.group
                .cmp(&right.group)
                .then_with(|| priority(&right.version).cmp(&priority(&left.version)))
                .then_with(|| left.version.cmp(&right.version))
                .then_with(|| left.plural.cmp(&right.plural))
        });
        let mut kinds = self.kinds[..self.builtin].to_vec();
        kinds.extend(custom);
        Self::of(self.builtin, kinds)
    }

    fn of(builtin: usize, kinds: Vec<Arc<Kind>>) -> Self {
        let mut resources: HashMap<String, Vec<usize>> = HashMap::new();
        let mut groups: Vec<(String, String)> = Vec::new();
        let mut members: HashMap<(String, String), Vec<usize>> = HashMap::new();
        for (index, kind) in kinds.iter().enumerate() {
            resources
                .entry(kind.plural.clone())
                .or_default()
                .push(index);
            let group = (kind.group.clone(), kind.version.clone());
            let own = members.entry(group.clone()).or_default();
            if own.is_empty() {
                groups.push(group);
            }
            own.push(index);
        }
        Self {
            kinds,
            builtin,
            resources,
            members,
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
        let places = self
            .members
            .get(&(group.to_owned(), version.to_owned()))
            .map_or(&[][..], Vec::as_slice);
        places.iter().map(|index| &self.kinds[*index])
    }

    /// Groups with their versions and kinds, in the order of discovery.
    pub(crate) fn by_group(&self) -> impl Iterator<Item = (&str, &str, Vec<&Arc<Kind>>)> {
        self.groups.iter().map(|(group, version)| {
            let kinds = self.kinds_of(group, version).collect();
            (group.as_str(), version.as_str(), kinds)
        })
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

/// How much a version is preferred: `v2` over `v1`, that over `v1beta1`, that over `v1alpha1`, and all of
/// them over anything else.
fn priority(version: &str) -> (u8, u64, u64) {
    let parse = || -> Option<(u8, u64, u64)> {
        let rest = version.strip_prefix('v')?;
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let major = rest[..end].parse().ok()?;
        let stage = &rest[end..];
        if stage.is_empty() {
            return Some((3, major, 0));
        }
        for (name, rank) in [("beta", 2), ("alpha", 1)] {
            if let Some(minor) = stage.strip_prefix(name) {
                return Some((rank, major, minor.parse().ok()?));
            }
        }
        None
    };
    parse().unwrap_or((0, 0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_versions_come_before_others() {
        let mut versions = ["foo", "v1alpha1", "v1", "v10", "v2beta1", "v2", "v1beta3"];
        versions.sort_by_key(|version| std::cmp::Reverse(priority(version)));
        assert_eq!(
            versions,
            ["v10", "v2", "v1", "v2beta1", "v1beta3", "v1alpha1", "foo"]
        );
    }
}
