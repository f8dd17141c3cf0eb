//! Whether an object that was applied follows its plan.

use std::collections::HashMap;

use consort_hcl::{Kind, Marks, Path, Type, Value};

use super::{Problem, element, go_value, length, part};
use crate::provider::schema::{Attribute, Block, NestedBlock, Nesting};

/// In what an object is no completion of its plan: every known value of the plan must have stayed.
///
/// Also what two plans of one object must agree in, where the second knows more. Both values are of the
/// schema's implied type; marks are looked at only to keep secrets out of the messages.
pub fn result_problems(schema: &Block, planned: &Value, actual: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    block(schema, planned, actual, &Path::root(), &mut problems);
    problems
}

/// The same for values without a schema.
pub fn value_problems(planned: &Value, actual: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    value(planned, actual, &Path::root(), &mut problems);
    problems
}

fn block(
    schema: &Block,
    planned: &Value,
    actual: &Value,
    path: &Path,
    problems: &mut Vec<Problem>,
) {
    let at_root = if path.is_root() { "root object " } else { "" };
    if planned.is_null() && !actual.is_null() {
        problems.push(Problem::new(
            path,
            format!("{at_root}was absent, but now present"),
        ));
        return;
    }
    if actual.is_null() && !planned.is_null() {
        problems.push(Problem::new(
            path,
            format!("{at_root}was present, but now absent"),
        ));
        return;
    }
    if planned.is_null() {
        return;
    }
    for (name, attribute_schema) in &schema.attributes {
        let path = path.clone().attribute(name.clone());
        attribute(
            attribute_schema,
            part(planned, name),
            part(actual, name),
            &path,
            problems,
        );
    }
    for (name, nested) in &schema.blocks {
        let (planned, _) = part(planned, name).unmark();
        let (actual, _) = part(actual, name).unmark();
        nested_block(
            nested,
            &planned,
            &actual,
            &path.clone().attribute(name.clone()),
            problems,
        );
    }
}

fn attribute(
    schema: &Attribute,
    planned: Value,
    actual: Value,
    path: &Path,
    problems: &mut Vec<Problem>,
) {
    let (planned, planned_marks) = planned.unmark_deep();
    let (actual, actual_marks) = actual.unmark_deep();
    let before = problems.len();
    value(&planned, &actual, path, problems);
    let sensitive = schema.sensitive
        || (planned_marks | actual_marks).intersects(Marks::SENSITIVE | Marks::EPHEMERAL);
    if sensitive && problems.len() > before {
        problems.truncate(before);
        problems.push(Problem::new(
            path,
            "inconsistent values for sensitive attribute",
        ));
    }
}

fn nested_block(
    schema: &NestedBlock,
    planned: &Value,
    actual: &Value,
    path: &Path,
    problems: &mut Vec<Problem>,
) {
    match schema.nesting {
        Nesting::Single | Nesting::Group => {
            // An unknown placeholder may turn out to be no block.
            if planned.is_known() || !actual.is_null() {
                block(&schema.block, planned, actual, path, problems);
            }
        }
        Nesting::Map if matches!(planned.ty(), Type::Object(_)) => {
            for (key, planned) in planned.elements() {
                let name = key.as_shared_str().unwrap_or_else(|| "".into());
                match element(actual, &key) {
                    None => problems.push(Problem::new(
                        path,
                        format!("block key {name:?} has vanished"),
                    )),
                    Some(actual) => {
                        block(
                            &schema.block,
                            &planned,
                            &actual,
                            &path.clone().attribute(name),
                            problems,
                        );
                    }
                }
            }
            if planned.is_known() {
                for (key, _) in actual.elements() {
                    if element(planned, &key).is_none() {
                        let name = key.as_str().unwrap_or_default();
                        problems.push(Problem::new(
                            path,
                            format!("new block key {name:?} has appeared"),
                        ));
                    }
                }
            }
        }
        Nesting::List | Nesting::Map => {
            if !planned.is_known() || !actual.is_known() || planned.is_null() || actual.is_null() {
                return;
            }
            if length(planned) != length(actual) {
                problems.push(Problem::new(
                    path,
                    format!(
                        "block count changed from {} to {}",
                        length(planned),
                        length(actual)
                    ),
                ));
                return;
            }
            for (key, planned) in planned.elements() {
                if let Some(actual) = element(actual, &key) {
                    block(
                        &schema.block,
                        &planned,
                        &actual,
                        &path.clone().index(key),
                        problems,
                    );
                }
            }
        }
        Nesting::Set => {
            if !planned.is_known() || !actual.is_known() || planned.is_null() || actual.is_null() {
                return;
            }
            set_elements(planned, actual, path, problems, &|planned, actual| {
                let mut problems = Vec::new();
                block(&schema.block, planned, actual, path, &mut problems);
                problems.is_empty()
            });
            if length(planned) < length(actual) {
                problems.push(Problem::new(
                    path,
                    format!(
                        "block set length changed from {} to {}",
                        length(planned),
                        length(actual)
                    ),
                ));
            }
        }
    }
}

fn value(planned: &Value, actual: &Value, path: &Path, problems: &mut Vec<Problem>) {
    if matches!(planned.ty(), Type::Dynamic) {
        return;
    }
    if !actual.ty().conforms_to(planned.ty()) {
        let what = format!(
            "wrong final value type: {} required",
            planned.ty().friendly_name_for_constraint()
        );
        problems.push(Problem::new(path, what));
        return;
    }
    if !planned.is_known() {
        if !keeps_promises(planned, actual) {
            let what = format!(
                "final value {} does not conform to planning placeholder {}",
                go_value(actual),
                go_value(planned)
            );
            problems.push(Problem::new(path, what));
        }
        return;
    }
    if actual.is_null() {
        if !planned.is_null() {
            problems.push(Problem::new(
                path,
                format!("was {}, but now null", go_value(planned)),
            ));
        }
        return;
    }
    if planned.is_null() {
        problems.push(Problem::new(
            path,
            format!("was null, but now {}", go_value(actual)),
        ));
        return;
    }
    if !actual.is_known() {
        problems.push(Problem::new(path, "was known, but now unknown"));
        return;
    }
    match planned.kind() {
        Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => {
            if !planned.raw_equals(actual) {
                problems.push(Problem::new(
                    path,
                    format!("was {}, but now {}", go_value(planned), go_value(actual)),
                ));
            }
        }
        Kind::List(_) | Kind::Tuple(_) | Kind::Map(_) => {
            for (key, planned) in planned.elements() {
                match element(actual, &key) {
                    None => problems.push(Problem::new(
                        path,
                        format!("element {} has vanished", index(&key)),
                    )),
                    Some(actual) => value(&planned, &actual, &path.clone().index(key), problems),
                }
            }
            for (key, _) in actual.elements() {
                if element(planned, &key).is_none() {
                    problems.push(Problem::new(
                        path,
                        format!("new element {} has appeared", index(&key)),
                    ));
                }
            }
        }
        Kind::Object(attributes) => {
            for (name, planned) in attributes {
                value(
                    planned,
                    &part(actual, name),
                    &path.clone().attribute(name.clone()),
                    problems,
                );
            }
        }
        Kind::Set(_) => {
            set_elements(planned, actual, path, problems, &|planned, actual| {
                let mut problems = Vec::new();
                value(planned, actual, path, &mut problems);
                problems.is_empty()
            });
            if length(planned) < length(actual) {
                problems.push(Problem::new(
                    path,
                    format!(
                        "length changed from {} to {}",
                        length(planned),
                        length(actual)
                    ),
                ));
            }
        }
        Kind::Null | Kind::Unknown(_) => {}
    }
}

/// Whether a value is as much as was known of it before.
fn keeps_promises(planned: &Value, actual: &Value) -> bool {
    let Kind::Unknown(known) = planned.kind() else {
        return true;
    };
    if actual.is_null() {
        return !known.is_not_null();
    }
    let (least, most) = actual.length_range();
    match actual.kind() {
        Kind::String(text) => text.starts_with(known.prefix()),
        Kind::Number(number) => {
            known
                .minimum()
                .is_none_or(|(bound, inclusive)| number > bound || *inclusive && number == bound)
                && known.maximum().is_none_or(|(bound, inclusive)| {
                    number < bound || *inclusive && number == bound
                })
        }
        Kind::List(_) | Kind::Set(_) | Kind::Map(_) => {
            most >= known.shortest() && known.longest().is_none_or(|longest| least <= longest)
        }
        _ => true,
    }
}

fn index(key: &Value) -> String {
    match key.kind() {
        Kind::Number(number) => number.to_string(),
        Kind::String(text) => format!("{text:?}"),
        _ => go_value(key),
    }
}

/// Every planned element must have at least one actual one that completes it, and the other way round.
///
/// Elements that are the same on both sides are found by hash, so only those that were not wholly known
/// are compared with each other.
fn set_elements(
    planned: &Value,
    actual: &Value,
    path: &Path,
    problems: &mut Vec<Problem>,
    completes: &dyn Fn(&Value, &Value) -> bool,
) {
    let (Some(planned), Some(actual)) = (planned.as_sequence(), actual.as_sequence()) else {
        return;
    };
    let mut planned_found = vec![false; planned.len()];
    let mut actual_found = vec![false; actual.len()];
    let positions: HashMap<Hashed<'_>, usize> = actual
        .iter()
        .enumerate()
        .map(|(i, v)| (Hashed(v), i))
        .collect();
    for (i, value) in planned.iter().enumerate() {
        if let Some(at) = positions.get(&Hashed(value)).copied()
            && completes(value, &actual[at])
        {
            planned_found[i] = true;
            actual_found[at] = true;
        }
    }
    for (i, value) in planned.iter().enumerate() {
        if planned_found[i] && actual_found.iter().all(|found| *found) {
            continue;
        }
        for (at, other) in actual.iter().enumerate() {
            if !(planned_found[i] && actual_found[at]) && completes(value, other) {
                planned_found[i] = true;
                actual_found[at] = true;
            }
        }
    }
    let before = problems.len();
    for (value, _) in planned
        .iter()
        .zip(&planned_found)
        .filter(|(_, found)| !**found)
    {
        let what = format!(
            "planned set element {} does not correlate with any element in actual",
            go_value(value)
        );
        problems.push(Problem::new(path, what));
    }
    if problems.len() > before {
        return;
    }
    for (value, _) in actual
        .iter()
        .zip(&actual_found)
        .filter(|(_, found)| !**found)
    {
        let what = format!(
            "actual set element {} does not correlate with any element in plan",
            go_value(value)
        );
        problems.push(Problem::new(path, what));
    }
}

/// A value as a key by [`Value::raw_equals`].
struct Hashed<'a>(&'a Value);

impl PartialEq for Hashed<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.raw_equals(other.0)
    }
}

impl Eq for Hashed<'_> {}

impl std::hash::Hash for Hashed<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        fn value<H: std::hash::Hasher>(v: &Value, state: &mut H) {
            match v.kind() {
                Kind::Null => state.write_u8(0),
                Kind::Unknown(_) => state.write_u8(1),
                Kind::Bool(b) => state.write_u8(2 + u8::from(b)),
                Kind::Number(n) => state.write(n.to_string().as_bytes()),
                Kind::String(s) => state.write(s.as_bytes()),
                Kind::List(values) | Kind::Set(values) | Kind::Tuple(values) => {
                    for v in values {
                        value(v, state);
                    }
                }
                Kind::Map(values) | Kind::Object(values) => {
                    for (k, v) in values {
                        state.write(k.as_bytes());
                        value(v, state);
                    }
                }
            }
        }
        value(self.0, state);
    }
}
