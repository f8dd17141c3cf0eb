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

pub(crate) use functions::{write_string, write_value};
pub use remote_state::{Outputs, RemoteStateError, RemoteStates};

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
            REMOTE_STATE => Box::pin(async move {
                remote_state::read(&request.address, request.config, self.states.as_deref()).await
            }),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::objects::proposed_new;

    fn data(input: Value, triggers: Value) -> Value {
        Value::object([
            ("id", Value::null(Type::String)),
            ("input", input),
            ("output", Value::null(Type::Dynamic)),
            ("triggers_replace", triggers),
        ])
    }

    async fn step(provider: &Terraform, prior: Value, config: Value) -> (Planned, Value) {
        let block = terraform_data::schema().block;
        let planned = provider
            .plan_resource(Plan {
                type_name: DATA.into(),
                proposed: proposed_new(&block, &prior, &config),
                prior: prior.clone(),
                config: config.clone(),
                private: Bytes::new(),
                provider_meta: None,
                identity: None,
                deferral_allowed: false,
            })
            .await;
        let applied = provider
            .apply_resource(Apply {
                type_name: DATA.into(),
                prior,
                planned: planned.state.clone(),
                config,
                private: Bytes::new(),
                provider_meta: None,
                identity: None,
            })
            .await;
        (planned, applied.state.unwrap())
    }

    #[tokio::test]
    async fn terraform_data_keeps_its_identity_until_a_trigger_changes() {
        let provider = Terraform::new(None);
        let none = Value::null(Type::Dynamic);
        let prior = Value::null(terraform_data::schema().block.implied_type());
        let (planned, first) = step(&provider, prior, data(Value::string("a"), none.clone())).await;
        let output = planned.state.attribute("output").unwrap();
        assert!(!output.is_known() && *output.ty() == Type::String);
        assert_eq!(first.attribute("output").unwrap().as_str(), Some("a"));
        let id = first.attribute("id").unwrap();
        assert_eq!(id.as_str().map(str::len), Some(36));

        let (planned, same) = step(
            &provider,
            first.clone(),
            data(Value::string("a"), none.clone()),
        )
        .await;
        assert!(planned.state.raw_equals(&first) && same.raw_equals(&first));

        let (planned, changed) = step(&provider, first.clone(), data(Value::number(1), none)).await;
        assert!(planned.requires_replace.is_empty());
        assert!(changed.attribute("id").unwrap().raw_equals(&id));
        assert!(
            changed
                .attribute("output")
                .unwrap()
                .raw_equals(&Value::number(1))
        );

        let (planned, _) = step(
            &provider,
            first,
            data(Value::string("a"), Value::string("again")),
        )
        .await;
        assert_eq!(planned.requires_replace[0].to_string(), ".triggers_replace");
        assert!(!planned.state.attribute("id").unwrap().is_known());
    }

    #[tokio::test]
    async fn variables_files_are_written_and_read_back() {
        let provider = Terraform::new(None);
        let value = Value::object([
            (
                "list",
                Value::tuple(vec![
                    Value::number(1),
                    Value::TRUE,
                    Value::null(Type::Dynamic),
                ]),
            ),
            ("text", Value::string("a \"b\" ${c}\n")),
            (
                "nested",
                Value::object([("not an identifier", Value::string("x"))]),
            ),
        ]);
        let text = provider
            .call_function("encode_tfvars".into(), vec![value.clone()])
            .await
            .unwrap();
        let back = provider
            .call_function("decode_tfvars".into(), vec![text])
            .await
            .unwrap();
        assert!(back.raw_equals(&value), "{back:?}");
        let list = Value::tuple(vec![Value::string("a"), Value::number(2)]);
        let expr = provider
            .call_function("encode_expr".into(), vec![list])
            .await
            .unwrap();
        assert_eq!(expr.as_str(), Some("[\"a\", 2]"));
        let error = provider
            .call_function("decode_tfvars".into(), vec![Value::string("a =")])
            .await
            .unwrap_err();
        assert!(error.message.contains("on line 1"), "{error}");
    }

    #[tokio::test]
    async fn a_null_resource_can_become_a_terraform_data() {
        let provider = Terraform::new(None);
        let moved = provider
            .move_state(MoveState {
                source_provider: "registry.terraform.io/hashicorp/null".to_owned(),
                source_type_name: "null_resource".into(),
                source_version: 0,
                source_state: RawState::Json(r#"{"id":"7","triggers":{"a":"b"}}"#.into()),
                source_private: Bytes::new(),
                source_identity: None,
                target_type_name: DATA.into(),
            })
            .await;
        assert!(moved.diagnostics.is_empty(), "{}", moved.diagnostics);
        assert_eq!(moved.state.attribute("id").unwrap().as_str(), Some("7"));
        assert!(
            moved
                .state
                .attribute("triggers_replace")
                .unwrap()
                .attribute("a")
                .is_ok()
        );
    }
}
