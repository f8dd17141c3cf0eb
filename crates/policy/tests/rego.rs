//! Rego as policies in the wild use it, seen from outside.

use consort_policy::engine::Kind;
use consort_policy::load::Loaded;
use consort_policy::suite::{self, Verdict};
use consort_policy::{Document, Engine, Options, Version, format};
use serde_json::json;

fn value(module: &str, path: &str) -> serde_json::Value {
    let mut engine = Engine::new(Options::default());
    engine.add("policy.rego", module).expect("it is Rego");
    let input = Document::from(json!({"if": 1, "name": "x"}));
    engine
        .rule(path, &input)
        .expect("it can be evaluated")
        .map_or(json!(null), |value| value.json())
}

#[test]
fn newer_rego_than_the_evaluator_reads_is_read() {
    let module = r#"package p

template := $"{input.name} has {1 + 1} and {input.none}"

keyword := input.if

paths contains path if {
	[path, value] := walk({"a": [{"b": 1}]})
	value == 1
}

# METADATA
# title: a rule
titled := rego.metadata.rule().title
"#;
    assert_eq!(
        value(module, "data.p.template"),
        json!("x has 2 and <undefined>")
    );
    assert_eq!(value(module, "data.p.keyword"), json!(1));
    assert_eq!(value(module, "data.p.paths"), json!([["a", 0, "b"]]));
    assert_eq!(value(module, "data.p.titled"), json!("a rule"));
}

#[test]
fn what_is_negated_has_no_verdict_without_its_operands() {
    // What OPA says of the same module.
    let module = r#"package p

says contains "call" if not startswith(input.none, "x")
says contains "call, defined" if not startswith(input.name, "y")
says contains "comparison" if not input.none > 3
says contains "inner call" if not count(input.none) == 3
says contains "member" if not input.none in {1}
says contains "key" if not input.list[input.none]
says contains "in a constant" if { not same({"a": [input.none]}) == 1 }
says contains "rule" if { not same(nothing) }
says contains "equality" if not input.none == 1
says contains "alone" if not input.none
says contains "false" if { not same(input.off) }
says contains "replaced" if { not startswith(input.none, "x") with input as {"none": "y"} }
says contains x if {
	some x in ["one", "two"]
	not startswith(
		x, # what is looked at
		input.start,
	)
	not x in input.none.list
}
either := 1 if not startswith(input.none, "x") else := 2 if not startswith(input.name, "y") else := 3

same(x) := x

nothing if false
"#;
    let mut engine = Engine::new(Options::default());
    engine.add("policy.rego", module).expect("it is Rego");
    let input = Document::from(json!({"name": "x", "off": false, "list": [1], "start": "t"}));
    let mut ask = |path| engine.rule(path, &input).expect("it can be evaluated");
    let says = ask("data.p.says").map(|said| said.json());
    let expected = ["alone", "call, defined", "equality", "false", "replaced"];
    assert_eq!(says, Some(json!(expected)));
    assert_eq!(ask("data.p.either").map(|said| said.json()), Some(json!(2)));
    let query = "not startswith(input.name, \"y\"); x := 1";
    let said = engine.query(query, Some(&input)).expect("it is a query");
    let names: Vec<&str> = said[0].bindings.keys().map(String::as_str).collect();
    assert_eq!((names, said[0].expressions.len()), (vec!["x"], 2));
    assert!(
        engine
            .query("not startswith(input.none, \"y\")", Some(&input))
            .expect("it is a query")
            .is_empty()
    );
}

#[test]
fn further_bodies_of_a_head_count_as_rules_of_their_own() {
    let module = "package p\n\ndeny[{\"msg\": msg}] {\n\tinput.a\n\tmsg := \"a\"\n} {\n\tinput.b\n\tmsg := \"b\"\n}\n\n\
        size(x) = n {\n\tis_array(x)\n\tn := count(x)\n} {\n\tis_number(x)\n\tn := x\n}\n\n\
        sizes[name] = n {\n\tn := size(input.a)\n\tname := \"a\"\n} {\n\tn := size(input.b)\n\tname := \"b\"\n}\n";
    for trace in [false, true] {
        let mut engine = Engine::new(Options {
            version: Version::V0,
            trace,
            ..Options::default()
        });
        engine.add("policy.rego", module).expect("it is Rego");
        let input = Document::from(json!({"a": [1, 2], "b": 7}));
        let mut ask = |path| {
            let value = engine.rule(path, &input).expect("it can be evaluated");
            value.map(|value| value.json())
        };
        assert_eq!(
            ask("data.p.deny"),
            Some(json!([{"msg": "a"}, {"msg": "b"}]))
        );
        assert_eq!(ask("data.p.sizes"), Some(json!({"a": 2, "b": 7})));
    }
}

#[test]
fn floats_are_computed_as_they_are_written() {
    let module = "package p\n\nsum := [0.1 + 0.2, 1.1 * 1.1, 0.3 / 0.1, 1 - 0.9]\n\nsame if 0.1 + 0.2 == 0.3\n";
    assert_eq!(value(module, "data.p.sum"), json!([0.3, 1.21, 3, 0.1]));
    assert_eq!(value(module, "data.p.same"), json!(true));
}

#[test]
fn errors_have_their_place_and_a_hint_where_there_is_one() {
    let mut engine = Engine::new(Options::default());
    let error = engine
        .add("old.rego", "package p\n\nallow {\n\tinput.x\n}\n")
        .expect_err("it is v0");
    assert_eq!((error.kind, error.line, error.column), (Kind::Parse, 3, 1));
    assert!(error.hint.is_some_and(|hint| hint.contains("v0")));
    engine
        .add(
            "call.rego",
            "package p\n\nallow if {\n\tsprintff(\"x\", [])\n}\n",
        )
        .expect("it is Rego");
    let error = engine.prepare().expect_err("there is no such function");
    assert_eq!(
        (error.file.as_deref(), error.line, error.column),
        (Some("call.rego"), 4, 2)
    );
    assert!(
        error.message.contains("undefined function sprintff"),
        "{error}"
    );
}

#[test]
fn hostile_text_and_panics_of_the_evaluator_are_errors() {
    let mut engine = Engine::new(Options::default());
    let deep = format!(
        "package p\n\nx := {}1{}\n",
        "[".repeat(5000),
        "]".repeat(5000)
    );
    assert_eq!(
        engine.add("deep.rego", &deep).map_err(|error| error.kind),
        Err(Kind::Parse)
    );
    let long = format!("package p\n\nx := 1{}\n", " + 1".repeat(5000));
    assert_eq!(
        engine.add("long.rego", &long).map_err(|error| error.kind),
        Err(Kind::Parse)
    );
    // Lines of any length, and constants of any depth that the parser takes, are no trouble.
    engine
        .add(
            "wide.rego",
            &format!("package p\n\nx := count(\"{}\")\n", "y".repeat(100_000)),
        )
        .expect("it is Rego");
    engine
        .add(
            "nested.rego",
            &format!(
                "package q\n\nx := {}1{}\n",
                "{\"a\":".repeat(30),
                "}".repeat(30)
            ),
        )
        .expect("it is Rego");
    let values = engine
        .values(&["data.p.x", "data.q.x.a.a"], &Document::from(json!({})))
        .expect("it can be evaluated");
    assert_eq!(values[0].as_ref().map(Document::json), Some(json!(100_000)));
    assert!(values[1].is_some());
}

#[test]
fn both_versions_of_the_language_can_be_mixed() {
    let mut engine = Engine::new(Options::default());
    engine
        .add_version(
            "old.rego",
            "package old\n\ndeny[msg] { msg := \"no\" }\n",
            Version::V0,
        )
        .expect("it is v0");
    engine
        .add(
            "new.rego",
            "package new\n\ndeny contains msg if some msg in data.old.deny\n",
        )
        .expect("it is v1");
    let denied = engine
        .rule("data.new.deny", &Document::from(json!({})))
        .expect("it can be evaluated");
    assert_eq!(denied.map(|value| value.json()), Some(json!(["no"])));
}

#[test]
fn tests_pass_fail_break_and_are_skipped_and_cases_are_told_apart() {
    let mut loaded = Loaded::default();
    let module = r#"package t

test_right if 1 + 1 == 2

test_wrong if 1 + 1 == 3

todo_test_later if false

test_cases[name] if {
	some name, wanted in {"two": 2, "three": 4}
	count(name) >= 3
	{"two": 2, "three": 3}[name] == wanted
}
"#;
    loaded
        .modules
        .push(("t_test.rego".to_owned(), module.to_owned()));
    let mut told = Vec::new();
    suite::run(&loaded, &Options::default(), &|_| true, &mut |tested| {
        told.push(tested);
    })
    .expect("the modules are right");
    let verdict = |name: &str| {
        told.iter()
            .find(|tested| tested.rule.name == name)
            .map(|tested| tested.verdict.clone())
    };
    assert_eq!(verdict("test_right"), Some(Verdict::Passed));
    assert_eq!(verdict("test_wrong"), Some(Verdict::Failed));
    assert_eq!(verdict("todo_test_later"), Some(Verdict::Skipped));
    let cases = told
        .iter()
        .find(|tested| tested.rule.name == "test_cases")
        .map(|tested| tested.cases.clone());
    assert_eq!(
        cases,
        Some(vec![("three".to_owned(), false), ("two".to_owned(), true)])
    );
}

#[test]
fn the_lines_that_were_evaluated_are_told() {
    let mut engine = Engine::new(Options {
        coverage: true,
        ..Options::default()
    });
    engine
        .add(
            "c.rego",
            "package c\n\nallow if {\n\tinput.x\n}\n\nother if {\n\tinput.y\n}\n",
        )
        .expect("it is Rego");
    engine
        .rule("data.c.allow", &Document::from(json!({"x": true})))
        .expect("it can be evaluated");
    let coverage = engine.coverage();
    assert!(coverage.files[0].covered.contains(&4), "{coverage:?}");
    assert!(coverage.files[0].not_covered.contains(&8), "{coverage:?}");
}

#[test]
fn laying_out_twice_changes_nothing_more() {
    let text = "package  p\nimport data.b\nimport data.a # first\n# about x\nx=1 { input.a==2 ;y }\n\n\nz := {\"a\":1,\n\"b\" : [1,2]}\n";
    let once = format::format("x.rego", text, Version::V0).expect("it is Rego");
    let twice = format::format("x.rego", &once, Version::V0).expect("it is Rego");
    assert_eq!(once, twice);
    assert!(
        once.contains("import data.a # first\nimport data.b\n"),
        "{once}"
    );
}

#[test]
fn a_body_that_says_only_true_becomes_the_value() {
    let lay_out = |text: &str, version| {
        let once = format::format("x.rego", text, version).expect("it is Rego");
        let twice = format::format("x.rego", &once, version).expect("what was laid out is Rego");
        assert_eq!(once, twice);
        once
    };
    let old = "package p\nallow { true }\nf(x) { true }\nt[x] { true }\ng(1)\nx { input.a } else { true }\n";
    assert_eq!(
        lay_out(old, Version::V0),
        "package p\n\nallow = true\n\nf(x) = true\n\nt[x]\n\ng(1)\n\nx {\n\tinput.a\n}\n\nelse = true\n"
    );
    let new = "package p\nallow if { true }\nf(x) if true\nx if { input.a } else if { true }\n";
    assert_eq!(
        lay_out(new, Version::V1),
        "package p\n\nallow := true\nf(x) := true\nx if input.a\n\nelse := true\n"
    );
}

#[test]
fn functions_are_what_opa_makes_of_them_at_the_edges() {
    let module = "package p\n\ndefault lib.if(_) := 42\n\nlib.if(x) := x if x < 10\n\n\
        either := [lib.if(1), lib.if(11)]\n\n\
        big := sprintf(\"%s %d\", [123456789123456789123, 123456789123456789123])\n\n\
        merged := net.cidr_merge([\"192.0.128.0\", \"192.0.129.0\"])\n";
    assert_eq!(value(module, "data.p.either"), json!([1, 42]));
    assert_eq!(
        value(module, "data.p.big"),
        json!("123456789123456789123 123456789123456789123")
    );
    assert_eq!(value(module, "data.p.merged"), json!(["192.0.128.0/23"]));
}

#[test]
fn a_variable_may_have_the_name_of_a_rule() {
    let module = r#"package p

port := 80

name := "rule"

over contains port if some port in [443, 8080]

places contains port if {
	some port
	["a", "b"][port]
}

pairs := [[name, port] | some name, port in {"x": 1}]

named[name] := port if some name, port in {"x": 2}

all if {
	every name in ["a"] {
		name != "rule"
		not startswith(name, "b")
	}
}

nested[port] := names if {
	some port in [1, 2]
	names := [name | some name in ["a"]; port > 1]
}

both := [name, port]

paths contains port if {
	some port
	walk({"a": 1}, [port, 1])
}

other := port if { some name in ["x"]; name == "y" } else := [port, name] if { some name in ["z"] }
"#;
    let paths = [
        "over", "places", "pairs", "named", "all", "nested", "both", "paths", "other",
    ];
    let said = paths.map(|rule| value(module, &format!("data.p.{rule}")));
    // What OPA says of the same module.
    let expected = [
        json!([443, 8080]),
        json!([0, 1]),
        json!([["x", 1]]),
        json!({"x": 2}),
        json!(true),
        json!({"1": [], "2": ["a"]}),
        json!(["rule", 80]),
        json!([["a"]]),
        json!([80, "z"]),
    ];
    assert_eq!(said, expected);
}

#[test]
fn functions_are_replaced_wherever_they_are_called_from() {
    let lib = "package lib\n\nclaims := io.jwt.decode(input.token)[1]\n\nsize(x) := count(x)\n\nlarge if size([1]) > 3\n\nkey := crypto.sha256(\"a\")\n";
    let tests = r#"package lib_test

import data.lib
import data.lib.size

decoded(_) := [{}, {"sub": "ada"}, ""]

test_claims if lib.claims.sub == "ada" with io.jwt.decode as decoded with input.token as "x"

test_value if lib.key == "k" with crypto.sha256 as "k"

test_function if lib.large with data.lib.size as 7

test_alias if { lib.large with lib.size as 7; size("four") == 4; lib.size([1]) == 9 with size as 9 }
"#;
    let mut engine = Engine::new(Options::default());
    engine.add("lib.rego", lib).expect("it is Rego");
    engine.add("lib_test.rego", tests).expect("it is Rego");
    for name in ["test_claims", "test_value", "test_function", "test_alias"] {
        let said = engine
            .rule(&format!("data.lib_test.{name}"), &Document::from(json!({})))
            .expect("it can be evaluated");
        assert!(said.is_some_and(|said| said.is_true()), "{name}");
    }
}
