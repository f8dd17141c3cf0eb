//! Why a pod could not be placed, in the words upstream's users know.

use std::collections::BTreeMap;
use std::fmt;

/// Why one node does not take a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Cordoned.
    Unschedulable,
    /// The pod names another node.
    Name,
    /// Node selector or required node affinity does not match.
    Affinity,
    /// A taint the pod does not tolerate.
    Taint {
        /// The taint's key.
        key: String,
        /// The taint's value.
        value: String,
    },
    /// A host port the pod wants is taken.
    Ports,
    /// As many pods as the node takes.
    TooManyPods,
    /// Not enough of a resource.
    Insufficient(String),
    /// Topology spread would be too uneven.
    Spread,
    /// The node lacks the label that spreading goes by.
    SpreadLabel,
    /// Required affinity to other pods.
    PodAffinity,
    /// Required anti-affinity to other pods.
    PodAntiAffinity,
    /// A pod there does not want this one near.
    ExistingAntiAffinity,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unschedulable => f.write_str("node(s) were unschedulable"),
            Self::Name => f.write_str("node(s) didn't match the requested node name"),
            Self::Affinity => f.write_str("node(s) didn't match Pod's node affinity/selector"),
            Self::Taint { key, value } => {
                write!(f, "node(s) had untolerated taint {{{key}: {value}}}")
            }
            Self::Ports => {
                f.write_str("node(s) didn't have free ports for the requested pod ports")
            }
            Self::TooManyPods => f.write_str("Too many pods"),
            Self::Insufficient(resource) => write!(f, "Insufficient {resource}"),
            Self::Spread => f.write_str("node(s) didn't match pod topology spread constraints"),
            Self::SpreadLabel => f.write_str(
                "node(s) didn't match pod topology spread constraints (missing required label)",
            ),
            Self::PodAffinity => f.write_str("node(s) didn't match pod affinity rules"),
            Self::PodAntiAffinity => f.write_str("node(s) didn't match pod anti-affinity rules"),
            Self::ExistingAntiAffinity => {
                f.write_str("node(s) didn't satisfy existing pods anti-affinity rules")
            }
        }
    }
}

/// Why no node takes a pod: how many nodes there are, and how often each reason was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unplaced {
    /// All nodes.
    pub nodes: usize,
    /// Reasons with the number of nodes that gave each.
    pub reasons: BTreeMap<Reason, usize>,
}

impl fmt::Display for Unplaced {
    /// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        let mut parts: Vec<String> = self
            .reasons
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        parts.sort();
        write!(
            f,
            "0/{} nodes are available: {}.",
            self.nodes,
            parts.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_read_as_upstream_words_them() {
        let mut unplaced = Unplaced {
            nodes: 3,
            ..Unplaced::default()
        };
        unplaced
            .reasons
            .insert(Reason::Insufficient("cpu".to_owned()), 2);
        let taint = Reason::Taint {
            key: "node-role".to_owned(),
            value: String::new(),
        };
        unplaced.reasons.insert(taint, 1);
        assert_eq!(
            unplaced.to_string(),
            "0/3 nodes are available: 1 node(s) had untolerated taint {node-role: }, 2 Insufficient cpu."
        );
        assert_eq!(
            Unplaced::default().to_string(),
            "no nodes available to schedule pods"
        );
    }
}
