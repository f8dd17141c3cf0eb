//! Any object: whether it is there, what its conditions say, what refers to what.

use consort_plan::Event;
use jiff::Timestamp;
use serde_json::Value;

use super::cause::{Cause, Standing, explains, tells};
use super::evidence::{Look, Ref, event_time, is_true, items, number, text, time};
use super::subject::name_of;
use super::{Explainer, evidence};

/// What every explanation of an object begins with.
pub(super) struct Health {
    pub(super) standing: Standing,
    pub(super) says: String,
    pub(super) time: Option<Timestamp>,
    pub(super) details: Vec<String>,
    pub(super) next: Vec<String>,
    pub(super) causes: Vec<Cause>,
}

impl Health {
    pub(super) fn new(standing: Standing, says: impl Into<String>) -> Self {
        Health {
            standing,
            says: says.into(),
            time: None,
            details: Vec::new(),
            next: Vec::new(),
            causes: Vec::new(),
        }
    }
}

impl Explainer<'_> {
    /// Explains an object: how it stands and why, then where it comes from and who changed it.
    pub(super) fn object(&mut self, reference: &Ref) -> Cause {
        let reference = reference.clone();
        self.once(reference.to_string(), |this| this.object_once(&reference))
            .unwrap_or_else(|| {
                Cause::new(reference.to_string(), Standing::Fact, "is explained above")
            })
    }

    /// The same as a cause of something else: nothing where it is explained above already.
    pub(super) fn related(&mut self, reference: &Ref) -> Option<Cause> {
        self.once(reference.to_string(), |this| this.object_once(reference))
    }

    fn object_once(&mut self, reference: &Ref) -> Cause {
        match self.asking.object(reference) {
            None => Cause::new(
                reference.to_string(),
                Standing::Waiting,
                "is not looked at yet",
            ),
            Some(Look::Unreadable(why)) => Cause::new(
                reference.to_string(),
                Standing::Waiting,
                format!("cannot be read: {why}"),
            ),
            Some(Look::Missing) => self.missing(reference),
            Some(Look::Found(object)) => self.present(reference, object),
        }
    }

    fn present(&mut self, reference: &Ref, object: &Value) -> Cause {
        let health = if text(object, "/metadata/deletionTimestamp").is_empty() {
            match (reference.group.as_str(), reference.kind.as_str()) {
                ("", "Pod") => self.pod(reference, object),
                ("apps", "Deployment") => self.deployment(reference, object),
                ("apps", "ReplicaSet" | "StatefulSet" | "DaemonSet")
                | ("", "ReplicationController") => self.replicas(reference, object),
                ("batch", "Job") => self.job(reference, object),
                ("", "Service") => self.service(reference, object),
                ("", "PersistentVolumeClaim") => self.claim(reference, object),
                ("", "Node") => self.node(reference, object),
                _ => self.general(reference, object),
            }
        } else {
            self.leaving(reference, object)
        };
        let mut cause = Cause::new(reference.to_string(), health.standing, health.says);
        cause.time = health.time;
        cause.details = health.details;
        cause.next = health.next;
        cause.causes = health.causes;
        let origin = self.made_by(object);
        cause.causes.extend(origin);
        cause
    }

    /// An object that is being deleted and is still there.
    fn leaving(&mut self, reference: &Ref, object: &Value) -> Health {
        let mut health = Health::new(Standing::Waiting, "is being deleted");
        health.time = time(object, "/metadata/deletionTimestamp");
        let finalizers: Vec<&str> = items(object, "/metadata/finalizers")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        if !finalizers.is_empty() {
            health.says = format!(
                "is being deleted and waits until {} {} done",
                finalizers.join(", "),
                if finalizers.len() == 1 { "is" } else { "are" }
            );
        }
        if reference.kind == "Namespace" {
            for (_, _, reason, message) in troubled(object) {
                if !message.is_empty() {
                    health.details.push(format!("{reason}: {message}"));
                }
            }
        }
        let witnessed = self.witnessed(reference, object, &["Deleted"]);
        health.causes.extend(witnessed);
        health
            .next
            .push(format!("consort describe {}", reference.words()));
        health
    }

    /// An object of a kind with no explanation of its own: its conditions, its phase, its warnings.
    pub(super) fn general(&mut self, reference: &Ref, object: &Value) -> Health {
        let trouble = troubled(object);
        let phase = text(object, "/status/phase");
        let mut health = if let Some((kind, status, reason, message)) = trouble.first() {
            let mut health = Health::new(
                Standing::Bad,
                format!("is not well: {}", told(kind, status, reason, message)),
            );
            for (kind, status, reason, message) in &trouble[1..] {
                health.details.push(told(kind, status, reason, message));
            }
            for (_, _, _, message) in &trouble {
                health
                    .causes
                    .extend(self.behind(message, &reference.namespace));
            }
            health
        } else if matches!(phase, "Failed" | "Error" | "Lost") {
            Health::new(Standing::Bad, format!("is {phase}"))
        } else if phase == "Pending" {
            Health::new(Standing::Waiting, "is Pending")
        } else {
            let ready = items(object, "/status/conditions")
                .iter()
                .find(|condition| {
                    matches!(
                        text(condition, "/type"),
                        "Ready" | "Available" | "Established"
                    )
                });
            match ready {
                Some(condition) => {
                    let mut health =
                        Health::new(Standing::Good, format!("is {}", text(condition, "/type")));
                    health.time = time(condition, "/lastTransitionTime");
                    health
                }
                None if phase.is_empty() => Health::new(Standing::Good, "is there"),
                None => Health::new(Standing::Good, format!("is {phase}")),
            }
        };
        let message = text(object, "/status/message");
        if !message.is_empty() {
            health.details.push(message.to_owned());
            health
                .causes
                .extend(self.behind(message, &reference.namespace));
        }
        if health.standing != Standing::Good {
            let named = self.named_objects(reference, object);
            health.causes.extend(named);
        }
        unacted(object, &mut health);
        self.warnings(reference, object, &mut health);
        health
    }

    /// The last warnings among the events about an object, each kind of warning once, and what stands behind them.
    pub(super) fn warnings(&mut self, reference: &Ref, object: &Value, health: &mut Health) {
        if health.standing == Standing::Good {
            return;
        }
        let uid = text(object, "/metadata/uid");
        let mut seen: Vec<&str> = Vec::new();
        for event in self.asking.events(reference).iter().rev() {
            let (reason, message) = (text(event, "/reason"), text(event, "/message"));
            if text(event, "/type") != "Warning"
                || seen.contains(&reason)
                || text(event, "/involvedObject/uid") != uid
            {
                continue;
            }
            seen.push(reason);
            if seen.len() > 4 {
                break;
            }
            // `Error: ` is put before what the status of the container says, too.
            let said = message.strip_prefix("Error: ").unwrap_or(message);
            let known = reason == "BackOff"
                || health.says.contains(said)
                || tells(&health.causes, said)
                || health.details.iter().any(|detail| {
                    detail.contains(said) || detail.starts_with(&format!("{reason}: "))
                });
            if !known {
                health.details.push(format!("{reason}: {message}"));
            }
            if health.time.is_none() {
                health.time = event_time(event);
            }
            let behind = self.behind(message, &reference.namespace);
            for cause in behind {
                if !explains(&health.causes, &cause.what) {
                    health.causes.push(cause);
                }
            }
        }
    }

    /// Objects that a specification names and that are not there.
    fn named_objects(&mut self, reference: &Ref, object: &Value) -> Vec<Cause> {
        let mut references = Vec::new();
        if let Some(spec) = object.get("spec") {
            named(spec, &reference.namespace, 0, &mut references);
        }
        references.truncate(20);
        let mut causes = Vec::new();
        for named in references {
            if let Some(Look::Missing) = self.asking.object(&named) {
                causes.extend(self.related(&named));
            }
        }
        causes
    }

    /// An object that is not there: who deleted it, which step should have made it, what it may be called.
    fn missing(&mut self, reference: &Ref) -> Cause {
        let mut cause = Cause::new(reference.to_string(), Standing::Bad, "does not exist");
        let witnessed = self.witnessed(reference, &Value::Null, &["Deleted"]);
        let deleted = !witnessed.is_empty();
        cause.causes.extend(witnessed);
        let made = self.steps_about(reference);
        let known = !made.is_empty();
        cause.causes.extend(made);
        if !known && !deleted {
            if !reference.namespace.is_empty() {
                let namespace = Ref::new("", "Namespace", "", &reference.namespace);
                if let Some(Look::Missing) = self.asking.object(&namespace) {
                    cause.causes.extend(self.related(&namespace));
                    return cause;
                }
            }
            if let Some(list) =
                self.asking
                    .list(&reference.group, &reference.kind, &reference.namespace, "")
            {
                let names: Vec<&str> = list
                    .iter()
                    .map(|object| text(object, "/metadata/name"))
                    .collect();
                let near = nearest(&reference.name, &names);
                if near.is_empty() {
                    cause = cause.detail(format!(
                        "no operation of a score has made it, and nothing is called like it ({} {} there)",
                        names.len(),
                        if names.len() == 1 { "other is" } else { "others are" },
                    ));
                } else {
                    cause = cause.detail(format!(
                        "no operation of a score has made it; there is {}: is one of them meant?",
                        near.join(", ")
                    ));
                }
            }
            // Who asks about it may have meant another namespace.
            if self.path.len() == 1 && !reference.namespace.is_empty() {
                let everywhere = self
                    .asking
                    .list(&reference.group, &reference.kind, "", "")
                    .unwrap_or_default();
                let elsewhere: Vec<&str> = everywhere
                    .iter()
                    .filter(|object| text(object, "/metadata/name") == reference.name)
                    .map(|object| text(object, "/metadata/namespace"))
                    .take(4)
                    .collect();
                if !elsewhere.is_empty() {
                    cause = cause.detail(format!(
                        "there is one of this name in {}",
                        elsewhere.join(", ")
                    ));
                }
            }
            let place = if reference.namespace.is_empty() {
                String::new()
            } else {
                format!(" -n {}", reference.namespace)
            };
            cause = cause.look(format!(
                "consort get {}{place}",
                reference.kind.to_lowercase()
            ));
        }
        cause
    }

    /// What steps of operations did about an object, by the address it would have.
    fn steps_about(&mut self, reference: &Ref) -> Vec<Cause> {
        let Some(operations) = self.asking.operations() else {
            return Vec::new();
        };
        let mut unknown = 0;
        for operation in operations.iter().take(super::address::LOOK_BACK) {
            let name = name_of(operation);
            let Some(entries) = self.asking.entries(&name) else {
                unknown += 1;
                if unknown >= 4 {
                    break;
                }
                continue;
            };
            let found = entries.iter().rev().find(|entry| {
                super::address::reference(&entry.address).as_ref() == Some(reference)
            });
            if let Some(entry) = found {
                let address = entry.address.clone();
                let score = operation.score.clone();
                let gone = matches!(entry.event, Event::Done);
                let Some(mut cause) = self.history_of(&address, Some(&score)) else {
                    return Vec::new();
                };
                if gone && entry.action != consort_plan::Action::Delete {
                    cause.says = format!("{}; somebody deleted it since", cause.says);
                    cause.standing = Standing::Bad;
                }
                return vec![cause];
            }
        }
        Vec::new()
    }
}

/// Says so where nothing has acted on an object that something should act on.
pub(super) fn unacted(object: &Value, health: &mut Health) {
    let generation = number(object, "/metadata/generation");
    let spec = object.get("spec").is_some_and(|spec| !spec.is_null());
    let status = object
        .get("status")
        .and_then(Value::as_object)
        .is_some_and(|status| !status.is_empty());
    // Controllers of workloads say which generation they have seen; the server gives them a status without them.
    let workload = text(object, "/apiVersion").starts_with("apps/");
    let status = status && (!workload || object.pointer("/status/observedGeneration").is_some());
    let observed = object
        .pointer("/status/observedGeneration")
        .and_then(Value::as_i64);
    if let Some(observed) = observed.filter(|observed| *observed < generation) {
        health.standing = health.standing.max(Standing::Waiting);
        health.details.push(format!(
            "its controller has seen generation {observed}, the present one is {generation}: it has not acted on the last change yet"
        ));
    } else if let Some(standing) = acted_on(object).filter(|_| spec && !status) {
        health.standing = health.standing.max(standing);
        health.details.push(format!(
            "nothing has acted on it. Is there a controller for {}?",
            text(object, "/kind")
        ));
    }
}

/// How an object of this kind stands that nothing has acted on; none where nothing ever does.
fn acted_on(object: &Value) -> Option<Standing> {
    let kind = text(object, "/kind");
    let group = text(object, "/apiVersion")
        .split_once('/')
        .map_or("", |(group, _)| group);
    let acted = match group {
        "apps" => kind != "ControllerRevision",
        "batch" | "autoscaling" => true,
        "" => matches!(kind, "PersistentVolumeClaim" | "ReplicationController"),
        "networking.k8s.io" => kind == "Ingress",
        group if group.ends_with(".k8s.io") || group == "policy" => false,
        // A custom resource with a specification and no status: many have a controller, not all.
        _ => return Some(Standing::Fact),
    };
    acted.then_some(Standing::Waiting)
}

fn told(kind: &str, status: &str, reason: &str, message: &str) -> String {
    let mut out = format!("{kind} is {status}");
    if !reason.is_empty() && reason != kind {
        out.push_str(&format!(" ({reason})"));
    }
    if !message.is_empty() {
        out.push_str(": ");
        out.push_str(message);
    }
    out
}

/// The conditions that tell of trouble: type, status, reason, message. Which status is the bad one follows from the
/// words conditions are named with by convention.
pub(super) fn troubled(object: &Value) -> Vec<(&str, &str, &str, &str)> {
    const BAD: [&str; 17] = [
        "Fail",
        "Error",
        "Degraded",
        "Stalled",
        "Pressure",
        "Unavailable",
        "Conflict",
        "Violat",
        "Limited",
        "Disruption",
        "NonStructural",
        "Deprecated",
        "Denied",
        "Blocked",
        "Misconfigured",
        "Remaining",
        "Invalid",
    ];
    // These say where something stands, not how.
    const NEUTRAL: [&str; 10] = [
        "Complete",
        "Succe",
        "Suspended",
        "Reconciling",
        "Resiz",
        "Terminating",
        "PodReadyToStartContainers",
        "DisruptionTarget",
        "KubernetesAPIApprovalPolicyConformant",
        "Deleting",
    ];
    items(object, "/status/conditions")
        .iter()
        .filter_map(|condition| {
            let kind = text(condition, "/type");
            let status = text(condition, "/status");
            let bad_when_true = BAD.iter().any(|word| kind.contains(word));
            let neutral = NEUTRAL.iter().any(|word| kind.contains(word));
            let bad = match status {
                "True" => bad_when_true,
                "False" => !bad_when_true && !neutral,
                "Unknown" => !neutral,
                _ => false,
            };
            bad.then(|| {
                (
                    kind,
                    status,
                    text(condition, "/reason"),
                    text(condition, "/message"),
                )
            })
        })
        .collect()
}

/// Objects that a value names in the ways specifications do: `secretName`, `configMapRef: {name}`, and so on.
fn named(value: &Value, namespace: &str, depth: usize, out: &mut Vec<Ref>) {
    if depth > 32 || out.len() > 100 {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                let one = |kind: &str, name: &str| Ref::new("", kind, namespace, name);
                let name = field
                    .as_str()
                    .or_else(|| field.get("name").and_then(Value::as_str))
                    .filter(|name| !name.is_empty());
                let elsewhere = field
                    .get("namespace")
                    .and_then(Value::as_str)
                    .is_some_and(|other| other != namespace);
                if let Some(name) = name.filter(|_| !elsewhere && !is_true(value, "/optional")) {
                    let lower = key.to_ascii_lowercase();
                    let found = match lower.as_str() {
                        "secretname" => Some(one("Secret", name)),
                        "configmapname" => Some(one("ConfigMap", name)),
                        "serviceaccountname" => Some(one("ServiceAccount", name)),
                        "claimname" => Some(one("PersistentVolumeClaim", name)),
                        "storageclassname" => {
                            Some(Ref::new("storage.k8s.io", "StorageClass", "", name))
                        }
                        "ingressclassname" => {
                            Some(Ref::new("networking.k8s.io", "IngressClass", "", name))
                        }
                        "service" if field.is_object() => Some(one("Service", name)),
                        lower
                            if lower.ends_with("secretref") || lower.ends_with("secretkeyref") =>
                        {
                            Some(one("Secret", name))
                        }
                        lower
                            if lower.ends_with("configmapref")
                                || lower.ends_with("configmapkeyref") =>
                        {
                            Some(one("ConfigMap", name))
                        }
                        "scaletargetref" | "targetref" => {
                            let version = text(field, "/apiVersion");
                            let group = version.split_once('/').map_or("", |(group, _)| group);
                            Some(Ref::new(group, text(field, "/kind"), namespace, name))
                        }
                        _ => None,
                    };
                    if let Some(found) = found.filter(|found| !out.contains(found)) {
                        out.push(found);
                    }
                }
                named(field, namespace, depth + 1, out);
            }
        }
        Value::Array(parts) => {
            for part in parts {
                named(part, namespace, depth + 1, out);
            }
        }
        _ => {}
    }
}

/// The names most like one, at most three.
pub(super) fn nearest<'n>(name: &str, names: &[&'n str]) -> Vec<&'n str> {
    let most = (name.chars().count() / 3).clamp(1, 4);
    let mut near: Vec<(usize, &str)> = names
        .iter()
        .filter(|other| !other.is_empty() && **other != name)
        .filter_map(|other| {
            let contained = name.len() > 2
                && other.len() > 2
                && (other.contains(name) || name.contains(*other));
            if contained {
                return Some((0, *other));
            }
            let distance = distance(name, other, most);
            (distance <= most).then_some((distance, *other))
        })
        .collect();
    near.sort_unstable();
    near.truncate(3);
    near.into_iter().map(|(_, name)| name).collect()
}

/// How many characters have to be changed, put in or left out to make one text of the other; more than `most` is not
/// counted further.
fn distance(one: &str, other: &str, most: usize) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    if one.len().abs_diff(other.len()) > most {
        return most + 1;
    }
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let next = (corner + usize::from(a != b))
                .min(row[j] + 1)
                .min(row[j + 1] + 1);
            corner = row[j + 1];
            row[j + 1] = next;
        }
    }
    row[other.len()]
}

impl Explainer<'_> {
    /// Who did something to an object, as the server saw it: events of its witness, the last ones first.
    pub(super) fn witnessed(
        &mut self,
        reference: &Ref,
        object: &Value,
        reasons: &[&str],
    ) -> Vec<Cause> {
        let born = evidence::time(object, "/metadata/creationTimestamp");
        let mut causes = Vec::new();
        for event in self.asking.events(reference).iter().rev() {
            let witness = [
                "/reportingComponent",
                "/reportingController",
                "/source/component",
            ]
            .into_iter()
            .any(|at| text(event, at) == "consort-witness");
            let reason = text(event, "/reason");
            if !witness || !reasons.contains(&reason) {
                continue;
            }
            let time = event_time(event);
            // What was done to another object of the same name tells why this one is there, not how it stands.
            let earlier = born.is_some_and(|born| time.is_some_and(|time| time <= born));
            let former = reason == "Deleted" && earlier;
            if reason == "Changed" && earlier {
                continue;
            }
            let annotation = |name: &str| {
                event
                    .pointer(&format!("/metadata/annotations/consort.dev~1{name}"))
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            let (user, client) = (annotation("user"), annotation("client"));
            let who = if user.is_empty() { "somebody" } else { user };
            let client = client.split('/').next().unwrap_or_default();
            let with = if client.is_empty() {
                String::new()
            } else {
                format!(" with {client}")
            };
            let verb = if reason == "Deleted" {
                "deleted"
            } else {
                "changed"
            };
            let what = if former {
                format!("the former {reference}")
            } else {
                reference.to_string()
            };
            let mut cause =
                Cause::new(what, Standing::Fact, format!("was {verb} by {who}{with}")).at(time);
            let message = text(event, "/message");
            if !message.is_empty() && !message.starts_with(verb) {
                cause = cause.detail(message);
            }
            causes.push(cause);
            if causes.len() == 3 {
                break;
            }
        }
        causes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_like_a_missing_one_are_found() {
        let names = ["db-credentials", "web", "dbb", "unrelated"];
        assert_eq!(nearest("db-credential", &names), ["db-credentials"]);
        assert_eq!(nearest("wbe", &names), Vec::<&str>::new());
        assert_eq!(nearest("wen", &names), ["web"]);
    }

    #[test]
    fn conditions_are_read_by_the_words_they_are_named_with() {
        let object = serde_json::json!({"status": {"conditions": [
            {"type": "Ready", "status": "False", "reason": "X", "message": "m"},
            {"type": "Stalled", "status": "False"},
            {"type": "DiskPressure", "status": "True"},
            {"type": "Suspended", "status": "False"},
            {"type": "ReplicaFailure", "status": "True"},
            {"type": "Synced", "status": "Unknown"},
        ]}});
        let kinds: Vec<&str> = troubled(&object).iter().map(|(kind, ..)| *kind).collect();
        assert_eq!(kinds, ["Ready", "DiskPressure", "ReplicaFailure", "Synced"]);
    }
}
