//! Who uses the images of this machine.

use std::io;
use std::path::PathBuf;

use consort_image::{User, Users};
use consort_runtime::recorded;

use crate::pod::labels;

/// The containers below a runtime's directory, as users of images: those that run, whoever started
/// them and when, and those that have ended and whose pod has not, as they may be started again.
#[derive(Clone, Debug)]
pub struct ImageUsers {
    runtime: PathBuf,
}

impl ImageUsers {
    /// `runtime` is the directory of the [`Runtime`](consort_runtime::Runtime), which need not be open.
    pub fn new(runtime: impl Into<PathBuf>) -> Self {
        Self {
            runtime: runtime.into(),
        }
    }
}

impl Users for ImageUsers {
    fn users(&self) -> io::Result<Vec<User>> {
        let containers = recorded(&self.runtime)?
            .into_iter()
            .flat_map(|sandbox| sandbox.containers);
        Ok(containers
            .map(|container| {
                let label = |key| container.labels.get(key).cloned().unwrap_or_default();
                User {
                    name: format!(
                        "pod {}/{} (container {})",
                        label(labels::POD_NAMESPACE),
                        label(labels::POD_NAME),
                        label(labels::CONTAINER)
                    ),
                    image: label(labels::IMAGE),
                    layers: container.lower_dirs,
                }
            })
            .collect())
    }
}
