//! Rendering as playbooks want it: Jinja with Ansible's filters, tests and lookups.
//!
//! One [`Templar`] serves a whole run: it holds what templates know and every template it has parsed; the variables are
//! given with each call. What it gives is final: no text in it is a template any more.

mod context;
mod crypt;
mod error;
mod filters;
mod globals;
mod inner;
mod lookups;
mod mersenne;
mod pattern;
mod sets;
mod templar;
mod tests;
pub(crate) mod time;
mod versions;
mod yaml;

pub use error::Error;
pub(crate) use lookups::formatted;
pub use lookups::template_variables;
pub use templar::{ForeignLookup, Lookup, Plugins, TASK_ACTION, Templar, TemplarOptions, Warned};
pub(crate) use tests::to_bool;
pub(crate) use versions::meets;

use consort_jinja::{Error as JinjaError, Origin, Value};

/// What is said of a value that nothing can know yet.
pub(crate) const KNOWN_LATER: &str = "known only after the apply";

/// A value that nothing can know yet: it is neither defined nor undefined, has no default, and whatever uses it fails in words
/// that [`crate::source::Located::is_of_unknown`] knows.
pub fn unknown(what: &str) -> Value {
    Value::failed(JinjaError::failed(format!(
        "{} is {KNOWN_LATER}",
        consort_jinja::repr::string(what)
    )))
}

/// A place as messages name it: `/srv/site.yml:3:5`.
fn place(origin: &Origin) -> String {
    match (origin.line, origin.column) {
        (0, _) => origin.file.to_string(),
        (line, 0) => format!("{}:{line}", origin.file),
        (line, column) => format!("{}:{line}:{column}", origin.file),
    }
}

/// A value as YAML, each entry on a line of its own. What is a template in it stays one.
pub(crate) fn yaml_as_it_is(value: &Value) -> consort_jinja::Result<String> {
    yaml::dump(
        value,
        &yaml::Style {
            flow: Some(false),
            ..yaml::Style::default()
        },
    )
}

/// A value as YAML for people: texts of several lines as blocks, where `lossy` without what blocks cannot have.
pub(crate) fn yaml_for_people(
    value: &Value,
    indent: Option<usize>,
    width: usize,
    lossy: bool,
) -> consort_jinja::Result<String> {
    yaml::dump(
        value,
        &yaml::Style {
            indent: indent.unwrap_or(2),
            width,
            flow: Some(false),
            blocks: Some(lossy),
            ..yaml::Style::default()
        },
    )
}
