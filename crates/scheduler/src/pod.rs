//! What a pod asks of the node it goes to, worked out once when it is first seen.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    Pod, PodAffinityTerm, Taint, Toleration, TopologySpreadConstraint,
};

use crate::resources::{self, Resources};
use crate::selector::{Labels, NodeSelector, NodeTerm, Selector};

/// A host port a pod wants: protocol, address (empty for all) and number.
pub type HostPort = (String, String, i32);

/// A pod with everything placing it needs, compiled.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Unique identifier of the pod.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// What it asks for.
    pub requests: Resources,
    /// What it counts as when nodes are compared.
    pub assumed: Resources,
    /// Host ports it wants.
    pub ports: Vec<HostPort>,
    /// The uid of the object that controls it.
    pub owner: Option<String>,
    /// Higher goes first.
    pub priority: i32,
    pub(crate) node_labels: Labels,
    pub(crate) node_selector: Option<NodeSelector>,
    pub(crate) preferred_nodes: Vec<(i64, NodeTerm)>,
    pub(crate) tolerations: Vec<Toleration>,
    pub(crate) near: Vec<Term>,
    pub(crate) apart: Vec<Term>,
    pub(crate) preferred_near: Vec<(i64, Term)>,
    pub(crate) preferred_apart: Vec<(i64, Term)>,
    pub(crate) spread: Vec<Spread>,
}

/// A compiled term of affinity between pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    selector: Option<Selector>,
    namespaces: BTreeSet<String>,
    all_namespaces: bool,
    /// The node label two pods must share to be near each other.
    pub(crate) topology_key: String,
}

impl Term {
    fn new(term: &PodAffinityTerm, namespace: &str, labels: &Labels) -> Self {
        let mut selector = Selector::new(term.label_selector.as_ref());
        if let Some(selector) = &mut selector {
            selector.and_same(term.match_label_keys.as_deref().unwrap_or_default(), labels);
            selector.and_other(
                term.mismatch_label_keys.as_deref().unwrap_or_default(),
                labels,
            );
        }
        let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.insert(namespace.to_owned());
        }
        Self {
            selector,
            namespaces,
            // Namespaces' own labels are not watched: any namespace selector means all of them.
            all_namespaces: term.namespace_selector.is_some(),
            topology_key: term.topology_key.clone(),
        }
    }

    /// Whether the term speaks of a pod with these labels in this namespace.
    pub(crate) fn selects(&self, namespace: &str, labels: &Labels) -> bool {
        (self.all_namespaces || self.namespaces.contains(namespace))
            && self
                .selector
                .as_ref()
                .is_some_and(|selector| selector.matches(labels))
    }
}

/// A compiled topology spread constraint.
#[derive(Clone, Debug)]
pub(crate) struct Spread {
    pub(crate) max_skew: i64,
    pub(crate) topology_key: String,
    pub(crate) selector: Option<Selector>,
    /// Whether a node that breaks it is refused rather than only liked less.
    pub(crate) required: bool,
    pub(crate) min_domains: i64,
    pub(crate) honour_affinity: bool,
    pub(crate) honour_taints: bool,
}

impl Spread {
    fn new(constraint: &TopologySpreadConstraint, labels: &Labels) -> Self {
        let mut selector = Selector::new(constraint.label_selector.as_ref());
        if let Some(selector) = &mut selector {
            selector.and_same(
                constraint.match_label_keys.as_deref().unwrap_or_default(),
                labels,
            );
        }
        Self {
            max_skew: i64::from(constraint.max_skew),
            topology_key: constraint.topology_key.clone(),
            selector,
            required: constraint.when_unsatisfiable == "DoNotSchedule",
            min_domains: constraint.min_domains.map_or(1, i64::from),
            honour_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
            honour_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
        }
    }
}

impl Claim {
    /// Compiles a pod. `None` for a pod without a spec or a name.
    pub fn new(pod: &Pod) -> Option<Self> {
        let spec = pod.spec.as_ref()?;
        let meta = &pod.metadata;
        let namespace = meta.namespace.clone().unwrap_or_default();
        let labels = meta.labels.clone().unwrap_or_default();
        let (requests, assumed) = resources::of_pod(spec);
        let affinity = spec.affinity.as_ref();
        let node = affinity.and_then(|a| a.node_affinity.as_ref());
        let near = affinity.and_then(|a| a.pod_affinity.as_ref());
        let apart = affinity.and_then(|a| a.pod_anti_affinity.as_ref());
        let term = |term: &PodAffinityTerm| Term::new(term, &namespace, &labels);
        let owners = meta.owner_references.as_deref().unwrap_or_default();
        Some(Self {
            uid: meta.uid.clone().unwrap_or_default(),
            name: meta.name.clone()?,
            requests,
            assumed,
            ports: host_ports(pod),
            owner: owners
                .iter()
                .find(|owner| owner.controller == Some(true))
                .map(|owner| owner.uid.clone()),
            priority: spec.priority.unwrap_or_default(),
            node_labels: spec.node_selector.clone().unwrap_or_default(),
            node_selector: node
                .and_then(|n| {
                    n.required_during_scheduling_ignored_during_execution
                        .as_ref()
                })
                .map(|selector| NodeSelector::new(&selector.node_selector_terms)),
            preferred_nodes: node
                .and_then(|n| {
                    n.preferred_during_scheduling_ignored_during_execution
                        .as_deref()
                })
                .unwrap_or_default()
                .iter()
                .map(|p| (i64::from(p.weight), NodeTerm::new(&p.preference)))
                .collect(),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            near: near
                .and_then(|n| {
                    n.required_during_scheduling_ignored_during_execution
                        .as_deref()
                })
                .unwrap_or_default()
                .iter()
                .map(term)
                .collect(),
            apart: apart
                .and_then(|n| {
                    n.required_during_scheduling_ignored_during_execution
                        .as_deref()
                })
                .unwrap_or_default()
                .iter()
                .map(term)
                .collect(),
            preferred_near: near
                .and_then(|n| {
                    n.preferred_during_scheduling_ignored_during_execution
                        .as_deref()
                })
                .unwrap_or_default()
                .iter()
                .map(|p| (i64::from(p.weight), term(&p.pod_affinity_term)))
                .collect(),
            preferred_apart: apart
                .and_then(|n| {
                    n.preferred_during_scheduling_ignored_during_execution
                        .as_deref()
                })
                .unwrap_or_default()
                .iter()
                .map(|p| (i64::from(p.weight), term(&p.pod_affinity_term)))
                .collect(),
            spread: spec
                .topology_spread_constraints
                .iter()
                .flatten()
                .map(|constraint| Spread::new(constraint, &labels))
                .collect(),
            namespace,
            labels,
        })
    }

    /// Whether the pod goes only where certain other pods are.
    pub(crate) fn wants_company(&self) -> bool {
        !self.near.is_empty()
    }

    /// `namespace/name`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Whether the pod tolerates the taint (upstream's `Toleration.ToleratesTaint`).
    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.tolerations.iter().any(|toleration| {
            let effect = toleration.effect.as_deref().unwrap_or_default();
            let key = toleration.key.as_deref().unwrap_or_default();
            if !effect.is_empty() && effect != taint.effect {
                return false;
            }
            if !key.is_empty() && key != taint.key {
                return false;
            }
            match toleration.operator.as_deref().unwrap_or_default() {
                "Exists" => true,
                "" | "Equal" => {
                    let own = toleration.value.as_deref().unwrap_or_default();
                    !key.is_empty() && own == taint.value.as_deref().unwrap_or_default()
                }
                _ => false,
            }
        })
    }
}

fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let Some(spec) = &pod.spec else {
        return Vec::new();
    };
    let sidecars = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let ports = spec
        .containers
        .iter()
        .chain(sidecars)
        .flat_map(|c| c.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let number = port.host_port.filter(|number| *number > 0)?;
            let address = port.host_ip.as_deref().unwrap_or_default();
            let address = if address == "0.0.0.0" { "" } else { address };
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            Some((protocol.to_owned(), address.to_owned(), number))
        })
        .collect()
}

/// Whether two host ports cannot both be had: same protocol and number, and addresses that meet.
pub(crate) fn collide(a: &HostPort, b: &HostPort) -> bool {
    a.0 == b.0 && a.2 == b.2 && (a.1.is_empty() || b.1.is_empty() || a.1 == b.1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_toleration_without_a_key_tolerates_every_taint_of_its_effect() {
        let pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [],
            "tolerations": [{"operator": "Exists", "effect": "NoSchedule"}]}});
        let claim = Claim::new(&serde_json::from_value(pod).unwrap()).unwrap();
        let taint = |effect: &str| Taint {
            key: "x".to_owned(),
            effect: effect.to_owned(),
            ..Taint::default()
        };
        assert!(claim.tolerates(&taint("NoSchedule")));
        assert!(!claim.tolerates(&taint("NoExecute")));
    }

    #[test]
    fn host_ports_collide_when_their_addresses_meet() {
        let port = |address: &str| ("TCP".to_owned(), address.to_owned(), 80);
        assert!(collide(&port(""), &port("10.0.0.1")));
        assert!(!collide(&port("10.0.0.2"), &port("10.0.0.1")));
    }
}
