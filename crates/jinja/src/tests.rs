//! The tests of Jinja.

use std::sync::Arc;

use crate::arguments::Arguments;
use crate::ast::Comparison;
use crate::environment::{Environment, Takes};
use crate::error::{Error, Result};
use crate::eval::State;
use crate::value::Value;

type Run = fn(&mut State<'_, '_>, Value, &Arguments) -> Result<bool>;

fn integer(value: &Value) -> Result<i64> {
    match value {
        Value::Float(number) => Ok(*number as i64),
        value => crate::arguments::integer(value),
    }
}

fn one(arguments: &Arguments, name: &str) -> Result<Value> {
    let [other] = arguments.bind(name, ["other"])?;
    other.ok_or_else(|| Error::failed(format!("{name}() missing 1 required positional argument")))
}

fn is_sequence(value: &Value) -> bool {
    match value {
        Value::Str(_) | Value::List(_) | Value::Tuple(_) | Value::Dict(_) | Value::Bytes(_) => true,
        Value::Object(object) => object.count().is_some(),
        _ => false,
    }
}

fn same(value: &Value, other: &Value) -> bool {
    match (value, other) {
        (Value::None, Value::None) => true,
        (Value::Bool(one), Value::Bool(two)) => one == two,
        (Value::Int(one), Value::Int(two)) => one == two,
        (Value::List(one), Value::List(two)) => one.is(two),
        (Value::Dict(one), Value::Dict(two)) => one.is(two),
        (Value::Str(one), Value::Str(two)) => one == two,
        (Value::Object(one), Value::Object(two)) => Arc::ptr_eq(one, two),
        _ => false,
    }
}

pub(crate) fn add(environment: &mut Environment) {
    let mut test = |names: &[&str], takes: Takes, run: Run| {
        for name in names {
            environment.add_test(name, takes, run);
        }
    };
    let defined = Takes::Defined;
    // What a value is, is known without what stands in it.
    let lazily = Takes::Lazily;
    test(&["defined"], Takes::Anything, |_, value, _| {
        Ok(!value.is_undefined())
    });
    test(&["undefined"], Takes::Anything, |_, value, _| {
        Ok(value.is_undefined())
    });
    test(&["odd"], defined, |_, value, _| {
        Ok(integer(&value)? % 2 != 0)
    });
    test(&["even"], defined, |_, value, _| {
        Ok(integer(&value)? % 2 == 0)
    });
    test(&["divisibleby"], defined, |_, value, arguments| {
        let [by] = arguments.bind("divisibleby", ["num"])?;
        let by = integer(&by.unwrap_or_default())?;
        if by == 0 {
            return Err(Error::failed("integer modulo by zero"));
        }
        Ok(integer(&value)?.checked_rem(by).unwrap_or(0) == 0)
    });
    test(&["filter"], defined, |state, value, _| {
        Ok(value
            .as_str()
            .is_some_and(|name| state.environment().has_filter(name)))
    });
    test(&["test"], defined, |state, value, _| {
        Ok(value
            .as_str()
            .is_some_and(|name| state.environment().has_test(name)))
    });
    test(&["none"], lazily, |_, value, _| {
        Ok(matches!(value, Value::None))
    });
    test(&["boolean"], lazily, |_, value, _| {
        Ok(matches!(value, Value::Bool(_)))
    });
    test(&["true"], lazily, |_, value, _| {
        Ok(matches!(value, Value::Bool(true)))
    });
    test(&["false"], lazily, |_, value, _| {
        Ok(matches!(value, Value::Bool(false)))
    });
    test(&["integer"], lazily, |_, value, _| {
        Ok(matches!(value, Value::Int(_) | Value::Big(_)))
    });
    test(&["float"], lazily, |_, value, _| {
        Ok(matches!(value, Value::Float(_)))
    });
    test(&["number"], lazily, |_, value, _| {
        Ok(matches!(
            value,
            Value::Int(_) | Value::Big(_) | Value::Float(_) | Value::Bool(_)
        ))
    });
    test(&["string"], lazily, |_, value, _| {
        Ok(matches!(value, Value::Str(_)))
    });
    test(&["mapping"], lazily, |_, value, _| {
        Ok(match value {
            Value::Dict(_) => true,
            Value::Object(object) => object.is_mapping(),
            _ => false,
        })
    });
    test(&["sequence"], lazily, |_, value, _| Ok(is_sequence(&value)));
    test(&["iterable"], lazily, |_, value, _| {
        Ok(match &value {
            Value::Object(object) => object.items().is_some() || object.count().is_some(),
            value => is_sequence(value),
        })
    });
    test(&["callable"], lazily, |_, value, _| {
        Ok(matches!(value, Value::Object(object) if object.is_callable()))
    });
    test(&["lower"], defined, |_, value, _| {
        let text = value.text()?;
        Ok(text.chars().any(char::is_lowercase) && !text.chars().any(char::is_uppercase))
    });
    test(&["upper"], defined, |_, value, _| {
        let text = value.text()?;
        Ok(text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase))
    });
    test(&["sameas"], lazily, |_, value, arguments| {
        Ok(same(&value, &one(arguments, "sameas")?))
    });
    test(&["escaped"], defined, |_, _, _| Ok(false));
    test(&["in"], lazily, |state, value, arguments| {
        state.compare(Comparison::In, &value, &one(arguments, "in")?)
    });
    let compare: [(&[&str], Run); 6] = [
        (&["==", "eq", "equalto"], |state, value, arguments| {
            state.compare(Comparison::Equal, &value, &one(arguments, "eq")?)
        }),
        (&["!=", "ne"], |state, value, arguments| {
            state.compare(Comparison::NotEqual, &value, &one(arguments, "ne")?)
        }),
        (&[">", "gt", "greaterthan"], |state, value, arguments| {
            state.compare(Comparison::Greater, &value, &one(arguments, "gt")?)
        }),
        (&[">=", "ge"], |state, value, arguments| {
            state.compare(Comparison::GreaterEqual, &value, &one(arguments, "ge")?)
        }),
        (&["<", "lt", "lessthan"], |state, value, arguments| {
            state.compare(Comparison::Less, &value, &one(arguments, "lt")?)
        }),
        (&["<=", "le"], |state, value, arguments| {
            state.compare(Comparison::LessEqual, &value, &one(arguments, "le")?)
        }),
    ];
    for (names, run) in compare {
        test(names, defined, run);
    }
}
