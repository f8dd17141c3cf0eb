//! The tasks of a play nobody wrote: gathering facts, checking variables.

use std::sync::Arc;

use consort_jinja::{Dict, Str, Value};

use super::said::Said;
use crate::executor::keyword::listed;
use crate::language::{
    Action, ActionKind, ArgumentSpec, Directive, Directives, Play, Task, next_task_id,
};

/// A task nobody wrote.
fn implicit(play: &Play, name: Option<&str>, action: &str, arguments: Dict) -> Task {
    let mut directives = Directives::default();
    if let Some(name) = name {
        directives.set(Directive::Name, Value::Str(Str::new(name)));
    }
    Task {
        id: next_task_id(),
        origin: Arc::clone(&play.origin),
        parent: Arc::clone(&play.scope),
        directives,
        action: Action {
            written: Arc::from(action),
            name: Arc::from(format!("ansible.builtin.{action}")),
            arguments,
            variable_arguments: None,
            origin: Arc::clone(&play.origin),
            kind: ActionKind::Builtin,
            collections: Arc::new([]),
        },
        looped: None,
        handler: false,
        implicit: false,
    }
}

/// The task that checks the variables of a play.
pub(super) fn validation(play: &Arc<Play>, specification: &ArgumentSpec) -> Arc<Task> {
    let name = specification.name.as_str();
    let context: Dict = [
        ("type", Value::from("play")),
        ("name", Value::from(name)),
        ("argument_spec_name", Value::from(name)),
        ("path", Value::from(specification.path.as_str())),
    ]
    .into_iter()
    .collect();
    let task = implicit(
        play,
        Some(&format!("Validating arguments against arg spec {name}")),
        "validate_argument_spec",
        [
            ("argument_spec", Value::Dict(specification.options.clone())),
            ("validate_args_context", Value::Dict(context)),
        ]
        .into_iter()
        .collect(),
    );
    always(play, task)
}

/// A task that each host does, whatever tags are chosen if the play has none of its own.
fn always(play: &Play, mut task: Task) -> Arc<Task> {
    task.directives.set(Directive::RunOnce, Value::Bool(false));
    if listed(play.scope.inherited(Directive::Tags)).is_empty() {
        task.directives
            .set(Directive::Tags, Value::list(vec!["always".into()]));
    }
    if !play.imported_when.is_empty() {
        task.directives
            .set(Directive::When, Value::list(play.imported_when.clone()));
    }
    Arc::new(task)
}

/// The task that gathers facts.
pub(super) fn setup(play: &Arc<Play>, said: &Said) -> Arc<Task> {
    let mut arguments = Vec::new();
    for (name, value) in [
        ("gather_subset", &said.gather_subset),
        ("gather_timeout", &said.gather_timeout),
        ("fact_path", &said.fact_path),
    ] {
        match value {
            None | Some(Value::None) => {}
            Some(value) => arguments.push((name, value.clone())),
        }
    }
    let task = implicit(
        play,
        Some("Gathering Facts"),
        "gather_facts",
        arguments.into_iter().collect(),
    );
    always(play, task)
}
