//! Jinja templates with Python's values.
//!
//! The language is that of Jinja 3.1 with the extensions `do` and `loopcontrols`; what a template gives is by the rules
//! of ansible-core 2.19 and later: a template that is a single tag gives that tag's value with its type, one with text
//! around gives text. What is undefined can be passed on, tested and given a default, and fails when it is used. A
//! variable whose text is a template is rendered when it is looked at, unless the text came from somebody untrusted
//! ([`Str::template`] says who is trusted).
//!
//! A text goes through the lexer and the parser into a tree, which is kept by its source; the evaluator walks the tree
//! for each set of variables.
//!
//! ```
//! use consort_jinja::{Dict, Environment, Str, Syntax, Value};
//!
//! let environment = Environment::new(Syntax::default());
//! let variables: Dict = [
//!     ("port", Value::from(8080_i64)),
//!     ("address", Value::Str(Str::template("localhost:{{ port }}"))),
//! ]
//! .into_iter()
//! .collect();
//! let render = |text: &str| environment.render(&text.into(), &variables).unwrap();
//! assert_eq!(render("{{ port + 1 }}").as_int(), Some(8081));
//! assert_eq!(render("at {{ address | upper }}").as_str(), Some("at LOCALHOST:8080"));
//! ```

mod arguments;
mod ast;
mod environment;
mod error;
mod eval;
mod filters;
mod format;
mod functions;
pub mod json;
mod lexer;
mod methods;
mod names;
mod operators;
mod parser;
pub mod repr;
mod tests;
mod value;

pub use arguments::{Arguments, integer, text};
pub use environment::{
    ConstantUsed, Environment, Filter, Loader, Plugins, Takes, Test, UntrustedMet, Variables,
    Writing,
};
pub use error::{Error, Explained, Result};
pub use eval::{Asking, Replaced, State, asking, is_omit};
pub use functions::{Native, Omit, Range};
pub use lexer::Syntax;
pub use value::{Dict, Key, List, Object, Origin, Str, Tuple, Undefined, Value};
