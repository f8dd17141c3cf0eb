//! Providers by where they come from, and their configurations.

use std::fmt;
use std::sync::Arc;

use super::module::ModulePath;

/// A provider's source address.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ProviderSource {
    /// The registry's host.
    pub host: Arc<str>,
    /// The namespace, most often an organisation.
    pub namespace: Arc<str>,
    /// The provider's type, as `aws`.
    pub kind: Arc<str>,
}

impl ProviderSource {
    /// The registry of addresses that name none.
    pub const DEFAULT_HOST: &str = "registry.terraform.io";

    /// A provider of the default registry.
    pub fn new(namespace: impl Into<Arc<str>>, kind: impl Into<Arc<str>>) -> Self {
        ProviderSource {
            host: Self::DEFAULT_HOST.into(),
            namespace: namespace.into(),
            kind: kind.into(),
        }
    }

    /// The provider a local name stands for when no block says otherwise: `hashicorp/<name>`, and the
    /// built-in ones for `terraform` and `consort`.
    pub fn implied(local_name: &str) -> Self {
        if ["terraform", "consort"].contains(&local_name) {
            return ProviderSource::builtin(local_name);
        }
        ProviderSource::new("hashicorp", local_name)
    }

    /// A provider that is part of the program.
    pub fn builtin(kind: impl Into<Arc<str>>) -> Self {
        ProviderSource {
            host: "terraform.io".into(),
            namespace: "builtin".into(),
            kind: kind.into(),
        }
    }

    /// Whether it is part of the program.
    pub fn is_builtin(&self) -> bool {
        &*self.host == "terraform.io" && &*self.namespace == "builtin"
    }

    /// The shortest form users write: without the host when it is the default one.
    pub fn for_display(&self) -> String {
        if &*self.host == Self::DEFAULT_HOST {
            format!("{}/{}", self.namespace, self.kind)
        } else {
            self.to_string()
        }
    }
}

impl fmt::Display for ProviderSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.host, self.namespace, self.kind)
    }
}

/// The configuration of a provider: the block's module, the provider, and the alias if it has one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ProviderConfig {
    /// The module that holds the `provider` block.
    pub module: ModulePath,
    /// Which provider.
    pub provider: ProviderSource,
    /// The block's alias.
    pub alias: Option<Arc<str>>,
}

impl ProviderConfig {
    /// The configuration of `provider` in the root module, without an alias.
    pub fn default_for(provider: ProviderSource) -> Self {
        ProviderConfig {
            module: ModulePath::root(),
            provider,
            alias: None,
        }
    }
}

impl fmt::Display for ProviderConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.module.is_root() {
            write!(f, "{}.", self.module)?;
        }
        write!(f, "provider[\"{}\"]", self.provider)?;
        if let Some(alias) = &self.alias {
            write!(f, ".{alias}")?;
        }
        Ok(())
    }
}
