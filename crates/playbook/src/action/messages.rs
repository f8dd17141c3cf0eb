//! Actions that only say something: `debug`, `fail`, `assert`.

use consort_jinja::{Dict, Str, Value, Variables as _, is_omit, repr};
use consort_modules::arguments::{Spec, integer, raw};

use super::given::{checked, dict, is_yes, set};
use super::{Action, Failure, Outcome, Traits};
use crate::connection::Call;
use crate::executor::{Attempt, Layer};
use crate::source::Located;

/// `debug`: shows a message or the value of an expression.
pub(super) struct Debug;

impl Action for Debug {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(async move { debug(attempt, &arguments) })
    }
}

fn debug(attempt: &Attempt<'_>, arguments: &Dict) -> Outcome {
    let spec = Spec::new()
        .with("msg", raw().default("Hello world!"))
        .with("var", raw())
        .with("verbosity", integer().default(0))
        .mutually_exclusive(&["msg", "var"]);
    let given = checked(attempt.name, &spec, arguments)?;
    let variable = match arguments.get("var") {
        None | Some(Value::None) => None,
        Some(Value::Str(text)) => Some(text).filter(|text| !text.is_empty()),
        Some(other) => {
            return Err(Failure::new(format!(
                "argument 'var' is of type {} and we were unable to convert to _check_type_str_no_conversion: {} is not a \
                 string and conversion is not allowed",
                other.type_name(),
                repr::string(&repr::text(&other))
            )));
        }
    };
    let result = Dict::default();
    if given.integer("verbosity").unwrap_or(0) <= i64::from(attempt.verbosity) {
        match variable {
            Some(expression) => {
                let value = shown(attempt, &expression)?;
                set(&result, &expression, value);
            }
            None => set(
                &result,
                "msg",
                arguments
                    .get("msg")
                    .unwrap_or_else(|| "Hello world!".into()),
            ),
        }
        set(&result, "_ansible_verbose_always", true);
    } else {
        set(&result, "skipped_reason", "Verbosity threshold not met.");
        set(&result, "skipped", true);
    }
    set(&result, "failed", false);
    attempt.register(Layer::Fact, Dict::default());
    Ok(result)
}

/// The value of an expression, with what is undefined in it told in its place.
fn shown(attempt: &Attempt<'_>, expression: &Str) -> Result<Value, Failure> {
    let (value, warnings) = attempt
        .templar()
        .evaluate_replacing(expression, attempt.variables())
        .map_err(|error| {
            Located::new("Error while resolving `var` expression.")
                .about(&Value::Str(expression.clone()))
                .because(Located::from(&error))
        })?;
    for warning in &warnings {
        attempt.warn_at(warning);
    }
    if is_omit(&value) {
        attempt.warn(
            "The result of the `var` expression could not be omitted; a placeholder was used instead.",
        );
        return Ok("<<Omit>>".into());
    }
    Ok(value)
}

/// `fail`: fails with a message.
pub(super) struct Fail;

impl Action for Fail {
    fn run<'a>(&'a self, _attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(async move {
            Ok(dict([
                ("failed", true.into()),
                (
                    "msg",
                    arguments
                        .get("msg")
                        .unwrap_or_else(|| "Failed as requested from task".into()),
                ),
            ]))
        })
    }

    fn traits(&self) -> Traits {
        Traits {
            arguments: Some(&["msg"]),
            ..Traits::default()
        }
    }
}

/// `assert`: fails unless conditions hold.
pub(super) struct Assert;

impl Action for Assert {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(async move { assert(attempt, &arguments) })
    }

    fn traits(&self) -> Traits {
        Traits {
            unrendered: &["that"],
            ..Traits::default()
        }
    }
}

fn assert(attempt: &Attempt<'_>, arguments: &Dict) -> Outcome {
    let spec = Spec::new()
        .with("fail_msg", raw().aliases(&["msg"]))
        .with("success_msg", raw())
        .with(
            "quiet",
            consort_modules::arguments::boolean().default(false),
        )
        .with("that", raw().required());
    let given = checked(attempt.name, &spec, arguments)?;
    let message = |names: &[&str], default: &str| -> Result<Value, Failure> {
        let found = names.iter().find_map(|name| arguments.get(name));
        match found {
            None => Ok(default.into()),
            Some(value @ Value::Str(_)) => Ok(value),
            Some(Value::List(items))
                if items
                    .read()
                    .iter()
                    .all(|item| matches!(item, Value::Str(_))) =>
            {
                Ok(Value::List(items))
            }
            Some(other) => Err(Failure::new(format!(
                "argument '{}' is of type {} and we were unable to convert to str_or_list_of_str: a string or list of \
                 strings is required",
                names[0],
                other.type_name()
            ))),
        }
    };
    let failed = message(&["fail_msg", "msg"], "Assertion failed")?;
    let passed = message(&["success_msg"], "All assertions passed")?;
    let quiet = given
        .get("quiet")
        .as_bool()
        .unwrap_or_else(|| arguments.get("quiet").is_some_and(|value| is_yes(&value)));
    let result = Dict::default();
    if !quiet {
        set(&result, "_ansible_verbose_always", true);
    }
    for condition in conditions(attempt, arguments.get("that").unwrap_or_default()) {
        let holds = attempt
            .templar()
            .conditional(&condition, attempt.variables())?;
        if !holds {
            set(&result, "failed", true);
            set(&result, "evaluated_to", false);
            set(&result, "assertion", condition);
            set(&result, "msg", failed);
            return Ok(result);
        }
    }
    set(&result, "changed", false);
    set(&result, "msg", passed);
    Ok(result)
}

/// The conditions of `that`: those of a list, also where a template gives it; else the one it is.
fn conditions(attempt: &Attempt<'_>, that: Value) -> Vec<Value> {
    let whole = match &that {
        Value::Str(text) => {
            ["{{", "{%", "{#"]
                .iter()
                .any(|start| text.trim_start().starts_with(start))
                && text.is_template()
        }
        _ => false,
    };
    if whole && let Some(list) = container(attempt, &that) {
        return list;
    }
    match that {
        Value::List(items) => items.read().clone(),
        one => vec![one],
    }
}

/// The list a template stands for, with its items as they were written.
fn container(attempt: &Attempt<'_>, that: &Value) -> Option<Vec<Value>> {
    let text = that.as_str()?.trim();
    let inner = text.strip_prefix("{{")?.strip_suffix("}}")?.trim();
    if crate::variables::is_name(inner)
        && let Some(Value::List(items)) = attempt.variables().get(inner)
    {
        return Some(items.read().clone());
    }
    match attempt.templar().render(that, attempt.variables()) {
        Ok(Value::List(items)) => Some(items.read().clone()),
        // What is wrong with it is told when it is evaluated as a condition.
        Ok(_) | Err(_) => None,
    }
}
