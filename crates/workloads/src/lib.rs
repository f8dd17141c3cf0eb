//! The reconcilers of the built-in workload kinds: what turns a Deployment into ReplicaSets, a
//! ReplicaSet into Pods, a Service into EndpointSlices, and what cleans up behind them.
//!
//! Each reconciler is a pure decision (objects and the time in, actions out) inside a thin
//! asynchronous shell that reads from the informer [`Hub`](consort_reconcile::Hub) and writes
//! through [`kube::Client`]. All of them are level-triggered and idempotent, and none keeps state
//! that it could not rebuild from the objects, so the same code runs in process and against any
//! existing cluster. Behaviour follows the Kubernetes documentation of each kind; names of
//! conditions, reasons, annotations and finalizers are upstream's, so that kubectl and operators
//! find what they expect.
//!
//! ```no_run
//! use consort_reconcile::Hub;
//! use consort_workloads::{Options, Workloads};
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn example(client: kube::Client) {
//! let shutdown = CancellationToken::new();
//! let hub = Hub::new(client, shutdown.clone());
//! Workloads::new(hub, Options::default()).run(shutdown).await;
//! # }
//! ```

mod bootstrap_tokens;
mod certificates;
mod cluster_roles;
mod conditions;
mod deployments;
mod discovery;
mod disruption;
mod endpoints;
mod error;
mod garbage;
mod hash;
mod jobs;
mod mirroring;
mod namespaces;
mod nodes;
mod options;
mod ownership;
mod pod_cleanup;
mod pods;
mod quota;
mod replica_sets;
mod replication_controllers;
mod run;
mod selectors;
mod service_accounts;
mod tokens;
mod write;

pub use certificates::CertificateSigner;
pub use options::Options;
pub use run::Workloads;
pub use tokens::TokenSigner;
