//! What helps with errors: told beside the callback that prints, on the standard error.

use std::collections::HashSet;

use super::display::Display;
use super::{Callback, Event, TaskResult};
use crate::explain;

/// Tells what helps with each error, once for all hosts it helps with.
pub struct Hints {
    display: Display,
    /// The tasks whose failures were told of, with the expression and its place.
    told: HashSet<(u64, String)>,
}

impl Hints {
    /// Prints to a display.
    pub fn new(display: Display) -> Self {
        Hints {
            display,
            told: HashSet::new(),
        }
    }

    fn result(&mut self, result: &TaskResult) {
        let Some(helps) = &result.helps else { return };
        // Values differ from host to host; what helps with one helps with all.
        let first = helps.lines().next().unwrap_or_default().to_owned();
        if self.told.insert((result.task.id, first)) {
            self.display.hint(helps);
        }
    }
}

impl Callback for Hints {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Result(result) | Event::Item(result) => self.result(result),
            Event::Error(text) => {
                if let Some(helps) = explain::of_text(text) {
                    self.display.hint(&helps);
                }
            }
            _ => {}
        }
    }
}
