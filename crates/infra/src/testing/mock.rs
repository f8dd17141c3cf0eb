//! Providers that are made up: the schemas and the checks of the real one, and nothing that reaches anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use consort_hcl::{Value, json};

use super::values::{Missing, Replacement, fill, leave_open};
use crate::address::Mode;
use crate::provider::schema::{self, Kind, Schemas};
use crate::provider::{
    Applied, Apply, Call, Configure, DataRead, Diagnostic, Diagnostics, FunctionError, Import,
    Imported, MoveState, Moved, OpenEphemeral, Opened, Plan, Planned, Provider, RawState, Read,
    ReadData, ReadDone, Renewed, UpgradeIdentity, UpgradeState, UpgradedIdentity, UpgradedState,
    Validate,
};

/// What takes the place of one type's computed values.
#[derive(Clone, Debug)]
pub(super) struct Mocked {
    pub(super) replacement: Replacement,
    /// Whether they are there while planning already.
    pub(super) during_plan: bool,
}

/// Which values a mock gives.
#[derive(Clone, Debug)]
pub(super) enum Values {
    /// Those of a `mock_provider` block: by type, and what counts for all others.
    Provider {
        types: BTreeMap<(Mode, Arc<str>), Mocked>,
        other: Mocked,
    },
    /// Those of an `override_resource` or `override_data` block.
    Object(Mocked),
}

impl Values {
    fn of(&self, mode: Mode, kind: &Arc<str>) -> &Mocked {
        match self {
            Values::Provider { types, other } => types.get(&(mode, kind.clone())).unwrap_or(other),
            Values::Object(mocked) => mocked,
        }
    }
}

/// A provider of which only schemas, functions and the checks of configurations are real.
pub(super) struct MockProvider {
    pub(super) real: Arc<dyn Provider>,
    pub(super) values: Values,
    /// Whether the real one is this one's alone, to be configured and ended with it.
    pub(super) owned: bool,
}

impl MockProvider {
    async fn schema(
        &self,
        kind: Kind,
        type_name: &str,
    ) -> Result<Arc<schema::ResourceSchema>, Diagnostics> {
        let schemas = self.real.schemas().await?;
        schemas.resource(kind, type_name).map_err(|error| {
            let mut diagnostics = Diagnostics::new();
            diagnostics.push(Diagnostic::error("Unknown type", format!("{error}.")));
            diagnostics
        })
    }
}

impl Provider for MockProvider {
    fn schemas(&self) -> Call<'_, Result<Arc<Schemas>, Diagnostics>> {
        self.real.schemas()
    }

    fn validate_config(&self, config: Value) -> Call<'_, Diagnostics> {
        if self.owned {
            // A `mock_provider` block has no arguments of the provider's.
            return Box::pin(async { Diagnostics::new() });
        }
        self.real.validate_config(config)
    }

    fn configure(&self, request: Configure) -> Call<'_, Diagnostics> {
        if self.owned {
            return Box::pin(async { Diagnostics::new() });
        }
        self.real.configure(request)
    }

    fn validate_resource(&self, request: Validate) -> Call<'_, Diagnostics> {
        self.real.validate_resource(request)
    }

    fn validate_data(&self, request: Validate) -> Call<'_, Diagnostics> {
        self.real.validate_data(request)
    }

    fn validate_ephemeral(&self, request: Validate) -> Call<'_, Diagnostics> {
        self.real.validate_ephemeral(request)
    }

    fn upgrade_state(&self, request: UpgradeState) -> Call<'_, UpgradedState> {
        Box::pin(async move {
            let schema = match self.schema(Kind::Managed, &request.type_name).await {
                Ok(schema) => schema,
                // Data sources are stored too.
                Err(diagnostics) => match self.schema(Kind::Data, &request.type_name).await {
                    Ok(schema) => schema,
                    Err(_) => {
                        return UpgradedState {
                            state: Value::null(consort_hcl::Type::Dynamic),
                            diagnostics,
                        };
                    }
                },
            };
            let ty = schema.block.implied_type();
            let mut diagnostics = Diagnostics::new();
            let state = match &request.raw {
                RawState::Json(text) => json::decode(text, &ty).unwrap_or_else(|error| {
                    diagnostics.push(Diagnostic::error(
                        "Invalid state",
                        format!("Failed to parse the state of a mocked resource: {error}."),
                    ));
                    Value::null(ty)
                }),
                RawState::Flatmap(_) => {
                    diagnostics.push(Diagnostic::error(
                        "Invalid state",
                        "The state of a mocked resource is of a form that was given up with Terraform 0.12.",
                    ));
                    Value::null(ty)
                }
            };
            UpgradedState { state, diagnostics }
        })
    }

    fn upgrade_identity(&self, request: UpgradeIdentity) -> Call<'_, UpgradedIdentity> {
        self.real.upgrade_identity(request)
    }

    fn read_resource(&self, request: Read) -> Call<'_, ReadDone> {
        Box::pin(async move {
            ReadDone {
                state: request.prior,
                private: request.private,
                identity: request.identity,
                deferred: None,
                diagnostics: Diagnostics::new(),
            }
        })
    }

    fn plan_resource(&self, request: Plan) -> Call<'_, Planned> {
        Box::pin(async move {
            let mut planned = Planned {
                state: request.proposed.clone(),
                requires_replace: Vec::new(),
                private: request.private,
                identity: request.identity,
                legacy_type_system: false,
                deferred: None,
                diagnostics: Diagnostics::new(),
            };
            if request.proposed.is_null() || !request.prior.is_null() {
                return planned;
            }
            match self.schema(Kind::Managed, &request.type_name).await {
                Ok(schema) => {
                    let mocked = self.values.of(Mode::Managed, &request.type_name);
                    if mocked.during_plan {
                        (planned.state, planned.diagnostics) = fill(
                            &schema.block,
                            &request.proposed,
                            Missing::Null,
                            &mocked.replacement,
                        );
                    } else {
                        planned.state = leave_open(&schema.block, &request.proposed);
                    }
                }
                Err(diagnostics) => planned.diagnostics = diagnostics,
            }
            planned
        })
    }

    fn apply_resource(&self, request: Apply) -> Call<'_, Applied> {
        Box::pin(async move {
            let mut applied = Applied {
                state: Some(request.planned.clone()),
                private: request.private,
                identity: request.identity,
                legacy_type_system: false,
                diagnostics: Diagnostics::new(),
            };
            if request.planned.is_null() {
                return applied;
            }
            match self.schema(Kind::Managed, &request.type_name).await {
                Ok(schema) => {
                    let mocked = self.values.of(Mode::Managed, &request.type_name);
                    let (state, diagnostics) = fill(
                        &schema.block,
                        &request.planned,
                        Missing::Unknown,
                        &mocked.replacement,
                    );
                    if diagnostics.has_errors() {
                        // Nothing was made.
                        applied.state = Some(request.prior);
                    } else {
                        applied.state = Some(state);
                    }
                    applied.diagnostics = diagnostics;
                }
                Err(diagnostics) => applied.diagnostics = diagnostics,
            }
            applied
        })
    }

    fn import_resource(&self, request: Import) -> Call<'_, Imported> {
        Box::pin(async move {
            let mut imported = Imported::default();
            let (mocked, schema) = match (
                &self.values,
                self.schema(Kind::Managed, &request.type_name).await,
            ) {
                (Values::Object(mocked), Ok(schema)) => (mocked, schema),
                (Values::Provider { .. }, _) => {
                    imported.diagnostics.push(Diagnostic::error(
                        "Invalid import request",
                        "Cannot import resources from mock providers. Use an `override_resource` block to targeting the specific resource being imported instead.",
                    ));
                    return imported;
                }
                (_, Err(diagnostics)) => {
                    imported.diagnostics = diagnostics;
                    return imported;
                }
            };
            let empty = schema.block.empty_value();
            let (state, diagnostics) =
                fill(&schema.block, &empty, Missing::Null, &mocked.replacement);
            imported.diagnostics = diagnostics;
            imported.resources.push(crate::provider::ImportedResource {
                type_name: request.type_name,
                state,
                private: Bytes::new(),
                identity: None,
            });
            imported
        })
    }

    fn move_state(&self, request: MoveState) -> Call<'_, Moved> {
        self.real.move_state(request)
    }

    fn read_data(&self, request: ReadData) -> Call<'_, DataRead> {
        Box::pin(async move {
            let mut read = DataRead {
                state: request.config.clone(),
                deferred: None,
                diagnostics: Diagnostics::new(),
            };
            match self.schema(Kind::Data, &request.type_name).await {
                Ok(schema) => {
                    let mocked = self.values.of(Mode::Data, &request.type_name);
                    (read.state, read.diagnostics) = fill(
                        &schema.block,
                        &request.config,
                        Missing::Null,
                        &mocked.replacement,
                    );
                }
                Err(diagnostics) => read.diagnostics = diagnostics,
            }
            read
        })
    }

    fn open_ephemeral(&self, request: OpenEphemeral) -> Call<'_, Opened> {
        Box::pin(async move {
            let mut diagnostics = Diagnostics::new();
            diagnostics.push(Diagnostic::error(
                "No ephemeral resource types in mock providers",
                "The provider mocking mechanism does not yet support ephemeral resource types.",
            ));
            Opened {
                result: Value::null(request.config.ty().clone()),
                private: None,
                renew_at: None,
                deferred: None,
                diagnostics,
            }
        })
    }

    fn renew_ephemeral(&self, _type_name: Arc<str>, _private: Option<Bytes>) -> Call<'_, Renewed> {
        Box::pin(async { Renewed::default() })
    }

    fn close_ephemeral(
        &self,
        _type_name: Arc<str>,
        _private: Option<Bytes>,
    ) -> Call<'_, Diagnostics> {
        Box::pin(async { Diagnostics::new() })
    }

    fn functions(&self) -> Call<'_, Result<BTreeMap<Arc<str>, schema::Function>, Diagnostics>> {
        self.real.functions()
    }

    fn call_function(
        &self,
        name: Arc<str>,
        arguments: Vec<Value>,
    ) -> Call<'_, Result<Value, FunctionError>> {
        self.real.call_function(name, arguments)
    }

    fn stop(&self) -> Call<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn close(&self) -> Call<'_, ()> {
        if self.owned {
            return self.real.close();
        }
        Box::pin(async {})
    }
}
