//! The roles of reconcilers: each runs under the service account of its name in `kube-system`.
//!
//! Rights are upstream's; where our reconcilers write by merge patch, `patch` stands beside `update`. The roles of
//! reconcilers of kinds that upstream serves only on request are left out.

use super::{account, bind, events, named, role, rule};
use serde_json::Value;

const READ: &str = "get,list,watch";
const CERTIFICATES: &str = "certificates.k8s.io";

/// The names of the reconcilers' service accounts.
pub const NAMES: &[&str] = &[
    "attachdetach-controller",
    "certificate-controller",
    "clusterrole-aggregation-controller",
    "cronjob-controller",
    "daemon-set-controller",
    "deployment-controller",
    "disruption-controller",
    "endpoint-controller",
    "endpointslice-controller",
    "endpointslicemirroring-controller",
    "ephemeral-volume-controller",
    "expand-controller",
    "generic-garbage-collector",
    "horizontal-pod-autoscaler",
    "job-controller",
    "legacy-service-account-token-cleaner",
    "namespace-controller",
    "node-controller",
    "persistent-volume-binder",
    "pod-garbage-collector",
    "pv-protection-controller",
    "pvc-protection-controller",
    "replicaset-controller",
    "replication-controller",
    "resource-claim-controller",
    "resourcequota-controller",
    "root-ca-cert-publisher",
    "route-controller",
    "selinux-warning-controller",
    "service-account-controller",
    "service-cidrs-controller",
    "service-controller",
    "statefulset-controller",
    "storage-version-migrator-controller",
    "ttl-after-finished-controller",
    "tokens-controller",
    "ttl-controller",
    "validatingadmissionpolicy-status-controller",
    "volumeattributesclass-protection-controller",
];

/// Those that report no events.
const SILENT: [&str; 5] = [
    "clusterrole-aggregation-controller",
    "legacy-service-account-token-cleaner",
    "namespace-controller",
    "pod-garbage-collector",
    "storage-version-migrator-controller",
];

fn rules(name: &str) -> Vec<Value> {
    let apps = "apps,extensions";
    let mut rules = match name {
        "attachdetach-controller" => vec![
            rule("list,watch", "", "persistentvolumeclaims,persistentvolumes"),
            rule(READ, "", "nodes"),
            rule("patch,update", "", "nodes/status"),
            rule("list,watch", "", "pods"),
            rule(
                "create,delete,get,list,watch",
                "storage.k8s.io",
                "volumeattachments",
            ),
            rule(READ, "storage.k8s.io", "csidrivers"),
            rule(READ, "storage.k8s.io", "csinodes"),
        ],
        "certificate-controller" => vec![
            rule(
                "delete,get,list,watch",
                CERTIFICATES,
                "certificatesigningrequests",
            ),
            rule(
                "patch,update",
                CERTIFICATES,
                "certificatesigningrequests/approval,certificatesigningrequests/status",
            ),
            named(
                "approve",
                CERTIFICATES,
                "signers",
                "kubernetes.io/kube-apiserver-client-kubelet",
            ),
            named(
                "sign",
                CERTIFICATES,
                "signers",
                "kubernetes.io/kube-apiserver-client,kubernetes.io/kube-apiserver-client-kubelet,\
                 kubernetes.io/kubelet-serving,kubernetes.io/legacy-unknown",
            ),
            rule("create", "authorization.k8s.io", "subjectaccessreviews"),
        ],
        "clusterrole-aggregation-controller" => vec![rule(
            "escalate,get,list,patch,update,watch",
            super::GROUP,
            "clusterroles",
        )],
        "cronjob-controller" => vec![
            rule("get,list,update,watch", "batch", "cronjobs"),
            rule("create,delete,get,list,patch,update,watch", "batch", "jobs"),
            rule("update", "batch", "cronjobs/status"),
            rule("update", "batch", "cronjobs/finalizers"),
            rule("delete,list,watch", "", "pods"),
        ],
        "daemon-set-controller" => vec![
            rule(READ, apps, "daemonsets"),
            rule("update", apps, "daemonsets/status"),
            rule("update", apps, "daemonsets/finalizers"),
            rule("list,watch", "", "nodes"),
            rule("create,delete,list,patch,watch", "", "pods"),
            rule("create", "", "pods/binding"),
            rule(
                "create,delete,get,list,patch,update,watch",
                "apps",
                "controllerrevisions",
            ),
        ],
        "deployment-controller" => vec![
            rule("get,list,patch,update,watch", apps, "deployments"),
            rule("patch,update", apps, "deployments/status"),
            rule("update", apps, "deployments/finalizers"),
            rule(
                "create,delete,get,list,patch,update,watch",
                apps,
                "replicasets",
            ),
            rule("get,list,update,watch", "", "pods"),
        ],
        "disruption-controller" => vec![
            rule(READ, apps, "deployments"),
            rule(READ, apps, "replicasets"),
            rule(READ, "", "replicationcontrollers"),
            rule(READ, "policy", "poddisruptionbudgets"),
            rule(READ, "apps", "statefulsets"),
            rule("patch,update", "policy", "poddisruptionbudgets/status"),
            rule("patch,update", "", "pods/status"),
            rule("get", "*", "*/scale"),
        ],
        "endpoint-controller" => vec![
            rule(READ, "", "pods,services"),
            rule("create,delete,get,list,update,watch", "", "endpoints"),
            rule("create", "", "endpoints/restricted"),
        ],
        "endpointslice-controller" => vec![
            rule(READ, "", "nodes,pods,services"),
            rule("update", "", "services/finalizers"),
            rule(
                "create,delete,get,list,patch,update,watch",
                "discovery.k8s.io",
                "endpointslices",
            ),
            // One reconciler keeps endpoints in both of their forms.
            rule("create,delete,get,list,patch,update,watch", "", "endpoints"),
        ],
        "endpointslicemirroring-controller" => vec![
            rule(READ, "", "endpoints,services"),
            rule("update", "", "services/finalizers"),
            rule("update", "", "endpoints/finalizers"),
            rule(
                "create,delete,get,list,patch,update,watch",
                "discovery.k8s.io",
                "endpointslices",
            ),
        ],
        "ephemeral-volume-controller" => vec![
            rule(READ, "", "pods"),
            rule("update", "", "pods/finalizers"),
            rule("create,get,list,watch", "", "persistentvolumeclaims"),
        ],
        "expand-controller" => vec![
            rule("get,list,patch,update,watch", "", "persistentvolumes"),
            rule("patch,update", "", "persistentvolumeclaims/status"),
            rule(READ, "", "persistentvolumeclaims"),
        ],
        "generic-garbage-collector" => {
            vec![rule("delete,get,list,patch,update,watch", "*", "*")]
        }
        "horizontal-pod-autoscaler" => vec![
            rule(READ, "autoscaling", "horizontalpodautoscalers"),
            rule("update", "autoscaling", "horizontalpodautoscalers/status"),
            rule("get,update", "*", "*/scale"),
            rule("list,watch", "", "pods"),
            rule("list,watch", "metrics.k8s.io", "pods"),
            rule(READ, "custom.metrics.k8s.io", "*"),
            rule(READ, "external.metrics.k8s.io", "*"),
        ],
        "job-controller" => vec![
            // The reconciler of jobs also removes those whose time is over.
            rule("delete", "batch", "jobs"),
            rule("get,list,patch,update,watch", "batch", "jobs"),
            rule("patch,update", "batch", "jobs/status"),
            rule("update", "batch", "jobs/finalizers"),
            rule("create,delete,get,list,patch,watch", "", "pods"),
        ],
        "legacy-service-account-token-cleaner" => vec![
            named(
                "get",
                "",
                "configmaps",
                "kube-apiserver-legacy-service-account-token-tracking",
            ),
            rule("delete,patch", "", "secrets"),
        ],
        "namespace-controller" => vec![
            rule("delete,get,list,watch", "", "namespaces"),
            rule("patch,update", "", "namespaces/finalize,namespaces/status"),
            rule("delete,deletecollection,get,list,watch", "*", "*"),
        ],
        "node-controller" => vec![
            rule("delete,get,list,patch,update,watch", "", "nodes"),
            rule("patch,update", "", "nodes/status"),
            rule("patch,update", "", "pods/status"),
            rule("delete,get,list,watch", "", "pods"),
            rule(READ, "coordination.k8s.io", "leases"),
        ],
        "persistent-volume-binder" => vec![
            rule(
                "create,delete,get,list,update,watch",
                "",
                "persistentvolumes",
            ),
            rule("update", "", "persistentvolumes/status"),
            rule("get,list,update,watch", "", "persistentvolumeclaims"),
            rule("update", "", "persistentvolumeclaims/status"),
            rule("create,delete,get,list,watch", "", "pods"),
            rule(READ, "storage.k8s.io", "storageclasses"),
            rule("list,watch", "", "nodes"),
            rule("watch", "", "events"),
        ],
        "pod-garbage-collector" => vec![
            rule("delete,get,list,watch", "", "pods"),
            rule(READ, "", "nodes"),
            rule("patch", "", "pods/status"),
        ],
        "pv-protection-controller" => {
            vec![rule("get,list,update,watch", "", "persistentvolumes")]
        }
        "pvc-protection-controller" => vec![
            rule("get,list,update,watch", "", "persistentvolumeclaims"),
            rule("update", "", "persistentvolumeclaims/status"),
            rule(READ, "", "pods"),
        ],
        "replicaset-controller" => vec![
            rule("get,list,patch,update,watch", apps, "replicasets"),
            rule("patch,update", apps, "replicasets/status"),
            rule("update", apps, "replicasets/finalizers"),
            rule("create,delete,get,list,patch,watch", "", "pods"),
        ],
        "replication-controller" => vec![
            rule("get,list,patch,update,watch", "", "replicationcontrollers"),
            rule("patch,update", "", "replicationcontrollers/status"),
            rule("update", "", "replicationcontrollers/finalizers"),
            rule("create,delete,get,list,patch,watch", "", "pods"),
        ],
        "resource-claim-controller" => vec![
            rule(READ, "", "pods"),
            rule("update", "", "pods/finalizers"),
            rule(
                "create,delete,get,list,watch",
                "resource.k8s.io",
                "resourceclaims",
            ),
            rule(
                "patch,update",
                "resource.k8s.io",
                "resourceclaims,resourceclaims/status",
            ),
            rule("patch,update", "", "pods/status"),
        ],
        "resourcequota-controller" => vec![
            rule("list,watch", "*", "*"),
            rule("patch,update", "", "resourcequotas/status"),
        ],
        "root-ca-cert-publisher" => vec![rule("create,patch,update", "", "configmaps")],
        "route-controller" => vec![
            rule("list,watch", "", "nodes"),
            rule("patch", "", "nodes/status"),
        ],
        "selinux-warning-controller" => vec![
            rule(READ, "", "persistentvolumes"),
            rule(READ, "", "persistentvolumeclaims"),
            rule(READ, "", "pods"),
            rule(READ, "storage.k8s.io", "csidrivers"),
        ],
        "service-account-controller" => vec![rule("create", "", "serviceaccounts")],
        "service-cidrs-controller" => vec![
            rule(
                "get,list,patch,update,watch",
                "networking.k8s.io",
                "servicecidrs",
            ),
            rule(
                "patch,update",
                "networking.k8s.io",
                "servicecidrs/finalizers",
            ),
            rule("patch,update", "networking.k8s.io", "servicecidrs/status"),
            rule(READ, "networking.k8s.io", "ipaddresses"),
        ],
        "service-controller" => vec![
            rule(READ, "", "services"),
            rule("patch,update", "", "services/status"),
            rule("list,watch", "", "nodes"),
        ],
        "statefulset-controller" => vec![
            rule("list,watch", "", "pods"),
            rule(READ, "apps", "statefulsets"),
            rule("update", "apps", "statefulsets/status"),
            rule("update", "apps", "statefulsets/finalizers"),
            rule("create,delete,get,patch,update", "", "pods"),
            rule(
                "create,delete,get,list,patch,update,watch",
                "apps",
                "controllerrevisions",
            ),
            rule("create,get,list,watch", "", "persistentvolumeclaims"),
            rule("delete,update", "", "persistentvolumeclaims"),
            rule("update", "", "pods/finalizers"),
        ],
        "storage-version-migrator-controller" => vec![
            rule("list,patch", "*", "*"),
            rule("get", "apiextensions.k8s.io", "customresourcedefinitions"),
            rule(
                "patch",
                "apiextensions.k8s.io",
                "customresourcedefinitions/status",
            ),
            rule(
                "update",
                "storagemigration.k8s.io",
                "storageversionmigrations/status",
            ),
        ],
        "ttl-after-finished-controller" => {
            vec![rule("delete,get,list,watch", "batch", "jobs")]
        }
        "tokens-controller" => vec![
            rule("delete,get,list,patch,update,watch", "", "secrets"),
            rule(READ, "", "serviceaccounts"),
        ],
        "ttl-controller" => vec![rule("list,patch,update,watch", "", "nodes")],
        "validatingadmissionpolicy-status-controller" => vec![
            rule(
                READ,
                "admissionregistration.k8s.io",
                "validatingadmissionpolicies",
            ),
            rule(
                "get,patch,update",
                "admissionregistration.k8s.io",
                "validatingadmissionpolicies/status",
            ),
        ],
        "volumeattributesclass-protection-controller" => vec![
            rule(READ, "", "persistentvolumeclaims"),
            rule(READ, "", "persistentvolumes"),
            rule(
                "get,list,update,watch",
                "storage.k8s.io",
                "volumeattributesclasses",
            ),
        ],
        _ => Vec::new(),
    };
    if !SILENT.contains(&name) {
        rules.push(events());
    }
    rules
}

fn full(name: &str) -> String {
    format!("system:controller:{name}")
}

pub(super) fn cluster_roles() -> Vec<Value> {
    NAMES
        .iter()
        .map(|name| role(&full(name), &rules(name)))
        .collect()
}

pub(super) fn cluster_role_bindings() -> Vec<Value> {
    NAMES
        .iter()
        .map(|name| bind(&full(name), &[account(name)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reconciler_has_rights_of_its_own() {
        for name in NAMES {
            assert!(!rules(name).is_empty(), "{name}");
            let own = rules(name).iter().any(|rule| *rule != events());
            assert!(own, "{name}");
        }
    }
}
