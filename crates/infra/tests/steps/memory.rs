//! A provider whose objects are in memory, and whose steps can be made to go wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use consort_hcl::diagnostic::Diagnostics;
use consort_hcl::{Path, Sources, Step, Type, Value, functions, json};
use consort_infra::address::ProviderSource;
use consort_infra::config;
use consort_infra::engine::{self, Input, PlanOptions};
use consort_infra::install::Manifest;
use consort_infra::provider::schema::{
    Attribute, Block, Capabilities, Described, Function, Kind, Parameter, ResourceSchema, Schemas,
};
use consort_infra::provider::{
    self, Applied, Apply, Call, Configure, DataRead, Deferred, FunctionError, Import, Imported,
    MoveState, Moved, OpenEphemeral, Opened, Plan, Planned, Provider, RawState, Read, ReadData,
    ReadDone, Renewed, UpgradeIdentity, UpgradeState, UpgradedIdentity, UpgradedState, Validate,
};
use consort_infra::state::State;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What goes wrong, counted from the beginning of an apply.
#[allow(dead_code, reason = "each file of tests has faults of its own")]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Fault {
    #[default]
    None,
    /// This step does nothing and says so.
    Fail(usize),
    /// This step is done, and its answer never comes: the process is gone.
    Crash(usize),
    /// While this step runs somebody interrupts.
    Interrupt(usize),
    /// This step does nothing and says that the connection broke; done again it goes well.
    Flicker(usize),
}

#[derive(Default)]
struct Inner {
    objects: BTreeMap<String, Value>,
    /// The objects that an answer told of.
    told: BTreeSet<String>,
    made: usize,
    steps: usize,
    fault: Fault,
    cancel: Option<CancellationToken>,
    put_off: Option<&'static str>,
}

/// What there is.
#[derive(Default)]
pub(crate) struct World {
    inner: Mutex<Inner>,
    crash: Notify,
}

impl World {
    pub(crate) fn new() -> Arc<World> {
        Arc::new(World::default())
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.inner.lock().fault = fault;
    }

    pub(crate) fn put_off(&self, name: Option<&'static str>) {
        self.inner.lock().put_off = name;
    }

    /// Counts steps from here.
    pub(crate) fn begin(&self, cancel: CancellationToken) {
        let mut inner = self.inner.lock();
        inner.steps = 0;
        inner.cancel = Some(cancel);
    }

    pub(crate) fn steps(&self) -> usize {
        self.inner.lock().steps
    }

    pub(crate) async fn crashed(&self) {
        self.crash.notified().await;
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.inner.lock().objects.keys().cloned().collect()
    }

    pub(crate) fn told(&self) -> Vec<String> {
        self.inner.lock().told.iter().cloned().collect()
    }

    /// Takes away what was made without anybody having heard of it.
    pub(crate) fn forget_untold(&self, known: &[String]) {
        let mut inner = self.inner.lock();
        inner.objects.retain(|id, _| known.contains(id));
    }
}

fn block() -> Block {
    let mut block = Block::default();
    for (name, computed) in [("id", true), ("name", false), ("after", false)] {
        let mut attribute = Attribute::new(Type::String);
        attribute.computed = computed;
        attribute.required = name == "name";
        attribute.optional = name == "after";
        block.attributes.insert(name.into(), attribute);
    }
    block
}

fn schemas() -> Arc<Schemas> {
    let schema = ResourceSchema {
        version: 0,
        block: block(),
        identity: None,
    };
    let shout = Function {
        parameters: vec![Parameter {
            name: "text".into(),
            ty: Type::String,
            allow_null: false,
            allow_unknown: false,
            description: Described::default(),
        }],
        variadic: None,
        returns: Type::String,
        summary: "".into(),
        description: Described::default(),
        deprecation_message: "".into(),
    };
    let resources = [(Kind::Managed, "mem_thing", schema)];
    Arc::new(Schemas::eager(
        Block::default(),
        BTreeMap::from([("shout".into(), shout)]),
        Capabilities::default(),
        resources,
    ))
}

/// Gives providers of one world.
pub(crate) struct Providers(pub(crate) Arc<World>);

impl engine::Providers for Providers {
    fn schemas<'a>(&'a self, _: &'a ProviderSource) -> Call<'a, Result<Arc<Schemas>, Diagnostics>> {
        Box::pin(async { Ok(schemas()) })
    }

    fn start<'a>(
        &'a self,
        _: &'a ProviderSource,
    ) -> Call<'a, Result<Arc<dyn Provider>, Diagnostics>> {
        Box::pin(async { Ok(Arc::new(Memory(self.0.clone())) as Arc<dyn Provider>) })
    }
}

/// A plan of a configuration for an empty state.
pub(crate) async fn plan(
    text: &str,
    world: &Arc<World>,
    allow_deferral: bool,
) -> (Option<engine::Plan>, Diagnostics) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("main.tf"), text).unwrap();
    let mut sources = Sources::new();
    let (tree, _) = config::load(folder.path(), &Manifest::default(), None, &mut sources);
    let input = Input {
        tree: &tree.unwrap(),
        sources: &sources,
        functions: Arc::new(functions::core(&functions::Options::default())),
        providers: &Providers(world.clone()),
        provisioners: &consort_infra::provisioner::Builtin,
        variables: BTreeMap::new(),
        given: BTreeMap::new(),
        workspace: "default",
        watcher: &engine::Silent,
        parallelism: 3,
        directory: None,
        under_test: None,
        cancel: CancellationToken::new(),
    };
    let options = PlanOptions {
        allow_deferral,
        ..PlanOptions::default()
    };
    engine::plan(&input, &options, &State::new()).await
}

pub(crate) struct Memory(pub(crate) Arc<World>);

fn text(value: &Value, name: &str) -> Option<String> {
    if value.is_null() {
        return None;
    }
    value.attribute(name).ok()?.as_str().map(str::to_owned)
}

fn with_id(value: &Value, id: Value) -> Value {
    let mut attributes = value.as_keyed().cloned().unwrap_or_default();
    attributes.insert("id".into(), id);
    Value::object(attributes)
}

fn problem(summary: &str) -> provider::Diagnostics {
    provider::Diagnostic::error(summary, "").into()
}

fn ready<'a, T: Send + 'a>(value: T) -> Call<'a, T> {
    Box::pin(std::future::ready(value))
}

impl Memory {
    fn answer(&self, request: &Apply) -> Applied {
        let mut inner = self.0.inner.lock();
        let mut told = |state: Value| {
            if let Some(old) = text(&request.prior, "id") {
                inner.objects.remove(&old);
                inner.told.remove(&old);
            }
            if state.is_null() {
                return state;
            }
            let state = if state.attribute("id").is_ok_and(|id| id.is_known()) {
                state
            } else {
                inner.made += 1;
                let id = format!("{:04}", inner.made);
                with_id(&state, Value::string(id))
            };
            let id = text(&state, "id").unwrap_or_default();
            inner.objects.insert(id, state.clone());
            state
        };
        Applied {
            state: Some(told(request.planned.clone())),
            private: Bytes::new(),
            identity: None,
            legacy_type_system: false,
            diagnostics: provider::Diagnostics::new(),
        }
    }
}

impl Provider for Memory {
    fn schemas(&self) -> Call<'_, Result<Arc<Schemas>, provider::Diagnostics>> {
        ready(Ok(schemas()))
    }

    fn validate_config(&self, _: Value) -> Call<'_, provider::Diagnostics> {
        ready(provider::Diagnostics::new())
    }

    fn configure(&self, _: Configure) -> Call<'_, provider::Diagnostics> {
        ready(provider::Diagnostics::new())
    }

    fn validate_resource(&self, _: Validate) -> Call<'_, provider::Diagnostics> {
        ready(provider::Diagnostics::new())
    }

    fn validate_data(&self, _: Validate) -> Call<'_, provider::Diagnostics> {
        ready(provider::Diagnostics::new())
    }

    fn validate_ephemeral(&self, _: Validate) -> Call<'_, provider::Diagnostics> {
        ready(provider::Diagnostics::new())
    }

    fn upgrade_state(&self, request: UpgradeState) -> Call<'_, UpgradedState> {
        let RawState::Json(raw) = request.raw else {
            panic!("an old state")
        };
        ready(UpgradedState {
            state: json::decode(&raw, &block().implied_type()).unwrap(),
            diagnostics: provider::Diagnostics::new(),
        })
    }

    fn upgrade_identity(&self, _: UpgradeIdentity) -> Call<'_, UpgradedIdentity> {
        ready(UpgradedIdentity {
            identity: None,
            diagnostics: provider::Diagnostics::new(),
        })
    }

    fn read_resource(&self, request: Read) -> Call<'_, ReadDone> {
        let id = text(&request.prior, "id").unwrap_or_default();
        let found = self.0.inner.lock().objects.get(&id).cloned();
        ready(ReadDone {
            state: found.unwrap_or_else(|| Value::null(block().implied_type())),
            private: request.private,
            identity: None,
            deferred: None,
            diagnostics: provider::Diagnostics::new(),
        })
    }

    fn plan_resource(&self, request: Plan) -> Call<'_, Planned> {
        let name = text(&request.proposed, "name");
        let put_off = name.is_some() && name.as_deref() == self.0.inner.lock().put_off;
        let mut requires_replace = Vec::new();
        let state = if request.proposed.is_null() {
            request.proposed
        } else if request.prior.is_null() {
            with_id(&request.proposed, Value::unknown(Type::String))
        } else if text(&request.prior, "name") != name {
            requires_replace.push(Path(vec![Step::Attribute("name".into())]));
            request.proposed
        } else {
            request.proposed
        };
        ready(Planned {
            state,
            requires_replace,
            private: request.private,
            identity: None,
            legacy_type_system: false,
            deferred: put_off.then_some(Deferred::AbsentPrerequisite),
            diagnostics: provider::Diagnostics::new(),
        })
    }

    fn apply_resource(&self, request: Apply) -> Call<'_, Applied> {
        Box::pin(async move {
            let (step, fault, cancel) = {
                let mut inner = self.0.inner.lock();
                inner.steps += 1;
                (inner.steps - 1, inner.fault, inner.cancel.clone())
            };
            match fault {
                Fault::Fail(at) if at == step => {
                    return Applied {
                        state: Some(request.prior),
                        private: Bytes::new(),
                        identity: None,
                        legacy_type_system: false,
                        diagnostics: problem("it failed"),
                    };
                }
                Fault::Crash(at) if at == step => {
                    let _ = self.answer(&request);
                    self.0.crash.notify_one();
                    return std::future::pending().await;
                }
                Fault::Interrupt(at) if at == step => {
                    if let Some(cancel) = cancel {
                        cancel.cancel();
                    }
                    tokio::task::yield_now().await;
                }
                Fault::Flicker(at) if at == step => {
                    return Applied {
                        state: Some(request.prior),
                        private: Bytes::new(),
                        identity: None,
                        legacy_type_system: false,
                        diagnostics: problem("read: connection reset by peer"),
                    };
                }
                _ => tokio::task::yield_now().await,
            }
            let answer = self.answer(&request);
            if let Some(id) = answer.state.as_ref().and_then(|state| text(state, "id")) {
                self.0.inner.lock().told.insert(id);
            }
            answer
        })
    }

    fn import_resource(&self, _: Import) -> Call<'_, Imported> {
        ready(Imported::default())
    }

    fn move_state(&self, _: MoveState) -> Call<'_, Moved> {
        ready(Moved {
            state: Value::null(block().implied_type()),
            private: Bytes::new(),
            identity: None,
            diagnostics: problem("nothing can be moved"),
        })
    }

    fn read_data(&self, request: ReadData) -> Call<'_, DataRead> {
        ready(DataRead {
            state: request.config,
            deferred: None,
            diagnostics: provider::Diagnostics::new(),
        })
    }

    fn open_ephemeral(&self, request: OpenEphemeral) -> Call<'_, Opened> {
        ready(Opened {
            result: request.config,
            private: None,
            renew_at: None,
            deferred: None,
            diagnostics: provider::Diagnostics::new(),
        })
    }

    fn renew_ephemeral(&self, _: Arc<str>, _: Option<Bytes>) -> Call<'_, Renewed> {
        ready(Renewed::default())
    }

    fn close_ephemeral(&self, _: Arc<str>, _: Option<Bytes>) -> Call<'_, provider::Diagnostics> {
        ready(provider::Diagnostics::new())
    }

    fn functions(&self) -> Call<'_, Result<BTreeMap<Arc<str>, Function>, provider::Diagnostics>> {
        ready(Ok(BTreeMap::new()))
    }

    fn call_function(
        &self,
        _: Arc<str>,
        arguments: Vec<Value>,
    ) -> Call<'_, Result<Value, FunctionError>> {
        ready(match arguments[0].as_str() {
            Some("") => Err(FunctionError {
                message: "nothing to shout".to_owned(),
                argument: Some(0),
            }),
            text => Ok(Value::string(text.unwrap_or_default().to_uppercase())),
        })
    }

    fn stop(&self) -> Call<'_, Result<(), String>> {
        ready(Ok(()))
    }

    fn close(&self) -> Call<'_, ()> {
        ready(())
    }
}
