//! Objects of providers built with the old SDK, brought into shape.

use std::collections::BTreeMap;

use consort_hcl::{Type, Value};

use super::part;
use crate::provider::schema::{Block, NestedBlock, Nesting};

/// Nested blocks of the result are never null or unknown as a whole, as far as the nesting allows.
///
/// The value is of the schema's implied type; marks stay where they are.
pub fn normalize_legacy(schema: &Block, value: &Value) -> Value {
    if value.deep_marks().is_empty() {
        return block(schema, value);
    }
    let (value, marks) = value.unmark_deep_with_paths();
    block(schema, &value).mark_paths(&marks)
}

fn block(schema: &Block, value: &Value) -> Value {
    if value.is_null() {
        return Value::null(schema.implied_type());
    }
    if schema.blocks.is_empty() {
        return value.clone();
    }
    let mut values = BTreeMap::new();
    for name in schema.attributes.keys() {
        values.insert(name.clone(), part(value, name));
    }
    for (name, nested) in &schema.blocks {
        values.insert(name.clone(), nested_block(nested, part(value, name)));
    }
    Value::object(values)
}

fn nested_block(schema: &NestedBlock, value: Value) -> Value {
    // The old SDK makes no dynamically typed attributes: such a block is another SDK's.
    if schema.block.contains_dynamic() {
        return value;
    }
    let element = schema.block.implied_type();
    let elements = |value: &Value| -> Vec<Value> {
        if value.is_known() {
            value
                .as_sequence()
                .unwrap_or_default()
                .iter()
                .map(|v| block(&schema.block, v))
                .collect()
        } else {
            vec![stub(&schema.block)]
        }
    };
    match schema.nesting {
        Nesting::Single | Nesting::Group if !value.is_known() => stub(&schema.block),
        Nesting::Group if value.is_null() => schema.empty_value(),
        Nesting::Single | Nesting::Group => block(&schema.block, &value),
        Nesting::List => Value::list(element, elements(&value)),
        Nesting::Set => Value::set(element, elements(&value)),
        Nesting::Map => value,
    }
}

/// What stands for a block that is unknown as a whole: one with unknown attributes.
fn stub(schema: &Block) -> Value {
    let mut values = BTreeMap::new();
    for (name, attribute) in &schema.attributes {
        values.insert(name.clone(), Value::unknown(attribute.ty.clone()));
    }
    for (name, nested) in &schema.blocks {
        let element: Type = nested.block.implied_type();
        let value = match nested.nesting {
            Nesting::Single | Nesting::Group => stub(&nested.block),
            Nesting::List => Value::list(element, vec![stub(&nested.block)]),
            Nesting::Set => Value::set(element, vec![stub(&nested.block)]),
            Nesting::Map => Value::map::<std::sync::Arc<str>>(element, []),
        };
        values.insert(name.clone(), value);
    }
    Value::object(values)
}
