//! The functions that every template of a playbook knows: `now` and `undef`.

use std::sync::Arc;

use consort_jinja::{Environment, Native, Takes, Undefined, Value, repr};

use super::context::refused;
use super::time::{Moment, format};
use crate::source::Timestamp;

/// Adds all.
pub(super) fn add(environment: &mut Environment) {
    let now = Native::function("now", Takes::Defined, |state, arguments| {
        state.changes_from_call_to_call();
        let [utc, written] = arguments.bind("now", ["utc", "fmt"])?;
        let utc = utc.map_or(Ok(false), |utc| utc.truth())?;
        let moment = Moment::now(utc);
        match written {
            Some(written) if written.truth()? => Ok(Value::from(format(&moment, &written.text()?))),
            _ => Ok(Timestamp {
                at: moment.at,
                timed: true,
                offset: None,
            }
            .into_value()),
        }
    });
    environment.add_global("now", now);
    let undef = Native::function("undef", Takes::Anything, |state, arguments| {
        let [hint] = arguments.bind("undef", ["hint"])?;
        let message = match hint {
            Some(Value::Undefined(undefined)) => return Err(undefined.as_error()),
            Some(Value::Str(hint)) if !hint.is_empty() => hint.to_string(),
            None | Some(Value::None | Value::Str(_)) => {
                "Mandatory variable has not been overridden".to_owned()
            }
            Some(other) => {
                return refused(format!(
                    "The 'hint' argument must be of type 'str' or 'NoneType', not {}.",
                    repr::string(other.type_name())
                ));
            }
        };
        Ok(Value::Undefined(Arc::new(Undefined {
            message,
            error: None,
            name: None,
            template: state.current().cloned(),
            silent: false,
        })))
    });
    environment.add_global("undef", undef);
}
