//! Checks of what the certificates group holds.

use super::{Errors, Path};
use crate::values::{at, items, text};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use consort_object::names;
use serde_json::Value;
use std::collections::HashSet;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;

const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// Check a new signing request.
pub(crate) fn signing_request(object: &Value, here: &Path<'_>, errors: &mut Errors) {
    let here = here.field("spec");
    let spec = &object["spec"];
    let place = here.field("request");
    let request = text(spec, &["request"]);
    if let Err(why) = request_form(request) {
        errors.invalid(&place, request, why);
    }
    let usages = items(spec, &["usages"]);
    let list = here.field("usages");
    if usages.is_empty() {
        errors.required(&list, "usages are required");
    }
    let mut seen = HashSet::new();
    for (index, usage) in usages.iter().enumerate() {
        let usage = usage.as_str().unwrap_or_default();
        errors.supported(&list.index(index), usage, USAGES);
        if !seen.insert(usage) {
            errors.duplicate(&list.index(index), usage);
        }
    }
    signer_name(
        text(spec, &["signerName"]),
        &here.field("signerName"),
        errors,
    );
    if let Some(seconds) = at(spec, &["expirationSeconds"]).and_then(Value::as_i64)
        && seconds < 600
    {
        errors.invalid(
            &here.field("expirationSeconds"),
            seconds,
            "may not specify a duration less than 600 seconds (10 minutes)",
        );
    }
}

fn request_form(encoded: &str) -> Result<(), String> {
    let not_pem = || "PEM block type must be CERTIFICATE REQUEST".to_owned();
    let bytes = STANDARD.decode(encoded).map_err(|_| not_pem())?;
    let (_, pem) = x509_parser::pem::parse_x509_pem(&bytes).map_err(|_| not_pem())?;
    if pem.label != "CERTIFICATE REQUEST" {
        return Err(not_pem());
    }
    x509_parser::certification_request::X509CertificationRequest::from_der(&pem.contents)
        .map(|_| ())
        .map_err(|why| format!("asn1: structure error: {why}"))
}

/// Check the name of a signer: a domain and a path, `example.com/name`.
pub(crate) fn signer_name(name: &str, here: &Path<'_>, errors: &mut Errors) {
    if name.is_empty() {
        errors.required(here, "");
        return;
    }
    let parts: Vec<&str> = name.split('/').collect();
    let &[domain, path] = parts.as_slice() else {
        errors.invalid(
            here,
            name,
            "must be a fully qualified domain and path of the form 'example.com/signer-name'",
        );
        return;
    };
    errors.check(here, domain, names::dns1123_subdomain(domain));
    if domain.split('.').count() < 2 {
        errors.invalid(
            here,
            domain,
            "should be a domain with at least two segments separated by dots",
        );
    }
    for segment in path.split('.') {
        errors.check(here, segment, names::dns1123_label(segment));
    }
    if name.len() > 571 {
        errors.too_long(here, 571);
    }
}

/// Check the conditions of a signing request.
pub(crate) fn request_conditions(object: &Value, list: &Path<'_>, errors: &mut Errors) {
    let conditions = items(object, &["status", "conditions"]);
    let mut seen = HashSet::new();
    for (index, condition) in conditions.iter().enumerate() {
        let place = list.index(index);
        let kind = text(condition, &["type"]);
        if kind.is_empty() {
            errors.required(&place.field("type"), "");
        }
        let status = text(condition, &["status"]);
        let place_status = place.field("status");
        if status.is_empty() {
            errors.required(&place_status, "");
        } else if ["Approved", "Denied", "Failed"].contains(&kind) {
            errors.supported(&place_status, status, &["True"]);
        } else {
            errors.supported(&place_status, status, &["True", "False", "Unknown"]);
        }
        if !seen.insert(kind) {
            errors.duplicate(&place.field("type"), kind);
        }
    }
    if seen.contains("Approved") && seen.contains("Denied") {
        let index = conditions
            .iter()
            .rposition(|one| ["Approved", "Denied"].contains(&text(one, &["type"])))
            .unwrap_or_default();
        let kind = text(&conditions[index], &["type"]);
        errors.invalid(
            &list.index(index).field("type"),
            kind,
            "Approved and Denied conditions are mutually exclusive",
        );
    }
}

/// Check issued certificates, PEM in base64.
pub(crate) fn certificates(encoded: &str, here: &Path<'_>, errors: &mut Errors) {
    let text = STANDARD
        .decode(encoded)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    match text {
        None => errors.invalid(
            here,
            "<certificate data>",
            "must contain at least one PEM block",
        ),
        Some(text) => trust_bundle(&text, here, errors),
    }
}

/// Check a text of PEM certificates.
pub(crate) fn trust_bundle(text: &str, here: &Path<'_>, errors: &mut Errors) {
    let mut found = 0;
    for block in Pem::iter_from_buffer(text.as_bytes()) {
        let Ok(block) = block else {
            errors.invalid(here, "<value omitted>", "malformed PEM block");
            return;
        };
        if block.label != "CERTIFICATE" {
            errors.invalid(
                here,
                "<value omitted>",
                format!("entry {found} has bad block type: {}", block.label),
            );
            return;
        }
        if block.parse_x509().is_err() {
            errors.invalid(
                here,
                "<value omitted>",
                format!("entry {found} does not parse as X.509"),
            );
            return;
        }
        found += 1;
    }
    if found == 0 {
        errors.invalid(
            here,
            "<value omitted>",
            "at least one trust anchor must be provided",
        );
    }
}
