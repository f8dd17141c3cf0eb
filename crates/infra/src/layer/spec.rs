//! What a score says of a Terraform directory.

use std::collections::BTreeMap;

use consort_plan::Feed;
use serde::{Deserialize, Serialize};

/// The `terraform` stanza of a part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// The directory of the root module, relative to the score.
    pub path: String,
    /// Values of its variables, written here or given by other parts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, Feed>,
    /// Files with values, relative to the directory; later ones win, and `variables` over all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variable_files: Vec<String>,
    /// The workspace its state is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
}

impl Spec {
    /// A directory with nothing said about it.
    pub fn of(path: impl Into<String>) -> Spec {
        Spec {
            path: path.into(),
            variables: BTreeMap::new(),
            variable_files: Vec::new(),
            workspace: None,
        }
    }
}
