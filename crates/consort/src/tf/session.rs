//! A loaded configuration with all that planning it needs: providers, variables, functions.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use consort_hcl::diagnostic::Diagnostics;
use consort_hcl::evaluate::Functions;
use consort_hcl::{Sources, Value, functions};
use consort_infra::address::ProviderSource;
use consort_infra::config::{self, GivenValues, Tree, Variable, VariableOption};
use consort_infra::engine::{Given, Watcher};
use consort_infra::install::{CliConfig, LOCK_FILE, Locks, Manifest};
use consort_infra::plan_file::PlanFile;
use consort_infra::provider::Provider;
use consort_infra::provisioner::Builtin;
pub(super) use consort_infra::session::{
    Around, BuiltIn, Installed, Purpose, Variables, ephemeral, is_default,
};

use super::flags::Flags;
use super::place::{Place, causes, error, refuse_cloud};
use super::terminal::Terminal;

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

/// The providers a configuration uses, by what the lock file selects.
pub(super) fn installed(
    place: &Place,
    tree: &Tree,
    also: impl IntoIterator<Item = ProviderSource>,
    sources: &mut Sources,
) -> Result<Installed, Diagnostics> {
    installed_for(Purpose::Run, place, tree, also, sources)
}

/// As [`installed`], with the messages that fit what is going to be done.
pub(super) fn installed_for(
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
    installed_as(purpose, place, tree, also, &locks)
}

/// As [`installed`], with these locks.
pub(super) fn installed_as(
    purpose: Purpose,
    place: &Place,
    tree: &Tree,
    also: impl IntoIterator<Item = ProviderSource>,
    locks: &Locks,
) -> Result<Installed, Diagnostics> {
    // What is wrong with it was said when the backend was opened.
    let module = Some(&*tree.module);
    let (encryption, _) = super::encryption::load(place, module, &mut Sources::new())?;
    let mut requirements = tree.requirements();
    for source in also {
        requirements.entry(source).or_default();
    }
    let around = Around {
        cli_config: &*cli_config()?,
        variables: &environment(),
        schema_cache: schema_cache(),
        built_in: built_in(),
        directory: PathBuf::new(),
        encryption,
    };
    let places = [place.data.join("providers")];
    Installed::new(purpose, requirements, locks, &places, &around)
}

/// The providers that are part of the program, but for Terraform's own.
pub(crate) fn built_in() -> BuiltIn {
    Arc::new(|source: &ProviderSource| {
        (&*source.kind == "consort")
            .then(|| Arc::new(crate::machines::Consort::new()) as Arc<dyn Provider>)
    })
}

/// Which providers are selected in a directory.
pub(super) fn locks(place: &Place, sources: &mut Sources) -> (Locks, Diagnostics) {
    Locks::read(&place.root().join(LOCK_FILE), sources)
}

/// Where schemas are kept between runs.
pub(crate) fn schema_cache() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    Some(base.join("consort").join("schemas"))
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
            directory: None,
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
