//! Tasks that include or import others: their options, and what an import puts in their place.

use std::path::Path;
use std::sync::Arc;

use consort_jinja::{Key, Str, Value};

use super::super::roles::{self, RoleUse};
use super::super::variables::{Known, located};
use super::super::{Brought, Item, Scope, ScopeKind, Task, directives, files, python};
use super::action::Parsed;
use super::{Result, Tasks, is_one_of};
use crate::source::{Content, Located, Node, Notice};

/// How deep files that import each other may go.
const IMPORTS: usize = 64;

impl Tasks<'_> {
    /// A task that imports or includes tasks or a role.
    pub(super) fn include(self, node: &Node, scope: &Arc<Scope>, class: &str) -> Result<Task> {
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

    pub(super) fn check_include_keys(
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

    pub(super) fn import_tasks(
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

    pub(super) fn import_role(
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
            let value = directives::truth(&value).ok_or_else(|| {
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
        let loaded = roles::bring(self.draft, &usage, own.as_ref(), scope, &inner)?;
        self.draft.handlers.lock().extend(loaded.handlers);
        read.extend(loaded.tasks);
        Ok(())
    }
}

fn is_empty(node: &Node) -> bool {
    match node.content() {
        Content::Scalar(value) => !value.truth().unwrap_or(true),
        Content::Sequence(items) => items.is_empty(),
        Content::Mapping(entries) => entries.is_empty(),
    }
}
