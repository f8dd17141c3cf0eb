//! The modules of a configuration as a flat list, and which provider configuration serves what.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::address::{ConfigResource, ModulePath, ProviderConfig, ResourceInstance, Target};
use crate::config::{self, LocalProvider, Module, ModuleCall, Removed, Tree};

/// The place of a module in [`Index::modules`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct ModuleIx(pub(super) usize);

impl ModuleIx {
    pub(super) const ROOT: ModuleIx = ModuleIx(0);
}

pub(super) struct ModuleEntry<'a> {
    pub(super) path: ModulePath,
    pub(super) module: &'a Module,
    pub(super) call: Option<(ModuleIx, &'a ModuleCall)>,
    pub(super) children: BTreeMap<Arc<str>, ModuleIx>,
}

/// The modules, callers before the called.
pub(super) struct Index<'a> {
    pub(super) modules: Vec<ModuleEntry<'a>>,
    by_path: HashMap<ModulePath, ModuleIx>,
}

impl<'a> Index<'a> {
    pub(super) fn new(tree: &'a Tree) -> Self {
        let mut index = Index {
            modules: Vec::new(),
            by_path: HashMap::new(),
        };
        index.add(tree, &ModulePath::root(), None);
        index
    }

    fn add(
        &mut self,
        tree: &'a Tree,
        path: &ModulePath,
        call: Option<(ModuleIx, &'a ModuleCall)>,
    ) -> ModuleIx {
        let ix = ModuleIx(self.modules.len());
        self.by_path.insert(path.clone(), ix);
        self.modules.push(ModuleEntry {
            path: path.clone(),
            module: &tree.module,
            call,
            children: BTreeMap::new(),
        });
        for (name, child) in &tree.children {
            let Some(call) = tree.module.module_calls.get(name) else {
                continue;
            };
            let child = self.add(child, &path.child(name.clone()), Some((ix, call)));
            self.modules[ix.0].children.insert(name.clone(), child);
        }
        ix
    }

    pub(super) fn entry(&self, ix: ModuleIx) -> &ModuleEntry<'a> {
        &self.modules[ix.0]
    }

    pub(super) fn module(&self, ix: ModuleIx) -> &'a Module {
        self.modules[ix.0].module
    }

    pub(super) fn find(&self, path: &ModulePath) -> Option<ModuleIx> {
        self.by_path.get(path).copied()
    }

    /// The block a resource comes from, if it is still there.
    pub(super) fn resource(&self, address: &ConfigResource) -> Option<&'a config::Resource> {
        self.module(self.find(&address.module)?)
            .resources
            .get(&address.resource)
    }

    /// The `removed` block that speaks of an instance.
    pub(super) fn removed(&self, address: &ResourceInstance) -> Option<&'a Removed> {
        self.modules.iter().find_map(|entry| {
            let depth = entry.path.names().len();
            let steps = address.module.steps();
            let within = steps.len() >= depth
                && steps
                    .iter()
                    .zip(entry.path.names())
                    .all(|(step, name)| step.name == *name);
            if !within {
                return None;
            }
            let inner = ResourceInstance {
                module: steps[depth..].iter().cloned().collect(),
                ..address.clone()
            };
            entry
                .module
                .removed
                .iter()
                .find(|removed| match &removed.from {
                    Target::Instance(_) => false,
                    from => from.contains(&inner),
                })
        })
    }

    /// The configuration that `local` stands for in a module: a `provider` block of the module itself, or
    /// what its callers pass down, or the root's implied empty one.
    pub(super) fn provider(&self, ix: ModuleIx, local: &LocalProvider) -> ProviderConfig {
        let (mut ix, mut local) = (ix, local.clone());
        loop {
            let entry = self.entry(ix);
            let source = entry.module.provider_for_name(&local.name);
            let Some((parent, call)) = entry.call else {
                return ProviderConfig {
                    module: entry.path.clone(),
                    provider: source,
                    alias: local.alias,
                };
            };
            if entry.module.provider_configs.contains_key(&local) {
                return ProviderConfig {
                    module: entry.path.clone(),
                    provider: source,
                    alias: local.alias,
                };
            }
            if let Some(passed) = call
                .providers
                .iter()
                .find(|passed| passed.child.key == local)
            {
                local = passed.parent.key.clone();
            } else {
                let name = self.module(parent).local_name_of(&source);
                local = LocalProvider {
                    name,
                    alias: local.alias,
                };
            }
            ix = parent;
        }
    }

    /// The block that configures a provider, if there is one.
    pub(super) fn provider_block(
        &self,
        address: &ProviderConfig,
    ) -> Option<(ModuleIx, &'a config::ProviderConfig)> {
        let ix = self.find(&address.module)?;
        self.module(ix)
            .provider_configs
            .values()
            .find(|block| block.provider == address.provider && block.key.alias == address.alias)
            .map(|block| (ix, block))
    }
}
