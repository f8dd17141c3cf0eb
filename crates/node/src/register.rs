//! The Node object: made at the start, kept true afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use consort_reconcile::ObjectRef;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints,
    NodeSpec, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::machine::{self, Disk, Machine};
use crate::options::Options;
use crate::pod::chain;
use crate::pod::resources::Amounts;
use crate::shared::Handle;

/// How often conditions are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A status without changes is written this often all the same.
const REPORT_EVERY: Duration = Duration::from_secs(300);
/// Less memory than this is pressure.
const MEMORY_LOW: u64 = 100 << 20;
/// Most images that a status lists.
const IMAGES_MAX: usize = 50;
/// The version that clients take for the Kubernetes version of the node.
const KUBELET_VERSION: &str = concat!("v1.37.0+consort-", env!("CARGO_PKG_VERSION"));

/// What the machine has, and what of it pods may use.
pub(crate) fn resources(
    options: &Options,
    machine: &Machine,
) -> (BTreeMap<String, Quantity>, BTreeMap<String, Quantity>) {
    let both = |cpu_milli: u64, memory: u64, disk: u64| {
        let cpu = if cpu_milli.is_multiple_of(1000) {
            (cpu_milli / 1000).to_string()
        } else {
            format!("{cpu_milli}m")
        };
        BTreeMap::from([
            ("cpu".to_owned(), Quantity(cpu)),
            (
                "memory".to_owned(),
                Quantity(format!("{}Ki", memory / 1024)),
            ),
            (
                "ephemeral-storage".to_owned(),
                Quantity(format!("{}Ki", disk / 1024)),
            ),
            ("pods".to_owned(), Quantity(options.max_pods.to_string())),
            ("hugepages-1Gi".to_owned(), Quantity("0".to_owned())),
            ("hugepages-2Mi".to_owned(), Quantity("0".to_owned())),
        ])
    };
    let cpu = u64::from(machine.cpus) * 1000;
    let capacity = both(cpu, machine.memory_bytes, machine.disk_bytes);
    let allocatable = both(
        cpu.saturating_sub(options.reserved_cpu_milli),
        machine
            .memory_bytes
            .saturating_sub(options.reserved_memory_bytes),
        // The last tenth is where the disk is under pressure.
        machine.disk_bytes - machine.disk_bytes / 10,
    );
    (capacity, allocatable)
}

/// Amounts that pods may use.
pub(crate) fn allocatable(options: &Options, machine: &Machine) -> Amounts {
    Amounts::from_map(Some(&resources(options, machine).1))
}

/// The object as far as this node knows it before it has asked: pods may come earlier than the answer, and are held
/// against its labels.
pub(crate) fn unregistered(options: &Options) -> Node {
    Node {
        metadata: ObjectMeta {
            name: Some(options.name.clone()),
            labels: Some(labels(options)),
            ..ObjectMeta::default()
        },
        ..Node::default()
    }
}

/// The labels every node has, and those it was told to have.
fn labels(options: &Options) -> BTreeMap<String, String> {
    let arch = machine::architecture();
    let mut labels: BTreeMap<String, String> = [
        ("kubernetes.io/hostname", options.name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", arch),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", arch),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .collect();
    labels.extend(options.labels.clone());
    labels
}

/// What is looked at again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pressure {
    memory: bool,
    disk: bool,
    pids: bool,
}

impl Pressure {
    fn look(options: &Options) -> Self {
        Self {
            memory: machine::memory_available() < MEMORY_LOW,
            disk: Disk::of(&options.data_dir).is_some_and(|d| d.under_pressure()),
            pids: machine::processes().is_some_and(|(used, max)| used > max - max / 20),
        }
    }
}

fn conditions(pressure: Pressure, before: &[NodeCondition], now: Timestamp) -> Vec<NodeCondition> {
    let one = |kind: &str, status: bool, reason: &str, message: &str| {
        let status = if status { "True" } else { "False" };
        let since = before
            .iter()
            .find(|c| c.type_ == kind && c.status == status);
        NodeCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_heartbeat_time: Some(Time(now)),
            last_transition_time: since
                .and_then(|c| c.last_transition_time.clone())
                .or(Some(Time(now))),
        }
    };
    let mut out = vec![
        if pressure.memory {
            one(
                "MemoryPressure",
                true,
                "KubeletHasInsufficientMemory",
                "kubelet has insufficient memory available",
            )
        } else {
            one(
                "MemoryPressure",
                false,
                "KubeletHasSufficientMemory",
                "kubelet has sufficient memory available",
            )
        },
        if pressure.disk {
            one(
                "DiskPressure",
                true,
                "KubeletHasDiskPressure",
                "kubelet has disk pressure",
            )
        } else {
            one(
                "DiskPressure",
                false,
                "KubeletHasNoDiskPressure",
                "kubelet has no disk pressure",
            )
        },
        if pressure.pids {
            one(
                "PIDPressure",
                true,
                "KubeletHasInsufficientPID",
                "kubelet has insufficient PID available",
            )
        } else {
            one(
                "PIDPressure",
                false,
                "KubeletHasSufficientPID",
                "kubelet has sufficient PID available",
            )
        },
        one(
            "Ready",
            true,
            "KubeletReady",
            "kubelet is posting ready status",
        ),
    ];
    let own: Vec<String> = out.iter().map(|c| c.type_.clone()).collect();
    out.extend(before.iter().filter(|c| !own.contains(&c.type_)).cloned());
    out
}

async fn status(
    shared: &Handle,
    pressure: Pressure,
    before: &[NodeCondition],
    now: Timestamp,
) -> NodeStatus {
    let (options, machine) = (&shared.options, &shared.machine);
    let (capacity, allocatable) = resources(options, machine);
    let mut addresses: Vec<NodeAddress> = shared
        .host_ips
        .iter()
        .map(|ip| NodeAddress {
            type_: "InternalIP".to_owned(),
            address: ip.clone(),
        })
        .collect();
    addresses.push(NodeAddress {
        type_: "Hostname".to_owned(),
        address: options.name.clone(),
    });
    NodeStatus {
        addresses: Some(addresses),
        capacity: Some(capacity),
        allocatable: Some(allocatable),
        conditions: Some(conditions(pressure, before, now)),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint {
                port: i32::from(options.agent_port),
            }),
        }),
        node_info: Some(NodeSystemInfo {
            architecture: machine::architecture().to_owned(),
            boot_id: machine.boot_id.clone(),
            container_runtime_version: concat!("consort://", env!("CARGO_PKG_VERSION")).to_owned(),
            kernel_version: machine.kernel.clone(),
            kubelet_version: KUBELET_VERSION.to_owned(),
            kube_proxy_version: String::new(),
            machine_id: machine.id.clone(),
            operating_system: "linux".to_owned(),
            os_image: machine.os_image.clone(),
            system_uuid: machine.system_uuid.clone(),
            ..NodeSystemInfo::default()
        }),
        images: Some(images(shared).await),
        ..NodeStatus::default()
    }
}

/// The largest images by name.
async fn images(shared: &Handle) -> Vec<ContainerImage> {
    let mut all = match shared.images.list().await {
        Ok(all) => all,
        Err(error) => {
            tracing::warn!(error = error.message(), "listing images");
            Vec::new()
        }
    };
    all.sort_by_key(|image| std::cmp::Reverse(image.size));
    all.truncate(IMAGES_MAX);
    all.into_iter()
        .map(|image| {
            let mut names = image.repo_digests();
            names.extend(image.references.iter().map(ToString::to_string));
            ContainerImage {
                names: Some(names),
                size_bytes: i64::try_from(image.size).ok(),
            }
        })
        .collect()
}

/// Registers the node and keeps its status true until `shutdown`.
pub(crate) async fn run(shared: Handle, shutdown: CancellationToken) {
    let api: Api<Node> = Api::all(shared.client.clone());
    let mut delay = Duration::from_millis(50);
    loop {
        match register(&shared, &api).await {
            Ok(()) => break,
            Err(error) => tracing::warn!(error = chain(&error), "registering the node"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(delay) => delay = (delay * 2).min(Duration::from_secs(5)),
        }
    }
    let object = ObjectRef::of(&**shared.node.load());
    shared
        .recorder
        .normal(&object, "Starting", "Starting kubelet.");
    shared.recorder.normal(
        &object,
        "NodeReady",
        format!("Node {} status is now: NodeReady", shared.options.name),
    );
    let mut last = Pressure::look(&shared.options);
    let mut written = tokio::time::Instant::now();
    let mut images = images(&shared).await;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let pressure = Pressure::look(&shared.options);
        let images_now = self::images(&shared).await;
        if pressure == last && images == images_now && written.elapsed() < REPORT_EVERY {
            continue;
        }
        match write(&shared, &api, pressure).await {
            Ok(()) => {
                last = pressure;
                images = images_now;
                written = tokio::time::Instant::now();
            }
            Err(error) => tracing::warn!(error = chain(&error), "writing the node's status"),
        }
    }
}

/// Creates the object or brings an existing one up to date, and says that the node is ready.
async fn register(shared: &Handle, api: &Api<Node>) -> Result<(), kube::Error> {
    let options = &shared.options;
    let labels = labels(options);
    let cidr = options.pod_cidr.map(|c| c.to_string());
    let spec = NodeSpec {
        pod_cidr: cidr.clone(),
        pod_cidrs: cidr.clone().map(|c| vec![c]),
        taints: (!options.taints.is_empty()).then(|| options.taints.clone()),
        ..NodeSpec::default()
    };
    let pressure = Pressure::look(options);
    let node = Node {
        metadata: ObjectMeta {
            name: Some(options.name.clone()),
            labels: Some(labels.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: Some(status(shared, pressure, &[], Timestamp::now()).await),
    };
    match api.create(&PostParams::default(), &node).await {
        Ok(_) => {}
        Err(kube::Error::Api(error)) if error.code == 409 => {
            // Labels of others stay, and so do taints: they were put there after the first start.
            let mut patch = json!({"metadata": {"labels": labels}});
            if let Some(cidr) = cidr {
                patch["spec"] = json!({"podCIDR": cidr, "podCIDRs": [cidr]});
            }
            let patched = api
                .patch(
                    &options.name,
                    &PatchParams::default(),
                    &Patch::Merge(&patch),
                )
                .await?;
            shared.node.store(Arc::new(patched));
        }
        Err(error) => return Err(error),
    }
    write(shared, api, pressure).await
}

/// Writes the status as it is now.
async fn write(shared: &Handle, api: &Api<Node>, pressure: Pressure) -> Result<(), kube::Error> {
    let current = api.get(&shared.options.name).await?;
    let before = current
        .status
        .and_then(|s| s.conditions)
        .unwrap_or_default();
    let status = status(shared, pressure, &before, Timestamp::now()).await;
    let patch = json!({"status": status});
    let written = api
        .patch_status(
            &shared.options.name,
            &PatchParams::default(),
            &Patch::Merge(&patch),
        )
        .await?;
    shared.node.store(Arc::new(written));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_keep_their_times_until_they_change() {
        let at = |s: i64| Timestamp::from_second(s).unwrap();
        let calm = Pressure {
            memory: false,
            disk: false,
            pids: false,
        };
        let mut first = conditions(calm, &[], at(100));
        first.push(NodeCondition {
            type_: "Other".into(),
            status: "True".into(),
            ..NodeCondition::default()
        });
        let second = conditions(Pressure { disk: true, ..calm }, &first, at(200));
        let of = |kind: &str| second.iter().find(|c| c.type_ == kind).unwrap();
        assert_eq!(
            of("Ready").last_transition_time.as_ref().unwrap().0,
            at(100)
        );
        assert_eq!(of("Ready").last_heartbeat_time.as_ref().unwrap().0, at(200));
        assert_eq!(
            of("DiskPressure").last_transition_time.as_ref().unwrap().0,
            at(200)
        );
        assert_eq!(of("DiskPressure").status, "True");
        assert_eq!(of("Other").status, "True");
    }
}
