//! Plans, operations and causes as people and programs read them: text of a width, and JSON with stable keys.
//!
//! Everything here is a pure function of what it is given. A [`Style`] says how wide the text may be and whether it
//! carries colours; who asks for it decides from its terminal. No character of a value reaches the text that could
//! drive a terminal or reorder what stands there (see [`escaped`]), and no sensitive value reaches it at all.
//!
//! The keys of the JSON forms are written down in `docs/json.md`.

mod fields;
mod inline;
mod json;
mod operation;
mod plan;
mod problem;
mod progress;
mod style;
#[cfg(test)]
pub(crate) mod tests;

pub use json::{
    change as change_json, entry as entry_json, operation as operation_json, plan as plan_json,
};
pub use operation::{operation, status};
pub use plan::{changed_fields, differences, plan};
pub use problem::{problem, problems, stale};
pub use progress::{Line, Progress};
pub use style::{Style, elapsed, escaped, quoted};

pub(crate) use json::{action as action_word, kind as edge_kind};
pub use plan::mark;
pub(crate) use style::columns;
