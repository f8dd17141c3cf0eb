//! Roles: found, read with what they depend on, and put in their places.

mod compile;
mod files;
mod load;

use std::path::Path;
use std::sync::Arc;

use consort_jinja::{Dict, Origin, Str, Value};
use indexmap::IndexMap;

use super::actions::is_full;
use super::directives::{Bearer, Directive, Directives};
use super::draft::Draft;
use super::tasks::{Tasks, check_no_parts, complete_collections, texts};
use super::variables::{Known, located};
use super::{Brought, Item, Role, Scope, ScopeKind, python};
use crate::paths;
use crate::source::{Content, Located, Node};

pub(crate) use compile::{compile, meta};
pub(crate) use files::Files;
use load::load;

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
    check_no_parts(&own, Bearer::Role)?;
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
    let in_collection = |collection: &str, resource: &str| -> Result<Option<Found>> {
        let Some(found) = collections.get(collection) else {
            return Ok(None);
        };
        found.allowed()?;
        let path = found.path.join("roles").join(resource.replace('.', "/"));
        Ok(path.is_dir().then(|| Found {
            name: resource.to_owned(),
            path: path.to_string_lossy().into_owned(),
            collection: Some(collection.to_owned()),
        }))
    };
    if is_full(name) {
        let dot = name.find('.').unwrap_or(0);
        let second = dot + 1 + name[dot + 1..].find('.').unwrap_or(0);
        if let Some(found) = in_collection(&name[..second], &name[second + 1..])? {
            return Ok(found);
        }
    } else {
        for collection in place.collections {
            if let Some(found) = in_collection(collection, name)? {
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
