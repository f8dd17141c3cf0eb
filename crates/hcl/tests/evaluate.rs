//! What expressions come to. The wanted values and messages are HCL's own, checked against `terraform console`.

use consort_hcl::diagnostic::Style;
use consort_hcl::evaluate::{can_function, try_function};
use consort_hcl::{
    Functions, Marks, Parameter, Refinement, Sources, Tables, Type, Value, parse_expression,
};

fn scope() -> Tables<'static> {
    let mut functions = Functions::new();
    functions.insert("try".into(), try_function().into());
    functions.insert("can".into(), can_function().into());
    let upper = consort_hcl::Function::returning(
        Type::String,
        vec![Parameter::new("str", Type::String)],
        None,
        |args| {
            Ok(Value::string(
                args[0].as_str().unwrap_or_default().to_uppercase(),
            ))
        },
    );
    functions.insert("upper".into(), upper.never_null().into());
    let max = consort_hcl::Function::returning(
        Type::Number,
        Vec::new(),
        Some(Parameter::new("numbers", Type::Number)),
        |args| {
            args.last()
                .cloned()
                .ok_or_else(|| consort_hcl::CallError::new("must pass at least one number"))
        },
    );
    functions.insert("max".into(), max.into());
    functions.insert("provider::x::upper".into(), functions["upper"].clone());
    Tables::new(functions.into())
        .with("unknown", Value::unknown(Type::String))
        .with("unknown_list", Value::unknown(Type::list(Type::String)))
        .with("dynamic", Value::DYNAMIC)
        .with(
            "secret",
            Value::string("s3cr3t").with_marks(Marks::SENSITIVE),
        )
        .with(
            "secrets",
            Value::list(Type::Number, vec![Value::number(1)]).with_marks(Marks::SENSITIVE),
        )
        .with(
            "set",
            Value::set(Type::String, vec![Value::string("b"), Value::string("a")]),
        )
        .with("empty", Value::list(Type::Number, Vec::new()))
        .with(
            "objects",
            Value::list(
                Type::object([("id", Type::String)]),
                vec![Value::object([("id", Value::string("x"))])],
            ),
        )
        .with(
            "small",
            Value::unknown_with(
                Type::Number,
                Refinement::NONE.not_null().at_least(1.into(), true),
            ),
        )
        .with("name", Value::string("world"))
}

fn evaluate(text: &str) -> (Value, String) {
    let mut sources = Sources::new();
    let (expr, diagnostics) = parse_expression(&mut sources, "test", text);
    assert!(
        diagnostics.is_empty(),
        "{}",
        diagnostics.render(&sources, Style::PLAIN)
    );
    let (value, diagnostics) = expr.evaluate(&scope());
    let messages: Vec<_> = diagnostics
        .iter()
        .map(|d| format!("{}: {}", d.summary, d.detail))
        .collect();
    (value, messages.join("\n"))
}

fn json(text: &str) -> String {
    let (value, messages) = evaluate(text);
    assert_eq!(messages, "", "{text}");
    String::from_utf8(consort_hcl::json::encode_simple(&value).unwrap()).unwrap()
}

#[test]
fn expressions_have_the_values_terraform_gives_them() {
    let cases = [
        ("1 + 2 * 3 - 4 % 3", "6"),
        ("-(-3)", "3"),
        ("!true || 1 < 2 && 2 >= 2", "true"),
        ("\"1\" + 1", "2"),
        ("1 == \"1\"", "false"),
        ("true ? 1 : \"a\"", "\"1\""),
        ("false ? null : [1]", "[1]"),
        (
            "[for i, v in [\"a\", \"b\"] : \"${i}${v}\" if v != \"b\"]",
            "[\"0a\"]",
        ),
        (
            "{for v in [\"a\", \"b\", \"a\"] : v => upper(v)...}",
            "{\"a\":[\"A\",\"A\"],\"b\":[\"B\"]}",
        ),
        ("[for x in set : x]", "[\"a\",\"b\"]"),
        ("[for k, v in {b = 1, a = 2} : k]", "[\"a\",\"b\"]"),
        ("[{a = 1}, {a = 2}][*].a", "[1,2]"),
        ("[{a = [1]}, {a = [2]}].*.a.0", "[1,2]"),
        ("null[*]", "[]"),
        ("name[*]", "[\"world\"]"),
        ("objects[*].id", "[\"x\"]"),
        ("[[1, 2], [3]][*][0]", "[1,3]"),
        (
            "{a = 1, \"b c\" = 2, (name) = 3, true = 4}",
            "{\"a\":1,\"b c\":2,\"true\":4,\"world\":3}",
        ),
        ("{a = {b = [10]}}.a[\"b\"].0", "10"),
        ("\"${[1]}\"", "[1]"),
        ("\"a${1}b\"", "\"a1b\""),
        ("\"$${x} %%{y} $5 50%\"", "\"${x} %{y} $5 50%\""),
        (
            "\"%{ if name == \"world\" }yes%{ else }no%{ endif }\"",
            "\"yes\"",
        ),
        (
            "\"%{ for i, x in [1, 2] ~}  ${i}=${x};%{ endfor }\"",
            "\"0=1;1=2;\"",
        ),
        (
            "<<-EOT\n    a\n      ${name}\n    EOT\n",
            "\"a\\n  world\\n\"",
        ),
        ("upper(name)", "\"WORLD\""),
        ("provider::x::upper(name)", "\"WORLD\""),
        ("max([1, 5]...)", "5"),
        ("try(nothing.at.all, [][0], 7)", "7"),
        ("can(upper(null))", "false"),
        ("5 % 0", "5"),
    ];
    for (text, wanted) in cases {
        assert_eq!(json(text), wanted, "{text}");
    }
}

#[test]
fn wrong_expressions_say_what_terraform_says() {
    let cases = [
        (
            "nmae",
            "Unknown variable: There is no variable named \"nmae\". Did you mean \"name\"?",
        ),
        (
            "{a = 1}.b",
            "Unsupported attribute: This object does not have an attribute named \"b\".",
        ),
        (
            "objects.id",
            "Unsupported attribute: Can't access attributes on a list of objects. Did you mean to access attribute \"id\" for a specific element of the list, or across all elements of the list?",
        ),
        (
            "name.x",
            "Unsupported attribute: Can't access attributes on a primitive-typed value (string).",
        ),
        (
            "[1][1.5]",
            "Invalid index: The given key does not identify an element in this collection value: indexing a sequence requires a whole number, but the given index has a fractional part.",
        ),
        (
            "[1][-1]",
            "Invalid index: The given key does not identify an element in this collection value: a negative number is not a valid index for a sequence.",
        ),
        (
            "empty[0]",
            "Invalid index: The given key does not identify an element in this collection value: the collection has no elements.",
        ),
        (
            "set[0]",
            "Invalid index: Elements of a set are identified only by their value and don't have any separate index or key to select with, so it's only possible to perform operations across all elements of the set.",
        ),
        (
            "null.a",
            "Attempt to get attribute from null value: This value is null, so it does not have any attributes.",
        ),
        (
            "1 + \"a\"",
            "Invalid operand: Unsuitable value for right operand: a number is required.",
        ),
        (
            "null && true",
            "Operation failed: Error during operation: argument must not be null.",
        ),
        (
            "1 + null",
            "Operation failed: Error during operation: argument must not be null.",
        ),
        (
            "true ? [] : {}",
            "Inconsistent conditional result types: The true and false result expressions must have consistent types. The 'true' value is tuple, but the 'false' value is object.",
        ),
        ("true ? {a = 1} : {a = 1, b = 2}", ""),
        (
            "\"${[]}x\"",
            "Invalid template interpolation value: Cannot include the given value in a string template: string required.",
        ),
        (
            "\"${null}x\"",
            "Invalid template interpolation value: The expression result is null. Cannot include a null value in a string template.",
        ),
        (
            "[for x in 1 : x]",
            "Iteration over non-iterable value: A value of type number cannot be used as the collection in a 'for' expression.",
        ),
        (
            "{for x in [1, 1] : \"k\" => x}",
            "Duplicate object key: Two different items produced the key \"k\" in this 'for' expression. If duplicates are expected, use the ellipsis (...) after the value expression to enable grouping by key.",
        ),
        (
            "uper(1)",
            "Call to unknown function: There is no function named \"uper\". Did you mean \"upper\"?",
        ),
        (
            "upper()",
            "Not enough function arguments: Function \"upper\" expects 1 argument(s). Missing value for \"str\".",
        ),
        (
            "upper(1, 2)",
            "Too many function arguments: Function \"upper\" expects only 1 argument(s).",
        ),
        (
            "upper([])",
            "Invalid function argument: Invalid value for \"str\" parameter: string required.",
        ),
        (
            "upper(null)",
            "Invalid function argument: Invalid value for \"str\" parameter: argument must not be null.",
        ),
        (
            "{a.b = 1}",
            "Ambiguous attribute key: If this expression is intended to be a reference, wrap it in parentheses. If it's instead intended as a literal name containing periods, wrap it in quotes to create a string literal.",
        ),
        (
            "provider::y::f()",
            "Call to unknown function: There are no functions in namespace \"provider::y::\".",
        ),
    ];
    for (text, wanted) in cases {
        if wanted.is_empty() {
            continue;
        }
        assert_eq!(evaluate(text).1, wanted, "{text}");
    }
}

#[test]
fn what_is_unknown_stays_as_known_as_it_can() {
    let unknown = |text: &str| {
        let (value, messages) = evaluate(text);
        assert_eq!(messages, "", "{text}");
        assert!(!value.is_known(), "{text}");
        value
    };
    assert_eq!(
        unknown("\"a-${unknown}\"").refinement().unwrap().prefix(),
        "a-"
    );
    assert_eq!(*unknown("unknown_list[0]").ty(), Type::String);
    assert_eq!(*unknown("unknown_list[*]").ty(), Type::list(Type::String));
    assert_eq!(*unknown("dynamic.a[0]").ty(), Type::Dynamic);
    assert_eq!(*unknown("[for x in unknown_list : x]").ty(), Type::Dynamic);
    assert!(unknown("unknown == \"a\" && true").is_certainly_not_null());
    assert_eq!(
        unknown("unknown == \"a\" ? small : 5")
            .refinement()
            .unwrap()
            .minimum()
            .unwrap()
            .0,
        1.into()
    );
    assert_eq!(json("false && unknown == \"a\""), "false");
    assert_eq!(json("small > 0"), "true");
    assert_eq!(*unknown("try(unknown_list[0], 1)").ty(), Type::Dynamic);
    assert_eq!(*unknown("upper(unknown)").ty(), Type::String);
}

#[test]
fn marks_travel_through_everything() {
    for text in [
        "secret",
        "\"x${secret}\"",
        "upper(secret)",
        "secret == \"a\"",
        "secrets[0]",
        "secrets[*]",
        "[for x in secrets : x]",
        "{for x in secrets : x => x}",
        "{(secret) = 1}",
        "secret == \"a\" ? 1 : 2",
        "true ? secret : \"\"",
        "secrets[0] + 1",
        "-secrets[0]",
        "max(secrets...)",
        "\"%{ for x in secrets }${x}%{ endfor }\"",
        "try(secret, 1)",
    ] {
        let (value, messages) = evaluate(text);
        assert_eq!(messages, "", "{text}");
        assert!(value.deep_marks().contains(Marks::SENSITIVE), "{text}");
    }
}

#[test]
fn a_message_shows_the_line_and_the_values_in_it() {
    let mut sources = Sources::new();
    let text = "locals {\n  a = upper([name, unknown, secret, small]...)\n}\n";
    let (body, _) = consort_hcl::parse(&mut sources, "main.tf", text);
    let block = body.blocks().next().unwrap();
    let expr = &block.body.attributes().next().unwrap().expr;
    let (_, diagnostics) = expr.evaluate(&scope());
    assert_eq!(
        diagnostics.render(&sources, Style::BOXED),
        "╷\n\
         │ Error: Too many function arguments\n\
         │\n\
         │   on main.tf line 2, in locals:\n\
         │    2:   a = upper([name, unknown, secret, small]...)\n\
         │     ├────────────────\n\
         │     │ while calling upper(str)\n\
         │     │ name is \"world\"\n\
         │     │ small is a number\n\
         │     │ unknown is a string\n\
         │\n\
         │ Function \"upper\" expects only 1 argument(s).\n\
         ╵\n"
    );
    let json = consort_hcl::diagnostic::json(diagnostics.first_error().unwrap(), &sources);
    assert_eq!(
        json["range"]["start"],
        serde_json::json!({"line": 2, "column": 13, "byte": 21})
    );
    assert_eq!(json["snippet"]["context"], "locals");
    assert_eq!(json["snippet"]["start_line"], 2);
    assert_eq!(json["snippet"]["values"][0]["traversal"], "name");
    assert_eq!(json["snippet"]["function_call"]["called_as"], "upper");
}

#[test]
fn a_constant_expression_may_refer_to_nothing() {
    let mut sources = Sources::new();
    let (expr, _) = parse_expression(&mut sources, "a", "[var.x, f()]");
    let (_, diagnostics) = expr.evaluate_constant();
    let details: Vec<_> = diagnostics
        .iter()
        .map(|diagnostic| diagnostic.detail.as_str())
        .collect();
    assert_eq!(
        details,
        [
            "Variables may not be used here.",
            "Functions may not be called here."
        ]
    );
    let (expr, _) = consort_hcl::parse_json_expression(&mut sources, "a", "\"${x}\"");
    assert_eq!(expr.evaluate_constant().0.as_str(), Some("${x}"));
}

#[test]
fn type_constraints_fill_in_their_defaults() {
    let mut sources = Sources::new();
    let text = "list(object({ a = optional(string, \"x\"), b = object({ c = optional(number, 1) }), d = optional(bool) }))";
    let (expr, _) = parse_expression(&mut sources, "a", text);
    let (ty, defaults, diagnostics) = consort_hcl::type_expr(&expr);
    assert!(diagnostics.is_empty());
    let (given, _) = parse_expression(
        &mut sources,
        "b",
        "[{ b = {} }, { a = \"y\", b = { c = 2 } }]",
    );
    let value = defaults.apply(&given.evaluate_constant().0);
    let value = consort_hcl::convert(&value, &ty).unwrap();
    let json = String::from_utf8(consort_hcl::json::encode_simple(&value).unwrap()).unwrap();
    assert_eq!(
        json,
        "[{\"a\":\"x\",\"b\":{\"c\":1},\"d\":null},{\"a\":\"y\",\"b\":{\"c\":2},\"d\":null}]"
    );
    let (expr, _) = parse_expression(&mut sources, "c", "list(strng)");
    let (_, _, diagnostics) = consort_hcl::type_expr(&expr);
    assert_eq!(
        diagnostics.first_error().unwrap().detail,
        "The keyword \"strng\" is not a valid type specification."
    );
}
