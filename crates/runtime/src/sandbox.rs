//! A handle on one sandbox.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::container::Container;
use crate::error::Error;
use crate::spec::{ContainerSpec, SandboxSpec};
use crate::state::Stats;

/// A pod sandbox. Cheap to clone; dropping it leaves the sandbox as it is.
#[derive(Clone, Debug)]
pub struct Sandbox;

impl Sandbox {
    /// Its id.
    pub fn id(&self) -> &str {
        todo!()
    }

    /// What it was asked to be.
    pub fn spec(&self) -> &SandboxSpec {
        todo!()
    }

    /// The labels it was made with.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        todo!()
    }

    /// Whether its shim runs.
    pub fn alive(&self) -> bool {
        todo!()
    }

    /// Its containers, in the order of their ids.
    pub fn containers(&self) -> Result<Vec<Container>, Error> {
        todo!()
    }

    /// One of its containers.
    pub fn container(&self, id: &str) -> Option<Container> {
        todo!("{id}")
    }

    /// Makes a container: its root, namespaces and cgroup. Its program waits for [`Container::start`].
    pub async fn create(&self, spec: ContainerSpec) -> Result<Container, Error> {
        todo!("{spec:?}")
    }

    /// [`Sandbox::create`] and [`Container::start`] in one round trip.
    pub async fn run(&self, spec: ContainerSpec) -> Result<Container, Error> {
        todo!("{spec:?}")
    }

    /// Use of resources by the whole pod.
    pub async fn stats(&self) -> Result<Stats, Error> {
        todo!()
    }

    /// Stops all containers: their stop signals, and after `grace` SIGKILL. Returns when all have ended.
    pub async fn stop(&self, grace: Duration) -> Result<(), Error> {
        todo!("{grace:?}")
    }

    /// Kills every process of the pod and removes its cgroups, namespaces, mounts and files.
    pub async fn remove(&self) -> Result<(), Error> {
        todo!()
    }
}
