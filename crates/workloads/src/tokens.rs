//! Fills secrets of type `kubernetes.io/service-account-token` with a token of their account, and
//! removes those whose account is gone. The key is the server's: it hands in a [`TokenSigner`].

use crate::{
    error::{Doing, Error, if_found, text},
    options::Options,
    write,
};
use consort_reconcile::{Action, Controller, Event, Hub, Informer, Key};
use k8s_openapi::{
    ByteString,
    api::core::v1::{Secret, ServiceAccount},
};
use kube::{Api, Client};
use std::{fmt::Debug, sync::Arc};
use tokio_util::sync::CancellationToken;

const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

/// Makes tokens that the API accepts while the secret they stand in holds them.
pub trait TokenSigner: Debug + Send + Sync {
    /// The token of an account (by name and uid) that stands in a secret of its namespace; or why there
    /// is none.
    fn issue(
        &self,
        namespace: &str,
        secret: &str,
        account: &str,
        uid: &str,
    ) -> Result<String, String>;
}

pub(crate) async fn run(hub: Hub, options: Arc<Options>, shutdown: CancellationToken) {
    let field = format!("type={TYPE}");
    let secrets = hub.informer_where::<Secret>(None, Some(&field));
    let accounts = hub.informer::<ServiceAccount>();
    secrets.add_index("account", |secret| {
        account_of(secret)
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    });
    let of_account: Informer<Secret> = secrets.clone();
    let controller = Controller::new("service-account-tokens")
        .queue_on(&secrets, Event::key)
        .queue_on(&accounts, move |event| {
            let Some(key) = event.key() else {
                return Vec::new();
            };
            let mut keys: Vec<_> = of_account
                .by_index("account", &key.name)
                .iter()
                .map(|secret| Key::of(&**secret))
                .collect();
            keys.retain(|secret| secret.namespace == key.namespace);
            keys
        });
    let one = One {
        client: hub.client(),
        options: options.clone(),
    };
    let one = Arc::new(one);
    let reconcile = move |key: Key| {
        let secret = secrets.by_key(&key);
        let account = secret
            .as_ref()
            .and_then(|secret| account_of(secret))
            .and_then(|(name, _)| accounts.get(key.namespace.as_deref(), &name));
        let one = one.clone();
        async move {
            if let Some(secret) = secret {
                one.reconcile(&secret, account).await.map_err(text)?;
            }
            Ok::<_, String>(Action::Done)
        }
    };
    controller.run(options.workers, reconcile, shutdown).await;
}

struct One {
    client: Client,
    options: Arc<Options>,
}

impl One {
    async fn reconcile(
        &self,
        secret: &Secret,
        account: Option<Arc<ServiceAccount>>,
    ) -> Result<(), Error> {
        let Some((name, uid)) = account_of(secret) else {
            return Ok(());
        };
        let namespace = secret.metadata.namespace.clone().unwrap_or_default();
        let secrets = Api::<Secret>::namespaced(self.client.clone(), &namespace);
        let is_it = |account: &ServiceAccount| uid.is_none() || account.metadata.uid == uid;
        let account = match account.filter(|account| is_it(account)) {
            Some(account) => account,
            None => {
                // It may be so new that the watch has not shown it.
                let api = Api::<ServiceAccount>::namespaced(self.client.clone(), &namespace);
                let found = api.get(&name).await;
                let found = if_found(found.doing(|| format!("reading the account {name}")))?;
                match found.filter(|account| is_it(account)) {
                    Some(account) => Arc::new(account),
                    None => {
                        write::delete(&secrets, &secret.metadata, None, None).await?;
                        return Ok(());
                    }
                }
            }
        };
        if secret.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        if let Some(wanted) = self.filled(secret, &account) {
            write::update(&secrets, secret, &wanted).await?;
        }
        Ok(())
    }

    /// The secret with everything it lacks, if it lacks anything.
    fn filled(&self, secret: &Secret, account: &ServiceAccount) -> Option<Secret> {
        let signer = self.options.tokens.as_ref()?;
        let namespace = secret.metadata.namespace.clone().unwrap_or_default();
        let uid = account.metadata.uid.clone().unwrap_or_default();
        let mut wanted = secret.clone();
        let annotations = wanted.metadata.annotations.get_or_insert_default();
        annotations.insert(ACCOUNT_UID.to_owned(), uid.clone());
        let data = wanted.data.get_or_insert_default();
        let text = |text: &str| ByteString(text.as_bytes().to_vec());
        if let Some(ca) = &self.options.ca_pem {
            data.insert("ca.crt".to_owned(), text(ca));
        }
        if data.get("namespace").is_none_or(|own| own.0.is_empty()) {
            data.insert("namespace".to_owned(), text(&namespace));
        }
        if data.get("token").is_none_or(|own| own.0.is_empty()) {
            let name = write::name_of(&secret.metadata);
            let account = write::name_of(&account.metadata);
            match signer.issue(&namespace, name, account, &uid) {
                Ok(token) => {
                    data.insert("token".to_owned(), text(&token));
                }
                Err(problem) => tracing::error!(problem, "making a service account's token"),
            }
        }
        (wanted != *secret).then_some(wanted)
    }
}

/// Name and, if it was filled in, uid of the account a token secret belongs to.
fn account_of(secret: &Secret) -> Option<(String, Option<String>)> {
    let annotations = secret.metadata.annotations.as_ref()?;
    let uid = annotations.get(ACCOUNT_UID).cloned();
    Some((
        annotations.get(ACCOUNT_NAME)?.clone(),
        uid.filter(|uid| !uid.is_empty()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Debug)]
    struct Fixed;

    impl TokenSigner for Fixed {
        fn issue(&self, ns: &str, secret: &str, sa: &str, uid: &str) -> Result<String, String> {
            Ok(format!("{ns}/{secret}/{sa}/{uid}"))
        }
    }

    #[tokio::test]
    async fn a_token_secret_is_filled_once() {
        let service = tower_never();
        let one = One {
            client: service,
            options: Arc::new(Options {
                ca_pem: Some("CA".to_owned()),
                tokens: Some(Arc::new(Fixed)),
                ..Options::default()
            }),
        };
        let account: ServiceAccount =
            serde_json::from_value(json!({"metadata": {"name": "a", "uid": "u"}})).unwrap();
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {"name": "s", "namespace": "n", "annotations": {ACCOUNT_NAME: "a"}}}))
        .unwrap();
        let filled = one.filled(&secret, &account).unwrap();
        let data = filled.data.as_ref().unwrap();
        assert_eq!(data["token"].0, b"n/s/a/u");
        assert_eq!(data["ca.crt"].0, b"CA");
        assert_eq!(data["namespace"].0, b"n");
        assert_eq!(account_of(&filled), Some(("a".into(), Some("u".into()))));
        assert_eq!(one.filled(&filled, &account), None);
    }

    /// A client that is never asked.
    fn tower_never() -> Client {
        Client::try_from(kube::Config::new("https://127.0.0.1:1".parse().unwrap())).unwrap()
    }
}
