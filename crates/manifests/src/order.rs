//! What waits for what among the objects of a part.

use std::collections::HashMap;

use consort_plan::{Cycles, Edge, Graph, PartEdge};
use serde_json::Value;

use crate::identity::{Key, group_version, text};
use crate::kinds::items;
use crate::references::{pod_spec, references};

/// An edge between two objects, by their places.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Uses {
    pub(crate) dependent: usize,
    pub(crate) dependency: usize,
    pub(crate) edge: Edge,
}

/// More edges than these between the bindings and the workloads of one account say nothing more.
const MOST_BINDINGS: usize = 64;

/// All edges among objects, each given with its key and its value.
pub(crate) fn edges<'a>(objects: impl Iterator<Item = (&'a Key, &'a Value)> + Clone) -> Vec<Uses> {
    let places: HashMap<&Key, usize> = objects
        .clone()
        .enumerate()
        .map(|(at, (key, _))| (key, at))
        .collect();
    let known = Known::of(objects.clone());
    let mut all = Vec::new();
    for (at, (key, value)) in objects.enumerate() {
        let mut add = |dependency: usize, edge: Edge| {
            if dependency != at {
                all.push(Uses {
                    dependent: at,
                    dependency,
                    edge,
                });
            }
        };
        for reference in references(key, value) {
            if let Some(dependency) = places.get(&reference.to) {
                add(*dependency, reference.edge);
            }
        }
        known.beside(key, value, &mut add);
    }
    all
}

/// What objects stand on without naming it.
#[derive(Default)]
struct Known<'a> {
    /// The definitions, by group and kind.
    definitions: HashMap<(&'a str, &'a str), usize>,
    /// The API services, by group and version.
    services: HashMap<(&'a str, &'a str), usize>,
    /// The bindings that give an account its rights, by namespace and account.
    bindings: HashMap<(&'a str, &'a str), Vec<usize>>,
    /// What limits a namespace.
    limits: HashMap<&'a str, Vec<usize>>,
    /// The webhooks that are asked about a group, with the workloads that answer.
    webhooks: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Known<'a> {
    fn of(objects: impl Iterator<Item = (&'a Key, &'a Value)> + Clone) -> Self {
        let mut known = Known::default();
        let mut answering: HashMap<(&str, &str), Vec<&str>> = HashMap::new();
        for (at, (key, value)) in objects.clone().enumerate() {
            let spec = &value["spec"];
            match key.kind.as_str() {
                "CustomResourceDefinition" => {
                    let names = (text(spec, &["group"]), text(spec, &["names", "kind"]));
                    known.definitions.insert(names, at);
                }
                "APIService" => {
                    let names = (text(spec, &["group"]), text(spec, &["version"]));
                    known.services.insert(names, at);
                }
                "RoleBinding" | "ClusterRoleBinding" => {
                    for subject in items(value, "subjects") {
                        if text(subject, &["kind"]) == "ServiceAccount" {
                            let namespace = match text(subject, &["namespace"]) {
                                "" => &key.namespace,
                                namespace => namespace,
                            };
                            let account = (namespace, text(subject, &["name"]));
                            known.bindings.entry(account).or_default().push(at);
                        }
                    }
                }
                "LimitRange" | "ResourceQuota" => {
                    known.limits.entry(&key.namespace).or_default().push(at);
                }
                "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => {
                    for webhook in items(value, "webhooks") {
                        let service = &webhook["clientConfig"]["service"];
                        let service = (text(service, &["namespace"]), text(service, &["name"]));
                        for rule in items(webhook, "rules") {
                            for group in items(rule, "apiGroups").filter_map(Value::as_str) {
                                // One that is asked about everything is asked about what it runs on as well.
                                if group.contains('.') && !group.ends_with(".k8s.io") {
                                    known.webhooks.entry(group).or_default().push(at);
                                    answering.entry(service).or_default().push(group);
                                }
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        if !answering.is_empty() {
            known.answer(objects, &answering);
        }
        known
    }

    /// Finds the workloads behind the services of webhooks.
    #[allow(clippy::needless_pass_by_value)] // An iterator is as cheap as its reference.
    fn answer(
        &mut self,
        objects: impl Iterator<Item = (&'a Key, &'a Value)> + Clone,
        answering: &HashMap<(&str, &str), Vec<&'a str>>,
    ) {
        for (key, value) in objects.clone() {
            let Some(groups) = answering.get(&(key.namespace.as_str(), key.name.as_str())) else {
                continue;
            };
            let selector = value["spec"]["selector"].as_object();
            let Some(selector) =
                selector.filter(|selector| key.kind == "Service" && !selector.is_empty())
            else {
                continue;
            };
            for (at, (other, value)) in objects.clone().enumerate() {
                let labels = &value["spec"]["template"]["metadata"]["labels"];
                if other.namespace == key.namespace
                    && selector
                        .iter()
                        .all(|(name, value)| labels.get(name) == Some(value))
                {
                    for group in groups {
                        self.webhooks.entry(group).or_default().push(at);
                    }
                }
            }
        }
    }

    fn beside(&self, key: &Key, value: &Value, add: &mut impl FnMut(usize, Edge)) {
        if let Some(definition) = self
            .definitions
            .get(&(key.group.as_str(), key.kind.as_str()))
        {
            add(*definition, Edge::Order);
            for webhook in self.webhooks.get(key.group.as_str()).into_iter().flatten() {
                add(*webhook, Edge::Order);
            }
        }
        if !self.services.is_empty() {
            let (group, version) = group_version(text(value, &["apiVersion"]));
            if let Some(service) = self.services.get(&(group, version)) {
                add(*service, Edge::Order);
            }
        }
        let Some(pod) = pod_spec(&key.kind, value) else {
            return;
        };
        for limit in self
            .limits
            .get(key.namespace.as_str())
            .into_iter()
            .flatten()
        {
            add(*limit, Edge::Order);
        }
        let account = text(pod, &["serviceAccountName"]);
        let bindings = self.bindings.get(&(key.namespace.as_str(), account));
        if let Some(bindings) = bindings.filter(|all| all.len() <= MOST_BINDINGS) {
            for binding in bindings {
                add(*binding, Edge::Order);
            }
        }
    }
}

/// An order, and the edges that hold in it.
type Arranged = (Vec<usize>, Vec<Uses>);

/// An order in which nothing comes before what it uses, and the edges that hold in it.
///
/// # Errors
///
/// The cycles, by the places of the objects in them. Objects that merely name each other make none: such edges are
/// left out where they run in a circle, since each can be made without the other.
pub(crate) fn arranged(count: usize, mut uses: Vec<Uses>) -> Result<Arranged, Vec<Vec<usize>>> {
    uses.sort_unstable_by_key(|edge| (edge.dependent, edge.dependency));
    uses.dedup_by_key(|edge| (edge.dependent, edge.dependency));
    let graph_of = |uses: &[Uses]| {
        let mut graph = Graph::new();
        let ids: Vec<_> = (0..count).map(|at| graph.add(at)).collect();
        for edge in uses {
            graph.connect(ids[edge.dependent], ids[edge.dependency], edge.edge);
        }
        graph
    };
    let mut graph = graph_of(&uses);
    let order = match graph.check() {
        Ok(order) => order,
        Err(Cycles(cycles)) => {
            let mut circle = vec![usize::MAX; count];
            for (number, cycle) in cycles.iter().enumerate() {
                for id in cycle {
                    circle[id.index()] = number;
                }
            }
            uses.retain(|edge| {
                edge.edge != Edge::Value
                    || circle[edge.dependent] == usize::MAX
                    || circle[edge.dependent] != circle[edge.dependency]
            });
            graph = graph_of(&uses);
            graph.check().map_err(|Cycles(cycles)| {
                cycles
                    .iter()
                    .map(|cycle| cycle.iter().map(|id| id.index()).collect())
                    .collect::<Vec<_>>()
            })?
        }
    };
    Ok((order.iter().map(|id| id.index()).collect(), uses))
}

/// The edges of a plan whose objects stand at other places than they were given in.
pub(crate) fn placed(uses: &[Uses], place_of: &[u32]) -> Vec<PartEdge> {
    uses.iter()
        .map(|edge| PartEdge {
            dependent: place_of[edge.dependent],
            dependency: place_of[edge.dependency],
            edge: edge.edge,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key(group: &str, kind: &str, namespace: &str, name: &str) -> Key {
        Key::new(group, kind, namespace, name)
    }

    #[test]
    fn definitions_namespaces_and_webhooks_come_before_what_needs_them() {
        let objects = [
            (
                key("g.io", "Widget", "a", "w"),
                json!({"apiVersion": "g.io/v1"}),
            ),
            (key("", "Namespace", "", "a"), json!({})),
            (
                key(
                    "apiextensions.k8s.io",
                    "CustomResourceDefinition",
                    "",
                    "widgets.g.io",
                ),
                json!({"spec": {"group": "g.io", "names": {"kind": "Widget"}}}),
            ),
            (
                key(
                    "admissionregistration.k8s.io",
                    "ValidatingWebhookConfiguration",
                    "",
                    "hook",
                ),
                json!({"webhooks": [{"clientConfig": {"service": {"namespace": "a", "name": "hook"}}, "rules": [{"apiGroups": ["g.io"]}]}]}),
            ),
            (
                key("", "Service", "a", "hook"),
                json!({"spec": {"selector": {"app": "hook"}}}),
            ),
            (
                key("apps", "Deployment", "a", "hook"),
                json!({"spec": {"template": {"metadata": {"labels": {"app": "hook"}}, "spec": {"containers": []}}}}),
            ),
        ];
        let edges = edges(objects.iter().map(|(key, value)| (key, value)));
        let (order, edges) = arranged(objects.len(), edges).unwrap();
        assert_eq!(order.last(), Some(&0));
        let of_widget: Vec<usize> = edges
            .iter()
            .filter(|edge| edge.dependent == 0)
            .map(|edge| edge.dependency)
            .collect();
        assert_eq!(of_widget, [1, 2, 3, 5]);
    }

    #[test]
    fn objects_that_name_each_other_are_no_cycle_and_those_told_to_wait_are() {
        let uses = |edge| {
            vec![
                Uses {
                    dependent: 0,
                    dependency: 1,
                    edge,
                },
                Uses {
                    dependent: 1,
                    dependency: 0,
                    edge,
                },
            ]
        };
        assert!(arranged(2, uses(Edge::Value)).is_ok());
        assert_eq!(arranged(2, uses(Edge::Order)).unwrap_err()[0].len(), 2);
    }
}
