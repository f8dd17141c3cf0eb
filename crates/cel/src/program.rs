//! A compiled expression.

use crate::{Budget, EvalError, Type, Value};

/// An expression that was parsed and checked, ready to run any number of times in any thread.
#[derive(Debug)]
pub struct Program {
    ty: Type,
}

/// The values of an environment's variables for one evaluation.
#[derive(Clone, Debug, Default)]
pub struct Bindings<'a> {
    values: Vec<(&'a str, Value<'a>)>,
}

/// The bounds of what an evaluation costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// At least.
    pub min: u64,
    /// At most, for values that fit their schemas. [`u64::MAX`] when nothing bounds it.
    pub max: u64,
}

impl<'a> Bindings<'a> {
    /// No values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the value of a variable.
    #[must_use]
    pub fn with(mut self, name: &'a str, value: Value<'a>) -> Self {
        self.values.push((name, value));
        self
    }
}

impl Program {
    /// The type of the result.
    pub fn ty(&self) -> &Type {
        &self.ty
    }

    /// Whether the expression refers to this variable (`oldSelf` makes a rule a transition rule).
    pub fn uses(&self, variable: &str) -> bool {
        let _ = variable;
        false
    }

    /// Runs the expression. What it cost is taken from `budget`, also when it fails.
    pub fn evaluate<'a>(
        &'a self,
        bindings: &Bindings<'a>,
        budget: &mut Budget,
    ) -> Result<Value<'a>, EvalError> {
        let _ = (&bindings.values, budget);
        Err(EvalError::Failed("not built yet".into()))
    }

    /// The bounds of the cost, from the sizes the declarations of the variables allow.
    pub fn estimate(&self) -> Estimate {
        Estimate {
            min: 0,
            max: u64::MAX,
        }
    }
}
