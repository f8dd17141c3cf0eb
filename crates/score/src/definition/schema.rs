//! The published schema of `consort.yaml`, and the check of a file against it.
//!
//! The schema is the one in `docs/score.schema.json` that editors use; the check understands the words of JSON
//! Schema (draft 2020-12) that it is written with, and tells every deviation with its line. So what editors accept
//! and what Consort accepts is the same.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::tree::{Node, Tree};

/// The schema as published.
pub const SCHEMA: &str = include_str!("../../../../docs/score.schema.json");

static PARSED: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(SCHEMA).unwrap_or(Value::Bool(false)));

/// A deviation from the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deviation {
    /// Where, counted from one.
    pub(crate) line: u32,
    /// Which field, as people write it: `spec.parts[1].manifests.path`.
    pub(crate) field: String,
    /// What is wrong.
    pub(crate) message: String,
    /// What may help.
    pub(crate) hint: Option<String>,
}

/// Every deviation of a tree from the schema, in the order of their lines.
pub(crate) fn check(tree: &Tree) -> Vec<Deviation> {
    let mut check = Check {
        root: &PARSED,
        found: Vec::new(),
    };
    check.value(tree, tree.line, &PARSED, "");
    check.found.sort_by_key(|deviation| deviation.line);
    check.found
}

struct Check<'a> {
    root: &'a Value,
    found: Vec<Deviation>,
}

impl<'a> Check<'a> {
    fn say(&mut self, line: u32, field: &str, message: String, hint: Option<String>) {
        self.found.push(Deviation {
            line,
            field: field.to_owned(),
            message,
            hint,
        });
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        // The schema is ours; the bound only keeps a slip in it from hanging the process.
        for _ in 0..16 {
            let Some(pointer) = schema
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|target| target.strip_prefix('#'))
            else {
                break;
            };
            schema = self.root.pointer(pointer).unwrap_or(&Value::Null);
        }
        schema
    }

    fn value(&mut self, tree: &Tree, line: u32, schema: &'a Value, field: &str) {
        let Value::Object(schema) = self.resolve(schema) else {
            return;
        };
        if !is_of_type(tree, schema) {
            let wanted = types(schema).join(" or ");
            let message = format!(
                "{} has to be {}, not {}",
                name(field),
                article(&wanted),
                article(kind(tree))
            );
            self.say(line, field, message, None);
            return;
        }
        match &tree.node {
            Node::Scalar(value) => self.scalar(value, line, schema, field),
            Node::List(items) => {
                if (items.len() as u64)
                    < schema
                        .get("minItems")
                        .and_then(Value::as_u64)
                        .unwrap_or_default()
                {
                    self.say(
                        line,
                        field,
                        format!("{} must not be empty", name(field)),
                        None,
                    );
                }
                if let Some(of_items) = schema.get("items") {
                    for (index, item) in items.iter().enumerate() {
                        self.value(item, item.line, of_items, &format!("{field}[{index}]"));
                    }
                }
            }
            Node::Map(entries) => self.map(tree, entries, line, schema, field),
        }
    }

    fn scalar(&mut self, value: &Value, line: u32, schema: &Map<String, Value>, field: &str) {
        if let Some(Value::Array(allowed)) = schema.get("enum")
            && !allowed.contains(value)
        {
            let words: Vec<String> = allowed.iter().map(plain).collect();
            let hint = value.as_str().and_then(|given| {
                nearest(given, words.iter().map(String::as_str))
                    .map(|near| format!("did you mean {near}?"))
            });
            let message = format!(
                "{} has to be {}, not {}",
                name(field),
                alternatives(&words),
                plain(value)
            );
            self.say(line, field, message, hint);
        }
        if let (Some(Value::String(pattern)), Some(text)) = (schema.get("pattern"), value.as_str())
            && let Ok(pattern) = Regex::new(pattern)
            && !pattern.is_match(text)
        {
            let wanted = schema
                .get("x-expected")
                .and_then(Value::as_str)
                .unwrap_or("of another form");
            let message = format!("{} {text:?} has to be {wanted}", name(field));
            self.say(line, field, message, None);
        }
        let number = value.as_f64();
        for (word, far, says) in [("minimum", true, "at least"), ("maximum", false, "at most")] {
            if let (Some(number), Some(bound)) = (number, schema.get(word).and_then(Value::as_f64))
                && (if far { number < bound } else { number > bound })
            {
                let message = format!("{} has to be {says} {bound}, not {number}", name(field));
                self.say(line, field, message, None);
            }
        }
    }

    fn map(
        &mut self,
        tree: &Tree,
        entries: &[(String, u32, Tree)],
        line: u32,
        schema: &'a Map<String, Value>,
        field: &str,
    ) {
        let known = schema.get("properties").and_then(Value::as_object);
        for (key, key_line, value) in entries {
            let inner = if field.is_empty() {
                key.clone()
            } else {
                format!("{field}.{key}")
            };
            if let Some(of_key) = known.and_then(|known| known.get(key)) {
                self.value(value, *key_line, of_key, &inner);
                continue;
            }
            match schema.get("additionalProperties") {
                Some(Value::Bool(false)) => {
                    let names = known.into_iter().flat_map(|known| known.keys());
                    let hint = match nearest(key, names.clone().map(String::as_str)) {
                        Some(near) => format!("did you mean {near}?"),
                        None => {
                            let names: Vec<&str> = names.map(String::as_str).collect();
                            format!("{} has: {}", name(field), names.join(", "))
                        }
                    };
                    let message = format!("{} has no field {key:?}", name(field));
                    self.say(*key_line, &inner, message, Some(hint));
                }
                Some(of_others) => self.value(value, *key_line, of_others, &inner),
                None => {}
            }
        }
        for wanted in strings(schema.get("required")) {
            if tree.get(wanted).is_none() {
                let message = format!("{} needs {wanted}", name(field));
                self.say(line, field, message, None);
            }
        }
        if let Some(Value::Array(choices)) = schema.get("oneOf") {
            let words: Vec<String> = choices
                .iter()
                .flat_map(|choice| strings(choice.get("required")))
                .map(str::to_owned)
                .collect();
            let given: Vec<&String> = words
                .iter()
                .filter(|word| tree.get(word).is_some())
                .collect();
            if given.len() != 1 {
                let given = match given.as_slice() {
                    [] => "none of them".to_owned(),
                    several => several
                        .iter()
                        .map(|word| word.as_str())
                        .collect::<Vec<_>>()
                        .join(" and "),
                };
                let message = format!(
                    "{} has to have one of {}; it has {given}",
                    name(field),
                    alternatives(&words)
                );
                self.say(line, field, message, None);
            }
        }
    }
}

fn strings(value: Option<&Value>) -> impl Iterator<Item = &str> {
    value
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

fn types(schema: &Map<String, Value>) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one.as_str()],
        several => strings(several).collect(),
    }
}

fn is_of_type(tree: &Tree, schema: &Map<String, Value>) -> bool {
    let wanted = types(schema);
    let is = kind(tree);
    wanted.is_empty()
        || wanted
            .iter()
            .any(|word| *word == is || *word == "number" && is == "integer")
}

fn kind(tree: &Tree) -> &'static str {
    match &tree.node {
        Node::List(_) => "array",
        Node::Map(_) => "object",
        Node::Scalar(Value::Null) => "null",
        Node::Scalar(Value::Bool(_)) => "boolean",
        Node::Scalar(Value::Number(number)) if number.is_f64() => "number",
        Node::Scalar(Value::Number(_)) => "integer",
        Node::Scalar(_) => "string",
    }
}

/// The words of JSON Schema in those of YAML.
fn article(kind: &str) -> String {
    kind.split(" or ")
        .map(|kind| match kind {
            "array" => "a list",
            "object" => "a mapping",
            "null" => "empty",
            "boolean" => "true or false",
            "number" => "a number",
            "integer" => "a whole number",
            _ => "a text",
        })
        .collect::<Vec<_>>()
        .join(" or ")
}

fn name(field: &str) -> &str {
    if field.is_empty() { "a score" } else { field }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn alternatives(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// The known word that is a slip of the keyboard away from the given one.
pub(crate) fn nearest<'n>(given: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    if given.len() > 64 {
        return None;
    }
    known
        .map(|word| (distance(&given.to_lowercase(), &word.to_lowercase()), word))
        .filter(|(distance, word)| *distance <= 1.max(word.len() / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let changed = corner + usize::from(a != *b);
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deviations(text: &str) -> Vec<(u32, String)> {
        check(&Tree::read(text).unwrap())
            .into_iter()
            .map(|deviation| {
                let hint = deviation.hint.map(|hint| format!(" ({hint})"));
                (
                    deviation.line,
                    format!("{}{}", deviation.message, hint.unwrap_or_default()),
                )
            })
            .collect()
    }

    #[test]
    fn every_deviation_is_told_with_its_line() {
        let text = "apiVersion: consort.dev/v1\nkind: Scor\nmetadata: {name: Shop}\nspec:\n  parts:\n  - name: a\n    manifests: {pth: x}\n  - name: b\n  approval:\n    threshold: many\n";
        let told = deviations(text);
        assert_eq!(
            told,
            [
                (2, "kind has to be Score, not Scor (did you mean Score?)".to_owned()),
                (3, "metadata.name \"Shop\" has to be lower-case letters, digits and dashes".to_owned()),
                (7, "spec.parts[0].manifests has no field \"pth\" (did you mean path?)".to_owned()),
                (7, "spec.parts[0].manifests needs path".to_owned()),
                (8, "spec.parts[1] has to have one of terraform, manifests, playbook or policy; it has none of them".to_owned()),
                (10, "spec.approval.threshold has to be a whole number, not a text".to_owned()),
            ]
        );
    }

    #[test]
    fn the_published_schema_is_json() {
        assert!(PARSED.is_object());
    }
}
