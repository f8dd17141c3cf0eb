use super::*;
use crate::pod::state::{Failure, Running};
use jiff::SignedDuration;
use serde_json::{Value, json};

const NOW: i64 = 1_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW + seconds).unwrap()
}

fn ended(code: i32, seconds: i64) -> Ended {
    Ended {
        id: "x".into(),
        code,
        signal: None,
        reason: String::new(),
        message: None,
        started_at: None,
        finished_at: at(seconds),
    }
}

/// A container from one word: `wait`, `start`, `run`, `hook` (hook under way), `boot` (startup probe
/// pending), `sick`, `stop`, `exit0`, `exit1`, `fail` (cannot be started for another 5 s).
fn known(word: &str) -> Known {
    let running = |change: fn(&mut Running)| {
        let mut running = Running {
            id: "x".into(),
            started_at: at(-10),
            post_started: true,
            started: true,
            ready: true,
            stopping: false,
            unhealthy: None,
        };
        change(&mut running);
        Phase::Running(running)
    };
    let mut known = Known {
        attempted: true,
        ..Known::default()
    };
    known.phase = match word {
        "wait" => {
            known.attempted = false;
            Phase::Waiting
        }
        "fail" => {
            known.attempted = false;
            known.failure = Some(Failure {
                reason: "ErrImagePull".into(),
                message: String::new(),
                at: at(-5),
                retry_at: at(5),
                until_sources_change: false,
            });
            Phase::Waiting
        }
        "start" => Phase::Starting(None),
        "run" => running(|_| {}),
        "hook" => running(|r| r.post_started = false),
        "boot" => running(|r| r.started = false),
        "sick" => running(|r| {
            r.unhealthy = Some(Unhealthy {
                message: "sick".into(),
                grace: Some(3),
            });
        }),
        "stop" => running(|r| r.stopping = true),
        "exit0" => Phase::Ended(ended(0, 0)),
        "exit1" => Phase::Ended(ended(1, 0)),
        other => panic!("{other}"),
    };
    known
}

fn spec(value: Value) -> PodSpec {
    serde_json::from_value(value).unwrap()
}

fn pod(policy: &str, init: &[&str], sidecars: &[&str], main: &[&str]) -> PodSpec {
    let mut inits: Vec<Value> = sidecars
        .iter()
        .map(|n| json!({"name": n, "restartPolicy": "Always"}))
        .collect();
    inits.extend(init.iter().map(|n| json!({"name": n})));
    spec(json!({
        "restartPolicy": policy,
        "initContainers": inits,
        "containers": main.iter().map(|n| json!({"name": n})).collect::<Vec<_>>(),
    }))
}

fn ready(containers: &[(&str, &str)]) -> Situation {
    Situation {
        sandbox: Stage::Ready,
        volumes: Stage::Ready,
        containers: containers
            .iter()
            .map(|(name, word)| ((*name).to_owned(), known(word)))
            .collect(),
        grace_seconds: 30,
        ..Situation::default()
    }
}

/// Actions in short: `start a`, `stop a`, ...
fn short(decision: &Decision) -> Vec<String> {
    decision
        .actions
        .iter()
        .map(|action| match action {
            Action::Start { container, .. } => format!("start {container}"),
            Action::PostStart { container } => format!("hook {container}"),
            Action::Stop {
                container, grace, ..
            } => match grace {
                Some(grace) => format!("stop {container} {grace}"),
                None => format!("stop {container}"),
            },
            Action::CancelStart { container } => format!("cancel {container}"),
            other => format!("{other:?}"),
        })
        .collect()
}

fn plan(spec: &PodSpec, situation: &Situation) -> Vec<String> {
    short(&decide(spec, situation, at(0)))
}

#[test]
fn a_new_pod_gets_sandbox_and_volumes_at_once() {
    let spec = pod("Always", &[], &[], &["a"]);
    assert_eq!(
        plan(&spec, &Situation::default()),
        ["CreateSandbox", "MountVolumes"]
    );
    let busy = Situation {
        sandbox: Stage::Busy,
        volumes: Stage::Ready,
        ..Situation::default()
    };
    assert!(plan(&spec, &busy).is_empty());
    let failed = Situation {
        sandbox: Stage::Ready,
        volumes: Stage::Failed { retry_at: at(7) },
        ..Situation::default()
    };
    let decision = decide(&spec, &failed, at(0));
    assert_eq!((decision.actions.len(), decision.wake_at), (0, Some(at(7))));
    assert_eq!(short(&decide(&spec, &failed, at(7))), ["MountVolumes"]);
}

#[test]
fn containers_start_in_their_order() {
    let spec = pod("Always", &["i1", "i2"], &["s"], &["a", "b"]);
    for (containers, expected) in [
        (vec![], vec!["start s"]),
        (vec![("s", "start")], vec![]),
        (vec![("s", "boot")], vec![]),
        (vec![("s", "run")], vec!["start i1"]),
        (vec![("s", "run"), ("i1", "run")], vec![]),
        (vec![("s", "run"), ("i1", "exit0")], vec!["start i2"]),
        (vec![("s", "exit1"), ("i1", "exit0")], vec!["start s"]),
        (vec![("s", "run"), ("i1", "exit1")], vec!["start i1"]),
        (
            vec![("s", "run"), ("i1", "exit0"), ("i2", "exit0")],
            vec!["start a"],
        ),
        (
            vec![
                ("s", "run"),
                ("i1", "exit0"),
                ("i2", "exit0"),
                ("a", "start"),
            ],
            vec![],
        ),
        (
            vec![
                ("s", "run"),
                ("i1", "exit0"),
                ("i2", "exit0"),
                ("a", "hook"),
            ],
            vec!["hook a"],
        ),
        (
            vec![("s", "run"), ("i1", "exit0"), ("i2", "exit0"), ("a", "run")],
            vec!["start b"],
        ),
        // One that cannot be started does not hold up the next.
        (
            vec![
                ("s", "run"),
                ("i1", "exit0"),
                ("i2", "exit0"),
                ("a", "fail"),
            ],
            vec!["start b"],
        ),
        (
            vec![
                ("s", "run"),
                ("i1", "exit0"),
                ("i2", "exit0"),
                ("a", "run"),
                ("b", "run"),
            ],
            vec![],
        ),
    ] {
        assert_eq!(plan(&spec, &ready(&containers)), expected, "{containers:?}");
    }
}

#[test]
fn after_initialisation_init_containers_are_done_and_sidecars_kept_running() {
    let spec = pod("Always", &["i1"], &["s"], &["a"]);
    let mut situation = ready(&[("s", "exit1"), ("a", "exit1")]);
    situation.initialised = true;
    assert_eq!(plan(&spec, &situation), ["start s", "start a"]);
}

#[test]
fn restarts_follow_the_policy_and_the_back_off() {
    for (policy, code, expected) in [
        ("Always", "exit0", vec!["start a"]),
        ("Always", "exit1", vec!["start a"]),
        ("OnFailure", "exit1", vec!["start a"]),
        ("OnFailure", "exit0", vec![]),
        ("Never", "exit1", vec![]),
    ] {
        assert_eq!(
            plan(&pod(policy, &[], &[], &["a"]), &ready(&[("a", code)])),
            expected,
            "{policy} {code}"
        );
    }
    let spec = pod("Always", &[], &[], &["a"]);
    let mut situation = ready(&[("a", "exit1")]);
    situation
        .containers
        .get_mut("a")
        .unwrap()
        .backoff
        .next(at(-1), at(-1));
    let decision = decide(&spec, &situation, at(0));
    assert_eq!(
        (decision.actions.len(), decision.wake_at),
        (0, Some(at(10)))
    );
    assert_eq!(
        short(&decide(
            &spec,
            &situation,
            at(0) + SignedDuration::from_secs(10)
        )),
        ["start a"]
    );
}

#[test]
fn a_container_may_have_rules_of_its_own() {
    let rules = |operator: &str| {
        spec(
            json!({"restartPolicy": "Never", "containers": [{"name": "a", "restartPolicy": "Never", "restartPolicyRules": [
            {"action": "Restart", "exitCodes": {"operator": operator, "values": [1, 42]}}]}]}),
        )
    };
    assert_eq!(plan(&rules("In"), &ready(&[("a", "exit1")])), ["start a"]);
    assert!(plan(&rules("In"), &ready(&[("a", "exit0")])).is_empty());
    assert!(plan(&rules("NotIn"), &ready(&[("a", "exit1")])).is_empty());
    let own = spec(
        json!({"restartPolicy": "Always", "containers": [{"name": "a", "restartPolicy": "Never"}]}),
    );
    assert!(plan(&own, &ready(&[("a", "exit1")])).is_empty());
}

#[test]
fn an_unhealthy_container_is_stopped_once() {
    let spec = pod("Always", &[], &[], &["a"]);
    assert_eq!(plan(&spec, &ready(&[("a", "sick")])), ["stop a 3"]);
    assert!(plan(&spec, &ready(&[("a", "stop")])).is_empty());
}

#[test]
fn a_finished_pod_ends_its_sidecars_and_is_removed_once_its_status_is_stored() {
    let spec = pod("Never", &[], &["s1", "s2"], &["a"]);
    let mut situation = ready(&[("s1", "run"), ("s2", "run"), ("a", "exit0")]);
    situation.initialised = true;
    assert_eq!(
        plan(&spec, &situation),
        ["stop s2"],
        "the last sidecar goes first"
    );
    situation.containers.insert("s2".into(), known("exit1"));
    assert_eq!(plan(&spec, &situation), ["stop s1"]);
    situation.containers.insert("s1".into(), known("exit1"));
    assert!(plan(&spec, &situation).is_empty());
    situation.final_status_stored = true;
    assert_eq!(plan(&spec, &situation), ["TearDown"]);
    situation.tearing_down = true;
    assert!(plan(&spec, &situation).is_empty());
    situation.torn_down = true;
    assert!(plan(&spec, &situation).is_empty());
    assert_eq!(outcome(&spec, &situation), Outcome::Succeeded);
}

#[test]
fn a_failed_init_container_fails_a_pod_that_is_never_restarted() {
    let spec = pod("Never", &["i"], &[], &["a"]);
    let mut situation = ready(&[("i", "exit1")]);
    assert_eq!(outcome(&spec, &situation), Outcome::Failed);
    situation.final_status_stored = true;
    assert_eq!(plan(&spec, &situation), ["TearDown"]);
    assert_eq!(
        outcome(&pod("Always", &["i"], &[], &["a"]), &situation),
        Outcome::Open
    );
}

#[test]
fn a_deleted_pod_is_stopped_told_removed_and_deleted_in_that_order() {
    let spec = pod("Always", &["i"], &["s"], &["a", "b"]);
    let mut situation = ready(&[("i", "exit0"), ("s", "run"), ("a", "run"), ("b", "start")]);
    situation.end = Some(End::Deleted);
    assert_eq!(plan(&spec, &situation), ["stop a 30", "cancel b"]);
    situation.containers.insert("a".into(), known("exit1"));
    situation.containers.insert("b".into(), known("wait"));
    assert_eq!(plan(&spec, &situation), ["stop s 30"]);
    situation.containers.insert("s".into(), known("exit0"));
    assert!(plan(&spec, &situation).is_empty(), "the status comes first");
    situation.final_status_stored = true;
    assert_eq!(plan(&spec, &situation), ["TearDown"]);
    situation.torn_down = true;
    assert_eq!(plan(&spec, &situation), ["DeleteObject"]);
}

#[test]
fn the_other_ends_delete_nothing() {
    let spec = pod("Always", &[], &[], &["a"]);
    for (end, after) in [
        (End::Gone, vec!["Finish"]),
        (End::NodeStops, vec!["Finish"]),
        (End::Settled, vec![]),
    ] {
        let mut situation = ready(&[("a", "exit0")]);
        situation.end = Some(end.clone());
        if end == End::NodeStops {
            assert!(
                plan(&spec, &situation).is_empty(),
                "how it ended is told first"
            );
            situation.final_status_stored = true;
        }
        assert_eq!(plan(&spec, &situation), ["TearDown"], "{end:?}");
        situation.torn_down = true;
        assert_eq!(plan(&spec, &situation), after, "{end:?}");
    }
    let mut situation = ready(&[("a", "wait")]);
    situation.end = Some(End::Failed {
        reason: "OutOfcpu".into(),
        message: String::new(),
    });
    assert!(plan(&spec, &situation).is_empty());
    situation.final_status_stored = true;
    assert_eq!(plan(&spec, &situation), ["TearDown"]);
    situation.sandbox = Stage::Busy;
    assert!(
        plan(&spec, &situation).is_empty(),
        "nothing is removed while it is being made"
    );
}

#[test]
fn a_dead_sandbox_is_replaced_unless_the_pod_has_run_its_course() {
    let mut situation = ready(&[("a", "exit1")]);
    situation.sandbox_dead = true;
    assert_eq!(
        plan(&pod("Always", &[], &[], &["a"]), &situation),
        ["DiscardSandbox"]
    );
    assert!(plan(&pod("Never", &[], &[], &["a"]), &situation).is_empty());
}

#[test]
fn an_ephemeral_container_starts_at_any_time_and_only_once() {
    let spec = spec(json!({"containers": [{"name": "a"}], "ephemeralContainers": [{"name": "e"}]}));
    assert_eq!(plan(&spec, &ready(&[("a", "run")])), ["start e"]);
    assert!(plan(&spec, &ready(&[("a", "run"), ("e", "exit1")])).is_empty());
}
