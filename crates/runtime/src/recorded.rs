//! What is written down about sandboxes and containers.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::layout::{self, BOOT, Boot};
use crate::spec::{ContainerSpec, SandboxSpec};

/// A sandbox as it was asked for, and its containers, whether they run or have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The sandbox.
    pub sandbox: SandboxSpec,
    /// Its containers, in the order of their ids.
    pub containers: Vec<ContainerSpec>,
}

/// All sandboxes below the `root` of a [`Runtime`](crate::Runtime), in the order of their ids.
///
/// Reads files and changes nothing: it may be called beside a runtime at work, and from other processes.
/// A container is written down before its layers are mounted, and until they no longer are. A missing
/// directory holds no sandboxes.
///
/// # Errors
/// When something that is there cannot be read.
pub fn recorded(root: &Path) -> io::Result<Vec<Recorded>> {
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let dir = entry?.path();
        // Being made, or just removed.
        let Some(boot) = read::<Boot>(&dir.join(BOOT))? else {
            continue;
        };
        let mut containers = Vec::new();
        for container in layout::containers_in(&dir) {
            containers.extend(read::<ContainerSpec>(&container.join("spec.json"))?);
        }
        all.push(Recorded {
            sandbox: boot.spec,
            containers,
        });
    }
    all.sort_by(|a, b| a.sandbox.id.cmp(&b.sandbox.id));
    Ok(all)
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let text = match fs::read(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        text => text?,
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| {
        io::Error::new(
            ErrorKind::InvalidData,
            format!("{}: {error}", path.display()),
        )
    })
}
