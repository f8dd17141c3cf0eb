//! What can be called, and how a call treats nulls, unknowns and marks.

use std::fmt;
use std::sync::Arc;

use crate::diagnostic::Diagnostics;
use crate::evaluate::Scope;
use crate::marks::Marks;
use crate::syntax::Expr;
use crate::types::Type;
use crate::value::Value;

/// A parameter of a [`Function`].
#[derive(Clone, Debug)]
pub struct Parameter {
    /// The name, for messages.
    pub name: Arc<str>,
    /// What an argument is converted to; dynamic parts take anything.
    pub ty: Type,
    /// What the parameter is for; may be empty.
    pub description: Arc<str>,
    /// Null is given to the function; otherwise it is an error.
    pub allow_null: bool,
    /// Unknown values are given to the function; otherwise the result is unknown without a call.
    pub allow_unknown: bool,
    /// Values of unknown type are given to the type function; otherwise the result's type is unknown.
    pub allow_dynamic: bool,
    /// Marked values are given as they are; otherwise marks are taken off and put on the result.
    pub allow_marked: bool,
    /// The argument is not evaluated but handed over as [`Argument::Deferred`].
    pub lazy: bool,
}

impl Parameter {
    /// A parameter that takes known, unmarked values that are not null.
    pub fn new(name: &str, ty: Type) -> Self {
        Self {
            name: Arc::from(name),
            ty,
            description: Arc::from(""),
            allow_null: false,
            allow_unknown: false,
            allow_dynamic: false,
            allow_marked: false,
            lazy: false,
        }
    }

    /// A parameter whose argument is handed over unevaluated.
    pub fn deferred(name: &str) -> Self {
        Self {
            lazy: true,
            ..Self::new(name, Type::Dynamic)
        }
    }

    /// Takes null.
    #[must_use]
    pub fn null(mut self) -> Self {
        self.allow_null = true;
        self
    }

    /// Takes unknown values.
    #[must_use]
    pub fn unknown(mut self) -> Self {
        self.allow_unknown = true;
        self
    }

    /// Takes values of unknown type.
    #[must_use]
    pub fn dynamic(mut self) -> Self {
        self.allow_dynamic = true;
        self
    }

    /// Takes marked values.
    #[must_use]
    pub fn marked(mut self) -> Self {
        self.allow_marked = true;
        self
    }
}

/// Why a call failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    /// The argument to blame, if one is.
    pub argument: Option<usize>,
    /// What is wrong, in lower case and without a full stop, as it is put into a sentence.
    pub message: String,
}

impl CallError {
    /// A failure of the call as a whole.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            argument: None,
            message: message.into(),
        }
    }

    /// A failure because of one argument.
    pub fn argument(index: usize, message: impl Into<String>) -> Self {
        Self {
            argument: Some(index),
            message: message.into(),
        }
    }
}

/// An argument as it was written, with what is needed to evaluate it.
#[derive(Clone, Copy)]
pub struct Deferred<'a> {
    expr: &'a Expr,
    frame: &'a super::Frame<'a>,
}

impl<'a> Deferred<'a> {
    pub(super) fn new(expr: &'a Expr, frame: &'a super::Frame<'a>) -> Self {
        Self { expr, frame }
    }

    /// The expression.
    pub fn expr(&self) -> &Expr {
        self.expr
    }

    /// Its value. Diagnostics carry no observed values: they are likely to be dropped.
    pub fn evaluate(&self) -> (Value, Diagnostics) {
        super::evaluate_quietly(self.expr, self.frame)
    }

    /// The scope the call was made in, without the variables of `for` expressions around it.
    pub fn scope(&self) -> &dyn Scope {
        self.frame.scope
    }
}

/// An argument of a call.
#[derive(Clone)]
pub enum Argument<'a> {
    /// Evaluated, and converted to the parameter's type.
    Value(Value),
    /// As written, for parameters that are [`Parameter::lazy`].
    Deferred(Deferred<'a>),
}

type TypeFn = dyn Fn(&[Value]) -> Result<Type, CallError> + Send + Sync;
type CallFn = dyn Fn(&[Value], &Type, &dyn Scope) -> Result<Value, CallError> + Send + Sync;
type LazyFn = dyn Fn(&[Argument<'_>]) -> Result<Value, CallError> + Send + Sync;

enum Body {
    Eager { ty: Box<TypeFn>, call: Box<CallFn> },
    Lazy(Box<LazyFn>),
}

/// A function of the expression language.
pub struct Function {
    params: Vec<Parameter>,
    variadic: Option<Parameter>,
    description: Arc<str>,
    not_null: bool,
    body: Body,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function")
            .field("params", &self.params)
            .field("variadic", &self.variadic)
            .finish_non_exhaustive()
    }
}

impl Function {
    /// A function whose result's type follows from its arguments (which may be unknown).
    pub fn new(
        params: Vec<Parameter>,
        variadic: Option<Parameter>,
        ty: impl Fn(&[Value]) -> Result<Type, CallError> + Send + Sync + 'static,
        call: impl Fn(&[Value], &Type) -> Result<Value, CallError> + Send + Sync + 'static,
    ) -> Self {
        Self::scoped(params, variadic, ty, move |args, ty, _| call(args, ty))
    }

    /// A function that evaluates something itself, with what names mean where it is called.
    pub fn scoped(
        params: Vec<Parameter>,
        variadic: Option<Parameter>,
        ty: impl Fn(&[Value]) -> Result<Type, CallError> + Send + Sync + 'static,
        call: impl Fn(&[Value], &Type, &dyn Scope) -> Result<Value, CallError> + Send + Sync + 'static,
    ) -> Self {
        let body = Body::Eager {
            ty: Box::new(ty),
            call: Box::new(call),
        };
        Self {
            params,
            variadic,
            description: Arc::from(""),
            not_null: false,
            body,
        }
    }

    /// A function whose result always has one type.
    pub fn returning(
        ty: Type,
        params: Vec<Parameter>,
        variadic: Option<Parameter>,
        call: impl Fn(&[Value]) -> Result<Value, CallError> + Send + Sync + 'static,
    ) -> Self {
        Self::new(
            params,
            variadic,
            move |_| Ok(ty.clone()),
            move |args, _| call(args),
        )
    }

    /// A function with parameters that are [`Parameter::lazy`]. It sees all arguments as they are given:
    /// nulls, unknowns and marks are its own business.
    pub fn lazy(
        params: Vec<Parameter>,
        variadic: Option<Parameter>,
        call: impl Fn(&[Argument<'_>]) -> Result<Value, CallError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            params,
            variadic,
            description: Arc::from(""),
            not_null: false,
            body: Body::Lazy(Box::new(call)),
        }
    }

    /// Says that results are never null, so that unknown ones are refined to that.
    #[must_use]
    pub fn never_null(mut self) -> Self {
        self.not_null = true;
        self
    }

    /// With a description.
    #[must_use]
    pub fn described(mut self, description: &str) -> Self {
        self.description = Arc::from(description);
        self
    }

    /// The positional parameters.
    pub fn params(&self) -> &[Parameter] {
        &self.params
    }

    /// The parameter of all further arguments, if any are taken.
    pub fn variadic(&self) -> Option<&Parameter> {
        self.variadic.as_ref()
    }

    /// What the function is for; may be empty.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The parameter the argument at `index` is for.
    pub fn parameter(&self, index: usize) -> Option<&Parameter> {
        self.params.get(index).or(self.variadic.as_ref())
    }

    /// Whether some argument is handed over unevaluated.
    pub(super) fn is_lazy(&self) -> bool {
        matches!(self.body, Body::Lazy(_))
    }

    /// The type of the result for arguments of the parameters' own types: what documentation shows.
    pub fn return_type(&self) -> Type {
        let Body::Eager { ty, .. } = &self.body else {
            return Type::Dynamic;
        };
        let args: Vec<_> = self
            .params
            .iter()
            .chain(&self.variadic)
            .map(|parameter| Value::unknown(parameter.ty.clone()))
            .collect();
        if self
            .params
            .iter()
            .chain(&self.variadic)
            .any(|p| matches!(p.ty, Type::Dynamic) && !p.allow_dynamic)
        {
            return Type::Dynamic;
        }
        ty(&args).unwrap_or(Type::Dynamic)
    }

    pub(super) fn call_lazy(&self, args: &[Argument<'_>]) -> Result<Value, CallError> {
        match &self.body {
            Body::Lazy(call) => call(args),
            Body::Eager { .. } => Err(CallError::new("arguments were given unevaluated")),
        }
    }

    /// Calls the function with values that already have the parameters' types, by the rules of go-cty's
    /// `function.Call`: null and unknown arguments and marks are handled here unless a parameter takes them.
    pub fn call(&self, args: &[Value]) -> Result<Value, CallError> {
        self.call_in(args, &super::Nothing)
    }

    /// As [`Function::call`], with the scope the call is made in.
    pub fn call_in(&self, args: &[Value], scope: &dyn Scope) -> Result<Value, CallError> {
        let Body::Eager { ty, call } = &self.body else {
            let args: Vec<_> = args
                .iter()
                .map(|arg| Argument::Value(arg.clone()))
                .collect();
            return self.call_lazy(&args);
        };
        self.check_count(args.len())?;
        let mut marks = Marks::default();
        let mut unknown = false;
        let mut dynamic = false;
        let mut plain = Vec::with_capacity(args.len());
        for (index, arg) in args.iter().enumerate() {
            let Some(parameter) = self.parameter(index) else {
                break;
            };
            if arg.is_null() && !parameter.allow_null && !dynamic {
                return Err(CallError::argument(index, "argument must not be null"));
            }
            dynamic |= matches!(arg.ty(), Type::Dynamic) && !parameter.allow_dynamic;
            unknown |= !arg.is_known() && !parameter.allow_unknown;
            if parameter.allow_marked {
                plain.push(arg.clone());
            } else {
                let (value, found) = arg.clone().unmark_deep();
                marks |= found;
                plain.push(value);
            }
        }
        if dynamic {
            return Ok(Value::unknown(Type::Dynamic).with_marks(marks));
        }
        let result = ty(&plain)?;
        let value = if unknown {
            // Marks that the function would have looked after itself.
            let all = args
                .iter()
                .fold(Marks::default(), |all, arg| all | arg.deep_marks());
            Value::unknown(result).with_marks(all)
        } else {
            call(&plain, &result, scope)?
        };
        let value = if self.not_null && !value.is_known() && !matches!(value.ty(), Type::Dynamic) {
            value.refined_not_null()
        } else {
            value
        };
        Ok(if marks.is_empty() {
            value
        } else {
            value.with_marks(marks)
        })
    }

    fn check_count(&self, given: usize) -> Result<(), CallError> {
        let wanted = self.params.len();
        if self.variadic.is_none() && given != wanted {
            return Err(CallError::new(format!(
                "wrong number of arguments ({wanted} required; {given} given)"
            )));
        }
        if given < wanted {
            return Err(CallError::new(format!(
                "wrong number of arguments (at least {wanted} required; {given} given)"
            )));
        }
        Ok(())
    }
}
