//! The working directory: which workspace is selected, which backend its state is in, and that state.

use std::path::{Path, PathBuf};
use std::time::Duration;

use consort_backend::{
    Backend, DEFAULT_WORKSPACE, Error, Holder, Kind, LocalPaths, LockInfo, Settings, SettingsError,
    Snapshots, acquire, open,
};
use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::{Sources, json};
use consort_infra::address::ModulePath;
use consort_infra::config::{self, Module, VariableOption};
use consort_infra::encryption::{Encryption, Target, is_sealed};
use consort_infra::state::{self, State};
use serde_json::{Map, Value};

use super::backend_hash::{backend_hash, filled};
use super::encryption::{self, Encrypted};
use super::flags::Flags;
use crate::tf::VERSION;

/// A configuration's directory and what commands leave in it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Where the configuration is; empty for the current directory, as paths are shown then.
    pub(super) directory: PathBuf,
    /// `.terraform`, or what `TF_DATA_DIR` says.
    pub(super) data: PathBuf,
    /// Values of variables from the command line, for what is needed before the configuration is read.
    pub(super) variables: Vec<VariableOption>,
}

/// What `init` recorded of the backend.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub(super) kind: String,
    pub(super) config: Map<String, Value>,
}

/// One error as a list.
pub(super) fn error(summary: &str, detail: impl Into<String>) -> Diagnostics {
    let mut diagnostics = Diagnostics::new();
    diagnostics.push(Diagnostic::error(summary, detail));
    diagnostics
}

/// An error with its causes.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl Place {
    /// The current directory.
    pub(super) fn here() -> Place {
        Place {
            directory: PathBuf::new(),
            data: std::env::var_os("TF_DATA_DIR")
                .filter(|value| !value.is_empty())
                .map_or_else(|| PathBuf::from(".terraform"), PathBuf::from),
            variables: Vec::new(),
        }
    }

    /// The directory as a path that can be opened.
    pub(super) fn root(&self) -> &Path {
        if self.directory.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &self.directory
        }
    }

    pub(super) fn modules(&self) -> PathBuf {
        self.data.join("modules")
    }

    /// The selected workspace, and whether the environment selected it.
    pub(super) fn workspace(&self) -> (String, bool) {
        if let Ok(name) = std::env::var("TF_WORKSPACE")
            && !name.is_empty()
        {
            return (name, true);
        }
        let name = std::fs::read_to_string(self.data.join("environment"))
            .map(|text| text.trim().to_owned())
            .unwrap_or_default();
        if name.is_empty() {
            (DEFAULT_WORKSPACE.to_owned(), false)
        } else {
            (name, false)
        }
    }

    /// Selects a workspace for the commands to come.
    pub(super) fn select(&self, workspace: &str) -> Result<(), Diagnostics> {
        let path = self.data.join("environment");
        std::fs::create_dir_all(&self.data)
            .and_then(|()| std::fs::write(&path, workspace))
            .map_err(|failed| {
                error(
                    "Failed to select workspace",
                    format!("Writing {}: {failed}.", path.display()),
                )
            })
    }

    fn record_path(&self) -> PathBuf {
        self.data.join("terraform.tfstate")
    }

    /// The backend that `init` set up; none if it was never run with one.
    pub(super) fn record(&self) -> Result<Option<Record>, Diagnostics> {
        let path = self.record_path();
        let text = match std::fs::read(&path) {
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

    /// Remembers the backend; `None` for the local one with nothing said. `block` is what the block itself gives, of the
    /// types it is taken as.
    pub(super) fn remember(
        &self,
        settings: Option<&Settings>,
        block: &Map<String, Value>,
    ) -> Result<(), Diagnostics> {
        let path = self.record_path();
        let failed = |failed: std::io::Error| {
            error(
                "Failed to save the backend's settings",
                format!("Writing {}: {failed}.", path.display()),
            )
        };
        let Some(settings) = settings else {
            return match std::fs::remove_file(&path) {
                Err(gone) if gone.kind() != std::io::ErrorKind::NotFound => Err(failed(gone)),
                _ => Ok(()),
            };
        };
        let mut config = Map::new();
        for argument in settings.kind().arguments() {
            let value = settings.given().get(argument.name).cloned();
            config.insert(argument.name.to_owned(), value.unwrap_or(Value::Null));
        }
        filled(settings.kind().name(), &mut config);
        let hash = backend_hash(settings.kind().name(), block).unwrap_or_default();
        let record = serde_json::json!({
            "version": 3,
            "terraform_version": VERSION,
            "backend": {"type": settings.kind().name(), "config": config, "hash": hash},
        });
        let text = serde_json::to_vec_pretty(&record).unwrap_or_default();
        std::fs::create_dir_all(&self.data)
            .and_then(|()| std::fs::write(&path, text))
            .map_err(failed)
    }

    /// The root module alone, for what it says of its backend.
    pub(super) fn root_module(&self, sources: &mut Sources) -> Result<Option<Module>, Diagnostics> {
        if !config::is_module_directory(self.root()) {
            return Ok(None);
        }
        let (module, diagnostics) =
            config::load_module(&self.directory, &ModulePath::root(), None, sources);
        if diagnostics.has_errors() {
            return Err(diagnostics);
        }
        if let Some(module) = &module {
            refuse_cloud(module)?;
        }
        Ok(module)
    }
}

/// A state that is kept by HCP Terraform is out of reach.
pub(super) fn refuse_cloud(module: &Module) -> Result<(), Diagnostics> {
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
pub(super) fn block_arguments(block: &config::Backend) -> Result<Map<String, Value>, Diagnostics> {
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
pub(super) fn settings(
    kind_name: &str,
    given: &Map<String, Value>,
    block: Option<&config::Backend>,
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
    Settings::new(kind, given, |name| std::env::var(name).ok()).map_err(|wrong| {
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

/// A backend with a workspace selected in it.
pub(super) struct Backing {
    pub(super) backend: Box<dyn Backend>,
    pub(super) workspace: String,
    pub(super) settings: Settings,
    /// Where journals are kept of states that are not files.
    data: PathBuf,
    /// What is sealed, and how.
    pub(super) encryption: Encryption,
    /// What is to be said of that.
    pub(super) warnings: Diagnostics,
}

/// The legacy options that put a local state elsewhere.
pub(super) fn local_paths(flags: &Flags) -> LocalPaths {
    let path = |name| {
        flags
            .text(name)
            .filter(|p| !p.is_empty())
            .map(PathBuf::from)
    };
    LocalPaths {
        state: path("state"),
        out: path("state-out"),
        backup: path("backup"),
    }
}

impl Place {
    /// Opens the backend that the configuration names and `init` has set up.
    pub(super) fn backing(
        &self,
        sources: &mut Sources,
        paths: &LocalPaths,
    ) -> Result<Backing, Diagnostics> {
        let module = self.root_module(sources)?;
        self.backing_of(module.as_ref(), sources, paths)
    }

    /// As [`Place::backing`], for a configuration that is loaded already.
    pub(super) fn backing_of(
        &self,
        module: Option<&Module>,
        sources: &mut Sources,
        paths: &LocalPaths,
    ) -> Result<Backing, Diagnostics> {
        let block = module.and_then(|module| module.backend.as_ref());
        let record = self.record()?;
        let needs_init = |reason: &str| {
            error(
                "Backend initialization required, please run \"terraform init\"",
                format!(
                    "Reason: {reason}\n\nThe backend is where the state of this configuration is kept. \
                     It is set up, and state moved into it, by \"init\" only, so that state never ends up \
                     in two places. Run \"terraform init\" with either the -reconfigure or the \
                     -migrate-state flag if the configuration of the backend has changed."
                ),
            )
        };
        let settings = match (block, record) {
            (None, None) => Settings::local(),
            (None, Some(record)) => {
                return Err(needs_init(&format!(
                    "Unsetting the previously set backend {:?}",
                    record.kind
                )));
            }
            (Some(block), None) if &*block.kind == "local" => {
                settings(&block.kind, &block_arguments(block)?, Some(block))?
            }
            (Some(block), None) => {
                return Err(needs_init(&format!(
                    "Initial configuration of the requested backend {:?}",
                    block.kind
                )));
            }
            (Some(block), Some(record)) => {
                let given = block_arguments(block)?;
                if *block.kind != *record.kind {
                    return Err(needs_init(&format!(
                        "Backend type changed from {:?} to {:?}",
                        record.kind, block.kind
                    )));
                }
                let own = settings_of_record(&record, block)?;
                let said = settings(&block.kind, &merged(&record.config, &given), Some(block))?;
                if own.given() != said.given() {
                    return Err(needs_init(&format!(
                        "Backend configuration block for {:?} has changed",
                        record.kind
                    )));
                }
                own
            }
        };
        self.open(settings, paths, encryption::load(self, module, sources)?)
    }

    /// Opens a backend whose contents are sealed as `encryption` says.
    pub(super) fn open(
        &self,
        settings: Settings,
        paths: &LocalPaths,
        (encryption, warnings): (Encryption, Diagnostics),
    ) -> Result<Backing, Diagnostics> {
        let backend = open(&settings, self.root(), paths)
            .map_err(|failed| error("Failed to open the backend", causes(&failed)))?;
        Ok(Backing {
            backend,
            workspace: self.workspace().0,
            settings,
            data: self.data.clone(),
            encryption,
            warnings,
        })
    }
}

fn settings_of_record(record: &Record, block: &config::Backend) -> Result<Settings, Diagnostics> {
    settings(&record.kind, &record.config, Some(block))
}

/// The recorded values with those of the block over them; what came by `-backend-config` stays.
pub(super) fn merged(base: &Map<String, Value>, over: &Map<String, Value>) -> Map<String, Value> {
    let mut all = base.clone();
    all.extend(
        over.iter()
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    all
}

/// The state of a workspace, read and, unless told otherwise, locked.
pub(super) struct Held {
    pub(super) snapshots: Box<dyn Snapshots>,
    pub(super) state: State,
    /// What the backend had; none if it had no state.
    pub(super) read: Option<State>,
    /// Where changes are kept until the state is written.
    pub(super) journal: PathBuf,
    holder: Option<Holder>,
    /// How the state is sealed.
    pub(super) target: Option<Target>,
}

/// How to treat the lock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Locking {
    pub(super) lock: bool,
    pub(super) patience: Duration,
}

impl Locking {
    pub(super) fn of(flags: &Flags) -> Result<Locking, super::flags::Error> {
        Ok(Locking {
            lock: flags.stays("lock"),
            patience: flags.duration("lock-timeout")?.unwrap_or_default(),
        })
    }
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
    pub(super) async fn look(&self) -> Result<Option<State>, Diagnostics> {
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
            None => self.data.join(format!(
                ".{}.tfstate.journal",
                self.workspace.replace('/', "_")
            )),
        }
    }

    /// Takes the lock and reads the state.
    pub(super) async fn hold(
        &self,
        operation: &str,
        locking: Locking,
    ) -> Result<Held, Diagnostics> {
        let snapshots = self.snapshots()?;
        let holder = if locking.lock {
            let info = LockInfo::new(operation, VERSION);
            let held = acquire(&*snapshots, &info, locking.patience).await;
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
        Some(envelope) => Some(encryption::journal_key(target, envelope).await?),
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
pub(super) fn decode(bytes: &[u8]) -> Result<State, Diagnostics> {
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

pub(super) fn lock_error(failed: &Error) -> Diagnostics {
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
    pub(super) async fn save(&mut self, state: &State) -> Result<(), Diagnostics> {
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
    pub(super) async fn release(self) -> Result<(), Diagnostics> {
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
