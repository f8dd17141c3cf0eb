//! Getting objects from the version they are stored in to the one asked for, and back.

use super::definition::{Conversion, Definition, Version};
use super::strategy::selected;
use crate::api::Inner;
use crate::error::{Outcome, internal};
use crate::kind::Kind;
use crate::values::{at, items, members, name, namespace, set, take, text};
use crate::webhook::Endpoint;
use bytes::Bytes;
use consort_object::schema::Gvk;
use consort_object::structural::{default, embedded, prune};
use consort_object::{Draft, Encodings, Head, Object};
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long a webhook may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// So many objects are brought into form before others get their turn.
const BATCH: usize = 64;

/// A webhook that converts objects.
pub(crate) struct Webhook {
    config: Value,
    /// The version of the review it is asked in.
    review: &'static str,
    endpoint: OnceLock<Result<Endpoint, String>>,
}

impl Webhook {
    /// The webhook of a definition's `conversion.webhook`.
    pub(super) fn new(webhook: &Value) -> Result<Self, String> {
        let review = items(webhook, &["conversionReviewVersions"])
            .iter()
            .find_map(|version| match version.as_str() {
                Some("v1") => Some("v1"),
                Some("v1beta1") => Some("v1beta1"),
                _ => None,
            })
            .ok_or("no supported conversion review versions")?;
        Ok(Self {
            config: webhook["clientConfig"].clone(),
            review,
            endpoint: OnceLock::new(),
        })
    }

    /// Convert objects, all of them from other versions than the wanted one.
    async fn convert(
        &self,
        inner: &Inner,
        values: &[Value],
        wanted: &str,
    ) -> Result<Vec<Value>, String> {
        let from = Gvk::of(values.first().unwrap_or(&Value::Null));
        let failed =
            |why: &dyn std::fmt::Display| format!("conversion webhook for {from} failed: {why}");
        let endpoint = self
            .endpoint
            .get_or_init(|| Endpoint::new(&self.config, &inner.store))
            .as_ref()
            .map_err(|why| failed(&why))?;
        let uid = uuid::Uuid::new_v4().to_string();
        let review = json!({
            "kind": "ConversionReview",
            "apiVersion": format!("{}/{}", super::GROUP, self.review),
            "request": {"uid": uid, "desiredAPIVersion": wanted, "objects": values},
        });
        let body = serde_json::to_vec(&review).map_err(|error| failed(&error))?;
        let answer = endpoint
            .post(Bytes::from(body), TIMEOUT)
            .await
            .map_err(|error| failed(&error))?;
        let mut answer: Value = serde_json::from_slice(&answer).map_err(|error| failed(&error))?;
        self.accept(&answer, &uid).map_err(|why| failed(&why))?;
        let converted = match answer.pointer_mut("/response/convertedObjects") {
            Some(Value::Array(list)) => std::mem::take(list),
            _ => Vec::new(),
        };
        if converted.len() != values.len() {
            return Err(format!(
                "conversion webhook for {from} returned {} objects, expected {}",
                converted.len(),
                values.len()
            ));
        }
        converted
            .into_iter()
            .zip(values)
            .enumerate()
            .map(|(index, (new, old))| {
                adopt(new, old, wanted).map_err(|why| {
                    format!(
                        "conversion webhook for {from} returned invalid converted object at index {index}: {why}"
                    )
                })
            })
            .collect()
    }

    /// Is this the answer to the question, and a good one?
    fn accept(&self, answer: &Value, uid: &str) -> Result<(), String> {
        let own = Gvk::of(answer);
        let wanted = Gvk::new(super::GROUP, self.review, "ConversionReview");
        if own != wanted {
            return Err(format!("expected webhook response of {wanted}, got {own}"));
        }
        let Some(response) = at(answer, &["response"]) else {
            return Err("no response provided".into());
        };
        let answered = text(response, &["uid"]);
        if self.review == "v1" && answered != uid {
            return Err(format!("expected response.uid={uid:?}, got {answered:?}"));
        }
        let status = text(response, &["result", "status"]);
        if status == "Success" {
            return Ok(());
        }
        let message = text(response, &["result", "message"]);
        Err(if message.is_empty() {
            format!("response.result.status was '{status}', not 'Success'")
        } else {
            message.to_owned()
        })
    }
}

/// Take over what a webhook made of an object. Of the metadata it may change labels and annotations only.
fn adopt(mut new: Value, old: &Value, wanted: &str) -> Result<Value, String> {
    let version = text(&new, &["apiVersion"]);
    if version != wanted {
        return Err(format!(
            "invalid groupVersion (expected {wanted}, received {version})"
        ));
    }
    let (expected, received) = (text(old, &["kind"]), text(&new, &["kind"]));
    if expected != received {
        return Err(format!(
            "invalid kind (expected {expected}, received {received})"
        ));
    }
    for (what, own, other) in [
        ("name", name(old), name(&new)),
        ("namespace", namespace(old), namespace(&new)),
        (
            "UID",
            text(old, &["metadata", "uid"]),
            text(&new, &["metadata", "uid"]),
        ),
    ] {
        if own != other {
            return Err(format!("must have the same {what}: {own} != {other}"));
        }
    }
    let Some(given) = take(&mut new, "metadata") else {
        return Err("missing metadata in converted object".into());
    };
    let mut meta = old["metadata"].clone();
    for field in ["labels", "annotations"] {
        match at(&given, &[field]) {
            None => {
                take(&mut meta, field);
            }
            Some(map) => {
                for (key, value) in members(map, &[]) {
                    if !value.is_string() {
                        return Err(format!(
                            "metadata.{field}[{key}] must be a string in converted object"
                        ));
                    }
                }
                set(&mut meta, field, map.clone());
            }
        }
    }
    set(&mut new, "metadata", meta);
    Ok(new)
}

/// Convert objects to a version of a definition and bring them into the form of its schema.
async fn to_version(
    inner: &Inner,
    definition: &Definition,
    mut values: Vec<Value>,
    index: usize,
) -> Outcome<Vec<Value>> {
    let wanted = definition.versions[index].api_version.as_str();
    let mut foreign = Vec::new();
    for (place, value) in values.iter().enumerate() {
        let own = text(value, &["apiVersion"]);
        if own == wanted {
            continue;
        }
        if definition.index_of(own).is_none() {
            return Err(internal(format!(
                "request to convert CR from an invalid group/version: {own}"
            )));
        }
        foreign.push(place);
    }
    if !foreign.is_empty() {
        match &definition.conversion {
            Conversion::None => {
                for place in foreign {
                    set(&mut values[place], "apiVersion", wanted);
                }
            }
            Conversion::Webhook(webhook) => {
                let asked: Vec<Value> = foreign
                    .iter()
                    .map(|place| std::mem::take(&mut values[*place]))
                    .collect();
                let converted = webhook
                    .convert(inner, &asked, wanted)
                    .await
                    .map_err(internal)?;
                for (place, value) in foreign.into_iter().zip(converted) {
                    values[place] = value;
                }
            }
        }
    }
    let schema = &definition.parsed(index)?.schema;
    for (place, value) in values.iter_mut().enumerate() {
        prune::unknown(value, schema, true);
        prune::nulls(value, schema);
        // What is stored was checked; what cannot be brought into form is shown as it is.
        let _ = embedded::coerce(value, schema);
        default::fill(value, schema);
        if place % BATCH == BATCH - 1 {
            tokio::task::yield_now().await;
        }
    }
    Ok(values)
}

/// An object of a kind's version in another version of it. Built-in kinds have one stored form.
pub(crate) async fn converted(
    inner: &Inner,
    from: &Kind,
    to: &Kind,
    value: Value,
) -> Outcome<Value> {
    match (from.custom(), to.custom()) {
        (Some(from), Some(to)) if from.index != to.index => {
            let mut values = to_version(inner, &to.definition, vec![value], to.index).await?;
            values
                .pop()
                .ok_or_else(|| internal("a conversion lost its object"))
        }
        _ => Ok(value),
    }
}

impl Version {
    /// An object of another version as if nothing but the version's name changed: that is what conversion
    /// without a webhook does. What a webhook would make of it cannot be waited for where this is asked, and
    /// owners keep their fields by name.
    pub(crate) fn renamed(&self, object: &Value) -> Value {
        let mut value = object.clone();
        set(&mut value, "apiVersion", self.facts().api_version.as_str());
        if let Ok(parsed) = self.parsed() {
            prune::unknown(&mut value, &parsed.schema, true);
            default::fill(&mut value, &parsed.schema);
        }
        value
    }
}

/// A stored object as its kind shows it.
pub(crate) async fn shown(inner: &Inner, kind: &Kind, object: Object) -> Outcome<Object> {
    match kind.custom() {
        Some(version) if !version.is_current(&*object.head) => {
            let mut objects = shown_by(inner, version, vec![object]).await?;
            objects
                .pop()
                .ok_or_else(|| internal("a conversion lost its object"))
        }
        _ => Ok(object),
    }
}

/// Stored objects as their kind shows them.
pub(crate) async fn shown_all(
    inner: &Inner,
    kind: &Kind,
    mut objects: Vec<Object>,
) -> Outcome<Vec<Object>> {
    let Some(version) = kind.custom() else {
        return Ok(objects);
    };
    let places: Vec<usize> = objects
        .iter()
        .enumerate()
        .filter(|(_, object)| !version.is_current(&*object.head))
        .map(|(place, _)| place)
        .collect();
    if places.is_empty() {
        return Ok(objects);
    }
    let asked = places.iter().map(|place| objects[*place].clone()).collect();
    let shown = shown_by(inner, version, asked).await?;
    for (place, object) in places.into_iter().zip(shown) {
        objects[place] = object;
    }
    Ok(objects)
}

async fn shown_by(
    inner: &Inner,
    version: &Arc<Version>,
    objects: Vec<Object>,
) -> Outcome<Vec<Object>> {
    let values = objects
        .iter()
        .map(|object| object.value().map_err(internal))
        .collect::<Outcome<Vec<Value>>>()?;
    let values = to_version(inner, &version.definition, values, version.index).await?;
    objects
        .into_iter()
        .zip(values)
        .map(|(object, value)| {
            let head = Head::extract(&value, selected(version, &value)).map_err(internal)?;
            Ok(Object {
                head: Arc::new(head),
                revision: object.revision,
                json: serde_json::to_vec(&value).map_err(internal)?.into(),
                encodings: Encodings::default(),
            })
        })
        .collect()
}

/// An object ready to be stored.
pub(crate) async fn drafted(inner: &Inner, kind: &Kind, value: &Value) -> Outcome<Draft> {
    let Some(version) = kind.custom() else {
        return crate::handlers::write::draft(kind, value);
    };
    let definition = &version.definition;
    let storage = definition.storage;
    let facts = &definition.versions[storage];
    let converted;
    let stored = if version.index == storage && text(value, &["apiVersion"]) == facts.api_version {
        value
    } else {
        let mut values = to_version(inner, definition, vec![value.clone()], storage).await?;
        converted = values
            .pop()
            .ok_or_else(|| internal("a conversion lost its object"))?;
        &converted
    };
    let storage = Version {
        definition: definition.clone(),
        index: storage,
        gone: version.gone.clone(),
    };
    let mut fields = selected(&storage, stored);
    fields.push(version.stamp_field());
    let head = Head::extract(stored, fields).map_err(internal)?;
    Draft::new(head, stored).map_err(internal)
}
