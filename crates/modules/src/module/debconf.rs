//! `debconf`: answers to the questions packages ask when they are configured.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::arguments::{Spec, boolean, raw, text};
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::process::{self, Command};
use crate::python;
use crate::registry::Module;

pub(crate) const MODULE: Module = Module {
    name: "debconf",
    act,
};

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("name", text().required().aliases(&["pkg"]))
        .with("question", text().aliases(&["selection", "setting"]))
        .with(
            "vtype",
            text().choices(&[
                "boolean",
                "error",
                "multiselect",
                "note",
                "password",
                "seen",
                "select",
                "string",
                "text",
                "title",
            ]),
        )
        .with("value", raw().aliases(&["answer"]))
        .with("unseen", boolean().default(false))
        .required_together(&["question", "vtype", "value"])
        .supports_check_mode()
});

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let package = arguments.required("name");
    let mut before = selections(context, package)?;
    let Some(question) = arguments.text("question") else {
        return Ok(Report::from_iter([
            ("changed".to_owned(), false.into()),
            ("msg".to_owned(), "".into()),
            ("current".to_owned(), before.into()),
        ]));
    };
    let kind = arguments.required("vtype");
    let mut value = arguments.get("value").clone();
    if value.is_null() {
        return Err(Failure::new(
            "when supplying a question you must supply a valid vtype and value",
        ));
    }
    if kind == "boolean" {
        value = python::str_value(&value).to_lowercase().into();
    }
    let changed = match before.get(question).and_then(Value::as_str) {
        None => true,
        Some(existing) => match (kind, &value) {
            ("boolean", _) => value != json!(existing.to_lowercase()),
            ("password", _) => {
                let known = password(context, package, question, kind)?;
                known.map_or(Value::Null, Value::from) != value
            }
            ("multiselect", Value::Array(items)) if items.iter().any(|item| !item.is_string()) => {
                are_comparable(items)?;
                true
            }
            ("multiselect", Value::Array(items)) => {
                let mut wanted = texts(items)?;
                wanted.sort_unstable();
                let mut known: Vec<&str> = existing.split(',').map(str::trim).collect();
                known.sort_unstable();
                let differs = wanted != known;
                value = json!(wanted);
                differs
            }
            _ => value != json!(existing),
        },
    };
    if !changed {
        return Ok(Report::from_iter([
            ("changed".to_owned(), false.into()),
            ("msg".to_owned(), "".into()),
            ("current".to_owned(), before.into()),
        ]));
    }
    let mut message = String::new();
    if !context.settings.check {
        if let ("multiselect", Value::Array(items)) = (kind, &value) {
            value = texts(items)?.join(", ").into();
        }
        let Value::String(answer) = &value else {
            return Err(Failure::unhandled(format!(
                "sequence item 3: expected str instance, {} found",
                python::type_name(&value)
            )));
        };
        message = set(
            context,
            &[package, question, kind, answer].join(" "),
            arguments.flag("unseen"),
        )?;
    }
    let current = Map::from_iter([(question.to_owned(), value.clone())]);
    match before.get(question).cloned() {
        Some(known) => before = Map::from_iter([(question.to_owned(), known)]),
        None => {
            before.insert(question.to_owned(), "".into());
        }
    }
    let diff = if context.settings.diff {
        let mut after = before.clone();
        after.insert(question.to_owned(), value);
        json!({"before": before, "after": after})
    } else {
        json!({})
    };
    Ok(Report::from_iter([
        ("changed".to_owned(), true.into()),
        ("msg".to_owned(), message.into()),
        ("current".to_owned(), current.into()),
        ("previous".to_owned(), before.into()),
        ("diff".to_owned(), diff),
    ]))
}

/// Choices are put in order, which only those of one type have.
fn are_comparable(items: &[Value]) -> Result<(), Failure> {
    let types: Vec<&str> = items.iter().map(python::type_name).collect();
    match types.windows(2).find(|pair| pair[0] != pair[1]) {
        None => Ok(()),
        Some(pair) => Err(Failure::new(format!(
            "Invalid value provided for 'multiselect': '<' not supported between instances of '{}' and '{}'",
            pair[1], pair[0]
        ))),
    }
}

/// The texts of a list of choices.
fn texts(items: &[Value]) -> Result<Vec<&str>, Failure> {
    items
        .iter()
        .enumerate()
        .map(|(place, item)| {
            item.as_str().ok_or_else(|| {
                Failure::new(format!(
                    "Invalid value provided for 'multiselect': sequence item {place}: expected str instance, {} found",
                    python::type_name(item)
                ))
            })
        })
        .collect()
}

/// The answers there are for the questions of a package.
fn selections(context: &Context<'_>, package: &str) -> Result<Map<String, Value>, Failure> {
    let show = process::required(context, "debconf-show", &[])?;
    let done = Command::line(format!("{show} {package}")).run(context)?;
    if !done.success() {
        return Err(Failure::new(done.err()));
    }
    let mut found = Map::new();
    for line in done.out().lines() {
        let Some((question, answer)) = line.split_once(':') else {
            return Err(Failure::unhandled(
                "not enough values to unpack (expected 2, got 1)",
            ));
        };
        found.insert(
            question.trim_matches('*').trim().to_owned(),
            answer.trim().into(),
        );
    }
    Ok(found)
}

/// The answer to a question for a password, which is not shown otherwise. Nothing if there is no such question.
fn password(
    context: &Context<'_>,
    package: &str,
    question: &str,
    kind: &str,
) -> Result<Option<String>, Failure> {
    let program = process::required(context, "debconf-get-selections", &[])?;
    let done = Command::new([program]).run(context)?;
    if !done.success() {
        return Err(Failure::new(format!(
            "Failed to get the value '{question}' from '{package}': {}",
            done.err()
        )));
    }
    for line in done
        .out()
        .split('\n')
        .filter(|line| line.starts_with(package))
    {
        let fields: Vec<&str> = line.split('\t').collect();
        if fields.len() <= 3 {
            return Ok(Some(String::new()));
        }
        if fields[1] == question && fields[2] == kind {
            return Ok(Some(fields[3].to_owned()));
        }
    }
    Ok(None)
}

/// Gives an answer: what the program says.
fn set(context: &Context<'_>, line: &str, unseen: bool) -> Result<String, Failure> {
    let program = process::required(context, "debconf-set-selections", &[])?;
    let mut words = vec![program];
    if unseen {
        words.push("-u".to_owned());
    }
    let done = Command::new(words).text(line).run(context)?;
    if done.success() {
        Ok(done.out())
    } else {
        Err(Failure::new(done.err()))
    }
}
