//! The expression tree.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use crate::diagnostic::Diagnostics;
use crate::source::{Range, Source};
use crate::traversal::{Step, Traversal};
use crate::value::Value;

/// An expression: a node of the tree, cheap to clone and to share between threads.
#[derive(Clone)]
pub struct Expr(pub(crate) Arc<Node>);

pub(crate) struct Node {
    pub(crate) range: Range,
    pub(crate) kind: Kind,
}

/// The operators of two operands, and of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Negate,
    Not,
}

impl Operator {
    /// How tightly it binds; the larger, the tighter.
    pub(crate) fn precedence(self) -> u8 {
        match self {
            Self::Or => 0,
            Self::And => 1,
            Self::Equal | Self::NotEqual => 2,
            Self::Greater | Self::GreaterOrEqual | Self::Less | Self::LessOrEqual => 3,
            Self::Add | Self::Subtract => 4,
            Self::Multiply | Self::Divide | Self::Modulo => 5,
            Self::Negate | Self::Not => 6,
        }
    }
}

pub(crate) struct Call {
    pub(crate) name: Arc<str>,
    pub(crate) args: Vec<Expr>,
    /// The last argument is a sequence whose elements are the arguments.
    pub(crate) expand: bool,
    pub(crate) name_range: Range,
    pub(crate) open: Range,
    pub(crate) close: Range,
}

pub(crate) struct For {
    pub(crate) key_name: Option<Arc<str>>,
    pub(crate) value_name: Arc<str>,
    pub(crate) collection: Expr,
    /// Set for objects.
    pub(crate) key: Option<Expr>,
    pub(crate) value: Expr,
    pub(crate) condition: Option<Expr>,
    pub(crate) group: bool,
    pub(crate) open: Range,
}

pub(crate) struct Splat {
    pub(crate) source: Expr,
    /// What is done with each element, which stands in it as [`Kind::SplatItem`].
    pub(crate) each: Expr,
    pub(crate) marker: Range,
}

pub(crate) struct JsonProperty {
    pub(crate) name: Arc<str>,
    pub(crate) name_range: Range,
    /// The name as an expression: it may hold a template.
    pub(crate) name_expr: Expr,
    pub(crate) value: Expr,
}

/// A string of the JSON syntax: a template, a reference or a call, depending on where it stands.
pub(crate) struct JsonString {
    /// The string with its quotes.
    pub(crate) range: Range,
    pub(crate) text: Arc<str>,
    pub(crate) source: Arc<Source>,
    /// Where in the source each part of the text starts, if escapes moved it: (offset in the text, offset in the source).
    pub(crate) offsets: Vec<(u32, u32)>,
    /// The string as a template, parsed when it is first needed as one.
    pub(crate) template: OnceLock<(Expr, Diagnostics)>,
}

pub(crate) enum Kind {
    Literal(Value),
    /// A placeholder for what could not be parsed.
    Invalid,
    /// A placeholder that gives its diagnostics again when it is evaluated.
    Broken(Diagnostics),
    Traversal(Traversal),
    Relative {
        source: Expr,
        steps: Vec<Step>,
    },
    Call(Call),
    Conditional {
        condition: Expr,
        yes: Expr,
        no: Expr,
    },
    Index {
        collection: Expr,
        key: Expr,
        open: Range,
        bracket: Range,
    },
    Tuple {
        items: Vec<Expr>,
        open: Range,
    },
    Object {
        items: Vec<(Expr, Expr)>,
        open: Range,
    },
    /// A key of an object: a bare name in it is a string.
    ObjectKey {
        wrapped: Expr,
        parenthesised: bool,
    },
    For(For),
    Splat(Splat),
    SplatItem,
    Template {
        parts: Vec<Expr>,
    },
    /// A template that is one interpolation only: its value keeps its type.
    Wrap(Expr),
    /// The results of a template's `for`, as one string.
    Join(Expr),
    Parens(Expr),
    Unary {
        operator: Operator,
        operand: Expr,
        symbol: Range,
    },
    /// A chain of operators that bind alike, from left to right.
    Binary {
        first: Expr,
        rest: Vec<(Operator, Expr)>,
    },
    JsonString(JsonString),
    JsonArray(Vec<Expr>),
    JsonObject {
        properties: Vec<JsonProperty>,
        open: Range,
        close: Range,
    },
    /// An expression in which some names have values of their own.
    Bound {
        expr: Expr,
        bindings: Arc<BTreeMap<Arc<str>, Value>>,
    },
}

impl Expr {
    pub(crate) fn new(range: Range, kind: Kind) -> Self {
        Self(Arc::new(Node { range, kind }))
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.0.kind
    }

    /// An expression that always has one value.
    pub fn literal(value: Value, range: Range) -> Self {
        Self::new(range, Kind::Literal(value))
    }

    /// An expression that looks a reference up.
    pub fn reference(traversal: Traversal) -> Self {
        Self::new(traversal.range(), Kind::Traversal(traversal))
    }

    /// The expression with values for some root names, which its references then do not list: as the content
    /// of a `dynamic` block sees its iterator.
    #[must_use]
    pub fn bound(&self, bindings: Arc<BTreeMap<Arc<str>, Value>>) -> Self {
        Self::new(
            self.range(),
            Kind::Bound {
                expr: self.clone(),
                bindings,
            },
        )
    }

    /// The whole expression.
    pub fn range(&self) -> Range {
        self.0.range
    }

    /// The part of the expression that best points at it in a message: for a call, its name.
    pub fn start_range(&self) -> Range {
        match self.kind() {
            Kind::Call(call) => call.name_range.to(call.open),
            Kind::Conditional { condition, .. } => condition.start_range(),
            Kind::Index { open, .. } | Kind::Tuple { open, .. } | Kind::Object { open, .. } => {
                *open
            }
            Kind::JsonObject { open, .. } => *open,
            Kind::For(f) => f.open,
            Kind::Splat(splat) => splat.marker,
            Kind::Template { parts } => parts.first().map_or(self.range(), Expr::start_range),
            Kind::ObjectKey { wrapped, .. } => wrapped.start_range(),
            Kind::Join(inner) | Kind::Bound { expr: inner, .. } | Kind::Parens(inner) => {
                inner.start_range()
            }
            Kind::Unary { symbol, .. } => *symbol,
            Kind::Binary { first, .. } => first.start_range(),
            _ => self.range(),
        }
    }

    /// Whether it is a quoted string without interpolations.
    pub(crate) fn is_string_literal(&self) -> bool {
        matches!(self.kind(), Kind::Template { parts } if matches!(parts.as_slice(), [part] if matches!(part.kind(), Kind::Literal(_))))
    }

    /// The value of a literal number, bool, null or string without interpolations.
    pub fn as_literal(&self) -> Option<&Value> {
        match self.kind() {
            Kind::Literal(value) => Some(value),
            Kind::Template { parts } if self.is_string_literal() => parts.first()?.as_literal(),
            Kind::Parens(inner) => inner.as_literal(),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Expr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self.kind() {
            Kind::Literal(value) => return write!(f, "Literal({value:?})"),
            Kind::Traversal(traversal) => return write!(f, "Traversal({})", traversal.text()),
            Kind::Invalid | Kind::Broken(_) => "Invalid",
            Kind::Relative { .. } => "Relative",
            Kind::Call(call) => return write!(f, "Call({})", call.name),
            Kind::Conditional { .. } => "Conditional",
            Kind::Index { .. } => "Index",
            Kind::Tuple { .. } | Kind::JsonArray(_) => "Tuple",
            Kind::Object { .. } | Kind::JsonObject { .. } => "Object",
            Kind::ObjectKey { .. } => "ObjectKey",
            Kind::For(_) => "For",
            Kind::Splat(_) | Kind::SplatItem => "Splat",
            Kind::Template { .. } | Kind::Wrap(_) | Kind::Join(_) | Kind::JsonString(_) => {
                "Template"
            }
            Kind::Parens(_) => "Parens",
            Kind::Unary { .. } => "Unary",
            Kind::Binary { .. } => "Binary",
            Kind::Bound { .. } => "Bound",
        };
        f.write_str(name)
    }
}
