//! What a plan puts at stake: the points of changes in a large graph, beside a bare pass over the same graph; and a write held
//! against policies, beside reading it.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use consort_plan::{
    Action, Address, BlastRadius, Blueprint, BlueprintEdge, Change, Edge, Intent, Mode, Parent,
    Planned, PlannedPart, Reversal, Source,
};
use consort_policy::admission::{Policies, Policy};
use consort_policy::points::{Load, Standing};
use consort_policy::{Question, THRESHOLD, judge};
use serde_json::{Value, json};

use crate::times::Times;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many resources the graph has
    #[arg(long, default_value_t = 100_000)]
    nodes: u32,
    /// How often each is measured; the median counts
    #[arg(long, default_value_t = 15)]
    runs: usize,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let edges = edges(arguments.nodes);
    println!(
        "a graph of {} resources and {} edges",
        arguments.nodes,
        edges.len()
    );
    let bare = measure(arguments.runs, || bare(arguments.nodes, &edges));
    println!(
        "{:52} {:8.2} ms",
        "bare pass: each edge once, dependents first", bare
    );
    let standing = Standing::new(arguments.nodes as usize, &edges);
    let loads = loads(arguments.nodes);
    let pass = measure(arguments.runs, || {
        let order = standing.reached([0]);
        standing.downstream(&order, &loads).of(0)
    });
    row("what stands on the one below all", pass, bare);
    let built = measure(arguments.runs, || {
        let standing = Standing::new(arguments.nodes as usize, &edges);
        let order = standing.reached([0]);
        standing.downstream(&order, &loads).of(0)
    });
    row("the same, with the graph to be put together", built, bare);
    for (what, changed) in [
        ("judged by worth.rego: one change below all", 1),
        ("100 changes", 100),
        ("1,000 changes", 1_000),
    ] {
        let blueprint = blueprint(arguments.nodes, &edges, changed);
        let documents = BTreeMap::new();
        let question = Question {
            blueprint: &blueprint,
            documents: &documents,
            policies: &[],
            threshold: THRESHOLD,
        };
        let total = judge(&question).ok().context("judging")?.blast.total;
        let took = measure(arguments.runs, || {
            judge(&question).map(|judgement| judgement.blast.total)
        });
        row(&format!("{what} ({total} points)"), took, bare);
    }
    admission(arguments.runs)
}

fn row(what: &str, took: f64, bare: f64) {
    println!(
        "{what:52} {took:8.2} ms {:7.1} x the bare pass",
        took / bare
    );
}

/// The median in milliseconds.
fn measure<T>(runs: usize, mut work: impl FnMut() -> T) -> f64 {
    let times: Vec<Duration> = (0..runs.max(1))
        .map(|_| {
            let begun = Instant::now();
            black_box(work());
            begun.elapsed()
        })
        .collect();
    Times::new(times).ms(0.5)
}

/// A tree of a hundred branches at each fork, with a second edge for most nodes to one of those just before them.
fn edges(nodes: u32) -> Vec<(u32, u32, u32)> {
    let mut edges = Vec::new();
    for node in 1..nodes {
        edges.push((node, (node - 1) / 100, 900));
        if node % 3 != 0 && node > 10 {
            edges.push((node, node - node % 7 - 1, 900));
        }
    }
    edges
}

/// The least that has to be done: each edge looked at once, every node after what stands on it.
fn bare(nodes: u32, edges: &[(u32, u32, u32)]) -> u32 {
    let mut most = vec![1_u32; nodes as usize];
    for (dependent, dependency, _) in edges.iter().rev() {
        let from = most[*dependent as usize];
        let to = &mut most[*dependency as usize];
        *to = (*to).max(from);
    }
    most[0]
}

fn loads(nodes: u32) -> Vec<Load> {
    (0..nodes)
        .map(|node| {
            let load = Load::new(60_000, 0, 0, true);
            if node % 2 == 0 {
                load.in_pool(node / 100, 60_000)
            } else {
                load
            }
        })
        .collect()
}

/// A plan in which `changed` resources are changed in place, the first of them below all others.
fn blueprint(nodes: u32, edges: &[(u32, u32, u32)], changed: u32) -> Blueprint {
    let step = nodes / changed.max(1);
    let changes = (0..nodes)
        .map(|node| {
            let kind = [
                "aws_subnet",
                "aws_instance",
                "aws_lb",
                "aws_db_instance",
                "aws_security_group",
            ][node as usize % 5];
            let local = format!("module.m{}.{kind}.n[{node}]", node % 50);
            let changes = node % step.max(1) == 0 && node / step.max(1) < changed;
            let value = |size: &str| {
                changes.then(|| {
                    Planned::known(
                        json!({"size": size, "tags": {"Environment": "production", "Name": local}}),
                    )
                })
            };
            Change {
                address: Address::new("infra", &local),
                kind: kind.to_owned(),
                action: if changes {
                    Action::Update
                } else {
                    Action::NoOp
                },
                before: value("a"),
                after: value("b"),
                replaces: Vec::new(),
                reasons: Vec::new(),
                moved_from: None,
                drift: Vec::new(),
                reversal: Reversal::Reversible,
                location: None,
            }
        })
        .collect();
    Blueprint {
        format: Blueprint::FORMAT,
        score: "large".to_owned(),
        mode: Mode::Apply,
        author: "bench".to_owned(),
        time: jiff::Timestamp::UNIX_EPOCH,
        source: Source::Revision { revision: 1 },
        parent: Parent {
            revision: 1,
            seen: BTreeMap::new(),
        },
        parts: vec![PlannedPart {
            name: "infra".to_owned(),
            layer: "terraform".to_owned(),
            intent: Intent::Apply,
            after: Vec::new(),
            first: 0,
            count: nodes,
            outputs: BTreeMap::new(),
            inputs: BTreeMap::new(),
            payload: Vec::new(),
        }],
        changes,
        edges: edges
            .iter()
            .map(|(dependent, dependency, _)| BlueprintEdge {
                dependent: *dependent,
                dependency: *dependency,
                edge: Edge::Value,
            })
            .collect(),
        joints: Vec::new(),
        verdicts: Vec::new(),
        blast: BlastRadius::default(),
        warnings: Vec::new(),
    }
}

/// Eight rules of the kind that clusters have.
const RULES: &str = r#"package cluster
pod := input.request.object.spec
containers contains c if { some c in pod.containers }
deny contains sprintf("%s runs as root", [c.name]) if { some c in containers; c.securityContext.runAsUser == 0 }
deny contains sprintf("%s has no memory limit", [c.name]) if { some c in containers; not c.resources.limits.memory }
deny contains sprintf("%s is privileged", [c.name]) if { some c in containers; c.securityContext.privileged }
deny contains sprintf("%s uses the tag latest", [c.name]) if { some c in containers; endswith(c.image, ":latest") }
deny contains sprintf("%s is not from our registry", [c.image]) if { some c in containers; not startswith(c.image, "registry.example.com/") }
deny contains "no owner" if not input.request.object.metadata.labels.owner
deny contains "the host's network" if pod.hostNetwork
deny contains sprintf("%s is a path of the host", [v.name]) if { some v in pod.volumes; v.hostPath }
"#;

fn admission(runs: usize) -> Result<()> {
    let containers: Vec<Value> = (0..4)
        .map(|n| {
            json!({
                "name": format!("c{n}"), "image": format!("registry.example.com/team/app{n}:1.2.3"), "imagePullPolicy": "IfNotPresent",
                "securityContext": {"runAsUser": 1000, "privileged": false, "allowPrivilegeEscalation": false},
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
                "env": (0..6).map(|e| json!({"name": format!("VARIABLE_{e}"), "value": "some value of it"})).collect::<Vec<_>>(),
                "volumeMounts": [{"name": "data", "mountPath": "/data"}], "terminationMessagePath": "/dev/termination-log",
            })
        })
        .collect();
    let request = json!({
        "uid": "0", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "resource": {"group": "", "version": "v1", "resource": "pods"},
        "operation": "CREATE", "namespace": "shop", "name": "web", "userInfo": {"username": "ada", "groups": ["system:authenticated"]},
        "object": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop", "labels": {"owner": "ada", "app": "web"}},
            "spec": {"containers": containers, "volumes": [{"name": "data", "emptyDir": {}}], "restartPolicy": "Always"}},
        "oldObject": null,
    });
    let map = json!({"metadata": {"name": "cluster"}, "data": {"cluster.rego": RULES}});
    let policy = Policy::of_config_map(&map).map_err(anyhow::Error::msg)?;
    let policies = Policies::new(vec![policy]);
    anyhow::ensure!(
        policies.review(request.clone()).denied.is_none(),
        "the pod should pass"
    );
    let text = request.to_string();
    let many = 200;
    let read = measure(runs, || {
        for _ in 0..many {
            black_box(serde_json::from_str::<Value>(&text).ok());
        }
    });
    let held = measure(runs, || {
        for _ in 0..many {
            black_box(policies.review(request.clone()));
        }
    });
    let us = |ms: f64| ms * 1e3 / f64::from(many);
    println!("\na pod of {} bytes", text.len());
    println!("{:52} {:8.1} us", "read as JSON", us(read));
    println!(
        "{:52} {:8.1} us {:7.1} x reading it",
        "held against eight rules",
        us(held),
        held / read
    );
    Ok(())
}
