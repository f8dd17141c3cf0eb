//! What is there of a part: listed once by kind, compared where the source has the same, kept only where it differs.

use std::sync::Arc;

use consort_plan::{Drift, Owner, Planned};
use futures::stream::{self, StreamExt as _};
use serde_json::Value;

use crate::identity::{Key, text};
use crate::kinds::Kind;
use crate::objects::{Objects, PART, SCORE, Wanted};
use crate::ownership::{self, Foreign};
use crate::server::{Failure, Page, Server};
use crate::spec::IgnoreDifference;

/// How an object that is there compares with what is wanted.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nothing is to be done.
    Same {
        /// Fields that differ because others own them, or may differ.
        left: Vec<Foreign>,
        /// The object, if an output asks for it.
        live: Option<Box<Value>>,
    },
    /// It is not proven that nothing is to be done.
    Differs {
        /// The object.
        live: Box<Value>,
        /// What is to be applied, if that is not what the source says: without what others own.
        effective: Option<Box<Value>>,
        /// Fields of the source that are not ours in the object.
        foreign: Vec<Foreign>,
    },
}

/// An object of this part that the source does not have any more.
#[derive(Debug)]
pub(crate) struct Orphan {
    pub(crate) key: Key,
    pub(crate) kind: Arc<Kind>,
    pub(crate) live: Value,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Present {
    /// By object of the source.
    pub(crate) found: Vec<(usize, Found)>,
    /// What is left over.
    pub(crate) orphans: Vec<Orphan>,
    /// Kinds that could not be listed, with the reason.
    pub(crate) unlisted: Vec<(Arc<Kind>, Failure)>,
}

/// What the lists are compared with.
pub(crate) struct Against {
    pub(crate) objects: Objects,
    pub(crate) ignore: Vec<IgnoreDifference>,
    /// The objects that outputs ask for: they are kept.
    pub(crate) kept: Vec<bool>,
}

/// How many kinds are listed at once.
const LISTS: usize = 4;

/// The selector of all objects of a part.
pub(crate) fn selector(score: &str, part: &str) -> String {
    format!("{SCORE}={score},{PART}={part}")
}

/// Lists every kind once and compares what is found.
pub(crate) async fn compare(
    server: &Server,
    kinds: Vec<Arc<Kind>>,
    selector: &str,
    against: &Arc<Against>,
) -> Present {
    let mut present = Present::default();
    let mut lists = stream::iter(kinds)
        .map(|kind| async move {
            let pages = server.list(&kind.collection(""), selector).await;
            (kind, pages)
        })
        .buffer_unordered(LISTS);
    let mut work = tokio::task::JoinSet::new();
    while let Some((kind, pages)) = lists.next().await {
        match pages {
            Ok(pages) => {
                for page in pages {
                    let (kind, against) = (kind.clone(), against.clone());
                    work.spawn_blocking(move || compare_page(&page, &kind, &against));
                }
            }
            Err(failure) => present.unlisted.push((kind, failure)),
        }
        while let Some(done) = work.try_join_next() {
            present.take(done);
        }
    }
    while let Some(done) = work.join_next().await {
        present.take(done);
    }
    present
}

impl Present {
    fn take(&mut self, done: Result<Part, tokio::task::JoinError>) {
        if let Ok((found, orphans)) = done {
            self.found.extend(found);
            self.orphans.extend(orphans);
        }
    }
}

type Part = (Vec<(usize, Found)>, Vec<Orphan>);

fn compare_page(page: &Page, kind: &Arc<Kind>, against: &Against) -> Part {
    let mut found = Vec::new();
    let mut orphans = Vec::new();
    let api_version = kind.api_version();
    for item in page.items() {
        let Ok(mut live) = serde_json::from_slice::<Value>(item) else {
            continue;
        };
        // Lists of built-in kinds need not repeat the kind with every object.
        if let Some(object) = live.as_object_mut() {
            for (field, value) in [("apiVersion", &api_version), ("kind", &kind.kind)] {
                if !object.contains_key(field) {
                    object.insert(field.to_owned(), Value::from(value.as_str()));
                }
            }
        }
        let key = Key::new(
            &kind.group,
            &kind.kind,
            text(&live, &["metadata", "namespace"]),
            text(&live, &["metadata", "name"]),
        );
        match against.objects.by_key.get(&key) {
            Some(at) => {
                let wanted = &against.objects.all[*at];
                found.push((*at, judge(wanted, live, &against.ignore, against.kept[*at])));
            }
            // Controllers copy labels to what they make: what this score did not apply is not its own.
            None if ownership::ours(&live).is_some() => orphans.push(Orphan {
                key,
                kind: kind.clone(),
                live,
            }),
            None => {}
        }
    }
    (found, orphans)
}

/// Compares one object with what is wanted of it.
pub(crate) fn judge(
    wanted: &Wanted,
    live: Value,
    ignore: &[IgnoreDifference],
    keep: bool,
) -> Found {
    let may_be_same = wanted.fills.is_empty()
        && !wanted.unknown_configuration
        && live["metadata"].get("deletionTimestamp").is_none();
    let ignored: Vec<&IgnoreDifference> = ignore
        .iter()
        .filter(|ignore| ignore.is_for(&wanted.key))
        .collect();
    if may_be_same && ignored.is_empty() && ownership::proves_no_op(&wanted.value, &live) {
        return Found::Same {
            left: Vec::new(),
            live: keep.then(|| Box::new(live)),
        };
    }
    let foreign = ownership::foreign(&wanted.value, &live);
    let mut effective: Option<Value> = None;
    let mut left = Vec::new();
    let mut taken = Vec::new();
    let pointers: Vec<&String> = ignored
        .iter()
        .flat_map(|ignore| &ignore.json_pointers)
        .collect();
    for one in foreign {
        let may_differ = pointers
            .iter()
            .any(|pointer| is_within(&one.wanted_at, pointer));
        if may_differ || yields(&one, &ignored) {
            left.push(one);
        } else {
            taken.push(one);
        }
    }
    // What is ours stays so: left out of an apply it would be taken away.
    for pointer in pointers {
        if wanted.value.pointer(pointer).is_some()
            && !left.iter().any(|one| is_within(&one.wanted_at, pointer))
            && let Some(there) = live.pointer(pointer)
            && let Some(place) = effective
                .get_or_insert_with(|| wanted.value.clone())
                .pointer_mut(pointer)
        {
            *place = there.clone();
        }
    }
    if !left.is_empty() {
        let value = effective.get_or_insert_with(|| wanted.value.clone());
        // From behind: places in lists stay what they are.
        for one in left.iter().rev() {
            remove(value, &one.wanted_at);
        }
    }
    let applied = effective.as_ref().unwrap_or(&wanted.value);
    if may_be_same && ownership::proves_no_op(applied, &live) {
        left.retain(Foreign::differs);
        return Found::Same {
            left,
            live: keep.then(|| Box::new(live)),
        };
    }
    taken.extend(left);
    Found::Differs {
        live: Box::new(live),
        effective: effective.map(Box::new),
        foreign: taken,
    }
}

/// Whether a place is another or lies in it.
fn is_within(at: &str, other: &str) -> bool {
    at.strip_prefix(other)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether the field is left to who has it.
fn yields(foreign: &Foreign, ignored: &[&IgnoreDifference]) -> bool {
    let Some(claim) = &foreign.owner else {
        return false;
    };
    let (Owner::Autoscaler(name) | Owner::Controller(name) | Owner::Person(name)) = &claim.owner
    else {
        return false;
    };
    // Who took a field away has no claim to it being gone.
    foreign.found.is_some() && matches!(claim.owner, Owner::Autoscaler(_) | Owner::Controller(_))
        || ignored
            .iter()
            .any(|ignore| ignore.managed_fields_managers.contains(name))
}

impl IgnoreDifference {
    fn is_for(&self, key: &Key) -> bool {
        (self.group == "*" || self.group == key.group)
            && (self.kind == "*" || self.kind == key.kind)
            && self.name.as_ref().is_none_or(|name| *name == key.name)
            && self
                .namespace
                .as_ref()
                .is_none_or(|namespace| *namespace == key.namespace)
    }
}

impl Foreign {
    /// Whether what is there is another than what is wanted.
    pub(crate) fn differs(&self) -> bool {
        self.found.as_ref() != Some(&self.wanted)
    }

    /// The same as plans tell it; none if it is no drift: what nobody touched since it was last applied.
    pub(crate) fn drift(&self, sensitive: bool, corrected: bool) -> Option<Drift> {
        let claim = self.owner.as_ref()?;
        if !self.differs() || !claim.later && corrected {
            return None;
        }
        let planned = |value: Option<&Value>| {
            let planned = Planned::known(value.cloned().unwrap_or(Value::Null));
            if sensitive {
                planned.into_sensitive()
            } else {
                planned
            }
        };
        Some(Drift {
            at: self.at.clone(),
            wanted: planned(Some(&self.wanted)),
            found: planned(self.found.as_ref()),
            owner: claim.owner.clone(),
            corrected,
        })
    }
}

/// Whether an object is of no score.
pub(crate) fn is_first(object: &Value) -> bool {
    object["metadata"]["labels"].get(SCORE).is_none()
}

/// Whether a field is left as it is.
pub(crate) fn is_left(effective: Option<&Value>, foreign: &Foreign) -> bool {
    effective.is_some_and(|effective| effective.pointer(&foreign.wanted_at).is_none())
}

/// Takes a place out of a value.
pub(crate) fn remove(value: &mut Value, at: &str) {
    let Some((parent, name)) = at.rsplit_once('/') else {
        return;
    };
    match value.pointer_mut(parent) {
        Some(Value::Object(object)) => {
            object.shift_remove(&name.replace("~1", "/").replace("~0", "~"));
        }
        Some(Value::Array(items)) => {
            if let Ok(index) = name.parse::<usize>()
                && index < items.len()
            {
                items.remove(index);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::MANAGER;
    use serde_json::json;

    fn wanted(value: Value) -> Wanted {
        Wanted {
            key: Key::new("apps", "Deployment", "shop", "web"),
            kind: Arc::new(crate::kinds::guessed("apps", "v1", "Deployment")),
            served: true,
            schema: None,
            origin: crate::objects::Origin::Stanza(String::new()),
            value,
            fills: Vec::new(),
            takes: Vec::new(),
            sensitive: Vec::new(),
            configuration: Vec::new(),
            unknown_configuration: false,
        }
    }

    fn scaled() -> (Wanted, Value) {
        let source = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"replicas": 2, "paused": false}});
        let mut live = source.clone();
        live["spec"]["replicas"] = json!(5);
        live["metadata"]["managedFields"] = json!([
            {"manager": MANAGER, "operation": "Apply", "apiVersion": "apps/v1", "time": "2026-01-01T00:00:00Z",
                "fieldsV1": {"f:spec": {"f:paused": {}}}},
            {"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "apps/v1", "subresource": "scale",
                "time": "2026-01-02T00:00:00Z", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]);
        (wanted(source), live)
    }

    #[test]
    fn what_an_autoscaler_set_is_left_and_told() {
        let (wanted, live) = scaled();
        let Found::Same { left, .. } = judge(&wanted, live, &[], false) else {
            panic!("it is left as it is");
        };
        let drift = left[0].drift(false, false).unwrap();
        assert_eq!(drift.at, "/spec/replicas");
        assert_eq!(
            drift.owner,
            Owner::Autoscaler("kube-controller-manager".into())
        );
        assert_eq!(drift.found.value, 5);
    }

    #[test]
    fn what_a_person_set_is_put_back() {
        let (wanted, mut live) = scaled();
        live["metadata"]["managedFields"][1]["manager"] = json!("kubectl");
        let Found::Differs {
            foreign, effective, ..
        } = judge(&wanted, live.clone(), &[], false)
        else {
            panic!("it is put back");
        };
        assert!(effective.is_none());
        let drift = foreign[0].drift(false, true).unwrap();
        assert_eq!(drift.owner, Owner::Person("kubectl".into()));
        let ignore: Vec<IgnoreDifference> = serde_json::from_value(
            json!([{"group": "apps", "kind": "Deployment", "jsonPointers": ["/spec/replicas"]}]),
        )
        .unwrap();
        let Found::Same { left, .. } = judge(&wanted, live, &ignore, false) else {
            panic!("it may differ");
        };
        assert_eq!(left[0].at, "/spec/replicas");
    }
}
