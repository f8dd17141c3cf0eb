//! `binding` places a pod on a node.

use super::update::{Change, Part};
use crate::admission::{self, Operation};
use crate::body::Body;
use crate::call::Call;
use crate::error::{Outcome, bad_request, fail};
use crate::kind::Kind;
use crate::request::WriteOptions;
use crate::respond;
use crate::schema::KindSchema;
use crate::values::{at, ensure, items, items_mut, members, set, text};
use bytes::Bytes;
use consort_object::field_error::FieldError;
use consort_object::schema::Gvk;
use consort_object::status::Status;
use http::Response;
use serde_json::{Value, json};

/// Read a body of this kind that is not an object to be stored.
pub(super) fn decode(call: &Call, body: &[u8], gvk: &Gvk) -> Outcome<(Value, WriteOptions)> {
    let options = WriteOptions::of(&call.query, "CreateOptions")?;
    let encoding = call.body_encoding()?;
    let decoded = KindSchema::of(gvk).decode(body, encoding, gvk, options.field_validation)?;
    Ok((decoded.value, options))
}

/// `POST` of a `Binding`, to a pod's subresource or to the collection `bindings`.
pub(crate) async fn bind(
    call: &Call,
    pods: &Kind,
    namespace: Option<&str>,
    name: Option<&str>,
    body: Bytes,
) -> Outcome<Response<Body>> {
    let (binding, options) = decode(call, &body, &Gvk::new("", "v1", "Binding"))?;
    let own = text(&binding, &["metadata", "name"]);
    let name = match name {
        Some(name) if !own.is_empty() && own != name => {
            return Err(bad_request(
                "name in URL does not match name in Binding object",
            ));
        }
        Some(name) => name,
        None => own,
    };
    let node = text(&binding, &["target", "name"]).to_owned();
    let kind = text(&binding, &["target", "kind"]);
    if !matches!(kind, "" | "Node" | "Minion") {
        let error = FieldError::not_supported("target.kind", kind, &["Node", "<empty>"]);
        return fail(Status::invalid("", "Binding", name, &[error]));
    }
    if node.is_empty() {
        let error = FieldError::required("target.name", "");
        return fail(Status::invalid("", "Binding", name, &[error]));
    }
    let mut change = Change::of(call, pods, namespace, name, Part::Status, &options);
    change.subresource = "binding";
    let request = change.request(Operation::Create, name);
    admission::validate(&request, Some(&binding), None).await?;
    change.place(&binding, &node).await?;
    let mut status = Status::success(None);
    status.code = 201;
    let encoding = call.accept()?.encoding;
    Ok(respond::status(&status, encoding))
}

impl Change<'_> {
    /// Put a pod on a node, if it has none yet and is not being deleted.
    async fn place(&self, binding: &Value, node: &str) -> Outcome<()> {
        let refuse = |why: String| fail(Status::conflict("", "pods/binding", self.name, why));
        self.run_raw(|pod| {
            if at(pod, &["metadata", "deletionTimestamp"]).is_some() {
                return refuse(format!(
                    "pod {} is being deleted, cannot be assigned to a host",
                    self.name
                ));
            }
            let uid = text(binding, &["metadata", "uid"]);
            let own = text(pod, &["metadata", "uid"]);
            if !uid.is_empty() && uid != own {
                return refuse(format!(
                    "Precondition failed: UID in precondition: {uid}, UID in object meta: {own}"
                ));
            }
            let present = text(pod, &["spec", "nodeName"]);
            if !present.is_empty() {
                return refuse(format!(
                    "pod {} is already assigned to node {present:?}",
                    self.name
                ));
            }
            if !items(pod, &["spec", "schedulingGates"]).is_empty() {
                return refuse(format!(
                    "pod {} has non-empty .spec.schedulingGates",
                    self.name
                ));
            }
            let mut value = pod.clone();
            set(ensure(&mut value, "spec"), "nodeName", node);
            let annotations: Vec<(String, Value)> = members(binding, &["metadata", "annotations"])
                .map(|(key, value)| (key.to_owned(), value.clone()))
                .collect();
            if !annotations.is_empty() {
                let own = ensure(ensure(&mut value, "metadata"), "annotations");
                for (key, annotation) in annotations {
                    set(own, &key, annotation);
                }
            }
            scheduled(ensure(&mut value, "status"));
            Ok(value)
        })
        .await
    }
}

/// Note in the conditions that the pod has a node.
fn scheduled(status: &mut Value) {
    let now = consort_object::time::now();
    let condition = json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": now});
    let present = items_mut(status, "conditions")
        .find(|condition| text(condition, &["type"]) == "PodScheduled");
    if let Some(present) = present {
        *present = condition;
        return;
    }
    match status.get_mut("conditions").and_then(Value::as_array_mut) {
        Some(conditions) => conditions.push(condition),
        None => set(status, "conditions", json!([condition])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placing_a_pod_replaces_its_scheduling_condition() {
        let mut status = json!({"conditions": [{"type": "PodScheduled", "status": "False"}]});
        scheduled(&mut status);
        assert_eq!(status["conditions"].as_array().unwrap().len(), 1);
        assert_eq!(status["conditions"][0]["status"], "True");
    }
}
