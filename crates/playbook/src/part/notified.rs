//! Which handlers of a plan are to run, and which a run that was cut off did not come to.

use std::collections::HashMap;
use std::sync::Arc;

use super::record::HostRecord;
use super::told::Deed;

/// What was notified, host by host, and whether by anything that changes.
#[derive(Debug, Default)]
pub(super) struct Notified(HashMap<Arc<str>, HashMap<Arc<str>, bool>>);

impl Notified {
    /// With what earlier runs did not come to.
    pub(super) fn of(records: &[HostRecord]) -> Self {
        Notified(
            pending(records)
                .into_iter()
                .map(|(host, names)| (host, names.into_iter().map(|name| (name, true)).collect()))
                .collect(),
        )
    }

    /// Takes in what a task notifies. `changes` is whether it really changes something.
    pub(super) fn note(&mut self, deed: &Deed, changes: bool) {
        if deed.notify.is_empty() {
            return;
        }
        let of_host = self.0.entry(Arc::clone(&deed.host)).or_default();
        for name in &deed.notify {
            *of_host.entry(Arc::clone(name)).or_default() |= changes;
        }
    }

    /// Whether a handler was notified only by what turned out to change nothing.
    pub(super) fn is_idle(&self, deed: &Deed) -> bool {
        let Some(of_host) = self.0.get(&deed.host).filter(|_| !deed.topics.is_empty()) else {
            return false;
        };
        let mut by = of_host
            .iter()
            .filter(|(name, _)| means(name, deed))
            .map(|(_, changes)| *changes)
            .peekable();
        by.peek().is_some() && !by.any(|changes| changes)
    }
}

/// Whether a notification means a handler.
pub(super) fn means(notification: &str, handler: &Deed) -> bool {
    handler
        .topics
        .iter()
        .any(|topic| names(notification, topic))
}

/// Whether a notification is that of this handler alone: its name, and not something that others may listen to as well.
pub(super) fn is(notification: &str, handler: &Deed) -> bool {
    let name = handler.topics.first();
    name.is_some_and(|name| names(notification, name))
}

/// Whether a notification is the name of a handler, which may be given with its role or without.
pub(super) fn names(notification: &str, handler: &str) -> bool {
    let ends = |long: &str, short: &str| {
        long.strip_suffix(short)
            .is_some_and(|before| before.ends_with(" : ") || before.ends_with('.'))
    };
    notification == handler || ends(handler, notification) || ends(notification, handler)
}

/// What runs that were cut off did not come to, by host.
pub(super) fn pending<'r>(
    records: impl IntoIterator<Item = &'r HostRecord>,
) -> HashMap<Arc<str>, Vec<Arc<str>>> {
    records
        .into_iter()
        .filter(|record| !record.pending.is_empty())
        .map(|record| {
            let names = record.pending.iter().map(|name| Arc::from(name.as_str()));
            (Arc::from(record.host.as_str()), names.collect())
        })
        .collect()
}
