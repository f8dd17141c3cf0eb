//! Letting go of values that hold others.

use super::Value;

/// Lets go of values one after the other: those that are deeply nested would need too much of the stack otherwise.
pub(super) fn release(values: impl IntoIterator<Item = Value>) {
    let holds = |value: &Value| matches!(value, Value::List(_) | Value::Tuple(_) | Value::Dict(_));
    let mut pending: Vec<Value> = values.into_iter().filter(holds).collect();
    while let Some(value) = pending.pop() {
        match value {
            Value::List(list) => {
                pending.extend(list.into_items().into_iter().flatten().filter(holds));
            }
            Value::Tuple(tuple) => {
                pending.extend(tuple.into_items().into_iter().flatten().filter(holds));
            }
            Value::Dict(dict) => {
                pending.extend(dict.into_values().into_iter().flatten().filter(holds));
            }
            _ => {}
        }
    }
}
