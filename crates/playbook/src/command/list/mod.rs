//! Shows an inventory: `ansible-inventory`.

mod plain;
mod shown;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use consort_jinja::Value;
use consort_jinja::json::Style;

use super::options::{ExtraOptions, InventoryOptions, VaultOptions, Verbosity};
use super::session::Session;
use crate::inventory::Limits;
use crate::source::Located;

use plain::plain;
use shown::Shown;

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
        directory,
        export: arguments.export || session.settings.inventory_export,
        injects_facts: session.settings.inject_facts_as_vars,
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
            return crate::command::toml::text(value);
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
