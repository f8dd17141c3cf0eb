//! Filters over lists, dicts and what else holds items.

use std::sync::Arc;

use rand::RngExt as _;

use super::follow;
use crate::arguments::{Arguments, integer, text};
use crate::environment::{Environment, Takes};
use crate::error::{Error, Result};
use crate::eval::State;
use crate::operators;
use crate::value::{Dict, Key, Object, Value};
use crate::{json, methods};

/// Rows that are filled up may not be longer.
const LONGEST: usize = 1_000_000;

type Run = fn(&mut State<'_, '_>, Value, &Arguments) -> Result<Value>;

pub(crate) fn add(environment: &mut Environment) {
    for name in ["default", "d"] {
        environment.add_filter(name, Takes::Anything, |_, value, arguments| {
            let [default, boolean] = arguments.bind("default", ["default_value", "boolean"])?;
            // What failed is not merely missing.
            if let Value::Undefined(undefined) = &value
                && undefined.error.is_some()
            {
                return Ok(value);
            }
            let missing = value.is_undefined()
                || boolean.map_or(Ok(false), |boolean| boolean.truth())? && !value.truth()?;
            Ok(if missing {
                default.unwrap_or_else(|| Value::from(""))
            } else {
                value
            })
        });
    }
    let mut lazy = |name: &str, run: Run| environment.add_filter(name, Takes::Lazily, run);
    lazy("map", map);
    lazy("select", |state, value, arguments| {
        select(state, &value, arguments, true, false)
    });
    lazy("reject", |state, value, arguments| {
        select(state, &value, arguments, false, false)
    });
    lazy("selectattr", |state, value, arguments| {
        select(state, &value, arguments, true, true)
    });
    lazy("rejectattr", |state, value, arguments| {
        select(state, &value, arguments, false, true)
    });
    for name in ["length", "count"] {
        lazy(name, |_, value, _| value.length().map(Value::from));
    }
    lazy("first", |state, value, _| {
        Ok(match value.iterate()?.into_iter().next() {
            Some(item) => state.access(item),
            None => Value::undefined("No first item, sequence was empty."),
        })
    });
    lazy("last", |state, value, _| {
        Ok(match value.iterate()?.pop() {
            Some(item) => state.access(item),
            None => Value::undefined("No last item, sequence was empty."),
        })
    });
    // What stands in the items is left as it is.
    lazy("list", |state, value, _| {
        Ok(Value::list(match &value {
            // These are their keys.
            Value::Dict(_) => value.iterate()?,
            value => state.items(value)?,
        }))
    });
    let mut by_items = |name: &str, run: Run| environment.add_filter(name, Takes::Items, run);
    by_items("items", |_, value, _| match &value {
        Value::Dict(dict) => Ok(pairs(dict)),
        _ => Err(Error::failed("Can only get item pairs from a mapping.")),
    });
    by_items("reverse", |_, value, _| match &value {
        Value::Str(text) => Ok(Value::from(text.chars().rev().collect::<String>())),
        value => {
            let mut items = value.iterate()?;
            items.reverse();
            Ok(Value::list(items))
        }
    });
    by_items("batch", batch);
    by_items("slice", slice);
    by_items("dictsort", |state, value, arguments| {
        let [case, by, reverse] =
            arguments.bind("dictsort", ["case_sensitive", "by", "reverse"])?;
        let case = flag(case)?;
        let by = by.map_or(Ok("key".to_owned()), |by| {
            by.text().map(|by| by.to_string())
        })?;
        let place = match by.as_str() {
            "key" => 0,
            "value" => 1,
            _ => {
                return Err(Error::failed(
                    "You can only sort by either \"key\" or \"value\"",
                ));
            }
        };
        let value = if place == 1 {
            state.ready(value)?
        } else {
            value
        };
        let Value::Dict(dict) = &value else {
            return Err(Error::failed("dictsort needs a dict"));
        };
        let Value::List(list) = pairs(dict) else {
            return Ok(Value::None);
        };
        let mut items = list.read().clone();
        methods::sort(
            &mut items,
            |pair| Ok(folded(pair.iterate()?.swap_remove(place), case)),
            flag(reverse)?,
        )?;
        Ok(Value::list(items))
    });
    // Where they look at an attribute of each item, nothing else of it is rendered.
    let mut by_attribute = |name: &str, place: usize, run: Run| {
        environment.add_filter(name, Takes::Lazily, move |state, value, arguments| {
            let attribute = arguments
                .named("attribute")
                .or_else(|| arguments.positional.get(place));
            if attribute.is_some_and(|attribute| !matches!(attribute, Value::None)) {
                let items = state.items(&value)?;
                return run(state, Value::list(items), arguments);
            }
            match state.ready(value) {
                Ok(value) => run(state, value, arguments),
                Err(error) => Ok(Value::failed(error)),
            }
        });
    };
    by_attribute("join", 1, |state, value, arguments| {
        let [separator, attribute] = arguments.bind("join", ["d", "attribute"])?;
        let separator = match separator {
            Some(separator) => separator.text()?.to_string(),
            None => String::new(),
        };
        let mut out = String::new();
        for (at, item) in value.iterate()?.into_iter().enumerate() {
            if at > 0 {
                out.push_str(&separator);
            }
            let item = match &attribute {
                Some(attribute) => follow(state, &item, attribute)?,
                None => item,
            };
            out.push_str(&item.text()?);
        }
        Ok(Value::from(out))
    });
    by_attribute("sort", 2, |state, value, arguments| {
        let [reverse, case, attribute] =
            arguments.bind("sort", ["reverse", "case_sensitive", "attribute"])?;
        let reverse = flag(reverse)?;
        let case = flag(case)?;
        let mut items = value.iterate()?;
        methods::sort(
            &mut items,
            |item| match &attribute {
                None => Ok(folded(item.clone(), case)),
                Some(Value::Str(paths)) if paths.contains(',') => {
                    let mut key = Vec::new();
                    for path in paths.split(',') {
                        let found = follow(state, item, &Value::from(path.trim()))?;
                        key.push(folded(found, case));
                    }
                    Ok(Value::tuple(key))
                }
                Some(path) => Ok(folded(follow(state, item, path)?, case)),
            },
            reverse,
        )?;
        Ok(Value::list(items))
    });
    by_attribute("min", 1, |state, value, arguments| {
        extreme(state, &value, arguments, false)
    });
    by_attribute("max", 1, |state, value, arguments| {
        extreme(state, &value, arguments, true)
    });
    by_attribute("sum", 0, |state, value, arguments| {
        let [attribute, start] = arguments.bind("sum", ["attribute", "start"])?;
        let mut total = start.unwrap_or(Value::Int(0));
        for item in value.iterate()? {
            let item = match &attribute {
                None | Some(Value::None) => item,
                Some(path) => follow(state, &item, path)?.defined()?,
            };
            total = operators::binary(crate::ast::Binary::Add, &total, &item)?;
        }
        Ok(total)
    });
    by_attribute("groupby", 0, |state, value, arguments| {
        let [attribute, default, case] =
            arguments.bind("groupby", ["attribute", "default", "case_sensitive"])?;
        let attribute = attribute.unwrap_or_default();
        let case = flag(case)?;
        let mut keyed = Vec::new();
        for item in value.iterate()? {
            let mut key = follow(state, &item, &attribute)?;
            if key.is_undefined()
                && let Some(default) = &default
            {
                key = default.clone();
            }
            keyed.push(Value::tuple(vec![key.defined()?, item]));
        }
        methods::sort(
            &mut keyed,
            |pair| Ok(folded(pair.iterate()?.swap_remove(0), case)),
            false,
        )?;
        let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
        for pair in keyed {
            let Value::Tuple(pair) = pair else { continue };
            let (key, item) = (pair[0].clone(), pair[1].clone());
            match groups.last_mut() {
                Some((last, items))
                    if folded(last.clone(), case).equals(&folded(key.clone(), case)) =>
                {
                    items.push(item);
                }
                _ => groups.push((key, vec![item])),
            }
        }
        Ok(Value::list(
            groups
                .into_iter()
                .map(|(key, items)| {
                    Value::Object(Arc::new(Group {
                        grouper: key,
                        list: Value::list(items),
                    }))
                })
                .collect(),
        ))
    });
    let mut filter = |name: &str, run: Run| environment.add_filter(name, Takes::Defined, run);
    filter("attr", |state, value, arguments| {
        let [name] = arguments.bind("attr", ["name"])?;
        let name = text("attr", "name", &name.unwrap_or_default())?;
        match &value {
            Value::Dict(_) if !methods::has(&value, &name) => Ok(Value::undefined(format!(
                "object of type {} has no attribute {}",
                crate::repr::string(value.type_name()),
                crate::repr::string(&name)
            ))),
            value => Ok(state.attribute(value, &name)),
        }
    });
    filter("random", |state, value, _| {
        state.changes_from_call_to_call();
        let items = value.iterate()?;
        if items.is_empty() {
            return Ok(Value::undefined("No random item, sequence was empty."));
        }
        Ok(items[rand::rng().random_range(0..items.len())].clone())
    });
    filter("unique", |state, value, arguments| {
        let [case, attribute] = arguments.bind("unique", ["case_sensitive", "attribute"])?;
        let case = flag(case)?;
        // Keys cannot be lists or dicts: what can change is never a part of one.
        #[allow(clippy::mutable_key_type)]
        let mut seen = std::collections::HashSet::new();
        let mut others: Vec<Value> = Vec::new();
        let mut kept = Vec::new();
        for item in value.iterate()? {
            let key = match &attribute {
                Some(path) => follow(state, &item, path)?,
                None => item.clone(),
            };
            let key = folded(key, case);
            let new = match Key::new(key.clone()) {
                Ok(key) => seen.insert(key),
                Err(_) => {
                    let new = !others.iter().any(|other| other.equals(&key));
                    if new {
                        others.push(key);
                    }
                    new
                }
            };
            if new {
                kept.push(item);
            }
        }
        Ok(Value::list(kept))
    });
    filter("tojson", |_, value, arguments| {
        let [indent] = arguments.bind("tojson", ["indent"])?;
        let indent = match indent {
            None | Some(Value::None) => None,
            Some(indent) => Some(" ".repeat(integer(&indent)?.clamp(0, 100) as usize)),
        };
        let text = json::write(
            &value,
            &json::Style {
                indent,
                sort_keys: true,
                ascii: true,
                ..json::Style::default()
            },
        )?;
        Ok(Value::from(
            text.replace('<', "\\u003c")
                .replace('>', "\\u003e")
                .replace('&', "\\u0026")
                .replace('\'', "\\u0027"),
        ))
    });
}

// Filters have the same signature.
#[allow(clippy::needless_pass_by_value)]
fn batch(_: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let [count, fill] = arguments.bind("batch", ["linecount", "fill_with"])?;
    let count = usize::try_from(integer(&count.unwrap_or_default())?)
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| Error::failed("the number of items must be positive"))?;
    let fill = fill.filter(|fill| !matches!(fill, Value::None));
    if fill.is_some() && count > LONGEST {
        return Err(Error::failed("the result would be too large"));
    }
    Ok(Value::list(
        value
            .iterate()?
            .chunks(count)
            .map(|chunk| {
                let mut chunk = chunk.to_vec();
                if let Some(fill) = &fill {
                    chunk.resize(count, fill.clone());
                }
                Value::list(chunk)
            })
            .collect(),
    ))
}

// Filters have the same signature.
#[allow(clippy::needless_pass_by_value)]
fn slice(_: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let [count, fill] = arguments.bind("slice", ["slices", "fill_with"])?;
    let count = usize::try_from(integer(&count.unwrap_or_default())?)
        .ok()
        .filter(|count| (1..1_000_000).contains(count))
        .ok_or_else(|| Error::failed("the number of slices must be positive"))?;
    let fill = fill.filter(|fill| !matches!(fill, Value::None));
    let items = value.iterate()?;
    let (each, more) = (items.len() / count, items.len() % count);
    let mut at = 0;
    let mut slices = Vec::with_capacity(count);
    for slice in 0..count {
        let size = each + usize::from(slice < more);
        let mut part = items[at..at + size].to_vec();
        at += size;
        if let Some(fill) = &fill
            && slice >= more
        {
            part.push(fill.clone());
        }
        slices.push(Value::list(part));
    }
    Ok(Value::list(slices))
}

// Filters have the same signature.
#[allow(clippy::needless_pass_by_value)]
fn map(state: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let mut arguments = arguments.clone();
    let items = value.iterate()?;
    let mut mapped = Vec::with_capacity(items.len());
    if arguments.positional.is_empty() {
        let Some(attribute) = arguments.take("attribute") else {
            return Err(Error::failed("map requires a filter argument"));
        };
        let default = arguments.take("default");
        if let Some((name, _)) = arguments.named.first() {
            return Err(Error::failed(format!(
                "Unexpected keyword argument {}",
                crate::repr::string(name)
            )));
        }
        for item in items {
            let item = state.access(item);
            let found = follow(state, &item, &attribute)?;
            mapped.push(match (&default, found.is_undefined()) {
                (Some(default), true) => default.clone(),
                _ => found,
            });
        }
    } else {
        let name = text("map", "filter", &arguments.positional.remove(0))?;
        if !state.environment().has_filter(&name) {
            return Err(Error::failed(format!("No filter named '{}'.", &*name)));
        }
        for item in items {
            let item = state.access(item);
            mapped.push(state.filter(&name, item, &arguments)?);
        }
    }
    Ok(Value::list(mapped))
}

fn flag(value: Option<Value>) -> Result<bool> {
    value.map_or(Ok(false), |value| value.truth())
}

/// A group of items that have something in common: a tuple of that and the list of them, which are also its attributes.
struct Group {
    grouper: Value,
    list: Value,
}

impl Object for Group {
    fn type_name(&self) -> &'static str {
        "GroupTuple"
    }

    fn get(&self, name: &str) -> Option<Value> {
        match name {
            "grouper" => Some(self.grouper.clone()),
            "list" => Some(self.list.clone()),
            _ => None,
        }
    }

    fn items(&self) -> Option<Vec<Value>> {
        Some(vec![self.grouper.clone(), self.list.clone()])
    }

    fn may_be_stored(&self) -> bool {
        true
    }

    fn repr(&self) -> String {
        crate::repr::repr(&Value::tuple(vec![self.grouper.clone(), self.list.clone()]))
    }

    fn any(&self) -> &dyn std::any::Any {
        self
    }
}

/// The value as it is compared: texts without regard to case, unless that is wanted.
fn folded(value: Value, case: bool) -> Value {
    match &value {
        Value::Str(text) if !case => Value::from(text.to_lowercase()),
        _ => value,
    }
}

fn pairs(dict: &Dict) -> Value {
    Value::list(
        dict.read()
            .iter()
            .map(|(key, value)| Value::tuple(vec![key.value().clone(), value.clone()]))
            .collect(),
    )
}

fn extreme(
    state: &mut State<'_, '_>,
    value: &Value,
    arguments: &Arguments,
    largest: bool,
) -> Result<Value> {
    let [case, attribute] = arguments.bind("min", ["case_sensitive", "attribute"])?;
    let case = flag(case)?;
    let mut best: Option<(Value, Value)> = None;
    for item in value.iterate()? {
        let key = match &attribute {
            Some(path) => follow(state, &item, path)?,
            None => item.clone(),
        };
        let key = folded(key, case);
        let better = match &best {
            None => true,
            Some((known, _)) if largest => key.order(known, ">")?.is_gt(),
            Some((known, _)) => key.order(known, "<")?.is_lt(),
        };
        if better {
            best = Some((key, item));
        }
    }
    Ok(best.map_or_else(
        || Value::undefined("No aggregated item, sequence was empty."),
        |(_, item)| item,
    ))
}

fn select(
    state: &mut State<'_, '_>,
    value: &Value,
    arguments: &Arguments,
    keep: bool,
    by_attribute: bool,
) -> Result<Value> {
    let mut arguments = arguments.clone();
    let attribute = if by_attribute {
        if arguments.positional.is_empty() {
            return Err(Error::failed("Missing parameter for attribute name"));
        }
        Some(arguments.positional.remove(0))
    } else {
        None
    };
    let test: Option<Arc<str>> = if arguments.positional.is_empty() {
        None
    } else {
        let name = text("select", "test", &arguments.positional.remove(0))?;
        Some(Arc::clone(name.shared()))
    };
    let mut kept = Vec::new();
    if let Some(test) = &test
        && !state.environment().has_test(test)
    {
        return Err(Error::failed(format!("No test named '{test}'.")));
    }
    for item in value.iterate()? {
        let item = state.access(item);
        let subject = match &attribute {
            Some(path) => follow(state, &item, path)?,
            None => item.clone(),
        };
        let answer = match &test {
            Some(test) => state.test(test, subject, &arguments)?.truth()?,
            None => subject.truth()?,
        };
        if answer == keep {
            kept.push(item);
        }
    }
    Ok(Value::list(kept))
}
