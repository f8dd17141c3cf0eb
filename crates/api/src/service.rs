//! Every request's way: who is it, what does it want, may it, do it, answer.

use crate::api::Inner;
use crate::audit::Trail;
use crate::body::Body;
use crate::call::Call;
use crate::error::{Outcome, bad_request, fail};
use crate::handlers::update::Part;
use crate::handlers::{
    bind, component_status, create, delete, evict, list, patch, read, reviews, scale, token,
    update, watch,
};
use crate::hooks;
use crate::identity::{Attributes, User};
use crate::impersonate;
use crate::kind::{Kind, Subresource};
use crate::metrics::Label;
use crate::negotiate::{self, Encoding};
use crate::plain;
use crate::proxy;
use crate::pulse::Cut;
use crate::registry::Registry;
use crate::request::{ListOptions, Query, Route, Target, route};
use crate::respond;
use consort_object::status::Status;
use consort_object::{FieldSelector, LabelSelector};
use futures::FutureExt;
use http::header::{ACCEPT, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// Answer a request. Whatever happens, there is an answer.
pub(crate) async fn respond_to(inner: Arc<Inner>, request: Request<Body>) -> Response<Body> {
    let started = Instant::now();
    let received = jiff::Timestamp::now();
    let request = match hooks::answer(&inner, request).await {
        Ok(response) => return response,
        Err(request) => request,
    };
    let (parts, body) = request.into_parts();
    let encoding = failure_encoding(&parts);
    let head = parts.method == Method::HEAD;
    let asked = asked(&inner, &parts);
    let verb = asked.verb;
    let resource = asked.resource_label();
    let id = audit_id(&parts);
    let streams = asked.streams();
    let trail = OnceLock::new();
    let recording = Recording {
        trail: &trail,
        id: &id,
        received,
    };
    let work = handle(inner.clone(), parts, body, asked, recording);
    let mut failed = None;
    let mut response = match AssertUnwindSafe(work).catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(failure)) => {
            let response = respond::status(&failure, encoding);
            failed = Some(failure);
            response
        }
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("unknown");
            tracing::error!(panic = text, verb, "a request's handler panicked");
            if let Some(trail) = trail.get() {
                trail.panicked(text).await;
            }
            let status =
                Status::internal_error("the server has a defect; the request was given up");
            respond::status(&status, encoding)
        }
    };
    if let Some(trail) = trail.into_inner().filter(|trail| !trail.is_complete()) {
        response = trail.answered(response, failed, streams).await;
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(AUDIT_ID, value);
    }
    if head {
        response = response.map(|_| crate::body::empty());
    }
    let label = Label {
        verb,
        resource,
        code: response.status().as_u16(),
    };
    inner.metrics.answered(label, started.elapsed());
    response
}

/// The request's identifier: the client's own, if it sends one.
fn audit_id(parts: &Parts) -> String {
    let own = parts.headers.get(AUDIT_ID).and_then(|id| id.to_str().ok());
    match own.map(str::trim).filter(|id| !id.is_empty()) {
        // Upstream takes no more of it.
        Some(id) if id.is_ascii() => id[..id.len().min(64)].to_owned(),
        _ => uuid::Uuid::new_v4().to_string(),
    }
}

/// Where what is recorded of a request is put once its caller is known.
struct Recording<'a> {
    trail: &'a OnceLock<Arc<Trail>>,
    id: &'a str,
    received: jiff::Timestamp,
}

impl Recording<'_> {
    /// Begin to record, if that is wanted.
    async fn begin(
        &self,
        inner: &Inner,
        parts: &Parts,
        user: Option<&Arc<User>>,
        wanted: &Attributes<'_>,
    ) -> Option<Arc<Trail>> {
        let audit = inner.audit.as_ref()?;
        let trail = audit.begin(self.id, parts, user, wanted, self.received)?;
        let trail = self.trail.get_or_init(|| trail).clone();
        trail.received().await;
        Some(trail)
    }
}

/// Failures are told in protobuf only to clients that take nothing else.
fn failure_encoding(parts: &Parts) -> Encoding {
    let header = parts
        .headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok());
    negotiate::accept(header).map_or(Encoding::Json, |accept| accept.encoding)
}

/// What a request asks for, before anything is decided.
struct Asked {
    verb: &'static str,
    target: Option<Target>,
    kind: Option<Arc<Kind>>,
    registry: Arc<Registry>,
    query: Query,
    /// What a list, watch or deletion of a collection is limited to.
    fields: Option<FieldSelector>,
    labels: Option<LabelSelector>,
}

impl Asked {
    /// In the terms of authorization.
    fn attributes<'a>(&'a self, path: &'a str) -> Attributes<'a> {
        let Some(target) = &self.target else {
            return Attributes {
                verb: self.verb,
                path,
                ..Attributes::default()
            };
        };
        let name = match &target.name {
            Some(name) => name,
            // A list of one named object needs the right to that object only.
            None => self
                .fields
                .as_ref()
                .and_then(|fields| fields.exact("metadata.name"))
                .unwrap_or_default(),
        };
        Attributes {
            verb: self.verb,
            group: &target.group,
            version: &target.version,
            resource: &target.resource,
            subresource: target.subresource.as_deref().unwrap_or_default(),
            namespace: target.namespace.as_deref().unwrap_or_default(),
            name,
            path: "",
            field_selector: self.fields.as_ref(),
            label_selector: self.labels.as_ref(),
        }
    }

    /// Does the answer go on for long?
    fn streams(&self) -> bool {
        self.verb == "watch"
            || self.target.as_ref().is_some_and(|target| {
                matches!(
                    target.subresource.as_deref(),
                    Some("log" | "exec" | "attach" | "portforward" | "proxy")
                )
            })
    }

    /// The resource as metrics name it: only ones that are served, so that their number is bounded.
    fn resource_label(&self) -> String {
        match (&self.kind, &self.target) {
            (Some(kind), Some(target)) => match &target.subresource {
                Some(sub) if kind.subresource(sub).is_some() => format!("{}/{sub}", kind.plural),
                _ => kind.plural.clone(),
            },
            _ => String::new(),
        }
    }
}

fn asked(inner: &Inner, parts: &Parts) -> Asked {
    let query = Query::parse(parts.uri.query());
    let Route::Resource(target) = route(parts.uri.path()) else {
        return Asked {
            verb: match parts.method {
                Method::POST => "post",
                Method::PUT => "put",
                Method::PATCH => "patch",
                Method::DELETE => "delete",
                Method::HEAD => "head",
                Method::OPTIONS => "options",
                _ => "get",
            },
            target: None,
            kind: None,
            registry: inner.registry(),
            query,
            fields: None,
            labels: None,
        };
    };
    let registry = inner.registry();
    let kind = registry
        .resource(&target.group, &target.version, &target.resource)
        .cloned();
    let one = target.name.is_some();
    let verb = match parts.method {
        Method::GET | Method::HEAD if target.subresource.is_some() => "get",
        Method::GET | Method::HEAD if target.watch || query.flag("watch") => "watch",
        Method::GET | Method::HEAD if one => "get",
        Method::GET | Method::HEAD => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if one => "delete",
        Method::DELETE => "deletecollection",
        _ => "",
    };
    // A selector that cannot be read selects nothing here; the handler refuses it.
    let many = matches!(verb, "list" | "watch" | "deletecollection");
    let selector = |name: &str| query.text(name).filter(|_| many);
    let fields = selector("fieldSelector").and_then(|text| FieldSelector::parse(text).ok());
    let labels = selector("labelSelector").and_then(|text| LabelSelector::parse(text).ok());
    Asked {
        verb,
        target: Some(target),
        kind,
        registry,
        query,
        fields,
        labels,
    }
}

async fn handle(
    inner: Arc<Inner>,
    parts: Parts,
    body: Body,
    asked: Asked,
    recording: Recording<'_>,
) -> Outcome<Response<Body>> {
    let path = parts.uri.path().to_owned();
    let wanted = asked.attributes(&path);
    let (user, stale) = match inner.authenticator.authenticate(&parts).await {
        Ok(found) => found,
        Err(refused) => {
            tracing::debug!(%refused, "a request's credentials were refused");
            recording.begin(&inner, &parts, None, &wanted).await;
            return fail(Status::unauthorized());
        }
    };
    let trail = recording.begin(&inner, &parts, Some(&user), &wanted).await;
    if let (Some(trail), Some(stale)) = (&trail, stale) {
        trail.annotate("authentication.k8s.io/stale-token", &stale);
    }
    let mut user = user;
    if let Some(other) = impersonate::effective(&inner, &user, &parts, &wanted)? {
        let other_user = Arc::new(other.user);
        if let Some(trail) = &trail {
            trail.impersonated(&other_user, &other.constraint);
        }
        user = other_user;
    }
    let decision = inner.authorizer.authorize_soon(&user, &wanted).await;
    if let Some(trail) = &trail {
        let word = if decision.allowed { "allow" } else { "forbid" };
        trail.annotate("authorization.k8s.io/decision", word);
        trail.annotate("authorization.k8s.io/reason", &decision.reason);
    }
    Inner::refuse(&user, &wanted, &decision)?;
    let limit = inner.limits.request_timeout;
    let streams = asked.streams();
    let call = Call {
        inner,
        user,
        registry: asked.registry,
        custom: asked
            .kind
            .as_ref()
            .is_some_and(|kind| kind.custom().is_some())
            && asked
                .target
                .as_ref()
                .is_some_and(|target| target.subresource.as_deref() != Some("scale")),
        parts,
        query: asked.query,
        trail,
    };
    let Some(target) = asked.target else {
        return within(limit, &call, plain::serve(&call)).await;
    };
    let Some(kind) = asked.kind else {
        return fail(Status::unknown_resource());
    };
    let proxied = target.subresource.as_deref() == Some("proxy");
    if asked.verb.is_empty() && !proxied {
        return fail(Status::method_not_allowed());
    }
    // This process' own parts come by no connection.
    let outside = call.parts.extensions.get::<Cut>().is_some();
    let _place = if outside && !streams {
        call.inner.in_flight.enter(asked.verb, &call.user)?
    } else {
        None
    };
    let work = dispatch(&call, &kind, &target, asked.verb, body);
    let mut response = if streams {
        work.await
    } else {
        within(limit, &call, work).await
    }?;
    let custom = || kind.custom().and_then(|version| version.deprecation());
    if let Some(warning) = kind.deprecated.or_else(custom) {
        respond::warn(&mut response, &[warning.to_owned()]);
    }
    Ok(response)
}

/// A request may ask for less time than the server gives, not for more.
async fn within(
    limit: Duration,
    call: &Call,
    work: impl Future<Output = Outcome<Response<Body>>>,
) -> Outcome<Response<Body>> {
    let asked = call.query.text("timeout").and_then(seconds);
    let limit = asked.map_or(limit, |asked| asked.min(limit));
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => fail(Status::timeout(
            "request did not complete within the allotted timeout",
            0,
        )),
    }
}

/// A duration as Go writes it, in whole seconds or minutes.
fn seconds(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let number: u64 = digits.parse().ok()?;
    let duration = match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60)?),
        "h" => Duration::from_secs(number.checked_mul(3600)?),
        _ => return None,
    };
    (!duration.is_zero()).then_some(duration)
}

async fn dispatch(
    call: &Call,
    kind: &Arc<Kind>,
    target: &Target,
    verb: &'static str,
    body: Body,
) -> Outcome<Response<Body>> {
    let namespace = target.namespace.as_deref().filter(|_| kind.namespaced);
    if !kind.namespaced && target.namespace.is_some() && kind.plural != "namespaces" {
        return fail(Status::unknown_resource());
    }
    if let (Some(name), Some(sub)) = (&target.name, &target.subresource) {
        let Some(sub) = kind
            .subresource(sub)
            .filter(|sub| target.rest.is_empty() || sub.name == "proxy")
        else {
            return fail(Status::unknown_resource());
        };
        if sub.name == "proxy" {
            return proxy::http::serve(call, kind, target, body).await;
        }
        return subresource(call, kind, sub, namespace, name, verb, body).await;
    }
    let name = target.name.as_deref();
    if kind.namespaced && namespace.is_none() && (name.is_some() || verb == "create") {
        return fail(if name.is_some() {
            Status::unknown_resource()
        } else {
            Status::method_not_allowed()
        });
    }
    let single = matches!(verb, "get" | "update" | "patch" | "delete");
    // `POST` to an object, `PUT` to a collection: no kind takes that.
    if (verb == "create" && name.is_some()) || (single && name.is_none()) {
        return fail(Status::method_not_allowed());
    }
    if !kind.verbs.contains(&verb) {
        return fail(Status::method_not_allowed());
    }
    if kind.plural == "componentstatuses" && kind.group.is_empty() {
        return component_status::serve(call, kind, name);
    }
    let list_options = || ListOptions::parse(&call.query);
    if verb == "create"
        && kind
            .custom()
            .is_some_and(|version| version.definition.terminating)
    {
        let mut status = Status::method_not_allowed();
        status.message =
            "create not allowed while custom resource definition is terminating".into();
        return fail(status);
    }
    match (verb, name) {
        ("get", Some(name)) => read::get(call, kind, namespace, name).await,
        ("list", None) => list::list(call, kind, namespace, &list_options()?, None).await,
        ("watch", name) => watch::watch(call, kind, namespace, &list_options()?, name).await,
        ("create", None) => {
            let body = call.read(body).await?;
            match kind.plural.as_str() {
                "bindings" => {
                    let pods = core(call, "pods")?;
                    bind::bind(call, &pods, namespace, None, body).await
                }
                _ if !kind.stored() => reviews::review(call, kind, namespace, &body).await,
                _ => create::create(call, kind, namespace, body).await,
            }
        }
        ("update", Some(name)) => {
            let body = call.read(body).await?;
            update::update(call, kind, namespace, name, Part::Main, body).await
        }
        ("patch", Some(name)) => {
            let body = call.read(body).await?;
            patch::patch(call, kind, namespace, name, Part::Main, body).await
        }
        ("delete", Some(name)) => {
            let body = call.read(body).await?;
            delete::delete(call, kind, namespace, name, body).await
        }
        ("deletecollection", None) => {
            let options = list_options()?;
            let body = call.read(body).await?;
            delete::collection(call, kind, namespace, &options, body).await
        }
        _ => fail(Status::method_not_allowed()),
    }
}

fn core(call: &Call, plural: &str) -> Outcome<Arc<Kind>> {
    match call.registry.resource("", "v1", plural) {
        Some(kind) => Ok(kind.clone()),
        None => Err(bad_request(format!("{plural} are not served"))),
    }
}

async fn subresource(
    call: &Call,
    kind: &Arc<Kind>,
    sub: &Subresource,
    namespace: Option<&str>,
    name: &str,
    verb: &'static str,
    body: Body,
) -> Outcome<Response<Body>> {
    if !sub.verbs.contains(&verb) {
        return fail(Status::method_not_allowed());
    }
    let part = match sub.name {
        "status" => Part::Status,
        "finalize" => Part::Finalize,
        "ephemeralcontainers" => Part::EphemeralContainers,
        "resize" => Part::Resize,
        "approval" => Part::Approval,
        "scale" => {
            let body = call.read(body).await?;
            return scale::scale(call, kind, namespace, name, body).await;
        }
        "binding" => {
            let body = call.read(body).await?;
            return bind::bind(call, kind, namespace, Some(name), body).await;
        }
        "eviction" => {
            let body = call.read(body).await?;
            return evict::evict(call, kind, namespace, name, body).await;
        }
        "token" => {
            let body = call.read(body).await?;
            return token::token(call, kind, namespace, name, &body).await;
        }
        streamed => {
            let namespace = namespace.unwrap_or_default();
            return proxy::forward(call, kind, namespace, name, streamed, body).await;
        }
    };
    match verb {
        "get" => read::get(call, kind, namespace, name).await,
        "update" => {
            let body = call.read(body).await?;
            update::update(call, kind, namespace, name, part, body).await
        }
        _ => {
            let body = call.read(body).await?;
            patch::patch(call, kind, namespace, name, part, body).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_go_writes_them() {
        assert_eq!(seconds("32s"), Some(Duration::from_secs(32)));
        assert_eq!(seconds("2m"), Some(Duration::from_secs(120)));
        for text in ["", "5", "0s", "x", "1d"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
