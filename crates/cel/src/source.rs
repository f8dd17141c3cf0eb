//! The text of an expression, and places in it.

use crate::error::{Issue, Issues};

/// A fault at a place (a code point offset).
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) place: u32,
    pub(crate) message: String,
}

/// The place of a fault of the whole expression.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// A text with its code points at hand.
pub(crate) struct Source {
    chars: Vec<char>,
}

/// As many code points as an expression may have.
pub(crate) const MAX_LENGTH: usize = 100_000;

impl Source {
    pub(crate) fn new(text: &str) -> Self {
        Source {
            chars: text.chars().collect(),
        }
    }

    pub(crate) fn chars(&self) -> &[char] {
        &self.chars
    }

    /// Line and column of a place, both from 1.
    fn position(&self, place: u32) -> (u32, u32) {
        let place = (place as usize).min(self.chars.len());
        let before = &self.chars[..place];
        let line = before.iter().filter(|c| **c == '\n').count();
        let column = before.iter().rev().take_while(|c| **c != '\n').count();
        (line as u32 + 1, column as u32 + 1)
    }

    fn line(&self, number: u32) -> String {
        self.chars
            .split(|c| *c == '\n')
            .nth(number as usize - 1)
            .unwrap_or_default()
            .iter()
            .collect()
    }

    /// The faults as issues, in the order of their places.
    pub(crate) fn issues(&self, mut faults: Vec<Fault>) -> Issues {
        faults.sort_by_key(|fault| fault.place);
        Issues(
            faults
                .into_iter()
                .map(|fault| {
                    if fault.place == NOWHERE {
                        return Issue {
                            line: 0,
                            column: 0,
                            message: fault.message,
                            snippet: String::new(),
                        };
                    }
                    let (line, column) = self.position(fault.place);
                    Issue {
                        line,
                        column,
                        message: fault.message,
                        snippet: self.line(line),
                    }
                })
                .collect(),
        )
    }
}
