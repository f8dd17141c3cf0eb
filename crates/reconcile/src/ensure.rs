//! Objects that a program brings along: definitions of its kinds, policies that guard them.

use std::fmt::Write as _;
use std::time::Duration;

use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

/// Says in an object which text it was made of, so that nothing is written where nothing changed.
const MADE_OF: &str = "consort.dev/made-of";

/// Between two questions whether a kind is served by now.
const AGAIN: Duration = Duration::from_millis(20);

/// Applies an object that belongs to no namespace, under the name of `manager`, unless it is there as it should be. Gives whether
/// it did. Where whoever asks may not write it, one that is there is taken as it is.
///
/// # Errors
/// When the API refuses, or cannot be reached.
pub async fn ensure(client: &Client, manager: &str, mut wanted: Value) -> kube::Result<bool> {
    let text = |pointer: &str| {
        let value = wanted.pointer(pointer).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let (name, kind, version) = (text("/metadata/name"), text("/kind"), text("/apiVersion"));
    let (group, version) = version.split_once('/').unwrap_or(("", &version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
    let objects: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let mut made_of = String::new();
    for byte in Sha256::digest(wanted.to_string()).iter().take(8) {
        let _ = write!(made_of, "{byte:02x}");
    }
    let found = objects.get_opt(&name).await?;
    if let Some(found) = &found
        && found.annotations().get(MADE_OF) == Some(&made_of)
    {
        return Ok(false);
    }
    wanted["metadata"]["annotations"] = serde_json::json!({ MADE_OF: made_of });
    let params = PatchParams::apply(manager).force();
    match objects.patch(&name, &params, &Patch::Apply(&wanted)).await {
        Err(kube::Error::Api(status)) if status.code == 403 && found.is_some() => Ok(false),
        applied => applied.map(|_| true),
    }
}

/// Waits until a kind is served, for so long at most. Gives whether it is.
///
/// # Errors
/// When the API refuses, or cannot be reached.
pub async fn served(objects: &Api<DynamicObject>, patience: Duration) -> kube::Result<bool> {
    let give_up = Instant::now() + patience;
    let one = ListParams::default().limit(1);
    loop {
        match objects.list_metadata(&one).await {
            Ok(_) => return Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error),
        }
        if Instant::now() >= give_up {
            return Ok(false);
        }
        tokio::time::sleep(AGAIN).await;
    }
}
