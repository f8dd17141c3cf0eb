//! What containers find around them: environment, volumes, files, limits, and the probes that ask them.
#![allow(missing_docs)]

mod support;

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use support::{container, is_ready, on_a_host, restarts, sh};

#[test]
fn environment_files_and_volumes_are_as_the_spec_says() {
    on_a_host(|bed| async move {
        bed.create::<ConfigMap>(json!({"metadata": {"name": "cm"}, "data": {"a": "1", "b": "2"}}))
            .await;
        bed.create::<Secret>(json!({"metadata": {"name": "sec"}, "stringData": {"s": "hidden"}}))
            .await;
        bed.create::<ConfigMap>(
            json!({"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "CA"}}),
        )
        .await;
        let script = "echo env $A $FROM_IMAGE $S $NAME $IP $HOSTNAME; cat /cm/a /cm/sub/b; stat -L -c %a /sec/s; cat /sec/s; echo; \
            cat /down/labels; echo; id -G; stat -c %g /empty; touch /empty/x && stat -c %g /empty/x; \
            touch /cm/a 2>/dev/null && echo writable; cat /single; echo; cat /etc/hosts; cat /etc/resolv.conf; \
            cat /proc/mounts | grep ' /mem '; cat /var/run/secrets/kubernetes.io/serviceaccount/namespace; echo; \
            wc -c < /var/run/secrets/kubernetes.io/serviceaccount/token; ls -d /empty/deep/er; echo args $0 $1";
        bed.pod(
            "all",
            json!({"restartPolicy": "Never", "automountServiceAccountToken": true,
                "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["alias.test"]}],
                "dnsPolicy": "None", "dnsConfig": {"nameservers": ["9.9.9.9"], "searches": ["x.test"]},
                "securityContext": {"fsGroup": 4242, "supplementalGroups": [77]},
                "volumes": [
                    {"name": "cm", "configMap": {"name": "cm", "items": [{"key": "a", "path": "a"}, {"key": "b", "path": "sub/b"}]}},
                    {"name": "sec", "secret": {"secretName": "sec", "defaultMode": 256}},
                    {"name": "down", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                    {"name": "empty", "emptyDir": {}}, {"name": "mem", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}],
                "containers": [{"name": "main", "command": ["/bin/sh", "-c", script], "args": ["zero", "$(A)"],
                    "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "a"}}},
                        {"name": "S", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "s"}}},
                        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                    "volumeMounts": [{"name": "cm", "mountPath": "/cm"}, {"name": "sec", "mountPath": "/sec"},
                        {"name": "down", "mountPath": "/down"}, {"name": "empty", "mountPath": "/empty"},
                        {"name": "empty", "mountPath": "/empty/deep", "subPathExpr": "made-for/$(NAME)"},
                        {"name": "empty", "mountPath": "/empty/deep/er", "subPath": "er"},
                        {"name": "mem", "mountPath": "/mem"}, {"name": "cm", "mountPath": "/single", "subPath": "a"}]}]}),
        )
        .await;
        let pod = bed
            .until("all", "over", |p| {
                ["Succeeded", "Failed"].contains(&support::phase(p))
            })
            .await;
        let log = bed.log("all", "main");
        let ip = pod.status.clone().unwrap().pod_ip.unwrap();
        assert!(
            log.contains(&format!("env 1 yes hidden all {ip} all\n")),
            "{log}"
        );
        assert!(
            log.contains("\n12440\nhidden\n"),
            "secret with its mode and group: {log}"
        );
        assert!(log.contains("app=\"all\"\n"), "{log}");
        assert!(log.contains("0 77 4242\n4242\n4242\n"), "groups: {log}");
        assert!(!log.contains("writable"), "{log}");
        assert!(
            log.contains("1.2.3.4\talias.test") && log.contains(&format!("{ip}\tall")),
            "{log}"
        );
        assert!(log.contains("search x.test\nnameserver 9.9.9.9\n"), "{log}");
        assert!(
            log.contains("tmpfs /mem tmpfs") && log.contains("size=1024k"),
            "{log}"
        );
        assert!(
            log.contains("\ndefault\n"),
            "the namespace of the service account: {log}"
        );
        assert!(log.ends_with("/empty/deep/er\nargs zero 1\n"), "{log}");
        bed
    });
}

#[test]
fn a_secret_that_comes_after_the_sandbox_is_seen_in_the_container() {
    // The root of this host passes no mounts on to the namespaces that are copied from it.
    on_a_host(|bed| async move {
        bed.pod(
            "late",
            json!({"restartPolicy": "Never", "volumes": [{"name": "s", "secret": {"secretName": "late"}}],
                "containers": [{"name": "main", "command": sh("cat /s/key"),
                    "volumeMounts": [{"name": "s", "mountPath": "/s"}]}]}),
        )
        .await;
        bed.until_event("late", "FailedMount", "secret \"late\" not found")
            .await;
        bed.until("late", "in its sandbox", |pod| {
            pod.status.as_ref().is_some_and(|s| s.pod_ip.is_some())
        })
        .await;
        bed.create::<Secret>(json!({"metadata": {"name": "late"}, "stringData": {"key": "there"}}))
            .await;
        bed.until_phase("late", "Succeeded").await;
        assert_eq!(bed.log("late", "main"), "there\n");
        bed
    });
}

#[test]
fn a_changed_config_map_reaches_a_running_pod() {
    on_a_host(|bed| async move {
        bed.create::<ConfigMap>(json!({"metadata": {"name": "cm"}, "data": {"a": "old"}}))
            .await;
        bed.pod(
            "watch",
            json!({"volumes": [{"name": "v", "configMap": {"name": "cm"}}],
                "containers": [{"name": "main", "command": sh("while true; do cat /v/a; echo; sleep 0.05; done"),
                    "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}),
        )
        .await;
        bed.until_log("watch", "main", "old").await;
        let api: Api<ConfigMap> = Api::namespaced(bed.client.clone(), "default");
        api.patch(
            "cm",
            &PatchParams::default(),
            &Patch::Merge(json!({"data": {"a": "new"}})),
        )
        .await
        .unwrap();
        bed.until_log("watch", "main", "new").await;
        bed
    });
}

#[test]
fn probes_decide_over_readiness_and_restarts() {
    on_a_host(|bed| async move {
        let quick = |handler: serde_json::Value| {
            let mut probe = json!({"periodSeconds": 1, "failureThreshold": 1});
            probe
                .as_object_mut()
                .unwrap()
                .extend(handler.as_object().unwrap().clone());
            probe
        };
        let server = "mkdir -p /www; echo hi > /www/ok; httpd -p 8080 -h /www; while true; do sleep 0.1; done";
        bed.pod(
            "http",
            json!({"containers": [{"name": "main", "command": sh(server),
                "ports": [{"name": "web", "containerPort": 8080}],
                "readinessProbe": quick(json!({"httpGet": {"path": "/ok", "port": "web"}})),
                "startupProbe": {"tcpSocket": {"port": "web"}, "periodSeconds": 1, "failureThreshold": 30},
                "livenessProbe": quick(json!({"exec": {"command": ["true"]}}))}]}),
        )
        .await;
        bed.until_ready("http").await;
        let view = bed.agent.as_ref().unwrap().pod("default", "http").unwrap();
        let main = view.container("main").unwrap();
        let exec = |args: [&str; 2]| consort_runtime::ExecSpec {
            args: args.map(str::to_owned).to_vec(),
            ..Default::default()
        };
        main.exec(exec(["rm", "/www/ok"]))
            .await
            .unwrap()
            .wait()
            .await
            .unwrap();
        let pod = bed.until("http", "not ready", |p| !is_ready(p)).await;
        assert_eq!(container(&pod, "main").restart_count, 0);
        bed.until_event(
            "http",
            "Unhealthy",
            "Readiness probe failed: HTTP probe failed with statuscode: 404",
        )
        .await;
        main.exec(exec(["touch", "/www/ok"]))
            .await
            .unwrap()
            .wait()
            .await
            .unwrap();
        bed.until_ready("http").await;

        bed.pod(
            "sick",
            json!({"containers": [{"name": "main",
                "livenessProbe": quick(json!({"exec": {"command": ["/bin/sh", "-c", "echo unwell; exit 1"]}}))}]}),
        )
        .await;
        let pod = bed
            .until("sick", "restarted", |p| restarts(p, "main") > 0)
            .await;
        assert!(
            container(&pod, "main")
                .last_state
                .clone()
                .unwrap()
                .terminated
                .is_some()
        );
        bed.until_event("sick", "Unhealthy", "Liveness probe failed: unwell")
            .await;
        bed.until_event(
            "sick",
            "Killing",
            "Container main failed liveness probe, will be restarted",
        )
        .await;
        bed
    });
}

#[test]
fn limits_are_set_and_running_out_of_memory_is_told() {
    on_a_host(|bed| async move {
        bed.pod(
            "fat",
            json!({"restartPolicy": "Never", "containers": [{"name": "main",
                "command": sh("x=a; while true; do x=$x$x; done"),
                "resources": {"limits": {"memory": "16Mi", "cpu": "500m"}}}]}),
        )
        .await;
        let pod = bed.until_phase("fat", "Failed").await;
        let end = container(&pod, "main")
            .state
            .clone()
            .unwrap()
            .terminated
            .unwrap();
        assert_eq!(
            (end.reason.as_deref(), end.exit_code),
            (Some("OOMKilled"), 137)
        );
        assert_eq!(pod.status.unwrap().qos_class.as_deref(), Some("Guaranteed"));
        bed
    });
}

#[test]
fn a_running_pod_takes_an_ephemeral_container_and_a_new_image() {
    on_a_host(|bed| async move {
        let pod = bed
            .pod("web", json!({"containers": [{"name": "main"}]}))
            .await;
        bed.until_ready("web").await;
        let api: Api<Pod> = bed.pods();
        let patch = json!({"spec": {"ephemeralContainers": [
            {"name": "debug", "image": support::IMAGE, "command": ["/bin/sh", "-c", "echo looking; hostname"]}]}});
        let path = PatchParams::default();
        api.patch_subresource(
            "ephemeralcontainers",
            &pod.name_any(),
            &path,
            &Patch::Strategic(patch),
        )
        .await
        .unwrap();
        bed.until_log("web", "debug", "looking\nweb\n").await;
        bed.until("web", "looked into", |p| {
            p.status
                .iter()
                .flat_map(|s| s.ephemeral_container_statuses.iter().flatten())
                .any(|c| {
                    c.state
                        .as_ref()
                        .is_some_and(|s| s.terminated.as_ref().is_some_and(|t| t.exit_code == 0))
                })
        })
        .await;
        assert!(is_ready(&bed.pods().get("web").await.unwrap()));
        bed
    });
}
