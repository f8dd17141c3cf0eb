//! Checks of services.

use super::{Errors, Path, labels, probe};
use crate::values::{at, int, items, text};
use consort_object::names;
use serde_json::Value;
use std::collections::HashSet;

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

/// Check a service.
pub(crate) fn service(object: &Value, here: &Path<'_>, errors: &mut Errors) {
    let here = here.field("spec");
    let spec = &object["spec"];
    let kind = text(spec, &["type"]);
    let address = text(spec, &["clusterIP"]);
    errors.one_of(&here.field("type"), kind, TYPES);
    if items(spec, &["ports"]).is_empty() && address != "None" && kind != "ExternalName" {
        errors.required(&here.field("ports"), "");
    }
    if kind == "ExternalName" {
        let name = text(spec, &["externalName"]);
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.is_empty() {
            errors.required(&here.field("externalName"), "");
        } else {
            errors.check(
                &here.field("externalName"),
                name,
                names::dns1123_subdomain(name),
            );
        }
        if !address.is_empty() {
            errors.forbidden(
                &here.field("clusterIPs"),
                "may not be set for ExternalName services",
            );
        }
    }
    if address == "None" && kind == "LoadBalancer" {
        errors.invalid(
            &here.field("clusterIPs").index(0),
            "None",
            "may not be set to 'None' for LoadBalancer services",
        );
    }
    if address == "None" && kind == "NodePort" {
        errors.invalid(
            &here.field("clusterIPs").index(0),
            "None",
            "may not be set to 'None' for NodePort services",
        );
    }
    if !address.is_empty() && address != "None" && address.parse::<std::net::IpAddr>().is_err() {
        errors.invalid(
            &here.field("clusterIPs").index(0),
            address,
            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        );
    }
    ports(spec, kind, &here, errors);
    if let Some(selector) = at(spec, &["selector"]) {
        labels(selector, &here.field("selector"), errors);
    }
    policies(spec, kind, &here, errors);
}

fn ports(spec: &Value, kind: &str, here: &Path<'_>, errors: &mut Errors) {
    let list = here.field("ports");
    let all = items(spec, &["ports"]);
    let mut seen_names = HashSet::new();
    let mut seen_ports = HashSet::new();
    let mut seen_nodes = HashSet::new();
    for (index, port) in all.iter().enumerate() {
        let here = list.index(index);
        let name = text(port, &["name"]);
        if name.is_empty() {
            if all.len() > 1 {
                errors.required(&here.field("name"), "");
            }
        } else {
            errors.check(&here.field("name"), name, names::dns1123_label(name));
            if !seen_names.insert(name) {
                errors.duplicate(&here.field("name"), name);
            }
        }
        let number = int(port, &["port"]);
        errors.port(&here.field("port"), number);
        let protocol = text(port, &["protocol"]);
        errors.one_of(&here.field("protocol"), protocol, PROTOCOLS);
        if let Some(target) = at(port, &["targetPort"]) {
            probe::port(Some(target), &here.field("targetPort"), errors);
        }
        let node = int(port, &["nodePort"]);
        if node != 0 {
            if kind == "ClusterIP" || kind == "ExternalName" {
                errors.forbidden(
                    &here.field("nodePort"),
                    format!("may not be used when `type` is '{kind}'"),
                );
            } else if !seen_nodes.insert((protocol, node)) {
                errors.duplicate(&here.field("nodePort"), node);
            }
        }
        if !seen_ports.insert((protocol, number)) {
            errors.duplicate(
                &here,
                serde_json::json!({"protocol": protocol, "port": number}),
            );
        }
    }
}

fn policies(spec: &Value, kind: &str, here: &Path<'_>, errors: &mut Errors) {
    let affinity = text(spec, &["sessionAffinity"]);
    errors.one_of(
        &here.field("sessionAffinity"),
        affinity,
        &["ClientIP", "None"],
    );
    if affinity == "ClientIP" {
        let seconds = int(
            spec,
            &["sessionAffinityConfig", "clientIP", "timeoutSeconds"],
        );
        if !(1..=86400).contains(&seconds) {
            errors.invalid(
                &here
                    .field("sessionAffinityConfig")
                    .field("clientIP")
                    .field("timeoutSeconds"),
                seconds,
                "must be greater than 0 and less than 86400",
            );
        }
    }
    for field in ["internalTrafficPolicy", "externalTrafficPolicy"] {
        let policy = text(spec, &[field]);
        if !policy.is_empty() && !["Cluster", "Local"].contains(&policy) {
            errors.not_supported(&here.field(field), policy, &["Cluster", "Local"]);
        }
    }
    if !text(spec, &["externalTrafficPolicy"]).is_empty()
        && kind == "ClusterIP"
        && items(spec, &["externalIPs"]).is_empty()
    {
        errors.invalid(
            &here.field("externalTrafficPolicy"),
            text(spec, &["externalTrafficPolicy"]),
            "may only be set for externally-accessible services",
        );
    }
    let list = here.field("externalIPs");
    for (index, ip) in items(spec, &["externalIPs"]).iter().enumerate() {
        let ip = ip.as_str().unwrap_or_default();
        if ip.parse::<std::net::IpAddr>().is_err() {
            errors.invalid(
                &list.index(index),
                ip,
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            );
        }
    }
}

/// Check a change of a service: its address stays while it needs one.
pub(crate) fn service_update(new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
    service(new, here, errors);
    let here = here.field("spec");
    let address = |object| text(object, &["spec", "clusterIP"]).to_owned();
    let external = |object| text(object, &["spec", "type"]) == "ExternalName";
    let (after, before) = (address(new), address(old));
    if !external(new) && !external(old) && !before.is_empty() && after != before {
        errors.invalid(
            &here.field("clusterIPs").index(0),
            after,
            "may not change once set",
        );
    }
}
