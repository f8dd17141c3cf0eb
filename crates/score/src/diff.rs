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

/// A resource on the way.
struct Touched<'b> {
    /// What it was at the beginning.
    first: Option<&'b Planned>,
    /// What the last step made of it, with all that others had set then.
    last: Option<&'b Planned>,
    /// What the steps alone have made of what it was at the beginning.
    state: Option<Planned>,
    change: &'b Change,
}

impl<'b> Touched<'b> {
    /// Takes in a further step: only what differs between its sides counts, not what others changed in between.
    fn step(
        &mut self,
        before: Option<&'b Planned>,
        after: Option<&'b Planned>,
        change: &'b Change,
    ) {
        let from = before.or(self.last);
        match (&mut self.state, from, after) {
            (Some(state), Some(from), Some(after)) => {
                let mut at = String::new();
                carry_over(
                    state,
                    &mut at,
                    Some(&from.value),
                    after,
                    Some(&after.value),
                    0,
                );
                for place in &after.sensitive {
                    if !state.sensitive.contains(place) {
                        state.sensitive.push(place.clone());
                    }
                }
            }
            (state, _, after) => *state = after.cloned(),
        }
        self.last = after;
        self.change = change;
    }
}

/// Sets in `state` what differs between both sides at and below a place.
fn carry_over(
    state: &mut Planned,
    at: &mut String,
    from: Option<&Value>,
    after: &Planned,
    to: Option<&Value>,
    depth: usize,
) {
    let unknown = after.unknown.iter().find(|unknown| unknown.at == *at);
    if from == to && unknown.is_none() {
        // An unknown place holds null: what was null before and is unknown below is gone into.
        let below = after.unknown.iter().any(|unknown| {
            unknown
                .at
                .strip_prefix(at.as_str())
                .is_some_and(|rest| rest.starts_with('/'))
        });
        if !below {
            return;
        }
    }
    if let (Some(Value::Object(old)), Some(Value::Object(new))) = (from, to)
        && depth < 64
        && state.value.pointer(at).is_some_and(Value::is_object)
    {
        for (name, value) in new {
            let end = at.len();
            at.push_str(&consort_plan::below("", name));
            carry_over(state, at, old.get(name), after, Some(value), depth + 1);
            at.truncate(end);
        }
        for name in old.keys().filter(|name| !new.contains_key(*name)) {
            if let Some(Value::Object(fields)) = state.value.pointer_mut(at) {
                fields.shift_remove(name);
            }
        }
        return;
    }
    let below = format!("{at}/");
    state
        .unknown
        .retain(|unknown| unknown.at != *at && !unknown.at.starts_with(&below));
    let told = after
        .unknown
        .iter()
        .filter(|unknown| unknown.at == *at || unknown.at.starts_with(&below));
    state.unknown.extend(told.cloned());
    let value = to.cloned().unwrap_or(Value::Null);
    let Some((parent, name)) = at.rsplit_once('/') else {
        state.value = value;
        return;
    };
    if let Some(Value::Object(fields)) = state.value.pointer_mut(parent) {
        fields.insert(name.replace("~1", "/").replace("~0", "~"), value);
    }
}

/// Goes the way from one state to another and tells what is different at its end.
pub fn difference(way: &[Step<'_>]) -> Difference {
    let mut touched: IndexMap<&Address, Touched<'_>> = IndexMap::new();
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
                .and_modify(|known| known.step(before, after, change))
                .or_insert_with(|| Touched {
                    first: before,
                    last: after,
                    state: after.cloned(),
                    change,
                });
        }
    }
    let changes = touched
        .into_iter()
        .filter_map(|(address, touched)| {
            let (before, after) = (touched.first, touched.state);
            let action = match (before, &after) {
                (None, None) => return None,
                (None, Some(_)) => Action::Create,
                (Some(_), None) => Action::Delete,
                (Some(before), Some(after)) if before == after => return None,
                (Some(_), Some(_)) => Action::Update,
            };
            Some(Change {
                address: address.clone(),
                kind: touched.change.kind.clone(),
                action,
                before: before.cloned(),
                after,
                replaces: Vec::new(),
                reasons: Vec::new(),
                moved_from: None,
                drift: Vec::new(),
                reversal: Reversal::Reversible,
                location: touched.change.location.clone(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn step(before: Value, after: Value) -> Blueprint {
        let mut blueprint = crate::render::tests::shop();
        let mut change = blueprint.changes[3].clone();
        change.action = Action::Update;
        change.before = Some(Planned::known(before));
        change.after = Some(Planned::known(after));
        blueprint.changes = vec![change];
        blueprint
    }

    #[test]
    fn what_others_changed_between_two_operations_is_no_difference() {
        let first = step(
            json!({"spec": {"replicas": 1}, "note": "1"}),
            json!({"spec": {"replicas": 2}, "note": "1"}),
        );
        // A controller has set the note to 2 in between, and a default has come.
        let second = step(
            json!({"spec": {"replicas": 2, "other": 1}, "note": "2"}),
            json!({"spec": {"replicas": 2, "other": 1, "image": "b"}, "note": "2"}),
        );
        let way = [&first, &second].map(|blueprint| Step {
            blueprint,
            entries: None,
            back: false,
        });
        let difference = difference(&way);
        assert_eq!(
            difference.changes[0].after.as_ref().unwrap().value,
            json!({"spec": {"replicas": 2, "image": "b"}, "note": "1"})
        );
        // And back to where it began there is none at all.
        let way = [
            Step {
                blueprint: &first,
                entries: None,
                back: false,
            },
            Step {
                blueprint: &first,
                entries: None,
                back: true,
            },
        ];
        assert!(super::difference(&way).changes.is_empty());
    }
}
