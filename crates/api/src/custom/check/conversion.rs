//! How a definition says its versions are brought into each other.

use crate::values::{at, flag, int, items, text};
use consort_object::{FieldError, names};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;

pub(super) fn conversion(spec: &Value, lenient: bool, errors: &mut Vec<FieldError>) {
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
pub(in crate::custom) fn bundle_fault(object: &Value) -> Option<String> {
    let client = at(object, &["spec", "conversion", "webhook", "clientConfig"])?;
    let why = bundle(client)?;
    let shown = text(client, &["caBundle"]);
    let error = FieldError::invalid("spec.conversion.webhook.clientConfig.caBundle", shown, why);
    Some(error.to_string())
}
