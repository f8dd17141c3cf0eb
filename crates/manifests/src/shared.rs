//! `ConfigMap`s and `Secret`s that one part of a score describes and workloads of another use.
//!
//! A workload rolls when what its pods see changes. Where another part describes that, the digest of it is a value of the
//! other part like any other: unknown until it is known, waited for, and an edge of the plan. Who describes and who uses
//! what is told here; whoever opens all parts of a score joins them.

use std::collections::{BTreeMap, BTreeSet};

use consort_plan::{Address, Input, Location, Planned, Unknown};
use serde_json::{Value, json};

use crate::identity::{Key, text};
use crate::objects::rolls;
use crate::part::Manifests;
use crate::references::{configuration, pod_spec};
use crate::source::{self, Sources};

/// What a part takes from and gives to others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shared {
    /// What its workloads use of other parts.
    pub(crate) takes: BTreeMap<Key, Input>,
    /// What workloads of other parts use of it.
    pub(crate) gives: BTreeSet<Key>,
}

/// The `ConfigMap`s and `Secret`s of a part. Objects are named as in addresses: `v1/ConfigMap/shop/settings`.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    /// Those it describes.
    pub has: BTreeSet<String>,
    /// Those its workloads use and it does not describe, each with the first workload that does.
    pub uses: BTreeMap<String, Use>,
}

/// A use of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The workload: `apps/v1/Deployment/shop/web`.
    pub workload: String,
    /// Where it is described.
    pub location: Location,
}

impl Manifests {
    /// What the part has and uses. Reads its files; what is wrong with them is told by the plan, which does not read them
    /// again.
    pub async fn configuration(&self) -> Configuration {
        let (directory, spec) = (self.directory.clone(), self.spec.clone());
        let stanza = self.lines.at("/path");
        let reading = tokio::task::spawn_blocking(move || {
            let sources = source::read(&directory, &spec.path, &stanza);
            let generated = [("ConfigMap", &spec.config_maps), ("Secret", &spec.secrets)];
            let mut found = Configuration::default();
            let own = spec.namespace.as_deref().unwrap_or("default");
            for (kind, all) in generated {
                for one in all {
                    let namespace = one.namespace.as_deref().unwrap_or(own);
                    let key = Key::new("", kind, namespace, &one.name);
                    found.has.insert(key.local("v1"));
                }
            }
            found.read(&sources, own);
            (found, sources)
        });
        // Reading ends early only when the process does.
        let Ok((found, sources)) = reading.await else {
            return Configuration::default();
        };
        *self.sources.lock() = Some(sources);
        found
    }

    /// Workloads of the part use what another part describes: its digest is taken as an input from now on.
    pub fn take(&mut self, object: &str, part: &str, location: Location) {
        if let Some(key) = named(object) {
            let input = Input {
                name: format!("{part}.{object}"),
                part: part.to_owned(),
                output: object.to_owned(),
                location,
            };
            self.shared.takes.insert(key, input);
        }
    }

    /// Workloads of other parts use what this part describes: its digest is an output from now on.
    pub fn give(&mut self, object: &str) {
        self.shared.gives.extend(named(object));
    }
}

impl Configuration {
    fn read(&mut self, sources: &Sources, own: &str) {
        let mut uses: Vec<(String, Use)> = Vec::new();
        for document in &sources.documents {
            let value = &document.value;
            let (group, version) = crate::identity::group_version(text(value, &["apiVersion"]));
            let namespace = match text(value, &["metadata", "namespace"]) {
                "" => own,
                namespace => namespace,
            };
            let kind = text(value, &["kind"]);
            let key = Key::new(group, kind, namespace, text(value, &["metadata", "name"]));
            if group.is_empty() && matches!(kind, "ConfigMap" | "Secret") {
                self.has.insert(key.local(version));
            }
            if !rolls(&key) {
                continue;
            }
            let Some(pod) = pod_spec(kind, value) else {
                continue;
            };
            for (kind, name) in configuration(pod) {
                let used = Key::new("", kind, namespace, name);
                let by = Use {
                    workload: key.local(version),
                    location: document.place.location(),
                };
                uses.push((used.local("v1"), by));
            }
        }
        for (object, by) in uses {
            if !self.has.contains(&object) {
                self.uses.entry(object).or_insert(by);
            }
        }
    }
}

fn named(object: &str) -> Option<Key> {
    match object.split('/').collect::<Vec<_>>()[..] {
        ["v1", kind @ ("ConfigMap" | "Secret"), namespace, name] => {
            Some(Key::new("", kind, namespace, name))
        }
        _ => None,
    }
}

/// What is given of an object: its digest, if that is known, and whether it is about to change.
pub(crate) fn given(digest: Option<&str>, changes: bool, from: &Address) -> Planned {
    let mut planned = Planned::known(json!({"digest": digest, "changes": changes}));
    if digest.is_none() {
        planned.unknown.push(Unknown {
            at: "/digest".to_owned(),
            kind: "string".to_owned(),
            from: Some(from.clone()),
        });
    }
    planned
}

/// The digest that was given; none while it is not known.
pub(crate) fn digest(given: &Planned) -> Option<&str> {
    given.value.get("digest").and_then(Value::as_str)
}

/// Whether what it is of changes.
pub(crate) fn changes(given: &Planned) -> bool {
    given.value.get("changes") == Some(&Value::Bool(true))
}
