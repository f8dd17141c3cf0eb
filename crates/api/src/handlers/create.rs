//! Create.

use super::update::{Change, Part};
use super::write::{self, Committed, Written, WrittenObject};
use crate::admission::{self, Operation};
use crate::aside;
use crate::body::Body;
use crate::call::Call;
use crate::custom;
use crate::encoding;
use crate::error::{Outcome, bad_request, fail};
use crate::handlers::read;
use crate::kind::Kind;
use crate::managed::{self, Listed};
use crate::request::WriteOptions;
use crate::respond;
use crate::validation::{self, Errors, Path};
use crate::values::{ensure, name, set, text};
use bytes::Bytes;
use consort_object::status::Status;
use consort_store::{Expect, Write};
use http::{Response, StatusCode};
use serde_json::Value;

/// How often a generated name that is taken is made anew.
const NAME_ATTEMPTS: usize = 8;

/// `POST` to a collection.
pub(crate) async fn create(
    call: &Call,
    kind: &Kind,
    namespace: Option<&str>,
    body: Bytes,
) -> Outcome<Response<Body>> {
    let options = WriteOptions::of(&call.query, "CreateOptions")?;
    let gvk = encoding::gvk(kind);
    let encoding = call.body_encoding()?;
    let decoded = kind
        .schema
        .decode(&body, encoding, &gvk, options.field_validation)?;
    let value = match kind.view {
        Some(view) => (view.store)(decoded.value),
        None => decoded.value,
    };
    let change = Change::of(call, kind, namespace, "", Part::Main, &options);
    let mut written = change.insert(value, Listed::Sent).await?;
    written.warnings.splice(0..0, decoded.warnings);
    answer(call, kind, written).await
}

/// Answer with what was written.
pub(crate) async fn answer(call: &Call, kind: &Kind, written: Written) -> Outcome<Response<Body>> {
    let code = if written.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let mut response = match written.result {
        WrittenObject::Stored(object) => {
            let object = custom::shown(&call.inner, kind, object).await?;
            respond::object(call, kind, code, &object)?
        }
        WrittenObject::Dry(value) => respond::unstored(call, kind, code, value)?,
    };
    respond::warn(&mut response, &written.warnings);
    Ok(response)
}

impl Change<'_> {
    /// Take a decoded object (in its stored form) through defaults, admission and checks into the store.
    pub(crate) async fn insert(&self, mut value: Value, listed: Listed) -> Outcome<Written> {
        let Self {
            inner,
            user,
            kind,
            namespace,
            dry_run,
            ..
        } = *self;
        if !text(&value, &["metadata", "resourceVersion"]).is_empty() {
            return Err(bad_request(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        place(kind, namespace, &mut value)?;
        let base = text(&value, &["metadata", "generateName"]).to_owned();
        let generate = name(&value).is_empty() && !base.is_empty();
        let list = managed::take_list(&mut value);
        write::birth(kind, &mut value);
        if generate {
            let name = write::generated_name(&base);
            set(ensure(&mut value, "metadata"), "name", name);
        }
        let strategy = &kind.strategy;
        strategy.default(&mut value);
        match listed {
            Listed::Sent => self.owners().note(&mut value, None, list),
            Listed::Settled => managed::put(&mut value, list),
        }
        strategy.prepare_create(&mut value);
        strategy.sign(&mut value, user);
        admission::create(inner, user, kind, &mut value).await?;
        let object_name = name(&value).to_owned();
        let request = self.request(Operation::Create, &object_name);
        let notes = admission::mutate(&request, &mut value, None).await?;
        if notes.changed {
            // What was added (a container, say) gets what the server gives to all.
            admission::create(inner, user, kind, &mut value).await?;
        }
        let mut warnings = notes.warnings;
        if notes.changed {
            warnings.extend(managed::restore(&mut value, |value| {
                managed::put(value, None);
                self.owners().note(value, None, None);
            }));
        }
        check(kind, &value)?;
        warnings.extend(strategy.warnings(&value));
        let notes = admission::validate(&request, Some(&value), None).await?;
        warnings.extend(notes.warnings);
        let mut claim = strategy.claim(&mut value, None)?;
        for _ in 0..NAME_ATTEMPTS {
            let key = read::key(kind, namespace, name(&value))?;
            if dry_run {
                if inner
                    .store
                    .get(&key)
                    .map_err(read::store_failure)?
                    .is_some()
                {
                    return fail(Status::already_exists(
                        &kind.group,
                        &kind.plural,
                        name(&value),
                    ));
                }
                admission::try_out(&request, &value, None)?;
                return Ok(Written {
                    result: WrittenObject::Dry(value),
                    warnings,
                    created: true,
                });
            }
            let write = Write::Put {
                key,
                draft: custom::drafted(inner, kind, &value).await?,
                expect: Expect::Absent,
            };
            match admission::commit(&request, write, &value, None).await? {
                Committed::Done(object) => {
                    if let Some(claim) = claim.take() {
                        claim.keep();
                    }
                    return Ok(Written {
                        result: WrittenObject::Stored(object),
                        warnings,
                        created: true,
                    });
                }
                Committed::Conflict if generate => {
                    let name = write::generated_name(&base);
                    set(ensure(&mut value, "metadata"), "name", name);
                }
                Committed::Conflict => {
                    return fail(Status::already_exists(
                        &kind.group,
                        &kind.plural,
                        name(&value),
                    ));
                }
            }
        }
        fail(Status::generate_name_conflict(
            &kind.group,
            &kind.plural,
            name(&value),
        ))
    }
}

/// The object goes where the request says.
pub(crate) fn place(kind: &Kind, namespace: Option<&str>, value: &mut Value) -> Outcome<()> {
    let own = text(value, &["metadata", "namespace"]).to_owned();
    let meta = ensure(value, "metadata");
    match namespace {
        Some(namespace) if kind.namespaced => {
            if !own.is_empty() && own != namespace {
                return Err(bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request",
                ));
            }
            set(meta, "namespace", namespace);
        }
        _ if kind.namespaced => {
            return Err(bad_request(
                "an empty namespace may not be set during creation",
            ));
        }
        _ => {
            if own.is_empty() {
                crate::values::take(meta, "namespace");
            } else {
                return Err(bad_request(
                    "namespace may not be set on an object outside namespaces",
                ));
            }
        }
    }
    Ok(())
}

fn check(kind: &Kind, value: &Value) -> Outcome<()> {
    let mut errors = Errors::default();
    aside::with_document(value, || {
        validation::metadata(kind, value, &mut errors);
        kind.strategy.validate(value, &Path::Root, &mut errors);
    });
    if errors.is_empty() {
        return Ok(());
    }
    fail(Status::invalid(
        &kind.group,
        &kind.kind,
        name(value),
        errors.list(),
    ))
}
