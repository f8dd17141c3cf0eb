//! Paths of the Kubernetes API, taken apart.
//!
//! `/api/v1/...` is the core group, `/apis/GROUP/VERSION/...` every other one. Below that:
//! `RESOURCE[/NAME[/SUBRESOURCE]]`, inside a namespace after `namespaces/NAMESPACE/`. Everything
//! else is a non-resource path. The rules follow the server's own request resolution, the
//! deprecated `/watch/` prefix included.

use super::query::decode;

/// What a path points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// A resource, a collection of them, or a subresource.
    Resource(Target),
    /// Discovery, health, documents and unknown paths.
    Plain,
}

/// A resource path taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    /// The API group; empty for the core group.
    pub group: String,
    /// The version within the group.
    pub version: String,
    /// The namespace, if the path has one.
    pub namespace: Option<String>,
    /// The plural resource name.
    pub resource: String,
    /// The object's name; none for collections.
    pub name: Option<String>,
    /// The subresource.
    pub subresource: Option<String>,
    /// What follows the subresource.
    pub rest: Vec<String>,
    /// The deprecated `/watch/` prefix was there.
    pub watch: bool,
}

/// Take a path apart.
pub(crate) fn route(path: &str) -> Route {
    let mut parts: Vec<String> = path
        .trim_matches('/')
        .split('/')
        .map(|part| decode(part, false))
        .collect();
    let (group, version) = match parts.first().map(String::as_str) {
        Some("api") if parts.len() > 2 => {
            let rest = parts.split_off(2);
            let version = std::mem::take(&mut parts[1]);
            parts = rest;
            (String::new(), version)
        }
        Some("apis") if parts.len() > 3 => {
            let rest = parts.split_off(3);
            let version = std::mem::take(&mut parts[2]);
            let group = std::mem::take(&mut parts[1]);
            parts = rest;
            (group, version)
        }
        _ => return Route::Plain,
    };
    let mut watch = false;
    if parts[0] == "watch" && parts.len() > 1 {
        watch = true;
        parts.remove(0);
    }
    let mut namespace = None;
    if parts[0] == "namespaces" && parts.len() > 1 {
        namespace = Some(parts[1].clone());
        if parts.len() > 2 && parts[2] != "status" && parts[2] != "finalize" {
            parts.drain(..2);
        }
    }
    let mut parts = parts.into_iter();
    let resource = parts.next().unwrap_or_default();
    let name = parts.next();
    let subresource = parts.next();
    Route::Resource(Target {
        group,
        version,
        namespace,
        resource,
        name,
        subresource,
        rest: parts.collect(),
        watch,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str) -> (String, String, String, String, String, String) {
        match route(path) {
            Route::Resource(t) => (
                t.group,
                t.version,
                t.namespace.unwrap_or_default(),
                t.resource,
                t.name.unwrap_or_default(),
                t.subresource.unwrap_or_default(),
            ),
            Route::Plain => panic!("{path} is not a resource path"),
        }
    }

    #[test]
    fn resource_paths_are_taken_apart_as_upstream_does() {
        let cases = [
            ("/api/v1/pods", ["", "v1", "", "pods", "", ""]),
            ("/api/v1/namespaces", ["", "v1", "", "namespaces", "", ""]),
            (
                "/api/v1/namespaces/a",
                ["", "v1", "a", "namespaces", "a", ""],
            ),
            (
                "/api/v1/namespaces/a/finalize",
                ["", "v1", "a", "namespaces", "a", "finalize"],
            ),
            ("/api/v1/namespaces/a/pods", ["", "v1", "a", "pods", "", ""]),
            (
                "/api/v1/namespaces/a/pods/p/log",
                ["", "v1", "a", "pods", "p", "log"],
            ),
            (
                "/apis/apps/v1/namespaces/a/deployments/d/scale",
                ["apps", "v1", "a", "deployments", "d", "scale"],
            ),
            (
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
                [
                    "rbac.authorization.k8s.io",
                    "v1",
                    "",
                    "clusterroles",
                    "system:node",
                    "",
                ],
            ),
        ];
        for (path, want) in cases {
            let got = target(path);
            assert_eq!(
                [&got.0, &got.1, &got.2, &got.3, &got.4, &got.5].map(String::as_str),
                want,
                "{path}"
            );
        }
    }

    #[test]
    fn short_and_other_paths_are_plain() {
        for path in [
            "/",
            "/api",
            "/api/v1",
            "/apis",
            "/apis/apps",
            "/apis/apps/v1",
            "/healthz",
            "/openapi/v3",
        ] {
            assert_eq!(route(path), Route::Plain, "{path}");
        }
    }
}
