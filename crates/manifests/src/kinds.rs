//! Which kinds a server serves, and which the definitions of a part will make it serve.

use std::collections::HashMap;
use std::sync::Arc;

use consort_object::structural::Structural;
use futures::stream::{self, StreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::identity::text;
use crate::server::{Failure, Server};

/// One kind of object in one version.
#[allow(clippy::struct_field_names)] // The field's own term.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Kind {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    /// Its name in paths.
    pub(crate) plural: String,
    pub(crate) namespaced: bool,
}

impl Kind {
    /// The path of its objects.
    pub(crate) fn collection(&self, namespace: &str) -> String {
        let mut path = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        if self.namespaced && !namespace.is_empty() {
            path.push_str("/namespaces/");
            path.push_str(namespace);
        }
        path.push('/');
        path.push_str(&self.plural);
        path
    }

    /// The path of one.
    pub(crate) fn path(&self, namespace: &str, name: &str) -> String {
        format!(
            "{}/{}",
            self.collection(namespace),
            crate::server::escaped(name)
        )
    }

    /// `apps/v1`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `apps/v1/Deployment`.
    pub(crate) fn title(&self) -> String {
        format!("{}/{}", self.api_version(), self.kind)
    }
}

/// A kind a server serves.
#[derive(Clone, Debug)]
struct Served {
    kind: Arc<Kind>,
    verbs: Vec<String>,
}

/// A kind that a definition in the part makes.
#[derive(Clone, Debug)]
pub(crate) struct Defined {
    pub(crate) kind: Arc<Kind>,
    /// Its schema, if it can be read.
    pub(crate) schema: Option<Arc<Structural>>,
}

/// All kinds there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kinds {
    served: Vec<Served>,
    by_name: HashMap<(String, String, String), usize>,
    defined: HashMap<(String, String, String), Defined>,
    /// Groups whose discovery failed: what serves them does not answer.
    pub(crate) silent: Vec<String>,
}

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
    application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

impl Kinds {
    /// Asks the server: two requests where it knows aggregated discovery, one a group and version where it does not.
    pub(crate) async fn discover(server: &Server) -> Result<Self, Failure> {
        let mut kinds = Kinds::default();
        for path in ["/api", "/apis"] {
            let found = server.get_as(path, AGGREGATED).await?;
            if text(&found, &["kind"]) == "APIGroupDiscoveryList" {
                kinds.read_aggregated(&found);
            } else {
                kinds.read_plain(server, path, &found).await?;
            }
        }
        Ok(kinds)
    }

    fn read_aggregated(&mut self, found: &Value) {
        for group in items(found, "items") {
            let name = text(group, &["metadata", "name"]);
            for version in items(group, "versions") {
                let version_name = text(version, &["version"]);
                if text(version, &["freshness"]) == "Stale" {
                    self.silent.push(format!("{name}/{version_name}"));
                }
                for resource in items(version, "resources") {
                    self.serve(
                        name,
                        version_name,
                        text(resource, &["responseKind", "kind"]),
                        text(resource, &["resource"]),
                        text(resource, &["scope"]) == "Namespaced",
                        resource,
                    );
                }
            }
        }
    }

    async fn read_plain(
        &mut self,
        server: &Server,
        path: &str,
        found: &Value,
    ) -> Result<(), Failure> {
        let mut versions = Vec::new();
        for version in items(found, "versions").filter_map(Value::as_str) {
            versions.push((
                String::new(),
                version.to_owned(),
                format!("{path}/{version}"),
            ));
        }
        for group in items(found, "groups") {
            let name = text(group, &["name"]);
            let preferred = text(group, &["preferredVersion", "version"]);
            let mut all: Vec<&str> = items(group, "versions")
                .map(|version| text(version, &["version"]))
                .collect();
            all.sort_by_key(|version| *version != preferred);
            for version in all {
                let path = format!("{path}/{name}/{version}");
                versions.push((name.to_owned(), version.to_owned(), path));
            }
        }
        let lists: Vec<_> = stream::iter(versions)
            .map(|(group, version, path)| async move {
                let list = server.get_as(&path, "application/json").await;
                (group, version, list)
            })
            .buffered(8)
            .collect()
            .await;
        for (group, version, list) in lists {
            let list = match list {
                Ok(list) => list,
                // An API service that does not answer takes only its own kinds away.
                Err(Failure::Refused(_)) => {
                    self.silent.push(format!("{group}/{version}"));
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            for resource in items(&list, "resources") {
                let plural = text(resource, &["name"]);
                if !plural.contains('/') {
                    let namespaced = resource["namespaced"] == true;
                    let kind = text(resource, &["kind"]);
                    self.serve(&group, &version, kind, plural, namespaced, resource);
                }
            }
        }
        Ok(())
    }

    fn serve(
        &mut self,
        group: &str,
        version: &str,
        kind: &str,
        plural: &str,
        namespaced: bool,
        resource: &Value,
    ) {
        if plural.is_empty() || kind.is_empty() {
            return;
        }
        let verbs: Vec<String> = items(resource, "verbs")
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let name = (group.to_owned(), version.to_owned(), kind.to_owned());
        // Two resources of one kind: the one that can be written is meant by manifests.
        if let Some(known) = self.by_name.get(&name)
            && (self.served[*known].has("create") || !verbs.iter().any(|verb| verb == "create"))
        {
            return;
        }
        self.by_name.insert(name, self.served.len());
        self.served.push(Served {
            kind: Arc::new(Kind {
                group: group.to_owned(),
                version: version.to_owned(),
                kind: kind.to_owned(),
                plural: plural.to_owned(),
                namespaced,
            }),
            verbs,
        });
    }

    /// Takes the kinds of a definition (`CustomResourceDefinition`) in.
    pub(crate) fn define(&mut self, definition: &Value) {
        let spec = &definition["spec"];
        let group = text(spec, &["group"]);
        let kind = text(spec, &["names", "kind"]);
        for version in items(spec, "versions") {
            if version["served"] != true {
                continue;
            }
            let name = text(version, &["name"]);
            let schema = Structural::parse(&version["schema"]["openAPIV3Schema"]).ok();
            self.defined.insert(
                (group.to_owned(), name.to_owned(), kind.to_owned()),
                Defined {
                    kind: Arc::new(Kind {
                        group: group.to_owned(),
                        version: name.to_owned(),
                        kind: kind.to_owned(),
                        plural: text(spec, &["names", "plural"]).to_owned(),
                        namespaced: text(spec, &["scope"]) != "Cluster",
                    }),
                    schema: schema.map(Arc::new),
                },
            );
        }
    }

    /// The kind, if the server serves it.
    pub(crate) fn served(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<Kind>> {
        let name = (group.to_owned(), version.to_owned(), kind.to_owned());
        self.by_name.get(&name).map(|at| &self.served[*at].kind)
    }

    /// The kind as a definition of the part makes it.
    pub(crate) fn defined(&self, group: &str, version: &str, kind: &str) -> Option<&Defined> {
        let name = (group.to_owned(), version.to_owned(), kind.to_owned());
        self.defined.get(&name)
    }

    /// The version a server serves a kind in, if it is another than asked for.
    pub(crate) fn elsewhere(&self, kind: &str) -> Vec<String> {
        let mut all: Vec<String> = self
            .served
            .iter()
            .filter(|served| served.kind.kind == kind)
            .map(|served| served.kind.api_version())
            .collect();
        all.dedup();
        all
    }

    /// One version of every kind whose objects a part may have left: what can be listed, applied and deleted.
    /// The first version of a group the server tells is the one it prefers.
    pub(crate) fn prunable(&self) -> Vec<Arc<Kind>> {
        let mut seen = std::collections::HashSet::new();
        self.served
            .iter()
            .filter(|served| {
                served.has("list")
                    && served.has("delete")
                    && served.has("patch")
                    && served.kind.kind != "Event"
                    && seen.insert((served.kind.group.clone(), served.kind.kind.clone()))
            })
            .map(|served| served.kind.clone())
            .collect()
    }

    /// One version of every kind that lives in namespaces.
    pub(crate) fn namespaced(&self) -> Vec<Arc<Kind>> {
        let mut all = self.prunable();
        all.retain(|kind| kind.namespaced);
        all
    }
}

impl Served {
    fn has(&self, verb: &str) -> bool {
        self.verbs.iter().any(|own| own == verb)
    }
}

pub(crate) fn items<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(field)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// The kinds of Kubernetes itself that live in no namespace: where no server can be asked yet.
const CLUSTER_WIDE: &[(&str, &str)] = &[
    ("", "Namespace"),
    ("", "Node"),
    ("", "PersistentVolume"),
    ("admissionregistration.k8s.io", "*"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("apiregistration.k8s.io", "APIService"),
    ("certificates.k8s.io", "CertificateSigningRequest"),
    ("flowcontrol.apiserver.k8s.io", "*"),
    ("networking.k8s.io", "IngressClass"),
    ("networking.k8s.io", "IPAddress"),
    ("networking.k8s.io", "ServiceCIDR"),
    ("node.k8s.io", "RuntimeClass"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("resource.k8s.io", "DeviceClass"),
    ("scheduling.k8s.io", "PriorityClass"),
    ("storage.k8s.io", "CSIDriver"),
    ("storage.k8s.io", "CSINode"),
    ("storage.k8s.io", "StorageClass"),
    ("storage.k8s.io", "VolumeAttachment"),
    ("storage.k8s.io", "VolumeAttributesClass"),
];

/// A kind of a cluster that is not there yet, as far as its name tells: the plural is found out when it is.
pub(crate) fn guessed(group: &str, version: &str, kind: &str) -> Kind {
    let cluster_wide = CLUSTER_WIDE
        .iter()
        .any(|(of, name)| *of == group && (*name == "*" || *name == kind));
    Kind {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        plural: String::new(),
        namespaced: !cluster_wide,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_definition_makes_its_served_versions_known() {
        let mut kinds = Kinds::default();
        kinds.define(&json!({"spec": {"group": "g.io", "scope": "Cluster",
            "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{"name": "v1", "served": true, "schema": {"openAPIV3Schema": {"type": "object"}}},
                {"name": "v1alpha1", "served": false}]}}));
        let defined = kinds.defined("g.io", "v1", "Widget").unwrap();
        assert_eq!(defined.kind.path("", "a"), "/apis/g.io/v1/widgets/a");
        assert!(defined.schema.is_some());
        assert!(kinds.defined("g.io", "v1alpha1", "Widget").is_none());
    }
}
