//! What a pod asks of the machine: quantities, quality of service, and the kernel's settings for them.
//!
//! The arithmetic follows the node's documented behaviour: 1 CPU is 1024 shares and a quota of a
//! whole period; `oom_score_adj` by quality of service; a pod's request is the larger of its init
//! containers' peak and the sum of its containers, plus overhead.

use std::collections::BTreeMap;

use consort_runtime::Resources;
use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The scheduler's period over which a CPU quota is counted, in microseconds.
const CPU_PERIOD_US: u64 = 100_000;
/// The smallest CPU quota the kernel takes, in microseconds.
const MIN_CPU_QUOTA_US: i64 = 1_000;

/// A quantity in thousandths of its unit (millicores, millibytes); `None` if it is not a quantity.
///
/// Fractions of a thousandth are rounded up, as the API does. An amount whose thousandths are more
/// than an `i64` holds counts in whole units, up to the bounds of `i64`.
pub(crate) fn parse_quantity(text: &str) -> Option<i128> {
    let quantity: consort_object::Quantity = text.trim().parse().ok()?;
    let thousandths = quantity.milli_value();
    let exact = thousandths != i64::MIN && thousandths != i64::MAX;
    Some(if exact {
        i128::from(thousandths)
    } else {
        i128::from(quantity.value()) * 1000
    })
}

/// Amounts by resource name, in thousandths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts(BTreeMap<String, i128>);

impl Amounts {
    /// From the API's map; values that are not quantities are left out (the API refuses them anyway).
    pub(crate) fn from_map(map: Option<&BTreeMap<String, Quantity>>) -> Self {
        Self(
            map.into_iter()
                .flatten()
                .filter_map(|(k, v)| Some((k.clone(), parse_quantity(&v.0)?)))
                .collect(),
        )
    }

    /// From literal pairs.
    #[cfg(test)]
    pub(crate) fn from_pairs<const N: usize>(pairs: [(&str, &str); N]) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(k, v)| (k.to_owned(), parse_quantity(v).unwrap()))
                .collect(),
        )
    }

    /// The amount in thousandths.
    pub(crate) fn get(&self, name: &str) -> Option<i128> {
        self.0.get(name).copied()
    }

    /// Sets one amount, in thousandths.
    pub(crate) fn set(&mut self, name: &str, thousandths: i128) {
        self.0.insert(name.to_owned(), thousandths);
    }

    /// Adds all of `other`.
    pub(crate) fn add(&mut self, other: &Self) {
        for (name, value) in &other.0 {
            *self.0.entry(name.clone()).or_default() += value;
        }
    }

    /// Raises each amount to at least that of `other`.
    pub(crate) fn raise_to(&mut self, other: &Self) {
        for (name, value) in &other.0 {
            let mine = self.0.entry(name.clone()).or_default();
            *mine = (*mine).max(*value);
        }
    }

    /// All amounts.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, i128)> {
        self.0.iter().map(|(k, v)| (k.as_str(), *v))
    }
}

/// A container's two sides.
#[derive(Clone, Debug, Default)]
pub(crate) struct Demand {
    pub(crate) requests: Amounts,
    pub(crate) limits: Amounts,
}

/// Requests and limits of one container; a limit without a request is also the request.
pub(crate) fn amounts_of(resources: Option<&ResourceRequirements>) -> Demand {
    let limits = Amounts::from_map(resources.and_then(|r| r.limits.as_ref()));
    let mut requests = Amounts::from_map(resources.and_then(|r| r.requests.as_ref()));
    for (name, value) in limits.iter() {
        if requests.get(name).is_none() {
            requests.set(name, value);
        }
    }
    Demand { requests, limits }
}

fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// What a pod takes away from the node: the sum of containers and sidecars, or the peak while its
/// init containers run, whichever is larger, plus overhead.
pub(crate) fn pod_requests(spec: &PodSpec) -> Amounts {
    combined(spec, |demand| demand.requests)
}

fn combined(spec: &PodSpec, side: impl Fn(Demand) -> Amounts) -> Amounts {
    let mut total = Amounts::default();
    for container in &spec.containers {
        total.add(&side(amounts_of(container.resources.as_ref())));
    }
    let mut sidecars = Amounts::default();
    let mut peak = Amounts::default();
    for container in spec.init_containers.iter().flatten() {
        let own = side(amounts_of(container.resources.as_ref()));
        if is_sidecar(container) {
            total.add(&own);
            sidecars.add(&own);
            peak.raise_to(&sidecars);
        } else {
            let mut now = sidecars.clone();
            now.add(&own);
            peak.raise_to(&now);
        }
    }
    total.raise_to(&peak);
    total.add(&Amounts::from_map(spec.overhead.as_ref()));
    total
}

/// The quality-of-service class of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Qos {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl Qos {
    /// The class as the API writes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }

    /// From requests and limits for cpu and memory, as the API defines the classes.
    pub(crate) fn of(spec: &PodSpec) -> Self {
        let mut any = false;
        let mut guaranteed = true;
        for container in spec
            .containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
        {
            let demand = amounts_of(container.resources.as_ref());
            for name in ["cpu", "memory"] {
                let request = demand.requests.get(name).filter(|v| *v > 0);
                let limit = demand.limits.get(name).filter(|v| *v > 0);
                any |= request.is_some() || limit.is_some();
                guaranteed &= limit.is_some() && request == limit;
            }
        }
        match (any, guaranteed) {
            (false, _) => Self::BestEffort,
            (true, true) => Self::Guaranteed,
            (true, false) => Self::Burstable,
        }
    }
}

/// CPU shares for so many millicores: 1024 a core, never under the kernel's 2.
fn shares(milli: i128) -> u64 {
    u64::try_from((milli * 1024 / 1000).clamp(2, 262_144)).unwrap_or(2)
}

fn quota(milli: i128) -> Option<i64> {
    if milli <= 0 {
        return None;
    }
    let us = milli * i128::from(CPU_PERIOD_US) / 1000;
    Some(i64::try_from(us).unwrap_or(i64::MAX).max(MIN_CPU_QUOTA_US))
}

fn bytes(thousandths: i128) -> Option<i64> {
    (thousandths > 0).then(|| i64::try_from(thousandths / 1000).unwrap_or(i64::MAX))
}

fn settings(requests: &Amounts, limits: &Amounts, pids: Option<i64>) -> Resources {
    let cpu_limit = limits.get("cpu").and_then(quota);
    Resources {
        cpu_shares: Some(shares(requests.get("cpu").unwrap_or(0))),
        cpu_quota_us: cpu_limit,
        cpu_period_us: cpu_limit.map(|_| CPU_PERIOD_US),
        memory_limit_bytes: limits.get("memory").and_then(bytes),
        pids_limit: pids,
    }
}

/// The control-group settings of one container.
pub(crate) fn container_settings(container: &Container) -> Resources {
    let demand = amounts_of(container.resources.as_ref());
    settings(&demand.requests, &demand.limits, None)
}

/// The control-group settings around a whole pod: a limit only where every container has one.
pub(crate) fn pod_settings(spec: &PodSpec, pids: Option<i64>) -> Resources {
    let requests = pod_requests(spec);
    let mut limits = combined(spec, |demand| demand.limits);
    for name in ["cpu", "memory"] {
        let all = spec
            .containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
            .all(|c| {
                amounts_of(c.resources.as_ref())
                    .limits
                    .get(name)
                    .is_some_and(|v| v > 0)
            });
        if !all {
            limits.set(name, 0);
        }
    }
    settings(&requests, &limits, pids)
}

/// How willingly the kernel kills a container when memory runs out.
///
/// Guaranteed pods (and node-critical ones) -997, best-effort 1000, burstable by the share of the
/// machine's memory they requested.
pub(crate) fn oom_score_adj(
    spec: &PodSpec,
    container: &Container,
    memory_capacity_bytes: u64,
) -> i32 {
    const NODE_CRITICAL_PRIORITY: i32 = 2_000_000_000;
    const GUARANTEED: i32 = -997;
    if spec.priority.unwrap_or(0) >= NODE_CRITICAL_PRIORITY {
        return GUARANTEED;
    }
    match Qos::of(spec) {
        Qos::Guaranteed => GUARANTEED,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let request = amounts_of(container.resources.as_ref())
                .requests
                .get("memory")
                .unwrap_or(0)
                / 1000;
            let capacity = i128::from(memory_capacity_bytes.max(1));
            let score = 1000 - 1000 * request / capacity;
            i32::try_from(score.clamp(i128::from(1000 + GUARANTEED), 999)).unwrap_or(999)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(value: serde_json::Value) -> PodSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn quantities_parse_to_thousandths() {
        for (text, expected) in [
            ("1", Some(1000)),
            ("100m", Some(100)),
            ("0.5", Some(500)),
            ("1.5Gi", Some(1_610_612_736_000)),
            ("1e3", Some(1_000_000)),
            ("2E2", Some(200_000)),
            ("1E", Some(10_i128.pow(21))),
            ("100n", Some(1)),
            ("9223372036854775807", Some(9_223_372_036_854_775_807_000)),
            ("-5", Some(-5000)),
            (".5", Some(500)),
            ("5.", Some(5000)),
            ("", None),
            ("x", None),
            ("1Zi", None),
            ("1.2.3", None),
        ] {
            assert_eq!(parse_quantity(text), expected, "{text}");
        }
    }

    #[test]
    fn quality_of_service_follows_requests_and_limits() {
        let of = |resources: serde_json::Value| {
            Qos::of(&spec(
                json!({"containers": [{"name": "a", "resources": resources}]}),
            ))
        };
        assert_eq!(of(json!({})), Qos::BestEffort);
        assert_eq!(
            of(json!({"limits": {"cpu": "1", "memory": "1Gi"}})),
            Qos::Guaranteed
        );
        assert_eq!(
            of(json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m"}})),
            Qos::Guaranteed
        );
        assert_eq!(of(json!({"limits": {"cpu": "1"}})), Qos::Burstable);
        assert_eq!(of(json!({"requests": {"memory": "1"}})), Qos::Burstable);
    }

    #[test]
    fn a_pod_asks_for_the_larger_of_its_peak_and_its_steady_state() {
        let spec = spec(json!({
            "initContainers": [
                {"name": "i1", "resources": {"requests": {"cpu": "3"}}},
                {"name": "side", "restartPolicy": "Always", "resources": {"requests": {"cpu": "500m", "memory": "1Ki"}}},
                {"name": "i2", "resources": {"requests": {"memory": "10Ki"}}}],
            "containers": [{"name": "a", "resources": {"requests": {"cpu": "1", "memory": "2Ki"}}}],
            "overhead": {"cpu": "1m"}
        }));
        let total = pod_requests(&spec);
        assert_eq!(total.get("cpu"), Some(3001));
        assert_eq!(total.get("memory"), Some(11 * 1024 * 1000));
    }

    #[test]
    fn kernel_settings_follow_requests_and_limits() {
        let spec = spec(json!({"containers": [
            {"name": "a", "resources": {"requests": {"cpu": "250m"}, "limits": {"cpu": "500m", "memory": "64Mi"}}},
            {"name": "b", "resources": {"limits": {"cpu": "1"}}}]}));
        let one = container_settings(&spec.containers[0]);
        assert_eq!(one.cpu_shares, Some(256));
        assert_eq!(one.cpu_quota_us, Some(50_000));
        assert_eq!(one.memory_limit_bytes, Some(64 << 20));
        let pod = pod_settings(&spec, Some(100));
        assert_eq!(pod.cpu_quota_us, Some(150_000));
        assert_eq!(
            pod.memory_limit_bytes, None,
            "container b has no memory limit"
        );
        assert_eq!(pod.pids_limit, Some(100));
        let none = container_settings(&Container::default());
        assert_eq!((none.cpu_shares, none.cpu_quota_us), (Some(2), None));
    }

    #[test]
    fn out_of_memory_scores_follow_the_class() {
        let gib = 1 << 30;
        let score = |resources: serde_json::Value| {
            let spec = spec(json!({"containers": [{"name": "a", "resources": resources}]}));
            oom_score_adj(&spec, &spec.containers[0], 4 * gib)
        };
        assert_eq!(score(json!({})), 1000);
        assert_eq!(
            score(json!({"limits": {"cpu": "1", "memory": "1Gi"}})),
            -997
        );
        assert_eq!(score(json!({"requests": {"memory": "1Gi"}})), 750);
        assert_eq!(score(json!({"requests": {"memory": "4Gi"}})), 3);
        assert_eq!(score(json!({"requests": {"cpu": "1"}})), 999);
    }
}
