//! The directives of tasks, blocks, roles and plays, read from their keys.

use consort_jinja::{Dict, Value};

use super::super::arguments::written_like;
use super::super::directives::{Bearer, Directive, Directives, Kind};
use super::super::{Scope, python};
use super::{Result, Tasks};
use crate::source::{Content, Located, Node, Notice};

impl Tasks<'_> {
    /// The directives among the keys of a task.
    pub(super) fn task_directives(
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
                directives.set(directive, vars(value, class)?);
            } else {
                self.directive(directive, value, directives)?;
            }
        }
        Ok(())
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
                loop_control(value)?;
                value.value()
            }
            Directive::Register => register(value)?,
            Directive::When => match value.content() {
                Content::Sequence(_) => value.value(),
                _ => Value::list(vec![value.value()]),
            },
            _ => value.value(),
        };
        directives.set_at(directive, read, Some(value.origin()));
        Ok(())
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
}

/// What must be a text is none that has parts.
pub(crate) fn check_no_parts(node: &Node, bearer: Bearer) -> Result<()> {
    for (key, value) in node.mapping().unwrap_or_default() {
        let text = key
            .as_str()
            .and_then(Directive::of)
            .filter(|d| d.stands_at(bearer) && d.kind() == Kind::Text);
        if let Some(directive) = text
            && matches!(value.content(), Content::Sequence(_) | Content::Mapping(_))
        {
            return Err(not_text(directive.name(), value));
        }
    }
    Ok(())
}

fn not_text(name: &str, value: &Node) -> Located {
    Located::parser(format!(
        "The field '{name}' is supposed to be a string type, however the incoming data structure is a {}",
        python::class(value)
    ))
    .about_node(value)
}

/// The variables of a play, block or task.
pub(super) fn vars(node: &Node, class: &str) -> Result<Value> {
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

fn register(node: &Node) -> Result<Value> {
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

fn loop_control(node: &Node) -> Result<()> {
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
            return Err(not_text(name, value));
        }
    }
    Ok(())
}

/// What handlers listen to, as they are known by it in their role too.
pub(super) fn listen(directives: &mut Directives, node: &Node, scope: &Scope) -> Result<()> {
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

/// The items of a list of texts must be texts.
pub(super) fn check_texts(directive: Directive, node: &Node) -> Result<()> {
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
fn check_variable_name(key: &Node) -> Result<()> {
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
