//! Containers without a daemon: sandboxes, shims, cgroups, exec.
//!
//! A [`Runtime`] keeps pod sandboxes under one directory. Each sandbox has a *shim*: the same
//! executable started again, single-threaded, in its own session, which holds the pod's namespaces
//! and mounts, is the parent of its containers, copies their output into log files and writes down
//! how they ended. The agent talks to it over a unix socket and may die and come back at any time:
//! [`Runtime::adopt`] finds everything again.
//!
//! ```text
//! Runtime -> Sandbox -> Container -> Exec, Attach      async handles in the agent
//!                |  framed JSON + descriptors, unix socket
//!              shim: poll loop ---- one-shot child (libcontainer) -> container's init
//!                |                                                     \ entry: user, caps, seccomp, exec
//!                '-- logs, exit records, cgroups
//! ```
//!
//! The executable that uses this crate calls [`shim_main`] first thing in `main`, before any thread
//! is started, when its first argument is [`SHIM_ARGUMENT`].
//!
//! ```no_run
//! use consort_runtime::{ContainerSpec, Options, Runtime, SandboxSpec};
//!
//! # async fn example() -> Result<(), consort_runtime::Error> {
//! let runtime = Runtime::new(Options {
//!     root: "/var/lib/consort/runtime".into(),
//!     shim_exe: "/proc/self/exe".into(),
//!     cgroup_parent: "consort-ab12cd".to_owned(),
//! })?;
//! let sandbox = runtime
//!     .create_sandbox(SandboxSpec { id: "web-1".to_owned(), hostname: "web-1".to_owned(), ..SandboxSpec::default() })
//!     .await?;
//! let container = sandbox
//!     .create(ContainerSpec {
//!         id: "nginx".to_owned(),
//!         lower_dirs: vec!["/var/lib/consort/images/layers/1".into()],
//!         args: vec!["nginx".to_owned()],
//!         ..ContainerSpec::default()
//!     })
//!     .await?;
//! container.start().await?;
//! let exit = container.wait().await?;
//! println!("ended with {}", exit.code);
//! # Ok(())
//! # }
//! ```

mod cgroup;
mod client;
mod container;
mod entry;
mod error;
mod exec;
mod layout;
mod recorded;
mod runtime;
mod sandbox;
mod shim;
mod signal;
mod spec;
mod state;
mod sys;
mod wire;

pub use container::Container;
pub use error::Error;
pub use exec::{Attach, Exec, Input, Output, Resizer};
pub use recorded::{Recorded, recorded};
pub use runtime::{Options, Runtime};
pub use sandbox::Sandbox;
pub use shim::{SHIM_ARGUMENT, shim_main};
pub use spec::{
    ContainerSpec, Device, ExecSpec, Mount, MountKind, Propagation, Resources, Rlimit, SandboxSpec,
    Seccomp, UserSpec,
};
pub use state::{Exit, State, Stats};
