//! What makes pods, what leads to them, and what they need: workloads, jobs, services, claims, nodes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Explainer;
use super::cause::{Cause, Standing, tells};
use super::evidence::{Look, Ref, is_true, items, number, text, time};
use super::object::{Health, nearest, troubled, unacted};
use super::pod::plain;

/// How many pods of one workload are explained one by one.
const PODS: usize = 3;

/// A label selector as the query of a list.
pub(super) fn selector(object: &Value, at: &str) -> String {
    let mut parts = Vec::new();
    let labels = object.pointer(&format!("{at}/matchLabels"));
    for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
        parts.push(format!("{key}={}", plain(value)));
    }
    for expression in items(object, &format!("{at}/matchExpressions")) {
        let key = text(expression, "/key");
        let values: Vec<String> = items(expression, "/values").iter().map(plain).collect();
        match text(expression, "/operator") {
            "In" => parts.push(format!("{key} in ({})", values.join(","))),
            "NotIn" => parts.push(format!("{key} notin ({})", values.join(","))),
            "Exists" => parts.push(key.to_owned()),
            "DoesNotExist" => parts.push(format!("!{key}")),
            _ => {}
        }
    }
    parts.join(",")
}

fn owned_by(object: &Value, uid: &str) -> bool {
    items(object, "/metadata/ownerReferences")
        .iter()
        .any(|owner| text(owner, "/uid") == uid)
}

fn is_ready(pod: &Value) -> bool {
    text(pod, "/status/phase") == "Succeeded"
        || items(pod, "/status/conditions").iter().any(|condition| {
            text(condition, "/type") == "Ready" && text(condition, "/status") == "True"
        })
}

impl Explainer<'_> {
    pub(super) fn deployment(&mut self, reference: &Ref, object: &Value) -> Health {
        let wanted = object
            .pointer("/spec/replicas")
            .and_then(Value::as_i64)
            .unwrap_or(1);
        let (ready, updated) = (
            number(object, "/status/readyReplicas"),
            number(object, "/status/updatedReplicas"),
        );
        let mut health = if wanted == 0 {
            Health::new(Standing::Fact, "is scaled to 0: it wants no pods")
        } else if ready >= wanted && updated >= wanted {
            Health::new(
                Standing::Good,
                format!("has {ready} of {wanted} pods ready"),
            )
        } else {
            let mut says = format!("has {ready} of {wanted} pods ready");
            if updated < wanted {
                says.push_str(&format!(", {updated} of the present version"));
            }
            Health::new(Standing::Waiting, says)
        };
        if is_true(object, "/spec/paused") {
            health
                .details
                .push("it is paused: changes are not rolled out".to_owned());
        }
        for (kind, _, reason, message) in troubled(object) {
            if kind == "Available" && health.standing == Standing::Waiting {
                health.time = items(object, "/status/conditions")
                    .iter()
                    .find(|condition| text(condition, "/type") == kind)
                    .and_then(|condition| time(condition, "/lastTransitionTime"));
                continue;
            }
            if health.standing == Standing::Good && kind == "Available" {
                continue;
            }
            health.standing = Standing::Bad;
            health.details.push(format!("{reason}: {message}"));
        }
        unacted(object, &mut health);
        if health.standing <= Standing::Fact {
            self.restarts(reference, object, &mut health);
            return health;
        }
        // The newest of its replica sets is what it waits for.
        let uid = text(object, "/metadata/uid");
        let query = selector(object, "/spec/selector");
        let sets = self
            .asking
            .list("apps", "ReplicaSet", &reference.namespace, &query)
            .unwrap_or_default();
        let revision = |set: &Value| -> i64 {
            set.pointer("/metadata/annotations/deployment.kubernetes.io~1revision")
                .and_then(Value::as_str)
                .and_then(|revision| revision.parse().ok())
                .unwrap_or_default()
        };
        let newest = sets
            .iter()
            .filter(|set| owned_by(set, uid))
            .max_by_key(|set| revision(set));
        if let Some(set) = newest {
            let set = Ref::new(
                "apps",
                "ReplicaSet",
                &reference.namespace,
                text(set, "/metadata/name"),
            );
            let cause = self.related(&set);
            health
                .causes
                .extend(cause.filter(|cause| cause.standing > Standing::Fact));
        }
        self.warnings(reference, object, &mut health);
        // What its replica set says as well is told there.
        let Health {
            details, causes, ..
        } = &mut health;
        details.retain(|detail| {
            let said = detail
                .split_once(": ")
                .map_or(detail.as_str(), |(_, said)| said);
            !tells(causes, said)
        });
        health
            .next
            .push(format!("consort describe {}", reference.words()));
        health
    }

    pub(super) fn replicas(&mut self, reference: &Ref, object: &Value) -> Health {
        let daemons = reference.kind == "DaemonSet";
        let wanted = if daemons {
            number(object, "/status/desiredNumberScheduled")
        } else {
            object
                .pointer("/spec/replicas")
                .and_then(Value::as_i64)
                .unwrap_or(1)
        };
        let ready = if daemons {
            number(object, "/status/numberReady")
        } else {
            number(object, "/status/readyReplicas")
        };
        let made = if daemons {
            number(object, "/status/currentNumberScheduled")
        } else {
            number(object, "/status/replicas")
        };
        let mut health = if wanted == 0 && !daemons {
            Health::new(Standing::Fact, "wants no pods")
        } else if ready >= wanted {
            Health::new(
                Standing::Good,
                format!("has {ready} of {wanted} pods ready"),
            )
        } else if made < wanted {
            Health::new(
                Standing::Waiting,
                format!("has {ready} of {wanted} pods ready, {made} are made"),
            )
        } else {
            Health::new(
                Standing::Waiting,
                format!("has {ready} of {wanted} pods ready"),
            )
        };
        let mut behind = Vec::new();
        for (_, _, reason, message) in troubled(object) {
            health.standing = Standing::Bad;
            health.details.push(format!("{reason}: {message}"));
            behind.extend(self.behind(message, &reference.namespace));
        }
        health.causes.extend(behind);
        unacted(object, &mut health);
        if health.standing <= Standing::Fact {
            return health;
        }
        self.pods_of(reference, object, "/spec/selector", &mut health);
        self.warnings(reference, object, &mut health);
        health
    }

    /// Pods that are ready at the moment and were not a while ago.
    fn restarts(&mut self, reference: &Ref, object: &Value, health: &mut Health) {
        let query = selector(object, "/spec/selector");
        if query.is_empty() {
            return;
        }
        let now = self.asking.now();
        let pods = self
            .asking
            .list("", "Pod", &reference.namespace, &query)
            .unwrap_or_default();
        for pod in pods {
            let lately = items(pod, "/status/containerStatuses")
                .iter()
                .any(|status| {
                    time(status, "/lastState/terminated/finishedAt")
                        .is_some_and(|ended| now.duration_since(ended).as_secs() < 3600)
                });
            if lately {
                let pod = Ref::new("", "Pod", &reference.namespace, text(pod, "/metadata/name"));
                let cause = self.related(&pod);
                health.causes.extend(cause);
                return;
            }
        }
    }

    /// The pods of a workload that are not ready; those with the same trouble are told once.
    fn pods_of(&mut self, reference: &Ref, object: &Value, at: &str, health: &mut Health) {
        let uid = text(object, "/metadata/uid");
        let query = selector(object, at);
        let pods = self
            .asking
            .list("", "Pod", &reference.namespace, &query)
            .unwrap_or_default();
        let bad: Vec<&Value> = pods
            .iter()
            .filter(|pod| owned_by(pod, uid) && !is_ready(pod))
            .collect();
        // By how they stand: the words of one pod's explanation hold for the others.
        let mut told: BTreeMap<String, usize> = BTreeMap::new();
        for pod in bad.iter().take(12) {
            let pod = Ref::new("", "Pod", &reference.namespace, text(pod, "/metadata/name"));
            let Some(cause) = self.related(&pod) else {
                continue;
            };
            let alike = format!("{:?} {}", cause.standing, cause.says);
            if let Some(place) = told.get(&alike) {
                let first: &mut Cause = &mut health.causes[*place];
                first
                    .details
                    .push(format!("the same holds for {}", pod.name));
                continue;
            }
            if told.len() < PODS {
                told.insert(alike, health.causes.len());
                health.standing = health.standing.max(cause.standing);
                health.causes.push(cause);
            }
        }
        if bad.len() > 12 {
            health
                .details
                .push(format!("{} of its pods are not ready", bad.len()));
        }
    }

    pub(super) fn job(&mut self, reference: &Ref, object: &Value) -> Health {
        let condition = |kind: &str| {
            items(object, "/status/conditions")
                .iter()
                .find(|condition| {
                    text(condition, "/type") == kind && text(condition, "/status") == "True"
                })
        };
        let failed = number(object, "/status/failed");
        let mut health = if let Some(complete) = condition("Complete") {
            let mut health = Health::new(Standing::Good, "is complete");
            health.time = time(complete, "/lastTransitionTime");
            return health;
        } else if let Some(broken) = condition("Failed") {
            let mut health = Health::new(
                Standing::Bad,
                format!(
                    "has failed ({}): {}",
                    text(broken, "/reason"),
                    text(broken, "/message")
                ),
            );
            health.time = time(broken, "/lastTransitionTime");
            health
        } else if is_true(object, "/spec/suspend") {
            Health::new(Standing::Fact, "is suspended")
        } else {
            Health::new(
                Standing::Waiting,
                format!(
                    "is under way: {} active, {} succeeded, {failed} failed",
                    number(object, "/status/active"),
                    number(object, "/status/succeeded")
                ),
            )
        };
        unacted(object, &mut health);
        self.pods_of(reference, object, "/spec/selector", &mut health);
        self.warnings(reference, object, &mut health);
        health
    }

    pub(super) fn service(&mut self, reference: &Ref, object: &Value) -> Health {
        if text(object, "/spec/type") == "ExternalName" {
            return Health::new(
                Standing::Good,
                format!("leads to {}", text(object, "/spec/externalName")),
            );
        }
        let labels: Vec<(String, String)> = object
            .pointer("/spec/selector")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.clone(), plain(value)))
            .collect();
        let slices = self.asking.list(
            "discovery.k8s.io",
            "EndpointSlice",
            &reference.namespace,
            &format!("kubernetes.io/service-name={}", reference.name),
        );
        let ready = slices
            .unwrap_or_default()
            .iter()
            .flat_map(|slice| items(slice, "/endpoints"))
            .filter(|endpoint| {
                endpoint
                    .pointer("/conditions/ready")
                    .and_then(Value::as_bool)
                    .unwrap_or(true)
            })
            .count();
        if labels.is_empty() {
            return if ready > 0 {
                Health::new(Standing::Good, format!("leads to {ready} endpoints"))
            } else {
                Health::new(
                    Standing::Bad,
                    "leads nowhere: it selects no pods and nobody has given it endpoints",
                )
            };
        }
        let query: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let query = query.join(",");
        let Some(pods) = self.asking.list("", "Pod", &reference.namespace, &query) else {
            return Health::new(Standing::Waiting, "is not looked at yet");
        };
        let mut health = if ready > 0 {
            Health::new(Standing::Good, format!("leads to {ready} ready pods"))
        } else if pods.is_empty() {
            Health::new(
                Standing::Bad,
                format!("leads nowhere: no pod is labelled {query}"),
            )
        } else {
            Health::new(
                Standing::Bad,
                format!(
                    "leads nowhere: none of the {} pods it selects is ready",
                    pods.len()
                ),
            )
        };
        if pods.is_empty() {
            self.unselected(reference, &labels, &query, &mut health);
        } else {
            self.ports(object, pods, &mut health);
        }
        if ready == 0 {
            for pod in pods.iter().filter(|pod| !is_ready(pod)).take(PODS) {
                let pod = Ref::new("", "Pod", &reference.namespace, text(pod, "/metadata/name"));
                let cause = self.related(&pod);
                health.causes.extend(cause);
            }
            self.warnings(reference, object, &mut health);
        }
        if text(object, "/spec/type") == "LoadBalancer"
            && items(object, "/status/loadBalancer/ingress").is_empty()
        {
            health
                .details
                .push("it has no address of a load balancer (yet)".to_owned());
        }
        health
    }

    /// Why a service selects no pod: pods or workloads that nearly have its labels.
    fn unselected(
        &mut self,
        reference: &Ref,
        labels: &[(String, String)],
        query: &str,
        health: &mut Health,
    ) {
        let mut near: Vec<String> = Vec::new();
        for (group, kind, at) in [
            ("", "Pod", "/metadata/labels"),
            ("apps", "Deployment", "/spec/template/metadata/labels"),
            ("apps", "StatefulSet", "/spec/template/metadata/labels"),
            ("apps", "DaemonSet", "/spec/template/metadata/labels"),
        ] {
            let Some(list) = self.asking.list(group, kind, &reference.namespace, "") else {
                continue;
            };
            for object in list {
                let Some(has) = object.pointer(at).and_then(Value::as_object) else {
                    continue;
                };
                let name = text(object, "/metadata/name");
                let fits = |(key, value): &&(String, String)| {
                    has.get(key).and_then(Value::as_str) == Some(value.as_str())
                };
                let fitting = labels.iter().filter(fits).count();
                if fitting == labels.len() {
                    // A workload whose pods would be selected, if it had any.
                    let workload = Ref::new(group, kind, &reference.namespace, name);
                    let cause = self.related(&workload);
                    health.causes.extend(cause);
                    continue;
                }
                let differing: Vec<String> = labels
                    .iter()
                    .filter(|label| !fits(label))
                    .filter_map(|(key, value)| {
                        let own = has.get(key).and_then(Value::as_str);
                        match own {
                            Some(own) if fitting > 0 || !nearest(value, &[own]).is_empty() => {
                                Some(format!("{key}={own}, not {value}"))
                            }
                            None if fitting > 0 => Some(format!("no label {key}")),
                            _ => None,
                        }
                    })
                    .collect();
                if !differing.is_empty() && near.len() < 4 {
                    near.push(format!("{kind} {name} has {}", differing.join("; ")));
                }
            }
        }
        if near.is_empty() {
            // Nothing is nearly right: what there is may tell what was meant.
            for (key, _) in labels {
                let mut there: Vec<&str> = self
                    .asking
                    .list("", "Pod", &reference.namespace, "")
                    .unwrap_or_default()
                    .iter()
                    .filter_map(|pod| pod.pointer("/metadata/labels")?.get(key)?.as_str())
                    .collect();
                there.sort_unstable();
                there.dedup();
                let count = there.len();
                there.truncate(12);
                near.push(if there.is_empty() {
                    format!("no pod here has the label {key} at all")
                } else {
                    let more = if count > there.len() { ", ..." } else { "" };
                    format!("pods here have {key}={}{more}", there.join(", "))
                });
            }
        }
        health.details.append(&mut near);
        health.next.push(format!(
            "consort get pods -n {} -l {query}",
            reference.namespace
        ));
    }

    /// Ports that lead to nothing in the pods.
    #[expect(clippy::unused_self, reason = "it stands beside what asks")]
    fn ports(&self, object: &Value, pods: &[Value], health: &mut Health) {
        for port in items(object, "/spec/ports") {
            let target = port
                .get("targetPort")
                .or_else(|| port.get("port"))
                .cloned()
                .unwrap_or(Value::Null);
            let own: Vec<&Value> = pods
                .iter()
                .flat_map(|pod| items(pod, "/spec/containers"))
                .flat_map(|container| items(container, "/ports"))
                .collect();
            let known = own.iter().any(|own| {
                own.get("containerPort") == Some(&target) || own.get("name") == Some(&target)
            });
            if known {
                continue;
            }
            let mut names: Vec<String> = own
                .iter()
                .map(|own| {
                    let number = own.get("containerPort").map_or_else(String::new, plain);
                    match text(own, "/name") {
                        "" => number,
                        name => format!("{name} ({number})"),
                    }
                })
                .collect();
            names.sort();
            names.dedup();
            if target.is_string() {
                health.standing = Standing::Bad;
                health.details.push(format!(
                    "its port {} leads to the port named {} and no container has one of that name (they have {})",
                    port.get("port").map_or_else(String::new, plain),
                    plain(&target),
                    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
                ));
            } else if !own.is_empty() {
                health.details.push(format!(
                    "its port {} leads to port {}, which no container names (they name {}): does one listen there?",
                    port.get("port").map_or_else(String::new, plain),
                    plain(&target),
                    names.join(", ")
                ));
            }
        }
    }

    pub(super) fn claim(&mut self, reference: &Ref, object: &Value) -> Health {
        let phase = text(object, "/status/phase");
        if phase == "Bound" {
            return Health::new(
                Standing::Good,
                format!("is bound to {}", text(object, "/spec/volumeName")),
            );
        }
        let mut health = Health::new(
            if phase == "Lost" {
                Standing::Bad
            } else {
                Standing::Waiting
            },
            if phase.is_empty() {
                "is not bound to a volume".to_owned()
            } else {
                format!("is {phase}: it is not bound to a volume")
            },
        );
        health.time = time(object, "/metadata/creationTimestamp");
        health.details.push(format!(
            "it asks for {} ({})",
            text(object, "/spec/resources/requests/storage"),
            items(object, "/spec/accessModes")
                .iter()
                .map(plain)
                .collect::<Vec<_>>()
                .join(", ")
        ));
        let class = object
            .pointer("/spec/storageClassName")
            .and_then(Value::as_str);
        match class {
            Some("") => health.details.push(
                "it asks for a volume without a class: somebody has to make one that fits"
                    .to_owned(),
            ),
            Some(class) => {
                let class = Ref::new("storage.k8s.io", "StorageClass", "", class);
                match self.asking.object(&class) {
                    Some(Look::Missing) => {
                        health.standing = Standing::Bad;
                        health.causes.extend(self.related(&class));
                    }
                    Some(Look::Found(object)) => {
                        if text(object, "/volumeBindingMode") == "WaitForFirstConsumer" {
                            health.details.push(
                                "its class waits until a pod that uses it is placed".to_owned(),
                            );
                        }
                        health.details.push(format!(
                            "volumes of its class are made by {}: does that run?",
                            text(object, "/provisioner")
                        ));
                    }
                    _ => {}
                }
            }
            None => {
                if let Some(classes) = self.asking.list("storage.k8s.io", "StorageClass", "", "") {
                    let default = classes.iter().any(|class| {
                        class
                            .pointer(
                                "/metadata/annotations/storageclass.kubernetes.io~1is-default-class",
                            )
                            .and_then(Value::as_str)
                            == Some("true")
                    });
                    if !default {
                        health.standing = Standing::Bad;
                        health.details.push(format!(
                            "it names no storage class and none is the default one ({} there)",
                            if classes.is_empty() {
                                "there is none".to_owned()
                            } else {
                                format!("{} are", classes.len())
                            }
                        ));
                    }
                }
            }
        }
        let volume = text(object, "/spec/volumeName");
        if !volume.is_empty() {
            let volume = Ref::new("", "PersistentVolume", "", volume);
            if let Some(Look::Missing) = self.asking.object(&volume) {
                health.standing = Standing::Bad;
                health.causes.extend(self.related(&volume));
            }
        }
        health
            .next
            .push(format!("consort describe {}", reference.words()));
        self.warnings(reference, object, &mut health);
        health
    }

    pub(super) fn node(&mut self, reference: &Ref, object: &Value) -> Health {
        let ready = items(object, "/status/conditions")
            .iter()
            .find(|condition| text(condition, "/type") == "Ready");
        let mut health = match ready {
            Some(ready) if text(ready, "/status") == "True" => {
                Health::new(Standing::Good, "is ready")
            }
            Some(ready) => {
                let mut health = Health::new(
                    Standing::Bad,
                    format!(
                        "is not ready ({}): {}",
                        text(ready, "/reason"),
                        text(ready, "/message")
                    ),
                );
                health.time = time(ready, "/lastTransitionTime");
                if let Some(seen) = time(ready, "/lastHeartbeatTime") {
                    health
                        .details
                        .push(format!("it was last heard of at {seen}"));
                }
                health
            }
            None => Health::new(Standing::Waiting, "has not said how it is"),
        };
        for (kind, _, reason, message) in troubled(object) {
            if kind != "Ready" {
                health.standing = Standing::Bad;
                health.details.push(format!("{kind} ({reason}): {message}"));
            }
        }
        if is_true(object, "/spec/unschedulable") {
            health.standing = health.standing.max(Standing::Waiting);
            health
                .details
                .push("it is cordoned: nothing new is placed on it".to_owned());
            let who = Self::last_changes(object, &["spec"]);
            health.causes.extend(who);
            health
                .next
                .push(format!("kubectl uncordon {}", reference.name));
        }
        if health.standing > Standing::Fact {
            health
                .next
                .push(format!("consort describe {}", reference.words()));
            self.warnings(reference, object, &mut health);
        }
        health
    }
}
