use super::*;
use crate::marks::Marks;

#[track_caller]
fn both(value: &Value, ty: &Type, bytes: &[u8]) {
    assert_eq!(encode(value, ty).unwrap(), bytes);
    assert_eq!(decode(bytes, ty).unwrap(), *value);
}

fn n(text: &str) -> Value {
    Value::number(Number::parse(text).unwrap())
}

#[test]
fn numbers_take_their_smallest_exact_form() {
    both(&n("5"), &Type::Number, &[5]);
    both(&n("-1"), &Type::Number, &[0xff]);
    both(&n("200"), &Type::Number, &[0xcc, 200]);
    both(&n("-200"), &Type::Number, &[0xd1, 0xff, 0x38]);
    both(
        &n("1.5"),
        &Type::Number,
        &[0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0],
    );
    both(&n("0.1"), &Type::Number, b"\xa30.1");
    both(
        &n("9223372036854775808"),
        &Type::Number,
        b"\xb39223372036854775808",
    );
}

#[test]
fn unknown_values_take_what_is_known_of_them_along() {
    both(&Value::unknown(Type::String), &Type::String, &[0xd4, 0, 0]);
    both(&Value::DYNAMIC, &Type::Dynamic, &[0xd4, 0, 0]);
    both(
        &Value::unknown_not_null(Type::String),
        &Type::String,
        &[0xc7, 3, 12, 0x81, 1, 0xc2],
    );
    let prefixed =
        Value::unknown(Type::String).refined(|r| r.not_null().starting_with_exactly("ami-"));
    both(
        &prefixed,
        &Type::String,
        b"\xc7\x09\x0c\x82\x01\xc2\x02\xa4ami-",
    );
    let ranged = Value::unknown(Type::Number).refined(|r| r.at_least(Number::from(1), true));
    both(
        &ranged,
        &Type::Number,
        &[0xc7, 5, 12, 0x81, 3, 0x92, 1, 0xc3],
    );
    let list =
        Value::unknown(Type::list(Type::Bool)).refined(|r| r.with_at_least(2).with_at_most(4));
    both(
        &list,
        &Type::list(Type::Bool),
        &[0xc7, 5, 12, 0x82, 5, 2, 6, 4],
    );
}

#[test]
fn dynamic_values_take_their_type_along() {
    let value = Value::object([("a", Value::null(Type::String)), ("b", Value::TRUE)]);
    let mut bytes = vec![0x92, 0xc4, 34];
    bytes.extend_from_slice(br#"["object",{"a":"string","b":"bool"}]"#);
    bytes[2] = (bytes.len() - 3) as u8;
    bytes.extend_from_slice(b"\x82\xa1a\xc0\xa1b\xc3");
    both(&value, &Type::Dynamic, &bytes);
}

#[test]
fn what_is_no_value_of_the_type_is_refused() {
    for (bytes, ty, message) in [
        (&b"\xa1x"[..], Type::Bool, "bool is required"),
        (
            b"\x81\xa1x\xc0",
            Type::object([("a", Type::Bool)]),
            "unsupported attribute",
        ),
        (
            b"\x80",
            Type::object([("a", Type::Bool)]),
            "an object with 1 attributes is required (0 given)",
        ),
        (b"\xdd\xff\xff\xff\xff", Type::list(Type::Bool), "EOF"),
        (b"\xdb\xff\xff\xff\xffx", Type::String, "unexpected EOF"),
        (
            b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
            Type::Number,
            "number is required",
        ),
    ] {
        assert_eq!(decode(bytes, &ty).unwrap_err().message, message);
    }
    let secret = Value::TRUE.with_marks(Marks::SENSITIVE);
    assert!(encode(&secret, &Type::Bool).is_err());
}

#[test]
fn a_large_value_comes_back() {
    let elements = (0..5_000)
        .map(|i| Value::string(format!("element {i}")))
        .collect();
    let value = Value::object([
        ("set", Value::set(Type::String, elements)),
        ("map", Value::map(Type::Number, [("a".repeat(300), n("1"))])),
    ]);
    let bytes = encode(&value, value.ty()).unwrap();
    assert_eq!(decode(&bytes, value.ty()), Ok(value.clone()));
    assert_eq!(
        implied_type(&bytes)
            .unwrap()
            .as_object()
            .map(|o| o.attributes.len()),
        Some(2)
    );
}
