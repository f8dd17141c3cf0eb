//! Roles of people, of nodes, and of a control plane's parts.

use super::{
    account, bind, bind_as, bind_in, events, group, named, part, paths, role, role_in, rule, user,
    whole,
};
use serde_json::Value;

const READ: &str = "get,list,watch";
const WRITE: &str = "create,delete,deletecollection,patch,update";
const READ_WRITE: &str = "create,delete,deletecollection,get,list,patch,update,watch";
const LEAD: &str = "create,get,list,update,watch";
const LEASES: &str = "coordination.k8s.io";
const CERTIFICATES: &str = "certificates.k8s.io";

const HEALTH: &str = "/healthz,/livez,/readyz,/version,/version/";

fn view() -> Vec<Value> {
    vec![
        rule(
            READ,
            "",
            "configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,pods,\
             replicationcontrollers,replicationcontrollers/scale,serviceaccounts,services,services/status",
        ),
        rule(
            READ,
            "",
            "bindings,events,limitranges,namespaces/status,pods/log,pods/status,\
             replicationcontrollers/status,resourcequotas,resourcequotas/status",
        ),
        rule(READ, "", "namespaces"),
        rule(READ, "discovery.k8s.io", "endpointslices"),
        rule(
            READ,
            "apps",
            "controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,\
             deployments/status,replicasets,replicasets/scale,replicasets/status,statefulsets,\
             statefulsets/scale,statefulsets/status",
        ),
        rule(
            READ,
            "autoscaling",
            "horizontalpodautoscalers,horizontalpodautoscalers/status",
        ),
        rule(READ, "batch", "cronjobs,cronjobs/status,jobs,jobs/status"),
        rule(
            READ,
            "extensions",
            "daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,ingresses,\
             ingresses/status,networkpolicies,replicasets,replicasets/scale,replicasets/status,\
             replicationcontrollers/scale",
        ),
        rule(
            READ,
            "policy",
            "poddisruptionbudgets,poddisruptionbudgets/status",
        ),
        rule(
            READ,
            "networking.k8s.io",
            "ingresses,ingresses/status,networkpolicies",
        ),
        rule(
            READ,
            "resource.k8s.io",
            "resourceclaims,resourceclaims/status,resourceclaimtemplates",
        ),
    ]
}

fn edit() -> Vec<Value> {
    vec![
        rule(
            READ,
            "",
            "pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy",
        ),
        rule("impersonate", "", "serviceaccounts"),
        rule(
            WRITE,
            "",
            "pods,pods/attach,pods/exec,pods/portforward,pods/proxy",
        ),
        rule("create", "", "pods/eviction"),
        rule(
            WRITE,
            "",
            "configmaps,events,persistentvolumeclaims,replicationcontrollers,\
             replicationcontrollers/scale,secrets,serviceaccounts,services,services/proxy",
        ),
        rule("create", "", "serviceaccounts/token"),
        rule(
            WRITE,
            "apps",
            "daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,\
             replicasets/scale,statefulsets,statefulsets/scale",
        ),
        rule(WRITE, "autoscaling", "horizontalpodautoscalers"),
        rule(WRITE, "batch", "cronjobs,jobs"),
        rule(
            WRITE,
            "extensions",
            "daemonsets,deployments,deployments/rollback,deployments/scale,ingresses,\
             networkpolicies,replicasets,replicasets/scale,replicationcontrollers/scale",
        ),
        rule(WRITE, "policy", "poddisruptionbudgets"),
        rule(WRITE, "networking.k8s.io", "ingresses,networkpolicies"),
        rule(READ_WRITE, "coordination.k8s.io", "leases"),
        rule(
            WRITE,
            "resource.k8s.io",
            "resourceclaims,resourceclaimtemplates",
        ),
    ]
}

fn admin() -> Vec<Value> {
    vec![
        rule(
            "create",
            "authorization.k8s.io",
            "localsubjectaccessreviews",
        ),
        rule(READ_WRITE, super::GROUP, "rolebindings,roles"),
    ]
}

/// What every node may do alike; what differs from node to node the node authorizer decides.
pub fn node_rules() -> Vec<Value> {
    vec![
        rule("create", "authentication.k8s.io", "tokenreviews"),
        rule(
            "create",
            "authorization.k8s.io",
            "localsubjectaccessreviews,subjectaccessreviews",
        ),
        rule(READ, "", "services"),
        rule("create,get,list,watch", "", "nodes"),
        rule("patch,update", "", "nodes/status"),
        rule("patch,update", "", "nodes"),
        events(),
        rule(READ, "", "pods"),
        rule("create,delete", "", "pods"),
        rule("patch,update", "", "pods/status"),
        rule("create", "", "pods/eviction"),
        rule(READ, "", "configmaps,secrets"),
        rule("get", "", "persistentvolumeclaims,persistentvolumes"),
        rule("get", "", "endpoints"),
        rule(
            "create,get,list,watch",
            CERTIFICATES,
            "certificatesigningrequests",
        ),
        rule(
            "create,delete,get,patch,update",
            "coordination.k8s.io",
            "leases",
        ),
        rule("get", "storage.k8s.io", "volumeattachments"),
        rule("create", "", "serviceaccounts/token"),
        rule("get", "", "serviceaccounts"),
        rule("get,patch,update", "", "persistentvolumeclaims/status"),
        rule(READ, "storage.k8s.io", "csidrivers"),
        rule(
            "create,delete,get,patch,update",
            "storage.k8s.io",
            "csinodes",
        ),
        rule(READ, "node.k8s.io", "runtimeclasses"),
        rule("get", "resource.k8s.io", "resourceclaims"),
        rule("deletecollection", "resource.k8s.io", "resourceslices"),
    ]
}

/// The cluster roles that are no reconciler's.
pub(super) fn cluster_roles() -> Vec<Value> {
    let edit_rules = [edit(), view()].concat();
    let admin_rules = [admin(), edit_rules.clone()].concat();
    let approver = |signer: &str| {
        role(
            &format!("system:certificates.k8s.io:{signer}-approver"),
            &[named(
                "approve",
                CERTIFICATES,
                "signers",
                &format!("kubernetes.io/{signer}"),
            )],
        )
    };
    vec![
        role("cluster-admin", &[rule("*", "*", "*"), paths("*", "*")]),
        role(
            "system:discovery",
            &[paths(
                "get",
                "/api,/api/*,/apis,/apis/*,/healthz,/livez,/openapi,/openapi/*,/readyz,/version,/version/",
            )],
        ),
        role("system:public-info-viewer", &[paths("get", HEALTH)]),
        role(
            "system:monitoring",
            &[paths(
                "get",
                "/healthz,/healthz/*,/livez,/livez/*,/metrics,/metrics/slis,/readyz,/readyz/*",
            )],
        ),
        role(
            "system:basic-user",
            &[
                rule(
                    "create",
                    "authorization.k8s.io",
                    "selfsubjectaccessreviews,selfsubjectrulesreviews",
                ),
                rule("create", "authentication.k8s.io", "selfsubjectreviews"),
            ],
        ),
        whole("admin", None, &admin_rules),
        whole("edit", Some("admin"), &edit_rules),
        whole("view", Some("edit"), &view()),
        part("admin", &admin()),
        part("edit", &edit()),
        part("view", &view()),
        role(
            "system:heapster",
            &[
                rule(READ, "", "events,namespaces,nodes,pods"),
                rule(READ, "extensions", "deployments"),
            ],
        ),
        role("system:node", &node_rules()),
        role(
            "system:node-problem-detector",
            &[
                rule("get", "", "nodes"),
                rule("patch", "", "nodes/status"),
                events(),
            ],
        ),
        role(
            "system:kubelet-api-admin",
            &[
                rule(READ, "", "nodes"),
                rule("proxy", "", "nodes"),
                rule(
                    "*",
                    "",
                    "nodes/configz,nodes/healthz,nodes/log,nodes/metrics,nodes/pods,nodes/proxy,\
                     nodes/stats",
                ),
            ],
        ),
        role(
            "system:node-bootstrapper",
            &[rule(
                "create,get,list,watch",
                CERTIFICATES,
                "certificatesigningrequests",
            )],
        ),
        role(
            "system:auth-delegator",
            &[
                rule("create", "authentication.k8s.io", "tokenreviews"),
                rule("create", "authorization.k8s.io", "subjectaccessreviews"),
            ],
        ),
        role(
            "system:kube-aggregator",
            &[rule(READ, "", "endpoints,services")],
        ),
        role("system:kube-controller-manager", &controller_manager()),
        role("system:kube-scheduler", &scheduler()),
        role(
            "system:kube-dns",
            &[rule("list,watch", "", "endpoints,services")],
        ),
        role(
            "system:persistent-volume-provisioner",
            &[
                rule("create,delete,get,list,watch", "", "persistentvolumes"),
                rule("get,list,update,watch", "", "persistentvolumeclaims"),
                rule(READ, "storage.k8s.io", "storageclasses"),
                rule("watch", "", "events"),
                events(),
            ],
        ),
        role(
            "system:volume-scheduler",
            &[
                rule("get,list,patch,update,watch", "", "persistentvolumes"),
                rule(READ, "storage.k8s.io", "storageclasses"),
                rule("get,list,patch,update,watch", "", "persistentvolumeclaims"),
            ],
        ),
        role(
            "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
            &[rule(
                "create",
                CERTIFICATES,
                "certificatesigningrequests/nodeclient",
            )],
        ),
        role(
            "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
            &[rule(
                "create",
                CERTIFICATES,
                "certificatesigningrequests/selfnodeclient",
            )],
        ),
        approver("kube-apiserver-client"),
        approver("kube-apiserver-client-kubelet"),
        approver("kubelet-serving"),
        approver("legacy-unknown"),
        role(
            "system:node-proxier",
            &[
                rule("list,watch", "", "endpoints,services"),
                rule(READ, "", "nodes"),
                events(),
                rule("list,watch", "discovery.k8s.io", "endpointslices"),
                rule("list,watch", "networking.k8s.io", "servicecidrs"),
            ],
        ),
        role(
            "system:service-account-issuer-discovery",
            &[paths(
                "get",
                "/.well-known/openid-configuration,/.well-known/openid-configuration/,\
                 /openid/v1/jwks,/openid/v1/jwks/",
            )],
        ),
        // Every node carries out the playbooks that are for it, and tells what came of them.
        role(
            "system:consort:node-playbooks",
            &[
                rule(READ, "consort.dev", "playbooks"),
                rule("patch", "consort.dev", "playbooks/status"),
            ],
        ),
        // The service proxy is part of the node's agent here, so every node reads what it needs.
        role(
            "system:consort:node-services",
            &[
                rule("list,watch", "discovery.k8s.io", "endpointslices"),
                rule("list,watch", "", "endpoints,services"),
            ],
        ),
    ]
}

fn scheduler() -> Vec<Value> {
    vec![
        events(),
        rule("create", "coordination.k8s.io", "leases"),
        named(
            "get,list,update,watch",
            "coordination.k8s.io",
            "leases",
            "kube-scheduler",
        ),
        rule(READ, "", "nodes"),
        rule("delete,get,list,watch", "", "pods"),
        rule("create", "", "bindings,pods/binding"),
        rule("patch,update", "", "pods/status"),
        rule(READ, "", "replicationcontrollers,services"),
        rule(READ, "apps,extensions", "replicasets"),
        rule(READ, "apps", "statefulsets"),
        rule(READ, "policy", "poddisruptionbudgets"),
        rule(READ, "", "persistentvolumeclaims,persistentvolumes"),
        rule("create", "authentication.k8s.io", "tokenreviews"),
        rule("create", "authorization.k8s.io", "subjectaccessreviews"),
        rule(READ, "storage.k8s.io", "csinodes"),
        rule(READ, "", "namespaces"),
        rule(READ, "storage.k8s.io", "csidrivers"),
        rule(READ, "storage.k8s.io", "csistoragecapacities"),
        rule(READ, "storage.k8s.io", "volumeattachments"),
        rule(READ, "resource.k8s.io", "deviceclasses,resourceslices"),
        rule(
            "get,list,patch,update,watch",
            "resource.k8s.io",
            "resourceclaims",
        ),
        rule(
            "get,list,patch,update,watch",
            "resource.k8s.io",
            "resourceclaims/status",
        ),
        rule("get,list,patch,update,watch", "", "pods/finalizers"),
    ]
}

/// What the informers that all reconcilers share read, and little more: each reconciler writes under
/// an account of its own.
fn controller_manager() -> Vec<Value> {
    vec![
        events(),
        rule("create", "coordination.k8s.io", "leases"),
        named(
            "get,update",
            "coordination.k8s.io",
            "leases",
            "kube-controller-manager",
        ),
        rule("create", "", "secrets,serviceaccounts"),
        rule("delete", "", "secrets"),
        rule("get", "", "configmaps,namespaces,secrets,serviceaccounts"),
        rule("patch,update", "", "secrets,serviceaccounts"),
        rule("create", "authentication.k8s.io", "tokenreviews"),
        rule("create", "authorization.k8s.io", "subjectaccessreviews"),
        rule("list,watch", "*", "*"),
        rule("create", "", "serviceaccounts/token"),
        // Discovery of every kind, for garbage collection and the end of namespaces.
        paths(
            "get",
            "/api,/api/*,/apis,/apis/*,/version,/openapi,/openapi/*",
        ),
    ]
}

pub(super) fn cluster_role_bindings() -> Vec<Value> {
    let authenticated = || group("system:authenticated");
    vec![
        bind("cluster-admin", &[group("system:masters")]),
        bind("system:monitoring", &[group("system:monitoring")]),
        bind("system:discovery", &[authenticated()]),
        bind("system:basic-user", &[authenticated()]),
        bind(
            "system:public-info-viewer",
            &[authenticated(), group("system:unauthenticated")],
        ),
        bind("system:node-proxier", &[user("system:kube-proxy")]),
        bind(
            "system:kube-controller-manager",
            &[user("system:kube-controller-manager")],
        ),
        bind("system:kube-dns", &[account("kube-dns")]),
        bind("system:kube-scheduler", &[user("system:kube-scheduler")]),
        bind("system:volume-scheduler", &[user("system:kube-scheduler")]),
        // Without a subject: the node authorizer gives nodes their rights.
        bind("system:node", &[]),
        bind(
            "system:service-account-issuer-discovery",
            &[group("system:serviceaccounts")],
        ),
        bind("system:consort:node-playbooks", &[group("system:nodes")]),
        bind("system:consort:node-services", &[group("system:nodes")]),
        // Nodes renew their own certificates, and those that hold a bootstrap token for nodes get a first.
        bind_as(
            "system:consort:node-certificate-renewal",
            "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
            &[group("system:nodes")],
        ),
    ]
}

/// The roles and bindings within `kube-system` and `kube-public`.
pub(super) fn in_namespaces() -> Vec<Value> {
    let (system, public) = ("kube-system", "kube-public");
    let bootstrap_signer = "system:controller:bootstrap-signer";
    let leader = |part: &str| {
        role_in(
            system,
            &format!("system::leader-locking-{part}"),
            &[
                rule(LEAD, LEASES, "leases"),
                rule(LEAD, LEASES, "leasecandidates"),
            ],
        )
    };
    let leads = |part: &str| {
        let name = format!("system::leader-locking-{part}");
        bind_in(
            system,
            &name,
            &name,
            &[user(&format!("system:{part}")), account(part)],
        )
    };
    vec![
        role_in(
            system,
            "extension-apiserver-authentication-reader",
            &[named(
                READ,
                "",
                "configmaps",
                "extension-apiserver-authentication",
            )],
        ),
        role_in(system, bootstrap_signer, &[rule(READ, "", "secrets")]),
        role_in(
            system,
            "system:controller:cloud-provider",
            &[rule("create,get,list,watch", "", "configmaps")],
        ),
        role_in(
            system,
            "system:controller:token-cleaner",
            &[rule("delete,get,list,watch", "", "secrets"), events()],
        ),
        leader("kube-controller-manager"),
        leader("kube-scheduler"),
        // Cluster DNS is part of the node's agent, which keeps its service and endpoints.
        role_in(
            system,
            "system:consort:cluster-dns",
            &[
                rule("create", "", "services"),
                rule("create", "discovery.k8s.io", "endpointslices"),
                named("get,patch,update", "", "services", "kube-dns"),
                named(
                    "get,patch,update",
                    "discovery.k8s.io",
                    "endpointslices",
                    "kube-dns,kube-dns-consort",
                ),
            ],
        ),
        role_in(
            public,
            bootstrap_signer,
            &[
                rule(READ, "", "configmaps"),
                named("patch,update", "", "configmaps", "cluster-info"),
                events(),
            ],
        ),
        bind_in(
            system,
            bootstrap_signer,
            bootstrap_signer,
            &[account("bootstrap-signer")],
        ),
        bind_in(
            system,
            "system:controller:cloud-provider",
            "system:controller:cloud-provider",
            &[account("cloud-provider")],
        ),
        bind_in(
            system,
            "system:controller:token-cleaner",
            "system:controller:token-cleaner",
            &[account("token-cleaner")],
        ),
        bind_in(
            system,
            "system::extension-apiserver-authentication-reader",
            "extension-apiserver-authentication-reader",
            &[
                user("system:kube-controller-manager"),
                user("system:kube-scheduler"),
            ],
        ),
        leads("kube-controller-manager"),
        leads("kube-scheduler"),
        bind_in(
            system,
            "system:consort:cluster-dns",
            "system:consort:cluster-dns",
            &[group("system:nodes")],
        ),
        bind_in(
            public,
            bootstrap_signer,
            bootstrap_signer,
            &[account("bootstrap-signer")],
        ),
    ]
}
