//! HCL: syntax trees with spans, values with unknowns and marks, and the functions of Terraform's language.
//!
//! Text goes through [`syntax`] into trees that know their places, and through [`evaluate`] into [`Value`]s. What is
//! wrong is said by [`diagnostic`]s, which show the source and the values in it.
//!
//! ```
//! use consort_hcl::{Sources, Tables, Value, parse};
//!
//! let mut sources = Sources::new();
//! let (body, diagnostics) = parse(&mut sources, "main.hcl", "greeting = \"Hello, ${name}!\"\n");
//! assert!(!diagnostics.has_errors());
//! let greeting = body.attributes().next().unwrap();
//! let scope = Tables::default().with("name", Value::string("world"));
//! let (value, diagnostics) = greeting.expr.evaluate(&scope);
//! assert!(!diagnostics.has_errors());
//! assert_eq!(value.as_str(), Some("Hello, world!"));
//! ```

pub mod convert;
pub mod diagnostic;
pub mod evaluate;
pub mod format;
pub mod functions;
pub mod json;
pub mod marks;
pub mod msgpack;
pub mod number;
pub mod path;
pub mod refine;
pub mod source;
pub mod suggest;
pub mod syntax;
mod text;
pub mod traversal;
pub mod type_expr;
pub mod types;
pub mod value;

pub use convert::{
    ConvertError, Unified, can_convert, can_convert_lossy, convert, unify, unify_lossy,
};
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use evaluate::{CallError, Function, Functions, Nothing, Parameter, Resolution, Scope, Tables};
pub use marks::Marks;
pub use number::Number;
pub use path::{Path, PathError, Step};
pub use refine::Refinement;
pub use source::{Position, Range, Source, SourceId, Sources};
pub use syntax::{
    Attribute, AttributeSchema, Block, BlockSchema, Body, BodySchema, Content, Expr, Label,
    StaticCall, is_identifier, parse, parse_expression, parse_json, parse_json_expression,
    parse_partial_traversal, parse_template, parse_traversal,
};
pub use text::quote;
pub use traversal::Traversal;
pub use type_expr::{Defaults, exact_type, type_constraint, type_expr};
pub use types::{ObjectType, Type};
pub use value::{Kind, Value};
