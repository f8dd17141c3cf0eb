//! The provider that is part of the binary: `terraform.io/builtin/terraform`.
//!
//! It has the resource `terraform_data`, the data source `terraform_remote_state`, and functions that write
//! and read variables files and expressions.

mod functions;
mod remote_state;
mod terraform_data;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use consort_hcl::{Type, Value, json};

pub use remote_state::{RemoteStateError, RemoteStates};

use super::schema::{Block, Capabilities, Function, Kind, Schemas};
use super::{
    Applied, Apply, Call, Configure, DataRead, Diagnostic, Diagnostics, FunctionError, Import,
    Imported, MoveState, Moved, OpenEphemeral, Opened, Plan, Planned, Provider, RawState, Read,
    ReadData, ReadDone, Renewed, UpgradeIdentity, UpgradeState, UpgradedIdentity, UpgradedState,
    Validate,
};

const DATA: &str = "terraform_data";
const REMOTE_STATE: &str = "terraform_remote_state";

/// The provider `terraform.io/builtin/terraform`.
pub struct Terraform {
    schemas: Arc<Schemas>,
    states: Option<Arc<dyn RemoteStates>>,
}

impl Terraform {
    /// With what reads the states of other configurations; without it `terraform_remote_state` fails with a
    /// message that says so.
    pub fn new(states: Option<Arc<dyn RemoteStates>>) -> Self {
        let schemas = Schemas::eager(
            Block::default(),
            functions::all(),
            Capabilities {
                move_resource_state: true,
                get_provider_schema_optional: true,
                ..Capabilities::default()
            },
            [
                (Kind::Managed, DATA, terraform_data::schema()),
                (Kind::Data, REMOTE_STATE, remote_state::schema()),
            ],
        );
        Self {
            schemas: Arc::new(schemas),
            states,
        }
    }
}

fn no_such(kind: Kind, name: &str) -> Diagnostics {
    Diagnostic::error(
        format!("Unknown {kind}"),
        format!("The provider does not support {kind} \"{name}\"."),
    )
    .into()
}

fn ready<'a, T: Send + 'a>(value: T) -> Call<'a, T> {
    Box::pin(std::future::ready(value))
}

impl Provider for Terraform {
    fn schemas(&self) -> Call<'_, Result<Arc<Schemas>, Diagnostics>> {
        ready(Ok(Arc::clone(&self.schemas)))
    }

    fn validate_config(&self, _config: Value) -> Call<'_, Diagnostics> {
        ready(Diagnostics::new())
    }

    fn configure(&self, _request: Configure) -> Call<'_, Diagnostics> {
        ready(Diagnostics::new())
    }

    fn validate_resource(&self, request: Validate) -> Call<'_, Diagnostics> {
        ready(match &*request.type_name {
            DATA => terraform_data::validate(&request.config),
            other => no_such(Kind::Managed, other),
        })
    }

    fn validate_data(&self, request: Validate) -> Call<'_, Diagnostics> {
        ready(match &*request.type_name {
            REMOTE_STATE => remote_state::validate(&request.config, self.states.as_deref()),
            other => no_such(Kind::Data, other),
        })
    }

    fn validate_ephemeral(&self, request: Validate) -> Call<'_, Diagnostics> {
        ready(no_such(Kind::Ephemeral, &request.type_name))
    }

    fn upgrade_state(&self, request: UpgradeState) -> Call<'_, UpgradedState> {
        let ty = terraform_data::schema().block.implied_type();
        let decoded = match &request.raw {
            RawState::Json(text) => json::decode(text, &ty).map_err(|e| e.to_string()),
            RawState::Flatmap(_) => Err("terraform_data is younger than flat states".to_owned()),
        };
        ready(match decoded {
            Ok(state) => UpgradedState {
                state,
                diagnostics: Diagnostics::new(),
            },
            Err(error) => UpgradedState {
                state: Value::null(ty),
                diagnostics: Diagnostic::error("Invalid state of terraform_data", error).into(),
            },
        })
    }

    fn upgrade_identity(&self, request: UpgradeIdentity) -> Call<'_, UpgradedIdentity> {
        ready(UpgradedIdentity {
            identity: None,
            diagnostics: no_such(Kind::Managed, &request.type_name),
        })
    }

    fn read_resource(&self, request: Read) -> Call<'_, ReadDone> {
        ready(ReadDone {
            state: request.prior,
            private: request.private,
            identity: None,
            deferred: None,
            diagnostics: Diagnostics::new(),
        })
    }

    fn plan_resource(&self, request: Plan) -> Call<'_, Planned> {
        ready(terraform_data::plan(&request))
    }

    fn apply_resource(&self, request: Apply) -> Call<'_, Applied> {
        ready(terraform_data::apply(&request))
    }

    fn import_resource(&self, request: Import) -> Call<'_, Imported> {
        ready(match &*request.type_name {
            DATA => terraform_data::import(&request),
            other => Imported {
                diagnostics: no_such(Kind::Managed, other),
                ..Imported::default()
            },
        })
    }

    fn move_state(&self, request: MoveState) -> Call<'_, Moved> {
        ready(terraform_data::take_over(&request))
    }

    fn read_data(&self, request: ReadData) -> Call<'_, DataRead> {
        match &*request.type_name {
            REMOTE_STATE => Box::pin(remote_state::read(request.config, self.states.as_deref())),
            other => ready(DataRead {
                state: Value::null(request.config.ty().clone()),
                deferred: None,
                diagnostics: no_such(Kind::Data, other),
            }),
        }
    }

    fn open_ephemeral(&self, request: OpenEphemeral) -> Call<'_, Opened> {
        ready(Opened {
            result: Value::null(Type::Dynamic),
            private: None,
            renew_at: None,
            deferred: None,
            diagnostics: no_such(Kind::Ephemeral, &request.type_name),
        })
    }

    fn renew_ephemeral(&self, type_name: Arc<str>, _private: Option<Bytes>) -> Call<'_, Renewed> {
        ready(Renewed {
            diagnostics: no_such(Kind::Ephemeral, &type_name),
            ..Renewed::default()
        })
    }

    fn close_ephemeral(
        &self,
        type_name: Arc<str>,
        _private: Option<Bytes>,
    ) -> Call<'_, Diagnostics> {
        ready(no_such(Kind::Ephemeral, &type_name))
    }

    fn functions(&self) -> Call<'_, Result<BTreeMap<Arc<str>, Function>, Diagnostics>> {
        ready(Ok(self.schemas.functions.clone()))
    }

    fn call_function(
        &self,
        name: Arc<str>,
        arguments: Vec<Value>,
    ) -> Call<'_, Result<Value, FunctionError>> {
        ready(functions::call(&name, &arguments))
    }

    fn stop(&self) -> Call<'_, Result<(), String>> {
        ready(Ok(()))
    }

    fn close(&self) -> Call<'_, ()> {
        ready(())
    }
}
