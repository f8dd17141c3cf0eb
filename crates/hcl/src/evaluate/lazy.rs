//! `try` and `can`: functions that look at whether their arguments can be evaluated.

use super::{Argument, CallError, Function, Parameter};
use crate::types::Type;
use crate::value::Value;

/// `try(expressions...)`: the value of the first argument that can be evaluated without an error.
pub fn try_function() -> Function {
    Function::lazy(
        Vec::new(),
        Some(Parameter::deferred("expressions")),
        |args| {
            if args.is_empty() {
                return Err(CallError::new("at least one argument is required"));
            }
            let mut reasons = String::from("no expression succeeded:\n");
            for argument in args {
                let deferred = match argument {
                    Argument::Value(value) => return Ok(value.clone()),
                    Argument::Deferred(deferred) => deferred,
                };
                let (value, diagnostics) = deferred.evaluate();
                if !diagnostics.has_errors() {
                    // What is unknown may turn out such that another argument is chosen.
                    return Ok(if value.is_wholly_known() {
                        value
                    } else {
                        Value::DYNAMIC
                    });
                }
                for diagnostic in &diagnostics {
                    let place = diagnostic.subject.zip(deferred.scope().sources());
                    let place =
                        place.map(|(range, sources)| format!(" (at {})", sources.describe(range)));
                    reasons.push_str(&format!(
                        "- {}{}\n  {}\n",
                        diagnostic.summary,
                        place.unwrap_or_default(),
                        diagnostic.detail
                    ));
                }
            }
            reasons.push_str("\nAt least one expression must produce a successful result");
            Err(CallError::new(reasons))
        },
    )
}

/// `can(expression)`: whether the argument can be evaluated without an error.
pub fn can_function() -> Function {
    Function::lazy(vec![Parameter::deferred("expression")], None, |args| {
        let Some(Argument::Deferred(deferred)) = args.first() else {
            return Ok(Value::TRUE);
        };
        let (value, diagnostics) = deferred.evaluate();
        if diagnostics.has_errors() {
            return Ok(Value::FALSE);
        }
        Ok(if value.is_wholly_known() {
            Value::TRUE
        } else {
            Value::unknown(Type::Bool)
        })
    })
}
