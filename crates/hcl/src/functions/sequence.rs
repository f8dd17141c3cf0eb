//! Functions that make lists of lists.

use std::collections::HashSet;

use super::Table;
use super::arguments::{Result, elements, number, parameter, plain, whole};
use crate::convert::{convert, unify_lossy};
use crate::evaluate::{CallError, Function};
use crate::marks::Marks;
use crate::number::Number;
use crate::types::Type;
use crate::value::Value;

/// `range` gives no more than this.
const RANGE_LIMIT: usize = 1024;

pub(super) fn add(table: &mut Table) {
    table.add("concat", concat());
    table.add("flatten", flatten());
    table.add("reverse", reverse());
    table.add("slice", slice());
    table.add("chunklist", chunk_list());
    table.add("distinct", distinct());
    table.add("matchkeys", match_keys());
    table.add("range", range());
    let strings = Type::list(Type::String);
    table.add(
        "compact",
        plain(strings.clone(), &[("list", strings.clone())], move |args| {
            if !args[0].is_wholly_known() {
                return Ok(Value::unknown(strings.clone()));
            }
            let kept = elements(&args[0])
                .iter()
                .filter(|v| v.as_str().is_some_and(|text| !text.is_empty()));
            Ok(Value::list(Type::String, kept.cloned().collect()))
        }),
    );
}

fn concat() -> Function {
    let parts = parameter("seqs", Type::Dynamic).marked();
    let ty = |args: &[Value]| {
        if args.is_empty() {
            return Err(CallError::new("at least one argument is required"));
        }
        if args.iter().all(|v| matches!(v.ty(), Type::List(_))) {
            let types: Vec<Type> = args.iter().map(|v| v.ty().clone()).collect();
            if let Some(common) = unify_lossy(&types) {
                return Ok(common.ty);
            }
        }
        let mut types = Vec::new();
        for (i, value) in args.iter().enumerate() {
            match value.ty() {
                Type::Tuple(parts) => types.extend_from_slice(parts),
                Type::List(_) if !value.is_known() => return Ok(Type::Dynamic),
                Type::List(element) => {
                    types.extend(elements(value).iter().map(|_| Type::clone(element)));
                }
                other => {
                    let message = format!(
                        "all arguments must be lists or tuples; got {}",
                        other.friendly_name()
                    );
                    return Err(CallError::argument(i, message));
                }
            }
        }
        Ok(Type::tuple(types))
    };
    Function::new(Vec::new(), Some(parts), ty, |args, ty| {
        let mut marks = Marks::NONE;
        let mut values = Vec::new();
        for (i, part) in args.iter().enumerate() {
            marks |= part.marks();
            let part = if matches!(ty, Type::List(_)) {
                convert(part, ty).map_err(|e| CallError::argument(i, e.message))?
            } else {
                part.clone()
            };
            values.extend_from_slice(elements(&part));
        }
        let joined = match ty {
            Type::List(element) => Value::list(Type::clone(element), values),
            _ => Value::tuple(values),
        };
        Ok(joined.with_marks(marks))
    })
    .never_null()
}

fn is_sequence(ty: &Type) -> bool {
    matches!(ty, Type::List(_) | Type::Set(_) | Type::Tuple(_))
}

/// What is in `value` at any depth; false where that is not known.
fn flattened(value: &Value, out: &mut Vec<Value>, marks: &mut Marks) -> bool {
    *marks |= value.marks();
    if !value.length().is_known() {
        return false;
    }
    let mut known = true;
    for value in elements(value) {
        if !value.is_known() && matches!(value.ty(), Type::Dynamic) {
            known = false;
        }
        if !value.is_null() && is_sequence(value.ty()) {
            if value.is_known() {
                known &= flattened(value, out, marks);
            } else {
                *marks |= value.marks();
                known = false;
            }
        } else {
            out.push(value.clone());
        }
    }
    known
}

fn flatten() -> Function {
    let ty = |args: &[Value]| {
        let list = &args[0];
        if !list.is_wholly_known() {
            return Ok(Type::Dynamic);
        }
        if !is_sequence(list.ty()) {
            return Err(CallError::new("can only flatten lists, sets and tuples"));
        }
        let mut values = Vec::new();
        if !flattened(list, &mut values, &mut Marks::default()) {
            return Ok(Type::Dynamic);
        }
        Ok(Type::tuple(values.iter().map(|v| v.ty().clone())))
    };
    let list = parameter("list", Type::Dynamic).marked();
    Function::new(vec![list], None, ty, |args, ty| {
        if !is_sequence(args[0].ty()) {
            return Err(CallError::new("can only flatten lists, sets and tuples"));
        }
        let (mut values, mut marks) = (Vec::new(), Marks::NONE);
        let flat = if flattened(&args[0], &mut values, &mut marks) {
            Value::tuple(values)
        } else {
            Value::unknown(ty.clone())
        };
        Ok(flat.with_marks(marks))
    })
    .never_null()
}

fn reverse() -> Function {
    let ty = |args: &[Value]| match args[0].ty() {
        Type::Tuple(types) => Ok(Type::tuple(types.iter().rev().cloned())),
        Type::List(element) | Type::Set(element) => Ok(Type::List(element.clone())),
        other => Err(CallError::argument(
            0,
            format!(
                "can only reverse list or tuple values, not {}",
                other.friendly_name()
            ),
        )),
    };
    let list = parameter("list", Type::Dynamic).marked();
    Function::new(vec![list], None, ty, |args, ty| {
        let values: Vec<Value> = elements(&args[0]).iter().rev().cloned().collect();
        let reversed = match ty {
            Type::List(element) => Value::list(Type::clone(element), values),
            _ => Value::tuple(values),
        };
        Ok(reversed.with_marks(args[0].marks()))
    })
    .never_null()
}

/// The two bounds of a slice, each where it is known.
fn slice_bounds(args: &[Value]) -> Result<(Option<usize>, Option<usize>)> {
    let (least, most) = args[0].length_range();
    let length = (least == most).then_some(least);
    let bound = |i: usize, name: &str| -> Result<Option<usize>> {
        let Some(number) = args[i].as_number() else {
            return Ok(None);
        };
        let fail = |message: String| Err(CallError::argument(i, message));
        let index = match whole(number) {
            Ok(index) => index,
            Err(e) => return fail(format!("invalid {name} index: {e}")),
        };
        let Ok(index) = usize::try_from(index) else {
            return fail(format!("{name} index must not be less than zero"));
        };
        if length.is_some_and(|length| index > length) {
            return fail(format!(
                "{name} index must not be greater than the length of the list"
            ));
        }
        Ok(Some(index))
    };
    let (start, end) = (bound(1, "start")?, bound(2, "end")?);
    if matches!((start, end), (Some(start), Some(end)) if start > end) {
        let message = "start index must not be greater than end index";
        return Err(CallError::argument(1, message));
    }
    Ok((start, end))
}

fn slice() -> Function {
    let parameters = vec![
        parameter("list", Type::Dynamic).marked(),
        parameter("start_index", Type::Number),
        parameter("end_index", Type::Number),
    ];
    let ty = |args: &[Value]| {
        let fail = |message: &str| Err(CallError::argument(0, message));
        match args[0].ty() {
            Type::Set(_) => fail(
                "cannot slice a set, because its elements do not have indices; explicitly convert to a list if the \
                 ordering of the result is not important",
            ),
            Type::List(_) => slice_bounds(args).map(|_| args[0].ty().clone()),
            Type::Tuple(types) => match slice_bounds(args)? {
                (Some(start), Some(end)) => Ok(Type::tuple(types[start..end].iter().cloned())),
                _ => Ok(Type::Dynamic),
            },
            _ => fail("must be a list or tuple value"),
        }
    };
    Function::new(parameters, None, ty, |args, ty| {
        let (Some(start), Some(end)) = slice_bounds(args)? else {
            return Ok(Value::unknown(ty.clone()).with_marks(args[0].marks()));
        };
        let values = elements(&args[0])
            .get(start..end)
            .unwrap_or_default()
            .to_vec();
        let part = match ty {
            Type::List(element) => Value::list(Type::clone(element), values),
            _ => Value::tuple(values),
        };
        Ok(part.with_marks(args[0].marks()))
    })
    .never_null()
}

fn chunk_list() -> Function {
    let parameters = vec![
        parameter("list", Type::list(Type::Dynamic)).marked(),
        parameter("size", Type::Number).marked(),
    ];
    let ty = |args: &[Value]| Ok(Type::list(args[0].ty().clone()));
    Function::new(parameters, None, ty, |args, _| {
        let marks = args[0].marks() | args[1].marks();
        let size =
            whole(&number(args, 1)).map_err(|e| CallError::new(format!("invalid size: {e}")))?;
        let Ok(size) = usize::try_from(size) else {
            return Err(CallError::new("the size argument must be positive"));
        };
        let ty = args[0].ty();
        let element = ty.element().cloned().unwrap_or(Type::Dynamic);
        let values = elements(&args[0]);
        let size = if size == 0 { values.len().max(1) } else { size };
        let chunks = values
            .chunks(size)
            .map(|chunk| Value::list(element.clone(), chunk.to_vec()))
            .collect();
        Ok(Value::list(ty.clone(), chunks).with_marks(marks))
    })
    .never_null()
}

fn distinct() -> Function {
    let list = parameter("list", Type::list(Type::Dynamic));
    let ty = |args: &[Value]| Ok(args[0].ty().clone());
    Function::new(vec![list], None, ty, |args, ty| {
        if !args[0].is_wholly_known() {
            return Ok(Value::unknown(ty.clone()));
        }
        let mut seen = HashSet::new();
        let values: Vec<Value> = elements(&args[0])
            .iter()
            .filter(|value| seen.insert(*value))
            .cloned()
            .collect();
        let element = ty.element().cloned().unwrap_or(Type::Dynamic);
        Ok(Value::list(element, values))
    })
    .never_null()
}

fn match_keys() -> Function {
    let lists = ["values", "keys", "searchset"];
    let parameters = lists
        .map(|name| parameter(name, Type::list(Type::Dynamic)))
        .to_vec();
    let common = |args: &[Value]| {
        unify_lossy(&[args[1].ty().clone(), args[2].ty().clone()])
            .ok_or_else(|| CallError::new("keys and searchset must be of the same type"))
    };
    let ty = move |args: &[Value]| common(args).map(|_| args[0].ty().clone());
    Function::new(parameters, None, ty, move |args, ty| {
        let element = ty.element().cloned().unwrap_or(Type::Dynamic);
        let values = elements(&args[0]);
        if values.len() != elements(&args[1]).len() {
            return Err(CallError::new("length of keys and values should be equal"));
        }
        let common = common(args)?;
        let convert = |value: &Value| common.convert(value).map_err(|e| CallError::new(e.message));
        let (keys, wanted) = (convert(&args[1])?, convert(&args[2])?);
        if elements(&wanted).is_empty() {
            return Ok(Value::list(element, Vec::new()));
        }
        if !args[0].is_wholly_known() || !keys.is_wholly_known() {
            return Ok(Value::unknown(ty.clone()));
        }
        // What cannot be compared matches nothing, as in Terraform.
        if !wanted.is_wholly_known() {
            return Ok(Value::list(element, Vec::new()));
        }
        let wanted: HashSet<&Value> = elements(&wanted).iter().collect();
        let found = values
            .iter()
            .zip(elements(&keys))
            .filter(|(_, key)| wanted.contains(key))
            .map(|(value, _)| value.clone())
            .collect();
        Ok(Value::list(element, found))
    })
    .never_null()
}

fn range() -> Function {
    let numbers = parameter("params", Type::Number);
    Function::returning(Type::list(Type::Number), Vec::new(), Some(numbers), |args| {
        let zero = Number::ZERO;
        let unit = |down: bool| Number::from(if down { -1i64 } else { 1 });
        let (start, end, step) = match args.len() {
            1 => {
                let end = number(args, 0);
                let step = unit(end < zero);
                (zero.clone(), end, step)
            }
            2 => {
                let (start, end) = (number(args, 0), number(args, 1));
                let step = unit(end < start);
                (start, end, step)
            }
            3 => (number(args, 0), number(args, 1), number(args, 2)),
            _ => return Err(CallError::new("must have one, two, or three arguments")),
        };
        let down = step < zero;
        if down && end > start {
            let message = "end must be less than start when step is negative";
            return Err(CallError::argument(1, message));
        }
        if !down && end < start {
            let message = "end must be greater than start when step is positive";
            return Err(CallError::argument(1, message));
        }
        let mut values = Vec::new();
        let mut at = start;
        while if down { at > end } else { at < end } {
            if values.len() >= RANGE_LIMIT {
                return Err(CallError::new(format!(
                    "more than {RANGE_LIMIT} values were generated; either decrease the difference between start and \
                     end or use a smaller step"
                )));
            }
            values.push(Value::number(at.clone()));
            at = at.add(&step);
        }
        Ok(Value::list(Type::Number, values))
    })
    .never_null()
}
