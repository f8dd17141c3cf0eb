//! Complete outputs, held by snapshots.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use consort_plan::{
    Action, Address, BlastRadius, Blueprint, BlueprintEdge, Change, Commit, Drift, Edge, Entry,
    Event, Intent, Location, Mode, Operation, Owner, Parent, Phase, Planned, PlannedPart, Points,
    Problem, Reversal, Source, Stale, Unknown, Verdict, VerdictKind,
};
use serde_json::{Value, json};

use super::{Style, operation, plan, plan_json, stale};

#[allow(clippy::unnecessary_wraps)]
fn planned(value: Value) -> Option<Planned> {
    Some(Planned::known(value))
}

fn change(address: &str, kind: &str, action: Action) -> Change {
    Change {
        address: address.parse().unwrap(),
        kind: kind.to_owned(),
        action,
        before: None,
        after: None,
        replaces: Vec::new(),
        reasons: Vec::new(),
        moved_from: None,
        drift: Vec::new(),
        reversal: Reversal::Reversible,
        location: None,
    }
}

fn unknown(at: &str, kind: &str, from: Option<&str>) -> Unknown {
    Unknown {
        at: at.to_owned(),
        kind: kind.to_owned(),
        from: from.map(|from| from.parse().unwrap()),
    }
}

fn part(name: &str, layer: &str, first: u32, count: u32) -> PlannedPart {
    PlannedPart {
        name: name.to_owned(),
        layer: layer.to_owned(),
        intent: Intent::Apply,
        after: Vec::new(),
        first,
        count,
        outputs: BTreeMap::new(),
        inputs: BTreeMap::new(),
        payload: b"secret payload".to_vec(),
    }
}

fn commit() -> Commit {
    Commit {
        id: "1f3ac2d90b12f00d1f3ac2d90b12f00d1f3ac2d9".to_owned(),
        author: "Ann <ann@example.org>".to_owned(),
        time: "2026-11-21T03:00:00Z".parse().unwrap(),
        subject: "A bigger database".to_owned(),
    }
}

pub(crate) fn shop() -> Blueprint {
    let mut database = change("infra/machine.db", "machine", Action::DeleteThenCreate);
    database.before = Some(Planned {
        value: json!({"id": "m-1", "image": "debian:11", "memory": 2048, "password": "hunter2", "tags": ["a", "b", "c"]}),
        unknown: Vec::new(),
        sensitive: vec!["/password".to_owned()],
    });
    database.after = Some(Planned {
        value: json!({"id": null, "image": "debian:12", "memory": 4096, "password": "hunter3", "tags": ["a", "c"]}),
        unknown: vec![unknown("/id", "string", None)],
        sensitive: vec!["/password".to_owned()],
    });
    database.replaces = vec!["/image".to_owned()];
    database.reversal = Reversal::Irreversible;
    database.location = Some(Location {
        file: "infra/main.tf".to_owned(),
        line: 12,
    });
    let mut network = change("infra/network.main", "network", Action::Create);
    network.after = Some(Planned {
        value: json!({"cidr": "10.0.0.0/16", "id": null, "arn": null, "gateway": null, "routes": null, "labels": {"team": "shop", "example.org/tier": "1"}, "peer": null}),
        unknown: vec![
            unknown("/arn", "string", None),
            unknown("/gateway", "string", None),
            unknown("/id", "string", None),
            unknown("/routes", "list(string)", None),
        ],
        sensitive: Vec::new(),
    });
    let mut moved = change("infra/machine.web", "machine", Action::NoOp);
    moved.moved_from = Some("infra/machine.www".parse().unwrap());
    let mut settings = change(
        "app/v1/ConfigMap/shop/settings",
        "v1/ConfigMap",
        Action::Update,
    );
    settings.before = planned(
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "uid": "1"}, "data": {
        "db": "10.0.0.9", "nginx.conf": "server {\n  listen 80;\n  root /www;\n  gzip on;\n}\n", "policy": "{\"allow\": [\"a\", \"b\"], \"n\": 1}"}}),
    );
    settings.after = Some(Planned {
        value: json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "uid": "1"}, "data": {
            "db": null, "nginx.conf": "server {\n  listen 8080;\n  root /www;\n  gzip on;\n}\n", "policy": "{\"allow\": [\"a\", \"c\"], \"n\": 1}"}}),
        unknown: vec![unknown("/data/db", "string", Some("infra/machine.db"))],
        sensitive: Vec::new(),
    });
    let mut web = change(
        "app/apps/v1/Deployment/shop/web",
        "apps/v1/Deployment",
        Action::Update,
    );
    web.before = planned(
        json!({"spec": {"replicas": 5, "template": {"spec": {"containers": [
        {"name": "web", "image": "web:1"}, {"name": "log", "image": "log:1", "env": [{"name": "LEVEL", "value": "info"}]}]}}}}),
    );
    web.after = planned(
        json!({"spec": {"replicas": 2, "template": {"spec": {"containers": [
        {"name": "log", "image": "log:1", "env": [{"name": "LEVEL", "value": "debug"}, {"name": "EVIL", "value": "\u{1b}[2J\u{202e}x"}]}, {"name": "web", "image": "web:2"}]}}}}),
    );
    web.reasons = vec!["rolls: v1/ConfigMap/shop/settings changes".to_owned()];
    web.drift = vec![Drift {
        at: "/spec/replicas".to_owned(),
        wanted: Planned::known(json!(2)),
        found: Planned::known(json!(5)),
        owner: Owner::Person("kubectl-scale".to_owned()),
        corrected: true,
    }];
    let mut api = change(
        "app/apps/v1/Deployment/shop/api",
        "apps/v1/Deployment",
        Action::NoOp,
    );
    api.drift = vec![Drift {
        at: "/spec/replicas".to_owned(),
        wanted: Planned::known(json!(2)),
        found: Planned::known(json!(7)),
        owner: Owner::Autoscaler("horizontal-pod-autoscaler".to_owned()),
        corrected: false,
    }];
    let mut secret = change("app/v1/Secret/shop/db", "v1/Secret", Action::Create);
    secret.after = Some(Planned {
        value: json!({"data": {"password": "aHVudGVyMw=="}, "type": "Opaque"}),
        unknown: Vec::new(),
        sensitive: vec!["/data".to_owned()],
    });
    let mut old = change("app/v1/Service/shop/old", "v1/Service", Action::Delete);
    old.before = planned(json!({"spec": {"clusterIP": "10.96.0.7"}}));
    old.reasons = vec!["it is not in the source any more".to_owned()];
    let points = |change, points, because: &str, downstream: Option<&str>| Points {
        change,
        points,
        because: because.to_owned(),
        downstream: downstream.map(|address| address.parse().unwrap()),
    };
    Blueprint {
        format: Blueprint::FORMAT,
        score: "shop".to_owned(),
        mode: Mode::Apply,
        author: "root".to_owned(),
        time: "2026-11-21T03:04:05Z".parse().unwrap(),
        source: Source::Directory {
            path: "examples/shop".to_owned(),
            commit: Some(commit()),
        },
        parent: Parent {
            revision: 3,
            seen: BTreeMap::new(),
        },
        parts: vec![
            part("infra", "terraform", 0, 3),
            part("app", "manifests", 3, 5),
            part("rules", "policy", 8, 0),
        ],
        changes: vec![database, network, moved, settings, web, api, secret, old],
        edges: vec![BlueprintEdge {
            dependent: 3,
            dependency: 0,
            edge: Edge::Value,
        }],
        joints: Vec::new(),
        verdicts: vec![
            Verdict {
                kind: VerdictKind::Deny,
                message: "image web:2 has no digest".to_owned(),
                rule: "data.shop.deny".to_owned(),
                location: Some(Location {
                    file: "policy/images.rego".to_owned(),
                    line: 7,
                }),
                address: Some("app/apps/v1/Deployment/shop/web".parse().unwrap()),
            },
            Verdict {
                kind: VerdictKind::Warn,
                message: "no backup of machine.db is younger than a day".to_owned(),
                rule: "data.shop.warn".to_owned(),
                location: None,
                address: None,
            },
        ],
        blast: BlastRadius {
            total: 107,
            threshold: 49,
            each: vec![
                points(0, 100, "database 100 x replace 1.0", None),
                points(
                    3,
                    5,
                    "configuration 1 x change, used by 5",
                    Some("app/apps/v1/Deployment/shop/web"),
                ),
                points(4, 1, "one of 5 replicas", None),
                points(7, 1, "service 1 x delete", None),
            ],
            approval: vec![
                "a database is replaced: two people have to look at it (data.shop.approval)"
                    .to_owned(),
            ],
            by_rule: Vec::new(),
            needs_approval: true,
        },
        warnings: vec![Problem {
            part: "infra".to_owned(),
            address: None,
            location: Some(Location {
                file: "infra/main.tf".to_owned(),
                line: 3,
            }),
            summary: "The attribute \"zone\" is deprecated".to_owned(),
            detail: "Use \"zones\" in its place.".to_owned(),
            hint: None,
            transient: false,
        }],
    }
}

#[test]
fn a_plan_is_told_part_by_part_with_the_verdict_last() {
    insta::assert_snapshot!(plan(&shop(), &Style::default()));
}

#[test]
fn on_a_narrow_terminal_values_stand_below_their_fields() {
    insta::assert_snapshot!(plan(
        &shop(),
        &Style {
            width: 48,
            ..Style::default()
        }
    ));
}

#[test]
fn a_full_plan_tells_also_what_stays_and_what_goes() {
    insta::assert_snapshot!(plan(
        &shop(),
        &Style {
            full: true,
            width: 120,
            ..Style::default()
        }
    ));
}

#[test]
fn a_rollback_says_of_each_change_what_cannot_be_undone() {
    let mut blueprint = shop();
    blueprint.mode = Mode::Rollback { to: 1 };
    blueprint.source = Source::Revision { revision: 1 };
    blueprint.verdicts.clear();
    blueprint.warnings.clear();
    blueprint.changes[1].reversal = Reversal::Compensable;
    insta::assert_snapshot!(plan(&blueprint, &Style::default()));
}

#[test]
fn of_a_new_object_what_the_server_fills_in_is_left_out_and_what_users_wrote_stays() {
    let mut web = change(
        "app/apps/v1/Deployment/shop/web",
        "apps/v1/Deployment",
        Action::Create,
    );
    web.after = planned(json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"consort.dev/score": "shop", "consort.dev/part": "app"}},
        "spec": {"replicas": 1, "revisionHistoryLimit": 10, "strategy": {"type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {"spec": {"restartPolicy": "Always", "dnsPolicy": "None", "containers": [
                {"name": "web", "image": "web:1", "resources": {}, "ports": [{"containerPort": 80, "protocol": "TCP"}],
                 "terminationMessagePolicy": "File", "livenessProbe": {"periodSeconds": 7, "failureThreshold": 3}}]}}}}));
    let mut settings = change(
        "app/v1/ConfigMap/shop/settings",
        "v1/ConfigMap",
        Action::Create,
    );
    settings.after = planned(json!({"data": {"protocol": "TCP", "scheme": "HTTP"}}));
    let mut custom = change(
        "app/example.org/v1/Route/shop/r",
        "example.org/v1/Route",
        Action::Create,
    );
    custom.after = planned(json!({"spec": {"protocol": "TCP"}}));
    let mut blueprint = shop();
    blueprint.changes = vec![web, settings, custom];
    blueprint.parts = vec![part("app", "manifests", 0, 3)];
    blueprint.edges.clear();
    blueprint.verdicts.clear();
    blueprint.warnings.clear();
    blueprint.blast = BlastRadius::default();
    insta::assert_snapshot!(plan(&blueprint, &Style::default()));
}

#[test]
fn a_plan_with_nothing_to_do_is_short() {
    let mut blueprint = shop();
    for change in &mut blueprint.changes {
        change.action = Action::NoOp;
        change.before = None;
        change.after = None;
        change.moved_from = None;
        change.drift.clear();
    }
    blueprint.verdicts.clear();
    blueprint.warnings.clear();
    blueprint.blast = BlastRadius {
        threshold: 49,
        ..BlastRadius::default()
    };
    insta::assert_snapshot!(plan(&blueprint, &Style::default()));
}

#[test]
fn the_json_of_a_plan_is_whole_and_holds_no_secret() {
    let text = serde_json::to_string_pretty(&plan_json(&shop())).unwrap();
    for secret in ["hunter", "aHVudGVy", "secret payload"] {
        assert!(!text.contains(secret), "{secret}");
    }
    insta::assert_snapshot!(text);
}

#[test]
fn no_form_of_a_plan_tells_a_secret_or_drives_the_terminal() {
    let mut blueprint = shop();
    for full in [false, true] {
        for width in [20, 80, 200] {
            for mode in [Mode::Apply, Mode::Rollback { to: 1 }, Mode::Destroy] {
                blueprint.mode = mode;
                let text = plan(
                    &blueprint,
                    &Style {
                        colours: false,
                        width,
                        full,
                        brief: false,
                    },
                );
                for secret in ["hunter", "aHVudGVy", "\u{1b}", "\u{202e}"] {
                    assert!(!text.contains(secret), "{secret} in {text}");
                }
            }
        }
    }
}

/// Every piece of text in a blueprint that others write: none of it reaches the terminal as it is.
#[test]
fn hostile_text_in_any_place_is_written_out() {
    fn poison(value: &mut Value) {
        match value {
            Value::String(text) if !text.starts_with("20") => {
                text.push_str("\u{1b}]0;x\u{7}");
            }
            Value::Array(parts) => parts.iter_mut().for_each(poison),
            Value::Object(parts) => parts.values_mut().for_each(poison),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(shop()).unwrap();
    for field in ["changes", "warnings", "verdicts", "author", "score"] {
        match &mut value[field] {
            Value::Array(items) => {
                for item in items {
                    let keep: Vec<(String, Value)> =
                        ["action", "reversal", "kind", "drift", "unknown"]
                            .into_iter()
                            .filter_map(|key| Some((key.to_owned(), item.get(key)?.clone())))
                            .collect();
                    let pointers: Vec<(String, Value)> = ["/before", "/after"]
                        .into_iter()
                        .flat_map(|side| [format!("{side}/unknown"), format!("{side}/sensitive")])
                        .filter_map(|at| Some((at.clone(), item.pointer(&at)?.clone())))
                        .collect();
                    poison(item);
                    for (key, old) in keep {
                        item[key.as_str()] = old;
                    }
                    for (at, old) in pointers {
                        *item.pointer_mut(&at).unwrap() = old;
                    }
                }
            }
            other => poison(other),
        }
    }
    let blueprint: Blueprint = serde_json::from_value(value).unwrap();
    for full in [false, true] {
        let style = Style {
            full,
            ..Style::default()
        };
        let text = plan(&blueprint, &style);
        assert!(text.contains("\\u001b]0;x\\u0007"));
        assert!(
            !text.contains(['\u{1b}', '\u{7}']),
            "{}",
            text.replace('\u{1b}', "<ESC>")
        );
    }
}

#[test]
fn ten_thousand_changes_are_told_quickly() {
    let mut blueprint = shop();
    let one = blueprint.changes[4].clone();
    blueprint.changes = (0..10_000)
        .map(|index| Change {
            address: Address::new("app", &format!("apps/v1/Deployment/shop/web-{index}")),
            ..one.clone()
        })
        .collect();
    blueprint.parts = vec![part("app", "manifests", 0, 10_000)];
    let began = Instant::now();
    let text = plan(&blueprint, &Style::default());
    assert!(text.lines().count() > 60_000);
    // Far above what it takes without optimization; a quadratic path would take minutes.
    assert!(began.elapsed() < Duration::from_secs(120));
}

#[test]
fn a_stale_plan_says_what_has_moved_and_by_whom() {
    let text = stale(
        &Stale {
            revisions: Some((3, 5)),
            moved: vec![consort_plan::Moved {
                what: "app/apps/v1/Deployment/shop/web".to_owned(),
                how: "spec.replicas 2 -> 5".to_owned(),
                by: Some("kubectl-scale".to_owned()),
            }],
        },
        &Style::default(),
    );
    insta::assert_snapshot!(text);
}

pub(crate) fn failed_operation() -> (Operation, Vec<Entry>) {
    let at = |seconds: i64| jiff::Timestamp::from_second(1_795_230_000 + seconds).unwrap();
    let entry = |seconds, address: &str, action, event| Entry {
        time: at(seconds),
        address: address.parse().unwrap(),
        action,
        event,
    };
    let problem = Problem {
        part: "infra".to_owned(),
        address: Some("infra/machine.db".parse().unwrap()),
        location: Some(Location {
            file: "infra/main.tf".to_owned(),
            line: 12,
        }),
        summary: "creating the machine: no space left".to_owned(),
        detail: "The provider said:\n  exit status 1\n".to_owned(),
        hint: Some("free some space".to_owned()),
        transient: false,
    };
    let entries = vec![
        entry(
            0,
            "infra/network.main",
            Action::Create,
            Event::Began { attempt: 1 },
        ),
        entry(2, "infra/network.main", Action::Create, Event::Done),
        entry(
            2,
            "infra/machine.db",
            Action::DeleteThenCreate,
            Event::Began { attempt: 1 },
        ),
        entry(
            33,
            "infra/machine.db",
            Action::DeleteThenCreate,
            Event::Failed { problem },
        ),
        entry(
            33,
            "app/v1/ConfigMap/shop/settings",
            Action::Update,
            Event::Skipped {
                because: Some("infra/machine.db".parse().unwrap()),
            },
        ),
    ];
    let operation = Operation {
        score: "shop".to_owned(),
        revision: 4,
        blueprint: "0123456789ab".to_owned(),
        mode: Mode::Apply,
        author: "root".to_owned(),
        cause: None,
        approved_by: Some("ann".to_owned()),
        source: Source::Directory {
            path: "examples/shop".to_owned(),
            commit: Some(commit()),
        },
        started: at(0),
        ended: Some(at(34)),
        phase: Phase::Failed,
        total: 3,
        done: 1,
        failed: 1,
        skipped: 1,
    };
    (operation, entries)
}

#[test]
fn a_failed_operation_tells_what_failed_and_what_was_not_tried() {
    let (op, entries) = failed_operation();
    insta::assert_snapshot!(operation(&op, &entries, &Style::default()));
}
