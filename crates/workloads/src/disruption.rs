//! Says how many pods of each PodDisruptionBudget may be evicted now.

use crate::{
    error::{Error, text},
    options::Options,
    pods as pod_facts,
    selectors::Labels,
    write,
};
use consort_reconcile::{Action, Controller, Event, Hub, Informer, Key, controller_of};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet, StatefulSet},
        core::v1::{Pod, ReplicationController},
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus},
    },
    apimachinery::pkg::{
        apis::meta::v1::{Condition, LabelSelector, Time},
        util::intstr::IntOrString,
    },
    jiff::{SignedDuration, Timestamp},
};
use kube::{Api, Client};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// How long an eviction that was granted counts although its pod is still there.
const GRANTED: SignedDuration = SignedDuration::from_mins(2);

const ALLOWED: &str = "DisruptionAllowed";

struct Shell {
    client: Client,
    budgets: Informer<PodDisruptionBudget>,
    pods: Informer<Pod>,
    owners: Owners,
}

/// Whatever says how many pods there should be.
#[derive(Clone)]
struct Owners {
    deployments: Informer<Deployment>,
    replica_sets: Informer<ReplicaSet>,
    stateful_sets: Informer<StatefulSet>,
    controllers: Informer<ReplicationController>,
}

pub(crate) async fn run(hub: Hub, options: Arc<Options>, shutdown: CancellationToken) {
    let budgets = hub.informer::<PodDisruptionBudget>();
    let pods = hub.informer::<Pod>();
    let owners = Owners {
        deployments: hub.informer(),
        replica_sets: hub.informer(),
        stateful_sets: hub.informer(),
        controllers: hub.informer(),
    };
    let (of_pod, of_deployment) = (budgets.clone(), budgets.clone());
    let controller = Controller::new("disruption")
        .queue_on(&budgets, Event::key)
        .queue_on(&pods, move |event: &Event<Pod>| {
            let mut keys = Vec::new();
            for pod in event.objects() {
                let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
                keys.extend(
                    of_pod
                        .list_in(namespace)
                        .iter()
                        .filter(|budget| covers(budget, pod).unwrap_or(false))
                        .map(|budget| Key::of(&**budget)),
                );
            }
            keys
        })
        // Another number of replicas is another budget; budgets of a namespace are few.
        .queue_on(&owners.deployments, move |event: &Event<Deployment>| {
            let namespace = event
                .key()
                .map(|key| key.namespace().to_owned())
                .unwrap_or_default();
            of_deployment
                .list_in(&namespace)
                .iter()
                .map(|budget| Key::of(&**budget))
                .collect::<Vec<_>>()
        })
        .wait_for(&owners.replica_sets)
        .wait_for(&owners.stateful_sets)
        .wait_for(&owners.controllers);
    let shell = Arc::new(Shell {
        client: hub.client(),
        budgets,
        pods,
        owners,
    });
    let reconcile = move |key: Key| {
        let shell = shell.clone();
        async move { shell.reconcile(key).await.map_err(text) }
    };
    controller.run(options.workers, reconcile, shutdown).await;
}

/// Does a budget speak of a pod? One with an empty selector speaks of all in its namespace.
fn covers(budget: &PodDisruptionBudget, pod: &Pod) -> Result<bool, Error> {
    let Some(selector) = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref()) else {
        return Ok(false);
    };
    if *selector == LabelSelector::default() || empty(selector) {
        return Ok(true);
    }
    Ok(Labels::parse(selector, budget)?.matches(pod))
}

fn empty(selector: &LabelSelector) -> bool {
    selector
        .match_labels
        .as_ref()
        .is_none_or(BTreeMap::is_empty)
        && selector
            .match_expressions
            .as_ref()
            .is_none_or(Vec::is_empty)
}

impl Shell {
    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(budget) = self.budgets.by_key(&key) else {
            return Ok(Action::Done);
        };
        let mut covered = Vec::new();
        for pod in self.pods.list_in(key.namespace()) {
            if covers(&budget, &pod)? {
                covered.push(pod);
            }
        }
        let scale = self.owners.scale(key.namespace(), &covered);
        let (status, again) = decide(&budget, &covered, scale, Timestamp::now());
        let api = Api::<PodDisruptionBudget>::namespaced(self.client.clone(), key.namespace());
        write::update_status(&api, &budget.metadata, budget.status.as_ref(), &status).await?;
        Ok(again.map_or(Action::Done, Action::After))
    }
}

impl Owners {
    /// How many pods the owners of these want together; `Err` names one that does not say.
    fn scale(&self, namespace: &str, pods: &[Arc<Pod>]) -> Result<i32, String> {
        let mut wanted: HashMap<String, i32> = HashMap::new();
        for pod in pods {
            let Some(owner) = controller_of(&**pod) else {
                // Nobody would replace it: it does not count.
                continue;
            };
            let found = self.replicas(namespace, &owner.kind, &owner.name);
            let Some((uid, replicas)) = found else {
                return Err(format!(
                    "found no controllers for pod {:?}",
                    pod.metadata.name.as_deref().unwrap_or_default()
                ));
            };
            wanted.insert(uid, replicas);
        }
        Ok(wanted.values().fold(0, |sum, one| sum.saturating_add(*one)))
    }

    fn replicas(&self, namespace: &str, kind: &str, name: &str) -> Option<(String, i32)> {
        let space = Some(namespace);
        let uid = |uid: &Option<String>| uid.clone().unwrap_or_default();
        match kind {
            "ReplicaSet" => {
                let set = self.replica_sets.get(space, name)?;
                match controller_of(&*set) {
                    Some(owner) if owner.kind == "Deployment" => {
                        self.replicas(namespace, "Deployment", &owner.name)
                    }
                    _ => Some((uid(&set.metadata.uid), set.spec.replicas.unwrap_or(1))),
                }
            }
            "Deployment" => {
                let owner = self.deployments.get(space, name)?;
                Some((uid(&owner.metadata.uid), owner.spec.replicas.unwrap_or(1)))
            }
            "StatefulSet" => {
                let owner = self.stateful_sets.get(space, name)?;
                Some((uid(&owner.metadata.uid), owner.spec.replicas.unwrap_or(1)))
            }
            "ReplicationController" => {
                let owner = self.controllers.get(space, name)?;
                let replicas = owner.spec.as_ref().and_then(|spec| spec.replicas);
                Some((uid(&owner.metadata.uid), replicas.unwrap_or(1)))
            }
            _ => None,
        }
    }
}

/// A number, or a percentage of `whole`, rounded up.
fn resolve(value: &IntOrString, whole: i32) -> i32 {
    match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or_default();
            let scaled = (percent * i64::from(whole) + 99) / 100;
            i32::try_from(scaled).unwrap_or(i32::MAX)
        }
    }
}

/// How many pods there should be, and how many have to be healthy.
fn expected(
    budget: &PodDisruptionBudget,
    pods: usize,
    scale: Result<i32, String>,
) -> Result<(i32, i32), String> {
    let Some(spec) = &budget.spec else {
        return Ok((0, 0));
    };
    if let Some(unavailable) = &spec.max_unavailable {
        let scale = scale?;
        let healthy = scale.saturating_sub(resolve(unavailable, scale));
        return Ok((scale, healthy.max(0)));
    }
    match &spec.min_available {
        None => Ok((0, 0)),
        Some(IntOrString::Int(number)) => Ok((i32::try_from(pods).unwrap_or(i32::MAX), *number)),
        Some(percent) => {
            let scale = scale?;
            Ok((scale, resolve(percent, scale)))
        }
    }
}

/// What the status should be, and when to look again without being told to.
fn decide(
    budget: &PodDisruptionBudget,
    pods: &[Arc<Pod>],
    scale: Result<i32, String>,
    now: Timestamp,
) -> (PodDisruptionBudgetStatus, Option<Duration>) {
    let before = budget.status.clone().unwrap_or_default();
    let (granted, again) = granted(&before, pods, now);
    let healthy = pods
        .iter()
        .filter(|pod| {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            pod_facts::is_ready(pod)
                && pod.metadata.deletion_timestamp.is_none()
                && !granted.contains_key(name)
        })
        .count();
    let healthy = i32::try_from(healthy).unwrap_or(i32::MAX);
    let (count, wanted, problem) = match expected(budget, pods.len(), scale) {
        Ok((count, wanted)) => (count, wanted, None),
        // What is not known may not be disturbed.
        Err(problem) => (
            before.expected_pods.unwrap_or_default(),
            before.desired_healthy.unwrap_or_default(),
            Some(problem),
        ),
    };
    let mut allowed = healthy.saturating_sub(wanted).max(0);
    if count <= 0 || problem.is_some() {
        allowed = 0;
    }
    let generation = budget.metadata.generation;
    let (holds, reason, message) = match problem {
        Some(problem) => ("False", "SyncFailed", problem),
        None if allowed > 0 => ("True", "SufficientPods", String::new()),
        None => ("False", "InsufficientPods", String::new()),
    };
    let mut conditions = before.conditions.unwrap_or_default();
    let since = conditions
        .iter()
        .find(|condition| condition.type_ == ALLOWED && condition.status == holds)
        .map_or(Time(now), |condition| {
            condition.last_transition_time.clone()
        });
    let condition = Condition {
        type_: ALLOWED.to_owned(),
        status: holds.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: since,
    };
    match conditions.iter_mut().find(|own| own.type_ == ALLOWED) {
        Some(own) => *own = condition,
        None => conditions.push(condition),
    }
    let status = PodDisruptionBudgetStatus {
        conditions: Some(conditions),
        current_healthy: Some(healthy),
        desired_healthy: Some(wanted),
        disrupted_pods: (!granted.is_empty()).then_some(granted),
        disruptions_allowed: Some(allowed),
        expected_pods: Some(count),
        observed_generation: generation,
    };
    (status, again)
}

/// The evictions that were granted and not yet seen to happen, and when the first of them lapses.
fn granted(
    before: &PodDisruptionBudgetStatus,
    pods: &[Arc<Pod>],
    now: Timestamp,
) -> (BTreeMap<String, Time>, Option<Duration>) {
    let mut kept = BTreeMap::new();
    let mut again: Option<Duration> = None;
    for (name, time) in before.disrupted_pods.iter().flatten() {
        let there = pods.iter().any(|pod| {
            pod.metadata.name.as_ref() == Some(name) && pod.metadata.deletion_timestamp.is_none()
        });
        let left = time
            .0
            .checked_add(GRANTED)
            .map_or(SignedDuration::ZERO, |end| end.duration_since(now));
        if !there || !left.is_positive() {
            continue;
        }
        let left = left.unsigned_abs();
        again = Some(again.map_or(left, |again| again.min(left)));
        kept.insert(name.clone(), time.clone());
    }
    (kept, again)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn budget(spec: &Value) -> PodDisruptionBudget {
        serde_json::from_value(json!({"metadata": {"name": "b", "generation": 3}, "spec": spec}))
            .unwrap()
    }

    fn pods(ready: &[bool]) -> Vec<Arc<Pod>> {
        ready
            .iter()
            .enumerate()
            .map(|(index, ready)| {
                let status = if *ready { "True" } else { "False" };
                let pod = json!({"metadata": {"name": format!("p{index}")},
                    "status": {"conditions": [{"type": "Ready", "status": status}]}});
                Arc::new(serde_json::from_value(pod).unwrap())
            })
            .collect()
    }

    fn allowed(spec: &Value, ready: &[bool], scale: i32) -> i32 {
        let (status, _) = decide(&budget(spec), &pods(ready), Ok(scale), Timestamp::now());
        assert_eq!(status.observed_generation, Some(3));
        status.disruptions_allowed.unwrap()
    }

    #[test]
    fn as_many_may_go_as_the_budget_leaves_of_the_healthy_ones() {
        let all = [true, true, true, true];
        assert_eq!(allowed(&json!({"minAvailable": 3}), &all, 4), 1);
        assert_eq!(allowed(&json!({"minAvailable": "50%"}), &all, 4), 2);
        assert_eq!(allowed(&json!({"maxUnavailable": 1}), &all, 4), 1);
        assert_eq!(allowed(&json!({"maxUnavailable": "30%"}), &all, 4), 2);
        let one_down = [true, true, true, false];
        assert_eq!(allowed(&json!({"maxUnavailable": 1}), &one_down, 4), 0);
        assert_eq!(allowed(&json!({"minAvailable": 0}), &[], 0), 0);
    }

    #[test]
    fn a_granted_eviction_counts_until_its_pod_is_gone_or_it_lapses() {
        let now = Timestamp::now();
        let mut budget = budget(&json!({"minAvailable": 1}));
        budget.status = Some(PodDisruptionBudgetStatus {
            disrupted_pods: Some(BTreeMap::from([("p0".to_owned(), Time(now))])),
            ..PodDisruptionBudgetStatus::default()
        });
        let both = pods(&[true, true]);
        let (status, again) = decide(&budget, &both, Ok(2), now);
        assert_eq!(status.current_healthy, Some(1));
        assert_eq!(status.disruptions_allowed, Some(0));
        assert!(again.is_some(), "it lapses");
        let (status, again) = decide(&budget, &both[1..], Ok(2), now);
        assert_eq!(status.disrupted_pods, None, "the pod is gone");
        assert!(again.is_none());
    }

    #[test]
    fn nothing_may_go_while_it_is_not_known_how_many_there_should_be() {
        let budget = budget(&json!({"maxUnavailable": 1}));
        let problem = Err("found no controllers for pod \"p0\"".to_owned());
        let (status, _) = decide(&budget, &pods(&[true]), problem, Timestamp::now());
        assert_eq!(status.disruptions_allowed, Some(0));
        assert_eq!(status.conditions.unwrap()[0].reason, "SyncFailed");
    }
}
