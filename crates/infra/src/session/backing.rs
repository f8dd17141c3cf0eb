//! Where the state of a configuration is: its backend with a workspace selected, and the state itself, held while it
//! is worked on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use consort_backend::{
    Backend, Error, Holder, Kind, LockInfo, Settings, SettingsError, Snapshots, acquire,
};
use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::json;
use serde_json::{Map, Value};

use super::sealed::{Encrypted, journal_key};
use super::{causes, error};
use crate::config::{self, Module};
use crate::encryption::{Encryption, Target, is_sealed};
use crate::state::{self, State, TERRAFORM_VERSION as VERSION};

/// A state that is kept by HCP Terraform is out of reach.
pub fn refuse_cloud(module: &Module) -> Result<(), Diagnostics> {
    match module.cloud {
        None => Ok(()),
        Some(range) => Err(Diagnostic::error(
            "HCP Terraform is not supported",
            "The \"cloud\" block connects a configuration to HCP Terraform or Terraform Enterprise, which this \
             program does not talk to. Use a \"backend\" block to keep the state elsewhere.",
        )
        .at(range)
        .into()),
    }
}

/// The arguments a `backend` block gives, evaluated.
pub fn block_arguments(block: &config::Backend) -> Result<Map<String, Value>, Diagnostics> {
    let (attributes, mut diagnostics) = block.config.just_attributes();
    let mut given = Map::new();
    for (name, attribute) in attributes {
        let (value, found) = attribute.expr.evaluate_constant();
        diagnostics.append(found);
        if value.is_null() {
            continue;
        }
        let encoded = json::encode_simple(&value)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        match encoded {
            Some(value) => {
                given.insert(name.to_string(), value);
            }
            None => diagnostics.push(
                Diagnostic::error(
                    "Invalid backend argument",
                    format!("The value of {name:?} cannot be used here."),
                )
                .at(attribute.expr.range()),
            ),
        }
    }
    if diagnostics.has_errors() {
        Err(diagnostics)
    } else {
        Ok(given)
    }
}

/// The settings of a backend, or where they are wrong.
pub fn settings(
    kind_name: &str,
    given: &Map<String, Value>,
    block: Option<&config::Backend>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Settings, Diagnostics> {
    let located = |diagnostic: Diagnostic, argument: Option<&str>| {
        let place = block.map(|block| {
            argument
                .and_then(|name| {
                    let (attributes, _) = block.config.just_attributes();
                    attributes.get(name).map(|attribute| attribute.expr.range())
                })
                .unwrap_or(if argument.is_some() {
                    block.range
                } else {
                    block.kind_range
                })
        });
        let mut diagnostics = Diagnostics::new();
        diagnostics.push(match place {
            Some(range) => diagnostic.at(range),
            None => diagnostic,
        });
        diagnostics
    };
    let Some(kind) = Kind::named(kind_name) else {
        let known = Kind::known_elsewhere(kind_name);
        let detail = if known {
            format!(
                "Consort keeps state with the backends local, http, s3, pg, kubernetes and consort; \
                 {kind_name:?} is not among them."
            )
        } else {
            format!("There is no backend type named {kind_name:?}.")
        };
        return Err(located(
            Diagnostic::error("Unsupported backend type", detail),
            None,
        ));
    };
    Settings::new(kind, given, environment).map_err(|wrong| {
        let (summary, argument) = match &wrong {
            SettingsError::Unknown { argument } => ("Unsupported argument", argument),
            SettingsError::Type { argument, .. } => ("Incorrect attribute value type", argument),
            SettingsError::Missing { argument } => ("Missing required argument", argument),
        };
        located(
            Diagnostic::error(summary, wrong.to_string()),
            Some(argument),
        )
    })
}

/// What `init` recorded of the backend.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The backend's type.
    pub kind: String,
    /// The arguments it has, from its block and from elsewhere.
    pub config: Map<String, Value>,
}

impl Record {
    /// The backend that `init` set up, from `.terraform/terraform.tfstate`; none if it was never run with one.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(path: &Path) -> Result<Option<Record>, Diagnostics> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(failed) if failed.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(failed) => {
                return Err(error(
                    "Failed to read the backend's settings",
                    format!("Reading {}: {failed}.", path.display()),
                ));
            }
        };
        let found: Value = serde_json::from_slice(&text).map_err(|failed| {
            error(
                "Failed to read the backend's settings",
                format!("{} is not valid: {failed}.", path.display()),
            )
        })?;
        let Some(kind) = found["backend"]["type"].as_str() else {
            return Ok(None);
        };
        let mut config = found["backend"]["config"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        config.retain(|_, value| !value.is_null());
        for value in config.values_mut() {
            if let Value::Object(parts) = value {
                parts.retain(|_, part| !part.is_null());
            }
        }
        Ok(Some(Record {
            kind: kind.to_owned(),
            config,
        }))
    }
}

/// A backend with a workspace selected in it.
pub struct Backing {
    /// The workspaces.
    pub backend: Box<dyn Backend>,
    /// The selected one.
    pub workspace: String,
    /// What the backend was opened with.
    pub settings: Settings,
    /// Where journals are kept of states that are not files.
    pub journals: PathBuf,
    /// What is sealed, and how.
    pub encryption: Encryption,
    /// What is to be said of that.
    pub warnings: Diagnostics,
}

/// The recorded values with those of the block over them; what came by `-backend-config` stays.
pub fn merged(base: &Map<String, Value>, over: &Map<String, Value>) -> Map<String, Value> {
    let mut all = base.clone();
    all.extend(
        over.iter()
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    all
}

/// The state of a workspace, read and, unless told otherwise, locked.
pub struct Held {
    /// Where it is.
    pub snapshots: Box<dyn Snapshots>,
    /// The state, with what a crash had left in the journal; a new one if there was none.
    pub state: State,
    /// What the backend had; none if it had no state.
    pub read: Option<State>,
    /// Where changes are kept until the state is written.
    pub journal: PathBuf,
    holder: Option<Holder>,
    /// How the state is sealed.
    pub target: Option<Target>,
}

/// How to treat the lock.
#[derive(Clone, Copy, Debug)]
pub struct Locking {
    /// Whether it is taken.
    pub lock: bool,
    /// How long is waited while somebody else holds it.
    pub patience: Duration,
}

impl Backing {
    fn snapshots(&self) -> Result<Box<dyn Snapshots>, Diagnostics> {
        let inner = self
            .backend
            .snapshots(&self.workspace)
            .map_err(|failed| error("Error loading state", causes(&failed)))?;
        Ok(match self.encryption.state.clone() {
            None => inner,
            Some(target) => Box::new(Encrypted { inner, target }),
        })
    }

    /// The newest state without a lock, for commands that only look.
    pub async fn look(&self) -> Result<Option<State>, Diagnostics> {
        let snapshots = self.snapshots()?;
        let mut state = read(&*snapshots).await?;
        // What a crash left beside the file is part of the state, whoever asks for it.
        let target = self.encryption.state.as_ref();
        recover(&self.journal(&*snapshots), &mut state, target).await?;
        Ok(state)
    }

    /// Where a walk keeps its changes until the state itself is written: beside a state file, or among the data of
    /// this directory for a state that is kept elsewhere.
    fn journal(&self, snapshots: &dyn Snapshots) -> PathBuf {
        match snapshots.file() {
            Some(file) => journal(file),
            None => self.journals.join(format!(
                ".{}.tfstate.journal",
                self.workspace.replace('/', "_")
            )),
        }
    }

    /// Takes the lock and reads the state.
    ///
    /// # Errors
    /// Somebody else holds it, or the state cannot be read.
    pub async fn hold(&self, operation: &str, locking: Locking) -> Result<Held, Diagnostics> {
        self.hold_as(&LockInfo::new(operation, VERSION), locking)
            .await
    }

    /// As [`Backing::hold`], with this said of the holder.
    ///
    /// # Errors
    /// As there.
    pub async fn hold_as(&self, info: &LockInfo, locking: Locking) -> Result<Held, Diagnostics> {
        let snapshots = self.snapshots()?;
        let holder = if locking.lock {
            let held = acquire(&*snapshots, info, locking.patience).await;
            Some(held.map_err(|failed| lock_error(&failed))?)
        } else {
            None
        };
        let mut held = Held {
            journal: self.journal(&*snapshots),
            state: State::default(),
            read: None,
            snapshots,
            holder,
            target: self.encryption.state.clone(),
        };
        match held.load().await {
            Ok(()) => Ok(held),
            Err(diagnostics) => {
                // The first failure is the one to tell.
                let _ = held.release().await;
                Err(diagnostics)
            }
        }
    }
}

/// Adds what an interrupted run had done, and gives how many changes that were.
async fn recover(
    journal: &Path,
    state: &mut Option<State>,
    target: Option<&Target>,
) -> Result<usize, Diagnostics> {
    let unreadable = |failed: state::JournalError| error("Failed to load state", causes(&failed));
    let seal = match state::sealed_key(journal).map_err(unreadable)? {
        Some(envelope) => Some(journal_key(target, envelope).await?),
        None => None,
    };
    let mut found = state.take().unwrap_or_default();
    let there = !found.lineage.is_empty();
    let recovered = state::recover(journal, &mut found, seal.as_ref()).map_err(unreadable)?;
    if there || recovered > 0 {
        *state = Some(found);
    }
    Ok(recovered)
}

/// Where a walk keeps its changes until the state file itself is written.
fn journal(state: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(state.file_name().unwrap_or_default());
    name.push(".journal");
    state.with_file_name(name)
}

async fn read(snapshots: &dyn Snapshots) -> Result<Option<State>, Diagnostics> {
    let bytes = snapshots
        .read()
        .await
        .map_err(|failed| error("Failed to load state", causes(&failed)))?;
    bytes
        .map(|bytes| decode(&bytes))
        .transpose()
        .map_err(|mut found| {
            if let Some(file) = snapshots.file() {
                for wrong in &mut found {
                    wrong.detail = format!("{}: {}", file.display(), wrong.detail);
                }
            }
            found
        })
}

/// Reads a state file's bytes.
pub fn decode(bytes: &[u8]) -> Result<State, Diagnostics> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| error("Failed to load state", "The state file is not valid UTF-8."))?;
    State::read(text).map_err(|failed| {
        if is_sealed(bytes) {
            return error(
                "Unsupported state file format",
                "This state file is encrypted and can not be read without an encryption configuration",
            );
        }
        error("Failed to load state", causes(&failed))
    })
}

/// Why a lock could not be taken.
pub fn lock_error(failed: &Error) -> Diagnostics {
    let mut detail = format!("Error message: {}", causes(failed));
    if let Error::Held {
        holder: Some(holder),
        ..
    } = failed
    {
        detail.push('\n');
        detail.push_str(&holder.to_string());
    }
    detail.push_str(
        "\n\nThe lock keeps two runs from writing the same state at once. Wait for the other run, or \
         give it time with -lock-timeout; a lock that a dead process left is removed with \
         \"force-unlock\". Commands can go without the lock with -lock=false, which is dangerous.",
    );
    error("Error acquiring the state lock", detail)
}

impl Held {
    /// Reads the state. What a crash left in the journal is taken into the state file first, so that a new
    /// journal can begin.
    async fn load(&mut self) -> Result<(), Diagnostics> {
        self.read = read(&*self.snapshots).await?;
        let mut found = self.read.clone();
        let recovered = recover(&self.journal, &mut found, self.target.as_ref()).await?;
        if recovered > 0
            && let Some(state) = &found
        {
            tracing::info!(
                changes = recovered,
                "took up what an interrupted run had done"
            );
            self.save(state).await?;
            found.clone_from(&self.read);
        }
        match std::fs::remove_file(&self.journal) {
            Err(failed) if failed.kind() != std::io::ErrorKind::NotFound => {
                return Err(error(
                    "Failed to load state",
                    format!("Removing {}: {failed}.", self.journal.display()),
                ));
            }
            _ => {}
        }
        self.state = found.unwrap_or_default();
        if self.state.lineage.is_empty() {
            self.state = State::new();
        }
        Ok(())
    }

    /// Writes the state if it differs from what is stored, with the next serial.
    pub async fn save(&mut self, state: &State) -> Result<(), Diagnostics> {
        let stored = self.read.as_ref();
        if stored.is_some_and(|stored| stored.same_contents(state)) {
            return Ok(());
        }
        let mut next = state.clone();
        next.serial = stored.map_or(1, |stored| stored.serial + 1);
        VERSION.clone_into(&mut next.terraform_version);
        self.snapshots
            .write(next.write().into_bytes())
            .await
            .map_err(|failed| error("Failed to save state", causes(&failed)))?;
        self.read = Some(next);
        Ok(())
    }

    /// Gives up the lock.
    pub async fn release(self) -> Result<(), Diagnostics> {
        match self.holder {
            None => Ok(()),
            Some(holder) => {
                let id = holder.id().to_owned();
                holder.release(&*self.snapshots).await.map_err(|failed| {
                    error(
                        "Error releasing the state lock",
                        format!(
                            "Error message: {}\n\nThe lock {id} may have to be removed with \
                             \"force-unlock\" before the next run.",
                            causes(&failed)
                        ),
                    )
                })
            }
        }
    }
}
