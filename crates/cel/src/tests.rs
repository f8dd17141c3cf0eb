//! What expressions give, seen from outside.

use serde_json::json;

use crate::{Bindings, Budget, Decl, Env, EvalError, Type, Value};

fn run(env: &Env, text: &str, value: &serde_json::Value) -> Result<serde_json::Value, String> {
    let program = env
        .compile(text, None)
        .map_err(|issues| issues.to_string())?;
    let bindings = Bindings::new().with("x", Value::json(value));
    let result = program
        .evaluate(&bindings, &mut Budget::per_object())
        .map_err(|error| error.to_string())?;
    result.to_json().map_err(|error| error.to_string())
}

fn kubernetes() -> Env {
    Env::kubernetes().with("x", Type::Dyn)
}

#[test]
fn expressions_give_what_the_language_says() {
    let x = json!({"a": [1, 2, 3], "s": "héllo", "m": {"k": "v"}, "n": null});
    for (text, expected) in [
        ("1 + 2 * 3 - 4 / 2 % 3", json!(5)),
        ("x.a.map(i, i * 2).filter(i, i > 2)", json!([4, 6])),
        (
            "x.a.all(i, i > 0) && x.a.exists(i, i == 3) && x.a.exists_one(i, i == 2)",
            json!(true),
        ),
        ("size(x.s) == 5 && x.s.substring(1, 3) == 'él'", json!(true)),
        ("has(x.m.k) && !has(x.m.j)", json!(true)),
        (
            "x.?m.?j.orValue('none') + x.m.?k.optMap(v, v + '!').value()",
            json!("nonev!"),
        ),
        ("false && x.missing.field", json!(false)),
        ("x.missing.field || true", json!(true)),
        ("[1, 2, 3].transformMap(i, v, v > 1, v * 10)", json!(null)),
        (
            "{'b': 2, 'a': 1}.transformList(k, v, k + string(v))",
            json!(["b2", "a1"]),
        ),
        (
            "dyn(1) == 1.0 && dyn(1u) == 1 && {1: 'a'}[dyn(1.0)] == 'a'",
            json!(true),
        ),
        ("'%s is %d'.format([dyn('x'), 3])", json!("x is 3")),
        (
            "duration('1h').getMinutes() + timestamp('2024-02-29T12:00:00Z').getDayOfYear()",
            json!(119),
        ),
        (
            "timestamp('2024-01-01T00:00:00Z').getHours('America/New_York')",
            json!(19),
        ),
        (
            "quantity('1.5Gi').isGreaterThan(quantity('1500M')) && quantity('100m').add(1).compareTo(quantity('1.1')) == 0",
            json!(true),
        ),
        (
            "cidr('10.0.0.0/8').containsIP('10.1.2.3') && ip('::1').family() == 6",
            json!(true),
        ),
        (
            "url('https://u@h.example:80/p?q=1&q=2').getQuery()['q']",
            json!(["1", "2"]),
        ),
        ("semver('1.2.3').isLessThan(semver('1.10.0'))", json!(true)),
        (
            "format.dns1123Label().validate('a-b').hasValue()",
            json!(false),
        ),
        ("'abc 123 de 45'.findAll(r'\\d+')", json!(["123", "45"])),
        (
            "sets.contains([1, 2, 3], [3, 1]) && [3, 1, 2].sort() == [1, 2, 3]",
            json!(true),
        ),
        (
            "[1, 2, 3].sum() == 6 && [1, 5, 2].max() == 5 && [1, 2].isSorted() && ['a', 'b'].indexOf('b') == 1",
            json!(true),
        ),
        (
            "type(x.a) == list && type(1) == int && type(x.m) == map",
            json!(true),
        ),
    ] {
        let result = run(&kubernetes(), text, &x);
        if expected.is_null() {
            assert!(result.is_err(), "{text}: {result:?}");
            continue;
        }
        assert_eq!(result, Ok(expected), "{text}");
    }
}

#[test]
fn faults_are_told_in_the_words_of_cel_go() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}, "n": {"type": "integer"}}});
    let decl = Decl::from_schema(&schema, false)
        .expect("exposed")
        .named("selfType");
    let env = Env::kubernetes().with_decl("self", &decl);
    for (text, message) in [
        ("self.b == 'x'", "undefined field 'b'"),
        (
            "other == 'x'",
            "undeclared reference to 'other' (in container '')",
        ),
        (
            "self.a + 1",
            "found no matching overload for '_+_' applied to '(string, int)'",
        ),
        (
            "self.a.foo()",
            "undeclared reference to 'foo' (in container '')",
        ),
        (
            "self.a.contains(1)",
            "found no matching overload for 'contains' applied to 'string.(int)'",
        ),
        ("self.n.x", "type 'int' does not support field selection"),
        (
            "self.a &&",
            "Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}",
        ),
        ("[1, 'a']", "expected type 'int' but found 'string'"),
        ("self.a.matches('[')", "invalid matches argument"),
        ("self.n", "must evaluate to bool but got int"),
    ] {
        let issues = env.compile(text, Some(&Type::Bool)).expect_err(text);
        assert!(
            issues.0.iter().any(|issue| issue.message == message),
            "{text}: {issues}"
        );
    }
    let issues = env
        .compile("self.b == 'x'", None)
        .expect_err("no such field");
    assert_eq!(
        issues.to_string(),
        "ERROR: <input>:1:5: undefined field 'b'\n | self.b == 'x'\n | ....^"
    );
}

#[test]
fn typed_values_are_read_by_their_schema() {
    let schema = json!({"type": "object", "properties": {
        "when": {"type": "string", "format": "date-time"},
        "span": {"type": "string", "format": "duration"},
        "raw": {"type": "string", "format": "byte"},
        "port": {"x-kubernetes-int-or-string": true},
        "ratio": {"type": "number"},
        "namespace": {"type": "string"},
        "a.b": {"type": "string"},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {
            "type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}},
        "nothing": {"type": "string", "nullable": true}}});
    let decl = Decl::from_schema(&schema, false)
        .expect("exposed")
        .named("selfType");
    let object = json!({"when": "2024-01-02T03:04:05Z", "span": "90s", "raw": "aGk=", "port": "80%", "ratio": 2,
        "namespace": "ns", "a.b": "dotted", "set": ["a", "b"], "list": [{"k": "x", "v": 1}, {"k": "y", "v": 2}], "nothing": null});
    let old = json!({"set": ["b", "a"], "list": [{"k": "y", "v": 2}, {"k": "x", "v": 1}]});
    let env = Env::kubernetes()
        .with_decl("self", &decl)
        .with_decl("oldSelf", &decl);
    let bindings = Bindings::new()
        .with("self", Value::typed(&object, &decl))
        .with("oldSelf", Value::typed(&old, &decl));
    for text in [
        "self.when.getFullYear() == 2024 && self.span == duration('1m30s') && self.raw == b'hi'",
        "type(self.port) == string && self.ratio == 2.0",
        "self.__namespace__ == 'ns' && self.namespace == 'ns' && self.a__dot__b == 'dotted'",
        "self.set == oldSelf.set && self.list == oldSelf.list",
        "self.set + ['c', 'a'] == ['a', 'b', 'c']",
        "(self.list + oldSelf.list).size() == 2",
        "!has(self.nothing) && !has(oldSelf.when)",
    ] {
        let program = env
            .compile(text, Some(&Type::Bool))
            .unwrap_or_else(|issues| panic!("{text}: {issues}"));
        let result = program.evaluate(&bindings, &mut Budget::per_object());
        assert_eq!(
            result.as_ref().ok().and_then(Value::as_bool),
            Some(true),
            "{text}: {result:?}"
        );
    }
}

#[test]
fn evaluation_ends_when_its_cost_is_spent() {
    let list = json!((0..1000).collect::<Vec<i64>>());
    let env = kubernetes();
    let program = env
        .compile("x.all(a, x.all(b, x.all(c, a + b + c >= 0)))", None)
        .expect("compiles");
    let mut budget = Budget::per_object();
    let bindings = Bindings::new().with("x", Value::json(&list));
    assert_eq!(
        program.evaluate(&bindings, &mut budget).err(),
        Some(EvalError::CallLimit)
    );
    let mut small = Budget::new(1000);
    assert_eq!(
        program.evaluate(&bindings, &mut small).err(),
        Some(EvalError::Budget)
    );
    assert_eq!(small.remaining(), 0);
}

#[test]
fn policies_see_the_request_and_ask_the_authorizer() {
    use crate::libraries::authorizer::{Authorizer, Check, Decision, Target};
    use crate::{Memo, Variables};

    #[derive(Debug)]
    struct OnlyPods;
    impl Authorizer for OnlyPods {
        fn check(&self, check: &Check) -> Decision {
            let allowed =
                matches!(&check.target, Target::Resource { resource, .. } if resource == "pods");
            Decision {
                allowed,
                reason: format!("{} asked", check.verb),
                error: None,
            }
        }
    }

    let env = Env::admission(true, true);
    let mut variables = Variables::default();
    for (name, text) in [
        ("replicas", "object.spec.replicas"),
        ("twice", "variables.replicas * 2"),
        ("never", "1 / 0"),
    ] {
        let program = env
            .clone()
            .with_variables(&variables)
            .compile(text, None)
            .expect(text);
        variables.push(name, program);
    }
    let env = env.with_variables(&variables);
    let object = json!({"spec": {"replicas": 3}});
    let request = json!({"operation": "UPDATE", "userInfo": {"username": "alice", "groups": ["dev"]}, "options": {"kind": "UpdateOptions"}});
    let bindings = Bindings::new()
        .with("object", Value::json(&object))
        .with("oldObject", Value::Null)
        .with("request", Value::json(&request))
        .with("params", Value::Null)
        .with("authorizer", Value::authorizer(&OnlyPods))
        .with(
            "authorizer.requestResource",
            Value::authorizer_resource(&OnlyPods, "", "pods", "", "ns", "p"),
        );
    let evaluate = |text: &str| {
        let program = env
            .compile(text, None)
            .map_err(|issues| issues.to_string())?;
        let (mut memo, mut budget) = (Memo::default(), Budget::per_object());
        let value = program.evaluate_with(&bindings, &variables, &mut memo, &mut budget);
        let json = value
            .map_err(|error| error.to_string())?
            .to_json()
            .map_err(|error| error.to_string())?;
        Ok::<_, String>((json, budget.used()))
    };
    for (text, expected) in [
        (
            "variables.twice == 6 && variables.twice + variables.replicas == 9",
            json!(true),
        ),
        (
            "oldObject == null && request.userInfo.username == 'alice' && request.options.kind == 'UpdateOptions'",
            json!(true),
        ),
        (
            "authorizer.group('').resource('pods').namespace('a').check('get').allowed()",
            json!(true),
        ),
        (
            "authorizer.serviceAccount('a', 'b').path('/healthz').check('get').reason()",
            json!("get asked"),
        ),
        (
            "authorizer.requestResource.check('delete').allowed()",
            json!(true),
        ),
        (
            "Object{spec: Object.spec{replicas: variables.twice, ?paused: optional.none()}}",
            json!({"spec": {"replicas": 6}}),
        ),
        (
            "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b~c'), value: Object.x{y: 1}}]",
            json!([{"op": "add", "path": "/metadata/labels/a~1b~0c", "value": {"y": 1}}]),
        ),
    ] {
        assert_eq!(
            evaluate(text).map(|(value, _)| value),
            Ok(expected),
            "{text}"
        );
    }
    assert_eq!(
        evaluate("variables.never == 1"),
        Err("division by zero".to_owned())
    );
    // A variable's expression runs once, and what it costs is paid too.
    let (once, twice) = (
        evaluate("variables.twice == 6"),
        evaluate("variables.twice == 6 && variables.twice == 6"),
    );
    assert_eq!(once.map(|(_, cost)| cost), Ok(9));
    assert_eq!(twice.map(|(_, cost)| cost), Ok(12));
    let patches = env.compile(
        "[JSONPatch{op: 'remove', path: '/a'}]",
        Some(&Type::mutation_patches()),
    );
    assert!(patches.is_ok(), "{patches:?}");
    let misnamed = env
        .compile(
            "Object{spec: Object.status{}}",
            Some(&Type::mutation_object()),
        )
        .expect("compiles");
    let value = misnamed
        .evaluate(&bindings, &mut Budget::per_object())
        .expect("evaluates");
    assert!(value.check_type_names().is_err());
}

#[test]
fn costs_are_those_of_upstream() {
    let text = |max: i64| json!({"type": "string", "maxLength": max});
    let schema = json!({"type": "object", "properties": {
        "s": {"type": "string"}, "short": text(10), "kind": {"type": "string", "enum": ["One", "Three"]}, "n": {"type": "integer"},
        "l": {"type": "array", "items": {"type": "string"}},
        "few": {"type": "array", "maxItems": 5, "items": text(10)},
        "m": {"type": "object", "additionalProperties": {"type": "integer"}},
        "o": {"type": "object", "properties": {"a": {"type": "string"}}}}});
    let decl = Decl::from_schema(&schema, true)
        .expect("exposed")
        .named("selfType");
    let object = json!({"s": "Rook takes 👑", "short": "abc", "kind": "One", "n": 7, "l": ["a", "b", "c"], "few": ["x", "y"],
        "m": {"k": 1}, "o": {"a": "v"}});
    let env = Env::kubernetes()
        .with_decl("self", &decl)
        .with_decl("oldSelf", &decl);
    for (expression, estimated, paid) in [
        ("self.n == 7", 2, 3),
        ("self.s == oldSelf.s", 314_577, 6),
        ("self.s.startsWith('Rook')", 3, 3),
        ("self.s.matches('^[^0-9]*$')", 943_721, 8),
        ("self.short.contains('b')", 6, 3),
        ("self.kind in ['One', 'Two']", 14, 2),
        ("type(self.n) == int", 4, 4),
        ("has(self.o.a)", 2, 2),
        ("self.few.all(x, x != 'z')", 28, 13),
        (
            "self.l.all(x, x == 'a' || x == 'b' || x == 'c')",
            9_437_178,
            24,
        ),
        ("self.few.map(x, x + '!').size() == 2", 105, 33),
        ("self.n > 3 ? self.short : self.s", 5, 4),
        ("self.o.?a.orValue('none') == 'v'", 5, 4),
        ("self.m.k < 3 && self.m['k'] > 0", 8, 8),
        (
            "quantity('50k').add(quantity('20')) == quantity('50.02k')",
            5,
            5,
        ),
        (
            "{'a': self.n}.transformMap(k, v, v + 1) == {'a': 8}",
            99,
            39,
        ),
    ] {
        let program = env
            .compile(expression, None)
            .unwrap_or_else(|issues| panic!("{expression}: {issues}"));
        let mut budget = Budget::per_object();
        let bindings = Bindings::new()
            .with("self", Value::typed(&object, &decl))
            .with("oldSelf", Value::typed(&object, &decl));
        program
            .evaluate(&bindings, &mut budget)
            .unwrap_or_else(|error| panic!("{expression}: {error}"));
        assert_eq!(
            (program.estimate().max, budget.used()),
            (estimated, paid),
            "{expression}"
        );
    }
}

#[test]
fn failures_are_told_in_the_words_of_upstream() {
    let x = json!({"a": [1], "s": "text", "n": 5});
    for (text, message) in [
        ("x.missing", "no such key: missing"),
        ("x.a[3]", "index out of bounds: 3"),
        ("x.n + 'a'", "no such overload"),
        ("9223372036854775807 + x.n", "integer overflow"),
        ("x.n / 0", "division by zero"),
        ("x.n % 0", "modulus by zero"),
        (
            "int('x' + x.s)",
            "type conversion error from 'string' to 'int'",
        ),
        (
            "quantity('10Mo')",
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        ("quantity('10Mm')", "unable to parse quantity's suffix"),
        (
            "quantity('1.5').asInteger()",
            "cannot convert value to integer",
        ),
        (
            "ip('1.2.3')",
            "IP Address \"1.2.3\" parse error during conversion from string: ParseAddr(\"1.2.3\"): IPv4 address too short",
        ),
        (
            "ip('::ffff:1.2.3.4')",
            "IPv4-mapped IPv6 address \"::ffff:1.2.3.4\" is not allowed",
        ),
        (
            "url('a b')",
            "URL parse error during conversion from string: parse \"a b\": invalid URI for request",
        ),
        ("semver('1.2')", "No Major.Minor.Patch elements found"),
        ("x.s.substring(9)", "index out of range: 9"),
        ("x.s.charAt(-1)", "index out of range: -1"),
        ("optional.none().value()", "optional.none() dereference"),
        ("[1, 2].slice(0, 3)", "cannot slice(0, 3), list is length 2"),
        ("dyn([]).max()", "max called on empty list"),
        (
            "{'a': 1}.transformMapEntry(k, v, {'b': 1, k: v}).all(k, x[k] > 0)",
            "no such key: b",
        ),
        (
            "['a', 'a'].transformMapEntry(i, v, {v: i})",
            "insert failed: key a already exists",
        ),
        (
            "x.s.matches(x.s + '(')",
            "error parsing regexp: missing closing ): `text(`",
        ),
    ] {
        assert_eq!(
            run(&kubernetes(), text, &x),
            Err(message.to_owned()),
            "{text}"
        );
    }
}
