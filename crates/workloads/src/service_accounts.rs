//! Gives every namespace its default service account and the API server's certificate authority.

use crate::{
    error::{Doing, Error, text},
    options::Options,
    write,
};
use consort_reconcile::{Action, Controller, Hub};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Client};
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fmt::Debug, sync::Arc};
use tokio_util::sync::CancellationToken;

const ACCOUNT: &str = "default";
const CA_MAP: &str = "kube-root-ca.crt";
const CA_KEY: &str = "ca.crt";
/// Upstream's words, for people who find the map and wonder.
const CA_DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the \
     internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes \
     clusters.",
);

pub(crate) async fn run(hub: Hub, options: Arc<Options>, shutdown: CancellationToken) {
    furnish(hub, options, shutdown).await;
}

/// What one namespace lacks.
#[derive(Debug, Default, PartialEq)]
struct Lacks {
    account: bool,
    ca: Option<CaMap>,
}

#[derive(Debug, PartialEq)]
enum CaMap {
    Missing,
    Differs,
}

fn decide(
    namespace: &Namespace,
    account: Option<&ServiceAccount>,
    map: Option<&ConfigMap>,
    ca: Option<&str>,
) -> Lacks {
    let leaving = namespace.metadata.deletion_timestamp.is_some()
        || namespace
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref())
            == Some("Terminating");
    if leaving {
        return Lacks::default();
    }
    let ca = ca.and_then(|ca| match map {
        None => Some(CaMap::Missing),
        Some(map) => {
            let right = map
                .data
                .as_ref()
                .is_some_and(|data| data.get(CA_KEY).map(String::as_str) == Some(ca));
            (!right).then_some(CaMap::Differs)
        }
    });
    Lacks {
        account: account.is_none(),
        ca,
    }
}

async fn furnish(hub: Hub, options: Arc<Options>, shutdown: CancellationToken) {
    let namespaces = hub.informer::<Namespace>();
    let accounts = hub.informer_where::<ServiceAccount>(None, Some("metadata.name=default"));
    let maps = hub.informer_where::<ConfigMap>(None, Some("metadata.name=kube-root-ca.crt"));
    let controller = Controller::<String>::new("namespace-furniture")
        .queue_on(&namespaces, |event| event.key().map(|key| key.name))
        .queue_on(&accounts, |event| event.key().and_then(|key| key.namespace))
        .queue_on(&maps, |event| event.key().and_then(|key| key.namespace));
    let client = hub.client();
    let publisher = hub.acting_as("root-ca-cert-publisher").client();
    let workers = options.workers;
    let reconcile = move |name: String| {
        let (client, publisher) = (client.clone(), publisher.clone());
        let options = options.clone();
        let namespace = namespaces.get(None, &name);
        let account = accounts.get(Some(&name), ACCOUNT);
        let map = maps.get(Some(&name), CA_MAP);
        async move {
            let Some(namespace) = namespace else {
                return Ok(Action::Done);
            };
            let lacks = decide(
                &namespace,
                account.as_deref(),
                map.as_deref(),
                options.ca_pem.as_deref(),
            );
            furnish_one(
                (&client, &publisher),
                &name,
                &lacks,
                map.as_deref(),
                &options,
            )
            .await
            .map_err(text)?;
            Ok::<_, String>(Action::Done)
        }
    };
    controller.run(workers, reconcile, shutdown).await;
}

/// Makes what is lacking: the account by the first client, the map by the second.
async fn furnish_one(
    (client, publisher): (&Client, &Client),
    namespace: &str,
    lacks: &Lacks,
    map: Option<&ConfigMap>,
    options: &Options,
) -> Result<(), Error> {
    let meta = |name: &str| ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        ..ObjectMeta::default()
    };
    if lacks.account {
        let account = ServiceAccount {
            metadata: meta(ACCOUNT),
            ..ServiceAccount::default()
        };
        create(&Api::namespaced(client.clone(), namespace), &account).await?;
    }
    let Some(ca) = &options.ca_pem else {
        return Ok(());
    };
    let maps = Api::<ConfigMap>::namespaced(publisher.clone(), namespace);
    let data = Some(BTreeMap::from([(CA_KEY.to_owned(), ca.clone())]));
    match (&lacks.ca, map) {
        (Some(CaMap::Differs), Some(existing)) => {
            let wanted = ConfigMap {
                data,
                binary_data: None,
                ..existing.clone()
            };
            write::update(&maps, existing, &wanted).await?;
        }
        (Some(_), _) => {
            let mut wanted = ConfigMap {
                metadata: meta(CA_MAP),
                data,
                ..ConfigMap::default()
            };
            let (key, value) = CA_DESCRIPTION;
            wanted.metadata.annotations = Some([(key.to_owned(), value.to_owned())].into());
            create(&maps, &wanted).await?;
        }
        (None, _) => {}
    }
    Ok(())
}

/// Creates an object that may exist already, in a namespace that may be on its way out.
async fn create<K>(api: &Api<K>, object: &K) -> Result<(), Error>
where
    K: kube::Resource + Serialize + DeserializeOwned + Clone + Debug,
{
    let name = write::name_of(object.meta());
    match api
        .create(&write::post_params(), object)
        .await
        .doing(|| format!("creating {name}"))
    {
        Ok(_) => Ok(()),
        Err(error) if error.is(404) || error.is(409) || error.is(403) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_namespace_lacks_what_is_missing_or_differs_unless_it_is_leaving() {
        let namespace: Namespace =
            serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap();
        let map = |ca: &str| -> ConfigMap {
            serde_json::from_value(json!({"metadata": {}, "data": {CA_KEY: ca}})).unwrap()
        };
        let account = ServiceAccount::default();
        let all = Lacks {
            account: true,
            ca: Some(CaMap::Missing),
        };
        assert_eq!(decide(&namespace, None, None, Some("ca")), all);
        assert_eq!(
            decide(&namespace, Some(&account), Some(&map("ca")), Some("ca")),
            Lacks::default()
        );
        let differs = Lacks {
            account: false,
            ca: Some(CaMap::Differs),
        };
        assert_eq!(
            decide(&namespace, Some(&account), Some(&map("old")), Some("ca")),
            differs
        );
        assert_eq!(
            decide(&namespace, Some(&account), None, None),
            Lacks::default()
        );
        let leaving: Namespace = serde_json::from_value(
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
        )
        .unwrap();
        assert_eq!(decide(&leaving, None, None, Some("ca")), Lacks::default());
    }
}
