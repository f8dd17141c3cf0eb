//! What a template is made of.

use std::sync::Arc;

use crate::value::Value;

/// An expression and the line it stands on.
#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub(crate) kind: Box<Kind>,
    pub(crate) line: u32,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Const(Value),
    Name(Arc<str>),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    /// `value.name`.
    Attribute(Expr, Arc<str>),
    /// `value[key]`.
    Item(Expr, Expr),
    Slice(Expr, [Option<Expr>; 3]),
    Not(Expr),
    Negative(Expr),
    Positive(Expr),
    Binary(Binary, Expr, Expr),
    And(Expr, Expr),
    Or(Expr, Expr),
    Concat(Vec<Expr>),
    Compare(Expr, Vec<(Comparison, Expr)>),
    Condition {
        test: Expr,
        then: Expr,
        otherwise: Option<Expr>,
    },
    Call(Expr, Call),
    /// A filter; none as the value in a filter block.
    Filter(Option<Expr>, Arc<str>, Call),
    Test {
        value: Expr,
        name: Arc<str>,
        call: Call,
    },
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Call {
    pub(crate) positional: Vec<Expr>,
    pub(crate) named: Vec<(Arc<str>, Expr)>,
    pub(crate) star: Option<Expr>,
    pub(crate) double_star: Option<Expr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Modulo,
    Power,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    NotIn,
}

/// What is assigned to.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Name(Arc<str>),
    Tuple(Vec<Target>),
    /// An attribute of a namespace.
    Attribute(Arc<str>, Arc<str>),
}

pub(crate) type Body = Arc<[Node]>;

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: NodeKind,
    pub(crate) line: u32,
}

#[derive(Clone, Debug)]
pub(crate) enum NodeKind {
    Text(Arc<str>),
    Print(Expr),
    For {
        target: Target,
        iter: Expr,
        filter: Option<Expr>,
        recursive: bool,
        body: Body,
        otherwise: Body,
    },
    If {
        branches: Vec<(Expr, Body)>,
        otherwise: Body,
    },
    Set(Target, Expr),
    SetBlock {
        target: Target,
        filter: Option<Expr>,
        body: Body,
    },
    With(Vec<(Target, Expr)>, Body),
    FilterBlock(Expr, Body),
    Macro(Arc<Macro>),
    CallBlock {
        call: Expr,
        body: Arc<Macro>,
    },
    Include {
        name: Expr,
        ignore_missing: bool,
        with_context: bool,
    },
    Import {
        name: Expr,
        target: Arc<str>,
        with_context: bool,
    },
    FromImport {
        name: Expr,
        names: Vec<(Arc<str>, Arc<str>)>,
        with_context: bool,
    },
    Extends(Expr),
    Block {
        name: Arc<str>,
        scoped: bool,
        required: bool,
        body: Body,
    },
    Autoescape(Body),
    Do(Expr),
    Break,
    Continue,
}

#[derive(Debug)]
pub(crate) struct Macro {
    pub(crate) name: Arc<str>,
    pub(crate) parameters: Vec<(Arc<str>, Option<Expr>)>,
    pub(crate) body: Body,
    pub(crate) takes_varargs: bool,
    pub(crate) takes_kwargs: bool,
    pub(crate) takes_caller: bool,
}
