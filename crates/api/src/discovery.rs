//! What is served: the aggregated and the plain form of discovery.

use crate::kind::{Kind, Subresource};
use crate::registry::Registry;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn sub_gvk(kind: &Kind, sub: &Subresource) -> (String, String, String) {
    let (group, version, name) = sub.kind;
    let name = if name.is_empty() {
        kind.kind.as_str()
    } else {
        name
    };
    if version.is_empty() {
        (kind.group.clone(), kind.version.clone(), name.into())
    } else {
        (group.into(), version.into(), name.into())
    }
}

/// `APIVersions`: the versions of the core group.
pub(crate) fn core_versions() -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [],
    })
}

/// `APIGroupList`
pub(crate) fn group_list(registry: &Registry) -> Value {
    let groups: Vec<Value> = named_groups(registry)
        .iter()
        .map(|name| {
            let mut group = group(registry, name);
            // Inside the list they are no objects of their own.
            crate::values::take(&mut group, "kind");
            crate::values::take(&mut group, "apiVersion");
            group
        })
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn named_groups(registry: &Registry) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (group, _) in registry.groups() {
        if !group.is_empty() && !names.contains(group) {
            names.push(group.clone());
        }
    }
    names
}

/// `APIGroup`; null if there is none of the name.
pub(crate) fn group(registry: &Registry, name: &str) -> Value {
    let versions: Vec<Value> = registry
        .groups()
        .iter()
        .filter(|(group, _)| group == name)
        .map(|(group, version)| {
            json!({"groupVersion": format!("{group}/{version}"), "version": version})
        })
        .collect();
    let Some(preferred) = versions.first().cloned().filter(|_| !name.is_empty()) else {
        return Value::Null;
    };
    json!({
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": name,
        "versions": versions,
        "preferredVersion": preferred,
    })
}

/// `APIResourceList` of one group and version; null if there is nothing in it.
pub(crate) fn resources(registry: &Registry, group: &str, version: &str) -> Value {
    let mut list = Vec::new();
    for kind in registry.kinds_of(group, version) {
        let mut entry = json!({
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": kind.verbs,
        });
        if !kind.short.is_empty() {
            entry["shortNames"] = json!(kind.short);
        }
        if !kind.categories.is_empty() {
            entry["categories"] = json!(kind.categories);
        }
        if kind.stored() {
            entry["storageVersionHash"] = storage_hash(kind).into();
        }
        list.push(entry);
        for sub in &kind.subresources {
            let (group, version, name) = sub_gvk(kind, sub);
            let mut entry = json!({
                "name": format!("{}/{}", kind.plural, sub.name),
                "singularName": "",
                "namespaced": kind.namespaced,
                "kind": name,
                "verbs": sub.verbs,
            });
            if (&group, &version) != (&kind.group, &kind.version) {
                entry["group"] = group.into();
                entry["version"] = version.into();
            }
            list.push(entry);
        }
    }
    if list.is_empty() {
        return Value::Null;
    }
    let group_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": list,
    })
}

/// Clients see by this that objects are stored in another form.
fn storage_hash(kind: &Kind) -> String {
    use base64::Engine;
    let text = format!("{}/{}/{}", kind.storage.0, kind.stored_version(), kind.kind);
    let digest = Sha256::digest(text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(&digest[..8])
}

/// `APIGroupDiscoveryList`: everything at once. `core`: the core group alone, else the others.
pub(crate) fn aggregated(registry: &Registry, core: bool, version: &str) -> Value {
    let names = if core {
        vec![String::new()]
    } else {
        named_groups(registry)
    };
    let items: Vec<Value> = names
        .iter()
        .map(|name| {
            let versions: Vec<Value> = registry
                .groups()
                .iter()
                .filter(|(group, _)| group == name)
                .map(|(group, version)| {
                    let resources: Vec<Value> = registry
                        .kinds_of(group, version)
                        .map(|kind| aggregated_kind(kind))
                        .collect();
                    json!({"version": version, "freshness": "Current", "resources": resources})
                })
                .collect();
            let metadata = if name.is_empty() {
                json!({"creationTimestamp": null})
            } else {
                json!({"name": name, "creationTimestamp": null})
            };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": items,
    })
}

fn aggregated_kind(kind: &Kind) -> Value {
    let mut entry = json!({
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "verbs": kind.verbs,
    });
    if !kind.short.is_empty() {
        entry["shortNames"] = json!(kind.short);
    }
    if !kind.categories.is_empty() {
        entry["categories"] = json!(kind.categories);
    }
    if !kind.subresources.is_empty() {
        let subs: Vec<Value> = kind
            .subresources
            .iter()
            .map(|sub| {
                let (group, version, name) = sub_gvk(kind, sub);
                json!({
                    "subresource": sub.name,
                    "responseKind": {"group": group, "version": version, "kind": name},
                    "verbs": sub.verbs,
                })
            })
            .collect();
        entry["subresources"] = subs.into();
    }
    entry
}

/// The answer to `/version`.
pub(crate) fn version() -> Value {
    json!({
        "major": "1",
        "minor": "37",
        "emulationMajor": "1",
        "emulationMinor": "37",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "36",
        "gitVersion": "v1.37.0+consort",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("linux/{}", platform()),
    })
}

fn platform() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{addresses::Addresses, kinds};

    fn registry() -> Registry {
        let addresses = Addresses::new("10.0.0.0/24".parse().unwrap(), 1..=2);
        Registry::new(kinds::all(&addresses))
    }

    #[test]
    fn both_forms_of_discovery_name_the_same_resources() {
        let registry = registry();
        let plain = resources(&registry, "apps", "v1");
        let names: Vec<&str> = plain["resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["name"].as_str().unwrap())
            .collect();
        assert!(names.contains(&"deployments/scale"), "{names:?}");
        let all = aggregated(&registry, false, "v2");
        let apps = all["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|item| item["metadata"]["name"] == "apps")
            .unwrap();
        let resources = apps["versions"][0]["resources"].as_array().unwrap();
        assert_eq!(
            resources.len(),
            names.iter().filter(|name| !name.contains('/')).count()
        );
    }

    #[test]
    fn every_kind_served_has_a_schema() {
        for kind in registry().kinds() {
            assert!(
                matches!(kind.schema, crate::schema::KindSchema::Builtin(_)),
                "{} {}",
                kind.api_version(),
                kind.kind
            );
        }
    }
}
