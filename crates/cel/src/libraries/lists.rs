//! Lists: Kubernetes' functions and cel-go's extension.

use std::cmp::Ordering;

use super::standard::ADD;
use crate::EvalError;
use crate::functions::{Context, Library, Run};
use crate::libraries::{Answer, failed, no_overload, strings};
use crate::value::{Duration, Key, List, MAX_ITEMS, Value, compare, equal};

/// Kubernetes' functions. Two of them share their names with functions on texts.
pub(crate) const LIBRARY: Library = Library {
    declarations: include_str!("lists.decl"),
    functions: &[
        ("isSorted", is_sorted),
        ("sum", |context, args| sum(context, args, Value::Int(0))),
        ("max", |context, args| {
            best(context, args, "max", Ordering::Less)
        }),
        ("min", |context, args| {
            best(context, args, "min", Ordering::Greater)
        }),
        ("indexOf", |context, args| match args {
            [Value::List(list), item] => position(context, list, item, false),
            _ => strings::index_of(context, args),
        }),
        ("lastIndexOf", |context, args| match args {
            [Value::List(list), item] => position(context, list, item, true),
            _ => strings::last_index_of(context, args),
        }),
        ("includes", |context, args| match args {
            [Value::List(list), item] => {
                let found = position(context, list, item, false)?;
                Ok(Value::Bool(!matches!(found, Value::Int(-1))))
            }
            [value, item] => Ok(Value::Bool(
                equal(value, item, context.work).unwrap_or(false),
            )),
            _ => no_overload(),
        }),
    ],
};

/// cel-go's extension.
pub(crate) const EXTENDED: Library = Library {
    declarations: include_str!("lists_extended.decl"),
    functions: &[
        ("slice", slice),
        ("flatten", flatten),
        ("sort", |context, args| match args {
            [Value::List(list)] => sorted(context, list, list),
            _ => no_overload(),
        }),
        ("@sortByAssociatedKeys", |context, args| match args {
            [Value::List(list), Value::List(keys)] => sorted(context, list, keys),
            _ => no_overload(),
        }),
        ("lists.range", |context, args| match args {
            [Value::Int(count)] => {
                let count = (*count).max(0) as usize;
                if count > MAX_ITEMS {
                    return Err(EvalError::CallLimit);
                }
                context.work.spend(count)?;
                Ok(Value::list(
                    (0..count).map(|index| Value::Int(index as i64)).collect(),
                ))
            }
            _ => no_overload(),
        }),
        ("reverse", |context, args| match args {
            [Value::List(list)] => {
                let mut items = items(context, list)?;
                items.reverse();
                Ok(Value::list(items))
            }
            _ => no_overload(),
        }),
        ("distinct", distinct),
    ],
};

fn items<'a>(context: &mut Context<'_>, list: &List<'a>) -> Result<Vec<Value<'a>>, EvalError> {
    context.work.spend(list.len())?;
    list.iter().collect()
}

fn is_sorted<'a>(context: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let [Value::List(list)] = args else {
        return no_overload();
    };
    let items = items(context, list)?;
    for pair in items.windows(2) {
        if compare(&pair[0], &pair[1])? == Ordering::Greater {
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(true))
}

/// `sum` where an empty list is one of unsigned numbers, and so on.
pub(crate) const SUM_UINT: Run = |context, args| sum(context, args, Value::Uint(0));
pub(crate) const SUM_DOUBLE: Run = |context, args| sum(context, args, Value::Double(0.0));
pub(crate) const SUM_DURATION: Run =
    |context, args| sum(context, args, Value::Duration(Duration(0)));

fn sum<'a>(context: &mut Context<'_>, args: &[Value<'a>], zero: Value<'a>) -> Answer<'a> {
    let [Value::List(list)] = args else {
        return no_overload();
    };
    let mut total: Option<Value<'a>> = None;
    for item in items(context, list)? {
        total = Some(match total {
            None => item,
            Some(total) => ADD(context, &[total, item])?,
        });
    }
    match total {
        None => Ok(zero),
        Some(
            total @ (Value::Int(_)
            | Value::Uint(_)
            | Value::Double(_)
            | Value::Duration(Duration(_))),
        ) => Ok(total),
        Some(_) => no_overload(),
    }
}

fn best<'a>(
    context: &mut Context<'_>,
    args: &[Value<'a>],
    name: &str,
    replaces: Ordering,
) -> Answer<'a> {
    let [Value::List(list)] = args else {
        return no_overload();
    };
    let mut best: Option<Value<'a>> = None;
    for item in items(context, list)? {
        best = Some(match best {
            Some(best) if compare(&best, &item)? != replaces => best,
            _ => item,
        });
    }
    best.ok_or_else(|| failed(format!("{name} called on empty list")))
}

fn position<'a>(
    context: &mut Context<'_>,
    list: &List<'a>,
    wanted: &Value<'a>,
    last: bool,
) -> Answer<'a> {
    context.work.spend(list.len())?;
    let mut found = -1;
    for (index, item) in list.iter().enumerate() {
        let same = item.and_then(|item| equal(&item, wanted, context.work));
        match same {
            Ok(true) => {
                found = index as i64;
                if !last {
                    break;
                }
            }
            Err(error) if error.is_cost() => return Err(error),
            _ => {}
        }
    }
    Ok(Value::Int(found))
}

fn slice<'a>(context: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let [Value::List(list), Value::Int(start), Value::Int(end)] = args else {
        return no_overload();
    };
    let refused = |why: &str| Err(failed(format!("cannot slice({start}, {end}), {why}")));
    if *start < 0 || *end < 0 {
        return refused("negative indexes not supported");
    }
    if start > end {
        return refused("start index must be less than or equal to end index");
    }
    if (list.len() as i64) < *end {
        return refused(&format!("list is length {}", list.len()));
    }
    context.work.spend((end - start) as usize)?;
    let items: Result<Vec<Value<'a>>, EvalError> = (*start..*end)
        .filter_map(|index| list.get(index as usize))
        .collect();
    Ok(Value::list(items?))
}

fn flatten<'a>(context: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let (list, depth) = match args {
        [Value::List(list)] => (list, 1),
        [Value::List(list), Value::Int(depth)] => (list, *depth),
        _ => return no_overload(),
    };
    if depth < 0 {
        return Err(failed("level must be non-negative"));
    }
    let mut flat = Vec::new();
    flatten_into(context, list, depth, &mut flat)?;
    Ok(Value::list(flat))
}

fn flatten_into<'a>(
    context: &mut Context<'_>,
    list: &List<'a>,
    depth: i64,
    flat: &mut Vec<Value<'a>>,
) -> Result<(), EvalError> {
    context.work.spend(list.len() + 1)?;
    if flat.len() > MAX_ITEMS {
        return Err(EvalError::CallLimit);
    }
    for item in list.iter() {
        match item? {
            Value::List(inner) if depth > 0 => flatten_into(context, &inner, depth - 1, flat)?,
            other => flat.push(other),
        }
    }
    Ok(())
}

fn sorted<'a>(context: &mut Context<'_>, list: &List<'a>, keys: &List<'a>) -> Answer<'a> {
    if list.len() != keys.len() {
        return Err(failed(format!(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {} and {} elements respectively",
            list.len(),
            keys.len()
        )));
    }
    let mut pairs: Vec<(Value<'a>, Value<'a>)> = items(context, keys)?
        .into_iter()
        .zip(items(context, list)?)
        .collect();
    if let Some((first, _)) = pairs.first() {
        let comparable = matches!(
            first,
            Value::Bool(_)
                | Value::Int(_)
                | Value::Uint(_)
                | Value::Double(_)
                | Value::String(_)
                | Value::Bytes(_)
                | Value::Timestamp(_)
                | Value::Duration(_)
        );
        if !comparable {
            return Err(failed("list elements must be comparable"));
        }
        if pairs
            .iter()
            .any(|(key, _)| key.type_name() != first.type_name())
        {
            return Err(failed("list elements must have the same type"));
        }
    }
    // NaN has no order; it stays where it is.
    pairs.sort_by(|a, b| compare(&a.0, &b.0).unwrap_or(Ordering::Equal));
    Ok(Value::list(
        pairs.into_iter().map(|(_, item)| item).collect(),
    ))
}

fn distinct<'a>(context: &mut Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let [Value::List(list)] = args else {
        return no_overload();
    };
    let mut seen = std::collections::HashSet::new();
    let mut kept: Vec<Value<'a>> = Vec::new();
    let mut others: Vec<Value<'a>> = Vec::new();
    'items: for item in items(context, list)? {
        if let Some(key) = Key::of(&item) {
            if seen.insert(key) {
                kept.push(item);
            }
            continue;
        }
        for other in &others {
            context.work.spend(1)?;
            if equal(other, &item, context.work)? {
                continue 'items;
            }
        }
        others.push(item.clone());
        kept.push(item);
    }
    Ok(Value::list(kept))
}
