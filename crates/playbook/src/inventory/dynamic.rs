//! Hosts and groups that tasks add while a playbook runs.

use std::sync::Arc;

use consort_jinja::{Dict, Key, Value};

use super::Inventory;
use super::notice::unheard;
use crate::source::{Located, Notices};

/// What was added, in order.
#[derive(Clone, Default, Debug)]
pub struct Dynamic {
    hosts: Vec<(String, Dict, Vec<String>)>,
    groups: Vec<(String, String, Vec<String>)>,
}

impl Inventory {
    /// Adds a group whose hosts are known only later: whoever asks for them, or for those of a group around it, is told so.
    ///
    /// # Errors
    /// The name is empty.
    pub fn open_group(&mut self, name: &str, notices: &Notices) -> Result<(), Located> {
        let group = self.add_group(name, notices)?;
        if self.groups[&group].parents.is_empty() && *group != *"all" {
            self.add_child("all", &group)?;
            self.set_depths();
        }
        let mut above = vec![group];
        while let Some(name) = above.pop() {
            if let Some(group) = self.groups.get(&name) {
                above.extend(group.parents.iter().cloned());
            }
            self.open.insert(name);
        }
        Ok(())
    }

    /// Whether nobody knows all hosts of a group yet.
    pub fn is_open(&self, group: &str) -> bool {
        self.open.contains(group)
    }

    /// `add_host`: adds a host with variables to groups; whether anything changed.
    ///
    /// # Errors
    /// A name is empty.
    pub fn add_dynamic_host(
        &mut self,
        name: &str,
        variables: &Dict,
        groups: &[String],
        notices: &Notices,
    ) -> Result<bool, Located> {
        self.dynamic
            .hosts
            .push((name.to_owned(), variables.clone(), groups.to_vec()));
        self.put_host(name, variables, groups, notices)
    }

    fn put_host(
        &mut self,
        name: &str,
        variables: &Dict,
        groups: &[String],
        notices: &Notices,
    ) -> Result<bool, Located> {
        let mut changed = !self.hosts.contains_key(name);
        let name = self.add_host(name, Some("all"), None, None, notices)?;
        let merge = self.settings().merge;
        if let Some(host) = self.hosts.get_mut(&name) {
            let mut entries = host.variables.read().clone();
            let mut differs = false;
            for (key, value) in variables.read().iter() {
                let value = match (entries.get(key), value) {
                    (Some(Value::Dict(old)), Value::Dict(new)) if merge => {
                        Value::Dict(super::data::merged(old, new))
                    }
                    _ => value.clone(),
                };
                if entries.get(key).is_none_or(|old| !old.equals(&value)) {
                    differs = true;
                    entries.insert(key.clone(), value);
                }
            }
            if differs {
                host.variables = Dict::new(entries);
                changed = true;
            }
        }
        for group in groups {
            if !self.groups.contains_key(group.as_str()) {
                changed = true;
            }
            let group = self.add_group(group, notices)?;
            changed |= self.add_child(&group, &name)?;
        }
        if changed {
            self.reconcile(notices);
        }
        Ok(changed)
    }

    /// `group_by`: makes a host a member of a group, and the group one of its parents; whether anything changed.
    ///
    /// # Errors
    /// There is no such host.
    pub fn add_dynamic_group(
        &mut self,
        host: &str,
        group: &str,
        parents: &[String],
        notices: &Notices,
    ) -> Result<bool, Located> {
        self.dynamic
            .groups
            .push((host.to_owned(), group.to_owned(), parents.to_vec()));
        self.put_group(host, group, parents, notices)
    }

    fn put_group(
        &mut self,
        host: &str,
        group: &str,
        parents: &[String],
        notices: &Notices,
    ) -> Result<bool, Located> {
        let mut changed = false;
        let host: Arc<str> = match self.hosts.get_key_value(host) {
            Some((name, _)) => Arc::clone(name),
            None => match self.implicit.iter().position(|known| &*known.name == host) {
                // A member of a group must be there as others are.
                Some(at) => {
                    let host = self.implicit[at].clone();
                    let name = Arc::clone(&host.name);
                    self.hosts.insert(Arc::clone(&name), host);
                    self.localhost = Some(Arc::clone(&name));
                    name
                }
                None => {
                    return Err(Located::new(format!(
                        "{host} cannot be matched in inventory"
                    )));
                }
            },
        };
        let group = self.add_group(group, notices)?;
        for parent in parents {
            if !self.groups.contains_key(parent.as_str()) {
                changed = true;
            }
            let parent = self.add_group(parent, notices)?;
            changed |= self.add_child(&parent, &group)?;
        }
        changed |= self.add_child(&group, &host)?;
        if changed {
            self.reconcile(notices);
        }
        Ok(changed)
    }

    /// Reads the sources again (`meta: refresh_inventory`), and adds again what tasks added.
    ///
    /// # Errors
    /// As [`Inventory::read`].
    pub fn refreshed(&self, notices: &Notices) -> Result<Inventory, Located> {
        let mut fresh = Inventory::read(&self.sources, Arc::clone(self.settings()), notices)?;
        fresh.limit.clone_from(&self.limit);
        for (name, variables, groups) in &self.dynamic.hosts {
            fresh.put_host(name, variables, groups, notices)?;
        }
        for (host, group, parents) in &self.dynamic.groups {
            if fresh.host(host).is_some() {
                fresh.put_group(host, group, parents, notices)?;
            }
        }
        fresh.dynamic = self.dynamic.clone();
        Ok(fresh)
    }

    /// Sets a variable of a host, as `set` of a plugin would.
    ///
    /// # Errors
    /// There is no such host.
    pub fn set_host_variable(
        &mut self,
        host: &str,
        name: &str,
        value: Value,
    ) -> Result<(), Located> {
        self.set_variable(host, &Key::from(name), value, &unheard())
    }
}
