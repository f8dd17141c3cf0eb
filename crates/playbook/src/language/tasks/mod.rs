//! Tasks and blocks, read.

mod action;
mod defaults;
mod imports;
mod keywords;

use std::sync::Arc;

use consort_jinja::{Dict, Key, Str, Value};

use super::actions::{ActionKind, builtin_leaf};
use super::directives::{Bearer, Directive, Directives};
use super::draft::Draft;
use super::{Action, Block, Item, Loop, Scope, ScopeKind, Task, next_task_id, python};
use crate::source::{Located, Node, Notice};

pub(crate) use keywords::{check_no_parts, complete_collections, texts};
use keywords::{check_texts, listen};

type Result<T, E = Located> = std::result::Result<T, E>;

/// How tasks are read.
#[derive(Clone, Copy)]
pub(crate) struct Tasks<'d> {
    pub(crate) draft: &'d Arc<Draft>,
    /// They are handlers.
    pub(crate) handlers: bool,
}

fn malformed(what: &str, place: &Node, cause: String) -> Located {
    Located::parser(format!(
        "A malformed block was encountered while loading {what}."
    ))
    .at(place.origin())
    .because(Located::new(cause))
}

/// Whether a name is one of some actions of `ansible.builtin`.
fn is_one_of(name: &str, leaves: &[&str]) -> bool {
    if name.contains('.') && builtin_leaf(name) == name {
        return false;
    }
    leaves.contains(&builtin_leaf(name))
}

const BUILTIN_TASKS: &[&str] = &[
    "meta",
    "include_tasks",
    "include_role",
    "import_tasks",
    "import_role",
];

impl Tasks<'_> {
    /// A list that may be mixed of tasks and blocks. `what` it is for, and where that stands, for messages.
    pub(crate) fn list(
        self,
        node: &Node,
        scope: &Arc<Scope>,
        what: &dyn Fn(String) -> Located,
    ) -> Result<Vec<Item>> {
        if node.is_none() {
            return Ok(Vec::new());
        }
        let Some(items) = node.sequence() else {
            return Err(what(format!(
                "{} should be a list or None but is {}",
                python::shown(node),
                python::class(node)
            )));
        };
        let is_block = |item: &Node| {
            ["block", "rescue", "always"]
                .iter()
                .any(|key| item.has(key))
        };
        let mut read = Vec::new();
        let mut rest = items;
        while let Some(item) = rest.first() {
            if item.is_none() {
                rest = &rest[1..];
            } else if is_block(item) {
                read.push(Item::Block(self.block(item, scope)?));
                rest = &rest[1..];
            } else {
                // Tasks one behind the other are a block nobody wrote.
                let count = rest
                    .iter()
                    .take_while(|item| !item.is_none() && !is_block(item))
                    .count();
                let (run, after) = rest.split_at(count);
                for item in run {
                    if item.mapping().is_none() {
                        let seen = self.seen(run, item, scope);
                        return Err(Located::parser(
                            "A malformed block was encountered while loading block.",
                        )
                        .showing(&seen)
                        .because(Located::new(format!(
                            "The ds ({seen}) should be a dict but was a <class 'list'>"
                        ))));
                    }
                    self.task(item, scope, &mut read)?;
                }
                rest = after;
            }
        }
        Ok(read)
    }

    /// One part of a block.
    fn part(self, name: &str, node: &Node, block: &Node, scope: &Arc<Scope>) -> Result<Vec<Item>> {
        let Some(items) = node.sequence() else {
            return Err(malformed(
                name,
                block,
                format!(
                    "The ds ({}) should be a list but was a {}",
                    python::shown(node),
                    python::class(node)
                ),
            ));
        };
        let mut read = Vec::new();
        for item in items {
            if item.has("block") {
                if self.handlers {
                    return Err(
                        Located::parser("Using a block as a handler is not supported.")
                            .about_node(item),
                    );
                }
                read.push(Item::Block(self.block(item, scope)?));
            } else if item.mapping().is_none() {
                return Err(malformed(
                    name,
                    block,
                    format!(
                        "The ds ({}) should be a dict but was a {}",
                        self.seen(items, item, scope),
                        python::class(node)
                    ),
                ));
            } else {
                self.task(item, scope, &mut read)?;
            }
        }
        Ok(read)
    }

    /// A list as Ansible shows it when it has come to an item: tasks before that have got the collections they look in.
    fn seen(self, list: &[Node], until: &Node, scope: &Scope) -> String {
        let mut before = true;
        let mut shown = Vec::new();
        for node in list {
            before &= !node.is(until);
            let value = node.value();
            if let Value::Dict(item) = &value
                && before
                && !node.has("block")
                && let Ok(names) = self.collections(node.get("collections"), scope)
                && !names.is_empty()
            {
                item.change(|entries| {
                    entries.insert(
                        Key::from("collections"),
                        Value::list(names.into_iter().map(Value::from).collect()),
                    )
                });
            }
            shown.push(value);
        }
        consort_jinja::repr::text(&Value::list(shown))
    }

    fn block(self, node: &Node, parent: &Arc<Scope>) -> Result<Arc<Block>> {
        let mut directives = Directives::default();
        self.directives(
            node,
            Bearer::Block,
            &["block", "rescue", "always"],
            None,
            &mut directives,
        )?;
        let scope = Arc::new(Scope {
            kind: ScopeKind::Block,
            directives,
            parent: Some(Arc::clone(parent)),
        });
        let part = |name: &str| match node.get(name) {
            Some(items) => self.part(name, items, node, &scope),
            None => Ok(Vec::new()),
        };
        let (tasks, rescue, always) = (part("block")?, part("rescue")?, part("always")?);
        check_no_parts(node, Bearer::Block)?;
        if tasks.is_empty() {
            for (name, items) in [("always", &always), ("rescue", &rescue)] {
                if !items.is_empty() {
                    return Err(Located::parser(format!(
                        "'{name}' keyword cannot be used without 'block'"
                    ))
                    .about_node(node));
                }
            }
        }
        Ok(Arc::new(Block {
            scope,
            tasks,
            rescue,
            always,
        }))
    }

    /// The collections names are looked for in.
    fn collections(self, node: Option<&Node>, scope: &Scope) -> Result<Vec<String>> {
        let written = match node {
            Some(node) if !node.is_none() => {
                check_texts(Directive::Collections, node)?;
                Some(Directive::Collections.convert(&node.value(), Some(node.origin()))?)
            }
            _ => scope.inherited(Directive::Collections),
        };
        let mut names = texts(written.as_ref());
        if let Some(default) = &self.draft.collection
            && scope.role().is_none()
            && !names.contains(default)
        {
            names.insert(0, default.clone());
        }
        complete_collections(&mut names);
        Ok(names)
    }

    fn task(self, node: &Node, scope: &Arc<Scope>, read: &mut Vec<Item>) -> Result<()> {
        // First without looking at whether the action exists, as what it is called decides how it is read.
        let parsed = self.parse(node, None)?;
        let name = parsed.action.to_string();
        if is_one_of(&name, &["include_tasks", "import_tasks"]) {
            let task = self.include(node, scope, "TaskInclude")?;
            if is_one_of(&name, &["import_tasks"]) {
                return self.import_tasks(node, &Arc::new(task), scope, read);
            }
            read.push(Item::Task(Arc::new(task)));
            return Ok(());
        }
        if is_one_of(&name, &["include_role", "import_role"]) {
            if self.handlers {
                return Err(Located::parser(format!(
                    "Using '{name}' as a handler is not supported."
                ))
                .about_node(node));
            }
            let task = self.include(node, scope, "IncludeRole")?;
            if is_one_of(&name, &["import_role"]) {
                return self.import_role(node, &Arc::new(task), scope, read);
            }
            read.push(Item::Task(Arc::new(task)));
            return Ok(());
        }
        let task = self.plain(node, scope, None)?;
        if task.action.meta().as_ref().and_then(Value::as_str) == Some("end_role") {
            if self.handlers {
                let name = task
                    .name()
                    .map_or_else(|| name.clone(), consort_jinja::repr::text);
                let name = scope
                    .role()
                    .map_or_else(|| name.clone(), |role| format!("{} : {name}", role.name));
                return Err(Located::parser("Cannot execute 'end_role' from a handler")
                    .showing(&format!("HANDLER: {name}")));
            }
            if scope.role().is_none() {
                return Err(
                    Located::parser("Cannot execute 'end_role' from outside of a role")
                        .showing("TASK: meta (end_role)"),
                );
            }
        }
        read.push(Item::Task(Arc::new(task)));
        Ok(())
    }

    /// A task with all its keys. `include` is the name of Ansible's class, if it is one that includes or imports.
    fn plain(self, node: &Node, scope: &Arc<Scope>, include: Option<&str>) -> Result<Task> {
        let collections = self.collections(node.get("collections"), scope)?;
        let parsed = self.parse(node, Some(&collections))?;
        let mut directives = Directives::default();
        let mut looped: Option<Loop> = None;
        let bearer = if self.handlers {
            Bearer::Handler
        } else {
            Bearer::Task
        };
        let mut plain: Vec<(Node, Node)> = Vec::new();
        if let Some(vars) = node.get("vars") {
            directives.set(
                Directive::Vars,
                keywords::vars(vars, include.unwrap_or(bearer.class()))?,
            );
        }
        let mut loop_key = None;
        for (key, value) in node.mapping().unwrap_or_default() {
            let Some(name) = key.as_str() else {
                plain.push((key.clone(), value.clone()));
                continue;
            };
            if matches!(
                name,
                "action" | "local_action" | "args" | "delegate_to" | "shell"
            ) || name == &*parsed.action
            {
                continue;
            }
            if let Some(lookup) = name.strip_prefix("with_")
                && self.draft.loader.actions.has_lookup(lookup, &collections)
            {
                if looped.is_some() {
                    return Err(
                        Located::new(format!("duplicate loop in task: {lookup}")).about_node(node)
                    );
                }
                if value.is_none() {
                    return Err(Located::new(format!(
                        "you must specify a value when using {name}"
                    ))
                    .about_node(node));
                }
                crate::blocking::heed_lookup(lookup);
                looped = Some(Loop {
                    lookup: Some(lookup.into()),
                    over: value.value(),
                });
                continue;
            }
            if name == "loop" {
                if !value.is_none() {
                    let lookup = looped.take().and_then(|looped| looped.lookup);
                    looped = Some(Loop {
                        lookup,
                        over: value.value(),
                    });
                }
                loop_key = Some(key.clone());
                continue;
            }
            plain.push((key.clone(), value.clone()));
        }
        if let Some(class) = include {
            self.check_include_keys(node, &parsed, class, &plain, loop_key.as_ref())?;
        }
        let class = match include {
            Some("TaskInclude") if self.handlers => "HandlerTaskInclude",
            Some(class) => class,
            None => bearer.class(),
        };
        self.task_directives(&plain, bearer, class, &mut directives)?;
        if let Some(delegate) = &parsed.delegate {
            directives.set(Directive::DelegateTo, delegate.clone());
        }
        check_no_parts(node, bearer)?;
        if self.handlers {
            listen(&mut directives, node, scope)?;
        }
        let written: Arc<str> = Arc::clone(parsed.action.shared());
        let (name, kind, departures) = if self.is_template(&parsed.action) {
            (Arc::clone(&written), ActionKind::Template, Vec::new())
        } else {
            match self.draft.loader.actions.resolve(&written, &collections)? {
                Some(resolved) => (resolved.name, resolved.kind, resolved.departures),
                None if is_one_of(&written, BUILTIN_TASKS) => (
                    format!("ansible.builtin.{}", builtin_leaf(&written)).into(),
                    ActionKind::Builtin,
                    Vec::new(),
                ),
                // Said when it is run, as with Ansible: only `action:` gets here.
                None => (Arc::clone(&written), ActionKind::Template, Vec::new()),
            }
        };
        for departure in departures {
            let what = Located::new(departure.told());
            self.draft.loader.notice(Notice::Deprecated {
                what: if *departure.name == *written {
                    what.at(parsed.origin_key.origin())
                } else {
                    what.showing(&departure.name)
                },
                removal: departure.removal,
            });
        }
        let origin = Arc::clone(node.origin());
        Ok(Task {
            id: next_task_id(),
            parent: Arc::clone(scope),
            directives,
            action: Action {
                written,
                name,
                kind,
                arguments: parsed.arguments,
                variable_arguments: parsed.variable,
                origin: Arc::clone(parsed.origin_key.origin()),
                collections: collections.into(),
            },
            looped,
            handler: self.handlers,
            implicit: false,
            origin,
        })
    }

    fn is_template(self, text: &Str) -> bool {
        text.is_template()
            && self
                .draft
                .loader
                .templar
                .environment()
                .may_be_template(text)
    }
}

impl Task {
    /// Its own variables.
    pub(crate) fn vars(&self) -> Option<Dict> {
        match self.directives.get(Directive::Vars) {
            Some(Value::Dict(dict)) => Some(dict.clone()),
            _ => None,
        }
    }
}
