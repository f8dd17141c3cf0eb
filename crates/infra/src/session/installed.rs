//! The providers a configuration uses, as they are installed.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use consort_hcl::diagnostic::Diagnostics;
use parking_lot::Mutex;

use super::remote_state::States;
use super::selections::Purpose;
use super::{causes, error};
use crate::address::ProviderSource;
use crate::config::{self, Requirements};
use crate::encryption::Encryption;
use crate::engine::Providers;
use crate::install::{CliConfig, Locks, executables};
use crate::provider::builtin::Terraform;
use crate::provider::plugin::{Attach, Launcher};
use crate::provider::schema::Schemas;
use crate::provider::{Call, Provider};

/// The providers a configuration uses, installed here.
pub struct Installed {
    launcher: Launcher,
    executables: BTreeMap<ProviderSource, PathBuf>,
    attached: BTreeMap<ProviderSource, Attach>,
    terraform: Arc<dyn Provider>,
    built_in: BuiltIn,
    known: Mutex<BTreeMap<ProviderSource, Arc<Schemas>>>,
}

/// Gives the built-in providers that are not this crate's own (`terraform`), each call a new one; none where there is
/// no such provider.
pub type BuiltIn = Arc<dyn Fn(&ProviderSource) -> Option<Arc<dyn Provider>> + Send + Sync>;

/// What provider processes are found and started with.
#[derive(Clone)]
pub struct Around<'a> {
    /// What the user's settings say.
    pub cli_config: &'a CliConfig,
    /// Variables of the environment; providers have them beside those of this process.
    pub variables: &'a HashMap<String, String>,
    /// Where schemas are kept between runs.
    pub schema_cache: Option<PathBuf>,
    /// The built-in providers of the program.
    pub built_in: BuiltIn,
    /// The directory that providers and `terraform_remote_state` work in; this process's own if it is empty.
    pub directory: PathBuf,
    /// How the states that `terraform_remote_state` reads are sealed.
    pub encryption: Encryption,
}

impl Installed {
    /// Finds the executables of what is required, in the first of `places` (`.terraform/providers`) that has all of
    /// them as the locks say.
    ///
    /// # Errors
    /// What is not selected, or not installed, in the words for `purpose`.
    pub fn new(
        purpose: Purpose,
        mut requirements: Requirements,
        locks: &Locks,
        places: &[PathBuf],
        around: &Around<'_>,
    ) -> Result<Installed, Diagnostics> {
        let attached = attached(around.variables)?;
        requirements.retain(|source, _| !attached.contains_key(source) && !source.is_builtin());
        purpose.check(&requirements, locks, around.cli_config)?;
        let mut found = Ok(BTreeMap::new());
        for place in places {
            found = executables(&requirements, locks, around.cli_config, place);
            if found.is_ok() {
                break;
            }
        }
        let executables = found.map_err(|failures| purpose.not_installed(&failures))?;
        let mut launcher = Launcher::default();
        launcher.schema_cache.clone_from(&around.schema_cache);
        if !around.directory.as_os_str().is_empty() {
            launcher.directory = Some(around.directory.clone());
            launcher.environment = around
                .variables
                .iter()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
        }
        let states = States {
            encryption: around.encryption.clone(),
            directory: around.directory.clone(),
            environment: around.variables.clone(),
        };
        Ok(Installed {
            launcher,
            executables,
            attached,
            terraform: Arc::new(Terraform::new(Some(Arc::new(states)))),
            built_in: around.built_in.clone(),
            known: Mutex::default(),
        })
    }
}

/// Providers that somebody runs under a debugger.
fn attached(
    environment: &HashMap<String, String>,
) -> Result<BTreeMap<ProviderSource, Attach>, Diagnostics> {
    let Some(text) = environment.get("TF_REATTACH_PROVIDERS") else {
        return Ok(BTreeMap::new());
    };
    let wrong = |why: String| error("Failed to parse TF_REATTACH_PROVIDERS", why);
    let parsed: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|failed| wrong(failed.to_string()))?;
    let mut all = BTreeMap::new();
    for (name, value) in parsed {
        let source = config::parse_provider_source(&name)
            .map_err(|_| wrong(format!("{name:?} is no provider's address")))?;
        let text = |at: &serde_json::Value| at.as_str().unwrap_or_default().to_owned();
        all.insert(
            source,
            Attach {
                network: text(&value["Addr"]["Network"]),
                address: text(&value["Addr"]["String"]),
                protocol: value["ProtocolVersion"].as_u64().unwrap_or(5) as u8,
            },
        );
    }
    Ok(all)
}

impl Providers for Installed {
    fn schemas<'a>(
        &'a self,
        source: &'a ProviderSource,
    ) -> Call<'a, Result<Arc<Schemas>, Diagnostics>> {
        Box::pin(async move {
            if let Some(known) = self.known.lock().get(source) {
                return Ok(Arc::clone(known));
            }
            let provider = self.start(source).await?;
            let found = provider.schemas().await;
            provider.close().await;
            let schemas = found.map_err(|wrong| wrong.unlocated(&source.to_string()))?;
            self.known
                .lock()
                .insert(source.clone(), Arc::clone(&schemas));
            Ok(schemas)
        })
    }

    fn start<'a>(
        &'a self,
        source: &'a ProviderSource,
    ) -> Call<'a, Result<Arc<dyn Provider>, Diagnostics>> {
        Box::pin(async move {
            if source.is_builtin() {
                // Each configuration of such a provider is one of its own.
                return Ok((self.built_in)(source).unwrap_or_else(|| Arc::clone(&self.terraform)));
            }
            let failed = |failed: &dyn std::error::Error| {
                error(
                    "Failed to load plugin schemas",
                    format!(
                        "Error while loading schemas for plugin components: Failed to obtain provider schema: \
                         Could not load the schema for provider {source}: {}.",
                        causes(failed)
                    ),
                )
            };
            let plugin = match (self.attached.get(source), self.executables.get(source)) {
                (Some(attach), _) => self.launcher.attach(&source.to_string(), attach).await,
                (None, Some(binary)) => self.launcher.start(binary).await,
                (None, None) => {
                    return Err(error(
                        "Missing required provider",
                        format!(
                            "This configuration requires provider {source}, but that provider isn't available. \
                             You may be able to install it automatically by running:\n  terraform init"
                        ),
                    ));
                }
            };
            match plugin {
                Ok(plugin) => Ok(Arc::new(plugin) as Arc<dyn Provider>),
                Err(wrong) => Err(failed(&wrong)),
            }
        })
    }
}
