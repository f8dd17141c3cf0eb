//! `validate_argument_spec`: arguments of a role, checked as those of a module are.

use consort_jinja::{Dict, Key, Value, Variables as _, repr};
use consort_modules::arguments::{Spec, validate};
use consort_modules::{Context, Settings};
use indexmap::IndexMap;

use super::given::{Given, dict, set};
use super::{Action, Failure, Outcome};
use crate::connection::Call;
use crate::executor::Attempt;
use crate::values;

/// `validate_argument_spec`.
pub(super) struct ValidateArgumentSpec;

impl Action for ValidateArgumentSpec {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(async move { validated(attempt, &arguments) })
    }
}

fn validated(attempt: &Attempt<'_>, arguments: &Dict) -> Outcome {
    let given = Given(arguments);
    let result = dict([(
        "validate_args_context",
        given
            .0
            .get("validate_args_context")
            .unwrap_or_else(|| Dict::default().into()),
    )]);
    let Some(specification) = given.0.get("argument_spec") else {
        return Err(Failure::error(format!(
            "\"argument_spec\" arg is required in args: {}",
            repr::repr(&Value::Dict(arguments.clone()))
        )));
    };
    let Value::Dict(specification) = specification else {
        return Err(Failure::error(format!(
            "Incorrect type for argument_spec, expected dict and got <class '{}'>",
            specification.type_name()
        )));
    };
    let provided = match given.0.get("provided_arguments") {
        None => Dict::default(),
        Some(Value::Dict(provided)) => provided,
        Some(other) => {
            return Err(Failure::error(format!(
                "Incorrect type for provided_arguments, expected dict and got <class '{}'>",
                other.type_name()
            )));
        }
    };
    let mut all: IndexMap<Key, Value> = IndexMap::new();
    let names: Vec<Key> = specification.read().keys().cloned().collect();
    for key in names {
        let Some(name) = key.as_str() else { continue };
        if let Some(value) = attempt.variables().get(name) {
            all.insert(key.clone(), attempt.render(&value)?);
        }
    }
    all.extend(provided.read().clone());
    let spec = Spec::from_json(&values::to_arguments(&specification)).map_err(Failure::error)?;
    let settings = Settings::default();
    let context = Context::new(&settings);
    let checked = validate(&context, &spec, values::to_arguments(&Dict::new(all)));
    if checked.errors.is_empty() {
        set(&result, "changed", false);
        set(&result, "msg", "The arg spec validation passed");
        return Ok(result);
    }
    let errors: Vec<Value> = checked
        .errors
        .iter()
        .map(|error| error.as_str().into())
        .collect();
    set(&result, "failed", true);
    set(
        &result,
        "msg",
        format!(
            "Validation of arguments failed:\n{}",
            checked.errors.join("\n")
        ),
    );
    set(&result, "argument_spec_data", specification);
    set(&result, "argument_errors", errors);
    Ok(result)
}
