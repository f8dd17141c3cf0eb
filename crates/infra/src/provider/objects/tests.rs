use consort_hcl::{Type, Value};

use super::{normalize_legacy, plan_problems, planned_unknown, proposed_new, result_problems};
use crate::provider::schema::{Attribute, Block, Nesting, Object};

fn inner() -> Block {
    Block::default()
        .attribute("name", Attribute::new(Type::String).optional())
        .attribute("id", Attribute::new(Type::String).optional().computed())
}

fn schema() -> Block {
    let object = Object::new(
        Nesting::List,
        [
            ("name", Attribute::new(Type::String).optional()),
            ("id", Attribute::new(Type::String).computed()),
        ],
    );
    inner()
        .attribute("objects", Attribute::object(object).optional())
        .nested("list", Nesting::List, inner())
        .nested("set", Nesting::Set, inner())
        .nested("map", Nesting::Map, inner())
        .nested("one", Nesting::Single, inner())
}

fn null() -> Value {
    Value::null(Type::String)
}

fn element(name: &str, id: Option<&str>) -> Value {
    Value::object([
        ("name", Value::string(name)),
        ("id", id.map_or_else(null, Value::string)),
    ])
}

/// An object of the schema with the same elements everywhere.
fn object(id: Option<&str>, elements: &[Value]) -> Value {
    let ty = inner().implied_type();
    Value::object([
        ("name", Value::string("top")),
        ("id", id.map_or_else(null, Value::string)),
        ("objects", Value::list(ty.clone(), elements.to_vec())),
        ("list", Value::list(ty.clone(), elements.to_vec())),
        ("set", Value::set(ty.clone(), elements.to_vec())),
        (
            "map",
            Value::map(
                ty.clone(),
                elements.iter().map(|e| {
                    (
                        e.attribute("name").unwrap().as_str().unwrap().to_owned(),
                        e.clone(),
                    )
                }),
            ),
        ),
        ("one", Value::null(ty)),
    ])
}

fn problems(found: &[super::Problem]) -> Vec<String> {
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn a_proposal_keeps_what_the_provider_chose_in_every_nesting() {
    let schema = schema();
    let prior = object(
        Some("0"),
        &[element("a", Some("1")), element("b", Some("2"))],
    );
    let config = object(None, &[element("a", None), element("c", None)]);
    let proposed = proposed_new(&schema, &prior, &config);
    assert_eq!(proposed.attribute("id").unwrap().as_str(), Some("0"));
    // By position: the second element is another one now, and keeps the identifier of its place.
    let second = element("c", Some("2"));
    for list in ["objects", "list"] {
        let list = proposed.attribute(list).unwrap();
        assert!(
            list.as_sequence().unwrap()[1].raw_equals(&second),
            "{list:?}"
        );
    }
    // By content and by key: it is new.
    let set = proposed.attribute("set").unwrap();
    assert!(set.raw_equals(&Value::set(
        inner().implied_type(),
        vec![element("a", Some("1")), element("c", None)]
    )));
    let map = proposed.attribute("map").unwrap();
    assert!(map.as_keyed().unwrap()["a"].raw_equals(&element("a", Some("1"))));
    assert!(map.as_keyed().unwrap()["c"].raw_equals(&element("c", None)));
}

#[test]
fn a_thousand_set_elements_are_matched_in_no_time() {
    let schema = schema();
    let many = |ids: bool| -> Vec<Value> {
        (0..1000)
            .map(|i| element(&format!("{i:04}"), ids.then_some("x")))
            .collect()
    };
    let prior = object(Some("0"), &many(true));
    let proposed = proposed_new(&schema, &prior, &object(None, &many(false)));
    assert!(proposed.raw_equals(&prior));
    assert!(problems(&result_problems(&schema, &prior, &proposed)).is_empty());
}

#[test]
fn a_data_source_that_cannot_be_read_yet_has_unknown_computed_attributes() {
    let planned = planned_unknown(&schema(), &object(None, &[element("a", None)]));
    assert!(!planned.attribute("id").unwrap().is_known());
    assert_eq!(planned.attribute("name").unwrap().as_str(), Some("top"));
}

#[test]
fn a_plan_that_does_not_follow_the_configuration_is_found() {
    let schema = schema();
    let prior = Value::null(schema.implied_type());
    let config = object(None, &[element("a", None)]);
    let good = object(Some("chosen"), &[element("a", Some("chosen"))]);
    assert_eq!(
        problems(&plan_problems(&schema, &prior, &config, &good)),
        Vec::<String>::new()
    );
    let bad = object(None, &[element("z", None)]);
    assert_eq!(
        problems(&plan_problems(&schema, &prior, &config, &bad)),
        [
            ".objects[0].name: planned value cty.StringVal(\"z\") does not match config value cty.StringVal(\"a\")",
            ".list[0].name: planned value cty.StringVal(\"z\") does not match config value cty.StringVal(\"a\")",
            ".map[\"z\"]: block key \"z\" from plan is not present in config",
            ".map: block key \"a\" from config is not present in plan",
        ]
    );
    let fewer = object(None, &[]);
    assert!(
        problems(&plan_problems(&schema, &prior, &config, &fewer)).contains(
            &".list: block count in plan (0) disagrees with count in config (1)".to_owned()
        )
    );
    assert_eq!(
        problems(&plan_problems(&schema, &prior, &config, &prior)),
        [": planned for absence but config wants existence"]
    );
}

#[test]
fn a_result_must_complete_its_plan() {
    let schema = Block::default()
        .attribute("id", Attribute::new(Type::String).computed())
        .attribute("tags", Attribute::new(Type::map(Type::String)).optional())
        .attribute(
            "secret",
            Attribute::new(Type::String).optional().sensitive(),
        );
    let object = |id: Value, tag: &str, secret: &str| {
        Value::object([
            ("id", id),
            (
                "tags",
                Value::map(Type::String, [(tag, Value::string(tag))]),
            ),
            ("secret", Value::string(secret)),
        ])
    };
    let planned = object(Value::unknown_not_null(Type::String), "t", "s");
    assert!(result_problems(&schema, &planned, &object(Value::string("1"), "t", "s")).is_empty());
    assert_eq!(
        problems(&result_problems(
            &schema,
            &planned,
            &object(null(), "u", "other")
        )),
        [
            ".id: final value cty.NullVal(cty.String) does not conform to planning placeholder \
             cty.UnknownVal(cty.String).RefineNotNull()",
            ".secret: inconsistent values for sensitive attribute",
            ".tags: element \"t\" has vanished",
            ".tags: new element \"u\" has appeared",
        ]
    );
    let gone = Value::null(schema.implied_type());
    assert_eq!(
        problems(&result_problems(&schema, &planned, &gone)),
        [": root object was present, but now absent"]
    );
}

#[test]
fn elements_of_a_set_are_matched_with_what_they_were_to_become() {
    let schema =
        Block::default().attribute("set", Attribute::new(Type::set(Type::String)).optional());
    let object = |values: Vec<Value>| Value::object([("set", Value::set(Type::String, values))]);
    let planned = object(vec![Value::string("a"), Value::unknown(Type::String)]);
    let completed = object(vec![Value::string("a"), Value::string("b")]);
    assert!(result_problems(&schema, &planned, &completed).is_empty());
    let wrong = object(vec![Value::string("b"), Value::string("c")]);
    assert_eq!(
        problems(&result_problems(&schema, &planned, &wrong)),
        [
            ".set: planned set element cty.StringVal(\"a\") does not correlate with any element in actual"
        ]
    );
}

#[test]
fn objects_of_the_old_sdk_get_blocks_that_are_not_null() {
    let schema = schema();
    let ty = inner().implied_type();
    let value = Value::object([
        ("name", null()),
        ("id", null()),
        ("objects", Value::null(Type::list(ty.clone()))),
        ("list", Value::null(Type::list(ty.clone()))),
        ("set", Value::unknown(Type::set(ty.clone()))),
        ("map", Value::map::<&str>(ty.clone(), [])),
        ("one", Value::null(ty.clone())),
    ]);
    let normal = normalize_legacy(&schema, &value);
    assert!(
        normal
            .attribute("list")
            .unwrap()
            .raw_equals(&Value::list(ty, vec![]))
    );
    assert!(normal.attribute("objects").unwrap().is_null());
    let set = normal.attribute("set").unwrap();
    assert!(set.is_known() && !set.is_wholly_known());
}
