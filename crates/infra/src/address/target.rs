//! What `-target`, `-exclude` and the blocks `moved`, `removed` and `import` point at.

use std::fmt;

use super::module::ModuleInstance;
use super::resource::{AbsResource, ResourceInstance};

/// A module, a resource or one instance.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Target {
    /// A module instance and all in it. A last step without key stands for every instance of that call.
    Module(ModuleInstance),
    /// Every instance of a resource.
    Resource(AbsResource),
    /// One instance.
    Instance(ResourceInstance),
}

impl Target {
    /// The module instance that holds what is pointed at.
    pub fn module(&self) -> &ModuleInstance {
        match self {
            Target::Module(module) => module,
            Target::Resource(resource) => &resource.module,
            Target::Instance(instance) => &instance.module,
        }
    }

    /// Whether `instance` is what is pointed at or within it. A resource without key matches all its
    /// instances, a module step without key all instances of the call.
    pub fn contains(&self, instance: &ResourceInstance) -> bool {
        match self {
            Target::Module(module) => module_contains(module, &instance.module),
            Target::Resource(resource) => {
                resource.resource == instance.resource
                    && same_module(&resource.module, &instance.module)
            }
            Target::Instance(wanted) => {
                wanted.resource == instance.resource
                    && (wanted.key.is_none() || wanted.key == instance.key)
                    && same_module(&wanted.module, &instance.module)
            }
        }
    }
}

fn steps_match(pattern: &ModuleInstance, module: &ModuleInstance) -> bool {
    pattern
        .steps()
        .iter()
        .zip(module.steps())
        .all(|(wanted, step)| {
            wanted.name == step.name && (wanted.key.is_none() || wanted.key == step.key)
        })
}

fn module_contains(pattern: &ModuleInstance, module: &ModuleInstance) -> bool {
    pattern.steps().len() <= module.steps().len() && steps_match(pattern, module)
}

fn same_module(pattern: &ModuleInstance, module: &ModuleInstance) -> bool {
    pattern.steps().len() == module.steps().len() && steps_match(pattern, module)
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Module(module) => module.fmt(f),
            Target::Resource(resource) => resource.fmt(f),
            Target::Instance(instance) => instance.fmt(f),
        }
    }
}
