//! `yamlencode` and `yamldecode`, with the exact output of Terraform's encoder.

mod read;
mod write;

use super::Table;
use super::arguments::{parameter, text};
use crate::evaluate::{CallError, Function};
use crate::types::Type;
use crate::value::Value;

pub(super) fn add(table: &mut Table) {
    let value = parameter("value", Type::Dynamic).null().dynamic();
    let encode = Function::returning(Type::String, vec![value], None, |args| {
        if !args[0].is_wholly_known() {
            return Ok(Value::unknown(Type::String));
        }
        Ok(Value::string(write::document(&args[0])))
    });
    table.add("yamlencode", encode);
    let source = parameter("src", Type::String);
    let decode = Function::new(
        vec![source],
        None,
        |args| match args[0].as_str() {
            None => Ok(Type::Dynamic),
            Some(_) => decoded(args).map(|value| value.ty().clone()),
        },
        |args, _| decoded(args),
    );
    table.add("yamldecode", decode);
}

fn decoded(args: &[Value]) -> Result<Value, CallError> {
    read::document(text(args, 0)).map_err(CallError::new)
}
