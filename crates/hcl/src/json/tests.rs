use super::*;
use crate::marks::Marks;

fn text(value: &Value) -> String {
    String::from_utf8(encode(value, value.ty()).unwrap()).unwrap()
}

#[test]
fn values_are_written_as_go_writes_them() {
    let value = Value::object([
        (
            "b",
            Value::tuple(vec![
                Value::number(1),
                Value::null(Type::String),
                Value::TRUE,
            ]),
        ),
        ("a", Value::string("<&>\u{2028}\"\\\n\u{1}é")),
    ]);
    assert_eq!(
        text(&value),
        r#"{"a":"\u003c\u0026\u003e\u2028\"\\\n\u0001é","b":[1,null,true]}"#
    );
    let dynamic = encode(&Value::list(Type::String, vec!["x".into()]), &Type::Dynamic).unwrap();
    assert_eq!(
        String::from_utf8(dynamic.clone()).unwrap(),
        r#"{"value":["x"],"type":["list","string"]}"#
    );
    assert_eq!(
        decode(&dynamic, &Type::Dynamic),
        Ok(Value::list(Type::String, vec!["x".into()]))
    );
    let secret = Value::string("x").with_marks(Marks::SENSITIVE);
    assert!(encode(&secret, &Type::String).is_err());
    assert!(encode(&Value::unknown(Type::String), &Type::String).is_err());
}

#[test]
fn values_are_read_by_their_type() {
    let ty = Type::object([
        ("n", Type::Number),
        ("s", Type::set(Type::String)),
        ("m", Type::map(Type::Bool)),
        ("t", Type::tuple([Type::String])),
    ]);
    let value = decode(br#"{"n":"1.50","s":["b","a","b"],"t":[2]}"#, &ty).unwrap();
    assert_eq!(
        text(&value),
        r#"{"m":null,"n":1.5,"s":["a","b"],"t":["2"]}"#
    );
    let error = decode(br#"{"x":1}"#, &ty).unwrap_err();
    assert_eq!(error.message, "unsupported attribute \"x\"");
    let error = decode(br#"{"s":[[]]}"#, &ty).unwrap_err();
    assert_eq!(
        (error.path.to_string(), error.message),
        (".s[0]".into(), "string is required".into())
    );
}

#[test]
fn implied_types_are_structural() {
    let value =
        decode_simple(br#" {"a":[1,"x",null,{}],"b":1e2,"a\u0301\ud83d\ude00":true} "#).unwrap();
    assert_eq!(
        text(&value),
        "{\"a\":[1,\"x\",null,{}],\"b\":100,\"\u{e1}😀\":true}"
    );
    for (json, message) in [
        ("", "EOF"),
        ("{", "EOF"),
        ("[1", "EOF"),
        ("tru", "unexpected EOF"),
        ("\"x", "unexpected EOF"),
        (
            "{a:1}",
            "invalid character 'a' looking for beginning of object key string",
        ),
        ("[1 2]", "invalid character '2' after array element"),
        ("1 2", "extraneous data after JSON object"),
        ("<", "invalid character '<' looking for beginning of value"),
    ] {
        assert_eq!(
            decode_simple(json.as_bytes()).unwrap_err().message,
            message,
            "{json}"
        );
    }
    let deep = "[".repeat(100_000);
    assert_eq!(
        decode_simple(deep.as_bytes()).unwrap_err().message,
        "exceeded max depth"
    );
}

#[test]
fn types_go_to_json_and_back() {
    for json in [
        r#""dynamic""#,
        r#"["list",["set",["map","number"]]]"#,
        r#"["tuple",["string",["tuple",[]]]]"#,
        r#"["object",{"a":"bool","b":"string"},["b"]]"#,
    ] {
        assert_eq!(type_encode(&type_decode(json.as_bytes()).unwrap()), json);
    }
    assert!(type_decode(br#""int""#).is_err());
    assert!(type_decode(br#"["list","string","x"]"#).is_err());
}
