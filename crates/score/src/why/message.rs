//! What messages of servers and reconcilers are about: the objects they name.

use super::cause::{Cause, Standing};
use super::evidence::{Look, Ref, items, text};
use super::{Explainer, evidence};

/// Resources by the words of error messages (`secrets "db" not found`), with their group, kind, and whether they lie in
/// namespaces.
const WORDS: [(&str, &str, &str, bool); 25] = [
    ("secret", "", "Secret", true),
    ("configmap", "", "ConfigMap", true),
    ("serviceaccount", "", "ServiceAccount", true),
    ("persistentvolumeclaim", "", "PersistentVolumeClaim", true),
    ("persistentvolume", "", "PersistentVolume", false),
    ("service", "", "Service", true),
    ("pod", "", "Pod", true),
    ("node", "", "Node", false),
    ("namespace", "", "Namespace", false),
    ("endpoints", "", "Endpoints", true),
    ("limitrange", "", "LimitRange", true),
    ("resourcequota", "", "ResourceQuota", true),
    ("deployment", "apps", "Deployment", true),
    ("replicaset", "apps", "ReplicaSet", true),
    ("statefulset", "apps", "StatefulSet", true),
    ("daemonset", "apps", "DaemonSet", true),
    ("job", "batch", "Job", true),
    ("cronjob", "batch", "CronJob", true),
    ("storageclass", "storage.k8s.io", "StorageClass", false),
    ("priorityclass", "scheduling.k8s.io", "PriorityClass", false),
    ("runtimeclass", "node.k8s.io", "RuntimeClass", false),
    ("ingressclass", "networking.k8s.io", "IngressClass", false),
    ("role", "rbac.authorization.k8s.io", "Role", true),
    (
        "clusterrole",
        "rbac.authorization.k8s.io",
        "ClusterRole",
        false,
    ),
    (
        "customresourcedefinition",
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        false,
    ),
];

/// The text between the first `from` and the next `to` after it.
fn between<'m>(message: &'m str, from: &str, to: &str) -> Option<&'m str> {
    let start = message.find(from)? + from.len();
    let rest = &message[start..];
    Some(&rest[..rest.find(to)?])
}

/// The objects a message says are not there: `secrets "db" not found`, `configmap "x" not found`,
/// `persistentvolumeclaim "data" not found`, `PriorityClass with name x`.
pub(super) fn not_found(message: &str, namespace: &str) -> Vec<Ref> {
    let mut found: Vec<Ref> = Vec::new();
    let mut rest = message;
    while let Some(at) = rest.find('"') {
        let before = &rest[..at];
        let Some(end) = rest[at + 1..].find('"') else {
            break;
        };
        let name = &rest[at + 1..at + 1 + end];
        let after = rest[at + 1 + end + 1..].trim_start();
        rest = &rest[at + 1 + end + 1..];
        if !(after.starts_with("not found")
            || after.starts_with("is not found")
            || after.starts_with("does not exist"))
            || name.is_empty()
        {
            continue;
        }
        let word = before
            .trim_end()
            .rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '.'))
            .next()
            .unwrap_or_default()
            .to_lowercase();
        let word = word.split('.').next().unwrap_or_default();
        let known = WORDS.iter().find(|(singular, ..)| {
            word == *singular
                || word.strip_suffix('s') == Some(singular)
                || word.strip_suffix("es") == Some(singular)
        });
        if let Some((_, group, kind, namespaced)) = known {
            // Volumes name objects by namespace and name: `secret "shop/db"`.
            let (own, name) = name.split_once('/').unwrap_or((namespace, name));
            let reference = Ref::new(group, kind, if *namespaced { own } else { "" }, name);
            if !found.contains(&reference) {
                found.push(reference);
            }
        }
    }
    found
}

impl Explainer<'_> {
    /// What stands behind a message: the objects it names, the policies and quotas that refused.
    pub(super) fn behind(&mut self, message: &str, namespace: &str) -> Vec<Cause> {
        let mut causes = Vec::new();
        for reference in not_found(message, namespace) {
            if let Some(Look::Missing) = self.asking.object(&reference) {
                causes.extend(self.related(&reference));
            } else if self.asking.found(&reference).is_some() {
                causes.push(Cause::new(
                    reference.to_string(),
                    Standing::Good,
                    "is there by now: the next attempt will find it",
                ));
            }
        }
        if let Some(name) = between(message, "exceeded quota: ", ",") {
            let reference = Ref::new("", "ResourceQuota", namespace, name.trim());
            causes.extend(self.quota(&reference));
        }
        if let Some(name) = between(message, "ValidatingAdmissionPolicy '", "'") {
            let reference = Ref::new(
                "admissionregistration.k8s.io",
                "ValidatingAdmissionPolicy",
                "",
                name,
            );
            causes.extend(self.origin_of(&reference, "refused it"));
        }
        for marker in ["admission webhook \"", "failed calling webhook \""] {
            if let Some(name) = between(message, marker, "\"") {
                causes.extend(self.webhook(name, message));
            }
        }
        if message.contains("violates PodSecurity") {
            let reference = Ref::new("", "Namespace", "", namespace);
            if let Some(object) = self.asking.found(&reference) {
                let level = object
                    .pointer("/metadata/labels/pod-security.kubernetes.io~1enforce")
                    .and_then(serde_json::Value::as_str)
                    .unwrap_or("a level of security");
                let origin = self.made_by(object);
                causes.push(
                    Cause::new(
                        reference.to_string(),
                        Standing::Fact,
                        format!("enforces the pod security level {level}"),
                    )
                    .look(format!("consort get {} -o yaml", reference.words()))
                    .because(origin),
                );
            }
        }
        for word in ["maximum ", "minimum "] {
            if message.contains(word) && message.contains(" usage per ") {
                for range in self
                    .asking
                    .list("", "LimitRange", namespace, "")
                    .unwrap_or_default()
                {
                    let reference = Ref::new(
                        "",
                        "LimitRange",
                        namespace,
                        evidence::text(range, "/metadata/name"),
                    );
                    causes.extend(self.origin_of(&reference, "sets limits in this namespace"));
                }
                break;
            }
        }
        causes
    }

    /// A quota that is used up.
    fn quota(&mut self, reference: &Ref) -> Option<Cause> {
        let object = self.asking.found(reference)?;
        let mut lines = Vec::new();
        let hard = object
            .pointer("/status/hard")
            .and_then(|hard| hard.as_object());
        for (resource, limit) in hard.into_iter().flatten() {
            let used = object
                .pointer("/status/used")
                .and_then(|used| used.get(resource))
                .and_then(|used| used.as_str())
                .unwrap_or("0");
            lines.push(format!(
                "{resource}: {used} of {} used",
                limit.as_str().unwrap_or("?")
            ));
        }
        let origin = self.made_by(object);
        let mut cause = Cause::new(
            reference.to_string(),
            Standing::Fact,
            "leaves no room for more",
        )
        .look(format!("consort describe {}", reference.words()))
        .because(origin);
        cause.details = lines;
        Some(cause)
    }

    /// An object that did something, and where it comes from.
    fn origin_of(&mut self, reference: &Ref, says: &str) -> Option<Cause> {
        let object = self.asking.found(reference)?;
        let origin = self.made_by(object);
        Some(
            Cause::new(reference.to_string(), Standing::Fact, says)
                .look(format!("consort get {} -o yaml", reference.words()))
                .because(origin),
        )
    }

    /// The configuration a webhook is from, and why its service does not answer, if that is what is said.
    fn webhook(&mut self, name: &str, message: &str) -> Vec<Cause> {
        const GROUP: &str = "admissionregistration.k8s.io";
        let mut causes = Vec::new();
        for kind in [
            "ValidatingWebhookConfiguration",
            "MutatingWebhookConfiguration",
        ] {
            let Some(list) = self.asking.list(GROUP, kind, "", "") else {
                continue;
            };
            for configuration in list {
                for hook in items(configuration, "/webhooks") {
                    if text(hook, "/name") != name {
                        continue;
                    }
                    let reference =
                        Ref::new(GROUP, kind, "", text(configuration, "/metadata/name"));
                    let calls = message.contains("failed calling");
                    let says = if calls {
                        format!("asks the webhook {name}, which did not answer")
                    } else {
                        format!("asks the webhook {name}, which refused it")
                    };
                    let mut cause = Cause::new(reference.to_string(), Standing::Fact, says)
                        .look(format!("consort get {} -o yaml", reference.words()));
                    let service = Ref::new(
                        "",
                        "Service",
                        text(hook, "/clientConfig/service/namespace"),
                        text(hook, "/clientConfig/service/name"),
                    );
                    if calls && !service.name.is_empty() {
                        cause.causes.extend(self.related(&service));
                    }
                    let origin = self.made_by(configuration);
                    cause.causes.extend(origin);
                    causes.push(cause);
                }
            }
        }
        causes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_found_is_found_in_messages_of_every_form() {
        let of = |message| {
            not_found(message, "shop")
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(of("secret \"db\" not found"), ["Secret shop/db"]);
        assert_eq!(
            of("MountVolume.SetUp failed for volume \"x\" : configmap \"settings\" not found"),
            ["ConfigMap shop/settings"]
        );
        assert_eq!(
            of(
                "pods \"web-\" is forbidden: error looking up service account shop/robot: serviceaccount \"robot\" not found"
            ),
            ["ServiceAccount shop/robot"]
        );
        assert_eq!(
            of("storageclass.storage.k8s.io \"fast\" not found"),
            ["StorageClass fast"]
        );
        assert_eq!(
            of("namespaces \"shop\" not found; secrets \"a\" not found"),
            ["Namespace shop", "Secret shop/a"]
        );
        assert!(of("the \"quoted\" word is not found\"").is_empty());
    }
}
