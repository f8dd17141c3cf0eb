//! Plays, read.

use std::path::PathBuf;
use std::sync::Arc;

use consort_jinja::{Dict, Key, Value};

use super::directives::{Bearer, Directive, Directives};
use super::draft::Draft;
use super::loader::Inner;
use super::playbooks::{Import, ROLES_AND_TASKS, list, merged};
use super::tasks::{Tasks, check_no_parts};
use super::{Block, Item, Play, Scope, ScopeKind, python, roles};
use crate::source::{Content, Located, Node};

type Result<T, E = Located> = std::result::Result<T, E>;

/// One play.
pub(crate) fn play(
    loader: &Arc<Inner>,
    node: &Node,
    path: PathBuf,
    directory: &str,
    collection: Option<String>,
    import: &Import,
) -> Result<Play> {
    let node = &user(node)?;
    let origin = Arc::clone(node.origin());
    let collection = collection.or_else(|| loader.default_collection.lock().clone());
    // The keys are read twice: first for what names of actions depend on.
    let early = |directives: Directives, vars: Dict, groups| {
        let scope = Arc::new(Scope {
            kind: ScopeKind::Play,
            directives,
            parent: None,
        });
        Arc::new(Draft::new(
            Arc::clone(loader),
            directory.to_owned(),
            node.get("name").map(Node::value),
            Arc::clone(&origin),
            scope,
            vars,
            Vec::new(),
            collection.clone(),
            groups,
        ))
    };
    let first = early(
        Directives::default(),
        Dict::default(),
        indexmap::IndexMap::new(),
    );
    let mut directives = Directives::default();
    Tasks {
        draft: &first,
        handlers: false,
    }
    .directives(node, Bearer::Play, ROLES_AND_TASKS, None, &mut directives)?;
    let own = match directives.get(Directive::Vars) {
        Some(Value::Dict(vars)) => vars.clone(),
        _ => Dict::default(),
    };
    let mut vars = merged(&own, &import.vars);
    if vars.get("tags").is_some() && import.depth > 0 {
        vars = without(&vars, "tags");
    }
    directives.set(Directive::Vars, Value::Dict(vars.clone()));
    if !import.tags.is_empty() {
        let mut tags = list(directives.get(Directive::Tags));
        for tag in &import.tags {
            if !tags.iter().any(|known| known.equals(tag)) {
                tags.push(tag.clone());
            }
        }
        directives.set(Directive::Tags, Value::list(tags));
    }
    if directives.get(Directive::Collections).is_none()
        && let Some(collection) = &collection
    {
        directives.set(
            Directive::Collections,
            Value::list(vec![
                Value::from(collection.as_str()),
                Value::from("ansible.legacy"),
            ]),
        );
    }
    let vars_files: Vec<Node> = match node.get("vars_files") {
        Some(files) if !files.is_none() => match files.sequence() {
            Some(items) => items.to_vec(),
            None => vec![files.clone()],
        },
        _ => Vec::new(),
    };
    let groups = first.groups.lock().clone();
    let scope = Arc::new(Scope {
        kind: ScopeKind::Play,
        directives,
        parent: None,
    });
    let outer = if import.when.is_empty() {
        Arc::clone(&scope)
    } else {
        let mut conditions = Directives::default();
        conditions.set(Directive::When, Value::list(import.when.clone()));
        Arc::new(Scope {
            kind: ScopeKind::Block,
            directives: conditions,
            parent: Some(Arc::clone(&scope)),
        })
    };
    let name = node.get("name").map(Node::value);
    let draft = Arc::new(Draft::new(
        Arc::clone(loader),
        directory.to_owned(),
        name.clone(),
        Arc::clone(&origin),
        Arc::clone(&scope),
        vars,
        vars_files.clone(),
        collection,
        groups,
    ));
    let vars_prompt = prompts(node)?;
    let mut role_blocks = Vec::new();
    let mut role_handlers = Vec::new();
    if let Some(listed) = node.get("roles") {
        for role in roles::of_play(&draft, listed, node)? {
            let (tasks, handlers) = roles::compile(&draft, &role, &outer, 0)?;
            role_handlers.extend(handlers);
            role_blocks.push(Arc::new(Block {
                scope: Arc::clone(&outer),
                tasks,
                rescue: Vec::new(),
                always: Vec::new(),
            }));
        }
    }
    let part = |name: &str, handlers: bool, parent: &Arc<Scope>| match node.get(name) {
        None => Ok(Vec::new()),
        Some(items) => Tasks {
            draft: &draft,
            handlers,
        }
        .list(items, parent, &|cause| {
            Located::parser(format!(
                "A malformed block was encountered while loading {name}."
            ))
            .at(&origin)
            .because(Located::new(cause))
        }),
    };
    let own_handlers = part("handlers", true, &scope)?;
    let pre_tasks = part("pre_tasks", false, &outer)?;
    let post_tasks = part("post_tasks", false, &outer)?;
    let tasks = part("tasks", false, &outer)?;
    check_no_parts(node, Bearer::Play)?;
    check_hosts(node)?;
    let mut handlers = role_handlers;
    handlers.extend(own_handlers);
    handlers.append(&mut draft.handlers.lock());
    let action_groups = draft.groups.lock().clone();
    let roles = draft.roles.lock().clone();
    Ok(Play {
        origin,
        playbook: path,
        directory: PathBuf::from(directory),
        name,
        imported_when: import.when.clone(),
        action_groups,
        scope,
        vars_files: vars_files.iter().map(Node::value).collect(),
        vars_prompt,
        roles,
        pre_tasks,
        role_blocks,
        tasks,
        post_tasks,
        handlers,
        draft,
    })
}

fn without(dict: &Dict, key: &str) -> Dict {
    let mut entries = dict.read().clone();
    entries.shift_remove(&Key::from(key));
    Dict::new(entries)
}

/// `user` is an old name of `remote_user`.
fn user(node: &Node) -> Result<Node> {
    if !node.has("user") {
        return Ok(node.clone());
    }
    if node.has("remote_user") {
        return Err(Located::parser(
            "both 'user' and 'remote_user' are set for this play. The use of 'user' is deprecated, and should be removed",
        )
        .about_node(node));
    }
    let entries = node
        .mapping()
        .unwrap_or_default()
        .iter()
        .map(|(key, value)| {
            let key = if key.as_str() == Some("user") {
                Node::of(Value::from("remote_user"), key.origin())
            } else {
                key.clone()
            };
            (key, value.clone())
        })
        .collect();
    Ok(Node::new(
        Arc::clone(node.origin()),
        Content::Mapping(entries),
        false,
    ))
}

fn check_hosts(node: &Node) -> Result<()> {
    let Some(hosts) = node.get("hosts") else {
        return Err(
            Located::parser("The field 'hosts' is required but was not set.").at(node.origin()),
        );
    };
    let empty = || Located::parser("Hosts list cannot be empty. Please check your playbook");
    match hosts.content() {
        Content::Sequence(items) if items.is_empty() => Err(empty()),
        Content::Sequence(items) => {
            for item in items {
                match item.scalar() {
                    Some(Value::None) => {
                        return Err(Located::parser(
                            "Hosts list cannot contain values of 'None'. Please check your playbook",
                        ));
                    }
                    Some(Value::Str(_) | Value::Bytes(_)) => {}
                    _ => {
                        return Err(Located::parser(format!(
                            "Hosts list contains an invalid host value: '{}'",
                            python::shown(item)
                        )));
                    }
                }
            }
            Ok(())
        }
        Content::Scalar(value) if !value.truth().unwrap_or(true) => Err(empty()),
        Content::Scalar(
            Value::Str(_) | Value::Bytes(_) | Value::Object(_) | Value::Undefined(_),
        ) => Ok(()),
        _ => Err(Located::parser(
            "Hosts list must be a sequence or string. Please check your playbook.",
        )),
    }
}

fn prompts(node: &Node) -> Result<Vec<Value>> {
    const KEYS: &[&str] = &[
        "name",
        "prompt",
        "default",
        "private",
        "confirm",
        "encrypt",
        "salt_size",
        "salt",
        "unsafe",
    ];
    let Some(listed) = node.get("vars_prompt").filter(|listed| !listed.is_none()) else {
        return Ok(Vec::new());
    };
    let items: Vec<&Node> = match listed.sequence() {
        Some(items) => items.iter().collect(),
        None => vec![listed],
    };
    let mut prompts = Vec::new();
    for item in &items {
        if item.mapping().is_none() {
            return Err(Located::parser("Invalid variable file contents.")
                .about_node(item)
                .hint("Variable files must contain either a dictionary of variables, or a list of dictionaries."));
        }
    }
    for item in items {
        if !item.has("name") {
            return Err(
                Located::parser("Invalid vars_prompt data structure, missing 'name' key")
                    .about_node(listed),
            );
        }
        for (key, _) in item.mapping().unwrap_or_default() {
            if !key.as_str().is_some_and(|key| KEYS.contains(&key)) {
                return Err(Located::parser(format!(
                    "Invalid vars_prompt data structure, found unsupported key '{}'",
                    python::shown(key)
                ))
                .about_node(listed));
            }
        }
        prompts.push(item.value());
    }
    Ok(prompts)
}

impl Play {
    /// What is done in a play: `pre_tasks`, roles, `tasks` and `post_tasks`, with the handlers flushed after each part.
    /// With `force_handlers` they are flushed whatever happened before.
    pub fn compile(&self, force_handlers: bool) -> Vec<Item> {
        let roles: Vec<Item> = self
            .role_blocks
            .iter()
            .flat_map(|block| block.tasks.iter().cloned())
            .collect();
        let mut tasks = roles;
        tasks.extend(self.tasks.iter().cloned());
        let mut all = Vec::new();
        for part in [self.pre_tasks.clone(), tasks, self.post_tasks.clone()] {
            if force_handlers {
                let part = if part.is_empty() {
                    vec![self.implicit("noop", None)]
                } else {
                    part
                };
                all.push(Item::Block(Arc::new(Block {
                    scope: self.own_block(),
                    tasks: part,
                    rescue: Vec::new(),
                    always: vec![self.implicit("flush_handlers", Some("always"))],
                })));
            } else {
                all.extend(part);
                all.push(self.implicit("flush_handlers", Some("always")));
            }
        }
        all
    }

    fn own_block(&self) -> Arc<Scope> {
        Arc::new(Scope {
            kind: ScopeKind::Block,
            directives: Directives::default(),
            parent: Some(Arc::clone(&self.scope)),
        })
    }

    fn implicit(&self, what: &str, tag: Option<&str>) -> Item {
        let mut directives = Directives::default();
        if let Some(tag) = tag {
            directives.set(Directive::Tags, Value::list(vec![Value::from(tag)]));
        }
        Item::Task(Arc::new(roles::meta(
            what,
            directives,
            &self.own_block(),
            &self.origin,
        )))
    }
}
