//! HCL: syntax trees with spans, values with unknowns and marks, and the functions of Terraform's language.

pub mod convert;
pub mod json;
pub mod marks;
pub mod msgpack;
pub mod number;
pub mod path;
pub mod refine;
mod text;
pub mod types;
pub mod value;

pub use convert::{
    ConvertError, Unified, can_convert, can_convert_lossy, convert, unify, unify_lossy,
};
pub use marks::Marks;
pub use number::Number;
pub use path::{Path, PathError, Step};
pub use refine::Refinement;
pub use types::{ObjectType, Type};
pub use value::{Kind, Value};
