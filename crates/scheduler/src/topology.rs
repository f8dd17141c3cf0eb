//! Rules between pods that share a part of the cluster (a node, a zone): spreading and affinity.
//!
//! Everything a pod's rules need is counted once for the whole cluster; asking a node is then a few
//! look-ups. A pod without such rules costs only a look at those pods that have some.

use std::collections::{HashMap, HashSet};

use crate::cluster::{Cluster, Place};
use crate::pod::{Claim, Spread, Term};
use crate::reasons::Reason;

/// The value of a topology key, for each key.
type Domain = (String, String);

/// What the rules of one pod amount to in the present cluster.
#[derive(Debug, Default)]
pub(crate) struct Topology {
    spread: Vec<SpreadCount>,
    /// For each required affinity term, the domains with a pod it selects.
    near: Vec<HashSet<String>>,
    /// Whether no pod at all fulfils the required affinity, and the pod fulfils it itself: the
    /// first of a group that wants to be together.
    first: bool,
    /// For each required anti-affinity term, the domains with a pod it selects.
    apart: Vec<HashSet<String>>,
    /// Domains where a pod lives that does not want this one.
    refused: HashSet<Domain>,
    /// What domains are worth by preferences, the pod's own and those of others.
    liked: HashMap<Domain, i64>,
    /// The topology keys of `liked`.
    liked_keys: HashSet<String>,
}

#[derive(Debug)]
struct SpreadCount {
    /// Matching pods in each domain of the key; every eligible domain is there.
    counts: HashMap<String, i64>,
    least: i64,
    /// 1 if the pod itself counts.
    own: i64,
}

impl Topology {
    /// Counts what the pod's rules need. `fits` says whether a node passes the pod's node selector
    /// and affinity.
    pub(crate) fn new(cluster: &Cluster, claim: &Claim, fits: &dyn Fn(&Place) -> bool) -> Self {
        let mut topology = Self {
            near: vec![HashSet::new(); claim.near.len()],
            apart: vec![HashSet::new(); claim.apart.len()],
            ..Self::default()
        };
        let own_terms = !claim.near.is_empty()
            || !claim.apart.is_empty()
            || !claim.preferred_near.is_empty()
            || !claim.preferred_apart.is_empty();
        if own_terms {
            for place in cluster.places() {
                for pod in place.pods.values() {
                    topology.count_terms(claim, place, pod);
                }
            }
        }
        topology.first = topology.near.iter().all(HashSet::is_empty)
            && claim
                .near
                .iter()
                .all(|term| term.selects(&claim.namespace, &claim.labels));
        for uid in &cluster.loners {
            let Some((place, pod)) = cluster.resident(uid) else {
                continue;
            };
            for term in &pod.apart {
                if term.selects(&claim.namespace, &claim.labels)
                    && let Some(value) = place.labels.get(&term.topology_key)
                {
                    topology
                        .refused
                        .insert((term.topology_key.clone(), value.clone()));
                }
            }
        }
        for uid in &cluster.choosy {
            let Some((place, pod)) = cluster.resident(uid) else {
                continue;
            };
            let signed = |terms: &[(i64, Term)], sign: i64| {
                let selected = terms
                    .iter()
                    .filter(|(_, t)| t.selects(&claim.namespace, &claim.labels));
                selected
                    .map(|(weight, term)| (term.topology_key.clone(), weight * sign))
                    .collect::<Vec<_>>()
            };
            let terms = [
                signed(&pod.preferred_near, 1),
                signed(&pod.preferred_apart, -1),
            ]
            .concat();
            for (key, weight) in terms {
                topology.like(place, &key, weight);
            }
        }
        topology.spread = claim
            .spread
            .iter()
            .map(|spread| count_spread(cluster, claim, spread, fits))
            .collect();
        topology
    }

    fn like(&mut self, place: &Place, key: &str, weight: i64) {
        if let Some(value) = place.labels.get(key) {
            *self
                .liked
                .entry((key.to_owned(), value.clone()))
                .or_default() += weight;
            self.liked_keys.insert(key.to_owned());
        }
    }

    fn count_terms(&mut self, claim: &Claim, place: &Place, pod: &Claim) {
        let mark = |terms: &[Term], domains: &mut [HashSet<String>]| {
            for (term, domains) in terms.iter().zip(domains) {
                if term.selects(&pod.namespace, &pod.labels)
                    && let Some(value) = place.labels.get(&term.topology_key)
                    && !domains.contains(value)
                {
                    domains.insert(value.clone());
                }
            }
        };
        mark(&claim.near, &mut self.near);
        mark(&claim.apart, &mut self.apart);
        for (sign, terms) in [(1, &claim.preferred_near), (-1, &claim.preferred_apart)] {
            for (weight, term) in terms {
                if term.selects(&pod.namespace, &pod.labels) {
                    self.like(place, &term.topology_key, weight * sign);
                }
            }
        }
    }

    /// Whether the rules let the pod onto the node.
    pub(crate) fn admits(&self, claim: &Claim, place: &Place) -> Result<(), Reason> {
        for (spread, count) in claim.spread.iter().zip(&self.spread) {
            if !spread.required {
                continue;
            }
            let Some(value) = place.labels.get(&spread.topology_key) else {
                return Err(Reason::SpreadLabel);
            };
            let here = count.counts.get(value).copied().unwrap_or_default();
            if here + count.own - count.least > spread.max_skew {
                return Err(Reason::Spread);
            }
        }
        if !self.refused.is_empty() {
            let lives_here = |(key, value): &Domain| place.labels.get(key) == Some(value);
            if self.refused.iter().any(lives_here) {
                return Err(Reason::ExistingAntiAffinity);
            }
        }
        let in_domain = |term: &Term, domains: &HashSet<String>| {
            place
                .labels
                .get(&term.topology_key)
                .is_some_and(|value| domains.contains(value))
        };
        let all_near = claim
            .near
            .iter()
            .zip(&self.near)
            .all(|(term, domains)| in_domain(term, domains));
        if !all_near {
            let has_keys = claim
                .near
                .iter()
                .all(|term| place.labels.contains_key(&term.topology_key));
            if !(self.first && has_keys) {
                return Err(Reason::PodAffinity);
            }
        }
        if claim
            .apart
            .iter()
            .zip(&self.apart)
            .any(|(term, domains)| in_domain(term, domains))
        {
            return Err(Reason::PodAntiAffinity);
        }
        Ok(())
    }

    /// What the preferences make of the node; more is better, the scale is the weights'.
    pub(crate) fn liking(&self, place: &Place) -> i64 {
        let value = |key: &String| {
            let value = place.labels.get(key)?;
            self.liked.get(&(key.clone(), value.clone())).copied()
        };
        self.liked_keys.iter().filter_map(value).sum()
    }

    /// How many matching pods the optional spread constraints see near the node; fewer is better.
    pub(crate) fn crowd(&self, claim: &Claim, place: &Place) -> i64 {
        let optional = claim
            .spread
            .iter()
            .zip(&self.spread)
            .filter(|(spread, _)| !spread.required);
        optional
            .map(|(spread, count)| {
                let value = place.labels.get(&spread.topology_key);
                value
                    .and_then(|value| count.counts.get(value))
                    .copied()
                    .unwrap_or_default()
            })
            .sum()
    }
}

fn count_spread(
    cluster: &Cluster,
    claim: &Claim,
    spread: &Spread,
    fits: &dyn Fn(&Place) -> bool,
) -> SpreadCount {
    let mut counts: HashMap<String, i64> = HashMap::new();
    for place in cluster.places() {
        let Some(value) = place.labels.get(&spread.topology_key) else {
            continue;
        };
        if spread.honour_affinity && !fits(place) {
            continue;
        }
        if spread.honour_taints && crate::place::untolerated(claim, place).is_some() {
            continue;
        }
        let matching = place.pods.values().filter(|pod| {
            pod.namespace == claim.namespace
                && spread
                    .selector
                    .as_ref()
                    .is_some_and(|selector| selector.matches(&pod.labels))
        });
        let count = i64::try_from(matching.count()).unwrap_or(i64::MAX);
        *counts.entry(value.clone()).or_default() += count;
    }
    let domains = i64::try_from(counts.len()).unwrap_or(i64::MAX);
    let least = if domains < spread.min_domains {
        0
    } else {
        counts.values().copied().min().unwrap_or_default()
    };
    let own = spread
        .selector
        .as_ref()
        .is_some_and(|selector| selector.matches(&claim.labels));
    SpreadCount {
        counts,
        least,
        own: i64::from(own),
    }
}
