//! What all parts of a node share.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use consort_image::Images;
use consort_net::Network;
use consort_reconcile::{Hub, Informer, ObjectRef, Recorder};
use consort_runtime::Runtime;
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec, Service};
use kube::Client;
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use crate::agent::Views;
use crate::machine::Machine;
use crate::options::Options;
use crate::pod::admit::{self, HostPort, Refusal};
use crate::pod::fields::PodFacts;
use crate::pod::files::{Naming, Resolver};
use crate::pod::resources::{Amounts, pod_requests};

/// The node's parts and facts. Held by everything that belongs to the node.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) client: Client,
    pub(crate) hub: Hub,
    pub(crate) runtime: Runtime,
    pub(crate) images: Images,
    pub(crate) network: Network,
    pub(crate) recorder: Recorder,
    pub(crate) services: Informer<Service>,
    pub(crate) machine: Machine,
    pub(crate) host_ips: Vec<String>,
    pub(crate) naming: Naming,
    /// The machine's own resolver, read once.
    pub(crate) resolver: Resolver,
    /// What pods may use of this machine.
    pub(crate) allocatable: Amounts,
    /// The Node object as last written.
    pub(crate) node: ArcSwap<Node>,
    pub(crate) ledger: Mutex<Ledger>,
    pub(crate) views: Views,
    /// Pods that were there at the start and of which the API does not know yet how they were found;
    /// closed once all of them are known.
    pub(crate) found: TaskTracker,
}

impl Shared {
    /// Directory of one pod.
    pub(crate) fn pod_dir(&self, uid: &str) -> PathBuf {
        self.pods_dir().join(uid)
    }

    /// Directory of all pods.
    pub(crate) fn pods_dir(&self) -> PathBuf {
        self.options.data_dir.join("pods")
    }

    /// Directory of seccomp profiles that pods may name.
    pub(crate) fn seccomp_dir(&self) -> PathBuf {
        self.options.data_dir.join("seccomp")
    }

    /// Records an event about a pod or, with a field path, about one of its containers.
    pub(crate) fn event(
        &self,
        pod: &Pod,
        field_path: Option<&str>,
        warning: bool,
        reason: &str,
        message: impl Into<String>,
    ) {
        let mut object = ObjectRef::of(pod);
        if let Some(path) = field_path {
            object = object.at(path);
        }
        if warning {
            self.recorder.warning(&object, reason, message);
        } else {
            self.recorder.normal(&object, reason, message);
        }
    }

    /// What the downward API says of a pod with these addresses.
    pub(crate) fn facts(&self, pod_ips: &[String]) -> PodFacts {
        PodFacts {
            host_ips: self.host_ips.clone(),
            pod_ips: pod_ips.to_vec(),
            allocatable: self.allocatable.clone(),
        }
    }

    /// Takes a pod into the ledger if it fits; `already` is for pods that run here anyway.
    pub(crate) fn admit(&self, uid: &str, spec: &PodSpec, already: bool) -> Result<(), Refusal> {
        let mut ledger = self.ledger.lock();
        if !already && !ledger.0.contains_key(uid) {
            let mut used = Amounts::default();
            let mut ports = Vec::new();
            for entry in ledger.0.values() {
                used.add(&entry.requests);
                ports.extend(entry.ports.iter().cloned());
            }
            admit::admit(
                spec,
                &self.node.load(),
                &self.allocatable,
                &used,
                &ports,
                ledger.0.len(),
            )?;
        }
        ledger.0.insert(
            uid.to_owned(),
            Entry {
                requests: pod_requests(spec),
                ports: admit::host_ports(spec),
            },
        );
        Ok(())
    }

    /// Gives back what a pod had taken.
    pub(crate) fn release(&self, uid: &str) {
        self.ledger.lock().0.remove(uid);
    }
}

/// What the pods of this node have taken, by uid.
#[derive(Default)]
pub(crate) struct Ledger(HashMap<String, Entry>);

struct Entry {
    requests: Amounts,
    ports: Vec<HostPort>,
}

/// Handed around.
pub(crate) type Handle = Arc<Shared>;
