//! Operators of one and of two operands.

use super::{Frame, evaluate};
use crate::convert::convert;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::source::Range;
use crate::syntax::{Expr, Kind, Operator};
use crate::types::Type;
use crate::value::Value;

impl Operator {
    /// The type of its operands.
    fn operand_type(self) -> Type {
        match self {
            Self::Or | Self::And | Self::Not => Type::Bool,
            Self::Equal | Self::NotEqual => Type::Dynamic,
            _ => Type::Number,
        }
    }

    /// The type of its result.
    fn result_type(self) -> Type {
        match self {
            Self::Add
            | Self::Subtract
            | Self::Multiply
            | Self::Divide
            | Self::Modulo
            | Self::Negate => Type::Number,
            _ => Type::Bool,
        }
    }
}

const FAILED: &str = "Operation failed";

pub(super) fn unary(
    expr: &Expr,
    operator: Operator,
    operand: &Expr,
    frame: &Frame<'_>,
    out: &mut Diagnostics,
) -> Value {
    let result = operator.result_type();
    let mut found = Diagnostics::new();
    let given = evaluate(operand, frame, &mut found);
    let failed = found.has_errors();
    out.append(found);
    let value = match convert(&given, &operator.operand_type()) {
        Ok(value) => value,
        Err(error) => {
            let detail = format!("Unsuitable value for unary operand: {error}.");
            let diagnostic = Diagnostic::error("Invalid operand", detail)
                .at(operand.range())
                .within(expr.range());
            out.push(frame.about(diagnostic, operand));
            return Value::unknown(result);
        }
    };
    if failed {
        return Value::unknown(result);
    }
    if value.is_null() {
        let diagnostic =
            Diagnostic::error(FAILED, "Error during operation: argument must not be null.");
        out.push(frame.about(diagnostic.at(expr.range()), expr));
        return Value::unknown(result);
    }
    if !value.is_known() {
        return Value::unknown_not_null(result).with_marks(value.marks());
    }
    if operator == Operator::Negate {
        value.negate()
    } else {
        value.not()
    }
}

/// A value on the way through a chain, with what was found on the way to it.
struct Operand {
    value: Value,
    found: Diagnostics,
}

/// `first op second op third`, from left to right.
pub(super) fn chain(
    first: &Expr,
    rest: &[(Operator, Expr)],
    frame: &Frame<'_>,
    out: &mut Diagnostics,
) -> Value {
    let mut found = Diagnostics::new();
    let value = evaluate(first, frame, &mut found);
    let mut left = Operand { value, found };
    for (at, (operator, right_expr)) in rest.iter().enumerate() {
        let mut found = Diagnostics::new();
        let value = evaluate(right_expr, frame, &mut found);
        let right = Operand { value, found };
        let link = Link {
            first,
            before: &rest[..at],
            operator: *operator,
            right: right_expr,
        };
        left = link.apply(left, right, frame);
    }
    out.append(left.found);
    left.value
}

/// One operator of a chain.
struct Link<'a> {
    first: &'a Expr,
    before: &'a [(Operator, Expr)],
    operator: Operator,
    right: &'a Expr,
}

impl Link<'_> {
    fn left_range(&self) -> Range {
        self.before.last().map_or(self.first.range(), |(_, last)| {
            self.first.range().to(last.range())
        })
    }

    fn range(&self) -> Range {
        self.first.range().to(self.right.range())
    }

    /// What stands to the left, as an expression of its own.
    fn left(&self) -> Expr {
        if self.before.is_empty() {
            return self.first.clone();
        }
        Expr::new(
            self.left_range(),
            Kind::Binary {
                first: self.first.clone(),
                rest: self.before.to_vec(),
            },
        )
    }

    fn whole(&self) -> Expr {
        let rest = vec![(self.operator, self.right.clone())];
        Expr::new(
            self.range(),
            Kind::Binary {
                first: self.left(),
                rest,
            },
        )
    }

    fn apply(&self, left: Operand, right: Operand, frame: &Frame<'_>) -> Operand {
        let wanted = self.operator.operand_type();
        let result = self.operator.result_type();
        let mut found = Diagnostics::new();
        let mut converted =
            |operand: &Operand, side: &str, expr: &dyn Fn() -> Expr, range: Range| {
                if matches!(wanted, Type::Dynamic) || *operand.value.ty() == wanted {
                    return operand.value.clone();
                }
                convert(&operand.value, &wanted).unwrap_or_else(|error| {
                    let detail = format!("Unsuitable value for {side} operand: {error}.");
                    let diagnostic = Diagnostic::error("Invalid operand", detail)
                        .at(range)
                        .within(self.range());
                    found.push(frame.about(diagnostic, &expr()));
                    Value::unknown(wanted.clone())
                })
            };
        let a = converted(&left, "left", &|| self.left(), self.left_range());
        let b = converted(&right, "right", &|| self.right.clone(), self.right.range());
        if !found.is_empty() {
            found.append(left.found);
            found.append(right.found);
            return Operand {
                value: Value::unknown(result),
                found,
            };
        }
        let (a, a_marks) = a.unmark();
        let (b, b_marks) = b.unmark();
        let marks = a_marks | b_marks;
        if matches!(self.operator, Operator::Or | Operator::And)
            && let Some((value, from_left)) =
                short_circuit(self.operator, &a, &b, left.found.has_errors())
        {
            let found = if from_left { left.found } else { right.found };
            return Operand {
                value: value.with_marks(marks),
                found,
            };
        }
        found.append(left.found);
        found.append(right.found);
        if found.has_errors() {
            return Operand {
                value: Value::unknown(result).with_marks(marks),
                found,
            };
        }
        match operate(self.operator, &a, &b) {
            Ok(value) => Operand {
                value: value.with_marks(marks),
                found,
            },
            Err(error) => {
                let detail = format!("Error during operation: {error}.");
                found.push(frame.about(
                    Diagnostic::error(FAILED, detail).at(self.range()),
                    &self.whole(),
                ));
                Operand {
                    value: Value::unknown(result),
                    found,
                }
            }
        }
    }
}

/// The result of `||` or `&&` if one side decides it, and whether that is the left one: only its diagnostics count.
fn short_circuit(
    operator: Operator,
    a: &Value,
    b: &Value,
    left_failed: bool,
) -> Option<(Value, bool)> {
    let deciding = operator == Operator::Or;
    let unknown = || Value::unknown_not_null(Type::Bool);
    let decides = |value: &Value| value.as_bool() == Some(deciding);
    if !a.is_known() && !b.is_known() {
        return (!left_failed).then(|| (unknown(), true));
    }
    if decides(a) {
        return Some((Value::bool(deciding), true));
    }
    if decides(b) {
        return Some((Value::bool(deciding), false));
    }
    // What is null decides nothing: it is refused later.
    if !a.is_known() && !b.is_null() {
        return Some((unknown(), true));
    }
    if !b.is_known() && !a.is_null() {
        return Some((unknown(), false));
    }
    None
}

/// The result for operands of the right types without marks of their own.
fn operate(operator: Operator, a: &Value, b: &Value) -> Result<Value, &'static str> {
    match operator {
        Operator::Equal => return Ok(a.equals(b)),
        Operator::NotEqual => return Ok(a.equals(b).not()),
        _ => {}
    }
    if a.is_null() || b.is_null() {
        return Err("argument must not be null");
    }
    match operator {
        Operator::Or => return Ok(a.or(b)),
        Operator::And => return Ok(a.and(b)),
        Operator::Greater => return Ok(a.greater_than(b)),
        Operator::GreaterOrEqual => return Ok(a.greater_than_or_equal(b)),
        Operator::Less => return Ok(a.less_than(b)),
        Operator::LessOrEqual => return Ok(a.less_than_or_equal(b)),
        _ => {}
    }
    let (Some(x), Some(y)) = (a.as_number(), b.as_number()) else {
        return Ok(Value::unknown_not_null(Type::Number));
    };
    let number = match operator {
        Operator::Add if x.is_infinite() && y.is_infinite() && x != y => {
            return Err("can't compute sum of opposing infinities");
        }
        Operator::Add => x.add(y),
        Operator::Subtract if x.is_infinite() && x == y => {
            return Err("can't subtract infinity from itself");
        }
        Operator::Subtract => x.subtract(y),
        Operator::Multiply
            if (x.is_infinite() && y.is_zero()) || (x.is_zero() && y.is_infinite()) =>
        {
            return Err("can't multiply zero by infinity");
        }
        Operator::Multiply => x.multiply(y),
        Operator::Modulo if x.is_infinite() || y.is_infinite() => {
            return Err("can't use modulo with zero and infinity");
        }
        Operator::Modulo if y.is_zero() => x.clone(),
        Operator::Modulo => x.modulo(y),
        _ => match x.divide(y) {
            Some(quotient) => quotient,
            None => return Err("can't divide zero by zero or infinity by infinity"),
        },
    };
    Ok(Value::number(number))
}
