//! Variables that are not set by anybody: what the run, the play and the role are.

use std::sync::Arc;

use consort_jinja::{Omit, Value, repr};

use super::chain::TaskVariables;
use super::hostvars::{Chain, HostVariables};
use super::old::Old;
use super::task::all_dependencies;
use crate::language::Role;

/// All names that [`value`] may know.
pub(super) const NAMES: &[&str] = &[
    "playbook_dir",
    "ansible_playbook_python",
    "ansible_config_file",
    "ansible_role_names",
    "ansible_play_role_names",
    "ansible_dependent_role_names",
    "role_names",
    "ansible_play_name",
    "role_name",
    "role_path",
    "role_uuid",
    "ansible_collection_name",
    "ansible_role_name",
    "groups",
    "ansible_play_hosts_all",
    "ansible_play_hosts",
    "ansible_play_batch",
    "play_hosts",
    "hostvars",
    "omit",
    "ansible_parent_role_names",
    "ansible_parent_role_paths",
    "ansible_search_path",
    "environment",
    "vars",
    "ansible_current_hosts",
    "ansible_failed_hosts",
];

/// The value of a name that is nobody's to set.
pub(super) fn value(variables: &TaskVariables, name: &str) -> Option<Value> {
    let play = variables.play();
    let task = variables.task();
    let roles = || play.map(|play| play.roles());
    match name {
        "omit" => Some(Value::Object(Arc::new(Omit))),
        "playbook_dir" => play.map(|play| path(&play.directory)),
        "groups" => Some(Value::Dict(variables.store().groups())),
        "hostvars" => (!variables.hides_hostvars()).then(|| {
            Value::Object(Arc::new(HostVariables::new(
                variables.store(),
                play.map(|play| play.directory.as_path()),
            )))
        }),
        "ansible_play_name" => play.map(|play| Value::from(&*play.name)),
        "ansible_role_names" => roles().map(|roles| {
            let mut found = dependents(&roles);
            for role in &roles {
                if !found.contains(&role.name) {
                    found.push(Arc::clone(&role.name));
                }
            }
            names(&found)
        }),
        "ansible_play_role_names" | "role_names" => roles().map(|roles| {
            names(
                &roles
                    .iter()
                    .map(|role| Arc::clone(&role.name))
                    .collect::<Vec<_>>(),
            )
        }),
        "ansible_dependent_role_names" => roles().map(|roles| names(&dependents(&roles))),
        "role_name" => task?.role.as_ref().map(|role| Value::from(short(role))),
        "ansible_role_name" => task?.role.as_ref().map(|role| Value::from(&*role.name)),
        "role_path" => task?.role.as_ref().map(|role| path(&role.path)),
        "role_uuid" => task?
            .role
            .as_ref()
            .map(|role| Value::from(format!("{:p}", Arc::as_ptr(role)))),
        "ansible_collection_name" => task?.role.as_ref().map(|role| {
            role.collection
                .as_ref()
                .map_or(Value::None, |name| Value::from(&**name))
        }),
        "ansible_parent_role_names" => parents(variables, |role| Value::from(&*role.name)),
        "ansible_parent_role_paths" => parents(variables, |role| path(&role.path)),
        "ansible_search_path" => task.map(|task| {
            let mut found: Vec<Value> = task.search_path.iter().map(|p| path(p)).collect();
            if let Some(play) = play
                && !task.search_path.contains(&play.directory)
            {
                found.push(path(&play.directory));
            }
            found.into()
        }),
        "ansible_play_hosts_all" => play.map(|play| play.roster(|roster| names(&roster.all))),
        "ansible_play_hosts" => play.map(|play| {
            play.roster(|roster| names(&left(&roster.all, |host| !roster.removed.contains(host))))
        }),
        "ansible_play_batch" | "play_hosts" => play.map(|play| {
            if name == "play_hosts" {
                Old::PlayHosts.used(&variables.store().templar);
            }
            play.roster(|roster| names(&left(&roster.batch, |host| !roster.removed.contains(host))))
        }),
        "ansible_current_hosts" => play.map(|play| {
            play.roster(|roster| {
                names(&left(&roster.batch, |host| {
                    !roster.failed.contains(host) && !roster.unreachable.contains(host)
                }))
            })
        }),
        "ansible_failed_hosts" => play.map(|play| {
            play.roster(|roster| names(&left(&roster.batch, |host| roster.failed.contains(host))))
        }),
        "vars" if play.is_some() || task.is_some() => {
            Old::Vars.used(&variables.store().templar);
            Some(Value::Object(Arc::new(Chain::new(variables.clone()))))
        }
        _ => variables.store().options.get(name),
    }
}

fn parents(variables: &TaskVariables, of: impl Fn(&Role) -> Value) -> Option<Value> {
    let task = variables.task()?;
    if task.parent_roles.is_empty() {
        return None;
    }
    Some(Value::from(
        task.parent_roles
            .iter()
            .map(|role| of(role))
            .collect::<Vec<_>>(),
    ))
}

fn left(hosts: &[Arc<str>], keep: impl Fn(&Arc<str>) -> bool) -> Vec<Arc<str>> {
    hosts.iter().filter(|host| keep(host)).cloned().collect()
}

fn names(names: &[Arc<str>]) -> Value {
    names
        .iter()
        .map(|name| Value::from(&**name))
        .collect::<Vec<_>>()
        .into()
}

fn dependents(roles: &[Arc<Role>]) -> Vec<Arc<str>> {
    let mut found: Vec<Arc<str>> = Vec::new();
    for role in roles {
        for dependency in all_dependencies(role) {
            if !found.contains(&dependency.name) {
                found.push(Arc::clone(&dependency.name));
            }
        }
    }
    found
}

/// The name of a role without its collection.
fn short(role: &Role) -> &str {
    match &role.collection {
        Some(collection) => role
            .name
            .strip_prefix(&**collection)
            .and_then(|rest| rest.strip_prefix('.'))
            .unwrap_or(&role.name),
        None => &role.name,
    }
}

fn path(path: &std::path::Path) -> Value {
    Value::from(path.to_string_lossy().into_owned())
}

/// A value in a message.
pub(super) fn shown(value: &Value) -> String {
    repr::text(value)
}
