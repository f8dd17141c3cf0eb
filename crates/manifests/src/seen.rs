//! What a plan has seen of the objects it changes, and what has moved since.

use std::collections::HashMap;

use consort_plan::{Action, Moved, Pointer, Problem, Seen, below};
use futures::stream::{self, StreamExt as _};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::dry_run::translated;
use crate::identity::text;
use crate::kinds::Kinds;
use crate::ownership;
use crate::part::Manifests;
use crate::server::{Failure, Server};

/// How many objects are looked at at once.
const LOOKS: usize = 16;
/// So many fields are told apart; of more only that one of them is another.
const MOST_FIELDS: usize = 400;

/// What was seen of an object, as far as the plan was made from it: whether it was there, which one it was, and the fields
/// the plan sets. What others own may move.
pub(crate) fn version(effective: &Value, live: Option<&Value>, action: Action) -> Option<String> {
    let Some(live) = live else {
        return Some(String::new());
    };
    if live["metadata"].get("deletionTimestamp").is_some() {
        return None;
    }
    let uid = text(live, &["metadata", "uid"]);
    let mut version = format!("{uid}:");
    if action == Action::Delete {
        return Some(version);
    }
    let mut places = Vec::new();
    leaves(effective, "", &mut places);
    let mut digests: Vec<(u32, u32)> = places
        .iter()
        .map(|at| {
            let there = translated(at, effective, live).unwrap_or_else(|| at.clone());
            (digest(there.as_bytes()), value_digest(live.pointer(&there)))
        })
        .collect();
    digests.sort_unstable();
    digests.dedup();
    if digests.len() > MOST_FIELDS {
        digests.truncate(MOST_FIELDS);
    }
    for (place, value) in digests {
        use std::fmt::Write as _;
        let _ = write!(version, "{place:08x}{value:08x}");
    }
    Some(version)
}

fn digest(bytes: &[u8]) -> u32 {
    let hash = Sha256::digest(bytes);
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

fn value_digest(value: Option<&Value>) -> u32 {
    match value {
        None => 0,
        Some(value) => digest(value.to_string().as_bytes()).max(1),
    }
}

/// The places in a value below which there is nothing.
fn leaves(value: &Value, at: &str, places: &mut Vec<Pointer>) {
    match value {
        Value::Object(object) if !object.is_empty() => {
            for (name, value) in object {
                leaves(value, &below(at, name), places);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, value) in items.iter().enumerate() {
                leaves(value, &format!("{at}/{index}"), places);
            }
        }
        _ => places.push(at.to_owned()),
    }
}

/// What has moved since a plan was made.
pub(crate) async fn moved(
    part: &Manifests,
    server: &Server,
    seen: &[Seen],
) -> Result<Vec<Moved>, Vec<Problem>> {
    if seen.is_empty() {
        return Ok(Vec::new());
    }
    let kinds = Kinds::discover(server).await.map_err(|failure| {
        vec![failure.problem(
            &part.name,
            "the server cannot be asked for its kinds".to_owned(),
        )]
    })?;
    let paths: Vec<Option<String>> = seen
        .iter()
        .map(|seen| path_of(&kinds, &seen.what))
        .collect();
    let paths = &paths;
    let looks: Vec<Result<Option<Value>, Failure>> = stream::iter(0..seen.len())
        .map(|at| async move {
            match &paths[at] {
                Some(path) => server.get(path).await,
                None => Ok(None),
            }
        })
        .buffered(LOOKS)
        .collect()
        .await;
    let mut all = Vec::new();
    for (seen, live) in seen.iter().zip(looks) {
        let live = live.map_err(|failure| {
            vec![failure.problem(&part.name, format!("{} cannot be read", seen.what))]
        })?;
        if let Some(how) = difference(&seen.version, live.as_ref()) {
            all.push(Moved {
                what: seen.what.clone(),
                how,
                by: live.as_ref().and_then(ownership::latest_other),
            });
        }
    }
    Ok(all)
}

/// The path of `apps/v1/Deployment/shop/web`.
fn path_of(kinds: &Kinds, local: &str) -> Option<String> {
    let steps: Vec<&str> = local.split('/').collect();
    let at = steps
        .iter()
        .position(|step| step.starts_with(|c: char| c.is_ascii_uppercase()))?;
    let (group, version) = match &steps[..at] {
        [version] => ("", *version),
        [group, version] => (*group, *version),
        _ => return None,
    };
    let kind = kinds.served(group, version, steps[at])?;
    match &steps[at + 1..] {
        [name] => Some(kind.path("", name)),
        [namespace, name] => Some(kind.path(namespace, name)),
        _ => None,
    }
}

/// How an object is another than it was, if it is.
fn difference(version: &str, live: Option<&Value>) -> Option<String> {
    let (uid, fields) = version.split_once(':').unwrap_or(("", ""));
    match (version.is_empty(), live) {
        (true, None) => None,
        (true, Some(_)) => Some("created".to_owned()),
        (false, None) => Some("deleted".to_owned()),
        (false, Some(live)) => {
            if text(live, &["metadata", "uid"]) != uid {
                return Some("deleted and created again".to_owned());
            }
            changed(fields, live)
        }
    }
}

fn changed(fields: &str, live: &Value) -> Option<String> {
    if fields.is_empty() {
        return None;
    }
    let mut places = Vec::new();
    all_places(live, "", &mut places);
    let by_digest: HashMap<u32, &Pointer> = places
        .iter()
        .map(|at| (digest(at.as_bytes()), at))
        .collect();
    let secret = live["kind"] == "Secret";
    let mut told = Vec::new();
    let mut at = 0;
    while let (Some(place), Some(value)) = (fields.get(at..at + 8), fields.get(at + 8..at + 16)) {
        at += 16;
        let (Ok(place), Ok(value)) = (
            u32::from_str_radix(place, 16),
            u32::from_str_radix(value, 16),
        ) else {
            continue;
        };
        let pointer = by_digest.get(&place);
        let present = pointer.and_then(|at| live.pointer(at));
        if value_digest(present) == value {
            continue;
        }
        told.push(match (pointer, present) {
            (Some(at), Some(_)) if secret => format!("{} is another", named(at)),
            (Some(at), Some(present)) if present.is_object() || present.is_array() => {
                format!("{} is another", named(at))
            }
            (Some(at), Some(present)) => format!("{} is {present} now", named(at)),
            _ => "a field is gone".to_owned(),
        });
    }
    if told.is_empty() {
        return None;
    }
    told.sort();
    told.dedup();
    let more = told.len().saturating_sub(3);
    told.truncate(3);
    let mut text = told.join(", ");
    if more > 0 {
        text.push_str(&format!(", and {more} more"));
    }
    Some(text)
}

fn all_places(value: &Value, at: &str, places: &mut Vec<Pointer>) {
    if !at.is_empty() {
        places.push(at.to_owned());
    }
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                if at == "/metadata" && name == "managedFields" {
                    continue;
                }
                all_places(value, &below(at, name), places);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                all_places(value, &format!("{at}/{index}"), places);
            }
        }
        _ => {}
    }
}

fn named(at: &str) -> String {
    at.trim_start_matches('/')
        .split('/')
        .map(|step| step.replace("~1", "/").replace("~0", "~"))
        .collect::<Vec<_>>()
        .join(".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_the_plan_sets_makes_it_stale() {
        let effective = json!({"spec": {"replicas": 2, "template": {"image": "x"}}});
        let live = json!({"kind": "Deployment", "metadata": {"uid": "u"}, "spec": {"replicas": 1, "paused": false, "template": {"image": "w"}}});
        let version = version(&effective, Some(&live), Action::Update).unwrap();
        let mut later = live.clone();
        later["spec"]["paused"] = json!(true);
        assert_eq!(difference(&version, Some(&later)), None);
        later["spec"]["replicas"] = json!(5);
        assert_eq!(
            difference(&version, Some(&later)).as_deref(),
            Some("spec.replicas is 5 now")
        );
        assert_eq!(difference(&version, None).as_deref(), Some("deleted"));
        assert_eq!(difference("", Some(&live)).as_deref(), Some("created"));
        later["metadata"]["uid"] = json!("v");
        assert_eq!(
            difference(&version, Some(&later)).as_deref(),
            Some("deleted and created again")
        );
    }
}
