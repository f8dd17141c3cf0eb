//! What may be the name of a variable.

use consort_jinja::{Value, repr};

use crate::source::Located;

/// Names that mean something else in an expression.
const TAKEN: [&str; 7] = ["true", "false", "none", "True", "False", "None", "not"];

/// Whether a text may be the name of a variable.
pub(crate) fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || character == '_')
        && !TAKEN.contains(&name)
}

/// What is said of a value that cannot be the name of a variable.
pub(crate) fn no_name(name: &Value) -> Located {
    let described = match name {
        Value::Str(text) => format!("name {}", repr::string(text)),
        Value::Int(_) | Value::Float(_) | Value::Bool(_) | Value::None => format!(
            "name {} of type '{}'",
            repr::string(&repr::text(name)),
            name.type_name()
        ),
        other => format!("name of type '{}'", other.type_name()),
    };
    Located::new(format!("Invalid variable {described}."))
        .about(name)
        .hint(
            "Variable names must be strings starting with a letter or underscore character, and contain only letters, \
             numbers and underscores.",
        )
}
