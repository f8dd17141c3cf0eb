//! The runtime: all sandboxes under one directory.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::cgroup::{Cgroup, Layout};
use crate::error::Error;
use crate::layout::{self, BOOT, Boot};
use crate::sandbox::Sandbox;
use crate::shim::SHIM_ARGUMENT;
use crate::spec::SandboxSpec;

/// How long a shim may take to be ready; it does a dozen system calls.
const BOOT_TIME: Duration = Duration::from_secs(30);

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

/// All sandboxes under one directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Runtime(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: Options,
    layout: Layout,
}

impl Runtime {
    /// Opens the directory, finds out what cgroups the machine has, and makes the one for all pods: a machine on
    /// which that cannot be done runs none.
    pub fn new(options: Options) -> Result<Self, Error> {
        layout::check_id("cgroup", &options.cgroup_parent)?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(&options.root)
            .map_err(Error::path("making directory", &options.root))?;
        let root = fs::canonicalize(&options.root)
            .map_err(Error::path("resolving directory", &options.root))?;
        let layout = Layout::detect()?;
        Cgroup::new(&layout, options.cgroup_parent.clone()).prepare()?;
        Ok(Self(Arc::new(Inner {
            options: Options { root, ..options },
            layout,
        })))
    }

    fn pod(&self, id: &str) -> Cgroup {
        Cgroup::new(
            &self.0.layout,
            format!("{}/{id}", self.0.options.cgroup_parent),
        )
    }

    /// The directory for sandboxes, resolved.
    pub fn root(&self) -> &Path {
        &self.0.options.root
    }

    /// All sandboxes on disk, with running or dead shims, in the order of their ids. What a dead shim left
    /// behind is killed and recorded as exited. Directories of sandboxes that never came to be are removed:
    /// only to be called while none are being made. [`recorded`](crate::recorded) looks without touching.
    pub async fn adopt(&self) -> Result<Vec<Sandbox>, Error> {
        let runtime = self.clone();
        spawn_blocking(move || runtime.adopt_all())
            .await
            .map_err(|error| Error::Io {
                doing: "adopting sandboxes",
                source: std::io::Error::other(error),
            })?
    }

    fn adopt_all(&self) -> Result<Vec<Sandbox>, Error> {
        let root = &self.0.options.root;
        let mut sandboxes = Vec::new();
        for entry in fs::read_dir(root).map_err(Error::path("reading", root))? {
            let dir = entry.map_err(Error::path("reading", root))?.path();
            if !dir.is_dir() {
                continue;
            }
            let Some(boot) = fs::read(dir.join(BOOT))
                .ok()
                .and_then(|text| serde_json::from_slice::<Boot>(&text).ok())
            else {
                tracing::warn!(dir = %dir.display(), "removing what is left of a sandbox that was never made");
                layout::remove_dir(&dir)?;
                continue;
            };
            let pod = self.pod(&boot.spec.id);
            let sandbox = Sandbox::new(boot.spec, dir, pod);
            if !sandbox.alive() {
                sandbox.bury()?;
            }
            sandboxes.push(sandbox);
        }
        sandboxes.sort_by(|a, b| a.id().cmp(b.id()));
        Ok(sandboxes)
    }

    /// The sandbox of this id, if there is one, as it is: its shim may be gone. Changes nothing.
    pub fn sandbox(&self, id: &str) -> Option<Sandbox> {
        layout::check_id("sandbox", id).ok()?;
        let dir = self.0.options.root.join(id);
        let boot: Boot = serde_json::from_slice(&fs::read(dir.join(BOOT)).ok()?).ok()?;
        let pod = self.pod(id);
        Some(Sandbox::new(boot.spec, dir, pod))
    }

    /// Removes what is left in the directory of a sandbox that never came to be ([`Runtime::sandbox`] has none).
    ///
    /// # Errors
    /// When the files cannot be removed.
    pub fn discard(&self, id: &str) -> Result<(), Error> {
        layout::check_id("sandbox", id)?;
        layout::remove_dir(&self.0.options.root.join(id))
    }

    /// Makes a sandbox and waits until its namespaces are there. On failure nothing is left of it.
    pub async fn create_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox, Error> {
        layout::check_id("sandbox", &spec.id)?;
        if spec.id == "shims" {
            return Err(Error::Invalid(
                "sandbox id \"shims\" is taken by the shims' cgroup".to_owned(),
            ));
        }
        let id = spec.id.clone();
        let dir = self.0.options.root.join(&id);
        match fs::DirBuilder::new().mode(0o711).create(&dir) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(Error::AlreadyExists {
                    what: "sandbox",
                    id,
                });
            }
            result => result.map_err(Error::path("making directory", &dir))?,
        }
        let sandbox = Sandbox::new(spec, dir, self.pod(&id));
        match self.start_shim(&sandbox).await {
            Ok(()) => Ok(sandbox),
            Err(error) => {
                if let Err(second) = sandbox.remove().await {
                    tracing::warn!(sandbox = %id, error = %second, "removing what is left of a sandbox that could not be made");
                }
                Err(error)
            }
        }
    }

    async fn start_shim(&self, sandbox: &Sandbox) -> Result<(), Error> {
        let dir = sandbox.dir();
        sandbox.pod().create(&sandbox.spec().resources)?;
        sandbox
            .pod()
            .limit_pids(sandbox.spec().resources.pids_limit)?;
        let boot = Boot {
            spec: sandbox.spec().clone(),
            cgroup_parent: self.0.options.cgroup_parent.clone(),
        };
        let bytes = serde_json::to_vec(&boot).map_err(|error| Error::Invalid(error.to_string()))?;
        layout::write_whole(&dir.join(BOOT), &bytes, false)
            .map_err(Error::path("writing", dir.join(BOOT)))?;
        let log = fs::File::create(dir.join("shim.log"))
            .map_err(Error::path("creating", dir.join("shim.log")))?;
        let exe = &self.0.options.shim_exe;
        let mut child = Command::new(exe)
            .arg(SHIM_ARGUMENT)
            .arg(dir)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(Error::path("starting the shim", exe))?;
        let mut said = String::new();
        let heard = timeout(BOOT_TIME, async {
            if let Some(stdout) = &mut child.stdout {
                stdout.read_to_string(&mut said).await?;
            }
            child.wait().await.map(|_| ())
        });
        let message = match heard.await {
            Ok(Ok(())) if said.lines().any(|line| line == "ok") => return Ok(()),
            Ok(Ok(())) => match said.trim() {
                "" => format!(
                    "ended without a word; {}",
                    fs::read_to_string(dir.join("shim.log"))
                        .unwrap_or_default()
                        .trim()
                ),
                said => said.trim_start_matches("error: ").to_owned(),
            },
            Ok(Err(error)) => format!("listening to it: {error}"),
            Err(_) => format!("is not ready after {BOOT_TIME:?}"),
        };
        Err(Error::Shim {
            sandbox: sandbox.id().to_owned(),
            message,
        })
    }

    /// Removes what is left when no sandbox is there any more: the parent cgroup. Sandboxes that
    /// still exist are left alone, and then so is the parent.
    pub fn close(&self) -> Result<(), Error> {
        let parent = Cgroup::new(&self.0.layout, self.0.options.cgroup_parent.clone());
        let root = &self.0.options.root;
        let mut entries = fs::read_dir(root).map_err(Error::path("reading", root))?;
        if entries.next().is_none() {
            parent.child("shims").remove()?;
            parent.remove()?;
        }
        Ok(())
    }
}
