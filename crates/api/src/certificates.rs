//! Who may do what with certificate signing requests: what upstream's admission plug-ins
//! CertificateApproval, CertificateSigning and CertificateSubjectRestriction see to.

use crate::api::Inner;
use crate::error::{Outcome, fail};
use crate::handlers::update::Part;
use crate::identity::{Attributes, MASTERS, User};
use crate::kind::Kind;
use crate::values::{at, name, text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use consort_object::status::Status;
use serde_json::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

const GROUP: &str = "certificates.k8s.io";
const API_CLIENT: &str = "kubernetes.io/kube-apiserver-client";

fn is_request(kind: &Kind) -> bool {
    kind.group == GROUP && kind.kind == "CertificateSigningRequest"
}

/// Nobody gets a certificate of those who may do anything.
pub(crate) fn create(kind: &Kind, value: &Value) -> Outcome<()> {
    if !is_request(kind) || text(value, &["spec", "signerName"]) != API_CLIENT {
        return Ok(());
    }
    let pem = BASE64
        .decode(text(value, &["spec", "request"]))
        .unwrap_or_default();
    // What cannot be read, validation refuses.
    let Ok((_, block)) = x509_parser::pem::parse_x509_pem(&pem) else {
        return Ok(());
    };
    let Ok((_, request)) = X509CertificationRequest::from_der(&block.contents) else {
        return Ok(());
    };
    let masters = request
        .certification_request_info
        .subject
        .iter_organization()
        .any(|organization| organization.as_str().is_ok_and(|text| text == MASTERS));
    if !masters {
        return Ok(());
    }
    fail(Status::forbidden(
        &kind.group,
        &kind.plural,
        name(value),
        format!("use of {API_CLIENT} signer with {MASTERS} group is not allowed"),
    ))
}

/// A change of a request's status or approval.
pub(crate) fn update(
    inner: &Inner,
    user: &User,
    kind: &Kind,
    part: Part,
    new: &Value,
    old: &Value,
) -> Outcome<()> {
    if !is_request(kind) || !matches!(part, Part::Status | Part::Approval) {
        return Ok(());
    }
    let verb = match part {
        Part::Approval => "approve",
        _ => "sign",
    };
    let changed = ["certificate", "conditions"]
        .iter()
        .any(|field| at(new, &["status", field]) != at(old, &["status", field]));
    if part == Part::Status && !changed {
        return Ok(());
    }
    let signer = text(old, &["spec", "signerName"]);
    let domain = signer.split_once('/').map_or("", |(domain, _)| domain);
    let wildcard = format!("{domain}/*");
    let may = |name: &str| {
        let wanted = Attributes {
            verb,
            group: GROUP,
            version: "*",
            resource: "signers",
            name,
            ..Attributes::default()
        };
        inner.authorizer.authorize(user, &wanted).allowed
    };
    if may(signer) || may(&wildcard) {
        return Ok(());
    }
    fail(Status::forbidden(
        &kind.group,
        &kind.plural,
        name(old),
        format!("user not permitted to {verb} requests with signerName {signer:?}"),
    ))
}
