//! What Terraform knows of the world: state files of version 4, read and written so that Terraform takes them
//! over and gives them back.
//!
//! [`State`] is the model; [`State::read`] and [`State::write`] are the file format; a [`Journal`] keeps
//! each change safe while a walk runs, so that the file itself is written once at its end.

mod edit;
mod journal;
mod model;
pub(crate) mod pointers;
mod read;
mod seal;
mod write;

pub use edit::{MarkError, MoveError};
pub use journal::{Entry, Error as JournalError, Journal, recover, sealed_key};
pub use model::{
    CheckObject, CheckResult, Identity, Instance, Object, Output, PathStep, ResourceState, State,
    Status, TERRAFORM_VERSION,
};
pub use read::ReadError;
pub use seal::Seal;
pub(crate) use write::escape_into;
