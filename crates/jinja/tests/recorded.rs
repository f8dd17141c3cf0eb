//! What ansible-core 2.21.5 made of templates (`recorded.json`), and what this crate makes of them.

use std::sync::Arc;

use consort_jinja::{Dict, Environment, Key, Str, Syntax, Value, is_omit, repr};
use serde_json::Value as Json;

/// A value from JSON, with every text trusted to be a template.
fn trusted(json: &Json) -> Value {
    match json {
        Json::Null => Value::None,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => number.as_i64().map_or_else(
            || {
                if number.is_u64()
                    || number.to_string().contains(['.', 'e'])
                        && number.as_f64().is_some_and(|f| f.abs() < 1e17)
                {
                    Value::Float(number.as_f64().unwrap())
                } else {
                    // Beyond what the reader keeps exactly.
                    Value::integer("123456789012345678901234567890".parse().unwrap())
                }
            },
            Value::Int,
        ),
        Json::String(text) => Value::Str(Str::template(text.as_str())),
        Json::Array(items) => Value::list(items.iter().map(trusted).collect()),
        Json::Object(entries) => Value::Dict(Dict::new(
            entries
                .iter()
                .map(|(key, value)| (Key::from(key.as_str()), trusted(value)))
                .collect(),
        )),
    }
}

#[test]
fn templates_give_what_ansible_gives() {
    let recorded: Json = serde_json::from_str(include_str!("recorded.json")).unwrap();
    let Value::Dict(variables) = trusted(&recorded["variables"]) else {
        panic!("variables");
    };
    let environment = Environment::new(Syntax {
        trim_blocks: true,
        literal_backslashes: true,
        ..Syntax::default()
    });
    let mut wrong = Vec::new();
    for case in recorded["cases"].as_array().unwrap() {
        let template = case["template"].as_str().unwrap();
        let source: Arc<str> = template.into();
        let text = Value::Str(Str::template(Arc::clone(&source)));
        let got = match environment.render_value(&text, &variables) {
            Ok(Value::Undefined(undefined)) => Err(undefined.message.clone()),
            Ok(value) if is_omit(&value) => Err("omitted".to_owned()),
            Ok(value) => Ok(repr::repr(&value)),
            Err(error) => Err(error.to_string()),
        };
        let expected = match case.get("repr") {
            Some(repr) => Ok(repr.as_str().unwrap().to_owned()),
            None => Err(case["error"].as_str().unwrap().to_owned()),
        };
        let same = match (&got, &expected) {
            (Ok(got), Ok(expected)) => got == expected,
            (Err(_), Err(_)) => true,
            _ => false,
        };
        if !same {
            wrong.push(format!(
                "{template:?}\n  expected {expected:?}\n  got      {got:?}"
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
