//! The `scale` subresource: replicas and selector of whatever scales, as `autoscaling/v1` `Scale`.

use super::apply::{Configuration, MEDIA_TYPE};
use super::patch;
use super::read;
use super::update::{Change, Part, Wanted};
use super::write::WrittenObject;
use crate::body::Body;
use crate::call::Call;
use crate::custom::{self, Scale, at_path};
use crate::encoding::Decoded;
use crate::error::{Outcome, bad_request, fail, internal};
use crate::kind::Kind;
use crate::managed::{self, Listed, ScaleOwners};
use crate::print;
use crate::request::WriteOptions;
use crate::respond;
use crate::schema::KindSchema;
use crate::values::{at, ensure, int, set, take, text};
use bytes::Bytes;
use consort_object::field_error::FieldError;
use consort_object::schema::Gvk;
use consort_object::status::Status;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

fn gvk() -> Gvk {
    Gvk::new("autoscaling", "v1", "Scale")
}

/// The scale of an object; an error if it is a custom one without a wanted number.
fn scale_of(kind: &Kind, object: &Value) -> Outcome<Value> {
    let paths = kind.custom().and_then(|version| version.scale());
    if let Some(paths) = paths
        && at_path(object, &paths.spec_replicas_path).is_none()
    {
        return Err(internal(format!(
            "the spec replicas field {:?} does not exist",
            paths.spec_replicas_path
        )));
    }
    Ok(scale_from(paths, object))
}

/// The scale of an object, for admission.
pub(super) fn of(kind: &Kind, object: &Value) -> Value {
    scale_from(kind.custom().and_then(|version| version.scale()), object)
}

/// Take the number of replicas that admission made it.
pub(super) fn put_back(kind: &Kind, object: &mut Value, scale: &Value) {
    let replicas = int(scale, &["spec", "replicas"]);
    match kind.custom().and_then(|version| version.scale()) {
        Some(paths) => put(object, &paths.spec_replicas_path, replicas),
        None => set(ensure(object, "spec"), "replicas", replicas),
    }
}

fn scale_from(paths: Option<&Scale>, object: &Value) -> Value {
    let meta = &object["metadata"];
    let mut metadata = json!({});
    for field in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        if let Some(value) = at(meta, &[field]) {
            set(&mut metadata, field, value.clone());
        }
    }
    if let Some(paths) = paths {
        let number = |path: &str| at_path(object, path).and_then(Value::as_i64).unwrap_or(0);
        let mut status = json!({"replicas": number(&paths.status_replicas_path)});
        let selector = paths
            .label_selector_path
            .as_deref()
            .and_then(|path| at_path(object, path))
            .and_then(Value::as_str)
            .filter(|selector| !selector.is_empty());
        if let Some(selector) = selector {
            set(&mut status, "selector", selector);
        }
        return json!({
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": metadata,
            "spec": {"replicas": number(&paths.spec_replicas_path)},
            "status": status,
        });
    }
    let mut status = json!({"replicas": int(object, &["status", "replicas"])});
    let selector = print::any_selector(object, &object["spec"]["selector"]);
    if selector != "<none>" {
        set(&mut status, "selector", selector);
    }
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": int(object, &["spec", "replicas"])},
        "status": status,
    })
}

/// Serve `scale`.
pub(crate) async fn scale(
    call: &Call,
    kind: &Kind,
    namespace: Option<&str>,
    name: &str,
    body: Bytes,
) -> Outcome<Response<Body>> {
    if call.parts.method == Method::GET {
        let object = read::find(&call.inner.store, kind, namespace, name)?;
        let object = custom::shown(&call.inner, kind, object).await?;
        let scale = scale_of(kind, &object.value().map_err(internal)?)?;
        return answer(call, &scale);
    }
    let paths = kind.custom().and_then(|version| version.scale());
    let gvk = gvk();
    let (sent, options) = Sent::parse(call, &body, &gvk)?;
    let mut change = Change::of(call, kind, namespace, name, Part::Main, &options);
    change.subresource = "scale";
    let change = change;
    let written = change
        .run(|old| {
            let (wanted, warnings) = sent.on(&change, old, &gvk, &options)?;
            let replicas = int(&wanted, &["spec", "replicas"]);
            if replicas < 0 {
                let error = FieldError::invalid(
                    "spec.replicas",
                    replicas,
                    "must be greater than or equal to 0",
                );
                return fail(Status::invalid("autoscaling", "Scale", name, &[error]));
            }
            let mut value = old.clone();
            if let Some(paths) = paths {
                if at(&wanted, &["spec", "replicas"]).is_none()
                    && at_path(old, &paths.spec_replicas_path).is_none()
                {
                    return Err(bad_request(format!(
                        "the spec replicas field {:?} cannot be empty",
                        paths.spec_replicas_path
                    )));
                }
                put(&mut value, &paths.spec_replicas_path, replicas);
            } else {
                set(ensure(&mut value, "spec"), "replicas", replicas);
            }
            let revision = text(&wanted, &["metadata", "resourceVersion"]).to_owned();
            let meta = ensure(&mut value, "metadata");
            set(meta, "resourceVersion", revision);
            if let Some(uid) = at(&wanted, &["metadata", "uid"]) {
                set(meta, "uid", uid.clone());
            }
            let list = managed::from_scale(kind, old, &wanted);
            managed::put(&mut value, list);
            Ok(Wanted {
                value,
                warnings,
                listed: Listed::Settled,
            })
        })
        .await?;
    let value = match written.result {
        WrittenObject::Stored(object) => {
            let object = custom::shown(&call.inner, kind, object).await?;
            object.value().map_err(internal)?
        }
        WrittenObject::Dry(value) => value,
    };
    answer(call, &scale_from(paths, &value))
}

/// Put a number at a path such as `.spec.replicas`.
fn put(object: &mut Value, path: &str, number: i64) {
    let mut steps = path.trim_start_matches('.').split('.').peekable();
    let mut here = object;
    while let Some(step) = steps.next() {
        if steps.peek().is_none() {
            set(here, step, number);
            return;
        }
        here = ensure(here, step);
    }
}

/// A scale as a client wants it, or what it wants changed.
enum Sent {
    Whole(Decoded),
    Patch(patch::Patch),
    Applied(Configuration),
}

impl Sent {
    fn parse(call: &Call, body: &[u8], gvk: &Gvk) -> Outcome<(Self, WriteOptions)> {
        if call.parts.method != Method::PATCH {
            let options = WriteOptions::of(&call.query, "UpdateOptions")?;
            let encoding = call.body_encoding()?;
            let decoded =
                KindSchema::of(gvk).decode(body, encoding, gvk, options.field_validation)?;
            return Ok((Self::Whole(decoded), options));
        }
        let media = call.content_type();
        if media == MEDIA_TYPE {
            let options = WriteOptions::of(&call.query, "PatchOptions")?;
            let configuration = Configuration::parse(body, gvk, &options)?;
            return Ok((Self::Applied(configuration), options));
        }
        let options = patch::options(call)?;
        Ok((Self::Patch(patch::Patch::parse(&media, body)?), options))
    }

    /// The scale that is wanted of this object, with the managed fields it has then.
    fn on(
        &self,
        change: &Change<'_>,
        old: &Value,
        gvk: &Gvk,
        options: &WriteOptions,
    ) -> Outcome<(Value, Vec<String>)> {
        let schema = KindSchema::of(gvk);
        let paths = change.kind.custom().and_then(|version| version.scale());
        let mut live = scale_from(paths, old);
        if let Some(paths) = paths
            && at_path(old, &paths.spec_replicas_path).is_none()
        {
            take(&mut live, "spec");
        }
        managed::put(&mut live, managed::to_scale(change.kind, old));
        let unversioned = |mut scale: Value| {
            // What names no revision does not depend on one.
            take(ensure(&mut scale, "metadata"), "resourceVersion");
            scale
        };
        let owners = ScaleOwners {
            shape: schema.shape(),
            manager: &change.manager,
        };
        let (mut wanted, warnings) = match self {
            Self::Whole(decoded) => (decoded.value.clone(), decoded.warnings.clone()),
            Self::Patch(patch) => {
                let mut scale = patch.apply(unversioned(live.clone()), &schema)?;
                let notes = schema.canonical(&mut scale, gvk);
                let made = notes.map(|notes| ((), notes));
                let before = || unversioned(live.clone());
                let mode = options.field_validation;
                let ((), warnings) = patch.judge(made, mode, &schema, before)?;
                (scale, warnings)
            }
            Self::Applied(configuration) => {
                let live = unversioned(live);
                let mut scale = owners.apply(&live, &configuration.value, configuration.force)?;
                let list = managed::take_list(&mut scale);
                schema
                    .canonical(&mut scale, gvk)
                    .map_err(|misfit| misfit.sent(gvk))?;
                managed::put(&mut scale, list);
                return Ok((scale, configuration.warnings.clone()));
            }
        };
        let list = owners.note(&live, &wanted);
        managed::put(&mut wanted, list);
        Ok((wanted, warnings))
    }
}

fn answer(call: &Call, scale: &Value) -> Outcome<Response<Body>> {
    let accept = call.accept()?;
    if let crate::negotiate::Shape::Table(version) = accept.shape {
        let now = jiff::Timestamp::now();
        let column = |name: &str, kind: &str| json!({"name": name, "type": kind, "format": "", "description": "", "priority": 0});
        let table = json!({
            "kind": "Table",
            "apiVersion": format!("meta.k8s.io/{version}"),
            "metadata": {"resourceVersion": scale["metadata"]["resourceVersion"]},
            "columnDefinitions": [
                column("Name", "string"), column("Desired", "integer"),
                column("Available", "integer"), column("Age", "string"),
            ],
            "rows": [{
                "cells": [
                    scale["metadata"]["name"], scale["spec"]["replicas"],
                    scale["status"]["replicas"], print::age(scale, now),
                ],
                "object": crate::table::metadata_only(scale),
            }],
        });
        return respond::value(call, StatusCode::OK, &table);
    }
    respond::value(call, StatusCode::OK, scale)
}
