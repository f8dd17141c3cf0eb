//! YAML as `kubectl` reads it, and where in it a field stands.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::DuplicateKeyPolicy;

/// The dialect of manifests: that of the YAML 1.1 parsers `kubectl` has always used, where `yes` is a boolean and
/// `0644` is octal. As many values as a text of its length can hold without aliases.
fn dialect(text: &str, duplicate_keys: DuplicateKeyPolicy) -> serde_saphyr::Options {
    let values = (text.len() / 2).max(250_000);
    serde_saphyr::options! {
        legacy_octal_numbers: true,
        duplicate_keys: duplicate_keys,
        budget: serde_saphyr::budget! {
            max_nodes: values,
            max_events: values * 4,
        },
    }
}

/// A document, read.
pub(crate) struct Parsed {
    /// Its value; none if it is empty.
    pub(crate) value: Option<Value>,
    /// A key that stands twice, with its line: the last holds, as it does for `kubectl`.
    pub(crate) twice: Option<(u32, String)>,
}

/// The value of one document. An error is told with its line, from one.
pub(crate) fn parse(document: &str) -> Result<Parsed, (u32, String)> {
    let read = |policy| {
        serde_saphyr::from_str_with_options::<Option<Value>>(document, dialect(document, policy))
            .map(|value| value.filter(|value| !value.is_null()))
    };
    let error = match read(DuplicateKeyPolicy::Error) {
        Ok(value) => return Ok(Parsed { value, twice: None }),
        Err(error) => error,
    };
    let error = error.without_snippet();
    let line = error.location().map_or(1, |place| place.line() as u32);
    if let serde_saphyr::Error::DuplicateMappingKey { key, .. } = error {
        let key = key.clone().unwrap_or_default();
        if let Ok(value) = read(DuplicateKeyPolicy::LastWins) {
            return Ok(Parsed {
                value,
                twice: Some((line, key)),
            });
        }
    }
    let message = error.to_string();
    // The line is told beside it.
    let message = message.split(" at line ").next().unwrap_or_default();
    let message = message.lines().next().unwrap_or_default().to_owned();
    Err((line, message))
}

/// A YAML value whose parts know where they stood.
enum Node {
    Map(HashMap<String, serde_saphyr::Spanned<Node>>),
    List(Vec<serde_saphyr::Spanned<Node>>),
    Scalar,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // A derived untagged enum would buffer what it reads, and lose the places.
        from.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

macro_rules! scalars {
    ($($visit:ident: $of:ty),*) => {
        $(fn $visit<E>(self, _: $of) -> Result<Node, E> {
            Ok(Node::Scalar)
        })*
    };
}

impl<'de> serde::de::Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a YAML value")
    }

    scalars!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128,
        visit_f64: f64, visit_str: &str, visit_bytes: &[u8]);

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_some<D: serde::Deserializer<'de>>(self, inner: D) -> Result<Node, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = HashMap::new();
        while let Some((key, value)) = entries.next_entry()? {
            map.insert(key, value);
        }
        Ok(Node::Map(map))
    }
}

/// The line of a document, from one, on which a field stands or, if it is not there, the nearest around it.
pub(crate) fn line_of(document: &str, field: &str) -> Option<u32> {
    let root: serde_saphyr::Spanned<Node> = serde_saphyr::from_str_with_options(
        document,
        dialect(document, DuplicateKeyPolicy::LastWins),
    )
    .ok()?;
    let mut node = &root;
    let mut found = None;
    for step in field.split(['.', '[', ']']).filter(|step| !step.is_empty()) {
        let next = match &node.value {
            Node::Map(map) => map.get(step.trim_matches(['"', '\''])),
            Node::List(list) => step.parse::<usize>().ok().and_then(|index| list.get(index)),
            Node::Scalar => None,
        };
        let Some(next) = next else { break };
        found = Some(next.referenced.line() as u32);
        node = next;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_mean_what_they_always_meant_to_kubectl() {
        let parsed = parse("mode: 0400\non: no\non: yes\ntext: '0400'\n").unwrap();
        assert_eq!(parsed.twice, Some((3, "on".to_owned())));
        let value = parsed.value.unwrap();
        assert_eq!(value["mode"], 256);
        assert_eq!(value["on"], true);
        assert_eq!(value["text"], "0400");
    }

    #[test]
    fn the_line_of_a_field_is_found() {
        let text = "spec:\n  containers:\n  - name: a\n    image: x\n  - name: b\n    image: y\n";
        assert_eq!(line_of(text, "spec.containers[1].image"), Some(6));
        assert_eq!(line_of(text, "nothing"), None);
    }
}
