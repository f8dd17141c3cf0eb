//! Checks of probes and of what they and life cycle hooks do.

use super::{Errors, Path};
use crate::values::{at, int, items, text};
use consort_object::names;
use serde_json::Value;

/// Check a probe. `once`: liveness and startup probes may not need several successes.
pub(super) fn probe(probe: &Value, once: bool, here: &Path<'_>, errors: &mut Errors) {
    handler(probe, false, here, errors);
    for field in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        errors.not_negative(&here.field(field), probe.get(field));
    }
    if once && int(probe, &["successThreshold"]) != 1 {
        errors.invalid(
            &here.field("successThreshold"),
            int(probe, &["successThreshold"]),
            "must be 1",
        );
    }
    if let Some(grace) = at(probe, &["terminationGracePeriodSeconds"]).and_then(Value::as_i64) {
        let place = here.field("terminationGracePeriodSeconds");
        if once {
            if grace <= 0 {
                errors.invalid(&place, grace, "must be greater than 0");
            }
        } else {
            errors.invalid(&place, grace, "must not be set for readinessProbes");
        }
    }
}

/// Check what a probe (or with `hook`, a life cycle hook) does: exactly one thing.
pub(super) fn handler(handler: &Value, hook: bool, here: &Path<'_>, errors: &mut Errors) {
    let mut found = 0;
    let mut one = |place: &Path<'_>, errors: &mut Errors| {
        found += 1;
        if found > 1 {
            errors.forbidden(place, "may not specify more than 1 handler type");
        }
        found == 1
    };
    if let Some(exec) = at(handler, &["exec"])
        && one(&here.field("exec"), errors)
        && items(exec, &["command"]).is_empty()
    {
        errors.required(&here.field("exec").field("command"), "");
    }
    if let Some(get) = at(handler, &["httpGet"])
        && one(&here.field("httpGet"), errors)
    {
        http_get(get, &here.field("httpGet"), errors);
    }
    if let Some(socket) = at(handler, &["tcpSocket"])
        && one(&here.field("tcpSocket"), errors)
    {
        port(
            socket.get("port"),
            &here.field("tcpSocket").field("port"),
            errors,
        );
    }
    if let Some(grpc) = at(handler, &["grpc"])
        && !hook
        && one(&here.field("grpc"), errors)
    {
        errors.port(&here.field("grpc").field("port"), int(grpc, &["port"]));
    }
    if let Some(sleep) = at(handler, &["sleep"])
        && hook
        && one(&here.field("sleep"), errors)
    {
        errors.not_negative(&here.field("sleep").field("seconds"), sleep.get("seconds"));
    }
    if found == 0 {
        errors.required(here, "must specify a handler type");
    }
}

fn http_get(get: &Value, here: &Path<'_>, errors: &mut Errors) {
    if text(get, &["path"]).is_empty() {
        errors.required(&here.field("path"), "");
    }
    port(get.get("port"), &here.field("port"), errors);
    let scheme = text(get, &["scheme"]);
    if !["HTTP", "HTTPS"].contains(&scheme) {
        errors.not_supported(&here.field("scheme"), scheme, &["HTTP", "HTTPS"]);
    }
    let list = here.field("httpHeaders");
    for (index, header) in items(get, &["httpHeaders"]).iter().enumerate() {
        let name = text(header, &["name"]);
        errors.check(
            &list.index(index).field("name"),
            name,
            names::http_header_name(name),
        );
    }
}

/// Check a port that is a number or the name of a container's port.
pub(super) fn port(value: Option<&Value>, here: &Path<'_>, errors: &mut Errors) {
    match value {
        Some(Value::Number(number)) => errors.port(here, number.as_i64().unwrap_or_default()),
        Some(Value::String(name)) => errors.check(here, name, names::port_name(name)),
        _ => errors.invalid(here, 0, "must be between 1 and 65535, inclusive"),
    }
}
