//! Telling a server of the kinds of records.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::ObjectMeta;
use serde_json::Value;

use super::definitions::{approvals, definition};
use super::seal::post;
use super::{Error, FIELD_MANAGER, Kind, Records, code, doing};

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

    async fn ensure(&self, wanted: Value) -> Result<bool, Error> {
        let text = |pointer: &str| wanted.pointer(pointer).and_then(Value::as_str);
        let what = format!(
            "installing {} {}",
            text("/kind").unwrap_or_default(),
            text("/metadata/name").unwrap_or_default()
        );
        doing(
            || what,
            consort_reconcile::ensure(&self.client, FIELD_MANAGER, wanted).await,
        )
    }

    async fn served(&self, kind: Kind) -> Result<(), Error> {
        let served = consort_reconcile::served(&self.objects(kind), PATIENCE).await;
        if doing(|| format!("installing the kind {}", kind.name()), served)? {
            return Ok(());
        }
        Err(Error::NotServed {
            kind: kind.plural(),
            seconds: PATIENCE.as_secs(),
        })
    }
}
