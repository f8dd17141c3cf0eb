//! State in a cluster: a Secret holds the newest snapshot, compressed, and a Lease is the lock.
//!
//! Names, labels and forms are those of Terraform's `kubernetes` backend, so that either can go on where
//! the other stopped. The `consort` backend is the same against the server of this project: state is then
//! one more object in its store, encrypted at rest like every Secret, watched, audited and under its
//! permissions.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::ByteString;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio::sync::OnceCell;

use crate::{
    Backend, DEFAULT_WORKSPACE, Error, Kind, LARGEST, LockInfo, Settings, Snapshots, chain,
};

const STATE: &str = "tfstate";
const SUFFIX_LABEL: &str = "tfstateSecretSuffix";
const WORKSPACE_LABEL: &str = "tfstateWorkspace";
const LOCK_ANNOTATION: &str = "app.terraform.io/lock-info";

pub(super) struct Kubernetes(Arc<Cluster>);

struct Cluster {
    settings: Settings,
    namespace: String,
    suffix: String,
    labels: BTreeMap<String, String>,
    client: OnceCell<Client>,
}

impl Kubernetes {
    pub(super) fn new(settings: &Settings) -> Result<Kubernetes, Error> {
        let suffix = match settings.kind() {
            Kind::Consort => settings.text("name").unwrap_or(STATE),
            _ => settings.text("secret_suffix").unwrap_or_default(),
        };
        if let Some((_, number)) = suffix.rsplit_once('-')
            && !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
        {
            return Err(Error::Remote(
                "secret_suffix must not end with '-<number>'".to_owned(),
            ));
        }
        Ok(Kubernetes(Arc::new(Cluster {
            namespace: settings.text("namespace").unwrap_or("default").to_owned(),
            suffix: suffix.to_owned(),
            labels: settings
                .texts("labels")
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            settings: settings.clone(),
            client: OnceCell::new(),
        })))
    }
}

impl Kubernetes {
    /// With a client that is there already.
    pub(super) fn with_client(client: Client, namespace: &str, suffix: &str) -> Kubernetes {
        Kubernetes(Arc::new(Cluster {
            namespace: namespace.to_owned(),
            suffix: suffix.to_owned(),
            labels: BTreeMap::new(),
            settings: Settings::local(),
            client: OnceCell::new_with(Some(client)),
        }))
    }
}

impl Cluster {
    async fn client(&self) -> Result<&Client, Error> {
        self.client
            .get_or_try_init(|| async {
                let config = self.config().await?;
                Client::try_from(config)
                    .map_err(|error| Error::Remote(format!("the client: {}", chain(&error))))
            })
            .await
    }

    async fn config(&self) -> Result<Config, Error> {
        let settings = &self.settings;
        let text = |name| settings.text(name).map(str::to_owned);
        if settings.flag("in_cluster_config") {
            return Config::incluster()
                .map_err(|error| Error::Remote(format!("in_cluster_config: {}", chain(&error))));
        }
        let unusable =
            |error: &dyn std::error::Error| Error::Remote(format!("kubeconfig: {}", chain(error)));
        let (path, options) = if settings.kind() == Kind::Consort {
            let own = text("data_dir")
                .map(|directory| format!("{directory}/admin.kubeconfig"))
                .or_else(|| text("kubeconfig"));
            let options = KubeConfigOptions {
                context: text("context"),
                ..KubeConfigOptions::default()
            };
            (own, options)
        } else {
            let options = KubeConfigOptions {
                context: text("config_context"),
                cluster: text("config_context_cluster"),
                user: text("config_context_auth_info"),
            };
            (text("config_path"), options)
        };
        let mut kubeconfig = match path {
            Some(path) => {
                let path = match (path.strip_prefix("~/"), std::env::var("HOME")) {
                    (Some(rest), Ok(home)) => format!("{home}/{rest}"),
                    _ => path,
                };
                Kubeconfig::read_from(path).map_err(|error| unusable(&error))?
            }
            None => Kubeconfig::read().map_err(|error| unusable(&error))?,
        };
        let host = text("host");
        for cluster in &mut kubeconfig.clusters {
            let Some(cluster) = &mut cluster.cluster else {
                continue;
            };
            if let Some(host) = &host {
                cluster.server = Some(host.clone());
            }
            if let Some(pem) = text("cluster_ca_certificate") {
                cluster.certificate_authority_data = Some(base64_of(&pem));
            }
            if settings.flag("insecure") {
                cluster.insecure_skip_tls_verify = Some(true);
            }
        }
        for user in &mut kubeconfig.auth_infos {
            let Some(user) = &mut user.auth_info else {
                continue;
            };
            if let Some(token) = text("token") {
                user.token = Some(token.into());
            }
            if let (Some(certificate), Some(key)) = (text("client_certificate"), text("client_key"))
            {
                user.client_certificate_data = Some(base64_of(&certificate));
                user.client_key_data = Some(base64_of(&key).into());
            }
        }
        Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .map_err(|error| unusable(&error))
    }

    fn labels(&self, workspace: &str) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::from([
            (STATE.to_owned(), "true".to_owned()),
            (SUFFIX_LABEL.to_owned(), self.suffix.clone()),
            (WORKSPACE_LABEL.to_owned(), workspace.to_owned()),
            (
                "app.kubernetes.io/managed-by".to_owned(),
                "terraform".to_owned(),
            ),
        ]);
        labels.extend(self.labels.clone());
        labels
    }

    fn name(&self, workspace: &str) -> String {
        format!("{STATE}-{workspace}-{}", self.suffix)
    }

    async fn secrets(&self) -> Result<Api<Secret>, Error> {
        Ok(Api::namespaced(
            self.client().await?.clone(),
            &self.namespace,
        ))
    }

    async fn leases(&self) -> Result<Api<Lease>, Error> {
        Ok(Api::namespaced(
            self.client().await?.clone(),
            &self.namespace,
        ))
    }
}

fn base64_of(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn failed(error: &kube::Error) -> Error {
    Error::Remote(match error {
        kube::Error::Api(status) => status.message.clone(),
        other => chain(other),
    })
}

fn is_status(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

impl Backend for Kubernetes {
    fn workspaces(&self) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        async move {
            let selector = format!("{STATE}=true,{SUFFIX_LABEL}={}", self.0.suffix);
            let found = self
                .0
                .secrets()
                .await?
                .list_metadata(&ListParams::default().labels(&selector))
                .await
                .map_err(|error| failed(&error))?;
            let mut names: Vec<String> = found
                .items
                .into_iter()
                .filter_map(|secret| secret.metadata.labels?.remove(WORKSPACE_LABEL))
                .filter(|name| name != DEFAULT_WORKSPACE)
                .collect();
            names.sort();
            names.dedup();
            names.insert(0, DEFAULT_WORKSPACE.to_owned());
            Ok(names)
        }
        .boxed()
    }

    fn create<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async { Ok(()) }.boxed()
    }

    fn delete<'a>(&'a self, workspace: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            if workspace == DEFAULT_WORKSPACE {
                return Err(Error::DefaultWorkspace);
            }
            let name = self.0.name(workspace);
            let background = DeleteParams::background();
            let secret = self.0.secrets().await?.delete(&name, &background).await;
            let lease = self
                .0
                .leases()
                .await?
                .delete(&format!("lock-{name}"), &background)
                .await;
            for error in [secret.err(), lease.err()].into_iter().flatten() {
                if !is_status(&error, 404) {
                    return Err(failed(&error));
                }
            }
            Ok(())
        }
        .boxed()
    }

    fn snapshots(&self, workspace: &str) -> Result<Box<dyn Snapshots>, Error> {
        Ok(Box::new(ClusterSnapshots {
            cluster: Arc::clone(&self.0),
            workspace: workspace.to_owned(),
        }))
    }
}

struct ClusterSnapshots {
    cluster: Arc<Cluster>,
    workspace: String,
}

impl ClusterSnapshots {
    fn lease(&self, info: &LockInfo) -> Lease {
        let annotation = String::from_utf8_lossy(&info.to_json()).into_owned();
        Lease {
            metadata: ObjectMeta {
                name: Some(self.lease_name()),
                labels: Some(self.cluster.labels(&self.workspace)),
                annotations: Some(BTreeMap::from([(LOCK_ANNOTATION.to_owned(), annotation)])),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(info.id.clone()),
                ..LeaseSpec::default()
            }),
        }
    }

    fn lease_name(&self) -> String {
        format!("lock-{}", self.cluster.name(&self.workspace))
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref()
}

fn held(lease: &Lease) -> Error {
    Error::Held {
        message: "the state is already locked by another terraform client".to_owned(),
        holder: lease
            .metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(LOCK_ANNOTATION))
            .and_then(|text| LockInfo::from_json(text.as_bytes()))
            .map(Box::new),
    }
}

impl Snapshots for ClusterSnapshots {
    fn read(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, Error>> {
        async move {
            let name = self.cluster.name(&self.workspace);
            let found = self.cluster.secrets().await?.get_opt(&name).await;
            let secret = found.map_err(|error| failed(&error))?;
            let Some(packed) = secret
                .and_then(|secret| secret.data)
                .and_then(|mut data| data.remove(STATE))
            else {
                return Ok(None);
            };
            let mut bytes = Vec::new();
            flate2::read::GzDecoder::new(packed.0.as_slice())
                .take(LARGEST as u64)
                .read_to_end(&mut bytes)
                .map_err(|error| Error::Remote(format!("secret {name}: {error}")))?;
            Ok(Some(bytes))
        }
        .boxed()
    }

    fn write(&self, bytes: Vec<u8>) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            let packed = encoder
                .write_all(&bytes)
                .and_then(|()| encoder.finish())
                .map_err(|error| Error::Remote(format!("compressing the state: {error}")))?;
            let name = self.cluster.name(&self.workspace);
            let secrets = self.cluster.secrets().await?;
            let data = BTreeMap::from([(STATE.to_owned(), ByteString(packed))]);
            let present = secrets.get_opt(&name).await;
            let written = match present.map_err(|error| failed(&error))? {
                Some(mut secret) => {
                    secret.data.get_or_insert_default().extend(data);
                    secrets
                        .replace(&name, &PostParams::default(), &secret)
                        .await
                }
                None => {
                    let secret = Secret {
                        metadata: ObjectMeta {
                            name: Some(name.clone()),
                            labels: Some(self.cluster.labels(&self.workspace)),
                            annotations: Some(BTreeMap::from([(
                                "encoding".to_owned(),
                                "gzip".to_owned(),
                            )])),
                            ..ObjectMeta::default()
                        },
                        data: Some(data),
                        ..Secret::default()
                    };
                    secrets.create(&PostParams::default(), &secret).await
                }
            };
            written.map(drop).map_err(|error| failed(&error))
        }
        .boxed()
    }

    fn lock<'a>(&'a self, info: &'a LockInfo) -> BoxFuture<'a, Result<String, Error>> {
        async move {
            let leases = self.cluster.leases().await?;
            let name = self.lease_name();
            let wanted = self.lease(info);
            let parameters = PostParams::default();
            let taken = match leases
                .get_opt(&name)
                .await
                .map_err(|error| failed(&error))?
            {
                None => leases.create(&parameters, &wanted).await,
                Some(lease) if holder(&lease).is_some() => return Err(held(&lease)),
                // With its revision: of two that see it free only one gets it.
                Some(lease) => {
                    let wanted = Lease {
                        metadata: ObjectMeta {
                            resource_version: lease.metadata.resource_version,
                            ..wanted.metadata
                        },
                        ..wanted
                    };
                    leases.replace(&name, &parameters, &wanted).await
                }
            };
            match taken {
                Ok(_) => Ok(info.id.clone()),
                Err(error) if is_status(&error, 409) => {
                    let lease = leases.get(&name).await.map_err(|error| failed(&error))?;
                    Err(held(&lease))
                }
                Err(error) => Err(failed(&error)),
            }
        }
        .boxed()
    }

    fn unlock<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let leases = self.cluster.leases().await?;
            let name = self.lease_name();
            let found = leases
                .get_opt(&name)
                .await
                .map_err(|error| failed(&error))?;
            let Some(mut lease) = found else {
                return Err(Error::NotLocked);
            };
            match holder(&lease) {
                None => return Err(Error::NotLocked),
                Some(held) if held != id => {
                    return Err(Error::OtherLock {
                        asked: id.to_owned(),
                        held: held.to_owned(),
                    });
                }
                Some(_) => {}
            }
            if let Some(spec) = &mut lease.spec {
                spec.holder_identity = None;
            }
            if let Some(annotations) = &mut lease.metadata.annotations {
                annotations.remove(LOCK_ANNOTATION);
            }
            leases
                .replace(&name, &PostParams::default(), &lease)
                .await
                .map(drop)
                .map_err(|error| failed(&error))
        }
        .boxed()
    }
}
