//! The life of pods, from their creation to the last trace of them.
#![allow(missing_docs)]

mod support;

use std::time::{Duration, Instant};

use consort_node::OnShutdown;
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use kube::Api;
use serde_json::json;
use support::{container, is_ready, on_a_host, phase, restarts, sh, waiting};

#[test]
fn a_pod_runs_says_so_and_goes_without_a_trace() {
    on_a_host(|bed| async move {
        let pod = bed
            .pod("web", json!({"containers": [{"name": "main"}]}))
            .await;
        let uid = pod.metadata.uid.clone().unwrap();
        let pod = bed.until_ready("web").await;
        let status = pod.status.clone().unwrap();
        assert!(
            status.pod_ip.as_deref().unwrap().starts_with("10.77.0."),
            "{status:?}"
        );
        assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
        let main = container(&pod, "main");
        assert!(main.ready && main.started == Some(true) && main.restart_count == 0);
        assert!(
            main.container_id
                .as_deref()
                .unwrap()
                .starts_with("consort://")
        );
        assert_eq!(main.image, support::IMAGE);
        bed.until_log("web", "main", "default command").await;
        for reason in ["Pulled", "Created", "Started"] {
            bed.until_event("web", reason, "").await;
        }
        let view = bed.agent.as_ref().unwrap().pod("default", "web").unwrap();
        assert!(view.container("main").is_ok() && view.netns.is_some());

        bed.delete("web").await;
        bed.until_gone("web").await;
        bed.until_event("web", "Killing", "Stopping container main")
            .await;
        let dir = bed.dir.path().join("node/pods").join(uid);
        let deadline = Instant::now() + support::PATIENCE;
        while dir.exists() {
            assert!(Instant::now() < deadline, "the pod's directory is left");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(bed.runtime.adopt().await.unwrap().is_empty());
        assert!(bed.network.attachments().is_empty());
        bed
    });
}

#[test]
fn the_node_registers_and_gives_signs_of_life() {
    on_a_host(|bed| async move {
        let nodes: Api<Node> = Api::all(bed.client.clone());
        let deadline = Instant::now() + support::PATIENCE;
        let node = loop {
            let node = nodes.get_opt(support::NODE).await.unwrap();
            if let Some(node) = node
                && node
                    .status
                    .iter()
                    .flat_map(|s| s.conditions.iter().flatten())
                    .any(|c| c.type_ == "Ready" && c.status == "True")
            {
                break node;
            }
            assert!(Instant::now() < deadline, "the node is not ready");
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        println!("node ready after {:?}", bed.begun.elapsed());
        let status = node.status.unwrap();
        let allocatable = status.allocatable.unwrap();
        assert_eq!(allocatable["pods"].0, "110");
        assert!(allocatable["cpu"].0.parse::<u32>().unwrap() > 0);
        assert!(
            status
                .node_info
                .unwrap()
                .container_runtime_version
                .starts_with("consort://")
        );
        assert_eq!(
            node.metadata.labels.unwrap()["kubernetes.io/hostname"],
            support::NODE
        );
        let leases: Api<k8s_openapi::api::coordination::v1::Lease> =
            Api::namespaced(bed.client.clone(), "kube-node-lease");
        let deadline = Instant::now() + support::PATIENCE;
        while leases.get_opt(support::NODE).await.unwrap().is_none() {
            assert!(Instant::now() < deadline, "there is no lease");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bed
    });
}

#[test]
fn init_containers_run_in_order_and_sidecars_end_last() {
    on_a_host(|bed| async move {
        bed.pod(
            "job",
            json!({"restartPolicy": "Never",
                "volumes": [{"name": "v", "emptyDir": {}}],
                "initContainers": [
                    {"name": "one", "command": sh("echo one >> /v/log"), "volumeMounts": [{"name": "v", "mountPath": "/v"}]},
                    {"name": "side", "restartPolicy": "Always",
                        "command": sh("echo side >> /v/log; trap 'exit 0' TERM; while true; do sleep 0.05; done"),
                        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                        "startupProbe": {"exec": {"command": ["grep", "side", "/v/log"]}, "periodSeconds": 1}},
                    {"name": "two", "command": sh("echo two >> /v/log"), "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
                "containers": [{"name": "main", "command": sh("cat /v/log; echo done > /dev/termination-log; exit 0"),
                    "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}),
        )
        .await;
        let pod = bed.until_phase("job", "Succeeded").await;
        assert_eq!(bed.log("job", "main"), "one\nside\ntwo\n");
        let end = container(&pod, "main")
            .state
            .clone()
            .unwrap()
            .terminated
            .unwrap();
        assert_eq!(
            (end.exit_code, end.reason.as_deref(), end.message.as_deref()),
            (0, Some("Completed"), Some("done\n"))
        );
        assert!(
            container(&pod, "side")
                .state
                .clone()
                .unwrap()
                .terminated
                .is_some()
        );
        assert_eq!(
            container(&pod, "one")
                .state
                .clone()
                .unwrap()
                .terminated
                .unwrap()
                .exit_code,
            0
        );
        // Its log can be read for as long as the pod is there.
        assert_eq!(bed.log("job", "main"), "one\nside\ntwo\n");
        bed.delete("job").await;
        bed.until_gone("job").await;
        bed
    });
}

#[test]
fn a_crashing_container_is_restarted_and_then_held_back() {
    on_a_host(|bed| async move {
        bed.pod(
            "crash",
            json!({"containers": [{"name": "main", "command": sh("echo run; exit 3")}]}),
        )
        .await;
        let pod = bed
            .until("crash", "backing off", |pod| {
                waiting(pod, "main") == "CrashLoopBackOff"
            })
            .await;
        let main = container(&pod, "main");
        assert_eq!(main.restart_count, 1);
        let last = main.last_state.clone().unwrap().terminated.unwrap();
        assert_eq!((last.exit_code, last.reason.as_deref()), (3, Some("Error")));
        assert_eq!(phase(&pod), "Running");
        assert!(!is_ready(&pod));
        bed.until_event(
            "crash",
            "BackOff",
            "Back-off restarting failed container main in pod crash_default(",
        )
        .await;
        bed.pod("never", json!({"restartPolicy": "Never", "containers": [{"name": "main", "command": sh("exit 4")}]})).await;
        let pod = bed.until_phase("never", "Failed").await;
        assert_eq!(
            container(&pod, "main")
                .state
                .clone()
                .unwrap()
                .terminated
                .unwrap()
                .exit_code,
            4
        );
        bed
    });
}

#[test]
fn what_stands_in_the_way_of_a_start_is_told_and_overcome() {
    on_a_host(|bed| async move {
        bed.pod("never", json!({"containers": [{"name": "c", "image": "registry.test/none:1", "imagePullPolicy": "Never"}]})).await;
        bed.pod("config", json!({"containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": "later"}}]}]})).await;
        bed.pod(
            "root",
            json!({"securityContext": {"runAsNonRoot": true}, "containers": [{"name": "c"}]}),
        )
        .await;
        bed.pod(
            "mount",
            json!({"volumes": [{"name": "v", "configMap": {"name": "later"}}],
            "containers": [{"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}),
        )
        .await;
        let program = json!({"containers": [{"name": "c", "command": ["/no/such/program"]}]});
        bed.pod("program", program.clone()).await;
        let mut once = program;
        once["restartPolicy"] = json!("Never");
        bed.pod("once", once).await;
        bed.until("never", "refused", |p| {
            waiting(p, "c") == "ErrImageNeverPull"
        })
        .await;
        let pod = bed
            .until("config", "waiting", |p| {
                waiting(p, "c") == "CreateContainerConfigError"
            })
            .await;
        let message = container(&pod, "c")
            .state
            .clone()
            .unwrap()
            .waiting
            .unwrap()
            .message
            .unwrap();
        assert_eq!(message, "configmap \"later\" not found");
        bed.until_event("config", "Failed", "Error: configmap \"later\" not found")
            .await;
        bed.until("root", "refused", |p| {
            waiting(p, "c") == "CreateContainerConfigError"
        })
        .await;
        bed.until_event(
            "mount",
            "FailedMount",
            "MountVolume.SetUp failed for volume \"v\" : configmap \"later\" not found",
        )
        .await;
        let pod = bed
            .until("program", "backing off", |p| {
                waiting(p, "c") == "CrashLoopBackOff"
            })
            .await;
        let last = container(&pod, "c").last_state.clone().unwrap();
        let last = last.terminated.unwrap();
        assert_eq!(last.exit_code, 128);
        assert_eq!(last.reason.as_deref(), Some("StartError"));
        bed.until_phase("once", "Failed").await;
        let begun = Instant::now();
        bed.create::<ConfigMap>(json!({"metadata": {"name": "later"}, "data": {"A": "b"}}))
            .await;
        bed.until_ready("config").await;
        bed.until_ready("mount").await;
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "the change itself leads to the next attempt"
        );
        bed
    });
}

#[test]
fn an_image_stays_while_a_pod_uses_it_whoever_started_it() {
    on_a_host(|mut bed| async move {
        let name: consort_image::Reference = support::IMAGE.parse().unwrap();
        bed.restart(OnShutdown::Leave).await;
        bed.pod("stay", json!({"containers": [{"name": "main", "command": sh("while true; do ls /bin/sh; sleep 0.05; done")}]})).await;
        bed.until_ready("stay").await;
        let in_use = bed.images.remove(&name, false).await.unwrap_err();
        assert_eq!(
            in_use.to_string(),
            format!("image {name} is in use by pod default/stay (container main)")
        );
        // An agent that comes back has adopted the pod, not started it.
        bed.restart(OnShutdown::StopPods).await;
        bed.until_ready("stay").await;
        let error = bed.images.remove(&name, false).await.unwrap_err();
        assert_eq!(error.to_string(), in_use.to_string());
        assert!(bed.images.unused().await.unwrap().is_empty());

        bed.images.remove(&name, true).await.unwrap();
        assert!(bed.images.get(&name).await.unwrap().is_none());
        let view = bed.view("stay").await;
        let look = consort_runtime::ExecSpec {
            args: vec!["ls".into(), "/bin/busybox".into()],
            ..Default::default()
        };
        let mut exec = view.container("main").unwrap().exec(look).await.unwrap();
        assert_eq!(exec.wait().await.unwrap(), 0, "its files are still there");
        drop(view);
        bed.delete("stay").await;
        bed.until_gone("stay").await;
        assert_eq!(bed.images.gc().await.unwrap().items, 1, "the layer");
        bed
    });
}

#[test]
fn an_agent_that_comes_back_finds_its_containers() {
    on_a_host(|mut bed| async move {
        bed.restart(OnShutdown::Leave).await;
        bed.pod("stay", json!({"containers": [{"name": "main"}]}))
            .await;
        bed.pod("ends", json!({"restartPolicy": "Never", "containers": [{"name": "main", "command": sh("while ! test -e /tmp/go; do sleep 0.05; done; exit 7")}]})).await;
        bed.pod("goes", json!({"containers": [{"name": "main"}]}))
            .await;
        let before = bed.until_ready("stay").await;
        bed.until_ready("ends").await;
        bed.until_ready("goes").await;
        let view = bed.agent.as_ref().unwrap().pod("default", "ends").unwrap();
        let ending = view.container("main").unwrap();
        drop(view);
        bed.stop().await;
        // While no agent is there one container ends and one pod is deleted by force.
        let touch = consort_runtime::ExecSpec {
            args: vec!["touch".into(), "/tmp/go".into()],
            ..Default::default()
        };
        assert_eq!(ending.exec(touch).await.unwrap().wait().await.unwrap(), 0);
        ending.wait().await.unwrap();
        let force = kube::api::DeleteParams {
            grace_period_seconds: Some(0),
            ..Default::default()
        };
        bed.pods().delete("goes", &force).await.unwrap();
        bed.start(OnShutdown::StopPods);
        let after = bed.until_phase("ends", "Failed").await;
        assert_eq!(
            container(&after, "main")
                .state
                .clone()
                .unwrap()
                .terminated
                .unwrap()
                .exit_code,
            7
        );
        let deadline = Instant::now() + support::PATIENCE;
        while bed.runtime.adopt().await.unwrap().len() > 1 {
            assert!(
                Instant::now() < deadline,
                "the deleted pod's sandbox is left"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let stayed = bed.until_ready("stay").await;
        assert_eq!(
            container(&stayed, "main").container_id,
            container(&before, "main").container_id
        );
        assert_eq!(container(&stayed, "main").restart_count, 0);
        assert_eq!(stayed.status.unwrap().pod_ip, before.status.unwrap().pod_ip);
        bed
    });
}

#[test]
fn a_pod_that_may_not_be_restarted_says_that_the_stop_of_the_node_ended_it() {
    on_a_host(|mut bed| async move {
        // Ends well when it is asked to, but has not done its work.
        let polite = sh("trap 'exit 0' TERM; while true; do sleep 0.05; done");
        for (name, policy, command) in [
            ("killed", "Never", sh("while true; do sleep 0.05; done")),
            ("polite", "Never", polite),
            ("again", "OnFailure", sh("while true; do sleep 0.05; done")),
            ("done", "Never", sh("exit 3")),
        ] {
            bed.pod(name, json!({"restartPolicy": policy, "containers": [{"name": "main", "command": command}]}))
                .await;
        }
        for name in ["killed", "polite", "again"] {
            bed.until_ready(name).await;
        }
        bed.until_phase("done", "Failed").await;
        bed.stop().await;
        for name in ["killed", "polite"] {
            let status = bed.pods().get(name).await.unwrap().status.unwrap();
            assert_eq!(
                (status.phase.as_deref(), status.reason.as_deref()),
                (Some("Failed"), Some("Terminated")),
                "{name}"
            );
            let conditions = status.conditions.unwrap();
            let target = conditions.iter().find(|c| c.type_ == "DisruptionTarget");
            assert_eq!(
                target.and_then(|c| c.reason.as_deref()),
                Some("TerminationByKubelet"),
                "{name}"
            );
        }
        let status = bed.pods().get("done").await.unwrap().status.unwrap();
        assert_eq!(status.reason, None, "it failed by itself");
        bed.start(OnShutdown::StopPods);
        bed.until("again", "restarted", |p| {
            is_ready(p) && restarts(p, "main") == 1
        })
        .await;
        bed
    });
}

#[test]
fn pods_of_a_node_that_was_stopped_start_again_with_one_more_restart() {
    on_a_host(|mut bed| async move {
        bed.pod("web", json!({"containers": [{"name": "main"}], "volumes": [{"name": "m", "emptyDir": {"medium": "Memory"}}]})).await;
        bed.pod("done", json!({"restartPolicy": "OnFailure", "containers": [{"name": "main", "command": sh("exit 0")}]})).await;
        let before = bed.until_ready("web").await;
        bed.until_phase("done", "Succeeded").await;
        bed.stop().await;
        assert!(bed.runtime.adopt().await.unwrap().is_empty());
        assert!(bed.network.attachments().is_empty());
        bed.start(OnShutdown::StopPods);
        let after = bed
            .until("web", "restarted", |p| {
                is_ready(p) && restarts(p, "main") == 1
            })
            .await;
        assert_ne!(
            container(&after, "main").container_id,
            container(&before, "main").container_id
        );
        assert!(
            container(&after, "main")
                .last_state
                .clone()
                .unwrap()
                .terminated
                .is_some()
        );
        let done = bed.pods().get("done").await.unwrap();
        assert_eq!(phase(&done), "Succeeded");
        assert_eq!(container(&done, "main").restart_count, 0);
        bed
    });
}

#[test]
fn a_pod_whose_shim_was_killed_gets_a_new_sandbox() {
    on_a_host(|bed| async move {
        bed.pod("web", json!({"containers": [{"name": "main"}]}))
            .await;
        bed.until_ready("web").await;
        let view = bed.agent.as_ref().unwrap().pod("default", "web").unwrap();
        let sandbox = view.sandbox.clone().unwrap();
        let table = std::process::Command::new("ps")
            .args(["-eo", "pid,args"])
            .output()
            .unwrap();
        let table = String::from_utf8(table.stdout).unwrap();
        let shim = table
            .lines()
            .find(|l| l.contains("__shim") && l.contains(sandbox.id()))
            .expect("no shim in the table");
        let pid: i32 = shim.split_whitespace().next().unwrap().parse().unwrap();
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid),
            nix::sys::signal::Signal::SIGKILL,
        )
        .unwrap();
        let pod = bed
            .until("web", "running anew", |p| {
                is_ready(p) && restarts(p, "main") == 1
            })
            .await;
        assert_eq!(phase(&pod), "Running");
        bed.until_event("web", "SandboxChanged", "").await;
        bed
    });
}

#[test]
fn hooks_and_grace_frame_the_life_of_a_container() {
    on_a_host(|bed| async move {
        let spec = json!({"terminationGracePeriodSeconds": 20,
            "volumes": [{"name": "v", "hostPath": {"path": bed.dir.path().join("shared"), "type": "DirectoryOrCreate"}}],
            "containers": [{"name": "main",
                "command": sh("trap 'echo term >> /v/log; exit 0' TERM; while true; do sleep 0.05; done"),
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                "lifecycle": {"postStart": {"exec": {"command": sh("echo started >> /v/log")}},
                    "preStop": {"exec": {"command": sh("sleep 0.3; echo stopping >> /v/log")}}}}]});
        bed.pod("hooks", spec).await;
        bed.until_ready("hooks").await;
        let begun = Instant::now();
        bed.delete("hooks").await;
        bed.until_gone("hooks").await;
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
        let log = std::fs::read_to_string(bed.dir.path().join("shared/log")).unwrap();
        assert_eq!(log, "started\nstopping\nterm\n");

        bed.pod("stubborn", json!({"terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "command": sh("trap '' TERM; while true; do sleep 0.05; done")}]})).await;
        bed.until_ready("stubborn").await;
        let begun = Instant::now();
        bed.delete("stubborn").await;
        bed.until_gone("stubborn").await;
        assert!(
            begun.elapsed() > Duration::from_millis(900)
                && begun.elapsed() < Duration::from_secs(5)
        );

        bed.pod("badhook", json!({"containers": [{"name": "main", "lifecycle": {"postStart": {"exec": {"command": ["false"]}}}}]})).await;
        bed.until_event("badhook", "FailedPostStartHook", "PostStartHook failed")
            .await;
        bed.until("badhook", "restarted", |p| restarts(p, "main") > 0)
            .await;
        bed
    });
}

#[test]
fn a_deadline_ends_a_pod_and_a_pod_that_does_not_fit_is_refused() {
    on_a_host(|bed| async move {
        bed.pod(
            "late",
            json!({"activeDeadlineSeconds": 1, "containers": [{"name": "main"}]}),
        )
        .await;
        bed.pod(
            "big",
            json!({"containers": [{"name": "main", "resources": {"requests": {"cpu": "1000"}}}]}),
        )
        .await;
        let big = bed.until_phase("big", "Failed").await.status.unwrap();
        assert_eq!(big.reason.as_deref(), Some("OutOfcpu"));
        let late = bed.until_phase("late", "Failed").await.status.unwrap();
        assert_eq!(late.reason.as_deref(), Some("DeadlineExceeded"));
        for name in ["late", "big"] {
            bed.delete(name).await;
            bed.until_gone(name).await;
        }
        bed
    });
}

#[test]
fn a_pod_is_up_in_a_fraction_of_a_second_and_fifty_at_once_are_no_trouble() {
    on_a_host(|bed| async move {
        bed.pod("warm", json!({"containers": [{"name": "main"}]}))
            .await;
        bed.until_ready("warm").await;
        let mut times = Vec::new();
        for i in 0..5 {
            let name = format!("one-{i}");
            let begun = Instant::now();
            bed.pod(&name, json!({"containers": [{"name": "main"}]}))
                .await;
            bed.until_phase(&name, "Running").await;
            times.push(begun.elapsed());
        }
        times.sort();
        println!("create to Running: {times:?}");
        let begun = Instant::now();
        for i in 0..50 {
            bed.pod(
                &format!("many-{i}"),
                json!({"containers": [{"name": "main"}]}),
            )
            .await;
        }
        for i in 0..50 {
            bed.until_ready(&format!("many-{i}")).await;
        }
        println!("fifty pods ready: {:?}", begun.elapsed());
        bed
    });
}
