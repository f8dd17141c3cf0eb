//! `terraform_remote_state`: the outputs of another configuration, read from its state.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_hcl::{Path, Type, Value};

use crate::provider::schema::{Attribute, Block, Described, ResourceSchema};
use crate::provider::{Call, DataRead, Diagnostic, Diagnostics};

/// Values by the names of outputs.
pub type Outputs = BTreeMap<Arc<str>, Value>;

/// What reads the states other configurations left in their backends.
pub trait RemoteStates: Send + Sync {
    /// Whether a backend of this type exists and can be configured so.
    ///
    /// `config` is an object, wholly known.
    fn validate(&self, backend: &str, config: &Value) -> Result<(), RemoteStateError>;

    /// The root module's outputs in a workspace; `None` if there is no state. `address` is that of the data source
    /// that asks.
    fn outputs<'a>(
        &'a self,
        address: &'a str,
        backend: &'a str,
        config: &'a Value,
        workspace: &'a str,
    ) -> Call<'a, Result<Option<Outputs>, RemoteStateError>>;
}

/// Why a state could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RemoteStateError {
    /// There is no such type of backend.
    #[error("There is no backend type named \"{0}\".")]
    NoSuchBackend(String),
    /// The backend does not take this configuration.
    #[error("The given configuration is not valid for backend \"{backend}\": {message}.")]
    Configuration {
        /// The type of backend.
        backend: String,
        /// What is wrong.
        message: String,
    },
    /// It is there and could not be read.
    #[error("error loading the remote state: {0}")]
    Read(String),
}

impl From<RemoteStateError> for Diagnostic {
    fn from(error: RemoteStateError) -> Self {
        let (summary, attribute) = match &error {
            RemoteStateError::NoSuchBackend(_) => ("Invalid backend configuration", "backend"),
            RemoteStateError::Configuration { .. } => ("Invalid backend configuration", "config"),
            RemoteStateError::Read(_) => ("Error loading state error", "backend"),
        };
        Self::error(summary, error.to_string()).at(Path::root().attribute(attribute))
    }
}

pub(super) fn schema() -> ResourceSchema {
    let described = |mut attribute: Attribute, text: &str| {
        attribute.description = Described {
            text: text.into(),
            markdown: true,
        };
        attribute
    };
    let block = Block::default()
        .attribute(
            "backend",
            described(Attribute::new(Type::String).required(), "The remote backend to use, e.g. `remote` or `http`."),
        )
        .attribute(
            "config",
            described(
                Attribute::new(Type::Dynamic).optional(),
                "The configuration of the remote backend. Although this is optional, most backends require some \
                 configuration.\n\nThe object can use any arguments that would be valid in the equivalent `terraform { \
                 backend \"<TYPE>\" { ... } }` block.",
            ),
        )
        .attribute(
            "defaults",
            described(
                Attribute::new(Type::Dynamic).optional(),
                "Default values for outputs, in case the state file is empty or lacks a required output.",
            ),
        )
        .attribute(
            "outputs",
            described(
                Attribute::new(Type::Dynamic).computed(),
                "An object containing every root-level output in the remote state.",
            ),
        )
        .attribute(
            "workspace",
            described(
                Attribute::new(Type::String).optional(),
                "The Terraform workspace to use, if the backend supports workspaces.",
            ),
        );
    ResourceSchema {
        version: 0,
        block,
        identity: None,
    }
}

fn part(object: &Value, name: &str) -> Value {
    object
        .attribute(name)
        .unwrap_or_else(|_| Value::null(Type::Dynamic))
}

fn can_be_object(value: &Value) -> bool {
    matches!(value.ty(), Type::Dynamic | Type::Object(_) | Type::Map(_))
}

/// The type of backend by its present name, and its configuration as an object.
fn backend(config: &Value) -> Option<(String, Value)> {
    let name = match part(config, "backend").as_str()? {
        // A name of old that configurations still have.
        "_local" => "local".to_owned(),
        name => name.to_owned(),
    };
    let settings = part(config, "config")
        .as_keyed()
        .cloned()
        .unwrap_or_default();
    Some((name, Value::object(settings)))
}

pub(super) fn validate(config: &Value, states: Option<&dyn RemoteStates>) -> Diagnostics {
    let mut diagnostics = Diagnostics::new();
    let settings = part(config, "config");
    if !can_be_object(&settings) {
        diagnostics.push(
            Diagnostic::error(
                "Invalid backend configuration",
                "The configuration must be an object value.",
            )
            .at(Path::root().attribute("config")),
        );
    } else if settings.is_wholly_known()
        && let (Some((name, settings)), Some(states)) = (backend(config), states)
        && let Err(error) = states.validate(&name, &settings)
    {
        diagnostics.push(error.into());
    }
    if !can_be_object(&part(config, "defaults")) {
        diagnostics.push(
            Diagnostic::error(
                "Invalid default values",
                "Defaults must be given in an object value.",
            )
            .at(Path::root().attribute("defaults")),
        );
    }
    diagnostics
}

pub(super) async fn read(
    address: &str,
    config: Value,
    states: Option<&dyn RemoteStates>,
) -> DataRead {
    let null = Value::null(config.ty().clone());
    let done = |state: Value, diagnostics: Diagnostics| DataRead {
        state,
        deferred: None,
        diagnostics,
    };
    let Some((name, settings)) = backend(&config) else {
        let error = Diagnostic::error(
            "Invalid backend configuration",
            "The backend type must be a known string.",
        );
        return done(null, error.at(Path::root().attribute("backend")).into());
    };
    let Some(states) = states else {
        let detail = "States of other configurations cannot be read here.";
        return done(
            null,
            Diagnostic::error("Unable to find remote state", detail).into(),
        );
    };
    let workspace = part(&config, "workspace");
    let found = match states
        .outputs(
            address,
            &name,
            &settings,
            workspace.as_str().unwrap_or("default"),
        )
        .await
    {
        Ok(found) => found,
        Err(error) => return done(null, Diagnostic::from(error).into()),
    };
    let mut diagnostics = Diagnostics::new();
    let outputs = match found {
        None => {
            diagnostics.push(
                Diagnostic::error(
                    "Unable to find remote state",
                    "No stored state was found for the given workspace in the given backend.",
                )
                .at(Path::root().attribute("workspace")),
            );
            BTreeMap::new()
        }
        Some(found) => {
            let mut outputs = part(&config, "defaults")
                .as_keyed()
                .cloned()
                .unwrap_or_default();
            outputs.extend(found);
            outputs
        }
    };
    let mut state = config.as_keyed().cloned().unwrap_or_default();
    state.insert("outputs".into(), Value::object(outputs));
    done(Value::object(state), diagnostics)
}
