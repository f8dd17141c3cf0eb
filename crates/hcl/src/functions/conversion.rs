//! `tostring` and its kin.

use super::Table;
use super::arguments::parameter;
use crate::convert::{can_convert_lossy, convert};
use crate::evaluate::{CallError, Function};
use crate::marks::Marks;
use crate::text::quote;
use crate::types::Type;
use crate::value::{Kind, Value};

pub(super) fn add(table: &mut Table) {
    for (name, ty) in [
        ("tostring", Type::String),
        ("tonumber", Type::Number),
        ("tobool", Type::Bool),
        ("tolist", Type::list(Type::Dynamic)),
        ("toset", Type::set(Type::Dynamic)),
        ("tomap", Type::map(Type::Dynamic)),
    ] {
        table.add(name, to(ty));
    }
}

fn to(want: Type) -> Function {
    let value = parameter("v", Type::Dynamic).null().marked().dynamic();
    let wanted = want.clone();
    let ty = move |args: &[Value]| {
        let have = args[0].ty();
        if have == &wanted || can_convert_lossy(have, &wanted) {
            return Ok(wanted.clone());
        }
        Err(impossible(have, &wanted))
    };
    Function::new(vec![value], None, ty, move |args, _| {
        let value = &args[0];
        convert(value, &want).map_err(|_| {
            let have = value.ty();
            let (name, wanted) = (have.friendly_name(), want.friendly_name_for_constraint());
            let hidden = if value.deep_marks().contains(Marks::EPHEMERAL) {
                Some("ephemeral")
            } else if value.deep_marks().contains(Marks::SENSITIVE) {
                Some("sensitive")
            } else {
                None
            };
            if let Some(hidden) = hidden {
                let message = format!("cannot convert this {hidden} {name} to {wanted}");
                return CallError::argument(0, message);
            }
            let (Kind::String(text), Type::Bool | Type::Number) = (value.kind(), &want) else {
                return impossible(have, &want);
            };
            let rule = if matches!(want, Type::Bool) {
                "only the strings \"true\" or \"false\" are allowed"
            } else {
                "given string must be a decimal representation of a number"
            };
            CallError::argument(
                0,
                format!("cannot convert {} to {wanted}; {rule}", quote(text)),
            )
        })
    })
}

fn impossible(have: &Type, want: &Type) -> CallError {
    let message = format!(
        "cannot convert {} to {}",
        have.friendly_name(),
        want.friendly_name_for_constraint()
    );
    CallError::argument(0, message)
}
