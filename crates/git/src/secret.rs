//! Credentials out of a Secret that is named.

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::Api;

use crate::{Credentials, Error, Place};

/// The credentials in a Secret of the place's namespace.
///
/// # Errors
/// There is none of that name, it cannot be read, or it holds no credentials.
pub async fn named(client: &Client, place: &Place, name: &str) -> Result<Credentials, Error> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &place.namespace);
    let refused = |said: String| Error::Credentials {
        url: place.remote.to_string(),
        said,
    };
    let secret = secrets.get_opt(name).await.map_err(|error| Error::Failed {
        doing: format!("reading the credentials of {}", place.remote),
        said: error.to_string(),
    })?;
    let secret = secret.ok_or_else(|| {
        refused(format!(
            "there is no secret {name} in namespace {}",
            place.namespace
        ))
    })?;
    Credentials::of(&secret).map_err(|error| refused(error.to_string()))
}
