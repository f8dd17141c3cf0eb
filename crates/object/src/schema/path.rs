//! A place in a document.

use std::fmt;

/// A place in a document, linked towards the root so that it costs nothing until it is shown.
pub(super) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    segment: Segment<'a>,
}

#[derive(Clone, Copy)]
pub(super) enum Segment<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    pub(super) const ROOT: Path<'static> = Path {
        parent: None,
        segment: Segment::Key(""),
    };

    pub(super) fn under(parent: &'a Path<'a>, segment: Segment<'a>) -> Self {
        Self {
            parent: Some(parent),
            segment,
        }
    }

    fn is_root(&self) -> bool {
        self.parent.is_none()
    }

    /// The path by field names alone, as Go's errors show it.
    pub(super) fn fields(&self) -> String {
        let mut names = Vec::new();
        let mut path = self;
        while let Some(parent) = path.parent {
            if let Segment::Key(key) = path.segment {
                names.push(key);
            }
            path = parent;
        }
        names.reverse();
        names.join(".")
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(parent) = self.parent else {
            return Ok(());
        };
        parent.fmt(f)?;
        match self.segment {
            Segment::Key(key) if parent.is_root() => f.write_str(key),
            Segment::Key(key) => write!(f, ".{key}"),
            Segment::Index(index) => write!(f, "[{index}]"),
        }
    }
}
