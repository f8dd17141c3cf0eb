//! The working directory: which workspace is selected, and which backend its state is in.

use std::path::{Path, PathBuf};

use consort_backend::{DEFAULT_WORKSPACE, LocalPaths, Settings, open};
use consort_hcl::Sources;
use consort_hcl::diagnostic::Diagnostics;
use consort_infra::address::ModulePath;
use consort_infra::config::{self, Module, VariableOption};
use consort_infra::encryption::Encryption;
pub(super) use consort_infra::session::{
    Backing, Held, Locking, Record, block_arguments, causes, decode, error, merged, refuse_cloud,
};
use serde_json::{Map, Value};

use super::backend_hash::{backend_hash, filled};
use super::encryption;
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
        Record::read(&self.record_path())
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
            journals: self.data.clone(),
            encryption,
            warnings,
        })
    }
}

fn settings_of_record(record: &Record, block: &config::Backend) -> Result<Settings, Diagnostics> {
    settings(&record.kind, &record.config, Some(block))
}

/// How to treat the lock, as options say.
pub(super) fn locking_of(flags: &Flags) -> Result<Locking, super::flags::Error> {
    Ok(Locking {
        lock: flags.stays("lock"),
        patience: flags.duration("lock-timeout")?.unwrap_or_default(),
    })
}

/// The settings of a backend, or where they are wrong.
pub(super) fn settings(
    kind: &str,
    given: &Map<String, Value>,
    block: Option<&config::Backend>,
) -> Result<Settings, Diagnostics> {
    let environment = |name: &str| std::env::var(name).ok();
    consort_infra::session::settings(kind, given, block, &environment)
}
