//! Checking a definition.

use super::jsonpath::JsonPath;
use super::names::set_condition;
use super::rules;
use crate::values::{at, flag, int, items, members, text};
use consort_object::structural::{Structural, Type, check, format_recognised};
use consort_object::{FieldError, names};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;

const APPROVED: &str = "api-approved.kubernetes.io";

const COLUMN_TYPES: [&str; 5] = ["integer", "number", "string", "boolean", "date"];
const COLUMN_FORMATS: [&str; 9] = [
    "int32",
    "int64",
    "float",
    "double",
    "byte",
    "date",
    "date-time",
    "password",
    "",
];

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

/// Where what all versions share is told: above them.
fn shared<'a>(versions: &'a [Value], field: &str) -> Option<&'a Value> {
    let first = versions.first()?.get(field).unwrap_or(&Value::Null);
    versions
        .iter()
        .all(|version| version.get(field).unwrap_or(&Value::Null) == first)
        .then_some(first)
}

fn versions(spec: &Value, known: &[&Value], errors: &mut Vec<FieldError>) {
    let versions = items(spec, &["versions"]);
    let has_schema = |version: &Value| at(version, &["schema", "openAPIV3Schema"]).is_some();
    for (index, version) in versions.iter().enumerate() {
        if !has_schema(version) {
            errors.push(FieldError::required(
                format!("spec.versions[{index}].schema.openAPIV3Schema"),
                "",
            ));
        }
    }
    let preserve = flag(spec, &["preserveUnknownFields"]);
    if preserve
        && versions
            .iter()
            .any(|version| mentions(&version["schema"], "default"))
    {
        errors.push(FieldError::invalid(
            "spec.preserveUnknownFields",
            true,
            "must be false in order to use defaults in the schema",
        ));
    }
    let mut seen: Vec<&str> = Vec::new();
    let mut storage = 0;
    let mut unique = true;
    for (index, version) in versions.iter().enumerate() {
        let place = format!("spec.versions[{index}]");
        let name = text(version, &["name"]);
        storage += usize::from(flag(version, &["storage"]));
        unique &= !seen.contains(&name);
        seen.push(name);
        if let Err(why) = names::dns1035_label(name) {
            errors.push(FieldError::invalid(format!("{place}.name"), name, why));
        }
        deprecation(version, &place, errors);
    }
    schemas(versions, known, errors);
    parts(versions, errors);
    if !unique {
        errors.push(FieldError::invalid(
            "spec.versions",
            Value::from(versions.to_vec()),
            "must contain unique version names",
        ));
    }
    if storage != 1 {
        errors.push(FieldError::invalid(
            "spec.versions",
            Value::from(versions.to_vec()),
            "must have exactly one version marked as storage version",
        ));
    }
}

fn deprecation(version: &Value, place: &str, errors: &mut Vec<FieldError>) {
    let Some(warning) = version.get("deprecationWarning").and_then(Value::as_str) else {
        return;
    };
    let mut wrong = |detail: String| {
        errors.push(FieldError::invalid(
            format!("{place}.deprecationWarning"),
            warning,
            detail,
        ));
    };
    if !flag(version, &["deprecated"]) {
        wrong("can only be set for deprecated versions".into());
        return;
    }
    if warning.len() > 256 {
        wrong("must be <= 256 characters long".into());
    }
    if warning.is_empty() {
        wrong("must not be an empty string".into());
    }
    if let Some((at, _)) = warning.char_indices().find(|(_, c)| c.is_control()) {
        wrong(format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {at}"
        ));
    }
}

/// `known` are the schemas that were accepted before.
fn schemas(versions: &[Value], known: &[&Value], errors: &mut Vec<FieldError>) {
    let has_status = |version: &Value| at(version, &["subresources", "status"]).is_some();
    let mut one = |schema: &Value, place: &str, status: bool| {
        let Some(props) = at(schema, &["openAPIV3Schema"]) else {
            return;
        };
        let place = format!("{place}.openAPIV3Schema");
        let found = check::schema(props, &place, status);
        if found.is_empty() {
            // Rules over a schema that is wrong are wrong in ways that tell nothing.
            let accepted = known.contains(&props);
            errors.extend(rules::check(props, &place, accepted));
        }
        errors.extend(found);
    };
    if let Some(schema) = shared(versions, "schema") {
        one(schema, "spec.validation", versions.iter().any(has_status));
        return;
    }
    for (index, version) in versions.iter().enumerate() {
        let place = format!("spec.versions[{index}].schema");
        one(&version["schema"], &place, has_status(version));
    }
}

/// A check of a part of a version: the part, the version, and where the part stands.
type PartCheck<'c> = &'c dyn Fn(&Value, &Value, &str, &mut Vec<FieldError>);

/// Subresources, columns, selectable fields.
fn parts(versions: &[Value], errors: &mut Vec<FieldError>) {
    let mut each =
        |field: &str, check: PartCheck<'_>| match (shared(versions, field), versions.first()) {
            (Some(value), Some(first)) => check(value, first, &format!("spec.{field}"), errors),
            _ => {
                for (index, version) in versions.iter().enumerate() {
                    let place = format!("spec.versions[{index}].{field}");
                    check(&version[field], version, &place, errors);
                }
            }
        };
    each("subresources", &|value, _, place, errors| {
        if let Some(scale) = at(value, &["scale"]) {
            check_scale(scale, place, errors);
        }
    });
    each("additionalPrinterColumns", &|value, _, place, errors| {
        for (index, column) in items(value, &[]).iter().enumerate() {
            check_column(column, &format!("{place}[{index}]"), errors);
        }
    });
    each("selectableFields", &|value, version, place, errors| {
        let fields = items(value, &[]);
        if fields.is_empty() {
            return;
        }
        if let Some(props) = at(version, &["schema", "openAPIV3Schema"])
            && let Ok(schema) = Structural::parse(props)
        {
            errors.extend(check::selectable(fields, &schema, place));
        }
    });
}

fn simple_path(path: &str, place: String, errors: &mut Vec<FieldError>) -> bool {
    if path.starts_with('.') {
        return true;
    }
    errors.push(FieldError::invalid(
        place,
        path,
        "must be a simple json path starting with .",
    ));
    false
}

fn check_scale(scale: &Value, place: &str, errors: &mut Vec<FieldError>) {
    for (field, under) in [
        ("specReplicasPath", ".spec."),
        ("statusReplicasPath", ".status."),
    ] {
        let at = format!("{place}.scale.{field}");
        let path = text(scale, &[field]);
        if path.is_empty() {
            errors.push(FieldError::required(at, ""));
        } else if simple_path(path, at.clone(), errors) && !path.starts_with(under) {
            let detail = format!(
                "should be a json path under {}",
                under.trim_end_matches('.')
            );
            errors.push(FieldError::invalid(at, path, detail));
        }
    }
    let path = text(scale, &["labelSelectorPath"]);
    let at = format!("{place}.scale.labelSelectorPath");
    if !path.is_empty()
        && simple_path(path, at.clone(), errors)
        && !path.starts_with(".spec.")
        && !path.starts_with(".status.")
    {
        errors.push(FieldError::invalid(
            at,
            path,
            "should be a json path under either .spec or .status",
        ));
    }
}

fn check_column(column: &Value, place: &str, errors: &mut Vec<FieldError>) {
    if text(column, &["name"]).is_empty() {
        errors.push(FieldError::required(format!("{place}.name"), ""));
    }
    let mut types = COLUMN_TYPES;
    types.sort_unstable();
    let detail = format!("must be one of {}", types.join(","));
    let kind = text(column, &["type"]);
    if kind.is_empty() {
        errors.push(FieldError::required(format!("{place}.type"), detail));
    } else if !types.contains(&kind) {
        errors.push(FieldError::invalid(format!("{place}.type"), kind, detail));
    }
    let format = text(column, &["format"]);
    if !COLUMN_FORMATS.contains(&format) {
        let mut formats: Vec<&str> = COLUMN_FORMATS
            .into_iter()
            .filter(|format| !format.is_empty())
            .collect();
        formats.sort_unstable();
        errors.push(FieldError::invalid(
            format!("{place}.format"),
            format,
            format!("must be one of {}", formats.join(",")),
        ));
    }
    let path = text(column, &["jsonPath"]);
    if path.is_empty() {
        errors.push(FieldError::required(format!("{place}.JSONPath"), ""));
    } else {
        simple_path(path, format!("{place}.JSONPath"), errors);
    }
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

fn conversion(spec: &Value, lenient: bool, errors: &mut Vec<FieldError>) {
    const PLACE: &str = "spec.conversion";
    let Some(conversion) = at(spec, &["conversion"]) else {
        return;
    };
    let strategy = text(conversion, &["strategy"]);
    if strategy.is_empty() {
        errors.push(FieldError::required(format!("{PLACE}.strategy"), ""));
    } else if !["None", "Webhook"].contains(&strategy) {
        errors.push(FieldError::not_supported(
            format!("{PLACE}.strategy"),
            strategy,
            &["None", "Webhook"],
        ));
    }
    let client = at(conversion, &["webhook", "clientConfig"]);
    let versions = items(conversion, &["webhook", "conversionReviewVersions"]);
    let config_place = format!("{PLACE}.webhookClientConfig");
    let versions_place = format!("{PLACE}.conversionReviewVersions");
    if strategy != "Webhook" {
        let detail = "should not be set when strategy is not set to Webhook";
        if client.is_some() {
            errors.push(FieldError::forbidden(config_place, detail));
        }
        if !versions.is_empty() {
            errors.push(FieldError::forbidden(versions_place, detail));
        }
        return;
    }
    if flag(spec, &["preserveUnknownFields"]) {
        errors.push(FieldError::invalid(
            format!("{PLACE}.strategy"),
            strategy,
            "must be None if spec.preserveUnknownFields is true",
        ));
    }
    match client {
        None => errors.push(FieldError::required(
            config_place,
            "required when strategy is set to Webhook",
        )),
        Some(client) => {
            check_client(client, &config_place, errors);
            if !lenient && let Some(why) = bundle(client) {
                errors.push(FieldError::invalid(
                    format!("{config_place}.caBundle"),
                    text(client, &["caBundle"]),
                    why,
                ));
            }
        }
    }
    review_versions(versions, &versions_place, errors);
}

fn review_versions(versions: &[Value], place: &str, errors: &mut Vec<FieldError>) {
    if versions.is_empty() {
        errors.push(FieldError::required(place, ""));
        return;
    }
    let mut known = false;
    for (index, version) in versions.iter().enumerate() {
        let own = version.as_str().unwrap_or_default();
        let at = format!("{place}[{index}]");
        if versions[..index].contains(version) {
            errors.push(FieldError::invalid(at, own, "duplicate version"));
            continue;
        }
        if let Err(why) = names::dns1035_label(own) {
            errors.push(FieldError::invalid(at, own, why));
        }
        known |= own == "v1" || own == "v1beta1";
    }
    if !known {
        errors.push(FieldError::invalid(
            place,
            Value::from(versions.to_vec()),
            "must include at least one of v1, v1beta1",
        ));
    }
}

fn check_client(client: &Value, place: &str, errors: &mut Vec<FieldError>) {
    let (url, service) = (at(client, &["url"]), at(client, &["service"]));
    match (url, service) {
        (Some(url), None) => check_url(url.as_str().unwrap_or_default(), place, errors),
        (None, Some(service)) => check_service(service, &format!("{place}.service"), errors),
        _ => errors.push(FieldError::required(
            place,
            "exactly one of url or service is required",
        )),
    }
}

fn check_url(url: &str, place: &str, errors: &mut Vec<FieldError>) {
    const FORM: &str = "; desired format: https://host[/path]";
    let place = format!("{place}.url");
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let mut wrong = |value: &str, detail: String| {
        errors.push(FieldError::invalid(place.as_str(), value, detail));
    };
    if scheme != "https" {
        let detail = format!("'https' is the only allowed URL scheme{FORM}");
        wrong(scheme, detail);
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = if scheme.is_empty() {
        ""
    } else {
        rest.split('/').next().unwrap_or_default()
    };
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if host.is_empty() {
        wrong("", format!("host must be specified{FORM}"));
    }
    if !user.is_empty() {
        wrong(user, "user information is not permitted in the URL".into());
    }
    if !fragment.is_empty() {
        wrong(fragment, "fragments are not permitted in the URL".into());
    }
    if !query.is_empty() {
        wrong(
            query,
            "query parameters are not permitted in the URL".into(),
        );
    }
}

fn check_service(service: &Value, place: &str, errors: &mut Vec<FieldError>) {
    for field in ["name", "namespace"] {
        if text(service, &[field]).is_empty() {
            errors.push(FieldError::required(format!("{place}.{field}"), ""));
        }
    }
    let port = int(service, &["port"]);
    if let Err(why) = names::port_number(port) {
        let detail = format!("port is not valid: {why}");
        errors.push(FieldError::invalid(format!("{place}.port"), port, detail));
    }
    let path = text(service, &["path"]);
    if path.is_empty() || path == "/" {
        return;
    }
    let mut wrong = |detail: String| {
        errors.push(FieldError::invalid(format!("{place}.path"), path, detail));
    };
    if path == "//" {
        wrong("segment[0] may not be empty".into());
        return;
    }
    let inner = path.strip_prefix('/').unwrap_or_else(|| {
        wrong("must start with a '/'".into());
        path
    });
    for (index, step) in inner.trim_end_matches('/').split('/').enumerate() {
        if step.is_empty() {
            wrong(format!("segment[{index}] may not be empty"));
        } else if let Err(why) = names::dns1123_subdomain(step) {
            wrong(format!("segment[{index}]: {why}"));
        }
    }
}

/// What is wrong with a client's `caBundle`.
fn bundle(client: &Value) -> Option<String> {
    const NONE: &str = "unable to load root certificates: unable to parse bytes as PEM block";
    use base64::Engine;
    let encoded = text(client, &["caBundle"]);
    if encoded.is_empty() {
        return None;
    }
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .unwrap_or_default();
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return None;
    }
    let mut found = false;
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        match certificate {
            Ok(certificate) => {
                found = true;
                if let Err(error) = x509_parser::parse_x509_certificate(&certificate) {
                    return Some(format!(
                        "unable to load root certificates: failed to parse certificate: {error}"
                    ));
                }
            }
            Err(_) => return Some(NONE.into()),
        }
    }
    (!found).then(|| NONE.into())
}

/// What is wrong with the `caBundle` of a definition's conversion webhook.
pub(super) fn bundle_fault(object: &Value) -> Option<String> {
    let client = at(object, &["spec", "conversion", "webhook", "clientConfig"])?;
    let why = bundle(client)?;
    let shown = text(client, &["caBundle"]);
    let error = FieldError::invalid("spec.conversion.webhook.clientConfig.caBundle", shown, why);
    Some(error.to_string())
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

/// Groups whose APIs are reviewed by upstream's community.
fn is_protected(group: &str) -> bool {
    group == "k8s.io"
        || group.ends_with(".k8s.io")
        || group == "kubernetes.io"
        || group.ends_with(".kubernetes.io")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Approval {
    Missing,
    Bypassed,
    Approved,
    Invalid,
}

fn approval_of(object: &Value) -> (Approval, String) {
    const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";
    let own = text(object, &["metadata", "annotations", APPROVED]);
    if own.is_empty() {
        return (
            Approval::Missing,
            format!("protected groups must have approval annotation {APPROVED:?}, {SEE}"),
        );
    }
    if own.starts_with("unapproved") {
        return (Approval::Bypassed, format!("not approved: {own:?}"));
    }
    let is_url = own.split_once("://").is_some_and(|(scheme, rest)| {
        !scheme.is_empty() && !rest.split('/').next().unwrap_or_default().is_empty()
    });
    if is_url {
        return (Approval::Approved, format!("approved in {own}"));
    }
    (
        Approval::Invalid,
        format!(
            "protected groups must have approval annotation {APPROVED:?} with either a URL or a reason starting with \"unapproved\", {SEE}"
        ),
    )
}

fn approval(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    if !is_protected(text(new, &["spec", "group"])) {
        return;
    }
    let (state, reason) = approval_of(new);
    if old.is_some_and(|old| approval_of(old).0 == state) {
        return;
    }
    let place = format!("metadata.annotations[{APPROVED}]");
    match state {
        Approval::Missing => errors.push(FieldError::required(place, reason)),
        Approval::Invalid => {
            let own = text(new, &["metadata", "annotations", APPROVED]);
            errors.push(FieldError::invalid(place, own, reason));
        }
        Approval::Approved | Approval::Bypassed => {}
    }
}

/// Keep the condition that tells whether a protected group's definition was approved.
pub(super) fn approval_condition(object: &mut Value) {
    const KIND: &str = "KubernetesAPIApprovalPolicyConformant";
    if !is_protected(text(object, &["spec", "group"])) {
        return;
    }
    let (state, message) = approval_of(object);
    let (status, reason) = match state {
        Approval::Missing => ("False", "MissingAnnotation"),
        Approval::Bypassed => ("False", "UnapprovedAnnotation"),
        Approval::Approved => ("True", "ApprovedAnnotation"),
        Approval::Invalid => ("False", "InvalidAnnotation"),
    };
    set_condition(object, KIND, status, reason, &message);
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

/// What the author of a definition should know, though it is accepted.
pub(super) fn warnings(object: &Value) -> Vec<String> {
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
