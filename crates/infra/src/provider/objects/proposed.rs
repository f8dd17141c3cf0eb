//! Prior state and configuration merged into what a provider is asked to plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_hcl::{Kind, Path, Type, Value};

use super::{element, length, part, same};
use crate::provider::schema::{Attribute, Block, NestedBlock, Nesting, Object};

/// Takes from the configuration what is set there, and from the prior state what the provider chose.
///
/// Nested blocks and objects are matched by position in lists, by key in maps, and in sets by whether the
/// prior element can have come from the configured one. Both values are of the schema's implied type and
/// without marks; the prior is null to create, and wholly known otherwise.
pub fn proposed_new(schema: &Block, prior: &Value, config: &Value) -> Value {
    if config.is_null() && prior.is_null() {
        return prior.clone();
    }
    if prior.is_null() {
        return merged_block(schema, &schema.empty_value(), config);
    }
    merged_block(schema, prior, config)
}

/// What a data source or an ephemeral resource will be when it cannot be read yet: computed attributes that
/// are not set are unknown.
pub fn planned_unknown(schema: &Block, config: &Value) -> Value {
    merged_block(schema, &Value::unknown(schema.implied_type()), config)
}

/// What one element of a collection is described by.
#[derive(Clone, Copy)]
enum Element<'a> {
    Block(&'a Block),
    Object(&'a Object),
}

impl Element<'_> {
    fn merged(self, prior: &Value, config: &Value) -> Value {
        match self {
            Self::Block(block) => proposed_new(block, prior, config),
            Self::Object(object) => merged_object(object, prior, config),
        }
    }

    fn attribute_at(&self, path: &Path) -> Option<&Attribute> {
        match self {
            Self::Block(block) => block.attribute_at(path),
            Self::Object(object) => object.attribute_at(path),
        }
    }
}

fn merged_block(schema: &Block, prior: &Value, config: &Value) -> Value {
    if config.is_null() || !config.is_known() {
        return prior.clone();
    }
    let mut values = merged_attributes(&schema.attributes, prior, config);
    for (name, nested) in &schema.blocks {
        let value = merged_nested_block(nested, &part(prior, name), &part(config, name));
        values.insert(name.clone(), value);
    }
    Value::object(values)
}

fn merged_nested_block(schema: &NestedBlock, prior: &Value, config: &Value) -> Value {
    // Unknown as a whole only where a dynamic block's for_each is.
    if !config.is_known() {
        return config.clone();
    }
    let element = Element::Block(&schema.block);
    match schema.nesting {
        Nesting::Single if config.is_null() => config.clone(),
        Nesting::Single | Nesting::Group => proposed_new(&schema.block, prior, config),
        Nesting::List => merged_list(element, prior, config),
        Nesting::Map => merged_map(element, prior, config),
        Nesting::Set => merged_set(element, prior, config),
    }
}

fn merged_nested_object(schema: &Object, prior: &Value, config: &Value) -> Value {
    if !config.is_known() {
        return config.clone();
    }
    let element = Element::Object(schema);
    match schema.nesting {
        Nesting::Single | Nesting::Group => merged_object(schema, prior, config),
        Nesting::List => merged_list(element, prior, config),
        Nesting::Map => merged_map(element, prior, config),
        Nesting::Set => merged_set(element, prior, config),
    }
}

fn merged_object(schema: &Object, prior: &Value, config: &Value) -> Value {
    if config.is_null() || !config.is_known() {
        return config.clone();
    }
    Value::object(merged_attributes(&schema.attributes, prior, config))
}

fn merged_attributes(
    attributes: &BTreeMap<Arc<str>, Attribute>,
    prior: &Value,
    config: &Value,
) -> BTreeMap<Arc<str>, Value> {
    let mut values = BTreeMap::new();
    for (name, attribute) in attributes {
        let prior = if prior.is_null() {
            Value::null(attribute.ty.clone())
        } else {
            part(prior, name)
        };
        let config = part(config, name);
        let value = match &attribute.nested {
            // Null in the configuration, so the provider's choice stays, unless the prior holds what only
            // a configuration can have set: then it was set once and is not any more.
            _ if attribute.computed && config.is_null() => {
                if holds_configured_parts(attribute, &prior) {
                    config
                } else {
                    prior
                }
            }
            Some(object) => merged_nested_object(object, &prior, &config),
            None => config,
        };
        values.insert(name.clone(), value);
    }
    values
}

fn merged_list(schema: Element<'_>, prior: &Value, config: &Value) -> Value {
    let (Kind::List(values) | Kind::Tuple(values)) = config.kind() else {
        return config.clone();
    };
    if values.is_empty() {
        return config.clone();
    }
    let merged = values
        .iter()
        .enumerate()
        .map(|(i, value)| {
            let key = Value::number(i);
            let before = if prior.is_known() {
                element(prior, &key)
            } else {
                prior.index(&key).ok()
            };
            before.map_or_else(|| value.clone(), |before| schema.merged(&before, value))
        })
        .collect();
    match config.ty() {
        Type::List(of) => Value::list(Type::clone(of), merged),
        _ => Value::tuple(merged),
    }
}

fn merged_map(schema: Element<'_>, prior: &Value, config: &Value) -> Value {
    let (Kind::Map(values) | Kind::Object(values)) = config.kind() else {
        return config.clone();
    };
    if values.is_empty() {
        return config.clone();
    }
    let before = prior.as_keyed();
    let merged: BTreeMap<Arc<str>, Value> = values
        .iter()
        .map(|(key, value)| {
            let merged = match before.and_then(|before| before.get(key)) {
                Some(before) => schema.merged(before, value),
                None => value.clone(),
            };
            (key.clone(), merged)
        })
        .collect();
    match config.ty() {
        Type::Map(of) => Value::map(Type::clone(of), merged),
        _ => Value::object(merged),
    }
}

fn merged_set(schema: Element<'_>, prior: &Value, config: &Value) -> Value {
    let (Kind::Set(values), Type::Set(of)) = (config.kind(), config.ty()) else {
        return config.clone();
    };
    if length(config) == 0 {
        return config.clone();
    }
    let before = prior.as_sequence().unwrap_or_default();
    let mut used = vec![false; before.len()];
    // Elements come in the same order in both, so the match is mostly the first that is left.
    let mut first = 0;
    let merged = values
        .iter()
        .map(|value| {
            while used.get(first) == Some(&true) {
                first += 1;
            }
            let found = (first..before.len())
                .find(|i| !used[*i] && can_have_come_from(schema, &before[*i], value));
            match found {
                Some(i) => {
                    used[i] = true;
                    schema.merged(&before[i], value)
                }
                None => schema.merged(&Value::null(Type::clone(of)), value),
            }
        })
        .collect();
    Value::set(Type::clone(of), merged)
}

/// Whether an optional nested object that is null in the configuration holds values in the prior state that
/// the provider cannot have chosen.
fn holds_configured_parts(attribute: &Attribute, prior: &Value) -> bool {
    let Some(object) = attribute.nested.as_ref().filter(|_| attribute.optional) else {
        return false;
    };
    let mut found = false;
    let _ = prior.walk(&mut |path, value| {
        if value.is_null() {
            return Ok(true);
        }
        if object.attribute_at(path).is_some_and(|a| !a.computed) {
            found = true;
            return Err(());
        }
        Ok(true)
    });
    found
}

/// Whether a prior element differs from a configured one only in what a provider may choose.
fn can_have_come_from(schema: Element<'_>, prior: &Value, config: &Value) -> bool {
    if same(config, prior) {
        return true;
    }
    prior
        .walk(&mut |path, prior| {
            let Ok(config) = path.apply(config) else {
                return Err(());
            };
            if same(&config, prior) {
                return Ok(false);
            }
            if matches!(config.ty(), Type::Set(_)) {
                return Err(());
            }
            let Some(attribute) = schema.attribute_at(path) else {
                return Ok(true);
            };
            if attribute.nested.is_some() {
                return Ok(true);
            }
            if attribute.computed && config.is_null() {
                Ok(false)
            } else {
                Err(())
            }
        })
        .is_ok()
}
