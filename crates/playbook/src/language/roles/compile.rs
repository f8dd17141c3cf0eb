//! The tasks and handlers of a role, put in their place.

use std::sync::Arc;

use consort_jinja::{Dict, Origin, Value};

use super::super::actions::builtin_leaf;
use super::super::directives::{Directive, Directives};
use super::super::draft::Draft;
use super::super::tasks::Tasks;
use super::super::{Action, ActionKind, Item, Role, Scope, ScopeKind, Task, next_task_id, python};
use super::{DEPTH, Result};
use crate::source::{Located, Node};

/// The tasks and handlers of a role in a place, after those of the roles it depends on.
pub(crate) fn compile(
    draft: &Arc<Draft>,
    role: &Arc<Role>,
    parent: &Arc<Scope>,
    depth: usize,
) -> Result<(Vec<Item>, Vec<Item>)> {
    let mut directives = role.directives.handed_down();
    directives.set(
        Directive::Collections,
        Value::list(
            role.files
                .collections
                .iter()
                .map(|name| Value::from(name.as_str()))
                .collect(),
        ),
    );
    let scope = Arc::new(Scope {
        kind: ScopeKind::Role(Arc::clone(role)),
        directives,
        parent: Some(Arc::clone(parent)),
    });
    let mut tasks = Vec::new();
    let mut handlers = Vec::new();
    if depth > DEPTH {
        return Err(Located::new(
            "Exceeded maximum object depth. This may have been caused by excessive role recursion.",
        ));
    }
    for dependency in &role.dependencies {
        let (more, more_handlers) = compile(draft, dependency, &scope, depth + 1)?;
        tasks.extend(more);
        handlers.extend(more_handlers);
    }
    if let Some((entry, specification)) = &role.files.validation {
        tasks.push(Item::Task(Arc::new(validation(
            role,
            entry,
            specification,
            &scope,
        ))));
    }
    let must = |part: &'static str, node: &Node| {
        let origin = Arc::clone(node.origin());
        let leaf = role.leaf().to_owned();
        move |cause: String| {
            Located::parser(format!(
                "The {part}/main.yml file for role {} must contain a list of tasks.",
                python::repr(&Value::from(leaf.as_str()))
            ))
            .at(&origin)
            .because(Located::new(cause))
        }
    };
    if let Some(node) = &role.files.tasks {
        let reads = Tasks {
            draft,
            handlers: false,
        };
        tasks.extend(reads.list(node, &scope, &must("tasks", node))?);
    }
    if let Some(node) = &role.files.handlers {
        let reads = Tasks {
            draft,
            handlers: true,
        };
        handlers.extend(reads.list(node, &scope, &must("handlers", node))?);
    }
    let mut own = Directives::default();
    own.set(Directive::RunOnce, Value::Bool(false));
    own.set(Directive::Tags, Value::list(vec![Value::from("always")]));
    tasks.push(Item::Task(Arc::new(meta(
        "role_complete",
        own,
        &scope,
        &role.origin,
    ))));
    Ok((tasks, handlers))
}

/// A `meta` task nobody wrote.
pub(crate) fn meta(
    what: &str,
    directives: Directives,
    scope: &Arc<Scope>,
    origin: &Arc<Origin>,
) -> Task {
    let arguments = [("_raw_params", Value::from(what))].into_iter().collect();
    unwritten("meta", arguments, directives, scope, origin, true)
}

/// A task of `ansible.builtin` nobody wrote; one that is implicit is not told of.
fn unwritten(
    action: &str,
    arguments: Dict,
    directives: Directives,
    scope: &Arc<Scope>,
    origin: &Arc<Origin>,
    implicit: bool,
) -> Task {
    Task {
        id: next_task_id(),
        origin: Arc::clone(origin),
        parent: Arc::clone(scope),
        directives,
        action: Action {
            written: action.into(),
            name: format!("ansible.builtin.{}", builtin_leaf(action)).into(),
            kind: ActionKind::Builtin,
            arguments,
            variable_arguments: None,
            origin: Arc::clone(origin),
            collections: Arc::from([]),
        },
        looped: None,
        handler: false,
        implicit,
    }
}

/// The task that checks a role's arguments.
fn validation(role: &Role, entry: &str, specification: &Dict, scope: &Arc<Scope>) -> Task {
    let mut name = format!("Validating arguments against arg spec '{entry}'");
    if let Some(description) = specification.get("short_description") {
        name.push_str(" - ");
        name.push_str(&consort_jinja::repr::text(&description));
    }
    let options = match specification.get("options") {
        Some(options @ Value::Dict(_)) => options,
        _ => Value::Dict(Dict::default()),
    };
    let context: Dict = [
        ("type", Value::from("role")),
        ("name", Value::from(role.leaf())),
        ("argument_spec_name", Value::from(entry)),
        (
            "path",
            Value::from(role.path.to_string_lossy().into_owned()),
        ),
    ]
    .into_iter()
    .collect();
    let arguments: Dict = [
        ("argument_spec", options),
        ("provided_arguments", Value::Dict(role.parameters.clone())),
        ("validate_args_context", Value::Dict(context)),
    ]
    .into_iter()
    .collect();
    let mut directives = Directives::default();
    directives.set(Directive::Name, Value::from(name));
    directives.set(Directive::Tags, Value::list(vec![Value::from("always")]));
    unwritten(
        "ansible.builtin.validate_argument_spec",
        arguments,
        directives,
        scope,
        &role.origin,
        false,
    )
}
