//! Plans, states and outputs as people read them.
//!
//! A change is first told apart into a tree ([`Node`]: what is created, changed, deleted, unknown or secret)
//! and then written as text by [`Text`]. Sensitive values never get into a tree, so nothing that writes
//! one can show them.

mod diff;
mod expression;
mod text;

pub use diff::{Action, Node, Paths, attributes, outputs};
pub use expression::expression;
pub use text::{Colours, Text};
