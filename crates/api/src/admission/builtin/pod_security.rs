//! Pod security levels, as the labels of a namespace ask for them: pods that go beyond the enforced level
//! are refused, those beyond the others are told to the client or noted for the audit log.

use super::pod_checks::{Level, Limits, Verdict, Version, evaluate};
use super::{Request, forbidden, is, stored, values};
use crate::admission::Notes;
use crate::error::{Outcome, fail};
use crate::values::{at, flag, items, members, name, text};
use consort_object::field_error::FieldError;
use consort_object::status::Status;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};

const PREFIX: &str = "pod-security.kubernetes.io/";
/// So many existing pods are looked at when a namespace's level changes.
const MOST_PODS: usize = 3000;

/// What a namespace asks for.
#[derive(Debug, PartialEq, Eq)]
struct Policy {
    enforce: Limits,
    audit: Limits,
    warn: Limits,
}

impl Policy {
    /// Read it from labels; what is wrong with them is told besides. A wrong level to enforce means the
    /// strictest one, a wrong one to audit or to warn of means none.
    fn of<'l>(labels: impl Iterator<Item = (&'l str, &'l str)>) -> (Self, Vec<FieldError>) {
        let mut wanted: BTreeMap<&str, &str> = BTreeMap::new();
        for (key, value) in labels {
            if let Some(key) = key.strip_prefix(PREFIX) {
                wanted.insert(key, value);
            }
        }
        let mut policy = Self {
            enforce: Limits::default(),
            audit: Limits::default(),
            warn: Limits::default(),
        };
        let mut errors = Vec::new();
        if wanted.is_empty() {
            return (policy, errors);
        }
        let mut wrong = |key: &str, value: &str, why: &str| {
            let field = format!("metadata.labels[{PREFIX}{key}]");
            errors.push(FieldError::invalid(field, value, why));
        };
        let mut enforced = false;
        for (mode, limits) in [
            ("enforce", &mut policy.enforce),
            ("audit", &mut policy.audit),
            ("warn", &mut policy.warn),
        ] {
            if let Some(value) = wanted.get(mode) {
                match Level::parse(value) {
                    Some(level) => {
                        limits.level = level;
                        enforced |= mode == "enforce";
                    }
                    None => {
                        if mode == "enforce" {
                            limits.level = Level::Restricted;
                        }
                        wrong(
                            mode,
                            value,
                            "must be one of privileged, baseline, restricted",
                        );
                    }
                }
            }
            let key = format!("{mode}-version");
            if let Some(value) = wanted.get(key.as_str()) {
                match Version::parse(value) {
                    Some(version) => limits.version = version,
                    None => wrong(&key, value, "must be \"latest\" or \"v1.x\""),
                }
            }
        }
        // What is enforced is warned of too: for the templates of pods, of which nothing is enforced.
        if enforced && !wanted.contains_key("warn") && policy.enforce.level > policy.warn.level {
            policy.warn.level = policy.enforce.level;
            if !wanted.contains_key("warn-version") {
                policy.warn.version = policy.enforce.version;
            }
        }
        (policy, errors)
    }

    fn of_namespace(namespace: &Value) -> (Self, Vec<FieldError>) {
        let labels = members(namespace, &["metadata", "labels"]);
        Self::of(labels.map(|(key, value)| (key, value.as_str().unwrap_or_default())))
    }
}

/// Hold a pod, a template of pods or a namespace's labels against the levels.
pub(super) fn check(
    request: &Request<'_>,
    object: &Value,
    old: Option<&Value>,
    notes: &mut Notes,
) -> Outcome<()> {
    if is(request.kind, "namespaces") {
        return namespace(request, object, old, notes);
    }
    let pod = is(request.kind, "pods");
    let part: &[&str] = match request.subresource {
        "" | "ephemeralcontainers" | "resize" if pod => &[],
        "" => match template_path(&request.kind.group, &request.kind.plural) {
            Some(path) => path,
            None => return Ok(()),
        },
        _ => return Ok(()),
    };
    let Some(space) = stored(
        request.inner,
        "namespaces",
        None,
        request.namespace.unwrap_or_default(),
    )?
    else {
        return Ok(());
    };
    let labels = space.head.labels.iter();
    let (policy, errors) = Policy::of(labels.map(|(key, value)| (key.as_str(), value.as_str())));
    let open = |limits: &Limits| limits.level == Level::Privileged;
    if errors.is_empty()
        && open(&policy.audit)
        && open(&policy.warn)
        && (!pod || open(&policy.enforce))
    {
        return Ok(());
    }
    let target = if pod { Some(object) } else { at(object, part) };
    let Some(target) = target.filter(|target| at(target, &["spec"]).is_some()) else {
        return Ok(());
    };
    if pod && old.is_some_and(|old| !significant(object, old)) {
        return Ok(());
    }
    if !errors.is_empty() {
        let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let all = match all.as_slice() {
            [one] => one.clone(),
            all => format!("[{}]", all.join(", ")),
        };
        notes.annotate(
            &format!("{PREFIX}error"),
            format!("Failed to parse policy: {all}"),
        );
    }
    if pod {
        notes.annotate(
            &format!("{PREFIX}enforce-policy"),
            policy.enforce.to_string(),
        );
        let verdict = evaluate(&policy.enforce, target);
        if !verdict.allowed() {
            return Err(forbidden(
                request,
                format!(
                    "violates PodSecurity \"{}\": {}",
                    policy.enforce,
                    verdict.details()
                ),
            ));
        }
    }
    let would = |limits: &Limits, verdict: &Verdict| {
        format!(
            "would violate PodSecurity \"{limits}\": {}",
            verdict.details()
        )
    };
    let audited = evaluate(&policy.audit, target);
    if !audited.allowed() {
        notes.annotate(
            &format!("{PREFIX}audit-violations"),
            would(&policy.audit, &audited),
        );
    }
    let warned = evaluate(&policy.warn, target);
    if !warned.allowed() {
        notes.warnings.push(would(&policy.warn, &warned));
    }
    Ok(())
}

/// Where a kind has its template of pods.
fn template_path(group: &str, plural: &str) -> Option<&'static [&'static str]> {
    Some(match (group, plural) {
        ("", "podtemplates") => &["template"],
        ("", "replicationcontrollers")
        | ("apps", "replicasets" | "deployments" | "statefulsets" | "daemonsets")
        | ("batch", "jobs") => &["spec", "template"],
        ("batch", "cronjobs") => &["spec", "jobTemplate", "spec", "template"],
        _ => return None,
    })
}

/// Is a change of a pod one the levels have to do with? Of what can be changed, only images are, and
/// containers that are added.
fn significant(new: &Value, old: &Value) -> bool {
    for list in ["containers", "initContainers"] {
        let (new, old) = (items(new, &["spec", list]), items(old, &["spec", list]));
        let image = |container: &Value| text(container, &["image"]).to_owned();
        if new.len() != old.len() || new.iter().zip(old).any(|(a, b)| image(a) != image(b)) {
            return true;
        }
    }
    let before = items(old, &["spec", "ephemeralContainers"]);
    items(new, &["spec", "ephemeralContainers"])
        .iter()
        .any(|own| {
            let same = before.iter().find(|other| name_of(other) == name_of(own));
            same.is_none_or(|same| text(same, &["image"]) != text(own, &["image"]))
        })
}

fn name_of(container: &Value) -> &str {
    text(container, &["name"])
}

/// A namespace's labels must say something that can be understood, and its pods are looked at when it is to
/// enforce something stricter.
fn namespace(
    request: &Request<'_>,
    new: &Value,
    old: Option<&Value>,
    notes: &mut Notes,
) -> Outcome<()> {
    if !request.subresource.is_empty() {
        return Ok(());
    }
    let (policy, errors) = Policy::of_namespace(new);
    let before = old.map(Policy::of_namespace);
    let known = before.as_ref().is_some_and(|(_, old)| *old == errors);
    if !errors.is_empty() && !known {
        return fail(Status::invalid("", "Namespace", request.name, &errors));
    }
    let Some((before, _)) = before else {
        return Ok(());
    };
    let (now, then) = (&policy.enforce, &before.enforce);
    if now == then
        || now.level == Level::Privileged
        || (now.version == then.version && now.level <= then.level)
    {
        return Ok(());
    }
    let pods = values(request.inner, "", "pods", Some(request.name))?;
    notes.warnings.extend(existing(request.name, now, &pods));
    Ok(())
}

/// What is to be said of pods that are there when a level comes into force.
fn existing(namespace: &str, limits: &Limits, pods: &[Value]) -> Vec<String> {
    // One pod of each controller first: the others are like it.
    let mut seen = HashSet::new();
    let (mut first, rest): (Vec<&Value>, Vec<&Value>) = pods.iter().partition(|pod| {
        let owners = items(pod, &["metadata", "ownerReferences"]);
        let controller = owners.iter().find(|owner| flag(owner, &["controller"]));
        controller.is_none_or(|owner| seen.insert(text(owner, &["uid"])))
    });
    first.extend(rest);
    let total = first.len();
    first.truncate(MOST_PODS);
    let mut found: BTreeMap<String, (usize, &str)> = BTreeMap::new();
    for pod in &first {
        let verdict = evaluate(limits, pod);
        if !verdict.allowed() {
            let entry = found.entry(verdict.reasons()).or_insert((0, name(pod)));
            entry.0 += 1;
            entry.1 = entry.1.min(name(pod));
        }
    }
    let mut warnings = Vec::new();
    if first.len() < total {
        warnings.push(format!(
            "new PodSecurity enforce level only checked against the first {} of {total} existing pods",
            first.len()
        ));
    }
    if !found.is_empty() {
        warnings.push(format!(
            "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level \"{limits}\""
        ));
    }
    let mut lines: Vec<String> = found
        .into_iter()
        .map(|(reasons, (count, pod))| match count {
            1 => format!("{pod}: {reasons}"),
            2 => format!("{pod} (and 1 other pod): {reasons}"),
            more => format!("{pod} (and {} other pods): {reasons}", more - 1),
        })
        .collect();
    lines.sort_unstable();
    warnings.extend(lines);
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn policy(labels: &[(&str, &str)]) -> (Policy, Vec<String>) {
        let labels: Vec<(String, &str)> = labels
            .iter()
            .map(|(key, value)| (format!("{PREFIX}{key}"), *value))
            .collect();
        let (policy, errors) = Policy::of(labels.iter().map(|(key, value)| (key.as_str(), *value)));
        (policy, errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn labels_say_what_is_enforced_audited_and_warned_of() {
        let shown = |labels: &[(&str, &str)]| {
            let (policy, errors) = policy(labels);
            assert!(errors.is_empty(), "{errors:?}");
            format!("{} {} {}", policy.enforce, policy.audit, policy.warn)
        };
        assert_eq!(
            shown(&[]),
            "privileged:latest privileged:latest privileged:latest"
        );
        assert_eq!(
            shown(&[("enforce", "baseline"), ("enforce-version", "v1.24")]),
            "baseline:v1.24 privileged:latest baseline:v1.24"
        );
        assert_eq!(
            shown(&[
                ("enforce", "restricted"),
                ("warn", "privileged"),
                ("audit", "baseline")
            ]),
            "restricted:latest baseline:latest privileged:latest"
        );
        let (wrong, errors) = policy(&[
            ("enforce", "baselin"),
            ("warn", "x"),
            ("audit-version", "1"),
        ]);
        assert_eq!(wrong.enforce.level, Level::Restricted);
        assert_eq!(wrong.warn.level, Level::Privileged);
        assert_eq!(
            errors,
            [
                "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"baselin\": must be one of privileged, baseline, restricted",
                "metadata.labels[pod-security.kubernetes.io/audit-version]: Invalid value: \"1\": must be \"latest\" or \"v1.x\"",
                "metadata.labels[pod-security.kubernetes.io/warn]: Invalid value: \"x\": must be one of privileged, baseline, restricted",
            ]
        );
    }

    #[test]
    fn existing_pods_are_told_of_by_what_is_wrong_with_them() {
        let pod = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
        let host = json!({"hostPID": true, "containers": [{"name": "a"}]});
        let pods = [
            pod("c", host.clone()),
            pod("b", host),
            pod(
                "a",
                json!({"containers": [{"name": "x", "securityContext": {"privileged": true}}]}),
            ),
            pod("z", json!({"containers": [{"name": "x"}]})),
        ];
        let limits = policy(&[("enforce", "baseline")]).0.enforce;
        assert_eq!(
            existing("shop", &limits, &pods),
            [
                "existing pods in namespace \"shop\" violate the new PodSecurity enforce level \"baseline:latest\"",
                "a: privileged",
                "b (and 1 other pod): host namespaces",
            ]
        );
    }
}
