//! Calls of functions.

use std::sync::Arc;

use super::{Argument, CallError, Deferred, Frame, Function, evaluate};
use crate::convert::convert;
use crate::diagnostic::{Diagnostic, Diagnostics, FailedCall};
use crate::source::Range;
use crate::suggest::{did_you_mean, suggestion};
use crate::syntax::{Call, Expr};
use crate::text::quote;
use crate::types::Type;
use crate::value::Value;

/// An argument of a call, which an expansion may have made of an element.
enum Given<'a> {
    Written(&'a Expr),
    Element { value: Value, expr: &'a Expr },
}

impl<'a> Given<'a> {
    fn expr(&self) -> &'a Expr {
        match self {
            Given::Written(expr) | Given::Element { expr, .. } => expr,
        }
    }

    /// Where messages point at it: an element has no place but the whole of what was expanded.
    fn start(&self) -> Range {
        match self {
            Given::Written(expr) => expr.start_range(),
            Given::Element { expr, .. } => expr.range(),
        }
    }
}

pub(super) fn call(expr: &Expr, call: &Call, frame: &Frame<'_>, out: &mut Diagnostics) -> Value {
    let Some(function) = frame.scope.function(&call.name) else {
        out.push(frame.about(unknown_function(expr, call, frame), expr));
        return Value::DYNAMIC;
    };
    let calling = Calling {
        expr,
        call,
        function: &function,
        frame,
    };
    let mut found = Diagnostics::new();
    let result = calling.run(&mut found);
    out.append(found);
    result.unwrap_or(Value::DYNAMIC)
}

/// One call.
struct Calling<'a> {
    expr: &'a Expr,
    call: &'a Call,
    function: &'a Arc<Function>,
    frame: &'a Frame<'a>,
}

impl<'a> Calling<'a> {
    /// A message about this call, with the values of the references in `about`.
    fn blame(&self, diagnostic: Diagnostic, about: &Expr) -> Diagnostic {
        let call = FailedCall {
            called_as: self.call.name.clone(),
            function: Some(self.function.clone()),
        };
        Diagnostic {
            call: Some(call),
            ..self.frame.about(diagnostic, about)
        }
    }

    /// The result. `None` if a message says why there is none.
    fn run(&self, out: &mut Diagnostics) -> Option<Value> {
        let args = self.arguments(out)?;
        self.check_count(&args, out)?;
        if self.function.is_lazy() {
            return self.run_lazy(&args, out);
        }
        let mut values = Vec::with_capacity(args.len());
        for (at, given) in args.iter().enumerate() {
            values.push(self.value(at, given, out));
        }
        if out.has_errors() {
            return None;
        }
        let result = self.function.call_in(&values, self.frame.scope);
        self.finish(result, &args, out)
    }

    fn run_lazy(&self, args: &[Given<'_>], out: &mut Diagnostics) -> Option<Value> {
        let mut values = Vec::with_capacity(args.len());
        for (at, given) in args.iter().enumerate() {
            let lazy = self
                .function
                .parameter(at)
                .is_some_and(|parameter| parameter.lazy);
            values.push(match given {
                Given::Written(expr) if lazy => Argument::Deferred(Deferred::new(expr, self.frame)),
                Given::Element { value, .. } if lazy => Argument::Value(value.clone()),
                _ => Argument::Value(self.value(at, given, out)),
            });
        }
        if out.has_errors() {
            return None;
        }
        self.finish(self.function.call_lazy(&values), args, out)
    }

    /// The arguments, with the last one expanded if it is to be.
    fn arguments(&self, out: &mut Diagnostics) -> Option<Vec<Given<'a>>> {
        const INVALID: &str = "Invalid expanding argument value";
        let mut args: Vec<_> = self.call.args.iter().map(Given::Written).collect();
        if !self.call.expand {
            return Some(args);
        }
        let Some(Given::Written(last)) = args.pop() else {
            return Some(args);
        };
        let value = evaluate(last, self.frame, out);
        if out.has_errors() {
            return None;
        }
        let sequence = matches!(
            value.ty(),
            Type::Dynamic | Type::Tuple(_) | Type::List(_) | Type::Set(_)
        );
        if !sequence || value.is_null() {
            let detail = if sequence {
                "The expanding argument (indicated by ...) must not be null."
            } else {
                "The expanding argument (indicated by ...) must be of a tuple, list, or set type."
            };
            let diagnostic = Diagnostic::error(INVALID, detail)
                .at(last.range())
                .within(self.expr.range());
            out.push(self.blame(diagnostic, last));
            return None;
        }
        // How many arguments an unknown sequence stands for is unknown too.
        let elements = value.as_sequence()?;
        let marks = value.marks();
        args.extend(elements.iter().map(|element| Given::Element {
            value: element.clone().with_marks(marks),
            expr: last,
        }));
        Some(args)
    }

    fn check_count(&self, args: &[Given<'_>], out: &mut Diagnostics) -> Option<()> {
        let params = self.function.params();
        let name = quote(&self.call.name);
        if let Some(missing) = params.get(args.len()) {
            let qualifier = if self.function.variadic().is_some() {
                " at least"
            } else {
                ""
            };
            let detail = format!(
                "Function {name} expects{qualifier} {} argument(s). Missing value for {}.",
                params.len(),
                quote(&missing.name)
            );
            let diagnostic = Diagnostic::error("Not enough function arguments", detail)
                .at(self.call.close)
                .within(self.expr.range());
            out.push(self.blame(diagnostic, self.expr));
            return None;
        }
        if let (None, Some(extra)) = (self.function.variadic(), args.get(params.len())) {
            let detail = format!("Function {name} expects only {} argument(s).", params.len());
            let diagnostic = Diagnostic::error("Too many function arguments", detail)
                .at(extra.start())
                .within(self.expr.range());
            out.push(self.blame(diagnostic, self.expr));
            return None;
        }
        Some(())
    }

    /// The value of an argument, converted to its parameter's type.
    fn value(&self, at: usize, given: &Given<'_>, out: &mut Diagnostics) -> Value {
        let value = match given {
            Given::Written(expr) => evaluate(expr, self.frame, out),
            Given::Element { value, .. } => value.clone(),
        };
        let Some(parameter) = self.function.parameter(at) else {
            return value;
        };
        if matches!(parameter.ty, Type::Dynamic) || *value.ty() == parameter.ty {
            return value;
        }
        convert(&value, &parameter.ty).unwrap_or_else(|error| {
            out.push(self.invalid_argument(&parameter.name, &error.to_string(), given));
            Value::unknown(parameter.ty.clone())
        })
    }

    fn invalid_argument(&self, parameter: &str, error: &str, given: &Given<'_>) -> Diagnostic {
        let detail = format!("Invalid value for {} parameter: {error}.", quote(parameter));
        let diagnostic = Diagnostic::error("Invalid function argument", detail)
            .at(given.start())
            .within(self.expr.range());
        self.blame(diagnostic, given.expr())
    }

    fn finish(
        &self,
        result: Result<Value, CallError>,
        args: &[Given<'_>],
        out: &mut Diagnostics,
    ) -> Option<Value> {
        let error = match result {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let parameter = error.argument.and_then(|at| self.function.parameter(at));
        let given = error.argument.and_then(|at| args.get(at));
        out.push(match (parameter, given) {
            (Some(parameter), Some(given)) => {
                self.invalid_argument(&parameter.name, &error.message, given)
            }
            // About a variadic parameter for which nothing was given.
            (Some(parameter), None) => {
                let detail = format!(
                    "Invalid value for {} parameter: {error}.",
                    quote(&parameter.name)
                );
                self.blame(
                    Diagnostic::error("Invalid function argument", detail).at(self.expr.range()),
                    self.expr,
                )
            }
            _ => {
                let detail = format!(
                    "Call to function {} failed: {error}.",
                    quote(&self.call.name)
                );
                let diagnostic = Diagnostic::error("Error in function call", detail)
                    .at(self.expr.start_range())
                    .within(self.expr.range());
                self.blame(diagnostic, self.expr)
            }
        });
        None
    }
}

fn unknown_function(expr: &Expr, call: &Call, frame: &Frame<'_>) -> Diagnostic {
    if !frame.scope.allows_functions() {
        return Diagnostic::error(
            "Function calls not allowed",
            "Functions may not be called here.",
        )
        .at(expr.range());
    }
    if let Some((summary, detail)) = frame.scope.explain_unknown_function(&call.name) {
        return Diagnostic::error(summary, detail)
            .at(call.name_range)
            .within(expr.range());
    }
    let names = frame.scope.function_names();
    let detail = match call.name.rfind("::") {
        Some(at) => {
            let (namespace, name) = call.name.split_at(at + 2);
            let within: Vec<_> = names
                .iter()
                .filter(|known| known.starts_with(namespace))
                .collect();
            if within.is_empty() {
                format!("There are no functions in namespace {}.", quote(namespace))
            } else {
                let hint = suggestion(name, within.iter().map(|known| &known[namespace.len()..]))
                    .map(|known| format!(" Did you mean {namespace}{known}?"))
                    .unwrap_or_default();
                format!(
                    "There is no function named {} in namespace {namespace}.{hint}",
                    quote(name)
                )
            }
        }
        None => {
            let hint = did_you_mean(&call.name, names.iter().map(|known| &**known));
            format!("There is no function named {}.{hint}", quote(&call.name))
        }
    };
    let failed = FailedCall {
        called_as: call.name.clone(),
        function: None,
    };
    let diagnostic = Diagnostic::error("Call to unknown function", detail)
        .at(call.name_range)
        .within(expr.range());
    Diagnostic {
        call: Some(failed),
        ..diagnostic
    }
}
