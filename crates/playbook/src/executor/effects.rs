//! What an action changes beside the machine: variables, and what is told.

use std::collections::BTreeMap;

use consort_jinja::Dict;

/// Where variables that an action sets are kept: what comes later hides what comes before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Layer {
    /// Facts, which may be kept from run to run.
    Fact,
    /// As those of `include_vars`.
    Include,
    /// As those of `set_fact`.
    SetFact,
    /// As those of `register`.
    Register,
}

/// What an action changes beside the machine. It takes effect when the action is done, also where it failed.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// Variables by layer. An action that sets the layer [`Layer::Fact`], be it to nothing, keeps `ansible_facts` of its
    /// result from becoming facts.
    pub variables: BTreeMap<Layer, Dict>,
    /// Warnings, told with the result.
    pub warnings: Vec<String>,
}
