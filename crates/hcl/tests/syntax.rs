//! What the parsers make of text, right or wrong.

use consort_hcl::diagnostic::Style;
use consort_hcl::{
    BodySchema, Sources, parse, parse_expression, parse_json, parse_template, parse_traversal,
};

fn errors(text: &str) -> Vec<String> {
    let mut sources = Sources::new();
    let (_, diagnostics) = parse(&mut sources, "main.tf", text);
    diagnostics
        .iter()
        .map(|diagnostic| {
            let place = diagnostic
                .subject
                .map(|range| sources.describe(range))
                .unwrap_or_default();
            format!("{place}: {}", diagnostic.summary)
        })
        .collect()
}

#[test]
fn wrong_text_gives_located_messages() {
    let cases: &[(&str, &[&str])] = &[
        (
            "a = 1 b = 2\n",
            &["main.tf:1,7-8: Missing newline after argument"],
        ),
        (
            "a = 1,\n",
            &["main.tf:1,6-7: Unexpected comma after argument"],
        ),
        (
            "x \"y\" {\n  a = 1\n",
            &["main.tf:1,7-8: Unclosed configuration block"],
        ),
        ("a = \n", &["main.tf:1,5-2,1: Invalid expression"]),
        (
            "a = 'b'\n",
            &[
                "main.tf:1,5-6: Invalid character",
                "main.tf:1,5-6: Invalid expression",
            ],
        ),
        ("a = 1\na = 2\n", &["main.tf:2,1-2: Attribute redefined"]),
        ("a = [1 2]\n", &["main.tf:1,8-9: Missing item separator"]),
        (
            "a = \"${b\"",
            &["main.tf:1,6-8: Unclosed template interpolation sequence"],
        ),
        (
            "a = <<EOT\nx\n",
            &["main.tf:3,1-1: Unterminated template string"],
        ),
        ("\"a\" = 1\n", &["main.tf:1,1-2: Invalid argument name"]),
        ("a = \"\\q\"\n", &["main.tf:1,6-8: Invalid escape sequence"]),
        (
            "a = x & y\n",
            &[
                "main.tf:1,7-8: Unsupported operator",
                "main.tf:1,7-8: Missing newline after argument",
            ],
        ),
    ];
    for (text, wanted) in cases {
        assert_eq!(errors(text), *wanted, "{text}");
    }
}

#[test]
fn one_wrong_block_does_not_hide_its_neighbours() {
    let text = "one {\n  a = [\n}\ntwo {\n  b = 1\n}\n";
    let mut sources = Sources::new();
    let (body, diagnostics) = parse(&mut sources, "main.tf", text);
    assert!(diagnostics.has_errors());
    assert!(body.blocks().any(|block| &*block.kind == "one"));
    let text = "a = )\nb = (\nc = 3\n";
    let (body, diagnostics) = parse(&mut sources, "main.tf", text);
    assert!(diagnostics.has_errors());
    assert!(body.attributes().any(|attribute| &*attribute.name == "a"));
}

#[test]
fn arbitrary_text_never_stops_the_parsers() {
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        "(",
        ")",
        "\"",
        "${",
        "%{",
        "~}",
        "=",
        ",",
        ".",
        "::",
        "...",
        "?",
        ":",
        "=>",
        "<<E\n",
        "E\n",
        "<<-E\n",
        "\n",
        " ",
        "if",
        "for",
        "in",
        "else",
        "endif",
        "endfor",
        "a",
        "é",
        "\u{301}",
        "1.",
        "2e5",
        "'",
        "\\",
        "\\u12",
        "/*",
        "*/",
        "#",
        "*",
        "-",
        "!",
        "&&",
        "null",
        "\u{0}",
        "\r",
        "%",
        "$",
        "//",
        "_",
        "\u{feff}",
        "\u{1f600}",
    ];
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..1_500 {
        let mut bytes: Vec<u8> = Vec::new();
        for _ in 0..next(30) {
            if next(20) == 0 {
                bytes.push(next(256) as u8);
            } else {
                bytes.extend(pieces[next(pieces.len())].bytes());
            }
        }
        let mut sources = Sources::new();
        let (body, first) = parse(&mut sources, "a.tf", &bytes);
        let (_, second) = parse_json(&mut sources, "a.tf.json", &bytes);
        let (expr, third) = parse_expression(&mut sources, "b", &bytes);
        let (template, fourth) = parse_template(&mut sources, "c", &bytes);
        let (_, fifth) = parse_traversal(&mut sources, "d", &bytes);
        for diagnostics in [first, second, third, fourth, fifth] {
            diagnostics.render(&sources, Style::BOXED);
        }
        for attribute in body.attributes() {
            attribute.expr.references();
            attribute.expr.evaluate_constant();
        }
        expr.evaluate_constant();
        template.evaluate_constant();
        let _ = consort_hcl::format::format(&String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{a=", "}"),
        ("\"${", "}\""),
        ("-", ""),
        ("!", ""),
        ("f(", ")"),
        ("a ? b : ", "c"),
    ] {
        let text = format!("x = {}1{}\n", open.repeat(20_000), close.repeat(20_000));
        assert!(
            errors(&text)
                .iter()
                .any(|error| error.ends_with("Too deeply nested")),
            "{open}"
        );
    }
    for step in ["[x]", "[*]", ".*"] {
        let text = format!("x = a{}\n", step.repeat(20_000));
        assert!(!errors(&text).is_empty(), "{step}");
    }
    assert!(!errors(&"a {\n".repeat(20_000)).is_empty());
    let (_, diagnostics) = parse_json(&mut Sources::new(), "a.json", "[".repeat(100_000));
    assert!(diagnostics.has_errors());
    let directives = "%{if true}".repeat(20_000);
    let (_, diagnostics) = parse_template(&mut Sources::new(), "a", &directives);
    assert!(diagnostics.has_errors());
    // Long is not deep.
    let sum = format!("x = {}1\n", "1 + ".repeat(20_000));
    let mut sources = Sources::new();
    let (body, diagnostics) = parse(&mut sources, "a.tf", &sum);
    assert!(diagnostics.is_empty());
    let (value, _) = body.attributes().next().unwrap().expr.evaluate_constant();
    assert_eq!(
        value.as_number().and_then(consort_hcl::Number::to_i64),
        Some(20_001)
    );
}

#[test]
fn json_and_native_bodies_have_the_same_content() {
    let schema = BodySchema::new()
        .optional(["name"])
        .block("rule", &["kind", "id"]);
    let native = "name = \"n\"\nrule \"a\" \"x\" {\n  p = 1\n}\nrule \"a\" \"y\" {\n  p = 2\n}\n";
    let json =
        r#"{"//": "a comment", "name": "n", "rule": {"a": {"x": {"p": 1}, "y": [{"p": 2}]}}}"#;
    let mut sources = Sources::new();
    let bodies = [
        parse(&mut sources, "a.tf", native),
        parse_json(&mut sources, "a.tf.json", json),
    ];
    for (body, diagnostics) in bodies {
        assert!(diagnostics.is_empty());
        let (content, diagnostics) = body.content(&schema);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        let name = content
            .attribute("name")
            .unwrap()
            .expr
            .evaluate_constant()
            .0;
        assert_eq!(name.as_str(), Some("n"));
        let labels: Vec<_> = content
            .blocks
            .iter()
            .map(|block| (block.label(0), block.label(1)))
            .collect();
        assert_eq!(labels, [("a", "x"), ("a", "y")]);
        let (attributes, diagnostics) = content.blocks[1].body.just_attributes();
        assert!(diagnostics.is_empty());
        let value = attributes["p"].expr.evaluate_constant().0;
        assert_eq!(
            value.as_number().and_then(consort_hcl::Number::to_i64),
            Some(2)
        );
    }
}

#[test]
fn content_outside_the_schema_is_told_with_a_suggestion() {
    let schema = BodySchema::new()
        .required(["region"])
        .block("rule", &["kind"]);
    let mut sources = Sources::new();
    let (body, _) = parse(
        &mut sources,
        "a.tf",
        "regoin = 1\nrul \"a\" {\n}\nrule {\n}\n",
    );
    let (_, diagnostics) = body.content(&schema);
    let details: Vec<_> = diagnostics
        .iter()
        .map(|diagnostic| diagnostic.detail.as_str())
        .collect();
    assert_eq!(
        details,
        [
            "The argument \"region\" is required, but no definition was found.",
            "All rule blocks must have 1 labels (kind).",
            "An argument named \"regoin\" is not expected here. Did you mean \"region\"?",
            "Blocks of type \"rul\" are not expected here. Did you mean \"rule\"?",
        ]
    );
    let (body, _) = parse_json(&mut sources, "a.tf.json", "{\"regoin\": 1, \"region\": 2}");
    let (_, diagnostics) = body.content(&BodySchema::new().optional(["region", "regain"]));
    assert_eq!(
        diagnostics.first_error().unwrap().detail,
        "No argument or block type is named \"regoin\". Did you mean \"regain\"?"
    );
}

#[test]
fn what_one_schema_took_the_rest_does_not_have() {
    let mut sources = Sources::new();
    for (body, _) in [
        parse(&mut sources, "a.tf", "a = 1\nb = 2\n"),
        parse_json(&mut sources, "a.tf.json", "{\"a\": 1, \"b\": 2}"),
    ] {
        let (content, rest, _) = body.partial_content(&BodySchema::new().optional(["a"]));
        assert_eq!(content.attributes.len(), 1);
        let (attributes, _) = rest.just_attributes();
        assert_eq!(
            attributes.keys().map(|name| &**name).collect::<Vec<_>>(),
            ["b"]
        );
    }
}

#[test]
fn places_in_json_strings_count_their_escapes() {
    let mut sources = Sources::new();
    let text = r#"{"a": "x\n${ \"q\" + 1 } ${b}"}"#;
    let (body, _) = parse_json(&mut sources, "a.tf.json", text);
    let (attributes, _) = body.just_attributes();
    let references = attributes["a"].expr.references();
    assert_eq!(sources.text(references[0].range()), "b");
    let (_, diagnostics) = attributes["a"]
        .expr
        .evaluate(&consort_hcl::Tables::default());
    let subject = diagnostics.first_error().unwrap().subject.unwrap();
    assert_eq!(sources.text(subject), r#"\"q\""#);
}

#[test]
fn references_leave_out_the_names_of_for_expressions() {
    let mut sources = Sources::new();
    let text = "[for k, v in var.a : { (k) = v.x + local.y, z = each.value } if k != var.b[0]]";
    let (expr, _) = parse_expression(&mut sources, "a", text);
    let names: Vec<_> = expr
        .references()
        .iter()
        .map(consort_hcl::Traversal::text)
        .collect();
    assert_eq!(names, ["var.a", "local.y", "each.value", "var.b[0]"]);
}

#[test]
fn expressions_can_be_read_without_evaluating_them() {
    let mut sources = Sources::new();
    let mut expr = |text: &str| parse_expression(&mut sources, "a", text).0;
    assert_eq!(
        expr("a.b[\"c\"].0").as_traversal().unwrap().text(),
        "a.b[\"c\"][0]"
    );
    assert_eq!(expr("any").as_keyword().as_deref(), Some("any"));
    assert!(expr("a.b").as_keyword().is_none());
    assert_eq!(expr("[a, b]").as_list().unwrap().len(), 2);
    assert_eq!(
        expr("{ a = b }").as_map().unwrap()[0]
            .0
            .as_keyword()
            .as_deref(),
        Some("a")
    );
    assert_eq!(expr("list(string)").as_call().unwrap().args.len(), 1);
    assert!(expr("\"${a}\"").as_traversal().is_none());
    let (json, _) =
        consort_hcl::parse_json_expression(&mut Sources::new(), "a", "[\"a.b\", \"f(x)\"]");
    let items = json.as_list().unwrap();
    assert_eq!(items[0].as_traversal().unwrap().text(), "a.b");
    assert_eq!(&*items[1].as_call().unwrap().name, "f");
}
