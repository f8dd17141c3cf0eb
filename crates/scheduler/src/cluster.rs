//! The nodes and what runs on them, kept up to date change by change.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Taint};

use crate::pod::{Claim, HostPort};
use crate::resources::Resources;
use crate::selector::Labels;

/// A node and what is on it.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The node's name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// Whether it is cordoned.
    pub unschedulable: bool,
    /// What pods may have of it.
    pub allocatable: Resources,
    /// What the pods on it ask for.
    pub requested: Resources,
    /// What the pods on it count as when nodes are compared.
    pub assumed: Resources,
    /// The pods on it, by uid.
    pub pods: HashMap<String, Arc<Claim>>,
    /// Host ports in use, by protocol and number, with the addresses.
    pub(crate) ports: HashMap<(String, i32), Vec<HostPort>>,
    /// How many pods of each controller are here.
    pub(crate) owners: HashMap<String, u32>,
    /// Whether the node itself is known; a pod may be seen before its node.
    known: bool,
}

impl Place {
    fn add(&mut self, claim: Arc<Claim>) {
        self.requested.add(&claim.requests);
        self.assumed.add(&claim.assumed);
        for port in &claim.ports {
            let slot = self.ports.entry((port.0.clone(), port.2)).or_default();
            slot.push(port.clone());
        }
        if let Some(owner) = &claim.owner {
            *self.owners.entry(owner.clone()).or_default() += 1;
        }
        self.pods.insert(claim.uid.clone(), claim);
    }

    fn remove(&mut self, uid: &str) -> Option<Arc<Claim>> {
        let claim = self.pods.remove(uid)?;
        self.requested.subtract(&claim.requests);
        self.assumed.subtract(&claim.assumed);
        for port in &claim.ports {
            let key = (port.0.clone(), port.2);
            if let Some(slot) = self.ports.get_mut(&key) {
                if let Some(index) = slot.iter().position(|own| own == port) {
                    slot.swap_remove(index);
                }
                if slot.is_empty() {
                    self.ports.remove(&key);
                }
            }
        }
        if let Some(owner) = &claim.owner
            && let Some(count) = self.owners.get_mut(owner)
        {
            *count -= 1;
            if *count == 0 {
                self.owners.remove(owner);
            }
        }
        Some(claim)
    }
}

/// All nodes and the pods on them.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    places: BTreeMap<String, Place>,
    /// Where each pod is, by uid.
    homes: HashMap<String, String>,
    /// Uids of pods that want others to stay away; every placement has to ask them.
    pub(crate) loners: HashSet<String>,
    /// Uids of pods that want or do not want others near, if possible.
    pub(crate) choosy: HashSet<String>,
}

impl Cluster {
    /// A cluster without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a new or changed node. Gives whether something changed that may let a pod in.
    pub fn put_node(&mut self, node: &Node) -> bool {
        let Some(name) = node.metadata.name.clone() else {
            return false;
        };
        let spec = node.spec.as_ref();
        let status = node.status.as_ref();
        let place = self.places.entry(name.clone()).or_default();
        let labels = node.metadata.labels.clone().unwrap_or_default();
        let taints = spec
            .and_then(|spec| spec.taints.clone())
            .unwrap_or_default();
        let unschedulable = spec.and_then(|spec| spec.unschedulable).unwrap_or_default();
        let allocatable = Resources::from_list(status.and_then(|s| s.allocatable.as_ref()));
        let changed = !place.known
            || place.labels != labels
            || place.taints != taints
            || place.unschedulable != unschedulable
            || place.allocatable != allocatable;
        place.name = name;
        place.labels = labels;
        place.taints = taints;
        place.unschedulable = unschedulable;
        place.allocatable = allocatable;
        place.known = true;
        changed
    }

    /// Forgets a node; pods on it are forgotten when they go themselves.
    pub fn remove_node(&mut self, name: &str) {
        if let Some(place) = self.places.get_mut(name) {
            place.known = false;
            if place.pods.is_empty() {
                self.places.remove(name);
            }
        }
    }

    /// Says that a pod is on a node. Saying so again, or of another node, moves it.
    pub fn put_pod(&mut self, node: &str, claim: Arc<Claim>) {
        self.remove_pod(&claim.uid);
        self.homes.insert(claim.uid.clone(), node.to_owned());
        if !claim.apart.is_empty() {
            self.loners.insert(claim.uid.clone());
        }
        if !claim.preferred_near.is_empty() || !claim.preferred_apart.is_empty() {
            self.choosy.insert(claim.uid.clone());
        }
        self.places.entry(node.to_owned()).or_default().add(claim);
    }

    /// Forgets a pod. Gives whether it was on a node.
    pub fn remove_pod(&mut self, uid: &str) -> bool {
        let Some(node) = self.homes.remove(uid) else {
            return false;
        };
        self.loners.remove(uid);
        self.choosy.remove(uid);
        if let Some(place) = self.places.get_mut(&node) {
            place.remove(uid);
            if !place.known && place.pods.is_empty() {
                self.places.remove(&node);
            }
        }
        true
    }

    /// The node a pod is on.
    pub fn home(&self, uid: &str) -> Option<&str> {
        self.homes.get(uid).map(String::as_str)
    }

    /// The place of a pod, with the pod.
    pub(crate) fn resident(&self, uid: &str) -> Option<(&Place, &Arc<Claim>)> {
        let place = self.places.get(self.homes.get(uid)?)?;
        Some((place, place.pods.get(uid)?))
    }

    /// The nodes, in the order of their names.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.places.values().filter(|place| place.known)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(uid: &str) -> Arc<Claim> {
        let pod = json!({"metadata": {"name": uid, "uid": uid,
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "o", "controller": true}]},
            "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": 80}],
                "resources": {"requests": {"cpu": "1", "example.com/gpu": "2"}}}]}});
        Arc::new(Claim::new(&serde_json::from_value(pod).unwrap()).unwrap())
    }

    #[test]
    fn what_a_pod_brought_goes_with_it() {
        let mut cluster = Cluster::new();
        cluster.put_node(&serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap());
        cluster.put_pod("n", claim("a"));
        cluster.put_pod("n", claim("a"));
        let place = cluster.places().next().unwrap();
        assert_eq!(place.requested.cpu_milli, 1000);
        assert_eq!(place.requested.pods, 1);
        assert!(cluster.remove_pod("a"));
        let place = cluster.places().next().unwrap();
        assert_eq!(place.requested, Resources::default());
        assert!(place.ports.is_empty() && place.owners.is_empty());
    }

    #[test]
    fn a_pod_may_be_known_before_its_node() {
        let mut cluster = Cluster::new();
        cluster.put_pod("n", claim("a"));
        assert_eq!(cluster.places().count(), 0);
        assert!(
            cluster.put_node(&serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap())
        );
        assert_eq!(cluster.places().next().unwrap().pods.len(), 1);
        cluster.remove_node("n");
        assert_eq!(cluster.places().count(), 0);
        assert!(cluster.remove_pod("a"));
    }
}
