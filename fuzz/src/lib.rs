//! Fuzz targets: what hostile input must not do, and what must hold for all input.
//!
//! A [`Target`] is a function from bytes to nothing that panics when something does not hold which always must:
//! that what was written reads back as the same, that two ways to the same result agree, that a cost stays under its
//! estimate. [`run`] also watches over time and memory. Bytes are taken as a document as it is, or, where random bytes
//! would never get past the door, as the choices of a generator ([`generate`]) that makes documents from schemas.
//!
//! `cargo xtask fuzz` runs the targets under libFuzzer, guided by coverage; the tests of this crate run each over its
//! seeds, among them documents of absurd depth and size.
//!
//! ```
//! let target = consort_fuzz::target("label_selector").expect("a target");
//! consort_fuzz::run(target, b"app in (a, b),!canary");
//! ```

pub mod generate;
mod limits;
pub mod seeds;
mod targets;

pub use limits::{Counting, run};
pub use targets::{Target, all, target};
