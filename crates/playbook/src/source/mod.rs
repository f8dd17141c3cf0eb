//! Files of playbooks, read: YAML 1.1 as PyYAML reads it, with the place of every value, and errors that show it.
//!
//! A text goes through [`yaml`]'s scanner and composer into [`Node`]s; whoever needs plain values asks
//! [`Node::value`]. Errors are [`Located`]: rendered as ansible-core 2.21 renders its own.

mod json;
mod located;
mod node;
mod reader;
mod removal;
pub mod yaml;

pub use located::{Located, Notice, Notices, excerpt};
pub(crate) use located::{origin_of, shorten, source_lines};
pub use node::{Content, Encrypted, Node, Timestamp};
pub(crate) use reader::python_error;
pub use reader::{Duplicates, Reader, Secrets, splits_extension};
pub use removal::Removal;
