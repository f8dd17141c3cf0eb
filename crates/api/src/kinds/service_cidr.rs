//! ServiceCIDRs and IPAddresses: which addresses services may have, and which they do have.

use crate::kind::{Kind, NameRule, STATUS};
use crate::print;
use crate::strategy::{AGE, Column, NAME, Strategy, column};
use crate::validation::{self, Errors, Path};
use crate::values::{at, items, same, set, text};
use consort_object::names;
use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The kind `ServiceCIDR`.
pub(super) fn service_cidr() -> Kind {
    Kind::new("networking.k8s.io", "v1", "ServiceCIDR", "servicecidrs")
        .cluster()
        .sub(STATUS)
        .strategy(ServiceCidr)
}

/// The kind `IPAddress`.
pub(super) fn ip_address() -> Kind {
    let mut kind = Kind::new("networking.k8s.io", "v1", "IPAddress", "ipaddresses")
        .cluster()
        .short(&["ip"])
        .strategy(IpAddress);
    kind.name_rule = NameRule::Address;
    kind
}

struct ServiceCidr;

impl Strategy for ServiceCidr {
    fn prepare_create(&self, object: &mut Value) {
        let ready = json!({
            "type": "Ready", "status": "True", "reason": "InUse", "message": "Kubernetes default Service CIDR is ready",
            "lastTransitionTime": consort_object::time::now(),
        });
        // The server's own range is in use from the start; for others that is not said here.
        let own = text(object, &["metadata", "name"]) == "kubernetes";
        let status = if own {
            json!({"conditions": [ready]})
        } else {
            json!({})
        };
        set(object, "status", status);
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        let list = here.field("spec");
        let list = list.field("cidrs");
        let cidrs = items(object, &["spec", "cidrs"]);
        if cidrs.is_empty() {
            errors.required(&list, "at least one CIDR required");
            return;
        }
        if cidrs.len() > 2 {
            errors.invalid(
                &list,
                Value::Array(cidrs.to_vec()),
                "may only hold up to 2 values",
            );
            return;
        }
        let mut families = Vec::new();
        for (index, cidr) in cidrs.iter().enumerate() {
            let cidr = cidr.as_str().unwrap_or_default();
            errors.check(&list.index(index), cidr, validation::canonical_cidr(cidr));
            if let Ok(net) = cidr.parse::<IpNet>() {
                families.push(matches!(net, IpNet::V4(_)));
            }
        }
        if families.len() == 2 && families[0] == families[1] {
            errors.invalid(
                &list,
                Value::Array(cidrs.to_vec()),
                "must be one of each IP family",
            );
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        let list = here.field("spec");
        let list = list.field("cidrs");
        let (after, before) = (
            items(new, &["spec", "cidrs"]),
            items(old, &["spec", "cidrs"]),
        );
        if after == before {
            return;
        }
        // A second family may be added, nothing else.
        if before.len() == 1 && after.len() == 2 && after[0] == before[0] {
            self.validate(new, here, errors);
        } else {
            errors.invalid(&list, Value::Array(after.to_vec()), "field is immutable");
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("CIDRs", "string", "The ranges services get addresses from."),
            AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let cidrs: Vec<&str> = items(object, &["spec", "cidrs"])
            .iter()
            .filter_map(Value::as_str)
            .collect();
        vec![
            print::name(object),
            cidrs.join(",").into(),
            print::age(object, now),
        ]
    }
}

struct IpAddress;

impl Strategy for IpAddress {
    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        let place = here.field("spec");
        let place = place.field("parentRef");
        let Some(parent) = at(object, &["spec", "parentRef"]) else {
            errors.required(&place, "");
            return;
        };
        errors.optional(
            &place.field("group"),
            text(parent, &["group"]),
            names::dns1123_subdomain,
        );
        for field in ["resource", "name"] {
            errors.named(
                &place.field(field),
                text(parent, &[field]),
                names::path_segment,
            );
        }
        errors.optional(
            &place.field("namespace"),
            text(parent, &["namespace"]),
            names::path_segment,
        );
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        self.validate(new, here, errors);
        if !same(&new["spec"], &old["spec"], "parentRef") {
            errors.invalid(
                &here.field("spec").field("parentRef"),
                new["spec"]["parentRef"].clone(),
                "field is immutable",
            );
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("ParentRef", "string", "What the address is taken by."),
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let parent = &object["spec"]["parentRef"];
        let mut parts: Vec<&str> = ["group", "resource", "namespace", "name"]
            .iter()
            .map(|field| text(parent, &[field]))
            .filter(|part| !part.is_empty())
            .collect();
        if parts.is_empty() {
            parts.push("<none>");
        }
        vec![print::name(object), parts.join("/").into()]
    }
}
