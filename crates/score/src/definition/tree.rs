//! YAML as a tree whose every node knows its line.

use std::collections::BTreeMap;

use consort_plan::{Pointer, below};
use serde::Deserialize;
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

/// A value and the line it stands on.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    /// Counted from one.
    pub(crate) line: u32,
    /// The value.
    pub(crate) node: Node,
}

/// A value whose parts know where they stand.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// No mapping and no list.
    Scalar(Value),
    /// A list.
    List(Vec<Tree>),
    /// A mapping: key, the line of the key, value.
    Map(Vec<(String, u32, Tree)>),
}

/// A text that is not YAML.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotYaml {
    /// Counted from one.
    pub(crate) line: u32,
    /// What is wrong.
    pub(crate) message: String,
}

/// Deeper nesting is refused: nothing a score says needs it.
const DEPTH: usize = 64;

impl Tree {
    /// Reads a single YAML document; a repeated key is an error.
    pub(crate) fn read(text: &str) -> Result<Tree, NotYaml> {
        let options = serde_saphyr::options! {
            duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
            // `y` and `no` are names like any other.
            strict_booleans: true,
        };
        let read: Option<Spanned<Raw>> = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| {
                let error = error.without_snippet();
                let line = error.location().map_or(1, |place| place.line());
                let message = error.to_string();
                NotYaml {
                    line: u32::try_from(line).unwrap_or(1),
                    message: message
                        .split(" at line ")
                        .next()
                        .unwrap_or_default()
                        .to_owned(),
                }
            })?;
        let empty = Tree {
            line: 1,
            node: Node::Scalar(Value::Null),
        };
        read.map_or(Ok(empty), |raw| tree(raw, DEPTH))
    }

    /// The value alone.
    pub(crate) fn value(&self) -> Value {
        match &self.node {
            Node::Scalar(value) => value.clone(),
            Node::List(items) => Value::Array(items.iter().map(Tree::value).collect()),
            Node::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, _, tree)| (key.clone(), tree.value()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// The value of a key; none if this is no mapping or has no such key.
    pub(crate) fn get(&self, key: &str) -> Option<&Tree> {
        match &self.node {
            Node::Map(entries) => entries
                .iter()
                .find(|(name, _, _)| name == key)
                .map(|(_, _, tree)| tree),
            _ => None,
        }
    }

    /// The line of every field below, by its pointer: of the key for what has one.
    pub(crate) fn lines(&self) -> BTreeMap<Pointer, u32> {
        let mut lines = BTreeMap::new();
        let mut open = vec![(String::new(), self.line, self)];
        while let Some((at, line, tree)) = open.pop() {
            match &tree.node {
                Node::Scalar(_) => {}
                Node::List(items) => {
                    for (index, item) in items.iter().enumerate() {
                        open.push((below(&at, &index.to_string()), item.line, item));
                    }
                }
                Node::Map(entries) => {
                    for (key, line, value) in entries {
                        open.push((below(&at, key), *line, value));
                    }
                }
            }
            lines.insert(at, line);
        }
        lines
    }
}

fn tree(raw: Spanned<Raw>, depth: usize) -> Result<Tree, NotYaml> {
    let line = line_of(&raw.referenced);
    if depth == 0 {
        return Err(NotYaml {
            line,
            message: format!("nested more than {DEPTH} levels deep"),
        });
    }
    let node = match raw.value {
        Raw::Scalar(value) => Node::Scalar(value),
        Raw::List(items) => Node::List(
            items
                .into_iter()
                .map(|item| tree(item, depth - 1))
                .collect::<Result<_, _>>()?,
        ),
        Raw::Map(entries) => Node::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    Ok((key.value, line_of(&key.referenced), tree(value, depth - 1)?))
                })
                .collect::<Result<_, _>>()?,
        ),
    };
    Ok(Tree { line, node })
}

fn line_of(place: &serde_saphyr::Location) -> u32 {
    u32::try_from(place.line()).unwrap_or(1).max(1)
}

/// What the reader gives; a type of its own because a derived untagged enum would buffer and lose the places.
enum Raw {
    Scalar(Value),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

macro_rules! scalars {
    ($($visit:ident: $of:ty),*) => {
        $(fn $visit<E>(self, value: $of) -> Result<Raw, E> {
            Ok(Raw::Scalar(Value::from(value)))
        })*
    };
}

impl<'de> serde::de::Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a YAML value")
    }

    scalars!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Null))
    }

    fn visit_some<D: serde::Deserializer<'de>>(self, inner: D) -> Result<Raw, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_knows_its_line() {
        let tree = Tree::read("a: 1\nb:\n  - x: true\n    y: [p,\n        q]\n").unwrap();
        let lines = tree.lines();
        assert_eq!(lines["/a"], 1);
        assert_eq!(lines["/b"], 2);
        assert_eq!(lines["/b/0/x"], 3);
        assert_eq!(lines["/b/0/y/1"], 5);
        assert_eq!(tree.get("b").unwrap().value()[0]["x"], true);
    }

    #[test]
    fn what_is_no_yaml_is_told_with_its_line() {
        assert_eq!(Tree::read("a: 1\nb: [1\n").unwrap_err().line, 2);
        assert_eq!(Tree::read("a: 1\na: 2\n").unwrap_err().line, 2);
        let deep = "[".repeat(500) + &"]".repeat(500);
        assert!(Tree::read(&deep).is_err());
    }
}
