//! What will go away, told when it is used.

use consort_jinja::Value;

use super::held;
use crate::source::{Located, Removal};
use crate::variables::Old;

/// Tells, in a result, that something that will go away was used.
pub(super) fn told(old: Old) -> Value {
    let (message, hint, version) = match old {
        Old::InjectedFact => (
            "INJECT_FACTS_AS_VARS default to `True` is deprecated, top-level facts will not be auto injected after the change.",
            "Use `ansible_facts[\"fact_name\"]` (no `ansible_` prefix) instead.",
            "2.24",
        ),
        Old::PlayHosts => (
            "The `play_hosts` magic variable is deprecated.",
            "Use `ansible_play_batch` instead.",
            "2.23",
        ),
        Old::Vars => (
            "The internal \"vars\" dictionary is deprecated.",
            "Use the `vars` and `varnames` lookups instead.",
            "2.24",
        ),
    };
    held::deprecation(
        &Located::new(message).hint(hint),
        &Removal::of_core(version),
    )
}
