//! Texts: whether they are templates, and where they were written.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::repr;

/// A text, whether it may be taken for a template, and where it was written.
///
/// Two texts are equal when they read the same and are both templates or both not; where they come from does not count.
#[derive(Clone)]
pub struct Str {
    text: Arc<str>,
    template: bool,
    origin: Option<Arc<Origin>>,
}

/// Where a text was written.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Origin {
    /// The file, or another name of the source: `<inventory script /etc/hosts.py>`.
    pub file: Arc<str>,
    /// The line, counted from one.
    pub line: u32,
    /// The column, counted from one in characters.
    pub column: u32,
}

impl PartialEq for Str {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.template == other.template
    }
}

impl Eq for Str {}

impl Hash for Str {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
        self.template.hash(state);
    }
}

impl Str {
    /// A text that is no template, whatever stands in it.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Str {
            text: text.into(),
            template: false,
            origin: None,
        }
    }

    /// A text of somebody trusted: where a variable has it, it is rendered.
    pub fn template(text: impl Into<Arc<str>>) -> Self {
        Str {
            text: text.into(),
            template: true,
            origin: None,
        }
    }

    /// The same text with the place it was written at.
    #[must_use]
    pub fn written_at(mut self, origin: Arc<Origin>) -> Self {
        self.origin = Some(origin);
        self
    }

    /// Whether it may be taken for a template.
    pub fn is_template(&self) -> bool {
        self.template
    }

    /// Where it was written, if that is known.
    pub fn origin(&self) -> Option<&Arc<Origin>> {
        self.origin.as_ref()
    }

    /// The text, shared.
    pub fn shared(&self) -> &Arc<str> {
        &self.text
    }
}

impl std::ops::Deref for Str {
    type Target = str;
    fn deref(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&repr::string(self))
    }
}
