//! Conditions of a score: what is so, why, since when.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::object::Status;

/// The longest message.
const LONGEST: usize = 2000;

/// How a condition stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    True,
    False,
    Unknown,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::True => "True",
            State::False => "False",
            State::Unknown => "Unknown",
        }
    }
}

/// Sets a condition; when it came to be so changes only if its state does.
pub(super) fn set(status: &mut Status, kind: &str, state: State, reason: &str, message: &str) {
    let mut message = message.to_owned();
    message.truncate(message.floor_char_boundary(LONGEST));
    let generation = status.observed_generation;
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
    match status
        .conditions
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
        None => status.conditions.push(wanted),
    }
}

/// Takes a condition away that no longer means anything.
pub(super) fn clear(status: &mut Status, kind: &str) {
    status
        .conditions
        .retain(|condition| condition.type_ != kind);
}
