//! Expressions: parsed, checked, priced and run.

use std::sync::OnceLock;

use arbitrary::{Result, Unstructured};
use consort_cel::libraries::authorizer::{Authorizer, Check, Decision};
use consort_cel::{Bindings, Budget, Decl, Env, Type, Value as CelValue};
use serde_json::{Value, json};

use super::Target;
use crate::{generate, seeds};

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "cel",
        run: text,
        seeds: seeds::expressions,
        choices: false,
    },
    Target {
        name: "cel_made",
        run: |bytes| {
            let _ = made(&mut Unstructured::new(bytes));
        },
        seeds: seeds::choices,
        choices: true,
    },
];

#[derive(Debug)]
struct Yes;

impl Authorizer for Yes {
    fn check(&self, check: &Check) -> Decision {
        Decision {
            allowed: check.verb.len().is_multiple_of(2),
            ..Decision::default()
        }
    }
}

struct World {
    decl: Decl,
    object: Value,
    standard: Env,
    mutation: Env,
}

/// The variable `self` with a member of each type, its sizes bounded; the object reaches the bounds.
fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let text = json!({"type": "string", "maxLength": 40});
        let props = json!({"type": "object", "required": ["a"], "properties": {
            "a": {"type": "integer"},
            "b": {"type": "boolean"},
            "d": {"type": "number"},
            "s": text,
            "u": {"type": "string", "maxLength": 300},
            "when": {"type": "string", "format": "date-time"},
            "long": {"type": "string", "format": "duration"},
            "bytes": {"type": "string", "format": "byte", "maxLength": 40},
            "either": {"x-kubernetes-int-or-string": true},
            "list": {"type": "array", "maxItems": 10, "items": {"type": "integer"}},
            "texts": {"type": "array", "maxItems": 10, "items": text},
            "nested": {"type": "array", "maxItems": 5, "items": {"type": "array", "maxItems": 5, "items": text}},
            "map": {"type": "object", "maxProperties": 6, "additionalProperties": text},
            "items": {"type": "array", "maxItems": 6, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["key"],
                "items": {"type": "object", "required": ["key"], "properties": {"key": text, "value": {"type": "integer"}}}},
            "set": {"type": "array", "maxItems": 6, "x-kubernetes-list-type": "set", "items": text},
            "spec": {"type": "object", "properties": {"a": {"type": "integer"}, "name": text, "in": text}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }});
        let object = json!({
            "a": 3, "b": true, "d": 1.5, "s": "a.b-c/x:1", "u": "https://u@h:80/p?q=1#f", "when": "2026-01-02T03:04:05Z",
            "long": "1h30m", "bytes": "YWJj", "either": "50%", "list": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
            "texts": ["a", "b", "10.0.0.1", "1Gi", "1.2.3", "", "é", "a", "z", "0123456789012345678901234567890123456789"],
            "nested": [["a", "b"], [], ["c"]], "map": {"a": "1", "b": "", "x-y": "z"},
            "items": [{"key": "a", "value": 1}, {"key": "b"}], "set": ["a", "b"],
            "spec": {"a": 1, "name": "n", "in": "q"}, "free": {"x": [1, {"y": null}]},
        });
        let decl = Decl::from_schema(&props, false).expect("an exposed schema").named("self");
        let variables = |env: Env| {
            env.with_decl("self", &decl)
                .with_decl("oldSelf", &decl)
                .with("dyn", Type::Dyn)
                .with("authorizer", Type::AUTHORIZER)
        };
        World {
            standard: variables(Env::kubernetes()),
            mutation: variables(Env::mutation()),
            object,
            decl,
        }
    })
}

fn text(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        evaluate(text);
    }
}

fn evaluate(text: &str) {
    let world = world();
    let authorizer = Yes;
    for env in [&world.standard, &world.mutation] {
        let program = match env.compile(text, None) {
            Ok(program) => program,
            Err(issues) => {
                let _ = issues.to_string();
                continue;
            }
        };
        let estimate = program.estimate();
        assert!(estimate.min <= estimate.max, "{text}");
        let free = json!({"x": {"y": [1, "a", null, 2.5]}, "list": [[], [[]]], "s": "t"});
        let bindings = Bindings::new()
            .with("self", CelValue::typed(&world.object, &world.decl))
            .with("oldSelf", CelValue::typed(&world.object, &world.decl))
            .with("dyn", CelValue::json(&free))
            .with("authorizer", CelValue::authorizer(&authorizer));
        let mut budget = Budget::per_object();
        let answer = program.evaluate(&bindings, &mut budget);
        assert!(
            answer.is_err() || budget.used() <= Budget::PER_CALL,
            "{text} cost {}",
            budget.used()
        );
        // Members of what has no type are estimated as free, upstream's way; each costs one unit.
        assert!(
            budget.used() <= estimate.max.saturating_mul(3).saturating_add(10),
            "{text} was estimated to cost at most {} and cost {}",
            estimate.max,
            budget.used()
        );
        if let Ok(value) = answer {
            let _ = (value.to_json(), value.type_name().len(), value.as_bool());
            // The same over the same is the same, and costs the same.
            let mut second = Budget::per_object();
            let _ = program.evaluate(&bindings, &mut second);
            assert_eq!(second.used(), budget.used(), "{text}");
        }
    }
}

fn made(u: &mut Unstructured<'_>) -> Result<()> {
    let mut text = String::new();
    expression(u, &mut text, 0)?;
    evaluate(&text);
    Ok(())
}

const LEAVES: [&str; 46] = [
    "self",
    "self.a",
    "self.b",
    "self.d",
    "self.s",
    "self.u",
    "self.when",
    "self.long",
    "self.bytes",
    "self.either",
    "self.list",
    "self.texts",
    "self.nested",
    "self.map",
    "self.items",
    "self.set",
    "self.spec",
    "self.spec.name",
    "self.spec.__in__",
    "self.free",
    "oldSelf.s",
    "oldSelf.list",
    "dyn",
    "dyn.x",
    "authorizer",
    "x",
    "y",
    "0",
    "1",
    "-1",
    "2u",
    "9223372036854775807",
    "1.5",
    "0x1F",
    "''",
    "'a'",
    "'10.0.0.0/8'",
    "'^a+$'",
    "b'ab'",
    "r'\\d'",
    "true",
    "null",
    "[]",
    "{}",
    "[1, 2]",
    "{'a': 1}",
];

const METHODS: [&str; 66] = [
    "size",
    "startsWith",
    "endsWith",
    "contains",
    "matches",
    "find",
    "findAll",
    "charAt",
    "indexOf",
    "lastIndexOf",
    "lowerAscii",
    "upperAscii",
    "replace",
    "split",
    "join",
    "substring",
    "trim",
    "reverse",
    "isSorted",
    "sum",
    "min",
    "max",
    "getHost",
    "getPort",
    "getQuery",
    "getHostname",
    "getEscapedPath",
    "getScheme",
    "family",
    "isLoopback",
    "containsIP",
    "containsCIDR",
    "masked",
    "prefixLength",
    "ip",
    "add",
    "sub",
    "isGreaterThan",
    "isLessThan",
    "compareTo",
    "asInteger",
    "asApproximateFloat",
    "isInteger",
    "sign",
    "major",
    "minor",
    "patch",
    "getFullYear",
    "getHours",
    "getSeconds",
    "getMilliseconds",
    "getDayOfWeek",
    "format",
    "validate",
    "group",
    "resource",
    "path",
    "check",
    "allowed",
    "value",
    "hasValue",
    "orValue",
    "distinct",
    "flatten",
    "slice",
    "first",
];

const FUNCTIONS: [&str; 36] = [
    "size",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "bool",
    "type",
    "dyn",
    "timestamp",
    "duration",
    "quantity",
    "isQuantity",
    "url",
    "isURL",
    "ip",
    "isIP",
    "cidr",
    "isCIDR",
    "semver",
    "isSemver",
    "sets.contains",
    "sets.equivalent",
    "sets.intersects",
    "has",
    "optional.of",
    "optional.none",
    "optional.ofNonZeroValue",
    "ip.isCanonical",
    "format.dns1123Label",
    "format.named",
    "lists.range",
    "math.greatest",
    "jsonpatch.escapeKey",
    "Object",
    "JSONPatch",
];

const MACROS: [&str; 10] = [
    "all",
    "exists",
    "exists_one",
    "map",
    "filter",
    "existsOne",
    "transformList",
    "transformMap",
    "sortBy",
    "transformMapEntry",
];

const OPERATORS: [&str; 15] = [
    "+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "in", "=",
];

fn expression(u: &mut Unstructured<'_>, out: &mut String, depth: usize) -> Result<()> {
    if depth > 6 || out.len() > 4000 || u.is_empty() {
        out.push_str(u.choose(&LEAVES).unwrap_or(&"1"));
        return Ok(());
    }
    match u.int_in_range(0..=15u8)? {
        0..=4 => out.push_str(u.choose(&LEAVES)?),
        5 | 6 => {
            out.push('(');
            expression(u, out, depth + 1)?;
            out.push(' ');
            out.push_str(u.choose(&OPERATORS)?);
            out.push(' ');
            expression(u, out, depth + 1)?;
            out.push(')');
        }
        7 | 8 => {
            expression(u, out, depth + 1)?;
            out.push('.');
            out.push_str(u.choose(&METHODS)?);
            arguments(u, out, depth, 2)?;
        }
        9 => {
            out.push_str(u.choose(&FUNCTIONS)?);
            arguments(u, out, depth, 2)?;
        }
        10 | 11 => {
            expression(u, out, depth + 1)?;
            out.push('.');
            out.push_str(u.choose(&MACROS)?);
            let names = u.int_in_range(1..=2u8)?;
            out.push_str(if names == 1 { "(x, " } else { "(x, y, " });
            expression(u, out, depth + 1)?;
            if u.ratio(1u8, 4u8)? {
                out.push_str(", ");
                expression(u, out, depth + 1)?;
            }
            out.push(')');
        }
        12 => {
            expression(u, out, depth + 1)?;
            out.push_str(if u.ratio(1u8, 4u8)? { "[?" } else { "[" });
            expression(u, out, depth + 1)?;
            out.push(']');
        }
        13 => {
            expression(u, out, depth + 1)?;
            out.push_str(" ? ");
            expression(u, out, depth + 1)?;
            out.push_str(" : ");
            expression(u, out, depth + 1)?;
        }
        14 => {
            out.push('[');
            for _ in 0..u.int_in_range(0..=3u8)? {
                expression(u, out, depth + 1)?;
                out.push(',');
            }
            out.push(']');
        }
        _ => {
            out.push_str(u.choose(&[
                "!",
                "-",
                "has(self.map.a) && ",
                "cel.bind(x, self.s, x) + ",
            ])?);
            if u.ratio(1u8, 3u8)? {
                out.push('\'');
                let text = generate::text(u)?;
                out.extend(
                    text.chars()
                        .filter(|c| !matches!(c, '\'' | '\\' | '\n' | '\r')),
                );
                out.push('\'');
            } else {
                expression(u, out, depth + 1)?;
            }
        }
    }
    Ok(())
}

fn arguments(u: &mut Unstructured<'_>, out: &mut String, depth: usize, most: u8) -> Result<()> {
    out.push('(');
    for at in 0..u.int_in_range(0..=most)? {
        if at > 0 {
            out.push_str(", ");
        }
        expression(u, out, depth + 1)?;
    }
    out.push(')');
    Ok(())
}
