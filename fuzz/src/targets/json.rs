//! Objects of built-in kinds in JSON.

use arbitrary::Unstructured;
use consort_object::schema::{Message, coerce_and_check, decode_json, parse_json_strict};
use consort_object::structural::embedded;
use consort_object::{Draft, Head, HeadView, Revision, Schema, UnknownFields, openapi, proto};
use serde_json::Value;

use super::Target;
use crate::generate::{self, Kept};
use crate::seeds;

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "object_json",
        run: text,
        seeds: seeds::objects,
        choices: false,
    },
    Target {
        name: "object_made",
        run: made,
        seeds: seeds::choices,
        choices: true,
    },
];

/// A document as it is; its kind is the one it names, or else chosen by its length.
fn text(bytes: &[u8]) {
    let schema = Schema::builtin();
    let Ok((value, duplicates)) = parse_json_strict(bytes) else {
        // What the strict reader refuses, the plain one must not take.
        assert!(serde_json::from_slice::<Value>(bytes).is_err());
        return;
    };
    assert!(duplicates.len() <= 100);
    let named = schema.kind(&consort_object::Gvk::of(&value));
    let kinds: Vec<&Message> = schema.messages().filter(|one| one.kind.is_some()).collect();
    let message = named.unwrap_or(kinds[bytes.len() % kinds.len()]);
    check(schema, message, bytes);
}

fn made(bytes: &[u8]) {
    let schema = Schema::builtin();
    let mut u = Unstructured::new(bytes);
    let Ok(message) = generate::kind(&mut u, schema) else {
        return;
    };
    let Ok(object) = generate::object(&mut u, schema, message, Kept::Mostly, 0) else {
        return;
    };
    check(schema, message, object.to_string().as_bytes());
}

/// Decoding, and what must hold of an object that could be decoded.
fn check(schema: &Schema, message: &Message, bytes: &[u8]) {
    let strict = decode_json(schema, message, bytes, UnknownFields::Strict);
    let ignored = decode_json(schema, message, bytes, UnknownFields::Ignore);
    let Ok(decoded) = decode_json(schema, message, bytes, UnknownFields::Warn) else {
        assert!(strict.is_err() && ignored.is_err());
        return;
    };
    assert!(decoded.warnings.len() <= 100);
    assert_eq!(strict.is_ok(), decoded.warnings.is_empty());
    assert_eq!(ignored.expect("what warns decodes").value, decoded.value);
    stable(schema, message, &decoded.value);
    head(&decoded.value);
    let mut meta = decoded.value;
    if embedded::metadata(&mut meta).is_ok() && meta.is_object() {
        let _ = openapi::fingerprint();
    }
}

/// A decoded object decodes to itself, and its protobuf form reads back as the same.
pub(super) fn stable(schema: &Schema, message: &Message, value: &Value) {
    let text = value.to_string();
    let again = decode_json(schema, message, text.as_bytes(), UnknownFields::Strict)
        .unwrap_or_else(|error| panic!("{error} in what was decoded: {text}"));
    assert_eq!(&again.value, value, "decoding again changes the object");
    let Some(kind) = &message.kind else { return };
    let mut named = value.clone();
    let Value::Object(members) = &mut named else {
        return;
    };
    members.insert("apiVersion".to_owned(), kind.api_version().into());
    members.insert("kind".to_owned(), kind.kind.clone().into());
    let Ok(encoded) = proto::encode(schema, &named) else {
        return;
    };
    let mut read = proto::decode(schema, &encoded, None)
        .unwrap_or_else(|error| panic!("{error} in the protobuf of {named}"));
    coerce_and_check(schema, message, &mut read)
        .unwrap_or_else(|error| panic!("{error} in what came back of the protobuf of {named}"));
    let once = proto::encode(schema, &read).expect("what was read can be written");
    let mut twice = proto::decode(schema, &once, None).expect("what was written can be read");
    coerce_and_check(schema, message, &mut twice).expect("and holds");
    assert_eq!(read, twice, "protobuf changes the object of {named}");
}

/// Heads and sealed objects say the same as the object.
fn head(value: &Value) {
    let Ok(head) = Head::extract(value, vec![("spec.x".to_owned(), "y".to_owned())]) else {
        return;
    };
    let mut encoded = Vec::new();
    head.encode(&mut encoded);
    assert_eq!(Head::decode(&encoded).expect("an encoded head"), head);
    assert!(HeadView::new(&encoded).is_ok());
    let Ok(draft) = Draft::from_value(value, Vec::new()) else {
        return;
    };
    let object = draft.seal(Revision(7));
    let mut sealed = object.value().expect("a sealed object is JSON");
    assert_eq!(sealed["metadata"]["resourceVersion"], "7");
    let mut plain = value.clone();
    for object in [&mut sealed, &mut plain] {
        if let Some(meta) = object["metadata"].as_object_mut() {
            meta.shift_remove("resourceVersion");
        }
    }
    assert_eq!(sealed, plain);
}
