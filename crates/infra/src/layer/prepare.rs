//! Getting a directory ready: its modules and providers, where its state is, values for its variables.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_backend::{Kind, LocalPaths, Settings};
use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::evaluate::Functions;
use consort_hcl::{Sources, Value, functions};
use consort_plan::{Feed, Planned, Problem};
use serde_json::{Map, json};

use super::Terraform;
use super::values;
use crate::address::{ModulePath, ProviderSource};
use crate::config::{self, GivenValues, Module, Tree, Variable, VariableOption};
use crate::encryption::{Context, Encryption, VARIABLE};
use crate::engine::Given;
use crate::install::{
    Http, Installer, LOCK_FILE, Locks, Manifest, Mode, ModuleEvent, ModuleInstaller,
};
use crate::session::{
    Around, Backing, Installed, Purpose, Record, Variables, block_arguments, causes, error, merged,
    refuse_cloud, settings,
};
use crate::state::State;

/// Downloads of all parts go one by one: they share directories.
static INSTALLING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A configuration, read.
pub(super) struct Configuration {
    pub(super) tree: Tree,
    pub(super) manifest: Manifest,
    pub(super) sources: Sources,
    /// What was found and is no error.
    pub(super) warnings: Diagnostics,
}

/// The functions of the language, for files of a directory.
pub(super) fn language(directory: &Path, planning: bool, timestamp: &str) -> Arc<Functions> {
    Arc::new(functions::core(&functions::Options {
        base_dir: directory.to_owned(),
        plan_timestamp: (!timestamp.is_empty()).then(|| timestamp.to_owned()),
        pure_only: planning,
        ..functions::Options::default()
    }))
}

impl Terraform {
    /// The score's directory and the part's, absolute.
    pub(super) fn places(&self) -> Result<(PathBuf, PathBuf), Vec<Problem>> {
        let root = std::path::absolute(&self.root).map_err(|failed| {
            vec![self.teller.of(
                self.lines.at("/path"),
                format!(
                    "the directory of the score, {}, cannot be used",
                    self.root.display()
                ),
                failed.to_string(),
            )]
        })?;
        let joined = root.join(&self.spec.path);
        let directory = PathBuf::from(config::source::clean_path(&joined.to_string_lossy()));
        Ok((root, directory))
    }

    /// Reads the configuration, after what it calls is installed.
    pub(super) async fn configuration(&self) -> Result<Configuration, Vec<Problem>> {
        let (root, directory) = self.places()?;
        let stanza = |summary: String, detail: &str| {
            vec![self.teller.of(self.lines.at("/path"), summary, detail)]
        };
        if !directory.is_dir() {
            return Err(stanza(
                format!("{} is no directory", self.spec.path),
                "Expected the directory of a Terraform configuration, relative to the score",
            ));
        }
        if !config::is_module_directory(&directory) {
            return Err(stanza(
                format!("{} holds no Terraform configuration", self.spec.path),
                "Expected files that end in .tf or .tf.json",
            ));
        }
        let modules = directory.join(".terraform").join("modules");
        let mut sources = Sources::below(&root);
        let (module, found) =
            config::load_module(&directory, &ModulePath::root(), None, &mut sources);
        let calls = module
            .as_ref()
            .is_some_and(|module| !module.module_calls.is_empty());
        if let Some(module) = &module
            && !found.has_errors()
        {
            refuse_cloud(module).map_err(|found| self.teller.errors(&found, &sources))?;
        }
        let manifest = if calls {
            let mut sources = Sources::below(&root);
            let http = Http::new(self.environment.cli_config.clone()).map_err(|failed| {
                self.teller.errors(
                    &error("Failed to prepare for downloads", causes(&failed)),
                    &sources,
                )
            })?;
            let _one = INSTALLING.lock().await;
            let mut quiet = |_: ModuleEvent| {};
            let mut installer = ModuleInstaller {
                directory: &modules,
                http: Some(&http),
                base: Some(&directory),
                upgrade: false,
                events: &mut quiet,
            };
            let (manifest, found) = installer.install(&directory, None, &mut sources).await;
            if found.has_errors() {
                return Err(self.teller.errors(&found, &sources));
            }
            manifest
        } else {
            Manifest::default()
        };
        // Reading a large configuration takes its time.
        let read = tokio::task::spawn_blocking(move || {
            let mut sources = Sources::below(&root);
            let (tree, found) = config::load(&directory, &manifest, None, &mut sources);
            (tree, found, sources, manifest)
        });
        let (tree, found, sources, manifest) = read.await.map_err(|failed| {
            stanza(
                "the configuration could not be read".to_owned(),
                &failed.to_string(),
            )
        })?;
        match tree {
            Some(tree) if !found.has_errors() => Ok(Configuration {
                tree,
                manifest,
                sources,
                warnings: found,
            }),
            _ => Err(self.teller.errors(&found, &sources)),
        }
    }

    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<String> {
        self.environment.variables.get(name).cloned()
    }

    /// How states and plans are sealed.
    pub(super) fn encryption(
        &self,
        module: &Module,
        directory: &Path,
        sources: &mut Sources,
    ) -> Result<Encryption, Diagnostics> {
        let environment = self.variable(VARIABLE);
        let is_empty = |text: &String| text.trim().is_empty();
        if module.encryption.is_none() && environment.as_ref().is_none_or(is_empty) {
            return Ok(Encryption::default());
        }
        let (given, _) = self.given(directory, sources);
        let (resolved, _) = given.resolve(&module.variables, None, sources);
        let variables = resolved
            .into_iter()
            .map(|(name, value)| (name, value.value))
            .collect();
        let functions = language(directory, false, "");
        let context = Context {
            variables: &variables,
            functions: &functions,
        };
        let (encryption, found) =
            Encryption::read(Some(module), environment.as_deref(), &context, sources);
        if found.has_errors() {
            Err(found)
        } else {
            Ok(encryption)
        }
    }

    /// Where the state is: as the configuration says, or else with the server, or else in a file beside it.
    pub(super) fn backing(
        &self,
        module: &Module,
        directory: &Path,
        encryption: Encryption,
    ) -> Result<Backing, Diagnostics> {
        let data = directory.join(".terraform");
        let workspace = self
            .spec
            .workspace
            .clone()
            .unwrap_or_else(|| consort_backend::DEFAULT_WORKSPACE.to_owned());
        if !consort_backend::valid_workspace(&workspace) {
            return Err(error(
                "Invalid workspace name",
                format!(
                    "The workspace name {workspace:?} is not allowed: it must be usable in a path and in a URL."
                ),
            ));
        }
        let environment = |name: &str| self.variable(name);
        let (backend, settings) = match (&module.backend, &self.environment.client) {
            (Some(block), _) => {
                let given = block_arguments(block)?;
                // What `init -backend-config` added is not in the block.
                let recorded = Record::read(&data.join("terraform.tfstate"))?
                    .filter(|record| *record.kind == *block.kind)
                    .map(|record| record.config)
                    .unwrap_or_default();
                let settings = settings(
                    &block.kind,
                    &merged(&recorded, &given),
                    Some(block),
                    &environment,
                )?;
                let backend =
                    consort_backend::open(&settings, directory, &LocalPaths::default())
                        .map_err(|failed| error("Failed to open the backend", causes(&failed)))?;
                (backend, settings)
            }
            (None, Some(client)) => {
                let name = self.state_name();
                let namespace = &self.environment.namespace;
                let given: Map<String, serde_json::Value> =
                    [("name", json!(name)), ("namespace", json!(namespace))]
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect();
                let settings = Settings::new(Kind::Consort, &given, environment)
                    .map_err(|failed| error("Failed to open the backend", causes(&failed)))?;
                let backend = consort_backend::in_cluster(client.clone(), namespace, &name);
                (backend, settings)
            }
            (None, None) => {
                let settings = Settings::local();
                let backend =
                    consort_backend::open(&settings, directory, &LocalPaths::default())
                        .map_err(|failed| error("Failed to open the backend", causes(&failed)))?;
                (backend, settings)
            }
        };
        Ok(Backing {
            backend,
            workspace,
            settings,
            journals: data,
            encryption,
            warnings: Diagnostics::new(),
        })
    }

    /// The `secret_suffix` of the state. Names of parts hold no dot, so no two parts have the same.
    pub(super) fn state_name(&self) -> String {
        format!("{}.{}", self.score, self.name)
    }

    /// The state now. A state in the directory that would be left behind is refused: all it holds would be made twice.
    pub(super) async fn look(
        &self,
        backing: &Backing,
        module: &Module,
        directory: &Path,
    ) -> Result<Option<State>, Diagnostics> {
        let state = backing.look().await?;
        let left = directory.join("terraform.tfstate");
        if state.is_none()
            && module.backend.is_none()
            && self.environment.client.is_some()
            && self.spec.workspace.is_none()
            && let Ok(bytes) = std::fs::read(&left)
            && State::read(&String::from_utf8_lossy(&bytes)).is_ok_and(|state| !state.is_empty())
        {
            let mut found = Diagnostics::new();
            found.push(
                Diagnostic::error(
                    "A state would be left behind",
                    format!(
                        "The state of this part is kept by the server, and there is none yet; {} holds one. Planning without it would make all of that a second time.",
                        left.display()
                    ),
                )
                .with_hint(
                    "say where the state is: `terraform { backend \"local\" {} }` keeps using the file; moving the file away begins anew",
                ),
            );
            return Err(found);
        }
        Ok(state)
    }

    /// The providers, as they are selected, or after they were selected and downloaded. Gives the locks too.
    pub(super) async fn installed(
        &self,
        tree: &Tree,
        also: &State,
        directory: &Path,
        encryption: &Encryption,
        locks: Option<Locks>,
        sources: &mut Sources,
    ) -> Result<(Installed, Locks, Diagnostics), Diagnostics> {
        let mut requirements = tree.requirements();
        let in_state: BTreeSet<ProviderSource> = also
            .resources
            .values()
            .map(|resource| resource.provider.provider.clone())
            .collect();
        for source in in_state {
            requirements.entry(source).or_default();
        }
        let path = directory.join(LOCK_FILE);
        let given = locks.is_some();
        let locks = match locks {
            Some(locks) => locks,
            None => {
                let (locks, found) = Locks::read(&path, sources);
                if found.has_errors() {
                    return Err(found);
                }
                locks
            }
        };
        let environment = &self.environment;
        let around = Around {
            cli_config: &environment.cli_config,
            variables: &environment.variables,
            schema_cache: environment.schema_cache.clone(),
            built_in: environment.built_in.clone(),
            directory: directory.to_owned(),
            encryption: encryption.clone(),
        };
        let places = [
            directory.join(".terraform").join("providers"),
            environment.data.join("providers"),
        ];
        let attempt = |locks: &Locks| {
            Installed::new(Purpose::Run, requirements.clone(), locks, &places, &around)
        };
        if let Ok(installed) = attempt(&locks) {
            return Ok((installed, locks, Diagnostics::new()));
        }
        let _one = INSTALLING.lock().await;
        let installer = Installer::new(&environment.cli_config, &environment.variables)
            .map_err(|failed| error("Failed to prepare for downloads", causes(&failed)))?;
        let (next, failures) = installer
            .install(&requirements, &locks, Mode::Locked, &places[1], &mut |_| {})
            .await;
        if !failures.is_empty() {
            return Err(failures
                .iter()
                .map(|failure| {
                    Diagnostic::error(
                        if failure.querying {
                            "Failed to query available provider packages"
                        } else {
                            "Failed to install provider"
                        },
                        format!(
                            "{}: {}",
                            failure.provider.for_display(),
                            causes(&failure.error)
                        ),
                    )
                })
                .collect());
        }
        let mut warnings = Diagnostics::new();
        if !given
            && next.text() != locks.text()
            && let Err(failed) = next.write(&path)
        {
            warnings.push(Diagnostic::warning(
                "The lock file cannot be written",
                format!(
                    "Which versions of providers were selected is in the plan alone: {}.",
                    causes(&failed)
                ),
            ));
        }
        attempt(&next).map(|installed| (installed, next, warnings))
    }

    /// What was given beside the stanza's variables: in the environment, in files.
    fn given(&self, directory: &Path, sources: &mut Sources) -> (GivenValues, Diagnostics) {
        let files: Vec<VariableOption> = self
            .spec
            .variable_files
            .iter()
            .map(|file| VariableOption::File(directory.join(file).to_string_lossy().into_owned()))
            .collect();
        let environment = self
            .environment
            .variables
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()));
        GivenValues::collect(directory, environment, &files, sources)
    }

    /// Values for the variables of the root module. `inputs` are those of other parts.
    pub(super) fn variables(
        &self,
        tree: &Tree,
        directory: &Path,
        inputs: &BTreeMap<String, Planned>,
        sources: &mut Sources,
    ) -> (Variables, Vec<Problem>, Diagnostics) {
        let mut problems = Vec::new();
        let (mut given, mut found) = self.given(directory, sources);
        given.retain(|name, _| !self.spec.variables.contains_key(name));
        let declared = &tree.module.variables;
        let others: BTreeMap<Arc<str>, Variable> = declared
            .iter()
            .filter(|(name, _)| !self.spec.variables.contains_key(&***name))
            .map(|(name, variable)| (name.clone(), variable.clone()))
            .collect();
        let mut variables = Variables::default();
        let (resolved, more) = given.resolve(&others, None, sources);
        found.append(more);
        for diagnostic in &mut found {
            // Nobody gives options here.
            diagnostic.detail = diagnostic.detail.replace(
                "Use a -var or -var-file command line argument to provide a value for this variable.",
                "Give it a value under `variables` of the part, in one of its `variableFiles`, or in a file ending in .auto.tfvars.",
            );
        }
        for (name, value) in resolved {
            let marks = declared.get(&name).map(Variable::marks).unwrap_or_default();
            let given = Given {
                value: value.given,
                range: value.range,
            };
            variables.given.insert(name.clone(), given);
            variables.values.insert(name, value.value.with_marks(marks));
        }
        for (name, feed) in &self.spec.variables {
            let at = |end: &str| self.lines.at(&format!("/variables/{name}{end}"));
            let Some((key, variable)) = declared.get_key_value(name.as_str()) else {
                problems.push(self.teller.of(
                    at(""),
                    format!("{} declares no variable {name:?}", self.spec.path),
                    "Expected the name of a variable of the root module",
                ));
                continue;
            };
            let (value, told, location) = match feed {
                Feed::Literal(value) => (values::literal(value), String::new(), at("")),
                Feed::From(from) => {
                    let value = match inputs.get(name) {
                        Some(planned) => values::taken(planned),
                        None => Value::DYNAMIC,
                    };
                    (value, from.from.clone(), at("/from"))
                }
            };
            match variable.accept(Some(&value)) {
                Ok(accepted) => {
                    let (plain, _) = value.unmark_deep();
                    let given = Given {
                        value: plain,
                        range: None,
                    };
                    variables.given.insert(key.clone(), given);
                    variables
                        .values
                        .insert(key.clone(), accepted.with_marks(variable.marks()));
                }
                Err(why) => {
                    let what = if told.is_empty() {
                        "the value".to_owned()
                    } else {
                        told
                    };
                    problems.push(self.teller.of(
                        location,
                        format!("{what} does not fit the variable {name:?}"),
                        match why {
                            Some(why) => format!("Expected {}: {why}", variable.ty),
                            None => "The variable may not be null".to_owned(),
                        },
                    ));
                }
            }
        }
        (variables, problems, found)
    }

    /// What is wrong, as problems.
    pub(super) fn told(&self, found: &Diagnostics, sources: &Sources) -> Vec<Problem> {
        self.teller.errors(found, sources)
    }
}
