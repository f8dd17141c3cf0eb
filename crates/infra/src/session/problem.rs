//! Problems as diagnostics.

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};

/// One error as a list.
pub fn error(summary: &str, detail: impl Into<String>) -> Diagnostics {
    let mut diagnostics = Diagnostics::new();
    diagnostics.push(Diagnostic::error(summary, detail));
    diagnostics
}

/// An error with its causes.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
