//! All reconcilers under one owner.

use crate::{
    Options, bootstrap_tokens, certificates, cluster_roles, deployments, disruption, endpoints,
    garbage, jobs, mirroring, namespaces, nodes, pod_cleanup, quota, replica_sets,
    replication_controllers, service_accounts, tokens,
};
use consort_reconcile::{Backoff, Hub};
use std::{sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

const RESTART: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));
/// A reconciler that ran for this long was healthy: its next failure counts as the first.
const HEALTHY: Duration = Duration::from_mins(10);

/// All reconcilers of the built-in workload kinds.
pub struct Workloads {
    hub: Hub,
    options: Arc<Options>,
}

impl Workloads {
    /// The reconcilers, not yet running.
    pub fn new(hub: Hub, options: Options) -> Self {
        Self {
            hub,
            options: Arc::new(options),
        }
    }

    /// Runs them until `shutdown` is cancelled. One that panics is logged and started again with
    /// back-off, the others go on; a panic over one object only delays that object.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut all = JoinSet::new();
        macro_rules! supervise {
            ($($module:ident as $name:literal),* $(,)?) => {
                $({
                    let hub = self.hub.acting_as($name);
                    let (options, stop) = (self.options.clone(), shutdown.clone());
                    all.spawn(supervise(stringify!($module), shutdown.clone(), move || {
                        $module::run(hub.clone(), options.clone(), stop.clone())
                    }));
                })*
            };
        }
        // Each writes as the service account of its name, where the hub has identities.
        supervise!(
            bootstrap_tokens as "bootstrap-signer",
            certificates as "certificate-controller",
            cluster_roles as "clusterrole-aggregation-controller",
            deployments as "deployment-controller",
            disruption as "disruption-controller",
            endpoints as "endpointslice-controller",
            garbage as "generic-garbage-collector",
            jobs as "job-controller",
            mirroring as "endpointslicemirroring-controller",
            namespaces as "namespace-controller",
            nodes as "node-controller",
            pod_cleanup as "pod-garbage-collector",
            quota as "resourcequota-controller",
            replica_sets as "replicaset-controller",
            replication_controllers as "replication-controller",
            service_accounts as "service-account-controller",
            tokens as "tokens-controller",
        );
        while all.join_next().await.is_some() {}
    }
}

/// Runs what `start` starts, again and again until `shutdown`, however it ends.
async fn supervise<F>(name: &'static str, shutdown: CancellationToken, start: impl Fn() -> F + Send)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut failures = 0;
    while !shutdown.is_cancelled() {
        let started = Instant::now();
        let mut task = JoinSet::new();
        task.spawn(start());
        let outcome = task.join_next().await;
        if shutdown.is_cancelled() {
            break;
        }
        if started.elapsed() >= HEALTHY {
            failures = 0;
        }
        let delay = RESTART.delay(failures);
        failures += 1;
        if let Some(Err(problem)) = outcome {
            error!(reconciler = name, %problem, ?delay, "a reconciler died; starting it again");
        } else {
            error!(
                reconciler = name,
                ?delay,
                "a reconciler ended; starting it again"
            );
        }
        shutdown
            .run_until_cancelled(tokio::time::sleep(delay))
            .await;
    }
    debug!(reconciler = name, "stopped");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn a_reconciler_that_dies_is_started_again_until_shutdown() {
        let shutdown = CancellationToken::new();
        let starts = Arc::new(AtomicUsize::new(0));
        let (count, stop) = (starts.clone(), shutdown.clone());
        let supervised = supervise("test", shutdown, move || {
            let (count, stop) = (count.clone(), stop.clone());
            async move {
                assert!(
                    count.fetch_add(1, Ordering::SeqCst) > 0,
                    "the first start dies"
                );
                stop.cancel();
            }
        });
        tokio::time::timeout(Duration::from_secs(10), supervised)
            .await
            .unwrap();
        assert_eq!(starts.load(Ordering::SeqCst), 2);
    }
}
