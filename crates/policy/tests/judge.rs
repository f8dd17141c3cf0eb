//! Plans made for it, judged: what is asked from outside.

use std::collections::BTreeMap;

use consort_plan::{
    Action, Address, BlastRadius, Blueprint, BlueprintEdge, Change, Edge, Intent, Mode, Parent,
    Planned, PlannedPart, Reversal, Source, VerdictKind,
};
use consort_policy::{Judgement, PolicyPart, Question, THRESHOLD, Version, judge};
use serde_json::{Value, json};

/// A plan under construction.
struct Plan {
    blueprint: Blueprint,
    documents: BTreeMap<String, Value>,
    policies: Vec<PolicyPart>,
}

impl Plan {
    fn new() -> Self {
        Plan {
            blueprint: Blueprint {
                format: Blueprint::FORMAT,
                score: "shop".into(),
                mode: Mode::Apply,
                author: "ada".into(),
                time: "2026-01-02T03:04:05Z".parse().unwrap(),
                source: Source::Directory {
                    path: "/shop".into(),
                    commit: None,
                },
                parent: Parent {
                    revision: 1,
                    seen: BTreeMap::new(),
                },
                parts: Vec::new(),
                changes: Vec::new(),
                edges: Vec::new(),
                joints: Vec::new(),
                verdicts: Vec::new(),
                blast: BlastRadius::default(),
                warnings: Vec::new(),
            },
            documents: BTreeMap::new(),
            policies: Vec::new(),
        }
    }

    /// A part with changes; the ones given after belong to it.
    fn part(mut self, name: &str, layer: &str) -> Self {
        self.blueprint.parts.push(PlannedPart {
            name: name.into(),
            layer: layer.into(),
            intent: Intent::Apply,
            after: Vec::new(),
            first: self.blueprint.changes.len() as u32,
            count: 0,
            outputs: BTreeMap::new(),
            inputs: BTreeMap::new(),
            payload: Vec::new(),
        });
        self
    }

    fn change(self, local: &str, action: Action, before: Value, after: Value) -> Self {
        let planned = |value: Value| (!value.is_null()).then(|| Planned::known(value));
        self.planned(local, action, planned(before), planned(after))
    }

    fn planned(
        mut self,
        local: &str,
        action: Action,
        before: Option<Planned>,
        after: Option<Planned>,
    ) -> Self {
        let part = self.blueprint.parts.last_mut().unwrap();
        part.count += 1;
        let kind = if part.layer == "manifests" {
            let steps: Vec<_> = local.split('/').collect();
            steps[..steps.len() - if steps.len() > 3 { 2 } else { 1 }].join("/")
        } else {
            let local = local
                .rsplit_once("module.")
                .map_or(local, |(_, rest)| rest.split_once('.').unwrap().1);
            local.split('.').next().unwrap().to_owned()
        };
        self.blueprint.changes.push(Change {
            address: Address::new(&part.name, local),
            kind,
            action,
            before,
            after,
            replaces: Vec::new(),
            reasons: Vec::new(),
            moved_from: None,
            drift: Vec::new(),
            reversal: Reversal::Reversible,
            location: None,
        });
        self
    }

    /// The first stands on the second, by their places.
    fn on(mut self, dependent: u32, dependency: u32) -> Self {
        self.blueprint.edges.push(BlueprintEdge {
            dependent,
            dependency,
            edge: Edge::Value,
        });
        self
    }

    fn policy(self, text: &str) -> Self {
        self.policy_of(text, Version::V1)
    }

    fn policy_of(mut self, text: &str, version: Version) -> Self {
        self.policies.push(PolicyPart {
            name: "rules".into(),
            version,
            modules: vec![("policy/rules.rego".into(), text.into())],
            ..PolicyPart::default()
        });
        self
    }

    fn judge(&self) -> Judgement {
        judge(&Question {
            blueprint: &self.blueprint,
            documents: &self.documents,
            policies: &self.policies,
            threshold: THRESHOLD,
        })
        .unwrap()
    }

    /// Points by address, and why.
    fn points(&self) -> BTreeMap<String, (u32, String)> {
        let judgement = self.judge();
        judgement
            .blast
            .each
            .into_iter()
            .map(|points| {
                let address = &self.blueprint.changes[points.change as usize].address;
                (address.to_string(), (points.points, points.because))
            })
            .collect()
    }
}

fn deployment(replicas: u32, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "replicas": replicas,
            "strategy": {"type": "RollingUpdate"},
            "template": {"spec": {"containers": [{"name": "web", "image": image}]}},
        },
    })
}

#[test]
fn a_first_plan_that_only_creates_has_no_points() {
    let plan = Plan::new()
        .part("infra", "terraform")
        .change(
            "aws_vpc.main",
            Action::Create,
            Value::Null,
            json!({"cidr_block": "10.0.0.0/16"}),
        )
        .change(
            "aws_db_instance.main",
            Action::Create,
            Value::Null,
            json!({"tags": {"Environment": "production"}}),
        )
        .part("app", "manifests")
        .change(
            "apps/v1/Deployment/shop/web",
            Action::Create,
            Value::Null,
            deployment(3, "web:1"),
        )
        .on(1, 0)
        .on(2, 1);
    let judgement = plan.judge();
    assert_eq!(judgement.blast.total, 0, "{:?}", judgement.blast);
    assert!(!judgement.blast.needs_approval);
}

#[test]
fn worth_follows_redundancy_environment_and_state() {
    let tagged = |environment: &str| json!({"tags": {"Environment": environment}});
    let mut plan = Plan::new().part("infra", "terraform");
    for n in 0..100 {
        let action = if n == 7 { Action::Delete } else { Action::NoOp };
        let before = if n == 7 {
            tagged("production")
        } else {
            Value::Null
        };
        plan = plan.change(
            &format!("aws_instance.worker[{n}]"),
            action,
            before,
            Value::Null,
        );
    }
    plan = plan
        .change(
            "aws_lb.front_a",
            Action::DeleteThenCreate,
            tagged("production"),
            tagged("production"),
        )
        .change("aws_lb.front_b", Action::NoOp, Value::Null, Value::Null)
        .change(
            "aws_db_instance.orders",
            Action::Delete,
            tagged("production"),
            Value::Null,
        )
        .change(
            "aws_db_instance.stage_copy",
            Action::Delete,
            json!({}),
            Value::Null,
        )
        .change(
            "google_sql_database_instance.x",
            Action::Delete,
            json!({"labels": {"env": "dev"}}),
            Value::Null,
        )
        .change(
            "consort_machine.store",
            Action::DeleteThenCreate,
            json!({"labels": {"tier": "database"}}),
            json!({}),
        )
        .change(
            "random_password.db",
            Action::DeleteThenCreate,
            json!({}),
            json!({}),
        );
    let points = plan.points();
    let of = |local: &str| {
        points
            .get(&format!("infra/{local}"))
            .map_or(0, |(points, _)| *points)
    };
    assert_eq!(of("aws_instance.worker[7]"), 1, "{points:#?}");
    assert_eq!(of("aws_lb.front_a"), 25, "{points:#?}");
    assert_eq!(of("aws_db_instance.orders"), 100, "{points:#?}");
    assert_eq!(of("aws_db_instance.stage_copy"), 50, "{points:#?}");
    assert_eq!(of("google_sql_database_instance.x"), 20, "{points:#?}");
    assert_eq!(of("consort_machine.store"), 100, "{points:#?}");
    assert_eq!(of("random_password.db"), 1, "{points:#?}");
    assert_eq!(
        points["infra/aws_db_instance.orders"].1,
        "database, production 100 x deleted 100%"
    );
    assert_eq!(
        points["infra/aws_lb.front_a"].1,
        "load balancer, production, 1 of 2 25 x replaced 100%"
    );
}

#[test]
fn small_changes_of_a_redundant_workload_have_one_point_and_new_names_none() {
    let labelled = |mut object: Value| {
        object["metadata"]["labels"] = json!({"team": "a"});
        object
    };
    let plan = Plan::new()
        .part("app", "manifests")
        .change(
            "apps/v1/Deployment/shop/rolled",
            Action::Update,
            deployment(3, "web:1"),
            deployment(3, "web:2"),
        )
        .change(
            "apps/v1/Deployment/shop/more",
            Action::Update,
            deployment(3, "web:1"),
            deployment(4, "web:1"),
        )
        .change(
            "apps/v1/Deployment/shop/less",
            Action::Update,
            deployment(4, "web:1"),
            deployment(3, "web:1"),
        )
        .change(
            "apps/v1/Deployment/shop/named",
            Action::Update,
            deployment(3, "web:1"),
            labelled(deployment(3, "web:1")),
        )
        .change(
            "apps/v1/Deployment/shop/gone",
            Action::Delete,
            deployment(3, "web:1"),
            Value::Null,
        )
        .change(
            "apps/v1/StatefulSet/shop/data",
            Action::Delete,
            deployment(3, "web:1"),
            Value::Null,
        );
    let points = plan.points();
    let of = |name: &str| {
        points
            .iter()
            .find(|(at, _)| at.ends_with(name))
            .map_or(0, |(_, (points, _))| *points)
    };
    assert_eq!(
        ["/rolled", "/more", "/less", "/named", "/gone", "/data"].map(of),
        [1, 0, 1, 0, 40, 80],
        "{points:#?}"
    );
    assert!(plan.judge().blast.needs_approval);
}

#[test]
fn what_is_taken_from_under_a_database_counts_as_the_database_and_a_tag_does_not() {
    let plan = |action, after: Value| {
        Plan::new()
            .part("infra", "terraform")
            .change(
                "aws_vpc.main",
                action,
                json!({"cidr": "10.0.0.0/16", "tags": {"a": "1"}}),
                after,
            )
            .change("aws_subnet.main", Action::NoOp, Value::Null, Value::Null)
            .change(
                "aws_db_instance.main",
                Action::NoOp,
                Value::Null,
                Value::Null,
            )
            .on(1, 0)
            .on(2, 1)
    };
    let points = plan(Action::DeleteThenCreate, json!({"cidr": "10.1.0.0/16"}));
    let judged = points.judge().blast;
    assert_eq!(judged.each[0].points, 81);
    assert_eq!(
        judged.each[0].downstream.as_ref().map(ToString::to_string),
        Some("infra/aws_db_instance.main".into())
    );
    assert!(
        judged.each[0]
            .because
            .contains("infra/aws_db_instance.main"),
        "{}",
        judged.each[0].because
    );
    let tags = plan(
        Action::Update,
        json!({"cidr": "10.0.0.0/16", "tags": {"a": "2"}}),
    );
    assert_eq!(tags.judge().blast.total, 0);
    let inside = plan(
        Action::Update,
        json!({"cidr": "10.0.0.0/20", "tags": {"a": "1"}}),
    );
    assert_eq!(inside.judge().blast.total, 9);
}

#[test]
fn rules_deny_warn_and_say_about_what() {
    let plan = Plan::new()
        .part("infra", "terraform")
        .change("aws_s3_bucket.logs", Action::Create, Value::Null, json!({"acl": "public-read"}))
        .policy(
            r#"package anything
deny contains sprintf("%s is public", [r.address]) if { some r in input.resource_changes; r.change.after.acl == "public-read" }
violation contains {"msg": "as an object", "address": "infra/aws_s3_bucket.logs"} if input.mode == "apply"
warn_late contains "it is late" if input.author == "ada"
warn_never contains "never" if false
deny_old contains "old" if true
exception contains ["old"]
helper(x) := x
"#,
        );
    let verdicts = plan.judge().verdicts;
    let told: Vec<_> = verdicts
        .iter()
        .map(|it| {
            (
                it.kind,
                it.message.as_str(),
                it.rule.as_str(),
                it.address.as_ref().map(Address::as_str),
            )
        })
        .collect();
    let logs = Some("infra/aws_s3_bucket.logs");
    assert_eq!(
        told,
        [
            (
                VerdictKind::Deny,
                "infra/aws_s3_bucket.logs is public",
                "data.anything.deny",
                logs
            ),
            (
                VerdictKind::Deny,
                "as an object",
                "data.anything.violation",
                logs
            ),
            (
                VerdictKind::Warn,
                "it is late",
                "data.anything.warn_late",
                None
            ),
        ]
    );
    assert_eq!(
        verdicts[0].location.as_ref().unwrap().to_string(),
        "policy/rules.rego:2"
    );
}

#[test]
fn rules_set_worth_points_and_approvals() {
    let base = || {
        Plan::new()
            .part("infra", "terraform")
            .change(
                "aws_instance.bastion",
                Action::Delete,
                json!({}),
                Value::Null,
            )
            .change(
                "aws_db_instance.main",
                Action::Delete,
                json!({}),
                Value::Null,
            )
    };
    let plan = base().policy(
        r#"package a
worth["aws_instance.bastion"] := 5
points["infra/aws_db_instance.main"] := {"points": 3, "because": "it is a copy"}
"#,
    );
    let points = plan.points();
    assert_eq!(points["infra/aws_instance.bastion"].0, 5, "{points:#?}");
    assert_eq!(
        points["infra/aws_db_instance.main"],
        (3, "data.a.points: it is a copy; 100 otherwise".into())
    );
    assert!(!plan.judge().blast.needs_approval);

    let asked =
        base().policy("package a\npoints := -200\napproval contains \"it is Friday\" if true\n");
    let blast = asked.judge().blast;
    assert_eq!((blast.total, blast.needs_approval), (0, true));
    assert_eq!(blast.approval, ["it is Friday"]);

    let let_through = base()
        .policy("package a\nauto_approve contains \"an exercise\" if input.score == \"shop\"\n");
    let blast = let_through.judge().blast;
    assert!(blast.total > blast.threshold && !blast.needs_approval);
    assert_eq!(blast.approval, ["an exercise"]);

    let nowhere = base().policy("package a\nworth[\"infra/nothing\"] := 5\n");
    assert!(
        nowhere.judge().verdicts[0]
            .message
            .contains("infra/nothing")
    );

    let other = base().policy(
        r#"package consort.worth
judged[i] := {"worth": 7, "own": 100, "down": 0, "what": "toy", "how": "gone"} if {
	some i, r in input.resources
	r.type == "aws_db_instance"
}"#,
    );
    let points = other.points();
    assert_eq!(
        points["infra/aws_db_instance.main"],
        (7, "toy 7 x gone 100%".into())
    );
    assert_eq!(points["infra/aws_instance.bastion"].0, 60);
}

#[test]
fn no_secret_reaches_a_policy_or_what_it_says() {
    let secret = Planned {
        value: json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "data": {"password": "aHVudGVyMg=="}}),
        unknown: Vec::new(),
        sensitive: vec!["/data".into()],
    };
    let mut plan = Plan::new()
        .part("infra", "terraform")
        .change("aws_db_instance.main", Action::Create, Value::Null, json!({"password": "correct-horse"}))
        .part("app", "manifests")
        .planned("v1/Secret/shop/db", Action::Create, None, Some(secret))
        .policy_of(
            "package p\ndeny[msg] { walk(input, [path, value]); is_string(value); msg := sprintf(\"%v %v\", [path, value]) }\n\
             deny[msg] { msg := \"outright: correct-horse\" }",
            Version::V0,
        );
    plan.documents.insert(
        "infra".into(),
        json!({
            "format_version": "1.2",
            "variables": {"password": {"value": "correct-horse"}},
            "planned_values": {"outputs": {"p": {"sensitive": true, "value": "correct-horse"}}, "root_module": {"resources": [
                {"address": "aws_db_instance.main", "values": {"password": "correct-horse", "user": "ada"}, "sensitive_values": {"password": true}}]}},
            "resource_changes": [{"address": "aws_db_instance.main", "type": "aws_db_instance", "change": {
                "actions": ["create"], "before": null, "after": {"password": "correct-horse"}, "before_sensitive": false, "after_sensitive": {"password": true}}}],
            "output_changes": {"p": {"actions": ["create"], "before": null, "after": "correct-horse", "after_sensitive": true}},
            "configuration": {
                "provider_config": {"aws": {"name": "aws", "expressions": {"secret_key": {"constant_value": "correct-horse"}}}},
                "root_module": {
                    "variables": {"password": {"sensitive": true, "default": "correct-horse"}},
                    "resources": [{"address": "aws_db_instance.main", "expressions": {"password": {"constant_value": "correct-horse"}}}]}},
        }),
    );
    let judgement = plan.judge();
    assert!(judgement.verdicts.len() > 10);
    let all = format!("{judgement:?}");
    assert!(all.contains("ada") && all.contains("(sensitive value)"));
    assert!(!all.contains("correct-horse"), "{all}");
    assert!(!all.contains("aHVudGVyMg"), "{all}");
}

#[test]
fn policies_for_single_objects_are_asked_about_each() {
    let plan = Plan::new()
        .part("app", "manifests")
        .change("apps/v1/Deployment/shop/web", Action::Create, Value::Null, deployment(1, "web:latest"))
        .policy_of(
            "package main\ndeny[msg] { input.kind == \"Deployment\"; endswith(input.spec.template.spec.containers[_].image, \":latest\"); msg := sprintf(\"%s uses latest\", [input.metadata.name]) }",
            Version::V0,
        )
        .policy_of(
            "package k8s\nviolation[{\"msg\": msg}] { input.review.object.spec.replicas < 2; msg := \"too few\" }",
            Version::V0,
        )
        .policy("package kubernetes.admission\ndeny contains \"no shop\" if input.request.namespace == \"shop\"\n");
    let verdicts = plan.judge().verdicts;
    let told: Vec<_> = verdicts.iter().map(|it| it.message.as_str()).collect();
    assert_eq!(told, ["web uses latest", "too few", "no shop"]);
    assert!(verdicts.iter().all(|it| it.address.is_some()));
}

#[test]
fn a_policy_that_is_no_rego_is_located_and_stops_the_plan() {
    let plan = Plan::new()
        .part("app", "manifests")
        .policy("package a\n\ndeny contains if\n");
    let problems = judge(&Question {
        blueprint: &plan.blueprint,
        documents: &plan.documents,
        policies: &plan.policies,
        threshold: THRESHOLD,
    })
    .unwrap_err();
    assert_eq!(problems[0].part, "rules");
    let location = problems[0].location.as_ref().unwrap();
    assert_eq!(
        (location.file.as_str(), location.line),
        ("policy/rules.rego", 3)
    );
}

/// Tasks on hosts, the same on each: the module, what is done, and the state that is asked for.
fn fleet(hosts: &[String], tasks: &[(&str, Action, &str)]) -> Plan {
    let mut plan = Plan::new().part("site", "playbook");
    for host in hosts {
        for (module, action, state) in tasks {
            let side = json!({"host": host, "state": state});
            let after = (*action != Action::Delete).then(|| side.clone());
            plan = plan.change(
                &format!("{host}[\"Install the test {module}\"]"),
                *action,
                side,
                after.unwrap_or_default(),
            );
            let change = plan.blueprint.changes.last_mut().unwrap();
            change.kind = format!("ansible.builtin.{module}");
        }
    }
    plan
}

#[test]
fn tasks_count_by_what_they_do_to_how_many_hosts_and_once_a_host() {
    let total = |hosts: usize, tasks: &[(&str, Action, &str)]| {
        let hosts: Vec<String> = (1..=hosts).map(|n| format!("web{n}")).collect();
        fleet(&hosts, tasks).judge().blast.total
    };
    let copy = ("copy", Action::Update, "");
    let restart = ("service", Action::Update, "restarted");
    assert_eq!(total(1, &[("copy", Action::Create, "")]), 0);
    assert_eq!(total(1, &[copy]), 3);
    assert_eq!(total(1, &[copy, restart, copy]), 12);
    assert_eq!(total(2, &[copy, restart]), 12);
    assert_eq!(total(50, &[copy]), 50);
    assert_eq!(total(200, &[copy]), 200);
    let removed = total(1, &[("package", Action::Delete, "absent")]);
    let upgraded = total(1, &[("package", Action::Update, "latest")]);
    let stopped = total(1, &[("service", Action::Update, "stopped")]);
    let command = total(1, &[("command", Action::Update, "")]);
    assert_eq!((removed, upgraded, stopped, command), (18, 9, 24, 12));
    // What keeps data is worth more, and hosts with data do not stand in for each other.
    let databases = ["db1", "db2"].map(str::to_owned);
    assert_eq!(fleet(&databases, &[copy]).judge().blast.total, 10);
    // One of many.
    let mut hosts: Vec<String> = (1..=10).map(|n| format!("web{n}")).collect();
    let mut plan = fleet(&hosts, &[restart]);
    for change in &mut plan.blueprint.changes[1..] {
        change.action = Action::NoOp;
    }
    let points = plan.points();
    assert_eq!(points.len(), 1);
    let (of, because) = points.values().next().unwrap();
    assert_eq!(*of, 2);
    assert_eq!(because, "machine, 1 of 10 6 x restarts a service 20%");
    // A host says where it is; what a task is called does not.
    hosts.truncate(1);
    hosts[0] = "web1.staging".to_owned();
    assert_eq!(fleet(&hosts, &[restart]).judge().blast.total, 6);
}

#[test]
fn what_rules_say_of_tasks_counts_for_each() {
    let hosts = ["web1".to_owned()];
    let plan = fleet(
        &hosts,
        &[("copy", Action::Update, ""), ("command", Action::Update, "")],
    )
    .policy(
        "package a\n\npoints[r.address] := 7 if some r in input.resource_changes\n\n\
         deny contains r.address if {\n\tsome r in input.resource_changes\n\tr.type == \"ansible.builtin.command\"\n}\n",
    );
    let judgement = plan.judge();
    assert_eq!(judgement.blast.total, 14);
    assert_eq!(judgement.verdicts.len(), 1);
    assert!(judgement.verdicts[0].message.contains("web1"));
}
