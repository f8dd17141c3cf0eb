use super::*;
use crate::marks::Marks;
use crate::number::Number;

fn s(text: &str) -> Value {
    Value::string(text)
}

fn n(value: i64) -> Value {
    Value::number(value)
}

#[track_caller]
fn fails(value: &Value, want: &Type, message: &str) {
    assert_eq!(convert(value, want).unwrap_err().located(), message);
}

#[test]
fn primitives_convert_where_their_text_allows() {
    assert_eq!(convert(&n(15), &Type::String), Ok(s("15")));
    assert_eq!(
        convert(&s("1.50"), &Type::Number),
        Ok(Value::number(Number::from(1.5)))
    );
    assert_eq!(convert(&s("1"), &Type::Bool), Ok(Value::TRUE));
    fails(&s("x"), &Type::Number, "a number is required");
    fails(
        &s("True"),
        &Type::Bool,
        "a bool is required; to convert from string, use lowercase \"true\"",
    );
    fails(&n(1), &Type::Bool, "bool required");
    fails(&Value::tuple(vec![]), &Type::String, "string required");
    assert_eq!(
        convert(&Value::null(Type::Dynamic), &Type::String),
        Ok(Value::null(Type::String))
    );
}

#[test]
fn tuples_and_objects_become_collections_of_what_their_parts_have_in_common() {
    let tuple = Value::tuple(vec![n(1), s("a"), Value::TRUE]);
    assert_eq!(
        convert(&tuple, &Type::list(Type::Dynamic)),
        Ok(Value::list(Type::String, vec![s("1"), s("a"), s("true")]))
    );
    assert_eq!(
        convert(&tuple, &Type::set(Type::String)),
        Ok(Value::set(Type::String, vec![s("1"), s("a"), s("true")]))
    );
    fails(
        &tuple,
        &Type::list(Type::Number),
        "element 2: number required",
    );
    let texts = Value::tuple(vec![s("1"), s("a")]);
    fails(
        &texts,
        &Type::list(Type::Number),
        "[1]: a number is required",
    );
    let object = Value::object([("a", n(1)), ("b", s("x"))]);
    assert_eq!(
        convert(&object, &Type::map(Type::Dynamic)),
        Ok(Value::map(Type::String, [("a", s("1")), ("b", s("x"))]))
    );
    let mixed = Value::tuple(vec![Value::tuple(vec![]), s("a")]);
    fails(
        &mixed,
        &Type::list(Type::Dynamic),
        "all list elements must have the same type",
    );
    fails(
        &mixed,
        &Type::list(Type::String),
        "element 0: string required",
    );
    assert_eq!(
        convert(&Value::tuple(vec![]), &Type::list(Type::Dynamic)),
        Ok(Value::list(Type::Dynamic, vec![]))
    );
}

#[test]
fn objects_take_their_optional_attributes_as_null() {
    let want = Type::object_with_optional([("a", Type::String), ("b", Type::Number)], ["b"]);
    let given = Value::object([("a", n(1)), ("c", s("dropped"))]);
    assert_eq!(
        convert(&given, &want),
        Ok(Value::object([
            ("a", s("1")),
            ("b", Value::null(Type::Number))
        ]))
    );
    fails(
        &Value::object([("b", n(1))]),
        &want,
        "attribute \"a\" is required",
    );
    fails(
        &Value::object([("a", Value::tuple(vec![]))]),
        &want,
        "attribute \"a\": string required",
    );
    let map = Value::map(Type::String, [("a", s("x"))]);
    assert_eq!(
        convert(&map, &want),
        Ok(Value::object([
            ("a", s("x")),
            ("b", Value::null(Type::Number))
        ]))
    );
    fails(
        &Value::map(Type::String, [("b", s("1"))]),
        &want,
        "map has no element for required attribute \"a\"",
    );
}

#[test]
fn unknowns_keep_what_is_known_of_them_and_marks_stay() {
    let unknown = Value::unknown_not_null(Type::tuple([Type::String, Type::Number]));
    let list = convert(&unknown, &Type::list(Type::Dynamic)).unwrap();
    assert_eq!(
        list,
        Value::list(Type::String, vec![Value::unknown(Type::String); 2])
    );
    let marked = n(1).with_marks(Marks::SENSITIVE);
    assert_eq!(
        convert(&marked, &Type::String),
        Ok(s("1").with_marks(Marks::SENSITIVE))
    );
}

#[test]
fn unification_prefers_what_all_convert_to() {
    let ty = |types: &[Type]| unify(types).map(|u| u.ty);
    assert_eq!(ty(&[Type::Number, Type::String]), Some(Type::String));
    assert_eq!(ty(&[Type::Number, Type::Bool]), None);
    assert_eq!(
        ty(&[Type::tuple([Type::Number]), Type::list(Type::String)]),
        Some(Type::list(Type::String))
    );
    assert_eq!(
        ty(&[
            Type::object([("a", Type::Number)]),
            Type::object([("b", Type::String)])
        ]),
        Some(Type::map(Type::String))
    );
    assert_eq!(
        ty(&[
            Type::object([("a", Type::Number)]),
            Type::object([("a", Type::String)])
        ]),
        Some(Type::object([("a", Type::String)]))
    );
    assert_eq!(
        ty(&[Type::set(Type::String), Type::list(Type::String)]),
        Some(Type::list(Type::String))
    );
    let undecided = unify(&[Type::Dynamic, Type::list(Type::String)]).unwrap();
    assert_eq!(
        undecided.convert(&Value::list(Type::String, vec![])),
        Ok(Value::DYNAMIC)
    );
}

#[test]
fn many_objects_of_one_type_convert_in_linear_time() {
    let objects: Vec<Value> = (0..20_000)
        .map(|i| Value::object([("i", n(i)), ("name", s("x"))]))
        .collect();
    let list = convert(&Value::tuple(objects), &Type::list(Type::Dynamic)).unwrap();
    assert_eq!(list.as_sequence().map(<[Value]>::len), Some(20_000));
}
