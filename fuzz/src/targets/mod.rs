//! The targets.

mod apply;
mod cel;
mod hcl;
mod json;
mod merge;
mod protobuf;
mod scalars;
mod schemas;
mod selectors;
#[cfg(feature = "server")]
mod server;

use std::fmt;

/// A property of all inputs.
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Panics when the property does not hold for the input.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// The input is not a document but the choices of a generator.
    pub choices: bool,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// All targets.
pub fn all() -> impl Iterator<Item = &'static Target> {
    [
        json::TARGETS,
        protobuf::TARGETS,
        merge::TARGETS,
        apply::TARGETS,
        selectors::TARGETS,
        schemas::TARGETS,
        cel::TARGETS,
        scalars::TARGETS,
        hcl::TARGETS,
        #[cfg(feature = "server")]
        server::TARGETS,
    ]
    .into_iter()
    .flatten()
}

/// The target of a name.
pub fn target(name: &str) -> Option<&'static Target> {
    all().find(|target| target.name == name)
}

/// The two texts of an input that is two documents: they stand on both sides of the first line that is empty.
fn halves(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.windows(2).position(|pair| pair == b"\n\n")?;
    Some((&bytes[..at], &bytes[at + 2..]))
}
