//! Modules: the block that calls one, and the instances a call expands to.

use std::cmp::Ordering;
use std::fmt;
use std::sync::{Arc, LazyLock};

use super::key::Key;

/// A module by the names of the calls that lead to it. The root has none.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ModulePath(Arc<[Arc<str>]>);

static ROOT_PATH: LazyLock<ModulePath> = LazyLock::new(|| ModulePath(Arc::new([])));
static ROOT: LazyLock<ModuleInstance> = LazyLock::new(|| ModuleInstance(Arc::new([])));

impl ModulePath {
    /// The root module.
    pub fn root() -> Self {
        ROOT_PATH.clone()
    }

    /// The module called `name` from here.
    #[must_use]
    pub fn child(&self, name: impl Into<Arc<str>>) -> Self {
        ModulePath(self.0.iter().cloned().chain([name.into()]).collect())
    }

    /// The names of the calls, outermost first.
    pub fn names(&self) -> &[Arc<str>] {
        &self.0
    }

    /// Whether this is the root module.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The calling module and the name of the call; none for the root.
    pub fn split(&self) -> Option<(ModulePath, &Arc<str>)> {
        let (last, rest) = self.0.split_last()?;
        Some((ModulePath(rest.into()), last))
    }

    /// The instance of this module when no call on the way is repeated.
    pub fn without_keys(&self) -> ModuleInstance {
        ModuleInstance(
            self.0
                .iter()
                .map(|name| ModuleStep {
                    name: name.clone(),
                    key: Key::None,
                })
                .collect(),
        )
    }

    /// Whether `other` is this module or below it.
    pub fn contains(&self, other: &ModulePath) -> bool {
        other.0.starts_with(&self.0)
    }
}

impl FromIterator<Arc<str>> for ModulePath {
    fn from_iter<I: IntoIterator<Item = Arc<str>>>(names: I) -> Self {
        ModulePath(names.into_iter().collect())
    }
}

impl Default for ModulePath {
    fn default() -> Self {
        ModulePath::root()
    }
}

impl PartialOrd for ModulePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ModulePath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0
            .len()
            .cmp(&other.0.len())
            .then_with(|| self.0.cmp(&other.0))
    }
}

impl fmt::Display for ModulePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            let dot = if index == 0 { "" } else { "." };
            write!(f, "{dot}module.{name}")?;
        }
        Ok(())
    }
}

/// One call on the way to a module instance.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ModuleStep {
    /// The name of the `module` block.
    pub name: Arc<str>,
    /// Which of its instances.
    pub key: Key,
}

/// One instance of a module. Orders as Terraform does: by depth, then step by step.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ModuleInstance(Arc<[ModuleStep]>);

impl ModuleInstance {
    /// The root module.
    pub fn root() -> Self {
        ROOT.clone()
    }

    /// The instance `key` of the call `name` made here.
    #[must_use]
    pub fn child(&self, name: impl Into<Arc<str>>, key: Key) -> Self {
        ModuleInstance(
            self.0
                .iter()
                .cloned()
                .chain([ModuleStep {
                    name: name.into(),
                    key,
                }])
                .collect(),
        )
    }

    /// The steps, outermost first.
    pub fn steps(&self) -> &[ModuleStep] {
        &self.0
    }

    /// Whether this is the root module.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The module this is an instance of.
    pub fn path(&self) -> ModulePath {
        if self.0.is_empty() {
            return ModulePath::root();
        }
        self.0.iter().map(|step| step.name.clone()).collect()
    }

    /// The calling module instance and the call's step; none for the root.
    pub fn split(&self) -> Option<(ModuleInstance, &ModuleStep)> {
        let (last, rest) = self.0.split_last()?;
        Some((ModuleInstance(rest.into()), last))
    }

    /// Whether `other` is this instance or below it.
    pub fn contains(&self, other: &ModuleInstance) -> bool {
        other.0.starts_with(&self.0)
    }
}

impl FromIterator<ModuleStep> for ModuleInstance {
    fn from_iter<I: IntoIterator<Item = ModuleStep>>(steps: I) -> Self {
        ModuleInstance(steps.into_iter().collect())
    }
}

impl Default for ModuleInstance {
    fn default() -> Self {
        ModuleInstance::root()
    }
}

impl PartialOrd for ModuleInstance {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ModuleInstance {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0
            .len()
            .cmp(&other.0.len())
            .then_with(|| self.0.cmp(&other.0))
    }
}

impl fmt::Display for ModuleInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            let dot = if index == 0 { "" } else { "." };
            write!(f, "{dot}module.{}{}", step.name, step.key)?;
        }
        Ok(())
    }
}
