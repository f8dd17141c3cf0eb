//! ComponentStatuses: a look at the parts of the control plane, as tools of old ask for it.

use crate::kind::Kind;
use crate::print;
use crate::strategy::{Column, NAME, Strategy, column};
use crate::values::{items, text};
use jiff::Timestamp;
use serde_json::Value;

/// The kind `ComponentStatus`; its objects come from [`crate::handlers`].
pub(super) fn component_status() -> Kind {
    let mut kind = Kind::new("", "v1", "ComponentStatus", "componentstatuses")
        .cluster()
        .short(&["cs"])
        .strategy(ComponentStatus);
    kind.verbs = vec!["get", "list"];
    kind.deprecated = Some("v1 ComponentStatus is deprecated in v1.19+");
    kind
}

struct ComponentStatus;

impl Strategy for ComponentStatus {
    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("Status", "string", "Whether the part works."),
            column("Message", "string", "What it says of itself."),
            column("Error", "string", "What is wrong with it."),
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let health = items(object, &["conditions"])
            .iter()
            .find(|condition| text(condition, &["type"]) == "Healthy")
            .unwrap_or(&Value::Null);
        let status = match text(health, &["status"]) {
            "True" => "Healthy",
            "False" => "Unhealthy",
            _ => "Unknown",
        };
        vec![
            print::name(object),
            status.into(),
            text(health, &["message"]).into(),
            text(health, &["error"]).into(),
        ]
    }
}
