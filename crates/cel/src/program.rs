//! A compiled expression.

use std::fmt;

use crate::code::Code;
use crate::eval::Run;
use crate::{Budget, EvalError, Type, Value};

/// An expression that was parsed and checked, ready to run any number of times in any thread.
pub struct Program {
    pub(crate) code: Code,
    pub(crate) ty: Type,
    /// The variables it refers to, in the order of their slots.
    pub(crate) slots: Vec<String>,
    /// How many variables of comprehensions are alive at once, at most.
    pub(crate) locals: usize,
    pub(crate) estimate: Estimate,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("ty", &self.ty)
            .field("slots", &self.slots)
            .finish_non_exhaustive()
    }
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

/// Expressions whose results other expressions use as fields of `variables` (policies have them). A later one may use
/// the earlier ones.
#[derive(Debug, Default)]
pub struct Variables {
    programs: Vec<(String, Program)>,
}

impl Variables {
    /// Adds an expression compiled in an environment that has the earlier ones ([`crate::Env::with_variables`]).
    pub fn push(&mut self, name: impl Into<String>, program: Program) {
        self.programs.push((name.into(), program));
    }

    /// Names and expressions.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Program)> {
        self.programs
            .iter()
            .map(|(name, program)| (name.as_str(), program))
    }

    pub(crate) fn find(&self, name: &str) -> Option<(usize, &Program)> {
        let index = self.programs.iter().position(|(known, _)| known == name)?;
        Some((index, &self.programs[index].1))
    }
}

/// The results of [`Variables`] over one set of bindings: each expression runs when its result is first asked for, and
/// once.
#[derive(Debug, Default)]
pub struct Memo<'a> {
    pub(crate) results: Vec<Option<Result<Value<'a>, EvalError>>>,
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

    pub(crate) fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.values
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }
}

impl Program {
    /// The type of the result.
    pub fn ty(&self) -> &Type {
        &self.ty
    }

    /// Whether the expression refers to this variable (`oldSelf` makes a rule a transition rule).
    pub fn uses(&self, variable: &str) -> bool {
        self.slots.iter().any(|slot| slot == variable)
    }

    /// Runs the expression. What it cost is taken from `budget`, also when it fails.
    ///
    /// # Errors
    /// When the expression has no answer for these values, or costs too much.
    pub fn evaluate<'a>(
        &'a self,
        bindings: &Bindings<'a>,
        budget: &mut Budget,
    ) -> Result<Value<'a>, EvalError> {
        Run::new(self, bindings, None, budget).evaluate(self, budget)
    }

    /// The same with the results of other expressions as `variables`; what they cost is taken from `budget` too, each
    /// under the limit of its own call.
    ///
    /// # Errors
    /// As [`Program::evaluate`]; the failure of a variable's expression is that of the one which asks for it.
    pub fn evaluate_with<'a>(
        &'a self,
        bindings: &Bindings<'a>,
        variables: &'a Variables,
        memo: &mut Memo<'a>,
        budget: &mut Budget,
    ) -> Result<Value<'a>, EvalError> {
        Run::new(self, bindings, Some((variables, memo)), budget).evaluate(self, budget)
    }

    /// The bounds of the cost, from the sizes the declarations of the variables allow.
    pub fn estimate(&self) -> Estimate {
        self.estimate
    }
}
