//! Playbooks read: their plays, and those of the playbooks they import.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_jinja::{Dict, Key, Value};

use super::directives::{Bearer, Directive, Directives};
use super::draft::Draft;
use super::loader::Inner;
use super::plays::play;
use super::tasks::{Tasks, check_no_parts};
use super::variables::located;
use super::{Play, Scope, ScopeKind, python};
use crate::paths;
use crate::source::{Content, Located, Node};

type Result<T, E = Located> = std::result::Result<T, E>;

/// How deep playbooks may import each other.
const IMPORTS: usize = 64;

/// What `import_playbook` gives to the plays it brings.
#[derive(Clone, Default)]
pub(crate) struct Import {
    pub(super) vars: Dict,
    pub(super) tags: Vec<Value>,
    /// The conditions, outermost first.
    pub(super) when: Vec<Value>,
    pub(super) depth: usize,
}

pub(super) const ROLES_AND_TASKS: &[&str] = &[
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

pub(super) fn list(value: Option<&Value>) -> Vec<Value> {
    match value {
        Some(Value::List(items)) => items.read().clone(),
        Some(value) => vec![value.clone()],
        None => Vec::new(),
    }
}

/// Both, where both have a key the second.
pub(super) fn merged(one: &Dict, two: &Dict) -> Dict {
    let mut entries: indexmap::IndexMap<Key, Value> = one.read().clone();
    entries.extend(
        two.read()
            .iter()
            .map(|(key, value)| (key.clone(), value.clone())),
    );
    Dict::new(entries)
}
