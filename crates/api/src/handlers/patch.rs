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
use crate::request::{FieldValidation, WriteOptions, invalid};
use crate::respond::show;
use crate::schema::{KindSchema, Misfit};
use crate::values::{ensure, set, text};
use bytes::Bytes;
use consort_object::FieldError;
use consort_object::patch;
use consort_object::schema::{DecodeError, Gvk, Schema, parse_json_strict};
use consort_object::status::Status;
use consort_object::text::go_value;
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

/// The members of an operation of a JSON patch.
const OPERATION: [&str; 4] = ["op", "path", "from", "value"];

/// A parsed patch.
pub(crate) struct Patch {
    changes: Changes,
    /// What is wrong with its form, though it can be read: doubled and unknown members.
    notes: Vec<String>,
}

enum Changes {
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
        if !TYPES.contains(&media) {
            return fail(Status::unsupported_media_type(TYPES));
        }
        let (value, mut notes) = parse_json_strict(body)
            .map_err(|error| bad_request(format!("error decoding patch: {error}")))?;
        let go = |wanted: &str| {
            bad_request(format!(
                "error decoding patch: json: cannot unmarshal {} into Go value of type {wanted}",
                kind_of(&value)
            ))
        };
        let changes = match media {
            "application/json-patch+json" => {
                let Some(operations) = value.as_array() else {
                    return Err(go("[]handlers.jsonPatchOp"));
                };
                for (index, operation) in operations.iter().enumerate() {
                    let members = operation.as_object().into_iter().flat_map(|map| map.keys());
                    let unknown = members.filter(|name| !OPERATION.contains(&name.as_str()));
                    notes.extend(unknown.map(|name| format!("unknown field \"[{index}].{name}\"")));
                }
                for note in &mut notes {
                    note.insert_str(0, "json patch ");
                }
                Changes::Json(value)
            }
            _ if !value.is_object() => return Err(go("map[string]interface {}")),
            "application/merge-patch+json" => Changes::Merge(value),
            _ => Changes::Strategic(value),
        };
        Ok(Self { changes, notes })
    }

    /// Apply it to an object.
    pub(crate) fn apply(&self, mut object: Value, schema: &KindSchema) -> Outcome<Value> {
        let refused = |error: patch::Error| -> Failure { Box::new(error.status()) };
        match &self.changes {
            Changes::Json(changes) => patch::json(&mut object, changes).map_err(refused)?,
            Changes::Merge(changes) => patch::merge(&mut object, changes),
            Changes::Strategic(changes) => {
                let message = schema.strategic(PLAIN_TYPES)?;
                patch::strategic(Schema::builtin(), message, &mut object, changes)
                    .map_err(refused)?;
            }
        }
        Ok(object)
    }

    fn revision(&self) -> &str {
        match &self.changes {
            Changes::Json(_) => "",
            Changes::Merge(changes) | Changes::Strategic(changes) => {
                text(changes, &["metadata", "resourceVersion"])
            }
        }
    }

    /// What a patch made of an object, with the warnings for its client; or why it may not be.
    pub(crate) fn judge<T>(
        &self,
        made: Result<(T, Vec<String>), Misfit>,
        mode: FieldValidation,
        schema: &KindSchema,
        before: impl Fn() -> Value,
    ) -> Outcome<(T, Vec<String>)> {
        let (made, notes) = made.map_err(|misfit| match misfit {
            Misfit::Unreadable(error) => self.unfit(&error, before(), schema),
            Misfit::Refused(failure) => failure,
        })?;
        let notes = self.notes.iter().cloned().chain(notes).collect();
        match encoding::weigh(notes, mode) {
            Ok(warnings) => Ok((made, warnings)),
            Err(error) => Err(self.unfit(&error, before(), schema)),
        }
    }

    /// The answer to a client whose patch turns an object into what is none of its kind: what is shown is
    /// a strategic patch itself, else what the others made of the object.
    fn unfit(&self, error: &DecodeError, before: Value, schema: &KindSchema) -> Failure {
        let shown = match &self.changes {
            Changes::Strategic(changes) => go_value(changes),
            Changes::Json(_) | Changes::Merge(_) => self
                .apply(before, schema)
                .map_or_else(|_| String::new(), |value| value.to_string()),
        };
        let error = FieldError::invalid("patch", shown, error.to_string());
        Box::new(Status::invalid("", "", "", &[error]))
    }
}

/// The JSON type of a value in the words of Go's decoder.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
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
            let settled = settle(&change, value, &gvk, claimed);
            let before = || show(kind, old.clone());
            let (value, warnings) =
                patch.judge(settled, options.field_validation, &kind.schema, before)?;
            Ok(Wanted {
                value,
                warnings,
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
) -> Result<(Value, Vec<String>), Misfit> {
    // The server's own, or as the client sent it: not to be looked at as a part of the object.
    let list = managed::take_list(&mut value);
    let notes = change.kind.schema.canonical(&mut value, gvk)?;
    same_object(&value, gvk, change.name).map_err(Misfit::Refused)?;
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
