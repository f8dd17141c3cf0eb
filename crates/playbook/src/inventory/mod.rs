//! Hosts, groups and their variables.
//!
//! ```text
//! sources    files, directories, programs, lists of hosts  --read--> Inventory
//! pattern    web:&fra:!db[0]                               --hosts--> names, in order
//! variables  of groups and hosts, in the inventory and in group_vars/ and host_vars/ beside it and the playbook
//! ```

mod address;
mod constructed;
mod data;
mod dynamic;
mod files;
mod generator;
mod host_list;
mod ini;
mod literal;
mod names;
mod notice;
mod pattern;
mod read;
mod script;
mod settings;
mod shlex;
mod structured;

use std::sync::Arc;

use consort_jinja::Dict;
use indexmap::{IndexMap, IndexSet};

pub(crate) use data::merged;
pub(crate) use script::os_error;

pub use address::{Address, expand, parse_address};
pub use data::LOCAL_NAMES;
pub use dynamic::Dynamic;
pub use files::VariableFiles;

pub(crate) use pattern::glob;
pub use pattern::{Limits, Order, split};
pub use settings::{GroupNames, Mismatch, ReadSettings};
pub use shlex::split as split_words;

/// Hosts and groups.
///
/// Always has the groups `all` and `ungrouped`. Hosts and groups are kept in the order they were first named.
#[derive(Clone, Debug)]
pub struct Inventory {
    /// The hosts by name.
    pub hosts: IndexMap<Arc<str>, Host>,
    /// The groups by name.
    pub groups: IndexMap<Arc<str>, Group>,
    /// The sources it was read from, as given.
    pub sources: Vec<String>,
    /// The host of [`Inventory::hosts`] that is this machine, if a source names one.
    localhost: Option<Arc<str>>,
    /// This machine by its usual names, for when none does.
    implicit: Vec<Host>,
    /// What `--limit` leaves.
    limit: Option<Vec<String>>,
    /// What was added by tasks, to be done again when the sources are read again.
    dynamic: Dynamic,
    /// Groups of which nobody knows all hosts yet.
    open: IndexSet<Arc<str>>,
    settings: Arc<ReadSettings>,
    files: Arc<VariableFiles>,
}

/// A host.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Its name in the inventory.
    pub name: Arc<str>,
    /// The variables of the inventory itself, with `inventory_file` and `inventory_dir`; what `host_vars/` says comes later.
    pub variables: Dict,
    /// The groups it is a direct member of.
    pub groups: IndexSet<Arc<str>>,
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
    pub hosts: IndexSet<Arc<str>>,
    /// Its direct subgroups.
    pub children: IndexSet<Arc<str>>,
    /// The groups it is a direct subgroup of.
    pub parents: IndexSet<Arc<str>>,
    /// How far below `all` it is, by the longest way.
    pub depth: u32,
    /// `ansible_group_priority`: of groups of the same depth the higher wins.
    pub priority: i64,
}

impl Default for Inventory {
    fn default() -> Self {
        Inventory::new(Arc::new(ReadSettings::default()))
    }
}
