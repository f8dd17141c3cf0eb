//! The text of Rego as a tree that keeps every place and every comment.
//!
//! The evaluator has a tree of its own; this one is what the formatter prints, what is checked before evaluation, and what is
//! rewritten into the Rego that the evaluator understands (see `lower`).

mod lex;
pub(crate) mod lower;
pub(crate) mod metadata;
mod parse;
mod tree;

pub(crate) use self::lex::Comment;
pub(crate) use self::parse::{FUTURE, RESERVED, module, query};
pub(crate) use self::tree::{
    Assign, Block, Else, Head, Import, Literal, LiteralKind, Module, Node, Rule, Span, Step,
    TemplatePart, Term, TermKind, With, walk_rule,
};
