//! Pods: why one is not placed, not started, not ready, or ended.

use serde_json::Value;

use super::Explainer;
use super::cause::{Cause, Standing};
use super::evidence::{Log, Look, Ref, event_time, is_true, items, number, text, time};
use super::object::Health;

/// Where statuses of containers stand, with where their specifications stand.
const CONTAINERS: [(&str, &str, &str); 3] = [
    (
        "/status/initContainerStatuses",
        "/spec/initContainers",
        "init container",
    ),
    ("/status/containerStatuses", "/spec/containers", "container"),
    (
        "/status/ephemeralContainerStatuses",
        "/spec/ephemeralContainers",
        "ephemeral container",
    ),
];

/// Said of a run that ended well where it should have gone on.
const BY_ITSELF: &str = "it ended by itself: what is to go on running must not end";

/// Reasons for which a container waits that pass by themselves.
const PASSING: [&str; 3] = ["ContainerCreating", "PodInitializing", ""];

impl Explainer<'_> {
    pub(super) fn pod(&mut self, reference: &Ref, pod: &Value) -> Health {
        let phase = match text(pod, "/status/phase") {
            "" => "Pending",
            phase => phase,
        };
        if phase == "Succeeded" {
            let mut health = Health::new(Standing::Good, "has done its work (Succeeded)");
            health.time = ended(pod);
            return health;
        }
        if phase == "Failed" {
            return self.failed_pod(reference, pod);
        }
        let mut health = Health::new(Standing::Good, format!("is {phase}"));
        if text(pod, "/spec/nodeName").is_empty() {
            self.unplaced(reference, pod, &mut health);
        } else {
            self.containers(reference, pod, &mut health);
        }
        let ready = items(pod, "/status/conditions")
            .iter()
            .find(|condition| text(condition, "/type") == "Ready");
        let is_ready = ready.is_some_and(|ready| text(ready, "/status") == "True");
        if is_ready {
            if health.causes.is_empty() {
                health.says = format!("is {phase} and ready");
                health.time = ready.and_then(|ready| time(ready, "/lastTransitionTime"));
            }
        } else {
            if health.standing == Standing::Good {
                health.standing = Standing::Waiting;
            }
            for gate in items(pod, "/spec/readinessGates") {
                let kind = text(gate, "/conditionType");
                let open = items(pod, "/status/conditions").iter().any(|condition| {
                    text(condition, "/type") == kind && text(condition, "/status") == "True"
                });
                if !open {
                    health
                        .details
                        .push(format!("its readiness gate {kind} is not open"));
                }
            }
            self.warnings(reference, pod, &mut health);
            if health.time.is_none() {
                health.time = ready
                    .and_then(|ready| time(ready, "/lastTransitionTime"))
                    .or_else(|| time(pod, "/metadata/creationTimestamp"));
            }
            if health.causes.is_empty() && !text(pod, "/spec/nodeName").is_empty() {
                let node = Ref::new("", "Node", "", text(pod, "/spec/nodeName"));
                self.node_in_trouble(&node, &mut health);
            }
        }
        health
    }

    fn failed_pod(&mut self, reference: &Ref, pod: &Value) -> Health {
        let (reason, message) = (text(pod, "/status/reason"), text(pod, "/status/message"));
        let mut says = "has failed".to_owned();
        if !reason.is_empty() {
            says.push_str(&format!(" ({reason})"));
        }
        if !message.is_empty() {
            says.push_str(&format!(": {message}"));
        }
        let mut health = Health::new(Standing::Bad, says);
        health.time = ended(pod);
        for (statuses, specs, word) in CONTAINERS {
            for status in items(pod, statuses) {
                let name = text(status, "/name");
                let spec = named(pod, specs, name);
                if let Some(ended) = status.pointer("/state/terminated")
                    && number(ended, "/exitCode") != 0
                {
                    let log = Log {
                        namespace: reference.namespace.clone(),
                        pod: reference.name.clone(),
                        container: name.to_owned(),
                        previous: false,
                    };
                    let cause = self.termination(&format!("{word} {name}"), ended, spec, &log);
                    health.causes.push(cause);
                }
            }
        }
        if reason == "NodeLost" || reason == "NodeAffinity" || reason == "NodeShutdown" {
            let node = Ref::new("", "Node", "", text(pod, "/spec/nodeName"));
            self.node_in_trouble(&node, &mut health);
        }
        self.warnings(reference, pod, &mut health);
        health
    }

    fn unplaced(&mut self, reference: &Ref, pod: &Value, health: &mut Health) {
        health.standing = Standing::Waiting;
        let condition = items(pod, "/status/conditions")
            .iter()
            .find(|condition| text(condition, "/type") == "PodScheduled");
        let reason = condition.map_or("", |condition| text(condition, "/reason"));
        let message = condition.map_or("", |condition| text(condition, "/message"));
        health.time = condition.and_then(|condition| time(condition, "/lastTransitionTime"));
        if reason == "SchedulingGated" {
            let gates: Vec<&str> = items(pod, "/spec/schedulingGates")
                .iter()
                .map(|gate| text(gate, "/name"))
                .collect();
            health.says = format!(
                "is Pending: it is not to be placed before {} {} taken away",
                gates.join(", "),
                if gates.len() == 1 { "is" } else { "are" }
            );
            return;
        }
        if message.is_empty() {
            "is Pending: no scheduler has looked at it yet".clone_into(&mut health.says);
            let scheduler = text(pod, "/spec/schedulerName");
            if !matches!(scheduler, "" | "default-scheduler") {
                health.details.push(format!(
                    "it asks for the scheduler {scheduler}: does that run?"
                ));
            }
        } else {
            health.standing = Standing::Bad;
            health.says = format!("is Pending: no node takes it: {message}");
        }
        health
            .next
            .push(format!("consort describe {}", reference.words()));
        self.placement(pod, message, health);
        let behind = self.behind(message, &reference.namespace);
        health.causes.extend(behind);
        for volume in items(pod, "/spec/volumes") {
            let claim = text(volume, "/persistentVolumeClaim/claimName");
            if !claim.is_empty() {
                let claim = Ref::new("", "PersistentVolumeClaim", &reference.namespace, claim);
                let cause = self.related(&claim);
                health
                    .causes
                    .extend(cause.filter(|cause| cause.standing > Standing::Fact));
            }
        }
    }

    /// What a pod asks for that no node has.
    fn placement(&mut self, pod: &Value, message: &str, health: &mut Health) {
        let Some(nodes) = self.asking.list("", "Node", "", "") else {
            return;
        };
        if nodes.is_empty() {
            health.details.push("there is no node at all".to_owned());
            health.next.push("consort get nodes".to_owned());
            return;
        }
        if message.contains("Insufficient") || message.contains("Too many pods") {
            let mut asked = Vec::new();
            for container in items(pod, "/spec/containers") {
                if let Some(requests) = container
                    .pointer("/resources/requests")
                    .and_then(Value::as_object)
                {
                    let requests: Vec<String> = requests
                        .iter()
                        .map(|(name, value)| format!("{name} {}", plain(value)))
                        .collect();
                    asked.push(format!(
                        "{} asks for {}",
                        text(container, "/name"),
                        requests.join(", ")
                    ));
                }
            }
            for node in nodes.iter().take(5) {
                let has = node.pointer("/status/allocatable");
                let has = |name: &str| {
                    has.and_then(|has| has.get(name))
                        .map_or_else(|| "none".to_owned(), plain)
                };
                asked.push(format!(
                    "node {} has in all: cpu {}, memory {}, pods {}",
                    text(node, "/metadata/name"),
                    has("cpu"),
                    has("memory"),
                    has("pods")
                ));
            }
            health.details.extend(asked);
        }
        if message.contains("affinity") || message.contains("selector") {
            if let Some(wanted) = pod.pointer("/spec/nodeSelector").and_then(Value::as_object) {
                for (label, value) in wanted {
                    let value = value.as_str().unwrap_or_default();
                    let there: std::collections::BTreeSet<&str> = nodes
                        .iter()
                        .filter_map(|node| node.pointer("/metadata/labels")?.get(label)?.as_str())
                        .collect();
                    if !there.contains(value) {
                        let there: Vec<&str> = there.into_iter().take(6).collect();
                        health.details.push(if there.is_empty() {
                            format!("it wants a node labelled {label}={value}; no node has the label {label}")
                        } else {
                            format!(
                                "it wants a node labelled {label}={value}; nodes have {label}={}",
                                there.join(", ")
                            )
                        });
                    }
                }
            }
            if pod.pointer("/spec/affinity").is_some() {
                health
                    .details
                    .push("it has rules of affinity (spec.affinity)".to_owned());
            }
        }
        if message.contains("taint") {
            for node in nodes.iter().take(5) {
                for taint in items(node, "/spec/taints") {
                    let effect = text(taint, "/effect");
                    if effect != "PreferNoSchedule" {
                        health.details.push(format!(
                            "node {} has the taint {}={}:{effect}",
                            text(node, "/metadata/name"),
                            text(taint, "/key"),
                            text(taint, "/value"),
                        ));
                    }
                }
            }
        }
        for node in nodes.iter().take(20) {
            let reference = Ref::new("", "Node", "", text(node, "/metadata/name"));
            self.node_in_trouble(&reference, health);
        }
    }

    /// Adds a node to the causes if it is in trouble.
    pub(super) fn node_in_trouble(&mut self, node: &Ref, health: &mut Health) {
        if health
            .causes
            .iter()
            .any(|cause| cause.what == node.to_string())
        {
            return;
        }
        let cause = self.related(node);
        health
            .causes
            .extend(cause.filter(|cause| cause.standing > Standing::Fact));
    }

    fn containers(&mut self, reference: &Ref, pod: &Value, health: &mut Health) {
        let mut any = false;
        let mut says: Vec<String> = Vec::new();
        for (statuses, specs, word) in CONTAINERS {
            for status in items(pod, statuses) {
                any = true;
                let name = text(status, "/name");
                let spec = named(pod, specs, name);
                let Some((standing, text, cause)) =
                    self.container(reference, pod, word, status, spec)
                else {
                    continue;
                };
                health.standing = health.standing.max(standing);
                if standing > Standing::Fact {
                    says.push(text);
                }
                health.causes.extend(cause);
            }
        }
        if !any {
            health.standing = Standing::Waiting;
            let node = text(pod, "/spec/nodeName");
            says.push(format!("node {node} has not begun with it"));
        }
        if !says.is_empty() {
            let phase = text(pod, "/status/phase");
            health.says = format!("is {phase}: {}", says.join("; "));
        }
        let starting = health.standing == Standing::Waiting;
        if starting || !any {
            self.volumes(reference, pod, health);
        }
    }

    /// What is not right with a container: how bad it is, what the pod says of it, and its cause.
    fn container(
        &mut self,
        reference: &Ref,
        pod: &Value,
        word: &str,
        status: &Value,
        spec: Option<&Value>,
    ) -> Option<(Standing, String, Option<Cause>)> {
        let name = text(status, "/name");
        let title = format!("{word} {name}");
        let log = |previous: bool| Log {
            namespace: reference.namespace.clone(),
            pod: reference.name.clone(),
            container: name.to_owned(),
            previous,
        };
        if let Some(waiting) = status.pointer("/state/waiting") {
            let reason = text(waiting, "/reason");
            let message = text(waiting, "/message");
            if PASSING.contains(&reason) {
                if reason == "PodInitializing" {
                    return None;
                }
                return Some((Standing::Waiting, format!("{title} is being made"), None));
            }
            let short = format!("{title} waits ({reason})");
            let mut cause = Cause::new(title.clone(), Standing::Bad, format!("waits: {reason}"));
            if !message.is_empty() && reason != "CrashLoopBackOff" {
                cause = cause.detail(message);
            }
            match reason {
                "CrashLoopBackOff" => {
                    cause.says = format!(
                        "ends again and again ({} restarts); the next start waits a while",
                        number(status, "/restartCount")
                    );
                    if let Some(ended) = status.pointer("/lastState/terminated") {
                        let last = self.termination(
                            &format!("the last run of {name}"),
                            ended,
                            spec,
                            &log(true),
                        );
                        cause.causes.push(last);
                    }
                    let killed = self.probes(reference, pod, name, spec, &["Liveness", "Startup"]);
                    if !killed.is_empty() {
                        for last in &mut cause.causes {
                            last.details.retain(|detail| detail != BY_ITSELF);
                        }
                    }
                    cause.causes.extend(killed);
                }
                "ErrImagePull"
                | "ImagePullBackOff"
                | "InvalidImageName"
                | "ErrImageNeverPull"
                | "ImageInspectError"
                | "RegistryUnavailable" => {
                    let image = spec.map_or("", |spec| text(spec, "/image"));
                    cause.says = format!("waits for its image {image} ({reason})");
                    let failed = self.asking.events(reference).iter().rev().find(|event| {
                        text(event, "/reason") == "Failed"
                            && text(event, "/message").contains("pull")
                            && text(event, "/message").contains(image)
                    });
                    if let Some(failed) = failed {
                        let why = text(failed, "/message");
                        cause.time = event_time(failed);
                        if !message.contains(why) {
                            cause = cause.detail(why);
                        }
                    }
                    for secret in items(pod, "/spec/imagePullSecrets") {
                        let secret =
                            Ref::new("", "Secret", &reference.namespace, text(secret, "/name"));
                        if let Some(Look::Missing) = self.asking.object(&secret) {
                            cause.causes.extend(self.related(&secret));
                        }
                    }
                    cause = cause.look(format!("consort image pull {image}"));
                }
                _ => {
                    let missing = spec.map_or_else(Vec::new, |spec| {
                        self.environment(&reference.namespace, spec)
                    });
                    cause.causes.extend(missing);
                    let behind = self.behind(message, &reference.namespace);
                    for each in behind {
                        if !cause.causes.iter().any(|known| known.what == each.what) {
                            cause.causes.push(each);
                        }
                    }
                    let volumes_named = message.contains("volume") || message.contains("mount");
                    if volumes_named && let Some(ended) = status.pointer("/lastState/terminated") {
                        cause.causes.push(self.termination(
                            &format!("the last run of {name}"),
                            ended,
                            spec,
                            &log(true),
                        ));
                    }
                }
            }
            return Some((Standing::Bad, short, Some(cause)));
        }
        if let Some(ended) = status.pointer("/state/terminated") {
            if number(ended, "/exitCode") == 0 {
                return None;
            }
            let cause = self.termination(&title, ended, spec, &log(false));
            return Some((
                Standing::Bad,
                format!("{title} ended with code {}", number(ended, "/exitCode")),
                Some(cause),
            ));
        }
        if status.pointer("/state/running").is_some() {
            let init = word == "init container";
            if init && text_of_restart(spec) != "Always" {
                return Some((
                    Standing::Waiting,
                    format!("{title} has not ended yet"),
                    Some(
                        Cause::new(title, Standing::Waiting, "runs; the others begin after it")
                            .at(time(status, "/state/running/startedAt"))
                            .look(format!(
                                "consort logs {} -n {} -c {name}",
                                reference.name, reference.namespace
                            )),
                    ),
                ));
            }
            if !init && word == "container" && !is_true(status, "/ready") {
                let probes = self.probes(
                    reference,
                    pod,
                    name,
                    spec,
                    &["Readiness", "Startup", "Liveness"],
                );
                let mut cause = Cause::new(title.clone(), Standing::Bad, "runs and is not ready")
                    .at(time(status, "/state/running/startedAt"))
                    .look(format!(
                        "consort logs {} -n {} -c {name}",
                        reference.name, reference.namespace
                    ));
                if probes.is_empty() {
                    cause.standing = Standing::Waiting;
                }
                cause.causes = probes;
                if let Some(ended) = status.pointer("/lastState/terminated") {
                    cause.causes.push(self.termination(
                        &format!("the last run of {name}"),
                        ended,
                        spec,
                        &log(true),
                    ));
                }
                return Some((
                    cause.standing,
                    format!("{title} runs and is not ready"),
                    Some(cause),
                ));
            }
            let restarts = number(status, "/restartCount");
            if let Some(ended) = status
                .pointer("/lastState/terminated")
                .filter(|_| restarts > 0)
            {
                let mut cause =
                    self.termination(&format!("the last run of {name}"), ended, spec, &log(true));
                cause.standing = Standing::Fact;
                let killed = self.probes(reference, pod, name, spec, &["Liveness", "Startup"]);
                cause.causes.extend(killed);
                return Some((
                    Standing::Fact,
                    format!("{title} was started again {restarts} times"),
                    Some(cause),
                ));
            }
        }
        None
    }

    /// How a run of a container ended.
    fn termination(
        &mut self,
        title: &str,
        ended: &Value,
        spec: Option<&Value>,
        log: &Log,
    ) -> Cause {
        let code = number(ended, "/exitCode");
        let reason = text(ended, "/reason");
        let message = text(ended, "/message");
        let mut says = format!("ended with exit code {code}");
        let meaning = match (reason, code) {
            ("OOMKilled", _) => Some("killed: it needed more memory than it may have".to_owned()),
            ("StartError" | "ContainerCannotRun", _) => Some("it could not be started".to_owned()),
            (_, 126) => Some("its command cannot be executed".to_owned()),
            (_, 127) => Some("its command was not found".to_owned()),
            (_, 137) => Some("killed by SIGKILL".to_owned()),
            (_, 139) => Some("it crashed: SIGSEGV".to_owned()),
            (_, 134) => Some("it gave up: SIGABRT".to_owned()),
            (_, 143) => Some("ended by SIGTERM".to_owned()),
            (_, code @ 129..=192) => Some(format!("ended by signal {}", code - 128)),
            _ => None,
        };
        if let Some(meaning) = meaning {
            says.push_str(&format!(" ({meaning})"));
        }
        let standing = if code == 0 {
            Standing::Fact
        } else {
            Standing::Bad
        };
        let mut cause = Cause::new(title, standing, says).at(time(ended, "/finishedAt"));
        if !message.is_empty() {
            for line in message
                .lines()
                .rev()
                .take(5)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
            {
                cause.details.push(line.to_owned());
            }
        }
        if reason == "OOMKilled" {
            let limit = spec
                .and_then(|spec| spec.pointer("/resources/limits/memory"))
                .map_or_else(|| "none".to_owned(), plain);
            cause.details.push(format!("its limit of memory: {limit}"));
        }
        if matches!(code, 126..=128) || matches!(reason, "StartError" | "ContainerCannotRun") {
            let command: Vec<String> = spec
                .into_iter()
                .flat_map(|spec| items(spec, "/command").iter().chain(items(spec, "/args")))
                .map(plain)
                .collect();
            if !command.is_empty() {
                cause
                    .details
                    .push(format!("its command: {}", command.join(" ")));
            }
        }
        if code == 0 {
            cause.details.push(BY_ITSELF.to_owned());
        }
        if let Some(lines) = self.asking.log(log) {
            let last: Vec<&str> = lines
                .lines()
                .filter(|line| !line.trim().is_empty())
                .collect();
            for line in &last[last.len().saturating_sub(5)..] {
                if !message.contains(line) {
                    cause.details.push(format!("| {line}"));
                }
            }
        }
        let previous = if log.previous { " --previous" } else { "" };
        cause.look(format!(
            "consort logs {} -n {} -c {}{previous}",
            log.pod, log.namespace, log.container
        ))
    }

    /// The last failures of a container's probes.
    fn probes(
        &mut self,
        reference: &Ref,
        pod: &Value,
        name: &str,
        spec: Option<&Value>,
        which: &[&str],
    ) -> Vec<Cause> {
        let uid = text(pod, "/metadata/uid");
        let several = items(pod, "/spec/containers").len() > 1;
        let mut causes = Vec::new();
        for kind in which {
            let event = self.asking.events(reference).iter().rev().find(|event| {
                let path = text(event, "/involvedObject/fieldPath");
                text(event, "/reason") == "Unhealthy"
                    && text(event, "/message").starts_with(kind)
                    && text(event, "/involvedObject/uid") == uid
                    && (!several || path.is_empty() || path.contains(&format!("{{{name}}}")))
            });
            let Some(event) = event else { continue };
            let times = number(event, "/count").max(number(event, "/series/count"));
            let mut cause = Cause::new(
                format!("{} probe of {name}", kind.to_lowercase()),
                Standing::Bad,
                if times > 1 {
                    format!("fails ({times} times)")
                } else {
                    "fails".to_owned()
                },
            )
            .at(event_time(event))
            .detail(text(event, "/message"));
            let probe = spec.and_then(|spec| spec.get(format!("{}Probe", kind.to_lowercase())));
            if let Some(probe) = probe {
                cause = cause.detail(format!("it asks {}", asks(probe)));
                let port = ["/httpGet/port", "/tcpSocket/port", "/grpc/port"]
                    .into_iter()
                    .find_map(|at| probe.pointer(at));
                let ports = spec.map_or(&[][..], |spec| items(spec, "/ports"));
                let known = |port: &Value| {
                    ports.iter().any(|own| {
                        own.get("containerPort") == Some(port) || own.get("name") == Some(port)
                    })
                };
                if let Some(port) = port.filter(|port| !ports.is_empty() && !known(port)) {
                    let own: Vec<String> = ports
                        .iter()
                        .map(|own| own.get("containerPort").map_or_else(String::new, plain))
                        .collect();
                    cause = cause.detail(format!(
                        "port {} is none of the container's ({})",
                        plain(port),
                        own.join(", ")
                    ));
                }
            }
            causes.push(cause);
        }
        causes
    }

    /// What a container's environment names and is not there.
    fn environment(&mut self, namespace: &str, spec: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let mut wanted: Vec<(Ref, Option<&str>)> = Vec::new();
        for variable in items(spec, "/env") {
            for (at, kind) in [
                ("/valueFrom/secretKeyRef", "Secret"),
                ("/valueFrom/configMapKeyRef", "ConfigMap"),
            ] {
                if let Some(from) = variable.pointer(at)
                    && !is_true(from, "/optional")
                {
                    let reference = Ref::new("", kind, namespace, text(from, "/name"));
                    wanted.push((reference, Some(text(from, "/key"))));
                }
            }
        }
        for source in items(spec, "/envFrom") {
            for (at, kind) in [("/secretRef", "Secret"), ("/configMapRef", "ConfigMap")] {
                if let Some(from) = source.pointer(at)
                    && !is_true(from, "/optional")
                {
                    wanted.push((Ref::new("", kind, namespace, text(from, "/name")), None));
                }
            }
        }
        for (reference, key) in wanted {
            let cause = self.content(&reference, key);
            causes.extend(cause);
        }
        causes
    }

    /// Why an object, or a key of it, is not there.
    fn content(&mut self, reference: &Ref, key: Option<&str>) -> Option<Cause> {
        match self.asking.object(reference)? {
            Look::Missing => self.related(reference),
            Look::Unreadable(_) => None,
            Look::Found(object) => {
                let key = key?;
                let mut keys: Vec<&str> = ["/data", "/stringData", "/binaryData"]
                    .into_iter()
                    .filter_map(|at| object.pointer(at)?.as_object())
                    .flat_map(|data| data.keys().map(String::as_str))
                    .collect();
                if keys.contains(&key) {
                    return None;
                }
                keys.sort_unstable();
                keys.truncate(12);
                let has = if keys.is_empty() {
                    "it has none at all".to_owned()
                } else {
                    format!("it has {}", keys.join(", "))
                };
                let origin = self.made_by(object);
                Some(
                    Cause::new(
                        reference.to_string(),
                        Standing::Bad,
                        format!("has no key {key:?}; {has}"),
                    )
                    .look(format!("consort describe {}", reference.words()))
                    .because(origin),
                )
            }
        }
    }

    /// Volumes that cannot be mounted because what they hold is not there.
    fn volumes(&mut self, reference: &Ref, pod: &Value, health: &mut Health) {
        let namespace = &reference.namespace;
        let mut claims: Vec<Ref> = Vec::new();
        let keys = |source: &Value| -> Vec<String> {
            items(source, "/items")
                .iter()
                .map(|item| text(item, "/key").to_owned())
                .collect()
        };
        let mut with_keys: Vec<(Ref, Vec<String>)> = Vec::new();
        for volume in items(pod, "/spec/volumes") {
            let mut one = |at: &str, name: &str, kind: &str, source: &Value| {
                if let Some(found) = source.pointer(at)
                    && !is_true(found, "/optional")
                {
                    let reference = Ref::new("", kind, namespace, text(found, name));
                    with_keys.push((reference, keys(found)));
                }
            };
            one("/secret", "/secretName", "Secret", volume);
            one("/configMap", "/name", "ConfigMap", volume);
            for source in items(volume, "/projected/sources") {
                one("/secret", "/name", "Secret", source);
                one("/configMap", "/name", "ConfigMap", source);
            }
            let claim = text(volume, "/persistentVolumeClaim/claimName");
            if !claim.is_empty() {
                claims.push(Ref::new("", "PersistentVolumeClaim", namespace, claim));
            }
        }
        for (reference, keys) in with_keys {
            let mut causes: Vec<Cause> = Vec::new();
            if keys.is_empty() {
                causes.extend(self.content(&reference, None));
            }
            for key in &keys {
                causes.extend(self.content(&reference, Some(key)));
            }
            for cause in causes {
                if !health.causes.iter().any(|known| known.what == cause.what) {
                    health.standing = Standing::Bad;
                    health.says = format!("{}; volume: {} {}", health.says, cause.what, cause.says);
                    health.causes.push(cause);
                }
            }
        }
        for claim in claims {
            let cause = self
                .related(&claim)
                .filter(|cause| cause.standing > Standing::Fact);
            if let Some(cause) = cause {
                health.standing = health.standing.max(cause.standing);
                health.causes.push(cause);
            }
        }
    }
}

fn text_of_restart(spec: Option<&Value>) -> &str {
    spec.map_or("", |spec| text(spec, "/restartPolicy"))
}

/// A container's specification by its name.
fn named<'p>(pod: &'p Value, at: &str, name: &str) -> Option<&'p Value> {
    items(pod, at)
        .iter()
        .find(|spec| text(spec, "/name") == name)
}

fn ended(pod: &Value) -> Option<jiff::Timestamp> {
    items(pod, "/status/containerStatuses")
        .iter()
        .filter_map(|status| time(status, "/state/terminated/finishedAt"))
        .max()
        .or_else(|| time(pod, "/status/startTime"))
}

/// What a probe asks.
fn asks(probe: &Value) -> String {
    let every = number(probe, "/periodSeconds").max(1);
    let what = if let Some(http) = probe.get("httpGet") {
        let scheme = text(http, "/scheme").to_lowercase();
        format!(
            "{} :{}{}",
            if scheme.is_empty() { "http" } else { &scheme },
            http.get("port").map_or_else(String::new, plain),
            text(http, "/path")
        )
    } else if let Some(tcp) = probe.get("tcpSocket") {
        format!("tcp :{}", tcp.get("port").map_or_else(String::new, plain))
    } else if let Some(grpc) = probe.get("grpc") {
        format!("grpc :{}", grpc.get("port").map_or_else(String::new, plain))
    } else {
        let command: Vec<String> = items(probe, "/exec/command").iter().map(plain).collect();
        format!("the command {}", command.join(" "))
    };
    format!("{what}, every {every}s")
}

/// A text without quotes, anything else as JSON.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
