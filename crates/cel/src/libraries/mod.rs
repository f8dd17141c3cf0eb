//! The function libraries.

pub mod authorizer;
