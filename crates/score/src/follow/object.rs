//! A score as an object of the API: where it comes from, how it is kept true, how it stands.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::Resource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::git::{Interval, Reference, Remote};
use crate::sync::Window;

/// The group of the API.
pub const GROUP: &str = "consort.dev";
/// The version of the API.
pub const VERSION: &str = "v1";
/// The annotation by which a person asks for a sync: its value is another each time.
pub const SYNC_REQUESTED: &str = "consort.dev/sync-requested";
/// The annotation that names who asked.
pub const SYNC_REQUESTED_BY: &str = "consort.dev/sync-requested-by";

/// A score in the API. What it is to be stays as it was sent: [`Score::spec`] reads it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Score {
    /// `consort.dev/v1`.
    #[serde(default)]
    pub api_version: String,
    /// `Score`.
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

impl Score {
    /// A score of this name.
    pub fn new(namespace: &str, name: &str, spec: &Spec) -> Self {
        Self {
            api_version: format!("{GROUP}/{VERSION}"),
            kind: "Score".to_owned(),
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            // A spec is made of texts and numbers: it has a JSON form.
            spec: serde_json::to_value(spec).unwrap_or_default(),
            status: None,
        }
    }

    /// What it is to be.
    ///
    /// # Errors
    /// When something in it is not understood.
    pub fn spec(&self) -> Result<Spec, serde_json::Error> {
        if self.spec.is_null() {
            return Ok(Spec::default());
        }
        Spec::deserialize(&self.spec)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// A value of its annotations.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata
            .annotations
            .as_ref()?
            .get(key)
            .map(String::as_str)
    }

    /// The sync that a person has asked for and that was not tried yet.
    pub fn request(&self) -> Option<&str> {
        let asked = self.annotation(SYNC_REQUESTED)?;
        let handled = self.status.as_ref().and_then(|it| it.handled.as_deref());
        (handled != Some(asked)).then_some(asked)
    }
}

impl Resource for Score {
    type DynamicType = ();
    type Scope = k8s_openapi::NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Score".into()
    }
    fn group((): &()) -> Cow<'_, str> {
        GROUP.into()
    }
    fn version((): &()) -> Cow<'_, str> {
        VERSION.into()
    }
    fn plural((): &()) -> Cow<'_, str> {
        "scores".into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// What a score in the API is to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// Where it comes from. Without one it is what was last applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceSpec>,
    /// How it is kept true.
    #[serde(skip_serializing_if = "is_default")]
    pub sync: SyncSpec,
    /// Leaves it alone: nothing is fetched, synced or healed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// Where a score comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SourceSpec {
    /// A repository of Git: it is followed.
    Git(GitSpec),
    /// A directory somebody applied. It is not followed: what was applied is kept true.
    Directory(DirectorySpec),
}

/// A directory somebody applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DirectorySpec {
    /// Its path, on the machine where it was applied.
    pub path: String,
}

/// A path in a repository at a branch, tag or commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GitSpec {
    /// The repository, without credentials.
    pub url: Remote,
    /// A branch, tag or commit. The repository's own choice (`HEAD`) without one.
    #[serde(default)]
    pub reference: Reference,
    /// The directory of the score in it. The root without one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// How often the repository is asked whether it has moved.
    #[serde(
        default = "GitSpec::interval",
        skip_serializing_if = "GitSpec::is_usual"
    )]
    pub interval: Interval,
    /// The Secret with the credentials, in the score's namespace. Without one, a Secret of type `consort.dev/git` there
    /// counts whose `url` is a prefix of the repository's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<String>,
    /// The Secret whose `token` the repository's webhook knows, in the score's namespace. No webhook is taken without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
}

impl GitSpec {
    /// How often a repository is asked when nothing is said.
    pub const INTERVAL: Interval = Interval(Duration::from_secs(60));

    fn interval() -> Interval {
        Self::INTERVAL
    }

    fn is_usual(interval: &Interval) -> bool {
        *interval == Self::INTERVAL
    }
}

/// How a score is kept true.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SyncSpec {
    /// Whether a new commit is carried out by itself.
    pub mode: SyncMode,
    /// Whether what is no longer in the source is deleted. As the parts say, if nothing is said here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prune: Option<bool>,
    /// Whether drift is put back by itself.
    pub self_heal: bool,
    /// How often what cannot be watched (resources of Terraform) is compared with the world.
    pub drift_interval: Interval,
    /// How often a commit that failed is tried again before it is left to people.
    pub retries: u32,
    /// When syncs and healing may be done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
}

impl Default for SyncSpec {
    fn default() -> Self {
        Self {
            mode: SyncMode::Automatic,
            prune: None,
            self_heal: true,
            drift_interval: Interval(Duration::from_secs(600)),
            retries: 5,
            windows: Vec::new(),
        }
    }
}

/// Whether a new commit is carried out by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncMode {
    /// It is.
    #[default]
    Automatic,
    /// When a person asks for it.
    Manual,
}

/// How a score stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// The generation of the spec this is about.
    pub observed_generation: i64,
    /// `Fetched`, `Synced`, `Drifted`, each with its reason and cause.
    pub conditions: Vec<Condition>,
    /// Where it comes from, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// The commit the source is at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitStatus>,
    /// The commit that was last found to be carried out, or to need nothing; and the generation it was planned for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synced: Option<Synced>,
    /// The revision of the score: that of its last operation.
    pub revision: u64,
    /// The blueprint that waits for an approval, or may not be carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingStatus>,
    /// The request for a sync that was tried last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handled: Option<String>,
    /// What failed last, and how often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// A commit, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitStatus {
    /// Its full id.
    pub id: String,
    /// The beginning of it.
    pub short: String,
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// The first line of its message.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
}

impl CommitStatus {
    /// A commit of which only the id is known.
    pub fn of_id(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            short: short(id).to_owned(),
            ..Self::default()
        }
    }
}

impl From<&consort_plan::Commit> for CommitStatus {
    fn from(commit: &consort_plan::Commit) -> Self {
        Self {
            short: short(&commit.id).to_owned(),
            id: commit.id.clone(),
            author: commit.author.clone(),
            time: Some(commit.time),
            subject: commit.subject.clone(),
        }
    }
}

/// The beginning of a commit's id, as people use it.
pub(crate) fn short(id: &str) -> &str {
    &id[..id.floor_char_boundary(8)]
}

/// A blueprint that is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitingStatus {
    /// Its id.
    pub blueprint: String,
    /// What it was made for: a commit, or the heal of a revision.
    pub what: String,
    /// What a policy says against it; none if it needs an approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied: Option<String>,
}

/// What was last found to be so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Synced {
    /// The commit.
    pub commit: String,
    /// The repository and the path in it.
    pub source: String,
    /// The revision of the score then.
    pub revision: u64,
}

/// What failed, and how often in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// What was tried: a commit, or the revision that was to be healed.
    pub what: String,
    /// How often it failed in a row.
    pub times: u32,
    /// When it failed last.
    pub last: Timestamp,
    /// Why, in a word.
    #[serde(default)]
    pub reason: String,
    /// Why, in a sentence.
    #[serde(default)]
    pub message: String,
}

fn is_default(spec: &SyncSpec) -> bool {
    *spec == SyncSpec::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_spec_reads_back_as_it_was_written() {
        let text = json!({
            "source": {"git": {
                "url": "https://host/org/repo.git", "reference": "main", "path": "deploy", "interval": "3m",
                "credentials": "repo",
            }},
            "sync": {
                "mode": "manual", "prune": false, "selfHeal": false, "driftInterval": "1h30m0s", "retries": 2,
                "windows": [{"kind": "deny", "schedule": "0 22 * * *", "duration": "8h"}],
            },
            "suspend": true,
        });
        let spec: Spec = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(serde_json::to_value(&spec).unwrap(), text);
        assert_eq!(
            serde_json::from_value::<Spec>(json!({})).unwrap(),
            Spec::default()
        );
    }

    #[test]
    fn what_a_spec_cannot_mean_is_refused_with_its_reason() {
        for (spec, says) in [
            (
                json!({"source": {"git": {"url": "ext::sh -c x"}}}),
                "no address",
            ),
            (
                json!({"source": {"git": {"url": "https://u:p@host/x"}}}),
                "credentials",
            ),
            (
                json!({"source": {"git": {"url": "/x", "branch": "main"}}}),
                "branch",
            ),
            (
                json!({"source": {"git": {"url": "/x", "interval": "0s"}}}),
                "one second",
            ),
            (json!({"sync": {"mode": "sometimes"}}), "sometimes"),
        ] {
            let error = serde_json::from_value::<Spec>(spec.clone()).unwrap_err();
            assert!(error.to_string().contains(says), "{spec}: {error}");
        }
    }
}
