//! The JSON forms that programs read: plans (format 1.2) and states (format 1.0), as `terraform show -json`
//! writes them.

mod config;
mod plan;
mod schemas;
mod state;
mod value;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_hcl::Diagnostics;

use crate::address::{Mode, ProviderSource, Resource};
use crate::config::Tree;
use crate::engine::Providers;
use crate::provider::schema::{Kind, ResourceSchema, Schemas};
use crate::state::State;

pub use plan::plan_json;
pub use schemas::schemas_json;
pub use state::state_json;

/// The schemas of all providers that a configuration and a state use.
#[derive(Clone, Default)]
pub struct SchemaSet(BTreeMap<ProviderSource, Arc<Schemas>>);

impl SchemaSet {
    /// Asks the providers for their schemas.
    ///
    /// # Errors
    /// What the providers, or what starts them, say.
    pub async fn gather(
        providers: &dyn Providers,
        tree: Option<&Tree>,
        states: &[&State],
    ) -> Result<SchemaSet, Diagnostics> {
        let mut sources = std::collections::BTreeSet::new();
        if let Some(tree) = tree {
            tree.visit(&mut |tree| {
                sources.extend(
                    tree.module
                        .resources
                        .values()
                        .map(|resource| resource.provider.clone()),
                );
                sources.extend(
                    tree.module
                        .provider_configs
                        .values()
                        .map(|config| config.provider.clone()),
                );
            });
        }
        for state in states {
            sources.extend(
                state
                    .resources
                    .values()
                    .map(|resource| resource.provider.provider.clone()),
            );
        }
        let mut set = SchemaSet::default();
        for source in sources {
            let schemas = providers.schemas(&source).await?;
            set.0.insert(source, schemas);
        }
        Ok(set)
    }

    /// Those that are known already.
    pub fn of(schemas: BTreeMap<ProviderSource, Arc<Schemas>>) -> SchemaSet {
        SchemaSet(schemas)
    }

    /// What a provider offers.
    pub fn get(&self, source: &ProviderSource) -> Option<&Arc<Schemas>> {
        self.0.get(source)
    }

    pub(crate) fn resource(
        &self,
        source: &ProviderSource,
        resource: &Resource,
    ) -> Option<Arc<ResourceSchema>> {
        let kind = match resource.mode {
            Mode::Managed => Kind::Managed,
            Mode::Data => Kind::Data,
            Mode::Ephemeral => Kind::Ephemeral,
        };
        self.0.get(source)?.resource(kind, &resource.kind).ok()
    }
}
