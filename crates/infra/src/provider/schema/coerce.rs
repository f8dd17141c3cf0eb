//! Values from elsewhere brought to the type a schema implies.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_hcl::{Path, Type, Value, convert};

use super::{Block, NestedBlock, Nesting};

/// Why a value does not fit a schema.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("{}{message}", if path.is_root() { String::new() } else { format!("{path}: ") })]
pub struct CoerceError {
    /// Where in the value.
    pub path: Path,
    /// What is wrong there.
    pub message: String,
}

impl CoerceError {
    fn new(path: &Path, message: impl Into<String>) -> Self {
        Self {
            path: path.clone(),
            message: message.into(),
        }
    }
}

impl Block {
    /// An object like the given one and of the implied type: attributes are converted, and those that may
    /// be absent become null. For values that do not come from a configuration body.
    pub fn coerce(&self, value: &Value) -> Result<Value, CoerceError> {
        coerce(self, value, &Path::root())
    }
}

fn coerce(schema: &Block, value: &Value, path: &Path) -> Result<Value, CoerceError> {
    if value.is_null() {
        return Ok(Value::null(schema.implied_type()));
    }
    if !value.is_known() {
        return Ok(Value::unknown(schema.implied_type()).with_marks(value.marks()));
    }
    let Some(given) = value
        .as_keyed()
        .filter(|_| matches!(value.ty(), Type::Object(_)))
    else {
        return Err(CoerceError::new(path, "an object is required"));
    };
    for name in given.keys() {
        if !schema.attributes.contains_key(name) && !schema.blocks.contains_key(name) {
            return Err(CoerceError::new(
                path,
                format!("unexpected attribute {name:?}"),
            ));
        }
    }
    let mut values = BTreeMap::new();
    for (name, attribute) in &schema.attributes {
        let value = match given.get(name) {
            Some(value) => convert(value, &attribute.config_type()).map_err(|e| {
                CoerceError::new(&path.clone().attribute(name.clone()), e.to_string())
            })?,
            None if attribute.optional || attribute.computed => Value::null(attribute.ty.clone()),
            None => {
                return Err(CoerceError::new(
                    path,
                    format!("attribute {name:?} is required"),
                ));
            }
        };
        values.insert(name.clone(), value);
    }
    for (name, nested) in &schema.blocks {
        let value = match given.get(name) {
            None => nested.empty_value(),
            Some(value) => {
                coerce_nested(nested, value, &path.clone().attribute(name.clone()), path)?
            }
        };
        values.insert(name.clone(), value);
    }
    Ok(Value::object(values).with_marks(value.marks()))
}

fn coerce_nested(
    schema: &NestedBlock,
    value: &Value,
    path: &Path,
    parent: &Path,
) -> Result<Value, CoerceError> {
    let shape = match schema.nesting {
        Nesting::Single | Nesting::Group => return coerce(&schema.block, value, path),
        Nesting::List => "list",
        Nesting::Set => "set",
        Nesting::Map => "map",
    };
    if value.is_null() {
        return Ok(Value::null(schema.implied_type()));
    }
    if !value.is_known() {
        return Ok(Value::unknown(schema.implied_type()).with_marks(value.marks()));
    }
    if !value.can_iterate() {
        return Err(CoerceError::new(parent, format!("must be a {shape}")));
    }
    let mut elements: Vec<(Value, Value)> = Vec::new();
    for (key, element) in value.elements() {
        let coerced = coerce(&schema.block, &element, &path.clone().index(key.clone()))?;
        elements.push((key, coerced));
    }
    if elements.is_empty() {
        return Ok(schema.empty_value());
    }
    let element_type = schema.block.implied_type();
    let dynamic = schema.block.contains_dynamic();
    if schema.nesting == Nesting::Map {
        let mut keyed: BTreeMap<Arc<str>, Value> = BTreeMap::new();
        for (key, element) in elements {
            let Some(key) = key.as_shared_str() else {
                return Err(CoerceError::new(path, "must be a map"));
            };
            keyed.insert(key, element);
        }
        return Ok(if dynamic {
            Value::object(keyed)
        } else {
            Value::map(element_type, keyed)
        });
    }
    let elements = elements.into_iter().map(|(_, element)| element).collect();
    Ok(match schema.nesting {
        Nesting::Set => Value::set(element_type, elements),
        _ if dynamic => Value::tuple(elements),
        _ => Value::list(element_type, elements),
    })
}
