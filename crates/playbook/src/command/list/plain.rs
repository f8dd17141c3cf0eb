//! Values as an inventory's JSON has them.

use consort_jinja::{Dict, Key, Value};

use crate::source::{Encrypted, Timestamp};

/// A value as JSON has it: what is encrypted stays so, and texts of variables that are no templates say so.
pub(super) fn plain(value: &Value, path: &mut Vec<String>) -> Value {
    match value {
        Value::Object(object) => match object.any().downcast_ref::<Encrypted>() {
            Some(encrypted) => Value::Dict(
                [("__ansible_vault", Value::from(&*encrypted.ciphertext))]
                    .into_iter()
                    .collect(),
            ),
            None => match object.any().downcast_ref::<Timestamp>() {
                Some(moment) => Value::from(moment.iso('T').as_str()),
                None => Value::from(consort_jinja::repr::text(value).as_str()),
            },
        },
        Value::Str(text) => {
            let is_variable = (path.len() >= 4 && path[0] == "_meta" && path[1] == "hostvars")
                || (path.len() >= 3 && path[1] == "vars");
            if is_variable && !text.is_template() {
                Value::Dict([("__ansible_unsafe", value.clone())].into_iter().collect())
            } else {
                value.clone()
            }
        }
        Value::List(items) => Value::list(
            items
                .read()
                .iter()
                .enumerate()
                .map(|(at, item)| {
                    path.push(at.to_string());
                    let item = plain(item, path);
                    path.pop();
                    item
                })
                .collect(),
        ),
        Value::Dict(entries) => Value::Dict(Dict::new(
            entries
                .read()
                .iter()
                .map(|(key, item)| {
                    let name = consort_jinja::repr::text(key.value());
                    path.push(name.clone());
                    let item = plain(item, path);
                    path.pop();
                    (Key::from(name.as_str()), item)
                })
                .collect(),
        )),
        other => other.clone(),
    }
}
