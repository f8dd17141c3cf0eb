//! `templatefile` and `templatestring`.

use std::path::Path;
use std::sync::Arc;

use super::arguments::parameter;
use super::{Options, Table, file};
use crate::diagnostic::Diagnostics;
use crate::evaluate::{Argument, CallError, Function, Functions, Parameter, Scope, Tables};
use crate::marks::Marks;
use crate::source::Sources;
use crate::syntax::{is_identifier, parse_template};
use crate::text::quote;
use crate::types::Type;
use crate::value::{Kind, Value};

/// Adds the two functions, whose templates may call what is in the table by now.
pub(super) fn add(table: &mut Table, options: &Options) {
    let mut within = Table(table.0.clone());
    for name in ["templatefile", "templatestring"] {
        let parameters = vec![
            parameter("template", Type::Dynamic),
            parameter("vars", Type::Dynamic),
        ];
        let refuse = move |_: &[Value]| {
            Err(CallError::new(format!(
                "cannot recursively call {name} from inside another template function"
            )))
        };
        within.add(
            name,
            Function::returning(Type::Dynamic, parameters, None, refuse),
        );
    }
    let functions = Arc::new(within.namespaced());
    table.add(
        "templatefile",
        template_file(&options.base_dir, functions.clone()),
    );
    table.add("templatestring", template_string(functions));
}

fn template_file(base_dir: &Path, functions: Arc<Functions>) -> Function {
    let base_dir = base_dir.to_owned();
    let parameters = vec![
        parameter("path", Type::String).marked(),
        parameter("vars", Type::Dynamic),
    ];
    let call = move |args: &[Value], _: &Type, scope: &dyn Scope| {
        let path = args[0].as_str().unwrap_or_default();
        let marks = args[0].marks();
        let bytes = file::read(&base_dir, path, marks)?;
        let text = file::utf8(bytes, path, marks)?;
        let value = render(path, &text, &args[1], &functions, scope)?;
        Ok(value.with_marks(marks))
    };
    Function::scoped(parameters, None, |_| Ok(Type::Dynamic), call)
}

fn template_string(functions: Arc<Functions>) -> Function {
    const DIRECT: &str = "invalid template expression: must be a direct reference to a single string from elsewhere, \
                          containing valid Terraform template syntax";
    const LITERAL: &str = "invalid template expression: templatestring is only for rendering templates retrieved \
                           dynamically from elsewhere, and so does not support providing a literal template; consider \
                           using a template string expression instead";
    const INLINE: &str = "invalid template expression: templatestring is only for rendering templates retrieved \
                          dynamically from elsewhere; to render an inline template, consider using a plain template \
                          string expression";
    let parameters = vec![
        Parameter::deferred("template"),
        parameter("vars", Type::Dynamic)
            .marked()
            .unknown()
            .dynamic()
            .null(),
    ];
    Function::lazy(parameters, None, move |args| {
        let [Argument::Deferred(template), Argument::Value(vars)] = args else {
            return Err(CallError::new("wrong number of arguments (2 required)"));
        };
        let expr = template.expr();
        let blame = |message: &str| CallError::argument(0, message);
        if expr.as_traversal().is_none() {
            let (value, diagnostics) = expr.evaluate_constant();
            let literal = !diagnostics.has_errors() && matches!(value.ty(), Type::String);
            return Err(blame(match expr.kind() {
                _ if literal => LITERAL,
                crate::syntax::Kind::Template { .. } => INLINE,
                _ => DIRECT,
            }));
        }
        let (value, diagnostics) = template.evaluate();
        if diagnostics.has_errors() {
            let reason = diagnostics.iter().next().map(|d| d.detail.clone());
            return Err(blame(&format!(
                "invalid template expression: {}",
                reason.unwrap_or_default()
            )));
        }
        let (value, value_marks) = value.unmark();
        let (vars, vars_marks) = vars.clone().unmark_deep();
        let marks = value_marks | vars_marks;
        if !value.is_known() || !vars.is_known() {
            return Ok(Value::DYNAMIC.with_marks(marks));
        }
        let Kind::String(text) = value.kind() else {
            return Err(blame("invalid template value: a string is required"));
        };
        if vars.is_null() {
            return Err(CallError::argument(1, "argument must not be null"));
        }
        render(
            "<templatestring argument>",
            text,
            &vars,
            &functions,
            template.scope(),
        )
        .map(|value| value.with_marks(marks))
        .map_err(|e| match e {
            Failure::Syntax(e) => blame(&format!("invalid template: {e}")),
            other => other.into(),
        })
    })
}

/// Why a template has no value.
enum Failure {
    Syntax(String),
    Variables(String),
    Evaluation(String),
}

impl From<Failure> for CallError {
    fn from(failure: Failure) -> CallError {
        match failure {
            Failure::Variables(message) => CallError::argument(1, message),
            Failure::Syntax(message) | Failure::Evaluation(message) => CallError::new(message),
        }
    }
}

/// The value of a template. With one part only it may be something else than text.
fn render(
    name: &str,
    text: &str,
    vars: &Value,
    functions: &Arc<Functions>,
    caller: &dyn Scope,
) -> Result<Value, Failure> {
    let blame = Failure::Variables;
    let (Kind::Map(variables) | Kind::Object(variables)) = vars.kind() else {
        return Err(blame("invalid vars value: must be a map".to_owned()));
    };
    let mut sources = Sources::new();
    let (expr, diagnostics) = parse_template(&mut sources, name, text);
    if diagnostics.has_errors() {
        return Err(Failure::Syntax(told(&diagnostics, &sources)));
    }
    if let Some(wrong) = variables.keys().find(|name| !is_identifier(name)) {
        return Err(blame(format!(
            "invalid template variable name {}: must start with a letter, followed by zero or more letters, digits, \
             and underscores",
            quote(wrong)
        )));
    }
    for reference in expr.references() {
        if !variables.contains_key(&*reference.root) {
            let place = sources.describe(reference.range());
            let root = quote(&reference.root);
            return Err(blame(format!(
                "vars map does not contain key {root}, referenced at {place}"
            )));
        }
    }
    let outside = ProvidersOf(caller);
    let mut scope = Tables::new(functions.clone());
    scope.parent = Some(&outside);
    scope.variables = variables
        .iter()
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let (value, diagnostics) = expr.evaluate(&scope);
    if diagnostics.has_errors() {
        return Err(Failure::Evaluation(told(&diagnostics, &sources)));
    }
    debug_assert!(vars.marks() == Marks::NONE);
    Ok(value)
}

/// What a template sees of where it is rendered: the functions of providers.
struct ProvidersOf<'c>(&'c dyn Scope);

impl Scope for ProvidersOf<'_> {
    fn variable(&self, _root: &str) -> Option<Value> {
        None
    }

    fn function(&self, name: &str) -> Option<Arc<Function>> {
        name.starts_with("provider::")
            .then(|| self.0.function(name))
            .flatten()
    }
}

/// The first error with its place, and how many others there are.
fn told(diagnostics: &Diagnostics, sources: &Sources) -> String {
    let mut all = diagnostics.iter();
    let Some(first) = all.next() else {
        return "no diagnostics".to_owned();
    };
    let place = first
        .subject
        .map(|range| format!("{}: ", sources.describe(range)))
        .unwrap_or_default();
    let text = format!("{place}{}; {}", first.summary, first.detail);
    match all.count() {
        0 => text,
        others => format!("{text}, and {others} other diagnostic(s)"),
    }
}
