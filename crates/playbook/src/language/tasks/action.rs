//! What a task does, and the arguments it is given: the key that names the action, `action:`, `local_action:`, `args:`.

use consort_jinja::{Dict, Key, Str, Value};

use super::super::arguments::{split_pairs, split_words, written_like};
use super::super::directives::{Bearer, Directive};
use super::super::python;
use super::{BUILTIN_TASKS, Result, Tasks, is_one_of};
use crate::source::{Content, Located, Node, Notice, Removal};

/// What a task does, read from its keys.
pub(super) struct Parsed {
    pub(super) action: Str,
    pub(super) origin_key: Node,
    pub(super) arguments: Dict,
    pub(super) variable: Option<Value>,
    pub(super) delegate: Option<Value>,
}

#[derive(Default)]
struct Arguments {
    entries: Dict,
    whole: Option<Value>,
}

impl Tasks<'_> {
    /// What a task does. With `collections` names that are no actions are told apart from those that are.
    pub(super) fn parse(self, node: &Node, collections: Option<&[String]>) -> Result<Parsed> {
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
        merged(action, arguments, own)
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
                    removal: Removal::of_core("2.23"),
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
        let arguments = merged(&action, arguments, Some(own))?;
        Ok(Some((action, arguments)))
    }

    fn additional(self, node: &Node, additional: Option<&Node>) -> Result<Arguments> {
        let mut arguments = Arguments::default();
        let Some(additional) = additional else {
            return Ok(arguments);
        };
        match additional.content() {
            Content::Scalar(Value::Str(text)) if all_template(text) => {
                arguments.whole = Some(Value::Str(text.clone()));
            }
            Content::Mapping(_) => arguments.entries = additional.dict(),
            Content::Scalar(Value::None) => {
                self.draft.loader.notice(Notice::Deprecated {
                    what: Located::new("Ignoring empty task `args` keyword.")
                        .about_node(node)
                        .hint("A mapping or template which resolves to a mapping is required."),
                    removal: Removal::of_core("2.23"),
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
            removal: Removal::of_core("2.23"),
        });
    }
}

/// Whether a text is one template from end to end.
fn all_template(text: &Str) -> bool {
    let trimmed = text.trim();
    text.is_template() && trimmed.starts_with("{{") && trimmed.ends_with("}}")
}

fn merged(action: &str, arguments: Arguments, own: Option<Dict>) -> Result<Arguments> {
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

/// Keys of tasks and handlers that are no actions.
fn is_attribute(name: &str) -> bool {
    matches!(
        name,
        "action" | "args" | "async_val" | "local_action" | "loop" | "loop_with" | "static"
    ) || Directive::of(name)
        .is_some_and(|d| d.stands_at(Bearer::Task) || d.stands_at(Bearer::Handler))
}

fn split_action(text: &Str) -> Result<(Str, Str)> {
    let words = split_words(text)?;
    let first = words.first().map_or("", String::as_str).trim().to_owned();
    let rest = words.get(1..).unwrap_or_default().join(" ");
    Ok((written_like(text, first), written_like(text, rest)))
}

fn merge(into: &Dict, from: &Dict) {
    let entries: Vec<(Key, Value)> = from
        .read()
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    into.change(|known| known.extend(entries));
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
