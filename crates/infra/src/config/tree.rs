//! The root module with all that it calls.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::source::{Range, Sources};

use super::file::check_core_versions;
use super::load::{load_module_of, resources_of};
use super::module::{LocalProvider, Module, ModuleCall};
use super::provider_checks;
use super::snapshot::{Snapshot, Texts};
use super::source::ModuleSource;
use crate::address::{self, ModulePath, ProviderSource};
use crate::install::Manifest;
use crate::version::{Constraints, Version};

/// How deep modules may call modules; a module that calls itself through a local path is found earlier.
const DEEPEST: usize = 128;

/// A module with the modules it calls.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The module itself.
    pub module: Arc<Module>,
    /// Where it came from; nothing for the root.
    pub source: Option<ModuleSource>,
    /// Its version, when it came from a registry.
    pub version: Option<Version>,
    /// The call in the parent; nothing for the root.
    pub call_range: Option<Range>,
    /// The modules it calls, by the names of the calls. Calls that could not be loaded are missing.
    pub children: BTreeMap<Arc<str>, Tree>,
    /// The modules that runs of the root's test files use in its place, by file and run.
    pub run_modules: BTreeMap<(String, Arc<str>), Tree>,
}

/// The providers a configuration needs, with all constraints on their versions.
pub type Requirements = BTreeMap<ProviderSource, Constraints>;

impl Tree {
    /// A configuration that declares nothing, as that of a directory without files.
    pub fn empty(directory: PathBuf) -> Self {
        Tree {
            module: Arc::new(Module::empty(ModulePath::root(), directory)),
            source: None,
            version: None,
            call_range: None,
            children: BTreeMap::new(),
            run_modules: BTreeMap::new(),
        }
    }

    /// The same with the resource blocks of one more file in the root module.
    ///
    /// # Errors
    /// With what is wrong in the text.
    pub fn with_resources(
        &self,
        name: &str,
        text: &str,
        sources: &mut Sources,
    ) -> Result<Tree, Diagnostics> {
        let (resources, diagnostics) = resources_of(&self.module, name, text, sources);
        if diagnostics.has_errors() {
            return Err(diagnostics);
        }
        let mut tree = self.clone();
        let module = Arc::make_mut(&mut tree.module);
        for resource in resources {
            module.resources.insert(resource.address.clone(), resource);
        }
        Ok(tree)
    }

    /// The module a path leads to.
    pub fn at(&self, path: &ModulePath) -> Option<&Tree> {
        path.names()
            .iter()
            .try_fold(self, |tree, name| tree.children.get(name))
    }

    /// Calls `visit` for this module and all below it, callers first.
    pub fn visit<'t>(&'t self, visit: &mut dyn FnMut(&'t Tree)) {
        visit(self);
        for child in self.children.values() {
            child.visit(visit);
        }
    }

    /// What every module asks of providers: by `required_providers`, by `provider` blocks and by the types of resources.
    pub fn requirements(&self) -> Requirements {
        let mut requirements = Requirements::new();
        self.visit(&mut |tree| tree.require(&mut requirements));
        for tree in self.run_modules.values() {
            tree.visit(&mut |tree| tree.require(&mut requirements));
        }
        requirements
    }

    /// What this module alone asks of providers.
    pub fn own_requirements(&self) -> Requirements {
        let mut requirements = Requirements::new();
        self.require(&mut requirements);
        requirements
    }

    fn require(&self, requirements: &mut Requirements) {
        let module = &self.module;
        for required in module.required_providers.values() {
            let constraints = requirements.entry(required.address.clone()).or_default();
            constraints.0.extend(
                required
                    .version
                    .iter()
                    .flat_map(|version| version.constraints.0.clone()),
            );
        }
        for config in module.provider_configs.values() {
            let constraints = requirements.entry(config.provider.clone()).or_default();
            constraints.0.extend(
                config
                    .version
                    .iter()
                    .flat_map(|version| version.constraints.0.clone()),
            );
        }
        for resource in module.resources.values() {
            requirements.entry(resource.provider.clone()).or_default();
        }
        for import in &module.imports {
            requirements
                .entry(import.provider_address.clone())
                .or_default();
        }
        for test in module.tests.values() {
            for key in test.providers.keys().chain(test.mock_providers.keys()) {
                requirements
                    .entry(module.provider_for_name(&key.name))
                    .or_default();
            }
        }
    }

    /// The provider configuration that a name in a module stands for, followed upwards through what callers pass.
    /// Call it on the root. Nothing when the module is not there, or an aliased configuration is not passed.
    pub fn provider_config(
        &self,
        path: &ModulePath,
        local: &LocalProvider,
    ) -> Option<address::ProviderConfig> {
        let module = &self.at(path)?.module;
        let provider = module.provider_for_name(&local.name);
        let here = || address::ProviderConfig {
            module: path.clone(),
            provider: provider.clone(),
            alias: local.alias.clone(),
        };
        let Some((parent, name)) = path.split() else {
            return Some(here());
        };
        let call = self.at(&parent)?.module.module_calls.get(name)?;
        if let Some(passed) = call
            .providers
            .iter()
            .find(|passed| passed.child.key == *local)
        {
            return self.provider_config(&parent, &passed.parent.key);
        }
        if module.provider_configs.contains_key(local) {
            return Some(here());
        }
        if local.alias.is_some() {
            return None;
        }
        let inherited =
            LocalProvider::default_of(self.at(&parent)?.module.local_name_of(&provider));
        self.provider_config(&parent, &inherited)
    }
}

struct Loader<'a> {
    texts: Texts<'a>,
    manifest: &'a Manifest,
    /// What stands before the paths of modules in the manifest.
    prefix: ModulePath,
    sources: &'a mut Sources,
    diagnostics: Diagnostics,
}

/// Loads a configuration whose modules are installed, and checks it as far as that goes without providers' schemas
/// and without looking at references (for which see [`super::check_references`]). The tree is there even when
/// something is wrong, as far as it goes.
pub fn load(
    root: &Path,
    manifest: &Manifest,
    tests: Option<&str>,
    sources: &mut Sources,
) -> (Option<Tree>, Diagnostics) {
    load_of(Texts::Disk, root, manifest, tests, sources)
}

/// As [`load`], from the files that a snapshot keeps.
pub fn load_snapshot(snapshot: &Snapshot, sources: &mut Sources) -> (Option<Tree>, Diagnostics) {
    load_of(
        Texts::Kept(snapshot),
        &snapshot.root,
        &snapshot.manifest,
        None,
        sources,
    )
}

fn load_of(
    texts: Texts<'_>,
    root: &Path,
    manifest: &Manifest,
    tests: Option<&str>,
    sources: &mut Sources,
) -> (Option<Tree>, Diagnostics) {
    let (module, mut diagnostics) =
        load_module_of(texts, root, &ModulePath::root(), tests, sources);
    let Some(module) = module else {
        return (None, diagnostics);
    };
    if !diagnostics.has_errors() {
        let versions = check_core_versions(&module.required_versions, None);
        if versions.has_errors() {
            return (None, versions);
        }
    }
    let mut loader = Loader {
        texts,
        manifest,
        prefix: ModulePath::root(),
        sources,
        diagnostics: std::mem::take(&mut diagnostics),
    };
    let mut tree = Tree {
        module: Arc::new(module),
        source: None,
        version: None,
        call_range: None,
        children: BTreeMap::new(),
        run_modules: BTreeMap::new(),
    };
    if loader.diagnostics.has_errors() {
        // As in Terraform, what is called is looked at once the callers make sense.
        return (Some(tree), loader.diagnostics);
    }
    let directory = tree.module.source_dir.clone();
    tree.children = loader.children(&tree.module, &mut vec![directory]);
    tree.run_modules = loader.run_modules(&tree.module);
    let mut diagnostics = loader.diagnostics;
    diagnostics.append(provider_checks::check(&tree, sources));
    if !diagnostics.has_errors() {
        for module in tree.run_modules.values() {
            diagnostics.append(provider_checks::check(module, sources));
        }
        diagnostics.append(provider_checks::check_tests(&tree));
    }
    (Some(tree), diagnostics)
}

impl Loader<'_> {
    /// The modules that the runs of test files use.
    fn run_modules(&mut self, root: &Module) -> BTreeMap<(String, Arc<str>), Tree> {
        let mut trees = BTreeMap::new();
        for (file, test) in &root.tests {
            for run in &test.runs {
                let Some(module) = &run.module else { continue };
                self.prefix = run.module_path(file);
                let call = module.as_call(&run.name);
                if let Some(tree) = self.child_at(&ModulePath::root(), &call, &mut Vec::new()) {
                    trees.insert((file.clone(), run.name.clone()), tree);
                }
            }
        }
        self.prefix = ModulePath::root();
        trees
    }

    fn children(&mut self, module: &Module, above: &mut Vec<PathBuf>) -> BTreeMap<Arc<str>, Tree> {
        let mut children = BTreeMap::new();
        for call in module.module_calls.values() {
            if let Some(child) = self.child(module, call, above) {
                children.insert(call.name.clone(), child);
            }
        }
        children
    }

    fn error(&mut self, summary: &str, detail: impl Into<String>, at: Range) {
        self.diagnostics
            .push(Diagnostic::error(summary, detail).at(at));
    }

    fn child(
        &mut self,
        parent: &Module,
        call: &ModuleCall,
        above: &mut Vec<PathBuf>,
    ) -> Option<Tree> {
        self.child_at(&parent.path.child(call.name.clone()), call, above)
    }

    fn child_at(
        &mut self,
        path: &ModulePath,
        call: &ModuleCall,
        above: &mut Vec<PathBuf>,
    ) -> Option<Tree> {
        let source = call.address.as_ref()?;
        let installed: ModulePath = self
            .prefix
            .names()
            .iter()
            .chain(path.names())
            .cloned()
            .collect();
        let at = call.source_range.unwrap_or(call.range);
        let Some(record) = self.manifest.get(&installed).cloned() else {
            self.error(
                "Module not installed",
                "This module is not yet installed. Run \"terraform init\" to install all modules required by this configuration.",
                call.range,
            );
            return None;
        };
        if record.source != source.to_string() {
            self.error(
                "Module source has changed",
                "The source address was changed since this module was installed. Run \"terraform init\" to install all modules required by this configuration.",
                at,
            );
            return None;
        }
        if let (Some(version), Some(installed)) = (&call.version, &record.version)
            && !version.constraints.allows(installed)
        {
            self.error(
                "Module version requirements have changed",
                format!(
                    "The version requirements have changed since this module was installed and the installed version ({installed}) is no longer acceptable. Run \"terraform init\" to install all modules required by this configuration."
                ),
                at,
            );
            return None;
        }
        if above.len() >= DEEPEST
            || above
                .iter()
                .filter(|directory| **directory == record.directory)
                .count()
                > 0
        {
            self.error(
                "Module calls itself",
                format!(
                    "The module in {} is called from within itself, which would never end.",
                    record.directory.display()
                ),
                at,
            );
            return None;
        }
        let (module, diagnostics) =
            load_module_of(self.texts, &record.directory, path, None, self.sources);
        let Some(module) = module else {
            let detail = format!(
                "This module's local cache directory {} could not be read. Run \"terraform init\" to install all modules required by this configuration.",
                record.directory.display()
            );
            self.error("Module not installed", detail, call.range);
            return None;
        };
        if !diagnostics.has_errors() {
            let source = source.to_string();
            let versions = check_core_versions(
                &module.required_versions,
                Some((&path.to_string(), &source)),
            );
            if versions.has_errors() {
                self.diagnostics.append(versions);
                return None;
            }
        }
        self.diagnostics.append(diagnostics);
        if let Some((_, range)) = &module.encryption {
            self.diagnostics.push(
                Diagnostic::warning(
                    "Encryption configuration ignored",
                    "States and plans are encrypted as the root module says: this block will have no effect.",
                )
                .at(*range),
            );
        }
        if let Some(backend) = &module.backend {
            self.diagnostics.push(
                Diagnostic::warning(
                    "Backend configuration ignored",
                    "Any selected backend applies to the entire configuration, so Terraform expects provider configurations only in the root module.\n\nThis is a warning rather than an error because it's sometimes convenient to temporarily call a root module as a child module for testing purposes, but this backend configuration block will have no effect.",
                )
                .at(backend.range),
            );
        }
        if let Some(import) = module.imports.first() {
            let detail = format!(
                "An import block was detected in {:?}. Import blocks are only allowed in the root module.",
                path.to_string()
            );
            self.diagnostics
                .push(Diagnostic::error("Invalid import configuration", detail).at(import.range));
        }
        above.push(record.directory);
        let children = self.children(&module, above);
        above.pop();
        Some(Tree {
            module: Arc::new(module),
            source: Some(source.clone()),
            version: record.version,
            call_range: Some(call.range),
            children,
            run_modules: BTreeMap::new(),
        })
    }
}
