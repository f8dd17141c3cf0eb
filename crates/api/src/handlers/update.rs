//! Update: of the whole object, or of what a subresource of the same kind stands for.

use super::create;
use super::read;
use super::scale;
use super::write::{self, Committed, Written, WrittenObject};
use crate::admission::{self, Notes, Operation, Request};
use crate::api::Inner;
use crate::aside;
use crate::audit::Trail;
use crate::body::Body;
use crate::call::Call;
use crate::certificates;
use crate::custom;
use crate::encoding;
use crate::error::{Failure, Outcome, bad_request, fail, internal};
use crate::identity::User;
use crate::kind::Kind;
use crate::managed::{self, Listed, Owners};
use crate::registry::Registry;
use crate::request::WriteOptions;
use crate::validation::{self, Errors, Path};
use crate::values::{copy, ensure, name, set, text};
use crate::witness;
use bytes::Bytes;
use consort_object::field_error::FieldError;
use consort_object::status::Status;
use consort_store::{Expect, Write};
use http::Response;
use serde_json::Value;
use std::sync::Arc;

/// How often a write that need not meet a certain revision is tried against a moving object.
const ATTEMPTS: usize = 30;

/// What part of an object a write is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All but the status.
    Main,
    /// The status.
    Status,
    /// A namespace's finalizers.
    Finalize,
    /// A pod's ephemeral containers.
    EphemeralContainers,
    /// What a pod's containers ask for and may use.
    Resize,
    /// Whether a certificate signing request is approved or denied.
    Approval,
}

impl Part {
    /// The subresource it is written through; empty for the object itself.
    pub(crate) fn subresource(self) -> &'static str {
        match self {
            Self::Main => "",
            Self::Status => "status",
            Self::Finalize => "finalize",
            Self::EphemeralContainers => "ephemeralcontainers",
            Self::Resize => "resize",
            Self::Approval => "approval",
        }
    }
}

/// A write to an object: what, where, by whom.
pub(crate) struct Change<'a> {
    /// The server.
    pub inner: &'a Arc<Inner>,
    /// The kinds.
    pub registry: &'a Registry,
    /// Who writes.
    pub user: &'a User,
    /// The kind.
    pub kind: &'a Kind,
    /// The namespace.
    pub namespace: Option<&'a str>,
    /// The object's name.
    pub name: &'a str,
    /// The part that is written.
    pub part: Part,
    /// Store nothing.
    pub dry_run: bool,
    /// Who owns what is written.
    pub manager: String,
    /// The manager as the client named it, if it did.
    pub named: Option<String>,
    /// The subresource in the path; empty for none.
    pub subresource: &'static str,
    /// The program that writes, as it calls itself.
    pub client: Option<&'a str>,
    /// What the audit log will say of the request.
    pub trail: Option<&'a Trail>,
}

/// An object as a client wants it.
pub(crate) struct Wanted {
    /// The object, in its stored form.
    pub value: Value,
    /// What the client should be warned of.
    pub warnings: Vec<String>,
    /// What the object's managed fields are.
    pub listed: Listed,
}

/// `PUT`.
pub(crate) async fn update(
    call: &Call,
    kind: &Kind,
    namespace: Option<&str>,
    target: &str,
    part: Part,
    body: Bytes,
) -> Outcome<Response<Body>> {
    let options = WriteOptions::of(&call.query, "UpdateOptions")?;
    let gvk = encoding::gvk(kind);
    let encoding = call.body_encoding()?;
    let decoded = kind
        .schema
        .decode(&body, encoding, &gvk, options.field_validation)?;
    let value = match kind.view {
        Some(view) => (view.store)(decoded.value),
        None => decoded.value,
    };
    same_target(kind, namespace, target, &value)?;
    let change = Change::of(call, kind, namespace, target, part, &options);
    let absent = || -> Option<Value> {
        (kind.create_on_update && part == Part::Main).then(|| value.clone())
    };
    if write::claimed_revision(&value).is_empty() && !kind.unconditional_update {
        let error = FieldError::invalid(
            "metadata.resourceVersion",
            0,
            "must be specified for an update",
        );
        // Creating needs no revision.
        let exists = read::find(&call.inner.store, kind, namespace, target).is_ok();
        if exists || absent().is_none() {
            return fail(Status::invalid(&kind.group, &kind.kind, target, &[error]));
        }
    }
    let warnings = decoded.warnings;
    let result = change
        .run(|_| {
            Ok(Wanted {
                value: value.clone(),
                warnings: warnings.clone(),
                listed: Listed::Sent,
            })
        })
        .await;
    let written = match result {
        Err(failure) if failure.code == 404 && absent().is_some() => {
            if !write::claimed_revision(&value).is_empty() {
                return Err(failure);
            }
            let mut written = change.insert(value, Listed::Sent).await?;
            written.warnings.splice(0..0, warnings);
            written
        }
        other => other?,
    };
    create::answer(call, kind, written).await
}

/// The object in a body must be the one in the path.
fn same_target(kind: &Kind, namespace: Option<&str>, target: &str, value: &Value) -> Outcome<()> {
    let own = name(value);
    if own.is_empty() {
        return Err(bad_request(
            "name must be provided: the name of the object in the body is empty",
        ));
    }
    if own != target {
        return Err(bad_request(format!(
            "the name of the object ({own}) does not match the name on the URL ({target})"
        )));
    }
    let own = text(value, &["metadata", "namespace"]);
    if kind.namespaced && !own.is_empty() && Some(own) != namespace {
        return Err(bad_request(format!(
            "the namespace of the object ({own}) does not match the namespace on the request ({})",
            namespace.unwrap_or_default()
        )));
    }
    Ok(())
}

impl<'a> Change<'a> {
    /// What a request asks for.
    pub(crate) fn of(
        call: &'a Call,
        kind: &'a Kind,
        namespace: Option<&'a str>,
        name: &'a str,
        part: Part,
        options: &WriteOptions,
    ) -> Self {
        Self {
            inner: &call.inner,
            registry: &call.registry,
            user: &call.user,
            kind,
            namespace,
            name,
            part,
            dry_run: options.dry_run,
            manager: managed::manager(call, options.field_manager.as_deref()),
            named: options.field_manager.clone(),
            client: witness::client(call),
            subresource: part.subresource(),
            trail: call.trail.as_deref(),
        }
    }

    /// The write as admission sees it.
    pub(crate) fn request<'r>(&'r self, operation: Operation, name: &'r str) -> Request<'r> {
        Request {
            inner: self.inner,
            registry: self.registry,
            user: self.user,
            kind: self.kind,
            subresource: self.subresource,
            operation,
            namespace: self.namespace,
            name,
            dry_run: self.dry_run,
            manager: self.named.as_deref(),
            trail: self.trail,
        }
    }

    /// Let webhooks and policies change what is to be written.
    async fn mutate(&self, new: &mut Value, old: &Value) -> Outcome<Notes> {
        let request = self.request(Operation::Update, self.name);
        if self.subresource != "scale" {
            return admission::mutate(&request, new, Some(old)).await;
        }
        let mut scale = scale::of(self.kind, new);
        let before = scale::of(self.kind, old);
        let notes = admission::mutate(&request, &mut scale, Some(&before)).await?;
        if notes.changed {
            scale::put_back(self.kind, new, &scale);
        }
        Ok(notes)
    }

    /// Ask webhooks and policies whether it may be written.
    async fn admit(&self, new: &Value, old: &Value) -> Outcome<Notes> {
        let request = self.request(Operation::Update, self.name);
        if self.subresource != "scale" {
            return admission::validate(&request, Some(new), Some(old)).await;
        }
        let (scale, before) = (scale::of(self.kind, new), scale::of(self.kind, old));
        admission::validate(&request, Some(&scale), Some(&before)).await
    }

    /// Who owns what in the objects it writes.
    pub(crate) fn owners(&self) -> Owners<'_> {
        Owners {
            kind: self.kind,
            registry: self.registry,
            part: self.part,
            manager: &self.manager,
        }
    }

    /// Read the object, ask `wanted` (which is given its stored form) what it should be, and write
    /// that; again from the start if it changed meanwhile and the client named no revision.
    pub(crate) async fn run(
        &self,
        mut wanted: impl FnMut(&Value) -> Outcome<Wanted>,
    ) -> Outcome<Written> {
        let kind = self.kind;
        let store = &self.inner.store;
        for _ in 0..ATTEMPTS {
            let current = read::find(store, kind, self.namespace, self.name)?;
            let well_stored = kind
                .custom()
                .is_none_or(|version| version.is_stored_well(&*current.head));
            let shown = custom::shown(self.inner, kind, current.clone()).await?;
            let old = shown.value().map_err(internal)?;
            let Wanted {
                value: mut new,
                mut warnings,
                listed,
            } = wanted(&old)?;
            let revision = write::claimed_revision(&new).to_owned();
            self.preconditions(&new, &old, &revision, current.revision.0)?;
            self.merge(&mut new, &old, listed);
            let notes = self.mutate(&mut new, &old).await?;
            warnings.extend(notes.warnings);
            if notes.changed {
                warnings.extend(managed::restore(&mut new, |new| {
                    managed::put(new, old["metadata"].get("managedFields").cloned());
                }));
            }
            self.prepare(&mut new, &old)?;
            managed::keep_times(&mut new, &old);
            if well_stored
                && write::unchanged(&new, &old)
                && !write::may_go(kind, &new)
                // Writing it again is how clients have it sealed with a new key.
                && !self.inner.stale(kind, self.namespace, self.name)
            {
                return Ok(Written {
                    result: WrittenObject::Stored(current),
                    warnings,
                    created: false,
                });
            }
            self.check(&new, &old)?;
            warnings.extend(kind.strategy.warnings(&new));
            warnings.extend(self.admit(&new, &old).await?.warnings);
            let claim = kind.strategy.claim(&mut new, Some(&old))?;
            let request = self.request(Operation::Update, self.name);
            if self.dry_run {
                admission::try_out(&request, &new, Some(&old))?;
                set(
                    ensure(&mut new, "metadata"),
                    "resourceVersion",
                    current.revision.to_string(),
                );
                return Ok(Written {
                    result: WrittenObject::Dry(new),
                    warnings,
                    created: false,
                });
            }
            let key = read::key(kind, self.namespace, self.name)?;
            let goes = write::may_go(kind, &new);
            let written = if goes {
                // The last thing that held an object that is being deleted is gone: so is the object.
                let expect = Expect::At(current.revision);
                write::commit(self.inner, Write::Delete { key, expect }).await?
            } else {
                let write = Write::Put {
                    key,
                    draft: custom::drafted(self.inner, kind, &new).await?,
                    expect: Expect::At(current.revision),
                };
                admission::commit(&request, write, &new, Some(&old)).await?
            };
            match written {
                Committed::Done(object) => {
                    if let Some(claim) = claim.filter(|_| !goes) {
                        claim.keep();
                    }
                    kind.strategy.settled(&old, (!goes).then_some(&new));
                    self.witnessed(self.inner, &object);
                    return Ok(Written {
                        result: WrittenObject::Stored(object),
                        warnings,
                        created: false,
                    });
                }
                Committed::Conflict if revision.is_empty() => tokio::task::yield_now().await,
                Committed::Conflict => return Err(write::modified(kind, self.name)),
            }
        }
        Err(write::modified(kind, self.name))
    }

    /// Write what `make` makes of the stored object, without defaults and checks: for changes that
    /// only the server makes.
    pub(crate) async fn run_raw(&self, make: impl Fn(&Value) -> Outcome<Value>) -> Outcome<()> {
        for _ in 0..ATTEMPTS {
            let current = read::find(&self.inner.store, self.kind, self.namespace, self.name)?;
            let new = make(&current.value().map_err(internal)?)?;
            if self.dry_run {
                return Ok(());
            }
            let key = read::key(self.kind, self.namespace, self.name)?;
            let revision = current.revision;
            match write::replace(self.inner, self.kind, key, &new, revision).await? {
                Committed::Done(_) => return Ok(()),
                Committed::Conflict => tokio::task::yield_now().await,
            }
        }
        Err(write::modified(self.kind, self.name))
    }

    fn preconditions(&self, new: &Value, old: &Value, revision: &str, now: u64) -> Outcome<()> {
        if !revision.is_empty() && revision != "0" {
            let Ok(number) = revision.parse::<u64>() else {
                let error = FieldError::invalid(
                    "metadata.resourceVersion",
                    revision,
                    "must be an unsigned integer",
                );
                return fail(Status::invalid(
                    &self.kind.group,
                    &self.kind.kind,
                    self.name,
                    &[error],
                ));
            };
            if number != now {
                return Err(write::modified(self.kind, self.name));
            }
        }
        let (own, stored) = (
            text(new, &["metadata", "uid"]),
            text(old, &["metadata", "uid"]),
        );
        if !own.is_empty() && own != stored {
            return Err(uid_conflict(self.kind, self.name, own, stored));
        }
        Ok(())
    }

    /// Make of what the client sent what may be stored: only the part it writes is taken from it.
    fn merge(&self, new: &mut Value, old: &Value, listed: Listed) {
        let strategy = &self.kind.strategy;
        let mut list = managed::take_list(new);
        // Before the server adds to it: what it adds belongs to nobody.
        let mut own = |new: &mut Value| match listed {
            Listed::Sent => self.owners().note(new, Some(old), list.take()),
            Listed::Settled => managed::put(new, list.take()),
        };
        write::carry_over(new, old);
        copy(new, old, "apiVersion");
        copy(new, old, "kind");
        match self.part {
            Part::Main => {
                if self.kind.has_status() {
                    copy(new, old, "status");
                }
                strategy.default(new);
                own(new);
            }
            Part::Status => {
                let status = new.get("status").cloned();
                let meta = new["metadata"].clone();
                *new = old.clone();
                write::carry_over(new, old);
                if let Some(status) = status {
                    set(new, "status", status);
                }
                let mine = ensure(new, "metadata");
                for field in ["annotations", "finalizers", "ownerReferences", "labels"] {
                    copy(mine, &meta, field);
                }
                strategy.default(new);
                own(new);
            }
            Part::Finalize => {
                let finalizers = new["spec"].get("finalizers").cloned();
                *new = old.clone();
                write::carry_over(new, old);
                let finalizers = finalizers.unwrap_or(Value::Array(Vec::new()));
                set(ensure(new, "spec"), "finalizers", finalizers);
                own(new);
            }
            Part::EphemeralContainers => {
                let containers = new["spec"].get("ephemeralContainers").cloned();
                *new = old.clone();
                write::carry_over(new, old);
                if let Some(containers) = containers {
                    set(ensure(new, "spec"), "ephemeralContainers", containers);
                }
                strategy.default(new);
                own(new);
            }
            Part::Resize | Part::Approval => {
                let asked = std::mem::replace(new, old.clone());
                write::carry_over(new, old);
                strategy.take_part(self.part, new, &asked);
                strategy.default(new);
                own(new);
            }
        }
    }

    /// Set what the server alone sets.
    fn prepare(&self, new: &mut Value, old: &Value) -> Outcome<()> {
        let strategy = &self.kind.strategy;
        match self.part {
            Part::Main => {
                strategy.prepare_update(new, old);
                admission::update(self.inner, self.user, self.kind, new, old)?;
                write::count_generation(self.kind, new, old);
            }
            Part::Status => strategy.prepare_status(new, old),
            Part::Finalize => {}
            Part::EphemeralContainers | Part::Resize | Part::Approval => {
                write::count_generation(self.kind, new, old);
            }
        }
        certificates::update(self.inner, self.user, self.kind, self.part, new, old)
    }

    fn faults(&self, new: &Value, old: &Value, errors: &mut Errors) {
        validation::metadata_update(new, old, errors);
        let strategy = &self.kind.strategy;
        match self.part {
            Part::Main => strategy.validate_update(new, old, &Path::Root, errors),
            Part::Status => strategy.validate_status(new, old, &Path::Root, errors),
            Part::Finalize => strategy.validate(new, &Path::Root, errors),
            Part::EphemeralContainers => {
                validation::ephemeral_containers_update(new, old, &Path::Root, errors);
            }
            Part::Resize | Part::Approval => {
                strategy.validate_part(self.part, new, old, &Path::Root, errors);
            }
        }
    }

    fn check(&self, new: &Value, old: &Value) -> Outcome<()> {
        let mut errors = Errors::default();
        aside::with_document(new, || self.faults(new, old, &mut errors));
        if errors.is_empty() {
            return Ok(());
        }
        fail(Status::invalid(
            &self.kind.group,
            &self.kind.kind,
            self.name,
            errors.list(),
        ))
    }
}

/// The object of this name is another one than the client means.
pub(crate) fn uid_conflict(kind: &Kind, name: &str, own: &str, stored: &str) -> Failure {
    Box::new(Status::conflict(
        &kind.group,
        &kind.plural,
        name,
        format!("Precondition failed: UID in precondition: {own}, UID in object meta: {stored}"),
    ))
}
