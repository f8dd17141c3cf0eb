//! The parts of the control plane, looked at when they are asked for.
//!
//! Here they are one process: what can fail on its own is the store, which stands where tools of old
//! look for `etcd-0`.

use crate::body::Body;
use crate::call::Call;
use crate::error::{Outcome, fail};
use crate::kind::Kind;
use crate::negotiate::Shape;
use crate::respond;
use crate::table;
use consort_object::status::Status;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

const STORE: &str = "etcd-0";

/// Serve get and list.
pub(crate) fn serve(call: &Call, kind: &Kind, name: Option<&str>) -> Outcome<Response<Body>> {
    let broken = call.inner.broken.load(Ordering::Relaxed);
    let condition = if broken {
        json!({"type": "Healthy", "status": "False", "error": "the store takes no writes"})
    } else {
        json!({"type": "Healthy", "status": "True", "message": "ok"})
    };
    let object = json!({
        "kind": kind.kind, "apiVersion": kind.api_version(),
        "metadata": {"name": STORE}, "conditions": [condition],
    });
    match name {
        Some(STORE) => return respond::unstored(call, kind, StatusCode::OK, object),
        Some(other) => return fail(Status::not_found(&kind.group, &kind.plural, other)),
        None => {}
    }
    let list: Value = match call.accept()?.shape {
        Shape::Table(version) => {
            let include = table::Include::parse(call.query.text("includeObject"))?;
            let row = table::row(kind, object, include, jiff::Timestamp::now());
            table::table(kind, version, &json!({}), &[row], true)
        }
        _ => json!({
            "kind": format!("{}List", kind.kind), "apiVersion": kind.api_version(),
            "metadata": {}, "items": [object],
        }),
    };
    respond::value(call, StatusCode::OK, &list)
}
