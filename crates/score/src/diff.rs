//! What differs between two recorded states of a score.
//!
//! No state is recorded whole: every blueprint has its changes with what was before and what is after. The difference
//! between two revisions is what the operations between them did, taken together, so its cost follows the changes
//! and not the size of the score.

use consort_plan::{Action, Address, Blueprint, Change, Entry, Event, Planned, Reversal};
use indexmap::IndexMap;
use serde_json::{Value, json};

use crate::render::{self, Style};

/// A step on the way from one state to the other.
pub struct Step<'b> {
    /// What it changes.
    pub blueprint: &'b Blueprint,
    /// What was done of it; none for a plan that is taken as if it was carried out.
    pub entries: Option<&'b [Entry]>,
    /// Whether the way goes over it from its end to its beginning.
    pub back: bool,
}

/// What differs: resources in the order the way first touches them.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The changes that make the second state of the first.
    pub changes: Vec<Change>,
}

/// Goes the way from one state to another and tells what is different at its end.
pub fn difference(way: &[Step<'_>]) -> Difference {
    let mut touched: IndexMap<&Address, (Option<&Planned>, Option<&Planned>, &Change)> =
        IndexMap::new();
    for step in way {
        let done: Option<std::collections::HashMap<&Address, &Event>> =
            step.entries.map(|entries| {
                entries
                    .iter()
                    .map(|entry| (&entry.address, &entry.event))
                    .collect()
            });
        let changes: Box<dyn Iterator<Item = &Change>> = if step.back {
            Box::new(step.blueprint.changes.iter().rev())
        } else {
            Box::new(step.blueprint.changes.iter())
        };
        for change in changes {
            if !change.action.changes() {
                continue;
            }
            let carried_out = done
                .as_ref()
                .is_none_or(|done| matches!(done.get(&change.address), Some(Event::Done)));
            if !carried_out {
                continue;
            }
            // What is no longer looked after is no more part of the state than what is deleted.
            let after = match change.action {
                Action::Delete | Action::Forget => None,
                _ => change.after.as_ref(),
            };
            let before = change.before.as_ref();
            let (before, after) = if step.back {
                (after, before)
            } else {
                (before, after)
            };
            touched
                .entry(&change.address)
                .and_modify(|known| {
                    known.1 = after;
                    known.2 = change;
                })
                .or_insert((before, after, change));
        }
    }
    let changes = touched
        .into_iter()
        .filter_map(|(address, (before, after, change))| {
            let action = match (before, after) {
                (None, None) => return None,
                (None, Some(_)) => Action::Create,
                (Some(_), None) => Action::Delete,
                (Some(before), Some(after)) if before == after => return None,
                (Some(_), Some(_)) => Action::Update,
            };
            Some(Change {
                address: address.clone(),
                kind: change.kind.clone(),
                action,
                before: before.cloned(),
                after: after.cloned(),
                replaces: Vec::new(),
                reasons: Vec::new(),
                moved_from: None,
                drift: Vec::new(),
                reversal: Reversal::Reversible,
                location: change.location.clone(),
            })
        })
        .collect();
    Difference { changes }
}

impl Difference {
    /// As text, part by part.
    pub fn text(&self, from: &str, to: &str, style: &Style) -> String {
        render::differences(&self.changes, from, to, style)
    }

    /// As JSON.
    pub fn json(&self, from: &str, to: &str) -> Value {
        let changes: Vec<Value> = self
            .changes
            .iter()
            .map(|change| {
                let mut value = render::change_json(change);
                if let Some(object) = value.as_object_mut() {
                    object.remove("reversal");
                }
                value
            })
            .collect();
        json!({"format": 1, "type": "diff", "from": from, "to": to, "changes": changes})
    }
}

/// Two directories of sources, line by line, in the form of `diff -u`. What is not text is told by its name.
pub fn sources(
    from: &std::collections::BTreeMap<String, Vec<u8>>,
    to: &std::collections::BTreeMap<String, Vec<u8>>,
) -> String {
    let mut out = String::new();
    let mut names: Vec<&String> = from.keys().chain(to.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let empty = Vec::new();
        let (old, new) = (
            from.get(name).unwrap_or(&empty),
            to.get(name).unwrap_or(&empty),
        );
        if old == new {
            continue;
        }
        let shown = render::escaped(name);
        match (std::str::from_utf8(old), std::str::from_utf8(new)) {
            (Ok(old), Ok(new)) => {
                let difference = similar::TextDiff::configure()
                    .timeout(std::time::Duration::from_secs(1))
                    .diff_lines(old, new);
                let text = difference
                    .unified_diff()
                    .header(&format!("a/{shown}"), &format!("b/{shown}"))
                    .to_string();
                for line in text.lines() {
                    out.push_str(&render::escaped(&line.replace('\t', "    ")));
                    out.push('\n');
                }
            }
            _ => out.push_str(&format!("binary files a/{shown} and b/{shown} differ\n")),
        }
    }
    out
}
