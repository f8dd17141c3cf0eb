//! Machines of this host that join the cluster as nodes: what they are told, and which addresses their pods have.
//!
//! Asked for over a socket in the data directory, which only its owner can reach: whoever may read the authority's key
//! there may make nodes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use consort_api::identity::User;
use consort_api::identity::pki::Pki;
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::error::{Failure, Kind, Result, chain};

/// How long a new node may take to be ready.
const READY_TIME: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Request {
    /// Take a machine in; asked again, the answer is as good.
    Join {
        /// Its name, and the node's.
        name: String,
    },
    /// Wait until the node is ready.
    Ready {
        /// The node.
        name: String,
    },
    /// Forget a node that is gone.
    Leave {
        /// The node.
        name: String,
    },
}

/// All that a machine needs to be a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Membership {
    /// The node's name.
    pub(crate) name: String,
    /// The way to the API, with the node's own certificate.
    pub(crate) kubeconfig: String,
    /// Addresses of the node's pods.
    pub(crate) pod_cidr: Ipv4Net,
    /// Addresses of all pods.
    pub(crate) cluster_cidr: Ipv4Net,
    /// Addresses of services.
    pub(crate) service_cidr: Ipv4Net,
    /// Domain of the cluster's names.
    pub(crate) cluster_domain: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Joined(Box<Membership>),
    Done,
    Failed { message: String },
}

/// Takes machines in.
pub(super) struct Joins {
    pub(super) data_dir: PathBuf,
    pub(super) pki: Arc<Pki>,
    /// Where machines of this host reach the API.
    pub(super) url: String,
    pub(super) client: kube::Client,
    /// This host's own node.
    pub(super) node: String,
    pub(super) pod_cidr: Ipv4Net,
    pub(super) cluster_cidr: Ipv4Net,
    pub(super) service_cidr: Ipv4Net,
    pub(super) cluster_domain: String,
    /// One at a time gives out addresses.
    pub(super) book: Mutex<()>,
}

fn socket(data_dir: &Path) -> PathBuf {
    data_dir.join("nodes.sock")
}

/// Opens the socket. The caller holds the data directory's lock.
pub(super) fn listen(data_dir: &Path) -> std::io::Result<UnixListener> {
    admin::listen(&socket(data_dir))
}

/// Answers requests until `shutdown`.
pub(super) async fn serve(listener: UnixListener, joins: Joins, shutdown: CancellationToken) {
    let joins = Arc::new(joins);
    let respond = move |request: Request| {
        let joins = Arc::clone(&joins);
        async move {
            let done = match request {
                Request::Join { name } => joins
                    .join(&name)
                    .await
                    .map(|membership| Answer::Joined(Box::new(membership))),
                Request::Ready { name } => joins.ready(&name).await.map(|()| Answer::Done),
                Request::Leave { name } => joins.leave(&name).await.map(|()| Answer::Done),
            };
            done.unwrap_or_else(|error| Answer::Failed {
                message: format!("{error:#}"),
            })
        }
    };
    admin::serve(listener, respond, shutdown).await;
}

/// The first part of the cluster's addresses that nobody has.
fn free(cluster: Ipv4Net, length: u8, taken: &[Ipv4Net]) -> Option<Ipv4Net> {
    let overlaps = |one: &Ipv4Net| {
        taken
            .iter()
            .any(|other| one.contains(&other.network()) || other.contains(&one.network()))
    };
    cluster.subnets(length).ok()?.find(|one| !overlaps(one))
}

impl Joins {
    fn path(&self) -> PathBuf {
        self.data_dir.join("joined.json")
    }

    fn read(&self) -> anyhow::Result<BTreeMap<String, Ipv4Net>> {
        match std::fs::read(self.path()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            text => Ok(serde_json::from_slice(&text?)?),
        }
    }

    fn write(&self, book: &BTreeMap<String, Ipv4Net>) -> anyhow::Result<()> {
        let draft = self.path().with_extension("new");
        std::fs::write(&draft, serde_json::to_vec_pretty(book)?)?;
        std::fs::rename(&draft, self.path())?;
        Ok(())
    }

    fn nodes(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    async fn join(&self, name: &str) -> anyhow::Result<Membership> {
        let _one_at_a_time = self.book.lock().await;
        let mut book = self.read()?;
        let nodes = self.nodes().list(&ListParams::default()).await?.items;
        let known = nodes
            .iter()
            .any(|node| node.metadata.name.as_deref() == Some(name));
        if name == self.node || (known && !book.contains_key(name)) {
            anyhow::bail!("the cluster has a node \"{name}\" already");
        }
        let pod_cidr = if let Some(own) = book.get(name) {
            *own
        } else {
            let mut taken: Vec<Ipv4Net> = book.values().copied().collect();
            taken.push(self.pod_cidr);
            let others = nodes.iter().filter_map(|node| {
                node.spec
                    .as_ref()?
                    .pod_cidr
                    .as_ref()?
                    .parse::<Ipv4Net>()
                    .ok()
            });
            taken.extend(others);
            let found = free(self.cluster_cidr, self.pod_cidr.prefix_len(), &taken);
            found.ok_or_else(|| {
                anyhow::anyhow!("no addresses for pods are left in {}", self.cluster_cidr)
            })?
        };
        book.insert(name.to_owned(), pod_cidr);
        self.write(&book)?;
        Ok(Membership {
            name: name.to_owned(),
            kubeconfig: self.pki.kubeconfig(&User::node(name), &self.url)?,
            pod_cidr,
            cluster_cidr: self.cluster_cidr,
            service_cidr: self.service_cidr,
            cluster_domain: self.cluster_domain.clone(),
        })
    }

    async fn ready(&self, name: &str) -> anyhow::Result<()> {
        let end = Instant::now() + READY_TIME;
        loop {
            let node = self.nodes().get_opt(name).await?;
            let conditions = node
                .as_ref()
                .and_then(|node| node.status.as_ref()?.conditions.as_ref());
            let ready = conditions
                .into_iter()
                .flatten()
                .find(|condition| condition.type_ == "Ready");
            if ready.is_some_and(|ready| ready.status == "True") {
                return Ok(());
            }
            if Instant::now() > end {
                let why = match (node.is_some(), ready) {
                    (false, _) => "it has not registered".to_owned(),
                    (true, ready) => ready
                        .and_then(|ready| ready.message.clone())
                        .unwrap_or_default(),
                };
                anyhow::bail!("node \"{name}\" is not ready after {READY_TIME:?}: {why}");
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn leave(&self, name: &str) -> anyhow::Result<()> {
        let _one_at_a_time = self.book.lock().await;
        let mut book = self.read()?;
        if book.remove(name).is_none() {
            return Ok(());
        }
        match self.nodes().delete(name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            deleted => {
                deleted?;
            }
        }
        self.write(&book)
    }
}

async fn ask(data_dir: &Path, request: &Request) -> Result<Answer> {
    match admin::ask(&socket(data_dir), request).await? {
        Answer::Failed { message } => Err(Failure::new(Kind::Failed, message)),
        answer => Ok(answer),
    }
}

/// Asks the server of a data directory to take a machine in.
pub(crate) async fn join(data_dir: &Path, name: &str) -> Result<Membership> {
    let request = Request::Join {
        name: name.to_owned(),
    };
    match ask(data_dir, &request).await? {
        Answer::Joined(membership) => Ok(*membership),
        _ => Err(Failure::new(
            Kind::Failed,
            "the server gave another answer than was asked for",
        )),
    }
}

/// Waits until a machine that has joined is a node that is ready.
pub(crate) async fn ready(data_dir: &Path, name: &str) -> Result<()> {
    let request = Request::Ready {
        name: name.to_owned(),
    };
    ask(data_dir, &request).await.map(|_| ())
}

/// Lets the server forget a machine that is gone.
pub(crate) async fn leave(data_dir: &Path, name: &str) -> Result<()> {
    let request = Request::Leave {
        name: name.to_owned(),
    };
    ask(data_dir, &request).await.map(|_| ())
}

/// Reads what a machine was told.
pub(crate) fn membership(path: &Path) -> Result<Membership> {
    let failed = |error: &dyn std::error::Error| {
        Failure::new(
            Kind::Input,
            format!("reading {}: {}", path.display(), chain(error)),
        )
    };
    let text = std::fs::read(path).map_err(|error| failed(&error))?;
    serde_json::from_slice(&text).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_addresses_of_its_own_until_there_are_no_more() {
        let cluster: Ipv4Net = "10.0.0.0/22".parse().unwrap();
        let mut taken: Vec<Ipv4Net> = vec!["10.0.0.0/24".parse().unwrap()];
        for expected in ["10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/24"] {
            let found = free(cluster, 24, &taken).unwrap();
            assert_eq!(found.to_string(), expected);
            taken.push(found);
        }
        assert_eq!(free(cluster, 24, &taken), None);
    }
}
