//! Spans of time.

use std::fmt::Write as _;
use std::sync::Arc;

use consort_jinja::{Arguments, Object, Result, Value};

/// A span of time: what Python calls a `timedelta`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Span {
    /// Its microseconds.
    pub(super) micros: i64,
}

const DAY: i64 = 86_400_000_000;

impl Span {
    pub(super) fn value(micros: i64) -> Value {
        Value::Object(Arc::new(Span { micros }))
    }
}

impl Object for Span {
    fn type_name(&self) -> &'static str {
        "timedelta"
    }

    fn get(&self, name: &str) -> Option<Value> {
        Some(Value::Int(match name {
            "days" => self.micros.div_euclid(DAY),
            "seconds" => self.micros.rem_euclid(DAY) / 1_000_000,
            "microseconds" => self.micros.rem_euclid(1_000_000),
            _ => return None,
        }))
    }

    fn call_method(
        &self,
        _: &mut consort_jinja::State<'_, '_>,
        name: &str,
        _: &Arguments,
    ) -> Option<Result<Value>> {
        (name == "total_seconds").then(|| Ok(Value::Float(self.micros as f64 / 1e6)))
    }

    fn operate(&self, operator: &str, other: &Value, reflected: bool) -> Option<Result<Value>> {
        let number = match other {
            Value::Int(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            _ => None,
        };
        let span = match other {
            Value::Object(object) => object.any().downcast_ref::<Span>().copied(),
            _ => None,
        };
        let micros = match (operator, span, number) {
            ("+", Some(other), _) => self.micros.checked_add(other.micros)?,
            ("-", Some(other), _) if reflected => other.micros.checked_sub(self.micros)?,
            ("-", Some(other), _) => self.micros.checked_sub(other.micros)?,
            ("*", _, Some(number)) => (self.micros as f64 * number).round_ties_even() as i64,
            ("/", Some(other), _) if other.micros != 0 => {
                return Some(Ok(Value::Float(self.micros as f64 / other.micros as f64)));
            }
            ("/", _, Some(number)) if number != 0.0 && !reflected => {
                (self.micros as f64 / number).round_ties_even() as i64
            }
            ("//", Some(other), _) if other.micros != 0 => {
                // Python rounds down, whatever the signs.
                let quotient = self.micros.checked_div(other.micros)?;
                let below =
                    self.micros % other.micros != 0 && (self.micros < 0) != (other.micros < 0);
                return Some(Ok(Value::Int(quotient - i64::from(below))));
            }
            _ => return None,
        };
        Some(Ok(Span::value(micros)))
    }

    fn order(&self, other: &dyn Object) -> Option<std::cmp::Ordering> {
        Some(self.micros.cmp(&other.any().downcast_ref::<Span>()?.micros))
    }

    fn equals(&self, other: &dyn Object) -> bool {
        other.any().downcast_ref::<Span>() == Some(self)
    }

    fn truth(&self) -> bool {
        self.micros != 0
    }

    fn repr(&self) -> String {
        let mut parts = Vec::new();
        for name in ["days", "seconds", "microseconds"] {
            if let Some(Value::Int(value)) = self.get(name)
                && value != 0
            {
                parts.push(format!("{name}={value}"));
            }
        }
        if parts.is_empty() {
            parts.push("0".to_owned());
        }
        format!("datetime.timedelta({})", parts.join(", "))
    }

    fn text(&self) -> String {
        let days = self.micros.div_euclid(DAY);
        let rest = self.micros.rem_euclid(DAY);
        let seconds = rest / 1_000_000;
        let mut text = String::new();
        if days != 0 {
            let _ = write!(
                text,
                "{days} day{}, ",
                if days.abs() == 1 { "" } else { "s" }
            );
        }
        let _ = write!(
            text,
            "{}:{:02}:{:02}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        );
        if rest % 1_000_000 != 0 {
            let _ = write!(text, ".{:06}", rest % 1_000_000);
        }
        text
    }

    fn any(&self) -> &dyn std::any::Any {
        self
    }
}
