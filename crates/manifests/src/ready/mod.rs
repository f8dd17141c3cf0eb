//! When something that was applied can be said to work.

mod judge;
mod pods;
mod wait;

pub(crate) use judge::{Readiness, judge};
pub(crate) use wait::{gone, ready};
