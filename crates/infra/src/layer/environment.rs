//! What a Terraform part finds around it. The library looks at neither the process's environment nor the home
//! directory: who opens parts says all of it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::install::CliConfig;
use crate::session::BuiltIn;

/// What all Terraform parts of a process share.
#[derive(Clone)]
pub struct Environment {
    /// The built-in providers of the program, such as `consort`.
    pub built_in: BuiltIn,
    /// Variables of the environment: `TF_VAR_...`, credentials, what backends read. Provider processes have them
    /// beside what this process has.
    pub variables: HashMap<String, String>,
    /// What the user's settings of Terraform say: mirrors, credentials of registries, a plugin cache.
    pub cli_config: Arc<CliConfig>,
    /// Where downloaded providers are kept, for all parts together; made when something is downloaded.
    pub data: PathBuf,
    /// Where schemas of providers are kept between runs; none keeps them in memory only.
    pub schema_cache: Option<PathBuf>,
    /// The server that keeps the state of parts without a `backend` block; without it the state is a file in the
    /// part's directory.
    pub client: Option<kube::Client>,
    /// The namespace of those states.
    pub namespace: String,
    /// Who works on the states, for their locks.
    pub author: String,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment")
            .field("data", &self.data)
            .field("namespace", &self.namespace)
            .field("author", &self.author)
            .finish_non_exhaustive()
    }
}
