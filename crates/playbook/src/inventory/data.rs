//! Hosts and groups put together, and what must hold of them.

use std::collections::HashSet;
use std::sync::Arc;

use consort_jinja::{Dict, Key, Value};
use indexmap::{IndexMap, IndexSet};

use super::names::{check_name, untemplated};
use super::notice::{detail, warn};
use super::{Group, Host, Inventory, ReadSettings, VariableFiles};
use crate::source::{Located, Notices};

/// The names that mean this machine whether or not a source names it.
pub const LOCAL_NAMES: [&str; 3] = ["127.0.0.1", "localhost", "::1"];

impl Inventory {
    /// One with nothing in it but the groups there always are.
    pub fn new(settings: Arc<ReadSettings>) -> Self {
        let mut inventory = Inventory {
            hosts: IndexMap::new(),
            groups: IndexMap::new(),
            sources: Vec::new(),
            localhost: None,
            implicit: LOCAL_NAMES
                .iter()
                .map(|&name| Host {
                    name: name.into(),
                    variables: [
                        ("ansible_python_interpreter", settings.python.as_str()),
                        ("ansible_connection", "local"),
                    ]
                    .into_iter()
                    .collect(),
                    groups: IndexSet::new(),
                    implicit: true,
                })
                .collect(),
            limit: None,
            dynamic: super::Dynamic::default(),
            open: IndexSet::new(),
            files: Arc::new(VariableFiles::new(&[], Arc::clone(&settings))),
            settings,
        };
        for name in ["all", "ungrouped"] {
            inventory.groups.insert(name.into(), Group::new(name));
        }
        inventory.link("all", "ungrouped");
        inventory.set_depths();
        inventory
    }

    /// How it is read.
    pub fn settings(&self) -> &Arc<ReadSettings> {
        &self.settings
    }

    /// A host, or this machine by one of [`LOCAL_NAMES`] although no source names it so.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.get(name).or_else(|| {
            let implicit = self.implicit.iter().find(|host| &*host.name == name)?;
            match &self.localhost {
                Some(named) => self.hosts.get(named),
                None => Some(implicit),
            }
        })
    }

    /// All groups a host is in, near or far, without an order that means something.
    pub fn groups_of<'a>(&'a self, host: &'a Host) -> IndexSet<&'a Arc<str>> {
        let mut found: IndexSet<&Arc<str>> = host.groups.iter().collect();
        let mut next = 0;
        while let Some(name) = found.get_index(next) {
            next += 1;
            if let Some(group) = self.groups.get(*name) {
                found.extend(&group.parents);
            }
        }
        found
    }

    /// The groups a host is in but `all`, in the order in which their variables come: each may say otherwise than those
    /// before it.
    pub fn ordered_groups(&self, host: &Host) -> Vec<&Group> {
        let mut groups: Vec<&Group> = self
            .groups_of(host)
            .into_iter()
            .filter(|name| &***name != "all")
            .filter_map(|name| self.groups.get(name))
            .collect();
        groups.sort_by(|one, two| {
            (one.depth, one.priority, &one.name).cmp(&(two.depth, two.priority, &two.name))
        });
        groups
    }

    /// `group_names`: the groups a host is in but `all`, by name.
    pub fn group_names(&self, host: &Host) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = self
            .groups_of(host)
            .into_iter()
            .filter(|name| &***name != "all")
            .cloned()
            .collect();
        names.sort();
        names
    }

    /// The hosts of a group and of the groups below it, in order.
    pub fn hosts_of(&self, group: &str) -> Vec<Arc<str>> {
        let Some((_, first)) = self.groups.get_key_value(group) else {
            return Vec::new();
        };
        let mut below: IndexSet<&Arc<str>> = IndexSet::from([&first.name]);
        let mut hosts: IndexSet<&Arc<str>> = IndexSet::new();
        let mut next = 0;
        while let Some(name) = below.get_index(next) {
            next += 1;
            if let Some(group) = self.groups.get(*name) {
                hosts.extend(&group.hosts);
                below.extend(&group.children);
            }
        }
        hosts.into_iter().cloned().collect()
    }

    /// Adds a group, and gives the name it has then.
    pub(super) fn add_group(&mut self, name: &str, notices: &Notices) -> Result<Arc<str>, Located> {
        if name.is_empty() {
            return Err(Located::new("Invalid empty/false group name provided: "));
        }
        if let Some((name, _)) = self.groups.get_key_value(name) {
            return Ok(Arc::clone(name));
        }
        let name: Arc<str> = self.safe_group_name(name, notices).into();
        self.groups
            .entry(Arc::clone(&name))
            .or_insert_with(|| Group::new(&name));
        Ok(name)
    }

    /// Adds a host, to a group if one is given.
    pub(super) fn add_host(
        &mut self,
        name: &str,
        group: Option<&str>,
        port: Option<u32>,
        source: Option<&str>,
        notices: &Notices,
    ) -> Result<Arc<str>, Located> {
        if name.is_empty() {
            return Err(Located::new("Invalid empty host name provided: "));
        }
        if let Some(group) = group.filter(|group| !self.groups.contains_key(*group)) {
            return Err(Located::new(format!(
                "Could not find group {group} in inventory"
            )));
        }
        let name = match self.hosts.get_key_value(name) {
            Some((name, _)) => Arc::clone(name),
            None => {
                let name: Arc<str> = name.into();
                let variables = Dict::default();
                variables.change(|entries| {
                    if let Some(port) = port.filter(|port| *port > 0) {
                        entries.insert(Key::from("ansible_port"), Value::Int(port.into()));
                    }
                    let (file, directory) = match source {
                        Some(source) => (source.into(), directory_of(source).into()),
                        None => (Value::None, Value::None),
                    };
                    entries.insert(Key::from("inventory_file"), file);
                    entries.insert(Key::from("inventory_dir"), directory);
                });
                if LOCAL_NAMES.contains(&&*name) {
                    match &self.localhost {
                        None => {
                            detail(notices, 4, format!("Set default localhost to {name}"));
                            self.localhost = Some(Arc::clone(&name));
                        }
                        Some(first) => warn(
                            notices,
                            format!(
                                "A duplicate localhost-like entry was found ({name}). First found localhost was {first}"
                            ),
                        ),
                    }
                }
                self.hosts.insert(
                    Arc::clone(&name),
                    Host {
                        name: Arc::clone(&name),
                        variables,
                        groups: IndexSet::new(),
                        implicit: false,
                    },
                );
                name
            }
        };
        if let Some(group) = group {
            self.link_host(group, &name);
        }
        Ok(name)
    }

    /// Makes a host or group a member of a group; whether it was not before.
    pub(super) fn add_child(&mut self, group: &str, child: &str) -> Result<bool, Located> {
        if !self.groups.contains_key(group) {
            return Err(Located::new(format!("{group} is not a known group")));
        }
        if self.groups.contains_key(child) {
            if group == child {
                return Err(Located::new("can't add group to itself"));
            }
            if self.groups[group].children.contains(child) {
                return Ok(false);
            }
            if self.is_above(child, group) {
                return Err(Located::new(format!(
                    "Adding group '{child}' as child to '{group}' creates a recursive dependency loop."
                )));
            }
            return Ok(self.link(group, child));
        }
        if self.hosts.contains_key(child) {
            return Ok(self.link_host(group, child));
        }
        Err(Located::new(format!(
            "{child} is not a known host nor group"
        )))
    }

    /// Whether a group is an ancestor of another.
    fn is_above(&self, above: &str, below: &str) -> bool {
        if self
            .groups
            .get(above)
            .is_none_or(|group| group.children.is_empty())
        {
            return false;
        }
        let mut seen: HashSet<&str> = HashSet::new();
        let mut waiting = vec![below];
        while let Some(name) = waiting.pop() {
            let Some(group) = self.groups.get(name) else {
                continue;
            };
            for parent in &group.parents {
                if &**parent == above {
                    return true;
                }
                if seen.insert(parent) {
                    waiting.push(parent);
                }
            }
        }
        false
    }

    fn link(&mut self, group: &str, child: &str) -> bool {
        let (Some(group), Some(child)) = (
            self.groups.get(group).map(|group| Arc::clone(&group.name)),
            self.groups.get(child).map(|child| Arc::clone(&child.name)),
        ) else {
            return false;
        };
        self.groups[&child].parents.insert(Arc::clone(&group));
        self.groups[&group].children.insert(child)
    }

    fn link_host(&mut self, group: &str, host: &str) -> bool {
        let (Some(group), Some(host)) = (self.groups.get_mut(group), self.hosts.get_mut(host))
        else {
            return false;
        };
        host.groups.insert(Arc::clone(&group.name));
        group.hosts.insert(Arc::clone(&host.name))
    }

    /// Sets a variable of a group, or else of a host.
    pub(super) fn set_variable(
        &mut self,
        of: &str,
        name: &Key,
        value: Value,
        notices: &Notices,
    ) -> Result<(), Located> {
        let merge = self.settings.merge;
        check_name(name, notices);
        if let Some(group) = self.groups.get_mut(of) {
            if name.as_str() == Some("ansible_group_priority") {
                match priority(&value) {
                    Some(priority) => group.priority = priority,
                    None => warn(
                        notices,
                        format!(
                            "Invalid priority value '{}' for group '{of}'.Setting priority to default value.",
                            consort_jinja::repr::text(&value)
                        ),
                    ),
                }
                return Ok(());
            }
            set(&group.variables, name, value, merge);
        } else if let Some(host) = self.hosts.get_mut(of) {
            set(&host.variables, name, value, merge);
        } else {
            return Err(Located::new(format!(
                "Could not identify group or host named {of}"
            )));
        }
        Ok(())
    }

    /// Makes hold what must: all groups are below `all`, hosts without a group are in `ungrouped` and others are not.
    pub(super) fn reconcile(&mut self, notices: &Notices) {
        let orphans: Vec<Arc<str>> = self
            .groups
            .values()
            .filter(|group| &*group.name != "all" && group.parents.is_empty())
            .map(|group| Arc::clone(&group.name))
            .collect();
        for orphan in orphans {
            self.link("all", &orphan);
        }
        let mut ungrouped = self
            .groups
            .get_mut("ungrouped")
            .map(|group| std::mem::take(&mut group.hosts))
            .unwrap_or_default();
        ungrouped.retain(|name| {
            let Some(host) = self.hosts.get_mut(name) else {
                return false;
            };
            let elsewhere = host
                .groups
                .iter()
                .any(|group| !matches!(&**group, "all" | "ungrouped"));
            if elsewhere {
                host.groups.shift_remove("ungrouped");
            }
            !elsewhere
        });
        let name: Arc<str> = "ungrouped".into();
        for host in self.hosts.values_mut() {
            if !host.implicit && host.groups.iter().all(|group| &**group == "all") {
                host.groups.insert(Arc::clone(&name));
                ungrouped.insert(Arc::clone(&host.name));
            }
        }
        if let Some(group) = self.groups.get_mut("ungrouped") {
            group.hosts = ungrouped;
        }
        self.set_depths();
        for name in self.groups.keys() {
            if self.hosts.contains_key(name) {
                warn(
                    notices,
                    format!("Found both group and host with same name: {name}"),
                );
            }
        }
    }

    /// Sets how far each group is below those that are below none, by the longest way.
    pub(super) fn set_depths(&mut self) {
        let mut missing: IndexMap<Arc<str>, usize> = self
            .groups
            .values()
            .map(|group| (Arc::clone(&group.name), group.parents.len()))
            .collect();
        let mut ready: Vec<Arc<str>> = missing
            .iter()
            .filter(|(_, parents)| **parents == 0)
            .map(|(name, _)| Arc::clone(name))
            .collect();
        for group in self.groups.values_mut() {
            group.depth = 0;
        }
        while let Some(name) = ready.pop() {
            let Some(group) = self.groups.get(&name) else {
                continue;
            };
            let (depth, children) = (group.depth + 1, group.children.clone());
            for child in children {
                if let Some(child) = self.groups.get_mut(&child) {
                    child.depth = child.depth.max(depth);
                }
                if let Some(parents) = missing.get_mut(&child) {
                    *parents -= 1;
                    if *parents == 0 {
                        ready.push(child);
                    }
                }
            }
        }
    }
}

impl Group {
    fn new(name: &str) -> Self {
        Group {
            name: name.into(),
            priority: 1,
            ..Group::default()
        }
    }
}

/// The directory of a source: itself if it is one.
pub(super) fn directory_of(source: &str) -> String {
    let path = std::path::Path::new(source);
    if path.is_dir() {
        return source.to_owned();
    }
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_string_lossy().into_owned(),
        _ => ".".to_owned(),
    }
}

fn priority(value: &Value) -> Option<i64> {
    match value {
        Value::Float(value) => Some(*value as i64),
        Value::Str(text) => text.trim().parse().ok(),
        value => value.as_int(),
    }
}

fn set(variables: &Dict, name: &Key, value: Value, merge: bool) {
    let old = variables.read().get(name).cloned();
    let value = match (old, value) {
        (Some(Value::Dict(old)), Value::Dict(new)) if merge => Value::Dict(merged(&old, &new)),
        (_, value) => value,
    };
    let name = untemplated(name);
    variables.insert(name, value);
}

/// Two dicts in one: where both have a dict under a key, these are merged too; else the second's value counts.
pub(crate) fn merged(one: &Dict, two: &Dict) -> Dict {
    let mut entries = one.read().clone();
    for (key, value) in two.read().iter() {
        let value = match (entries.get(key), value) {
            (Some(Value::Dict(old)), Value::Dict(new)) => Value::Dict(merged(old, new)),
            _ => value.clone(),
        };
        entries.insert(key.clone(), value);
    }
    Dict::new(entries)
}
