//! What is wrong, where, and with which values.
//!
//! A [`Diagnostic`] is plain data: it names places by [`Range`] and carries the values that were looked at when it
//! was made. [`text`] renders it as terraform's box, [`json`] as `-json` output has it; both need the [`Sources`].

mod describe;
mod json;
mod snippet;
mod text;

pub use describe::{compact, describe_value, traversal_text};
pub use json::json;
pub use snippet::{Snippet, snippet};
pub use text::{Style, compact_warnings, text};

use std::fmt;
use std::sync::Arc;

use crate::source::{Range, Sources};
use crate::value::Value;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// What was asked for cannot be done.
    Error,
    /// It can, but somebody should know.
    Warning,
}

impl Severity {
    /// `error` or `warning`, as JSON output has it.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// A reference in the failing expression and the value it had.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The reference as it would be written, for example `var.names[0]`.
    pub traversal: Arc<str>,
    /// Its value when the expression was evaluated.
    pub value: Value,
}

/// The function whose call failed.
#[derive(Clone, Debug)]
pub struct FailedCall {
    /// The name as it was called, with its namespaces.
    pub called_as: Arc<str>,
    /// The function, for its signature. `None` if there is no such function.
    pub function: Option<Arc<crate::evaluate::Function>>,
}

/// One message.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A few words: what kind of problem.
    pub summary: String,
    /// Whole sentences: what exactly, and what can be done.
    pub detail: String,
    /// The address of the resource or other object concerned.
    pub address: Option<String>,
    /// The place to underline.
    pub subject: Option<Range>,
    /// A larger place to show around it.
    pub context: Option<Range>,
    /// The values of the references in the failing expression.
    pub observed: Vec<Observed>,
    /// The function whose call failed.
    pub call: Option<FailedCall>,
    /// An unknown value led to the problem: unknown references are then spoken of.
    pub caused_by_unknown: bool,
    /// A sensitive or ephemeral value led to the problem: such references are then named, never shown.
    pub caused_by_confidential: bool,
    /// What the user might try; shown after the detail.
    pub hint: Option<String>,
    /// What made it, for those who look at it again: of any type its maker chose. Never shown.
    pub origin: Option<std::sync::Arc<dyn std::any::Any + Send + Sync>>,
}

impl Diagnostic {
    fn new(severity: Severity, summary: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            severity,
            summary: summary.into(),
            detail: detail.into(),
            address: None,
            subject: None,
            context: None,
            observed: Vec::new(),
            call: None,
            caused_by_unknown: false,
            caused_by_confidential: false,
            hint: None,
            origin: None,
        }
    }

    /// An error without a place yet.
    pub fn error(summary: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(Severity::Error, summary, detail)
    }

    /// A warning without a place yet.
    pub fn warning(summary: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(Severity::Warning, summary, detail)
    }

    /// With the place to underline.
    #[must_use]
    pub fn at(mut self, subject: Range) -> Self {
        self.subject = Some(subject);
        self
    }

    /// With what made it.
    #[must_use]
    pub fn from_origin(mut self, origin: std::sync::Arc<dyn std::any::Any + Send + Sync>) -> Self {
        self.origin = Some(origin);
        self
    }

    /// What made it, if that is of this type.
    pub fn origin<T: 'static>(&self) -> Option<&T> {
        self.origin.as_deref()?.downcast_ref()
    }

    /// With a larger place to show.
    #[must_use]
    pub fn within(mut self, context: Range) -> Self {
        self.context = Some(context);
        self
    }

    /// With the address of the object concerned.
    #[must_use]
    pub fn with_address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// With a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With the values of the references in `expr`, as `scope` has them.
    #[must_use]
    pub fn with_expression(
        mut self,
        expr: &crate::syntax::Expr,
        scope: &dyn crate::evaluate::Scope,
    ) -> Self {
        self.observed = crate::evaluate::observe(expr, scope);
        self
    }

    /// Said to come from an unknown value.
    #[must_use]
    pub fn because_unknown(mut self) -> Self {
        self.caused_by_unknown = true;
        self
    }

    /// Said to come from a sensitive or ephemeral value.
    #[must_use]
    pub fn because_confidential(mut self) -> Self {
        self.caused_by_confidential = true;
        self
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Whether a source is a text given on the command line or the like, `<value for var.x>`, which is not shown.
fn is_hidden(name: &str) -> bool {
    name.starts_with('<')
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.detail.is_empty() {
            f.write_str(&self.summary)
        } else {
            write!(f, "{}: {}", self.summary, self.detail)
        }
    }
}

/// Messages in the order they were found.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// None yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Adds all of another list.
    pub fn append(&mut self, mut other: Diagnostics) {
        if self.0.is_empty() {
            *self = other;
        } else {
            self.0.append(&mut other.0);
        }
    }

    /// Whether any is an error.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(Diagnostic::is_error)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// One after the other.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// One after the other, to be changed.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Diagnostic> {
        self.0.iter_mut()
    }

    /// The first error.
    pub fn first_error(&self) -> Option<&Diagnostic> {
        self.0.iter().find(|diagnostic| diagnostic.is_error())
    }

    /// Warnings before errors, those without a place before those with one, then by file and place; otherwise
    /// as they were. It is the order in which terraform shows them.
    pub fn sort(&mut self, sources: &Sources) {
        self.0.sort_by(|a, b| {
            let key = |diagnostic: &Diagnostic| match diagnostic.subject {
                None => (
                    std::cmp::Reverse(diagnostic.severity),
                    false,
                    String::new(),
                    0,
                ),
                Some(range) => (
                    std::cmp::Reverse(diagnostic.severity),
                    true,
                    sources.name(range).to_owned(),
                    range.start,
                ),
            };
            key(a).cmp(&key(b))
        });
    }

    /// Sets the address of those that have none.
    pub fn set_address(&mut self, address: &str) {
        for diagnostic in &mut self.0 {
            diagnostic.address.get_or_insert_with(|| address.to_owned());
        }
    }

    /// All, one box after the other.
    pub fn render(&self, sources: &Sources, style: Style) -> String {
        self.0
            .iter()
            .map(|diagnostic| text(diagnostic, sources, style))
            .collect()
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl From<Vec<Diagnostic>> for Diagnostics {
    fn from(all: Vec<Diagnostic>) -> Self {
        Self(all)
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a mut Diagnostics {
    type Item = &'a mut Diagnostic;
    type IntoIter = std::slice::IterMut<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter_mut()
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<T: IntoIterator<Item = Diagnostic>>(&mut self, iter: T) {
        self.0.extend(iter);
    }
}

impl FromIterator<Diagnostic> for Diagnostics {
    fn from_iter<T: IntoIterator<Item = Diagnostic>>(iter: T) -> Self {
        Self(iter.into_iter().collect())
    }
}
