//! Saved plans: everything an apply needs, in one file of our own format.
//!
//! The file is compressed JSON. Values stand in it as MessagePack with their types, so that unknown parts and
//! what is known of them come back as they were; sensitive values are in it in the clear, as in a state.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use consort_hcl::{Marks, Path, Sources, Step, Type, Value, msgpack};
use serde::{Deserialize, Serialize};

use crate::engine::{
    Action, Change, CheckResults, Deferred, DeferredReason, Importing, Mode, OutputChange, Plan,
    Reason,
};
use crate::state::State;

/// How much a plan may hold once it is unpacked: a bound against hostile files.
const MOST_BYTES: u64 = 2 << 30;
const FORMAT: &str = "consort plan";

/// What can be wrong with a saved plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a plan of this program.
    #[error("the file is not a saved plan of this program: {0}")]
    Invalid(String),
    /// Made by another version.
    #[error("the saved plan has format {0}; this program reads format 1")]
    Version(u32),
    /// The state has moved.
    #[error(
        "Saved plan is stale: The given plan file can no longer be applied because the state was changed by another operation after the plan was created."
    )]
    Stale,
    /// The state is another one.
    #[error(
        "Saved plan does not match the given state: The given plan file can not be applied because it was created from a different state lineage."
    )]
    Lineage,
    /// The configuration has changed.
    #[error("the configuration file {0} has changed since the plan was made; make a new plan")]
    Configuration(String),
}

/// A plan with the texts it was made from.
#[derive(Debug)]
pub struct PlanFile {
    /// The plan.
    pub plan: Plan,
    /// The configuration files, by name.
    pub sources: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize)]
struct File {
    format: String,
    version: u32,
    mode: u8,
    timestamp: String,
    errored: bool,
    targets: Vec<String>,
    excluded: Vec<String>,
    changes: Vec<FileChange>,
    drift: Vec<FileChange>,
    deferred: Vec<(String, String)>,
    outputs: BTreeMap<String, FileOutput>,
    checks: Option<String>,
    previous_state: String,
    prior_state: String,
    variables: BTreeMap<String, FileValue>,
    #[serde(default)]
    given: BTreeMap<String, FileValue>,
    relevant: Vec<(String, FilePath)>,
    dependencies: BTreeMap<String, Vec<String>>,
    create_before_destroy: Vec<String>,
    sources: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize)]
struct FileValue {
    value: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sensitive: Vec<FilePath>,
}

type FilePath = Vec<FileStep>;

#[derive(Serialize, Deserialize)]
enum FileStep {
    Attribute(String),
    Index(String),
}

#[derive(Serialize, Deserialize)]
struct FileChange {
    address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous_address: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deposed: Option<String>,
    provider: String,
    actions: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    before: FileValue,
    after: FileValue,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    replace_paths: Vec<FilePath>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    private: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    importing: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    generated_config: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct FileOutput {
    actions: Vec<String>,
    before: FileValue,
    after: FileValue,
    sensitive: bool,
}

fn invalid(error: impl std::fmt::Display) -> Error {
    Error::Invalid(error.to_string())
}

fn put_value(value: &Value) -> Result<String, Error> {
    msgpack::encode(value, &Type::Dynamic)
        .map(|bytes| STANDARD.encode(bytes))
        .map_err(invalid)
}

fn take_value(text: &str) -> Result<Value, Error> {
    msgpack::decode(&STANDARD.decode(text).map_err(invalid)?, &Type::Dynamic).map_err(invalid)
}

impl FileValue {
    fn put(value: &Value) -> Result<Self, Error> {
        let (plain, marks) = value.unmark_deep_with_paths();
        let sensitive = marks
            .iter()
            .filter(|(_, marks)| marks.intersects(Marks::SENSITIVE))
            .map(|(path, _)| put_path(path))
            .collect::<Result<_, _>>()?;
        Ok(FileValue {
            value: put_value(&plain)?,
            sensitive,
        })
    }

    fn take(&self) -> Result<Value, Error> {
        let value = take_value(&self.value)?;
        let marks: Vec<_> = self
            .sensitive
            .iter()
            .map(|path| Ok((take_path(path)?, Marks::SENSITIVE)))
            .collect::<Result<_, Error>>()?;
        Ok(value.mark_paths(&marks))
    }
}

fn put_path(path: &Path) -> Result<FilePath, Error> {
    path.steps()
        .iter()
        .map(|step| match step {
            Step::Attribute(name) => Ok(FileStep::Attribute(name.to_string())),
            Step::Index(key) => put_value(key).map(FileStep::Index),
        })
        .collect()
}

fn take_path(steps: &FilePath) -> Result<Path, Error> {
    steps
        .iter()
        .map(|step| match step {
            FileStep::Attribute(name) => Ok(Step::Attribute(name.as_str().into())),
            FileStep::Index(key) => take_value(key).map(Step::Index),
        })
        .collect::<Result<_, _>>()
        .map(Path)
}

fn put_action(action: Action) -> Vec<String> {
    action
        .words()
        .iter()
        .map(|word| (*word).to_owned())
        .collect()
}

fn take_action(words: &[String]) -> Result<Action, Error> {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    Action::from_words(&words).ok_or_else(|| Error::Invalid(format!("an unknown action {words:?}")))
}

fn put_change(change: &Change) -> Result<FileChange, Error> {
    Ok(FileChange {
        address: change.address.to_string(),
        previous_address: (change.previous_address != change.address)
            .then(|| change.previous_address.to_string()),
        deposed: change.deposed.as_ref().map(ToString::to_string),
        provider: change.provider.to_string(),
        actions: put_action(change.action),
        reason: change.reason.map(|reason| reason.word().to_owned()),
        before: FileValue::put(&change.before)?,
        after: FileValue::put(&change.after)?,
        replace_paths: change
            .replace_paths
            .iter()
            .map(put_path)
            .collect::<Result<_, _>>()?,
        private: STANDARD.encode(&change.private),
        importing: change
            .importing
            .as_ref()
            .map(|importing| importing.id.clone()),
        generated_config: change.generated_config.clone(),
    })
}

fn take_change(change: FileChange) -> Result<Change, Error> {
    let address: crate::address::ResourceInstance = change.address.parse().map_err(invalid)?;
    Ok(Change {
        previous_address: match change.previous_address {
            Some(text) => text.parse().map_err(invalid)?,
            None => address.clone(),
        },
        address,
        deposed: change.deposed.map(Arc::from),
        provider: change.provider.parse().map_err(invalid)?,
        action: take_action(&change.actions)?,
        reason: change.reason.as_deref().and_then(Reason::from_word),
        before: change.before.take()?,
        after: change.after.take()?,
        replace_paths: change
            .replace_paths
            .iter()
            .map(take_path)
            .collect::<Result<_, _>>()?,
        private: Bytes::from(STANDARD.decode(&change.private).map_err(invalid)?),
        importing: change.importing.map(|id| Importing { id }),
        generated_config: change.generated_config,
    })
}

/// The plan as a file. `sources` are the texts of its configuration.
///
/// # Errors
/// [`Error::Invalid`] when a value of the plan cannot be written.
pub fn write(plan: &Plan, sources: &Sources) -> Result<Vec<u8>, Error> {
    let checks = State {
        check_results: plan.checks.to_state(),
        ..State::default()
    };
    let file = File {
        format: FORMAT.to_owned(),
        version: 1,
        mode: match plan.mode {
            Mode::Normal => 0,
            Mode::Destroy => 1,
            Mode::RefreshOnly => 2,
        },
        timestamp: plan.timestamp.clone(),
        errored: plan.errored,
        targets: plan.targets.iter().map(ToString::to_string).collect(),
        excluded: plan.excluded.iter().map(ToString::to_string).collect(),
        changes: plan
            .changes
            .iter()
            .map(put_change)
            .collect::<Result<_, _>>()?,
        drift: plan
            .drift
            .iter()
            .map(put_change)
            .collect::<Result<_, _>>()?,
        deferred: plan
            .deferred
            .iter()
            .map(|deferred| {
                (
                    deferred.resource.to_string(),
                    deferred.reason.word().to_owned(),
                )
            })
            .collect(),
        outputs: plan
            .outputs
            .iter()
            .map(|(name, change)| {
                let output = FileOutput {
                    actions: put_action(change.action),
                    before: FileValue::put(&change.before)?,
                    after: FileValue::put(&change.after)?,
                    sensitive: change.sensitive,
                };
                Ok((name.to_string(), output))
            })
            .collect::<Result<_, Error>>()?,
        checks: checks.check_results.is_some().then(|| checks.write()),
        previous_state: plan.previous_state.write(),
        prior_state: plan.prior_state.write(),
        variables: plan
            .variables
            .iter()
            .map(|(name, value)| Ok((name.to_string(), FileValue::put(value)?)))
            .collect::<Result<_, Error>>()?,
        given: plan
            .given
            .iter()
            .map(|(name, value)| Ok((name.to_string(), FileValue::put(value)?)))
            .collect::<Result<_, Error>>()?,
        relevant: plan
            .relevant
            .iter()
            .map(|(address, path)| Ok((address.to_string(), put_path(path)?)))
            .collect::<Result<_, Error>>()?,
        dependencies: plan
            .dependencies
            .iter()
            .map(|(block, list)| {
                (
                    block.to_string(),
                    list.iter().map(ToString::to_string).collect(),
                )
            })
            .collect(),
        create_before_destroy: plan
            .create_before_destroy
            .iter()
            .map(ToString::to_string)
            .collect(),
        sources: sources
            .iter()
            .map(|source| (source.name().to_string(), source.text().to_owned()))
            .collect(),
    };
    let text = serde_json::to_vec(&file).map_err(invalid)?;
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&text).map_err(invalid)?;
    packed.finish().map_err(invalid)
}

/// Reads a saved plan.
///
/// # Errors
/// [`Error::Invalid`] and [`Error::Version`].
pub fn read(bytes: &[u8]) -> Result<PlanFile, Error> {
    let mut text = Vec::new();
    flate2::read::ZlibDecoder::new(bytes)
        .take(MOST_BYTES)
        .read_to_end(&mut text)
        .map_err(invalid)?;
    let file: File = serde_json::from_slice(&text).map_err(invalid)?;
    if file.format != FORMAT {
        return Err(Error::Invalid(format!("its format is {:?}", file.format)));
    }
    if file.version != 1 {
        return Err(Error::Version(file.version));
    }
    let state = |text: &str| State::read(text).map_err(invalid);
    let plan = Plan {
        mode: match file.mode {
            0 => Mode::Normal,
            1 => Mode::Destroy,
            2 => Mode::RefreshOnly,
            other => return Err(Error::Invalid(format!("an unknown mode {other}"))),
        },
        changes: file
            .changes
            .into_iter()
            .map(take_change)
            .collect::<Result<_, _>>()?,
        drift: file
            .drift
            .into_iter()
            .map(take_change)
            .collect::<Result<_, _>>()?,
        deferred: file
            .deferred
            .into_iter()
            .map(|(resource, reason)| {
                let reason = DeferredReason::from_word(&reason)
                    .ok_or_else(|| Error::Invalid(format!("an unknown reason {reason:?}")))?;
                Ok(Deferred {
                    resource: resource.parse().map_err(invalid)?,
                    reason,
                })
            })
            .collect::<Result<_, Error>>()?,
        outputs: file
            .outputs
            .into_iter()
            .map(|(name, output)| {
                let change = OutputChange {
                    action: take_action(&output.actions)?,
                    before: output.before.take()?,
                    after: output.after.take()?,
                    sensitive: output.sensitive,
                };
                Ok((Arc::from(name), change))
            })
            .collect::<Result<_, Error>>()?,
        checks: match &file.checks {
            Some(text) => state(text)?
                .check_results
                .map_or_else(CheckResults::default, |found| {
                    CheckResults::from_state(&found)
                }),
            None => CheckResults::default(),
        },
        previous_state: state(&file.previous_state)?,
        prior_state: state(&file.prior_state)?,
        variables: file
            .variables
            .into_iter()
            .map(|(name, value)| Ok((Arc::from(name), value.take()?)))
            .collect::<Result<_, Error>>()?,
        given: file
            .given
            .into_iter()
            .map(|(name, value)| Ok((Arc::from(name), value.take()?)))
            .collect::<Result<_, Error>>()?,
        relevant: file
            .relevant
            .into_iter()
            .map(|(address, path)| Ok((address.parse().map_err(invalid)?, take_path(&path)?)))
            .collect::<Result<_, Error>>()?,
        targets: file
            .targets
            .iter()
            .map(|text| text.parse().map_err(invalid))
            .collect::<Result<_, _>>()?,
        excluded: file
            .excluded
            .iter()
            .map(|text| text.parse().map_err(invalid))
            .collect::<Result<_, _>>()?,
        dependencies: file
            .dependencies
            .into_iter()
            .map(|(block, list)| {
                let list = list
                    .iter()
                    .map(|text| text.parse().map(Arc::new).map_err(invalid))
                    .collect::<Result<Arc<[_]>, Error>>()?;
                Ok((block.parse().map_err(invalid)?, list))
            })
            .collect::<Result<_, Error>>()?,
        create_before_destroy: file
            .create_before_destroy
            .iter()
            .map(|text| text.parse().map_err(invalid))
            .collect::<Result<_, _>>()?,
        timestamp: file.timestamp,
        errored: file.errored,
    };
    Ok(PlanFile {
        plan,
        sources: file.sources,
    })
}

impl PlanFile {
    /// Whether the state is still the one the plan was made from.
    ///
    /// # Errors
    /// [`Error::Lineage`] and [`Error::Stale`].
    pub fn check_state(&self, current: &State) -> Result<(), Error> {
        let from = &self.plan.previous_state;
        if !current.is_empty() && !from.is_empty() && current.lineage != from.lineage {
            return Err(Error::Lineage);
        }
        if current.serial != from.serial && !(current.is_empty() && from.is_empty()) {
            return Err(Error::Stale);
        }
        Ok(())
    }

    /// Whether the configuration is still the one the plan was made from.
    ///
    /// # Errors
    /// [`Error::Configuration`].
    pub fn check_sources(&self, sources: &Sources) -> Result<(), Error> {
        for (name, text) in &self.sources {
            match sources.by_name(name) {
                Some(source) if source.text() == text => {}
                _ => return Err(Error::Configuration(name.clone())),
            }
        }
        Ok(())
    }
}
