//! What a run of the engine needs around it: providers as they are installed, values of variables, the state of a
//! workspace, locked, with what a crash left beside it.
//!
//! The commands of `consort tf` and the [parts of a score](crate::layer) share it. Nothing here looks at the process's
//! environment or asks anybody: callers hand in what was said.

mod backing;
mod installed;
mod problem;
mod remote_state;
mod sealed;
mod selections;
mod variables;

pub use backing::{
    Backing, Held, Locking, Record, block_arguments, decode, lock_error, merged, refuse_cloud,
    settings,
};
pub use installed::{Around, BuiltIn, Installed};
pub use problem::{causes, error};
pub use remote_state::States;
pub use sealed::{Encrypted, journal_key, journal_seal, opened, opened_plan, sealed};
pub use selections::Purpose;
pub use variables::{Variables, ephemeral, is_default};
