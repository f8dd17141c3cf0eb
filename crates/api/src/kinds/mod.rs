//! The kinds served. Each file is one kind or a small family: names, defaults, checks, columns.
//!
//! To add a kind: write its file with a function that gives its [`Kind`], and name it in [`all`].

mod admission_policy;
mod certificate;
mod component_status;
mod config;
mod controller_revision;
mod cron_job;
mod csi;
mod daemon_set;
mod deployment;
mod endpoints;
mod event;
mod horizontal_pod_autoscaler;
mod ingress;
mod job;
mod lease;
mod limit_range;
mod namespace;
mod network_policy;
mod node;
mod pod;
mod pod_disruption_budget;
mod pod_template;
pub(crate) mod priority_class;
mod rbac;
mod replicas;
mod resource_quota;
mod reviews;
mod runtime_class;
mod service;
mod service_account;
mod service_cidr;
mod stateful_set;
mod storage_class;
mod volume;
mod webhook;

use crate::addresses::Addresses;
use crate::kind::Kind;
use std::sync::Arc;

/// Every kind, in the order of discovery: upstream's order of groups, and by name within each.
pub(crate) fn all(addresses: &Arc<Addresses>) -> Vec<Kind> {
    vec![
        pod::binding(),
        component_status::component_status(),
        config::config_map(),
        endpoints::endpoints(),
        event::core(),
        limit_range::limit_range(),
        namespace::namespace(),
        node::node(),
        volume::persistent_volume_claim(),
        volume::persistent_volume(),
        pod::pod(),
        pod_template::pod_template(),
        replicas::replication_controller(),
        resource_quota::resource_quota(),
        config::secret(),
        service_account::service_account(),
        service::service(addresses.clone()),
        controller_revision::controller_revision(),
        daemon_set::daemon_set(),
        deployment::deployment(),
        replicas::replica_set(),
        stateful_set::stateful_set(),
        event::events(),
        reviews::self_subject_review(),
        reviews::token_review(),
        reviews::local_subject_access_review(),
        reviews::self_subject_access_review(),
        reviews::self_subject_rules_review(),
        reviews::subject_access_review(),
        horizontal_pod_autoscaler::v2(),
        horizontal_pod_autoscaler::v1(),
        cron_job::cron_job(),
        job::job(),
        certificate::signing_request(),
        certificate::trust_bundle(),
        certificate::pod_request(),
        ingress::ingress_class(),
        ingress::ingress(),
        service_cidr::ip_address(),
        network_policy::network_policy(),
        service_cidr::service_cidr(),
        pod_disruption_budget::pod_disruption_budget(),
        rbac::cluster_role_binding(),
        rbac::cluster_role(),
        rbac::role_binding(),
        rbac::role(),
        crate::custom::definition_kind(),
        csi::driver(),
        csi::node(),
        csi::storage_capacity(),
        storage_class::storage_class(),
        csi::attachment(),
        storage_class::volume_attributes_class(),
        admission_policy::mutating_binding(),
        admission_policy::mutating(),
        webhook::mutating(),
        admission_policy::validating_binding(),
        admission_policy::validating(),
        webhook::validating(),
        priority_class::priority_class(),
        lease::lease(),
        runtime_class::runtime_class(),
        endpoints::endpoint_slice(),
    ]
}
