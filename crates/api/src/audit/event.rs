//! What is recorded of a request at one stage, made into an `audit.k8s.io/v1` `Event`.
//!
//! Bodies are decoded here, off the reactor, and what must never be recorded is left out: of Secrets
//! and of everything that carries a token only what identifies the object stays.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;

use bytes::Bytes;
use consort_object::schema::Gvk;
use consort_object::status::Status;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::policy::{Level, Stage};
use crate::encoding;
use crate::identity::User;
use crate::negotiate;

/// Larger bodies are not recorded; the event says so.
pub(super) const LARGEST: usize = 8 * 1024 * 1024;

/// A body as it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) bytes: Bytes,
    pub(crate) media: String,
    pub(crate) gzip: bool,
}

/// What is known of a request from its head.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) id: String,
    pub(super) uri: String,
    pub(super) verb: String,
    pub(super) user: Option<Arc<User>>,
    pub(super) sources: Vec<String>,
    pub(super) agent: String,
    pub(super) received: Timestamp,
    pub(super) level: Level,
    pub(super) omit_managed_fields: bool,
    /// Group, version, resource, subresource, namespace, name; none for a path.
    pub(super) object: Option<ObjectRef>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct ObjectRef {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) resource: String,
    pub(super) subresource: String,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl ObjectRef {
    /// Whether bodies carry secrets.
    fn is_secret(&self) -> bool {
        match self.group.as_str() {
            "" => self.resource == "secrets" || self.subresource == "token",
            "authentication.k8s.io" => {
                matches!(self.resource.as_str(), "tokenreviews" | "tokenrequests")
            }
            _ => false,
        }
    }
}

/// What came to be known while the request was served.
#[derive(Clone, Debug, Default)]
pub(super) struct Course {
    pub(super) impersonated: Option<Arc<User>>,
    pub(super) constraint: String,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) request: Option<Sent>,
    pub(super) response: Option<Sent>,
    /// The code and, for a failure, the status.
    pub(super) outcome: Option<(u16, Option<Box<Status>>)>,
}

/// An event that is to be recorded.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) subject: Arc<Subject>,
    pub(super) course: Course,
    pub(super) stage: Stage,
    pub(super) at: Timestamp,
    /// What of the bound on waiting bodies it takes, until it is written.
    #[allow(dead_code)] // held, not read
    pub(super) weight: Option<tokio::sync::OwnedSemaphorePermit>,
}

fn user(user: &User) -> Value {
    let mut json = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        json["uid"] = user.uid.as_str().into();
    }
    if !user.extra.is_empty() {
        json["extra"] = json!(user.extra);
    }
    json
}

impl Entry {
    /// The event's JSON.
    pub(super) fn render(&self) -> Value {
        let subject = &*self.subject;
        let course = &self.course;
        let secret = subject.object.as_ref().is_some_and(ObjectRef::is_secret);
        let mut annotations = course.annotations.clone();
        let mut object = subject.object.as_ref().map(object_ref);
        let sent = course.request.as_ref().filter(|_| {
            subject.level >= Level::Request
                || subject
                    .object
                    .as_ref()
                    .is_some_and(|object| object.name.is_empty())
        });
        let mut decode = |sent: Option<&Sent>| match sent.map(decode) {
            None | Some(Decoded::Nothing) => None,
            Some(Decoded::Body(value)) => Some(value),
            Some(Decoded::TooLarge) => {
                annotations.insert("audit.k8s.io/truncated".to_owned(), "true".to_owned());
                None
            }
        };
        let request = decode(sent);
        let response = if subject.level >= Level::RequestResponse {
            decode(course.response.as_ref())
        } else {
            None
        };
        if let (Some(object), Some(request)) = (&mut object, &request) {
            complete(object, request);
        }
        let mut event = Map::new();
        let mut set = |key: &str, value: Value| event.insert(key.to_owned(), value);
        set("kind", "Event".into());
        set("apiVersion", "audit.k8s.io/v1".into());
        set("level", json!(subject.level));
        set("auditID", subject.id.as_str().into());
        set("stage", json!(self.stage));
        set("requestURI", subject.uri.as_str().into());
        set("verb", subject.verb.as_str().into());
        set("user", subject.user.as_deref().map_or(json!({}), user));
        if let Some(impersonated) = &course.impersonated {
            set("impersonatedUser", user(impersonated));
        }
        if !course.constraint.is_empty() {
            set(
                "authenticationMetadata",
                json!({"impersonationConstraint": course.constraint}),
            );
        }
        if !subject.sources.is_empty() {
            set("sourceIPs", json!(subject.sources));
        }
        if !subject.agent.is_empty() {
            set("userAgent", subject.agent.as_str().into());
        }
        if let Some(object) = object {
            set("objectRef", object);
        }
        if let Some((code, failure)) = &course.outcome {
            set("responseStatus", outcome(*code, failure.as_deref(), secret));
        }
        let body = |value: Value| {
            if secret {
                identity_of(&value)
            } else {
                let mut value = value;
                if subject.omit_managed_fields {
                    drop_managed_fields(&mut value);
                }
                value
            }
        };
        if subject.level >= Level::Request
            && let Some(request) = request
        {
            set("requestObject", body(request));
        }
        if let Some(response) = response {
            set("responseObject", body(response));
        }
        let time = consort_object::time::format_micros;
        set("requestReceivedTimestamp", time(subject.received).into());
        set("stageTimestamp", time(self.at).into());
        if !annotations.is_empty() {
            set("annotations", json!(annotations));
        }
        Value::Object(event)
    }
}

fn object_ref(object: &ObjectRef) -> Value {
    let mut json = Map::new();
    for (key, value) in [
        ("resource", &object.resource),
        ("namespace", &object.namespace),
        ("name", &object.name),
        ("apiGroup", &object.group),
        ("apiVersion", &object.version),
        ("subresource", &object.subresource),
    ] {
        if !value.is_empty() {
            json.insert(key.to_owned(), value.as_str().into());
        }
    }
    Value::Object(json)
}

/// What the path does not say of the object its body may.
fn complete(object: &mut Value, body: &Value) {
    let Some(object) = object.as_object_mut() else {
        return;
    };
    let Some(meta) = body.get("metadata") else {
        return;
    };
    for field in ["name", "namespace", "uid", "resourceVersion"] {
        if let Some(text) = meta.get(field).and_then(Value::as_str)
            && !text.is_empty()
            && !object.contains_key(field)
        {
            object.insert(field.to_owned(), text.into());
        }
    }
}

fn outcome(code: u16, failure: Option<&Status>, secret: bool) -> Value {
    let Some(failure) = failure else {
        return json!({"metadata": {}, "code": code});
    };
    let mut json: Value = serde_json::from_slice(&failure.to_json()).unwrap_or_default();
    if let Some(json) = json.as_object_mut() {
        json.remove("kind");
        json.remove("apiVersion");
        // What is wrong with a body is told with parts of it.
        if secret && matches!(code, 400 | 422) {
            json.remove("message");
            json.remove("details");
        }
    }
    json
}

enum Decoded {
    Nothing,
    TooLarge,
    Body(Value),
}

fn decode(sent: &Sent) -> Decoded {
    if sent.bytes.is_empty() {
        return Decoded::Nothing;
    }
    if sent.bytes.len() > LARGEST {
        return Decoded::TooLarge;
    }
    let mut bytes = sent.bytes.clone();
    if sent.gzip {
        let mut plain = Vec::new();
        let read = flate2::read::GzDecoder::new(&bytes[..])
            .take(LARGEST as u64 + 1)
            .read_to_end(&mut plain);
        if read.is_err() {
            return Decoded::Nothing;
        }
        if plain.len() > LARGEST {
            return Decoded::TooLarge;
        }
        bytes = plain.into();
    }
    if sent.media.ends_with("apply-patch+yaml") || sent.media.ends_with("apply-patch+cbor") {
        return encoding::yaml(&bytes).map_or(Decoded::Nothing, Decoded::Body);
    }
    let media = if sent.media.ends_with("+json") {
        "application/json"
    } else {
        sent.media.split(';').next().unwrap_or_default().trim()
    };
    let Some(kind) = negotiate::body_encoding(media) else {
        return Decoded::Nothing;
    };
    match encoding::parse(&bytes, kind, &Gvk::new("", "", "")) {
        Ok((value, _)) => Decoded::Body(value),
        Err(_) => Decoded::Nothing,
    }
}

/// What of an object with secrets may be recorded: which one it is.
fn identity_of(value: &Value) -> Value {
    let mut kept = Map::new();
    for field in ["kind", "apiVersion"] {
        if let Some(text) = value.get(field).and_then(Value::as_str) {
            kept.insert(field.to_owned(), text.into());
        }
    }
    let mut meta = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion"] {
        let text = value.get("metadata").and_then(|meta| meta.get(field));
        if let Some(text) = text.and_then(Value::as_str) {
            meta.insert(field.to_owned(), text.into());
        }
    }
    if !meta.is_empty() {
        kept.insert("metadata".to_owned(), Value::Object(meta));
    }
    Value::Object(kept)
}

fn drop_managed_fields(value: &mut Value) {
    let drop = |object: &mut Value| {
        if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            meta.remove("managedFields");
        }
    };
    drop(value);
    for list in ["items", "rows"] {
        for item in value
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            drop(item);
            if let Some(object) = item.get_mut("object") {
                drop(object);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(resource: &str, subresource: &str, request: &Value, response: &Value) -> Value {
        let sent = |value: &Value| Sent {
            bytes: value.to_string().into(),
            media: "application/json".to_owned(),
            gzip: false,
        };
        Entry {
            subject: Arc::new(Subject {
                id: "id".to_owned(),
                uri: "/api/v1/namespaces/shop/secrets".to_owned(),
                verb: "create".to_owned(),
                user: Some(Arc::new(User::new("jane", ["dev"]))),
                sources: vec!["127.0.0.1".to_owned()],
                agent: "kubectl".to_owned(),
                received: Timestamp::now(),
                level: Level::RequestResponse,
                omit_managed_fields: true,
                object: Some(ObjectRef {
                    version: "v1".to_owned(),
                    resource: resource.to_owned(),
                    subresource: subresource.to_owned(),
                    namespace: "shop".to_owned(),
                    ..ObjectRef::default()
                }),
            }),
            course: Course {
                request: Some(sent(request)),
                response: Some(sent(response)),
                outcome: Some((201, None)),
                ..Course::default()
            },
            stage: Stage::ResponseComplete,
            at: Timestamp::now(),
            weight: None,
        }
        .render()
    }

    #[test]
    fn bodies_are_recorded_and_the_name_comes_from_them() {
        let map = json!({"kind": "ConfigMap", "metadata": {"name": "c", "managedFields": [{}]},
            "data": {"a": "b"}});
        let event = entry("configmaps", "", &map, &map);
        assert_eq!(event["objectRef"]["name"], "c");
        assert_eq!(event["requestObject"]["data"]["a"], "b");
        assert_eq!(
            event["responseObject"]["metadata"].get("managedFields"),
            None
        );
        assert_eq!(event["responseStatus"]["code"], 201);
        assert_eq!(event["user"]["username"], "jane");
    }

    #[test]
    fn no_secret_is_ever_recorded() {
        let secret = json!({"kind": "Secret", "metadata": {"name": "s",
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hunter2"}},
            "data": {"p": "hunter2"}, "stringData": {"p": "hunter2"},
            "items": [{"data": {"p": "hunter2"}}], "status": {"token": "hunter2"}});
        let patch = json!([{"op": "add", "path": "/data/p", "value": "hunter2"}]);
        for (resource, sub) in [("secrets", ""), ("serviceaccounts", "token")] {
            for request in [&secret, &patch] {
                let event = entry(resource, sub, request, &secret).to_string();
                assert!(!event.contains("hunter2"), "{event}");
                assert!(event.contains("\"responseObject\":{\"kind\":\"Secret\""));
            }
        }
    }
}
