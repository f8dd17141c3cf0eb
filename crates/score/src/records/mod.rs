//! The memory of scores: blueprints, approvals, operations with their records, and the sources of each revision, kept as
//! objects of the API.
//!
//! What people look at are small objects of the group `consort.dev` ([`definitions`]). What is large or may hold secrets is
//! sealed: compressed, cut into chunks below the size an object may have, and kept in Secrets that those objects
//! own ([`seal`]). An operation's record grows by whole groups of entries ([`Recorder`]), so what a crash leaves can be
//! read up to the last group.

mod approval;
mod blueprint;
mod definitions;
mod hosts;
mod install;
mod lock;
mod operation;
mod prune;
mod recorder;
mod score;
mod seal;
#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt as _};

pub use approval::{Approval, Decision};
pub use blueprint::{BlueprintSummary, Counts, State};
pub use definitions::{GROUP, VERSION};
pub use hosts::{Host, Hosts};
pub use lock::{Held, Lock, LockError};
pub use operation::BeginError;
pub use prune::HISTORY;
pub use recorder::Recorder;

/// The name under which what is written here is owned.
pub const FIELD_MANAGER: &str = "consort-records";

/// The label that names the score an object belongs to.
pub const SCORE_LABEL: &str = "consort.dev/score";

/// A kind of the group `consort.dev`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A score, as it is followed.
    Score,
    /// A walk of a blueprint.
    Operation,
    /// A plan.
    Blueprint,
    /// What somebody decided about a blueprint.
    Approval,
    /// What is remembered of a host.
    HostRecord,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] = [
        Kind::Score,
        Kind::Operation,
        Kind::Blueprint,
        Kind::Approval,
        Kind::HostRecord,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Score => "Score",
            Kind::Operation => "Operation",
            Kind::Blueprint => "Blueprint",
            Kind::Approval => "Approval",
            Kind::HostRecord => "HostRecord",
        }
    }

    /// Its name in paths.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::Score => "scores",
            Kind::Operation => "operations",
            Kind::Blueprint => "blueprints",
            Kind::Approval => "approvals",
            Kind::HostRecord => "hostrecords",
        }
    }

    /// What a client of objects without types needs to know.
    pub fn resource(self) -> ApiResource {
        let kind = GroupVersionKind::gvk(GROUP, VERSION, self.name());
        ApiResource::from_gvk_with_plural(&kind, self.plural())
    }
}

/// What went wrong with the records. Nothing of what was acknowledged before is lost.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API refused, or could not be reached.
    #[error("{doing}")]
    Api {
        /// What was being done to what.
        doing: String,
        /// What it said.
        #[source]
        source: Box<kube::Error>,
    },
    /// There is something, and it is not what was written.
    #[error("reading {what}: {why}")]
    Unreadable {
        /// What.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// Something that has to be there is not.
    #[error("there is no {what}")]
    Missing {
        /// What.
        what: String,
    },
    /// The server did not serve the kinds of records in time.
    #[error("the server does not serve {kind}.{GROUP} after {seconds}s")]
    NotServed {
        /// The kind.
        kind: &'static str,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Somebody has decided about a blueprint already.
    #[error("{by} has {decided} {blueprint} already")]
    Decided {
        /// The blueprint.
        blueprint: String,
        /// Who.
        by: String,
        /// What: `approved` or `rejected`.
        decided: &'static str,
    },
}

impl Error {
    /// Whether the API forbids it to whoever asked.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Error::Api { source, .. } if code(source) == Some(403))
    }
}

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// Whether the same call may go well when it is made again.
fn is_transient(error: &kube::Error) -> bool {
    match code(error) {
        Some(429 | 500 | 502 | 503 | 504) => true,
        Some(_) => false,
        None => matches!(error, kube::Error::Service(_) | kube::Error::HyperError(_)),
    }
}

fn doing<T>(what: impl FnOnce() -> String, result: kube::Result<T>) -> Result<T, Error> {
    result.map_err(|source| Error::Api {
        doing: what(),
        source: Box::new(source),
    })
}

/// The records of all scores in one namespace of one server. Cheap to clone.
#[derive(Clone)]
pub struct Records {
    client: Client,
    namespace: String,
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl Records {
    /// The records in a namespace.
    pub fn new(client: Client, namespace: impl Into<String>) -> Self {
        Records {
            client,
            namespace: namespace.into(),
        }
    }

    /// The server's client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The objects of a kind.
    pub fn objects(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind.resource())
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

/// The owner that takes what it owns with it when it is deleted.
fn owner(kind: Kind, object: &DynamicObject) -> OwnerReference {
    OwnerReference {
        api_version: format!("{GROUP}/{VERSION}"),
        kind: kind.name().to_owned(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        block_owner_deletion: None,
        controller: None,
    }
}

fn labelled(score: &str) -> kube::api::ListParams {
    kube::api::ListParams::default().labels(&format!("{SCORE_LABEL}={score}"))
}
