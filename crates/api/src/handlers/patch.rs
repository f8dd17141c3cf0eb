//! Patch: JSON patch, merge patch and strategic merge patch; apply is handled beside it.

use super::apply;
use super::create;
use super::update::{Change, Part, Wanted};
use crate::body::Body;
use crate::call::Call;
use crate::encoding;
use crate::error::{Failure, Outcome, bad_request, fail};
use crate::kind::Kind;
use crate::managed::{self, Listed};
use crate::negotiate::Encoding;
use crate::request::{WriteOptions, invalid};
use crate::respond::show;
use crate::schema::KindSchema;
use crate::values::{ensure, set, text};
use bytes::Bytes;
use consort_object::FieldError;
use consort_object::patch;
use consort_object::schema::{Gvk, Schema};
use consort_object::status::Status;
use http::Response;
use serde_json::Value;

const TYPES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    apply::MEDIA_TYPE,
];

/// The patches that kinds without merge strategies take.
const PLAIN_TYPES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    apply::MEDIA_TYPE,
];

/// A parsed patch.
pub(crate) enum Patch {
    /// RFC 6902.
    Json(Value),
    /// RFC 7386.
    Merge(Value),
    /// A merge patch that knows keyed lists.
    Strategic(Value),
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
            Self::Strategic(changes) => {
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
            Self::Merge(changes) | Self::Strategic(changes) => {
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
    let media = call.content_type();
    if media == apply::MEDIA_TYPE {
        return apply::apply(call, kind, namespace, name, part, body).await;
    }
    let options = options(call)?;
    let gvk = encoding::gvk(kind);
    let patch = Patch::parse(&media, &body)?;
    let change = Change::of(call, kind, namespace, name, part, &options);
    let written = change
        .run(|old| {
            let before = show(kind, old.clone());
            let current = text(&before, &["metadata", "resourceVersion"]).to_owned();
            let value = patch.apply(before, &kind.schema)?;
            // What the patch does not say of the revision it does not depend on.
            let now = text(&value, &["metadata", "resourceVersion"]).to_owned();
            let claimed = if now == current {
                patch.revision()
            } else {
                &now
            };
            let (value, notes) = settle(&change, value, &gvk, claimed)?;
            Ok(Wanted {
                value,
                warnings: encoding::judge(notes, &gvk, options.field_validation)?,
                listed: Listed::Sent,
            })
        })
        .await?;
    create::answer(call, kind, written).await
}

/// The options of a patch that does not apply.
pub(crate) fn options(call: &Call) -> Outcome<WriteOptions> {
    let options = WriteOptions::of(&call.query, "PatchOptions")?;
    if options.force.is_some() {
        let error = FieldError::forbidden("force", "may not be specified for non-apply patch");
        return Err(invalid("PatchOptions", error));
    }
    Ok(options)
}

/// Bring what a patch or an apply made into the form it is stored in, depending on this revision. Also told
/// is what had to be dropped.
pub(crate) fn settle(
    change: &Change<'_>,
    mut value: Value,
    gvk: &Gvk,
    revision: &str,
) -> Outcome<(Value, Vec<String>)> {
    // The server's own, or as the client sent it: not to be looked at as a part of the object.
    let list = managed::take_list(&mut value);
    let notes = change.kind.schema.canonical(&mut value, gvk)?;
    same_object(&value, gvk, change.name)?;
    let meta = ensure(&mut value, "metadata");
    set(meta, "resourceVersion", revision);
    if let Some(list) = list {
        set(meta, "managedFields", list);
    }
    let value = match change.kind.view {
        Some(view) => (view.store)(value),
        None => value,
    };
    Ok((value, notes))
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
