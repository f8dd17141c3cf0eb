//! A definition that goes takes its instances with it.

use super::names::set_condition;
use super::{FINALIZER, GROUP, PLURAL};
use crate::api::Inner;
use crate::error::Outcome;
use crate::handlers::delete::remove;
use crate::handlers::read;
use crate::handlers::write::{self, Committed};
use crate::kind::Kind;
use crate::request::DeleteOptions;
use crate::values::ensure;
use consort_store::{Expect, Key, Write};
use serde_json::Value;
use std::time::Duration;

/// How often instances that are held by finalizers are looked at, at first and at last.
const SOON: Duration = Duration::from_millis(20);
const LATE: Duration = Duration::from_secs(1);

/// Delete the instances of a definition, wait until they are gone, and let the definition go.
pub(super) async fn instances(inner: &Inner, name: &str, kind: Option<&Kind>) {
    let work = async {
        if let Some(kind) = kind {
            change(inner, name, |definition| {
                set_condition(
                    definition,
                    "Terminating",
                    "True",
                    "InstanceDeletionInProgress",
                    "CustomResource deletion is in progress",
                );
            })
            .await?;
            empty(inner, kind).await?;
        }
        change(inner, name, |definition| {
            let (reason, message) = if kind.is_some() {
                ("InstanceDeletionCompleted", "removed all instances")
            } else {
                ("NeverEstablished", "resource was never established")
            };
            set_condition(definition, "Terminating", "False", reason, message);
            let meta = ensure(definition, "metadata");
            if let Some(list) = meta.get_mut("finalizers").and_then(Value::as_array_mut) {
                list.retain(|finalizer| finalizer != FINALIZER);
            }
        })
        .await
    };
    tokio::select! {
        () = inner.stop.cancelled() => {}
        result = work => if let Err(failure) = result {
            tracing::warn!(error = failure.message, name, "deleting the instances of a definition");
        }
    }
}

/// Delete every object of a kind and wait until none is left.
async fn empty(inner: &Inner, kind: &Kind) -> Outcome<()> {
    let prefix = read::prefix(kind, None);
    let mut pause = SOON;
    loop {
        let mut found = false;
        let mut after = None;
        loop {
            let page = inner
                .store
                .range(&prefix, after.as_ref(), Some(500), None, |_| true)
                .map_err(read::store_failure)?;
            for object in page.objects {
                let head = &object.head;
                if head.deletion.is_some() && !head.finalizers.is_empty() {
                    continue;
                }
                found = true;
                let options = DeleteOptions::default();
                match remove(inner, kind, head.namespace.as_deref(), &head.name, &options).await {
                    Ok(_) => {}
                    Err(failure) if failure.code == 404 => {}
                    Err(failure) => return Err(failure),
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if inner.store.count(&prefix) == 0 {
            return Ok(());
        }
        if found {
            pause = SOON;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LATE);
    }
}

/// Change a stored definition; one without finalizers that is being deleted goes.
async fn change(inner: &Inner, name: &str, edit: impl Fn(&mut Value)) -> Outcome<()> {
    let registry = inner.registry();
    let Some(kind) = registry.resource(GROUP, "v1", PLURAL) else {
        return Ok(());
    };
    loop {
        let object = match read::find(&inner.store, kind, None, name) {
            Ok(object) => object,
            Err(failure) if failure.code == 404 => return Ok(()),
            Err(failure) => return Err(failure),
        };
        let mut value = object.value().map_err(crate::error::internal)?;
        edit(&mut value);
        let key = Key::new(GROUP, PLURAL, None, name).map_err(crate::error::internal)?;
        let done = if write::may_go(kind, &value) {
            let expect = Expect::At(object.revision);
            write::commit(inner, Write::Delete { key, expect }).await?
        } else {
            write::replace(inner, kind, key, &value, object.revision).await?
        };
        match done {
            Committed::Done(_) => return Ok(()),
            Committed::Conflict => tokio::task::yield_now().await,
        }
    }
}
