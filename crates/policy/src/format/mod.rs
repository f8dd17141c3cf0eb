//! Rego laid out as `opa fmt` lays it out.
//!
//! What is on a line of its own stays so, comments stay beside what they are about, and everything between is set right.

mod rules;
mod terms;
mod writer;

use crate::engine::{Error, Version};
use crate::syntax;

/// The text of a module, laid out.
///
/// ```
/// use consort_policy::Version;
///
/// let text = consort_policy::format::format("x.rego", "package x\nallow  if  input.a==1", Version::V1)?;
/// assert_eq!(text, "package x\n\nallow if input.a == 1\n");
/// # Ok::<(), consort_policy::Error>(())
/// ```
///
/// # Errors
/// What is wrong with the text: only Rego can be laid out.
pub fn format(file: &str, text: &str, version: Version) -> Result<String, Error> {
    let module = syntax::module(file, text, version)?;
    Ok(writer::Writer::new(text, &module, version).module(&module))
}
