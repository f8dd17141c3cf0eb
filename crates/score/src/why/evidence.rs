//! What is known, and what was asked for.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use consort_plan::{Blueprint, Entry, Operation};
use jiff::Timestamp;
use serde_json::Value;

/// An object by its kind and name; which version of its kind is asked for is the client's choice.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Ref {
    /// Its API group; empty for the core.
    pub group: String,
    /// Its kind: `Deployment`.
    pub kind: String,
    /// Its namespace; empty for what has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Ref {
    /// A reference of these parts.
    pub fn new(group: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Ref {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Of an object that says itself what it is.
    pub(super) fn of(object: &Value) -> Self {
        let version = text(object, "/apiVersion");
        Ref::new(
            version.split_once('/').map_or("", |(group, _)| group),
            text(object, "/kind"),
            text(object, "/metadata/namespace"),
            text(object, "/metadata/name"),
        )
    }

    /// The word a command line names it by: `pod/web -n shop`.
    pub(super) fn words(&self) -> String {
        let kind = self.kind.to_lowercase();
        let group = if self.group.is_empty() || well_known(&self.group, &self.kind) {
            String::new()
        } else {
            format!(".{}", self.group)
        };
        let namespace = if self.namespace.is_empty() {
            String::new()
        } else {
            format!(" -n {}", self.namespace)
        };
        format!("{kind}{group}/{}{namespace}", self.name)
    }
}

fn well_known(group: &str, kind: &str) -> bool {
    matches!(
        (group, kind),
        (
            "apps",
            "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet"
        ) | ("batch", "Job" | "CronJob")
    )
}

impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// The last lines of a container.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Log {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
    /// Of the run before the present one.
    pub previous: bool,
}

/// Something an explanation has to know.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Want {
    /// An object.
    Object(Ref),
    /// The objects of a kind in a namespace; in all if it is empty.
    List {
        /// The API group.
        group: String,
        /// The kind.
        kind: String,
        /// The namespace.
        namespace: String,
        /// Only those with these labels; empty for all.
        selector: String,
    },
    /// The events about an object, also about others of its name that were before it.
    Events(Ref),
    /// The last lines of a container.
    Log(Log),
    /// All operations of all scores, without their entries.
    Operations,
    /// The record of an operation, by its name: `shop-4`.
    Entries(String),
    /// A blueprint, by its id.
    Blueprint(String),
}

/// An object that was looked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Look<T> {
    /// It is there.
    Found(T),
    /// It is not there.
    Missing,
    /// It cannot be read; why.
    Unreadable(String),
}

/// All that is known.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// What time it is.
    pub now: Timestamp,
    /// Objects that were looked for.
    pub objects: BTreeMap<Ref, Look<Value>>,
    /// Lists that were asked for.
    pub lists: BTreeMap<Want, Vec<Value>>,
    /// Events by the object they are about, oldest first.
    pub events: BTreeMap<Ref, Vec<Value>>,
    /// The last lines of containers; none where there are none to be had.
    pub logs: BTreeMap<Log, Option<String>>,
    /// All operations, newest first.
    pub operations: Option<Vec<Operation>>,
    /// Records by the operation's name.
    pub entries: BTreeMap<String, Vec<Entry>>,
    /// Blueprints by their id; none where one is not kept any more.
    pub blueprints: BTreeMap<String, Option<Arc<Blueprint>>>,
}

/// Looks into evidence and remembers what was not there.
pub(super) struct Asking<'e> {
    evidence: &'e Evidence,
    wants: RefCell<BTreeSet<Want>>,
}

impl<'e> Asking<'e> {
    pub(super) fn new(evidence: &'e Evidence) -> Self {
        Asking {
            evidence,
            wants: RefCell::default(),
        }
    }

    pub(super) fn into_wants(self) -> Vec<Want> {
        self.wants.into_inner().into_iter().collect()
    }

    fn want(&self, want: Want) {
        self.wants.borrow_mut().insert(want);
    }

    pub(super) fn now(&self) -> Timestamp {
        self.evidence.now
    }

    /// None while it was not looked for.
    pub(super) fn object(&self, reference: &Ref) -> Option<&'e Look<Value>> {
        let found = self.evidence.objects.get(reference);
        if found.is_none() {
            self.want(Want::Object(reference.clone()));
        }
        found
    }

    /// The object, if it is known to be there.
    pub(super) fn found(&self, reference: &Ref) -> Option<&'e Value> {
        match self.object(reference)? {
            Look::Found(object) => Some(object),
            Look::Missing | Look::Unreadable(_) => None,
        }
    }

    pub(super) fn list(
        &self,
        group: &str,
        kind: &str,
        namespace: &str,
        selector: &str,
    ) -> Option<&'e [Value]> {
        let want = Want::List {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            selector: selector.to_owned(),
        };
        let found = self.evidence.lists.get(&want);
        if found.is_none() {
            self.want(want);
        }
        found.map(Vec::as_slice)
    }

    pub(super) fn events(&self, reference: &Ref) -> &'e [Value] {
        let found = self.evidence.events.get(reference);
        if found.is_none() {
            self.want(Want::Events(reference.clone()));
        }
        found.map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn log(&self, log: &Log) -> Option<&'e str> {
        let found = self.evidence.logs.get(log);
        if found.is_none() {
            self.want(Want::Log(log.clone()));
        }
        found?.as_deref()
    }

    /// None while they were not read.
    pub(super) fn operations(&self) -> Option<&'e [Operation]> {
        if self.evidence.operations.is_none() {
            self.want(Want::Operations);
        }
        self.evidence.operations.as_deref()
    }

    pub(super) fn entries(&self, operation: &str) -> Option<&'e [Entry]> {
        let found = self.evidence.entries.get(operation);
        if found.is_none() {
            self.want(Want::Entries(operation.to_owned()));
        }
        found.map(Vec::as_slice)
    }

    pub(super) fn blueprint(&self, id: &str) -> Option<&'e Blueprint> {
        let found = self.evidence.blueprints.get(id);
        if found.is_none() {
            self.want(Want::Blueprint(id.to_owned()));
        }
        found?.as_deref()
    }

    /// Whether the blueprint was looked for and is not kept any more.
    pub(super) fn blueprint_is_gone(&self, id: &str) -> bool {
        matches!(self.evidence.blueprints.get(id), Some(None))
    }
}

/// A text at a pointer; empty where there is none.
pub(super) fn text<'v>(value: &'v Value, at: &str) -> &'v str {
    value
        .pointer(at)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The elements of a list at a pointer.
pub(super) fn items<'v>(value: &'v Value, at: &str) -> &'v [Value] {
    value
        .pointer(at)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// A number at a pointer; zero where there is none.
pub(super) fn number(value: &Value, at: &str) -> i64 {
    value
        .pointer(at)
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

/// Whether a place holds true.
pub(super) fn is_true(value: &Value, at: &str) -> bool {
    value
        .pointer(at)
        .and_then(Value::as_bool)
        .unwrap_or_default()
}

/// A time at a pointer.
pub(super) fn time(value: &Value, at: &str) -> Option<Timestamp> {
    text(value, at).parse().ok()
}

/// When an event was last seen.
pub(super) fn event_time(event: &Value) -> Option<Timestamp> {
    [
        "/series/lastObservedTime",
        "/lastTimestamp",
        "/eventTime",
        "/firstTimestamp",
        "/metadata/creationTimestamp",
    ]
    .into_iter()
    .find_map(|at| time(event, at))
}
