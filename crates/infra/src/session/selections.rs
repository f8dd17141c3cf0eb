//! Whether the lock file and what is installed fit what a configuration requires, and what to say if not.

use super::{causes, error};
use crate::config::Requirements;
use crate::install::{CliConfig, Failure, Locks};
use consort_hcl::diagnostic::{Diagnostic, Diagnostics};

/// What providers are wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To plan, to apply and the like.
    Run,
    /// To check the configuration: versions do not matter as long as there is one.
    Validate,
}

impl Purpose {
    /// Compares the selections of the lock file with what is required.
    pub fn check(
        self,
        requirements: &Requirements,
        locks: &Locks,
        config: &CliConfig,
    ) -> Result<(), Diagnostics> {
        let mut missing = Diagnostics::new();
        let mut wrong = Vec::new();
        for (provider, constraints) in requirements {
            if provider.is_builtin() || config.dev_overrides.contains_key(provider) {
                continue;
            }
            match locks.0.get(provider) {
                None => {
                    missing.push(Diagnostic::error(
                        "Missing required provider",
                        format!(
                            "This configuration requires provider {provider}, but that provider isn't available. \
                             You may be able to install it automatically by running:\n  terraform init"
                        ),
                    ));
                    wrong.push(format!(
                        "\n  - provider {provider}: required by this configuration but no version is selected"
                    ));
                }
                Some(lock) if !constraints.allows_provider(&lock.version) => wrong.push(format!(
                    "\n  - provider {provider}: locked version selection {} doesn't match the updated version \
                     constraints {:?}",
                    lock.version,
                    constraints.canonical()
                )),
                Some(_) => {}
            }
        }
        match self {
            Purpose::Validate if missing.is_empty() => Ok(()),
            Purpose::Validate => Err(missing),
            Purpose::Run if wrong.is_empty() => Ok(()),
            Purpose::Run => {
                let advice = if locks.0.is_empty() {
                    "To make the initial dependency selections that will initialize the dependency lock file, \
                     run:\n  terraform init"
                } else {
                    "To update the locked dependency selections to match a changed configuration, run:\n  \
                     terraform init -upgrade"
                };
                Err(error(
                    "Inconsistent dependency lock file",
                    format!(
                        "The following dependency selections recorded in the lock file are inconsistent with \
                         the current configuration:{}\n\n{advice}",
                        wrong.concat()
                    ),
                ))
            }
        }
    }

    /// What to say of providers that are selected and not installed as they were selected.
    pub fn not_installed(self, failures: &[Failure]) -> Diagnostics {
        let each = failures
            .iter()
            .map(|failure| format!("{}: {}", failure.provider, causes(&failure.error)));
        match self {
            Purpose::Validate => each.map(|text| Diagnostic::error(text, "")).collect(),
            Purpose::Run => {
                let list: String = each.map(|text| format!("\n  - {text}")).collect();
                error(
                    "Required plugins are not installed",
                    format!(
                        "The installed provider plugins are not consistent with the packages selected in the \
                         dependency lock file:{list}\n\nTerraform uses external plugins to integrate with a \
                         variety of different infrastructure services. To download the plugins required for \
                         this configuration, run:\n  terraform init"
                    ),
                )
            }
        }
    }
}
