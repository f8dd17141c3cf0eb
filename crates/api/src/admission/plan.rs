//! The webhooks and policies in force: compiled once when they change, never when a request comes.

use super::builtin::Turns;
use super::hooks::Hook;
use super::policies::{Binding, Policy};
use super::typing;
use crate::api::{Inner, StartError};
use crate::tail::{News, Tail};
use arc_swap::ArcSwap;
use consort_object::Revision;
use consort_store::{Change, Key, Store};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

const GROUP: &str = "admissionregistration.k8s.io";
const PLURALS: [&str; 6] = [
    "mutatingwebhookconfigurations",
    "validatingwebhookconfigurations",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
];

type Bound = (Arc<Policy>, Arc<Binding>);

/// What every request is held against, in the order in which it is asked.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) mutations: Vec<Bound>,
    pub(super) mutating: Vec<Arc<Hook>>,
    pub(super) validations: Vec<Bound>,
    pub(super) validating: Vec<Arc<Hook>>,
}

/// The webhooks and policies in force.
#[derive(Default)]
pub(crate) struct Admission {
    plan: ArcSwap<Plan>,
    /// The order of writes that quotas measure.
    pub(super) turns: Turns,
}

impl Admission {
    /// The plan as it stands now.
    pub(super) fn plan(&self) -> arc_swap::Guard<Arc<Plan>> {
        self.plan.load()
    }
}

/// One stored object of admission, compiled.
enum Part {
    Hooks(Vec<Arc<Hook>>),
    Policy(Arc<Policy>),
    Binding(Arc<Binding>),
}

/// All of them by resource and name; the names' order is the order of the calls.
#[derive(Default)]
pub(crate) struct Parts(HashMap<&'static str, BTreeMap<String, Part>>);

impl Parts {
    fn put(&mut self, plural: &'static str, value: &Value, store: &Store) {
        let part = match plural {
            "mutatingwebhookconfigurations" | "validatingwebhookconfigurations" => {
                Part::Hooks(Hook::list(value, store))
            }
            "mutatingadmissionpolicies" => Part::Policy(Arc::new(Policy::new(value, true))),
            "validatingadmissionpolicies" => Part::Policy(Arc::new(Policy::new(value, false))),
            _ => Part::Binding(Arc::new(Binding::new(value))),
        };
        let name = crate::values::name(value).to_owned();
        self.0.entry(plural).or_default().insert(name, part);
    }

    fn remove(&mut self, plural: &str, name: &str) {
        if let Some(all) = self.0.get_mut(plural) {
            all.remove(name);
        }
    }

    fn hooks(&self, plural: &str) -> Vec<Arc<Hook>> {
        let all = self.0.get(plural).into_iter().flat_map(BTreeMap::values);
        all.filter_map(|part| match part {
            Part::Hooks(hooks) => Some(hooks),
            _ => None,
        })
        .flatten()
        .cloned()
        .collect()
    }

    fn bound(&self, policies: &str, bindings: &str) -> Vec<Bound> {
        let mut by_policy: BTreeMap<&str, Vec<&Arc<Binding>>> = BTreeMap::new();
        for part in self.0.get(bindings).into_iter().flat_map(BTreeMap::values) {
            if let Part::Binding(binding) = part {
                by_policy.entry(&binding.policy).or_default().push(binding);
            }
        }
        let policies = self.0.get(policies);
        by_policy
            .into_iter()
            .filter_map(|(name, bindings)| match policies?.get(name)? {
                Part::Policy(policy) => Some((policy, bindings)),
                _ => None,
            })
            .flat_map(|(policy, bindings)| {
                bindings
                    .into_iter()
                    .map(move |binding| (policy.clone(), binding.clone()))
            })
            .collect()
    }

    fn plan(&self) -> Plan {
        Plan {
            mutations: self.bound(
                "mutatingadmissionpolicies",
                "mutatingadmissionpolicybindings",
            ),
            mutating: self.hooks("mutatingwebhookconfigurations"),
            validations: self.bound(
                "validatingadmissionpolicies",
                "validatingadmissionpolicybindings",
            ),
            validating: self.hooks("validatingwebhookconfigurations"),
        }
    }
}

impl Admission {
    /// Read everything stored; the answer is what it was made of and the revision it was read at.
    pub(crate) fn load(&self, store: &Store) -> Result<(Parts, Revision), StartError> {
        let mut parts = Parts::default();
        let mut oldest = store.revision();
        for plural in PLURALS {
            let prefix = Key::prefix(GROUP, plural, None);
            let page = store.range(&prefix, None, None, None, |_| true)?;
            for object in page.objects {
                let value = object.value().map_err(|source| StartError::Damaged {
                    key: format!("{plural}/{}", object.head.name),
                    source,
                })?;
                parts.put(plural, &value, store);
            }
            oldest = oldest.min(page.revision);
        }
        self.plan.store(Arc::new(parts.plan()));
        Ok((parts, oldest))
    }

    /// Follow what is stored until stopped. A change holds from a moment after it is acknowledged.
    pub(crate) async fn follow(inner: Arc<Inner>, mut parts: Parts, after: Revision) {
        let store = inner.store.clone();
        let this = &inner.admission;
        let mut tail = Tail::new(
            store.clone(),
            format!("/{GROUP}/"),
            after,
            inner.stop.clone(),
        );
        typing::check_all(&inner).await;
        loop {
            let batch = match tail.next().await {
                News::Events(batch) => batch,
                News::Lost => {
                    let read = this.load(&store).map(|(fresh, revision)| {
                        parts = fresh;
                        revision
                    });
                    tail.resume(read);
                    typing::check_all(&inner).await;
                    continue;
                }
                News::Over => return,
            };
            let mut changed = false;
            let mut policies = Vec::new();
            for event in &batch.events {
                let plural = event.key.plural();
                let Some(plural) = PLURALS.iter().find(|known| **known == plural) else {
                    continue;
                };
                if event.kind == Change::Deleted {
                    parts.remove(plural, &event.object.head.name);
                } else if let Ok(value) = event.object.value() {
                    parts.put(plural, &value, &store);
                    if *plural == "validatingadmissionpolicies" {
                        policies.push(value);
                    }
                }
                changed = true;
            }
            if changed {
                this.plan.store(Arc::new(parts.plan()));
            }
            for policy in policies {
                typing::check(&inner, &policy).await;
            }
        }
    }
}
