//! What a walk leaves on the disk in case it is interrupted: journals of what was done, which states it wrote, which
//! lock it holds, what it had begun.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use consort_backend::Snapshots;
use consort_hcl::diagnostic::Diagnostics;
use parking_lot::Mutex;

use crate::encryption::Target;
use crate::session::{causes, error, journal_key};
use crate::state::{self, State};

/// The files of one part's walk.
#[derive(Debug)]
pub(super) struct Scratch {
    directory: PathBuf,
    begun: Mutex<Option<std::fs::File>>,
}

impl Scratch {
    /// Makes the directory if it is not there.
    pub(super) fn open(directory: &Path) -> Result<Scratch, Diagnostics> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|failed| unusable(directory, &failed))?;
        Ok(Scratch {
            directory: directory.to_owned(),
            begun: Mutex::default(),
        })
    }

    fn journal(&self, number: usize) -> PathBuf {
        self.directory.join(format!("journal-{number}"))
    }

    /// How many journals earlier walks left.
    fn journals(&self) -> usize {
        let mut count = 0;
        while self.journal(count).exists() {
            count += 1;
        }
        count
    }

    /// Where the next journal is.
    pub(super) fn next_journal(&self) -> PathBuf {
        self.journal(self.journals())
    }

    /// Whether an earlier walk was here.
    pub(super) fn is_used(&self) -> bool {
        Self::was_used(&self.directory)
    }

    /// Whether an earlier walk used a directory.
    pub(super) fn was_used(directory: &Path) -> bool {
        directory.join("journal-0").exists() || directory.join("written").exists()
    }

    /// Removes the journal that was begun last: nothing is in it.
    pub(super) fn forget_last_journal(&self) {
        if let Some(last) = self.journals().checked_sub(1) {
            let _ = std::fs::remove_file(self.journal(last));
        }
    }

    /// Adds what earlier walks did to a state that they began with.
    pub(super) async fn recover(
        &self,
        state: &mut State,
        target: Option<&Target>,
    ) -> Result<(), Diagnostics> {
        let unreadable = |failed: state::JournalError| {
            error(
                "Failed to take up what an interrupted run had done",
                causes(&failed),
            )
        };
        for number in 0..self.journals() {
            let path = self.journal(number);
            let seal = match state::sealed_key(&path).map_err(unreadable)? {
                Some(envelope) => Some(journal_key(target, envelope).await?),
                None => None,
            };
            state::recover(&path, state, seal.as_ref()).map_err(unreadable)?;
        }
        Ok(())
    }

    /// Removes the journals: the state holds what is in them.
    pub(super) fn forget_journals(&self) {
        for number in (0..self.journals()).rev() {
            if let Err(failed) = std::fs::remove_file(self.journal(number)) {
                tracing::warn!(error = %failed, "removing a journal");
            }
        }
        *self.begun.lock() = None;
        let _ = std::fs::remove_file(self.directory.join("begun"));
    }

    /// Notes a version of the state before it is written.
    pub(super) fn will_write(&self, version: &str) -> Result<(), Diagnostics> {
        let path = self.directory.join("written");
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
            file.write_all(format!("{version}\n").as_bytes())?;
            file.sync_data()
        };
        write().map_err(|failed| unusable(&path, &failed))
    }

    /// Whether a version of the state was written by this walk.
    pub(super) fn wrote(&self, version: &str) -> bool {
        std::fs::read_to_string(self.directory.join("written"))
            .is_ok_and(|text| text.lines().any(|line| line == version))
    }

    /// Gives up the lock that an interrupted walk left, if it left one.
    pub(super) async fn release_old_lock(&self, snapshots: &dyn Snapshots) {
        let path = self.directory.join("lock");
        if let Ok(id) = std::fs::read_to_string(&path) {
            // Another may have it by now, or nobody: taking it tells.
            let _ = snapshots.unlock(id.trim()).await;
            let _ = std::fs::remove_file(&path);
        }
    }

    /// Notes the lock that is going to be taken.
    pub(super) fn will_lock(&self, id: &str) -> Result<(), Diagnostics> {
        let path = self.directory.join("lock");
        std::fs::write(&path, id).map_err(|failed| unusable(&path, &failed))
    }

    /// Notes that the lock was given up.
    pub(super) fn unlocked(&self) {
        let _ = std::fs::remove_file(self.directory.join("lock"));
    }

    /// Notes that work on something begins. The end of this process loses none of it; it is not synced.
    pub(super) fn begin(&self, what: &str) {
        let mut begun = self.begun.lock();
        if begun.is_none() {
            let path = self.directory.join("begun");
            *begun = OpenOptions::new().create(true).append(true).open(path).ok();
        }
        if let Some(file) = &mut *begun {
            let _ = file.write_all(format!("{what}\n").as_bytes());
        }
    }

    /// What earlier walks had begun.
    pub(super) fn begun(&self) -> HashSet<String> {
        std::fs::read_to_string(self.directory.join("begun"))
            .map(|text| text.lines().map(str::to_owned).collect())
            .unwrap_or_default()
    }
}

fn unusable(path: &Path, failed: &std::io::Error) -> Diagnostics {
    error(
        "Failed to keep a record of the work",
        format!("{}: {failed}. No change was made.", path.display()),
    )
}
