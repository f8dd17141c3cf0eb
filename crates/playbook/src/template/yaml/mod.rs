//! Values as YAML, byte by byte as PyYAML with libyaml 0.2.5 writes them.
//!
//! [`represent`] makes nodes of values, as PyYAML's representer does; [`emitter`] writes them.

mod emitter;
mod represent;
mod scalars;

pub(super) use represent::dump;

/// How YAML is written.
#[derive(Clone, Debug)]
pub(super) struct Style {
    /// So many blanks for each level.
    pub(super) indent: usize,
    /// Where lines are broken, if that can be done.
    pub(super) width: usize,
    /// Whether keys come in their order.
    pub(super) sort_keys: bool,
    /// Whether lists and dicts are written in one line; none: those that hold nothing but plain scalars are.
    pub(super) flow: Option<bool>,
    /// The style of all scalars: `"`, `'`, `|`, `>`.
    pub(super) scalars: Option<char>,
    /// Whether texts of several lines are written as blocks; and whether they may lose for it what a block cannot have.
    pub(super) blocks: Option<bool>,
    /// Whether `---` begins it.
    pub(super) explicit_start: bool,
    /// Whether `...` ends it.
    pub(super) explicit_end: bool,
    /// Whether everything is written out: tags, quotes, each item on a line of its own.
    pub(super) canonical: bool,
    /// Whether characters beyond ASCII are written as they are.
    pub(super) unicode: bool,
}

impl Default for Style {
    fn default() -> Self {
        Style {
            indent: 2,
            width: 80,
            sort_keys: true,
            flow: None,
            scalars: None,
            blocks: None,
            explicit_start: false,
            explicit_end: false,
            canonical: false,
            unicode: true,
        }
    }
}

/// What is written.
pub(super) struct Node {
    /// The name it is referred to by, if it is referred to.
    pub(super) anchor: Option<String>,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    Scalar {
        text: String,
        /// The tag, where the text alone would not be read as what it is.
        tag: Option<&'static str>,
        /// The tag of what it is.
        kind: &'static str,
        /// Read as what it is without quotes.
        plain: bool,
        /// Read as what it is with quotes: a text.
        quoted: bool,
        style: Option<char>,
    },
    Sequence {
        items: Vec<Node>,
        flow: bool,
    },
    Mapping {
        entries: Vec<(Node, Node)>,
        flow: bool,
    },
    Alias(String),
}
