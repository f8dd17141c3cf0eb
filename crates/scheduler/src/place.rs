//! Where a pod goes: a pure function of the cluster and the pod.

use crate::cluster::{Cluster, Place};
use crate::pod::{self, Claim};
use crate::reasons::{Reason, Unplaced};
use crate::resources::Resources;
use crate::topology::Topology;
use k8s_openapi::api::core::v1::Taint;

/// The most a single aspect counts when nodes are compared.
const FULL: i64 = 100;
/// Clusters up to this size are looked at whole.
const SMALL: usize = 100;

/// Picks the best node for the pod. `start` says at which node to begin in a large cluster, where
/// the search ends once enough nodes were found to choose from; passing a number that grows with
/// each pod takes all nodes their turn.
///
/// # Errors
/// Why no node takes the pod.
pub fn place(cluster: &Cluster, claim: &Claim, start: usize) -> Result<String, Unplaced> {
    let places: Vec<&Place> = cluster.places().collect();
    let topology = Topology::new(cluster, claim, &|place| fits_affinity(claim, place));
    let enough = enough(places.len());
    let mut unplaced = Unplaced {
        nodes: places.len(),
        ..Unplaced::default()
    };
    let mut feasible = Vec::with_capacity(enough.min(places.len()));
    let begin = if places.is_empty() {
        0
    } else {
        start % places.len()
    };
    for place in places[begin..].iter().chain(&places[..begin]) {
        match admits(claim, place, &topology) {
            Ok(()) => {
                feasible.push(*place);
                if feasible.len() >= enough {
                    break;
                }
            }
            Err(reasons) => {
                for reason in reasons {
                    *unplaced.reasons.entry(reason).or_default() += 1;
                }
            }
        }
    }
    best(claim, &feasible, &topology).map_or(Err(unplaced), |place| Ok(place.name.clone()))
}

/// How many nodes that take the pod are enough to choose from: all in a small cluster, then a share
/// that falls from a half to a twentieth as it grows (upstream's adaptive percentage).
fn enough(nodes: usize) -> usize {
    if nodes <= SMALL {
        return nodes;
    }
    let percent = 50_usize.saturating_sub(nodes / 125).max(5);
    (nodes * percent / 100).max(SMALL)
}

fn admits(claim: &Claim, place: &Place, topology: &Topology) -> Result<(), Vec<Reason>> {
    let one = |reason| Err(vec![reason]);
    let cordon = Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    if place.unschedulable && !claim.tolerates(&cordon) {
        return one(Reason::Unschedulable);
    }
    if let Some(taint) = untolerated(claim, place) {
        return one(Reason::Taint {
            key: taint.key.clone(),
            value: taint.value.clone().unwrap_or_default(),
        });
    }
    if !fits_affinity(claim, place) {
        return one(Reason::Affinity);
    }
    for port in &claim.ports {
        let taken = place.ports.get(&(port.0.clone(), port.2));
        if taken.is_some_and(|taken| taken.iter().any(|own| pod::collide(own, port))) {
            return one(Reason::Ports);
        }
    }
    let lacking = lacking(claim, place);
    if !lacking.is_empty() {
        return Err(lacking);
    }
    topology.admits(claim, place).map_err(|reason| vec![reason])
}

/// The first taint that keeps the pod away.
pub(crate) fn untolerated<'a>(claim: &Claim, place: &'a Place) -> Option<&'a Taint> {
    place
        .taints
        .iter()
        .filter(|taint| taint.effect == "NoSchedule" || taint.effect == "NoExecute")
        .find(|taint| !claim.tolerates(taint))
}

fn fits_affinity(claim: &Claim, place: &Place) -> bool {
    claim
        .node_labels
        .iter()
        .all(|(key, value)| place.labels.get(key) == Some(value))
        && claim
            .node_selector
            .as_ref()
            .is_none_or(|selector| selector.matches(&place.name, &place.labels))
}

/// Everything of which the node has too little left.
fn lacking(claim: &Claim, place: &Place) -> Vec<Reason> {
    let (want, have, used) = (&claim.requests, &place.allocatable, &place.requested);
    let mut lacking = Vec::new();
    if used.pods + 1 > have.pods {
        lacking.push(Reason::TooManyPods);
    }
    let mut check = |name: &str, want: i64, have: i64, used: i64| {
        if want > 0 && want > have.saturating_sub(used) {
            lacking.push(Reason::Insufficient(name.to_owned()));
        }
    };
    check("cpu", want.cpu_milli, have.cpu_milli, used.cpu_milli);
    check(
        "memory",
        want.memory_bytes,
        have.memory_bytes,
        used.memory_bytes,
    );
    check(
        "ephemeral-storage",
        want.ephemeral_bytes,
        have.ephemeral_bytes,
        used.ephemeral_bytes,
    );
    for (name, amount) in &want.extended {
        let of = |resources: &Resources| resources.extended.get(name).copied().unwrap_or_default();
        check(name, *amount, of(have), of(used));
    }
    lacking
}

/// Aspects of one node, before they are set against those of the others.
struct Marks {
    /// 0 to `FULL`: how much stays free, and how evenly CPU and memory are used.
    room: i64,
    balance: i64,
    /// Raw numbers, more is better.
    node_liking: i64,
    pod_liking: i64,
    /// Raw numbers, fewer is better.
    disliked_taints: i64,
    siblings: i64,
    crowd: i64,
}

/// The best of the nodes: each aspect is brought to 0..`FULL` over all nodes and weighed as upstream
/// weighs its score plugins. The first by name wins a tie after siblings have been counted.
fn best<'a>(claim: &Claim, places: &[&'a Place], topology: &Topology) -> Option<&'a Place> {
    if let [only] = places {
        return Some(only);
    }
    let marks: Vec<Marks> = places
        .iter()
        .map(|place| mark(claim, place, topology))
        .collect();
    let up = |of: &dyn Fn(&Marks) -> i64| {
        let least = marks.iter().map(of).min().unwrap_or_default();
        let most = marks.iter().map(of).max().unwrap_or_default();
        let range = most - least;
        marks
            .iter()
            .map(|marks| {
                if range == 0 {
                    0
                } else {
                    (of(marks) - least) * FULL / range
                }
            })
            .collect::<Vec<i64>>()
    };
    let node_liking = up(&|marks| marks.node_liking);
    let pod_liking = up(&|marks| marks.pod_liking);
    let taints = up(&|marks| -marks.disliked_taints);
    let siblings = up(&|marks| -marks.siblings);
    let crowd = up(&|marks| -marks.crowd);
    let total = |index: usize| {
        marks[index].room
            + marks[index].balance
            + 2 * node_liking[index]
            + 2 * pod_liking[index]
            + 3 * taints[index]
            + 2 * siblings[index]
            + 2 * crowd[index]
    };
    let best = (0..places.len()).max_by_key(|index| (total(*index), std::cmp::Reverse(*index)))?;
    places.get(best).copied()
}

fn mark(claim: &Claim, place: &Place, topology: &Topology) -> Marks {
    let used = |of: &dyn Fn(&Resources) -> i64| of(&place.assumed) + of(&claim.assumed);
    let cpu = (used(&|r| r.cpu_milli), place.allocatable.cpu_milli);
    let memory = (used(&|r| r.memory_bytes), place.allocatable.memory_bytes);
    let share = |(used, have): (i64, i64)| -> i64 {
        if have <= 0 {
            return FULL;
        }
        i64::try_from(i128::from(used) * i128::from(FULL) / i128::from(have))
            .map_or(FULL, |share| share.min(FULL))
    };
    let (cpu, memory) = (share(cpu), share(memory));
    let preferred = claim.preferred_nodes.iter();
    let node_liking = preferred
        .filter(|(_, term)| term.matches(&place.name, &place.labels))
        .map(|(weight, _)| weight)
        .sum();
    let disliked = place
        .taints
        .iter()
        .filter(|taint| taint.effect == "PreferNoSchedule" && !claim.tolerates(taint));
    let siblings = claim
        .owner
        .as_ref()
        .and_then(|owner| place.owners.get(owner));
    Marks {
        room: FULL - i64::midpoint(cpu, memory),
        balance: FULL - (cpu - memory).abs() / 2,
        node_liking,
        pod_liking: topology.liking(place),
        disliked_taints: i64::try_from(disliked.count()).unwrap_or_default(),
        siblings: siblings.copied().map_or(0, i64::from),
        crowd: topology.crowd(claim, place),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    fn node(name: &str, change: &dyn Fn(&mut Value)) -> Value {
        let mut node = json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "spec": {},
            "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10"}},
        });
        change(&mut node);
        node
    }

    fn cluster(nodes: &[Value]) -> Cluster {
        let mut cluster = Cluster::new();
        for node in nodes {
            cluster.put_node(&serde_json::from_value(node.clone()).unwrap());
        }
        cluster
    }

    fn claim(name: &str, change: &dyn Fn(&mut Value)) -> Arc<Claim> {
        let mut pod = json!({
            "metadata": {"name": name, "uid": name, "namespace": "default", "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "500m"}}}]},
        });
        change(&mut pod);
        Arc::new(Claim::new(&serde_json::from_value(pod).unwrap()).unwrap())
    }

    fn plain(_: &mut Value) {}

    fn why(cluster: &Cluster, claim: &Claim) -> String {
        place(cluster, claim, 0).unwrap_err().to_string()
    }

    #[test]
    fn a_pod_that_does_not_fit_says_what_is_missing() {
        let cluster = cluster(&[
            node("a", &plain),
            node("b", &|n| n["spec"]["unschedulable"] = json!(true)),
        ]);
        let big = claim("big", &|p| {
            p["spec"]["containers"][0]["resources"]["requests"] =
                json!({"cpu": "3", "memory": "8Gi"});
        });
        assert_eq!(
            why(&cluster, &big),
            "0/2 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 1 node(s) were unschedulable."
        );
        assert_eq!(
            why(&Cluster::new(), &big),
            "no nodes available to schedule pods"
        );
    }

    #[test]
    fn replicas_spread_over_equal_nodes() {
        let mut cluster = cluster(&[node("a", &plain), node("b", &plain), node("c", &plain)]);
        let mut homes = Vec::new();
        for name in ["1", "2", "3"] {
            let owned = claim(name, &|p| {
                p["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "R", "name": "r", "uid": "r", "controller": true}]);
            });
            let home = place(&cluster, &owned, 0).unwrap();
            cluster.put_pod(&home, owned);
            homes.push(home);
        }
        homes.sort();
        assert_eq!(homes, ["a", "b", "c"]);
    }

    #[test]
    fn taints_keep_pods_away_unless_tolerated() {
        let tainted = node("a", &|n| {
            n["spec"]["taints"] = json!([{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]);
        });
        let cluster = cluster(&[tainted]);
        assert_eq!(
            why(&cluster, &claim("p", &plain)),
            "0/1 nodes are available: 1 node(s) had untolerated taint {gpu: yes}."
        );
        let tolerant = claim("p", &|p| {
            p["spec"]["tolerations"] = json!([{"key": "gpu", "operator": "Equal", "value": "yes"}]);
        });
        assert_eq!(place(&cluster, &tolerant, 0).unwrap(), "a");
    }

    #[test]
    fn host_ports_are_given_once() {
        let mut cluster = cluster(&[node("a", &plain)]);
        let ported = |name: &str| {
            claim(name, &|p| {
                p["spec"]["containers"][0]["ports"] =
                    json!([{"containerPort": 80, "hostPort": 80}]);
            })
        };
        cluster.put_pod("a", ported("1"));
        assert_eq!(
            why(&cluster, &ported("2")),
            "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."
        );
    }

    #[test]
    fn node_affinity_is_required_or_preferred() {
        let cluster = cluster(&[
            node("a", &|n| n["metadata"]["labels"]["disk"] = json!("hdd")),
            node("b", &|n| n["metadata"]["labels"]["disk"] = json!("ssd")),
        ]);
        let wants = |disk: &str| {
            let disk = disk.to_owned();
            claim("p", &move |p| {
                p["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = json!({
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "In", "values": [disk]}]}]});
            })
        };
        assert_eq!(place(&cluster, &wants("ssd"), 0).unwrap(), "b");
        assert!(
            why(&cluster, &wants("tape"))
                .contains("2 node(s) didn't match Pod's node affinity/selector")
        );
        let likes = claim("p", &|p| {
            p["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] = json!([
                {"weight": 1, "preference": {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}}]);
        });
        assert_eq!(place(&cluster, &likes, 0).unwrap(), "b");
    }

    #[test]
    fn pods_that_want_to_be_apart_are() {
        let mut cluster = cluster(&[node("a", &plain), node("b", &plain)]);
        let alone = |name: &str| {
            claim(name, &|p| {
                p["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = json!([
                    {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}]);
            })
        };
        for name in ["1", "2"] {
            let home = place(&cluster, &alone(name), 0).unwrap();
            cluster.put_pod(&home, alone(name));
        }
        assert!(
            why(&cluster, &alone("3"))
                .contains("2 node(s) didn't satisfy existing pods anti-affinity rules")
        );
        // One that does not mind is not wanted either.
        assert!(place(&cluster, &claim("4", &plain), 0).is_err());
    }

    #[test]
    fn the_first_of_a_group_that_wants_to_be_together_finds_a_place() {
        let mut cluster = cluster(&[node("a", &plain), node("b", &plain)]);
        let together = |name: &str| {
            claim(name, &|p| {
                p["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = json!([
                    {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}]);
            })
        };
        let home = place(&cluster, &together("1"), 1).unwrap();
        cluster.put_pod(&home, together("1"));
        for start in 0..2 {
            assert_eq!(place(&cluster, &together("2"), start).unwrap(), home);
        }
    }

    #[test]
    fn required_spreading_refuses_the_fuller_domain() {
        let mut cluster = cluster(&[
            node("a", &plain),
            node("b", &plain),
            node("c", &|n| {
                n["metadata"]["labels"] = json!({});
            }),
        ]);
        let spread = |name: &str| {
            claim(name, &|p| {
                p["spec"]["topologySpreadConstraints"] = json!([{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
                    "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "web"}}}]);
            })
        };
        cluster.put_pod("a", spread("1"));
        assert_eq!(place(&cluster, &spread("2"), 0).unwrap(), "b");
        cluster.put_node(
            &serde_json::from_value(node("b", &|n| n["spec"]["unschedulable"] = json!(true)))
                .unwrap(),
        );
        let why = why(&cluster, &spread("2"));
        assert!(
            why.contains("1 node(s) didn't match pod topology spread constraints,"),
            "{why}"
        );
        assert!(why.contains("(missing required label)"), "{why}");
    }

    #[test]
    fn a_large_cluster_is_not_searched_to_its_end() {
        assert_eq!(enough(50), 50);
        assert_eq!(enough(101), 100);
        assert_eq!(enough(1000), 420);
        assert_eq!(enough(10_000), 500);
    }
}
