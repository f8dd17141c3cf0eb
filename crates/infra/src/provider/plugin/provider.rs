//! A plugin process as a [`Provider`].

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use consort_hcl::{Type, Value};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::OnceCell;

use super::channel::{Channel, Status};
use super::process::Process;
use super::schema_cache::{self, Fetched};
use super::{convert, wire};
use crate::provider::schema::{Error as SchemaError, Function, Kind, ResourceSchema, Schemas};
use crate::provider::{
    Applied, Apply, Call, Configure, DataRead, Diagnostic, Diagnostics, FunctionError, Import,
    ImportTarget, Imported, ImportedResource, MoveState, Moved, OpenEphemeral, Opened, Plan,
    Planned, Provider, RawState, Read, ReadData, ReadDone, Renewed, UpgradeIdentity, UpgradeState,
    UpgradedIdentity, UpgradedState, Validate,
};

/// How long a provider has to acknowledge that it is to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for a process whose connection broke to be reaped, to say how it ended.
const DEATH_NOTICE: Duration = Duration::from_millis(500);

/// Schemas by program, shared by all processes of one [`super::Launcher`].
#[derive(Clone, Debug, Default)]
pub(super) struct SharedSchemas(Arc<Mutex<HashMap<String, Slot>>>);

type Slot = Arc<OnceCell<Arc<Schemas>>>;

impl SharedSchemas {
    fn of(&self, key: &str) -> Slot {
        Arc::clone(self.0.lock().entry(key.to_owned()).or_default())
    }
}

/// A provider that runs as a process of its own.
///
/// One process serves one provider configuration and all resources under it; its calls run at the same
/// time. Dropping it kills the process; [`Provider::close`] ends it in order.
pub struct Plugin {
    process: Process,
    channel: Channel,
    protocol: u8,
    cache: Option<PathBuf>,
    shared: SharedSchemas,
    schemas: OnceCell<Arc<Schemas>>,
    functions: OnceCell<BTreeMap<Arc<str>, Function>>,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("name", self.process.name())
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

/// One call: its name on the wire in both versions, and in messages.
#[derive(Clone, Copy)]
struct Method {
    v5: &'static str,
    v6: &'static str,
    shown: &'static str,
}

const fn method(name: &'static str) -> Method {
    Method {
        v5: name,
        v6: name,
        shown: name,
    }
}

const GET_SCHEMA: Method = Method {
    v5: "GetSchema",
    v6: "GetProviderSchema",
    shown: "GetProviderSchema",
};
const VALIDATE_PROVIDER: Method = Method {
    v5: "PrepareProviderConfig",
    v6: "ValidateProviderConfig",
    shown: "ValidateProviderConfig",
};
const VALIDATE_RESOURCE: Method = Method {
    v5: "ValidateResourceTypeConfig",
    v6: "ValidateResourceConfig",
    shown: "ValidateResourceConfig",
};
const VALIDATE_DATA: Method = Method {
    v5: "ValidateDataSourceConfig",
    v6: "ValidateDataResourceConfig",
    shown: "ValidateDataResourceConfig",
};
const VALIDATE_EPHEMERAL: Method = method("ValidateEphemeralResourceConfig");
const CONFIGURE: Method = Method {
    v5: "Configure",
    v6: "ConfigureProvider",
    shown: "ConfigureProvider",
};
const STOP: Method = Method {
    v5: "Stop",
    v6: "StopProvider",
    shown: "Stop",
};

impl Plugin {
    pub(super) fn new(
        process: Process,
        channel: Channel,
        protocol: u8,
        cache: Option<PathBuf>,
        shared: SharedSchemas,
    ) -> Self {
        Self {
            process,
            channel,
            protocol,
            cache,
            shared,
            schemas: OnceCell::new(),
            functions: OnceCell::new(),
        }
    }

    /// The version of the protocol in use, 5 or 6.
    pub fn protocol(&self) -> u8 {
        self.protocol
    }

    async fn raw(&self, method: Method, request: &impl Message) -> Result<Bytes, Status> {
        let (service, name) = if self.protocol == 5 {
            ("tfplugin5", method.v5)
        } else {
            ("tfplugin6", method.v6)
        };
        self.channel
            .unary(
                &format!("/{service}.Provider/{name}"),
                request.encode_to_vec().into(),
            )
            .await
    }

    async fn call<R: Message + Default>(
        &self,
        method: Method,
        request: &impl Message,
    ) -> Result<R, Diagnostic> {
        match self.raw(method, request).await {
            Ok(answer) => R::decode(answer).map_err(|e| {
                self.failed(method, &Status::new(Status::INTERNAL, e.to_string()), None)
            }),
            Err(status) => {
                let ended = if status.code == Status::UNAVAILABLE {
                    self.process.end_within(DEATH_NOTICE).await
                } else {
                    None
                };
                Err(self.failed(method, &status, ended))
            }
        }
    }

    /// What terraform says of a call that gave no answer, and what is known of the reason.
    fn failed(
        &self,
        method: Method,
        status: &Status,
        ended: Option<std::process::ExitStatus>,
    ) -> Diagnostic {
        tracing::error!(provider = &**self.process.name(), method = method.shown, %status, "a call to a provider failed");
        let call = format!(
            "{}.(*GRPCProvider).{}",
            if self.protocol == 5 {
                "plugin"
            } else {
                "plugin6"
            },
            method.shown
        );
        match status.code {
            Status::UNAVAILABLE => {
                let mut detail = format!(
                    "The plugin encountered an error, and failed to respond to the {call} call. The plugin logs may \
                     contain more details."
                );
                if let Some(ended) = ended {
                    detail.push_str(&format!(
                        "\n\nThe provider's process {} ended ({ended}).",
                        self.process.name()
                    ));
                    let words = self.process.last_words();
                    if !words.is_empty() {
                        detail.push_str(" The last it wrote:\n");
                        detail.push_str(&words);
                    }
                }
                Diagnostic::error("Plugin did not respond", detail)
            }
            Status::CANCELLED => Diagnostic::error(
                "Request cancelled",
                format!("The {call} request was cancelled."),
            ),
            Status::UNIMPLEMENTED => Diagnostic::error(
                "Unsupported plugin method",
                format!("The {call} method is not supported by this plugin."),
            ),
            code => Diagnostic::error(
                "Plugin error",
                format!(
                    "The plugin returned an unexpected error from {call}: rpc error: code = {code} desc = {}",
                    status.message
                ),
            ),
        }
    }

    async fn fetch(&self) -> Result<(Fetched, Diagnostics), Diagnostics> {
        let schema: wire::ProviderSchema = self.call(GET_SCHEMA, &wire::Empty {}).await?;
        let said = convert::diagnostics(schema.diagnostics.clone());
        if said.has_errors() {
            return Err(said);
        }
        let identities = match self
            .raw(method("GetResourceIdentitySchemas"), &wire::Empty {})
            .await
        {
            Ok(answer) => wire::IdentitySchemas::decode(answer)
                .map(|a| a.schemas)
                .unwrap_or_default(),
            Err(status) => {
                // Older providers have none.
                if status.code != Status::UNIMPLEMENTED {
                    tracing::warn!(provider = &**self.process.name(), %status, "no identity schemas");
                }
                HashMap::new()
            }
        };
        Ok((
            Fetched {
                protocol: self.protocol,
                schema,
                identities,
            },
            said,
        ))
    }

    async fn load_schemas(&self) -> Result<Arc<Schemas>, Diagnostics> {
        let binary = self.process.binary().to_owned();
        let key = tokio::task::spawn_blocking(move || schema_cache::key(&binary))
            .await
            .ok()
            .and_then(Result::ok);
        // Without a program there is nothing to recognise the schemas by later.
        let Some(key) = key else {
            return self.receive(None).await;
        };
        let cell = self.shared.of(&key);
        let mut asked = false;
        let schemas = cell
            .get_or_try_init(|| async {
                if let Some(directory) = self.cache.clone() {
                    let wanted = key.clone();
                    let kept = tokio::task::spawn_blocking(move || {
                        schema_cache::load(&directory, &wanted)
                    })
                    .await;
                    if let Ok(Some(schemas)) = kept {
                        return Ok(Arc::new(schemas));
                    }
                }
                asked = true;
                self.receive(Some(&key)).await
            })
            .await?;
        // Some providers work only once they were asked, whatever we know already.
        if !asked
            && !schemas.capabilities.get_provider_schema_optional
            && let Err(status) = self.raw(GET_SCHEMA, &wire::Empty {}).await
        {
            return Err(self.failed(GET_SCHEMA, &status, None).into());
        }
        Ok(Arc::clone(schemas))
    }

    /// Asks the provider, and keeps the answer under `key`.
    async fn receive(&self, key: Option<&str>) -> Result<Arc<Schemas>, Diagnostics> {
        let (fetched, _warnings) = self.fetch().await?;
        let keep = self.cache.clone().zip(key.map(str::to_owned));
        let built = tokio::task::spawn_blocking(move || {
            if let Some((directory, key)) = keep {
                match schema_cache::store(&directory, &key, &fetched) {
                    // From the file, so that the whole answer need not stay in memory.
                    Ok(()) => {
                        if let Some(schemas) = schema_cache::load(&directory, &key) {
                            return Ok(schemas);
                        }
                    }
                    Err(error) => tracing::debug!(%error, "could not keep a provider's schemas"),
                }
            }
            schema_cache::received(fetched)
        })
        .await;
        match built {
            Ok(Ok(schemas)) => Ok(Arc::new(schemas)),
            Ok(Err(error)) => Err(malformed(&error).into()),
            Err(error) => {
                Err(Diagnostic::error("Failed to load provider schema", error.to_string()).into())
            }
        }
    }

    async fn all(&self) -> Result<&Arc<Schemas>, Diagnostics> {
        self.schemas.get_or_try_init(|| self.load_schemas()).await
    }

    async fn schema(&self, kind: Kind, name: &str) -> Result<Arc<ResourceSchema>, Diagnostics> {
        self.all()
            .await?
            .resource(kind, name)
            .map_err(|error| malformed(&error).into())
    }

    async fn meta(&self, value: Option<&Value>) -> Result<Option<wire::DynamicValue>, Diagnostics> {
        let Some(schema) = &self.all().await?.provider_meta else {
            return Ok(None);
        };
        let ty = schema.implied_type();
        let null = Value::null(ty.clone());
        Ok(Some(convert::encode(value.unwrap_or(&null), &ty)?))
    }

    async fn validate(
        &self,
        method: Method,
        kind: Kind,
        request: Validate,
    ) -> Result<Diagnostics, Diagnostics> {
        let schema = self.schema(kind, &request.type_name).await?;
        let client = (kind == Kind::Managed).then_some(client(false));
        let message = wire::ValidateRequest {
            type_name: request.type_name.to_string(),
            config: Some(convert::encode(
                &request.config,
                &schema.block.implied_type(),
            )?),
            client,
        };
        let answer: wire::DiagnosticsResponse = self.call(method, &message).await?;
        Ok(convert::diagnostics(answer.diagnostics))
    }
}

fn malformed(error: &SchemaError) -> Diagnostic {
    match error {
        SchemaError::NoSuchType { kind, name } => Diagnostic::error(
            format!("Unknown {kind}"),
            format!("The provider does not support {kind} \"{name}\"."),
        ),
        SchemaError::Malformed { .. } => Diagnostic::error(
            "Invalid provider schema",
            format!(
                "The provider's schema cannot be used: {error}.\n\nThis is a bug in the provider, which should be reported \
                 in the provider's own issue tracker."
            ),
        ),
    }
}

fn client(deferral_allowed: bool) -> wire::ClientCapabilities {
    wire::ClientCapabilities {
        deferral_allowed,
        write_only_attributes_allowed: true,
    }
}

fn encode_identity(
    schema: &ResourceSchema,
    identity: Option<&Value>,
) -> Result<Option<wire::Identity>, Diagnostics> {
    match (&schema.identity, identity) {
        (Some(schema), Some(identity)) if convert::is_identity(identity) => {
            Ok(Some(wire::Identity {
                data: Some(convert::encode(identity, &schema.ty())?),
            }))
        }
        _ => Ok(None),
    }
}

fn decode_identity(
    schema: &ResourceSchema,
    identity: Option<wire::Identity>,
    diagnostics: &mut Diagnostics,
) -> Option<Value> {
    let (schema, data) = (schema.identity.as_ref()?, identity?.data?);
    match convert::decode(Some(&data), &schema.ty()) {
        Ok(value) => convert::is_identity(&value).then_some(value),
        Err(error) => {
            diagnostics.push(error);
            None
        }
    }
}

/// The decoded value, or null and a message.
fn decoded(value: Option<&wire::DynamicValue>, ty: &Type, diagnostics: &mut Diagnostics) -> Value {
    convert::decode(value, ty).unwrap_or_else(|error| {
        diagnostics.push(error);
        Value::null(ty.clone())
    })
}

impl Provider for Plugin {
    fn schemas(&self) -> Call<'_, Result<Arc<Schemas>, Diagnostics>> {
        Box::pin(async { self.all().await.cloned() })
    }

    fn validate_config(&self, config: Value) -> Call<'_, Diagnostics> {
        Box::pin(async move {
            let outcome = async {
                let ty = self.all().await?.provider.implied_type();
                let request = wire::ConfigRequest {
                    config: Some(convert::encode(&config, &ty)?),
                };
                let answer: wire::ValidateConfigResponse =
                    self.call(VALIDATE_PROVIDER, &request).await?;
                Ok(convert::diagnostics(answer.diagnostics))
            };
            outcome
                .await
                .unwrap_or_else(|diagnostics: Diagnostics| diagnostics)
        })
    }

    fn configure(&self, request: Configure) -> Call<'_, Diagnostics> {
        Box::pin(async move {
            let outcome = async {
                let ty = self.all().await?.provider.implied_type();
                let message = wire::ConfigureRequest {
                    terraform_version: request.terraform_version.to_string(),
                    config: Some(convert::encode(&request.config, &ty)?),
                    client: Some(client(request.deferral_allowed)),
                };
                let answer: wire::DiagnosticsResponse = self.call(CONFIGURE, &message).await?;
                Ok(convert::diagnostics(answer.diagnostics))
            };
            outcome
                .await
                .unwrap_or_else(|diagnostics: Diagnostics| diagnostics)
        })
    }

    fn validate_resource(&self, request: Validate) -> Call<'_, Diagnostics> {
        Box::pin(async move {
            self.validate(VALIDATE_RESOURCE, Kind::Managed, request)
                .await
                .unwrap_or_else(|d| d)
        })
    }

    fn validate_data(&self, request: Validate) -> Call<'_, Diagnostics> {
        Box::pin(async move {
            self.validate(VALIDATE_DATA, Kind::Data, request)
                .await
                .unwrap_or_else(|d| d)
        })
    }

    fn validate_ephemeral(&self, request: Validate) -> Call<'_, Diagnostics> {
        Box::pin(async move {
            self.validate(VALIDATE_EPHEMERAL, Kind::Ephemeral, request)
                .await
                .unwrap_or_else(|d| d)
        })
    }

    fn upgrade_state(&self, request: UpgradeState) -> Call<'_, UpgradedState> {
        Box::pin(async move {
            let outcome = async {
                let schema = self.schema(Kind::Managed, &request.type_name).await?;
                let message = wire::UpgradeRequest {
                    type_name: request.type_name.to_string(),
                    version: request.version,
                    raw: Some(convert::raw_state(request.raw)),
                };
                let answer: wire::UpgradeStateResponse =
                    self.call(method("UpgradeResourceState"), &message).await?;
                let mut diagnostics = convert::diagnostics(answer.diagnostics);
                let state = decoded(
                    answer.state.as_ref(),
                    &schema.block.implied_type(),
                    &mut diagnostics,
                );
                Ok(UpgradedState { state, diagnostics })
            };
            outcome
                .await
                .unwrap_or_else(|diagnostics: Diagnostics| UpgradedState {
                    state: Value::null(Type::Dynamic),
                    diagnostics,
                })
        })
    }

    fn upgrade_identity(&self, request: UpgradeIdentity) -> Call<'_, UpgradedIdentity> {
        Box::pin(async move {
            let outcome = async {
                let schema = self.schema(Kind::Managed, &request.type_name).await?;
                let message = wire::UpgradeRequest {
                    type_name: request.type_name.to_string(),
                    version: request.version,
                    raw: Some(convert::raw_state(RawState::Json(request.raw))),
                };
                let answer: wire::UpgradeIdentityResponse = self
                    .call(method("UpgradeResourceIdentity"), &message)
                    .await?;
                let mut diagnostics = convert::diagnostics(answer.diagnostics);
                let identity = decode_identity(&schema, answer.identity, &mut diagnostics);
                if identity.is_none() && !diagnostics.has_errors() {
                    let detail = format!(
                        "The provider returned a nil identity for \"{}\" after UpgradeResourceIdentity without reporting \
                         an error. This is a bug in the provider.",
                        request.type_name
                    );
                    diagnostics.push(Diagnostic::error(
                        "Provider returned no identity after upgrade",
                        detail,
                    ));
                }
                Ok(UpgradedIdentity {
                    identity,
                    diagnostics,
                })
            };
            outcome
                .await
                .unwrap_or_else(|diagnostics: Diagnostics| UpgradedIdentity {
                    identity: None,
                    diagnostics,
                })
        })
    }

    fn read_resource(&self, request: Read) -> Call<'_, ReadDone> {
        Box::pin(async move {
            let (prior, private, identity) = (
                request.prior.clone(),
                request.private.clone(),
                request.identity.clone(),
            );
            let outcome = async {
                let schema = self.schema(Kind::Managed, &request.type_name).await?;
                let ty = schema.block.implied_type();
                let message = wire::ReadRequest {
                    type_name: request.type_name.to_string(),
                    current: Some(convert::encode(&request.prior, &ty)?),
                    private: request.private,
                    provider_meta: self.meta(request.provider_meta.as_ref()).await?,
                    client: Some(client(request.deferral_allowed)),
                    identity: encode_identity(&schema, request.identity.as_ref())?,
                };
                let answer: wire::ReadResponse =
                    self.call(method("ReadResource"), &message).await?;
                let mut diagnostics = convert::diagnostics(answer.diagnostics);
                let state = decoded(answer.state.as_ref(), &ty, &mut diagnostics);
                let identity = decode_identity(&schema, answer.identity, &mut diagnostics);
                diagnostics.append(schema.block.write_only_problems(&state, &request.type_name));
                let deferred = convert::deferred(answer.deferred);
                Ok(ReadDone {
                    state,
                    private: answer.private,
                    identity,
                    deferred,
                    diagnostics,
                })
            };
            // Nothing is known to have changed.
            outcome
                .await
                .unwrap_or_else(|diagnostics: Diagnostics| ReadDone {
                    state: prior,
                    private,
                    identity,
                    deferred: None,
                    diagnostics,
                })
        })
    }

    fn plan_resource(&self, request: Plan) -> Call<'_, Planned> {
        Box::pin(async move {
            let nothing = |state: Value,
                           private: Bytes,
                           identity: Option<Value>,
                           diagnostics: Diagnostics| Planned {
                state,
                requires_replace: Vec::new(),
                private,
                identity,
                legacy_type_system: false,
                deferred: None,
                diagnostics,
            };
            let null = Value::null(request.proposed.ty().clone());
            let outcome = async {
                let schema = self.schema(Kind::Managed, &request.type_name).await?;
                // Most providers have nothing to say about a destruction.
                if request.proposed.is_null() && !self.all().await?.capabilities.plan_destroy {
                    return Ok(nothing(
                        request.proposed,
                        request.private,
                        request.identity,
                        Diagnostics::new(),
                    ));
                }
                let ty = schema.block.implied_type();
                let message = wire::PlanRequest {
                    type_name: request.type_name.to_string(),
                    prior: Some(convert::encode(&request.prior, &ty)?),
                    proposed: Some(convert::encode(&request.proposed, &ty)?),
                    config: Some(convert::encode(&request.config, &ty)?),
                    private: request.private,
                    provider_meta: self.meta(request.provider_meta.as_ref()).await?,
                    client: Some(client(request.deferral_allowed)),
                    identity: encode_identity(&schema, request.identity.as_ref())?,
                };
                let answer: wire::PlanResponse =
                    self.call(method("PlanResourceChange"), &message).await?;
                let mut diagnostics = convert::diagnostics(answer.diagnostics);
                let state = decoded(answer.state.as_ref(), &ty, &mut diagnostics);
                let identity = decode_identity(&schema, answer.identity, &mut diagnostics);
                diagnostics.append(schema.block.write_only_problems(&state, &request.type_name));
                Ok(Planned {
                    state,
                    requires_replace: answer.requires_replace.iter().map(convert::path).collect(),
                    private: answer.private,
                    identity,
                    legacy_type_system: answer.legacy_type_system,
                    deferred: convert::deferred(answer.deferred),
                    diagnostics,
                })
            };
            outcome
                .await
                .unwrap_or_else(|diagnostics| nothing(null, Bytes::new(), None, diagnostics))
        })
    }

    fn apply_resource(&self, request: Apply) -> Call<'_, Applied> {
        Box::pin(async move {
            let outcome = async {
                let schema = self.schema(Kind::Managed, &request.type_name).await?;
                let ty = schema.block.implied_type();
                let message = wire::ApplyRequest {
                    type_name: request.type_name.to_string(),
                    prior: Some(convert::encode(&request.prior, &ty)?),
                    planned: Some(convert::encode(&request.planned, &ty)?),
                    config: Some(convert::encode(&request.config, &ty)?),
                    private: request.private.clone(),
                    provider_meta: self.meta(request.provider_meta.as_ref()).await?,
                    identity: encode_identity(&schema, request.identity.as_ref())?,
                };
                let answer: wire::ApplyResponse =
                    self.call(method("ApplyResourceChange"), &message).await?;
                let mut diagnostics = convert::diagnostics(answer.diagnostics);
                let state = match convert::decode(answer.state.as_ref(), &ty) {
                    Ok(state) => Some(state),
                    Err(error) => {
                        diagnostics.push(error);
                        None
                    }
                };
                let identity = decode_identity(&schema, answer.identity, &mut diagnostics);
                if let Some(state) = &state {
                    diagnostics.append(schema.block.write_only_problems(state, &request.type_name));
                }
                Ok(Applied {
                    state,
                    private: answer.private,
                    identity,
                    legacy_type_system: answer.legacy_type_system,
                    diagnostics,
                })
            };
            outcome
                .await
                .unwrap_or_else(|diagnostics: Diagnostics| Applied {
                    state: None,
                    private: request.private.clone(),
                    identity: None,
                    legacy_type_system: false,
                    diagnostics,
                })
        })
    }

    fn import_resource(&self, request: Import) -> Call<'_, Imported> {
        Box::pin(async move {
            let outcome = async {
                let schema = self.schema(Kind::Managed, &request.type_name).await?;
                let mut message = wire::ImportRequest {
                    type_name: request.type_name.to_string(),
                    client: Some(client(request.deferral_allowed)),
                    ..wire::ImportRequest::default()
                };
                match &request.target {
                    ImportTarget::Id(id) => message.id.clone_from(id),
                    ImportTarget::Identity(identity) => {
                        if schema.identity.is_none() {
                            let detail = format!(
                                "No identity schema available for resource type \"{}\".",
                                request.type_name
                            );
                            return Err(
                                Diagnostic::error("No identity schema found", detail).into()
                            );
                        }
                        message.identity = encode_identity(&schema, Some(identity))?;
                    }
                }
                let answer: wire::ImportResponse =
                    self.call(method("ImportResourceState"), &message).await?;
                let mut diagnostics = convert::diagnostics(answer.diagnostics);
                let mut resources = Vec::new();
                for imported in answer.imported {
                    let schema = match self.schema(Kind::Managed, &imported.type_name).await {
                        Ok(schema) => schema,
                        Err(errors) => {
                            diagnostics.append(errors);
                            continue;
                        }
                    };
                    let state = decoded(
                        imported.state.as_ref(),
                        &schema.block.implied_type(),
                        &mut diagnostics,
                    );
                    let identity = decode_identity(&schema, imported.identity, &mut diagnostics);
                    diagnostics.append(
                        schema
                            .block
                            .write_only_problems(&state, &imported.type_name),
                    );
                    resources.push(ImportedResource {
                        type_name: imported.type_name.into(),
                        state,
                        private: imported.private,
                        identity,
                    });
                }
                Ok(Imported {
                    resources,
                    deferred: convert::deferred(answer.deferred),
                    diagnostics,
                })
            };
            outcome
                .await
                .unwrap_or_else(|diagnostics: Diagnostics| Imported {
                    diagnostics,
                    ..Imported::default()
                })
        })
    }

    fn move_state(&self, request: MoveState) -> Call<'_, Moved> {
        Box::pin(async move {
            let outcome = async {
                let schema = self
                    .schema(Kind::Managed, &request.target_type_name)
                    .await?;
                let (source_identity_version, source_identity) = match request.source_identity {
                    Some((version, json)) => {
                        (version, Some(convert::raw_state(RawState::Json(json))))
                    }
                    None => (0, None),
                };
                let message = wire::MoveRequest {
                    source_provider: request.source_provider,
                    source_type_name: request.source_type_name.to_string(),
                    source_version: request.source_version,
                    source_state: Some(convert::raw_state(request.source_state)),
                    target_type_name: request.target_type_name.to_string(),
                    source_private: request.source_private,
                    source_identity,
                    source_identity_version,
                };
                let answer: wire::MoveResponse =
                    self.call(method("MoveResourceState"), &message).await?;
                let mut diagnostics = convert::diagnostics(answer.diagnostics);
                let state = decoded(
                    answer.state.as_ref(),
                    &schema.block.implied_type(),
                    &mut diagnostics,
                );
                let identity = decode_identity(&schema, answer.identity, &mut diagnostics);
                diagnostics.append(
                    schema
                        .block
                        .write_only_problems(&state, &request.target_type_name),
                );
                Ok(Moved {
                    state,
                    private: answer.private,
                    identity,
                    diagnostics,
                })
            };
            outcome
                .await
                .unwrap_or_else(|diagnostics: Diagnostics| Moved {
                    state: Value::null(Type::Dynamic),
                    private: Bytes::new(),
                    identity: None,
                    diagnostics,
                })
        })
    }

    fn read_data(&self, request: ReadData) -> Call<'_, DataRead> {
        Box::pin(async move {
            let null = Value::null(request.config.ty().clone());
            let outcome = async {
                let schema = self.schema(Kind::Data, &request.type_name).await?;
                let ty = schema.block.implied_type();
                let message = wire::ReadDataRequest {
                    type_name: request.type_name.to_string(),
                    config: Some(convert::encode(&request.config, &ty)?),
                    provider_meta: self.meta(request.provider_meta.as_ref()).await?,
                    client: Some(client(request.deferral_allowed)),
                };
                let answer: wire::ReadDataResponse =
                    self.call(method("ReadDataSource"), &message).await?;
                let mut diagnostics = convert::diagnostics(answer.diagnostics);
                let state = decoded(answer.state.as_ref(), &ty, &mut diagnostics);
                Ok(DataRead {
                    state,
                    deferred: convert::deferred(answer.deferred),
                    diagnostics,
                })
            };
            outcome
                .await
                .unwrap_or_else(|diagnostics: Diagnostics| DataRead {
                    state: null,
                    deferred: None,
                    diagnostics,
                })
        })
    }

    fn open_ephemeral(&self, request: OpenEphemeral) -> Call<'_, Opened> {
        Box::pin(async move {
            let null = Value::null(request.config.ty().clone());
            let outcome = async {
                let schema = self.schema(Kind::Ephemeral, &request.type_name).await?;
                let ty = schema.block.implied_type();
                let message = wire::ValidateRequest {
                    type_name: request.type_name.to_string(),
                    config: Some(convert::encode(&request.config, &ty)?),
                    client: Some(client(request.deferral_allowed)),
                };
                let answer: wire::OpenResponse =
                    self.call(method("OpenEphemeralResource"), &message).await?;
                let mut diagnostics = convert::diagnostics(answer.diagnostics);
                let result = decoded(answer.result.as_ref(), &ty, &mut diagnostics);
                Ok(Opened {
                    result,
                    private: answer.private,
                    renew_at: convert::time(answer.renew_at),
                    deferred: convert::deferred(answer.deferred),
                    diagnostics,
                })
            };
            outcome
                .await
                .unwrap_or_else(|diagnostics: Diagnostics| Opened {
                    result: null,
                    private: None,
                    renew_at: None,
                    deferred: None,
                    diagnostics,
                })
        })
    }

    fn renew_ephemeral(&self, type_name: Arc<str>, private: Option<Bytes>) -> Call<'_, Renewed> {
        Box::pin(async move {
            let message = wire::EphemeralRequest {
                type_name: type_name.to_string(),
                private,
            };
            match self
                .call::<wire::RenewResponse>(method("RenewEphemeralResource"), &message)
                .await
            {
                Ok(answer) => Renewed {
                    private: answer.private,
                    renew_at: convert::time(answer.renew_at),
                    diagnostics: convert::diagnostics(answer.diagnostics),
                },
                Err(error) => Renewed {
                    diagnostics: error.into(),
                    ..Renewed::default()
                },
            }
        })
    }

    fn close_ephemeral(
        &self,
        type_name: Arc<str>,
        private: Option<Bytes>,
    ) -> Call<'_, Diagnostics> {
        Box::pin(async move {
            let message = wire::EphemeralRequest {
                type_name: type_name.to_string(),
                private,
            };
            match self
                .call::<wire::DiagnosticsResponse>(method("CloseEphemeralResource"), &message)
                .await
            {
                Ok(answer) => convert::diagnostics(answer.diagnostics),
                Err(error) => error.into(),
            }
        })
    }

    fn functions(&self) -> Call<'_, Result<BTreeMap<Arc<str>, Function>, Diagnostics>> {
        Box::pin(async {
            let declared = &self.all().await?.functions;
            let answer: wire::FunctionsResponse = match self
                .raw(method("GetFunctions"), &wire::Empty {})
                .await
            {
                Ok(answer) => wire::FunctionsResponse::decode(answer).map_err(|e| {
                    self.failed(
                        method("GetFunctions"),
                        &Status::new(Status::INTERNAL, e.to_string()),
                        None,
                    )
                })?,
                // Providers that are older than functions.
                Err(status) if status.code == Status::UNIMPLEMENTED => return Ok(declared.clone()),
                Err(status) => {
                    return Err(self.failed(method("GetFunctions"), &status, None).into());
                }
            };
            let said = convert::diagnostics(answer.diagnostics);
            if said.has_errors() {
                return Err(said);
            }
            let mut functions = declared.clone();
            functions.extend(convert::functions(answer.functions).map_err(|e| malformed(&e))?);
            Ok(functions)
        })
    }

    fn call_function(
        &self,
        name: Arc<str>,
        arguments: Vec<Value>,
    ) -> Call<'_, Result<Value, FunctionError>> {
        Box::pin(async move {
            let fail = |message: String, argument| FunctionError { message, argument };
            let lost = |diagnostics: Diagnostics| fail(diagnostics.to_string(), None);
            let schemas = self.all().await.map_err(lost)?;
            let function = match schemas.functions.get(&name) {
                Some(function) => function,
                // Some are there only once the provider is configured.
                None => self
                    .functions
                    .get_or_try_init(|| self.functions())
                    .await
                    .map_err(lost)?
                    .get(&name)
                    .ok_or_else(|| fail(format!("the provider has no function {name:?}"), None))?,
            };
            if arguments.len() < function.parameters.len() {
                return Err(fail(
                    format!(
                        "{name} takes {} arguments, not {}",
                        function.parameters.len(),
                        arguments.len()
                    ),
                    None,
                ));
            }
            let mut encoded = Vec::with_capacity(arguments.len());
            for (i, argument) in arguments.iter().enumerate() {
                let parameter = function
                    .parameters
                    .get(i)
                    .or(function.variadic.as_ref())
                    .ok_or_else(|| {
                        fail(
                            format!("{name} takes {} arguments", function.parameters.len()),
                            Some(i),
                        )
                    })?;
                if !parameter.allow_unknown && !argument.is_wholly_known() {
                    return Ok(Value::unknown(function.returns.clone()));
                }
                if argument.is_null() && !parameter.allow_null {
                    return Err(fail(
                        format!(
                            "parameter {} is null, which is not allowed for function {name}",
                            parameter.name
                        ),
                        Some(i),
                    ));
                }
                encoded.push(
                    convert::encode(argument, &parameter.ty)
                        .map_err(|d| fail(d.detail, Some(i)))?,
                );
            }
            let message = wire::CallFunctionRequest {
                name: name.to_string(),
                arguments: encoded,
            };
            let answer: wire::CallFunctionResponse = self
                .call(method("CallFunction"), &message)
                .await
                .map_err(|d| fail(d.to_string(), None))?;
            if let Some(error) = answer.error {
                return Err(fail(
                    error.text,
                    error.argument.and_then(|a| usize::try_from(a).ok()),
                ));
            }
            convert::decode(answer.result.as_ref(), &function.returns)
                .map_err(|d| fail(d.detail, None))
        })
    }

    fn stop(&self) -> Call<'_, Result<(), String>> {
        Box::pin(async {
            match tokio::time::timeout(STOP_TIMEOUT, self.raw(STOP, &wire::Empty {})).await {
                Err(_) => Err(format!(
                    "the provider did not answer within {STOP_TIMEOUT:?}"
                )),
                Ok(Err(status)) => Err(status.to_string()),
                Ok(Ok(answer)) => match wire::StopResponse::decode(answer) {
                    Ok(answer) if answer.error.is_empty() => Ok(()),
                    Ok(answer) => Err(answer.error),
                    Err(error) => Err(error.to_string()),
                },
            }
        })
    }

    fn close(&self) -> Call<'_, ()> {
        Box::pin(self.process.close(&self.channel))
    }
}
