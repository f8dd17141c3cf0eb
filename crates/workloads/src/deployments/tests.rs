//! Decisions as tables: sets in, sizes and conditions out.
#![allow(clippy::needless_pass_by_value)] // json! literals read best as arguments

use super::{
    decide::{Plan, World, decide},
    revisions, sizes,
};
use crate::pods::tests::at;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use serde_json::{Value, json};
use std::sync::Arc;

fn template(version: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": version}]}})
}

fn deployment(replicas: i32, spec: Value) -> Deployment {
    let mut value = json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "d", "generation": 7},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template("new"),
            "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10,
        },
    });
    for (key, part) in spec.as_object().unwrap() {
        value["spec"][key] = part.clone();
    }
    serde_json::from_value(value).unwrap()
}

fn rolling(surge: Value, unavailable: Value) -> Value {
    json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}})
}

/// A set of a version: desired, actual and available pods, and the deployment's size it was made for.
fn set(
    version: &str,
    desired: i32,
    actual: i32,
    available: i32,
    made_for: (i32, i32),
) -> Arc<ReplicaSet> {
    let mut template = template(version);
    template["metadata"]["labels"]["pod-template-hash"] = json!(version);
    let revision = if version == "new" { "9" } else { "1" };
    let value = json!({
        "metadata": {
            "name": format!("web-{version}"), "uid": version, "generation": 1,
            "creationTimestamp": at(if version == "new" { 50 } else { 0 }).to_string(),
            "annotations": {
                revisions::REVISION: revision,
                revisions::DESIRED: made_for.0.to_string(),
                revisions::MAXIMUM: made_for.1.to_string(),
            },
        },
        "spec": {"replicas": desired, "selector": {"matchLabels": {"app": "web"}}, "template": template},
        "status": {"replicas": actual, "availableReplicas": available, "readyReplicas": available, "observedGeneration": 1},
    });
    Arc::new(serde_json::from_value(value).unwrap())
}

fn planned(deployment: &Deployment, sets: &[Arc<ReplicaSet>], now: i64) -> Plan {
    decide(&World {
        deployment,
        sets,
        has_pods: &|_| false,
        now: at(now),
    })
}

/// The sizes of all sets after the plan, as `name=size`, changed ones marked with `*`.
fn sizes_after(plan: &Plan, sets: &[Arc<ReplicaSet>]) -> String {
    let mut all: Vec<String> = sets
        .iter()
        .map(|set| {
            let name = set.metadata.name.as_deref().unwrap_or_default();
            let change = plan
                .change
                .iter()
                .find(|change| change.from.metadata.name == set.metadata.name);
            match change
                .map(|change| sizes::replicas(&change.to))
                .filter(|size| *size != sizes::replicas(set))
            {
                Some(size) => format!("{name}={size}*"),
                None => format!("{name}={}", sizes::replicas(set)),
            }
        })
        .collect();
    all.extend(
        plan.create
            .iter()
            .map(|set| format!("create={}", sizes::replicas(set))),
    );
    all.join(" ")
}

fn progressing(plan: &Plan) -> (String, String) {
    let mut conditions = plan.status.conditions.iter().flatten();
    let found = conditions.find(|condition| condition.type_.as_deref() == Some("Progressing"));
    let part = |text: Option<&String>| text.cloned().unwrap_or_default();
    (
        part(found.and_then(|condition| condition.status.as_ref())),
        part(found.and_then(|condition| condition.reason.as_ref())),
    )
}

#[test]
fn a_rolling_update_moves_step_by_step_within_its_bounds() {
    let ten = (10, 13);
    // surge, unavailable, sets, expected sizes
    let table: Vec<(Value, Value, Vec<Arc<ReplicaSet>>, &str)> = vec![
        (json!("25%"), json!("25%"), vec![], "create=10"),
        // The first step creates up to the surge, and takes away what may be unavailable.
        (
            json!("25%"),
            json!("25%"),
            vec![set("old", 10, 10, 10, ten)],
            "web-old=8* create=3",
        ),
        (
            json!(1),
            json!(0),
            vec![set("old", 10, 10, 10, ten)],
            "web-old=10 create=1",
        ),
        // No surge: old ones go first.
        (
            json!(0),
            json!(1),
            vec![set("old", 10, 10, 10, ten), set("new", 0, 0, 0, ten)],
            "web-old=9* web-new=0",
        ),
        // The new pods are not available yet: nothing more may go.
        (
            json!(3),
            json!(2),
            vec![set("old", 8, 8, 8, ten), set("new", 5, 5, 0, ten)],
            "web-old=8 web-new=5",
        ),
        // Two became available: two more may go.
        (
            json!(3),
            json!(2),
            vec![set("old", 8, 8, 8, ten), set("new", 5, 5, 2, ten)],
            "web-old=6* web-new=5",
        ),
        // The status of the old set still shows what it was told to give up: it is not taken twice.
        (
            json!(3),
            json!(2),
            vec![set("old", 6, 8, 8, ten), set("new", 7, 7, 2, ten)],
            "web-old=6 web-new=7",
        ),
        // Old pods that do not serve are taken first.
        (
            json!(0),
            json!(2),
            vec![set("old", 8, 8, 5, ten), set("new", 2, 2, 2, ten)],
            "web-old=6* web-new=2",
        ),
        // Both bounds rounding to nothing still move by one.
        (
            json!("1%"),
            json!("1%"),
            vec![
                set("old", 10, 10, 10, (10, 11)),
                set("new", 1, 1, 1, (10, 11)),
            ],
            "web-old=9* web-new=1",
        ),
        (
            json!(3),
            json!(2),
            vec![set("old", 0, 0, 0, ten), set("new", 10, 10, 10, ten)],
            "web-old=0 web-new=10",
        ),
    ];
    for (surge, unavailable, sets, expected) in table {
        let deployment = deployment(10, rolling(surge.clone(), unavailable.clone()));
        let plan = planned(&deployment, &sets, 100);
        assert_eq!(
            sizes_after(&plan, &sets),
            expected,
            "surge {surge}, unavailable {unavailable}"
        );
    }
}

/// Plays a rollout in which sets do what they are told and pods become available at any time.
#[test]
fn no_order_of_events_takes_a_rolling_update_out_of_its_bounds() {
    let mut seed = 7_u64;
    let mut random = |below: i32| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((seed >> 33) % below.max(1) as u64) as i32
    };
    for (size, surge, unavailable) in [
        (1, 1, 0),
        (3, 1, 0),
        (10, 3, 2),
        (10, 0, 1),
        (7, 7, 7),
        (50, 13, 12),
    ] {
        let deployment = deployment(size, rolling(json!(surge), json!(unavailable)));
        let made = (size, size + surge);
        // Truth: desired, actual, available of old and new; and what the cached status shows.
        let mut truth = [(size, size, size), (0, 0, 0)];
        let mut shown = truth;
        let mut done = false;
        for _ in 0..5_000 {
            let sets = [
                set("old", truth[0].0, shown[0].1, shown[0].2, made),
                set("new", truth[1].0, shown[1].1, shown[1].2, made),
            ];
            for change in planned(&deployment, &sets, 100).change {
                let at = usize::from(change.to.metadata.name.as_deref() == Some("web-new"));
                truth[at].0 = sizes::replicas(&change.to);
            }
            for at in 0..2 {
                let (desired, actual, available) = &mut truth[at];
                // Too many pods: those not available go first. Too few: new ones appear.
                while *actual > *desired && random(2) == 0 {
                    if *actual == *available {
                        *available -= 1;
                    }
                    *actual -= 1;
                }
                if *actual < *desired && random(2) == 0 {
                    *actual += 1;
                }
                if *available < *actual && random(3) == 0 {
                    *available += 1;
                }
                if random(2) == 0 {
                    shown[at] = truth[at];
                }
            }
            let total: i32 = truth.iter().map(|set| set.1.max(0)).sum();
            let serving: i32 = truth.iter().map(|set| set.2).sum();
            assert!(
                serving >= size - unavailable.min(size),
                "{truth:?} with {size}, {surge}, {unavailable}"
            );
            let wanted: i32 = truth.iter().map(|set| set.0).sum();
            assert!(
                wanted <= size + surge,
                "{truth:?} with {size}, {surge}, {unavailable}"
            );
            // Sets may be slow to delete, but never make more than they were told.
            assert!(total <= 2 * size + surge);
            done = truth == [(0, 0, 0), (size, size, size)] && shown == truth;
            if done {
                break;
            }
        }
        assert!(done, "{truth:?} with {size}, {surge}, {unavailable}");
    }
}

#[test]
fn scaling_in_the_middle_of_an_update_is_shared_in_proportion() {
    let before = (10, 13);
    let strategy = rolling(json!(3), json!(2));
    // size, sets, expected
    let table = [
        (
            15,
            vec![set("old", 8, 8, 8, before), set("new", 5, 5, 0, before)],
            "web-old=11* web-new=7*",
        ),
        (
            5,
            vec![set("old", 8, 8, 8, before), set("new", 5, 5, 0, before)],
            "web-old=5* web-new=3*",
        ),
        (
            0,
            vec![set("old", 8, 8, 8, before), set("new", 5, 5, 0, before)],
            "web-old=0* web-new=0*",
        ),
        (
            12,
            vec![set("old", 0, 0, 0, before), set("new", 10, 10, 10, before)],
            "web-old=0 web-new=12*",
        ),
    ];
    for (size, sets, expected) in table {
        let plan = planned(&deployment(size, strategy.clone()), &sets, 100);
        assert_eq!(sizes_after(&plan, &sets), expected, "to {size}");
        for change in &plan.change {
            let noted = revisions::annotation(&change.to.metadata, revisions::DESIRED);
            assert_eq!(noted, Some(&*size.to_string()));
        }
    }
}

#[test]
fn recreate_waits_until_nothing_old_runs() {
    let deployment = deployment(3, json!({"strategy": {"type": "Recreate"}}));
    let made = (3, 3);
    let old = |desired, actual| vec![set("old", desired, actual, 0, made)];
    let sets = old(3, 3);
    assert_eq!(
        sizes_after(&planned(&deployment, &sets, 100), &sets),
        "web-old=0*"
    );
    let sets = old(0, 1);
    assert_eq!(
        sizes_after(&planned(&deployment, &sets, 100), &sets),
        "web-old=0"
    );
    let sets = old(0, 0);
    assert_eq!(
        sizes_after(&planned(&deployment, &sets, 100), &sets),
        "web-old=0 create=3"
    );
    let plan = decide(&World {
        deployment: &deployment,
        sets: &sets,
        has_pods: &|_| true,
        now: at(100),
    });
    assert_eq!(
        sizes_after(&plan, &sets),
        "web-old=0",
        "a terminating pod still runs"
    );
}

#[test]
fn going_back_to_an_old_template_takes_its_set_and_a_new_number() {
    let deployment = deployment(3, rolling(json!(1), json!(0)));
    let back = set("new", 0, 0, 0, (3, 4));
    let mut annotations = back.metadata.annotations.clone().unwrap();
    annotations.insert(revisions::REVISION.to_owned(), "1".to_owned());
    let mut back = (*back).clone();
    back.metadata.annotations = Some(annotations);
    let mut bad = (*set("old", 3, 3, 3, (3, 4))).clone();
    bad.metadata
        .annotations
        .as_mut()
        .unwrap()
        .insert(revisions::REVISION.to_owned(), "2".to_owned());
    let sets = [Arc::new(back), Arc::new(bad)];
    let plan = planned(&deployment, &sets, 100);
    assert_eq!(sizes_after(&plan, &sets), "web-new=1* web-old=3");
    let annotations = plan.change[0].to.metadata.annotations.as_ref().unwrap();
    assert_eq!(annotations[revisions::REVISION], "3");
    assert_eq!(
        annotations["deployment.kubernetes.io/revision-history"],
        "1"
    );
    assert_eq!(plan.annotations.unwrap()[revisions::REVISION], "3");
}

#[test]
fn progress_is_told_in_upstreams_words() {
    let mut deployment = deployment(3, rolling(json!(1), json!(0)));
    let plan = planned(&deployment, &[], 0);
    assert_eq!(
        progressing(&plan),
        ("True".into(), "NewReplicaSetCreated".into())
    );
    deployment.status = Some(plan.status);

    let sets = [set("new", 3, 3, 1, (3, 4))];
    let plan = planned(&deployment, &sets, 10);
    assert_eq!(
        progressing(&plan),
        ("True".into(), "ReplicaSetUpdated".into())
    );
    assert_eq!(plan.look_again.unwrap().as_secs(), 601);
    deployment.status = Some(plan.status);

    // Nothing moves for the whole deadline.
    let plan = planned(&deployment, &sets, 609);
    assert_eq!(
        progressing(&plan),
        ("True".into(), "ReplicaSetUpdated".into())
    );
    let plan = planned(&deployment, &sets, 610);
    assert_eq!(
        progressing(&plan),
        ("False".into(), "ProgressDeadlineExceeded".into())
    );
    deployment.status = Some(plan.status);

    let plan = planned(&deployment, &[set("new", 3, 3, 3, (3, 4))], 700);
    assert_eq!(
        progressing(&plan),
        ("True".into(), "NewReplicaSetAvailable".into())
    );
    assert_eq!(plan.look_again, None);
    assert_eq!(plan.status.observed_generation, Some(7));
    deployment.status = Some(plan.status.clone());

    // A steady state changes nothing at all.
    let sets = [set("new", 3, 3, 3, (3, 4))];
    deployment.metadata.annotations =
        Some([(revisions::REVISION.to_owned(), "9".to_owned())].into());
    let again = planned(&deployment, &sets, 9_000);
    assert_eq!(again.status, plan.status);
    assert!(again.change.is_empty() && again.create.is_none() && again.annotations.is_none());
}

#[test]
fn a_paused_deployment_cannot_miss_its_deadline() {
    let mut deployment = deployment(3, json!({"paused": true}));
    let sets = [set("old", 3, 3, 3, (3, 4))];
    let plan = planned(&deployment, &sets, 0);
    assert_eq!(
        progressing(&plan),
        ("Unknown".into(), "DeploymentPaused".into())
    );
    assert_eq!(sizes_after(&plan, &sets), "web-old=3");
    deployment.status = Some(plan.status);
    let plan = planned(&deployment, &sets, 100_000);
    assert_eq!(
        progressing(&plan),
        ("Unknown".into(), "DeploymentPaused".into())
    );
}

#[test]
fn a_collision_leads_to_another_name() {
    let mut deployment = deployment(1, json!({}));
    let first = planned(&deployment, &[], 0).create.unwrap().metadata.name;
    let plan = Plan::after_collision(&deployment);
    assert_eq!(plan.status.collision_count, Some(1));
    deployment.status = Some(plan.status);
    assert_ne!(
        planned(&deployment, &[], 0).create.unwrap().metadata.name,
        first
    );
}
