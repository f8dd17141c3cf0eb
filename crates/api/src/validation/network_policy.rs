//! Checks of network policies.

use super::{Errors, Path, label_selector};
use crate::values::{at, int, items, text};
use consort_object::names;
use ipnet::IpNet;
use serde_json::Value;

/// Check a network policy.
pub(crate) fn network_policy(object: &Value, here: &Path<'_>, errors: &mut Errors) {
    let here = here.field("spec");
    let spec = &object["spec"];
    if let Some(selector) = at(spec, &["podSelector"]) {
        label_selector(selector, &here.field("podSelector"), errors);
    }
    for (field, peers) in [("ingress", "from"), ("egress", "to")] {
        let list = here.field(field);
        for (index, rule) in items(spec, &[field]).iter().enumerate() {
            let place = list.index(index);
            let ports = place.field("ports");
            for (index, port) in items(rule, &["ports"]).iter().enumerate() {
                self::port(port, &ports.index(index), errors);
            }
            let list = place.field(peers);
            for (index, peer) in items(rule, &[peers]).iter().enumerate() {
                self::peer(peer, &list.index(index), errors);
            }
        }
    }
    let list = here.field("policyTypes");
    let types = items(spec, &["policyTypes"]);
    if types.len() > 2 {
        errors.invalid(
            &list,
            Value::Array(types.to_vec()),
            "may not specify more than two policyTypes",
        );
        return;
    }
    for (index, kind) in types.iter().enumerate() {
        errors.supported(
            &list.index(index),
            kind.as_str().unwrap_or_default(),
            &["Egress", "Ingress"],
        );
    }
}

fn port(value: &Value, here: &Path<'_>, errors: &mut Errors) {
    let protocol = text(value, &["protocol"]);
    if !protocol.is_empty() {
        errors.supported(&here.field("protocol"), protocol, &["SCTP", "TCP", "UDP"]);
    }
    let end = at(value, &["endPort"]).and_then(Value::as_i64);
    match at(value, &["port"]) {
        Some(Value::Number(_)) => {
            let first = int(value, &["port"]);
            errors.port(&here.field("port"), first);
            if let Some(end) = end {
                let place = here.field("endPort");
                if end < first {
                    errors.invalid(&place, end, "must be greater than or equal to `port`");
                }
                errors.port(&place, end);
            }
        }
        Some(Value::String(name)) => {
            if end.is_some() {
                errors.invalid(
                    &here.field("endPort"),
                    end,
                    "may not be specified when `port` is non-numeric",
                );
            }
            errors.check(&here.field("port"), name, names::port_name(name));
        }
        _ => {
            if end.is_some() {
                errors.invalid(
                    &here.field("endPort"),
                    end,
                    "may not be specified when `port` is not specified",
                );
            }
        }
    }
}

fn peer(peer: &Value, here: &Path<'_>, errors: &mut Errors) {
    let mut selectors = 0;
    for field in ["podSelector", "namespaceSelector"] {
        if let Some(selector) = at(peer, &[field]) {
            selectors += 1;
            label_selector(selector, &here.field(field), errors);
        }
    }
    let block = at(peer, &["ipBlock"]);
    if selectors == 0 && block.is_none() {
        errors.required(here, "must specify a peer");
    } else if selectors > 0 && block.is_some() {
        errors.forbidden(here, "may not specify both ipBlock and another peer");
    }
    let Some(block) = block else { return };
    let here = here.field("ipBlock");
    let cidr = text(block, &["cidr"]);
    let place = here.field("cidr");
    if cidr.is_empty() {
        errors.required(&place, "");
        return;
    }
    let Ok(whole) = cidr.parse::<IpNet>() else {
        errors.check(&place, cidr, super::cidr(cidr));
        return;
    };
    let list = here.field("except");
    for (index, except) in items(block, &["except"]).iter().enumerate() {
        let place = list.index(index);
        let except = except.as_str().unwrap_or_default();
        match except.parse::<IpNet>() {
            Err(_) => errors.check(&place, except, super::cidr(except)),
            Ok(part) if !whole.contains(&part) || part.prefix_len() <= whole.prefix_len() => {
                errors.invalid(
                    &place,
                    except,
                    format!("must be a strict subset of `cidr`, which is {cidr:?}"),
                );
            }
            Ok(_) => {}
        }
    }
}
