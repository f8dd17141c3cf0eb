//! Arrays, numbers and graphs.

use std::collections::BTreeSet;

use regorus::Value;

use super::{Failure, Function, Outcome, array, items_at, operand, wrong};

pub(super) const FUNCTIONS: &[Function] = &[
    ("array.flatten", 1, flatten),
    ("numbers.range_step", 3, range_step),
    ("graph.reachable_paths", 2, reachable_paths),
];

/// How long a range or a set of paths may become before it is refused.
const MAX_ITEMS: usize = 10_000_000;

fn flatten(operands: &[Value]) -> Outcome {
    let Value::Array(items) = operand(operands, 0) else {
        return Err(wrong(operands, 0, "array"));
    };
    let mut flat = Vec::with_capacity(items.len());
    for item in items.iter() {
        match item {
            Value::Array(inner) => flat.extend(inner.iter().cloned()),
            other => flat.push(other.clone()),
        }
    }
    Ok(Value::from(flat))
}

fn integer(operands: &[Value], at: usize) -> Result<i128, Failure> {
    let Value::Number(number) = operand(operands, at) else {
        return Err(wrong(operands, at, "number"));
    };
    if !number.is_integer() {
        return Err(Failure::Type {
            operand: at + 1,
            expected: "integer number",
            got: "floating-point number",
        });
    }
    // Beyond 128 bits only the sign matters: nothing lies between such a step and the end of a range that can be held.
    Ok(number.as_i128().unwrap_or(if number.is_positive() {
        i128::MAX / 4
    } else {
        i128::MIN / 4
    }))
}

fn range_step(operands: &[Value]) -> Outcome {
    let (from, to, step) = (
        integer(operands, 0)?,
        integer(operands, 1)?,
        integer(operands, 2)?,
    );
    if step <= 0 {
        return Err("numbers.range_step: step must be a positive number above zero".into());
    }
    let span = (to - from).unsigned_abs() / step.unsigned_abs();
    if span >= MAX_ITEMS as u128 {
        return Err("the range is too long".into());
    }
    let direction = if to >= from { step } else { -step };
    Ok((0..=i128::try_from(span).unwrap_or(0))
        .map(|at| Value::from(from + at * direction))
        .collect::<Vec<_>>()
        .into())
}

fn neighbours(graph: &Value, node: &Value) -> Option<Vec<Value>> {
    let Value::Object(graph) = graph else {
        return None;
    };
    match graph.get(node)? {
        Value::Array(items) => Some(items.to_vec()),
        Value::Set(items) => Some(items.iter_sorted().cloned().collect()),
        _ => Some(Vec::new()),
    }
}

/// The maximal paths from each start: a path ends where its last node has no neighbours in the graph, or only such as are on it.
fn reachable_paths(operands: &[Value]) -> Outcome {
    let graph = operand(operands, 0);
    if !matches!(graph, Value::Object(_)) {
        return Err(wrong(operands, 0, "object"));
    }
    let starts = items_at(operands, 1)?;
    let mut found = BTreeSet::new();
    let mut count = 0_usize;
    for start in starts {
        let Some(first) = neighbours(graph, &start) else {
            continue;
        };
        // Each entry: the path so far, and the neighbours of its end that are still to be tried.
        let mut path = vec![start.clone()];
        let mut open = vec![first.into_iter()];
        let mut extended = vec![false];
        while let Some(next) = open.last_mut() {
            count += 1;
            if count > MAX_ITEMS {
                return Err("the graph has too many paths".into());
            }
            if let Some(node) = next.next() {
                let onward = neighbours(graph, &node);
                let known = onward.is_some();
                if let Some(onward) = onward
                    && !path.contains(&node)
                {
                    if let Some(last) = extended.last_mut() {
                        *last = true;
                    }
                    open.push(onward.into_iter());
                    path.push(node);
                    extended.push(false);
                } else if known {
                    // The way closes: what was walked so far is a path of its own.
                    found.insert(array(path.iter().cloned()));
                    if let Some(last) = extended.last_mut() {
                        *last = true;
                    }
                }
            } else {
                open.pop();
                if extended.pop() == Some(false) {
                    found.insert(array(path.iter().cloned()));
                }
                path.pop();
            }
        }
    }
    Ok(Value::from(found))
}
