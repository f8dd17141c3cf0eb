//! Going back to a revision, and what of it is the same as before.

use consort_plan::{Action, Change, Reversal};

/// What can be done about a change once it is made: a word and a sentence why.
///
/// The layer that planned the change says which it is ([`Change::reversal`]); this says what that means for what is done.
pub fn label(change: &Change) -> String {
    let why = match (change.reversal, change.action) {
        (_, Action::NoOp | Action::Read) => "nothing is changed by it",
        (Reversal::Reversible, Action::Create) => {
            "what is made can be deleted again and leaves nothing behind"
        }
        (Reversal::Reversible, Action::Update) => "its fields can be set back to what they were",
        (Reversal::Reversible, Action::Delete) => "it can be made again as it was",
        (Reversal::Reversible, Action::Forget) => "it stays as it is and can be looked after again",
        (Reversal::Reversible, _) => "what takes its place is as it was",
        (Reversal::Compensable, Action::Create) => {
            "what is made can be deleted again, but others may have come to know it"
        }
        (Reversal::Compensable, Action::Update) => {
            "its fields can be set back, but what came of them in between stays"
        }
        (Reversal::Compensable, Action::Delete) => {
            "it can be made again, but as another one: new identity, new addresses, no history"
        }
        (Reversal::Compensable, Action::Forget) => {
            "it stays and can be taken in again, but has to be imported"
        }
        (Reversal::Compensable, _) => {
            "what takes its place is another one: new identity, new addresses, no history"
        }
        (Reversal::Irreversible, Action::Create) => {
            "what it sets off by coming to be cannot be taken back"
        }
        (Reversal::Irreversible, Action::Update) => {
            "what this change takes away cannot be brought back"
        }
        (Reversal::Irreversible, Action::Delete) => {
            "what it holds goes with it and cannot be brought back"
        }
        (Reversal::Irreversible, Action::Forget) => "who looked after it cannot be found out again",
        (Reversal::Irreversible, _) => {
            "what the present one holds goes with it; the one that takes its place is empty"
        }
    };
    let word = word(change.reversal);
    format!("{word}: {why}")
}

/// `reversible`, `compensable`, `irreversible`.
pub fn word(reversal: Reversal) -> &'static str {
    match reversal {
        Reversal::Reversible => "reversible",
        Reversal::Compensable => "compensable",
        Reversal::Irreversible => "irreversible",
    }
}
