//! The filters of Jinja.

mod numbers;
mod sequences;
mod texts;

use crate::environment::Environment;
use crate::error::Result;
use crate::eval::State;
use crate::value::Value;

pub(crate) fn add(environment: &mut Environment) {
    texts::add(environment);
    numbers::add(environment);
    sequences::add(environment);
}

/// Follows a path such as `a.b.0` into a value, as filters take it in `attribute`.
pub(crate) fn follow(state: &mut State<'_, '_>, value: &Value, path: &Value) -> Result<Value> {
    let Value::Str(path) = path else {
        return state.item(value, path);
    };
    let mut value = value.clone();
    for step in path.split('.') {
        let key = if !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit()) {
            step.parse().map_or_else(|_| Value::from(step), Value::Int)
        } else {
            Value::from(step)
        };
        value = state.item(&value, &key)?;
    }
    Ok(value)
}
