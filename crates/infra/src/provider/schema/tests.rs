use std::sync::Arc;

use consort_hcl::{Body, Diagnostics, Marks, Path, Sources, Tables, Type, Value, json, parse};

use super::{Attribute, Block, Nesting};
use crate::provider::Diagnostic;

fn string() -> Attribute {
    Attribute::new(Type::String).optional()
}

/// A block of every nesting, and an attribute that may be written as blocks.
fn schema() -> Block {
    let inner = || {
        Block::default()
            .attribute("a", string())
            .attribute("n", Attribute::new(Type::Number).optional())
    };
    let rule = Type::object([("port", Type::Number), ("note", Type::String)]);
    let mut schema = Block::default()
        .attribute("name", Attribute::new(Type::String).required())
        .attribute("secret", string().sensitive())
        .attribute("rule", Attribute::new(Type::set(rule)).optional())
        .nested("one", Nesting::Single, inner())
        .nested("group", Nesting::Group, inner())
        .nested(
            "list",
            Nesting::List,
            inner().nested("deep", Nesting::List, inner()),
        )
        .nested("set", Nesting::Set, inner())
        .nested("map", Nesting::Map, inner());
    if let Some(list) = schema.blocks.get_mut("list") {
        list.max_items = 3;
    }
    schema
}

fn body(text: &str) -> (Body, Sources) {
    let mut sources = Sources::new();
    let (body, diagnostics) = parse(&mut sources, "main.tf", text);
    assert!(!diagnostics.has_errors(), "{diagnostics:?}");
    (body, sources)
}

fn scope() -> Tables<'static> {
    Tables::new(Arc::default())
        .with(
            "items",
            Value::tuple(vec![Value::string("x"), Value::string("y")]),
        )
        .with("unknown", Value::unknown(Type::list(Type::String)))
        .with("hidden", Value::string("h").with_marks(Marks::SENSITIVE))
}

fn decode(text: &str) -> (Value, Diagnostics) {
    schema().decode(&body(text).0, &scope())
}

fn known(text: &str) -> serde_json::Value {
    let (value, diagnostics) = decode(text);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    assert_eq!(*value.ty(), schema().implied_type());
    serde_json::from_slice(&json::encode_simple(&value).unwrap()).unwrap()
}

fn errors(text: &str) -> Vec<(String, u32)> {
    let (body, sources) = body(text);
    let (_, diagnostics) = schema().decode(&body, &scope());
    diagnostics
        .iter()
        .map(|d| {
            let line = d
                .subject
                .and_then(|range| sources.start(range))
                .map_or(0, |p| p.line);
            (format!("{}: {}", d.summary, d.detail), line)
        })
        .collect()
}

#[test]
fn a_body_becomes_an_object_of_every_nesting() {
    let value = known(
        "name = 5\none { a = \"1\" }\nlist { a = \"2\" }\nlist {\n  deep { n = \"7\" }\n}\nset { a = \"4\" }\nset { a = \"4\" }\n\
         map \"k\" { a = \"5\" }\n",
    );
    assert_eq!(value["name"], "5");
    assert_eq!(value["one"]["a"], "1");
    assert_eq!(value["group"], serde_json::json!({"a": null, "n": null}));
    assert_eq!(value["list"][1]["deep"][0]["n"], 7);
    assert_eq!(value["set"].as_array().map(Vec::len), Some(1));
    assert_eq!(value["map"]["k"]["a"], "5");
    assert!(value["rule"].is_null());
}

#[test]
fn dynamic_blocks_are_expanded_with_their_iterators_and_labels() {
    let value = known(
        "name = \"n\"\ndynamic \"list\" {\n  for_each = items\n  iterator = it\n  content {\n    a = it.value\n    dynamic \
         \"deep\" {\n      for_each = [it.key]\n      content { n = deep.value + it.key }\n    }\n  }\n}\ndynamic \"map\" \
         {\n  for_each = items\n  labels = [\"l-${map.value}\"]\n  content { a = map.value }\n}\n",
    );
    assert_eq!(value["list"][1]["a"], "y");
    assert_eq!(value["list"][1]["deep"][0]["n"], 2);
    assert_eq!(value["map"]["l-y"]["a"], "y");
}

#[test]
fn an_unknown_for_each_makes_the_blocks_unknown_and_nothing_else() {
    let (value, diagnostics) = decode(
        "name = hidden\ndynamic \"list\" {\n  for_each = unknown\n  content { a = list.value }\n}\ndynamic \"one\" {\n  \
         for_each = unknown\n  content { a = one.value }\n}\n",
    );
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    assert!(!value.attribute("list").unwrap().is_known());
    let one = value.attribute("one").unwrap();
    assert!(one.is_known() && !one.attribute("a").unwrap().is_known());
    assert_eq!(value.attribute("name").unwrap().marks(), Marks::SENSITIVE);
}

#[test]
fn a_list_of_objects_may_be_written_as_an_attribute_or_as_blocks() {
    let attribute = known("name = \"n\"\nrule = [{ port = 1, note = \"x\" }]\n");
    let blocks = known("name = \"n\"\nrule {\n  port = 1\n  note = \"x\"\n}\n");
    assert_eq!(attribute, blocks);
    let dynamic = known(
        "name = \"n\"\ndynamic \"rule\" {\n  for_each = items\n  content { note = rule.value }\n}\nrule { port = 1 }\n",
    );
    assert_eq!(dynamic["rule"].as_array().map(Vec::len), Some(3));
}

#[test]
fn what_is_wrong_with_a_body_is_said_as_terraform_says_it() {
    assert!(
        errors("")
            .iter()
            .any(|(e, _)| e.contains("Missing required argument"))
    );
    assert_eq!(
        errors("name = \"n\"\none {\n  n = \"x\"\n}\n"),
        [("Incorrect attribute value type: Inappropriate value for attribute \"n\": a number is required.".to_owned(), 3)]
    );
    assert_eq!(
        errors("name = \"n\"\none {}\none {}\n"),
        [(
            "Duplicate one block: Only one block of type \"one\" is allowed. Previous definition was at main.tf:2,1-4."
                .to_owned(),
            3
        )]
    );
    assert_eq!(
        errors("name = \"n\"\nlist {}\nlist {}\nlist {}\nlist {}\n"),
        [(
            "Too many list blocks: No more than 3 \"list\" blocks are allowed".to_owned(),
            5
        )]
    );
    let duplicate = errors("name = \"n\"\nmap \"k\" {}\nmap \"k\" {}\n");
    assert_eq!(
        duplicate,
        [(
            "Duplicate map block: A block for map \"k\" was already defined. The map labels must be unique.".to_owned(),
            3
        )]
    );
    let wrong = errors("name = \"n\"\ndynamic \"set\" {\n  for_each = 5\n  content {}\n}\n");
    assert_eq!(
        wrong,
        [(
            "Invalid dynamic for_each value: Cannot use a number value in for_each. An iterable collection is required."
                .to_owned(),
            3
        )]
    );
    assert_eq!(
        errors("name = \"n\"\ndynamic \"set\" {\n  for_each = []\n}\n")[0]
            .0
            .split(':')
            .next(),
        Some("Missing dynamic content block")
    );
    assert_eq!(
        errors("name = \"n\"\ndynamic \"no\" {\n  for_each = []\n  content {}\n}\n")[0].1,
        2
    );
}

#[test]
fn references_are_found_without_those_to_iterators() {
    let (body, _) = body(
        "name = var.a\nlist { a = aws_x.b[0].id }\ndynamic \"set\" {\n  for_each = local.c\n  content {\n    a = \
         set.value.x\n    n = var.d\n  }\n}\nrule { note = var.e }\n",
    );
    let mut found: Vec<String> = schema()
        .references(&body)
        .iter()
        .map(consort_hcl::Traversal::text)
        .collect();
    found.sort();
    assert_eq!(
        found,
        ["aws_x.b[0].id", "local.c", "var.a", "var.d", "var.e"]
    );
}

#[test]
fn a_providers_message_finds_its_place() {
    let (body, sources) =
        body("name = \"n\"\nlist {}\nlist {\n  a = \"x\"\n}\nrule = [\n  {},\n  {},\n]\n");
    let line = |path: Path| {
        let located = Diagnostic::error("s", "d").at(path).locate(&body, "x.y");
        assert_eq!(located.address.as_deref(), Some("x.y"));
        located
            .subject
            .and_then(|range| sources.start(range))
            .map(|p| p.line)
    };
    let list = Path::root().attribute("list").index(Value::number(1));
    assert_eq!(line(list.clone().attribute("a")), Some(4));
    assert_eq!(line(list.attribute("missing")), Some(3));
    assert_eq!(
        line(Path::root().attribute("rule").index(Value::number(1))),
        Some(8)
    );
}

#[test]
fn sensitive_attributes_are_marked_wherever_they_are() {
    let schema = Block::default().nested("list", Nesting::List, schema());
    let (inner, _) = decode("name = \"n\"\nsecret = \"s\"\n");
    let value = Value::object([(
        "list",
        Value::list(inner.ty().clone(), vec![inner.clone(), inner]),
    )]);
    let marked = schema.mark_sensitive(value);
    let secret = Path::root()
        .attribute("list")
        .index(Value::number(1))
        .attribute("secret");
    assert_eq!(secret.apply(&marked).unwrap().marks(), Marks::SENSITIVE);
    assert_eq!(
        Path::root()
            .attribute("list")
            .apply(&marked)
            .unwrap()
            .marks(),
        Marks::NONE
    );
}
