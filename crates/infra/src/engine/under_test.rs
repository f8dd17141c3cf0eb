//! What is different about a run that tests a configuration: objects and modules that are made up, provider
//! blocks that read other names, and expressions to be evaluated once all is visited.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_hcl::Value;
use consort_hcl::evaluate::Scope;

use super::checks::Checkable;
use crate::address::{ModuleInstance, ProviderConfig, ResourceInstance, Target};
use crate::provider::Provider;

/// Makes what answers in a provider's place.
pub type Replace = dyn Fn(Arc<dyn Provider>) -> Arc<dyn Provider> + Send + Sync;

/// A resource or data source that a test replaces: its provider is not asked, another one is.
pub struct ReplacedObject {
    /// A resource or one instance of it.
    pub target: Target,
    /// The provider configuration that must serve it, for those that are replaced only there.
    pub provider: Option<ProviderConfig>,
    /// What answers in the provider's place, given the provider.
    pub with: Box<Replace>,
}

/// A module that a test replaces: nothing in it exists but its outputs.
#[derive(Clone, Debug)]
pub struct ReplacedModule {
    /// The module's call, or one instance of it.
    pub target: ModuleInstance,
    /// Its outputs; those that are missing are null.
    pub outputs: BTreeMap<Arc<str>, Value>,
}

/// Evaluates expressions in the root module, once all of it is visited. Its outputs are given beside its names.
pub type Afterwards<'a> = dyn Fn(&dyn Scope, &BTreeMap<Arc<str>, Value>) + Send + Sync + 'a;

/// What is different about a run that tests a configuration.
pub struct UnderTest<'a> {
    /// Objects that are replaced. The most special target counts; of equal ones the first.
    pub objects: Vec<ReplacedObject>,
    /// Modules that are replaced, likewise.
    pub modules: Vec<ReplacedModule>,
    /// The names that the provider blocks of the root module can use, for those that are not the module's own.
    pub provider_names: Option<&'a (dyn Scope + Send + Sync)>,
    /// Which of them those are.
    pub foreign_providers: Vec<ProviderConfig>,
    /// Those that are made up, and so have no arguments.
    pub mocked_providers: Vec<ProviderConfig>,
    /// Called when all is visited and providers still run.
    pub afterwards: &'a Afterwards<'a>,
}

impl UnderTest<'_> {
    /// The names that the block of a provider configuration can use, if it is not the module's own.
    pub(super) fn names_of(&self, provider: &ProviderConfig) -> Option<&dyn Scope> {
        let names = self.provider_names?;
        self.foreign_providers
            .contains(provider)
            .then_some(names as &dyn Scope)
    }

    /// What answers for an object in its provider's place. Those for the instance count before those for its
    /// resource, then those for any provider before those for one.
    pub(super) fn object(
        &self,
        address: &ResourceInstance,
        provider: &ProviderConfig,
    ) -> Option<&ReplacedObject> {
        let mut best: Option<((bool, bool), &ReplacedObject)> = None;
        for object in &self.objects {
            if !points_at(&object.target, address)
                || object.provider.as_ref().is_some_and(|own| own != provider)
            {
                continue;
            }
            let exact = matches!(&object.target, Target::Instance(instance) if instance == address);
            let rank = (exact, object.provider.is_none());
            if best.as_ref().is_none_or(|(known, _)| rank > *known) {
                best = Some((rank, object));
            }
        }
        best.map(|(_, object)| object)
    }

    /// What replaces a module instance.
    pub(super) fn module(&self, address: &ModuleInstance) -> Option<&ReplacedModule> {
        self.modules
            .iter()
            .find(|module| module.target == *address)
            .or_else(|| {
                self.modules
                    .iter()
                    .find(|module| covers(&module.target, address))
            })
    }
}

/// Whether a target points at an instance. As in Terraform, the keys of its modules must be there, while a resource
/// without key stands for all its instances.
fn points_at(target: &Target, address: &ResourceInstance) -> bool {
    match target {
        Target::Instance(instance) => {
            instance.resource == address.resource
                && instance.module == address.module
                && (instance.key.is_none() || instance.key == address.key)
        }
        Target::Resource(resource) => {
            resource.resource == address.resource && resource.module == address.module
        }
        Target::Module(_) => false,
    }
}

/// Whether the first, in which a missing key stands for every key, covers the second.
fn covers(pattern: &ModuleInstance, address: &ModuleInstance) -> bool {
    let (pattern, address) = (pattern.steps(), address.steps());
    pattern.len() == address.len()
        && pattern.iter().zip(address).all(|(wanted, step)| {
            wanted.name == step.name && (wanted.key.is_none() || wanted.key == step.key)
        })
}

/// What a diagnostic of a failed condition comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedCheck {
    /// What kind of block.
    pub kind: Checkable,
    /// Whose: `aws_instance.a[0]`, `module.m.check.c`.
    pub object: String,
    /// Whether it is in the root module.
    pub in_root: bool,
    /// Whether it is no condition but the data source nested in a `check` block that failed.
    pub nested_data: bool,
    /// Whether it was an error before it was made a warning, as those of `check` blocks are.
    pub was_error: bool,
}
