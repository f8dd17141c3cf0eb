//! Explanations of evidence: whole texts of cases that have nothing to do with each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_plan::{
    Action, Blueprint, Commit, Entry, Event, Location, Mode, Operation, Phase, Problem, Source,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Evidence, Explained, Log, Look, Ref, Subject, Want, explain, text};
use crate::render::Style;

const NOW: &str = "2026-11-22T00:10:00Z";

/// Evidence that answers everything that is asked with what there is, and else with nothing.
struct World {
    evidence: Evidence,
    objects: Vec<Value>,
}

impl World {
    fn new(mut objects: Vec<Value>) -> Self {
        objects
            .push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
        World {
            evidence: Evidence {
                now: NOW.parse().unwrap(),
                operations: Some(Vec::new()),
                ..Evidence::default()
            },
            objects,
        }
    }

    #[allow(clippy::needless_pass_by_value)]
    fn event(&mut self, about: &Ref, uid: &str, fields: Value) {
        let mut event = json!({
            "involvedObject": {"kind": about.kind, "name": about.name, "uid": uid},
            "type": "Warning", "lastTimestamp": "2026-11-22T00:09:00Z"});
        for (key, value) in fields.as_object().unwrap() {
            event[key] = value.clone();
        }
        self.evidence
            .events
            .entry(about.clone())
            .or_default()
            .push(event);
    }

    fn answer(&mut self, want: Want) {
        let of_kind = |objects: &[Value], group: &str, kind: &str, namespace: &str| -> Vec<Value> {
            objects
                .iter()
                .filter(|object| {
                    let own = Ref::of(object);
                    own.group == group
                        && own.kind == kind
                        && (namespace.is_empty() || own.namespace == namespace)
                })
                .cloned()
                .collect()
        };
        match want {
            Want::Object(reference) => {
                let found = self
                    .objects
                    .iter()
                    .find(|object| Ref::of(object) == reference)
                    .cloned();
                let look = found.map_or(Look::Missing, Look::Found);
                self.evidence.objects.insert(reference, look);
            }
            Want::List {
                group,
                kind,
                namespace,
                selector,
            } => {
                let list = of_kind(&self.objects, &group, &kind, &namespace)
                    .into_iter()
                    .filter(|object| {
                        selector
                            .split(',')
                            .filter(|part| !part.is_empty())
                            .all(|part| {
                                part.split_once('=').is_none_or(|(key, value)| {
                                    object["metadata"]["labels"][key] == value
                                })
                            })
                    })
                    .collect();
                let want = Want::List {
                    group,
                    kind,
                    namespace,
                    selector,
                };
                self.evidence.lists.insert(want, list);
            }
            Want::Events(reference) => {
                self.evidence.events.entry(reference).or_default();
            }
            Want::Log(log) => {
                self.evidence.logs.entry(log).or_default();
            }
            Want::Operations => {}
            Want::Entries(name) => {
                self.evidence.entries.entry(name).or_default();
            }
            Want::Blueprint(id) => {
                self.evidence.blueprints.entry(id).or_default();
            }
        }
    }

    fn why(&mut self, subject: &Subject) -> String {
        for _ in 0..30 {
            let Explained { cause, wants } = explain(subject, &self.evidence);
            if wants.is_empty() {
                return text(
                    &cause,
                    self.evidence.now,
                    &Style {
                        width: 110,
                        ..Style::default()
                    },
                );
            }
            for want in wants {
                self.answer(want);
            }
        }
        panic!("it asks without end");
    }
}

#[allow(clippy::needless_pass_by_value)]
fn pod(name: &str, owner: Option<(&str, &str, &str)>, more: Value) -> Value {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "shop", "name": name, "uid": name, "creationTimestamp": "2026-11-22T00:00:00Z",
            "labels": {"app": "web"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "web", "image": "web:1", "ports": [{"containerPort": 80}]}]}});
    if let Some((api, kind, owner)) = owner {
        pod["metadata"]["ownerReferences"] = json!([{"apiVersion": api, "kind": kind, "name": owner, "uid": owner, "controller": true}]);
    }
    for (key, value) in more.as_object().unwrap() {
        for (inner, value) in value.as_object().unwrap() {
            pod[key][inner] = value.clone();
        }
    }
    pod
}

fn operation(revision: u64, phase: Phase) -> Operation {
    Operation {
        score: "shop".to_owned(),
        revision,
        blueprint: format!("{revision:012}"),
        mode: Mode::Apply,
        author: "root".to_owned(),
        cause: None,
        approved_by: None,
        source: Source::Git {
            url: "https://git.example.org/shop".to_owned(),
            reference: "main".to_owned(),
            path: String::new(),
            commit: Commit {
                id: format!("{revision:x}f3ac2d90b12f00d1f3ac2d90b12f00d1f3ac2d9"),
                author: "Ann <ann@example.org>".to_owned(),
                time: "2026-11-21T23:50:00Z".parse().unwrap(),
                subject: "A bigger database".to_owned(),
            },
        },
        started: "2026-11-22T00:01:00Z".parse().unwrap(),
        ended: Some("2026-11-22T00:02:00Z".parse().unwrap()),
        phase,
        total: 2,
        done: 0,
        failed: 1,
        skipped: 1,
    }
}

fn entry(address: &str, action: Action, event: Event) -> Entry {
    Entry {
        time: "2026-11-22T00:01:30Z".parse().unwrap(),
        address: address.parse().unwrap(),
        action,
        event,
    }
}

fn waiting_for_a_secret() -> Value {
    pod(
        "web-1",
        Some(("apps/v1", "ReplicaSet", "web")),
        json!({
            "spec": {"containers": [{"name": "web", "image": "web:1", "env": [
                {"name": "P", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}]}]},
            "status": {"phase": "Pending", "containerStatuses": [{"name": "web", "state": {"waiting":
                {"reason": "CreateContainerConfigError", "message": "secret \"db\" not found"}}}]}}),
    )
}

#[test]
fn a_pod_waits_for_a_secret_that_a_failed_step_of_another_layer_should_have_made_possible() {
    let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"namespace": "shop", "name": "web",
        "uid": "web", "creationTimestamp": "2026-11-22T00:00:00Z", "labels": {"consort.dev/score": "shop", "consort.dev/part": "app"}},
        "spec": {"replicas": 1}, "status": {"observedGeneration": 1}});
    let mut world = World::new(vec![waiting_for_a_secret(), set]);
    world.evidence.operations = Some(vec![operation(4, Phase::Failed)]);
    let problem = Problem {
        part: "infra".to_owned(),
        address: Some("infra/machine.db".parse().unwrap()),
        location: Some(Location {
            file: "infra/main.tf".to_owned(),
            line: 12,
        }),
        summary: "creating the machine: no space left".to_owned(),
        detail: "the provider said: disk full".to_owned(),
        ..Problem::default()
    };
    world.evidence.entries = BTreeMap::from([(
        "shop-4".to_owned(),
        vec![
            entry(
                "infra/machine.db",
                Action::Create,
                Event::Failed { problem },
            ),
            entry(
                "app/v1/Secret/shop/db",
                Action::Create,
                Event::Skipped {
                    because: Some("infra/machine.db".parse().unwrap()),
                },
            ),
        ],
    )]);
    insta::assert_snapshot!(world.why(&Subject::Object(Ref::new("", "Pod", "shop", "web-1"))));
    // The same from the other ends.
    insta::assert_snapshot!(world.why(&Subject::Operation("shop-4".to_owned())));
    insta::assert_snapshot!(world.why(&Subject::Address {
        address: "infra/machine.db".parse().unwrap(),
        score: None
    }));
}

#[test]
fn an_object_that_came_back_was_healed_because_somebody_deleted_it() {
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "shop", "name": "web", "uid": "new",
        "creationTimestamp": "2026-11-22T00:01:20Z", "labels": {"consort.dev/score": "shop", "consort.dev/part": "app"}},
        "spec": {"replicas": 1}, "status": {"observedGeneration": 1, "readyReplicas": 1, "updatedReplicas": 1}});
    let mut world = World::new(vec![object]);
    let mut heal = operation(5, Phase::Succeeded);
    heal.mode = Mode::Heal;
    heal.author = "system:consort".to_owned();
    heal.source = Source::Revision { revision: 4 };
    heal.cause =
        Some("app/apps/v1/Deployment/shop/web deleted by bob with kubectl/v1.32".to_owned());
    world.evidence.operations = Some(vec![heal, operation(4, Phase::Succeeded)]);
    let done = |action| entry("app/apps/v1/Deployment/shop/web", action, Event::Done);
    world.evidence.entries = BTreeMap::from([
        ("shop-5".to_owned(), vec![done(Action::Create)]),
        ("shop-4".to_owned(), vec![done(Action::Create)]),
    ]);
    let reference = Ref::new("apps", "Deployment", "shop", "web");
    world.event(
        &reference,
        "old",
        json!({"type": "Normal", "reason": "Deleted", "reportingComponent": "consort-witness",
            "lastTimestamp": "2026-11-22T00:01:10Z", "message": "deleted by bob with kubectl/v1.32",
            "metadata": {"annotations": {"consort.dev/user": "bob", "consort.dev/client": "kubectl/v1.32 (linux/amd64)"}}}),
    );
    insta::assert_snapshot!(world.why(&Subject::Object(reference)));
}

#[test]
fn a_crash_loop_is_told_by_its_last_run_and_its_last_lines() {
    let mut world = World::new(vec![pod(
        "web-1",
        None,
        json!({"status": {"phase": "Running", "containerStatuses": [{"name": "web", "restartCount": 7,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}},
            "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-11-22T00:08:00Z"}}}]},
            "spec": {"containers": [{"name": "web", "image": "web:1", "resources": {"limits": {"memory": "64Mi"}}}]}}),
    )]);
    world.evidence.logs.insert(
        Log {
            namespace: "shop".to_owned(),
            pod: "web-1".to_owned(),
            container: "web".to_owned(),
            previous: true,
        },
        Some("loading the catalogue\nstill loading \u{1b}[2J\n".to_owned()),
    );
    let told = world.why(&Subject::Object(Ref::new("", "Pod", "shop", "web-1")));
    assert!(!told.contains('\u{1b}'));
    insta::assert_snapshot!(told);
}

#[test]
fn a_service_without_pods_names_the_labels_that_nearly_fit() {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "front"},
        "spec": {"selector": {"app": "web", "tier": "front"}, "ports": [{"port": 80, "targetPort": "http"}]}});
    let mut world = World::new(vec![service, pod("web-1", None, json!({}))]);
    insta::assert_snapshot!(world.why(&Subject::Object(Ref::new("", "Service", "shop", "front"))));
}

#[test]
fn any_object_is_told_by_its_conditions_and_by_what_it_names() {
    let certificate = json!({"apiVersion": "cert-manager.io/v1", "kind": "Certificate",
        "metadata": {"namespace": "shop", "name": "tls", "uid": "c", "creationTimestamp": "2026-11-22T00:00:00Z",
            "managedFields": [
                {"manager": "kubectl-create", "operation": "Update", "time": "2026-11-22T00:00:00Z", "fieldsV1": {"f:spec": {"f:dnsNames": {}}}},
                {"manager": "kubectl-edit", "operation": "Update", "time": "2026-11-22T00:05:00Z",
                 "fieldsV1": {"f:spec": {"f:issuerRef": {"f:name": {}}, "f:names": {"k:{\"name\":\"a\"}": {".": {}, "f:value": {}}}}}}]},
        "spec": {"secretName": "tls", "privateKeySecretRef": {"name": "acount"}},
        "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Pending", "message": "issuer \"x\" is not ready"}]}});
    let account = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "shop", "name": "account"}});
    let mut world = World::new(vec![certificate, account]);
    insta::assert_snapshot!(world.why(&Subject::Object(Ref::new(
        "cert-manager.io",
        "Certificate",
        "shop",
        "tls"
    ))));
}

#[test]
fn owners_that_own_each_other_are_told_once() {
    let of = |name: &str, owner: &str| {
        json!({"apiVersion": "example.org/v1", "kind": "Ring", "metadata": {"namespace": "shop", "name": name,
            "ownerReferences": [{"apiVersion": "example.org/v1", "kind": "Ring", "name": owner, "uid": owner, "controller": true}]}})
    };
    let mut world = World::new(vec![of("a", "b"), of("b", "a")]);
    let told = world.why(&Subject::Object(Ref::new(
        "example.org",
        "Ring",
        "shop",
        "a",
    )));
    assert!(told.lines().count() < 12, "{told}");
}

#[test]
fn a_denied_plan_is_explained_by_the_rules_that_deny_it() {
    let mut world = World::new(Vec::new());
    let blueprint: Blueprint = crate::render::tests::shop();
    world
        .evidence
        .blueprints
        .insert("0123456789ab".to_owned(), Some(Arc::new(blueprint)));
    insta::assert_snapshot!(world.why(&Subject::Blueprint("0123456789ab".to_owned())));
}

#[test]
fn times_of_the_future_are_told_too() {
    let later: Timestamp = "2026-11-22T00:11:00Z".parse().unwrap();
    let mut cause = super::Cause::new("a clock", super::Standing::Fact, "is ahead");
    cause.time = Some(later);
    let told = text(&cause, NOW.parse().unwrap(), &Style::default());
    assert_eq!(told, "a clock is ahead (2026-11-22 00:11:00Z)\n");
}
