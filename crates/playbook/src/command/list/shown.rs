//! The groups and hosts of an inventory with their variables, in the forms they are shown in.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use consort_jinja::{Dict, Key, Value};
use indexmap::IndexMap;

use crate::inventory::{Group, Inventory, Limits};
use crate::source::{Encrypted, Located, Notices, Reader};
use crate::variables::warn_of_reserved;

/// What is shown, and how variables are found.
pub(super) struct Shown<'a> {
    pub(super) inventory: &'a Inventory,
    /// The directory that was named.
    pub(super) playbook: Option<PathBuf>,
    /// That, or this one: where the variables of hosts are looked for.
    pub(super) directory: PathBuf,
    pub(super) export: bool,
    pub(super) injects_facts: bool,
    pub(super) extra: Dict,
    /// Opens what the inventory has left encrypted.
    pub(super) reader: Reader,
    pub(super) notices: Notices,
}

/// What Ansible itself sets, and is not shown.
const INTERNAL: [&str; 34] = [
    "ansible_async_path",
    "ansible_collection_name",
    "ansible_config_file",
    "ansible_dependent_role_names",
    "ansible_diff_mode",
    "ansible_facts",
    "ansible_forks",
    "ansible_inventory_sources",
    "ansible_limit",
    "ansible_play_batch",
    "ansible_play_hosts",
    "ansible_play_hosts_all",
    "ansible_play_role_names",
    "ansible_playbook_python",
    "ansible_role_name",
    "ansible_role_names",
    "ansible_run_tags",
    "ansible_skip_tags",
    "ansible_verbosity",
    "ansible_version",
    "inventory_dir",
    "inventory_file",
    "inventory_hostname",
    "inventory_hostname_short",
    "groups",
    "group_names",
    "hostvars",
    "playbook_dir",
    "play_hosts",
    "role_name",
    "role_names",
    "role_path",
    "role_uuid",
    "omit",
];

fn entries(value: IndexMap<Key, Value>) -> Value {
    Value::Dict(Dict::new(value))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Dict(entries) => entries.is_empty(),
        Value::List(items) => items.is_empty(),
        _ => false,
    }
}

impl Shown<'_> {
    fn merged(&self, layers: Vec<Dict>) -> Dict {
        let mut whole = Dict::default();
        for layer in layers {
            if self.inventory.settings().merge {
                whole = crate::inventory::merged(&whole, &layer);
            } else {
                let entries = layer.read().clone();
                whole.change(|whole| whole.extend(entries));
            }
        }
        whole.change(|entries| {
            entries.retain(|name, _| !name.as_str().is_some_and(|name| INTERNAL.contains(&name)));
        });
        whole
    }

    fn directories(&self) -> Vec<&std::path::Path> {
        self.playbook.as_deref().into_iter().collect()
    }

    pub(super) fn host_variables(&self, name: &str) -> Result<Dict, Located> {
        let Some(host) = self.inventory.host(name) else {
            return Ok(Dict::default());
        };
        let mut layers;
        if self.export {
            layers = vec![host.variables.clone()];
            let files = self.inventory.files();
            layers.extend(files.of_host(name, &self.notices)?);
            for directory in self.directories() {
                layers.extend(files.beside(directory, "host_vars", name, &self.notices)?);
            }
        } else {
            layers = self
                .inventory
                .layers(name, &[&self.directory], &self.notices)?;
            if !self.injects_facts {
                // Facts from the machine's own files are variables even then, and nobody has gathered them.
                let local = ("ansible_local", Value::Dict(Dict::default()));
                layers.push([local].into_iter().collect());
            }
            layers.push(self.extra.clone());
            let variables = self.merged(layers);
            warn_of_reserved(&variables, &self.notices);
            return Ok(variables);
        }
        Ok(self.merged(layers))
    }

    fn group_variables(&self, group: &Group) -> Result<Dict, Located> {
        let files = self.inventory.files();
        let mut layers = vec![group.variables.clone()];
        layers.extend(files.of_group(&group.name, &self.notices)?);
        for directory in self.directories() {
            layers.extend(files.beside(directory, "group_vars", &group.name, &self.notices)?);
        }
        let variables = self.merged(layers);
        if group.priority != 1 {
            variables.insert(
                Key::from("ansible_group_priority"),
                Value::Int(group.priority),
            );
        }
        Ok(variables)
    }

    /// What is encrypted, opened.
    fn opened(&self, value: &Value) -> Result<Value, Located> {
        let Value::Object(object) = value else {
            return Ok(value.clone());
        };
        let Some(encrypted) = object.any().downcast_ref::<Encrypted>() else {
            return Ok(value.clone());
        };
        self.reader
            .open(encrypted.clone())
            .defined()
            .map_err(|error| Located::new(error.to_string()).at_maybe(encrypted.origin.as_ref()))
    }

    fn children<'a>(&'a self, group: &'a Group) -> impl Iterator<Item = &'a Group> {
        group
            .children
            .iter()
            .filter_map(|name| self.inventory.groups.get(name))
    }

    pub(super) fn graph(
        &self,
        group: &Group,
        depth: usize,
        variables: bool,
        lines: &mut Vec<String>,
    ) -> Result<(), Located> {
        let line = |text: &str, depth: usize| {
            if depth == 0 {
                text.to_owned()
            } else {
                format!("{}--{text}", "  |".repeat(depth))
            }
        };
        let show = |dict: &Dict, depth: usize, lines: &mut Vec<String>| {
            let mut shown = dict
                .read()
                .iter()
                .map(|(key, value)| {
                    let value = self.opened(value)?;
                    Ok((
                        consort_jinja::repr::text(key.value()),
                        consort_jinja::repr::text(&value),
                    ))
                })
                .collect::<Result<Vec<(String, String)>, Located>>()?;
            shown.sort();
            lines.extend(
                shown
                    .into_iter()
                    .map(|(name, value)| line(&format!("{{{name} = {value}}}"), depth)),
            );
            Ok::<(), Located>(())
        };
        lines.push(line(&format!("@{}:", group.name), depth));
        for child in self.children(group) {
            self.graph(child, depth + 1, variables, lines)?;
        }
        if &*group.name != "all" {
            for host in &group.hosts {
                lines.push(line(host, depth + 1));
                if variables {
                    show(&self.host_variables(host)?, depth + 2, lines)?;
                }
            }
        }
        if variables {
            show(&self.group_variables(group)?, depth + 1, lines)?;
        }
        Ok(())
    }

    pub(super) fn json(&self, available: &HashSet<Arc<str>>) -> Result<Value, Located> {
        let mut whole = IndexMap::new();
        let mut seen = HashSet::new();
        if let Some(all) = self.inventory.groups.get("all") {
            self.json_group(all, available, &mut seen, &mut whole)?;
        }
        let hostvars = Dict::default();
        for host in self
            .inventory
            .matching("all", Limits::Respected, &self.notices)?
        {
            let variables = self.host_variables(&host)?;
            if !variables.is_empty() {
                hostvars.insert(Key::from(&*host), Value::Dict(variables));
            }
        }
        let meta: Dict = [
            ("hostvars", Value::Dict(hostvars)),
            ("profile", Value::from("inventory_legacy")),
        ]
        .into_iter()
        .collect();
        whole.insert(Key::from("_meta"), Value::Dict(meta));
        Ok(entries(whole))
    }

    fn json_group(
        &self,
        group: &Group,
        available: &HashSet<Arc<str>>,
        seen: &mut HashSet<Arc<str>>,
        whole: &mut IndexMap<Key, Value>,
    ) -> Result<(), Located> {
        let mut parts = IndexMap::new();
        if &*group.name != "all" {
            let hosts = group
                .hosts
                .iter()
                .filter(|host| available.contains(*host))
                .map(|host| Value::from(&**host))
                .collect();
            parts.insert(Key::from("hosts"), Value::list(hosts));
        }
        let mut children = Vec::new();
        for child in self.children(group) {
            children.push(Value::from(&*child.name));
            if seen.insert(Arc::clone(&child.name)) {
                self.json_group(child, available, seen, whole)?;
            }
        }
        parts.insert(Key::from("children"), Value::list(children));
        if self.export {
            parts.insert(Key::from("vars"), Value::Dict(self.group_variables(group)?));
        }
        parts.retain(|_, part| !is_empty(part));
        if !parts.is_empty() {
            whole.insert(Key::from(&*group.name), entries(parts));
        }
        Ok(())
    }

    pub(super) fn yaml(&self, available: &HashSet<Arc<str>>) -> Result<Value, Located> {
        let mut hosts = HashSet::new();
        let mut groups = HashSet::new();
        let mut whole = IndexMap::new();
        if let Some(all) = self.inventory.groups.get("all") {
            self.yaml_group(all, available, &mut groups, &mut hosts, &mut whole)?;
        }
        Ok(entries(whole))
    }

    fn yaml_group(
        &self,
        group: &Group,
        available: &HashSet<Arc<str>>,
        groups: &mut HashSet<Arc<str>>,
        seen: &mut HashSet<Arc<str>>,
        whole: &mut IndexMap<Key, Value>,
    ) -> Result<(), Located> {
        let mut parts = IndexMap::new();
        let mut children = IndexMap::new();
        for child in self.children(group) {
            if &*child.name == "all" {
                continue;
            }
            if groups.contains(&child.name) {
                children.insert(Key::from(&*child.name), Value::Dict(Dict::default()));
            } else {
                self.yaml_group(child, available, groups, seen, &mut children)?;
                groups.insert(Arc::clone(&child.name));
            }
        }
        parts.insert(Key::from("children"), entries(children));
        self.members(group, available, seen, &mut parts)?;
        if !parts.is_empty() {
            whole.insert(Key::from(&*group.name), entries(parts));
        }
        Ok(())
    }

    /// The hosts of a group, each with its variables where it is seen first, and the group's own variables.
    fn members(
        &self,
        group: &Group,
        available: &HashSet<Arc<str>>,
        seen: &mut HashSet<Arc<str>>,
        parts: &mut IndexMap<Key, Value>,
    ) -> Result<(), Located> {
        let mut hosts = IndexMap::new();
        if &*group.name != "all" {
            for host in group.hosts.iter().filter(|host| available.contains(*host)) {
                let variables = if seen.insert(Arc::clone(host)) {
                    self.host_variables(host)?
                } else {
                    Dict::default()
                };
                hosts.insert(Key::from(&**host), Value::Dict(variables));
            }
        }
        parts.insert(Key::from("hosts"), entries(hosts));
        if self.export {
            parts.insert(Key::from("vars"), Value::Dict(self.group_variables(group)?));
        }
        parts.retain(|_, part| !is_empty(part));
        Ok(())
    }

    pub(super) fn toml(&self, available: &HashSet<Arc<str>>) -> Result<Value, Located> {
        let mut seen = HashSet::new();
        let mut whole = IndexMap::new();
        if let Some(all) = self.inventory.groups.get("all") {
            self.toml_group(all, available, &mut seen, &mut whole)?;
        }
        Ok(entries(whole))
    }

    fn toml_group(
        &self,
        group: &Group,
        available: &HashSet<Arc<str>>,
        seen: &mut HashSet<Arc<str>>,
        whole: &mut IndexMap<Key, Value>,
    ) -> Result<(), Located> {
        let mut parts = IndexMap::new();
        let mut children = Vec::new();
        let mut below = IndexMap::new();
        for child in self.children(group) {
            if &*child.name == "ungrouped" && child.hosts.is_empty() {
                continue;
            }
            if &*group.name != "all" {
                children.push(Value::from(&*child.name));
            }
            self.toml_group(child, available, seen, &mut below)?;
        }
        parts.insert(Key::from("children"), Value::list(children));
        self.members(group, available, seen, &mut parts)?;
        if !parts.is_empty() {
            whole.insert(Key::from(&*group.name), entries(parts));
        }
        whole.extend(below);
        Ok(())
    }
}
