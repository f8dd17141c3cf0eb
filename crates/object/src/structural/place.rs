//! A place in an object or a schema.

use std::fmt;

/// A place, linked towards the root so that it costs nothing until it is shown.
#[derive(Clone, Copy)]
pub enum Place<'a> {
    /// Where the walk began; the text stands before everything.
    Base(&'a str),
    /// A field.
    Field(&'a Place<'a>, &'a str),
    /// An item of a list.
    Index(&'a Place<'a>, usize),
    /// A member of a map.
    Key(&'a Place<'a>, &'a str),
}

impl<'a> Place<'a> {
    /// A field below this place.
    #[must_use]
    pub fn field(&'a self, name: &'a str) -> Place<'a> {
        Place::Field(self, name)
    }

    /// An item below this place.
    #[must_use]
    pub fn index(&'a self, index: usize) -> Place<'a> {
        Place::Index(self, index)
    }

    /// A map's member below this place.
    #[must_use]
    pub fn key(&'a self, key: &'a str) -> Place<'a> {
        Place::Key(self, key)
    }

    /// Is it where the walk began, without a text of its own?
    pub(super) fn is_root(&self) -> bool {
        matches!(self, Place::Base(""))
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Base(text) => f.write_str(text),
            Place::Field(parent, name) if parent.is_root() => f.write_str(name),
            Place::Field(parent, name) => write!(f, "{parent}.{name}"),
            Place::Index(parent, index) => write!(f, "{parent}[{index}]"),
            Place::Key(parent, key) => write!(f, "{parent}[{key}]"),
        }
    }
}
