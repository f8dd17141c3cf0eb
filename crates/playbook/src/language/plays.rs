//! Playbooks and plays, read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_jinja::{Dict, Key, Value};

use super::directives::{Bearer, Directive, Directives};
use super::draft::Draft;
use super::loader::Inner;
use super::tasks::{Tasks, check_no_parts};
use super::variables::located;
use super::{Block, Item, Play, Scope, ScopeKind, python, roles};
use crate::paths;
use crate::source::{Content, Located, Node};

type Result<T, E = Located> = std::result::Result<T, E>;

/// How deep playbooks may import each other.
const IMPORTS: usize = 64;

/// What `import_playbook` gives to the plays it brings.
#[derive(Clone, Default)]
pub(crate) struct Import {
    vars: Dict,
    tags: Vec<Value>,
    /// The conditions, outermost first.
    when: Vec<Value>,
    depth: usize,
}

const ROLES_AND_TASKS: &[&str] = &[
    "hosts",
    "roles",
    "handlers",
    "pre_tasks",
    "tasks",
    "post_tasks",
    "vars_files",
    "vars_prompt",
];

fn is_import(key: &str) -> bool {
    matches!(
        key,
        "import_playbook" | "ansible.builtin.import_playbook" | "ansible.legacy.import_playbook"
    )
}

/// The plays of a file. `shown` is the path as it was given.
pub(crate) fn read(loader: &Arc<Inner>, shown: &str, import: &Import) -> Result<Vec<Arc<Play>>> {
    let path = paths::unfrack(shown, &loader.surroundings, None);
    let directory = paths::dirname(&path).to_owned();
    loader.actions.add_directory(Path::new(&directory));
    loader.actions.collections.beside(Path::new(&directory));
    let full = |path: &str| paths::unfrack(path, &loader.surroundings, None);
    let data = loader.reader.file(Path::new(&path))?;
    let Some(data) = data.filter(|data| !data.is_none()) else {
        return Err(Located::parser(format!(
            "Empty playbook, nothing to do: {}",
            full(shown)
        )));
    };
    let Some(entries) = data.sequence() else {
        return Err(Located::parser(format!(
            "A playbook must be a list of plays, got a {} instead: {}",
            python::class(&data),
            full(shown)
        ))
        .about_node(&data));
    };
    if entries.is_empty() {
        return Err(Located::parser(format!(
            "A playbook must contain at least one play: {}",
            full(shown)
        )));
    }
    let collection = loader.actions.collections.holding(&path);
    let mut plays = Vec::new();
    for entry in entries {
        let Some(keys) = entry.mapping() else {
            return Err(Located::parser(
                "playbook entries must be either valid plays or 'import_playbook' statements",
            )
            .about_node(entry));
        };
        let imports = keys
            .iter()
            .any(|(key, _)| key.as_str().is_some_and(is_import));
        if imports {
            plays.extend(imported(loader, entry, &directory, import)?);
        } else {
            plays.push(Arc::new(play(
                loader,
                entry,
                PathBuf::from(&path),
                &directory,
                collection.clone(),
                import,
            )?));
        }
    }
    Ok(plays)
}

fn imported(
    loader: &Arc<Inner>,
    entry: &Node,
    directory: &str,
    outer: &Import,
) -> Result<Vec<Arc<Play>>> {
    if outer.depth > IMPORTS {
        return Err(Located::new("maximum recursion depth exceeded").about_node(entry));
    }
    let mut names: Vec<String> = entry
        .mapping()
        .unwrap_or_default()
        .iter()
        .filter_map(|(key, _)| key.as_str())
        .filter(|key| is_import(key))
        .map(str::to_owned)
        .collect();
    names.sort();
    if names.len() > 1 {
        return Err(Located::new(format!(
            "Found conflicting import_playbook actions: {}",
            names.join(", ")
        )));
    }
    let key = names.pop().unwrap_or_default();
    let mut directives = Directives::default();
    // A play that has only what it hands on: for reading the keys.
    let scope = Arc::new(Scope {
        kind: ScopeKind::Play,
        directives: Directives::default(),
        parent: None,
    });
    let draft = Arc::new(Draft::new(
        Arc::clone(loader),
        directory.to_owned(),
        None,
        Arc::clone(entry.origin()),
        scope,
        Dict::default(),
        Vec::new(),
        None,
        indexmap::IndexMap::new(),
    ));
    let reads = Tasks {
        draft: &draft,
        handlers: false,
    };
    reads.directives(entry, Bearer::Playbook, &[&key], None, &mut directives)?;
    check_no_parts(entry, Bearer::Playbook)?;
    let vars = match directives.get(Directive::Vars) {
        Some(Value::Dict(vars)) => vars.clone(),
        _ => Dict::default(),
    };
    let known = super::variables::Known {
        own: Some(&vars),
        ..draft.known(None)
    };
    let node = entry.get(&key).unwrap_or(entry);
    if matches!(node.content(), Content::Sequence(_) | Content::Mapping(_)) {
        return Err(Located::parser(format!(
            "The field 'import_playbook' is supposed to be a string type, however the incoming data structure is a {}",
            python::class(node)
        ))
        .about_node(node));
    }
    if node.is_none() {
        return Err(
            Located::parser("The field 'import_playbook' is required but was not set.")
                .about_node(entry),
        );
    }
    let name = known.render(&node.value()).map_err(|error| {
        Located::parser("Error processing keyword 'import_playbook'.")
            .about_node(node)
            .because(located(&error))
    })?;
    let name = consort_jinja::repr::text(&name);
    let mut rendered = Directives::default();
    for (directive, value) in directives.iter() {
        let value = if directive == Directive::Vars {
            value.clone()
        } else {
            known.render(value).map_err(|error| {
                let own =
                    Located::parser(format!("Error processing keyword '{}'.", directive.name()));
                match value {
                    Value::List(_) => own.showing(&consort_jinja::repr::text(value)),
                    value => own.about(value),
                }
                .because(located(&error))
            })?
        };
        rendered.set_at(directive, value, directives.origin(directive));
    }
    let directives = rendered;
    let mut inner = Import {
        depth: outer.depth + 1,
        ..outer.clone()
    };
    // Variables of an import further in count less than those further out.
    inner.vars = merged(&vars, &outer.vars);
    inner.tags.extend(list(directives.get(Directive::Tags)));
    let tags = vars.get("tags");
    if let Some(Value::Str(tags)) = tags {
        inner
            .tags
            .extend(tags.split(',').map(Value::from).collect::<Vec<_>>());
    }
    inner.when.extend(list(directives.get(Directive::When)));
    let path = collection_playbook(loader, &name).unwrap_or_else(|| paths::join(directory, &name));
    if let Some(collection) = loader.actions.collections.holding(&paths::normal(&path)) {
        loader.default_collection.lock().replace(collection);
    }
    read(loader, &path, &inner)
}

/// The playbook of a collection by its full name.
pub(crate) fn collection_playbook(loader: &Inner, name: &str) -> Option<String> {
    if !super::actions::is_full(
        name.strip_suffix(".yml")
            .or(name.strip_suffix(".yaml"))
            .unwrap_or(name),
    ) {
        return None;
    }
    let (stem, extension) = match name.strip_suffix(".yml") {
        Some(stem) => (stem, Some(".yml")),
        None => match name.strip_suffix(".yaml") {
            Some(stem) => (stem, Some(".yaml")),
            None => (name, None),
        },
    };
    let mut parts = stem.splitn(3, '.');
    let collection = format!("{}.{}", parts.next()?, parts.next()?);
    let resource = parts.next()?.replace('.', "/");
    let found = loader.actions.collections.get(&collection)?;
    let base = found.path.join("playbooks").join(resource);
    let base = base.to_string_lossy();
    let candidates: &[&str] = match extension {
        Some(".yml") => &[".yml"],
        Some(_) => &[".yaml"],
        None => &["", ".yml", ".yaml"],
    };
    candidates
        .iter()
        .map(|extension| format!("{base}{extension}"))
        .find(|path| Path::new(path).is_file())
}

fn list(value: Option<&Value>) -> Vec<Value> {
    match value {
        Some(Value::List(items)) => items.read().clone(),
        Some(value) => vec![value.clone()],
        None => Vec::new(),
    }
}

/// Both, where both have a key the second.
fn merged(one: &Dict, two: &Dict) -> Dict {
    let mut entries: indexmap::IndexMap<Key, Value> = one.read().clone();
    entries.extend(
        two.read()
            .iter()
            .map(|(key, value)| (key.clone(), value.clone())),
    );
    Dict::new(entries)
}

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
        return Ok(());
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
