//! The way to a pod's containers for everything that looks into them: logs, exec, attach,
//! port-forward.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_runtime::{Container, Sandbox};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::RwLock;

use crate::pod::state::containers;
use crate::shared::Handle;

/// A cheap, cloneable handle on the pods of a node.
#[derive(Clone)]
pub struct Agent {
    shared: Handle,
}

/// One pod as it is at the moment of asking.
#[derive(Clone)]
pub struct PodView {
    /// Its object.
    pub pod: Arc<Pod>,
    /// Its sandbox, while there is one.
    pub sandbox: Option<Sandbox>,
    /// Its network namespace; `None` on the host's network or before there is one.
    pub netns: Option<PathBuf>,
    /// Its addresses.
    pub ips: Vec<String>,
    /// The newest run of each container that has run in this sandbox, by name.
    pub running: HashMap<String, Container>,
    /// Its directory on this machine.
    pub(crate) dir: PathBuf,
}

/// Why a pod or container cannot be reached, in words for the one who asked.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// No such pod on this node.
    #[error("pod \"{0}\" not found")]
    Pod(String),
    /// The pod has no container of that name.
    #[error("container {container} is not valid for pod {pod}")]
    Container {
        /// What was asked for.
        container: String,
        /// The pod.
        pod: String,
    },
    /// The container is there but does not run.
    #[error("container not found (\"{0}\")")]
    NotRunning(String),
    /// There is no log to read yet, or none of a previous run.
    #[error("{0}")]
    NoLog(String),
}

impl Agent {
    pub(crate) fn new(shared: Handle) -> Self {
        Self { shared }
    }

    /// The node's name.
    pub fn node_name(&self) -> &str {
        &self.shared.options.name
    }

    /// Where the node keeps its files.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.shared.options.data_dir
    }

    /// Waits until the statuses of all pods that were there when the node started tell how they were
    /// found: until then they are what an earlier run has left.
    pub async fn settled(&self) {
        self.shared.found.wait().await;
    }

    /// A pod by name.
    ///
    /// # Errors
    /// When this node has no such pod.
    pub fn pod(&self, namespace: &str, name: &str) -> Result<PodView, LookupError> {
        self.shared
            .views
            .get(namespace, name)
            .ok_or_else(|| LookupError::Pod(format!("{name}_{namespace}")))
    }

    /// All pods of this node.
    pub fn pods(&self) -> Vec<PodView> {
        self.shared.views.all()
    }
}

impl PodView {
    /// A container that runs now, for exec and attach.
    ///
    /// # Errors
    /// When the pod has no such container, or it does not run.
    pub fn container(&self, name: &str) -> Result<Container, LookupError> {
        self.check(name)?;
        self.running
            .get(name)
            .cloned()
            .ok_or_else(|| LookupError::NotRunning(name.to_owned()))
    }

    /// The log file of a container's newest run, or of the one before it.
    ///
    /// Rotated parts lie beside it under the same name with a suffix.
    ///
    /// # Errors
    /// When the pod has no such container, or it has not run (twice).
    pub fn log(&self, container: &str, previous: bool) -> Result<PathBuf, LookupError> {
        self.check(container)?;
        let dir = self.dir.join("logs").join(container);
        let mut attempts = attempts(&dir);
        let pod = self.pod.metadata.name.as_deref().unwrap_or_default();
        let newest = attempts.pop();
        let chosen = if previous { attempts.pop() } else { newest };
        let attempt = chosen.ok_or_else(|| {
            LookupError::NoLog(if previous {
                format!("previous terminated container \"{container}\" in pod \"{pod}\" not found")
            } else {
                format!("container \"{container}\" in pod \"{pod}\" is waiting to start: ContainerCreating")
            })
        })?;
        Ok(dir.join(format!("{attempt}.log")))
    }

    /// The name of the only container, or of the one that is annotated as the default.
    pub fn default_container(&self) -> Option<String> {
        let annotated = self
            .pod
            .metadata
            .annotations
            .as_ref()?
            .get("kubectl.kubernetes.io/default-container")
            .cloned();
        annotated.or_else(|| Some(self.pod.spec.as_ref()?.containers.first()?.name.clone()))
    }

    fn check(&self, container: &str) -> Result<(), LookupError> {
        let known = self
            .pod
            .spec
            .iter()
            .flat_map(containers)
            .any(|(_, c)| c.name == container);
        if known {
            return Ok(());
        }
        Err(LookupError::Container {
            container: container.to_owned(),
            pod: self.pod.metadata.name.clone().unwrap_or_default(),
        })
    }
}

/// The attempts that have left a log, ascending.
pub(crate) fn attempts(dir: &Path) -> Vec<u32> {
    let mut found: Vec<u32> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            entry
                .file_name()
                .to_str()?
                .strip_suffix(".log")?
                .parse()
                .ok()
        })
        .collect();
    found.sort_unstable();
    found
}

/// The pods as their workers have last shown them.
#[derive(Default)]
pub(crate) struct Views(RwLock<HashMap<(String, String), PodView>>);

impl Views {
    pub(crate) fn set(&self, view: PodView) {
        let meta = &view.pod.metadata;
        let key = (
            meta.namespace.clone().unwrap_or_default(),
            meta.name.clone().unwrap_or_default(),
        );
        let mut all = self.0.write();
        // An old pod that is still ending does not cover a new one of the same name.
        if let Some(other) = all.get(&key)
            && other.pod.metadata.uid != meta.uid
            && other.pod.metadata.creation_timestamp > meta.creation_timestamp
        {
            return;
        }
        all.insert(key, view);
    }

    pub(crate) fn remove(&self, pod: &Pod) {
        let meta = &pod.metadata;
        let key = (
            meta.namespace.clone().unwrap_or_default(),
            meta.name.clone().unwrap_or_default(),
        );
        let mut all = self.0.write();
        if all
            .get(&key)
            .is_some_and(|view| view.pod.metadata.uid == meta.uid)
        {
            all.remove(&key);
        }
    }

    fn get(&self, namespace: &str, name: &str) -> Option<PodView> {
        self.0
            .read()
            .get(&(namespace.to_owned(), name.to_owned()))
            .cloned()
    }

    fn all(&self) -> Vec<PodView> {
        self.0.read().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_found_by_attempt() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["0.log", "10.log", "9.log", "9.log.20260101", "x.log"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(attempts(dir.path()), [0, 9, 10]);
        assert!(attempts(&dir.path().join("none")).is_empty());
    }
}
