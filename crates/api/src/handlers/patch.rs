//! Patch: JSON patch, merge patch, strategic merge patch, and a first form of apply.

use super::create;
use super::update::{Change, Part, Wanted};
use crate::body::Body;
use crate::call::Call;
use crate::encoding;
use crate::error::{Failure, Outcome, bad_request, fail};
use crate::kind::Kind;
use crate::negotiate::Encoding;
use crate::request::{FieldValidation, WriteOptions};
use crate::respond::show;
use crate::schema::KindSchema;
use crate::values::{ensure, set, take, text};
use bytes::Bytes;
use consort_object::patch;
use consort_object::schema::{Gvk, Schema};
use consort_object::status::Status;
use http::Response;
use serde_json::Value;

const TYPES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// The patches that kinds without merge strategies take.
const PLAIN_TYPES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
];

/// A parsed patch.
pub(crate) enum Patch {
    /// RFC 6902.
    Json(Value),
    /// RFC 7386.
    Merge(Value),
    /// A merge patch that knows keyed lists.
    Strategic(Value),
    /// A configuration to be merged over what is there, or created.
    Apply(Value),
}

impl Patch {
    /// Parse a body by its media type.
    pub(crate) fn parse(media: &str, body: &[u8]) -> Outcome<Self> {
        let gvk = Gvk::new("", "", "Patch");
        let json = || -> Outcome<Value> {
            let (value, _) = encoding::parse(body, Encoding::Json, &gvk).map_err(|failure| {
                bad_request(format!("error decoding patch: {}", failure.message))
            })?;
            Ok(value)
        };
        Ok(match media {
            "application/json-patch+json" => Self::Json(json()?),
            "application/merge-patch+json" => Self::Merge(json()?),
            "application/strategic-merge-patch+json" => Self::Strategic(json()?),
            "application/apply-patch+yaml" => Self::Apply(encoding::yaml(body)?),
            _ => return fail(Status::unsupported_media_type(TYPES)),
        })
    }

    /// Apply it to an object.
    pub(crate) fn apply(&self, mut object: Value, schema: &KindSchema) -> Outcome<Value> {
        let refused = |error: patch::Error| -> Failure { Box::new(error.status()) };
        match self {
            Self::Json(changes) => patch::json(&mut object, changes).map_err(refused)?,
            Self::Merge(changes) => {
                if !changes.is_object() {
                    return Err(bad_request("a merge patch must be an object"));
                }
                patch::merge(&mut object, changes);
            }
            Self::Strategic(changes) | Self::Apply(changes) => {
                let message = schema.strategic(PLAIN_TYPES)?;
                patch::strategic(Schema::builtin(), message, &mut object, changes)
                    .map_err(refused)?;
            }
        }
        Ok(object)
    }

    fn revision(&self) -> &str {
        match self {
            Self::Json(_) => "",
            Self::Merge(changes) | Self::Strategic(changes) | Self::Apply(changes) => {
                text(changes, &["metadata", "resourceVersion"])
            }
        }
    }
}

/// `PATCH`.
pub(crate) async fn patch(
    call: &Call,
    kind: &Kind,
    namespace: Option<&str>,
    name: &str,
    part: Part,
    body: Bytes,
) -> Outcome<Response<Body>> {
    let options = WriteOptions::parse(&call.query).map_err(bad_request)?;
    let gvk = encoding::gvk(kind);
    let mut patch = Patch::parse(&call.content_type(), &body)?;
    let mut strictness = options.field_validation;
    if let Patch::Apply(configuration) = &mut patch {
        check_apply(configuration, kind, &gvk, &options)?;
        take(ensure(configuration, "metadata"), "creationTimestamp");
        strictness = FieldValidation::Ignore;
    }
    let change = Change {
        inner: &call.inner,
        user: &call.user,
        kind,
        namespace,
        name,
        part,
        dry_run: options.dry_run,
    };
    let result = change
        .run(|old| {
            let before = show(kind, old.clone());
            // What the patch does not say of the revision it does not depend on.
            let revision = patch.revision().to_owned();
            let current = text(&before, &["metadata", "resourceVersion"]).to_owned();
            let mut value = patch.apply(before, &kind.schema)?;
            let notes = kind.schema.canonical(&mut value, &gvk)?;
            let warnings = encoding::judge(notes, &gvk, strictness)?;
            same_object(&value, &gvk, name)?;
            let now = text(&value, &["metadata", "resourceVersion"]);
            let claimed = if now == current {
                revision
            } else {
                now.to_owned()
            };
            set(ensure(&mut value, "metadata"), "resourceVersion", claimed);
            let value = match kind.view {
                Some(view) => (view.store)(value),
                None => value,
            };
            Ok(Wanted { value, warnings })
        })
        .await;
    let written = match (result, patch) {
        (Err(failure), Patch::Apply(configuration))
            if failure.code == 404 && part == Part::Main =>
        {
            apply_absent(call, kind, namespace, name, configuration, &options).await?
        }
        (result, _) => result?,
    };
    create::answer(call, kind, written).await
}

/// Apply of an object that is not there makes it.
async fn apply_absent(
    call: &Call,
    kind: &Kind,
    namespace: Option<&str>,
    name: &str,
    mut configuration: Value,
    options: &WriteOptions,
) -> Outcome<super::write::Written> {
    let gvk = encoding::gvk(kind);
    let notes = kind.schema.canonical(&mut configuration, &gvk)?;
    let warnings = encoding::judge(notes, &gvk, options.field_validation)?;
    let own = text(&configuration, &["metadata", "name"]);
    if own.is_empty() {
        set(ensure(&mut configuration, "metadata"), "name", name);
    } else if own != name {
        return Err(bad_request(format!(
            "the name of the object ({own}) does not match the name on the URL ({name})"
        )));
    }
    let value = match kind.view {
        Some(view) => (view.store)(configuration),
        None => configuration,
    };
    // The collection's rights were not asked for by the patch.
    call.inner.authorize_create(call, kind, namespace)?;
    let mut written = create::insert(
        &call.inner,
        &call.user,
        kind,
        namespace,
        value,
        options.dry_run,
    )
    .await?;
    written.warnings.splice(0..0, warnings);
    Ok(written)
}

fn check_apply(
    configuration: &Value,
    kind: &Kind,
    gvk: &Gvk,
    options: &WriteOptions,
) -> Outcome<()> {
    if options.field_manager.is_none() {
        return fail(Status::failure(
            422,
            "Invalid",
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ));
    }
    if !configuration.is_object() {
        return Err(bad_request("an apply configuration must be an object"));
    }
    let own = Gvk::of(configuration);
    if own != *gvk {
        return Err(bad_request(format!(
            "the apply configuration is of {own}, expected {gvk}"
        )));
    }
    if configuration["metadata"].get("managedFields").is_some() {
        return Err(bad_request("metadata.managedFields must be nil"));
    }
    let mut checked = configuration.clone();
    let notes = kind.schema.canonical(&mut checked, gvk)?;
    encoding::judge(notes, gvk, options.field_validation).map(drop)
}

/// A patch may not make another object of it.
fn same_object(value: &Value, gvk: &Gvk, name: &str) -> Outcome<()> {
    let own = Gvk::of(value);
    if own != *gvk {
        return Err(bad_request(format!(
            "the patch turned the object into {own}, it is {gvk}"
        )));
    }
    let patched = text(value, &["metadata", "name"]);
    if patched != name {
        return Err(bad_request(format!(
            "the name of the object ({patched}) does not match the name on the URL ({name})"
        )));
    }
    Ok(())
}
