//! A request as admission sees it, and the form in which webhooks and expressions are told of it.

use crate::api::Inner;
use crate::audit::Trail;
use crate::identity::User;
use crate::kind::Kind;
use crate::registry::Registry;
use crate::values::set;
use serde_json::{Value, json};
use std::sync::Arc;

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// It is made.
    Create,
    /// It, or a part of it, is changed.
    Update,
    /// It is deleted.
    Delete,
    /// Someone connects to it (`exec`, `attach`, `portforward`, `proxy`).
    Connect,
}

impl Operation {
    /// Its name in rules and reviews.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }

    fn options(self) -> Option<&'static str> {
        match self {
            Self::Create => Some("CreateOptions"),
            Self::Update => Some("UpdateOptions"),
            Self::Delete => Some("DeleteOptions"),
            Self::Connect => None,
        }
    }
}

/// A request on its way to the store.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    /// The server.
    pub inner: &'a Arc<Inner>,
    /// The kinds as the request sees them.
    pub registry: &'a Registry,
    /// Who asks.
    pub user: &'a User,
    /// The kind in the path.
    pub kind: &'a Kind,
    /// The subresource in the path; empty for none.
    pub subresource: &'a str,
    /// What is done.
    pub operation: Operation,
    /// The namespace, for kinds that live in one.
    pub namespace: Option<&'a str>,
    /// The object's name.
    pub name: &'a str,
    /// Nothing is to be stored.
    pub dry_run: bool,
    /// The field manager the client named, if any.
    pub manager: Option<&'a str>,
    /// What the audit log will say of it.
    pub trail: Option<&'a Trail>,
}

impl Request<'_> {
    /// The kind of what a subresource takes, if it is not the object itself: `Scale`, `Binding`, ...
    pub(super) fn other_kind(&self) -> bool {
        self.kind
            .subresource(self.subresource)
            .is_some_and(|sub| !sub.kind.2.is_empty())
    }

    /// `AdmissionRequest` without `uid`, `object` and `oldObject`, for an object shown as `shown`.
    pub(super) fn describe(&self, shown: &Kind) -> Value {
        let gvk = |kind: &Kind| match kind.subresource(self.subresource) {
            Some(sub) if !sub.kind.2.is_empty() => {
                json!({"group": sub.kind.0, "version": sub.kind.1, "kind": sub.kind.2})
            }
            _ => json!({"group": kind.group, "version": kind.version, "kind": kind.kind}),
        };
        let gvr = |kind: &Kind| json!({"group": kind.group, "version": kind.version, "resource": kind.plural});
        let mut request = json!({
            "kind": gvk(shown),
            "resource": gvr(shown),
            "requestKind": gvk(self.kind),
            "requestResource": gvr(self.kind),
        });
        if !self.subresource.is_empty() {
            set(&mut request, "subResource", self.subresource);
            set(&mut request, "requestSubResource", self.subresource);
        }
        if !self.name.is_empty() {
            set(&mut request, "name", self.name);
        }
        let is_namespace = self.kind.group.is_empty() && self.kind.plural == "namespaces";
        let namespace = if is_namespace {
            Some(self.name)
        } else {
            self.namespace
        };
        if let Some(namespace) = namespace.filter(|name| !name.is_empty()) {
            set(&mut request, "namespace", namespace);
        }
        set(&mut request, "operation", self.operation.name());
        set(&mut request, "userInfo", user_info(self.user));
        set(&mut request, "dryRun", self.dry_run);
        if let Some(kind) = self.operation.options() {
            let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
            if self.dry_run {
                set(&mut options, "dryRun", json!(["All"]));
            }
            if let Some(manager) = self.manager.filter(|_| self.operation != Operation::Delete) {
                set(&mut options, "fieldManager", manager);
            }
            set(&mut request, "options", options);
        }
        request
    }
}

/// `authentication.k8s.io/v1` `UserInfo`.
pub(super) fn user_info(user: &User) -> Value {
    let mut info = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        set(&mut info, "uid", user.uid.as_str());
    }
    if !user.extra.is_empty() {
        set(&mut info, "extra", json!(user.extra));
    }
    info
}
