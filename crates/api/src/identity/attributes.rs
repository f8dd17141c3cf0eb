//! What a request asks for, in the terms that authorization decides on.

use std::fmt;

use consort_object::{FieldSelector, LabelSelector};

/// The attributes of one request (`authorization.k8s.io/v1` `ResourceAttributes` or
/// `NonResourceAttributes`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, ...; the
    /// lower-case HTTP method for a path.
    pub verb: &'a str,
    /// The API group, empty for the core group.
    pub group: &'a str,
    /// The API version; not decided on.
    pub version: &'a str,
    /// The plural resource name; empty for a path.
    pub resource: &'a str,
    /// The subresource, e.g. `log`; empty for none.
    pub subresource: &'a str,
    /// The namespace; empty for cluster-scoped resources and lists over all namespaces.
    pub namespace: &'a str,
    /// The object's name; empty where the request names none.
    pub name: &'a str,
    /// The URL path of a non-resource request, such as `/healthz`.
    pub path: &'a str,
    /// What of a list, watch or deletion of a collection is asked for by fields; `None` for all.
    pub field_selector: Option<&'a FieldSelector>,
    /// What of it is asked for by labels; `None` for all.
    pub label_selector: Option<&'a LabelSelector>,
}

impl Attributes<'_> {
    /// Whether this is a request for a resource rather than a bare path.
    pub fn is_resource(&self) -> bool {
        !self.resource.is_empty()
    }
}

/// The sentence upstream's `Forbidden` messages carry after the resource: `User "x" cannot list
/// resource "pods" in API group "" in the namespace "default"`.
pub struct Refusal<'a>(
    /// The caller's name.
    pub &'a str,
    /// What it asked for.
    pub &'a Attributes<'a>,
);

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(user, attributes) = self;
        if !attributes.is_resource() {
            return write!(
                f,
                "User {user:?} cannot {} path {:?}",
                attributes.verb, attributes.path
            );
        }
        write!(f, "User {user:?} cannot {} resource ", attributes.verb)?;
        if attributes.subresource.is_empty() {
            write!(f, "{:?}", attributes.resource)?;
        } else {
            let path = format!("{}/{}", attributes.resource, attributes.subresource);
            write!(f, "{path:?}")?;
        }
        write!(f, " in API group {:?}", attributes.group)?;
        if attributes.namespace.is_empty() {
            f.write_str(" at the cluster scope")
        } else {
            write!(f, " in the namespace {:?}", attributes.namespace)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_reads_as_upstream_words_it() {
        let mut attributes = Attributes {
            verb: "list",
            resource: "pods",
            namespace: "default",
            ..Attributes::default()
        };
        assert_eq!(
            Refusal("jane", &attributes).to_string(),
            r#"User "jane" cannot list resource "pods" in API group "" in the namespace "default""#
        );
        attributes.namespace = "";
        attributes.group = "apps";
        attributes.subresource = "status";
        assert_eq!(
            Refusal("jane", &attributes).to_string(),
            r#"User "jane" cannot list resource "pods/status" in API group "apps" at the cluster scope"#
        );
        let path = Attributes {
            verb: "get",
            path: "/metrics",
            ..Attributes::default()
        };
        assert_eq!(
            Refusal("jane", &path).to_string(),
            r#"User "jane" cannot get path "/metrics""#
        );
    }
}
