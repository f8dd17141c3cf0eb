//! Hosts, groups and their variables.

use std::sync::Arc;

use consort_jinja::Dict;
use indexmap::IndexMap;

/// Hosts and groups.
///
/// Always has the groups `all` and `ungrouped`. Hosts and groups are kept in the order they were first named.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// The hosts by name.
    pub hosts: IndexMap<Arc<str>, Host>,
    /// The groups by name.
    pub groups: IndexMap<Arc<str>, Group>,
    /// The sources it was read from, as given.
    pub sources: Vec<String>,
}

/// A host.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Its name in the inventory.
    pub name: Arc<str>,
    /// The variables of the inventory itself; what `host_vars/` says comes later.
    pub variables: Dict,
    /// The groups it is a direct member of.
    pub groups: Vec<Arc<str>>,
    /// The file or directory it was first named in: `inventory_file`, `inventory_dir`.
    pub source: Option<Arc<str>>,
    /// Whether it is the `localhost` that was never named by any source.
    pub implicit: bool,
}

/// A group.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Its name.
    pub name: Arc<str>,
    /// The variables of the inventory itself.
    pub variables: Dict,
    /// Its direct hosts.
    pub hosts: Vec<Arc<str>>,
    /// Its direct subgroups.
    pub children: Vec<Arc<str>>,
    /// The groups it is a direct subgroup of.
    pub parents: Vec<Arc<str>>,
    /// How far below `all` it is, by the longest way.
    pub depth: u32,
    /// `ansible_group_priority`: of groups of the same depth the higher wins.
    pub priority: i64,
}
