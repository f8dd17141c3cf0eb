//! The `scale` subresource: replicas and selector of whatever scales, as `autoscaling/v1` `Scale`.

use super::patch;
use super::read;
use super::update::{Change, Part, Wanted};
use super::write::WrittenObject;
use crate::body::Body;
use crate::call::Call;
use crate::custom::{self, Scale, at_path};
use crate::encoding;
use crate::error::{Outcome, bad_request, fail, internal};
use crate::kind::Kind;
use crate::print;
use crate::request::WriteOptions;
use crate::respond;
use crate::schema::KindSchema;
use crate::values::{at, ensure, int, set, text};
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
    let options = WriteOptions::parse(&call.query).map_err(bad_request)?;
    let paths = kind.custom().and_then(|version| version.scale());
    let gvk = gvk();
    let schema = KindSchema::of(&gvk);
    let patch = if call.parts.method == Method::PATCH {
        Some(patch::Patch::parse(&call.content_type(), &body)?)
    } else {
        None
    };
    let sent = if patch.is_some() {
        None
    } else {
        let encoding = call.body_encoding()?;
        let mode = options.field_validation;
        Some(schema.decode(&body, encoding, &gvk, mode)?)
    };
    let change = Change {
        inner: &call.inner,
        user: &call.user,
        kind,
        namespace,
        name,
        part: Part::Main,
        dry_run: options.dry_run,
    };
    let written = change
        .run(|old| {
            let (wanted, warnings) = match (&patch, &sent) {
                (Some(patch), _) => {
                    let mut scale = scale_from(paths, old);
                    if let Some(paths) = paths
                        && at_path(old, &paths.spec_replicas_path).is_none()
                    {
                        crate::values::take(&mut scale, "spec");
                    }
                    // A patch that names no revision does not depend on one.
                    crate::values::take(ensure(&mut scale, "metadata"), "resourceVersion");
                    let mut scale = patch.apply(scale, &schema)?;
                    let notes = schema.canonical(&mut scale, &gvk)?;
                    let notes = encoding::judge(notes, &gvk, options.field_validation)?;
                    (scale, notes)
                }
                (None, Some(sent)) => (sent.value.clone(), sent.warnings.clone()),
                (None, None) => return Err(internal("no scale was sent")),
            };
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
            set(ensure(&mut value, "metadata"), "resourceVersion", revision);
            Ok(Wanted { value, warnings })
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
