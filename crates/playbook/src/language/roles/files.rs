//! The files of a role.

use std::path::Path;
use std::sync::Arc;

use consort_jinja::{Dict, Value};
use indexmap::IndexMap;

use super::super::draft::Draft;
use super::super::python;
use super::Result;
use crate::paths;
use crate::source::{Content, Located, Node, splits_extension};

/// What of a role is in files, read for one use of it.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(super) tasks: Option<Node>,
    pub(super) handlers: Option<Node>,
    pub(super) collections: Vec<String>,
    pub(super) validation: Option<(String, Dict)>,
}

pub(super) struct RoleFiles<'r> {
    pub(super) draft: &'r Draft,
    pub(super) name: &'r str,
    pub(super) path: &'r str,
    pub(super) rescuable: bool,
}

impl RoleFiles<'_> {
    fn fail(&self, message: String) -> Located {
        if self.rescuable {
            Located::new(message)
        } else {
            Located::parser(message)
        }
    }

    pub(super) fn dict(&self, part: &str, main: Option<&str>) -> Result<Dict> {
        match self.read(part, main, true)? {
            None => Ok(Dict::default()),
            Some(node) if node.mapping().is_some() => Ok(node.dict()),
            Some(_) => Err(Located::parser(format!(
                "The {part}/main.yml file for role '{}' must contain a dictionary of variables",
                self.name
            ))),
        }
    }

    pub(super) fn specifications(&self, of_metadata: Option<&Node>) -> Result<Dict> {
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
    pub(super) fn read(
        &self,
        part: &str,
        main: Option<&str>,
        may_be_directory: bool,
    ) -> Result<Option<Node>> {
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

pub(super) fn has_content(node: &Node) -> bool {
    match node.content() {
        Content::Scalar(value) => value.truth().unwrap_or(true),
        Content::Sequence(items) => !items.is_empty(),
        Content::Mapping(entries) => !entries.is_empty(),
    }
}
