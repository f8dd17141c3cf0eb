//! What `restricted` forbids besides.

use super::Fault;
use super::baseline::{adding, capabilities};
use super::pod::{Pod, containers, plural, quoted, setters, sorted};
use crate::values::{at, items, members, text};
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) fn privilege_escalation(pod: &Pod<'_>, _: u32) -> Option<Fault> {
    let path = ["securityContext", "allowPrivilegeEscalation"];
    let names = pod.having(|container| at(container, &path) != Some(&Value::Bool(false)));
    (!names.is_empty()).then(|| {
        let detail = format!(
            "{} must set securityContext.allowPrivilegeEscalation=false",
            containers(&names)
        );
        ("allowPrivilegeEscalation != false", detail)
    })
}

pub(super) fn dropped_capabilities(pod: &Pod<'_>, _: u32) -> Option<Fault> {
    let keeping = pod.having(|container| !capabilities(container, "drop").any(|own| own == "ALL"));
    let (names, added) = adding(pod, &["NET_BIND_SERVICE"]);
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details.push(format!(
            "{} must set securityContext.capabilities.drop=[\"ALL\"]",
            containers(&keeping)
        ));
    }
    if !names.is_empty() {
        details.push(format!(
            "{} must not include {} in securityContext.capabilities.add",
            containers(&names),
            sorted(&added)
        ));
    }
    (!details.is_empty()).then(|| ("unrestricted capabilities", details.join("; ")))
}

pub(super) fn volume_types(pod: &Pod<'_>, _: u32) -> Option<Fault> {
    const ALLOWED: [&str; 9] = [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    let (mut names, mut types) = (Vec::new(), BTreeSet::new());
    for volume in items(pod.spec, &["volumes"]) {
        let kinds = || {
            members(volume, &[])
                .filter(|(key, value)| *key != "name" && !value.is_null())
                .map(|(key, _)| key)
        };
        if kinds().any(|kind| ALLOWED.contains(&kind)) {
            continue;
        }
        names.push(text(volume, &["name"]));
        types.insert(kinds().next().unwrap_or("unknown"));
    }
    (!names.is_empty()).then(|| {
        let detail = format!(
            "{} {} {} {} {}",
            plural(names.len(), "volume", "volumes"),
            quoted(&names),
            plural(names.len(), "uses", "use"),
            plural(
                types.len(),
                "restricted volume type",
                "restricted volume types"
            ),
            sorted(&types)
        );
        ("restricted volume types", detail)
    })
}

pub(super) fn non_root(pod: &Pod<'_>, _: u32) -> Option<Fault> {
    let said =
        |owner: &Value| at(owner, &["securityContext", "runAsNonRoot"]).and_then(Value::as_bool);
    let own = said(pod.spec);
    let wrong = setters(
        own == Some(false),
        &pod.having(|container| said(container) == Some(false)),
    );
    if !wrong.is_empty() {
        let detail = format!(
            "{} must not set securityContext.runAsNonRoot=false",
            wrong.join(" and ")
        );
        return Some(("runAsNonRoot != true", detail));
    }
    let silent = pod.having(|container| own != Some(true) && said(container).is_none());
    (!silent.is_empty()).then(|| {
        let detail = format!(
            "pod or {} must set securityContext.runAsNonRoot=true",
            containers(&silent)
        );
        ("runAsNonRoot != true", detail)
    })
}

pub(super) fn root_user(pod: &Pod<'_>, _: u32) -> Option<Fault> {
    let root = |owner: &Value| {
        at(owner, &["securityContext", "runAsUser"]).and_then(Value::as_i64) == Some(0)
    };
    let setters = setters(root(pod.spec), &pod.having(root));
    (!setters.is_empty()).then(|| {
        let detail = format!("{} must not set runAsUser=0", setters.join(" and "));
        ("runAsUser=0", detail)
    })
}
