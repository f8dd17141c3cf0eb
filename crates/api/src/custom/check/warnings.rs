//! What the author of a definition should know, though it is accepted.

use crate::custom::jsonpath::JsonPath;
use crate::values::{at, flag, items, members, text};
use consort_object::structural::{Type, format_recognised};
use serde_json::Value;

/// What the author of a definition should know, though it is accepted.
pub(in crate::custom) fn warnings(object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for version in items(object, &["spec", "versions"]) {
        if let Some(props) = at(version, &["schema", "openAPIV3Schema"]) {
            formats(props, &mut found);
        }
        for column in items(version, &["additionalPrinterColumns"]) {
            let path = text(column, &["jsonPath"]);
            if let Err(why) = JsonPath::parse(path) {
                found.push(format!("unrecognized column definition {path:?}: {why}"));
            }
        }
    }
    found
}

fn formats(props: &Value, found: &mut Vec<String>) {
    let format = text(props, &["format"]);
    let kind = Type::parse(text(props, &["type"]));
    let either = flag(props, &["x-kubernetes-int-or-string"]);
    if !format_recognised(format, kind, either) {
        let warning = format!("unrecognized format {format:?}");
        if !found.contains(&warning) {
            found.push(warning);
        }
    }
    for (_, property) in members(props, &["properties"]) {
        formats(property, found);
    }
    for name in ["items", "additionalProperties", "not"] {
        if let Some(schema) = at(props, &[name]).filter(|schema| schema.is_object()) {
            formats(schema, found);
        }
    }
    for name in ["allOf", "anyOf", "oneOf"] {
        for schema in items(props, &[name]) {
            formats(schema, found);
        }
    }
}
