//! Shows an inventory: `ansible-inventory`.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use consort_jinja::json::Style;
use consort_jinja::{Dict, Key, Value};
use indexmap::IndexMap;

use super::options::{ExtraOptions, InventoryOptions, VaultOptions, Verbosity};
use super::session::Session;
use crate::inventory::{Group, Inventory, Limits};
use crate::source::{Encrypted, Located, Notices, Reader, Timestamp};
use crate::variables::warn_of_reserved;

/// Shows the hosts, groups and variables of an inventory.
#[derive(Parser, Debug)]
#[command(
    name = "ansible-inventory",
    disable_version_flag = true,
    infer_long_args = true,
    args_override_self = true
)]
pub(super) struct ListArguments {
    #[command(flatten)]
    verbosity: Verbosity,
    #[command(flatten)]
    inventory: InventoryOptions,
    #[command(flatten)]
    vault: VaultOptions,
    #[command(flatten)]
    extra: ExtraOptions,
    /// The directory to look for `group_vars` and `host_vars` in as if a playbook stood there.
    #[arg(long, value_name = "DIRECTORY")]
    playbook_dir: Option<String>,
    /// A group, for `--graph`.
    #[arg(value_name = "GROUP")]
    group: Option<String>,
    /// Show all hosts, as programs that are inventories do.
    #[arg(long)]
    list: bool,
    /// Show the variables of one host.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Draw the groups and their hosts.
    #[arg(long)]
    graph: bool,
    /// As YAML.
    #[arg(short = 'y', long)]
    yaml: bool,
    /// As TOML.
    #[arg(long)]
    toml: bool,
    /// Draw variables too.
    #[arg(long = "vars")]
    variables: bool,
    /// Keep variables of groups with their groups.
    #[arg(long)]
    export: bool,
    /// Write to a file.
    #[arg(long, value_name = "FILE")]
    output: Option<String>,
}

impl ListArguments {
    /// How much is told.
    pub(super) fn verbosity(&self) -> u8 {
        self.verbosity.verbose
    }
}

/// What is shown, and how variables are found.
struct Shown<'a> {
    inventory: &'a Inventory,
    playbook: Option<PathBuf>,
    export: bool,
    extra: Dict,
    /// Opens what the inventory has left encrypted.
    reader: Reader,
    notices: Notices,
}

/// Carries it out; the exit status.
pub(super) fn run(arguments: &ListArguments, session: &Session) -> Result<i32, Located> {
    let actions = [arguments.list, arguments.host.is_some(), arguments.graph];
    match actions.into_iter().filter(|chosen| *chosen).count() {
        0 => {
            return Err(Located::new(
                "No action selected, at least one of --host, --graph or --list needs to be specified.",
            )
            .exiting(5));
        }
        1 => {}
        _ => {
            return Err(Located::new(
                "Conflicting options used, only one of --host, --graph or --list can be used at the same time.",
            )
            .exiting(5));
        }
    }
    session.begin("ansible-inventory");
    let vault = session.vault(&arguments.vault)?;
    let reader = session.reader(&vault);
    let extra = session.extra_variables(&arguments.extra.extra_vars, &reader)?;
    let playbook = arguments
        .playbook_dir
        .as_ref()
        .map(|directory| crate::paths::unfrack(directory, &session.surroundings, None))
        .or_else(|| session.settings.playbook_dir.clone())
        .map(PathBuf::from);
    let directory = playbook
        .clone()
        .unwrap_or_else(|| PathBuf::from(&session.surroundings.directory));
    let bridge = super::plugins::bridge_of_listing(session, &directory, &vault);
    let mut inventory = session.inventory(
        &session.inventory_sources(&arguments.inventory.inventory),
        reader.clone().keeping_encrypted(),
        session.templar(&directory, &reader, Some(&bridge)),
        extra.clone(),
    )?;
    let notices = session.terminal.notices();
    let limit = arguments.inventory.limit.as_deref();
    if arguments.host.is_none() && limit.is_some() {
        inventory.limit_to(limit)?;
    }
    let shown = Shown {
        inventory: &inventory,
        playbook,
        export: arguments.export || session.settings.inventory_export,
        extra,
        reader,
        notices,
    };
    let text = if let Some(host) = &arguments.host {
        let hosts = inventory.matching(host, Limits::Respected, &shown.notices)?;
        let [host] = hosts.as_slice() else {
            return Err(
                Located::new("You must pass a single valid host to --host parameter").exiting(5),
            );
        };
        let variables = shown.host_variables(host)?;
        arguments.dump(&Value::Dict(variables))?
    } else if arguments.graph {
        let pattern = arguments.group.as_deref().unwrap_or("all");
        let Some(group) = inventory.groups.get(pattern) else {
            return Err(
                Located::new("Pattern must be valid group name when using --graph").exiting(5),
            );
        };
        let mut lines = Vec::new();
        shown.graph(group, 0, arguments.variables, &mut lines)?;
        lines.join("\n")
    } else {
        let available: HashSet<Arc<str>> = inventory
            .matching("all", Limits::Respected, &shown.notices)?
            .into_iter()
            .collect();
        let value = if arguments.yaml {
            shown.yaml(&available)?
        } else if arguments.toml {
            shown.toml(&available)?
        } else {
            shown.json(&available)?
        };
        arguments.dump(&value)?
    };
    match &arguments.output {
        None => session.terminal.line(&text),
        Some(file) => std::fs::write(file, &text).map_err(|error| {
            Located::new(format!("Unable to write to destination file '{file}'."))
                .because(Located::new(error.to_string()))
        })?,
    }
    Ok(0)
}

impl ListArguments {
    fn dump(&self, value: &Value) -> Result<String, Located> {
        if self.yaml {
            return crate::template::yaml_as_it_is(value)
                .map_err(|error| Located::new(error.to_string()));
        }
        if self.toml {
            return super::toml::text(value);
        }
        let style = Style {
            indent: Some("    ".to_owned()),
            sort_keys: true,
            ascii: false,
            ..Style::default()
        };
        let plain = plain(value, &mut Vec::new());
        consort_jinja::json::write(&plain, &style).map_err(|error| Located::new(error.to_string()))
    }
}

/// A value as JSON has it: what is encrypted stays so, and texts of variables that are no templates say so.
fn plain(value: &Value, path: &mut Vec<String>) -> Value {
    match value {
        Value::Object(object) => match object.any().downcast_ref::<Encrypted>() {
            Some(encrypted) => Value::Dict(
                [("__ansible_vault", Value::from(&*encrypted.ciphertext))]
                    .into_iter()
                    .collect(),
            ),
            None => match object.any().downcast_ref::<Timestamp>() {
                Some(moment) => Value::from(moment.iso('T').as_str()),
                None => Value::from(consort_jinja::repr::text(value).as_str()),
            },
        },
        Value::Str(text) => {
            let is_variable = (path.len() >= 4 && path[0] == "_meta" && path[1] == "hostvars")
                || (path.len() >= 3 && path[1] == "vars");
            if is_variable && !text.is_template() {
                Value::Dict([("__ansible_unsafe", value.clone())].into_iter().collect())
            } else {
                value.clone()
            }
        }
        Value::List(items) => Value::list(
            items
                .read()
                .iter()
                .enumerate()
                .map(|(at, item)| {
                    path.push(at.to_string());
                    let item = plain(item, path);
                    path.pop();
                    item
                })
                .collect(),
        ),
        Value::Dict(entries) => Value::Dict(Dict::new(
            entries
                .read()
                .iter()
                .map(|(key, item)| {
                    let name = consort_jinja::repr::text(key.value());
                    path.push(name.clone());
                    let item = plain(item, path);
                    path.pop();
                    (Key::from(name.as_str()), item)
                })
                .collect(),
        )),
        other => other.clone(),
    }
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

    fn host_variables(&self, name: &str) -> Result<Dict, Located> {
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
                .layers(name, &self.directories(), &self.notices)?;
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
            variables.change(|entries| {
                entries.insert(
                    Key::from("ansible_group_priority"),
                    Value::Int(group.priority),
                );
            });
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

    fn graph(
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

    fn json(&self, available: &HashSet<Arc<str>>) -> Result<Value, Located> {
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
                hostvars.change(|entries| {
                    entries.insert(Key::from(&*host), Value::Dict(variables));
                });
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

    fn yaml(&self, available: &HashSet<Arc<str>>) -> Result<Value, Located> {
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

    fn toml(&self, available: &HashSet<Arc<str>>) -> Result<Value, Located> {
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
