//! `moved` blocks: objects that get another address.

use std::collections::HashMap;
use std::sync::Arc;

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::{Range, Sources};
use consort_plan::{Edge, Graph};

use super::index::{Index, ModuleIx};
use crate::address::{
    Key, ModuleInstance, ModulePath, ModuleStep, ProviderConfig, Resource, ResourceInstance, Target,
};
use crate::config::Moved;
use crate::state::{ResourceState, State};

/// What became of the state.
pub(super) struct Done {
    /// Where moved instances were, by where they are now.
    pub(super) moved: HashMap<ResourceInstance, ResourceInstance>,
    /// Warnings.
    pub(super) diagnostics: Diagnostics,
}

struct Statement<'m> {
    module: ModulePath,
    moved: &'m Moved,
}

/// Carries the moves of a configuration out on a state.
pub(super) fn apply(
    index: &Index<'_>,
    texts: &Sources,
    state: &mut State,
) -> Result<Done, Diagnostics> {
    let mut statements: Vec<Statement<'_>> = Vec::new();
    for entry in &index.modules {
        statements.extend(entry.module.moved.iter().map(|moved| Statement {
            module: entry.path.clone(),
            moved,
        }));
    }
    let mut done = Done {
        moved: HashMap::new(),
        diagnostics: Diagnostics::new(),
    };
    validate(index, texts, &statements)?;
    let mut blocked = Vec::new();
    for at in order(&statements, texts)? {
        let statement = &statements[at];
        let matching: Vec<(ResourceInstance, ResourceInstance)> = state
            .resources
            .iter()
            .flat_map(|(address, resource)| {
                resource
                    .instances
                    .keys()
                    .map(|key| address.instance(key.clone()))
            })
            .filter_map(|old| relocate(statement, &old).map(|new| (old, new)))
            .collect();
        for (old, new) in matching {
            if state.instance(&new).is_some() {
                blocked.push((old, new));
                continue;
            }
            rename(state, &mut done.moved, &old, &new);
        }
    }
    implied(index, state, &mut done.moved);
    if !blocked.is_empty() {
        let list: String = blocked
            .iter()
            .map(|(old, new)| format!("\n  - {old} could not move to {new}"))
            .collect();
        done.diagnostics.push(Diagnostic::warning(
            "Unresolved resource instance address changes",
            format!(
                "Terraform tried to adjust resource instance addresses in the prior state based on change information recorded in the configuration, but some adjustments did not succeed due to existing objects already at the intended addresses:{list}\n\nTerraform has planned to destroy these objects. If Terraform's proposed changes aren't appropriate, you must first resolve the conflicts using the \"terraform state\" subcommands and then create a new plan."
            ),
        ));
    }
    Ok(done)
}

fn rename(
    state: &mut State,
    moved: &mut HashMap<ResourceInstance, ResourceInstance>,
    old: &ResourceInstance,
    new: &ResourceInstance,
) {
    let old_resource = old.abs_resource();
    let Some(resource) = state.resources.get_mut(&old_resource) else {
        return;
    };
    let Some(instance) = resource.instances.remove(&old.key) else {
        return;
    };
    let provider: ProviderConfig = resource.provider.clone();
    if resource.instances.is_empty() {
        state.resources.remove(&old_resource);
    }
    state
        .resources
        .entry(new.abs_resource())
        .or_insert_with(|| ResourceState::new(provider))
        .instances
        .insert(new.key.clone(), instance);
    let first = moved.remove(old).unwrap_or_else(|| old.clone());
    if first != *new {
        moved.insert(new.clone(), first);
    }
}

/// Where a move takes an instance; none if it is about something else.
fn relocate(statement: &Statement<'_>, address: &ResourceInstance) -> Option<ResourceInstance> {
    let depth = statement.module.names().len();
    let steps = address.module.steps();
    if steps.len() < depth
        || !steps
            .iter()
            .zip(statement.module.names())
            .all(|(step, name)| step.name == *name)
    {
        return None;
    }
    let (outer, inner) = steps.split_at(depth);
    let build =
        |rest: Vec<ModuleStep>| -> ModuleInstance { outer.iter().cloned().chain(rest).collect() };
    match (&statement.moved.from, &statement.moved.to) {
        (Target::Module(from), Target::Module(to)) => {
            let (from, to) = (from.steps(), to.steps());
            let (from_last, to_last) = (from.last()?, to.last()?);
            let whole_call = from_last.key.is_none() && to_last.key.is_none();
            let (head, tail) = inner.split_at_checked(from.len())?;
            let last = head.last()?;
            let same = head[..head.len() - 1] == from[..from.len() - 1]
                && last.name == from_last.name
                && (whole_call || last.key == from_last.key);
            if !same {
                return None;
            }
            let mut rest = to.to_vec();
            if whole_call && let Some(step) = rest.last_mut() {
                step.key = last.key.clone();
            }
            rest.extend(tail.iter().cloned());
            Some(ResourceInstance {
                module: build(rest),
                ..address.clone()
            })
        }
        (Target::Module(_), _) | (_, Target::Module(_)) => None,
        (from, to) => {
            let (from_resource, from_key) = parts(from)?;
            let (to_resource, to_key) = parts(to)?;
            if inner != from.module().steps() || *from_resource != address.resource {
                return None;
            }
            let key = if from_key.is_none() && to_key.is_none() {
                address.key.clone()
            } else if *from_key == address.key {
                to_key.clone()
            } else {
                return None;
            };
            Some(ResourceInstance {
                module: build(to.module().steps().to_vec()),
                resource: to_resource.clone(),
                key,
            })
        }
    }
}

fn parts(target: &Target) -> Option<(&Resource, &Key)> {
    match target {
        Target::Module(_) => None,
        Target::Resource(resource) => Some((&resource.resource, &Key::None)),
        Target::Instance(instance) => Some((&instance.resource, &instance.key)),
    }
}

/// The order in which chained moves are made: a move into a place before the move out of it.
fn order(statements: &[Statement<'_>], texts: &Sources) -> Result<Vec<usize>, Diagnostics> {
    let mut graph = Graph::new();
    let ids: Vec<_> = (0..statements.len()).map(|at| graph.add(at)).collect();
    // Only moves whose places share a name can touch.
    let mut into: HashMap<String, Vec<usize>> = HashMap::new();
    let key = |statement: &Statement<'_>, target: &Target| {
        let mut path: Vec<Arc<str>> = statement.module.names().to_vec();
        path.extend(target.module().steps().iter().map(|step| step.name.clone()));
        let resource = parts(target).map(|(resource, _)| resource.to_string());
        (path, resource)
    };
    let touches = |one: &(Vec<Arc<str>>, Option<String>),
                   other: &(Vec<Arc<str>>, Option<String>)| match (
        &one.1, &other.1,
    ) {
        (Some(a), Some(b)) => one.0 == other.0 && a == b,
        (_, None) => one.0.starts_with(&other.0),
        // What moves within a module does not matter to a move of the whole module.
        (None, Some(_)) => false,
    };
    for (at, statement) in statements.iter().enumerate() {
        let place = key(statement, &statement.moved.to);
        into.entry(
            place
                .0
                .first()
                .map(ToString::to_string)
                .or(place.1.clone())
                .unwrap_or_default(),
        )
        .or_default()
        .push(at);
    }
    for (at, statement) in statements.iter().enumerate() {
        let from = key(statement, &statement.moved.from);
        let first = from
            .0
            .first()
            .map(ToString::to_string)
            .or(from.1.clone())
            .unwrap_or_default();
        for other in into.get(&first).into_iter().flatten() {
            let to = key(&statements[*other], &statements[*other].moved.to);
            let keys_meet = may_meet(statement, &statements[*other]);
            if *other != at
                && touches(&from, &to)
                && keys_meet
                && !same_instances(statement, &statements[*other])
            {
                graph.connect(ids[at], ids[*other], Edge::Order);
            }
        }
    }
    match graph.check() {
        Ok(order) => Ok(order.into_iter().map(|id| graph[id]).collect()),
        Err(cycles) => {
            let mut diagnostics = Diagnostics::new();
            for cycle in &cycles.0 {
                let mut list: Vec<String> = cycle
                    .iter()
                    .map(|id| {
                        let statement = &statements[graph[*id]];
                        let place = texts.describe(statement.moved.range);
                        format!(
                            "\n  - {}: {} → {}",
                            place.rsplit_once('-').map_or(&*place, |(start, _)| start),
                            endpoint(statement, &statement.moved.from),
                            endpoint(statement, &statement.moved.to)
                        )
                    })
                    .collect();
                list.sort();
                let list = list.concat();
                diagnostics.push(
                    Diagnostic::error(
                        "Cyclic dependency in move statements",
                        format!(
                            "The following chained move statements form a cycle, and so there is no final location to move objects to:{list}\n\nA chain of move statements must end with an address that doesn't appear in any other statements, and which typically also refers to an object still declared in the configuration."
                        ),
                    ),
                );
            }
            Err(diagnostics)
        }
    }
}

/// Whether what one statement moves away may be where the other moves something to, by the keys of modules and
/// instances.
fn may_meet(one: &Statement<'_>, other: &Statement<'_>) -> bool {
    let (from, to) = (&one.moved.from, &other.moved.to);
    let steps = |statement: &Statement<'_>, target: &Target| -> Vec<Key> {
        let within = statement.module.names().iter().map(|_| Key::None);
        within
            .chain(target.module().steps().iter().map(|step| step.key.clone()))
            .collect()
    };
    let apart = |a: &Key, b: &Key| !a.is_none() && !b.is_none() && a != b;
    if steps(one, from)
        .iter()
        .zip(&steps(other, to))
        .any(|(a, b)| apart(a, b))
    {
        return false;
    }
    match (parts(from), parts(to)) {
        (Some((_, a)), Some((_, b))) => !apart(a, b),
        _ => true,
    }
}

/// An end of a move as messages write it: what has no key stands for all of its kind.
fn endpoint(statement: &Statement<'_>, target: &Target) -> String {
    let mut text = String::new();
    for name in statement.module.names() {
        text.push_str(&format!("module.{name}[*]."));
    }
    text.push_str(&target.to_string());
    if matches!(target, Target::Resource(_))
        || matches!(target, Target::Module(module) if module.steps().last().is_some_and(|step| step.key.is_none()))
        || matches!(target, Target::Instance(instance) if instance.key.is_none())
    {
        text.push_str("[*]");
    }
    text
}

/// Moves between instances of one block, as from no key to a key, meet themselves.
fn same_instances(one: &Statement<'_>, other: &Statement<'_>) -> bool {
    std::ptr::eq(one.moved, other.moved)
}

fn validate(
    index: &Index<'_>,
    texts: &Sources,
    statements: &[Statement<'_>],
) -> Result<(), Diagnostics> {
    let mut diagnostics = Diagnostics::new();
    let mut sources: HashMap<(ModulePath, Target), &Moved> = HashMap::new();
    let mut destinations: HashMap<(ModulePath, Target), &Moved> = HashMap::new();
    for statement in statements {
        let moved = statement.moved;
        if moved.from == moved.to {
            diagnostics.push(
                Diagnostic::error(
                    "Redundant move statement",
                    format!("This statement declares a move from {} to the same address, which is the same as not declaring this move at all.", moved.from),
                )
                .at(moved.range),
            );
            continue;
        }
        if let (Some((from, _)), Some((to, _))) = (parts(&moved.from), parts(&moved.to))
            && from.mode != to.mode
        {
            diagnostics.push(
                Diagnostic::error(
                    "Resource type mismatch",
                    format!(
                        "This statement declares a move from {} to {}, which is a resource of a different mode.",
                        moved.from, moved.to
                    ),
                )
                .at(moved.range),
            );
            continue;
        }
        if let Some(other) = sources.insert((statement.module.clone(), moved.from.clone()), moved)
            && other.to != moved.to
        {
            diagnostics.push(
                Diagnostic::error(
                    "Ambiguous move statements",
                    format!(
                        "A statement at {} declared that {} moved to {}, but this statement instead declares that it moved to {}.\n\nEach {} can move to only one destination {}.",
                        place(texts, other.range), moved.from, other.to, moved.to, noun(&moved.from), noun(&moved.from)
                    ),
                )
                .at(moved.range),
            );
        }
        if let Some(other) =
            destinations.insert((statement.module.clone(), moved.to.clone()), moved)
            && other.from != moved.from
        {
            diagnostics.push(
                Diagnostic::error(
                    "Ambiguous move statements",
                    format!(
                        "A statement at {} declared that {} moved to {}, but this statement instead declares that {} moved there.\n\nEach {} can have moved from only one source {}.",
                        place(texts, other.range), other.from, other.to, moved.from, noun(&moved.from), noun(&moved.from)
                    ),
                )
                .at(moved.range),
            );
        }
        let path: ModulePath = statement
            .module
            .names()
            .iter()
            .cloned()
            .chain(
                moved
                    .from
                    .module()
                    .steps()
                    .iter()
                    .map(|step| step.name.clone()),
            )
            .collect();
        let still_there = match &moved.from {
            Target::Resource(resource) => index
                .find(&path)
                .and_then(|ix| index.module(ix).resources.get(&resource.resource))
                .filter(|block| {
                    // From `x` to `x[0]` or the like the block stays.
                    !matches!(parts(&moved.to), Some((to, key)) if *to == block.address && !key.is_none())
                })
                .map(|block| block.range),
            Target::Module(module) => module
                .steps()
                .last()
                .filter(|step| step.key.is_none())
                .and_then(|step| {
                    let (parent, _) = path.split()?;
                    let ix: ModuleIx = index.find(&parent)?;
                    index.module(ix).module_calls.get(&step.name)
                })
                .filter(|_| !matches!(&moved.to, Target::Module(to) if to.path() == moved.from.module().path()))
                .map(|call| call.range),
            Target::Instance(_) => None,
        };
        if let Some(range) = still_there {
            diagnostics.push(
                Diagnostic::error(
                    "Moved object still exists",
                    format!(
                        "This statement declares a move from {}, but that {} is still declared at {}.\n\nChange your configuration so that this {} will be declared as {} instead.",
                        moved.from, noun(&moved.from), place(texts, range), noun(&moved.from), moved.to
                    ),
                )
                .at(moved.range)
                .within(range),
            );
        }
    }
    if diagnostics.has_errors() {
        Err(diagnostics)
    } else {
        Ok(())
    }
}

/// `file:line,column`, where a range begins.
fn place(texts: &Sources, range: Range) -> String {
    let text = texts.describe(range);
    match text.rsplit_once('-') {
        Some((start, _)) => start.to_owned(),
        None => text,
    }
}

fn noun(target: &Target) -> &'static str {
    match target {
        Target::Module(_) => "module",
        Target::Resource(_) => "resource",
        Target::Instance(_) => "resource instance",
    }
}

/// An instance without key becomes the first of a `count`, and the other way round, if nobody says otherwise.
fn implied(
    index: &Index<'_>,
    state: &mut State,
    moved: &mut HashMap<ResourceInstance, ResourceInstance>,
) {
    let mut renames = Vec::new();
    for (address, resource) in &state.resources {
        let Some(block) = index.resource(&address.config()) else {
            continue;
        };
        if address.resource.mode != crate::address::Mode::Managed {
            continue;
        }
        let (from, to) = match (&block.count, &block.for_each) {
            (Some(_), _) => (Key::None, Key::Int(0)),
            (None, None) => (Key::Int(0), Key::None),
            (None, Some(_)) => continue,
        };
        if resource.instances.contains_key(&from) && !resource.instances.contains_key(&to) {
            renames.push((address.instance(from), address.instance(to)));
        }
    }
    for (old, new) in renames {
        rename(state, moved, &old, &new);
    }
    // The same for calls of modules.
    let mut renames = Vec::new();
    for (address, resource) in &state.resources {
        for (depth, step) in address.module.steps().iter().enumerate() {
            let parent: ModulePath = address.module.steps()[..depth]
                .iter()
                .map(|step| step.name.clone())
                .collect();
            let Some(call) = index
                .find(&parent)
                .and_then(|ix| index.module(ix).module_calls.get(&step.name))
            else {
                continue;
            };
            let (from, to) = match (&call.count, &call.for_each) {
                (Some(_), _) => (Key::None, Key::Int(0)),
                (None, None) => (Key::Int(0), Key::None),
                (None, Some(_)) => continue,
            };
            if step.key != from {
                continue;
            }
            let mut steps = address.module.steps().to_vec();
            steps[depth].key = to;
            let module: ModuleInstance = steps.into_iter().collect();
            for key in resource.instances.keys() {
                let old = address.instance(key.clone());
                let new = ResourceInstance {
                    module: module.clone(),
                    ..old.clone()
                };
                renames.push((old, new));
            }
            break;
        }
    }
    for (old, new) in renames {
        if state.instance(&new).is_none() {
            rename(state, moved, &old, &new);
        }
    }
}
