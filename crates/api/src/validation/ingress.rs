//! Checks of ingresses.

use super::{Errors, Path};
use crate::values::{at, int, items, text};
use consort_object::names;
use serde_json::Value;

const PATH_TYPES: &[&str] = &["Exact", "ImplementationSpecific", "Prefix"];
const NO_SEQUENCES: &[&str] = &["//", "/./", "/../", "%2f", "%2F"];
const NO_ENDINGS: &[&str] = &["/..", "/."];

/// Check an ingress; `fresh`: it is being created.
pub(crate) fn ingress(object: &Value, fresh: bool, here: &Path<'_>, errors: &mut Errors) {
    let class = "kubernetes.io/ingress.class";
    let old_class = at(object, &["metadata", "annotations", class]);
    if fresh
        && let Some(old) = old_class
        && at(object, &["spec", "ingressClassName"]).is_some()
    {
        let at = here.field("annotations");
        errors.invalid(
            &at.field(class),
            old.clone(),
            "can not be set when the class field is also set",
        );
    }
    let here = here.field("spec");
    let spec = &object["spec"];
    let rules = items(spec, &["rules"]);
    let default = at(spec, &["defaultBackend"]);
    if rules.is_empty() && default.is_none() {
        errors.invalid(
            &here,
            Value::Array(Vec::new()),
            "either `defaultBackend` or `rules` must be specified",
        );
    }
    if let Some(default) = default {
        backend(default, &here.field("defaultBackend"), errors);
    }
    let list = here.field("rules");
    for (index, rule) in rules.iter().enumerate() {
        self::rule(rule, &list.index(index), errors);
    }
    let list = here.field("tls");
    for (index, tls) in items(spec, &["tls"]).iter().enumerate() {
        let place = list.index(index);
        let hosts = place.field("hosts");
        for (index, host) in items(tls, &["hosts"]).iter().enumerate() {
            let host = host.as_str().unwrap_or_default();
            errors.check(&hosts.index(index), host, host_name(host));
        }
        errors.optional(
            &place.field("secretName"),
            text(tls, &["secretName"]),
            names::dns1123_subdomain,
        );
    }
    if let Some(class) = at(spec, &["ingressClassName"]).and_then(Value::as_str) {
        errors.check(
            &here.field("ingressClassName"),
            class,
            names::dns1123_subdomain(class),
        );
    }
}

fn host_name(host: &str) -> Result<(), String> {
    if host.contains('*') {
        names::wildcard_dns1123_subdomain(host)
    } else {
        names::dns1123_subdomain(host)
    }
}

fn rule(rule: &Value, here: &Path<'_>, errors: &mut Errors) {
    let host = text(rule, &["host"]);
    if !host.is_empty() {
        let place = here.field("host");
        if host.parse::<std::net::IpAddr>().is_ok() {
            errors.invalid(&place, host, "must be a DNS name, not an IP address");
        } else {
            errors.check(&place, host, host_name(host));
        }
    }
    let Some(http) = at(rule, &["http"]) else {
        return;
    };
    let list = here.field("http");
    let list = list.field("paths");
    let paths = items(http, &["paths"]);
    if paths.is_empty() {
        errors.required(&list, "");
    }
    for (index, path) in paths.iter().enumerate() {
        let place = list.index(index);
        self::path(path, &place, errors);
        backend(&path["backend"], &place.field("backend"), errors);
    }
}

fn path(value: &Value, here: &Path<'_>, errors: &mut Errors) {
    let (path, kind) = (text(value, &["path"]), text(value, &["pathType"]));
    let place = here.field("path");
    match kind {
        "" => errors.required(&here.field("pathType"), "pathType must be specified"),
        "Exact" | "Prefix" => {
            if !path.starts_with('/') {
                errors.invalid(&place, path, "must be an absolute path");
            }
            if !path.is_empty() {
                for sequence in NO_SEQUENCES {
                    if path.contains(sequence) {
                        errors.invalid(&place, path, format!("must not contain {sequence:?}"));
                    }
                }
                for ending in NO_ENDINGS {
                    if path.ends_with(ending) {
                        errors.invalid(&place, path, format!("cannot end with {ending:?}"));
                    }
                }
            }
        }
        "ImplementationSpecific" => {
            if !path.is_empty() && !path.starts_with('/') {
                errors.invalid(&place, path, "must be an absolute path");
            }
        }
        other => errors.not_supported(&here.field("pathType"), other, PATH_TYPES),
    }
}

fn backend(backend: &Value, here: &Path<'_>, errors: &mut Errors) {
    let service = at(backend, &["service"]);
    let resource = at(backend, &["resource"]);
    match (service, resource) {
        (Some(_), Some(_)) => {
            errors.invalid(here, "", "cannot set both resource and service backends");
        }
        (None, None) => errors.required(here, "port name or number is required"),
        (None, Some(resource)) => {
            let place = here.field("resource");
            errors.optional(
                &place.field("apiGroup"),
                text(resource, &["apiGroup"]),
                names::dns1123_subdomain,
            );
            for field in ["kind", "name"] {
                errors.named(
                    &place.field(field),
                    text(resource, &[field]),
                    names::path_segment,
                );
            }
        }
        (Some(service), None) => {
            let place = here.field("service");
            errors.named(
                &place.field("name"),
                text(service, &["name"]),
                names::dns1035_label,
            );
            let port = place.field("port");
            let (name, number) = (
                text(service, &["port", "name"]),
                int(service, &["port", "number"]),
            );
            if !name.is_empty() && number != 0 {
                errors.invalid(&port, "", "cannot set both port name & port number");
            } else if !name.is_empty() {
                errors.check(&port.field("name"), name, names::port_name(name));
            } else if number != 0 {
                errors.port(&port.field("number"), number);
            } else {
                errors.required(&port, "port name or number is required");
            }
        }
    }
}

/// Check the status of what has a load balancer.
pub(crate) fn load_balancer(status: &Value, here: &Path<'_>, errors: &mut Errors) {
    let list = here.field("loadBalancer");
    let list = list.field("ingress");
    for (index, ingress) in items(status, &["loadBalancer", "ingress"])
        .iter()
        .enumerate()
    {
        let place = list.index(index);
        let (ip, host) = (text(ingress, &["ip"]), text(ingress, &["hostname"]));
        if !ip.is_empty() {
            errors.ip(&place.field("ip"), ip);
        }
        if !host.is_empty() {
            let place = place.field("hostname");
            if host.parse::<std::net::IpAddr>().is_ok() {
                errors.invalid(&place, host, "must be a DNS name, not an IP address");
            } else {
                errors.check(&place, host, names::dns1123_subdomain(host));
            }
        }
        if let Some(mode) = at(ingress, &["ipMode"]).and_then(Value::as_str) {
            if ip.is_empty() {
                errors.forbidden(
                    &place.field("ipMode"),
                    "may not be specified when `ip` is not set",
                );
            } else {
                errors.supported(&place.field("ipMode"), mode, &["Proxy", "VIP"]);
            }
        }
    }
}
