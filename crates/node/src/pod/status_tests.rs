#![allow(
    clippy::needless_pass_by_value,
    reason = "literals read better at the call"
)]

use super::*;
use crate::pod::backoff::Backoff;
use crate::pod::state::Running;
use serde_json::{Value, json};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

fn pod(spec: Value, status: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u", "generation": 3}, "spec": spec, "status": status}))
    .unwrap()
}

fn running(ready: bool) -> Known {
    Known {
        attempted: true,
        image: "docker.io/library/x:1".into(),
        image_id: "docker.io/library/x@sha256:0".into(),
        phase: Phase::Running(Running {
            id: "abc".into(),
            started_at: at(-5),
            post_started: true,
            started: true,
            ready,
            stopping: false,
            unhealthy: None,
        }),
        ..Known::default()
    }
}

fn ended(code: i32) -> Known {
    Known {
        attempted: true,
        phase: Phase::Ended(Ended {
            id: "abc".into(),
            code,
            signal: None,
            reason: if code == 0 { "Completed" } else { "Error" }.into(),
            message: Some("said".into()),
            started_at: Some(at(-9)),
            finished_at: at(-1),
        }),
        ..Known::default()
    }
}

fn failing(reason: &str, since: i64) -> Known {
    Known {
        failure: Some(Failure {
            reason: reason.into(),
            message: "why".into(),
            at: at(since),
            retry_at: at(10),
            until_sources_change: false,
        }),
        ..Known::default()
    }
}

fn make(
    pod: &Pod,
    containers: Vec<(&str, Known)>,
    change: impl FnOnce(&mut Situation),
) -> PodStatus {
    let mut situation = Situation {
        sandbox: Stage::Ready,
        volumes: Stage::Ready,
        initialised: true,
        containers: containers
            .into_iter()
            .map(|(n, k)| (n.to_owned(), k))
            .collect(),
        ..Situation::default()
    };
    change(&mut situation);
    status(&Inputs {
        pod,
        situation: &situation,
        host_ips: &["10.0.0.1".to_owned()],
        pod_ips: &["10.1.0.2".to_owned()],
        started_at: at(-60),
        now: at(0),
    })
}

fn condition<'a>(status: &'a PodStatus, kind: &str) -> &'a PodCondition {
    status
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == kind)
        .unwrap()
}

fn waiting(status: &PodStatus) -> (String, String) {
    let state = status.container_statuses.as_ref().unwrap()[0]
        .state
        .clone()
        .unwrap();
    let waiting = state.waiting.unwrap_or_default();
    (
        waiting.reason.unwrap_or_default(),
        waiting.message.unwrap_or_default(),
    )
}

#[test]
fn phases_follow_the_containers_and_the_policy() {
    let spec = |policy: &str| json!({"restartPolicy": policy, "containers": [{"name": "a"}, {"name": "b"}]});
    for (policy, a, b, expected) in [
        ("Always", Known::default(), Known::default(), "Pending"),
        ("Always", running(true), Known::default(), "Pending"),
        ("Always", running(true), running(true), "Running"),
        ("Always", ended(1), ended(0), "Running"),
        ("Always", ended(0), ended(0), "Running"),
        ("OnFailure", ended(0), ended(0), "Succeeded"),
        ("OnFailure", ended(0), ended(1), "Running"),
        ("Never", ended(0), ended(1), "Failed"),
        ("Never", ended(0), running(true), "Running"),
        ("Never", ended(0), ended(0), "Succeeded"),
    ] {
        let pod = pod(spec(policy), json!({}));
        let shown = format!("{policy} {a:?} {b:?}");
        let made = make(&pod, vec![("a", a), ("b", b)], |_| {});
        assert_eq!(made.phase.as_deref(), Some(expected), "{shown}");
    }
}

#[test]
fn a_running_pod_says_everything_about_itself() {
    let pod = pod(
        json!({"containers": [{"name": "a", "image": "x:1", "resources": {"requests": {"cpu": "1"}},
            "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": true}]}]}),
        json!({"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "1970-01-10T00:00:00Z"},
            {"type": "example.com/other", "status": "True"}], "startTime": "1970-01-09T00:00:00Z"}),
    );
    let made = make(&pod, vec![("a", running(true))], |_| {});
    assert_eq!(made.pod_ip.as_deref(), Some("10.1.0.2"));
    assert_eq!(made.host_ip.as_deref(), Some("10.0.0.1"));
    assert_eq!(made.qos_class.as_deref(), Some("Burstable"));
    assert_eq!(made.observed_generation, Some(3));
    let before: Timestamp = "1970-01-09T00:00:00Z".parse().unwrap();
    assert_eq!(made.start_time.as_ref().unwrap().0, before);
    let container = &made.container_statuses.as_ref().unwrap()[0];
    assert_eq!(container.container_id.as_deref(), Some("consort://abc"));
    assert_eq!(container.image, "docker.io/library/x:1");
    assert!(container.ready && container.started == Some(true));
    assert!(container.state.as_ref().unwrap().running.is_some());
    let ready = condition(&made, "Ready");
    assert_eq!(ready.status, "True");
    assert_eq!(
        ready.last_transition_time.as_ref().unwrap().0,
        "1970-01-10T00:00:00Z".parse().unwrap()
    );
    assert_eq!(condition(&made, "PodReadyToStartContainers").status, "True");
    assert_eq!(
        condition(&made, "example.com/other").status,
        "True",
        "conditions of others are kept"
    );
}

#[test]
fn what_is_not_ready_is_named() {
    let pod = pod(
        json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}, {"name": "b"}]}),
        json!({"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "1970-01-10T00:00:00Z"}]}),
    );
    let made = make(
        &pod,
        vec![("a", running(false)), ("b", running(true))],
        |s| s.initialised = false,
    );
    let ready = condition(&made, "Ready");
    assert_eq!(
        (ready.status.as_str(), ready.reason.as_deref()),
        ("False", Some("ContainersNotReady"))
    );
    assert_eq!(
        ready.message.as_deref(),
        Some("containers with unready status: [a]")
    );
    assert_eq!(ready.last_transition_time.as_ref().unwrap().0, at(0));
    let initialized = condition(&made, "Initialized");
    assert_eq!(
        initialized.message.as_deref(),
        Some("containers with incomplete status: [i]")
    );
    assert_eq!(
        waiting(&make(&pod, vec![], |s| s.initialised = false)).0,
        "PodInitializing"
    );
    assert_eq!(waiting(&make(&pod, vec![], |_| {})).0, "ContainerCreating");
}

#[test]
fn readiness_gates_are_waited_for() {
    let spec =
        json!({"containers": [{"name": "a"}], "readinessGates": [{"conditionType": "x/gate"}]});
    let missing = make(
        &pod(spec.clone(), json!({})),
        vec![("a", running(true))],
        |_| {},
    );
    let ready = condition(&missing, "Ready");
    assert_eq!(ready.reason.as_deref(), Some("ReadinessGatesNotReady"));
    assert_eq!(condition(&missing, "ContainersReady").status, "True");
    let with = |status: &str| json!({"conditions": [{"type": "x/gate", "status": status}]});
    let no = make(
        &pod(spec.clone(), with("False")),
        vec![("a", running(true))],
        |_| {},
    );
    assert!(
        condition(&no, "Ready")
            .message
            .as_ref()
            .unwrap()
            .contains("is not \"True\", but False")
    );
    let yes = make(&pod(spec, with("True")), vec![("a", running(true))], |_| {});
    assert_eq!(condition(&yes, "Ready").status, "True");
}

#[test]
fn failures_are_shown_with_the_usual_reasons() {
    let pod = pod(
        json!({"containers": [{"name": "a", "image": "x:1"}]}),
        json!({}),
    );
    let of = |known: Known| waiting(&make(&pod, vec![("a", known)], |_| {}));
    assert_eq!(
        of(failing("ErrImagePull", -1)),
        ("ErrImagePull".into(), "why".into())
    );
    assert_eq!(
        of(failing("ErrImagePull", -3)),
        (
            "ImagePullBackOff".into(),
            "Back-off pulling image \"x:1\": ErrImagePull: why".into()
        )
    );
    assert_eq!(
        of(failing("CreateContainerConfigError", -30)).0,
        "CreateContainerConfigError"
    );

    let mut crashing = ended(1);
    crashing.restarts = 4;
    crashing.backoff = Backoff::default();
    for _ in 0..4 {
        crashing.backoff.next(at(-20), at(-20));
    }
    let made = make(&pod, vec![("a", crashing)], |_| {});
    assert_eq!(
        waiting(&made),
        (
            "CrashLoopBackOff".into(),
            "back-off 1m20s restarting failed container=a pod=p_ns(u)".into()
        )
    );
    let container = &made.container_statuses.as_ref().unwrap()[0];
    let last = container
        .last_state
        .as_ref()
        .unwrap()
        .terminated
        .as_ref()
        .unwrap();
    assert_eq!((last.exit_code, last.message.as_deref()), (1, Some("said")));
    assert_eq!(container.restart_count, 4);
    assert_eq!(made.phase.as_deref(), Some("Running"));
}

#[test]
fn an_end_is_told_when_everything_has_ended() {
    let pod = pod(json!({"containers": [{"name": "a"}]}), json!({}));
    let deadline = End::Failed {
        reason: "DeadlineExceeded".into(),
        message: "m".into(),
    };
    let still_up = make(&pod, vec![("a", running(true))], |s| {
        s.end = Some(deadline.clone());
    });
    assert_eq!(still_up.phase.as_deref(), Some("Running"));
    let over = make(&pod, vec![("a", ended(137))], |s| s.end = Some(deadline));
    assert_eq!(
        (over.phase.as_deref(), over.reason.as_deref()),
        (Some("Failed"), Some("DeadlineExceeded"))
    );
    assert_eq!(
        condition(&over, "Ready").reason.as_deref(),
        Some("PodFailed")
    );
    let deleted = make(&pod, vec![("a", ended(0))], |s| s.end = Some(End::Deleted));
    assert_eq!(deleted.phase.as_deref(), Some("Succeeded"));
    assert!(
        deleted.container_statuses.unwrap()[0]
            .state
            .as_ref()
            .unwrap()
            .terminated
            .is_some()
    );
}

#[test]
fn what_the_api_remembers_counts_when_nothing_is_left_here() {
    let of = |value: Value| {
        let mut value = value;
        for (key, default) in [
            ("name", json!("a")),
            ("image", json!("x")),
            ("imageID", json!("y")),
            ("ready", json!(false)),
        ] {
            value.as_object_mut().unwrap().entry(key).or_insert(default);
        }
        Known::from_api(&serde_json::from_value(value).unwrap(), at(0))
    };
    let lost = of(json!({"restartCount": 2, "containerID": "consort://abc",
        "state": {"running": {"startedAt": "1970-01-10T00:00:00Z"}}}));
    let end = lost.ended().unwrap();
    assert_eq!(
        (end.code, end.reason.as_str(), end.id.as_str()),
        (137, "ContainerStatusUnknown", "abc")
    );
    assert_eq!((lost.restarts, lost.attempted), (2, true));
    let done = of(
        json!({"restartCount": 0, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}),
    );
    assert_eq!(done.ended().unwrap().code, 0);
    let crashing = of(
        json!({"restartCount": 5, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 3}}}),
    );
    assert_eq!((crashing.ended().unwrap().code, crashing.restarts), (3, 5));
    let fresh =
        of(json!({"restartCount": 0, "state": {"waiting": {"reason": "ContainerCreating"}}}));
    assert_eq!(
        (fresh.phase.clone(), fresh.attempted),
        (Phase::Waiting, false)
    );
}
