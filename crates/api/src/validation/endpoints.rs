//! Checks of endpoints and endpoint slices.

use super::{Errors, Path};
use crate::values::{at, int, items, text};
use consort_object::names;
use serde_json::Value;
use std::collections::HashSet;
use std::net::IpAddr;

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const MOST_ENDPOINTS: usize = 1000;
const MOST_ADDRESSES: usize = 100;
const MOST_PORTS: usize = 20_000;
const MOST_HINTS: usize = 8;

/// Check endpoints.
pub(crate) fn endpoints(object: &Value, here: &Path<'_>, errors: &mut Errors) {
    let list = here.field("subsets");
    for (index, subset) in items(object, &["subsets"]).iter().enumerate() {
        let place = list.index(index);
        let mut any = false;
        for field in ["addresses", "notReadyAddresses"] {
            let list = place.field(field);
            for (index, address) in items(subset, &[field]).iter().enumerate() {
                any = true;
                let place = list.index(index);
                errors.ordinary_ip(&place.field("ip"), text(address, &["ip"]));
                errors.optional(
                    &place.field("hostname"),
                    text(address, &["hostname"]),
                    names::dns1123_label,
                );
                errors.optional(
                    &place.field("nodeName"),
                    text(address, &["nodeName"]),
                    names::dns1123_subdomain,
                );
            }
        }
        if !any {
            errors.required(&place, "must specify `addresses` or `notReadyAddresses`");
        }
        let ports = items(subset, &["ports"]);
        let list = place.field("ports");
        for (index, port) in ports.iter().enumerate() {
            let place = list.index(index);
            let name = text(port, &["name"]);
            if ports.len() > 1 && name.is_empty() {
                errors.required(&place.field("name"), "");
            }
            errors.optional(&place.field("name"), name, names::dns1123_label);
            errors.port(&place.field("port"), int(port, &["port"]));
            errors.one_of(
                &place.field("protocol"),
                text(port, &["protocol"]),
                PROTOCOLS,
            );
            errors.optional(
                &place.field("appProtocol"),
                text(port, &["appProtocol"]),
                names::qualified_name,
            );
        }
    }
}

/// Check an endpoint slice.
pub(crate) fn endpoint_slice(object: &Value, here: &Path<'_>, errors: &mut Errors) {
    let kind = text(object, &["addressType"]);
    errors.one_of(&here.field("addressType"), kind, &["FQDN", "IPv4", "IPv6"]);
    let list = here.field("endpoints");
    let endpoints = items(object, &["endpoints"]);
    if endpoints.len() > MOST_ENDPOINTS {
        errors.too_many(&list, endpoints.len(), MOST_ENDPOINTS);
        return;
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        self::endpoint(endpoint, kind, &list.index(index), errors);
    }
    let list = here.field("ports");
    let ports = items(object, &["ports"]);
    if ports.len() > MOST_PORTS {
        errors.too_many(&list, ports.len(), MOST_PORTS);
        return;
    }
    let mut seen = HashSet::new();
    for (index, port) in ports.iter().enumerate() {
        let place = list.index(index);
        let name = text(port, &["name"]);
        errors.optional(&place.field("name"), name, names::dns1123_label);
        if !seen.insert(name) {
            errors.duplicate(&place.field("name"), name);
        }
        errors.one_of(
            &place.field("protocol"),
            text(port, &["protocol"]),
            PROTOCOLS,
        );
        if at(port, &["port"]).is_some() {
            errors.port(&place.field("port"), int(port, &["port"]));
        }
        errors.optional(
            &place.field("appProtocol"),
            text(port, &["appProtocol"]),
            names::qualified_name,
        );
    }
}

fn endpoint(endpoint: &Value, kind: &str, here: &Path<'_>, errors: &mut Errors) {
    let list = here.field("addresses");
    let addresses = items(endpoint, &["addresses"]);
    if addresses.is_empty() {
        errors.required(&list, "must contain at least 1 address");
    } else if addresses.len() > MOST_ADDRESSES {
        errors.too_many(&list, addresses.len(), MOST_ADDRESSES);
    }
    for (index, address) in addresses.iter().enumerate() {
        let address = address.as_str().unwrap_or_default();
        let place = list.index(index);
        match kind {
            "IPv4" | "IPv6" => {
                errors.ordinary_ip(&place, address);
                if let Ok(ip) = address.parse::<IpAddr>()
                    && ip.is_ipv4() != (kind == "IPv4")
                {
                    errors.invalid(&place, address, format!("must be an {kind} address"));
                }
            }
            "FQDN" => errors.check(&place, address, names::fully_qualified_domain_name(address)),
            _ => {}
        }
    }
    errors.optional(
        &here.field("nodeName"),
        text(endpoint, &["nodeName"]),
        names::dns1123_subdomain,
    );
    errors.optional(
        &here.field("hostname"),
        text(endpoint, &["hostname"]),
        names::dns1123_label,
    );
    for (field, one) in [("forZones", "zone"), ("forNodes", "node")] {
        let hints = items(endpoint, &["hints", field]);
        let list = here.field("hints");
        let list = list.field(field);
        if hints.len() > MOST_HINTS {
            errors.too_many(&list, hints.len(), MOST_HINTS);
            return;
        }
        let mut seen = HashSet::new();
        for (index, hint) in hints.iter().enumerate() {
            let name = text(hint, &["name"]);
            let place = list.index(index);
            if seen.insert(name) {
                let rule = if one == "zone" {
                    names::label_value
                } else {
                    names::dns1123_subdomain
                };
                errors.check(&place, name, rule(name));
            } else {
                errors.duplicate(&place, name);
            }
        }
    }
}
