//! The names of groups and variables: which there may be, and what is made of those that may not.

use std::sync::Arc;

use consort_jinja::{Key, Str, Value};

use super::notice::{deprecate, detail, warn};
use super::{GroupNames, Inventory};
use crate::source::{Located, Notices};
use crate::variables::is_name;

/// A name whose every wrong character is an underscore.
pub(super) fn forced_name(name: &str) -> String {
    name.chars()
        .enumerate()
        .map(|(at, character)| {
            let fits = character.is_alphanumeric() && (at > 0 || !character.is_numeric());
            if fits || character == '_' {
                character
            } else {
                '_'
            }
        })
        .collect()
}

fn is_plain_name(name: &str) -> bool {
    forced_name(name) == name
}

pub(super) fn untemplated(key: &Key) -> Key {
    match key.value() {
        Value::Str(text) if text.is_template() => {
            let plain = Str::new(Arc::clone(text.shared()));
            let plain = match text.origin() {
                Some(origin) => plain.written_at(Arc::clone(origin)),
                None => plain,
            };
            Key::new(Value::Str(plain)).unwrap_or_else(|_| key.clone())
        }
        _ => key.clone(),
    }
}

pub(super) fn check_name(name: &Key, notices: &Notices) {
    if !name.as_str().is_some_and(is_name) {
        deprecate(
            notices,
            Located::new(format!(
                "Accepting inventory variable with invalid name {}.",
                consort_jinja::repr::repr(name.value())
            ))
            .hint(
                "Variable names must be strings starting with a letter or underscore character, and contain only letters, \
                 numbers and underscores.",
            )
            .about(name.value()),
        );
    }
}

impl Inventory {
    /// `inventory_hostname_short`: the name up to its first dot, unless it is an address.
    pub fn short_name(name: &str) -> &str {
        if name.parse::<std::net::IpAddr>().is_ok() {
            return name;
        }
        name.split('.').next().unwrap_or(name)
    }

    /// The name a group gets.
    pub(super) fn safe_group_name(&self, name: &str, notices: &Notices) -> String {
        if is_plain_name(name) {
            return name.to_owned();
        }
        let handling = self.settings.group_names;
        let mut wrong: Vec<char> = Vec::new();
        for (at, character) in name.chars().enumerate() {
            let fits = if at == 0 {
                character.is_alphabetic() || character == '_'
            } else {
                character.is_alphanumeric() || character == '_'
            };
            if !fits && !wrong.contains(&character) {
                wrong.push(character);
            }
        }
        let shown = wrong
            .iter()
            .map(|character| consort_jinja::repr::string(&character.to_string()))
            .collect::<Vec<_>>()
            .join(", ");
        let message = format!("invalid character(s) \"{{{shown}}}\" in group name ({name})");
        match handling {
            GroupNames::Always => {
                detail(notices, 4, format!("Replacing {message}"));
                warn(
                    notices,
                    "Invalid characters were found in group names and automatically replaced, use -vvvv to see details",
                );
                forced_name(name)
            }
            GroupNames::Silently => forced_name(name),
            GroupNames::Never => {
                detail(notices, 4, format!("Not replacing {message}"));
                warn(
                    notices,
                    "Invalid characters were found in group names but not replaced, use -vvvv to see details",
                );
                name.to_owned()
            }
            GroupNames::Ignore => name.to_owned(),
        }
    }
}
