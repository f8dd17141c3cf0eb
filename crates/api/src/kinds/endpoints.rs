//! Endpoints and EndpointSlices.

use crate::kind::Kind;
use crate::print;
use crate::strategy::{AGE, Column, NAME, Strategy, column};
use crate::validation::{self, Errors, Path};
use crate::values::{at, fill, fill_text, int, items, items_mut, same, text};
use jiff::Timestamp;
use serde_json::Value;

/// The kind `Endpoints`.
pub(super) fn endpoints() -> Kind {
    let mut kind = Kind::new("", "v1", "Endpoints", "endpoints")
        .short(&["ep"])
        .strategy(Endpoints);
    kind.create_on_update = true;
    kind.deprecated =
        Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice");
    kind
}

/// The kind `EndpointSlice`.
pub(super) fn endpoint_slice() -> Kind {
    let mut kind = Kind::new("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
        .strategy(EndpointSlice);
    kind.generation = true;
    kind
}

struct Endpoints;

impl Strategy for Endpoints {
    fn default(&self, object: &mut Value) {
        for subset in items_mut(object, "subsets") {
            for port in items_mut(subset, "ports") {
                fill_text(port, "protocol", "TCP");
            }
        }
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::endpoints(object, here, errors);
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("Endpoints", "string", "Where the service is served."),
            AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let mut all = Vec::new();
        for subset in items(object, &["subsets"]) {
            for address in items(subset, &["addresses"]) {
                let ip = text(address, &["ip"]);
                let ports = items(subset, &["ports"]);
                if ports.is_empty() {
                    all.push(ip.to_owned());
                }
                all.extend(
                    ports
                        .iter()
                        .map(|port| format!("{ip}:{}", int(port, &["port"]))),
                );
            }
        }
        vec![
            print::name(object),
            shortened(&all, "<none>").into(),
            print::age(object, now),
        ]
    }
}

/// The first three, and how many more there are.
fn shortened(all: &[String], none: &str) -> String {
    match all.len() {
        0 => none.to_owned(),
        1..=3 => all.join(","),
        more => format!("{} + {} more...", all[..3].join(","), more - 3),
    }
}

struct EndpointSlice;

impl Strategy for EndpointSlice {
    fn wants_more(&self, new: &Value, old: &Value) -> bool {
        !same(new, old, "endpoints")
            || !same(new, old, "ports")
            || !same(&new["metadata"], &old["metadata"], "labels")
    }

    fn default(&self, object: &mut Value) {
        for port in items_mut(object, "ports") {
            fill(port, "name", "");
            fill_text(port, "protocol", "TCP");
        }
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::endpoint_slice(object, here, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        self.validate(new, here, errors);
        errors.immutable(
            &here.field("addressType"),
            new.get("addressType"),
            old.get("addressType"),
        );
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("AddressType", "string", "The kind of addresses."),
            column("Ports", "string", "The ports of every endpoint."),
            column("Endpoints", "string", "The addresses of the endpoints."),
            AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let ports: Vec<String> = items(object, &["ports"])
            .iter()
            .map(|port| match at(port, &["port"]).and_then(Value::as_i64) {
                Some(number) => number.to_string(),
                None => "*".to_owned(),
            })
            .collect();
        let addresses: Vec<String> = items(object, &["endpoints"])
            .iter()
            .flat_map(|endpoint| items(endpoint, &["addresses"]))
            .filter_map(|address| address.as_str().map(str::to_owned))
            .collect();
        vec![
            print::name(object),
            text(object, &["addressType"]).into(),
            shortened(&ports, "<unset>").into(),
            shortened(&addresses, "<unset>").into(),
            print::age(object, now),
        ]
    }
}
