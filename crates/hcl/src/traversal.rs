//! References: a root name and the steps taken from it.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::source::Range;
use crate::value::Value;

/// One step of a reference.
#[derive(Clone, Debug)]
pub enum Step {
    /// `.name`
    Attribute {
        /// The name after the dot.
        name: Arc<str>,
        /// The dot and the name.
        range: Range,
    },
    /// `[key]` with a constant key, or the legacy `.0`.
    Index {
        /// The key: a number or a string; unknown if the source had none that can be used.
        key: Value,
        /// The brackets and the key.
        range: Range,
    },
    /// `[*]`; only in what [`parse_partial_traversal`](crate::syntax::parse_partial_traversal) gives.
    Splat {
        /// The brackets and the star.
        range: Range,
    },
}

impl Step {
    /// Where the step is written.
    pub fn range(&self) -> Range {
        match self {
            Step::Attribute { range, .. } | Step::Index { range, .. } | Step::Splat { range } => {
                *range
            }
        }
    }

    /// The name of an attribute step.
    pub fn attribute(&self) -> Option<&Arc<str>> {
        match self {
            Step::Attribute { name, .. } => Some(name),
            _ => None,
        }
    }

    /// The key of an index step.
    pub fn key(&self) -> Option<&Value> {
        match self {
            Step::Index { key, .. } => Some(key),
            _ => None,
        }
    }
}

/// A reference such as `var.names[0].first`.
#[derive(Clone, Debug)]
pub struct Traversal {
    /// The name it starts with.
    pub root: Arc<str>,
    /// Where that name is written.
    pub root_range: Range,
    /// What follows.
    pub steps: Vec<Step>,
}

impl Traversal {
    /// The whole reference.
    pub fn range(&self) -> Range {
        self.steps
            .last()
            .map_or(self.root_range, |last| self.root_range.to(last.range()))
    }

    /// The root and the first `count` steps.
    #[must_use]
    pub fn prefix(&self, count: usize) -> Traversal {
        Traversal {
            root: self.root.clone(),
            root_range: self.root_range,
            steps: self.steps[..count.min(self.steps.len())].to_vec(),
        }
    }

    /// The name of the step at `index`, if it is an attribute.
    pub fn attribute(&self, index: usize) -> Option<&Arc<str>> {
        self.steps.get(index)?.attribute()
    }

    /// The reference as it would be written.
    pub fn text(&self) -> String {
        let mut text = self.root.to_string();
        for step in &self.steps {
            match step {
                Step::Attribute { name, .. } => {
                    text.push('.');
                    text.push_str(name);
                }
                Step::Index { key, .. } => {
                    let _ = write!(text, "[{}]", crate::diagnostic::compact(key));
                }
                Step::Splat { .. } => text.push_str("[*]"),
            }
        }
        text
    }
}
