//! The stanza `manifests:` of a part in `consort.yaml`.

use std::collections::BTreeMap;

use consort_plan::{Feed, From};
use serde::{Deserialize, Serialize};

/// What a part of manifests is: where its files are, and what of other parts goes into them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// Files and directories, relative to the score. Directories are read with all below them.
    pub path: Paths,
    /// The namespace of objects that name none. Without it they go to `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Where the objects go; without it, to the server the score belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Fields of objects that get the value of another part's output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replacements: Vec<Replacement>,
    /// `ConfigMap`s made of values given here or by other parts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_maps: Vec<Generated>,
    /// `Secret`s made of values given here or by other parts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Generated>,
    /// What the part gives to others, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, OutputField>,
    /// Whether objects of this part that are no longer in its files are deleted.
    #[serde(default = "yes")]
    pub prune: bool,
    /// Fields that may differ from the files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore_differences: Vec<IgnoreDifference>,
}

fn yes() -> bool {
    true
}

/// One path or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Paths {
    /// A file or directory.
    One(String),
    /// Several, in order.
    Many(Vec<String>),
}

impl Paths {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        match self {
            Paths::One(one) => std::slice::from_ref(one),
            Paths::Many(many) => many.as_slice(),
        }
        .iter()
        .map(String::as_str)
    }
}

/// A cluster, told by a kubeconfig.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// The text of a kubeconfig, the path of one relative to the score, or the output of another part that gives
    /// its text.
    pub kubeconfig: Feed,
    /// The context in it; without it, its current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
}

/// A value of another part and the fields it goes into.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Replacement {
    /// `PART.OUTPUT`.
    pub from: String,
    /// The fields.
    pub to: Vec<FieldOf>,
}

/// A field of an object of the part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FieldOf {
    /// The object: `Deployment/web`, `Deployment/shop/web` or `apps/v1/Deployment/shop/web`.
    pub object: String,
    /// The field: `spec.template.spec.containers[name=web].image`, `data["app.conf"]`.
    pub field: String,
    /// The text within the field's own text that the value takes the place of; without it, the whole field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// A `ConfigMap` or `Secret` made of values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Generated {
    /// Its name.
    pub name: String,
    /// Its namespace; without it, that of the part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The type of a `Secret`; `Opaque` without it.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Its entries. Numbers and booleans become their text, lists and objects their JSON.
    #[serde(default)]
    pub data: BTreeMap<String, Feed>,
}

/// A field whose value other parts can use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutputField {
    /// The object: `Service/shop/web`.
    pub object: String,
    /// The field: `spec.clusterIP`, `status.loadBalancer.ingress[0].ip`. `stringData.KEY` of a `Secret` is the
    /// entry's text.
    pub field: String,
    /// Its type in Terraform's notation, where it is not known before the apply and cannot be told from the object.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// Fields that may differ from the files: they are left as they are once the object is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IgnoreDifference {
    /// The group of the objects; empty for the core group, `*` for any.
    #[serde(default)]
    pub group: String,
    /// Their kind; `*` for any.
    pub kind: String,
    /// Their name; any without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Their namespace; any without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The fields, as JSON pointers (RFC 6901).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub json_pointers: Vec<String>,
    /// The names of field managers whose fields they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub managed_fields_managers: Vec<String>,
}

impl Spec {
    /// A part that is the files of one path, and nothing else.
    pub fn of_path(path: impl Into<String>) -> Self {
        Spec {
            path: Paths::One(path.into()),
            namespace: None,
            target: None,
            replacements: Vec::new(),
            config_maps: Vec::new(),
            secrets: Vec::new(),
            outputs: BTreeMap::new(),
            prune: true,
            ignore_differences: Vec::new(),
        }
    }

    /// What it takes of other parts, each as `PART.OUTPUT` with the JSON pointer of the place in the stanza that
    /// names it. The same output may come more than once.
    pub fn feeds(&self) -> Vec<(String, String)> {
        let mut feeds = Vec::new();
        if let Some(Target {
            kubeconfig: Feed::From(From { from }),
            ..
        }) = &self.target
        {
            feeds.push((from.clone(), "/target/kubeconfig/from".to_owned()));
        }
        for (at, replacement) in self.replacements.iter().enumerate() {
            feeds.push((replacement.from.clone(), format!("/replacements/{at}/from")));
        }
        for (field, generated) in [
            ("configMaps", &self.config_maps),
            ("secrets", &self.secrets),
        ] {
            for (at, one) in generated.iter().enumerate() {
                for (key, feed) in &one.data {
                    if let Feed::From(From { from }) = feed {
                        let at = consort_plan::below(&format!("/{field}/{at}/data"), key);
                        feeds.push((from.clone(), format!("{at}/from")));
                    }
                }
            }
        }
        feeds
    }
}
