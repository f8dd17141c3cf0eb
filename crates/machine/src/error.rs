//! What can go wrong with machines and networks.

use std::io;
use std::path::{Path, PathBuf};

/// An error of [`crate::Machines`]. What was being made is not there afterwards; what was being changed is as it was, or
/// stopped where the text says so.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Making machines needs root.
    #[error("machines and networks need root: control groups, mounts and network namespaces")]
    NotRoot,
    /// The specification contradicts itself or a limit.
    #[error("{0}")]
    Invalid(String),
    /// The name is taken.
    #[error("{what} \"{name}\" already exists")]
    Exists {
        /// `machine` or `network`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// There is nothing of that name.
    #[error("there is no {what} \"{name}\"")]
    NotFound {
        /// `machine` or `network`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The network has machines.
    #[error("network \"{network}\" is used by machine {}", machines.join(", "))]
    InUse {
        /// The network.
        network: String,
        /// Its machines.
        machines: Vec<String>,
    },
    /// The machine does not run, and would have to.
    #[error("machine \"{0}\" does not run")]
    NotRunning(String),
    /// A virtual machine is not reached that way.
    #[error("machine \"{0}\" is virtual: commands are run in it over ssh, not by its host")]
    Virtual(String),
    /// All addresses of the network are taken.
    #[error("no free address left in network \"{network}\" ({cidr})")]
    Exhausted {
        /// The network.
        network: String,
        /// Its addresses.
        cidr: ipnet::Ipv4Net,
    },
    /// The image could not be had.
    #[error("image {name}")]
    Image {
        /// The image.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The network of the host refused.
    #[error(transparent)]
    Net(#[from] consort_net::network::Error),
    /// The container could not be made or reached.
    #[error("machine \"{name}\"")]
    Container {
        /// The machine.
        name: String,
        /// Why.
        #[source]
        source: consort_runtime::Error,
    },
    /// QEMU could not be started or reached.
    #[error("virtual machine \"{name}\": {message}")]
    Qemu {
        /// The machine.
        name: String,
        /// What it said.
        message: String,
    },
    /// The machine's program ended right after its start.
    #[error("machine \"{name}\" ended right after its start with code {code}{said}")]
    Ended {
        /// The machine.
        name: String,
        /// Exit code of its first process.
        code: i32,
        /// What it had said last, with a separator; may be empty.
        said: String,
    },
    /// The first-boot script failed.
    #[error("the user data of machine \"{name}\" ended with code {code}{said}")]
    UserData {
        /// The machine.
        name: String,
        /// Exit code of the script.
        code: i32,
        /// What it had said last, with a separator; may be empty.
        said: String,
    },
    /// A file could not be read or written.
    #[error("{doing} {path}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A record on disk cannot be understood.
    #[error("the record {path} is damaged: {reason}")]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The runtime is shutting down.
    #[error("the program is ending")]
    Closed,
}

impl Error {
    pub(crate) fn io(
        doing: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }

    pub(crate) fn container(name: &str) -> impl FnOnce(consort_runtime::Error) -> Self {
        let name = name.to_owned();
        move |source| Self::Container { name, source }
    }

    pub(crate) fn no_machine(name: &str) -> Self {
        Self::NotFound {
            what: "machine",
            name: name.to_owned(),
        }
    }

    pub(crate) fn no_network(name: &str) -> Self {
        Self::NotFound {
            what: "network",
            name: name.to_owned(),
        }
    }
}
