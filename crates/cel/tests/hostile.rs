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
    // What is just not too deep runs.
    let macros = (0..50).fold("1".to_owned(), |inner, _| format!("[1].map(a, {inner})"));
    for text in [
        nested("[", "]", 240),
        nested("{1:", "}", 240),
        nested("dyn(", ")", 240),
        "1".to_owned() + &"+1".repeat(300),
        "true?1:".repeat(240) + "1",
        macros,
    ] {
        let (result, _) = run(&env, &text);
        assert!(result.is_ok(), "{result:?} for {}", &text[..40]);
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
        assert!(took < PATIENCE, "{took:?} for {}: {result:?}", &text[..60.min(text.len())]);
    }
}

/// Parts that make up expressions, good and bad.
const PARTS: &str = r#"self x . .s .n .l .m .any ( ) [ ] { } , : ? .? [? + - * / % == != < >= && || ! in 1 0 2u 1.5 -1
9223372036854775807 'a' '' b'\xff' r'\d+' '1h' '2024-01-01T00:00:00Z' '1.5Gi' '::1/64' 'http://a' '1.2.3' true null
has( .all(i, .map(i, .filter(i, .exists_one(i, .transformMap(i,j, .transformList(i,j, .sortBy(i, .optMap(i, i j size(
string( int( double( duration( timestamp( .getHours('+25:99') .matches( .find( .replace( .split( .substring( .format(
.join( .charAt( .indexOf( .lastIndexOf( quantity( ip( cidr( url( semver( .isLessThan( .add( .containsIP( optional.of(
optional.none() .orValue( .value() format.named( .validate( sets.contains( .sum() .max() .sort() .flatten( .slice(
.distinct() lists.range( Object{ Object.spec{ JSONPatch{ op: type( dyn( //c @ ` ' """ \"#;

fn expression() -> impl Strategy<Value = String> {
    let parts: Vec<&'static str> = PARTS.split_whitespace().collect();
    prop::collection::vec(
        (
            prop::sample::select(parts),
            prop::sample::select(vec!["", " ", "\n"]),
        ),
        0..24,
    )
    .prop_map(|parts| {
        parts
            .into_iter()
            .flat_map(|(part, blank)| [part, blank])
            .collect()
    })
}

fn one_of(words: &'static str) -> impl Strategy<Value = &'static str> + Clone {
    prop::sample::select(words.split_whitespace().collect::<Vec<_>>())
}

/// Well-formed expressions of any types.
fn formed() -> impl Strategy<Value = String> {
    let leaf = one_of(
        "x x.s x.n x.l x.m x.f x.missing 1 -7 3u 2.5 'a' 'aä' b'x' true null [] {} [1,2] {'a':1} self.l self.any duration('90s')
        timestamp(0) quantity('1k') optional.of(x) 9223372036854775807 -9223372036854775808 18446744073709551615u 1e308 int",
    )
    .prop_map(str::to_owned);
    let operators = one_of("+ - * / % == != < <= > >= && || in");
    let calls = one_of(
        "size string int uint double bytes bool type dyn duration timestamp quantity isIP ip cidr url isURL semver optional.of
        optional.ofNonZeroValue strings.quote lists.range",
    );
    let members = one_of(
        "contains startsWith matches find findAll indexOf lastIndexOf split charAt substring join format includes orValue or
        isGreaterThan add sub slice flatten replace containsCIDR",
    );
    let bare = one_of(
        "size sum max min isSorted sort distinct reverse first last unwrapOpt trim lowerAscii join hasValue value getHours
        getDayOfYear asInteger sign flatten",
    );
    let folds = one_of("all exists exists_one map filter sortBy optMap optFlatMap");
    let pairs = one_of("all exists transformList transformMap transformMapEntry");
    leaf.prop_recursive(5, 40, 3, move |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            (two.clone(), operators.clone())
                .prop_map(|((a, b), f)| format!("dyn({a}) {f} dyn({b})")),
            (inner.clone(), calls.clone()).prop_map(|(a, f)| format!("{f}(dyn({a}))")),
            (two.clone(), members.clone())
                .prop_map(|((a, b), f)| format!("dyn({a}).{f}(dyn({b}))")),
            (inner.clone(), bare.clone()).prop_map(|(a, f)| format!("dyn({a}).{f}()")),
            (two.clone(), folds.clone()).prop_map(|((a, b), f)| format!(
                "dyn({a}).{f}(i, dyn({b}) == dyn(i) || dyn(i) == x)"
            )),
            (two.clone(), pairs.clone()).prop_map(|((a, b), f)| format!(
                "dyn({a}).{f}(i, j, dyn({{dyn(i): dyn(j), dyn({b}): 1}}))"
            )),
            (two.clone(), inner.clone())
                .prop_map(|((a, b), c)| format!("(dyn({a}) ? dyn({b}) : dyn({c}))")),
            two.clone().prop_map(|(a, b)| format!("dyn({a})[dyn({b})]")),
            two.clone()
                .prop_map(|(a, b)| format!("dyn({a})[?dyn({b})].?k")),
            two.clone()
                .prop_map(|(a, b)| format!("[dyn({a}), dyn({b})]")),
            two.prop_map(|(a, b)| format!(
                "Object{{spec: dyn({a}), metadata: Object.metadata{{name: dyn({b})}}}}"
            )),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_answered(text in "\\PC{0,60}") {
        let (_, took) = run(&env(), &text);
        prop_assert!(took < PATIENCE);
    }

    #[test]
    fn any_mixture_of_parts_is_answered(text in expression()) {
        let (_, took) = run(&env(), &text);
        prop_assert!(took < PATIENCE);
    }

    #[test]
    fn any_well_formed_expression_runs_within_its_budget(text in formed()) {
        let (_, took) = run(&env(), &text);
        prop_assert!(took < PATIENCE);
    }

    #[test]
    fn any_pattern_is_answered(
        pattern in "[a-c\\\\\\[\\]{}()*+?|^$.,0-9dwsbQEpLx&~-]{0,24}",
        text in "[a-c0-9 ]{0,20}",
    ) {
        let env = Env::kubernetes().with("p", Type::String).with("t", Type::String);
        let program = env.compile("t.matches(p)", None).expect("compiles");
        let bindings = Bindings::new().with("p", Value::text(&pattern)).with("t", Value::text(&text));
        let result = program.evaluate(&bindings, &mut Budget::per_object());
        prop_assert!(!matches!(result, Err(EvalError::CallLimit | EvalError::Budget)));
    }

    #[test]
    fn any_json_fits_or_fails(name in "[a-z_./-]{1,12}", text in ".{0,12}", number in any::<f64>()) {
        let schema = json!({"type": "object", "properties": {
            name.as_str(): {"type": "string", "format": "date-time"},
            "d": {"type": "string", "format": "duration"},
            "b": {"type": "string", "format": "byte"},
            "i": {"type": "integer"},
        }});
        let decl = Decl::from_schema(&schema, true).expect("exposed").named("self");
        let env = Env::kubernetes().with_decl("self", &decl);
        let object = json!({name.as_str(): text, "d": text, "b": text, "i": number});
        for expression in ["self == self", "self.d == duration('1s')", "self.b.size() > 0", "self.i > 0"] {
            if let Ok(program) = env.compile(expression, None) {
                let bindings = Bindings::new().with("self", Value::typed(&object, &decl));
                let _ = program.evaluate(&bindings, &mut Budget::per_object());
            }
        }
    }
}
