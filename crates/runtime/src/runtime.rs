//! The runtime: all sandboxes under one directory.

use std::path::PathBuf;

use crate::error::Error;
use crate::sandbox::Sandbox;
use crate::spec::SandboxSpec;

/// Where a runtime keeps its things.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory for sandboxes; made if it is missing. One runtime at a time.
    pub root: PathBuf,
    /// The executable that calls [`shim_main`](crate::shim_main).
    pub shim_exe: PathBuf,
    /// Name of the cgroup below which all pods are, such as `consort-ab12cd`.
    pub cgroup_parent: String,
}

/// All sandboxes under one directory.
#[derive(Clone, Debug)]
pub struct Runtime;

impl Runtime {
    /// Opens the directory and finds out what cgroups the machine has.
    pub fn new(options: Options) -> Result<Self, Error> {
        todo!("{options:?}")
    }

    /// All sandboxes on disk, with running or dead shims. What a dead shim left behind is killed and
    /// recorded as exited.
    pub async fn adopt(&self) -> Result<Vec<Sandbox>, Error> {
        todo!()
    }

    /// Makes a sandbox and waits until its namespaces are there.
    pub async fn create_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox, Error> {
        todo!("{spec:?}")
    }

    /// Removes what is left when no sandbox is there any more: the parent cgroup. Sandboxes that
    /// still exist are left alone.
    pub fn close(&self) -> Result<(), Error> {
        todo!()
    }
}
