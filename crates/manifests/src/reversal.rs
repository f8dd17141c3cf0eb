//! What can be done about a change afterwards, and what goes with a deletion.

use consort_plan::{Action, Reversal};
use futures::stream::{self, StreamExt as _};
use serde_json::Value;

use crate::identity::Key;
use crate::kinds::Kinds;
use crate::server::Server;

/// What a plan back can give again.
pub(crate) fn of(
    key: &Key,
    action: Action,
    before: Option<&Value>,
    after: Option<&Value>,
) -> Reversal {
    let kind = (key.group.as_str(), key.kind.as_str());
    match action {
        Action::Delete | Action::DeleteThenCreate | Action::CreateThenDelete => match kind {
            ("", "Namespace" | "PersistentVolumeClaim" | "PersistentVolume")
            | ("apiextensions.k8s.io", "CustomResourceDefinition") => Reversal::Irreversible,
            ("", "Service" | "ServiceAccount" | "Pod" | "Node")
            | ("apps", "StatefulSet")
            | ("batch", "Job" | "CronJob") => Reversal::Compensable,
            (group, _) if is_built_in(group) => Reversal::Reversible,
            // What its operator does when it goes is not known.
            _ => Reversal::Compensable,
        },
        Action::Create => match kind {
            // What it does stays done.
            ("batch", "Job") | ("", "Pod") => Reversal::Compensable,
            _ => Reversal::Reversible,
        },
        Action::Update => match kind {
            ("", "PersistentVolumeClaim") if grows(before, after) => Reversal::Compensable,
            _ => Reversal::Reversible,
        },
        Action::NoOp | Action::Read | Action::Forget => Reversal::Reversible,
    }
}

/// Volumes grow and do not shrink.
fn grows(before: Option<&Value>, after: Option<&Value>) -> bool {
    let size = |object: Option<&Value>| {
        object.map(|object| object["spec"]["resources"]["requests"].clone())
    };
    size(before) != size(after)
}

/// Groups of Kubernetes itself, whose objects hold nothing but what their source says.
fn is_built_in(group: &str) -> bool {
    !group.contains('.') || group.ends_with(".k8s.io")
}

/// How many kinds are counted at once.
const COUNTS: usize = 8;

/// Says what goes with a namespace or a definition: deleting it deletes all in it, whoever put it there.
pub(crate) async fn contents(server: &Server, kinds: &Kinds, key: &Key, reasons: &mut Vec<String>) {
    let collections: Vec<(String, String)> = match key.kind.as_str() {
        "Namespace" if key.group.is_empty() => kinds
            .namespaced()
            .iter()
            .map(|kind| (kind.kind.clone(), kind.collection(&key.name)))
            .collect(),
        "CustomResourceDefinition" => {
            let Some((plural, group)) = key.name.split_once('.') else {
                return;
            };
            kinds
                .prunable()
                .iter()
                .filter(|kind| kind.group == group && kind.plural == plural)
                .map(|kind| (kind.kind.clone(), kind.collection("")))
                .collect()
        }
        "PersistentVolumeClaim" if key.group.is_empty() => {
            reasons.push(
                "the data on its volume goes with it, unless the volume is retained".to_owned(),
            );
            return;
        }
        _ => return,
    };
    let mut counts: Vec<(u64, String)> = stream::iter(collections)
        .map(|(kind, path)| async move { (server.count(&path).await.unwrap_or(0), kind) })
        .buffer_unordered(COUNTS)
        .collect()
        .await;
    counts.retain(|(count, kind)| {
        // Every namespace has these.
        let given = *count == 1 && matches!(kind.as_str(), "ServiceAccount" | "ConfigMap");
        *count > 0 && !given
    });
    if counts.is_empty() {
        return;
    }
    counts.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
    let told: Vec<String> = counts
        .iter()
        .take(6)
        .map(|(count, kind)| format!("{count} {kind}"))
        .collect();
    let more = if counts.len() > 6 { ", ..." } else { "" };
    reasons.push(format!("all in it goes with it: {}{more}", told.join(", ")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_data_cannot_be_brought_back() {
        let delete = |group: &str, kind: &str| {
            of(&Key::new(group, kind, "", "x"), Action::Delete, None, None)
        };
        assert_eq!(delete("", "Namespace"), Reversal::Irreversible);
        assert_eq!(delete("", "PersistentVolumeClaim"), Reversal::Irreversible);
        assert_eq!(delete("", "Service"), Reversal::Compensable);
        assert_eq!(delete("apps", "Deployment"), Reversal::Reversible);
        assert_eq!(delete("db.example.com", "Database"), Reversal::Compensable);
    }
}
