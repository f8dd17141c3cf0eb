//! Arithmetic whose results are those of the decimal numbers that are written: `0.1 + 0.2` is `0.3`.

use regorus::Value;

use super::{Failure, Function, Outcome, operand, wrong};

pub(super) const FUNCTIONS: &[Function] = &[
    ("internal.add", 2, |operands| compute(operands, '+')),
    ("internal.subtract", 2, |operands| compute(operands, '-')),
    ("internal.multiply", 2, |operands| compute(operands, '*')),
    ("internal.divide", 2, |operands| compute(operands, '/')),
];

/// Digits and how many of them are behind the point.
fn decimal(value: &Value) -> Option<(i128, u32)> {
    let text = serde_json::to_string(value).ok()?;
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((&text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let places = i32::try_from(fraction.len()).ok()? - exponent.parse::<i32>().ok()?;
    match u32::try_from(places) {
        Ok(places) => Some((digits, places)),
        Err(_) => Some((
            digits.checked_mul(10_i128.checked_pow(places.unsigned_abs())?)?,
            0,
        )),
    }
}

fn number(digits: i128, places: u32) -> Option<Value> {
    Value::from_numeric_string(&format!("{digits}e-{places}")).ok()
}

fn exact(left: &Value, right: &Value, operator: char) -> Option<Value> {
    let ((a, a_places), (b, b_places)) = (decimal(left)?, decimal(right)?);
    if operator == '*' {
        return number(a.checked_mul(b)?, a_places.checked_add(b_places)?);
    }
    let places = a_places.max(b_places);
    let a = a.checked_mul(10_i128.checked_pow(places - a_places)?)?;
    let b = b.checked_mul(10_i128.checked_pow(places - b_places)?)?;
    match operator {
        '+' => number(a.checked_add(b)?, places),
        '-' => number(a.checked_sub(b)?, places),
        _ if b != 0 && a % b == 0 => number(a / b, 0),
        #[expect(
            clippy::cast_precision_loss,
            reason = "a quotient that does not end is rounded"
        )]
        _ if b != 0 => Some(Value::from(a as f64 / b as f64)),
        _ => None,
    }
}

fn compute(operands: &[Value], operator: char) -> Outcome {
    let (left, right) = (operand(operands, 0), operand(operands, 1));
    let (a, b) = match (left, right) {
        (Value::Number(a), Value::Number(b)) => (a, b),
        (Value::Set(a), Value::Set(b)) if operator == '-' => {
            return Ok(a.difference(b).into_value());
        }
        (Value::Set(_), _) if operator == '-' => return Err(wrong(operands, 1, "set")),
        (Value::Number(_), _) => return Err(wrong(operands, 1, "number")),
        _ => return Err(wrong(operands, 0, "number")),
    };
    let failed = |error: anyhow::Error| Failure::Other(error.to_string());
    if operator == '/' && b.as_f64() == Some(0.0) {
        return Err("divide by zero".into());
    }
    if !(a.is_integer() && b.is_integer())
        && let Some(value) = exact(left, right, operator)
    {
        return Ok(value);
    }
    let result = match operator {
        '+' => a.add(b),
        '-' => a.sub(b),
        '*' => a.mul(b),
        _ => a.clone().divide(b),
    };
    result.map(Value::from).map_err(failed)
}
