//! What is told while sources are read.

use std::sync::Arc;

use crate::source::{Located, Notice, Notices, Removal};

/// A warning.
pub(super) fn warn(notices: &Notices, message: impl Into<String>) {
    notices(Notice::Warning(Located::new(message)));
}

/// Something to tell from a level of detail on.
pub(super) fn detail(notices: &Notices, level: u8, message: impl Into<String>) {
    notices(Notice::Detail {
        level,
        text: message.into(),
    });
}

/// Something that will go away.
pub(super) fn deprecate(notices: &Notices, what: Located) {
    notices(Notice::Deprecated {
        what,
        removal: Removal::of_core("2.23"),
    });
}

/// Nobody is told.
pub(super) fn unheard() -> Notices {
    Arc::new(|_| {})
}
