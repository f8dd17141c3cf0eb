//! Syntax trees of both syntaxes, from text that may be wrong.

mod body;
mod expr;
pub(crate) mod json;
mod parse;
mod scan;
mod statics;
pub(crate) mod token;

pub use body::{Attribute, AttributeSchema, Block, BlockSchema, Body, BodySchema, Content, Label};
pub use expr::Expr;
pub(crate) use expr::{Call, For, JsonProperty, JsonString, Kind, Operator, Splat};
pub use json::{parse_json, parse_json_expression, parse_json_source};
pub use parse::{
    parse, parse_expression, parse_partial_traversal, parse_source, parse_template, parse_traversal,
};
pub use scan::is_identifier;
pub(crate) use scan::{ScanMode, scan};
pub use statics::{Selection, StaticCall};
