//! Whether a document can be merged: its values have the types of the schema, its items can be told apart.

use std::fmt::Write as _;

use serde_json::Value;

use super::element::{Element, wrong_scalar};
use super::fields::element;
use crate::schema::shape::{Expected, Node, Shape};
use crate::text::go_value;

/// Why a document cannot be merged, at each place where it cannot. Shown as upstream shows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct Unmergeable(Vec<(String, String)>);

impl Unmergeable {
    fn text(&self) -> String {
        let line = |(path, why): &(String, String)| {
            if path.is_empty() {
                why.clone()
            } else {
                format!("{path}: {why}")
            }
        };
        match &self.0[..] {
            [one] => line(one),
            all => all.iter().fold("errors:".to_owned(), |mut text, one| {
                // Writing to a String cannot fail.
                let _ = write!(text, "\n  {}", line(one));
                text
            }),
        }
    }
}

/// No more faults than this are looked for.
const MAX_FAULTS: usize = 100;

/// Checks a document. `duplicates`: items of lists and sets may have the same keys, as in objects that were
/// stored before their list had keys.
pub fn validate(shape: Shape<'_>, value: &Value, duplicates: bool) -> Result<(), Unmergeable> {
    let mut check = Check {
        duplicates,
        path: Vec::new(),
        faults: Vec::new(),
    };
    check.walk(shape, value);
    if check.faults.is_empty() {
        Ok(())
    } else {
        Err(Unmergeable(check.faults))
    }
}

struct Check<'v> {
    duplicates: bool,
    path: Vec<Element<'v>>,
    faults: Vec<(String, String)>,
}

impl<'v> Check<'v> {
    fn fault(&mut self, why: String) {
        let path = self.path.iter().map(ToString::to_string).collect();
        self.faults.push((path, why));
    }

    fn walk(&mut self, shape: Shape<'v>, value: &'v Value) {
        if self.faults.len() >= MAX_FAULTS {
            return;
        }
        match (shape.expected(), value) {
            (Expected::Any, _) | (Expected::List | Expected::Map, Value::Null) => {}
            (Expected::Scalar(kind), _) => {
                if let Some(why) = wrong_scalar(kind, value) {
                    self.fault(why);
                }
            }
            (Expected::Map, Value::Object(map)) => {
                for (name, value) in map {
                    self.path.push(Element::field(name));
                    match shape.member(name) {
                        Some(inner) => self.walk(inner, value),
                        None => self.fault("field not declared in schema".to_owned()),
                    }
                    self.path.pop();
                }
            }
            (Expected::List, Value::Array(items)) => self.list(shape, value, items),
            (Expected::Map, other) => {
                self.fault(format!("expected map, got &{{{}}}", go_value(other)));
            }
            (Expected::List, other) => {
                self.fault(format!("expected list, got &{{{}}}", go_value(other)));
            }
        }
    }

    fn list(&mut self, shape: Shape<'v>, value: &'v Value, items: &'v [Value]) {
        let node = shape.node(value);
        let mut seen = std::collections::BTreeSet::new();
        for (at, item) in items.iter().enumerate() {
            let step = match node {
                Node::Leaf | Node::Map => Element::Index(i64::try_from(at).unwrap_or(i64::MAX)),
                Node::Set | Node::ListMap(_) => match element(node, item) {
                    Ok(step) => {
                        if !self.duplicates && !seen.insert(step.clone()) {
                            self.fault(format!("duplicate entries for key {step}"));
                        }
                        step
                    }
                    Err(why) => {
                        self.fault(format!("element {at}: {why}"));
                        return;
                    }
                },
            };
            self.path.push(step);
            self.walk(shape.item(), item);
            self.path.pop();
        }
    }
}
