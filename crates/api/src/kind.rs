//! What the server knows of a kind: its names, its subresources, and a small [`Strategy`].

use crate::custom::Version;
use crate::schema::KindSchema;
use crate::strategy::{Bare, Strategy};
use consort_object::schema::Gvk;
use serde_json::Value;
use std::sync::Arc;

/// The verbs of a stored kind.
pub(crate) const STORED_VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// How names of a kind are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameRule {
    /// DNS-1123 subdomain: most kinds.
    Subdomain,
    /// DNS-1123 label: namespaces.
    Label,
    /// DNS-1035 label: services.
    Label1035,
    /// An IP address in its canonical form.
    Address,
    /// A subdomain, after the signer's name and a colon if the object has one.
    TrustBundle,
    /// Anything that can be a path segment: RBAC kinds.
    PathSegment,
}

/// A subresource the server offers.
#[derive(Clone, Debug)]
pub(crate) struct Subresource {
    /// Its path segment.
    pub name: &'static str,
    /// The group, version and kind of its objects; empty group and version mean the parent's.
    pub kind: (&'static str, &'static str, &'static str),
    /// The verbs it takes.
    pub verbs: &'static [&'static str],
}

/// `status`: the same object, only its status is taken.
pub(crate) const STATUS: Subresource = Subresource {
    name: "status",
    kind: ("", "", ""),
    verbs: &["get", "patch", "update"],
};

/// `proxy`: HTTP to what the object stands for.
pub(crate) const fn proxy(options: &'static str) -> Subresource {
    Subresource {
        name: "proxy",
        kind: ("", "v1", options),
        verbs: &["create", "delete", "get", "patch", "update"],
    }
}

/// `scale`: replicas and selector of anything that scales.
pub(crate) const SCALE: Subresource = Subresource {
    name: "scale",
    kind: ("autoscaling", "v1", "Scale"),
    verbs: &["get", "patch", "update"],
};

/// A second form of a stored kind, converted on the way in and out.
#[derive(Clone, Copy)]
pub(crate) struct View {
    /// From this kind's form to the stored one.
    pub store: fn(Value) -> Value,
    /// From the stored form to this kind's.
    pub show: fn(Value) -> Value,
    /// The version of the stored form.
    pub version: &'static str,
    /// The field labels of this kind that mean another one in the stored form.
    pub fields: &'static [(&'static str, &'static str)],
}

/// A kind the server serves.
#[derive(Clone)]
#[allow(clippy::struct_field_names)] // `kind` is what objects call it
pub(crate) struct Kind {
    /// API group; empty for the core group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Kind, as in `kind:`.
    pub kind: String,
    /// Kind of its lists.
    pub list_kind: String,
    /// Plural resource name, as in paths.
    pub plural: String,
    /// Singular resource name.
    pub singular: String,
    /// Short names.
    pub short: Vec<String>,
    /// Categories, such as `all`.
    pub categories: Vec<String>,
    /// Lives in a namespace.
    pub namespaced: bool,
    /// The verbs it takes.
    pub verbs: Vec<&'static str>,
    /// What its objects look like.
    pub schema: KindSchema,
    /// Its subresources.
    pub subresources: Vec<Subresource>,
    /// How its names are checked.
    pub name_rule: NameRule,
    /// `metadata.generation` counts changes of the spec.
    pub generation: bool,
    /// `PUT` creates what is absent.
    pub create_on_update: bool,
    /// A write without a resource version is taken as "whatever is there".
    pub unconditional_update: bool,
    /// Deletion answers with the object instead of a `Status`.
    pub returns_deleted: bool,
    /// A delete that does not say what becomes of dependents leaves them.
    pub orphans: bool,
    /// What every user of the kind is warned of: it has a successor.
    pub deprecated: Option<&'static str>,
    /// The group and plural under which objects are stored.
    pub storage: (String, String),
    /// How the stored form differs from this one.
    pub view: Option<View>,
    /// Defaults, validation, columns.
    pub strategy: Arc<dyn Strategy>,
}

impl Kind {
    /// A namespaced kind with everything usual.
    pub(crate) fn new(group: &str, version: &str, kind: &str, plural: &str) -> Self {
        Self {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
            list_kind: format!("{kind}List"),
            plural: plural.into(),
            singular: kind.to_lowercase(),
            short: Vec::new(),
            categories: Vec::new(),
            namespaced: true,
            verbs: STORED_VERBS.to_vec(),
            schema: KindSchema::of(&Gvk::new(group, version, kind)),
            subresources: Vec::new(),
            name_rule: NameRule::Subdomain,
            generation: false,
            create_on_update: false,
            unconditional_update: true,
            returns_deleted: false,
            orphans: false,
            deprecated: None,
            storage: (group.into(), plural.into()),
            view: None,
            strategy: Arc::new(Bare),
        }
    }

    /// A kind outside namespaces.
    #[must_use]
    pub(crate) fn cluster(mut self) -> Self {
        self.namespaced = false;
        self
    }

    /// Set the short names.
    #[must_use]
    pub(crate) fn short(mut self, names: &[&str]) -> Self {
        self.short = names.iter().map(|&name| name.into()).collect();
        self
    }

    /// Put it into categories.
    #[must_use]
    pub(crate) fn categories(mut self, names: &[&str]) -> Self {
        self.categories = names.iter().map(|&name| name.into()).collect();
        self
    }

    /// Add a subresource.
    #[must_use]
    pub(crate) fn sub(mut self, subresource: Subresource) -> Self {
        self.subresources.push(subresource);
        self
    }

    /// A kind that is computed, not stored: it can only be created.
    #[must_use]
    pub(crate) fn computed(mut self) -> Self {
        self.verbs = vec!["create"];
        self
    }

    /// Set the strategy.
    #[must_use]
    pub(crate) fn strategy(mut self, strategy: impl Strategy + 'static) -> Self {
        self.strategy = Arc::new(strategy);
        self
    }

    /// The version of a definition that brought it; none for a built-in kind.
    pub(crate) fn custom(&self) -> Option<&Arc<Version>> {
        match &self.schema {
            KindSchema::Custom(version) => Some(version),
            _ => None,
        }
    }

    /// Is it kept in the store?
    pub(crate) fn stored(&self) -> bool {
        self.verbs.contains(&"watch")
    }

    /// Does it have a `status` subresource?
    pub(crate) fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }

    /// The subresource of a name.
    pub(crate) fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }

    /// The version of the stored form.
    pub(crate) fn stored_version(&self) -> &str {
        self.view.map_or(self.version.as_str(), |view| view.version)
    }

    /// `apiVersion` of its objects.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}
