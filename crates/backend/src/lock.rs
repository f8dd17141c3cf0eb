//! Who holds the lock of a state, and waiting for it.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::{Error, Snapshots};

/// What a lock says of its holder, in the form that all of Terraform's backends store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LockInfo {
    /// What `force-unlock` takes.
    #[serde(rename = "ID")]
    pub id: String,
    /// What it was taken for, such as `OperationTypeApply`.
    pub operation: String,
    /// More about it.
    pub info: String,
    /// `user@host`.
    pub who: String,
    /// The version of the program that took it.
    pub version: String,
    /// When, in RFC 3339, UTC.
    pub created: String,
    /// Which state, where that has a path.
    pub path: String,
}

impl LockInfo {
    /// A lock for `operation`, taken now by this process.
    pub fn new(operation: &str, version: &str) -> LockInfo {
        LockInfo {
            id: uuid::Uuid::new_v4().to_string(),
            operation: operation.to_owned(),
            info: String::new(),
            who: who(),
            version: version.to_owned(),
            created: jiff::Timestamp::now().to_string(),
            path: String::new(),
        }
    }

    /// As it is stored.
    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads what is stored.
    pub(super) fn from_json(bytes: &[u8]) -> Option<LockInfo> {
        serde_json::from_slice(bytes).ok()
    }
}

impl fmt::Display for LockInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Lock Info:")?;
        writeln!(f, "  ID:        {}", self.id)?;
        writeln!(f, "  Path:      {}", self.path)?;
        writeln!(f, "  Operation: {}", self.operation)?;
        writeln!(f, "  Who:       {}", self.who)?;
        writeln!(f, "  Version:   {}", self.version)?;
        writeln!(f, "  Created:   {}", self.created)?;
        writeln!(f, "  Info:      {}", self.info)
    }
}

fn who() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid())
        .ok()
        .flatten()
        .map(|user| user.name)
        .unwrap_or_default();
    let host = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_default();
    format!("{user}@{host}")
}

/// A lock that is held. It is given up by [`Holder::release`]; dropping it leaves it to `force-unlock`,
/// except on this disk, where it ends with the process.
#[derive(Clone, Debug)]
#[must_use]
pub struct Holder {
    id: String,
}

impl Holder {
    /// The lock's ID.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Gives the lock up.
    ///
    /// # Errors
    /// The backend could not be told; the lock may still be held.
    pub async fn release(self, snapshots: &dyn Snapshots) -> Result<(), Error> {
        snapshots.unlock(&self.id).await
    }
}

/// Takes the lock, trying again for as long as `patience` allows while someone else holds it.
///
/// # Errors
/// [`Error::Held`] when it is still held at the end; any other failure at once.
pub async fn acquire(
    snapshots: &dyn Snapshots,
    info: &LockInfo,
    patience: Duration,
) -> Result<Holder, Error> {
    let started = Instant::now();
    let mut pause = Duration::from_secs(1);
    loop {
        match snapshots.lock(info).await {
            Ok(id) => return Ok(Holder { id }),
            Err(Error::Held { message, holder }) => {
                let left = patience.saturating_sub(started.elapsed());
                if left.is_zero() {
                    return Err(Error::Held { message, holder });
                }
                tokio::time::sleep(pause.min(left)).await;
                pause = (pause * 2).min(Duration::from_secs(16));
            }
            Err(other) => return Err(other),
        }
    }
}
