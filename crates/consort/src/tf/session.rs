//! A loaded configuration with all that planning it needs: providers, variables, functions.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use consort_hcl::diagnostic::Diagnostics;
use consort_hcl::evaluate::Functions;
use consort_hcl::{Sources, Value, functions};
use consort_infra::address::ProviderSource;
use consort_infra::config::{self, GivenValues, Tree, Variable, VariableOption};
use consort_infra::engine::{Given, Providers, Watcher};
use consort_infra::install::{CliConfig, LOCK_FILE, Locks, Manifest, executables};
use consort_infra::provider::builtin::Terraform;
use consort_infra::provider::plugin::{Attach, Launcher};
use consort_infra::provider::schema::Schemas;
use consort_infra::provider::{Call, Provider};
use consort_infra::provisioner::Builtin;
use parking_lot::Mutex;

use super::flags::Flags;
use super::place::{Place, causes, error, refuse_cloud};
use super::remote_state::States;
use super::selections::Purpose;
use super::terminal::Terminal;
use consort_infra::plan_file::PlanFile;

/// The environment of this process.
pub(super) fn environment() -> HashMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// What commands settings of the user say.
pub(super) fn cli_config() -> Result<Arc<CliConfig>, Diagnostics> {
    CliConfig::from_environment(&environment())
        .map(Arc::new)
        .map_err(|failed| error("Invalid CLI configuration", causes(&failed)))
}

/// The configuration in a directory, whose modules are installed.
pub(super) fn load(
    place: &Place,
    tests: Option<&str>,
    sources: &mut Sources,
) -> (Option<Tree>, Diagnostics) {
    let manifest = match Manifest::read(&place.modules()) {
        Ok(manifest) => manifest,
        Err(failed) => {
            return (
                None,
                error("Failed to read module manifest", causes(&failed)),
            );
        }
    };
    config::load(&place.directory, &manifest, tests, sources)
}

/// As [`load`], where without any configuration nothing can be done.
pub(super) fn load_some(
    place: &Place,
    tests: Option<&str>,
    sources: &mut Sources,
) -> (Option<Tree>, Diagnostics) {
    if !config::is_module_directory(place.root()) {
        return (
            None,
            error(
                "No configuration files",
                "Plan requires configuration to be present. Planning without a configuration would mark \
                 everything for destruction, which is normally not what is desired. If you would like to \
                 destroy everything, run plan with the -destroy option. Otherwise, create a Terraform \
                 configuration file (.tf file) and try again.",
            ),
        );
    }
    let (tree, mut diagnostics) = load(place, tests, sources);
    if let Some(tree) = &tree
        && let Err(found) = refuse_cloud(&tree.module)
    {
        diagnostics.append(found);
    }
    (tree, diagnostics)
}

/// As [`load`]; a directory without configuration is one that declares nothing.
pub(super) fn load_any(
    place: &Place,
    tests: Option<&str>,
    sources: &mut Sources,
) -> (Option<Tree>, Diagnostics) {
    if config::is_module_directory(place.root()) {
        load(place, tests, sources)
    } else {
        (
            Some(Tree::empty(place.directory.clone())),
            Diagnostics::new(),
        )
    }
}

/// The providers a configuration uses, installed here.
pub(super) struct Installed {
    launcher: Launcher,
    executables: BTreeMap<ProviderSource, PathBuf>,
    attached: BTreeMap<ProviderSource, Attach>,
    builtin: Arc<dyn Provider>,
    known: Mutex<BTreeMap<ProviderSource, Arc<Schemas>>>,
}

impl Installed {
    /// Finds the executables that the lock file names.
    pub(super) fn new(
        place: &Place,
        tree: &Tree,
        also: impl IntoIterator<Item = ProviderSource>,
        sources: &mut Sources,
    ) -> Result<Installed, Diagnostics> {
        Self::new_for(Purpose::Run, place, tree, also, sources)
    }

    /// As [`Installed::new`], with the messages that fit what is going to be done.
    pub(super) fn new_for(
        purpose: Purpose,
        place: &Place,
        tree: &Tree,
        also: impl IntoIterator<Item = ProviderSource>,
        sources: &mut Sources,
    ) -> Result<Installed, Diagnostics> {
        let (locks, diagnostics) = locks(place, sources);
        if diagnostics.has_errors() {
            return Err(diagnostics);
        }
        Self::locked(purpose, place, tree, also, &locks)
    }

    /// As [`Installed::new`], with these locks.
    pub(super) fn locked(
        purpose: Purpose,
        place: &Place,
        tree: &Tree,
        also: impl IntoIterator<Item = ProviderSource>,
        locks: &Locks,
    ) -> Result<Installed, Diagnostics> {
        // What is wrong with it was said when the backend was opened.
        let module = Some(&*tree.module);
        let (encryption, _) = super::encryption::load(place, module, &mut Sources::new())?;
        let config = cli_config()?;
        let attached = attached()?;
        let mut requirements = tree.requirements();
        for source in also {
            requirements.entry(source).or_default();
        }
        requirements.retain(|source, _| !attached.contains_key(source) && !source.is_builtin());
        purpose.check(&requirements, locks, &config)?;
        let found = executables(&requirements, locks, &config, &place.data.join("providers"));
        let executables = found.map_err(|failures| purpose.not_installed(&failures))?;
        let mut launcher = Launcher::default();
        launcher.schema_cache = schema_cache();
        Ok(Installed {
            launcher,
            executables,
            attached,
            builtin: Arc::new(Terraform::new(Some(Arc::new(States { encryption })))),
            known: Mutex::default(),
        })
    }
}

/// Which providers are selected in a directory.
pub(super) fn locks(place: &Place, sources: &mut Sources) -> (Locks, Diagnostics) {
    Locks::read(&place.root().join(LOCK_FILE), sources)
}

/// Where schemas are kept between runs.
fn schema_cache() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    Some(base.join("consort").join("schemas"))
}

/// Providers that somebody runs under a debugger.
fn attached() -> Result<BTreeMap<ProviderSource, Attach>, Diagnostics> {
    let Ok(text) = std::env::var("TF_REATTACH_PROVIDERS") else {
        return Ok(BTreeMap::new());
    };
    let wrong = |why: String| error("Failed to parse TF_REATTACH_PROVIDERS", why);
    let parsed: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(&text).map_err(|failed| wrong(failed.to_string()))?;
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
                if &*source.kind == "consort" {
                    // Each configuration of it is one of its own.
                    return Ok(Arc::new(crate::machines::Consort::new()) as Arc<dyn Provider>);
                }
                return Ok(Arc::clone(&self.builtin));
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

/// A configuration that is ready to be planned.
pub(super) struct Session {
    pub(super) tree: Tree,
    pub(super) sources: Sources,
    pub(super) providers: Installed,
    pub(super) provisioners: Builtin,
    pub(super) functions: Arc<Functions>,
    pub(super) variables: BTreeMap<Arc<str>, Value>,
    pub(super) given: BTreeMap<Arc<str>, Given>,
    pub(super) workspace: String,
    pub(super) parallelism: usize,
}

impl Session {
    /// What the engine works on.
    pub(super) fn input<'s>(
        &'s self,
        watcher: &'s dyn Watcher,
        cancel: tokio_util::sync::CancellationToken,
    ) -> consort_infra::engine::Input<'s> {
        consort_infra::engine::Input {
            tree: &self.tree,
            sources: &self.sources,
            functions: Arc::clone(&self.functions),
            providers: &self.providers,
            provisioners: &self.provisioners,
            variables: self.variables.clone(),
            given: self.given.clone(),
            workspace: &self.workspace,
            watcher,
            parallelism: self.parallelism,
            cancel,
            under_test: None,
        }
    }

    /// The functions while planning give unknown values for what only the apply can tell.
    pub(super) fn set_functions(&mut self, planning: bool, timestamp: &str) {
        self.functions = language(planning, timestamp);
    }
}

/// The functions of the language.
pub(super) fn language(planning: bool, timestamp: &str) -> Arc<Functions> {
    Arc::new(functions::core(&functions::Options {
        base_dir: PathBuf::from("."),
        plan_timestamp: (!timestamp.is_empty()).then(|| timestamp.to_owned()),
        pure_only: planning,
        ..functions::Options::default()
    }))
}

/// The functions of the console, which calls them at once and has no plan to ask for its time.
pub(super) fn console_language() -> Arc<Functions> {
    Arc::new(functions::core(&functions::Options {
        base_dir: PathBuf::from("."),
        console: true,
        ..functions::Options::default()
    }))
}

/// `-var` and `-var-file` in the order they were given.
pub(super) fn variable_options(flags: &Flags) -> Vec<VariableOption> {
    flags
        .in_order(&["var", "var-file"])
        .map(|(name, value)| {
            if name == "var" {
                VariableOption::Value(value.to_owned())
            } else {
                VariableOption::File(value.to_owned())
            }
        })
        .collect()
}

/// The root module's variables.
#[derive(Default)]
pub(super) struct Variables {
    /// Of their types and marked.
    pub(super) values: BTreeMap<Arc<str>, Value>,
    /// How they were given.
    pub(super) given: BTreeMap<Arc<str>, Given>,
}

impl Variables {
    /// Those a plan was made with.
    pub(super) fn of(plan: &consort_infra::engine::Plan) -> Variables {
        Variables {
            values: plan.variables.clone(),
            given: plan
                .given
                .iter()
                .map(|(name, value)| {
                    let given = Given {
                        value: value.clone(),
                        range: None,
                    };
                    (Arc::clone(name), given)
                })
                .collect(),
        }
    }
}

/// The ephemeral variables that somebody gave a value.
pub(super) fn ephemeral(
    tree: &Tree,
    variables: &BTreeMap<Arc<str>, Value>,
) -> std::collections::BTreeSet<Arc<str>> {
    variables
        .iter()
        .filter(|(name, value)| {
            tree.module
                .variables
                .get(*name)
                .is_some_and(|variable| variable.ephemeral && !is_default(variable, value))
        })
        .map(|(name, _)| Arc::clone(name))
        .collect()
}

fn is_default(variable: &Variable, value: &Value) -> bool {
    let (value, _) = value.clone().unmark_deep();
    match &variable.default {
        Some(default) => default.clone().unmark_deep().0.raw_equals(&value),
        None => false,
    }
}

/// The variables of a saved plan: as they were, and the ephemeral ones as they are given now.
pub(super) fn saved_variables(
    place: &Place,
    flags: &Flags,
    tree: &Tree,
    saved: &PlanFile,
    sources: &mut Sources,
) -> (Variables, Diagnostics) {
    let mut variables = Variables::of(&saved.plan);
    let options = variable_options(flags);
    let (mut given, mut diagnostics) =
        GivenValues::collect(place.root(), environment(), &options, sources);
    let declared = &tree.module.variables;
    given.retain(|name, origin| {
        let ephemeral = declared
            .get(name)
            .is_some_and(|variable| variable.ephemeral);
        ephemeral || origin == config::Origin::Option
    });
    let mut wanted = BTreeMap::new();
    for (name, variable) in declared {
        if !variable.ephemeral {
            if given.contains(name) {
                wanted.insert(Arc::clone(name), variable.clone());
            }
            continue;
        }
        let planned = saved.origin.ephemeral.contains(name);
        match (planned, given.contains(name)) {
            (_, true) => {
                wanted.insert(Arc::clone(name), variable.clone());
            }
            (true, false) => diagnostics.append(error(
                "No value for required variable",
                format!(
                    "The ephemeral input variable \"{name}\" was set during the plan phase, and so must also be set \
                     during the apply phase."
                ),
            )),
            (false, false) => {}
        }
    }
    let (resolved, found) = given.resolve(&wanted, None, sources);
    diagnostics.append(found);
    for (name, value) in resolved {
        let Some(variable) = declared.get(&name) else {
            continue;
        };
        if !variable.ephemeral {
            // What is given again must be what it was.
            let plain = |value: &Value| value.clone().unmark_deep().0;
            let saved = variables.values.get(&name).map(plain);
            if saved.is_none_or(|saved| !saved.raw_equals(&plain(&value.value))) {
                diagnostics.append(error(
                    "Can't change variable when applying a saved plan",
                    format!(
                        "The variable {name:?} was given by -var, but a saved plan includes the values that \
                         variables had when it was made. Make a new plan to use another value. Only \
                         variables that are declared with \"ephemeral = true\" are given again."
                    ),
                ));
            }
            continue;
        }
        if !saved.origin.ephemeral.contains(&name) && !is_default(variable, &value.value) {
            diagnostics.append(error(
                "Ephemeral variable was not set during planning",
                format!(
                    "The ephemeral input variable \"{name}\" was not set during the planning phase, and so must \
                     remain unset during the apply phase."
                ),
            ));
        }
        let value = value.value.with_marks(variable.marks());
        variables.values.insert(name, value);
    }
    (variables, diagnostics)
}

/// The root module's variables, asked for where that is possible.
pub(super) fn variables(
    place: &Place,
    flags: &Flags,
    tree: &Tree,
    terminal: &Terminal,
    sources: &mut Sources,
) -> (Variables, Diagnostics) {
    let options = variable_options(flags);
    let (given, mut diagnostics) =
        GivenValues::collect(place.root(), environment(), &options, sources);
    if diagnostics.has_errors() {
        return (Variables::default(), diagnostics);
    }
    let mut ask = |variable: &Variable| {
        let description = variable
            .description
            .as_deref()
            .map(|text| format!("{text}\n"))
            .unwrap_or_default();
        terminal.ask(
            &format!("var.{}", variable.name),
            &description,
            "Enter a value:",
        )
    };
    let declared = &tree.module.variables;
    let (resolved, found) = if terminal.asks() {
        given.resolve(declared, Some(&mut ask), sources)
    } else {
        given.resolve(declared, None, sources)
    };
    diagnostics.append(found);
    let mut variables = Variables::default();
    for (name, value) in resolved {
        let marks = declared.get(&name).map(Variable::marks).unwrap_or_default();
        let given = Given {
            value: value.given,
            range: value.range,
        };
        variables.given.insert(Arc::clone(&name), given);
        variables.values.insert(name, value.value.with_marks(marks));
    }
    (variables, diagnostics)
}
