//! What is not as the last apply left it: somebody else changed it.

use consort_plan::{Action, Change, Drift, Owner, Planned, below};
use serde_json::Value as Json;

use super::record::{HostRecord, asked};
use super::told::Deed;

/// Whether all that a task would change was asked for in the same words before: then somebody else changed it.
pub(super) fn is_drift(deed: &Deed, record: Option<&HostRecord>) -> bool {
    let Some(record) = record else { return false };
    let mut changed = deed.pieces.iter().filter(|piece| piece.changed).peekable();
    changed.peek().is_some()
        && changed.all(|piece| {
            record
                .find(&deed.local, piece.item.as_deref())
                .is_some_and(|thing| !thing.asked.is_empty() && thing.asked == asked(deed, piece))
        })
}

/// Whether what a task would change is what was there before: drift, or what nobody may see and so cannot be compared.
pub(super) fn is_put_back(deed: &Deed, record: Option<&HostRecord>) -> bool {
    deed.unforeseen.is_none()
        && (is_drift(deed, record)
            || deed.no_log && record.is_some_and(|record| record.find(&deed.local, None).is_some()))
}

/// Whether a task that cannot be foreseen changed nothing when it was last asked for in the same words.
pub(super) fn changed_nothing(deed: &Deed, record: Option<&HostRecord>) -> bool {
    let Some(record) = record else { return false };
    !deed.includes
        && deed.pieces.iter().all(|piece| {
            piece.skipped
                || !piece.arguments.is_empty()
                    && record
                        .find(&deed.local, piece.item.as_deref())
                        .is_some_and(|thing| {
                            !thing.changed
                                && !thing.asked.is_empty()
                                && thing.asked == asked(deed, piece)
                        })
        })
}

/// Whether a task changes something each time it is done, as far as anybody knows.
pub(super) fn does_again(deed: &Deed) -> bool {
    matches!(
        deed.leaf(),
        "command" | "shell" | "script" | "raw" | "expect" | "reboot" | "uri"
    )
}

/// The fields of a change that are not as they were left.
pub(super) fn of(change: &Change) -> Vec<Drift> {
    let one = |at: String, wanted: Planned, found: Planned| Drift {
        at,
        wanted,
        found,
        owner: Owner::Outside,
        corrected: true,
    };
    match (&change.before, &change.after) {
        (before, Some(after)) if change.action == Action::Create || before.is_none() => {
            vec![one(String::new(), after.clone(), Planned::default())]
        }
        (Some(before), None) => {
            vec![one(String::new(), Planned::default(), before.clone())]
        }
        (Some(before), Some(after)) => {
            let mut drift = Vec::new();
            let mut places = Vec::new();
            differing(&before.value, &after.value, "", 0, &mut places);
            for at in places {
                let side = |planned: &Planned| Planned {
                    value: planned.value.pointer(&at).cloned().unwrap_or_default(),
                    unknown: Vec::new(),
                    sensitive: if planned
                        .sensitive
                        .iter()
                        .any(|place| at.starts_with(place.as_str()))
                    {
                        vec![String::new()]
                    } else {
                        Vec::new()
                    },
                };
                drift.push(one(at.clone(), side(after), side(before)));
            }
            drift
        }
        (None, _) => Vec::new(),
    }
}

/// The places where two values differ, down to the fields of items.
fn differing(before: &Json, after: &Json, at: &str, depth: u32, places: &mut Vec<String>) {
    match (before, after) {
        (Json::Object(before), Json::Object(after)) if depth < 3 => {
            let names = before
                .keys()
                .chain(after.keys().filter(|name| !before.contains_key(*name)));
            for name in names {
                let (one, two) = (
                    before.get(name).unwrap_or(&Json::Null),
                    after.get(name).unwrap_or(&Json::Null),
                );
                differing(one, two, &below(at, name), depth + 1, places);
            }
        }
        (before, after) if before != after => places.push(at.to_owned()),
        _ => {}
    }
}
