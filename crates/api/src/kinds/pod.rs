//! Pods, and the binding that places one.

use crate::defaults;
use crate::handlers::update::Part;
use crate::kind::{Kind, STATUS, Subresource, proxy};
use crate::print;
use crate::strategy::{AGE, Column, NAME, Strategy, column, wide};
use crate::validation::{self, Errors, Path};
use crate::values::{at, copy, ensure, flag, int, items, items_mut, set, text};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The kind `Pod`.
pub(super) fn pod() -> Kind {
    let connect = |name, kind| Subresource {
        name,
        kind: ("", "v1", kind),
        verbs: &["create", "get"],
    };
    let mut kind = Kind::new("", "v1", "Pod", "pods")
        .short(&["po"])
        .categories(&["all"])
        .sub(connect("attach", "PodAttachOptions"))
        .sub(Subresource {
            name: "binding",
            kind: ("", "v1", "Binding"),
            verbs: &["create"],
        })
        .sub(Subresource {
            name: "ephemeralcontainers",
            kind: ("", "v1", "Pod"),
            verbs: &["get", "patch", "update"],
        })
        .sub(Subresource {
            name: "eviction",
            kind: ("policy", "v1", "Eviction"),
            verbs: &["create"],
        })
        .sub(connect("exec", "PodExecOptions"))
        .sub(Subresource {
            name: "log",
            kind: ("", "v1", "Pod"),
            verbs: &["get"],
        })
        .sub(connect("portforward", "PodPortForwardOptions"))
        .sub(proxy("PodProxyOptions"))
        .sub(Subresource {
            name: "resize",
            kind: ("", "v1", "Pod"),
            verbs: &["get", "patch", "update"],
        })
        .sub(STATUS)
        .strategy(Pod);
    kind.generation = true;
    kind.returns_deleted = true;
    kind
}

/// The kind `Binding`: created, never kept.
pub(super) fn binding() -> Kind {
    Kind::new("", "v1", "Binding", "bindings").computed()
}

struct Pod;

impl Strategy for Pod {
    fn default(&self, object: &mut Value) {
        defaults::pod(object);
    }

    fn prepare_create(&self, object: &mut Value) {
        let class = defaults::qos_class(object);
        let mut status = json!({"phase": "Pending", "qosClass": class});
        if !items(object, &["spec", "schedulingGates"]).is_empty() {
            status["conditions"] = json!([{
                "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
                "lastProbeTime": null, "lastTransitionTime": null,
            }]);
            if let Some(condition) = status["conditions"][0].as_object_mut() {
                condition.retain(|_, value| !value.is_null());
            }
        }
        set(object, "status", status);
    }

    fn prepare_status(&self, new: &mut Value, old: &Value) {
        // Old agents sent back owners they had read long before.
        copy(ensure(new, "metadata"), &old["metadata"], "ownerReferences");
        let status = ensure(new, "status");
        if text(status, &["qosClass"]).is_empty() {
            copy(status, &old["status"], "qosClass");
        }
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::pod(object, here, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::pod_update(new, old, here, errors);
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        validation::pod_warnings(&object["spec"], "spec")
    }

    /// Through `resize`, the resources of containers are taken, by the containers' names.
    fn take_part(&self, _part: Part, object: &mut Value, asked: &Value) {
        let spec = ensure(object, "spec");
        for list in ["containers", "initContainers"] {
            let wanted = items(asked, &["spec", list]);
            for container in items_mut(spec, list) {
                let name = text(container, &["name"]);
                let Some(wanted) = wanted.iter().find(|one| text(one, &["name"]) == name) else {
                    continue;
                };
                copy(container, wanted, "resources");
                copy(container, wanted, "resizePolicy");
            }
        }
    }

    fn validate_part(
        &self,
        _part: Part,
        new: &Value,
        old: &Value,
        here: &Path<'_>,
        errors: &mut Errors,
    ) {
        validation::resize(new, old, here, errors);
    }

    fn selectable(&self) -> &'static [&'static str] {
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ]
    }

    fn fields(&self, object: &Value) -> Vec<(String, String)> {
        let own = |path: &[&str]| (path.join("."), text(object, path).to_owned());
        let host = flag(object, &["spec", "hostNetwork"]);
        vec![
            own(&["spec", "nodeName"]),
            own(&["spec", "restartPolicy"]),
            own(&["spec", "schedulerName"]),
            own(&["spec", "serviceAccountName"]),
            ("spec.hostNetwork".into(), host.to_string()),
            own(&["status", "phase"]),
            own(&["status", "podIP"]),
            own(&["status", "nominatedNodeName"]),
        ]
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column(
                "Ready",
                "string",
                "The aggregate readiness state of this pod for accepting traffic.",
            ),
            column(
                "Status",
                "string",
                "The aggregate status of the containers in this pod.",
            ),
            column(
                "Restarts",
                "string",
                "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted.",
            ),
            AGE,
            wide(
                "IP",
                "string",
                "podIP address allocated to the pod. Routable at least within the cluster. Empty if not yet allocated.",
            ),
            wide(
                "Node",
                "string",
                "NodeName indicates in which node this pod is scheduled.",
            ),
            wide(
                "Nominated Node",
                "string",
                "The node a pod waits for while lower pods there are ended.",
            ),
            wide(
                "Readiness Gates",
                "string",
                "Conditions that must hold before the pod is ready.",
            ),
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let summary = Summary::of(object);
        let status = &object["status"];
        let ip = items(status, &["podIPs"])
            .first()
            .map_or_else(|| text(status, &["podIP"]), |ip| text(ip, &["ip"]));
        vec![
            print::name(object),
            format!("{}/{}", summary.ready, summary.total).into(),
            summary.reason.clone().into(),
            summary.restarts(now).into(),
            print::age(object, now),
            print::or(ip, "<none>").into(),
            print::or(text(object, &["spec", "nodeName"]), "<none>").into(),
            print::or(text(status, &["nominatedNodeName"]), "<none>").into(),
            readiness_gates(object).into(),
        ]
    }
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    items(object, &["status", "conditions"])
        .iter()
        .find(|condition| text(condition, &["type"]) == kind)
}

fn readiness_gates(object: &Value) -> String {
    let gates = items(object, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return "<none>".into();
    }
    let met = gates
        .iter()
        .filter(|gate| {
            condition(object, text(gate, &["conditionType"]))
                .is_some_and(|condition| text(condition, &["status"]) == "True")
        })
        .count();
    format!("{met}/{}", gates.len())
}

/// One line about a pod: the states of its containers drawn together, as `kubectl get` shows them.
struct Summary {
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
    reason: String,
}

impl Summary {
    fn of(pod: &Value) -> Self {
        let status = &pod["status"];
        let phase = text(status, &["phase"]);
        let mut reason = print::or(text(status, &["reason"]), phase).to_owned();
        if condition(pod, "PodScheduled")
            .is_some_and(|condition| text(condition, &["reason"]) == "SchedulingGated")
        {
            reason = "SchedulingGated".into();
        }
        let mut summary = Self {
            ready: 0,
            total: items(pod, &["spec", "containers"]).len(),
            restarts: 0,
            last_restart: None,
            reason,
        };
        let initializing = summary.init_containers(pod);
        if !initializing || condition_true(pod, "Initialized") {
            summary.containers(pod);
        }
        if at(pod, &["metadata", "deletionTimestamp"]).is_some() {
            if text(status, &["reason"]) == "NodeLost" {
                summary.reason = "Unknown".into();
            } else if !matches!(phase, "Succeeded" | "Failed") {
                summary.reason = "Terminating".into();
            }
        }
        summary
    }

    /// Look at init containers; the answer is whether they are still at work.
    fn init_containers(&mut self, pod: &Value) -> bool {
        let specs = items(pod, &["spec", "initContainers"]);
        let sidecar = |name: &str| {
            specs.iter().any(|spec| {
                text(spec, &["name"]) == name && text(spec, &["restartPolicy"]) == "Always"
            })
        };
        self.total += specs
            .iter()
            .filter(|spec| text(spec, &["restartPolicy"]) == "Always")
            .count();
        let mut restarts = 0;
        let mut last = None;
        let mut sidecar_restarts = 0;
        let mut sidecar_last = None;
        for (index, state) in items(pod, &["status", "initContainerStatuses"])
            .iter()
            .enumerate()
        {
            let is_sidecar = sidecar(text(state, &["name"]));
            restarts += int(state, &["restartCount"]);
            last = last.max(last_finish(state));
            if is_sidecar {
                sidecar_restarts += int(state, &["restartCount"]);
                sidecar_last = sidecar_last.max(last_finish(state));
            }
            if let Some(ended) = at(state, &["state", "terminated"]) {
                if int(ended, &["exitCode"]) == 0 {
                    continue;
                }
                self.reason = format!("Init:{}", ended_reason(ended));
            } else if is_sidecar && flag(state, &["started"]) {
                if flag(state, &["ready"]) {
                    self.ready += 1;
                }
                continue;
            } else {
                let waiting = text(state, &["state", "waiting", "reason"]);
                self.reason = if waiting.is_empty() || waiting == "PodInitializing" {
                    format!("Init:{index}/{}", specs.len())
                } else {
                    format!("Init:{waiting}")
                };
            }
            (self.restarts, self.last_restart) = (restarts, last);
            return true;
        }
        (self.restarts, self.last_restart) = (sidecar_restarts, sidecar_last);
        false
    }

    fn containers(&mut self, pod: &Value) {
        let mut running = false;
        for state in items(pod, &["status", "containerStatuses"]).iter().rev() {
            self.restarts += int(state, &["restartCount"]);
            self.last_restart = self.last_restart.max(last_finish(state));
            let waiting = text(state, &["state", "waiting", "reason"]);
            if !waiting.is_empty() {
                self.reason = waiting.into();
            } else if let Some(ended) = at(state, &["state", "terminated"]) {
                self.reason = ended_reason(ended);
            } else if flag(state, &["ready"]) && at(state, &["state", "running"]).is_some() {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && running {
            self.reason = if condition_true(pod, "Ready") {
                "Running".into()
            } else {
                "NotReady".into()
            };
        }
    }

    fn restarts(&self, now: Timestamp) -> String {
        match self.last_restart {
            Some(time) if self.restarts > 0 => {
                let ago = print::duration(now.as_second() - time.as_second());
                format!("{} ({ago} ago)", self.restarts)
            }
            _ => self.restarts.to_string(),
        }
    }
}

fn condition_true(pod: &Value, kind: &str) -> bool {
    condition(pod, kind).is_some_and(|condition| text(condition, &["status"]) == "True")
}

fn last_finish(state: &Value) -> Option<Timestamp> {
    text(state, &["lastState", "terminated", "finishedAt"])
        .parse()
        .ok()
}

fn ended_reason(ended: &Value) -> String {
    let reason = text(ended, &["reason"]);
    if !reason.is_empty() {
        return reason.into();
    }
    match int(ended, &["signal"]) {
        0 => format!("ExitCode:{}", int(ended, &["exitCode"])),
        signal => format!("Signal:{signal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(pod: &Value) -> String {
        Summary::of(pod).reason
    }

    #[test]
    fn the_status_column_shows_what_holds_a_pod_up() {
        let pod = json!({"spec": {"containers": [{"name": "a"}]}, "status": {"phase": "Pending"}});
        assert_eq!(reason(&pod), "Pending");
        let mut waiting = pod.clone();
        waiting["status"]["containerStatuses"] =
            json!([{"name": "a", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]);
        assert_eq!(reason(&waiting), "ImagePullBackOff");
        let mut init = pod.clone();
        init["spec"]["initContainers"] = json!([{"name": "i"}, {"name": "j"}]);
        init["status"]["initContainerStatuses"] = json!([
            {"name": "i", "state": {"terminated": {"exitCode": 0}}},
            {"name": "j", "state": {"running": {}}},
        ]);
        assert_eq!(reason(&init), "Init:1/2");
        let mut ending = pod;
        ending["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(reason(&ending), "Terminating");
    }
}
