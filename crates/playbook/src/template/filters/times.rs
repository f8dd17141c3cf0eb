//! Filters over points in time.

use consort_jinja::{Arguments, Environment, Error, Result, State, Value, repr};

use super::{add_all, flag, given};
use crate::template::context::{lazy_name, refused};
use crate::template::time::{Moment, format, parse};

pub(super) fn add(environment: &mut Environment) {
    add_all(
        environment,
        &[("to_datetime", to_datetime), ("strftime", strftime)],
    );
}

fn to_datetime(_: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let [format] = arguments.bind("to_datetime", ["format"])?;
    let format = format.unwrap_or_else(|| Value::from("%Y-%m-%d %H:%M:%S"));
    for (at, value) in [(1, &value), (2, &format)] {
        if !matches!(value, Value::Str(_)) {
            return refused(format!(
                "strptime() argument {at} must be str, not {}",
                lazy_name(value)
            ));
        }
    }
    parse(&value.text()?, &format.text()?)
        .map(crate::source::Timestamp::into_value)
        .map_err(Error::failed)
}

fn strftime(state: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let [second, utc] = arguments.bind("strftime", ["second", "utc"])?;
    let utc = flag(utc)?;
    let Value::Str(written) = &value else {
        return refused(format!(
            "strftime() argument 1 must be str, not {}",
            value.type_name()
        ));
    };
    let moment = match given(second) {
        None => {
            state.changes_from_call_to_call();
            let mut moment = Moment::now(utc);
            if utc {
                moment.zone = Some((0, "UTC".to_owned()));
            }
            moment
        }
        Some(second) => {
            let seconds = match &second {
                Value::Int(number) => Some(*number as f64),
                Value::Float(number) => Some(*number),
                Value::Bool(value) => Some(f64::from(u8::from(*value))),
                Value::Str(text) => text.trim().parse().ok(),
                _ => None,
            };
            let Some(seconds) = seconds else {
                return refused(format!(
                    "Invalid value for epoch value ({})",
                    repr::text(&second)
                ));
            };
            Moment::of_seconds(seconds, utc, utc).map_err(Error::failed)?
        }
    };
    Ok(Value::from(format(&moment, written)))
}
