//! Label selectors and node selectors of typed objects.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Labels as objects carry them.
pub(crate) type Labels = BTreeMap<String, String>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator {
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Exists,
    DoesNotExist,
    Gt(i64),
    Lt(i64),
    /// An operator or operand that is not one: matches nothing.
    Never,
}

impl Operator {
    fn new(operator: &str, values: Option<&Vec<String>>) -> Self {
        let values = || {
            values
                .into_iter()
                .flatten()
                .cloned()
                .collect::<BTreeSet<_>>()
        };
        let number = || values().first().and_then(|value| value.parse::<i64>().ok());
        match operator {
            "In" => Self::In(values()),
            "NotIn" => Self::NotIn(values()),
            "Exists" => Self::Exists,
            "DoesNotExist" => Self::DoesNotExist,
            "Gt" => number().map_or(Self::Never, Self::Gt),
            "Lt" => number().map_or(Self::Never, Self::Lt),
            _ => Self::Never,
        }
    }

    fn matches(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::In(values) => value.is_some_and(|value| values.contains(value)),
            Self::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Self::Exists => value.is_some(),
            Self::DoesNotExist => value.is_none(),
            Self::Gt(bound) => number().is_some_and(|number| number > *bound),
            Self::Lt(bound) => number().is_some_and(|number| number < *bound),
            Self::Never => false,
        }
    }
}

/// A compiled label selector; all requirements must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selector(Vec<(String, Operator)>);

impl Selector {
    /// Compiles a selector. One that is absent matches nothing (`None`), an empty one everything,
    /// as the API defines it.
    pub(crate) fn new(selector: Option<&LabelSelector>) -> Option<Self> {
        let selector = selector?;
        let mut all: Vec<(String, Operator)> = Vec::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            all.push((key.clone(), Operator::In([value.clone()].into())));
        }
        for requirement in selector.match_expressions.iter().flatten() {
            let operator = Operator::new(&requirement.operator, requirement.values.as_ref());
            all.push((requirement.key.clone(), operator));
        }
        Some(Self(all))
    }

    /// Adds requirements that labels equal those of `own` under the given keys.
    pub(crate) fn and_same(&mut self, keys: &[String], own: &Labels) {
        for key in keys {
            if let Some(value) = own.get(key) {
                self.0
                    .push((key.clone(), Operator::In([value.clone()].into())));
            }
        }
    }

    /// Adds requirements that labels differ from those of `own` under the given keys.
    pub(crate) fn and_other(&mut self, keys: &[String], own: &Labels) {
        for key in keys {
            if let Some(value) = own.get(key) {
                self.0
                    .push((key.clone(), Operator::NotIn([value.clone()].into())));
            }
        }
    }

    /// Whether the labels fulfil every requirement.
    pub(crate) fn matches(&self, labels: &Labels) -> bool {
        let value = |key: &str| labels.get(key).map(String::as_str);
        self.0
            .iter()
            .all(|(key, operator)| operator.matches(value(key)))
    }
}

/// A compiled node selector: one of its terms must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeSelector(Vec<NodeTerm>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeTerm {
    labels: Vec<(String, Operator)>,
    fields: Vec<(String, Operator)>,
}

impl NodeTerm {
    pub(crate) fn new(term: &NodeSelectorTerm) -> Self {
        let compile = |requirements: &Option<Vec<NodeSelectorRequirement>>| {
            requirements
                .iter()
                .flatten()
                .map(|r| (r.key.clone(), Operator::new(&r.operator, r.values.as_ref())))
                .collect()
        };
        Self {
            labels: compile(&term.match_expressions),
            fields: compile(&term.match_fields),
        }
    }

    /// Whether the node fulfils all of the term; an empty term matches no node.
    pub(crate) fn matches(&self, name: &str, labels: &Labels) -> bool {
        if self.labels.is_empty() && self.fields.is_empty() {
            return false;
        }
        let value = |key: &str| labels.get(key).map(String::as_str);
        let field = |key: &str| (key == "metadata.name").then_some(name);
        self.labels
            .iter()
            .all(|(key, operator)| operator.matches(value(key)))
            && self
                .fields
                .iter()
                .all(|(key, operator)| operator.matches(field(key)))
    }
}

impl NodeSelector {
    pub(crate) fn new(terms: &[NodeSelectorTerm]) -> Self {
        Self(terms.iter().map(NodeTerm::new).collect())
    }

    pub(crate) fn matches(&self, name: &str, labels: &Labels) -> bool {
        self.0.iter().any(|term| term.matches(name, labels))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_absent_selector_matches_nothing_and_an_empty_one_everything() {
        assert_eq!(Selector::new(None), None);
        let empty = Selector::new(Some(&LabelSelector::default())).unwrap();
        assert!(empty.matches(&Labels::new()));
    }

    #[test]
    fn node_terms_compare_labels_numbers_and_the_name() {
        let term = |value| NodeTerm::new(&serde_json::from_value(value).unwrap());
        let labels: Labels = [("gen".to_owned(), "7".to_owned())].into();
        let newer =
            term(json!({"matchExpressions": [{"key": "gen", "operator": "Gt", "values": ["6"]}]}));
        assert!(newer.matches("a", &labels));
        assert!(!newer.matches("a", &Labels::new()));
        let named = term(
            json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}),
        );
        assert!(named.matches("a", &labels) && !named.matches("b", &labels));
        assert!(!term(json!({})).matches("a", &labels));
    }
}
