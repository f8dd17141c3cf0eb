//! Apply: a configuration is merged over what is there, or becomes the object.

use super::create;
use super::patch::settle;
use super::update::{Change, Part, Wanted};
use super::write::Written;
use crate::body::Body;
use crate::call::Call;
use crate::encoding;
use crate::error::{Outcome, bad_request, fail};
use crate::kind::Kind;
use crate::managed::Listed;
use crate::request::{FieldValidation, WriteOptions, invalid};
use crate::respond::show;
use crate::values::text;
use bytes::Bytes;
use consort_object::FieldError;
use consort_object::schema::Gvk;
use consort_object::status::Status;
use http::Response;
use serde_json::{Value, json};

/// The media type of applied configurations.
pub(crate) const MEDIA_TYPE: &str = "application/apply-patch+yaml";

/// How often it is tried while others create and delete the object.
const ATTEMPTS: usize = 5;

/// What a client applies.
pub(crate) struct Configuration {
    /// The configuration, as it was sent.
    pub value: Value,
    /// Take what others own.
    pub force: bool,
    /// Keys that stood in it twice.
    pub warnings: Vec<String>,
}

impl Configuration {
    /// Read what is applied to an object of this kind.
    pub(crate) fn parse(body: &[u8], gvk: &Gvk, options: &WriteOptions) -> Outcome<Self> {
        if options.field_manager.is_none() {
            let error = FieldError::required("fieldManager", "is required for apply patch");
            return Err(invalid("PatchOptions", error));
        }
        let (value, doubles) = encoding::loose_yaml(body)
            .map_err(|why| bad_request(format!("error decoding YAML: {why}")))?;
        if !value.is_object() {
            return Err(bad_request(
                "error decoding YAML: an apply configuration must be an object",
            ));
        }
        let own = Gvk::of(&value);
        if own != *gvk {
            return Err(bad_request(format!(
                "invalid object type: {}/{}, Kind={}",
                own.group, own.version, own.kind
            )));
        }
        let warnings = match (options.field_validation, doubles) {
            (FieldValidation::Strict, Some(why)) => {
                return Err(bad_request(format!(
                    "error strict decoding YAML: error converting YAML to JSON: {why}"
                )));
            }
            (FieldValidation::Warn, Some(why)) => vec![why],
            _ => Vec::new(),
        };
        Ok(Self {
            value,
            force: options.force.unwrap_or(false),
            warnings,
        })
    }
}

/// `PATCH` with an applied configuration.
pub(crate) async fn apply(
    call: &Call,
    kind: &Kind,
    namespace: Option<&str>,
    name: &str,
    part: Part,
    body: Bytes,
) -> Outcome<Response<Body>> {
    let options = WriteOptions::of(&call.query, "PatchOptions")?;
    let gvk = encoding::gvk(kind);
    let configuration = Configuration::parse(&body, &gvk, &options)?;
    let change = Change::of(call, kind, namespace, name, part, &options);
    let mut attempt = 0;
    let mut written = loop {
        attempt += 1;
        let result = change
            .run(|old| {
                let live = show(kind, old.clone());
                let value =
                    change
                        .owners()
                        .apply(&live, &configuration.value, configuration.force)?;
                merged(&change, value, &configuration, &gvk)
            })
            .await;
        match result {
            Err(failure) if failure.code == 404 && part == Part::Main => {
                call.inner.authorize_create(call, kind, namespace)?;
                match absent(&change, &configuration, &gvk).await {
                    Err(failure) if failure.reason == "AlreadyExists" && attempt < ATTEMPTS => {}
                    result => break result?,
                }
            }
            result => break result?,
        }
    };
    let warnings = configuration.warnings;
    written.warnings.splice(0..0, warnings);
    create::answer(call, kind, written).await
}

/// What is to be stored of a merged object.
fn merged(
    change: &Change<'_>,
    value: Value,
    configuration: &Configuration,
    gvk: &Gvk,
) -> Outcome<Wanted> {
    // What is not applied of the revision it does not depend on.
    let revision = text(&configuration.value, &["metadata", "resourceVersion"]);
    let (value, _) = settle(change, value, gvk, revision).map_err(|misfit| misfit.sent(gvk))?;
    Ok(Wanted {
        value,
        warnings: Vec::new(),
        listed: Listed::Settled,
    })
}

/// Apply of an object that is not there makes it.
async fn absent(change: &Change<'_>, configuration: &Configuration, gvk: &Gvk) -> Outcome<Written> {
    let uid = text(&configuration.value, &["metadata", "uid"]);
    if !uid.is_empty() {
        return fail(Status::conflict(
            &change.kind.group,
            &change.kind.plural,
            change.name,
            format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            ),
        ));
    }
    let nothing = json!({"apiVersion": gvk.api_version(), "kind": gvk.kind});
    let value = change
        .owners()
        .apply(&nothing, &configuration.value, configuration.force)?;
    let wanted = merged(change, value, configuration, gvk)?;
    change.insert(wanted.value, wanted.listed).await
}
