//! Conditions of an object: what is so, why, since when.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The longest message, in bytes.
const LONGEST: usize = 2000;

/// How a condition stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// It is not known.
    Unknown,
}

impl State {
    /// As conditions have it.
    pub fn word(self) -> &'static str {
        match self {
            State::True => "True",
            State::False => "False",
            State::Unknown => "Unknown",
        }
    }
}

/// Sets a condition for a generation of the spec; when it came to be so changes only if its state does.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    generation: i64,
    kind: &str,
    state: State,
    reason: &str,
    message: &str,
) {
    let mut message = message.to_owned();
    message.truncate(message.floor_char_boundary(LONGEST));
    let wanted = Condition {
        type_: kind.to_owned(),
        status: state.word().to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: Some(generation),
        last_transition_time: Time(
            Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default(),
        ),
    };
    match conditions
        .iter_mut()
        .find(|condition| condition.type_ == kind)
    {
        Some(condition) => {
            let since = condition.last_transition_time.clone();
            let stays = condition.status == wanted.status;
            *condition = wanted;
            if stays {
                condition.last_transition_time = since;
            }
        }
        None => conditions.push(wanted),
    }
}
