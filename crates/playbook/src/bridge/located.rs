//! What plugins say went wrong, with its places.

use serde_json::Value as Json;

use super::wire;
use crate::source::{Located, Removal};

/// An error with its causes.
pub(crate) fn of_chain(error: &Json) -> Located {
    let mut found: Option<Located> = None;
    for part in error["chain"].as_array().into_iter().flatten().rev() {
        let mut located = Located::new(part["message"].as_str().unwrap_or_default())
            .at_maybe(wire::place(&part["origin"]).as_ref());
        if let Some(help) = part["help"].as_str() {
            located = located.hint(help);
        }
        found = Some(match found {
            Some(cause) => located.because(cause),
            None => located,
        });
    }
    found.unwrap_or_else(|| Located::new(error["message"].as_str().unwrap_or_default()))
}

/// A warning, or something that will go away.
pub(crate) fn of_warning(warned: &Json) -> Located {
    let located = Located::new(warned["message"].as_str().unwrap_or_default())
        .at_maybe(wire::place(&warned["origin"]).as_ref());
    match warned["help"].as_str() {
        Some(help) => located.hint(help),
        None => located,
    }
}

/// When what a warning tells of goes, and from where.
pub(crate) fn removal(warned: &Json) -> Removal {
    let text = |name: &str| warned[name].as_str().map(str::to_owned);
    Removal {
        collection: text("collection"),
        version: text("version"),
        date: text("date"),
        plugin: text("kind").zip(text("plugin")),
    }
}
