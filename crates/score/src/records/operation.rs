//! Operations as objects. The name of an operation is its score's and its revision; creating it is what makes a revision, and
//! of two who try only one succeeds.

use consort_plan::{Entry, Moved, Operation, Phase, Stale};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt as _;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::seal::{What, bytes, post, unpack};
use super::{
    Error, FIELD_MANAGER, Kind, Recorder, Records, SCORE_LABEL, code, doing, labelled, owner,
};

/// The fields of an operation that change while it runs.
const STATUS: [&str; 5] = ["ended", "phase", "done", "failed", "skipped"];

/// Says in the object of a blueprint under which name its sources are kept.
const SOURCES: &str = "consort.dev/sources";

/// So many objects are asked for at once.
const PAGE: u32 = 500;

/// An operation that could not be begun or gone on with.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// Another came first.
    #[error(transparent)]
    Stale(Box<Stale>),
    /// It could not be recorded.
    #[error(transparent)]
    Records(#[from] Error),
}

/// The name of the object of an operation.
pub(super) fn name(score: &str, revision: u64) -> String {
    format!("{score}-{revision}")
}

/// Spec and status of an operation.
pub(super) fn split(operation: &Operation) -> (Value, Value) {
    let mut spec = serde_json::to_value(operation).unwrap_or_default();
    let mut status = serde_json::Map::new();
    if let Value::Object(spec) = &mut spec {
        for field in STATUS {
            if let Some(value) = spec.shift_remove(field) {
                status.insert(field.to_owned(), value);
            }
        }
    }
    (spec, Value::Object(status))
}

fn read(object: &DynamicObject) -> Result<Operation, Error> {
    let mut fields = match object.data.get("spec") {
        Some(Value::Object(spec)) => spec.clone(),
        _ => serde_json::Map::new(),
    };
    let status = object.data.get("status");
    for field in STATUS {
        if let Some(value) = status.and_then(|status| status.get(field)) {
            fields.insert(field.to_owned(), value.clone());
        }
    }
    // An operation that has only begun has no status yet.
    fields
        .entry("phase")
        .or_insert_with(|| json!(Phase::Running));
    for count in ["done", "failed", "skipped"] {
        fields.entry(count).or_insert_with(|| json!(0));
    }
    serde_json::from_value(Value::Object(fields)).map_err(|error| Error::Unreadable {
        what: format!("the operation {}", object.name_any()),
        why: error.to_string(),
    })
}

impl Records {
    /// Begins an operation: it becomes the revision of its score, which must be one more than the present one.
    ///
    /// Whatever was under way before is given up with this; hold the score's [`Lock`](super::Lock).
    pub async fn begin(&self, operation: &Operation) -> Result<Recorder, BeginError> {
        let name = name(&operation.score, operation.revision);
        let about = || format!("beginning the operation {name}");
        let before = self.operations(&operation.score).await?;
        let present = before.last().map_or(0, |last| last.revision);
        let stale = |before: &[Operation]| {
            BeginError::Stale(Box::new(overtaken(
                operation.revision.saturating_sub(1),
                before,
            )))
        };
        if operation.revision != present + 1 {
            return Err(stale(&before));
        }
        let (spec, _) = split(operation);
        let mut object = DynamicObject::new(&name, &Kind::Operation.resource());
        object.metadata.labels = Some([(SCORE_LABEL.to_owned(), operation.score.clone())].into());
        object.data = json!({ "spec": spec });
        let created = match self.objects(Kind::Operation).create(&post(), &object).await {
            Err(error) if code(&error) == Some(409) => {
                return Err(stale(&self.operations(&operation.score).await?));
            }
            created => doing(about, created)?,
        };
        if let Some(last) = before.last()
            && last.phase == Phase::Running
        {
            let status = json!({"status": {"phase": Phase::Cancelled, "ended": Timestamp::now()}});
            self.patch_operation(&last.score, last.revision, &status)
                .await?;
        }
        let owner = owner(Kind::Operation, &created);
        Ok(Recorder::new(self.clone(), operation.clone(), owner))
    }

    /// Goes on with the latest operation of a score: gives it, what its record holds, and what takes more.
    ///
    /// # Errors
    /// [`BeginError::Stale`] if there is a later one.
    pub async fn reopen(
        &self,
        score: &str,
        revision: u64,
    ) -> Result<(Vec<Entry>, Recorder), BeginError> {
        let name = name(score, revision);
        let about = || format!("going on with the operation {name}");
        let before = self.operations(score).await?;
        if before.last().is_some_and(|last| last.revision > revision) {
            return Err(BeginError::Stale(Box::new(overtaken(revision, &before))));
        }
        let found = doing(about, self.objects(Kind::Operation).get_opt(&name).await)?;
        let Some(object) = found else {
            return Err(BeginError::Records(Error::Missing {
                what: format!("operation {name}"),
            }));
        };
        let mut operation = read(&object)?;
        let status = json!({"status": {"phase": Phase::Running, "ended": null}});
        self.patch_operation(score, revision, &status).await?;
        operation.phase = Phase::Running;
        operation.ended = None;
        let (entries, chunks, tail) = self.read_record(&name).await?;
        let owner = owner(Kind::Operation, &object);
        let recorder = Recorder::reopened(self.clone(), operation, owner, chunks, tail);
        Ok((entries, recorder))
    }

    pub(super) async fn patch_operation(
        &self,
        score: &str,
        revision: u64,
        patch: &Value,
    ) -> Result<(), Error> {
        let name = name(score, revision);
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let objects = self.objects(Kind::Operation);
        let patched = objects
            .patch_status(&name, &params, &Patch::Merge(patch))
            .await;
        doing(
            || format!("recording the state of the operation {name}"),
            patched,
        )?;
        Ok(())
    }

    /// The operations of a score, the oldest first; none where the kinds were never installed.
    pub async fn operations(&self, score: &str) -> Result<Vec<Operation>, Error> {
        let about = format!("listing the operations of {score}");
        self.list_operations(labelled(score), about).await
    }

    /// The operations of all scores, by score and then the oldest first; none where the kinds were never installed.
    pub async fn all_operations(&self) -> Result<Vec<Operation>, Error> {
        let about = "listing the operations".to_owned();
        self.list_operations(ListParams::default(), about).await
    }

    async fn list_operations(
        &self,
        params: ListParams,
        about: String,
    ) -> Result<Vec<Operation>, Error> {
        let objects = self.objects(Kind::Operation);
        let mut params = params.limit(PAGE);
        let mut operations = Vec::new();
        loop {
            let page = match objects.list(&params).await {
                // Nothing was ever recorded here.
                Err(error) if code(&error) == Some(404) => break,
                page => doing(|| about.clone(), page)?,
            };
            for object in &page.items {
                operations.push(read(object)?);
            }
            match page.metadata.continue_ {
                Some(next) if !next.is_empty() => params.continue_token = Some(next),
                _ => break,
            }
        }
        operations.sort_by(|a, b| (&a.score, a.revision).cmp(&(&b.score, b.revision)));
        Ok(operations)
    }

    /// An operation.
    pub async fn operation(&self, score: &str, revision: u64) -> Result<Option<Operation>, Error> {
        let name = name(score, revision);
        let about = || format!("reading the operation {name}");
        let object = doing(about, self.objects(Kind::Operation).get_opt(&name).await)?;
        object.as_ref().map(read).transpose()
    }

    /// The latest operation of a score; none before its first.
    pub async fn latest(&self, score: &str) -> Result<Option<Operation>, Error> {
        Ok(self.operations(score).await?.pop())
    }

    /// The present revision of a score; zero before its first operation.
    pub async fn revision(&self, score: &str) -> Result<u64, Error> {
        Ok(self.latest(score).await?.map_or(0, |last| last.revision))
    }

    /// What an operation's record holds, in the order things happened.
    pub async fn entries(&self, score: &str, revision: u64) -> Result<Vec<Entry>, Error> {
        Ok(self.read_record(&name(score, revision)).await?.0)
    }

    /// The entries, how many chunks there are, and the last.
    async fn read_record(&self, name: &str) -> Result<(Vec<Entry>, usize, Option<Secret>), Error> {
        let secrets = self.secrets();
        let mut entries = Vec::new();
        let mut last = None;
        let mut count = 0;
        loop {
            let chunk = What::Record.chunk(name, count);
            let about = || format!("reading the record of the operation {name}");
            let Some(secret) = doing(about, secrets.get_opt(&chunk).await)? else {
                return Ok((entries, count, last));
            };
            let unreadable = |why: String| Error::Unreadable {
                what: format!("the record of the operation {name}"),
                why: format!("{chunk}: {why}"),
            };
            last = Some(secret.clone());
            let lines = unpack(bytes(secret))
                .await
                .map_err(|error| unreadable(error.to_string()))?;
            for line in lines.split(|byte| *byte == b'\n') {
                if !line.is_empty() {
                    let entry = serde_json::from_slice(line);
                    entries.push(entry.map_err(|error| unreadable(error.to_string()))?);
                }
            }
            count += 1;
        }
    }

    /// Keeps the sources of a revision (a compressed archive). Revisions with the same sources keep them once.
    pub async fn put_snapshot(
        &self,
        score: &str,
        revision: u64,
        archive: Vec<u8>,
    ) -> Result<(), Error> {
        let name = name(score, revision);
        let about = || format!("keeping the sources of the operation {name}");
        let object = doing(about, self.objects(Kind::Operation).get(&name).await)?;
        let owner = owner(Kind::Operation, &object);
        let of = self.keep_sources(score, owner, archive).await?;
        self.patch_operation(score, revision, &json!({"status": {"snapshot": of}}))
            .await
    }

    /// Keeps the sources a blueprint was made from, so that it can be carried out later and elsewhere. They are kept once with
    /// those of the revision it becomes.
    pub async fn put_sources(&self, blueprint: &str, archive: Vec<u8>) -> Result<(), Error> {
        let about = || format!("keeping the sources of the blueprint {blueprint}");
        let objects = self.objects(Kind::Blueprint);
        let object = doing(about, objects.get(blueprint).await)?;
        let score = object.labels().get(SCORE_LABEL).cloned();
        let owner = owner(Kind::Blueprint, &object);
        let of = self
            .keep_sources(&score.unwrap_or_default(), owner, archive)
            .await?;
        let patch = json!({"metadata": {"annotations": {SOURCES: of}}});
        let patched = objects
            .patch(blueprint, &PatchParams::default(), &Patch::Merge(&patch))
            .await;
        doing(about, patched)?;
        Ok(())
    }

    /// The sources a blueprint was made from, if they were kept.
    pub async fn sources(&self, blueprint: &str) -> Result<Option<Vec<u8>>, Error> {
        let about = || format!("reading the sources of the blueprint {blueprint}");
        let found = doing(
            about,
            self.objects(Kind::Blueprint).get_opt(blueprint).await,
        )?;
        match found.as_ref().and_then(|it| it.annotations().get(SOURCES)) {
            Some(of) => self.unseal(What::Snapshot, of).await,
            None => Ok(None),
        }
    }

    /// Keeps sources under their digest, for one more owner. Gives the name.
    async fn keep_sources(
        &self,
        score: &str,
        owner: OwnerReference,
        archive: Vec<u8>,
    ) -> Result<String, Error> {
        use std::fmt::Write as _;
        let about = || format!("keeping sources of {score}");
        let mut digest = String::new();
        for byte in Sha256::digest(&archive).iter().take(10) {
            let _ = write!(digest, "{byte:02x}");
        }
        let of = format!("{score}.{digest}");
        self.seal(What::Snapshot, &of, score, &owner, archive)
            .await?;
        // Where another revision made it, this one must keep it too.
        let secrets = self.secrets();
        for number in 0.. {
            let chunk = What::Snapshot.chunk(&of, number);
            let found = doing(about, secrets.get_metadata_opt(&chunk).await)?;
            let Some(found) = found else {
                break;
            };
            let mut owners = found.owner_references().to_vec();
            if owners.iter().any(|other| other.uid == owner.uid) {
                continue;
            }
            owners.push(owner.clone());
            let patch = json!({"metadata": {
                "resourceVersion": found.resource_version(),
                "ownerReferences": owners,
            }});
            let params = PatchParams::default();
            let patched = secrets
                .patch_metadata(&chunk, &params, &Patch::Merge(&patch))
                .await;
            doing(about, patched)?;
        }
        Ok(of)
    }

    /// The sources of a revision.
    pub async fn snapshot(&self, score: &str, revision: u64) -> Result<Option<Vec<u8>>, Error> {
        let name = name(score, revision);
        let about = || format!("reading the sources of the operation {name}");
        let object = doing(about, self.objects(Kind::Operation).get_opt(&name).await)?;
        let of = object
            .as_ref()
            .and_then(|object| object.data.pointer("/status/snapshot")?.as_str());
        match of {
            Some(of) => self.unseal(What::Snapshot, of).await,
            None => Ok(None),
        }
    }
}

/// What has come since a revision.
fn overtaken(revision: u64, operations: &[Operation]) -> Stale {
    let present = operations.last().map_or(0, |last| last.revision);
    let since = operations
        .iter()
        .filter(|operation| operation.revision > revision);
    Stale {
        revisions: Some((revision, present)),
        moved: since
            .map(|operation| Moved {
                what: format!("revision {}", operation.revision),
                how: format!(
                    "{:?}, {}",
                    operation.phase,
                    operation.cause.as_deref().unwrap_or(match operation.mode {
                        consort_plan::Mode::Apply => "applied",
                        consort_plan::Mode::Destroy => "destroyed",
                        consort_plan::Mode::Rollback { .. } => "rolled back",
                        consort_plan::Mode::Heal => "healed",
                    })
                ),
                by: Some(operation.author.clone()),
            })
            .collect(),
    }
}
