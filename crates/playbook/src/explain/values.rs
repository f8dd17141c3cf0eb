//! What variables hold, as far as it may be shown.

use consort_jinja::{Str, Value, Variables as _, repr};

use super::expression::{Named, Step};
use crate::source::{Encrypted, shorten, source_lines};
use crate::template::Templar;
use crate::variables::{TaskVariables, unnoted};

/// How much of a value is shown.
const WIDEST: usize = 160;
/// Words in the names of variables whose values are not shown.
const SECRET: &[&str] = &[
    "pass",
    "secret",
    "token",
    "credential",
    "private",
    "vault",
    "apikey",
    "api_key",
    "access_key",
];
/// Variables that hold everything there is: only what is in them is shown.
const WHOLE: &[&str] = &["hostvars", "vars", "ansible_facts"];

/// The variables of a task, and what renders them.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'s> {
    /// What renders.
    pub(crate) templar: &'s Templar,
    /// The variables.
    pub(crate) variables: &'s TaskVariables,
}

impl Scene<'_> {
    /// The value of a variable as it was written; none if there is no such variable.
    pub(super) fn raw(&self, name: &str) -> Option<Value> {
        unnoted(|| self.variables.get(name))
    }

    /// The value that some steps from a variable lead to. What would be looked up outside is not looked up again.
    pub(super) fn value(&self, named: &Named, steps: usize) -> Option<Value> {
        let raw = self.raw(&named.root)?;
        if steps == 0 && !self.templar.is_template(&raw) {
            return Some(raw);
        }
        if looks_outside(&raw) {
            return (steps == 0).then_some(raw);
        }
        let path = Str::template(named.text(steps));
        unnoted(|| self.templar.evaluate(&path, self.variables)).ok()
    }

    /// What an expression's variable holds, and the path that leads to it: all of the way, or as far as there is something.
    pub(super) fn shown(&self, named: &Named) -> Option<(String, String)> {
        for steps in (0..=named.steps.len()).rev() {
            if steps == 0 && WHOLE.contains(&named.root.as_str()) {
                return None;
            }
            let Some(value) = self.value(named, steps) else {
                continue;
            };
            let path = named.text(steps);
            let text = if is_secret(&path, &value)
                || self
                    .raw(&named.root)
                    .is_some_and(|raw| is_secret(&path, &raw))
            {
                "(not shown: a secret)".to_owned()
            } else {
                written(&value)
            };
            return Some((path, text));
        }
        None
    }

    /// The names of all variables.
    pub(super) fn names(&self) -> Vec<std::sync::Arc<str>> {
        unnoted(|| self.variables.names())
    }
}

/// A value on a line, and where it was written.
fn written(value: &Value) -> String {
    let text = shorten(&repr::repr(value), WIDEST);
    match value {
        Value::Str(written) => match written.origin() {
            Some(origin) if origin.line > 0 => format!("{text}  ({}:{})", origin.file, origin.line),
            _ => text,
        },
        _ => text,
    }
}

/// Whether a value comes of something outside: another program, a file, a password that is made.
fn looks_outside(value: &Value) -> bool {
    match value {
        Value::Str(text) => ["lookup(", "query(", " q(", "{{q("]
            .iter()
            .any(|call| text.contains(call)),
        Value::List(items) => items.read().iter().any(looks_outside),
        Value::Dict(entries) => entries.read().values().any(looks_outside),
        _ => false,
    }
}

fn is_secret(path: &str, value: &Value) -> bool {
    let path = path.to_lowercase();
    SECRET.iter().any(|word| path.contains(word)) || holds_secret(value, 0)
}

/// Whether a value, or something in it, was written encrypted or has the name of a secret.
fn holds_secret(value: &Value, depth: usize) -> bool {
    match value {
        Value::Str(text) => text.origin().is_some_and(|origin| {
            let line = origin.line as usize;
            let marked = |from: usize, mark: &str| {
                source_lines(&origin.file, from, from + 1)
                    .is_ok_and(|lines| lines.iter().any(|line| line.contains(mark)))
            };
            origin.file.starts_with('/')
                && (marked(0, "$ANSIBLE_VAULT") || line > 0 && marked(line - 1, "!vault"))
        }),
        Value::Object(object) => object.any().downcast_ref::<Encrypted>().is_some(),
        Value::List(items) if depth < 8 => items
            .read()
            .iter()
            .take(50)
            .any(|item| holds_secret(item, depth + 1)),
        Value::Dict(entries) if depth < 8 => entries.read().iter().take(50).any(|(key, item)| {
            key.as_str().is_some_and(|key| {
                let key = key.to_lowercase();
                SECRET.iter().any(|word| key.contains(word))
            }) || holds_secret(item, depth + 1)
        }),
        _ => false,
    }
}

/// The names a value has: the keys of a dict.
pub(super) fn keys(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Dict(entries) => Some(
            entries
                .read()
                .keys()
                .filter_map(|key| key.as_str().map(str::to_owned))
                .collect(),
        ),
        _ => None,
    }
}

/// Where in the way a step of this name stands.
pub(super) fn position(named: &Named, name: &str) -> Option<usize> {
    named.steps.iter().position(|step| match step {
        Step::Name(own) => own == name,
        Step::Index(index) => index.to_string() == name,
    })
}
