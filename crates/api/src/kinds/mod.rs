//! The kinds served. Each file is one kind or a small family: names, defaults, checks, columns.
//!
//! To add a kind: write its file with a function that gives its [`Kind`], and name it in [`all`].

mod config;
mod controller_revision;
mod deployment;
mod endpoints;
mod event;
mod job;
mod lease;
mod namespace;
mod node;
mod pod;
mod rbac;
mod replica_set;
mod reviews;
mod service;
mod service_account;

use crate::addresses::Addresses;
use crate::kind::Kind;
use std::sync::Arc;

/// Every kind, in the order of discovery.
pub(crate) fn all(addresses: &Arc<Addresses>) -> Vec<Kind> {
    vec![
        pod::binding(),
        config::config_map(),
        endpoints::endpoints(),
        event::core(),
        namespace::namespace(),
        node::node(),
        pod::pod(),
        config::secret(),
        service_account::service_account(),
        service::service(addresses.clone()),
        controller_revision::controller_revision(),
        deployment::deployment(),
        replica_set::replica_set(),
        event::events(),
        reviews::token_review(),
        reviews::self_subject_review(),
        reviews::local_subject_access_review(),
        reviews::self_subject_access_review(),
        reviews::self_subject_rules_review(),
        reviews::subject_access_review(),
        job::job(),
        lease::lease(),
        endpoints::endpoint_slice(),
        rbac::cluster_role_binding(),
        rbac::cluster_role(),
        rbac::role_binding(),
        rbac::role(),
    ]
}
