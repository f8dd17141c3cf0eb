//! JSON that reports the keys it met twice.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use super::decode::DecodeError;
use super::path::{Path, Segment};

/// As many strict errors are reported as upstream reports.
pub(super) const MAX_REPORTED: usize = 100;

/// Parses one JSON document and says which keys stood in it twice, as `duplicate field "metadata.name"`.
///
/// The last of two values holds, as upstream decodes it. Nesting deeper than 128 levels is an error.
pub fn parse_json_strict(bytes: &[u8]) -> Result<(Value, Vec<String>), DecodeError> {
    let mut duplicates = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Seed {
        path: &Path::ROOT,
        duplicates: &mut duplicates,
    }
    .deserialize(&mut deserializer)
    .and_then(|value| deserializer.end().map(|()| value))
    .map_err(DecodeError::Syntax)?;
    Ok((value, duplicates))
}

/// Brings strict errors into the order in which their fields stand in the document, as upstream's decoder
/// meets them: an unknown field where it first stands, a duplicate one where it stands again.
///
/// It reads the document once more, so it is for documents that are about to be refused or warned about.
pub fn in_document_order(bytes: &[u8], errors: Vec<String>) -> Vec<String> {
    let mut left: HashMap<String, bool> =
        errors.iter().map(|error| (error.clone(), true)).collect();
    let mut order = Order {
        left: &mut left,
        met: HashSet::new(),
        found: Vec::with_capacity(errors.len()),
        written: 0,
    };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let walked = OrderSeed {
        path: &Path::ROOT,
        order: &mut order,
    }
    .deserialize(&mut deserializer);
    let mut found = order.found;
    if walked.is_err() {
        return errors;
    }
    found.extend(
        errors
            .into_iter()
            .filter(|error| left.get(error) == Some(&true)),
    );
    found
}

struct Order<'a> {
    /// The errors, and whether they are still to be placed.
    left: &'a mut HashMap<String, bool>,
    /// The fields met so far that stand twice.
    met: HashSet<String>,
    found: Vec<String>,
    /// Bytes of paths written so far.
    written: usize,
}

/// As many bytes of paths are written to find the order: a path may be as long as the document, and so may the list of
/// those below it. What is not found by then comes last.
const MAX_WRITTEN: usize = 32 << 20;

impl Order<'_> {
    fn meet(&mut self, path: &Path<'_>) {
        if self.written > MAX_WRITTEN {
            return;
        }
        self.place(format!("unknown field \"{path}\""));
        let twice = format!("duplicate field \"{path}\"");
        self.written += twice.len();
        if self.left.contains_key(&twice) && !self.met.insert(twice.clone()) {
            self.place(twice);
        }
    }

    fn place(&mut self, error: String) {
        if let Some(waits) = self.left.get_mut(&error)
            && std::mem::take(waits)
        {
            self.found.push(error);
        }
    }
}

struct OrderSeed<'a, 'b> {
    path: &'a Path<'a>,
    order: &'a mut Order<'b>,
}

impl<'de> DeserializeSeed<'de> for OrderSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OrderSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        for index in 0.. {
            let path = Path::under(self.path, Segment::Index(index));
            let item = items.next_element_seed(OrderSeed {
                path: &path,
                order: &mut *self.order,
            })?;
            if item.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(key) = entries.next_key::<String>()? {
            let path = Path::under(self.path, Segment::Key(&key));
            self.order.meet(&path);
            entries.next_value_seed(OrderSeed {
                path: &path,
                order: &mut *self.order,
            })?;
        }
        Ok(())
    }
}

struct Seed<'a> {
    path: &'a Path<'a>,
    duplicates: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let path = Path::under(self.path, Segment::Index(list.len()));
            match items.next_element_seed(Seed {
                path: &path,
                duplicates: self.duplicates,
            })? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let path = Path::under(self.path, Segment::Key(&key));
            let value = entries.next_value_seed(Seed {
                path: &path,
                duplicates: self.duplicates,
            })?;
            match map.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(value);
                }
                Entry::Occupied(mut entry) => {
                    if self.duplicates.len() < MAX_REPORTED {
                        let path = Path::under(self.path, Segment::Key(entry.key()));
                        self.duplicates.push(format!("duplicate field \"{path}\""));
                    }
                    entry.insert(value);
                }
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_faults_below_a_path_as_long_as_the_document_is_not_looked_for_all_day() {
        let long = "k".repeat(1_000_000);
        let members: Vec<String> = (0..100_000).map(|at| format!("\"{at}\":1")).collect();
        let body = format!("{{\"{long}\":{{{}}},\"a\":1,\"a\":2}}", members.join(","));
        let twice = "duplicate field \"a\"".to_owned();
        let started = std::time::Instant::now();
        assert_eq!(
            in_document_order(body.as_bytes(), vec![twice.clone()]),
            [twice]
        );
        assert!(started.elapsed().as_secs() < 30);
    }

    #[test]
    fn a_key_met_twice_is_reported_with_its_path_and_the_last_holds() {
        let (value, duplicates) = parse_json_strict(
            br#"{"metadata":{"name":"a","name":"b"},"spec":{"c":[{"x":1},{"x":1,"x":2}]}}"#,
        )
        .unwrap();
        assert_eq!(value["metadata"]["name"], "b");
        assert_eq!(
            duplicates,
            [
                r#"duplicate field "metadata.name""#,
                r#"duplicate field "spec.c[1].x""#
            ]
        );
    }

    #[test]
    fn strict_errors_are_told_as_they_stand_in_the_document() {
        let body = br#"{"spec":{"foo":1,"replicas":2,"list":[{"bar":1}],"replicas":3},"last":1}"#;
        let errors = [
            r#"duplicate field "spec.replicas""#,
            r#"unknown field "spec.foo""#,
            r#"unknown field "spec.list[0].bar""#,
            r#"unknown field "last""#,
        ];
        let told = in_document_order(body, errors.map(str::to_owned).to_vec());
        assert_eq!(told, [errors[1], errors[2], errors[0], errors[3]]);
    }

    #[test]
    fn hostile_nesting_is_an_error() {
        let deep = "[".repeat(100_000);
        assert!(parse_json_strict(deep.as_bytes()).is_err());
        let deep = r#"{"a":"#.repeat(100_000);
        assert!(parse_json_strict(deep.as_bytes()).is_err());
    }

    #[test]
    fn trailing_text_is_an_error() {
        assert!(parse_json_strict(b"{} x").is_err());
        assert!(parse_json_strict(b"").is_err());
    }
}
