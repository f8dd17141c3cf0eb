//! When a score that is followed may be carried out by itself, and when a person may ask for it.

mod calendar;
mod window;

pub use window::{Permission, Window, WindowError, WindowKind, permission};
