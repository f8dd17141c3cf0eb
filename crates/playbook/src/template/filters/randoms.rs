//! Filters that choose at random.

use consort_jinja::{Arguments, Environment, Error, Result, State, Value};
use num_bigint::BigInt;

use super::{add_of_items, given};
use crate::template::context::refused;
use crate::template::mersenne::Random;

pub(super) fn add(environment: &mut Environment) {
    add_of_items(environment, &[("random", random), ("shuffle", shuffle)]);
}

fn whole(value: &Value) -> Option<BigInt> {
    match value {
        Value::Big(number) => Some((**number).clone()),
        other => other.as_int().map(BigInt::from),
    }
}

fn random(state: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let [start, step, seed] = arguments.bind("rand", ["start", "step", "seed"])?;
    let seed = given(seed);
    if seed.is_none() {
        state.changes_from_call_to_call();
    }
    let mut source = Random::of(seed.as_ref()).map_err(Error::failed)?;
    let set = |value: Option<Value>| -> Result<Option<Value>> {
        match given(value) {
            Some(value) => Ok(value.truth()?.then_some(value)),
            None => Ok(None),
        }
    };
    let (start, step) = (set(start)?, set(step)?);
    if let Some(end) = whole(&value) {
        let number = |value: Option<Value>, otherwise: i64| match value {
            None => Ok(BigInt::from(otherwise)),
            Some(value) => whole(&value).ok_or_else(|| {
                Error::failed(format!(
                    "'{}' object cannot be interpreted as an integer",
                    value.type_name()
                ))
            }),
        };
        let chosen = source.range(&number(start, 0)?, &end, &number(step, 1)?);
        return Ok(Value::integer(chosen.map_err(Error::failed)?));
    }
    if let Value::Str(_)
    | Value::Bytes(_)
    | Value::List(_)
    | Value::Tuple(_)
    | Value::Object(_)
    | Value::Dict(_) = &value
    {
        if start.is_some() || step.is_some() {
            return refused("start and step can only be used with integer values");
        }
        if let Value::Dict(_) = &value {
            return refused("0");
        }
        let items = value.iterate()?;
        if items.is_empty() {
            return refused("Cannot choose from an empty sequence");
        }
        return Ok(items[source.below(items.len())].clone());
    }
    refused("random can only be used on sequences and integers")
}

fn shuffle(state: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let [seed] = arguments.bind("randomize_list", ["seed"])?;
    let Ok(mut items) = value.iterate() else {
        return Ok(value);
    };
    let seed = match given(seed) {
        Some(seed) if seed.truth()? => Some(seed),
        _ => None,
    };
    if seed.is_none() {
        state.changes_from_call_to_call();
    }
    if let Ok(mut source) = Random::of(seed.as_ref()) {
        source.shuffle(&mut items);
    }
    Ok(Value::list(items))
}
