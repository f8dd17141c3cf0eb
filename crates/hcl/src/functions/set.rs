//! Functions of sets.

use super::Table;
use super::arguments::{Result, elements, parameter};
use crate::convert::{convert, unify_lossy};
use crate::evaluate::{CallError, Function};
use crate::marks::Marks;
use crate::types::Type;
use crate::value::Value;

/// More elements than this are refused in a product.
const PRODUCT_LIMIT: usize = 5_000_000;

pub(super) fn add(table: &mut Table) {
    let sets = |name: &str| parameter(name, Type::set(Type::Dynamic)).dynamic();
    let operation = |first: &str, second: &str, variadic: bool, unknowns: bool, combine| {
        let (parameters, variadic) = if variadic {
            (vec![sets(first)], Some(sets(second)))
        } else {
            (vec![sets(first), sets(second)], None)
        };
        Function::new(parameters, variadic, result_type, move |args, ty| {
            apply(args, ty, unknowns, combine)
        })
        .never_null()
    };
    let union: Combine = |mut a, b| {
        a.extend_from_slice(elements(b));
        a
    };
    let intersection: Combine = |mut a, b| {
        a.retain(|v| b.has_element(v).as_bool() == Some(true));
        a
    };
    let difference: Combine = |mut a, b| {
        a.retain(|v| b.has_element(v).as_bool() != Some(true));
        a
    };
    table.add(
        "setunion",
        operation("first_set", "other_sets", true, true, union),
    );
    table.add(
        "setintersection",
        operation("first_set", "other_sets", true, false, intersection),
    );
    table.add("setsubtract", operation("a", "b", false, false, difference));
    table.add("setproduct", set_product());
}

type Combine = fn(Vec<Value>, &Value) -> Vec<Value>;

fn result_type(args: &[Value]) -> Result<Type> {
    let types: Vec<Type> = args
        .iter()
        .filter_map(|set| {
            let element = set.ty().element().cloned().unwrap_or(Type::Dynamic);
            let empty = set.is_known() && elements(set).is_empty();
            (!empty || !matches!(element, Type::Dynamic)).then_some(element)
        })
        .collect();
    if types.is_empty() {
        return Ok(Type::set(Type::Dynamic));
    }
    unify_lossy(&types)
        .map(|common| Type::set(common.ty))
        .ok_or_else(|| CallError::new("given sets must all have compatible element types"))
}

fn apply(args: &[Value], ty: &Type, unknowns: bool, combine: Combine) -> Result {
    let converted = |i: usize| convert(&args[i], ty).map_err(|e| CallError::argument(i, e.message));
    let mut values = Vec::new();
    for i in 0..args.len() {
        let set = converted(i)?;
        if !set.is_known() || !unknowns && !set.is_wholly_known() {
            return Ok(Value::unknown(ty.clone()));
        }
        values = if i == 0 {
            elements(&set).to_vec()
        } else {
            combine(values, &set)
        };
    }
    let element = ty.element().cloned().unwrap_or(Type::Dynamic);
    Ok(Value::set(element, values))
}

fn set_product() -> Function {
    let sets = parameter("sets", Type::Dynamic).marked().unknown();
    let ty = |args: &[Value]| {
        if args.len() < 2 {
            return Err(CallError::new("at least two arguments are required"));
        }
        let mut lists = 0;
        let mut types = Vec::with_capacity(args.len());
        for (i, set) in args.iter().enumerate() {
            types.push(match set.ty() {
                Type::Set(element) => Type::clone(element),
                Type::List(element) => {
                    lists += 1;
                    Type::clone(element)
                }
                Type::Tuple(parts) => {
                    lists += 1;
                    if parts.is_empty() {
                        Type::Dynamic
                    } else {
                        let Some(common) = unify_lossy(parts) else {
                            let message = "all elements must be of the same type";
                            return Err(CallError::argument(i, message));
                        };
                        common.ty
                    }
                }
                _ => return Err(CallError::argument(i, "a set or a list is required")),
            });
        }
        let tuple = Type::tuple(types);
        Ok(if lists == args.len() {
            Type::list(tuple)
        } else {
            Type::set(tuple)
        })
    };
    Function::new(Vec::new(), Some(sets), ty, |args, ty| {
        let marks = args.iter().fold(Marks::NONE, |m, v| m | v.marks());
        Ok(product(args, ty)?.with_marks(marks))
    })
    .never_null()
}

fn product(args: &[Value], ty: &Type) -> Result {
    if args.iter().any(|v| !v.is_known() || !v.length().is_known()) {
        return Ok(unknown_product(args, ty));
    }
    let total = args
        .iter()
        .try_fold(1usize, |total, v| total.checked_mul(elements(v).len()))
        .filter(|total| *total <= PRODUCT_LIMIT);
    let Some(total) = total else {
        return Err(CallError::new(format!(
            "the product would have more than {PRODUCT_LIMIT} elements"
        )));
    };
    let element = ty.element().cloned().unwrap_or(Type::Dynamic);
    let Type::Tuple(types) = &element else {
        return Err(CallError::new("the result is no list of tuples"));
    };
    let mut columns = Vec::with_capacity(args.len());
    for (i, (values, ty)) in args.iter().zip(types.iter()).enumerate() {
        let column: std::result::Result<Vec<Value>, _> =
            elements(values).iter().map(|v| convert(v, ty)).collect();
        columns.push(column.map_err(|e| CallError::argument(i, e.message))?);
    }
    let mut rows = Vec::with_capacity(total);
    for mut row in 0..total {
        let mut tuple: Vec<Value> = Vec::with_capacity(columns.len());
        for column in columns.iter().rev() {
            tuple.push(column[row % column.len()].clone());
            row /= column.len();
        }
        tuple.reverse();
        rows.push(Value::tuple(tuple));
    }
    Ok(if matches!(ty, Type::List(_)) {
        Value::list(element, rows)
    } else {
        Value::set(element, rows)
    })
}

/// What is known of the length of a product whose factors are not known.
fn unknown_product(args: &[Value], ty: &Type) -> Value {
    let unknown = Value::unknown(ty.clone());
    let mut longest = 1usize;
    for set in args {
        let most = set.length_range().1;
        longest = longest.saturating_mul(most);
        if most > 1024 || longest > 2048 {
            return unknown;
        }
    }
    let shortest = longest.min(1);
    unknown.refined(|r| r.not_null().with_at_least(shortest).with_at_most(longest))
}
