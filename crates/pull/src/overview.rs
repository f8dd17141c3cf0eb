//! The server's part: how all machines of a playbook stand together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use consort_reconcile::{Action, Controller, Event, Hub, Informer, Key, State, set_condition};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::object::{Entry, GROUP, Playbook, Source, Status, Summary, VERSION};

/// The name under which the status of all is written.
const MANAGER: &str = "consort-playbooks";
/// Many machines tell at about the same time: they are looked at together.
const GATHER: Duration = Duration::from_millis(200);
/// So many machines are named in a message.
const NAMED: usize = 5;

/// Puts together how the machines of each playbook stand.
pub struct Overview {
    client: Client,
    playbooks: Informer<Playbook>,
    nodes: Informer<Node>,
}

impl Overview {
    /// With a hub that may write the status of playbooks, and one that may read nodes.
    pub fn new(hub: &Hub, nodes: &Hub) -> Self {
        Self {
            client: hub.client(),
            playbooks: hub.informer(),
            nodes: nodes.informer(),
        }
    }

    /// Works until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let controller = Controller::<Key>::new("playbook-overview");
        let (queue, later) = (controller.queue(), controller.queue());
        let all = self.playbooks.clone();
        let controller = controller
            .queue_on(&self.playbooks, move |event| {
                if let Some(key) = event.key() {
                    queue.add_after(key, GATHER);
                }
                None::<Key>
            })
            .queue_on(&self.nodes, move |event| {
                if !is_old(event) {
                    for playbook in all.list() {
                        later.add_after(Key::of(&*playbook), GATHER);
                    }
                }
                None::<Key>
            });
        let shell = Arc::new(self);
        controller
            .run(
                2,
                move |key: Key| {
                    let shell = Arc::clone(&shell);
                    async move { shell.look(&key).await }
                },
                shutdown,
            )
            .await;
    }

    async fn look(&self, key: &Key) -> Result<Action, kube::Error> {
        let Some(playbook) = self.playbooks.by_key(key) else {
            return Ok(Action::Done);
        };
        let nodes = self.nodes.list();
        let selected: Vec<&str> = nodes
            .iter()
            .filter(|node| playbook.is_for(node.labels()))
            .filter_map(|node| node.metadata.name.as_deref())
            .collect();
        let before = playbook.status.clone().unwrap_or_default();
        let status = together(&playbook, &selected);
        let playbooks: Api<Playbook> = Api::namespaced(self.client.clone(), playbook.namespace());
        if status != before {
            let patch = json!({
                "apiVersion": format!("{GROUP}/{VERSION}"),
                "kind": "Playbook",
                "metadata": {"name": playbook.name(), "uid": playbook.metadata.uid},
                "status": {
                    "observedGeneration": status.observed_generation,
                    "conditions": status.conditions,
                    "source": status.source,
                    "summary": status.summary,
                },
            });
            let params = PatchParams::apply(MANAGER).force();
            gone_or(
                playbooks
                    .patch_status(playbook.name(), &params, &Patch::Apply(&patch))
                    .await,
            )?;
        }
        if let Some(patch) = cleared(&before.nodes, &selected) {
            // Another one is tried when this one comes too late: what it tests is no longer so.
            match playbooks
                .patch_status(playbook.name(), &PatchParams::default(), &patch)
                .await
            {
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => {}
                written => {
                    written?;
                }
            }
        }
        Ok(Action::Done)
    }
}

/// Whether nothing about a node has changed that matters to who is selected.
fn is_old(event: &Event<Node>) -> bool {
    matches!(
        event,
        Event::Applied { old: Some(old), new } if old.metadata.labels == new.metadata.labels
    )
}

/// What was written, or that it is gone.
fn gone_or(written: kube::Result<Playbook>) -> kube::Result<()> {
    match written {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        written => written.map(|_| ()),
    }
}

/// Takes away the entries of machines a playbook is not for, or that are gone.
fn cleared(entries: &[Entry], selected: &[&str]) -> Option<Patch<Playbook>> {
    let mut steps = Vec::new();
    for (at, entry) in entries.iter().enumerate().rev() {
        if !selected.contains(&&*entry.name) {
            let path = format!("/status/nodes/{at}");
            steps.push(json!({"op": "test", "path": format!("{path}/name"), "value": entry.name}));
            steps.push(json!({"op": "remove", "path": path}));
        }
    }
    if steps.is_empty() {
        return None;
    }
    serde_json::from_value(Value::Array(steps))
        .ok()
        .map(Patch::Json)
}

/// How all machines stand together; the entries are left as they are.
fn together(playbook: &Playbook, selected: &[&str]) -> Status {
    let mut status = playbook.status.clone().unwrap_or_default();
    let generation = playbook.generation();
    status.observed_generation = generation;
    let spec = playbook.spec();
    status.source = spec
        .as_ref()
        .map_or_else(|_| String::new(), |spec| Source::text(&spec.source));
    let entries: BTreeMap<&str, &Entry> = playbook
        .status
        .iter()
        .flat_map(|status| &status.nodes)
        .map(|entry| (&*entry.name, entry))
        .collect();
    let mut summary = Summary {
        nodes: selected.len() as u64,
        ..Summary::default()
    };
    let (mut drifted, mut failed) = (Vec::new(), Vec::new());
    for name in selected {
        let entry = entries
            .get(name)
            .filter(|entry| entry.observed_generation == generation);
        match entry.map(|entry| (entry, &*entry.phase)) {
            Some((_, "Converged")) => summary.converged += 1,
            Some((entry, "Drifted")) => {
                summary.drifted += 1;
                drifted.push(said(entry, "Drifted"));
            }
            Some((entry, "Failed")) => {
                summary.failed += 1;
                failed.push(said(entry, "Failed"));
            }
            _ => summary.pending += 1,
        }
    }
    status.summary = summary;
    let mut set = |kind: &str, state: State, reason: &str, message: &str| {
        set_condition(
            &mut status.conditions,
            generation,
            kind,
            state,
            reason,
            message,
        );
    };
    let all = format!(
        "{} of {} machines are as the source says",
        summary.converged, summary.nodes
    );
    let (state, reason, message) = match &spec {
        Err(error) => (State::False, "InvalidSpec", error.to_string()),
        Ok(spec) if spec.suspend => (
            State::Unknown,
            "Suspended",
            "it is suspended: nothing is run".to_owned(),
        ),
        Ok(_) if summary.nodes == 0 => (
            State::Unknown,
            "NoNodes",
            "no node has the labels of the selector".to_owned(),
        ),
        Ok(_) if summary.converged == summary.nodes => (State::True, "Converged", all),
        Ok(_) if summary.failed > 0 => (State::False, "Failed", all),
        Ok(_) if summary.drifted > 0 => (State::False, "Drifted", all),
        Ok(_) => (State::Unknown, "Pending", all),
    };
    set("Converged", state, reason, &message);
    for (kind, reason, none, told) in [
        (
            "Drifted",
            "DriftFound",
            ("NoDrift", "no machine was left drifted"),
            &drifted,
        ),
        (
            "Failed",
            "RunFailed",
            ("NoFailure", "no run failed"),
            &failed,
        ),
    ] {
        if told.is_empty() {
            set(kind, State::False, none.0, none.1);
        } else {
            set(kind, State::True, reason, &listed(told));
        }
    }
    status
}

/// What a machine says of a condition, with its name.
fn said(entry: &Entry, kind: &str) -> String {
    let message = entry
        .conditions
        .iter()
        .find(|condition| condition.type_ == kind)
        .map_or("", |condition| &condition.message);
    format!("{}: {message}", entry.name)
}

fn listed(told: &[String]) -> String {
    let more = told.len().saturating_sub(NAMED);
    let mut text = told[..told.len().min(NAMED)].join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn playbook(entries: &[(&str, &str)]) -> Playbook {
        Playbook {
            spec: json!({"source": {"configMap": {"name": "site"}}, "selector": {}}),
            status: Some(Status {
                nodes: entries
                    .iter()
                    .map(|(name, phase)| {
                        let mut entry = Entry {
                            name: (*name).to_owned(),
                            phase: (*phase).to_owned(),
                            ..Entry::default()
                        };
                        let state = State::True;
                        set_condition(&mut entry.conditions, 0, phase, state, "Why", "so it is");
                        entry
                    })
                    .collect(),
                ..Status::default()
            }),
            ..Playbook::default()
        }
    }

    fn converged(entries: &[(&str, &str)], selected: &[&str]) -> (String, String) {
        let status = together(&playbook(entries), selected);
        let found = &status.conditions[0];
        (found.status.clone(), found.reason.clone())
    }

    #[test]
    fn all_machines_together_are_converged_when_each_is() {
        let told = |status: &str, reason: &str| (status.to_owned(), reason.to_owned());
        let both = ["a", "b"];
        let (a, b) = (("a", "Converged"), ("b", "Converged"));
        assert_eq!(converged(&[a, b], &both), told("True", "Converged"));
        assert_eq!(converged(&[a], &both), told("Unknown", "Pending"));
        assert_eq!(converged(&[a], &[]), told("Unknown", "NoNodes"));
        assert_eq!(
            converged(&[a, ("b", "Drifted")], &both),
            told("False", "Drifted")
        );
        let status = together(&playbook(&[a, ("b", "Failed")]), &both);
        assert_eq!((status.summary.converged, status.summary.failed), (1, 1));
        let failed = &status.conditions[2];
        assert_eq!(
            (&*failed.type_, &*failed.status, &*failed.message),
            ("Failed", "True", "b: so it is")
        );
    }

    #[test]
    fn entries_of_machines_that_are_gone_are_taken_away() {
        let entries = playbook(&[("a", "x"), ("b", "x"), ("c", "x")])
            .status
            .unwrap()
            .nodes;
        assert!(cleared(&entries, &["a", "b", "c"]).is_none());
        let Some(Patch::Json(patch)) = cleared(&entries, &["b"]) else {
            panic!("there is something to take away");
        };
        let steps = serde_json::to_value(&patch).unwrap();
        // From the last on, so that places stay what they were.
        assert_eq!(steps[1], json!({"op": "remove", "path": "/status/nodes/2"}));
        assert_eq!(steps[3], json!({"op": "remove", "path": "/status/nodes/0"}));
    }
}
