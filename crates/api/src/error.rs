//! Failures of requests: a `Status` for the client.

use consort_object::status::Status;

/// What a handler fails with: the status the client gets. Boxed, as failing is rare and a status large.
pub(crate) type Failure = Box<Status>;

/// The result of handling a request.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// Shorthand for a failed outcome.
pub(crate) fn fail<T>(status: Status) -> Outcome<T> {
    Err(Box::new(status))
}

/// A 400 with this text.
pub(crate) fn bad_request(message: impl Into<String>) -> Failure {
    Box::new(Status::bad_request(message))
}

/// A 500 that names what went wrong.
pub(crate) fn internal(error: impl std::fmt::Display) -> Failure {
    Box::new(Status::internal_error(error))
}
