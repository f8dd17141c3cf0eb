//! What helps with errors: told beside the callback that prints, on the standard error.

use super::display::Display;
use super::{Callback, Event, TaskResult};
use crate::explain;

/// Tells what helps with each error, once for all hosts it helps with.
pub struct Hints {
    display: Display,
}

impl Hints {
    /// Prints to a display.
    pub fn new(display: Display) -> Self {
        Hints { display }
    }

    fn result(&mut self, result: &TaskResult) {
        if let Some(helps) = &result.helps {
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
