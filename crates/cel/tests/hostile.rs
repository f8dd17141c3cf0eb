//! Whatever an expression or the data says: no panic, no hang, no more than the budget.

use std::time::{Duration, Instant};

use consort_cel::{Bindings, Budget, Decl, Env, EvalError, Type, Value};
use proptest::prelude::*;
use serde_json::json;

fn env() -> Env {
    let schema = json!({"type": "object", "properties": {
        "s": {"type": "string"}, "n": {"type": "integer"}, "f": {"type": "number"}, "b": {"type": "boolean"},
        "l": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "m": {"type": "object", "additionalProperties": {"type": "string"}},
        "any": {"x-kubernetes-int-or-string": true}}});
    let decl = Decl::from_schema(&schema, false)
        .expect("exposed")
        .named("self");
    Env::mutation()
        .with_decl("self", &decl)
        .with("x", Type::Dyn)
}

/// Compiles and runs, and says how long that took.
fn run(env: &Env, text: &str) -> (Result<String, String>, Duration) {
    let data = json!({"s": "aä/%", "n": -1, "f": 1.5, "b": true, "l": ["a", "b"], "m": {"k": "v"}, "any": "80%"});
    let schema = json!({"type": "object"});
    let decl = Decl::from_schema(&schema, false).expect("exposed");
    let start = Instant::now();
    let result = env
        .compile(text, None)
        .map_err(|issues| issues.to_string())
        .and_then(|program| {
            let bindings = Bindings::new()
                .with("self", Value::typed(&data, &decl))
                .with("x", Value::json(&data));
            let mut budget = Budget::per_object();
            let result = program
                .evaluate(&bindings, &mut budget)
                .map(|value| value.type_name().to_owned());
            assert!(budget.used() <= Budget::PER_OBJECT + Budget::PER_CALL || result.is_err());
            result.map_err(|error| error.to_string())
        });
    (result, start.elapsed())
}

/// Far more than anything here takes, far less than what a missing bound would.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn depth_is_bounded_before_it_can_overflow_the_stack() {
    let env = env();
    let nested = |open: &str, close: &str, count: usize| {
        format!("{}1{}", open.repeat(count), close.repeat(count))
    };
    let macros = (0..300).fold("1".to_owned(), |inner, _| format!("[1].map(a, {inner})"));
    let optional = (0..40).fold("optional.of(1)".to_owned(), |inner, _| {
        format!("({inner}).optMap(a, a)")
    });
    for text in [
        nested("(", ")", 20_000),
        nested("[", "]", 20_000),
        nested("{1:", "}", 20_000),
        nested("size(", ")", 20_000),
        nested("-(", ")", 20_000),
        "!".repeat(50_000) + "true",
        "1".to_owned() + &"+1".repeat(40_000),
        "x".to_owned() + &".a".repeat(40_000),
        "x".to_owned() + &"[0]".repeat(30_000),
        "true?1:".repeat(10_000) + "1",
        "x".to_owned() + &".map(a,a)".repeat(10_000),
        macros,
        optional,
        "a".repeat(200_000),
        "'".to_owned() + &"\\n".repeat(40_000) + "'",
        "(".repeat(90_000),
        "x ||".repeat(20_000) + "x",
    ] {
        let (_, took) = run(&env, &text);
        assert!(took < PATIENCE, "{took:?} for {}", &text[..40]);
    }
    // What is long but not deep is fine.
    let (result, _) = run(&env, &("true &&".repeat(10_000) + "true"));
    assert_eq!(result.as_deref(), Ok("bool"));
}

#[test]
fn values_that_grow_faster_than_they_cost_are_stopped() {
    let env = env();
    let doubling = |start: &str, step: &str| {
        let bound =
            |value: &str, inner: &str| format!("optional.of({value}).optMap(a, {inner}).value()");
        let inner = (0..30).fold("a".to_owned(), |inner, _| bound(step, &inner));
        bound(start, &inner)
    };
    for text in [
        doubling("[1, 2, 3, 4]", "a + a") + ".size()",
        doubling("'abcdefgh'", "a + a"),
        doubling("[1]", "[a, a]") + " == " + &doubling("[1]", "[a, a]"),
        "'%s'.format([".to_owned() + &doubling("[1]", "[a, a]") + "])",
        "lists.range(9000000000000)".to_owned(),
        "lists.range(100000).map(i, lists.range(100000)).flatten()".to_owned(),
        "lists.range(100000).map(i, string(i)).join('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')".to_owned(),
        "lists.range(3000).all(a, lists.range(3000).all(b, lists.range(3000).all(c, a + b + c >= 0)))".to_owned(),
        "sets.contains(lists.range(50000), lists.range(50000).map(i, dyn([i])))".to_owned(),
        "lists.range(20000).map(i, string(i)).sort().distinct().size()".to_owned(),
        "'a'.matches('((a{0,100}){0,100}){0,100}')".to_owned(),
        "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!'.matches('^(a+)+$')".to_owned(),
        "'%.1000000000f'.format([1.0])".to_owned(),
        "'a'.replace('', 'bbbbbbbbbbbbbbbbbbbbbbbbbb').replace('', 'cccccccccccccccccccccccccccccccccccc').replace('', 'dddddddddddddddddddddddddddddd').replace('', 'eeeeeeeeeeeeeeeeeeeeeeeeeeeee').replace('', 'ffffffffffffffffffffffffffff')".to_owned(),
    ] {
        let (result, took) = run(&env, &text);
    }
}
