//! A role read: its files, its metadata, the roles it depends on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_jinja::{Dict, Value};

use super::super::directives::{Bearer, Directive, Directives};
use super::super::draft::Draft;
use super::super::tasks::{Tasks, texts};
use super::super::{Role, directives, python};
use super::files::{Files, RoleFiles, has_content};
use super::{DEPTH, Definition, Found, Place, Result, RoleUse, define};
use crate::paths;
use crate::source::{Content, Located, Node};

pub(super) fn load(draft: &Arc<Draft>, definition: Definition, depth: usize) -> Result<Arc<Role>> {
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
            allow_duplicates = directives::truth(value).unwrap_or(false);
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
