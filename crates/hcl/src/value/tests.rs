use super::*;
use crate::path::Path;

fn s(text: &str) -> Value {
    Value::string(text)
}

fn n(text: &str) -> Value {
    Value::number(Number::parse(text).unwrap())
}

#[test]
fn sets_hold_each_element_once_in_ctys_order() {
    let set = Value::set(
        Type::String,
        vec![s("b"), s("a"), s("b"), Value::null(Type::String)],
    );
    assert_eq!(
        set.as_sequence().unwrap(),
        [s("a"), s("b"), Value::null(Type::String)]
    );
    let set = Value::set(Type::Number, vec![n("10"), n("9"), n("9.0"), n("-1")]);
    assert_eq!(set.as_sequence().unwrap(), [n("-1"), n("9"), n("10")]);
    // Compound elements go by their text: "10" before "9".
    let object = |i: &str| Value::object([("a", n(i))]);
    let set = Value::set(Type::Dynamic, vec![object("9"), object("10"), object("9")]);
    assert_eq!(set.as_sequence().unwrap(), [object("10"), object("9")]);
    let unknown = Value::unknown(Type::String);
    let set = Value::set(Type::String, vec![unknown.clone(), unknown, s("a")]);
    assert_eq!(set.as_sequence().unwrap().len(), 3);
    assert!(!set.length().is_known());
}

#[test]
fn marks_of_set_elements_are_those_of_the_set() {
    let secret = s("a").with_marks(Marks::SENSITIVE);
    let set = Value::set(Type::String, vec![secret, s("b")]);
    assert_eq!(set.marks(), Marks::SENSITIVE);
    assert!(set.as_sequence().unwrap()[0].marks().is_empty());
}

#[test]
fn a_large_set_is_built_quickly_and_found_in() {
    let objects: Vec<Value> = (0..20_000)
        .map(|i| Value::object([("name", s(&format!("n{i}"))), ("i", Value::number(i))]))
        .collect();
    let set = Value::set(Type::Dynamic, objects.clone());
    assert_eq!(set.as_sequence().unwrap().len(), 20_000);
    assert_eq!(set.has_element(&objects[777]), Value::TRUE);
}

#[test]
fn equality_knows_what_it_cannot_know() {
    let unknown = Value::unknown(Type::String);
    assert_eq!(s("a").equals(&unknown), Value::unknown_not_null(Type::Bool));
    assert_eq!(s("a").equals(&s("a")), Value::TRUE);
    assert_eq!(s("a").equals(&n("1")), Value::FALSE);
    let prefixed = Value::unknown(Type::String).refined(|r| r.starting_with_exactly("ami-"));
    assert_eq!(s("vpc-1").equals(&prefixed), Value::FALSE);
    let not_null = Value::unknown_not_null(Type::String);
    assert_eq!(Value::null(Type::String).equals(&not_null), Value::FALSE);
    let list = Value::tuple(vec![s("a"), unknown]);
    assert!(!list.equals(&list).is_known());
    assert!(list.raw_equals(&list.clone()));
    let marked = s("a").with_marks(Marks::SENSITIVE);
    assert_eq!(
        marked.equals(&s("a")),
        Value::TRUE.with_marks(Marks::SENSITIVE)
    );
}

#[test]
fn text_is_kept_in_normal_form() {
    assert_eq!(s("e\u{301}"), s("\u{e9}"));
    assert_eq!(
        Value::object([("e\u{301}", s("x"))]).attribute("\u{e9}"),
        Ok(s("x"))
    );
}

#[test]
fn marks_go_to_paths_and_come_back_from_them() {
    let value = Value::object([
        ("list", Value::list(Type::String, vec![s("a"), s("b")])),
        ("map", Value::map(Type::String, [("k", s("v"))])),
    ]);
    let paths = vec![
        (
            Path::root().attribute("list").index(n("1")),
            Marks::SENSITIVE,
        ),
        (
            Path::root().attribute("map").index(s("k")),
            Marks::EPHEMERAL,
        ),
    ];
    let marked = value.clone().mark_paths(&paths);
    assert_eq!(marked.deep_marks(), Marks::SENSITIVE | Marks::EPHEMERAL);
    assert!(marked.marks().is_empty());
    let (plain, found) = marked.unmark_deep_with_paths();
    assert_eq!(plain, value);
    assert_eq!(found, paths);
}

#[test]
fn refinements_narrow_and_collapse() {
    let exactly = Value::unknown(Type::Number).refined(|r| {
        r.not_null()
            .at_least(Number::from(3), true)
            .at_most(Number::from(3), true)
    });
    assert_eq!(exactly, Value::number(3));
    let list = Value::unknown(Type::list(Type::String)).refined(|r| r.not_null().with_at_most(0));
    assert_eq!(list, Value::list(Type::String, vec![]));
    let length = Value::unknown(Type::list(Type::String))
        .refined(|r| r.not_null().with_at_least(2))
        .length();
    assert_eq!(length.less_than(&Value::number(1)), Value::FALSE);
    let sum = length.add(&Value::number(1));
    assert_eq!(sum.greater_than(&Value::number(2)), Value::TRUE);
}

#[test]
fn elements_are_found_by_their_keys() {
    let list = Value::list(Type::String, vec![s("a")]);
    assert_eq!(list.index(&n("0")), Ok(s("a")));
    assert!(list.index(&n("1")).is_err());
    assert!(list.index(&s("0")).is_err());
    let unknown = Value::unknown(Type::Number);
    assert_eq!(list.index(&unknown), Ok(Value::unknown(Type::String)));
    let object = Value::object([("a", s("x"))]).with_marks(Marks::SENSITIVE);
    assert_eq!(
        object.attribute("a"),
        Ok(s("x").with_marks(Marks::SENSITIVE))
    );
}
