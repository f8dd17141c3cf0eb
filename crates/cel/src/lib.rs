//! The Common Expression Language, as Kubernetes uses it.
//!
//! An [`Env`] says which variables and libraries an expression may use. [`Env::compile`] parses and type-checks a text
//! against it and gives a [`Program`], or the [`Issues`] with the place of each. A program is immutable and shared
//! between threads; [`Program::evaluate`] runs it over [`Bindings`] (JSON is read where it lies, nothing is copied)
//! and spends a [`Budget`], so that no expression can run for long. [`Program::estimate`] tells the cost of the
//! worst case beforehand, from the sizes the schemas ([`Decl`]) of the variables allow.
//!
//! ```
//! use consort_cel::{Bindings, Budget, Decl, Env, Type, Value};
//! use serde_json::json;
//!
//! let schema = json!({"type": "object", "properties": {"replicas": {"type": "integer"}, "max": {"type": "integer"}}});
//! let decl = Decl::from_schema(&schema, false).expect("an exposed schema").named("self");
//! let env = Env::kubernetes().with_decl("self", &decl);
//! let program = env.compile("self.replicas <= self.max", Some(&Type::Bool)).expect("compiles");
//! let object = json!({"replicas": 3, "max": 5});
//! let bindings = Bindings::new().with("self", Value::typed(&object, &decl));
//! let value = program.evaluate(&bindings, &mut Budget::per_object()).expect("evaluates");
//! assert_eq!(value.as_bool(), Some(true));
//! ```

mod ast;
mod budget;
mod checker;
mod code;
mod decl;
mod env;
mod error;
mod escape;
mod estimate;
mod eval;
mod functions;
mod lexer;
pub mod libraries;
mod macros;
mod parser;
mod pattern;
mod plan;
mod presets;
mod price;
mod program;
mod source;
mod types;
mod unify;
mod validate;
pub mod value;

pub use budget::Budget;
pub use decl::{Decl, ListKind, Resolve, escape, unescape};
pub use env::Env;
pub use error::{EvalError, Issue, Issues};
pub use program::{Bindings, Estimate, Memo, Program, Variables};
pub use types::{ObjectType, Type};
pub use value::Value;

#[cfg(test)]
mod tests;
