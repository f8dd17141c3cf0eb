//! `ignore_changes`: parts of the configuration that give way to what is there.

use std::collections::BTreeMap;
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

enum Take {
    Name(Arc<str>),
    Index(usize),
}

fn steps_of(path: &Traversal) -> Vec<Take> {
    let mut steps = vec![Take::Name(path.root.clone())];
    for step in &path.steps {
        match step {
            Written::Attribute { name, .. } => steps.push(Take::Name(name.clone())),
            Written::Index { key, .. } => match (
                key.as_shared_str(),
                key.as_number().and_then(consort_hcl::Number::to_usize),
            ) {
                (Some(name), _) => steps.push(Take::Name(name)),
                (None, Some(index)) => steps.push(Take::Index(index)),
                (None, None) => break,
            },
            Written::Splat { .. } => break,
        }
    }
    steps
}

fn replace(config: &Value, prior: &Value, steps: &[Take]) -> Value {
    let Some((step, rest)) = steps.split_first() else {
        return prior.clone();
    };
    let (plain, marks) = config.clone().unmark();
    let (prior, _) = prior.clone().unmark();
    let result = match (step, plain.kind()) {
        (Take::Name(name), Kind::Object(attributes)) => {
            let Some((own, old)) = attributes.get(name).zip(prior.attribute(name).ok()) else {
                return config.clone();
            };
            let mut attributes = attributes.clone();
            let new = replace(own, &old, rest);
            attributes.insert(name.clone(), new);
            Value::object(attributes)
        }
        (Take::Name(name), Kind::Map(_) | Kind::Null) if matches!(plain.ty(), Type::Map(_)) => {
            let empty = BTreeMap::new();
            let own = plain.as_keyed().unwrap_or(&empty);
            let mut entries = own.clone();
            match prior.as_keyed().and_then(|old| old.get(name)) {
                Some(old) => {
                    let new = match own.get(name) {
                        Some(own) => replace(own, old, rest),
                        None => old.clone(),
                    };
                    entries.insert(name.clone(), new);
                }
                None => {
                    if entries.remove(name).is_none() {
                        return config.clone();
                    }
                    if prior.is_null() && entries.is_empty() {
                        return Value::null(plain.ty().clone()).with_marks(marks);
                    }
                }
            }
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
