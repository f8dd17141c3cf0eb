//! A playbook as an object of the API: where it comes from, whose it is, how each machine stands.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use consort_git::{Interval, Reference, Remote};
use consort_object::LabelSelector;
use consort_playbook::pull::{Counts, Deed, Fault};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::Resource;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The group of the API.
pub const GROUP: &str = "consort.dev";
/// The version of the API.
pub const VERSION: &str = "v1";
/// The annotation by which a person asks for a run: its value is another each time.
pub const RUN_REQUESTED: &str = "consort.dev/run-requested";

/// A playbook that machines carry out by themselves. What it is to be stays as it was sent: [`Playbook::spec`] reads it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Playbook {
    /// `consort.dev/v1`.
    #[serde(default)]
    pub api_version: String,
    /// `Playbook`.
    #[serde(default)]
    pub kind: String,
    /// Name, namespace, generation.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What it is to be.
    #[serde(default)]
    pub spec: Value,
    /// How it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

impl Playbook {
    /// What it is to be.
    ///
    /// # Errors
    /// When something in it is not understood.
    pub fn spec(&self) -> Result<Spec, serde_json::Error> {
        Spec::deserialize(&self.spec)
    }

    /// Whether it is for a node with these labels. One without a selector, or with one that is wrong, is for none.
    pub fn is_for(&self, labels: &BTreeMap<String, String>) -> bool {
        self.spec
            .get("selector")
            .and_then(|selector| LabelSelector::from_json(selector).ok())
            .is_some_and(|selector| {
                selector.matches_labels(|key| labels.get(key).map(String::as_str))
            })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// The number of its spec.
    pub fn generation(&self) -> i64 {
        self.metadata.generation.unwrap_or_default()
    }

    /// What somebody who wants a run has written.
    pub fn request(&self) -> Option<&str> {
        self.metadata
            .annotations
            .as_ref()?
            .get(RUN_REQUESTED)
            .map(String::as_str)
    }

    /// How a node stood when it last told.
    pub fn entry(&self, node: &str) -> Option<&Entry> {
        self.status
            .as_ref()?
            .nodes
            .iter()
            .find(|entry| entry.name == node)
    }
}

impl Resource for Playbook {
    type DynamicType = ();
    type Scope = k8s_openapi::NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Playbook".into()
    }
    fn group((): &()) -> Cow<'_, str> {
        GROUP.into()
    }
    fn version((): &()) -> Cow<'_, str> {
        VERSION.into()
    }
    fn plural((): &()) -> Cow<'_, str> {
        "playbooks".into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// What a playbook is to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// Where it comes from.
    pub source: Source,
    /// The nodes that carry it out, by their labels; `{}` means all of them.
    pub selector: Value,
    /// The playbooks, as paths in the source, in order.
    #[serde(default = "Spec::usual_playbooks")]
    pub playbooks: Vec<String>,
    /// The groups each machine is in.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Inventories, as paths in the source: what they say of a host with the node's name counts.
    #[serde(default)]
    pub inventory: Vec<String>,
    /// Variables that go before all others. Texts in them may be templates.
    #[serde(default)]
    pub variables: Map<String, Value>,
    /// ConfigMaps and Secrets, each key of which is a variable. Later ones count, and `variables` before all; texts in them
    /// are taken as they are.
    #[serde(default)]
    pub variables_from: Vec<VariablesFrom>,
    /// Passwords of the vault.
    #[serde(default)]
    pub vault: Option<Vault>,
    /// Only tasks with these tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// No tasks with these tags.
    #[serde(default)]
    pub skip_tags: Vec<String>,
    /// Whether what differs is put right, or only told.
    #[serde(default)]
    pub mode: Mode,
    /// How long after a run the next one is.
    #[serde(default = "Spec::usual_interval")]
    pub interval: Interval,
    /// So much later at most, another time for each run and node; a tenth of the interval if it is not said.
    #[serde(default)]
    pub jitter: Option<Interval>,
    /// How long a run may take.
    #[serde(default = "Spec::usual_timeout")]
    pub timeout: Interval,
    /// Nothing is run.
    #[serde(default)]
    pub suspend: bool,
}

impl Spec {
    fn usual_playbooks() -> Vec<String> {
        vec!["site.yml".to_owned()]
    }

    fn usual_interval() -> Interval {
        Interval(Duration::from_secs(30 * 60))
    }

    fn usual_timeout() -> Interval {
        Interval(Duration::from_secs(60 * 60))
    }

    /// The most that is added to the interval.
    pub fn jitter(&self) -> Duration {
        self.jitter
            .map_or(self.interval.0 / 10, |interval| interval.0)
    }
}

/// Where a playbook comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// A repository of Git: it is followed.
    Git(GitSource),
    /// A ConfigMap of the playbook's namespace.
    ConfigMap(MapSource),
}

impl Source {
    /// For people: `https://host/repo//path@main`, `configmap/site`.
    pub fn text(&self) -> String {
        match self {
            Source::Git(git) if git.path.is_empty() => format!("{}@{}", git.url, git.reference),
            Source::Git(git) => {
                format!(
                    "{}//{}@{}",
                    git.url,
                    git.path.trim_matches('/'),
                    git.reference
                )
            }
            Source::ConfigMap(map) => format!("configmap/{}", map.name),
        }
    }
}

/// A path in a repository at a branch, tag or commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GitSource {
    /// The repository, without credentials.
    pub url: Remote,
    /// A branch, tag or commit. The repository's own choice (`HEAD`) without one.
    #[serde(default)]
    pub reference: Reference,
    /// The directory in it. The root without one.
    #[serde(default)]
    pub path: String,
    /// How often each machine asks the repository whether it has moved.
    #[serde(default = "GitSource::usual_interval")]
    pub interval: Interval,
    /// The Secret with the credentials, in the playbook's namespace.
    #[serde(default)]
    pub credentials: Option<String>,
}

impl GitSource {
    fn usual_interval() -> Interval {
        Interval(Duration::from_secs(60))
    }
}

/// Files in a ConfigMap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MapSource {
    /// Its name.
    pub name: String,
    /// The path of each key; without any, each key is a file of its name.
    #[serde(default)]
    pub items: Vec<Item>,
}

/// A key, and the path its text becomes a file at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Item {
    /// The key.
    pub key: String,
    /// The path, without `..`.
    pub path: String,
}

/// Variables out of a ConfigMap or a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VariablesFrom {
    /// A ConfigMap.
    ConfigMap(Named),
    /// A Secret.
    Secret(Named),
}

/// An object of the playbook's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Whether it may be missing.
    #[serde(default)]
    pub optional: bool,
}

/// Passwords of the vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Vault {
    /// The Secret that holds them: each key is the vault id of its password (`default` for the usual one).
    pub secret: String,
}

/// Whether what differs is put right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is.
    #[default]
    Repair,
    /// It is told.
    Check,
}

/// How a playbook stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// The generation of the spec the conditions are about.
    pub observed_generation: i64,
    /// `Converged`, `Drifted`, `Failed`: of all machines together.
    pub conditions: Vec<Condition>,
    /// Where it comes from, for people.
    pub source: String,
    /// How many machines stand how.
    pub summary: Summary,
    /// Each machine.
    pub nodes: Vec<Entry>,
}

/// How many machines stand how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Summary {
    /// Those it is for.
    pub nodes: u64,
    /// Those that are as the source says.
    pub converged: u64,
    /// Those that are not, and are left so.
    pub drifted: u64,
    /// Those where the last run failed.
    pub failed: u64,
    /// Those that have not told of this spec yet.
    pub pending: u64,
}

/// How one machine stands: what its last run found and did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Entry {
    /// The node.
    pub name: String,
    /// The generation of the spec this is about.
    pub observed_generation: i64,
    /// `Pending`, `Running`, `Converged`, `Drifted`, `Failed` or `Suspended`.
    pub phase: String,
    /// Why there was a run: `FirstRun`, `Changed`, `Requested`, `Retry`, `Interval`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cause: String,
    /// The commit, or the digest of the files: `sha256:...`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// The commit, for people: its beginning and its subject.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// Whether the last run only looked.
    pub check: bool,
    /// When the last run began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
    /// When the next one is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// How many there were.
    pub runs: u64,
    /// How many failed in a row.
    pub failures: u32,
    /// The recap of the last run.
    pub counts: Counts,
    /// What the last run changed, or would have: the first 50.
    pub changes: Vec<Deed>,
    /// What went wrong in the last run: the first 10.
    pub faults: Vec<Fault>,
    /// The last time something was found to be other than it was left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// `Converged`, `Drifted`, `Failed`.
    pub conditions: Vec<Condition>,
    /// What the last run was of: spec, source and variables, as a digest.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub wanted: String,
    /// The same of the last run that left the machine as it says.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reached: String,
    /// The request that was tried last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handled: Option<String>,
}

/// Something was found to be other than it was left.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Drift {
    /// When the run that found it ended.
    pub time: Timestamp,
    /// Whether it was put right.
    pub repaired: bool,
    /// What: the first 50.
    pub changes: Vec<Deed>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_said_is_as_usual_and_what_is_wrong_is_refused_with_its_reason() {
        let spec: Spec = serde_json::from_value(json!({
            "source": {"configMap": {"name": "site"}}, "selector": {},
        }))
        .unwrap();
        assert_eq!(spec.playbooks, ["site.yml"]);
        assert_eq!(spec.mode, Mode::Repair);
        assert_eq!(spec.interval.0, Duration::from_secs(1800));
        assert_eq!(spec.jitter(), Duration::from_secs(180));
        for (spec, says) in [
            (json!({"selector": {}}), "source"),
            (
                json!({"source": {"git": {"url": "ext::sh"}}, "selector": {}}),
                "no address",
            ),
            (
                json!({"source": {"configMap": {"name": "a"}}, "selector": {}, "interval": "0s"}),
                "one second",
            ),
        ] {
            let error = serde_json::from_value::<Spec>(spec.clone()).unwrap_err();
            assert!(error.to_string().contains(says), "{spec}: {error}");
        }
    }

    #[test]
    fn a_playbook_is_for_the_nodes_its_selector_names_and_for_none_without_one() {
        let labels = BTreeMap::from([("role".to_owned(), "web".to_owned())]);
        let is_for = |selector: Value| {
            let spec = json!({ "selector": selector });
            Playbook {
                spec,
                ..Playbook::default()
            }
            .is_for(&labels)
        };
        assert!(is_for(json!({})));
        assert!(is_for(json!({"matchLabels": {"role": "web"}})));
        assert!(!is_for(json!({"matchLabels": {"role": "db"}})));
        assert!(!is_for(Value::Null));
        assert!(!is_for(
            json!({"matchExpressions": [{"key": "role", "operator": "Like"}]})
        ));
    }
}
