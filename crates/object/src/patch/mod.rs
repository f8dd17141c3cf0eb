//! Patches: changes to an object that were sent instead of the object.
//!
//! Three of the four kinds are here: [`json`] (RFC 6902), [`merge`] (RFC 7386) and [`strategic`], which
//! follows the table of facts. The fourth, server-side apply, is [`crate::apply`]. A patch that cannot be
//! applied leaves the document in an unspecified state: apply it to a copy. The result is a document like any
//! other; [`schema::coerce_and_check`](crate::schema::coerce_and_check) has yet to look at it.

mod json;
mod merge;
mod strategic;

pub use json::json;
pub use merge::merge;
pub use strategic::strategic;

use crate::status::Status;

/// Why a patch could not be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The patch itself is malformed (400).
    #[error("{0}")]
    Malformed(String),
    /// The patch does not fit the object (422).
    #[error("{0}")]
    DoesNotApply(String),
    /// The patch asks for more work than is done for one request (413).
    #[error("{0}")]
    TooLarge(String),
}

impl Error {
    /// The answer to the client that sent the patch.
    pub fn status(&self) -> Status {
        match self {
            Self::Malformed(why) => Status::bad_request(why.clone()),
            Self::DoesNotApply(why) => Status::unprocessable(why.clone()),
            Self::TooLarge(why) => Status::request_entity_too_large(why),
        }
    }
}
