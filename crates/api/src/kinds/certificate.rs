//! What the certificates group holds: signing requests, requests for pods, and trust bundles.

use crate::handlers::update::Part;
use crate::identity::User;
use crate::kind::{Kind, NameRule, STATUS, Subresource};
use crate::print;
use crate::strategy::{AGE, Column, NAME, Strategy, column};
use crate::validation::{self, Errors, Path};
use crate::values::{at, copy, ensure, items, items_mut, same, set, text};
use consort_object::names;
use jiff::Timestamp;
use serde_json::{Value, json};

const GROUP: &str = "certificates.k8s.io";

/// The kind `CertificateSigningRequest`.
pub(super) fn signing_request() -> Kind {
    Kind::new(
        GROUP,
        "v1",
        "CertificateSigningRequest",
        "certificatesigningrequests",
    )
    .cluster()
    .short(&["csr"])
    .sub(Subresource {
        name: "approval",
        kind: ("", "", ""),
        verbs: &["get", "patch", "update"],
    })
    .sub(STATUS)
    .strategy(SigningRequest)
}

/// The kind `ClusterTrustBundle`.
pub(super) fn trust_bundle() -> Kind {
    let mut kind = Kind::new(GROUP, "v1", "ClusterTrustBundle", "clustertrustbundles")
        .cluster()
        .strategy(TrustBundle);
    kind.name_rule = NameRule::TrustBundle;
    kind.unconditional_update = false;
    kind
}

/// The kind `PodCertificateRequest`.
pub(super) fn pod_request() -> Kind {
    let mut kind = Kind::new(
        GROUP,
        "v1",
        "PodCertificateRequest",
        "podcertificaterequests",
    )
    .sub(STATUS)
    .strategy(PodRequest);
    kind.unconditional_update = false;
    kind
}

const SIGNER_FIELDS: &[&str] = &["spec.signerName"];

fn signer_field(object: &Value) -> Vec<(String, String)> {
    let signer = text(object, &["spec", "signerName"]);
    vec![("spec.signerName".into(), signer.into())]
}

struct SigningRequest;

/// Conditions that only the approval may touch.
const DECISIONS: [&str; 2] = ["Approved", "Denied"];

fn decided(object: &Value) -> Vec<&Value> {
    items(object, &["status", "conditions"])
        .iter()
        .filter(|condition| DECISIONS.contains(&text(condition, &["type"])))
        .collect()
}

/// Note when each condition was last written, and when it last changed.
fn stamp(new: &mut Value, old: &Value) {
    let now = consort_object::time::now();
    let before = items(old, &["status", "conditions"]).to_vec();
    for condition in items_mut(ensure(new, "status"), "conditions") {
        crate::values::fill_text(condition, "status", "True");
        let same_kind = before
            .iter()
            .find(|other| text(other, &["type"]) == text(condition, &["type"]));
        let kept = same_kind.filter(|other| same(other, condition, "status"));
        if text(condition, &["lastTransitionTime"]).is_empty() {
            match kept.map(|other| text(other, &["lastTransitionTime"])) {
                Some(time) if !time.is_empty() => set(condition, "lastTransitionTime", time),
                _ => set(condition, "lastTransitionTime", now.as_str()),
            }
        }
        crate::values::fill_text(condition, "lastUpdateTime", &now);
    }
}

impl Strategy for SigningRequest {
    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({}));
    }

    /// Who asks is who sent the request, whatever it says.
    fn sign(&self, object: &mut Value, user: &User) {
        let spec = ensure(object, "spec");
        for field in ["username", "uid", "groups", "extra"] {
            crate::values::take(spec, field);
        }
        set(spec, "username", user.name.as_str());
        if !user.uid.is_empty() {
            set(spec, "uid", user.uid.as_str());
        }
        if !user.groups.is_empty() {
            set(spec, "groups", json!(user.groups));
        }
        if !user.extra.is_empty() {
            set(spec, "extra", json!(user.extra));
        }
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        copy(new, old, "spec");
    }

    fn prepare_status(&self, new: &mut Value, old: &Value) {
        stamp(new, old);
    }

    fn take_part(&self, _part: Part, object: &mut Value, asked: &Value) {
        let before = object.clone();
        let conditions = at(asked, &["status", "conditions"]).cloned();
        set(
            ensure(object, "status"),
            "conditions",
            conditions.unwrap_or_else(|| json!([])),
        );
        stamp(object, &before);
        // Upstream's approval keeps the spec and lets the metadata be written like any other.
        let meta = asked.get("metadata").cloned().unwrap_or_default();
        let mine = ensure(object, "metadata");
        for field in ["annotations", "labels", "finalizers", "ownerReferences"] {
            copy(mine, &meta, field);
        }
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::signing_request(object, here, errors);
    }

    fn validate_update(&self, _new: &Value, _old: &Value, _here: &Path<'_>, _errors: &mut Errors) {
        // Nothing but the metadata was taken from what was sent.
    }

    fn validate_status(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        let place = here.field("status");
        let list = place.field("conditions");
        for condition in decided(new) {
            if !decided(old).contains(&condition) {
                let kind = text(condition, &["type"]);
                let had = decided(old).iter().any(|one| text(one, &["type"]) == kind);
                let what = if had { "modify" } else { "add" };
                errors.forbidden(
                    &list,
                    format!("updates may not {what} a condition of type {kind:?}"),
                );
            }
        }
        conditions_kept(new, old, &list, errors);
        let certificate = text(new, &["status", "certificate"]);
        let before = text(old, &["status", "certificate"]);
        if !before.is_empty() && certificate != before {
            errors.forbidden(
                &place.field("certificate"),
                "updates may not set certificate content to a different value",
            );
        }
        if before.is_empty() && !certificate.is_empty() {
            validation::certificates(certificate, &place.field("certificate"), errors);
        }
        validation::request_conditions(new, &list, errors);
    }

    fn validate_part(
        &self,
        _part: Part,
        new: &Value,
        old: &Value,
        here: &Path<'_>,
        errors: &mut Errors,
    ) {
        let list = here.field("status");
        let list = list.field("conditions");
        conditions_kept(new, old, &list, errors);
        validation::request_conditions(new, &list, errors);
    }

    fn selectable(&self) -> &'static [&'static str] {
        SIGNER_FIELDS
    }

    fn fields(&self, object: &Value) -> Vec<(String, String)> {
        signer_field(object)
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            AGE,
            column("SignerName", "string", "Who is asked to sign."),
            column("Requestor", "string", "Who asks."),
            column(
                "RequestedDuration",
                "string",
                "How long the certificate shall be good.",
            ),
            column("Condition", "string", "What was decided."),
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = &object["spec"];
        let duration = match at(spec, &["expirationSeconds"]).and_then(Value::as_i64) {
            None => "<none>".to_owned(),
            Some(seconds) => print::duration(seconds),
        };
        vec![
            print::name(object),
            print::age(object, now),
            print::or(text(spec, &["signerName"]), "<none>").into(),
            text(spec, &["username"]).into(),
            duration.into(),
            condition(object).into(),
        ]
    }
}

/// What was decided stays decided.
fn conditions_kept(new: &Value, old: &Value, list: &Path<'_>, errors: &mut Errors) {
    let after = items(new, &["status", "conditions"]);
    for before in items(old, &["status", "conditions"]) {
        let kind = text(before, &["type"]);
        if !["Approved", "Denied", "Failed"].contains(&kind) {
            continue;
        }
        if !after.iter().any(|one| text(one, &["type"]) == kind) {
            errors.forbidden(
                list,
                format!("updates may not remove a condition of type {kind:?}"),
            );
        }
    }
}

fn condition(object: &Value) -> String {
    let has = |kind: &str| {
        items(object, &["status", "conditions"])
            .iter()
            .any(|condition| text(condition, &["type"]) == kind)
    };
    let mut words = vec![if has("Denied") {
        "Denied"
    } else if has("Approved") {
        "Approved"
    } else {
        "Pending"
    }];
    if has("Failed") {
        words.push("Failed");
    }
    if !text(object, &["status", "certificate"]).is_empty() {
        words.push("Issued");
    }
    words.join(",")
}

struct TrustBundle;

impl Strategy for TrustBundle {
    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        let name = text(object, &["metadata", "name"]);
        let signer = text(object, &["spec", "signerName"]);
        let place = here.field("metadata");
        let place = place.field("name");
        if signer.is_empty() {
            if name.contains(':') {
                errors.invalid(
                    &place,
                    name,
                    "ClusterTrustBundle without signer name must not have \":\" in its name",
                );
            }
        } else {
            let start = format!("{}:", signer.replace('/', ":"));
            if !name.starts_with(&start) {
                errors.invalid(
                    &place,
                    name,
                    format!("ClusterTrustBundle for signerName {signer} must be named with prefix {start}"),
                );
            }
            let place = here.field("spec");
            validation::signer_name(signer, &place.field("signerName"), errors);
        }
        let bundle = text(object, &["spec", "trustBundle"]);
        let place = here.field("spec");
        validation::trust_bundle(bundle, &place.field("trustBundle"), errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        self.validate(new, here, errors);
        errors.immutable(
            &here.field("spec").field("signerName"),
            at(new, &["spec", "signerName"]),
            at(old, &["spec", "signerName"]),
        );
    }

    fn selectable(&self) -> &'static [&'static str] {
        SIGNER_FIELDS
    }

    fn fields(&self, object: &Value) -> Vec<(String, String)> {
        signer_field(object)
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("SignerName", "string", "Whose certificates it vouches for."),
            AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            print::name(object),
            print::or(text(object, &["spec", "signerName"]), "<none>").into(),
            print::age(object, now),
        ]
    }
}

struct PodRequest;

const POD_FIELDS: &[&str] = &["spec.signerName", "spec.podName", "spec.nodeName"];

impl Strategy for PodRequest {
    fn default(&self, object: &mut Value) {
        crate::values::fill(ensure(object, "spec"), "maxExpirationSeconds", 86400);
    }

    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({}));
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        let here = here.field("spec");
        let spec = &object["spec"];
        validation::signer_name(
            text(spec, &["signerName"]),
            &here.field("signerName"),
            errors,
        );
        for field in ["podName", "serviceAccountName", "nodeName"] {
            errors.named(
                &here.field(field),
                text(spec, &[field]),
                names::dns1123_subdomain,
            );
        }
        for field in ["podUID", "serviceAccountUID", "nodeUID"] {
            let uid = text(spec, &[field]);
            if uid.is_empty() {
                errors.required(&here.field(field), "must not be empty");
            } else if uid.len() > 128 {
                errors.too_long(&here.field(field), 128);
            }
        }
        let seconds = crate::values::int(spec, &["maxExpirationSeconds"]);
        let place = here.field("maxExpirationSeconds");
        if seconds < 3600 {
            errors.invalid(&place, seconds, "must be at least 3600");
        }
        if seconds > 91 * 86400 {
            errors.invalid(&place, seconds, "must be no more than 7862400");
        }
        let requested = text(spec, &["stubPKCS10Request"]);
        let old_form = text(spec, &["pkixPublicKey"]);
        if requested.is_empty() && old_form.is_empty() {
            errors.required(&here.field("stubPKCS10Request"), "");
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        if !same(new, old, "spec") {
            errors.invalid(
                &here.field("spec"),
                new["spec"].clone(),
                "field is immutable",
            );
        }
    }

    fn validate_status(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        let place = here.field("status");
        let chain = text(new, &["status", "certificateChain"]);
        if !chain.is_empty() && text(old, &["status", "certificateChain"]).is_empty() {
            validation::trust_bundle(chain, &place.field("certificateChain"), errors);
        }
        let list = place.field("conditions");
        for (index, condition) in items(new, &["status", "conditions"]).iter().enumerate() {
            let place = list.index(index);
            errors.supported(
                &place.field("type"),
                text(condition, &["type"]),
                &["Denied", "Failed", "Issued"],
            );
            errors.supported(
                &place.field("status"),
                text(condition, &["status"]),
                &["True"],
            );
        }
    }

    fn selectable(&self) -> &'static [&'static str] {
        POD_FIELDS
    }

    fn fields(&self, object: &Value) -> Vec<(String, String)> {
        POD_FIELDS
            .iter()
            .map(|field| {
                let name = field.trim_start_matches("spec.");
                (
                    (*field).to_owned(),
                    text(object, &["spec", name]).to_owned(),
                )
            })
            .collect()
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("PodName", "string", "The pod the certificate is for."),
            column("ServiceAccountName", "string", "The pod's service account."),
            column("NodeName", "string", "The pod's node."),
            column("SignerName", "string", "Who is asked to sign."),
            column("State", "string", "What was decided."),
            AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = |field: &str| Value::from(text(object, &["spec", field]));
        let state = items(object, &["status", "conditions"])
            .iter()
            .map(|condition| text(condition, &["type"]))
            .find(|kind| ["Denied", "Failed", "Issued"].contains(kind));
        vec![
            print::name(object),
            spec("podName"),
            spec("serviceAccountName"),
            spec("nodeName"),
            spec("signerName"),
            state.unwrap_or("Pending").into(),
            print::age(object, now),
        ]
    }
}
