//! What is asked of an API server, over `kube::Client`: lists in pages, gets, applies, dry runs, deletions.

use bytes::Bytes;
use consort_plan::Problem;
use http::{Method, Request, header};
use kube::Client;
use kube::client::Body;
use kube::core::Status;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The field manager of everything a score applies.
pub(crate) const MANAGER: &str = "consort-score";

/// How many objects one page of a list has. The server sends bytes it has already, so that pages may be large.
const PAGE: usize = 1000;

/// A request that did not go well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The server refused it.
    #[error("{}", .0.message)]
    Refused(Box<Status>),
    /// There was no answer, or none that can be read.
    #[error("{0}")]
    Unanswered(String),
}

impl Failure {
    /// The code of the answer; zero if there was none.
    pub(crate) fn code(&self) -> u16 {
        match self {
            Failure::Refused(status) => status.code,
            Failure::Unanswered(_) => 0,
        }
    }

    /// Whether the same request may go well later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Failure::Unanswered(_) => true,
            Failure::Refused(status) => {
                matches!(status.code, 408 | 409 | 429 | 502..=504)
                    || status.code == 500 && !status.message.starts_with(UNMERGEABLE)
                    || self.is_not_yet()
            }
        }
    }

    /// Whether something has to come to be first that comes by itself: a webhook that does not answer yet, a service
    /// account of a new namespace, a kind that was just defined.
    pub(crate) fn is_not_yet(&self) -> bool {
        let Failure::Refused(status) = self else {
            return false;
        };
        let message = status.message.as_str();
        message.contains("failed calling webhook")
            || message.contains("failed to call webhook")
            || message.contains("conversion webhook for")
            || status.code == 403
                && (message.contains("error looking up service account")
                    || message.contains("no API token found")
                    || message.contains("not yet ready to handle request"))
            || status.code == 404
                && (message.contains("could not find the requested resource")
                    || message.contains("page not found"))
    }

    /// Whether what is wrong is the object, whatever else there will be.
    pub(crate) fn is_about_the_object(&self) -> bool {
        match self {
            Failure::Refused(status) => {
                matches!(status.code, 400 | 422) || status.message.starts_with(UNMERGEABLE)
            }
            Failure::Unanswered(_) => false,
        }
    }

    /// Whether the present object cannot be changed so, but a new one could be made.
    pub(crate) fn is_immutable(&self) -> bool {
        let Failure::Refused(status) = self else {
            return false;
        };
        if status.code != 422 {
            return false;
        }
        let causes = status.details.iter().flat_map(|details| &details.causes);
        let mut messages = causes
            .map(|cause| cause.message.as_str())
            .chain([status.message.as_str()]);
        messages.any(says_immutable)
    }

    /// The fields a refusal names, with what is said of each.
    pub(crate) fn causes(&self) -> Vec<(String, String)> {
        let Failure::Refused(status) = self else {
            return Vec::new();
        };
        let causes = status.details.iter().flat_map(|details| &details.causes);
        let mut all: Vec<(String, String)> = causes
            .filter(|cause| !cause.field.is_empty())
            .map(|cause| (cause.field.clone(), cause.message.clone()))
            .collect();
        if all.is_empty()
            && let Some(field) = field_in_words(&status.message)
        {
            all.push((field, status.message.clone()));
        }
        all
    }

    /// The same as a problem of a part: what was being done, and what the server said.
    pub(crate) fn problem(&self, part: &str, summary: String) -> Problem {
        let (detail, hint) = match self {
            Failure::Refused(status) => (
                status.message.clone(),
                match status.code {
                    401 => Some("who asks is not known to the server: look at the credentials"),
                    403 if status.message.contains("cannot ") => {
                        Some("who carries the plan out needs this right; see RBAC")
                    }
                    _ => None,
                },
            ),
            Failure::Unanswered(text) => (text.clone(), None),
        };
        Problem {
            part: part.to_owned(),
            address: None,
            location: None,
            summary,
            detail,
            hint: hint.map(str::to_owned),
            transient: self.is_transient(),
        }
    }
}

/// The words in which servers and definitions say that a field cannot be changed.
fn says_immutable(message: &str) -> bool {
    let message = message.to_lowercase();
    [
        "immutable",
        "may not be changed",
        "cannot be changed",
        "can not be changed",
        "may not change",
        "cannot change",
        "may not be updated",
        "cannot be updated",
    ]
    .iter()
    .any(|words| message.contains(words))
        || message.contains("updates to") && message.contains("forbidden")
        || message.contains("update is not allowed")
}

const UNMERGEABLE: &str = "failed to create typed patch object";

/// Decoding names the field in its sentence only: `unknown field "spec.foo"`, `Go struct field
/// DeploymentSpec.spec.replicas of type int32`, `.spec.foo: field not declared in schema`.
fn field_in_words(message: &str) -> Option<String> {
    if message.starts_with(UNMERGEABLE) {
        let (_, faults) = message.split_once("): ")?;
        let fault = faults
            .strip_prefix("errors:")
            .unwrap_or(faults)
            .trim_start();
        let (field, _) = fault.split_once(": ")?;
        return Some(field.trim_start_matches('.').to_owned());
    }
    if let Some((_, rest)) = message.split_once("Go struct field ") {
        let (_, field) = rest.split(' ').next()?.split_once('.')?;
        return Some(field.to_owned());
    }
    let (_, rest) = message.split_once("field \"")?;
    let (field, _) = rest.split_once('"')?;
    Some(field.to_owned())
}

/// A page of a list: the bytes as they came, and where in them the objects are.
pub(crate) struct Page {
    bytes: Bytes,
    items: Vec<(u32, u32)>,
}

impl Page {
    /// The objects, each as its JSON.
    pub(crate) fn items(&self) -> impl Iterator<Item = &[u8]> {
        self.items
            .iter()
            .map(|(start, end)| &self.bytes[*start as usize..*end as usize])
    }
}

#[derive(Deserialize)]
struct List<'a> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(borrow, default)]
    items: Vec<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct ListMeta {
    #[serde(default, rename = "continue")]
    more: Option<String>,
}

/// An API server.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) client: Client,
}

/// What is wanted of an apply or create.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    /// Only to be told what would come of it.
    Dry,
    /// To be done.
    Real,
}

impl Server {
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        content_type: &str,
        accept: &str,
    ) -> Result<(u16, Bytes), Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::ACCEPT, accept);
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let request = request
            .body(Body::from(body))
            .map_err(|error| Failure::Unanswered(error.to_string()))?;
        let answer = self
            .client
            .send(request)
            .await
            .map_err(|error| Failure::Unanswered(chain(&error)))?;
        let code = answer.status().as_u16();
        let bytes = answer
            .into_body()
            .collect_bytes()
            .await
            .map_err(|error| Failure::Unanswered(chain(&error)))?;
        if (200..300).contains(&code) {
            return Ok((code, bytes));
        }
        let status = serde_json::from_slice::<Status>(&bytes).unwrap_or_else(|_| Status {
            status: None,
            code,
            message: String::from_utf8_lossy(&bytes[..bytes.len().min(1000)])
                .trim()
                .to_owned(),
            metadata: None,
            reason: String::new(),
            details: None,
        });
        Err(Failure::Refused(Box::new(Status { code, ..status })))
    }

    fn read(bytes: &[u8]) -> Result<Value, Failure> {
        serde_json::from_slice(bytes)
            .map_err(|error| Failure::Unanswered(format!("an answer that is no JSON: {error}")))
    }

    /// What is at a path; none if there is nothing.
    pub(crate) async fn get(&self, path: &str) -> Result<Option<Value>, Failure> {
        match self.get_as(path, "application/json").await {
            Ok(value) => Ok(Some(value)),
            Err(Failure::Refused(status)) if status.code == 404 => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> Result<Value, Failure> {
        let (_, bytes) = self.send(Method::GET, path, Vec::new(), "", accept).await?;
        Self::read(&bytes)
    }

    /// All objects of a collection that a label selector selects, page by page.
    pub(crate) async fn list(&self, path: &str, selector: &str) -> Result<Vec<Page>, Failure> {
        let mut pages = Vec::new();
        let mut token = String::new();
        loop {
            let mut whole = format!("{path}?limit={PAGE}");
            if !selector.is_empty() {
                whole.push_str("&labelSelector=");
                whole.push_str(&escaped(selector));
            }
            if !token.is_empty() {
                whole.push_str("&continue=");
                whole.push_str(&escaped(&token));
            }
            let (_, bytes) = match self
                .send(Method::GET, &whole, Vec::new(), "", "application/json")
                .await
            {
                // The pages of a list are of one moment, which the server no longer has: from the start.
                Err(Failure::Refused(status)) if status.code == 410 && !token.is_empty() => {
                    pages.clear();
                    token.clear();
                    continue;
                }
                other => other?,
            };
            let list: List<'_> = serde_json::from_slice(&bytes).map_err(|error| {
                Failure::Unanswered(format!("the list {path} cannot be read: {error}"))
            })?;
            let start = bytes.as_ptr() as usize;
            let items = list
                .items
                .iter()
                .map(|item| {
                    let text = item.get();
                    let at = text.as_ptr() as usize - start;
                    (at as u32, (at + text.len()) as u32)
                })
                .collect::<Vec<_>>();
            let more = list.metadata.more.unwrap_or_default();
            if !items.is_empty() {
                pages.push(Page { bytes, items });
            }
            if more.is_empty() {
                return Ok(pages);
            }
            token = more;
        }
    }

    /// How many objects a collection has.
    pub(crate) async fn count(&self, path: &str) -> Result<u64, Failure> {
        let value = self
            .get_as(
                &format!("{path}?limit=1"),
                "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
            )
            .await?;
        let here = value["items"].as_array().map_or(0, Vec::len) as u64;
        Ok(here
            + value["metadata"]["remainingItemCount"]
                .as_u64()
                .unwrap_or(0))
    }

    /// Server-side apply. True if the object was not there before.
    pub(crate) async fn apply(
        &self,
        path: &str,
        object: &Value,
        run: Run,
    ) -> Result<(bool, Value), Failure> {
        let dry = if run == Run::Dry { "&dryRun=All" } else { "" };
        let whole = format!("{path}?fieldManager={MANAGER}&force=true&fieldValidation=Strict{dry}");
        let body =
            serde_json::to_vec(object).map_err(|error| Failure::Unanswered(error.to_string()))?;
        let (code, bytes) = self
            .send(
                Method::PATCH,
                &whole,
                body,
                "application/apply-patch+yaml",
                "application/json",
            )
            .await?;
        Ok((code == 201, Self::read(&bytes)?))
    }

    /// Deletes an object in the background, if it is still the one meant. True if it was there.
    pub(crate) async fn delete(&self, path: &str, uid: Option<&str>) -> Result<bool, Failure> {
        let mut options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
        });
        if let Some(uid) = uid {
            options["preconditions"] = json!({"uid": uid});
        }
        let body = options.to_string().into_bytes();
        match self
            .send(
                Method::DELETE,
                path,
                body,
                "application/json",
                "application/json",
            )
            .await
        {
            Ok(_) => Ok(true),
            Err(Failure::Refused(status)) if status.code == 404 => Ok(false),
            // There is another of its name by now: the one meant is gone.
            Err(Failure::Refused(status)) if status.code == 409 && uid.is_some() => Ok(false),
            Err(failure) => Err(failure),
        }
    }
}

/// An error with its causes, none of them twice.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.contains(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        cause = error.source();
    }
    text
}

/// A value in a query.
pub(crate) fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, message: &str) -> Failure {
        let status = json!({"code": code, "message": message});
        Failure::Refused(Box::new(serde_json::from_value(status).unwrap()))
    }

    #[test]
    fn a_refusals_field_is_found_in_its_words() {
        for (message, field) in [
            (
                "strict decoding error: unknown field \"spec.foo\"",
                "spec.foo",
            ),
            (
                "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
                "spec.replicas",
            ),
            (
                "failed to create typed patch object (n/a; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema",
                "spec.foo",
            ),
        ] {
            assert_eq!(refused(400, message).causes()[0].0, field);
        }
    }

    #[test]
    fn what_cannot_be_changed_in_place_is_told_apart_from_what_is_wrong() {
        for message in [
            "Deployment.apps \"web\" is invalid: spec.selector: Invalid value: ...: field is immutable",
            "StatefulSet.apps \"db\" is invalid: spec: Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden",
            "RoleBinding \"x\" is invalid: roleRef: Invalid value: ...: cannot change roleRef",
            "Service \"x\" is invalid: spec.clusterIPs[0]: Invalid value: ...: may not change once set",
            "Pod \"x\" is invalid: spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`",
        ] {
            assert!(refused(422, message).is_immutable(), "{message}");
        }
        assert!(!refused(422, "spec.replicas: Invalid value: -1").is_immutable());
        assert!(!refused(403, "updates to x are forbidden").is_immutable());
    }
}
