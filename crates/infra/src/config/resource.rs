//! Resources as they are declared: managed, data and ephemeral.

use std::sync::Arc;

use consort_hcl::source::Range;
use consort_hcl::syntax::{Body, Expr};
use consort_hcl::traversal::Traversal;

use super::module::{CheckRule, Connection, LocalProvider, ProviderReference, Provisioner};
use crate::address::{self, ProviderSource};

/// A `resource`, `data` or `ephemeral` block.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Mode, type and name.
    pub address: address::Resource,
    /// The rest of the block, for the provider's schema.
    pub config: Body,
    /// `count`.
    pub count: Option<Expr>,
    /// `for_each`.
    pub for_each: Option<Expr>,
    /// `provider` as written.
    pub provider_reference: Option<ProviderReference>,
    /// The provider that serves it.
    pub provider: ProviderSource,
    /// `depends_on`.
    pub depends_on: Vec<Traversal>,
    /// `precondition` blocks.
    pub preconditions: Vec<CheckRule>,
    /// `postcondition` blocks.
    pub postconditions: Vec<CheckRule>,
    /// `replace_triggered_by`.
    pub replace_triggered_by: Vec<Expr>,
    /// What only managed resources have; default for the others.
    pub managed: Managed,
    /// The name of the `check` block a nested data source stands in: only that block may refer to it.
    pub check: Option<Arc<str>>,
    /// Where the type label stands.
    pub kind_range: Range,
    /// The block's header.
    pub range: Range,
}

impl Resource {
    /// The provider configuration that serves it, by its name in the module.
    pub fn local_provider(&self) -> LocalProvider {
        match &self.provider_reference {
            Some(reference) => reference.key.clone(),
            None => LocalProvider::default_of(self.address.implied_provider()),
        }
    }
}

/// The arguments of `resource` blocks alone.
#[derive(Clone, Debug, Default)]
pub struct Managed {
    /// `connection`
    pub connection: Option<Connection>,
    /// `provisioner` blocks in order.
    pub provisioners: Vec<Provisioner>,
    /// `create_before_destroy`, when it was written.
    pub create_before_destroy: Option<bool>,
    /// `prevent_destroy`, when it was written.
    pub prevent_destroy: Option<bool>,
    /// `ignore_changes`, when it was written.
    pub ignore_changes: IgnoreChanges,
}

/// Which changes a plan leaves alone.
#[derive(Clone, Debug, Default)]
pub enum IgnoreChanges {
    /// None (not written).
    #[default]
    None,
    /// All of them.
    All,
    /// Those under these paths, relative to the resource.
    Paths(Vec<Traversal>),
}
