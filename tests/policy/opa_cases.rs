//! Evaluates cases in the form of OPA's conformance suite: JSON lines on standard input, verdicts as JSON lines on standard output.
//! `opa_cases.py` beside this file feeds it and compares its verdicts with what a case wants and with what OPA says.

use std::io::{BufRead as _, Write as _};

use consort_policy::{Document, Engine, Error, Options, Version};
use serde_json::{Value, json};

fn verdict(case: &Value) -> Result<Value, Error> {
    let version = if case["version"] == "v0" {
        Version::V0
    } else {
        Version::V1
    };
    let mut engine = Engine::new(Options {
        version,
        strict: case["strict_error"] == true,
        ..Options::default()
    });
    if let Some(data) = case.get("data").filter(|data| !data.is_null()) {
        engine.set_data(&Document::from(data.clone()))?;
    }
    for (at, module) in case["modules"].as_array().into_iter().flatten().enumerate() {
        engine.add(
            &format!("module-{at}.rego"),
            module.as_str().unwrap_or_default(),
        )?;
    }
    engine.prepare()?;
    let input = match (
        case.get("input_term").and_then(Value::as_str),
        case.get("input").filter(|input| !input.is_null()),
    ) {
        (Some(term), _) => {
            let mut terms = Engine::new(Options::default());
            terms
                .query(term, None)?
                .pop()
                .and_then(|mut solution| solution.expressions.pop())
                .map(|(_, value)| value)
        }
        (None, input) => input.cloned().map(Document::from),
    };
    let solutions = engine.query(case["query"].as_str().unwrap_or_default(), input.as_ref())?;
    Ok(solutions
        .into_iter()
        .map(|solution| {
            solution
                .bindings
                .iter()
                .filter(|(name, _)| !name.starts_with("__"))
                .map(|(name, value)| (name.clone(), value.json()))
                .collect::<serde_json::Map<_, _>>()
                .into()
        })
        .collect::<Vec<Value>>()
        .into())
}

fn main() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let case: Value = serde_json::from_str(&line?)?;
        let said = match verdict(&case) {
            Ok(result) => json!({"result": result}),
            Err(error) => json!({"error": error.kind.code(), "message": error.to_string()}),
        };
        writeln!(out, "{said}")?;
        out.flush()?;
    }
    Ok(())
}
