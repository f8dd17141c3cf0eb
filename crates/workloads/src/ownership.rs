//! Adoption and release: an owner takes the orphans its selector matches, and lets go of what it
//! no longer matches.

use crate::{
    error::{Doing, Error, if_found},
    selectors::Labels,
    write,
};
use consort_reconcile::{Informer, controller_of};
use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::{fmt::Debug, sync::Arc};

/// Objects without a controller, by namespace.
pub(crate) const ORPHANS: &str = "orphans";

/// Adds the indexes that [`sort`] needs.
pub(crate) fn index<K: Resource + Send + Sync + 'static>(informer: &Informer<K>) {
    informer.index_by_controller();
    informer.add_index(ORPHANS, |object| match controller_of(object) {
        None => object.meta().namespace.iter().cloned().collect(),
        Some(_) => Vec::new(),
    });
}

/// The objects around one owner.
pub(crate) struct Claims<K> {
    /// Owned, and matched.
    pub(crate) kept: Vec<Arc<K>>,
    /// Not owned by anyone, and matched.
    pub(crate) adopt: Vec<Arc<K>>,
    /// Owned, and no longer matched.
    pub(crate) release: Vec<Arc<K>>,
}

/// Sorts the objects that are or could be the owner's.
pub(crate) fn sort<O, K>(owner: &O, labels: &Labels, children: &Informer<K>) -> Claims<K>
where
    O: Resource,
    K: Resource + Send + Sync + 'static,
{
    let meta = owner.meta();
    let uid = meta.uid.as_deref().unwrap_or_default();
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let (kept, release) = children
        .controlled_by(uid)
        .into_iter()
        .partition(|child| labels.matches(&**child));
    let mut adopt = Vec::new();
    if meta.deletion_timestamp.is_none() {
        adopt = children.by_index(ORPHANS, namespace);
        adopt.retain(|child| child.meta().deletion_timestamp.is_none() && labels.matches(&**child));
    }
    Claims {
        kept,
        adopt,
        release,
    }
}

/// Carries out adoption and release; returns all that is the owner's afterwards.
pub(crate) async fn settle<O, K>(
    client: &Client,
    owner: &O,
    reference: &OwnerReference,
    claims: Claims<K>,
) -> Result<Vec<Arc<K>>, Error>
where
    O: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug,
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug,
{
    let Claims {
        mut kept,
        adopt,
        release,
    } = claims;
    let namespace = owner.meta().namespace.as_deref().unwrap_or_default();
    let api = Api::<K>::namespaced(client.clone(), namespace);
    if !adopt.is_empty() {
        // The cache may lag behind the owner's deletion: an adoption then would undo an orphaning.
        let owners = Api::<O>::namespaced(client.clone(), namespace);
        let name = &reference.name;
        let live = if_found(
            owners
                .get(name)
                .await
                .doing(|| format!("reading {name} before it adopts")),
        )?;
        let may = live.is_some_and(|live| {
            live.meta().uid.as_deref() == Some(&reference.uid)
                && live.meta().deletion_timestamp.is_none()
        });
        for child in adopt.into_iter().filter(|_| may) {
            let mut owners = child.meta().owner_references.clone().unwrap_or_default();
            owners.push(reference.clone());
            let change = json!({ "ownerReferences": owners });
            match write::update_metadata(&api, child.meta(), change).await {
                Ok(adopted) => kept.push(Arc::new(adopted)),
                Err(error) if error.is(404) || error.is(409) => {}
                Err(error) => return Err(error),
            }
        }
    }
    for child in release {
        let owners = child.meta().owner_references.iter().flatten();
        let owners: Vec<_> = owners.filter(|owner| owner.uid != reference.uid).collect();
        let change = json!({ "ownerReferences": owners });
        match write::update_metadata(&api, child.meta(), change).await {
            Ok(_) => {}
            Err(error) if error.is(404) || error.is(409) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(kept)
}
