//! Values of the root module's variables.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_hcl::Value;

use crate::config::{Tree, Variable};
use crate::engine::Given;

/// The root module's variables.
#[derive(Default)]
pub struct Variables {
    /// Of their types and marked.
    pub values: BTreeMap<Arc<str>, Value>,
    /// How they were given.
    pub given: BTreeMap<Arc<str>, Given>,
}

impl Variables {
    /// Those a plan was made with.
    pub fn of(plan: &crate::engine::Plan) -> Variables {
        Variables {
            values: plan.variables.clone(),
            given: plan
                .given
                .iter()
                .map(|(name, value)| {
                    let given = Given {
                        value: value.clone(),
                        range: None,
                    };
                    (Arc::clone(name), given)
                })
                .collect(),
        }
    }
}

/// The ephemeral variables that somebody gave a value.
pub fn ephemeral(
    tree: &Tree,
    variables: &BTreeMap<Arc<str>, Value>,
) -> std::collections::BTreeSet<Arc<str>> {
    variables
        .iter()
        .filter(|(name, value)| {
            tree.module
                .variables
                .get(*name)
                .is_some_and(|variable| variable.ephemeral && !is_default(variable, value))
        })
        .map(|(name, _)| Arc::clone(name))
        .collect()
}

/// Whether a value is the variable's default.
pub fn is_default(variable: &Variable, value: &Value) -> bool {
    let (value, _) = value.clone().unmark_deep();
    match &variable.default {
        Some(default) => default.clone().unmark_deep().0.raw_equals(&value),
        None => false,
    }
}
