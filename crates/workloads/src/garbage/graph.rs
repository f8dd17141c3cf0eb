//! Who owns whom, over all kinds, as the watches tell it.

use crate::discovery::Served;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

pub(crate) type Uid = Arc<str>;

pub(crate) const FOREGROUND: &str = "foregroundDeletion";
pub(crate) const ORPHAN: &str = "orphan";
/// Uids known to be gone; an owner among them needs no look-up.
const REMEMBERED: usize = 20_000;

/// Where an object is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) served: Arc<Served>,
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
}

/// What garbage collection knows of one object.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) owners: Vec<OwnerReference>,
    pub(crate) life: Life,
}

/// What is happening to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Nothing.
    Lives,
    /// It is being deleted and asks nothing of us.
    Leaves,
    /// It waits until its dependents are deleted.
    AwaitsDependents,
    /// It waits until its dependents are let go.
    Orphans,
}

impl Life {
    pub(crate) fn of(meta: &ObjectMeta) -> Self {
        if meta.deletion_timestamp.is_none() {
            return Self::Lives;
        }
        let has = |finalizer: &str| meta.finalizers.iter().flatten().any(|own| own == finalizer);
        if has(ORPHAN) {
            Self::Orphans
        } else if has(FOREGROUND) {
            Self::AwaitsDependents
        } else {
            Self::Leaves
        }
    }
}

/// The graph of all objects.
#[derive(Default)]
pub(crate) struct Graph {
    nodes: HashMap<Uid, Node>,
    dependents: HashMap<Uid, HashSet<Uid>>,
    gone: HashSet<Uid>,
    gone_order: VecDeque<Uid>,
}

impl Graph {
    pub(crate) fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// Whether the object of this uid is known to have been deleted.
    pub(crate) fn is_gone(&self, uid: &str) -> bool {
        self.gone.contains(uid)
    }

    pub(crate) fn note_gone(&mut self, uid: &str) {
        if self.nodes.contains_key(uid) || !self.gone.insert(uid.into()) {
            return;
        }
        self.gone_order.push_back(uid.into());
        if self.gone_order.len() > REMEMBERED
            && let Some(oldest) = self.gone_order.pop_front()
        {
            self.gone.remove(&oldest);
        }
    }

    pub(crate) fn dependents(&self, uid: &str) -> Vec<Uid> {
        self.dependents
            .get(uid)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// The dependents whose presence keeps the owner from being deleted.
    pub(crate) fn blocking(&self, owner: &str) -> Vec<Uid> {
        let blocks = |node: &Node| {
            node.owners
                .iter()
                .any(|own| &*own.uid == owner && own.block_owner_deletion == Some(true))
        };
        let mut blocking = self.dependents(owner);
        blocking.retain(|uid| self.nodes.get(uid).is_some_and(blocks));
        blocking
    }

    /// Takes in an object as it is now; returns the objects that need a look because of it.
    pub(crate) fn apply(&mut self, uid: Uid, node: Node) -> Vec<Uid> {
        self.gone.remove(&uid);
        let previous = self.nodes.remove(&uid);
        let mut look = Vec::new();
        if let Some(previous) = &previous {
            for owner in &previous.owners {
                self.unlink(&owner.uid, &uid);
            }
            // It may have been the last to keep one of its owners.
            let waiting = previous
                .owners
                .iter()
                .filter(|owner| self.awaits(&owner.uid));
            look.extend(waiting.map(|owner| Uid::from(owner.uid.as_str())));
        }
        for owner in &node.owners {
            self.dependents
                .entry(owner.uid.as_str().into())
                .or_default()
                .insert(uid.clone());
        }
        let turned = previous.as_ref().map(|previous| previous.life) != Some(node.life);
        if turned && node.life == Life::AwaitsDependents {
            look.extend(self.dependents(&uid));
        }
        self.nodes.insert(uid.clone(), node);
        if self.needs_look(&uid) {
            look.push(uid);
        }
        look
    }

    /// Forgets an object that is gone; returns the objects that need a look because of it.
    pub(crate) fn remove(&mut self, uid: &str) -> Vec<Uid> {
        let mut look = self.dependents(uid);
        if let Some(node) = self.nodes.remove(uid) {
            for owner in &node.owners {
                self.unlink(&owner.uid, uid);
                if self.awaits(&owner.uid) {
                    look.push(owner.uid.as_str().into());
                }
            }
        }
        self.note_gone(uid);
        look
    }

    /// Whether anything may have to be done about an object. Cheap, and errs on the side of yes.
    pub(crate) fn needs_look(&self, uid: &str) -> bool {
        let Some(node) = self.nodes.get(uid) else {
            return false;
        };
        match node.life {
            Life::Leaves => false,
            Life::AwaitsDependents | Life::Orphans => true,
            Life::Lives => {
                node.owners
                    .iter()
                    .any(|owner| match self.nodes.get(owner.uid.as_str()) {
                        None => true,
                        Some(found) => {
                            found.life == Life::AwaitsDependents || !is_owner(found, owner, node)
                        }
                    })
            }
        }
    }

    /// All objects that need a look.
    pub(crate) fn all_that_need_a_look(&self) -> Vec<Uid> {
        self.nodes
            .keys()
            .filter(|uid| self.needs_look(uid))
            .cloned()
            .collect()
    }

    /// The objects of a kind that is no longer served.
    pub(crate) fn of_kind(&self, served: &Served) -> Vec<Uid> {
        let of_kind = self
            .nodes
            .iter()
            .filter(|(_, node)| &*node.place.served == served);
        of_kind.map(|(uid, _)| uid.clone()).collect()
    }

    /// Drops an object from the graph without taking it for deleted.
    pub(crate) fn forget(&mut self, uid: &str) {
        if let Some(node) = self.nodes.remove(uid) {
            for owner in &node.owners {
                self.unlink(&owner.uid, uid);
            }
        }
    }

    fn awaits(&self, uid: &str) -> bool {
        self.nodes
            .get(uid)
            .is_some_and(|node| node.life == Life::AwaitsDependents)
    }

    fn unlink(&mut self, owner: &str, dependent: &str) {
        if let Some(dependents) = self.dependents.get_mut(owner) {
            dependents.remove(dependent);
            if dependents.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }
}

/// Whether the object found under the reference's uid is the one the reference means, and may own
/// the dependent: an owner is in the dependent's namespace or in none.
pub(crate) fn is_owner(found: &Node, reference: &OwnerReference, dependent: &Node) -> bool {
    found.place.name == reference.name
        && found.place.served.resource.kind == reference.kind
        && (found.place.namespace.is_none() || found.place.namespace == dependent.place.namespace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::discovery::ApiResource;

    fn node(name: &str, owners: &[(&str, bool)], life: Life) -> Node {
        let served = Served {
            resource: ApiResource {
                group: String::new(),
                version: "v1".into(),
                api_version: "v1".into(),
                kind: "Thing".into(),
                plural: "things".into(),
            },
            namespaced: true,
            watchable: true,
        };
        Node {
            place: Place {
                served: Arc::new(served),
                namespace: Some("a".into()),
                name: name.into(),
            },
            owners: owners
                .iter()
                .map(|(uid, block)| OwnerReference {
                    api_version: "v1".into(),
                    kind: "Thing".into(),
                    name: (*uid).to_owned(),
                    uid: (*uid).to_owned(),
                    block_owner_deletion: Some(*block),
                    controller: None,
                })
                .collect(),
            life,
        }
    }

    fn sorted(mut uids: Vec<Uid>) -> Vec<String> {
        uids.sort();
        uids.dedup();
        uids.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_object_with_a_living_owner_needs_no_look_until_the_owner_goes() {
        let mut graph = Graph::default();
        assert!(
            graph
                .apply("owner".into(), node("owner", &[], Life::Lives))
                .is_empty()
        );
        assert!(
            graph
                .apply(
                    "child".into(),
                    node("child", &[("owner", true)], Life::Lives)
                )
                .is_empty()
        );
        assert_eq!(sorted(graph.remove("owner")), ["child"]);
        assert!(graph.is_gone("owner"));
        assert!(graph.needs_look("child"));
    }

    #[test]
    fn an_owner_that_awaits_its_dependents_is_looked_at_as_they_go() {
        let mut graph = Graph::default();
        graph.apply("owner".into(), node("owner", &[], Life::Lives));
        graph.apply(
            "blocks".into(),
            node("blocks", &[("owner", true)], Life::Lives),
        );
        graph.apply(
            "idle".into(),
            node("idle", &[("owner", false)], Life::Lives),
        );
        let look = graph.apply("owner".into(), node("owner", &[], Life::AwaitsDependents));
        assert_eq!(sorted(look), ["blocks", "idle", "owner"]);
        assert_eq!(sorted(graph.blocking("owner")), ["blocks"]);
        assert_eq!(sorted(graph.remove("blocks")), ["owner"]);
        assert!(graph.blocking("owner").is_empty());
    }

    #[test]
    fn an_unknown_owner_and_one_of_another_namespace_need_a_look() {
        let mut graph = Graph::default();
        assert_eq!(
            sorted(graph.apply(
                "child".into(),
                node("child", &[("nobody", true)], Life::Lives)
            )),
            ["child"]
        );
        let mut far = node("far", &[], Life::Lives);
        far.place.namespace = Some("b".into());
        graph.apply("far".into(), far);
        assert_eq!(
            sorted(graph.apply("other".into(), node("other", &[("far", true)], Life::Lives))),
            ["other"]
        );
    }
}
