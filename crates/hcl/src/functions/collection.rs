//! Functions of any collection: length, search, choice and sums.

use unicode_segmentation::UnicodeSegmentation;

use super::Table;
use super::arguments::{elements, number, parameter, whole};
use crate::convert::{convert, unify_lossy};
use crate::evaluate::{CallError, Function};
use crate::number::Number;
use crate::types::Type;
use crate::value::{Kind, Value};

pub(super) fn add(table: &mut Table) {
    table.add("length", length());
    table.add("element", element());
    table.add("index", index());
    table.add("contains", contains());
    table.add("coalesce", coalesce());
    table.add("coalescelist", coalesce_list());
    table.add("one", one());
    table.add("sum", sum());
    let bools = || vec![parameter("list", Type::list(Type::Bool))];
    let all = Function::returning(Type::Bool, bools(), None, |args| {
        for value in elements(&args[0]) {
            match value.kind() {
                Kind::Unknown(_) => return Ok(Value::unknown(Type::Bool)),
                Kind::Bool(true) => {}
                _ => return Ok(Value::FALSE),
            }
        }
        Ok(Value::TRUE)
    });
    table.add("alltrue", all.never_null());
    let any = Function::returning(Type::Bool, bools(), None, |args| {
        let values = elements(&args[0]);
        Ok(if values.iter().any(|v| v.as_bool() == Some(true)) {
            Value::TRUE
        } else if values.iter().all(Value::is_known) {
            Value::FALSE
        } else {
            Value::unknown(Type::Bool)
        })
    });
    table.add("anytrue", any.never_null());
}

fn length() -> Function {
    let value = parameter("value", Type::Dynamic);
    let ty = |args: &[Value]| match args[0].ty() {
        Type::Bool | Type::Number => Err(CallError::new(
            "argument must be a string, a collection type, or a structural type",
        )),
        _ => Ok(Type::Number),
    };
    Function::new(
        vec![value.dynamic().unknown().marked()],
        None,
        ty,
        |args, _| {
            let value = &args[0];
            Ok(match (value.ty(), value.kind()) {
                (Type::Dynamic, _) => Value::unknown(Type::Number).with_marks(value.marks()),
                (_, Kind::String(text)) => {
                    Value::number(text.graphemes(true).count()).with_marks(value.marks())
                }
                (Type::String, Kind::Unknown(refinement)) => {
                    let least = refinement.prefix().graphemes(true).count();
                    Value::unknown(Type::Number)
                        .refined(|r| r.not_null().at_least(Number::from(least), true))
                        .with_marks(value.marks())
                }
                _ => value.length(),
            })
        },
    )
    .never_null()
}

/// Where in `length` elements `index` is, counting from the end below zero and round again beyond.
fn wrapped(index: &Number, length: usize) -> Result<usize, CallError> {
    let index = whole(index).map_err(|e| CallError::new(format!("invalid index: {e}")))?;
    if length == 0 {
        return Err(CallError::new(
            "cannot use element function with an empty list",
        ));
    }
    Ok(index.rem_euclid(length as i64) as usize)
}

fn element() -> Function {
    let parameters = vec![
        parameter("list", Type::Dynamic).marked(),
        parameter("index", Type::Number),
    ];
    let ty = |args: &[Value]| match args[0].ty() {
        Type::List(element) => Ok(Type::clone(element)),
        Type::Tuple(types) => match args[1].as_number() {
            None => Ok(Type::Dynamic),
            Some(index) => Ok(types[wrapped(index, types.len())?].clone()),
        },
        other => Err(CallError::new(format!(
            "cannot read elements from {}",
            other.friendly_name()
        ))),
    };
    Function::new(parameters, None, ty, |args, _| {
        let values = elements(&args[0]);
        let index = wrapped(&number(args, 1), values.len())?;
        Ok(values[index].clone().with_marks(args[0].marks()))
    })
}

fn index() -> Function {
    let parameters = vec![
        parameter("list", Type::Dynamic),
        parameter("value", Type::Dynamic),
    ];
    Function::returning(Type::Number, parameters, None, |args| {
        if !matches!(args[0].ty(), Type::List(_) | Type::Tuple(_)) {
            return Err(CallError::new("argument must be a list or tuple"));
        }
        let values = elements(&args[0]);
        if values.is_empty() {
            return Err(CallError::new("cannot search an empty list"));
        }
        for (i, value) in values.iter().enumerate() {
            match value.surely_equals(&args[1]) {
                None => return Ok(Value::unknown(Type::Number)),
                Some(true) => return Ok(Value::number(i)),
                Some(false) => {}
            }
        }
        Err(CallError::new("item not found"))
    })
    .never_null()
}

fn contains() -> Function {
    let parameters = vec![
        parameter("list", Type::Dynamic),
        parameter("value", Type::Dynamic),
    ];
    Function::returning(Type::Bool, parameters, None, |args| {
        if !matches!(args[0].ty(), Type::List(_) | Type::Tuple(_) | Type::Set(_)) {
            return Err(CallError::new("argument must be list, tuple, or set"));
        }
        let mut unknown = false;
        for value in elements(&args[0]) {
            match args[1].surely_equals(value) {
                Some(true) => return Ok(Value::TRUE),
                Some(false) => {}
                None => unknown = true,
            }
        }
        Ok(if unknown {
            Value::unknown(Type::Bool)
        } else {
            Value::FALSE
        })
    })
    .never_null()
}

fn coalesce() -> Function {
    let values = parameter("vals", Type::Dynamic);
    let ty = |args: &[Value]| {
        let types: Vec<Type> = args.iter().map(|v| v.ty().clone()).collect();
        unify_lossy(&types)
            .map(|common| common.ty)
            .ok_or_else(|| CallError::new("all arguments must have the same type"))
    };
    let values = values.unknown().dynamic().null();
    Function::new(Vec::new(), Some(values), ty, |args, ty| {
        for value in args {
            let Ok(value) = convert(value, ty) else {
                continue;
            };
            if !value.is_known() {
                return Ok(Value::unknown(ty.clone()));
            }
            if !value.is_null() && value.as_str() != Some("") {
                return Ok(value);
            }
        }
        Err(CallError::new("no non-null, non-empty-string arguments"))
    })
    .never_null()
}

fn coalesce_list() -> Function {
    let values = parameter("vals", Type::Dynamic);
    let ty = |args: &[Value]| {
        let Some(first) = args.first() else {
            return Err(CallError::new("at least one argument is required"));
        };
        for value in args {
            if !value.is_known() {
                return Ok(Type::Dynamic);
            }
            if !matches!(value.ty(), Type::List(_) | Type::Tuple(_)) {
                return Err(CallError::new(
                    "coalescelist arguments must be lists or tuples",
                ));
            }
        }
        if args.iter().all(|v| v.ty() == first.ty()) {
            return Ok(first.ty().clone());
        }
        Ok(Type::Dynamic)
    };
    let values = values.unknown().dynamic().null();
    Function::new(Vec::new(), Some(values), ty, |args, ty| {
        for value in args {
            if !value.is_known() {
                return Ok(Value::unknown(ty.clone()));
            }
            if !elements(value).is_empty() {
                return Ok(value.clone());
            }
        }
        Err(CallError::new("no non-null arguments"))
    })
    .never_null()
}

fn one() -> Function {
    const MUST: &str = "must be a list, set, or tuple value with either zero or one elements";
    let ty = |args: &[Value]| match args[0].ty() {
        Type::List(element) | Type::Set(element) => Ok(Type::clone(element)),
        Type::Tuple(types) if types.len() < 2 => {
            Ok(types.first().cloned().unwrap_or(Type::Dynamic))
        }
        _ => Err(CallError::argument(0, MUST)),
    };
    Function::new(
        vec![parameter("list", Type::Dynamic)],
        None,
        ty,
        |args, ty| {
            if !args[0].length().is_known() {
                return Ok(Value::unknown(ty.clone()));
            }
            match elements(&args[0]) {
                [] => Ok(Value::null(ty.clone())),
                [one] => Ok(one.clone()),
                _ => Err(CallError::argument(0, MUST)),
            }
        },
    )
}

fn sum() -> Function {
    let list = parameter("list", Type::Dynamic);
    Function::returning(Type::Number, vec![list], None, |args| {
        let fail = |message: String| Err(CallError::argument(0, message));
        let list = &args[0];
        if !list.can_iterate() {
            return fail("cannot sum noniterable".to_owned());
        }
        if list.length_range() == (0, 0) {
            return fail("cannot sum an empty list".to_owned());
        }
        let Some(values) = list.as_sequence() else {
            let name = list.ty().friendly_name();
            return fail(format!(
                "argument must be list, set, or tuple. Received {name}"
            ));
        };
        if !list.is_wholly_known() {
            return Ok(Value::unknown(Type::Number));
        }
        let mut total: Option<Value> = None;
        for value in values {
            let number = convert(value, &Type::Number).ok().filter(|v| !v.is_null());
            let Some(number) = number else {
                let message = "argument must be list, set, or tuple of number values";
                return fail(message.to_owned());
            };
            total = Some(match total {
                None => number,
                Some(total) => total.add(&number),
            });
        }
        Ok(total.unwrap_or_else(|| Value::number(Number::ZERO)))
    })
    .never_null()
}
