//! YAML 1.1 as PyYAML on libyaml 0.2.5 reads it, with its errors.

mod compose;
mod construct;
mod mistakes;
mod scalars;
mod scanner;

use std::sync::Arc;

use consort_jinja::Origin;

use super::{Located, Node, Reader};

pub use scalars::{Resolved, resolve};

/// A place in a text, counted from zero; the column in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Mark {
    pub(crate) index: usize,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// Why a text is no YAML, in PyYAML's words.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) context: Option<String>,
    pub(crate) message: String,
    pub(crate) note: Option<String>,
    /// Where; none for a character that may stand nowhere.
    pub(crate) mark: Option<Mark>,
    /// Found by Ansible's rules: not examined for the usual mistakes.
    pub(crate) own: bool,
}

impl Problem {
    pub(crate) fn new(context: Option<&str>, problem: impl Into<String>, mark: Mark) -> Self {
        Problem {
            context: context.map(str::to_owned),
            message: problem.into(),
            note: None,
            mark: Some(mark),
            own: false,
        }
    }
}

/// The document of a text; none if it holds none.
///
/// # Errors
/// It is no YAML, or holds what Ansible does not take.
pub(super) fn document(
    text: &str,
    file: &Arc<str>,
    reader: &Reader,
    trusted: bool,
) -> Result<Option<Node>, Located> {
    let failed = |problem: Problem| mistakes::explain(&problem, text, file, reader.redacts());
    let mut composed = compose::Composed::read(text).map_err(failed)?;
    let Some(root) = composed.root else {
        return Ok(None);
    };
    construct::Constructor::new(&mut composed, file, reader, trusted)
        .node(root)
        .map(Some)
        .map_err(failed)
}

pub(crate) fn origin(file: &Arc<str>, mark: Mark) -> Arc<Origin> {
    Arc::new(Origin {
        file: Arc::clone(file),
        line: mark.line as u32 + 1,
        column: mark.column as u32 + 1,
    })
}
