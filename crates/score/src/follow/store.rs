//! The credential store: Secrets of a score's namespace.

use std::sync::Arc;

use consort_reconcile::{Hub, Informer};
use k8s_openapi::api::core::v1::Secret;
use kube::Client;

use crate::git::{Credentials, Error, Opens, Place, SECRET_TYPE};

/// Gives credentials out of Secrets: the one that is named, or of type `consort.dev/git` whose `url` is the longest
/// prefix of the repository's. None where there is none.
pub(super) fn secrets(hub: &Hub) -> Opens {
    let client = hub.client();
    // There are many Secrets beside scores, and few of this type.
    let general = hub.informer_where::<Secret>(None, Some(&format!("type={SECRET_TYPE}")));
    Arc::new(move |place| {
        let (client, general) = (client.clone(), general.clone());
        Box::pin(async move { open(&client, &general, &place).await })
    })
}

async fn open(
    client: &Client,
    general: &Informer<Secret>,
    place: &Place,
) -> Result<Credentials, Error> {
    if let Some(name) = &place.secret {
        return consort_git::named(client, place, name).await;
    }
    general.synced().await;
    let found = general.list_in(&place.namespace);
    let prefix = |secret: &Secret| {
        let url = &secret.data.as_ref()?.get("url")?.0;
        let url = std::str::from_utf8(url).ok()?.trim();
        place.remote.is_under(url).then_some(url.len())
    };
    let best = found
        .iter()
        .filter_map(|secret| Some((prefix(secret)?, secret)))
        .max_by_key(|(length, _)| *length);
    match best {
        Some((_, secret)) => Credentials::of(secret).map_err(|error| Error::Credentials {
            url: place.remote.to_string(),
            said: error.to_string(),
        }),
        None => Ok(Credentials::default()),
    }
}
