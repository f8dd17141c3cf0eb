//! `metav1.Status`: what the API answers when it cannot answer with an object.
//!
//! The constructors give each failure the code, reason and wording that clients of Kubernetes
//! know (apimachinery's `api/errors`); tools match on all three.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::field_error::{FieldError, FieldErrors};
use crate::text::go_quote;

/// A `v1` `Status` object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    kind: Kind,
    api_version: Version,
    /// List metadata; empty for failures.
    #[serde(default)]
    pub metadata: Metadata,
    /// `Success` or `Failure`.
    #[serde(default)]
    pub status: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// For programs: one word, `NotFound`, `Conflict`, ...
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What the status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<Details>>,
    /// The HTTP status code.
    #[serde(default)]
    pub code: u16,
}

/// The constant `kind` of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
enum Kind {
    #[default]
    Status,
}

/// The constant `apiVersion` of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
enum Version {
    #[default]
    #[serde(rename = "v1")]
    V1,
}

/// The list metadata of a [`Status`], of which only the revision is ever used.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The continue token that may be used after a list's own one expired.
    #[serde(default, rename = "continue", skip_serializing_if = "String::is_empty")]
    pub continue_token: String,
    /// The revision the status speaks of.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
}

/// What a [`Status`] is about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// The object's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The object's API group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The object's kind or, for most failures, its plural resource name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The object's uid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// One entry for each thing that is wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// Seconds after which trying again makes sense; 0 when it is not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the shape serde asks for
fn is_zero(seconds: &u32) -> bool {
    *seconds == 0
}

/// One thing that is wrong, as part of [`Details`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cause {
    /// One word for programs, such as `FieldValueInvalid`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The JSON path of the field at fault.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}

/// `deployments.apps`, or `pods` for the core group.
fn qualified(group: &str, name: &str) -> String {
    if group.is_empty() {
        name.to_owned()
    } else {
        format!("{name}.{group}")
    }
}

fn about(group: &str, kind: &str, name: &str) -> Details {
    Details {
        name: name.to_owned(),
        group: group.to_owned(),
        kind: kind.to_owned(),
        ..Details::default()
    }
}

/// As many errors of one object as an answer tells of.
const MOST_ERRORS: usize = 2_000;

impl Status {
    /// A failure with any code and reason.
    pub fn failure(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self {
            kind: Kind::Status,
            api_version: Version::V1,
            metadata: Metadata::default(),
            status: "Failure".to_owned(),
            message: message.into(),
            reason: reason.to_owned(),
            details: None,
            code,
        }
    }

    /// The success that answers a delete which leaves no object to answer with.
    pub fn success(details: Option<Details>) -> Self {
        Self {
            status: "Success".to_owned(),
            details: details.map(Box::new),
            ..Self::failure(200, "", "")
        }
    }

    /// The same status about something.
    #[must_use]
    pub fn with_details(mut self, details: Details) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// The same status with one more cause.
    #[must_use]
    pub fn with_cause(mut self, cause: Cause) -> Self {
        self.details.get_or_insert_default().causes.push(cause);
        self
    }

    /// The same status, telling the client when to come back.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.details.get_or_insert_default().retry_after_seconds = seconds;
        self
    }

    /// The same status with the uid of the object it is about.
    #[must_use]
    pub fn with_uid(mut self, uid: &str) -> Self {
        uid.clone_into(&mut self.details.get_or_insert_default().uid);
        self
    }

    /// 404: the object does not exist.
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        let message = format!(
            "{} {} not found",
            qualified(group, resource),
            go_quote(name)
        );
        Self::failure(404, "NotFound", message).with_details(about(group, resource, name))
    }

    /// 404: no such path, group or resource is served.
    pub fn unknown_resource() -> Self {
        Self::failure(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
        .with_details(Details::default())
    }

    /// 409: an object of this name is there already.
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        let message = format!(
            "{} {} already exists",
            qualified(group, resource),
            go_quote(name)
        );
        Self::failure(409, "AlreadyExists", message).with_details(about(group, resource, name))
    }

    /// 409: no free name was found under a `generateName`.
    pub fn generate_name_conflict(group: &str, resource: &str, name: &str) -> Self {
        let message = format!(
            "{} {} already exists, the server was not able to generate a unique name for the object",
            qualified(group, resource),
            go_quote(name)
        );
        Self::failure(409, "AlreadyExists", message)
            .with_details(about(group, resource, name))
            .with_retry_after(1)
    }

    /// 409: the object cannot be changed as asked; `why` completes the sentence.
    pub fn conflict(group: &str, resource: &str, name: &str, why: impl fmt::Display) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {}: {why}",
            qualified(group, resource),
            go_quote(name)
        );
        Self::failure(409, "Conflict", message).with_details(about(group, resource, name))
    }

    /// 409: the object is no longer what the client read (optimistic concurrency).
    pub fn modified(group: &str, resource: &str, name: &str) -> Self {
        Self::conflict(
            group,
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 409: a server-side apply met fields that others own.
    pub fn apply_conflict(causes: Vec<Cause>, message: impl Into<String>) -> Self {
        Self::failure(409, "Conflict", message).with_details(Details {
            causes,
            ..Details::default()
        })
    }

    /// 422: the object is well-formed and wrong. `kind` is the kind, not the resource. Of very many errors the first
    /// are told.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let errors = &errors[..errors.len().min(MOST_ERRORS)];
        let mut message = format!("{} {} is invalid", qualified(group, kind), go_quote(name));
        if !errors.is_empty() {
            message.push_str(": ");
            message.push_str(&FieldErrors(errors).to_string());
        }
        let causes = errors
            .iter()
            .map(|error| Cause {
                reason: error.kind.reason().to_owned(),
                message: error.body(),
                field: error.field.clone(),
            })
            .collect();
        Self::failure(422, "Invalid", message).with_details(Details {
            causes,
            ..about(group, kind, name)
        })
    }

    /// 422: a patch could be read but not applied to the object as it is.
    pub fn unprocessable(why: impl Into<String>) -> Self {
        let why = why.into();
        Self::failure(
            422,
            "Invalid",
            format!("the server rejected our request due to an error in our request: {why}"),
        )
        .with_details(Details::default())
    }

    /// 400: the request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(400, "BadRequest", message)
    }

    /// 401: the caller could not be told.
    pub fn unauthorized() -> Self {
        Self::failure(401, "Unauthorized", "Unauthorized")
    }

    /// 403: the caller may not do this to a resource; `why` completes the sentence.
    ///
    /// For a denial by authorization, [`Status::forbidden_by_authorization`] words `why`.
    pub fn forbidden(group: &str, resource: &str, name: &str, why: impl fmt::Display) -> Self {
        let what = qualified(group, resource);
        let message = match (what.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {why}"),
            (false, true) => format!("{what} is forbidden: {why}"),
            (false, false) => format!("{what} {} is forbidden: {why}", go_quote(name)),
        };
        Self::failure(403, "Forbidden", message).with_details(about(group, resource, name))
    }

    /// 403: the authorizer said no to a request for a resource.
    pub fn forbidden_by_authorization(denied: &Denied<'_>) -> Self {
        let mut why = format!("User {} cannot {} ", go_quote(denied.user), denied.verb);
        if denied.resource.is_empty() {
            why.push_str("path ");
            why.push_str(&go_quote(denied.path));
        } else {
            let resource = if denied.subresource.is_empty() {
                denied.resource.to_owned()
            } else {
                format!("{}/{}", denied.resource, denied.subresource)
            };
            why.push_str("resource ");
            why.push_str(&go_quote(&resource));
            why.push_str(" in API group ");
            why.push_str(&go_quote(denied.group));
            if denied.namespace.is_empty() {
                why.push_str(" at the cluster scope");
            } else {
                why.push_str(" in the namespace ");
                why.push_str(&go_quote(denied.namespace));
            }
        }
        if !denied.reason.is_empty() {
            why.push_str(": ");
            why.push_str(denied.reason);
        }
        Self::forbidden(denied.group, denied.resource, denied.name, why)
    }

    /// 405: the verb is not for this resource; `action` is the verb, such as `delete`.
    pub fn method_not_supported(group: &str, resource: &str, action: &str) -> Self {
        let what = qualified(group, resource);
        let message = format!(
            "{action} is not supported on resources of kind {}",
            go_quote(&what)
        );
        Self::failure(405, "MethodNotAllowed", message).with_details(about(group, resource, ""))
    }

    /// 405: the HTTP method is not for this path.
    pub fn method_not_allowed() -> Self {
        Self::failure(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
        .with_details(Details::default())
    }

    /// 406: none of the media types the client accepts can be produced.
    pub fn not_acceptable(accepted: &[&str]) -> Self {
        let message = format!(
            "only the following media types are accepted: {}",
            accepted.join(", ")
        );
        Self::failure(406, "NotAcceptable", message)
    }

    /// 415: the body's media type is not understood.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::failure(415, "UnsupportedMediaType", message)
    }

    /// 410: the revision asked for is older than what is kept.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::failure(410, "Expired", message)
    }

    /// 410 for a watch whose start is older than what is kept.
    pub fn too_old(asked: u64, oldest: u64) -> Self {
        Self::expired(format!("too old resource version: {asked} ({oldest})"))
    }

    /// 410: gone without a forwarding address.
    pub fn gone(message: impl Into<String>) -> Self {
        Self::failure(410, "Gone", message)
    }

    /// 413: the body is larger than the server takes.
    pub fn request_entity_too_large(why: impl fmt::Display) -> Self {
        Self::failure(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: {why}"),
        )
    }

    /// 429: come back after `retry_after_seconds`.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::failure(429, "TooManyRequests", message).with_retry_after(retry_after_seconds)
    }

    /// 500: a fault of the server.
    pub fn internal_error(why: impl fmt::Display) -> Self {
        let why = why.to_string();
        Self::failure(
            500,
            "InternalError",
            format!("Internal error occurred: {why}"),
        )
        .with_cause(Cause {
            message: why,
            ..Cause::default()
        })
    }

    /// 503: the server cannot serve this now.
    pub fn service_unavailable(message: impl Into<String>) -> Self {
        Self::failure(503, "ServiceUnavailable", message)
    }

    /// 504: the request took too long; it may still come to pass.
    pub fn timeout(message: impl fmt::Display, retry_after_seconds: u32) -> Self {
        Self::failure(504, "Timeout", format!("Timeout: {message}"))
            .with_retry_after(retry_after_seconds)
    }

    /// 500: a passing trouble, to be tried again; `operation` is the verb.
    pub fn server_timeout(
        group: &str,
        resource: &str,
        operation: &str,
        retry_after_seconds: u32,
    ) -> Self {
        let message = format!(
            "The {operation} operation against {} could not be completed at this time, please try again.",
            qualified(group, resource)
        );
        Self::failure(500, "ServerTimeout", message)
            .with_details(about(group, resource, operation))
            .with_retry_after(retry_after_seconds)
    }

    /// Seconds after which the client should try again, for the `Retry-After` header.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        self.details
            .as_ref()
            .map(|details| details.retry_after_seconds)
            .filter(|seconds| *seconds > 0)
    }

    /// The status as JSON.
    pub fn to_json(&self) -> Vec<u8> {
        // A struct of strings and numbers: there is nothing in it that could fail to serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// A request that the authorizer denied, for [`Status::forbidden_by_authorization`].
///
/// Strings that do not apply are empty; an empty `resource` means a request for a path.
#[derive(Debug, Clone, Copy, Default)]
pub struct Denied<'a> {
    /// The user's name.
    pub user: &'a str,
    /// The request's verb.
    pub verb: &'a str,
    /// The API group, empty for core.
    pub group: &'a str,
    /// The plural resource name.
    pub resource: &'a str,
    /// The subresource.
    pub subresource: &'a str,
    /// The namespace; empty means the whole cluster.
    pub namespace: &'a str,
    /// The object's name.
    pub name: &'a str,
    /// The path, for a request that is not for a resource.
    pub path: &'a str,
    /// What the authorizer said.
    pub reason: &'a str,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_object_is_named_with_its_group() {
        let status = Status::not_found("apps", "deployments", "web");
        assert_eq!(status.message, r#"deployments.apps "web" not found"#);
        assert_eq!((status.code, status.reason.as_str()), (404, "NotFound"));
        assert_eq!(
            Status::not_found("", "pods", "x").message,
            r#"pods "x" not found"#
        );
    }

    #[test]
    fn the_json_is_what_clients_know() {
        let json = String::from_utf8(Status::already_exists("", "pods", "x").to_json()).unwrap();
        assert_eq!(
            json,
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"pods \"x\" already exists","reason":"AlreadyExists","details":{"name":"x","kind":"pods"},"code":409}"#
        );
    }

    #[test]
    fn a_status_reads_back_what_it_wrote() {
        let errors = [FieldError::required("spec.selector", "")];
        let status = Status::invalid("apps", "Deployment", "web", &errors).with_uid("u");
        assert_eq!(
            serde_json::from_slice::<Status>(&status.to_json()).unwrap(),
            status
        );
    }

    #[test]
    fn one_field_error_stands_alone_and_several_in_brackets() {
        let one = FieldError::required("spec.selector", "");
        let two = FieldError::invalid("spec.replicas", -1, "must be greater than or equal to 0");
        assert_eq!(
            Status::invalid("apps", "Deployment", "web", std::slice::from_ref(&one)).message,
            r#"Deployment.apps "web" is invalid: spec.selector: Required value"#
        );
        let status = Status::invalid("apps", "Deployment", "web", &[one, two]);
        assert_eq!(
            status.message,
            r#"Deployment.apps "web" is invalid: [spec.selector: Required value, spec.replicas: Invalid value: -1: must be greater than or equal to 0]"#
        );
        let causes = &status.details.unwrap().causes;
        assert_eq!(causes[1].reason, "FieldValueInvalid");
        assert_eq!(causes[1].field, "spec.replicas");
        assert_eq!(
            causes[1].message,
            "Invalid value: -1: must be greater than or equal to 0"
        );
    }

    #[test]
    fn a_denial_says_who_what_and_where() {
        let denied = Denied {
            user: "x",
            verb: "list",
            resource: "pods",
            namespace: "default",
            ..Denied::default()
        };
        assert_eq!(
            Status::forbidden_by_authorization(&denied).message,
            r#"pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "default""#
        );
        let denied = Denied {
            user: "x",
            verb: "get",
            group: "apps",
            resource: "deployments",
            subresource: "scale",
            name: "web",
            ..Denied::default()
        };
        assert_eq!(
            Status::forbidden_by_authorization(&denied).message,
            r#"deployments.apps "web" is forbidden: User "x" cannot get resource "deployments/scale" in API group "apps" at the cluster scope"#
        );
        let denied = Denied {
            user: "x",
            verb: "get",
            path: "/metrics",
            ..Denied::default()
        };
        assert_eq!(
            Status::forbidden_by_authorization(&denied).message,
            r#"forbidden: User "x" cannot get path "/metrics""#
        );
    }
}
