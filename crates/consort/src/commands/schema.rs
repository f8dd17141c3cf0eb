//! `consort schema`.

use consort_score::SCHEMA;

use crate::output;

/// Prints the JSON schema of `consort.yaml`, for editors.
pub(super) fn run() {
    output::print(SCHEMA);
}
