//! What a job needs next.

use super::{
    TRACKING,
    count::{self, Count, Outcome},
    failure::{self, Ruling},
    indexes, is_tracked,
};
use crate::{conditions, pods, write};
use k8s_openapi::{
    api::{
        batch::v1::{Job, JobCondition, JobSpec, JobStatus},
        core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, Pod},
    },
    apimachinery::pkg::apis::meta::v1::{OwnerReference, Time},
    jiff::Timestamp,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

const INDEX: &str = "batch.kubernetes.io/job-completion-index";
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";
const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
/// New pods after failures wait 10 s, doubling up to 10 min, as documented.
const RETRY_FIRST: Duration = Duration::from_secs(10);
const RETRY_LIMIT: Duration = Duration::from_mins(10);

/// What the decision is made on.
pub(crate) struct World<'a> {
    pub(crate) job: &'a Job,
    /// All pods the job controls.
    pub(crate) pods: &'a [Arc<Pod>],
    pub(crate) now: Timestamp,
}

/// What to do, in this order.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The job has outlived its time after finishing and is to be deleted; nothing else counts.
    pub(crate) expired: bool,
    pub(crate) status: JobStatus,
    pub(crate) events: Vec<(&'static str, String)>,
    /// Pods whose finalizer comes off once the status is written.
    pub(crate) untrack: Vec<Arc<Pod>>,
    pub(crate) delete: Vec<Arc<Pod>>,
    /// Pods to create, each with its completion index if the job is indexed.
    pub(crate) create: Vec<Option<i32>>,
    /// How often indexes have failed so far.
    failures: BTreeMap<i32, i32>,
    pub(crate) look_again: Option<Duration>,
}

impl Plan {
    /// How often this index has failed so far; its next pod carries the number on.
    pub(crate) fn failures_of(&self, index: i32) -> i32 {
        self.failures.get(&index).copied().unwrap_or_default()
    }

    fn look_in(&mut self, delay: Duration) {
        self.look_again = Some(self.look_again.map_or(delay, |sooner| sooner.min(delay)));
    }
}

fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some("Indexed")
}

fn index_of(pod: &Pod) -> Option<i32> {
    pod.metadata.annotations.as_ref()?.get(INDEX)?.parse().ok()
}

/// How often the index of this pod had failed before it.
fn index_failures(pod: &Pod) -> i32 {
    let annotations = pod.metadata.annotations.as_ref();
    annotations
        .and_then(|all| all.get(INDEX_FAILURES)?.parse().ok())
        .unwrap_or_default()
}

fn condition(
    kind: &str,
    status: &str,
    reason: &str,
    message: impl Into<String>,
    now: Timestamp,
) -> JobCondition {
    JobCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.into()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

fn finished(status: &JobStatus) -> Option<&JobCondition> {
    ["Complete", "Failed"]
        .iter()
        .find_map(|kind| conditions::find(status.conditions.as_ref(), kind))
        .filter(|condition| condition.status == "True")
}

/// Where a job is heading once it is decided.
struct Target {
    /// `FailureTarget` or `SuccessCriteriaMet`.
    kind: &'static str,
    reason: String,
    message: String,
}

impl Target {
    fn failure(reason: &str, message: impl Into<String>) -> Self {
        Self {
            kind: "FailureTarget",
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    fn success(reason: &str, message: impl Into<String>) -> Self {
        Self {
            kind: "SuccessCriteriaMet",
            reason: reason.to_owned(),
            message: message.into(),
        }
    }
}

/// What is known of the indexes of an indexed job.
#[derive(Default)]
struct Indexes {
    succeeded: BTreeSet<i32>,
    failed: BTreeSet<i32>,
    /// Failures so far of indexes that are tried again.
    failures: BTreeMap<i32, i32>,
}

/// Decides what to do about a job.
pub(crate) fn decide(world: &World<'_>) -> Plan {
    let (job, now) = (world.job, world.now);
    let spec = job.spec.clone().unwrap_or_default();
    let old = job.status.clone().unwrap_or_default();
    let mut plan = Plan {
        status: old.clone(),
        ..Plan::default()
    };
    if job.metadata.deletion_timestamp.is_some() {
        // Its pods go with it; none of them is counted any more.
        plan.untrack = world
            .pods
            .iter()
            .filter(|pod| is_tracked(pod))
            .cloned()
            .collect();
        return plan;
    }
    if let Some(end) = finished(&old) {
        settle(world, &spec, end, &mut plan);
        return plan;
    }

    // A terminating pod is replaced at once, and counted as failed, unless the job says to wait
    // until it has really ended.
    let wait_for_end = spec.pod_replacement_policy.as_deref() == Some("Failed")
        || spec.pod_failure_policy.is_some();
    let outcome = |pod: &Pod| match pods::phase(pod) {
        "Succeeded" => Some(Outcome::Succeeded),
        "Failed" => Some(match failure::rule(job, pod) {
            Ruling::Ignore => Outcome::Ignored,
            _ => Outcome::Failed,
        }),
        _ => (pods::is_terminating(pod) && !wait_for_end).then_some(Outcome::Failed),
    };
    let indexed = is_indexed(&spec);
    let counted = count::advance(&old, world.pods, &outcome);
    let known = if indexed {
        index(&spec, &old, world.pods, job, &outcome)
    } else {
        Indexes::default()
    };
    let active: Vec<_> = world
        .pods
        .iter()
        .filter(|pod| pods::is_active(pod))
        .cloned()
        .collect();
    let terminating = world
        .pods
        .iter()
        .filter(|pod| pods::is_terminating(pod) && !pods::is_terminal(pod))
        .count() as i32;

    let suspended = spec.suspend == Some(true);
    suspension(&mut plan, suspended, now);
    let target = standing(&old)
        .or_else(|| new_target(world, &spec, &plan.status, &counted, &known, &active));
    let mut removed = 0;
    match &target {
        Some(target) => {
            let text = condition(
                target.kind,
                "True",
                &target.reason,
                target.message.clone(),
                now,
            );
            conditions::set(&mut plan.status.conditions, text);
            removed = active.len() as i32;
            plan.delete.clone_from(&active);
        }
        None if suspended => {
            removed = active.len() as i32;
            plan.delete.clone_from(&active);
        }
        None => scale(
            world,
            &spec,
            &counted,
            &known,
            &active,
            terminating,
            &mut plan,
        ),
    }
    plan.untrack.clone_from(&counted.untrack);
    plan.failures.clone_from(&known.failures);

    let status = &mut plan.status;
    let some = |count: i32| (count != 0).then_some(count);
    status.active = some(active.len() as i32 - removed);
    status.ready = Some(active.iter().filter(|pod| pods::is_ready(pod)).count() as i32);
    if removed > 0 {
        status.ready = Some(0);
    }
    status.terminating = Some(terminating + removed);
    let indexed_count = known.succeeded.len() as i32;
    status.succeeded = some(if indexed {
        indexed_count
    } else {
        counted.counted_succeeded
    });
    status.failed = some(counted.counted_failed);
    status.uncounted_terminated_pods.clone_from(&counted.notes);
    if indexed {
        status.completed_indexes =
            Some(indexes::format(&known.succeeded)).filter(|text| !text.is_empty());
        if spec.backoff_limit_per_index.is_some() {
            status.failed_indexes = Some(indexes::format(&known.failed));
        }
    }
    if counted.more {
        plan.look_in(Duration::from_millis(100));
    }
    // The end is told only when all is counted and no pod runs any more.
    let all_counted = counted.untrack.is_empty() && !counted.more;
    if let Some(target) = target
        && active.is_empty()
        && terminating == 0
        && all_counted
    {
        finish(&mut plan, target, now);
    }
    if let (Some(limit), Some(start)) =
        (spec.active_deadline_seconds, plan.status.start_time.clone())
    {
        let limit = Duration::from_secs(u64::try_from(limit).unwrap_or_default());
        if let Some(rest) = pods::until(start.0, limit, now) {
            plan.look_in(rest);
        }
    }
    if let Some(end) = finished(&plan.status).cloned() {
        settle_time(&spec, &end, now, &mut plan);
    }
    plan
}

/// A finished job: its pods lose their finalizers, and it goes when its time is over.
fn settle(world: &World<'_>, spec: &JobSpec, end: &JobCondition, plan: &mut Plan) {
    plan.untrack = world
        .pods
        .iter()
        .filter(|pod| is_tracked(pod))
        .cloned()
        .collect();
    settle_time(spec, end, world.now, plan);
}

fn settle_time(spec: &JobSpec, end: &JobCondition, now: Timestamp, plan: &mut Plan) {
    let (Some(ttl), Some(since)) = (
        spec.ttl_seconds_after_finished,
        end.last_transition_time.as_ref(),
    ) else {
        return;
    };
    match pods::until(since.0, pods::seconds(Some(ttl)), now) {
        Some(rest) => plan.look_in(rest),
        // The finalizers come off first.
        None if plan.untrack.is_empty() && plan.events.is_empty() => plan.expired = true,
        None => plan.look_in(Duration::from_millis(100)),
    }
}

fn suspension(plan: &mut Plan, suspended: bool, now: Timestamp) {
    let was = conditions::is_true(plan.status.conditions.as_ref(), "Suspended");
    match (suspended, was) {
        (true, false) => {
            let text = condition("Suspended", "True", "JobSuspended", "Job suspended", now);
            conditions::set(&mut plan.status.conditions, text);
            // The deadline counts from the resumption.
            plan.status.start_time = None;
            plan.events.push(("Suspended", "Job suspended".to_owned()));
        }
        (false, true) => {
            let text = condition("Suspended", "False", "JobResumed", "Job resumed", now);
            conditions::set(&mut plan.status.conditions, text);
            plan.status.start_time = Some(Time(now));
            plan.events.push(("Resumed", "Job resumed".to_owned()));
        }
        _ => {}
    }
    if !suspended && plan.status.start_time.is_none() {
        plan.status.start_time = Some(Time(now));
    }
}

/// The target that was decided before.
fn standing(status: &JobStatus) -> Option<Target> {
    ["FailureTarget", "SuccessCriteriaMet"]
        .into_iter()
        .find_map(|kind| {
            let condition = conditions::find(status.conditions.as_ref(), kind)
                .filter(|found| found.status == "True")?;
            Some(Target {
                kind,
                reason: condition.reason.clone().unwrap_or_default(),
                message: condition.message.clone().unwrap_or_default(),
            })
        })
}

/// Whether the job's fate is decided by what is there now.
fn new_target(
    world: &World<'_>,
    spec: &JobSpec,
    status: &JobStatus,
    counted: &Count,
    known: &Indexes,
    active: &[Arc<Pod>],
) -> Option<Target> {
    for pod in world
        .pods
        .iter()
        .filter(|pod| pods::phase(pod) == "Failed" && is_tracked(pod))
    {
        if let Ruling::FailJob(message) = failure::rule(world.job, pod) {
            return Some(Target::failure("PodFailurePolicy", message));
        }
    }
    let limit = spec
        .backoff_limit
        .unwrap_or(if spec.backoff_limit_per_index.is_some() {
            i32::MAX
        } else {
            6
        });
    if counted.failed > limit || restarts_exceed(spec, active, limit) {
        return Some(Target::failure(
            "BackoffLimitExceeded",
            "Job has reached the specified backoff limit",
        ));
    }
    if let (Some(deadline), Some(start)) = (spec.active_deadline_seconds, &status.start_time) {
        let deadline = Duration::from_secs(u64::try_from(deadline).unwrap_or_default());
        if spec.suspend != Some(true) && pods::until(start.0, deadline, world.now).is_none() {
            return Some(Target::failure(
                "DeadlineExceeded",
                "Job was active longer than specified deadline",
            ));
        }
    }
    if is_indexed(spec) {
        if let Some(target) = success_policy(spec, known) {
            return Some(target);
        }
        if spec
            .max_failed_indexes
            .is_some_and(|limit| known.failed.len() as i32 > limit)
        {
            let text = "Job has exceeded the specified maximal number of failed indexes";
            return Some(Target::failure("MaxFailedIndexesExceeded", text));
        }
        let completions = spec.completions.unwrap_or(1);
        let (succeeded, failed) = (known.succeeded.len() as i32, known.failed.len() as i32);
        if failed > 0 && succeeded + failed >= completions {
            return Some(Target::failure("FailedIndexes", "Job has failed indexes"));
        }
        return (succeeded >= completions).then(|| {
            Target::success(
                "CompletionsReached",
                "Reached expected number of succeeded pods",
            )
        });
    }
    let done = match spec.completions {
        // A work queue: one success says that there is no more work; the others may end theirs.
        None => counted.succeeded > 0 && active.is_empty(),
        Some(completions) => counted.succeeded >= completions,
    };
    done.then(|| {
        Target::success(
            "CompletionsReached",
            "Reached expected number of succeeded pods",
        )
    })
}

/// With restart policy OnFailure, containers are restarted in their pods, and those restarts count.
fn restarts_exceed(spec: &JobSpec, active: &[Arc<Pod>], limit: i32) -> bool {
    let policy = spec
        .template
        .spec
        .as_ref()
        .and_then(|spec| spec.restart_policy.as_deref());
    if policy != Some("OnFailure") {
        return false;
    }
    let restarts: i32 = active
        .iter()
        .filter_map(|pod| pod.status.as_ref())
        .flat_map(|status| {
            status
                .init_container_statuses
                .iter()
                .flatten()
                .chain(status.container_statuses.iter().flatten())
        })
        .map(|container| container.restart_count)
        .sum();
    if limit == 0 {
        restarts > 0
    } else {
        restarts >= limit
    }
}

fn success_policy(spec: &JobSpec, known: &Indexes) -> Option<Target> {
    let completions = spec.completions.unwrap_or(1);
    for (number, rule) in spec.success_policy.as_ref()?.rules.iter().enumerate() {
        let matched = match &rule.succeeded_indexes {
            Some(text) => {
                let wanted = indexes::parse(text, completions);
                let got = wanted.intersection(&known.succeeded).count();
                let needed = rule.succeeded_count.map_or(wanted.len(), |count| {
                    usize::try_from(count).unwrap_or_default()
                });
                got >= needed
            }
            None => rule
                .succeeded_count
                .is_some_and(|count| known.succeeded.len() as i32 >= count),
        };
        if matched {
            return Some(Target::success(
                "SuccessPolicy",
                format!("Matched rules at index {number}"),
            ));
        }
    }
    None
}

/// What has become of each index.
fn index(
    spec: &JobSpec,
    old: &JobStatus,
    pods: &[Arc<Pod>],
    job: &Job,
    outcome: &dyn Fn(&Pod) -> Option<Outcome>,
) -> Indexes {
    let completions = spec.completions.unwrap_or(1);
    let mut known = Indexes {
        succeeded: indexes::parse(
            old.completed_indexes.as_deref().unwrap_or_default(),
            completions,
        ),
        failed: indexes::parse(
            old.failed_indexes.as_deref().unwrap_or_default(),
            completions,
        ),
        failures: BTreeMap::new(),
    };
    for pod in pods {
        let Some(index) = index_of(pod).filter(|index| (0..completions).contains(index)) else {
            continue;
        };
        match outcome(pod) {
            Some(Outcome::Succeeded) if is_tracked(pod) => {
                known.succeeded.insert(index);
            }
            Some(Outcome::Failed) => {
                let failures = index_failures(pod) + 1;
                let entry = known.failures.entry(index).or_default();
                *entry = failures.max(*entry);
                let Some(limit) = spec.backoff_limit_per_index else {
                    continue;
                };
                if *entry > limit
                    || (is_tracked(pod) && failure::rule(job, pod) == Ruling::FailIndex)
                {
                    known.failed.insert(index);
                }
            }
            _ => {}
        }
    }
    let succeeded = known.succeeded.clone();
    known.failed.retain(|index| !succeeded.contains(index));
    known
}

/// Brings the number of running pods to what it should be.
fn scale(
    world: &World<'_>,
    spec: &JobSpec,
    counted: &Count,
    known: &Indexes,
    active: &[Arc<Pod>],
    terminating: i32,
    plan: &mut Plan,
) {
    let parallelism = spec.parallelism.unwrap_or(1);
    let indexed = is_indexed(spec);
    let running = active.len() as i32;
    let wanted = match spec.completions {
        None if counted.succeeded > 0 => running.min(parallelism),
        None => parallelism,
        Some(completions) if indexed => {
            (completions - known.succeeded.len() as i32 - known.failed.len() as i32)
                .clamp(0, parallelism)
        }
        Some(completions) => (completions - counted.succeeded).clamp(0, parallelism),
    };
    // Pods without use: of indexes that are done, doubled, or out of range.
    let mut useless = Vec::new();
    let mut taken = BTreeSet::new();
    if indexed {
        let completions = spec.completions.unwrap_or(1);
        let mut by_age: Vec<_> = active.iter().collect();
        by_age.sort_by(|a, b| {
            let created = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
            created(a)
                .cmp(&created(b))
                .then_with(|| a.metadata.name.cmp(&b.metadata.name))
        });
        for pod in by_age {
            let good = index_of(pod).filter(|index| {
                (0..completions).contains(index)
                    && !known.succeeded.contains(index)
                    && !known.failed.contains(index)
            });
            if !good.is_some_and(|index| taken.insert(index)) {
                useless.push(pod.clone());
            }
        }
    }
    let useful = running - useless.len() as i32;
    if useful > wanted {
        let mut ranked: Vec<_> = active
            .iter()
            .filter(|pod| {
                !useless
                    .iter()
                    .any(|other| other.metadata.uid == pod.metadata.uid)
            })
            .cloned()
            .collect();
        ranked.sort_by(|a, b| {
            pods::deletion_order(a, b, &std::collections::HashMap::new(), world.now)
        });
        useless.extend(ranked.into_iter().take((useful - wanted) as usize));
    }
    plan.delete = useless;
    let ending = if spec.pod_replacement_policy.as_deref() == Some("Failed")
        || spec.pod_failure_policy.is_some()
    {
        terminating
    } else {
        0
    };
    let missing = wanted - useful - ending;
    if missing <= 0 {
        return;
    }
    if !indexed || spec.backoff_limit_per_index.is_none() {
        if let Some(rest) = retry_after(world) {
            plan.look_in(rest);
            return;
        }
        let created = usize::try_from(missing).unwrap_or_default();
        if !indexed {
            plan.create = vec![None; created];
            return;
        }
    }
    let completions = spec.completions.unwrap_or(1);
    let waiting: BTreeSet<i32> = if ending > 0 {
        world
            .pods
            .iter()
            .filter(|pod| pods::is_terminating(pod) && !pods::is_terminal(pod))
            .filter_map(|pod| index_of(pod))
            .collect()
    } else {
        BTreeSet::new()
    };
    let mut left = missing;
    for index in 0..completions {
        if left == 0 {
            break;
        }
        let busy = taken.contains(&index) || waiting.contains(&index);
        if busy || known.succeeded.contains(&index) || known.failed.contains(&index) {
            continue;
        }
        left -= 1;
        // With a limit for each index, each index backs off by itself.
        if spec.backoff_limit_per_index.is_some()
            && let Some(rest) = retry_index_after(world, index)
        {
            plan.look_in(rest);
            continue;
        }
        plan.create.push(Some(index));
    }
}

fn back_off(failures: i32, last: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
    if failures <= 0 {
        return None;
    }
    let exponent = u32::try_from(failures - 1).unwrap_or_default().min(16);
    let span = RETRY_FIRST.saturating_mul(1 << exponent).min(RETRY_LIMIT);
    pods::until(last?, span, now)
}

/// How long to wait before pods are created again after failures in a row.
fn retry_after(world: &World<'_>) -> Option<Duration> {
    let ends = |phase: &str| {
        let pods = world
            .pods
            .iter()
            .filter(move |pod| pods::phase(pod) == phase);
        pods.filter_map(|pod| count::finished_at(pod))
            .collect::<Vec<_>>()
    };
    let failed = ends("Failed");
    let success = ends("Succeeded").into_iter().max();
    // A success ends the row: only failures after it count.
    let since = failed
        .iter()
        .filter(|end| success.is_none_or(|success| **end > success))
        .count() as i32;
    back_off(since, failed.into_iter().max(), world.now)
}

fn retry_index_after(world: &World<'_>, index: i32) -> Option<Duration> {
    let failed = world
        .pods
        .iter()
        .filter(|pod| pods::phase(pod) == "Failed" && index_of(pod) == Some(index));
    let (mut failures, mut last) = (0, None);
    for pod in failed {
        failures = failures.max(index_failures(pod) + 1);
        last = last.max(count::finished_at(pod));
    }
    back_off(failures, last, world.now)
}

fn finish(plan: &mut Plan, target: Target, now: Timestamp) {
    let Target {
        kind,
        reason,
        message,
    } = target;
    let status = &mut plan.status;
    status.ready = Some(0);
    if kind == "SuccessCriteriaMet" {
        conditions::set(
            &mut status.conditions,
            condition("Complete", "True", &reason, message, now),
        );
        status.completion_time = Some(Time(now));
        plan.events.push(("Completed", "Job completed".to_owned()));
    } else {
        conditions::set(
            &mut status.conditions,
            condition("Failed", "True", &reason, message.clone(), now),
        );
        let reason = match reason.as_str() {
            "BackoffLimitExceeded" => "BackoffLimitExceeded",
            "DeadlineExceeded" => "DeadlineExceeded",
            "PodFailurePolicy" => "PodFailurePolicy",
            "MaxFailedIndexesExceeded" => "MaxFailedIndexesExceeded",
            _ => "FailedIndexes",
        };
        plan.events.push((reason, message));
    }
}

/// A new pod of the job, for one index if it is indexed, which has failed so often before.
pub(crate) fn new_pod(job: &Job, owner: OwnerReference, index: Option<i32>, failures: i32) -> Pod {
    let spec = job.spec.clone().unwrap_or_default();
    let name = write::name_of(&job.metadata);
    let prefix = match index {
        Some(index) => format!("{name}-{index}-"),
        None => format!("{name}-"),
    };
    let mut pod = pods::from_template(&spec.template, owner, &prefix);
    let uid = job.metadata.uid.clone().unwrap_or_default();
    let labels = pod.metadata.labels.get_or_insert_default();
    for (key, value) in [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name.to_owned()),
        ("job-name", &name.to_owned()),
    ] {
        labels
            .entry(key.to_owned())
            .or_insert_with(|| value.clone());
    }
    pod.metadata
        .finalizers
        .get_or_insert_default()
        .push(TRACKING.to_owned());
    if let Some(index) = index {
        labels.insert(INDEX.to_owned(), index.to_string());
        let annotations = pod.metadata.annotations.get_or_insert_default();
        annotations.insert(INDEX.to_owned(), index.to_string());
        if spec.backoff_limit_per_index.is_some() {
            annotations.insert(INDEX_FAILURES.to_owned(), failures.to_string());
        }
        let spec = pod.spec.get_or_insert_default();
        spec.hostname
            .get_or_insert_with(|| format!("{name}-{index}"));
        let variable = EnvVar {
            name: INDEX_VARIABLE.to_owned(),
            value: None,
            value_from: Some(EnvVarSource {
                field_ref: Some(ObjectFieldSelector {
                    api_version: None,
                    field_path: format!("metadata.labels['{INDEX}']"),
                }),
                ..EnvVarSource::default()
            }),
        };
        for container in spec
            .init_containers
            .iter_mut()
            .flatten()
            .chain(&mut spec.containers)
        {
            let variables = container.env.get_or_insert_default();
            if !variables.iter().any(|known| known.name == INDEX_VARIABLE) {
                variables.push(variable.clone());
            }
        }
    }
    pod
}
