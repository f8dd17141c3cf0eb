//! Protobuf from outside: every kind survives the way there and back.

mod arbitrary;

use arbitrary::Random;
use consort_object::proto;
use consort_object::schema::{Gvk, Schema, coerce_and_check};
use proptest::prelude::*;
use serde_json::{Value, json};

fn canonical(schema: &Schema, mut object: Value) -> Value {
    let message = schema.kind(&Gvk::of(&object)).expect("a kind");
    let unknown = coerce_and_check(schema, message, &mut object)
        .unwrap_or_else(|error| panic!("{error}: {object}"));
    assert!(unknown.is_empty(), "{unknown:?}");
    object
}

/// Takes out what protobuf does not tell apart from what is not there: empty lists and maps.
fn without_empty(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(without_empty);
            map.retain(|_, value| !value.as_array().is_some_and(Vec::is_empty));
        }
        Value::Array(items) => items.iter_mut().for_each(without_empty),
        _ => {}
    }
}

/// Takes out plain fields that were not set: a protobuf reader sees them as empty.
fn without_zeros(schema: &Schema, message: &consort_object::Message, value: &mut Value) {
    use consort_object::schema::{Form, Shape};
    let inner: Vec<&consort_object::Message> = message
        .fields
        .iter()
        .filter_map(|field| schema.message_of(field))
        .collect();
    match (message.form, value) {
        (Form::Object, Value::Object(map)) => map.retain(|key, value| {
            let Some(field) = message.member(key) else {
                return true;
            };
            if let Some(inner) = schema.message_of(field) {
                match (field.shape, &mut *value) {
                    (Shape::List, Value::Array(items)) => items
                        .iter_mut()
                        .for_each(|item| without_zeros(schema, inner, item)),
                    (Shape::Map, Value::Object(map)) => map
                        .values_mut()
                        .for_each(|item| without_zeros(schema, inner, item)),
                    (_, value) => without_zeros(schema, inner, value),
                }
            }
            let empty = match &*value {
                Value::Object(map) => map.is_empty(),
                Value::Array(list) => list.is_empty(),
                Value::String(text) => {
                    text.is_empty() || (text == "0" && schema.message_of(field).is_some())
                }
                Value::Number(number) => number.as_f64() == Some(0.0),
                Value::Bool(flag) => !flag,
                Value::Null => true,
            };
            field.pointer || !empty
        }),
        (Form::MessageOrList, Value::Array(items)) => items
            .iter_mut()
            .for_each(|item| without_zeros(schema, inner[0], item)),
        (
            Form::MessageOrBool | Form::MessageOrList | Form::MessageOrStrings,
            value @ Value::Object(_),
        ) => {
            without_zeros(schema, inner[0], value);
        }
        _ => {}
    }
}

proptest! {
    // Each case goes through all kinds.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_kind_survives_the_way_there_and_back(seed in any::<u64>()) {
        let schema = Schema::builtin();
        let mut random = Random(seed);
        for message in schema.messages().filter(|message| message.kind.is_some()) {
            if message.name.ends_with(".Unknown") {
                continue;
            }
            let mut object = canonical(schema, arbitrary::object(schema, message, &mut random));
            let bytes = proto::encode(schema, &object).unwrap_or_else(|error| panic!("{error}: {object}"));
            let mut back = proto::decode(schema, &bytes, None).unwrap_or_else(|error| panic!("{error}: {object}"));
            // What goes in twice comes out the same bytes.
            prop_assert_eq!(&proto::encode(schema, &back).unwrap(), &bytes);
            without_empty(&mut object);
            without_zeros(schema, message, &mut object);
            without_empty(&mut back);
            without_zeros(schema, message, &mut back);
            prop_assert_eq!(back, object);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..64), seed in any::<u64>(), at in any::<prop::sample::Index>()) {
        let schema = Schema::builtin();
        let pod = Gvk::new("", "v1", "Pod");
        let mut random = Random(seed);
        let object = canonical(schema, arbitrary::object(schema, schema.kind(&pod).unwrap(), &mut random));
        let mut whole = proto::encode(schema, &object).unwrap();
        let place = at.index(whole.len());
        whole[place] = bytes.first().copied().unwrap_or(0xff);
        let _ = proto::decode(schema, &whole, None);
        whole.truncate(place);
        let _ = proto::decode(schema, &whole, None);
        bytes.splice(0..0, *b"k8s\0");
        let _ = proto::decode(schema, &bytes, Some(&pod));
    }
}

/// The bytes of a ConfigMap as upstream's generated code writes them, put together by hand from the wire format.
#[test]
fn a_config_map_has_upstreams_bytes() {
    let schema = Schema::builtin();
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "creationTimestamp": "1970-01-01T00:00:05Z"}, "data": {"k": "v"}});
    #[rustfmt::skip]
    let metadata: &[u8] = &[
        0x0a, 1, b'a', 0x12, 0, 0x1a, 0, 0x22, 0, 0x2a, 0, 0x32, 0, 0x38, 0, // name, generateName, namespace, selfLink, uid, resourceVersion, generation
        0x42, 4, 0x08, 5, 0x10, 0, // creationTimestamp
    ];
    let mut raw = vec![0x0a, metadata.len() as u8];
    raw.extend(metadata);
    raw.extend([0x12, 6, 0x0a, 1, b'k', 0x12, 1, b'v']);
    let mut expected = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12".to_vec();
    expected.push(raw.len() as u8);
    expected.extend(raw);
    expected.extend([0x1a, 0, 0x22, 0]);
    assert_eq!(proto::encode(schema, &object).unwrap(), expected);
    assert_eq!(proto::decode(schema, &expected, None).unwrap(), object);
}

#[test]
fn unknown_fields_and_missing_type_metadata_are_no_trouble() {
    let schema = Schema::builtin();
    // raw: an unknown varint 100, an unknown group 101, then data {"k": ""} whose value was left out
    let body = b"k8s\0\x12\x0e\xa0\x06\x01\xab\x06\x08\x01\xac\x06\x12\x03\x0a\x01k";
    let gvk = Gvk::new("", "v1", "ConfigMap");
    let object = proto::decode(schema, body, Some(&gvk)).unwrap();
    assert_eq!(
        object,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": ""}})
    );
    assert!(proto::decode(schema, body, None).is_err());
    assert!(proto::decode(schema, b"{}", Some(&gvk)).is_err());
}

#[test]
fn numbers_come_packed_or_one_by_one() {
    let schema = Schema::builtin();
    // PodSecurityContext.supplementalGroups is field 4 of it, which is field 14 of PodSpec, which is field 2 of Pod.
    let pod = |groups: &[u8]| {
        let mut raw = vec![0x12, groups.len() as u8 + 2, 0x72, groups.len() as u8];
        raw.extend(groups);
        let mut body = b"k8s\0\x12".to_vec();
        body.push(raw.len() as u8);
        body.extend(raw);
        proto::decode(schema, &body, Some(&Gvk::new("", "v1", "Pod"))).unwrap()
    };
    let expected = json!([1, 300]);
    assert_eq!(
        pod(&[0x22, 3, 1, 0xac, 2])["spec"]["securityContext"]["supplementalGroups"],
        expected
    );
    assert_eq!(
        pod(&[0x20, 1, 0x20, 0xac, 2])["spec"]["securityContext"]["supplementalGroups"],
        expected
    );
}

#[test]
fn times_before_1970_count_forward_from_a_whole_second() {
    let schema = Schema::builtin();
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {"renewTime": "1969-12-31T23:59:59.250000Z"}});
    let body = proto::encode(schema, &lease).unwrap();
    // seconds -1, nanos 250,000,000
    let time = b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x10\x80\xe5\x9a\x77";
    assert!(body.windows(time.len()).any(|window| window == time));
    assert_eq!(
        proto::decode(schema, &body, None).unwrap()["spec"]["renewTime"],
        lease["spec"]["renewTime"]
    );
}

#[test]
fn lists_and_statuses_are_kinds_like_any_other() {
    let schema = Schema::builtin();
    let list = json!({"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "7"}, "items": [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]});
    let back = proto::decode(schema, &proto::encode(schema, &list).unwrap(), None).unwrap();
    assert_eq!(back["metadata"]["resourceVersion"], "7");
    assert_eq!(back["items"][1]["metadata"]["name"], "b");
    let status = consort_object::Status::not_found("apps", "deployments", "web");
    let body = proto::encode_json(schema, &status.to_json()).unwrap();
    let back = proto::decode(schema, &body, None).unwrap();
    assert_eq!(
        serde_json::from_value::<consort_object::Status>(back).unwrap(),
        status
    );
}

#[test]
fn a_watch_event_is_a_bare_message_around_a_body() {
    assert_eq!(
        proto::watch_event("ADDED", b"xy"),
        b"\x0a\x05ADDED\x12\x04\x0a\x02xy"
    );
}
