//! Roles: found, read with what they depend on, and put in their places.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_jinja::{Dict, Origin, Str, Value};
use indexmap::IndexMap;

use super::actions::is_full;
use super::directives::{Bearer, Directive, Directives};
use super::draft::Draft;
use super::tasks::{Tasks, complete_collections, texts};
use super::variables::{Known, located};
use super::{
    Action, ActionKind, Brought, Item, Role, Scope, ScopeKind, Task, next_task_id, python,
};
use crate::paths;
use crate::source::{Content, Located, Node, splits_extension};

type Result<T, E = Located> = std::result::Result<T, E>;

/// How deep roles may depend on each other.
const DEPTH: usize = 100;

/// How `include_role` or `import_role` uses a role: its options, rendered.
#[derive(Clone, Debug)]
pub struct RoleUse {
    /// The name: of a role, of one of a collection, or a path.
    pub name: Str,
    /// By `tasks`, `vars`, `defaults`, `handlers`: which file of these instead of `main`.
    pub from: IndexMap<String, String>,
    /// Whether the role may run again although it has.
    pub allow_duplicates: bool,
    /// Whether its arguments are checked by its specification.
    pub validate: bool,
    /// Whether the whole play sees its defaults and variables; none for what is usual.
    pub public: Option<bool>,
    /// Whether what goes wrong with loading it can be rescued.
    pub rescuable: bool,
    /// Not of `roles:`.
    pub from_include: bool,
    /// Imported, and not included while the play runs.
    pub fixed: bool,
}

impl RoleUse {
    /// A role with all its options as they are if nothing is said.
    pub fn new(name: &str) -> Self {
        RoleUse {
            name: Str::new(name),
            from: IndexMap::new(),
            allow_duplicates: true,
            validate: true,
            public: None,
            rescuable: true,
            from_include: false,
            fixed: true,
        }
    }
}

/// A role that was brought to a play.
#[derive(Debug)]
pub struct LoadedRole {
    /// The role.
    pub role: Arc<Role>,
    /// Its tasks, after those of the roles it depends on.
    pub tasks: Vec<Item>,
    /// Its handlers, after those of the roles it depends on.
    pub handlers: Vec<Item>,
}

/// What is known of a role beside what the place that uses it says.
struct Found {
    name: String,
    path: String,
    collection: Option<String>,
}

/// The way a role is used, with what is written about it.
struct Definition {
    found: Found,
    directives: Directives,
    parameters: Dict,
    origin: Arc<Origin>,
    options: RoleUse,
}

/// Where the definition of a role stands.
#[derive(Clone, Copy)]
struct Place<'p> {
    scope: Option<&'p Scope>,
    own: Option<&'p Dict>,
    /// Roles beside the one that depends on this.
    basedir: Option<&'p str>,
    collections: &'p [String],
}

impl Role {
    /// The name without its collection.
    pub fn leaf(&self) -> &str {
        match &self.collection {
            Some(collection) => self
                .name
                .strip_prefix(&**collection)
                .and_then(|name| name.strip_prefix('.'))
                .unwrap_or(&self.name),
            None => &self.name,
        }
    }
}

/// Reads the roles of `roles:`.
pub(crate) fn of_play(draft: &Arc<Draft>, node: &Node, play: &Node) -> Result<Vec<Arc<Role>>> {
    let malformed = |cause: Located| {
        Located::parser("A malformed role declaration was encountered.")
            .at(play.origin())
            .because(cause)
    };
    if node.is_none() {
        return Ok(Vec::new());
    }
    let Some(items) = node.sequence() else {
        return Err(malformed(Located::new(format!(
            "ds ({}) should be a list but was a {}",
            python::shown(node),
            python::class(node)
        ))));
    };
    let collections = collections_of(draft, &draft.scope);
    let place = Place {
        scope: None,
        own: None,
        basedir: None,
        collections: &collections,
    };
    let mut definitions = Vec::new();
    for item in items {
        let mut options = RoleUse::new("");
        options.allow_duplicates = false;
        definitions.push(define(draft, item, options, place)?);
    }
    let mut roles = Vec::new();
    for definition in definitions {
        let role = load(draft, definition, 0)?;
        draft.roles.lock().push(Arc::clone(&role));
        roles.push(role);
    }
    Ok(roles)
}

fn collections_of(draft: &Draft, scope: &Scope) -> Vec<String> {
    let mut names = texts(scope.inherited(Directive::Collections).as_ref());
    if let Some(default) = &draft.collection
        && !names.contains(default)
        && scope.role().is_none()
    {
        names.insert(0, default.clone());
    }
    complete_collections(&mut names);
    names
}

/// Brings a role to a place, for `import_role` and `include_role`. `scope` is where the task stands, `inner` what the
/// role's tasks are to stand in.
pub(crate) fn bring(
    draft: &Arc<Draft>,
    usage: &RoleUse,
    own: Option<&Dict>,
    scope: &Scope,
    inner: &Arc<Scope>,
) -> Result<LoadedRole> {
    let origin = match &inner.kind {
        ScopeKind::Import(brought) | ScopeKind::Include(brought) => {
            Arc::clone(&brought.task.origin)
        }
        _ => Arc::clone(&draft.origin),
    };
    let collections = collections_of(draft, scope);
    let place = Place {
        scope: Some(scope),
        own,
        basedir: None,
        collections: &collections,
    };
    let node = Node::of(Value::Str(usage.name.clone()), &origin);
    let mut definition = define(draft, &node, usage.clone(), place)?;
    if let Some(own) = own {
        definition
            .directives
            .set(Directive::Vars, Value::Dict(own.clone()));
    }
    let depth = scope.roles().len();
    let role = load(draft, definition, depth)?;
    draft.roles.lock().push(Arc::clone(&role));
    // Files that the role's tasks import are looked for in the role.
    let inner = Arc::new(match &inner.kind {
        ScopeKind::Import(brought) => Scope {
            kind: ScopeKind::Import(Brought {
                file: role.path.to_string_lossy().as_ref().into(),
                ..brought.clone()
            }),
            directives: inner.directives.clone(),
            parent: inner.parent.clone(),
        },
        ScopeKind::Include(brought) => Scope {
            kind: ScopeKind::Include(Brought {
                file: role.path.to_string_lossy().as_ref().into(),
                ..brought.clone()
            }),
            directives: inner.directives.clone(),
            parent: inner.parent.clone(),
        },
        kind => Scope {
            kind: kind.clone(),
            directives: inner.directives.clone(),
            parent: inner.parent.clone(),
        },
    });
    let (tasks, handlers) = compile(draft, &role, &inner, 0)?;
    Ok(LoadedRole {
        role,
        tasks,
        handlers,
    })
}

fn define(
    draft: &Arc<Draft>,
    node: &Node,
    options: RoleUse,
    place: Place<'_>,
) -> Result<Definition> {
    draft.check_files()?;
    let known = Known {
        own: place.own,
        ..draft.known(place.scope)
    };
    let (name, entries): (Value, &[(Node, Node)]) = match node.content() {
        Content::Scalar(value @ Value::Str(text)) => {
            if text.contains(',') {
                return Err(Located::new(format!(
                    "Invalid old style role requirement: {}",
                    &**text
                )));
            }
            (value.clone(), &[])
        }
        Content::Mapping(entries) => {
            let name = node
                .get("role")
                .or_else(|| node.get("name"))
                .and_then(Node::scalar);
            match name {
                Some(value @ Value::Str(text)) if !text.is_empty() => (value.clone(), entries),
                _ => {
                    return Err(
                        Located::new("role definitions must contain a role name").about_node(node)
                    );
                }
            }
        }
        _ => return Err(Located::parser("Invalid role definition.").about_node(node)),
    };
    let name = known.render(&name).map_err(|error| located(&error))?;
    let name = consort_jinja::repr::text(&name);
    let found = find(draft, &name, place).map_err(|error| error.about_node(node))?;
    let mut own = Vec::new();
    let mut parameters: IndexMap<consort_jinja::Key, Value> = IndexMap::new();
    for (key, value) in entries {
        let text = key.as_str().unwrap_or_default();
        if text == "role" || Directive::of(text).is_some_and(|d| d.stands_at(Bearer::Role)) {
            own.push((key.clone(), value.clone()));
        } else if let Some(key) = key
            .scalar()
            .and_then(|key| consort_jinja::Key::new(key.clone()).ok())
        {
            parameters.insert(key, value.value());
        }
    }
    let mut directives = Directives::default();
    let tasks = Tasks {
        draft,
        handlers: false,
    };
    let own = Node::new(Arc::clone(node.origin()), Content::Mapping(own), false);
    tasks.directives(&own, Bearer::Role, &["role"], None, &mut directives)?;
    tasks.check_no_parts(&own, Bearer::Role)?;
    Ok(Definition {
        found,
        directives,
        parameters: Dict::new(parameters),
        origin: Arc::clone(node.origin()),
        options,
    })
}

fn find(draft: &Draft, name: &str, place: Place<'_>) -> Result<Found> {
    let loader = &draft.loader;
    let collections = &loader.actions.collections;
    let in_collection = |collection: &str, resource: &str| {
        let found = collections.get(collection)?;
        let path = found.path.join("roles").join(resource.replace('.', "/"));
        path.is_dir().then(|| Found {
            name: resource.to_owned(),
            path: path.to_string_lossy().into_owned(),
            collection: Some(collection.to_owned()),
        })
    };
    if is_full(name) {
        let dot = name.find('.').unwrap_or(0);
        let second = dot + 1 + name[dot + 1..].find('.').unwrap_or(0);
        if let Some(found) = in_collection(&name[..second], &name[second + 1..]) {
            return Ok(found);
        }
    } else {
        for collection in place.collections {
            if let Some(found) = in_collection(collection, name) {
                return Ok(found);
            }
        }
    }
    let mut searched = vec![paths::join(&draft.directory, "roles")];
    searched.extend(loader.settings.roles_path.iter().cloned());
    searched.extend(place.basedir.map(str::to_owned));
    searched.push(draft.directory.clone());
    for base in &searched {
        let path = paths::unfrack(&paths::join(base, name), &loader.surroundings, None);
        if Path::new(&path).exists() {
            return Ok(Found {
                name: name.to_owned(),
                path,
                collection: None,
            });
        }
    }
    let path = paths::unfrack(name, &loader.surroundings, None);
    if Path::new(&path).exists() {
        return Ok(Found {
            name: paths::basename(name).to_owned(),
            path,
            collection: None,
        });
    }
    let mut all: Vec<String> = place.collections.to_vec();
    all.extend(searched);
    Err(Located::new(format!(
        "The role {} was not found in: {}",
        python::repr(&Value::from(name)),
        all.join(":")
    )))
}

/// What of a role is in files, read for one use of it.
#[derive(Debug, Default)]
pub(crate) struct Files {
    tasks: Option<Node>,
    handlers: Option<Node>,
    collections: Vec<String>,
    validation: Option<(String, Dict)>,
}

fn load(draft: &Arc<Draft>, definition: Definition, depth: usize) -> Result<Arc<Role>> {
    let Definition {
        found,
        directives,
        parameters,
        origin,
        options,
    } = definition;
    if depth > DEPTH {
        return Err(Located::new(
            "A recursion loop was detected with the roles specified. Make sure child roles do not have dependencies on parent roles",
        )
        .at(&origin));
    }
    let loader = &draft.loader;
    let reads = RoleFiles {
        draft,
        name: &found.name,
        path: &found.path,
        rescuable: options.rescuable,
    };
    let from = |part: &str| options.from.get(part).map(String::as_str);
    let variables = reads.dict("vars", from("vars"))?;
    let defaults = reads.dict("defaults", from("defaults"))?;
    let full_name = match &found.collection {
        Some(collection) => format!("{collection}.{}", found.name),
        None => found.name.clone(),
    };
    let metadata = reads.read("meta", None, false)?.filter(has_content);
    let mut dependencies = Vec::new();
    let mut collections: Vec<String> = Vec::new();
    let mut allow_duplicates = options.allow_duplicates;
    let mut specifications = None;
    if let Some(metadata) = &metadata {
        if metadata.mapping().is_none() {
            return Err(Located::parser(format!(
                "the 'meta/main.yml' for role {full_name} is not a dictionary"
            )));
        }
        let mut written = Directives::default();
        let own = [
            "allow_duplicates",
            "dependencies",
            "galaxy_info",
            "argument_specs",
        ];
        Tasks {
            draft,
            handlers: false,
        }
        .directives(
            metadata,
            Bearer::Play,
            &own,
            Some("RoleMetadata"),
            &mut written,
        )?;
        let named = texts(written.get(Directive::Collections));
        if !options.from_include
            && let Some(value) = metadata.get("allow_duplicates").and_then(Node::scalar)
        {
            allow_duplicates = super::directives::truth(value).unwrap_or(false);
        }
        specifications = metadata.get("argument_specs").cloned();
        // Of the collections it looks in for the roles it depends on only its own counts, and the usual places.
        let mut searched: Vec<String> = found.collection.iter().cloned().collect();
        if !searched.iter().any(|name| name == "ansible.legacy") {
            searched.push("ansible.legacy".to_owned());
        }
        collections = named;
        dependencies = dependencies_of(draft, metadata, &found, &options, &searched, depth)?;
    }
    let written = std::mem::take(&mut collections);
    collections.extend(found.collection.iter().cloned());
    if found.collection.is_none() {
        collections.extend(draft.collection.iter().cloned());
        loader.actions.add_directory(Path::new(&found.path));
    }
    for name in written {
        if !collections.contains(&name) {
            collections.push(name);
        }
    }
    if !collections.is_empty()
        && !collections
            .iter()
            .any(|name| name == "ansible.builtin" || name == "ansible.legacy")
    {
        collections.push(
            if found.collection.is_some() {
                "ansible.builtin"
            } else {
                "ansible.legacy"
            }
            .to_owned(),
        );
    }
    let tasks = reads.read("tasks", from("tasks"), false)?;
    let mut argument_specs = Dict::default();
    let mut validation = None;
    if options.validate {
        argument_specs = reads.specifications(specifications.as_ref())?;
        let entry = from("tasks").unwrap_or("main").to_owned();
        if let Some(Value::Dict(specification)) = argument_specs.get(&entry)
            && !specification.is_empty()
        {
            validation = Some((entry, specification));
        }
    }
    let handlers = reads.read("handlers", from("handlers"), false)?;
    let public = options.public.unwrap_or(if loader.private_role_vars_given {
        !loader.settings.private_role_vars
    } else {
        options.fixed
    });
    let show = |value: Option<&Value>| value.map_or_else(|| "[]".to_owned(), python::repr);
    let identity = format!(
        "{full_name}\n{}\n{}\n{}\n{}\n{:?}\n{}\n{}",
        std::fs::canonicalize(&found.path)
            .unwrap_or_else(|_| PathBuf::from(&found.path))
            .display(),
        python::repr(&Value::Dict(parameters.clone())),
        show(directives.get(Directive::When)),
        show(directives.get(Directive::Tags)),
        options.from,
        match directives.get(Directive::Vars) {
            Some(vars) if vars.truth().unwrap_or(true) => python::repr(vars),
            _ => "{}".to_owned(),
        },
        options.from_include
    );
    Ok(Arc::new(Role {
        name: full_name.into(),
        path: PathBuf::from(&found.path),
        collection: found.collection.as_deref().map(Arc::from),
        defaults,
        variables,
        parameters,
        dependencies,
        allow_duplicates,
        directives,
        argument_specs,
        origin,
        identity,
        public,
        from_include: options.from_include,
        fixed: options.fixed,
        rescuable: options.rescuable,
        files: Files {
            tasks: tasks.filter(has_content),
            handlers: handlers.filter(has_content),
            collections,
            validation,
        },
    }))
}

fn has_content(node: &Node) -> bool {
    match node.content() {
        Content::Scalar(value) => value.truth().unwrap_or(true),
        Content::Sequence(items) => !items.is_empty(),
        Content::Mapping(entries) => !entries.is_empty(),
    }
}

fn dependencies_of(
    draft: &Arc<Draft>,
    metadata: &Node,
    owner: &Found,
    usage: &RoleUse,
    collections: &[String],
    depth: usize,
) -> Result<Vec<Arc<Role>>> {
    let Some(listed) = metadata
        .get("dependencies")
        .filter(|node| has_content(node))
    else {
        return Ok(Vec::new());
    };
    let Some(items) = listed.sequence() else {
        return Err(
            Located::parser("Expected role dependencies to be a list.").at(metadata.origin())
        );
    };
    let basedir = paths::dirname(&owner.path).to_owned();
    let place = Place {
        scope: None,
        own: None,
        basedir: Some(&basedir),
        collections,
    };
    let mut definitions = Vec::new();
    for item in items {
        let item = match item.content() {
            Content::Mapping(entries) if !item.has("role") && !item.has("name") => {
                galaxy_name(item, entries)
            }
            _ => item.clone(),
        };
        let mut options = RoleUse::new("");
        options.allow_duplicates = false;
        options.fixed = usage.fixed;
        definitions.push(define(draft, &item, options, place)?);
    }
    definitions
        .into_iter()
        .map(|definition| load(draft, definition, depth + 1))
        .collect()
}

/// A dependency that says where Galaxy finds it, with the name it is installed by.
fn galaxy_name(item: &Node, entries: &[(Node, Node)]) -> Node {
    let Some(source) = item.get("src").and_then(Node::as_str) else {
        return item.clone();
    };
    let source = source.split_once('+').map_or(source, |(_, rest)| rest);
    let name = if source.contains("://") || source.contains('@') {
        let last = source.rsplit('/').next().unwrap_or(source);
        let last = last.strip_suffix(".git").unwrap_or(last);
        let last = last.strip_suffix(".tar.gz").unwrap_or(last);
        last.split(',').next().unwrap_or(last)
    } else {
        source
    };
    let mut entries = entries.to_vec();
    entries.push((
        Node::of(Value::from("name"), item.origin()),
        Node::of(Value::from(name), item.origin()),
    ));
    Node::new(Arc::clone(item.origin()), Content::Mapping(entries), false)
}

struct RoleFiles<'r> {
    draft: &'r Draft,
    name: &'r str,
    path: &'r str,
    rescuable: bool,
}

impl RoleFiles<'_> {
    fn fail(&self, message: String) -> Located {
        if self.rescuable {
            Located::new(message)
        } else {
            Located::parser(message)
        }
    }

    fn dict(&self, part: &str, main: Option<&str>) -> Result<Dict> {
        match self.read(part, main, true)? {
            None => Ok(Dict::default()),
            Some(node) if node.mapping().is_some() => Ok(node.dict()),
            Some(_) => Err(Located::parser(format!(
                "The {part}/main.yml file for role '{}' must contain a dictionary of variables",
                self.name
            ))),
        }
    }

    fn specifications(&self, of_metadata: Option<&Node>) -> Result<Dict> {
        let base = paths::join(&paths::join(self.path, "meta"), "argument_specs");
        for extension in &self.draft.loader.settings.yaml_filename_extensions {
            if Path::new(&format!("{base}{extension}")).exists() {
                let node = self.read("meta", Some("argument_specs"), false)?;
                return Ok(node
                    .as_ref()
                    .and_then(|node| node.get("argument_specs"))
                    .map(Node::dict)
                    .unwrap_or_default());
            }
        }
        Ok(of_metadata.map(Node::dict).unwrap_or_default())
    }

    /// What the files of a part of a role hold; those of a directory put together, if that may be one.
    fn read(&self, part: &str, main: Option<&str>, may_be_directory: bool) -> Result<Option<Node>> {
        let directory = paths::join(self.path, part);
        if !Path::new(&directory).is_dir() {
            return match main {
                Some(_) => Err(self.fail(format!(
                    "Could not find specified file in role, its '{part}/' is not usable."
                ))),
                None => Ok(None),
            };
        }
        let extensions: &[&str] = if main.is_some() {
            &["", ".yml", ".yaml", ".json"]
        } else {
            &[".yml", ".yaml", ".json", ""]
        };
        let name = main.unwrap_or("main");
        let mut files = Vec::new();
        for extension in extensions {
            let path = format!("{}{extension}", paths::join(&directory, name));
            if !Path::new(&path).exists() {
                continue;
            }
            if Path::new(&path).is_dir() {
                if !may_be_directory {
                    continue;
                }
                list(&path, extensions, &mut files, 0);
            } else {
                files.push(path);
            }
            break;
        }
        if files.is_empty() {
            return match main {
                Some(main) => Err(self.fail(format!(
                    "Could not find specified file in role: {part}/{main}"
                ))),
                None => Ok(None),
            };
        }
        let mut data: Option<Node> = None;
        for file in files {
            let real = |path: &str| std::fs::canonicalize(path).ok();
            let inside = match (real(&file), real(&directory)) {
                (Some(file), Some(directory)) => file.starts_with(directory),
                _ => paths::normal(&file).starts_with(&paths::normal(&directory)),
            };
            if !inside && !paths::normal(&file).starts_with(&paths::normal(&directory)) {
                return Err(self.fail(format!(
                    "Failed loading '{}' for role ({}) as it is not inside the expected role path: '{directory}'",
                    python::repr(&Value::from(file.as_str())),
                    self.name
                )));
            }
            let Some(new) = self
                .draft
                .loader
                .reader
                .file(Path::new(&file))?
                .filter(has_content)
            else {
                continue;
            };
            data = Some(match (data, new.mapping()) {
                (Some(old), Some(entries)) => {
                    let mut all: IndexMap<String, (Node, Node)> = IndexMap::new();
                    for (key, value) in old.mapping().unwrap_or_default().iter().chain(entries) {
                        all.insert(python::shown(key), (key.clone(), value.clone()));
                    }
                    Node::new(
                        Arc::clone(old.origin()),
                        Content::Mapping(all.into_values().collect()),
                        false,
                    )
                }
                _ => new,
            });
            if !may_be_directory {
                break;
            }
        }
        Ok(data)
    }
}

fn list(directory: &str, extensions: &[&str], files: &mut Vec<String>, depth: usize) {
    if depth > 32 {
        return;
    }
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    for name in names {
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        let extension = splits_extension(&name).1.to_owned();
        let path = paths::join(directory, &name);
        if Path::new(&path).is_dir() && extension.is_empty() {
            list(&path, extensions, files, depth + 1);
        } else if Path::new(&path).is_file()
            && (extension.is_empty() || extensions.contains(&extension.as_str()))
        {
            files.push(path);
        }
    }
}

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
pub(crate) fn unwritten(
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
            name: format!("ansible.builtin.{}", super::actions::builtin_leaf(action)).into(),
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
