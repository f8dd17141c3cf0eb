//! Texts, borrowed or shared.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A text: borrowed from JSON or from the program, or built and shared.
#[derive(Clone)]
pub enum Text<'a> {
    /// Text that lies elsewhere.
    Borrowed(&'a str),
    /// Text an expression built.
    Shared(Arc<str>),
}

impl Text<'_> {
    /// How many code points it has: what `size()` says.
    pub fn code_points(&self) -> usize {
        if self.is_ascii() {
            self.len()
        } else {
            self.chars().count()
        }
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Text::Borrowed(text) => text,
            Text::Shared(text) => text,
        }
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text<'_> {}
