//! Telling a server of the kinds of records.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DynamicObject, ObjectMeta, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt as _};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::definitions::{approvals, definition};
use super::seal::post;
use super::{Error, FIELD_MANAGER, Kind, Records, code, doing};

/// Says in an object which text it was made of, so that nothing is written where nothing changed.
const MADE_OF: &str = "consort.dev/made-of";

/// How long kinds may take to be served.
const PATIENCE: Duration = Duration::from_secs(30);

impl Records {
    /// Makes sure that the server knows the kinds, guards approvals, and has the namespace. Costs a few reads where all is
    /// there. Where whoever asks may not write definitions, those that are there are taken as they are.
    pub async fn install(&self) -> Result<(), Error> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let about = || format!("making the namespace {}", self.namespace);
        if doing(about, namespaces.get_metadata_opt(&self.namespace).await)?.is_none() {
            let namespace = Namespace {
                metadata: ObjectMeta {
                    name: Some(self.namespace.clone()),
                    ..ObjectMeta::default()
                },
                ..Namespace::default()
            };
            match namespaces.create(&post(), &namespace).await {
                Err(error) if code(&error) == Some(409) => {}
                created => {
                    doing(about, created)?;
                }
            }
        }
        let mut changed = Vec::new();
        for kind in Kind::ALL {
            if self.ensure(definition(kind)).await? {
                changed.push(kind);
            }
        }
        for policy in approvals() {
            self.ensure(policy).await?;
        }
        for kind in changed {
            self.served(kind).await?;
        }
        Ok(())
    }

    /// Applies an object unless it is there as it should be. Gives whether it did.
    async fn ensure(&self, mut wanted: Value) -> Result<bool, Error> {
        use std::fmt::Write as _;
        let text = |pointer: &str| {
            let value = wanted.pointer(pointer).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let (name, kind, version) = (text("/metadata/name"), text("/kind"), text("/apiVersion"));
        let (group, version) = version.split_once('/').unwrap_or(("", &version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
        let objects: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        let mut made_of = String::new();
        for byte in Sha256::digest(wanted.to_string()).iter().take(8) {
            let _ = write!(made_of, "{byte:02x}");
        }
        let about = || format!("installing {kind} {name}");
        let found = doing(about, objects.get_opt(&name).await)?;
        if let Some(found) = &found
            && found.annotations().get(MADE_OF) == Some(&made_of)
        {
            return Ok(false);
        }
        wanted["metadata"]["annotations"] = serde_json::json!({ MADE_OF: made_of });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        match objects.patch(&name, &params, &Patch::Apply(&wanted)).await {
            Err(error) if code(&error) == Some(403) && found.is_some() => Ok(false),
            applied => {
                doing(about, applied)?;
                Ok(true)
            }
        }
    }

    async fn served(&self, kind: Kind) -> Result<(), Error> {
        let give_up = tokio::time::Instant::now() + PATIENCE;
        let objects = self.objects(kind);
        let one = kube::api::ListParams::default().limit(1);
        loop {
            match objects.list_metadata(&one).await {
                Ok(_) => return Ok(()),
                Err(error) if code(&error) == Some(404) => {}
                Err(source) => {
                    return Err(Error::Api {
                        doing: format!("installing the kind {}", kind.name()),
                        source: Box::new(source),
                    });
                }
            }
            if tokio::time::Instant::now() >= give_up {
                return Err(Error::NotServed {
                    kind: kind.plural(),
                    seconds: PATIENCE.as_secs(),
                });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
