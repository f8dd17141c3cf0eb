//! `serviceaccounts/token`: a `TokenRequest` is answered with a token.

use super::read;
use crate::admission::{self, Operation, Request};
use crate::body::Body;
use crate::call::Call;
use crate::error::{Outcome, bad_request, fail, internal};
use crate::identity::tokens::{Grant, Named, Private};
use crate::kind::Kind;
use crate::request::WriteOptions;
use crate::respond;
use crate::schema::KindSchema;
use crate::values::{at, ensure, int, items, set, text};
use bytes::Bytes;
use consort_object::field_error::FieldError;
use consort_object::schema::Gvk;
use consort_object::status::Status;
use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;

const HOUR: i64 = 3600;
/// By this lifetime upstream tells the tokens that admission mounts into pods.
const TOLERATED: i64 = 3607;
/// How long those live in truth.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// `POST` of a `TokenRequest`.
pub(crate) async fn token(
    call: &Call,
    accounts: &Kind,
    namespace: Option<&str>,
    name: &str,
    body: &Bytes,
) -> Outcome<Response<Body>> {
    let gvk = Gvk::new("authentication.k8s.io", "v1", "TokenRequest");
    let options = WriteOptions::of(&call.query, "CreateOptions")?;
    let encoding = call.body_encoding()?;
    let decoded = KindSchema::of(&gvk).decode(body, encoding, &gvk, options.field_validation)?;
    let mut request = decoded.value;
    let space = namespace.unwrap_or_default();
    for (field, own, what) in [("name", name, "name"), ("namespace", space, "namespace")] {
        let said = text(&request, &["metadata", field]);
        if !said.is_empty() && said != own {
            let detail = format!("must match the service account {what} if specified");
            let error = FieldError::invalid(format!("metadata.{field}"), said, detail);
            return fail(Status::invalid(&gvk.group, &gvk.kind, name, &[error]));
        }
    }
    let account = read::find(&call.inner.store, accounts, namespace, name)?;
    let asked = Request {
        inner: &call.inner,
        registry: &call.registry,
        user: &call.user,
        kind: accounts,
        subresource: "token",
        operation: Operation::Create,
        namespace,
        name,
        dry_run: false,
        manager: None,
        trail: call.trail.as_deref(),
    };
    admission::mutate(&asked, &mut request, None).await?;
    admission::validate(&asked, Some(&request), None).await?;
    let spec = ensure(&mut request, "spec");
    let seconds = match at(spec, &["expirationSeconds"]) {
        None => HOUR,
        Some(_) => int(spec, &["expirationSeconds"]),
    };
    let refuse = |detail: &str| {
        let error = FieldError::invalid("spec.expirationSeconds", seconds, detail);
        fail(Status::invalid(&gvk.group, &gvk.kind, "", &[error]))
    };
    if seconds < 600 {
        return refuse("may not specify a duration less than 10 minutes");
    }
    if seconds > 1 << 32 {
        return refuse("may not specify a duration larger than 2^32 seconds");
    }
    let audiences: Vec<String> = items(spec, &["audiences"])
        .iter()
        .filter_map(|audience| audience.as_str().map(str::to_owned))
        .collect();
    let mut private = Private {
        namespace: space.to_owned(),
        node: None,
        pod: None,
        secret: None,
        serviceaccount: Named {
            name: name.to_owned(),
            uid: account.head.uid.clone(),
        },
        warnafter: None,
    };
    if let Some(bound) = at(spec, &["boundObjectRef"]) {
        bind(call, bound, namespace, name, &mut private)?;
    }
    let signer = call.inner.authenticator.signer();
    // Clients of such tokens may not know to read them again: they are told an hour, and not cut off.
    let own = audiences.is_empty() || audiences == [signer.issuer()];
    let extension = (seconds == TOLERATED && private.pod.is_some() && own).then_some(YEAR);
    let asked_at = Timestamp::now();
    let grant = Grant {
        audiences,
        lifetime: Duration::from_secs(u64::try_from(seconds).unwrap_or_default()),
        extension,
        private,
    };
    let (token, claims) = signer.issue(grant).map_err(internal)?;
    let end = asked_at
        .checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX);
    let spec = ensure(&mut request, "spec");
    set(spec, "audiences", json!(claims.aud));
    set(spec, "expirationSeconds", seconds);
    let meta = ensure(&mut request, "metadata");
    set(meta, "name", name);
    set(meta, "namespace", namespace.unwrap_or_default());
    set(meta, "creationTimestamp", consort_object::time::now());
    let status = json!({
        "token": token,
        "expirationTimestamp": consort_object::time::format(end),
    });
    set(&mut request, "status", status);
    let mut response = respond::value(call, StatusCode::CREATED, &request)?;
    respond::warn(&mut response, &decoded.warnings);
    Ok(response)
}

/// Bind the token to an object: it ends with it.
fn bind(
    call: &Call,
    bound: &Value,
    namespace: Option<&str>,
    account: &str,
    private: &mut Private,
) -> Outcome<()> {
    let (kind, target) = (text(bound, &["kind"]), text(bound, &["name"]));
    let plural = match kind {
        "Pod" => "pods",
        "Secret" => "secrets",
        "Node" => "nodes",
        other => {
            let own = Gvk::of(bound);
            let (group, version) = (&own.group, &own.version);
            return Err(bad_request(format!(
                "cannot bind token to object of type {group}/{version}, Kind={other}"
            )));
        }
    };
    if !matches!(text(bound, &["apiVersion"]), "v1") {
        let own = Gvk::of(bound);
        return Err(bad_request(format!(
            "cannot bind token to object of type {}/{}, Kind={kind}",
            own.group, own.version
        )));
    }
    let kinds = call
        .registry
        .resource("", "v1", plural)
        .ok_or_else(|| internal(format!("{plural} are not served")))?;
    let object = read::find(&call.inner.store, kinds, namespace, target)?;
    let uid = text(bound, &["uid"]);
    if !uid.is_empty() && uid != object.head.uid {
        return fail(Status::conflict(
            "",
            kind,
            target,
            format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
            ),
        ));
    }
    let named = Named {
        name: target.to_owned(),
        uid: object.head.uid.clone(),
    };
    match plural {
        "pods" => {
            let pod = object.value().map_err(internal)?;
            if text(&pod, &["spec", "serviceAccountName"]) != account {
                return Err(bad_request(format!(
                    "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
                )));
            }
            let node = text(&pod, &["spec", "nodeName"]);
            if !node.is_empty() {
                let uid = consort_store::Key::new("", "nodes", None, node)
                    .ok()
                    .and_then(|key| call.inner.store.get(&key).ok()?)
                    .map_or(String::new(), |node| node.head.uid.clone());
                private.node = Some(Named {
                    name: node.to_owned(),
                    uid,
                });
            }
            private.pod = Some(named);
        }
        "secrets" => private.secret = Some(named),
        _ => private.node = Some(named),
    }
    Ok(())
}
