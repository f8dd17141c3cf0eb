//! The parameters of policies: which objects a binding's `paramRef` means.

use super::Request;
use crate::error::{Outcome, internal};
use crate::handlers::read::{self, store_failure};
use crate::kind::Kind;
use crate::respond::show;
use crate::values::{at, text};
use consort_object::LabelSelector;
use consort_object::schema::Gvk;
use consort_store::Key;
use serde_json::Value;

/// A binding's `paramRef`.
pub(super) struct Params {
    name: String,
    namespace: String,
    selector: Option<Result<LabelSelector, String>>,
    /// `parameterNotFoundAction`: none found is a fault.
    needed: bool,
}

/// Why there are no parameters.
pub(super) enum Missing {
    /// None are needed: the binding says nothing about this request.
    Allowed,
    /// In words.
    Fault(String),
}

impl Params {
    /// From `paramRef`.
    pub(super) fn new(reference: &Value) -> Self {
        Self {
            name: text(reference, &["name"]).to_owned(),
            namespace: text(reference, &["namespace"]).to_owned(),
            selector: at(reference, &["selector"]).map(|selector| {
                LabelSelector::from_json(selector).map_err(|error| error.to_string())
            }),
            needed: text(reference, &["parameterNotFoundAction"]) != "Allow",
        }
    }

    /// The objects meant, in the form of the policy's `paramKind`.
    pub(super) fn find(
        &self,
        request: &Request<'_>,
        gvk: &Gvk,
    ) -> Outcome<Result<Vec<Value>, Missing>> {
        let fault = |why: String| Ok(Err(Missing::Fault(why)));
        let Some(kind) = kind_of(request, gvk) else {
            return fault(format!(
                "failed to find resource referenced by paramKind: '{gvk}'"
            ));
        };
        let namespace = if !kind.namespaced {
            if !self.namespace.is_empty() {
                return fault(
                    "paramRef.namespace must not be provided for a cluster-scoped `paramKind`"
                        .into(),
                );
            }
            None
        } else if !self.namespace.is_empty() {
            Some(self.namespace.as_str())
        } else {
            match request.namespace.filter(|_| request.kind.namespaced) {
                Some(namespace) => Some(namespace),
                None => {
                    return fault(
                        "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".into(),
                    );
                }
            }
        };
        let found = match &self.selector {
            _ if !self.name.is_empty() => {
                let Ok(key) = read::key(kind, namespace, &self.name) else {
                    return fault(format!(
                        "the name {:?} of the parameter cannot be one",
                        self.name
                    ));
                };
                let object = request.inner.store.get(&key).map_err(store_failure)?;
                object.into_iter().collect()
            }
            Some(Ok(selector)) => {
                let prefix = Key::prefix(&kind.storage.0, &kind.storage.1, namespace);
                let page = request
                    .inner
                    .store
                    .range(&prefix, None, None, None, |head| selector.matches(head))
                    .map_err(store_failure)?;
                page.objects
            }
            Some(Err(why)) => return fault(why.clone()),
            None => return fault("one of name or selector must be specified".into()),
        };
        if found.is_empty() {
            return if self.needed {
                fault(
                    "no params found for policy binding with `Deny` parameterNotFoundAction".into(),
                )
            } else {
                Ok(Err(Missing::Allowed))
            };
        }
        let values: Result<Vec<Value>, _> = found
            .iter()
            .map(|object| object.value().map(|value| show(kind, value)))
            .collect();
        values.map(Ok).map_err(internal)
    }
}

fn kind_of<'a>(request: &Request<'a>, gvk: &'a Gvk) -> Option<&'a Kind> {
    request
        .registry
        .kinds_of(&gvk.group, &gvk.version)
        .find(|kind| kind.kind == gvk.kind)
        .map(|kind| &**kind)
}
