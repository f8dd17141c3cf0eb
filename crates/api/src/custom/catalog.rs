//! Following the stored definitions: their names are settled, their kinds served, their conditions kept.

use super::cleanup;
use super::definition::{Definition, Version};
use super::names::{self, Taken, names, set_condition};
use super::{FINALIZER, GROUP, PLURAL, check, kind};
use crate::api::{Inner, StartError};
use crate::handlers::write;
use crate::kind::Kind;
use crate::tail::{News, Tail};
use crate::values::{at, items, text};
use consort_object::{Object, Revision};
use consort_store::{Change, Event, Key};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A definition whose status could not be written is looked at again after this.
const RETRY: Duration = Duration::from_millis(500);

/// A definition that is known.
struct Entry {
    object: Object,
    group: String,
    accepted: super::definition::Names,
    /// The kinds it brings, once its names are accepted.
    served: Option<Served>,
}

struct Served {
    definition: Arc<Definition>,
    kinds: Vec<Arc<Kind>>,
}

/// All definitions, and what is made of them.
pub(crate) struct Catalog {
    entries: BTreeMap<String, Entry>,
    /// Ends the watches of a version that is no longer served.
    gone: HashMap<(String, String), CancellationToken>,
    /// Definitions whose instances are being deleted.
    cleaning: BTreeSet<String>,
    upto: Revision,
}

/// Read the stored definitions and serve those that were established.
pub(crate) fn load(inner: &Inner) -> Result<Catalog, StartError> {
    read(inner, HashMap::new())
}

/// The same, with what ends the watches that are open already.
fn read(
    inner: &Inner,
    gone: HashMap<(String, String), CancellationToken>,
) -> Result<Catalog, StartError> {
    let page = inner
        .store
        .range(&Key::prefix(GROUP, PLURAL, None), None, None, None, |_| {
            true
        })?;
    let mut catalog = Catalog {
        entries: BTreeMap::new(),
        gone,
        cleaning: BTreeSet::new(),
        upto: page.revision,
    };
    for object in page.objects {
        let value = object.value().map_err(|source| StartError::Damaged {
            key: object.head.name.clone(),
            source,
        })?;
        let established = names::is_true(&value, "Established");
        catalog.note(object.clone(), &value);
        if established {
            catalog.serve(&object.head.name);
        }
    }
    catalog.publish(inner);
    Ok(catalog)
}

impl Catalog {
    /// Keep what is served in step with the store, until stopped.
    pub(crate) async fn follow(mut self, inner: Arc<Inner>) {
        let prefix = Key::prefix(GROUP, PLURAL, None);
        let mut tail = Tail::new(inner.store.clone(), prefix, self.upto, inner.stop.clone());
        let mut cleaners: JoinSet<String> = JoinSet::new();
        let mut pending: BTreeSet<String> = self.entries.keys().cloned().collect();
        loop {
            self.settle(&inner, &mut pending, &mut cleaners).await;
            let news = tokio::select! {
                Some(done) = cleaners.join_next(), if !cleaners.is_empty() => {
                    if let Ok(name) = done {
                        self.cleaning.remove(&name);
                        pending.insert(name);
                    }
                    continue;
                }
                () = tokio::time::sleep(RETRY), if !pending.is_empty() => continue,
                news = tail.next() => news,
            };
            match news {
                News::Events(batch) => {
                    for event in &batch.events {
                        self.event(event, &mut pending);
                    }
                }
                News::Lost => tail.resume(read(&inner, self.gone.clone()).map(|fresh| {
                    pending.extend(fresh.entries.keys().cloned());
                    self.replace(fresh);
                    self.upto
                })),
                News::Over => break,
            }
        }
        cleaners.shutdown().await;
    }

    fn replace(&mut self, fresh: Self) {
        self.entries = fresh.entries;
        self.upto = fresh.upto;
        self.gone = fresh.gone;
    }

    fn note(&mut self, object: Object, value: &Value) {
        let entry = Entry {
            group: text(value, &["spec", "group"]).to_owned(),
            accepted: names(value, &["status", "acceptedNames"]),
            served: None,
            object,
        };
        let name = entry.object.head.name.clone();
        let before = self.entries.insert(name.clone(), entry);
        // What is served stays until the change is looked at.
        if let (Some(before), Some(entry)) = (before, self.entries.get_mut(&name)) {
            entry.served = before.served;
        }
    }

    fn event(&mut self, event: &Event, pending: &mut BTreeSet<String>) {
        let name = event.object.head.name.clone();
        if event.kind == Change::Deleted {
            if let Some(entry) = self.entries.remove(&name) {
                // Its names are free now: another of the group may have waited for them.
                pending.extend(self.others(&entry.group, &name));
            }
            pending.insert(name);
            return;
        }
        match event.object.value() {
            Ok(value) => {
                self.note(event.object.clone(), &value);
                pending.insert(name);
            }
            Err(error) => tracing::error!(%error, name, "reading a custom resource definition"),
        }
    }

    fn others(&self, group: &str, name: &str) -> Vec<String> {
        self.entries
            .iter()
            .filter(|(own, entry)| entry.group == group && own.as_str() != name)
            .map(|(own, _)| own.clone())
            .collect()
    }

    /// Look at each definition that changed: serve it, then say so in its status.
    async fn settle(
        &mut self,
        inner: &Arc<Inner>,
        pending: &mut BTreeSet<String>,
        cleaners: &mut JoinSet<String>,
    ) {
        if pending.is_empty() {
            return;
        }
        let mut wanted = Vec::new();
        let mut later = BTreeSet::new();
        for name in std::mem::take(pending) {
            let Some(entry) = self.entries.get(&name) else {
                continue;
            };
            let Ok(old) = entry.object.value() else {
                continue;
            };
            let new = self.judge(&name, &old);
            let accepted = names(&new, &["status", "acceptedNames"]);
            let serve = names::is_true(&new, "Established");
            if let Some(entry) = self.entries.get_mut(&name) {
                let changed = entry.accepted != accepted;
                entry.accepted = accepted;
                if changed {
                    let group = entry.group.clone();
                    later.extend(self.others(&group, &name));
                }
            }
            if serve {
                self.serve(&name);
            } else if let Some(entry) = self.entries.get_mut(&name) {
                entry.served = None;
            }
            wanted.push((name, old, new));
        }
        self.publish(inner);
        // What is established can be used by whoever reads that it is.
        for (name, old, new) in wanted {
            if new == old {
                self.clean(inner, &name, &new, cleaners);
            } else if !self.write(inner, &name, &new).await {
                later.insert(name);
            }
        }
        pending.extend(later.into_iter().filter(|name| self.unsettled(name)));
    }

    /// Would judging the definition again change it?
    fn unsettled(&self, name: &str) -> bool {
        self.entries.get(name).is_some_and(|entry| {
            entry
                .object
                .value()
                .is_ok_and(|value| self.judge(name, &value) != value)
        })
    }

    /// The definition with the status it should have.
    fn judge(&self, name: &str, old: &Value) -> Value {
        let mut new = old.clone();
        let wanted = names(old, &["spec", "names"]);
        let have = names(old, &["status", "acceptedNames"]);
        if wanted != have {
            let mut taken = Taken::default();
            let group = text(old, &["spec", "group"]);
            for (own, entry) in &self.entries {
                if entry.group == group && own != name {
                    taken.add(&entry.accepted);
                }
            }
            let settled = names::settle(&wanted, &have, &taken);
            new["status"]["acceptedNames"] = names::to_json(&settled.accepted);
            match settled.conflict {
                Some((reason, message)) => {
                    set_condition(&mut new, "NamesAccepted", "False", reason, &message);
                    if !has(old, "Established") {
                        let message = "not all names are accepted";
                        set_condition(&mut new, "Established", "False", "NotAccepted", message);
                    }
                }
                None => set_condition(
                    &mut new,
                    "NamesAccepted",
                    "True",
                    "NoConflicts",
                    "no conflicts found",
                ),
            }
        } else if !has(old, "NamesAccepted") {
            let message = "no conflicts found";
            set_condition(&mut new, "NamesAccepted", "True", "NoConflicts", message);
        }
        if names::is_true(&new, "NamesAccepted") && !names::is_true(&new, "Established") {
            match check::bundle_fault(old) {
                None => set_condition(
                    &mut new,
                    "Established",
                    "True",
                    "InitialNamesAccepted",
                    "the initial names have been accepted",
                ),
                Some(message) => {
                    set_condition(
                        &mut new,
                        "Established",
                        "False",
                        "InvalidCABundle",
                        &message,
                    );
                }
            }
        }
        check::approval_condition(&mut new);
        new
    }

    /// Make the kinds of a definition anew if it changed in more than its status.
    fn serve(&mut self, name: &str) {
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        if let Some(served) = &entry.served
            && same_to_serve(&served.definition, &entry.object, &entry.accepted)
        {
            return;
        }
        let definition = match Definition::read(entry.object.clone(), entry.accepted.clone()) {
            Ok(definition) => Arc::new(definition),
            Err(error) => {
                tracing::error!(error, name, "reading a custom resource definition");
                entry.served = None;
                return;
            }
        };
        let kinds = definition
            .versions
            .iter()
            .enumerate()
            .filter(|(_, facts)| facts.served)
            .map(|(index, facts)| {
                let key = (entry.object.head.uid.clone(), facts.name.clone());
                let version = Arc::new(Version {
                    definition: definition.clone(),
                    index,
                    gone: self.gone.entry(key).or_default().clone(),
                });
                Arc::new(kind::version(&version))
            })
            .collect();
        entry.served = Some(Served { definition, kinds });
    }

    /// Put what is served into a new registry; end the watches of what no longer is.
    fn publish(&mut self, inner: &Inner) {
        let mut kinds: Vec<Arc<Kind>> = Vec::new();
        let mut kept = BTreeSet::new();
        for entry in self.entries.values() {
            for kind in entry.served.iter().flat_map(|served| &served.kinds) {
                kept.insert((entry.object.head.uid.clone(), kind.version.clone()));
                kinds.push(kind.clone());
            }
        }
        inner.serve_custom(kinds);
        self.gone.retain(|key, token| {
            let stays = kept.contains(key);
            if !stays {
                token.cancel();
            }
            stays
        });
    }

    /// Store a definition's new status. `false`: it has to be looked at again.
    async fn write(&self, inner: &Inner, name: &str, new: &Value) -> bool {
        let Some(entry) = self.entries.get(name) else {
            return true;
        };
        let registry = inner.registry();
        let Some(kind) = registry.resource(GROUP, "v1", PLURAL) else {
            return true;
        };
        let Ok(key) = Key::new(GROUP, PLURAL, None, name) else {
            return true;
        };
        match write::replace(inner, kind, key, new, entry.object.revision).await {
            // Either way there is an event to come.
            Ok(_) => true,
            Err(failure) => {
                tracing::warn!(
                    error = failure.message,
                    name,
                    "writing a custom resource definition's status"
                );
                false
            }
        }
    }

    /// Delete the instances of a definition that is being deleted.
    fn clean(
        &mut self,
        inner: &Arc<Inner>,
        name: &str,
        value: &Value,
        cleaners: &mut JoinSet<String>,
    ) {
        let going = at(value, &["metadata", "deletionTimestamp"]).is_some();
        let ours = items(value, &["metadata", "finalizers"])
            .iter()
            .any(|finalizer| finalizer == FINALIZER);
        if !going || !ours || !self.cleaning.insert(name.to_owned()) {
            return;
        }
        let kind = self
            .entries
            .get(name)
            .and_then(|entry| entry.served.as_ref())
            .map(|served| {
                served
                    .kinds
                    .first()
                    .cloned()
                    .unwrap_or_else(|| storage_kind(served))
            });
        let (inner, name) = (inner.clone(), name.to_owned());
        cleaners.spawn(async move {
            cleanup::instances(&inner, &name, kind.as_deref()).await;
            name
        });
    }
}

/// The kind of the storage version of a definition that serves none.
fn storage_kind(served: &Served) -> Arc<Kind> {
    let version = Arc::new(Version {
        definition: served.definition.clone(),
        index: served.definition.storage,
        gone: CancellationToken::new(),
    });
    Arc::new(kind::version(&version))
}

fn has(definition: &Value, kind: &str) -> bool {
    items(definition, &["status", "conditions"])
        .iter()
        .any(|condition| text(condition, &["type"]) == kind)
}

/// Would the kinds made from an object be those that are served?
fn same_to_serve(
    definition: &Definition,
    object: &Object,
    accepted: &super::definition::Names,
) -> bool {
    // The generation counts changes of the spec.
    definition.object.head.uid == object.head.uid
        && definition.object.head.generation == object.head.generation
        && definition.terminating == object.head.deletion.is_some()
        && definition.names == *accepted
}
