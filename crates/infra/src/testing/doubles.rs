//! A configuration as a run sees it: provider blocks of the test file in place of its own, mocked providers,
//! and what is overridden.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::syntax::{Body, parse};
use consort_hcl::{Kind, Sources};

use super::failures;
use super::mock::{MockProvider, Mocked, Values};
use super::values::Replacement;
use crate::address::{ModulePath, ProviderConfig, ProviderSource, Target};
use crate::config::{
    self, LocalProvider, MockProvider as MockBlock, Override, OverrideKind, Run, TestFile, Tree,
};
use crate::engine::{Providers, ReplacedModule, ReplacedObject};
use crate::provider::schema::Schemas;
use crate::provider::{Call, Provider};

/// A configuration as a run sees it.
pub(super) struct Doubled {
    pub(super) tree: Tree,
    /// Provider blocks of the test file.
    pub(super) foreign: Vec<ProviderConfig>,
    /// Providers that are made up.
    pub(super) mocks: BTreeMap<ProviderConfig, Values>,
    overrides: Vec<(Override, Option<ProviderConfig>, bool)>,
    places: BTreeMap<usize, Arc<str>>,
}

/// Providers, some of them made up.
pub(super) struct Doubles<'a> {
    pub(super) real: &'a dyn Providers,
    pub(super) mocks: &'a BTreeMap<ProviderConfig, Values>,
}

impl Providers for Doubles<'_> {
    fn schemas<'a>(
        &'a self,
        source: &'a ProviderSource,
    ) -> Call<'a, Result<Arc<Schemas>, Diagnostics>> {
        self.real.schemas(source)
    }

    fn start<'a>(
        &'a self,
        source: &'a ProviderSource,
    ) -> Call<'a, Result<Arc<dyn Provider>, Diagnostics>> {
        self.real.start(source)
    }

    fn start_for<'a>(
        &'a self,
        config: &'a ProviderConfig,
    ) -> Call<'a, Result<Arc<dyn Provider>, Diagnostics>> {
        Box::pin(async move {
            let real = self.real.start_for(config).await?;
            Ok(match self.mocks.get(config) {
                Some(values) => Arc::new(MockProvider {
                    real,
                    values: values.clone(),
                    owned: true,
                }) as Arc<dyn Provider>,
                None => real,
            })
        })
    }
}

/// A body without anything in it.
fn nothing() -> Body {
    parse(&mut Sources::new(), "", "").0
}

fn values_of(mock: &MockBlock, sources: &Sources) -> Values {
    let during = mock.during_plan.unwrap_or(false);
    Values::Provider {
        types: mock
            .mocks
            .iter()
            .map(|(key, block)| {
                let mocked = Mocked {
                    replacement: Replacement {
                        values: block.defaults.clone(),
                        place: sources.describe(block.defaults_range).into(),
                    },
                    during_plan: block.during_plan.unwrap_or(during),
                };
                (key.clone(), mocked)
            })
            .collect(),
        other: Mocked {
            replacement: Replacement {
                values: None,
                place: sources.describe(mock.range).into(),
            },
            during_plan: during,
        },
    }
}

impl Doubled {
    /// The configuration of a run, with the provider blocks it is given.
    pub(super) fn new(
        tree: &Tree,
        file: &TestFile,
        run: &Run,
        sources: &Sources,
    ) -> (Doubled, Diagnostics) {
        let mut diagnostics = Diagnostics::new();
        let mut doubled = Doubled {
            tree: tree.clone(),
            foreign: Vec::new(),
            mocks: BTreeMap::new(),
            overrides: Vec::new(),
            places: BTreeMap::new(),
        };
        doubled.tree.run_modules.clear();
        let mut module = (*tree.module).clone();
        module.tests.clear();
        let address = |key: &LocalProvider| ProviderConfig {
            module: ModulePath::root(),
            provider: module.provider_for_name(&key.name),
            alias: key.alias.clone(),
        };
        // What each name in the module stands for in the file.
        let passed: Vec<(LocalProvider, LocalProvider)> = if run.providers.is_empty() {
            file.providers
                .keys()
                .chain(file.mock_providers.keys())
                .map(|key| (key.clone(), key.clone()))
                .collect()
        } else {
            run.providers
                .iter()
                .map(|passed| (passed.child.key.clone(), passed.parent.key.clone()))
                .collect()
        };
        let mut blocks = Vec::new();
        for (child, parent) in passed {
            let at = address(&child);
            if let Some(block) = file.providers.get(&parent) {
                blocks.push(config::ProviderConfig {
                    key: child,
                    provider: at.provider.clone(),
                    ..block.clone()
                });
                doubled.foreign.push(at);
            } else if let Some(mock) = file.mock_providers.get(&parent) {
                blocks.push(config::ProviderConfig {
                    key: child,
                    provider: at.provider.clone(),
                    version: None,
                    config: nothing(),
                    name_range: mock.name_range,
                    alias_range: None,
                    range: mock.range,
                });
                for found in &mock.overrides {
                    let during = found.during_plan.or(mock.during_plan).unwrap_or(false);
                    doubled
                        .overrides
                        .push((found.clone(), Some(at.clone()), during));
                }
                doubled.foreign.push(at.clone());
                doubled.mocks.insert(at, values_of(mock, sources));
            } else {
                let range = run
                    .providers
                    .iter()
                    .find(|passed| passed.parent.key == parent)
                    .map_or(run.range, |passed| passed.parent.name_range);
                diagnostics.push(
                    Diagnostic::error(
                        format!("Missing provider definition for {parent}"),
                        "This provider block references a provider definition that does not exist.",
                    )
                    .at(range),
                );
            }
        }
        for block in blocks {
            module.provider_configs.insert(block.key.clone(), block);
        }
        doubled.tree.module = Arc::new(module);
        let own = run.overrides.iter().chain(
            file.overrides
                .iter()
                .filter(|found| !run.overrides.iter().any(|own| own.target == found.target)),
        );
        let general: Vec<_> = own
            .map(|found| (found.clone(), None, found.during_plan.unwrap_or(false)))
            .collect();
        doubled.overrides.splice(0..0, general);
        doubled.places = doubled
            .overrides
            .iter()
            .enumerate()
            .map(|(at, (found, ..))| (at, sources.describe(found.range).into()))
            .collect();
        (doubled, diagnostics)
    }

    /// The objects that are overridden.
    pub(super) fn objects(&self) -> Vec<ReplacedObject> {
        self.overrides
            .iter()
            .enumerate()
            .filter(|(_, (found, ..))| found.kind != OverrideKind::Module)
            .map(|(at, (found, provider, during_plan))| {
                let mocked = Mocked {
                    replacement: Replacement {
                        values: found.values.clone(),
                        place: self.places.get(&at).cloned().unwrap_or_else(|| "".into()),
                    },
                    during_plan: *during_plan,
                };
                ReplacedObject {
                    target: found.target.clone(),
                    provider: provider.clone(),
                    with: Box::new(move |real| {
                        Arc::new(MockProvider {
                            real,
                            values: Values::Object(mocked.clone()),
                            owned: false,
                        })
                    }),
                }
            })
            .collect()
    }

    /// The modules that are overridden.
    pub(super) fn modules(&self) -> Vec<ReplacedModule> {
        self.overrides
            .iter()
            .filter_map(|(found, ..)| match &found.target {
                Target::Module(target) => Some(ReplacedModule {
                    target: target.clone(),
                    outputs: match found.values.as_ref().map(consort_hcl::Value::kind) {
                        Some(Kind::Object(values) | Kind::Map(values)) => values.clone(),
                        _ => BTreeMap::new(),
                    },
                }),
                _ => None,
            })
            .collect()
    }
}

/// Whether what a target points at is in a configuration.
fn is_there(tree: &Tree, target: &Target) -> bool {
    let Some(module) = tree.at(&target.module().path()) else {
        return false;
    };
    match target {
        Target::Module(_) => true,
        Target::Resource(resource) => module.module.resources.contains_key(&resource.resource),
        Target::Instance(instance) => module.module.resources.contains_key(&instance.resource),
    }
}

fn missing_targets<'o>(overrides: impl Iterator<Item = &'o Override>, tree: &Tree) -> Diagnostics {
    let mut diagnostics = Diagnostics::new();
    for found in overrides.filter(|found| !is_there(tree, &found.target)) {
        diagnostics.push(
            Diagnostic::warning(
                "Invalid override target",
                format!(
                    "The override target {} does not exist within the configuration under test. This could indicate a typo in the target address or an unnecessary override.",
                    found.target
                ),
            )
            .at(found.target_range),
        );
    }
    diagnostics
}

/// What can be said of a run before it is run: what it overrides exists, what it expects to fail can.
pub(super) fn check_run(run: &Run, tree: &Tree) -> Diagnostics {
    let mut diagnostics = missing_targets(run.overrides.iter(), tree);
    diagnostics.append(failures::check(&run.expect_failures));
    diagnostics
}

/// What can be said of a file before it is run: what it overrides exists.
pub(super) fn check_file(file: &TestFile, tree: &Tree) -> Diagnostics {
    let of_mocks = file
        .mock_providers
        .values()
        .flat_map(|provider| &provider.overrides);
    missing_targets(file.overrides.iter().chain(of_mocks), tree)
}

/// What can be said of all test files without running anything.
pub fn check_runs(tree: &Tree) -> Diagnostics {
    let mut diagnostics = Diagnostics::new();
    for (name, file) in &tree.module.tests {
        diagnostics.append(check_file(file, tree));
        for run in &file.runs {
            let under_test = match &run.module {
                None => Some(tree),
                Some(_) => tree.run_modules.get(&(name.clone(), run.name.clone())),
            };
            if let Some(under_test) = under_test {
                diagnostics.append(check_run(run, under_test));
            }
        }
    }
    diagnostics
}
