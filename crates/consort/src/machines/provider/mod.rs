//! The built-in provider `consort`: networks and machines of this host, with nothing to download.
//!
//! Its address is `terraform.io/builtin/consort`; `consort/consort` means the same.

mod join;
mod machine;
mod machine_spec;
mod network;
mod values;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use consort_hcl::{Path, Type, Value, json};
use consort_infra::provider::schema::{
    Attribute, Block, Capabilities, Function, Kind, ResourceSchema, Schemas,
};
use consort_infra::provider::{
    Applied, Apply, Call, Configure, DataRead, Diagnostic, Diagnostics, FunctionError, Import,
    ImportTarget, Imported, ImportedResource, MoveState, Moved, OpenEphemeral, Opened, Plan,
    Planned, Provider, RawState, Read, ReadData, ReadDone, Renewed, UpgradeIdentity, UpgradeState,
    UpgradedIdentity, UpgradedState, Validate,
};
use consort_machine::Machines;
use parking_lot::Mutex;

use super::Store;
use crate::error::{Failure, chain};

const NETWORK: &str = "consort_network";
const MACHINE: &str = "consort_machine";

/// The provider, configured once.
pub(crate) struct Consort {
    schemas: Arc<Schemas>,
    place: Mutex<Option<Arc<Place>>>,
    /// The installation whose machines these are unless the configuration names another.
    home: Option<PathBuf>,
}

/// Where the provider's objects are.
struct Place {
    machines: Machines,
    images: Store,
    data_dir: PathBuf,
    /// The data directory was named, and commands have to name it too.
    named: bool,
}

fn resource(block: Block) -> ResourceSchema {
    ResourceSchema {
        version: 0,
        block,
        identity: None,
    }
}

impl Consort {
    /// Not configured yet.
    pub(crate) fn new() -> Self {
        Self::of(None)
    }

    /// Not configured yet; unless it is told otherwise, for the machines of this data directory.
    pub(crate) fn of(home: Option<PathBuf>) -> Self {
        let block = Block::default().attribute(
            "data_dir",
            Attribute::new(Type::String).optional().described(
                "Data directory of the Consort installation whose machines these are; by default that of \
                 CONSORT_DATA_DIR or of the configuration file, else /var/lib/consort.",
            ),
        );
        let schemas = Schemas::eager(
            block,
            BTreeMap::new(),
            Capabilities {
                get_provider_schema_optional: true,
                ..Capabilities::default()
            },
            [
                (Kind::Managed, NETWORK, resource(network::schema())),
                (Kind::Managed, MACHINE, resource(machine::schema())),
                (Kind::Data, NETWORK, resource(network::data_schema())),
                (Kind::Data, MACHINE, resource(machine::data_schema())),
            ],
        );
        Self {
            schemas: Arc::new(schemas),
            place: Mutex::new(None),
            home,
        }
    }

    fn open(config: &Value, home: Option<&PathBuf>) -> Result<Place, Failure> {
        let settings = super::configuration()?;
        let own = values::text(config, "data_dir")
            .map(PathBuf::from)
            .or_else(|| home.cloned());
        let named = own.is_some();
        let data_dir = match own {
            Some(dir) => std::path::absolute(&dir).map_err(anyhow::Error::from)?,
            None => super::data_dir(&settings, None)?,
        };
        let default = PathBuf::from(crate::settings::DEFAULT_DATA_DIR);
        Ok(Place {
            machines: super::open(&data_dir)?,
            images: Store::new(data_dir.clone(), settings.registries()),
            named: named || data_dir != default,
            data_dir,
        })
    }

    fn place(&self) -> Result<Arc<Place>, Diagnostics> {
        self.place.lock().clone().ok_or_else(|| {
            Diagnostic::error(
                "Provider not configured",
                "The provider consort was asked for something before it was configured.",
            )
            .into()
        })
    }
}

/// Which attribute the words speak of that an error begins with.
const SPOKEN_OF: &[(&str, &str)] = &[
    ("network name", "name"),
    ("machine name", "name"),
    ("cidr", "cidr"),
    ("gateway", "gateway"),
    ("mtu", "mtu"),
    ("domain", "domain"),
    ("hostname", "hostname"),
    ("mac", "mac"),
    ("cpus", "cpus"),
    ("memory", "memory"),
    ("root", "root"),
    ("image", "image"),
    ("vm", "vm"),
    ("user_data", "user_data"),
    ("command", "command"),
    ("environment", "environment"),
    ("mount", "mount"),
    ("file", "file"),
    ("ssh key", "ssh_keys"),
    ("host port", "port"),
    ("port", "port"),
    ("route", "routes"),
    ("address", "address"),
    ("there is no network", "network"),
    ("no free address", "network"),
];

/// An error of machines about an object, at the attribute that it is about.
fn diagnostic(summary: &str, error: &consort_machine::Error) -> Diagnostics {
    let text = chain(error);
    let found = SPOKEN_OF.iter().find(|(words, _)| {
        text.strip_prefix(words)
            .is_some_and(|rest| rest.starts_with([' ', ':']))
    });
    let mut sentence = text.clone();
    if let Some(first) = sentence.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    if !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    let diagnostic = Diagnostic::error(summary, sentence);
    match found {
        Some((_, attribute)) => diagnostic.at(Path::root().attribute(*attribute)).into(),
        None => diagnostic.into(),
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

fn block_of(type_name: &str) -> Option<Block> {
    match type_name {
        NETWORK => Some(network::schema()),
        MACHINE => Some(machine::schema()),
        _ => None,
    }
}

/// What an apply came to.
type Outcome = (Option<Value>, Diagnostics);

impl Provider for Consort {
    fn schemas(&self) -> Call<'_, Result<Arc<Schemas>, Diagnostics>> {
        ready(Ok(Arc::clone(&self.schemas)))
    }

    fn validate_config(&self, _config: Value) -> Call<'_, Diagnostics> {
        ready(Diagnostics::new())
    }

    fn configure(&self, request: Configure) -> Call<'_, Diagnostics> {
        ready(match Self::open(&request.config, self.home.as_ref()) {
            Ok(place) => {
                *self.place.lock() = Some(Arc::new(place));
                Diagnostics::new()
            }
            Err(failure) => {
                Diagnostic::error("Invalid provider configuration", format!("{failure:?}.")).into()
            }
        })
    }

    fn validate_resource(&self, request: Validate) -> Call<'_, Diagnostics> {
        ready(match &*request.type_name {
            NETWORK => network::validate(&request.config),
            MACHINE => machine::validate(&request.config),
            other => no_such(Kind::Managed, other),
        })
    }

    fn validate_data(&self, request: Validate) -> Call<'_, Diagnostics> {
        ready(match &*request.type_name {
            NETWORK | MACHINE => Diagnostics::new(),
            other => no_such(Kind::Data, other),
        })
    }

    fn validate_ephemeral(&self, request: Validate) -> Call<'_, Diagnostics> {
        ready(no_such(Kind::Ephemeral, &request.type_name))
    }

    fn upgrade_state(&self, request: UpgradeState) -> Call<'_, UpgradedState> {
        let Some(block) = block_of(&request.type_name) else {
            return ready(UpgradedState {
                state: Value::null(Type::Dynamic),
                diagnostics: no_such(Kind::Managed, &request.type_name),
            });
        };
        let ty = block.implied_type();
        let decoded = match &request.raw {
            RawState::Json(text) => values::complete(text, &ty)
                .and_then(|text| json::decode(&text, &ty).map_err(|error| error.to_string())),
            RawState::Flatmap(_) => Err("it is in the flat form of Terraform 0.11".to_owned()),
        };
        ready(match decoded {
            Ok(state) => UpgradedState {
                state,
                diagnostics: Diagnostics::new(),
            },
            Err(error) => UpgradedState {
                state: Value::null(ty),
                diagnostics: Diagnostic::error(
                    format!("Invalid state of {}", request.type_name),
                    error,
                )
                .into(),
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
        Box::pin(async move {
            let read = match self.place() {
                Err(diagnostics) => Err(diagnostics),
                Ok(place) => match &*request.type_name {
                    NETWORK => network::read(&place, &request.prior).await,
                    MACHINE => machine::read(&place, &request.prior).await,
                    other => Err(no_such(Kind::Managed, other)),
                },
            };
            let (state, diagnostics) = match read {
                Ok(state) => (state, Diagnostics::new()),
                Err(diagnostics) => (request.prior, diagnostics),
            };
            ReadDone {
                state,
                private: request.private,
                identity: None,
                deferred: None,
                diagnostics,
            }
        })
    }

    fn plan_resource(&self, request: Plan) -> Call<'_, Planned> {
        let (state, requires_replace) = match &*request.type_name {
            _ if request.proposed.is_null() => (request.proposed.clone(), Vec::new()),
            NETWORK => network::plan(&request),
            _ => machine::plan(&request),
        };
        ready(Planned {
            state,
            requires_replace,
            private: request.private,
            identity: None,
            legacy_type_system: false,
            deferred: None,
            diagnostics: Diagnostics::new(),
        })
    }

    fn apply_resource(&self, request: Apply) -> Call<'_, Applied> {
        Box::pin(async move {
            let (state, diagnostics) = match self.place() {
                Err(diagnostics) => (Some(request.prior), diagnostics),
                Ok(place) => match &*request.type_name {
                    NETWORK => network::apply(&place, &request).await,
                    MACHINE => machine::apply(&place, &request).await,
                    other => (Some(request.prior), no_such(Kind::Managed, other)),
                },
            };
            Applied {
                state,
                private: request.private,
                identity: None,
                legacy_type_system: false,
                diagnostics,
            }
        })
    }

    fn import_resource(&self, request: Import) -> Call<'_, Imported> {
        let fail = |summary: &str, detail: String| Imported {
            diagnostics: Diagnostic::error(summary, detail).into(),
            ..Imported::default()
        };
        let Some(block) = block_of(&request.type_name) else {
            return ready(Imported {
                diagnostics: no_such(Kind::Managed, &request.type_name),
                ..Imported::default()
            });
        };
        let ImportTarget::Id(name) = &request.target else {
            return ready(fail(
                "No identity schema found",
                format!("{} is imported by its name.", request.type_name),
            ));
        };
        let mut state = block.empty_value().as_keyed().cloned().unwrap_or_default();
        for attribute in ["id", "name"] {
            state.insert(attribute.into(), Value::string(name));
        }
        ready(Imported {
            resources: vec![ImportedResource {
                type_name: request.type_name.clone(),
                state: Value::object(state),
                private: Bytes::new(),
                identity: None,
            }],
            ..Imported::default()
        })
    }

    fn move_state(&self, request: MoveState) -> Call<'_, Moved> {
        ready(Moved {
            state: Value::null(Type::Dynamic),
            private: Bytes::new(),
            identity: None,
            diagnostics: Diagnostic::error(
                "Unsupported move",
                format!(
                    "A {} cannot become a {}.",
                    request.source_type_name, request.target_type_name
                ),
            )
            .into(),
        })
    }

    fn read_data(&self, request: ReadData) -> Call<'_, DataRead> {
        Box::pin(async move {
            let read = match self.place() {
                Err(diagnostics) => Err(diagnostics),
                Ok(place) => match &*request.type_name {
                    NETWORK => network::look_up(&place, &request.config).await,
                    MACHINE => machine::look_up(&place, &request.config).await,
                    other => Err(no_such(Kind::Data, other)),
                },
            };
            let (state, diagnostics) = match read {
                Ok(state) => (state, Diagnostics::new()),
                Err(diagnostics) => (Value::null(request.config.ty().clone()), diagnostics),
            };
            DataRead {
                state,
                deferred: None,
                diagnostics,
            }
        })
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
        ready(Ok(BTreeMap::new()))
    }

    fn call_function(
        &self,
        name: Arc<str>,
        _arguments: Vec<Value>,
    ) -> Call<'_, Result<Value, FunctionError>> {
        ready(Err(FunctionError {
            message: format!("the provider has no function {name:?}"),
            argument: None,
        }))
    }

    fn stop(&self) -> Call<'_, Result<(), String>> {
        // What runs is taken back on failure, and none of it takes long but a user's own script.
        ready(Ok(()))
    }

    fn close(&self) -> Call<'_, ()> {
        ready(())
    }
}
