//! `/stats/summary`: what the machine and its pods use, in the form of the kubelet's stats API
//! (`k8s.io/kubelet/pkg/apis/stats/v1alpha1`).
//!
//! CPU use is measured between two looks a moment apart, when it is asked for: nothing runs while nobody
//! asks. What cannot be read is left out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use consort_runtime::Stats;
use futures::future::{join, join_all};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Map, Value, json};

use crate::agent::{Agent, PodView};
use crate::machine::{self, Disk, Memory};

/// Between the two looks.
const MOMENT: Duration = Duration::from_millis(250);

/// One look at everything.
struct Look {
    at: Instant,
    time: Timestamp,
    /// Of the whole machine, in nanoseconds.
    cpu: Option<u64>,
    pods: Vec<PodLook>,
}

/// One pod that has a sandbox.
struct PodLook {
    view: PodView,
    whole: Option<Stats>,
    containers: BTreeMap<String, Stats>,
}

async fn look(agent: &Agent) -> Look {
    let views = agent
        .pods()
        .into_iter()
        .filter(|view| view.sandbox.is_some());
    let pods = join_all(views.map(|view| async {
        let whole = async {
            match &view.sandbox {
                Some(sandbox) => sandbox.stats().await.ok(),
                None => None,
            }
        };
        let each = view.running.iter().map(|(name, container)| async move {
            // One that has ended meanwhile uses nothing.
            Some((name.clone(), container.stats().await.ok()?))
        });
        let (whole, containers) = join(whole, join_all(each)).await;
        let containers = containers.into_iter().flatten().collect();
        PodLook {
            view,
            whole,
            containers,
        }
    }))
    .await;
    Look {
        at: Instant::now(),
        time: Timestamp::now(),
        cpu: machine::cpu_time(),
        pods,
    }
}

/// The summary of this moment.
pub(super) async fn summary(agent: &Agent) -> Value {
    let first = look(agent).await;
    tokio::time::sleep(MOMENT).await;
    let second = look(agent).await;
    let meter = Meter {
        time: second.time.to_string(),
        span: second.at.duration_since(first.at),
    };
    let earlier: BTreeMap<&str, &PodLook> = first
        .pods
        .iter()
        .map(|pod| (uid(&pod.view.pod), pod))
        .collect();
    let pods: Vec<Value> = second
        .pods
        .iter()
        .map(|pod| meter.pod(pod, earlier.get(uid(&pod.view.pod)).copied()))
        .collect();
    json!({
        "node": meter.node(agent, first.cpu, second.cpu),
        "pods": pods,
    })
}

fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// What is told of the time between two looks.
struct Meter {
    /// Of the second look.
    time: String,
    span: Duration,
}

impl Meter {
    fn cpu(&self, before: Option<u64>, now: u64) -> Value {
        let mut cpu = json!({"time": self.time, "usageCoreNanoSeconds": now});
        // What began in between, or began anew, has no rate yet.
        let used = before.and_then(|before| now.checked_sub(before));
        if let Some(used) = used {
            let span = self.span.as_nanos().max(1);
            let rate = u128::from(used) * 1_000_000_000 / span;
            cpu["usageNanoCores"] = json!(u64::try_from(rate).unwrap_or(u64::MAX));
        }
        cpu
    }

    fn node(&self, agent: &Agent, before: Option<u64>, now: Option<u64>) -> Value {
        let mut node = Map::new();
        node.insert("nodeName".into(), json!(agent.node_name()));
        if let Some(boot) = machine::booted() {
            node.insert("startTime".into(), json!(boot.to_string()));
        }
        if let Some(now) = now {
            node.insert("cpu".into(), self.cpu(before, now));
        }
        if let Some(memory) = Memory::read() {
            node.insert(
                "memory".into(),
                json!({
                    "time": self.time,
                    "availableBytes": memory.available,
                    "usageBytes": memory.total.saturating_sub(memory.free),
                    "workingSetBytes": memory.total.saturating_sub(memory.available),
                }),
            );
        }
        if let Some(disk) = Disk::of(agent.data_dir()) {
            node.insert(
                "fs".into(),
                json!({
                    "time": self.time,
                    "availableBytes": disk.available,
                    "capacityBytes": disk.total,
                    "usedBytes": disk.used,
                    "inodesFree": disk.inodes_free,
                    "inodes": disk.inodes,
                    "inodesUsed": disk.inodes.saturating_sub(disk.inodes_free),
                }),
            );
        }
        if let Some((used, most)) = machine::processes() {
            node.insert(
                "rlimit".into(),
                json!({"time": self.time, "maxpid": most, "curproc": used}),
            );
        }
        Value::Object(node)
    }

    fn pod(&self, pod: &PodLook, before: Option<&PodLook>) -> Value {
        let object = &pod.view.pod;
        let status = object.status.as_ref();
        let containers: Vec<Value> = pod
            .containers
            .iter()
            .map(|(name, now)| {
                let then = before.and_then(|before| before.containers.get(name));
                let mut told = self.used(then, now);
                told["name"] = json!(name);
                if let Some(started) = started(object, name) {
                    told["startTime"] = json!(started.to_string());
                }
                told
            })
            .collect();
        let mut told = match &pod.whole {
            Some(now) => self.used(before.and_then(|before| before.whole.as_ref()), now),
            None => json!({}),
        };
        told["podRef"] = json!({
            "name": object.metadata.name,
            "namespace": object.metadata.namespace,
            "uid": object.metadata.uid,
        });
        if let Some(started) = status.and_then(|status| status.start_time.as_ref()) {
            told["startTime"] = json!(started.0.to_string());
        }
        if let Some(whole) = &pod.whole {
            told["process_stats"] = json!({"process_count": whole.pids});
        }
        told["containers"] = Value::Array(containers);
        told
    }

    fn used(&self, before: Option<&Stats>, now: &Stats) -> Value {
        json!({
            "cpu": self.cpu(before.map(|before| before.cpu_ns), now.cpu_ns),
            "memory": {"time": self.time, "workingSetBytes": now.memory_bytes, "usageBytes": now.memory_bytes},
        })
    }
}

/// Since when a container runs.
fn started(pod: &Pod, name: &str) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let all = [
        &status.container_statuses,
        &status.init_container_statuses,
        &status.ephemeral_container_statuses,
    ];
    let own = all
        .into_iter()
        .flatten()
        .flatten()
        .find(|own| own.name == name)?;
    Some(own.state.as_ref()?.running.as_ref()?.started_at.as_ref()?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_told_as_a_rate_over_the_time_between_two_looks() {
        let meter = Meter {
            time: "2026-01-01T00:00:00Z".into(),
            span: Duration::from_millis(500),
        };
        let told = meter.cpu(Some(1_000_000), 51_000_000);
        assert_eq!(told["usageNanoCores"], 100_000_000);
        assert_eq!(told["usageCoreNanoSeconds"], 51_000_000);
        assert!(meter.cpu(None, 5).get("usageNanoCores").is_none());
        assert!(meter.cpu(Some(9), 5).get("usageNanoCores").is_none());
    }
}
