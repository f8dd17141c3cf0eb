//! Empties namespaces that are being deleted, then lets them go.
//!
//! Follows the Namespace documentation: a namespace with a deletion time stays, in phase
//! `Terminating`, until nothing is left in it and the finalizer `kubernetes` is taken off through
//! the `finalize` subresource. Pods go first, so that what they rely on outlives them.

mod conditions;

use crate::{
    discovery::{self, Served},
    error::{Chain, Doing, Error, if_found, text},
    options::Options,
    write,
};
use conditions::Findings;
use consort_reconcile::{Action, Controller, Event, Hub, Informer, Key};
use k8s_openapi::{api::core::v1::Namespace, jiff::Timestamp};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PropagationPolicy},
    core::DynamicObject,
};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

const FINALIZER: &str = "kubernetes";
/// When to look whether content has gone: soon at first, since most goes at once, then ever less
/// often, since what holds a namespace for long may hold it for days.
const LOOK_SOON: Duration = Duration::from_millis(250);
const LOOK_LATE: Duration = Duration::from_secs(30);
/// Contents of a large namespace are looked through in pages.
const PAGE: u32 = 500;

struct Shell {
    client: Client,
    namespaces: Informer<Namespace>,
}

pub(crate) async fn run(hub: Hub, options: Arc<Options>, shutdown: CancellationToken) {
    let namespaces = hub.informer::<Namespace>();
    let controller = Controller::new("namespace").queue_on(&namespaces, |event| match event {
        Event::Applied { new, .. } if new.metadata.deletion_timestamp.is_some() => event.key(),
        _ => None,
    });
    let shell = Arc::new(Shell {
        client: hub.client(),
        namespaces,
    });
    let reconcile = move |key: Key| {
        let shell = shell.clone();
        async move { shell.reconcile(key).await.map_err(text) }
    };
    controller.run(options.workers, reconcile, shutdown).await;
}

fn finalizers(namespace: &Namespace) -> &[String] {
    namespace
        .spec
        .as_ref()
        .and_then(|spec| spec.finalizers.as_deref())
        .unwrap_or_default()
}

/// A quarter of the time the namespace has been leaving for, within bounds.
fn next_look(namespace: &Namespace, now: Timestamp) -> Duration {
    let since = namespace
        .metadata
        .deletion_timestamp
        .as_ref()
        .map_or(now, |time| time.0);
    let leaving = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    (leaving / 4).clamp(LOOK_SOON, LOOK_LATE)
}

impl Shell {
    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(namespace) = self.namespaces.by_key(&key) else {
            return Ok(Action::Done);
        };
        let ours = finalizers(&namespace)
            .iter()
            .any(|finalizer| finalizer == FINALIZER);
        if namespace.metadata.deletion_timestamp.is_none() || !ours {
            return Ok(Action::Done);
        }
        let mut findings = Findings::default();
        let mut discovered = Err(None);
        match discovery::served(&self.client).await {
            Ok(served) => discovered = Ok(served),
            Err(error) => {
                findings.discovery = Some(Chain(&error).to_string());
                discovered = discovered.map_err(|_: Option<Error>| Some(error));
            }
        }
        if let Ok(served) = &discovered {
            self.empty(&key.name, served, &mut findings).await;
        }
        let empty = findings.is_empty();
        let api = Api::<Namespace>::all(self.client.clone());
        let status = conditions::status(&namespace, &findings, Timestamp::now());
        let updated = if_found(
            write::update_status(
                &api,
                &namespace.metadata,
                namespace.status.as_ref(),
                &status,
            )
            .await,
        )?;
        match discovered {
            Err(Some(error)) => return Err(error),
            _ if !empty => return Ok(Action::After(next_look(&namespace, Timestamp::now()))),
            _ => {}
        }
        let latest = updated.flatten();
        self.finalize(latest.as_ref().unwrap_or(&namespace)).await?;
        Ok(Action::Done)
    }

    /// Deletes what is there and notes what is left.
    async fn empty(&self, namespace: &str, served: &[Served], findings: &mut Findings) {
        let is_pod =
            |served: &&Served| served.resource.group.is_empty() && served.resource.plural == "pods";
        let inside = || served.iter().filter(|served| served.namespaced);
        for served in inside().filter(is_pod) {
            self.delete_all(namespace, served, findings).await;
        }
        if !findings.remaining.is_empty() {
            return;
        }
        for served in inside().filter(|served| !is_pod(served)) {
            self.delete_all(namespace, served, findings).await;
        }
    }

    async fn delete_all(&self, namespace: &str, served: &Served, findings: &mut Findings) {
        if let Err(error) = self.try_delete_all(namespace, served, findings).await {
            findings.failures.push(Chain(&error).to_string());
        }
    }

    async fn try_delete_all(
        &self,
        namespace: &str,
        served: &Served,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        let api =
            Api::<DynamicObject>::namespaced_with(self.client.clone(), namespace, &served.resource);
        let kind = conditions::qualified(&served.resource);
        let page = ListParams::default().limit(1);
        let listing = || format!("listing {kind} of {namespace}");
        // A kind that was withdrawn since discovery answers 404 and holds nothing.
        let Some(some) = if_found(api.list_metadata(&page).await.doing(listing))? else {
            return Ok(());
        };
        if some.items.is_empty() {
            return Ok(());
        }
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        match api
            .delete_collection(&params, &ListParams::default())
            .await
            .doing(|| format!("deleting {kind}"))
        {
            Ok(_) => {}
            Err(error) if error.is(405) || error.is(404) => {
                self.delete_each(&api, &params, &kind).await?;
            }
            Err(error) => return Err(error),
        }
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let left = api.list_metadata(&page).await.doing(listing)?;
            for object in &left.items {
                findings.remain(&kind, &object.metadata);
            }
            match left.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => return Ok(()),
            }
        }
    }

    /// For kinds that cannot be deleted as a collection.
    async fn delete_each(
        &self,
        api: &Api<DynamicObject>,
        params: &DeleteParams,
        kind: &str,
    ) -> Result<(), Error> {
        let all = api
            .list_metadata(&ListParams::default())
            .await
            .doing(|| format!("listing {kind}"))?;
        for object in &all.items {
            let name = write::name_of(&object.metadata);
            if_found(
                api.delete(name, params)
                    .await
                    .map(|_| ())
                    .doing(|| format!("deleting {kind} {name}")),
            )?;
        }
        Ok(())
    }

    async fn finalize(&self, namespace: &Namespace) -> Result<(), Error> {
        let name = write::name_of(&namespace.metadata);
        let left: Vec<_> = finalizers(namespace)
            .iter()
            .filter(|finalizer| *finalizer != FINALIZER)
            .collect();
        let body = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": name,
                "uid": namespace.metadata.uid,
                "resourceVersion": namespace.metadata.resource_version,
            },
            "spec": { "finalizers": left },
        });
        let api = Api::<Namespace>::all(self.client.clone());
        let done = api
            .replace_subresource("finalize", name, &write::post_params(), &body)
            .await;
        if_found(
            done.map(|_: Namespace| ())
                .doing(|| format!("finalizing namespace {name}")),
        )?;
        Ok(())
    }
}
