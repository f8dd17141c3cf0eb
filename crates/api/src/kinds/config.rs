//! ConfigMaps and Secrets.

use crate::kind::Kind;
use crate::print;
use crate::strategy::{AGE, Column, NAME, Strategy, column};
use crate::validation::{Errors, Path};
use crate::values::{at, ensure, fill_text, flag, members, set, take, text};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use consort_object::names;
use jiff::Timestamp;
use serde_json::Value;

/// How many bytes the data of one object may have.
const DATA_BYTES: usize = 1024 * 1024;

/// The kind `ConfigMap`.
pub(super) fn config_map() -> Kind {
    let mut kind = Kind::new("", "v1", "ConfigMap", "configmaps")
        .short(&["cm"])
        .strategy(ConfigMap);
    kind.create_on_update = false;
    kind
}

/// The kind `Secret`.
pub(super) fn secret() -> Kind {
    Kind::new("", "v1", "Secret", "secrets").strategy(Secret)
}

struct ConfigMap;

impl Strategy for ConfigMap {
    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        let mut bytes = 0;
        for (field, encoded) in [("data", false), ("binaryData", true)] {
            let place = here.field(field);
            for (key, value) in members(object, &[field]) {
                errors.check(&place.key(key), key, names::config_map_key(key));
                let length = value.as_str().map_or(0, str::len);
                bytes += if encoded { length / 4 * 3 } else { length };
                if encoded && at(object, &["data", key]).is_some() {
                    errors.invalid(
                        &here.field("data").key(key),
                        key,
                        "duplicate of key present in binaryData",
                    );
                }
            }
        }
        if bytes > DATA_BYTES {
            errors.too_long(&Path::Root, DATA_BYTES);
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        frozen(new, old, &["data", "binaryData"], here, errors);
        self.validate(new, here, errors);
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[NAME, column("Data", "integer", "The number of keys."), AGE];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let keys = members(object, &["data"]).count() + members(object, &["binaryData"]).count();
        vec![print::name(object), keys.into(), print::age(object, now)]
    }
}

/// An immutable object stays immutable, and its data stays.
fn frozen(new: &Value, old: &Value, fields: &[&str], here: &Path<'_>, errors: &mut Errors) {
    if !flag(old, &["immutable"]) {
        return;
    }
    if !flag(new, &["immutable"]) {
        errors.forbidden(
            &here.field("immutable"),
            "field is immutable when `immutable` is set",
        );
    }
    for field in fields {
        if !crate::values::same(new, old, field) {
            errors.forbidden(
                &here.field(field),
                "field is immutable when `immutable` is set",
            );
        }
    }
}

struct Secret;

impl Strategy for Secret {
    fn default(&self, object: &mut Value) {
        fill_text(object, "type", "Opaque");
        if let Some(Value::Object(texts)) = take(object, "stringData") {
            let data = ensure(object, "data");
            for (key, value) in texts {
                let text = value.as_str().unwrap_or_default();
                set(data, &key, STANDARD.encode(text));
            }
        }
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        let place = here.field("data");
        let mut bytes = 0;
        for (key, value) in members(object, &["data"]) {
            errors.check(&place.key(key), key, names::config_map_key(key));
            bytes += value.as_str().map_or(0, str::len) / 4 * 3;
        }
        if bytes > DATA_BYTES {
            errors.too_long(&place, DATA_BYTES);
        }
        typed(object, here, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        errors.immutable(&here.field("type"), new.get("type"), old.get("type"));
        frozen(new, old, &["data"], here, errors);
        self.validate(new, here, errors);
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["type"]
    }

    fn fields(&self, object: &Value) -> Vec<(String, String)> {
        vec![("type".into(), text(object, &["type"]).into())]
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column(
                "Type",
                "string",
                "Used to facilitate programmatic handling of secret data.",
            ),
            column("Data", "integer", "The number of keys."),
            AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            print::name(object),
            text(object, &["type"]).into(),
            members(object, &["data"]).count().into(),
            print::age(object, now),
        ]
    }
}

/// What the well-known types require.
fn typed(object: &Value, here: &Path<'_>, errors: &mut Errors) {
    let data = here.field("data");
    let mut require = |keys: &[&str]| {
        for key in keys {
            if at(object, &["data", key]).is_none() {
                errors.required(&data.key(key), "");
            }
        }
    };
    match text(object, &["type"]) {
        "kubernetes.io/dockercfg" => require(&[".dockercfg"]),
        "kubernetes.io/dockerconfigjson" => {
            require(&[".dockerconfigjson"]);
            let encoded = text(object, &["data", ".dockerconfigjson"]);
            let decoded = STANDARD.decode(encoded).unwrap_or_default();
            if !encoded.is_empty() && serde_json::from_slice::<Value>(&decoded).is_err() {
                errors.invalid(
                    &data.key(".dockerconfigjson"),
                    "<secret contents redacted>",
                    "invalid JSON",
                );
            }
        }
        "kubernetes.io/basic-auth" => {
            let none = ["username", "password"]
                .iter()
                .all(|key| at(object, &["data", key]).is_none());
            if none {
                errors.required(&data.key("username"), "");
                errors.required(&data.key("password"), "");
            }
        }
        "kubernetes.io/ssh-auth" => require(&["ssh-privatekey"]),
        "kubernetes.io/tls" => require(&["tls.crt", "tls.key"]),
        "kubernetes.io/service-account-token" => {
            let name = "kubernetes.io/service-account.name";
            if at(object, &["metadata", "annotations", name]).is_none() {
                errors.required(&here.field("metadata").field("annotations").key(name), "");
            }
        }
        _ => {}
    }
}
