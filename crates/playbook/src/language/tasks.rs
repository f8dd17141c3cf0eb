//! Tasks and blocks, read.

use std::path::Path;
use std::sync::Arc;

use consort_jinja::{Dict, Key, Str, Value};
use indexmap::IndexMap;

use super::actions::{ActionKind, builtin_leaf};
use super::arguments::{split_pairs, split_words, written_like};
use super::directives::{Bearer, Directive, Directives, Kind};
use super::draft::Draft;
use super::roles::RoleUse;
use super::variables::{Known, located};
use super::{
    Action, Block, Brought, Item, Loop, Scope, ScopeKind, Task, files, next_task_id, python,
};
use crate::source::{Content, Located, Node, Notice};

type Result<T, E = Located> = std::result::Result<T, E>;

/// How tasks are read.
#[derive(Clone, Copy)]
pub(crate) struct Tasks<'d> {
    pub(crate) draft: &'d Arc<Draft>,
    /// They are handlers.
    pub(crate) handlers: bool,
}

/// How deep files that import each other may go.
const IMPORTS: usize = 64;

/// What a task does, read from its keys.
struct Parsed {
    action: Str,
    origin_key: Node,
    arguments: Dict,
    variable: Option<Value>,
    delegate: Option<Value>,
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

/// Whether what an action is given as text is a command and not arguments.
fn takes_free_text(name: &str) -> bool {
    is_one_of(
        name,
        &[
            "command",
            "raw",
            "script",
            "shell",
            "win_command",
            "win_shell",
        ],
    ) || matches!(
        name,
        "ansible.windows.win_command" | "ansible.windows.win_shell"
    )
}

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
        self.check_no_parts(node, Bearer::Block)?;
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
                self.vars(vars, include.unwrap_or(bearer.class()))?,
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
        self.check_no_parts(node, bearer)?;
        if self.handlers {
            self.listen(&mut directives, node, scope)?;
        }
        let written: Arc<str> = Arc::clone(parsed.action.shared());
        let (name, kind, deprecated) = if self.is_template(&parsed.action) {
            (Arc::clone(&written), ActionKind::Template, None)
        } else {
            match self.draft.loader.actions.resolve(&written, &collections)? {
                Some(resolved) => (resolved.name, resolved.kind, resolved.deprecated),
                None if is_one_of(&written, BUILTIN_TASKS) => (
                    format!("ansible.builtin.{}", builtin_leaf(&written)).into(),
                    ActionKind::Builtin,
                    None,
                ),
                // Said when it is run, as with Ansible: only `action:` gets here.
                None => (Arc::clone(&written), ActionKind::Template, None),
            }
        };
        if let Some((version, text)) = deprecated {
            let leaf = builtin_leaf(&name);
            self.draft.loader.notice(Notice::Deprecated {
                what: Located::new(format!("{leaf} has been deprecated."))
                    .at(parsed.origin_key.origin())
                    .hint(text),
                version,
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

    /// The directives among the keys of a task.
    fn task_directives(
        self,
        keys: &[(Node, Node)],
        bearer: Bearer,
        class: &str,
        directives: &mut Directives,
    ) -> Result<()> {
        let lenient = !self.draft.loader.settings.invalid_task_attribute_failed;
        for (key, value) in keys {
            let name = key.as_str().unwrap_or_default();
            let known = Directive::of(name).filter(|d| d.stands_at(bearer));
            let Some(directive) = known else {
                // What an include may say beside what tasks may.
                if matches!(name, "loop_with" | "loop" | "args" | "action" | "async_val") {
                    continue;
                }
                if lenient {
                    self.draft
                        .loader
                        .notice(Notice::Warning(Located::new(format!(
                            "Ignoring invalid attribute: {}",
                            python::shown(key)
                        ))));
                    continue;
                }
                return Err(Located::parser(format!(
                    "'{}' is not a valid attribute for a {class}\nThis error can be suppressed as a warning using the \"invalid_task_attribute_failed\" configuration",
                    python::shown(key)
                ))
                .about_node(key));
            };
            if directive != Directive::Vars {
                self.directive(directive, value, directives)?;
            }
        }
        Ok(())
    }

    /// Reads the directives of something that is no task. `own` are its other keys.
    pub(crate) fn directives(
        self,
        node: &Node,
        bearer: Bearer,
        own: &[&str],
        class: Option<&str>,
        directives: &mut Directives,
    ) -> Result<()> {
        let class = class.unwrap_or(bearer.class());
        let entries = node.mapping().unwrap_or_default();
        let mut known = Vec::new();
        for (key, value) in entries {
            let name = key.as_str().unwrap_or_default();
            match Directive::of(name).filter(|d| d.stands_at(bearer)) {
                Some(directive) => known.push((directive, value)),
                None if own.contains(&name) => {}
                None => {
                    return Err(Located::parser(format!(
                        "'{}' is not a valid attribute for a {class}",
                        python::shown(key)
                    ))
                    .about_node(key));
                }
            }
        }
        for (directive, value) in known {
            if directive == Directive::Vars {
                directives.set(directive, self.vars(value, class)?);
            } else {
                self.directive(directive, value, directives)?;
            }
        }
        Ok(())
    }

    fn not_text(self, name: &str, value: &Node) -> Located {
        Located::parser(format!(
            "The field '{name}' is supposed to be a string type, however the incoming data structure is a {}",
            python::class(value)
        ))
        .about_node(value)
    }

    fn directive(
        self,
        directive: Directive,
        value: &Node,
        directives: &mut Directives,
    ) -> Result<()> {
        let place = value.origin();
        let read = match directive {
            Directive::Tags => self.tags(value)?,
            Directive::ModuleDefaults => match self.module_defaults(value)? {
                Some(value) => value,
                None => return Ok(()),
            },
            Directive::Collections => {
                check_texts(directive, value)?;
                let mut names = texts(Some(&directive.convert(&value.value(), Some(place))?));
                if let Some(default) = &self.draft.collection
                    && !names.contains(default)
                {
                    names.insert(0, default.clone());
                }
                complete_collections(&mut names);
                if names.is_empty() {
                    return Ok(());
                }
                Value::list(names.into_iter().map(Value::from).collect())
            }
            Directive::LoopControl => {
                self.loop_control(value)?;
                value.value()
            }
            Directive::Register => self.register(value)?,
            Directive::When => match value.content() {
                Content::Sequence(_) => value.value(),
                _ => Value::list(vec![value.value()]),
            },
            _ => value.value(),
        };
        directives.set_at(directive, read, Some(value.origin()));
        Ok(())
    }

    /// What must be a text is none that has parts.
    pub(crate) fn check_no_parts(self, node: &Node, bearer: Bearer) -> Result<()> {
        for (key, value) in node.mapping().unwrap_or_default() {
            let text = key
                .as_str()
                .and_then(Directive::of)
                .filter(|d| d.stands_at(bearer) && d.kind() == Kind::Text);
            if let Some(directive) = text
                && matches!(value.content(), Content::Sequence(_) | Content::Mapping(_))
            {
                return Err(self.not_text(directive.name(), value));
            }
        }
        Ok(())
    }

    /// The variables of a play, block or task.
    pub(crate) fn vars(self, node: &Node, class: &str) -> Result<Value> {
        match node.content() {
            Content::Scalar(Value::None) => Ok(Value::Dict(Dict::default())),
            Content::Mapping(entries) => {
                for (key, _) in entries {
                    check_variable_name(key)?;
                }
                Ok(Value::Dict(node.dict()))
            }
            _ => Err(Located::parser(format!(
                "Vars in a {class} must be specified as a dictionary."
            ))
            .about_node(node)),
        }
    }

    fn tags(self, node: &Node) -> Result<Value> {
        let tags: Vec<Value> = match node.content() {
            Content::Sequence(items) => items.iter().map(Node::value).collect(),
            Content::Scalar(Value::Str(text)) => text
                .split(',')
                .map(|tag| Value::Str(written_like(text, tag.trim().to_owned())))
                .collect(),
            _ => {
                return Err(Located::new("tags must be specified as a list").about_node(node));
            }
        };
        let reserved: Vec<Value> = ["tagged", "all", "untagged"]
            .iter()
            .filter(|name| tags.iter().any(|tag| tag.as_str() == Some(name)))
            .map(|name| Value::from(*name))
            .collect();
        if !reserved.is_empty() {
            self.draft.loader.notice(Notice::Warning(
                Located::new(format!(
                    "Found reserved tagnames in tags: {}, we do not recommend doing this as it might give unexpected results",
                    python::repr(&Value::list(reserved))
                ))
                .about_node(node),
            ));
        }
        Ok(Value::list(tags))
    }

    fn register(self, node: &Node) -> Result<Value> {
        let invalid = |error: Located| {
            Located::parser("Invalid 'register' specified.")
                .about_node(node)
                .because(error)
        };
        match node.content() {
            Content::Scalar(Value::None) => {}
            Content::Mapping(entries) => {
                for (key, _) in entries {
                    check_variable_name(key).map_err(invalid)?;
                }
            }
            _ => check_variable_name(node).map_err(invalid)?,
        }
        Ok(node.value())
    }

    fn loop_control(self, node: &Node) -> Result<()> {
        const KEYS: &[&str] = &[
            "loop_var",
            "index_var",
            "label",
            "pause",
            "extended",
            "extended_allitems",
            "break_when",
        ];
        let Some(entries) = node.mapping() else {
            return Err(Located::parser(
                "the `loop_control` value must be specified as a dictionary and cannot be a variable itself (though it can contain variables)",
            )
            .about_node(node));
        };
        for (key, value) in entries {
            let name = key.as_str().unwrap_or_default();
            if !KEYS.contains(&name) {
                return Err(Located::parser(format!(
                    "'{}' is not a valid attribute for a LoopControl",
                    python::shown(key)
                ))
                .about_node(key));
            }
            if matches!(name, "loop_var" | "index_var" | "label")
                && matches!(value.content(), Content::Sequence(_) | Content::Mapping(_))
            {
                return Err(self.not_text(name, value));
            }
        }
        Ok(())
    }

    /// What handlers listen to, as they are known by it in their role too.
    fn listen(self, directives: &mut Directives, node: &Node, scope: &Scope) -> Result<()> {
        let Some(written) = directives.get(Directive::Listen).cloned() else {
            return Ok(());
        };
        let place = node.get("listen").unwrap_or(node);
        check_texts(Directive::Listen, place)?;
        let place = place.origin();
        let listened = Directive::Listen.convert(&written, Some(place))?;
        let mut topics = match listened {
            Value::List(items) => items.read().clone(),
            _ => Vec::new(),
        };
        if let Some(role) = scope.role() {
            for topic in topics.clone() {
                let Value::Str(text) = &topic else { continue };
                for name in [&*role.name, role.leaf()] {
                    topics.push(Value::Str(written_like(
                        text,
                        format!("{name} : {}", &**text),
                    )));
                }
            }
        }
        directives.set(Directive::Listen, Value::list(topics));
        Ok(())
    }

    /// `module_defaults`: a list of mappings from full names of actions and groups.
    fn module_defaults(self, node: &Node) -> Result<Option<Value>> {
        let levels: Vec<&Node> = match node.content() {
            Content::Scalar(Value::None) => return Ok(None),
            Content::Sequence(items) => items.iter().collect(),
            _ => vec![node],
        };
        let mut validated = Vec::new();
        for level in levels {
            let Some(entries) = level.mapping() else {
                return Err(Located::parser(
                    "The field 'module_defaults' is supposed to be a dictionary or list of dictionaries, the keys of which must be static action, module, or group names. Only the values may contain templates. For example: {'ping': \"{{ ping_defaults }}\"}",
                )
                .about_node(level));
            };
            let mut defaults: IndexMap<Key, Value> = IndexMap::new();
            for (key, value) in entries {
                let name = key.as_str().unwrap_or_default();
                if let Some(group) = name.strip_prefix("group/") {
                    let group = self.group(group)?;
                    defaults.insert(Key::from(format!("group/{group}").as_str()), value.value());
                    continue;
                }
                let name = if name.split('.').count() < 3 {
                    format!("ansible.legacy.{name}")
                } else {
                    name.to_owned()
                };
                let actions = &self.draft.loader.actions;
                match actions.resolve(&name, &[])? {
                    Some(resolved) => {
                        defaults.insert(Key::from(&*resolved.name), value.value());
                    }
                    None => {
                        return Err(Located::parser(format!(
                            "Could not resolve action {name} in module_defaults"
                        )));
                    }
                }
                if let Some(leaf) = name.strip_prefix("ansible.legacy.")
                    && let Some(resolved) =
                        actions.resolve(&format!("ansible.builtin.{leaf}"), &[])?
                {
                    defaults.insert(Key::from(&*resolved.name), value.value());
                }
            }
            validated.push(Value::Dict(Dict::new(defaults)));
        }
        Ok(Some(Value::list(validated)))
    }

    /// The full name of a group of actions, whose members the play then knows.
    fn group(self, name: &str) -> Result<String> {
        let full = if name.split('.').count() >= 3 {
            name.to_owned()
        } else {
            format!("ansible.builtin.{name}")
        };
        let mut groups = self.draft.groups.lock();
        if !groups.contains_key(&full) {
            let Some(members) = self.draft.loader.actions.group(&full) else {
                return Err(Located::parser(format!(
                    "Error loading module_defaults: could not resolve the module_defaults group {full}"
                )));
            };
            groups.insert(full.clone(), members);
        }
        Ok(full)
    }

    /// What a task does. With `collections` names that are no actions are told apart from those that are.
    fn parse(self, node: &Node, collections: Option<&[String]>) -> Result<Parsed> {
        let mut found: Option<(Str, Node, Arguments)> = None;
        let mut delegate = node.get("delegate_to").map(Node::value);
        let additional = node.get("args");
        if let Some((key, value)) = node.entry("action")
            && let Some((action, arguments)) = self.old_style(node, value, additional)?
        {
            found = Some((action, key.clone(), arguments));
        }
        if let Some((key, value)) = node.entry("local_action") {
            if found.is_some() {
                return Err(
                    Located::parser("action and local_action are mutually exclusive")
                        .about_node(node),
                );
            }
            if let Some((action, arguments)) = self.old_style(node, value, additional)? {
                found = Some((action, key.clone(), arguments));
            }
            delegate = Some(Value::from("localhost"));
        }
        let mut other = None;
        for (key, value) in node.mapping().unwrap_or_default() {
            let name = match key.scalar() {
                Some(Value::Str(text)) => text.clone(),
                Some(_) => Str::new(python::shown(key)),
                None => continue,
            };
            if is_attribute(&name) || name.starts_with("with_") {
                continue;
            }
            let candidate = is_one_of(&name, BUILTIN_TASKS)
                || match collections {
                    None => true,
                    Some(collections) => self
                        .draft
                        .loader
                        .actions
                        .resolve(&name, collections)
                        .map_err(|error| {
                            if error.has_place() {
                                error
                            } else {
                                error.about_node(node)
                            }
                        })?
                        .is_some(),
                };
            if !candidate {
                other.get_or_insert(name);
                continue;
            }
            if let Some((action, ..)) = &found {
                return Err(Located::parser(format!(
                    "conflicting action statements: {}, {}",
                    &**action, &*name
                ))
                .about_node(node));
            }
            let arguments = self.new_style(node, &name, value, additional)?;
            found = Some((name, key.clone(), arguments));
        }
        let Some((action, origin_key, arguments)) = found else {
            return Err(match other {
                Some(name) => Located::parser(format!(
                    "couldn't resolve module/action '{}'. This often indicates a misspelling, missing collection, or incorrect module path.",
                    &*name
                )),
                None => Located::parser("no module/action detected in task."),
            }
            .about_node(node));
        };
        Ok(Parsed {
            action,
            origin_key,
            arguments: arguments.entries,
            variable: arguments.whole,
            delegate,
        })
    }

    fn additional(self, node: &Node, additional: Option<&Node>) -> Result<Arguments> {
        let mut arguments = Arguments::default();
        let Some(additional) = additional else {
            return Ok(arguments);
        };
        match additional.content() {
            Content::Scalar(Value::Str(text)) if self.all_template(text) => {
                arguments.whole = Some(Value::Str(text.clone()));
            }
            Content::Mapping(_) => arguments.entries = additional.dict(),
            Content::Scalar(Value::None) => {
                self.draft.loader.notice(Notice::Deprecated {
                    what: Located::new("Ignoring empty task `args` keyword.")
                        .about_node(node)
                        .hint("A mapping or template which resolves to a mapping is required."),
                    version: "2.23".to_owned(),
                });
            }
            _ => {
                return Err(
                    Located::parser("The value of the task `args` keyword is invalid.")
                        .about_node(additional)
                        .hint("A mapping or template which resolves to a mapping is required."),
                );
            }
        }
        Ok(arguments)
    }

    /// Whether a text is one template from end to end.
    fn all_template(self, text: &Str) -> bool {
        let trimmed = text.trim();
        text.is_template() && trimmed.starts_with("{{") && trimmed.ends_with("}}")
    }

    fn new_style(
        self,
        node: &Node,
        action: &str,
        value: &Node,
        additional: Option<&Node>,
    ) -> Result<Arguments> {
        let arguments = self.additional(node, additional)?;
        let own = match value.content() {
            Content::Mapping(_) => Some(value.dict()),
            Content::Scalar(Value::Str(text)) => {
                let pairs = split_pairs(text, takes_free_text(action))
                    .map_err(|error| loading(error, node))?;
                self.merging(&pairs, value, additional);
                Some(pairs)
            }
            Content::Scalar(Value::None) => None,
            // An encrypted text, which may be known or not.
            Content::Scalar(value @ (Value::Object(_) | Value::Undefined(_))) => {
                Some([("_raw_params", value.clone())].into_iter().collect())
            }
            _ => {
                return Err(Located::parser(format!(
                    "unexpected parameter type in action: {}",
                    python::class(value)
                ))
                .about_node(node));
            }
        };
        self.merged(action, arguments, own)
    }

    fn merging(self, pairs: &Dict, value: &Node, additional: Option<&Node>) {
        let mut keys: Vec<String> = pairs
            .read()
            .keys()
            .filter_map(|key| key.as_str().map(str::to_owned))
            .filter(|key| key != "_raw_params")
            .collect();
        if keys.is_empty() || additional.is_none() {
            return;
        }
        keys.sort();
        let shown: Vec<String> = keys.iter().map(|key| format!("'{key}'")).collect();
        self.draft.loader.notice(Notice::Deprecated {
            what: Located::new(format!(
                "Merging legacy k=v args ({}) into task args.",
                shown.join(", ")
            ))
            .about_node(value)
            .hint("Include all task args in the task `args` mapping."),
            version: "2.23".to_owned(),
        });
    }

    fn old_style(
        self,
        node: &Node,
        value: &Node,
        additional: Option<&Node>,
    ) -> Result<Option<(Str, Arguments)>> {
        let arguments = self.additional(node, additional)?;
        let (action, own) = match value.content() {
            Content::Mapping(_) => {
                self.draft.loader.notice(Notice::Deprecated {
                    what: Located::new("Using a mapping for `action` is deprecated.")
                        .about_node(value)
                        .hint("Use a string value for `action`."),
                    version: "2.23".to_owned(),
                });
                let Some(Value::Str(module)) = value.get("module").and_then(Node::scalar) else {
                    return Ok(None);
                };
                let (action, rest) = split_action(module).map_err(|error| loading(error, node))?;
                let entries = value.dict();
                let pairs = split_pairs(&rest, takes_free_text(&action))
                    .map_err(|error| loading(error, node))?;
                entries.change(|entries| {
                    entries.shift_remove(&Key::from("module"));
                });
                merge(&entries, &pairs);
                (action, entries)
            }
            Content::Scalar(Value::Str(text)) => {
                let (action, rest) = split_action(text).map_err(|error| loading(error, node))?;
                let pairs = split_pairs(&rest, takes_free_text(&action))
                    .map_err(|error| loading(error, node))?;
                (action, pairs)
            }
            _ => {
                return Err(Located::parser(format!(
                    "unexpected parameter type in action: {}",
                    python::class(value)
                ))
                .about_node(node));
            }
        };
        let inner = own.change(|entries| entries.shift_remove(&Key::from("args")));
        match inner {
            Some(Value::Dict(inner)) => merge(&own, &inner),
            Some(Value::Str(text)) => {
                let pairs = split_pairs(&text, false).map_err(|error| loading(error, node))?;
                merge(&own, &pairs);
            }
            _ => {}
        }
        let arguments = self.merged(&action, arguments, Some(own))?;
        Ok(Some((action, arguments)))
    }

    fn merged(self, action: &str, arguments: Arguments, own: Option<Dict>) -> Result<Arguments> {
        let Some(own) = own else {
            return Ok(arguments);
        };
        if !takes_free_text(action) {
            for key in own.read().keys() {
                let name = consort_jinja::repr::text(key.value());
                if name.starts_with("_ansible_") {
                    return Err(Located::new(format!(
                        "Invalid parameter specified beginning with keyword '_ansible_' for action '{action}': '{name}'. The prefix '_ansible_' is reserved for internal use only."
                    )));
                }
            }
        }
        merge(&arguments.entries, &own);
        Ok(arguments)
    }

    fn check_include_keys(
        self,
        node: &Node,
        parsed: &Parsed,
        class: &str,
        keys: &[(Node, Node)],
        _looped: Option<&Node>,
    ) -> Result<()> {
        const VALID: &[&str] = &[
            "action",
            "args",
            "collections",
            "debugger",
            "ignore_errors",
            "loop",
            "loop_control",
            "loop_with",
            "name",
            "no_log",
            "register",
            "run_once",
            "tags",
            "timeout",
            "vars",
            "when",
        ];
        if !is_one_of(&parsed.action, &["include_tasks", "include_role"]) {
            return Ok(());
        }
        let class = if self.handlers && class == "TaskInclude" {
            "HandlerTaskInclude"
        } else {
            class
        };
        let wrong = keys
            .iter()
            .map(|(key, _)| python::shown(key))
            .chain(parsed.delegate.is_some().then(|| "delegate_to".to_owned()))
            .find(|name| {
                let listens = self.handlers && name == "listen";
                !listens && !VALID.contains(&name.as_str())
            });
        match wrong {
            Some(name) if self.draft.loader.settings.invalid_task_attribute_failed => Err(
                Located::parser(format!("'{name}' is not a valid attribute for a {class}"))
                    .about_node(node),
            ),
            Some(name) => {
                self.draft
                    .loader
                    .notice(Notice::Warning(Located::new(format!(
                        "Ignoring invalid attribute: {name}"
                    ))));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A task that imports or includes tasks or a role.
    fn include(self, node: &Node, scope: &Arc<Scope>, class: &str) -> Result<Task> {
        let task = self.plain(node, scope, Some(class))?;
        // Ansible reads the files of variables here, whether or not they are needed.
        self.draft.check_files()?;
        let action = &*task.action.written;
        let arguments = &task.action.arguments;
        let invalid = |what: String| {
            Err(Located::parser(format!("Invalid options for {action}: {what}")).about_node(node))
        };
        let valid: &[&str] = if class == "TaskInclude" {
            &["file", "_raw_params", "apply"]
        } else {
            &[
                "name",
                "role",
                "tasks_from",
                "vars_from",
                "defaults_from",
                "handlers_from",
                "apply",
                "public",
                "allow_duplicates",
                "rolespec_validate",
                "rescuable",
            ]
        };
        if class != "TaskInclude"
            && arguments
                .get("name")
                .or_else(|| arguments.get("role"))
                .is_none_or(|name| matches!(name, Value::None))
        {
            return Err(
                Located::parser(format!("'name' is a required field for {action}."))
                    .about_node(node),
            );
        }
        let wrong: Vec<String> = arguments
            .read()
            .keys()
            .map(|key| consort_jinja::repr::text(key.value()))
            .filter(|key| !valid.contains(&key.as_str()))
            .chain(
                task.action
                    .variable_arguments
                    .iter()
                    .map(|_| "_variable_params".to_owned()),
            )
            .collect();
        if !wrong.is_empty() {
            return invalid(wrong.join(","));
        }
        if class == "TaskInclude" {
            let has = |value: &Value| value.truth().unwrap_or(true);
            if !arguments.get("_raw_params").as_ref().is_some_and(has) {
                let file = arguments.change(|entries| entries.shift_remove(&Key::from("file")));
                match file.filter(|file| has(file)) {
                    Some(file) => {
                        arguments.change(|entries| entries.insert("_raw_params".into(), file));
                    }
                    None => {
                        return Err(Located::parser(format!("No file specified for {action}"))
                            .about_node(node));
                    }
                }
            }
        } else {
            for key in ["tasks_from", "vars_from", "defaults_from", "handlers_from"] {
                match arguments.get(key) {
                    None | Some(Value::Str(_)) => {}
                    Some(other) => {
                        return Err(Located::parser(format!(
                            "Expected a string for {key} but got {} instead",
                            python::class(&Node::of(other, node.origin()))
                        )));
                    }
                }
            }
        }
        let includes = is_one_of(action, &["include_tasks", "include_role"]);
        if let Some(apply) = arguments.get("apply") {
            if apply.truth().unwrap_or(true) && !includes {
                return invalid("apply".to_owned());
            }
            if !matches!(apply, Value::Dict(_)) {
                return Err(Located::parser(format!(
                    "Expected a dict for apply but got {} instead",
                    python::class(&Node::of(apply, node.origin()))
                ))
                .about_node(node));
            }
        }
        if class != "TaskInclude"
            && !includes
            && arguments
                .get("rescuable")
                .is_some_and(|value| value.truth().unwrap_or(true))
        {
            return invalid("rescuable".to_owned());
        }
        Ok(task)
    }

    fn import_tasks(
        self,
        node: &Node,
        task: &Arc<Task>,
        scope: &Arc<Scope>,
        read: &mut Vec<Item>,
    ) -> Result<()> {
        if task.looped.is_some() {
            return Err(Located::parser(
                "You cannot use loops on 'import_tasks' statements. You should use 'include_tasks' instead.",
            )
            .about_node(node));
        }
        let own = task.vars();
        let known = Known {
            own: own.as_ref(),
            ..self.draft.known(Some(scope))
        };
        let raw = task.action.arguments.get("_raw_params").unwrap_or_default();
        let target = known.render(&raw).map_err(|error| {
            if error.undefined {
                Located::parser(format!(
                    "Error when evaluating variable in import path {}.",
                    python::repr(&raw)
                ))
                .about_node(node)
                .hint("When using static imports, ensure that any variables used in their names are defined in vars/vars_files\nor extra-vars passed in from the command line. Static imports cannot use variables from facts or inventory\nsources like group or host vars.")
                .because(located(&error))
            } else {
                located(&error)
            }
        })?;
        let target = consort_jinja::repr::text(&target);
        let file = files::imported(self.draft, scope, self.handlers, &target);
        let data = self.draft.loader.reader.file(Path::new(&file))?;
        let Some(data) = data.filter(|data| !is_empty(data)) else {
            self.draft
                .loader
                .notice(Notice::Warning(Located::new(format!(
                    "file {file} is empty and had no tasks to include"
                ))));
            return Ok(());
        };
        if data.sequence().is_none() {
            return Err(
                Located::parser("included task files must contain a list of tasks")
                    .about_node(&data),
            );
        }
        self.draft.loader.notice(Notice::Detail {
            level: 2,
            text: format!("statically imported: {file}"),
        });
        let inner = Arc::new(Scope {
            kind: ScopeKind::Import(Brought {
                task: Arc::clone(task),
                file: target.as_str().into(),
                role: false,
                variables: own.unwrap_or_default(),
            }),
            directives: task.directives.handed_down(),
            parent: Some(Arc::clone(scope)),
        });
        if inner
            .chain()
            .filter(|scope| matches!(scope.kind, ScopeKind::Import(_)))
            .count()
            > IMPORTS
        {
            return Err(Located::new("maximum recursion depth exceeded").about_node(node));
        }
        let items = self.list(&data, &inner, &|cause| Located::new(cause))?;
        if self.handlers {
            for item in items {
                match item {
                    Item::Block(block) => read.extend(block.tasks.iter().cloned()),
                    Item::Task(_) => read.push(item),
                }
            }
        } else if !items.is_empty() {
            read.extend(items);
        }
        Ok(())
    }

    fn import_role(
        self,
        node: &Node,
        task: &Arc<Task>,
        scope: &Arc<Scope>,
        read: &mut Vec<Item>,
    ) -> Result<()> {
        if task.looped.is_some() {
            return Err(Located::parser(
                "You cannot use loops on 'import_role' statements. You should use 'include_role' instead.",
            )
            .about_node(node));
        }
        let own = task.vars();
        let known = Known {
            own: own.as_ref(),
            ..self.draft.known(Some(scope))
        };
        let arguments = &task.action.arguments;
        let name = arguments
            .get("name")
            .or_else(|| arguments.get("role"))
            .unwrap_or_default();
        let name = known.render(&name).map_err(|error| located(&error))?;
        let mut usage = RoleUse::new("");
        usage.name = match name {
            Value::Str(name) => name,
            other => Str::new(consort_jinja::repr::text(&other)),
        };
        usage.from_include = true;
        usage.fixed = true;
        usage.rescuable = true;
        for (key, part) in [
            ("tasks_from", "tasks"),
            ("vars_from", "vars"),
            ("defaults_from", "defaults"),
            ("handlers_from", "handlers"),
        ] {
            if let Some(from) = arguments.get(key) {
                let from = known.render(&from).map_err(|error| located(&error))?;
                usage
                    .from
                    .insert(part.to_owned(), consort_jinja::repr::text(&from));
            }
        }
        for key in ["public", "allow_duplicates", "rolespec_validate"] {
            let Some(value) = arguments.get(key) else {
                continue;
            };
            let value = known.render(&value).map_err(|error| located(&error))?;
            if matches!(value, Value::None) {
                continue;
            }
            let value = super::directives::truth(&value).ok_or_else(|| {
                Located::parser(format!("Error processing keyword '{key}'."))
                    .about(&value)
                    .because(Located::new(format!(
                        "The value {} could not be converted to 'bool'.",
                        python::repr(&value)
                    )))
            })?;
            match key {
                "public" => usage.public = Some(value),
                "allow_duplicates" => usage.allow_duplicates = value,
                _ => usage.validate = value,
            }
        }
        let inner = Arc::new(Scope {
            kind: ScopeKind::Import(Brought {
                task: Arc::clone(task),
                file: "".into(),
                role: true,
                variables: own.clone().unwrap_or_default(),
            }),
            directives: task.directives.handed_down(),
            parent: Some(Arc::clone(scope)),
        });
        let loaded = super::roles::bring(self.draft, &usage, own.as_ref(), scope, &inner)?;
        self.draft.handlers.lock().extend(loaded.handlers);
        read.extend(loaded.tasks);
        Ok(())
    }
}

#[derive(Default)]
struct Arguments {
    entries: Dict,
    whole: Option<Value>,
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

fn loading(error: Located, node: &Node) -> Located {
    if error.has_place() {
        error
    } else {
        Located::parser("Error loading tasks.")
            .about_node(node)
            .because(error)
    }
}

fn is_empty(node: &Node) -> bool {
    match node.content() {
        Content::Scalar(value) => !value.truth().unwrap_or(true),
        Content::Sequence(items) => items.is_empty(),
        Content::Mapping(entries) => entries.is_empty(),
    }
}

fn merge(into: &Dict, from: &Dict) {
    let entries: Vec<(Key, Value)> = from
        .read()
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    into.change(|known| known.extend(entries));
}

fn split_action(text: &Str) -> Result<(Str, Str)> {
    let words = split_words(text)?;
    let first = words.first().map_or("", String::as_str).trim().to_owned();
    let rest = words.get(1..).unwrap_or_default().join(" ");
    Ok((written_like(text, first), written_like(text, rest)))
}

/// Keys of tasks and handlers that are no actions.
fn is_attribute(name: &str) -> bool {
    matches!(
        name,
        "action" | "args" | "async_val" | "local_action" | "loop" | "loop_with" | "static"
    ) || Directive::of(name)
        .is_some_and(|d| d.stands_at(Bearer::Task) || d.stands_at(Bearer::Handler))
}

/// The items of a list of texts must be texts.
fn check_texts(directive: Directive, node: &Node) -> Result<()> {
    let items = match node.content() {
        Content::Scalar(Value::None) => return Ok(()),
        Content::Sequence(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    for item in items {
        if item.as_str().is_none() {
            let error = Located::parser(format!(
                "Keyword '{}' items must be of type 'str', not '{}'.",
                directive.name(),
                item.type_name()
            ));
            // What has no place of its own is told with that of the list.
            return Err(match item.scalar() {
                Some(Value::None | Value::Bool(_)) => error.about_node(node),
                _ => error.about_node(item),
            });
        }
    }
    Ok(())
}

/// Whether something may be the name of a variable.
pub(crate) fn check_variable_name(key: &Node) -> Result<()> {
    if key.as_str().is_some_and(python::is_variable_name) {
        return Ok(());
    }
    let mut what = "name".to_owned();
    if let Some(
        value @ (Value::Str(_) | Value::Int(_) | Value::Float(_) | Value::Bool(_) | Value::None),
    ) = key.scalar()
    {
        what.push(' ');
        what.push_str(&python::repr(&Value::from(consort_jinja::repr::text(
            value,
        ))));
    }
    if key.as_str().is_none() {
        what.push_str(&format!(" of type '{}'", key.type_name()));
    }
    Err(Located::new(format!("Invalid variable {what}."))
        .about_node(key)
        .hint("Variable names must be strings starting with a letter or underscore character, and contain only letters, numbers and underscores."))
}

/// The texts of a list.
pub(crate) fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::List(items)) => items
            .read()
            .iter()
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect(),
        Some(Value::Str(text)) => vec![text.to_string()],
        _ => Vec::new(),
    }
}

/// Adds what is always looked in, if anything is.
pub(crate) fn complete_collections(names: &mut Vec<String>) {
    if !names.is_empty()
        && !names
            .iter()
            .any(|name| name == "ansible.builtin" || name == "ansible.legacy")
    {
        names.push("ansible.legacy".to_owned());
    }
}
