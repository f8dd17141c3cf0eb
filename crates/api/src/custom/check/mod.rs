//! Checking a definition.

mod approval;
mod conversion;
mod versions;
mod warnings;

use self::approval::approval;
pub(super) use self::approval::approval_condition;
pub(super) use self::conversion::bundle_fault;
use self::conversion::conversion;
use self::versions::versions;
pub(super) use self::warnings::warnings;
use crate::values::{at, flag, items, text};
use consort_object::{FieldError, names};
use serde_json::Value;

/// Check a new definition.
pub(super) fn create(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let wanted = format!(
        "{}.{}",
        text(object, &["spec", "names", "plural"]),
        text(object, &["spec", "group"])
    );
    let name = text(object, &["metadata", "name"]);
    if name != wanted {
        errors.push(FieldError::invalid(
            "metadata.name",
            name,
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    spec(object, true, &[], &mut errors);
    errors.extend(status(object));
    stored_versions(object, &mut errors);
    approval(object, None, &mut errors);
    preserve(object, &mut errors);
    errors
}

/// Check a changed definition.
pub(super) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let established = super::names::is_true(old, "Established");
    let lenient = !established || bundle_fault(old).is_some();
    let known: Vec<&Value> = items(old, &["spec", "versions"])
        .iter()
        .filter_map(|version| at(version, &["schema", "openAPIV3Schema"]))
        .collect();
    spec(new, lenient, &known, &mut errors);
    let mut immutable = |path: &[&str]| {
        if at(new, path) != at(old, path) {
            errors.push(FieldError::invalid(
                path.join("."),
                text(new, path),
                "field is immutable",
            ));
        }
    };
    if established {
        immutable(&["spec", "scope"]);
        immutable(&["spec", "names", "kind"]);
    }
    immutable(&["spec", "group"]);
    immutable(&["spec", "names", "plural"]);
    errors.extend(status(new));
    stored_versions(new, &mut errors);
    approval(new, Some(old), &mut errors);
    if !flag(old, &["spec", "preserveUnknownFields"]) {
        preserve(new, &mut errors);
    }
    errors
}

/// Check a status.
pub(super) fn status(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(names) = at(object, &["status", "acceptedNames"]) {
        check_names(names, "status.acceptedNames", &mut errors);
    }
    errors
}

fn spec(object: &Value, lenient: bool, known: &[&Value], errors: &mut Vec<FieldError>) {
    let spec = &object["spec"];
    let group = text(spec, &["group"]);
    if group.is_empty() {
        errors.push(FieldError::required("spec.group", ""));
    } else if let Err(why) = names::dns1123_subdomain(group) {
        errors.push(FieldError::invalid("spec.group", group, why));
    } else if !group.contains('.') {
        errors.push(FieldError::invalid(
            "spec.group",
            group,
            "should be a domain with at least one dot",
        ));
    }
    let scope = text(spec, &["scope"]);
    if scope.is_empty() {
        errors.push(FieldError::required("spec.scope", ""));
    } else if !["Cluster", "Namespaced"].contains(&scope) {
        errors.push(FieldError::not_supported(
            "spec.scope",
            scope,
            &["Cluster", "Namespaced"],
        ));
    }
    versions(spec, known, errors);
    for field in ["plural", "singular", "kind", "listKind"] {
        if text(spec, &["names", field]).is_empty() {
            errors.push(FieldError::required(format!("spec.names.{field}"), ""));
        }
    }
    check_names(&spec["names"], "spec.names", errors);
    conversion(spec, lenient, errors);
}

fn check_names(names: &Value, place: &str, errors: &mut Vec<FieldError>) {
    for field in ["plural", "singular", "kind", "listKind"] {
        let own = text(names, &[field]);
        if own.is_empty() {
            continue;
        }
        let mixed = field == "kind" || field == "listKind";
        if let Err(why) = names::dns1035_label(&if mixed {
            own.to_lowercase()
        } else {
            own.into()
        }) {
            let detail = if mixed {
                format!("may have mixed case, but should otherwise match: {why}")
            } else {
                why
            };
            errors.push(FieldError::invalid(format!("{place}.{field}"), own, detail));
        }
    }
    for field in ["shortNames", "categories"] {
        for (index, own) in items(names, &[field]).iter().enumerate() {
            let own = own.as_str().unwrap_or_default();
            if let Err(why) = names::dns1035_label(own) {
                errors.push(FieldError::invalid(
                    format!("{place}.{field}[{index}]"),
                    own,
                    why,
                ));
            }
        }
    }
    let (kind, list_kind) = (text(names, &["kind"]), text(names, &["listKind"]));
    if !kind.is_empty() && kind == list_kind {
        errors.push(FieldError::invalid(
            format!("{place}.listKind"),
            list_kind,
            "kind and listKind may not be the same",
        ));
    }
}

fn stored_versions(object: &Value, errors: &mut Vec<FieldError>) {
    const PLACE: &str = "status.storedVersions";
    let stored = items(object, &["status", "storedVersions"]);
    let value = || Value::from(stored.to_vec());
    if stored.is_empty() {
        errors.push(FieldError::invalid(
            PLACE,
            value(),
            "must have at least one stored version",
        ));
        return;
    }
    let versions = items(object, &["spec", "versions"]);
    for version in versions {
        if flag(version, &["storage"]) && !stored.contains(&version["name"]) {
            let name = text(version, &["name"]);
            let detail = format!("must have the storage version {name}");
            errors.push(FieldError::invalid(PLACE, value(), detail));
        }
    }
    for (index, version) in stored.iter().enumerate() {
        if versions.iter().all(|known| known["name"] != *version) {
            let name = version.as_str().unwrap_or_default();
            errors.push(FieldError::invalid(
                format!("{PLACE}[{index}]"),
                name,
                format!("missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"),
            ));
        }
    }
}

fn preserve(object: &Value, errors: &mut Vec<FieldError>) {
    if flag(object, &["spec", "preserveUnknownFields"]) {
        errors.push(FieldError::invalid(
            "spec.preserveUnknownFields",
            true,
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ));
    }
}

/// Does a schema use a field anywhere?
fn mentions(schema: &Value, field: &str) -> bool {
    match schema {
        Value::Object(map) => {
            map.contains_key(field)
                || map.iter().any(|(name, value)| {
                    // What is an example of a value is no schema.
                    !matches!(name.as_str(), "example" | "enum" | "default")
                        && mentions(value, field)
                })
        }
        Value::Array(list) => list.iter().any(|item| mentions(item, field)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn crd() -> Value {
        json!({
            "metadata": {"name": "as.example.com"},
            "spec": {
                "group": "example.com", "scope": "Namespaced",
                "names": {"plural": "as", "singular": "a", "kind": "A", "listKind": "AList"},
                "versions": [{"name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object"}}}],
                "conversion": {"strategy": "None"},
            },
            "status": {"storedVersions": ["v1"]},
        })
    }

    fn errors(edit: impl Fn(&mut Value)) -> Vec<String> {
        let mut object = crd();
        edit(&mut object);
        create(&object).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn definitions_are_checked_in_upstreams_words() {
        assert_eq!(errors(|_| {}), [""; 0]);
        for (path, value, want) in [
            (
                "/spec/group",
                json!("local"),
                "spec.group: Invalid value: \"local\": should be a domain with at least one dot",
            ),
            (
                "/spec/scope",
                json!("Some"),
                "spec.scope: Unsupported value: \"Some\": supported values: \"Cluster\", \"Namespaced\"",
            ),
            (
                "/spec/names/listKind",
                json!("A"),
                "spec.names.listKind: Invalid value: \"A\": kind and listKind may not be the same",
            ),
            (
                "/spec/versions/0/schema",
                json!({}),
                "spec.versions[0].schema.openAPIV3Schema: Required value",
            ),
            (
                "/spec/versions/0/schema/openAPIV3Schema",
                json!({"type": "object", "properties": {"x": {}}}),
                "spec.validation.openAPIV3Schema.properties[x].type: Required value: must not be empty for specified object fields",
            ),
            (
                "/spec/versions/0/subresources",
                json!({"scale": {"specReplicasPath": ".a", "statusReplicasPath": ".status.x"}}),
                "spec.subresources.scale.specReplicasPath: Invalid value: \".a\": should be a json path under .spec",
            ),
            (
                "/spec/versions/0/additionalPrinterColumns",
                json!([{"name": "x", "type": "foo", "jsonPath": ".a"}]),
                "spec.additionalPrinterColumns[0].type: Invalid value: \"foo\": must be one of boolean,date,integer,number,string",
            ),
            (
                "/spec/versions/0/selectableFields",
                json!([{"jsonPath": ".x"}]),
                "spec.selectableFields[0].jsonPath: Invalid value: \".x\": is an invalid path: does not refer to a valid field",
            ),
            (
                "/spec/conversion",
                json!({"strategy": "Webhook"}),
                "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
            ),
            (
                "/status/storedVersions",
                json!(["v1", "v0"]),
                "status.storedVersions[1]: Invalid value: \"v0\": missing from spec.versions; v0 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v0 and removes v0 from status.storedVersions",
            ),
        ] {
            let found = errors(|object| {
                let (parent, name) = path.rsplit_once('/').unwrap();
                object.pointer_mut(parent).unwrap()[name] = value.clone();
                object["metadata"]["name"] =
                    format!("as.{}", text(object, &["spec", "group"])).into();
            });
            assert!(found.contains(&want.to_owned()), "{path}: {found:?}");
        }
        let protected = errors(|object| {
            object["spec"]["group"] = "x.k8s.io".into();
            object["metadata"]["name"] = "as.x.k8s.io".into();
        });
        assert_eq!(protected.len(), 1);
        assert!(protected[0].starts_with(
            "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups"
        ));
    }
}
