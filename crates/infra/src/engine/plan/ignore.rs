//! `ignore_changes`: parts of the configuration that give way to what is there.

use std::sync::Arc;

use consort_hcl::traversal::Step as Written;
use consort_hcl::{Kind, Traversal, Type, Value};

use crate::config::IgnoreChanges;
use crate::provider::schema::Block;

/// The configuration with what is to be ignored taken from `prior`. `schema` is left out for answers of
/// providers on the old SDK, whose computed attributes stay.
pub(super) fn ignore_changes(
    ignore: &IgnoreChanges,
    prior: &Value,
    config: &Value,
    schema: Option<&Block>,
) -> Value {
    match ignore {
        IgnoreChanges::None => config.clone(),
        _ if prior.is_null() || config.is_null() => config.clone(),
        IgnoreChanges::All => match schema {
            None => prior.clone(),
            Some(schema) => {
                let kept: Result<Value, std::convert::Infallible> =
                    prior.transform(&mut |path, value| {
                        Ok(match schema.attribute_at(path) {
                            Some(attribute) if attribute.computed && !attribute.optional => {
                                Value::null(value.ty().clone())
                            }
                            _ => value,
                        })
                    });
                match kept {
                    Ok(kept) => kept,
                }
            }
        },
        IgnoreChanges::Paths(paths) => paths.iter().fold(config.clone(), |config, path| {
            replace(&config, prior, &steps_of(path))
        }),
    }
}

/// A step of a path that is to be ignored.
enum Take {
    Attribute(Arc<str>),
    Key(Arc<str>),
    Index(usize),
}

fn steps_of(path: &Traversal) -> Vec<Take> {
    let mut steps = vec![Take::Attribute(path.root.clone())];
    for step in &path.steps {
        match step {
            Written::Attribute { name, .. } => steps.push(Take::Attribute(name.clone())),
            Written::Index { key, .. } => match (
                key.as_shared_str(),
                key.as_number().and_then(consort_hcl::Number::to_usize),
            ) {
                (Some(name), _) => steps.push(Take::Key(name)),
                (None, Some(index)) => steps.push(Take::Index(index)),
                (None, None) => break,
            },
            Written::Splat { .. } => break,
        }
    }
    steps
}

/// `config` with what stands at `steps` taken from `prior`. Only maps are taken apart by a key at the end: of
/// anything else it stands for the whole, as in Terraform.
fn replace(config: &Value, prior: &Value, steps: &[Take]) -> Value {
    let Some((step, rest)) = steps.split_first() else {
        return prior.clone();
    };
    let (plain, marks) = config.clone().unmark();
    if let (Take::Key(name), []) = (step, rest) {
        return match plain.ty() {
            Type::Map(_) if !plain.is_known() => config.clone(),
            Type::Map(element) => replace_key(&plain, prior, name, element).with_marks(marks),
            _ => prior.clone(),
        };
    }
    let (prior, _) = prior.clone().unmark();
    let result = match (step, plain.kind()) {
        (Take::Attribute(name), Kind::Object(attributes)) => {
            let Some((own, old)) = attributes.get(name).zip(prior.attribute(name).ok()) else {
                return config.clone();
            };
            let new = replace(own, &old, rest);
            let mut attributes = attributes.clone();
            attributes.insert(name.clone(), new);
            Value::object(attributes)
        }
        (Take::Key(name), Kind::Map(entries)) => {
            let old = prior.as_keyed().and_then(|old| old.get(name));
            let Some((own, old)) = entries.get(name).zip(old) else {
                return config.clone();
            };
            let new = replace(own, old, rest);
            let mut entries = entries.clone();
            entries.insert(name.clone(), new);
            Value::map(
                plain.ty().element().cloned().unwrap_or(Type::Dynamic),
                entries,
            )
        }
        (Take::Index(index), Kind::List(items) | Kind::Tuple(items)) => {
            let Some((own, old)) = items
                .get(*index)
                .zip(prior.as_sequence().and_then(|old| old.get(*index)))
            else {
                return config.clone();
            };
            let new = replace(own, old, rest);
            let mut items = items.to_vec();
            items[*index] = new;
            match plain.ty() {
                Type::List(element) => Value::list((**element).clone(), items),
                _ => Value::tuple(items),
            }
        }
        _ => return config.clone(),
    };
    result.with_marks(marks)
}

/// A map with one entry as it was before: also one that was not there, or is not there any more.
fn replace_key(config: &Value, prior: &Value, name: &Arc<str>, element: &Type) -> Value {
    let (prior, _) = prior.clone().unmark();
    let mut entries = config.as_keyed().cloned().unwrap_or_default();
    match prior.as_keyed().and_then(|old| old.get(name)) {
        Some(old) => {
            entries.insert(name.clone(), old.clone());
        }
        None => {
            if entries.remove(name).is_none() {
                return config.clone();
            }
            if prior.is_null() && entries.is_empty() {
                return Value::null(config.ty().clone());
            }
        }
    }
    Value::map(element.clone(), entries)
}
