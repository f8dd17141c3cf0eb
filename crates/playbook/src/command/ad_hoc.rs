//! Runs one module: `ansible`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use consort_jinja::{Dict, Key, Origin, Str, Value};
use indexmap::IndexMap;

use super::passwords;
use super::running::Common;
use super::session::Session;
use crate::executor::What;
use crate::language::split_pairs;
use crate::source::{Located, Removal};

/// Runs one module on the hosts of a pattern.
#[derive(Parser, Debug)]
#[command(
    name = "ansible",
    disable_version_flag = true,
    infer_long_args = true,
    args_override_self = true
)]
pub(super) struct AdHocArguments {
    #[command(flatten)]
    common: Common,
    /// The directory that paths are relative to, as if a playbook stood there.
    #[arg(long, value_name = "DIRECTORY")]
    playbook_dir: Option<String>,
    /// Seconds after which the module is ended.
    #[arg(long)]
    task_timeout: Option<i64>,
    /// Let it run in the background for so many seconds.
    #[arg(short = 'B', long)]
    background: Option<i64>,
    /// Look after it each so many seconds.
    #[arg(short = 'P', long)]
    poll: Option<i64>,
    /// One line for each host.
    #[arg(short = 'o', long)]
    one_line: bool,
    /// Keep results in this directory, a file each host.
    #[arg(short = 't', long, value_name = "DIRECTORY")]
    tree: Option<String>,
    /// The module's arguments: `name=value`, or JSON.
    #[arg(short = 'a', long, allow_hyphen_values = true)]
    args: Option<String>,
    /// The module.
    #[arg(short = 'm', long, value_name = "MODULE")]
    module_name: Option<String>,
    /// The hosts.
    #[arg(value_name = "PATTERN")]
    pattern: String,
}

impl AdHocArguments {
    /// How much is told.
    pub(super) fn verbosity(&self) -> u8 {
        self.common.verbosity.verbose
    }
}

/// Modules that are nothing without arguments, which are free text.
const FREE: [&str; 7] = [
    "command",
    "shell",
    "raw",
    "script",
    "win_command",
    "win_shell",
    "ansible.windows.win_command",
];

/// Carries it out; the exit status.
pub(super) fn run(arguments: &AdHocArguments, session: &Session) -> Result<i32, Located> {
    let common = &arguments.common;
    common.check(session)?;
    session.begin("ansible");
    for (given, option, callback) in [
        (arguments.one_line, "-o", "oneline"),
        (arguments.tree.is_some(), "-t", "tree"),
    ] {
        if given {
            session.terminal.deprecate(
                &Located::new(format!("The '{option}' argument is deprecated.")).hint(format!(
                    "Use callback configuration to enable the {callback} callback instead."
                )),
                &Removal::of_core("2.23"),
            );
        }
    }
    let passwords = passwords::machines(
        &common.connect,
        &common.becoming,
        &session.settings,
        &session.surroundings,
    )?;
    let given = arguments
        .playbook_dir
        .as_ref()
        .map(|directory| crate::paths::unfrack(directory, &session.surroundings, None))
        .or_else(|| session.settings.playbook_dir.clone())
        .map(PathBuf::from);
    let directory = given
        .clone()
        .unwrap_or_else(|| PathBuf::from(&session.surroundings.directory));
    let mut prepared = common.prepare(session, &directory, &["all".to_owned()], &[], passwords)?;
    if let Some(collection) = given.and_then(|given| prepared.loader.begin_in(&given)) {
        session
            .terminal
            .warn(&format!("running with default collection {collection}"));
    }
    let pattern = &arguments.pattern;
    let hosts = match prepared.hosts(common.inventory.limit.as_deref(), pattern) {
        Ok(hosts) => hosts,
        Err(error) if common.inventory.limit.is_some() => return Err(error),
        Err(_) => {
            session.terminal.warn("No hosts matched, nothing to do");
            Vec::new()
        }
    };
    if common.inventory.list_hosts {
        session
            .terminal
            .line(&format!("  hosts ({}):", hosts.len()));
        for host in &hosts {
            session.terminal.line(&format!("    {host}"));
        }
        return Ok(0);
    }
    let module = arguments
        .module_name
        .as_ref()
        .unwrap_or(&session.settings.module_name);
    let written = arguments
        .args
        .as_deref()
        .or(session.settings.module_args.as_deref())
        .unwrap_or_default();
    let short = module
        .strip_prefix("ansible.builtin.")
        .or(module.strip_prefix("ansible.legacy."))
        .unwrap_or(module);
    let free = FREE.contains(&short);
    if free && written.is_empty() {
        let hint = if pattern.rsplit('.').next() == Some("yml") {
            " (did you mean to run ansible-playbook?)"
        } else {
            ""
        };
        return Err(
            Located::new(format!("No argument passed to {module} module{hint}")).exiting(5),
        );
    }
    if short == "import_playbook" {
        return Err(Located::new(format!(
            "'{module}' is not a valid action for ad-hoc commands"
        ))
        .exiting(5));
    }
    let data = arguments.play(module, written, free, session)?;
    let play = prepared.loader.play(&data, &directory)?;
    let callback = if arguments.one_line {
        "oneline".to_owned()
    } else if session.settings.load_callback_plugins
        && session.settings.stdout_callback != "default"
    {
        session.settings.stdout_callback.clone()
    } else {
        "minimal".to_owned()
    };
    prepared.run(
        What::Play(Arc::new(play)),
        &callback,
        arguments.tree.as_deref(),
    )
}

impl AdHocArguments {
    /// The play that runs the module.
    fn play(
        &self,
        module: &str,
        written: &str,
        free: bool,
        session: &Session,
    ) -> Result<Value, Located> {
        let origin = |what: &str| {
            Arc::new(Origin {
                file: what.into(),
                line: 0,
                column: 0,
            })
        };
        let place = origin(&format!(
            "<adhoc {} task>",
            consort_jinja::repr::string(module)
        ));
        let text = |text: &str| Value::Str(Str::template(text).written_at(Arc::clone(&place)));
        crate::blocking::heed(written);
        let given = Str::template(written).written_at(origin("<CLI option '-a'>"));
        let mut parsed = None;
        if written.starts_with('{') && written.ends_with('}') {
            parsed = prepared_json(written)
                .map(|json| trusted(&json, &place))
                .filter(|value| value.truth().unwrap_or(false));
        }
        let module_arguments = match parsed {
            Some(value) => value,
            None => Value::Dict(split_pairs(&given, free)?),
        };
        let mut task: IndexMap<Key, Value> = IndexMap::new();
        task.insert(Key::from("action"), text(module));
        task.insert(Key::from("args"), module_arguments);
        task.insert(
            Key::from("timeout"),
            Value::Int(self.task_timeout.unwrap_or(session.settings.task_timeout)),
        );
        let background = self.background.unwrap_or(0);
        let poll = self.poll.unwrap_or(session.settings.poll_interval);
        let includes = matches!(
            module.rsplit('.').next(),
            Some("include_tasks" | "import_tasks" | "include_role" | "import_role")
        );
        if !includes && (background != 0 || poll != 0) {
            task.insert(Key::from("async"), Value::Int(background));
            task.insert(Key::from("poll"), Value::Int(poll));
        }
        let mut play: IndexMap<Key, Value> = IndexMap::new();
        play.insert(Key::from("name"), text("Ansible Ad-Hoc"));
        play.insert(Key::from("hosts"), text(&self.pattern));
        play.insert(Key::from("gather_facts"), text("no"));
        play.insert(
            Key::from("tasks"),
            Value::list(vec![Value::Dict(Dict::new(task))]),
        );
        Ok(Value::Dict(Dict::new(play)))
    }
}

fn prepared_json(text: &str) -> Option<serde_json::Value> {
    serde_json::from_str(text).ok()
}

/// A value of the command line, whose texts may be templates.
fn trusted(json: &serde_json::Value, place: &Arc<Origin>) -> Value {
    match json {
        serde_json::Value::String(text) => {
            Value::Str(Str::template(text.as_str()).written_at(Arc::clone(place)))
        }
        serde_json::Value::Array(items) => {
            Value::list(items.iter().map(|item| trusted(item, place)).collect())
        }
        serde_json::Value::Object(entries) => Value::Dict(Dict::new(
            entries
                .iter()
                .map(|(key, item)| (Key::from(key.as_str()), trusted(item, place)))
                .collect(),
        )),
        other => crate::values::from_json(other.clone()),
    }
}
