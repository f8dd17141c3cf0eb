//! Which kinds the server offers.

use crate::error::{Doing, Error};
use kube::{
    Client,
    discovery::{ApiResource, Discovery, Scope, verbs},
};

/// One kind that can be listed, watched and deleted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Served {
    pub(crate) resource: ApiResource,
    pub(crate) namespaced: bool,
    pub(crate) watchable: bool,
}

/// All listable, deletable kinds, each in the version its group recommends.
pub(crate) async fn served(client: &Client) -> Result<Vec<Served>, Error> {
    let found = match Discovery::new(client.clone()).run_aggregated().await {
        Ok(found) => found,
        // Servers before 1.26 know only the form with one document per group and version.
        Err(_) => Discovery::new(client.clone())
            .run()
            .await
            .doing(|| "discovering kinds".to_owned())?,
    };
    let mut all = Vec::new();
    for group in found.groups() {
        for (resource, capabilities) in group.resources_by_stability() {
            if capabilities.supports_operation(verbs::LIST)
                && capabilities.supports_operation(verbs::DELETE)
            {
                all.push(Served {
                    namespaced: capabilities.scope == Scope::Namespaced,
                    watchable: capabilities.supports_operation(verbs::WATCH),
                    resource,
                });
            }
        }
    }
    Ok(all)
}
