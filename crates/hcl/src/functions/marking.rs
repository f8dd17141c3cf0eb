//! `sensitive` and its kin.

use std::convert::Infallible;

use super::Table;
use super::arguments::parameter;
use crate::evaluate::Function;
use crate::marks::Marks;
use crate::types::Type;
use crate::value::Value;

pub(super) fn add(table: &mut Table) {
    table.add(
        "sensitive",
        over(|v| v.clone().with_marks(Marks::SENSITIVE)),
    );
    table.add(
        "nonsensitive",
        over(|v| {
            let (value, marks) = v.clone().unmark();
            value.with_marks(marks - Marks::SENSITIVE)
        }),
    );
    table.add("ephemeralasnull", over(ephemeral_as_null));
    let anything = parameter("value", Type::Dynamic);
    let anything = anything.unknown().null().marked().dynamic();
    let is_sensitive = Function::returning(Type::Bool, vec![anything], None, |args| {
        let marks = args[0].marks();
        Ok(if marks.contains(Marks::SENSITIVE) {
            Value::TRUE
        } else if args[0].is_known() {
            Value::FALSE
        } else {
            Value::unknown(Type::Bool)
        })
    });
    table.add("issensitive", is_sensitive.never_null());
}

/// A function of anything that gives a value of the same type.
fn over(change: fn(&Value) -> Value) -> Function {
    let anything = parameter("value", Type::Dynamic);
    let anything = anything.unknown().null().marked().dynamic();
    Function::new(
        vec![anything],
        None,
        |args| Ok(args[0].ty().clone()),
        move |args, _| Ok(change(&args[0])),
    )
}

fn ephemeral_as_null(value: &Value) -> Value {
    if !value.deep_marks().contains(Marks::EPHEMERAL) {
        return value.clone();
    }
    let changed: Result<Value, Infallible> = value.transform(&mut |_, v| {
        let (plain, marks) = v.unmark();
        let kept = marks - Marks::EPHEMERAL;
        let plain = if marks.contains(Marks::EPHEMERAL) && plain.is_known() {
            Value::null(plain.ty().clone())
        } else {
            plain
        };
        Ok(plain.with_marks(kept))
    });
    match changed {
        Ok(value) => value,
    }
}
