//! Resources: the block, the block as expanded by its modules, and the instances.

use std::fmt;
use std::sync::Arc;

use super::key::Key;
use super::module::{ModuleInstance, ModulePath};

/// What a resource block declares. Orders as Terraform lists them: data sources first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Mode {
    /// `data`: read, never changed.
    Data,
    /// `resource`: made, changed and deleted.
    Managed,
    /// `ephemeral`: opened for a run and never kept.
    Ephemeral,
}

impl Mode {
    /// The word that stands before the type in an address, with its dot.
    fn prefix(self) -> &'static str {
        match self {
            Mode::Managed => "",
            Mode::Data => "data.",
            Mode::Ephemeral => "ephemeral.",
        }
    }
}

/// A resource within its module.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Resource {
    /// What kind of block declares it.
    pub mode: Mode,
    /// Its type, as `aws_instance`.
    pub kind: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl Resource {
    /// A `resource` block's address.
    pub fn managed(kind: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Resource {
            mode: Mode::Managed,
            kind: kind.into(),
            name: name.into(),
        }
    }

    /// A `data` block's address.
    pub fn data(kind: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Resource {
            mode: Mode::Data,
            kind: kind.into(),
            name: name.into(),
        }
    }

    /// This resource in the module instance `module`.
    pub fn within(&self, module: &ModuleInstance) -> AbsResource {
        AbsResource {
            module: module.clone(),
            resource: self.clone(),
        }
    }

    /// The local name of the provider that a type belongs to when the block names none: what stands before
    /// the first underscore.
    pub fn implied_provider(&self) -> &str {
        self.kind
            .split_once('_')
            .map_or(&self.kind, |(provider, _)| provider)
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}.{}", self.mode.prefix(), self.kind, self.name)
    }
}

/// A resource block by the path of its module.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ConfigResource {
    /// The module that holds the block.
    pub module: ModulePath,
    /// The resource in it.
    pub resource: Resource,
}

impl fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.module.is_root() {
            write!(f, "{}.", self.module)?;
        }
        self.resource.fmt(f)
    }
}

/// A resource in one instance of its module: all its own instances together.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct AbsResource {
    /// The instance of the module.
    pub module: ModuleInstance,
    /// The resource in it.
    pub resource: Resource,
}

impl AbsResource {
    /// The instance with this key.
    pub fn instance(&self, key: Key) -> ResourceInstance {
        ResourceInstance {
            module: self.module.clone(),
            resource: self.resource.clone(),
            key,
        }
    }

    /// The block it comes from.
    pub fn config(&self) -> ConfigResource {
        ConfigResource {
            module: self.module.path(),
            resource: self.resource.clone(),
        }
    }
}

impl fmt::Display for AbsResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.module.is_root() {
            write!(f, "{}.", self.module)?;
        }
        self.resource.fmt(f)
    }
}

/// One instance of a resource.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ResourceInstance {
    /// The instance of the module.
    pub module: ModuleInstance,
    /// The resource in it.
    pub resource: Resource,
    /// Which of its instances.
    pub key: Key,
}

impl ResourceInstance {
    /// The resource this is an instance of.
    pub fn abs_resource(&self) -> AbsResource {
        AbsResource {
            module: self.module.clone(),
            resource: self.resource.clone(),
        }
    }

    /// The block it comes from.
    pub fn config(&self) -> ConfigResource {
        ConfigResource {
            module: self.module.path(),
            resource: self.resource.clone(),
        }
    }
}

impl fmt::Display for ResourceInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.module.is_root() {
            write!(f, "{}.", self.module)?;
        }
        write!(f, "{}{}", self.resource, self.key)
    }
}
