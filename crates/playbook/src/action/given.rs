//! The arguments of a task, as actions read them.

use consort_jinja::{Dict, Key, Value, repr};
use consort_modules::arguments::{Spec, boolean_of, validate};
use consort_modules::{Context, Settings};
use indexmap::IndexMap;

use super::Failure;
use crate::values;

/// The arguments a task gives its action.
pub(super) struct Given<'a>(pub &'a Dict);

impl Given<'_> {
    /// One of them; nothing for `None`.
    pub(super) fn get(&self, name: &str) -> Option<Value> {
        self.0
            .get(name)
            .filter(|value| !matches!(value, Value::None))
    }

    /// One of them as text.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| repr::text(&value))
    }

    /// Yes or no; what is neither is no.
    pub(super) fn flag(&self, name: &str, default: bool) -> bool {
        self.0.get(name).map_or(default, |value| is_yes(&value))
    }

    /// Whether it is given at all.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some()
    }

    /// A whole number as Python's `int()` reads it.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn integer(&self, name: &str, default: i64) -> Result<i64, Failure> {
        let Some(value) = self.0.get(name) else {
            return Ok(default);
        };
        whole_number(&value).map_err(Failure::error)
    }
}

/// A whole number as Python's `int()` makes it of a value.
pub(super) fn whole_number(value: &Value) -> Result<i64, String> {
    match value {
        #[allow(clippy::cast_possible_truncation)]
        Value::Float(number) => Ok(*number as i64),
        Value::Bool(yes) => Ok(i64::from(*yes)),
        Value::Str(text) => text.trim().replace('_', "").parse().map_err(|_| {
            format!(
                "invalid literal for int() with base 10: {}",
                repr::string(text)
            )
        }),
        other => other.as_int().ok_or_else(|| {
            format!(
                "int() argument must be a string, a bytes-like object or a real number, not '{}'",
                other.type_name()
            )
        }),
    }
}

/// Whether a value says yes (`boolean(value, strict=False)`).
pub(super) fn is_yes(value: &Value) -> bool {
    boolean_of(&values::to_json(value)).unwrap_or(false)
}

/// The arguments, checked against a specification as modules check theirs. Those that are to stay as they are, with what is
/// known of where they were written, are taken from the dict itself.
pub(super) fn checked(
    action: &str,
    spec: &Spec,
    arguments: &Dict,
) -> Result<consort_modules::arguments::Arguments, Failure> {
    let settings = Settings::default();
    let context = Context::new(&settings);
    let checked = validate(&context, spec, values::to_arguments(arguments));
    if let Some(message) = checked.errors.first() {
        let leaf = action.rsplit('.').next().unwrap_or(action);
        return Err(Failure::new(if checked.unsupported {
            format!("Unsupported parameters for ({leaf}) module: {message}")
        } else {
            message.clone()
        }));
    }
    Ok(consort_modules::arguments::Arguments::new(checked.values))
}

/// A dict of its own with the same entries.
pub(super) fn copied(dict: &Dict) -> Dict {
    Dict::new(dict.read().clone())
}

/// A copy without some entries.
pub(super) fn without(dict: &Dict, names: &[&str]) -> Dict {
    let entries: IndexMap<Key, Value> = dict
        .read()
        .iter()
        .filter(|(key, _)| !key.as_str().is_some_and(|key| names.contains(&key)))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    Dict::new(entries)
}

/// Sets an entry.
pub(super) fn set(dict: &Dict, name: &str, value: impl Into<Value>) {
    let value = value.into();
    dict.change(|entries| {
        entries.insert(Key::from(name), value);
    });
}

/// Takes an entry out.
pub(super) fn take(dict: &Dict, name: &str) -> Option<Value> {
    dict.change(|entries| entries.shift_remove(&Key::from(name)))
}

/// Takes over all entries of another.
pub(super) fn update(dict: &Dict, from: &Dict) {
    let from = from.read().clone();
    dict.change(|entries| entries.extend(from));
}

/// A dict of a few entries.
pub(super) fn dict<const N: usize>(entries: [(&str, Value); N]) -> Dict {
    entries.into_iter().collect()
}

/// Whether an entry says yes.
pub(super) fn says(dict: &Dict, name: &str) -> bool {
    dict.get(name)
        .is_some_and(|value| value.truth().unwrap_or(false))
}
