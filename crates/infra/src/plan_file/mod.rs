//! Saved plans: everything an apply needs, in one file of our own format.
//!
//! The file is compressed JSON. Values stand in it as MessagePack with their types, so that unknown parts and
//! what is known of them come back as they were; sensitive values are in it in the clear, as in a state. The
//! texts of the configuration's files are in it too: a plan is applied to what it was made from, whatever has become
//! of the files. What a file holds beside them is read by `file()` and the like when it is applied, as in Terraform.

mod change;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use consort_hcl::{Marks, Sources, Value};
use serde::{Deserialize, Serialize};

use crate::config::Snapshot;
use crate::engine::{CheckResults, Deferred, DeferredReason, Mode, Plan};
use crate::install::{LOCK_FILE, Locks, Manifest};
use crate::state::{State, TERRAFORM_VERSION};
use change::{
    FileChange, FileOutput, FilePath, FileValue, put_change, put_path, take_change, take_path,
};

/// How much a plan may hold once it is unpacked: a bound against hostile files.
const MOST_BYTES: u64 = 2 << 30;
const FORMAT: &str = "consort plan";
const FORMAT_VERSION: u32 = 2;

/// What can be wrong with a saved plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a plan of this program.
    #[error("the file is not a saved plan of this program: {0}")]
    Invalid(String),
    /// Made by another version.
    #[error("the saved plan has format {0}; this program reads format {FORMAT_VERSION}")]
    Version(u32),
    /// Made by another release.
    #[error(
        "plan file was created by Terraform {0}, but this is {TERRAFORM_VERSION}; plan files cannot be transferred between different Terraform versions"
    )]
    Release(String),
    /// The state has moved.
    #[error(
        "The given plan file can no longer be applied because the state was changed by another operation after the plan was created."
    )]
    Stale,
    /// The state is another one.
    #[error(
        "The given plan file can not be applied because it was created from a different state lineage."
    )]
    Lineage,
    /// Other providers are selected now.
    #[error(
        "The given plan file was created with a different set of external dependency selections than the current configuration. A saved plan can be applied only to the same configuration it was created from.\n\nCreate a new plan from the updated configuration."
    )]
    Locks,
}

impl Error {
    /// A few words for what went wrong.
    pub fn summary(&self) -> &'static str {
        match self {
            Error::Invalid(_) | Error::Version(_) | Error::Release(_) => "Invalid plan file",
            Error::Stale => "Saved plan is stale",
            Error::Lineage => "Saved plan does not match the given state",
            Error::Locks => "Inconsistent dependency lock file",
        }
    }
}

/// Where a plan was made, beside the state it was made from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The configuration.
    pub snapshot: Snapshot,
    /// The text of the lock file; empty if there is none.
    pub locks: String,
    /// Where the state is kept.
    pub backend: Backend,
    /// The ephemeral variables that had a value: they have to be given again, being in no file.
    pub ephemeral: BTreeSet<Arc<str>>,
}

/// The backend of a state.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Backend {
    /// The backend's type.
    pub kind: String,
    /// The arguments it was given.
    pub arguments: serde_json::Map<String, serde_json::Value>,
    /// The workspace.
    pub workspace: String,
}

/// A plan with all that it is to be applied with.
#[derive(Debug)]
pub struct PlanFile {
    /// The plan.
    pub plan: Plan,
    /// Where it was made.
    pub origin: Origin,
}

/// What every version of the format has.
#[derive(Deserialize)]
struct Header {
    format: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct File {
    format: String,
    version: u32,
    terraform_version: String,
    mode: u8,
    timestamp: String,
    errored: bool,
    targets: Vec<String>,
    excluded: Vec<String>,
    changes: Vec<FileChange>,
    drift: Vec<FileChange>,
    deferred: Vec<FileDeferred>,
    outputs: BTreeMap<String, FileOutput>,
    checks: Option<String>,
    previous_state: String,
    prior_state: String,
    variables: BTreeMap<String, FileValue>,
    given: BTreeMap<String, FileValue>,
    relevant: Vec<(String, FilePath)>,
    create_before_destroy: Vec<String>,
    root: String,
    files: BTreeMap<String, String>,
    modules: String,
    locks: String,
    backend: Backend,
    ephemeral: BTreeSet<Arc<str>>,
}

#[derive(Serialize, Deserialize)]
struct FileDeferred {
    resource: String,
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    change: Option<FileChange>,
}

fn invalid(error: impl std::fmt::Display) -> Error {
    Error::Invalid(error.to_string())
}

/// Values that are in no file.
fn is_ephemeral(value: Option<&Value>) -> bool {
    value.is_some_and(|value| value.deep_marks().intersects(Marks::EPHEMERAL))
}

/// The plan as a file.
///
/// # Errors
/// [`Error::Invalid`] when a value of the plan cannot be written.
pub fn write(plan: &Plan, origin: &Origin) -> Result<Vec<u8>, Error> {
    let checks = State {
        check_results: plan.checks.to_state(),
        ..State::default()
    };
    let file = File {
        format: FORMAT.to_owned(),
        version: FORMAT_VERSION,
        terraform_version: TERRAFORM_VERSION.to_owned(),
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
                Ok(FileDeferred {
                    resource: deferred.resource.to_string(),
                    reason: deferred.reason.word().to_owned(),
                    change: deferred.change.as_deref().map(put_change).transpose()?,
                })
            })
            .collect::<Result<_, Error>>()?,
        outputs: plan
            .outputs
            .iter()
            .map(|(name, change)| Ok((name.to_string(), FileOutput::put(change)?)))
            .collect::<Result<_, Error>>()?,
        checks: checks.check_results.is_some().then(|| checks.write()),
        previous_state: plan.previous_state.write(),
        prior_state: plan.prior_state.write(),
        variables: plan
            .variables
            .iter()
            .filter(|(_, value)| !is_ephemeral(Some(value)))
            .map(|(name, value)| Ok((name.to_string(), FileValue::put(value)?)))
            .collect::<Result<_, Error>>()?,
        given: plan
            .given
            .iter()
            .filter(|(name, _)| !is_ephemeral(plan.variables.get(*name)))
            .map(|(name, value)| Ok((name.to_string(), FileValue::put(value)?)))
            .collect::<Result<_, Error>>()?,
        relevant: plan
            .relevant
            .iter()
            .map(|(address, path)| Ok((address.to_string(), put_path(path)?)))
            .collect::<Result<_, Error>>()?,
        create_before_destroy: plan
            .create_before_destroy
            .iter()
            .map(ToString::to_string)
            .collect(),
        root: origin.snapshot.root.to_string_lossy().into_owned(),
        files: origin
            .snapshot
            .files
            .iter()
            .map(|(path, text)| (path.to_string_lossy().into_owned(), text.to_string()))
            .collect(),
        modules: origin.snapshot.manifest.text().map_err(invalid)?,
        locks: origin.locks.clone(),
        backend: origin.backend.clone(),
        ephemeral: origin.ephemeral.clone(),
    };
    // Packed while it is written: the text of a large plan is larger than all else about it.
    let packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut packed = std::io::BufWriter::with_capacity(1 << 16, packed);
    serde_json::to_writer(&mut packed, &file).map_err(invalid)?;
    let packed = packed
        .into_inner()
        .map_err(|failed| invalid(failed.error()))?;
    packed.finish().map_err(invalid)
}

/// Reads a saved plan.
///
/// # Errors
/// [`Error::Invalid`], [`Error::Version`] and [`Error::Release`].
pub fn read(bytes: &[u8]) -> Result<PlanFile, Error> {
    let mut text = Vec::new();
    flate2::read::ZlibDecoder::new(bytes)
        .take(MOST_BYTES)
        .read_to_end(&mut text)
        .map_err(invalid)?;
    let header: Header = serde_json::from_slice(&text).map_err(invalid)?;
    if header.format != FORMAT {
        return Err(Error::Invalid(format!("its format is {:?}", header.format)));
    }
    if header.version != FORMAT_VERSION {
        return Err(Error::Version(header.version));
    }
    let file: File = serde_json::from_slice(&text).map_err(invalid)?;
    if file.terraform_version != TERRAFORM_VERSION {
        return Err(Error::Release(file.terraform_version));
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
            .map(|deferred| {
                let reason = DeferredReason::from_word(&deferred.reason).ok_or_else(|| {
                    Error::Invalid(format!("an unknown reason {:?}", deferred.reason))
                })?;
                Ok(Deferred {
                    resource: deferred.resource.parse().map_err(invalid)?,
                    reason,
                    change: deferred
                        .change
                        .map(|change| take_change(change).map(Box::new))
                        .transpose()?,
                })
            })
            .collect::<Result<_, Error>>()?,
        outputs: file
            .outputs
            .into_iter()
            .map(|(name, output)| Ok((Arc::from(name), output.take()?)))
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
            // That these had a value is known, and no more.
            .chain(file.ephemeral.iter().map(|name| {
                let value = Value::DYNAMIC.with_marks(Marks::EPHEMERAL);
                Ok((name.clone(), value))
            }))
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
        create_before_destroy: file
            .create_before_destroy
            .iter()
            .map(|text| text.parse().map_err(invalid))
            .collect::<Result<_, _>>()?,
        timestamp: file.timestamp,
        errored: file.errored,
    };
    let manifest = Manifest::parse(file.modules.as_bytes(), Path::new("the saved plan"))
        .map_err(|error| Error::Invalid(error.to_string()))?;
    Ok(PlanFile {
        plan,
        origin: Origin {
            snapshot: Snapshot {
                root: file.root.into(),
                files: file
                    .files
                    .into_iter()
                    .map(|(path, text)| (path.into(), text.into()))
                    .collect(),
                manifest,
            },
            locks: file.locks,
            backend: file.backend,
            ephemeral: file.ephemeral,
        },
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

    /// Whether the same providers are selected in a directory as were where the plan was made.
    ///
    /// # Errors
    /// [`Error::Locks`].
    pub fn check_locks(&self, current: &Locks) -> Result<(), Error> {
        if *current == self.locks() {
            Ok(())
        } else {
            Err(Error::Locks)
        }
    }

    /// The providers that were selected.
    pub fn locks(&self) -> Locks {
        Locks::parse(self.origin.locks.as_bytes(), LOCK_FILE, &mut Sources::new()).0
    }
}
