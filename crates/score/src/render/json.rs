//! Plans and operations as JSON. The keys are written down in `docs/json.md` and stay as they are.

use std::collections::{BTreeMap, HashMap};

use consort_plan::{
    Action, Blueprint, Change, Edge, Entry, Operation, Planned, Points, Reversal, VerdictKind,
};
use serde_json::{Map, Value, json};

use super::plan::Counts;

/// A blueprint as JSON. Sensitive values are `"(sensitive value)"`, unknown ones `"(known after apply)"`; the payloads of
/// the parts are left out.
pub fn plan(blueprint: &Blueprint) -> Value {
    let points: HashMap<u32, &Points> = blueprint
        .blast
        .each
        .iter()
        .map(|points| (points.change, points))
        .collect();
    let changes: Vec<Value> = blueprint
        .changes
        .iter()
        .enumerate()
        .map(|(index, each)| {
            let mut value = change(each);
            if let (Some(points), Some(object)) =
                (points.get(&(index as u32)), value.as_object_mut())
            {
                object.insert("points".to_owned(), json!(points.points));
                object.insert("because".to_owned(), json!(points.because));
                if let Some(downstream) = &points.downstream {
                    object.insert("downstream".to_owned(), json!(downstream));
                }
            }
            value
        })
        .collect();
    let parts: Vec<Value> = blueprint
        .parts
        .iter()
        .map(|part| {
            json!({
                "name": part.name,
                "layer": part.layer,
                "intent": part.intent,
                "resources": part.count,
                "inputs": shown_all(&part.inputs),
                "outputs": shown_all(&part.outputs),
            })
        })
        .collect();
    let address = |index: u32| {
        blueprint
            .changes
            .get(index as usize)
            .map(|change| &change.address)
    };
    let edges: Vec<Value> = blueprint
        .edges
        .iter()
        .filter_map(|edge| {
            Some(json!({
                "dependent": address(edge.dependent)?,
                "dependency": address(edge.dependency)?,
                "kind": kind(edge.edge),
            }))
        })
        .collect();
    let addresses =
        |places: &[u32]| -> Vec<_> { places.iter().filter_map(|place| address(*place)).collect() };
    let joints: Vec<Value> = blueprint
        .joints
        .iter()
        .map(|joint| {
            json!({
                "label": joint.label,
                "kind": kind(joint.edge),
                "dependents": addresses(&joint.dependents),
                "dependencies": addresses(&joint.dependencies),
            })
        })
        .collect();
    let counts = Counts::of(&blueprint.changes);
    let denied = blueprint.is_denied();
    let verdict = if denied {
        "denied"
    } else if blueprint.is_empty() {
        "empty"
    } else if blueprint.blast.needs_approval {
        "needs-approval"
    } else {
        "allowed"
    };
    json!({
        "format": Blueprint::FORMAT,
        "type": "plan",
        "id": blueprint.id(),
        "score": blueprint.score,
        "mode": blueprint.mode,
        "author": blueprint.author,
        "time": blueprint.time,
        "source": blueprint.source,
        "parentRevision": blueprint.parent.revision,
        "parts": parts,
        "changes": changes,
        "edges": edges,
        "joints": joints,
        "warnings": blueprint.warnings,
        "verdicts": blueprint.verdicts,
        "blastRadius": {
            "total": blueprint.blast.total,
            "threshold": blueprint.blast.threshold,
            "needsApproval": blueprint.blast.needs_approval,
            "approval": blueprint.blast.approval,
            "byRule": blueprint.blast.by_rule,
        },
        "summary": {
            "create": counts.create,
            "update": counts.update,
            "replace": counts.replace,
            "delete": counts.delete,
            "read": counts.read,
            "forget": counts.forget,
            "moved": counts.moved,
            "unchanged": counts.unchanged,
            "denials": blueprint.verdicts.iter().filter(|verdict| verdict.kind == VerdictKind::Deny).count(),
            "verdict": verdict,
        },
    })
}

/// The kind of an edge: `value`, `order`, `lifecycle`, `provider`.
pub(crate) fn kind(edge: Edge) -> &'static str {
    match edge {
        Edge::Value => "value",
        Edge::Order => "order",
        Edge::Lifecycle => "lifecycle",
        Edge::Provider => "provider",
    }
}

/// The word for an action: as in a blueprint.
pub(crate) fn action(action: Action) -> &'static str {
    match action {
        Action::NoOp => "no-op",
        Action::Read => "read",
        Action::Create => "create",
        Action::Update => "update",
        Action::DeleteThenCreate => "delete-then-create",
        Action::CreateThenDelete => "create-then-delete",
        Action::Delete => "delete",
        Action::Forget => "forget",
    }
}

/// One change as JSON, its sensitive values masked.
pub fn change(change: &Change) -> Value {
    let mut object = Map::new();
    object.insert("address".to_owned(), json!(change.address));
    object.insert("part".to_owned(), json!(change.address.part()));
    object.insert("type".to_owned(), json!(change.kind));
    object.insert("action".to_owned(), json!(action(change.action)));
    if change.before.is_some() || change.after.is_some() {
        let (before, after) = masked(change.before.as_ref(), change.after.as_ref());
        object.insert("before".to_owned(), before);
        object.insert("after".to_owned(), after);
        if let Some(after) = &change.after
            && !after.unknown.is_empty()
        {
            object.insert("unknown".to_owned(), json!(after.unknown));
        }
        let sensitive: std::collections::BTreeSet<&str> = change
            .before
            .iter()
            .chain(&change.after)
            .flat_map(|planned| planned.sensitive.iter().map(String::as_str))
            .collect();
        if !sensitive.is_empty() {
            object.insert("sensitive".to_owned(), json!(sensitive));
        }
    }
    if !change.replaces.is_empty() {
        object.insert("replaces".to_owned(), json!(change.replaces));
    }
    if !change.reasons.is_empty() {
        object.insert("reasons".to_owned(), json!(change.reasons));
    }
    if let Some(from) = &change.moved_from {
        object.insert("movedFrom".to_owned(), json!(from));
    }
    if !change.drift.is_empty() {
        let drift: Vec<Value> = change
            .drift
            .iter()
            .map(|drift| {
                let (wanted, found) = masked(Some(&drift.wanted), Some(&drift.found));
                json!({
                    "at": drift.at,
                    "wanted": wanted,
                    "found": found,
                    "owner": drift.owner,
                    "corrected": drift.corrected,
                })
            })
            .collect();
        object.insert("drift".to_owned(), Value::Array(drift));
    }
    object.insert(
        "reversal".to_owned(),
        json!(match change.reversal {
            Reversal::Reversible => "reversible",
            Reversal::Compensable => "compensable",
            Reversal::Irreversible => "irreversible",
        }),
    );
    if let Some(location) = &change.location {
        object.insert("location".to_owned(), json!(location));
    }
    Value::Object(object)
}

/// Both sides for eyes: what is sensitive on one is masked on both.
fn masked(before: Option<&Planned>, after: Option<&Planned>) -> (Value, Value) {
    let with = |own: Option<&Planned>, other: Option<&Planned>| match own {
        None => Value::Null,
        Some(own) => match other.filter(|other| !other.sensitive.is_empty()) {
            None => own.shown(),
            Some(other) => {
                let mut own = own.clone();
                own.sensitive.extend(other.sensitive.iter().cloned());
                own.shown()
            }
        },
    };
    (with(before, after), with(after, before))
}

fn shown_all(values: &BTreeMap<String, Planned>) -> Map<String, Value> {
    values
        .iter()
        .map(|(name, planned)| (name.clone(), planned.shown()))
        .collect()
}

/// An operation with its record as JSON.
pub fn operation(operation: &Operation, entries: &[Entry]) -> Value {
    json!({
        "format": 1,
        "type": "operation",
        "name": format!("{}-{}", operation.score, operation.revision),
        "operation": operation,
        "entries": entries,
    })
}

/// An entry of an operation's record as one value: its own keys, `type` (`entry`) and `part`.
pub fn entry(entry: &Entry) -> Value {
    let mut value = json!(entry);
    if let Some(object) = value.as_object_mut() {
        object.insert("type".to_owned(), json!("entry"));
        object.insert("part".to_owned(), json!(entry.address.part()));
    }
    value
}
