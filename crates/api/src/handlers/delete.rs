//! Delete, of one object and of a collection.

use super::list;
use super::read::{self, store_failure};
use super::selection::Selection;
use super::write::{self, Committed};
use crate::admission::{self, Operation, Request};
use crate::api::Inner;
use crate::body::Body;
use crate::call::Call;
use crate::custom;
use crate::encoding;
use crate::error::{Outcome, fail, internal};
use crate::handlers::update::uid_conflict;
use crate::kind::Kind;
use crate::request::{DeleteOptions, FieldValidation, ListOptions, Propagation};
use crate::respond;
use crate::schema::KindSchema;
use crate::values::{at, ensure, int, items, set, take, text};
use crate::witness;
use bytes::Bytes;
use consort_object::schema::Gvk;
use consort_object::status::{Details, Status};
use consort_object::{Object, Revision};
use consort_store::{Expect, Write};
use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// How often a delete is tried against a moving object.
const ATTEMPTS: usize = 30;

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// What a delete did.
pub(crate) enum Deleted {
    /// The object is gone (or would be); this was its last state.
    Gone(Object),
    /// The object is still there, marked.
    Marked(Object),
    /// A dry run marked it.
    WouldMark(Value),
}

/// The options of a delete request.
pub(crate) fn options(call: &Call, body: &[u8]) -> Outcome<DeleteOptions> {
    let body = if body.is_empty() {
        None
    } else {
        let gvk = Gvk::new("meta.k8s.io", "v1", "DeleteOptions");
        let encoding = call.body_encoding()?;
        let (mut value, _) = encoding::parse(body, encoding, &gvk)?;
        let notes = KindSchema::of(&gvk)
            .canonical(&mut value, &gvk)
            .map_err(|misfit| misfit.sent(&gvk))?;
        encoding::judge(notes, &gvk, FieldValidation::Ignore)?;
        Some(value)
    };
    DeleteOptions::parse(&call.query, body.as_ref()).map_err(|why| {
        Box::new(Status::failure(
            422,
            "Invalid",
            format!("DeleteOptions.meta.k8s.io \"\" is invalid: {why}"),
        ))
    })
}

/// `DELETE` of one object.
pub(crate) async fn delete(
    call: &Call,
    kind: &Kind,
    namespace: Option<&str>,
    target: &str,
    body: Bytes,
) -> Outcome<Response<Body>> {
    let options = options(call, &body)?;
    admitted(call, kind, namespace, target, &options).await?;
    let deleted = remove(&call.inner, kind, namespace, target, &options).await?;
    if !options.dry_run
        && let Deleted::Gone(object) | Deleted::Marked(object) = &deleted
    {
        witness::deleted(call, object);
    }
    match deleted {
        Deleted::Gone(object) if !kind.returns_deleted => {
            let status = Status::success(Some(Details {
                name: target.into(),
                group: kind.group.clone(),
                kind: kind.plural.clone(),
                uid: object.head.uid.clone(),
                ..Details::default()
            }));
            let encoding = call.accept()?.encoding;
            Ok(respond::status(&status, encoding))
        }
        Deleted::Gone(object) | Deleted::Marked(object) => {
            let object = custom::shown(&call.inner, kind, object).await?;
            respond::object(call, kind, StatusCode::OK, &object)
        }
        Deleted::WouldMark(value) => respond::unstored(call, kind, StatusCode::OK, value),
    }
}

/// Ask webhooks and policies whether an object may be deleted.
pub(super) async fn admitted(
    call: &Call,
    kind: &Kind,
    namespace: Option<&str>,
    target: &str,
    options: &DeleteOptions,
) -> Outcome<()> {
    let request = Request {
        inner: &call.inner,
        registry: &call.registry,
        user: &call.user,
        kind,
        subresource: "",
        operation: Operation::Delete,
        namespace,
        name: target,
        dry_run: options.dry_run,
        manager: None,
        trail: call.trail.as_deref(),
    };
    if admission::nobody_asks(&call.inner, &call.user, &request) {
        return Ok(());
    }
    let current = read::find(&call.inner.store, kind, namespace, target)?;
    preconditions(kind, target, &current, options)?;
    let old = custom::shown(&call.inner, kind, current).await?;
    let old = old.value().map_err(internal)?;
    admission::validate(&request, None, Some(&old)).await?;
    Ok(())
}

/// Delete an object, or mark it where something must happen first.
pub(crate) async fn remove(
    inner: &Inner,
    kind: &Kind,
    namespace: Option<&str>,
    target: &str,
    options: &DeleteOptions,
) -> Outcome<Deleted> {
    if let Some(why) = kind.strategy.undeletable(target) {
        return fail(Status::forbidden(&kind.group, &kind.plural, target, why));
    }
    for _ in 0..ATTEMPTS {
        let current = read::find(&inner.store, kind, namespace, target)?;
        preconditions(kind, target, &current, options)?;
        let current = custom::shown(inner, kind, current).await?;
        let old = current.value().map_err(internal)?;
        let key = read::key(kind, namespace, target)?;
        let marked = mark(kind, &old, options);
        if let Some(new) = marked {
            if write::unchanged(&new, &old) {
                return Ok(Deleted::Marked(current));
            }
            if options.dry_run {
                return Ok(Deleted::WouldMark(new));
            }
            match write::replace(inner, kind, key, &new, current.revision).await? {
                Committed::Done(object) => return Ok(Deleted::Marked(object)),
                Committed::Conflict => tokio::task::yield_now().await,
            }
            continue;
        }
        if options.dry_run {
            return Ok(Deleted::Gone(current));
        }
        let write = Write::Delete {
            key,
            expect: Expect::At(current.revision),
        };
        match inner.commit(vec![write]).await {
            Ok(done) => {
                kind.strategy.settled(&old, None);
                let object = done.objects.into_iter().next().flatten();
                return Ok(Deleted::Gone(object.unwrap_or(current)));
            }
            Err(consort_store::Error::Conflict { .. }) => tokio::task::yield_now().await,
            Err(other) => return Err(store_failure(other)),
        }
    }
    Err(write::modified(kind, target))
}

fn preconditions(
    kind: &Kind,
    target: &str,
    current: &Object,
    options: &DeleteOptions,
) -> Outcome<()> {
    if let Some(uid) = &options.uid
        && *uid != current.head.uid
    {
        return Err(uid_conflict(kind, target, uid, &current.head.uid));
    }
    if let Some(wanted) = &options.resource_version
        && wanted.parse::<u64>().map(Revision) != Ok(current.revision)
    {
        return fail(Status::conflict(
            &kind.group,
            &kind.plural,
            target,
            format!(
                "Precondition failed: ResourceVersion in precondition: {wanted}, ResourceVersion in object meta: {}",
                current.revision
            ),
        ));
    }
    Ok(())
}

/// What an object becomes that cannot go at once; `None`: it can.
fn mark(kind: &Kind, old: &Value, options: &DeleteOptions) -> Option<Value> {
    let mut new = old.clone();
    if at(old, &["metadata", "deletionTimestamp"]).is_none() {
        kind.strategy.deleting(&mut new);
    }
    let finalizers = finalizers(&new, options.propagation, kind.orphans);
    let held = !finalizers.is_empty();
    let meta = ensure(&mut new, "metadata");
    if held {
        set(meta, "finalizers", finalizers);
    } else {
        take(meta, "finalizers");
    }
    let core = |name: &str| kind.group.is_empty() && kind.kind == name;
    let grace = if core("Pod") { grace(old, options) } else { 0 };
    let before = at(old, &["metadata", "deletionTimestamp"]).is_some();
    let left = int(old, &["metadata", "deletionGracePeriodSeconds"]);
    if core("Namespace") {
        if items(old, &["spec", "finalizers"]).is_empty() && !held {
            return None;
        }
        if !before {
            stamp(&mut new, 0);
            set(ensure(&mut new, "status"), "phase", "Terminating");
        }
        return Some(new);
    }
    if grace == 0 && !held {
        return None;
    }
    // A second delete may shorten the grace, never lengthen it.
    if !before || grace < left {
        stamp(&mut new, grace);
        let generation = int(old, &["metadata", "generation"]);
        if generation > 0 && !before {
            set(ensure(&mut new, "metadata"), "generation", generation + 1);
        }
    }
    Some(new)
}

fn stamp(value: &mut Value, grace: i64) {
    let now = Timestamp::now();
    let end = now
        .checked_add(SignedDuration::from_secs(grace))
        .unwrap_or(now);
    let meta = ensure(value, "metadata");
    set(meta, "deletionTimestamp", consort_object::time::format(end));
    set(meta, "deletionGracePeriodSeconds", grace);
}

/// How many seconds a pod gets to end. One that no node runs needs none.
fn grace(pod: &Value, options: &DeleteOptions) -> i64 {
    let unplaced = text(pod, &["spec", "nodeName"]).is_empty();
    let over = matches!(text(pod, &["status", "phase"]), "Succeeded" | "Failed");
    if unplaced || over {
        return 0;
    }
    let seconds = options.grace.unwrap_or_else(|| {
        at(pod, &["spec", "terminationGracePeriodSeconds"])
            .and_then(Value::as_i64)
            .unwrap_or(30)
    });
    // Less than nothing means "as soon as can be".
    if seconds < 0 { 1 } else { seconds }
}

fn finalizers(old: &Value, propagation: Option<Propagation>, orphans: bool) -> Vec<Value> {
    let mut all: Vec<Value> = items(old, &["metadata", "finalizers"]).to_vec();
    let decided = all.iter().any(|one| one == ORPHAN || one == FOREGROUND);
    let propagation = propagation.or((orphans && !decided).then_some(Propagation::Orphan));
    if let Some(propagation) = propagation {
        all.retain(|one| one != ORPHAN && one != FOREGROUND);
        match propagation {
            Propagation::Background => {}
            Propagation::Foreground => all.push(FOREGROUND.into()),
            Propagation::Orphan => all.push(ORPHAN.into()),
        }
    }
    all
}

/// `DELETE` of a collection: of everything the selectors match.
pub(crate) async fn collection(
    call: &Call,
    kind: &Kind,
    namespace: Option<&str>,
    selected: &ListOptions,
    body: Bytes,
) -> Outcome<Response<Body>> {
    let options = options(call, &body)?;
    let selection = Selection::parse(kind, selected, None)?;
    let page = list::page(call, kind, namespace, selected, &selection).await?;
    let metadata = page.metadata();
    let chosen = list::Chosen::new(&call.inner, kind, page.scan, &selection).await?;
    let mut items = Vec::with_capacity(chosen.len());
    for at in 0..chosen.len() {
        let (namespace, name) = chosen.place(at);
        match admitted(call, kind, namespace, name, &options).await {
            Err(failure) if failure.code == 404 => continue,
            other => other?,
        }
        let deleted = remove(&call.inner, kind, namespace, name, &options).await;
        let value = match deleted {
            Ok(Deleted::Gone(object) | Deleted::Marked(object)) => {
                if !options.dry_run {
                    witness::deleted(call, &object);
                }
                let object = custom::shown(&call.inner, kind, object).await?;
                object.value().map_err(internal)?
            }
            Ok(Deleted::WouldMark(value)) => value,
            // Someone else was faster, or it may not be deleted: the others still go.
            Err(failure) if failure.code == 404 => continue,
            Err(failure) if failure.code == 403 => continue,
            Err(failure) => return Err(failure),
        };
        items.push(respond::show(kind, value));
    }
    let list = json!({
        "kind": kind.list_kind,
        "apiVersion": kind.api_version(),
        "metadata": metadata,
        "items": items,
    });
    respond::value(call, StatusCode::OK, &list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;

    fn pod_kind() -> Kind {
        let addresses = crate::addresses::Addresses::new("10.0.0.0/24".parse().unwrap(), 1..=2);
        kinds::all(&addresses)
            .into_iter()
            .find(|kind| kind.kind == "Pod")
            .unwrap()
    }

    #[test]
    fn a_placed_pod_gets_its_grace_and_an_unplaced_one_goes_at_once() {
        let kind = pod_kind();
        let mut pod =
            json!({"metadata": {"name": "a"}, "spec": {"terminationGracePeriodSeconds": 30}});
        assert!(mark(&kind, &pod, &DeleteOptions::default()).is_none());
        pod["spec"]["nodeName"] = "n".into();
        let marked = mark(&kind, &pod, &DeleteOptions::default()).unwrap();
        assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
        let now = DeleteOptions {
            grace: Some(0),
            ..DeleteOptions::default()
        };
        assert!(mark(&kind, &marked, &now).is_none(), "the agent ends it");
        let longer = DeleteOptions {
            grace: Some(60),
            ..DeleteOptions::default()
        };
        assert_eq!(mark(&kind, &marked, &longer).unwrap(), marked);
    }

    #[test]
    fn propagation_turns_into_finalizers() {
        let kind = pod_kind();
        let pod = json!({"metadata": {"name": "a"}, "spec": {}});
        let with = |propagation| DeleteOptions {
            propagation: Some(propagation),
            ..DeleteOptions::default()
        };
        let marked = mark(&kind, &pod, &with(Propagation::Foreground)).unwrap();
        assert_eq!(marked["metadata"]["finalizers"], json!([FOREGROUND]));
        assert!(mark(&kind, &marked, &with(Propagation::Background)).is_none());
    }
}
