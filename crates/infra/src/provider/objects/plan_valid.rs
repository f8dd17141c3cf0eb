//! Whether a planned object follows the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_hcl::{Kind, Path, Type, Value};

use super::{Problem, element, go_value, length, part, same};
use crate::provider::schema::{Attribute, Block, NestedBlock, Nesting, Object};

const UNKNOWN_BLOCK: &str = "element representing nested block must not be unknown itself; set nested attribute values to unknown instead";

/// What is wrong with a plan.
///
/// A provider may choose values only for attributes that are computed and null in the configuration. As an
/// exception it may keep the prior value instead of an equivalent configured one. All values are of the
/// schema's implied type and without marks.
pub fn plan_problems(
    schema: &Block,
    prior: &Value,
    config: &Value,
    planned: &Value,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    block(schema, prior, config, planned, &Path::root(), &mut problems);
    problems
}

fn block(
    schema: &Block,
    prior: &Value,
    config: &Value,
    planned: &Value,
    path: &Path,
    problems: &mut Vec<Problem>,
) {
    if !presence_agrees(config, planned, path, problems) || planned.is_null() {
        return;
    }
    attributes(&schema.attributes, prior, config, planned, path, problems);
    for (name, nested) in &schema.blocks {
        let path = path.clone().attribute(name.clone());
        nested_block(
            nested,
            &part(prior, name),
            &part(config, name),
            &part(planned, name),
            &path,
            problems,
        );
    }
}

fn presence_agrees(
    config: &Value,
    planned: &Value,
    path: &Path,
    problems: &mut Vec<Problem>,
) -> bool {
    if planned.is_null() && !config.is_null() {
        problems.push(Problem::new(
            path,
            "planned for absence but config wants existence",
        ));
        return false;
    }
    if config.is_null() && !planned.is_null() {
        problems.push(Problem::new(
            path,
            "planned for existence but config wants absence",
        ));
        return false;
    }
    true
}

fn nested_block(
    schema: &NestedBlock,
    prior: &Value,
    config: &Value,
    planned: &Value,
    path: &Path,
    problems: &mut Vec<Problem>,
) {
    if planned.raw_equals(config) {
        return;
    }
    if !config.is_known() {
        problems.push(Problem::new(
            path,
            format!(
                "planned value {} for unknown dynamic block",
                go_value(planned)
            ),
        ));
        return;
    }
    if !planned.is_known() {
        problems.push(Problem::new(
            path,
            "attribute representing nested block must not be unknown itself; set nested attribute values to unknown instead",
        ));
        return;
    }
    let shape = match schema.nesting {
        Nesting::Single | Nesting::Group => {
            block(&schema.block, prior, config, planned, path, problems);
            return;
        }
        Nesting::List => "list",
        Nesting::Map => "map",
        Nesting::Set => "set",
    };
    if planned.is_null() {
        problems.push(Problem::new(
            path,
            format!("attribute representing a {shape} of nested blocks must be empty to indicate no blocks, not null"),
        ));
        return;
    }
    let step = |key: &Value| match (planned.ty(), key.as_shared_str()) {
        (Type::Object(_), Some(name)) => path.clone().attribute(name),
        _ => path.clone().index(key.clone()),
    };
    // A set's elements have no identity by which they could be matched, so the provider is trusted there.
    if schema.nesting == Nesting::Set {
        for (key, value) in planned.elements() {
            if !value.is_known() {
                problems.push(Problem::new(&step(&key), UNKNOWN_BLOCK));
            }
        }
        return;
    }
    let by_object = matches!(planned.ty(), Type::Object(_));
    if !by_object && length(planned) != length(config) {
        problems.push(Problem::new(
            path,
            format!(
                "block count in plan ({}) disagrees with count in config ({})",
                length(planned),
                length(config)
            ),
        ));
        return;
    }
    for (key, value) in planned.elements() {
        let path_here = step(&key);
        let configured = element(config, &key);
        if schema.nesting == Nesting::Map && by_object && configured.is_none() {
            problems.push(missing_key(path, &key, "plan", "config"));
            continue;
        }
        if !value.is_known() {
            problems.push(Problem::new(&path_here, UNKNOWN_BLOCK));
            continue;
        }
        let Some(configured) = configured else {
            if schema.nesting == Nesting::Map {
                problems.push(missing_key(&path_here, &key, "plan", "config"));
            }
            continue;
        };
        let before =
            element(prior, &key).unwrap_or_else(|| Value::null(schema.block.implied_type()));
        block(
            &schema.block,
            &before,
            &configured,
            &value,
            &path_here,
            problems,
        );
    }
    if schema.nesting == Nesting::Map {
        for (key, _) in config.elements() {
            if element(planned, &key).is_none() {
                problems.push(missing_key(path, &key, "config", "plan"));
            }
        }
    }
}

fn missing_key(path: &Path, key: &Value, from: &str, to: &str) -> Problem {
    Problem::new(
        path,
        format!(
            "block key {:?} from {from} is not present in {to}",
            key.as_str().unwrap_or_default()
        ),
    )
}

fn attributes(
    schema: &BTreeMap<Arc<str>, Attribute>,
    prior: &Value,
    config: &Value,
    planned: &Value,
    path: &Path,
    problems: &mut Vec<Problem>,
) {
    for (name, attribute) in schema {
        let path = path.clone().attribute(name.clone());
        value(
            attribute,
            &part(prior, name),
            &part(config, name),
            &part(planned, name),
            &path,
            problems,
        );
    }
}

fn value(
    schema: &Attribute,
    prior: &Value,
    config: &Value,
    planned: &Value,
    path: &Path,
    problems: &mut Vec<Problem>,
) {
    if same(planned, config) || (!prior.is_null() && !config.is_null() && same(planned, prior)) {
        return;
    }
    if schema.computed && (!schema.optional || config.is_null()) {
        return;
    }
    if config.is_null() && !planned.is_null() {
        let what = if schema.sensitive {
            "sensitive planned value for a non-computed attribute".to_owned()
        } else {
            format!(
                "planned value {} for a non-computed attribute",
                go_value(planned)
            )
        };
        problems.push(Problem::new(path, what));
        return;
    }
    if schema.write_only && planned.is_null() {
        return;
    }
    if let Some(nested) = &schema.nested {
        object(nested, prior, config, planned, path, problems);
        return;
    }
    let what = match (schema.sensitive, prior.is_null()) {
        (true, true) => "sensitive planned value does not match config value".to_owned(),
        (true, false) => {
            "sensitive planned value does not match config value nor prior value".to_owned()
        }
        (false, true) => {
            format!(
                "planned value {} does not match config value {}",
                go_value(planned),
                go_value(config)
            )
        }
        (false, false) => format!(
            "planned value {} does not match config value {} nor prior value {}",
            go_value(planned),
            go_value(config),
            go_value(prior)
        ),
    };
    problems.push(Problem::new(path, what));
}

fn object(
    schema: &Object,
    prior: &Value,
    config: &Value,
    planned: &Value,
    path: &Path,
    problems: &mut Vec<Problem>,
) {
    if !presence_agrees(config, planned, path, problems) {
        return;
    }
    if !config.is_null() && !planned.is_known() {
        problems.push(Problem::new(path, "planned unknown for configured value"));
        return;
    }
    if planned.is_null() {
        return;
    }
    match schema.nesting {
        Nesting::Single | Nesting::Group => {
            attributes(&schema.attributes, prior, config, planned, path, problems);
        }
        Nesting::List | Nesting::Map => {
            if !config.is_known() || length(planned) != length(config) {
                problems.push(count(planned, config, path));
                return;
            }
            for (key, planned) in planned.elements() {
                let by_key = schema.nesting == Nesting::Map;
                let Some(configured) = element(config, &key) else {
                    if by_key {
                        let key = key.as_str().unwrap_or_default();
                        problems.push(Problem::new(
                            path,
                            format!("map key {key:?} from plan is not present in config"),
                        ));
                    }
                    continue;
                };
                let before =
                    element(prior, &key).unwrap_or_else(|| Value::null(schema.element_type()));
                let path = match key.as_shared_str() {
                    Some(name) => path.clone().attribute(name),
                    None => path.clone().index(key),
                };
                attributes(
                    &schema.attributes,
                    &before,
                    &configured,
                    &planned,
                    &path,
                    problems,
                );
            }
            if schema.nesting == Nesting::Map {
                for (key, _) in config.elements() {
                    if element(planned, &key).is_none() {
                        let key = key.as_str().unwrap_or_default();
                        problems.push(Problem::new(
                            path,
                            format!("map key {key:?} from config is not present in plan"),
                        ));
                    }
                }
            }
        }
        // As with blocks, elements of sets cannot be matched; only their number is looked at.
        Nesting::Set => {
            let ((least, most), (config_least, config_most)) =
                (planned.length_range(), config.length_range());
            let possible = if config.is_known() || !matches!(config.kind(), Kind::Unknown(_)) {
                config_least <= most && config_most >= least
            } else {
                true
            };
            if !possible {
                problems.push(count(planned, config, path));
            }
        }
    }
}

fn count(planned: &Value, config: &Value, path: &Path) -> Problem {
    Problem::new(
        path,
        format!(
            "count in plan ({}) disagrees with count in config ({})",
            go_value(&planned.length()),
            go_value(&config.length())
        ),
    )
}
