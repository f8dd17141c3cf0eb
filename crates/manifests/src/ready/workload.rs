//! Workloads waited for outside of a walk: those that stay as they are, and work again only a while after a start.

use consort_plan::Problem;
use kube::Client;
use serde_json::Value;

use super::{Readiness, judge, ready};
use crate::identity::Key;
use crate::kinds::Kind;
use crate::server::Server;

/// The built-in kinds that run pods, each with its name in paths.
const KINDS: [(&str, &str, &str); 7] = [
    ("", "Pod", "pods"),
    ("", "ReplicationController", "replicationcontrollers"),
    ("apps", "DaemonSet", "daemonsets"),
    ("apps", "Deployment", "deployments"),
    ("apps", "ReplicaSet", "replicasets"),
    ("apps", "StatefulSet", "statefulsets"),
    ("batch", "Job", "jobs"),
];

/// An object that runs pods.
#[derive(Clone, Debug)]
pub struct Workload {
    kind: Kind,
    key: Key,
}

impl Workload {
    /// The workload of an address within its part (`apps/v1/Deployment/shop/web`); none for what runs no pods.
    pub fn of(local: &str) -> Option<Self> {
        let steps: Vec<&str> = local.split('/').collect();
        let (group, version, kind, namespace, name) = match steps[..] {
            [version, kind, namespace, name] => ("", version, kind, namespace, name),
            [group, version, kind, namespace, name] => (group, version, kind, namespace, name),
            _ => return None,
        };
        let (_, _, plural) = KINDS
            .iter()
            .find(|known| (known.0, known.1) == (group, kind))?;
        Some(Workload {
            kind: Kind {
                group: group.to_owned(),
                version: version.to_owned(),
                kind: kind.to_owned(),
                plural: (*plural).to_owned(),
                namespaced: true,
            },
            key: Key::new(group, kind, namespace, name),
        })
    }

    /// Waits until it works, by the rules by which a step waits that applies it. `note` hears how far it is. Gives how it
    /// says that it works (`2 of 2 available`).
    ///
    /// # Errors
    /// What keeps it from ever working, or that the server does not tell of it. There is no deadline: whoever waits
    /// ends it.
    pub async fn works(
        &self,
        client: &Client,
        note: &(dyn Fn(&str) + Sync),
    ) -> Result<String, Problem> {
        let server = Server {
            client: client.clone(),
        };
        let problem = |summary: String| Problem {
            summary,
            ..Problem::default()
        };
        let path = self.kind.path(&self.key.namespace, &self.key.name);
        let present = match server.get(&path).await {
            Ok(Some(present)) => present,
            Ok(None) => return Err(problem(format!("{self} is gone"))),
            Err(failure) => return Err(problem(format!("reading {self}: {failure}"))),
        };
        let present: Value = ready(&server, &self.kind, &self.key, &present, note).await?;
        Ok(match judge(&self.key, &present) {
            Readiness::Ready(how) => how,
            Readiness::Waiting(_) | Readiness::Unattended(_) | Readiness::Failed(_) => {
                String::new()
            }
        })
    }
}

/// `Deployment shop/web`.
impl std::fmt::Display for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.key.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_are_known_by_their_addresses() {
        let title = |local| Workload::of(local).map(|workload| workload.to_string());
        assert_eq!(
            title("apps/v1/Deployment/shop/web").as_deref(),
            Some("Deployment shop/web")
        );
        assert_eq!(title("v1/Pod/shop/web").as_deref(), Some("Pod shop/web"));
        assert_eq!(title("v1/Service/shop/web"), None);
        assert_eq!(title("example.org/v1/Deployment/shop/web"), None);
        assert_eq!(title("v1/Namespace/shop"), None);
    }
}
