//! Which resources a server has, and what people call them.

use http::Request;
use kube::Client;
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

use crate::error::{Failure, Kind, Result};

/// One kind of object a server serves.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    /// Group, version, kind and plural name.
    pub(crate) api: ApiResource,
    /// Whether its objects live in namespaces.
    pub(crate) namespaced: bool,
    names: Vec<String>,
    categories: Vec<String>,
    listable: bool,
}

impl Resource {
    /// `deployment.apps`, or `pod`: how an object's full name starts.
    pub(crate) fn singular(&self) -> String {
        let kind = self.api.kind.to_lowercase();
        if self.api.group.is_empty() {
            kind
        } else {
            format!("{kind}.{}", self.api.group)
        }
    }

    /// The path of the collection.
    pub(crate) fn path(&self, namespace: Option<&str>) -> String {
        let root = if self.api.group.is_empty() {
            format!("/api/{}", self.api.version)
        } else {
            format!("/apis/{}/{}", self.api.group, self.api.version)
        };
        match namespace {
            Some(namespace) if self.namespaced => {
                format!("{root}/namespaces/{namespace}/{}", self.api.plural)
            }
            _ => format!("{root}/{}", self.api.plural),
        }
    }
}

/// All resources of a server.
pub(crate) struct Resources(Vec<Resource>);

const DISCOVERY: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

impl Resources {
    /// Asks the server, in two requests (aggregated discovery, `apidiscovery.k8s.io/v2`).
    pub(crate) async fn discover(client: &Client) -> Result<Self> {
        let mut all = Vec::new();
        for path in ["/api", "/apis"] {
            let request = Request::get(path)
                .header(http::header::ACCEPT, DISCOVERY)
                .body(Vec::new())
                .map_err(anyhow::Error::from)?;
            let list: Value = client.request(request).await?;
            for group in items(&list, "items") {
                let name = text(&group["metadata"], "name");
                for version in items(group, "versions") {
                    let version_name = text(version, "version");
                    all.extend(
                        items(version, "resources")
                            .filter_map(|resource| read(name, version_name, resource)),
                    );
                }
            }
        }
        Ok(Self(all))
    }

    /// The resource of a kind as manifests name it.
    pub(crate) fn of_kind(&self, api_version: &str, kind: &str) -> Option<&Resource> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.0.iter().find(|resource| {
            let api = &resource.api;
            api.kind == kind && api.group == group && api.version == version
        })
    }

    /// The resources a word on the command line means: a plural, singular or short name, optionally
    /// with `.group`, or a category such as `all`.
    pub(crate) fn named(&self, word: &str) -> Result<Vec<&Resource>> {
        let lower = word.to_lowercase();
        let (name, group) = lower
            .split_once('.')
            .map_or((lower.as_str(), None), |(n, g)| (n, Some(g)));
        let found = self.0.iter().find(|resource| {
            let group_fits = group.is_none_or(|group| {
                let own = &resource.api.group;
                own == group || format!("{}.{own}", resource.api.version) == group
            });
            group_fits && resource.names.iter().any(|own| own == name)
        });
        if let Some(resource) = found {
            return Ok(vec![resource]);
        }
        let members: Vec<&Resource> = self
            .0
            .iter()
            .filter(|resource| resource.listable && resource.categories.contains(&lower))
            .collect();
        if members.is_empty() {
            return Err(Failure::new(
                Kind::Usage,
                format!("the server doesn't have a resource type {word:?}"),
            ));
        }
        Ok(members)
    }
}

fn read(group: &str, version: &str, resource: &Value) -> Option<Resource> {
    let plural = text(resource, "resource");
    let kind = text(&resource["responseKind"], "kind");
    if plural.is_empty() || kind.is_empty() {
        return None;
    }
    let strings = |field: &str| {
        items(resource, field)
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let mut names = strings("shortNames");
    names.push(plural.to_owned());
    names.push(text(resource, "singularResource").to_owned());
    names.push(kind.to_lowercase());
    let gvk = GroupVersionKind::gvk(group, version, kind);
    Some(Resource {
        api: ApiResource::from_gvk_with_plural(&gvk, plural),
        namespaced: text(resource, "scope") == "Namespaced",
        names,
        categories: strings("categories"),
        listable: strings("verbs").iter().any(|verb| verb == "list"),
    })
}

fn items<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(field)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// What a command line names: kinds, or single objects of kinds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    /// The word for the kind.
    pub(crate) kind: String,
    /// The names given; empty for all.
    pub(crate) names: Vec<String>,
}

/// Reads `KIND`, `KIND NAME...`, `KIND,KIND` and `KIND/NAME...`, as `kubectl` does.
pub(crate) fn select(words: &[String]) -> Result<Vec<Selection>> {
    let usage = |text: &str| Err(Failure::new(Kind::Usage, text.to_owned()));
    let Some(first) = words.first() else {
        return usage("name what to work on, such as `pods`, `deployment web` or `service/web`");
    };
    if first.contains('/') {
        let mut all: Vec<Selection> = Vec::new();
        for word in words {
            let Some((kind, name)) = word.split_once('/').filter(|(_, name)| !name.is_empty())
            else {
                return usage(
                    "either every word is KIND/NAME, or the first is a kind and the rest are names",
                );
            };
            all.push(Selection {
                kind: kind.to_owned(),
                names: vec![name.to_owned()],
            });
        }
        return Ok(all);
    }
    let names = words[1..].to_vec();
    if names.iter().any(|name| name.contains('/')) {
        return usage(
            "either every word is KIND/NAME, or the first is a kind and the rest are names",
        );
    }
    Ok(first
        .split(',')
        .map(|kind| Selection {
            kind: kind.to_owned(),
            names: names.clone(),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn both_ways_of_naming_objects_are_understood() {
        let one = |kind: &str, names: &[&str]| Selection {
            kind: kind.to_owned(),
            names: names.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(
            select(&words("pods,svc")).unwrap(),
            [one("pods", &[]), one("svc", &[])]
        );
        assert_eq!(
            select(&words("pod a b")).unwrap(),
            [one("pod", &["a", "b"])]
        );
        assert_eq!(
            select(&words("pod/a deploy/b")).unwrap(),
            [one("pod", &["a"]), one("deploy", &["b"])]
        );
        assert!(select(&words("pod/a b")).is_err());
        assert!(select(&words("pod a/b")).is_err());
    }
}
