//! What a module works with besides its arguments.

use std::path::{Path, PathBuf};

use crate::invocation::Settings;

/// What a module works with besides its arguments.
///
/// A module may share its process with others: it never changes the process's directory, environment, umask or user.
/// Paths it was given go through [`Context::path`].
pub struct Context<'a> {
    /// How the run is set.
    pub settings: &'a Settings,
    /// What it has to warn of; becomes `warnings` of the result.
    pub warnings: Vec<String>,
}

impl<'a> Context<'a> {
    /// For one call.
    pub fn new(settings: &'a Settings) -> Self {
        Context {
            settings,
            warnings: Vec::new(),
        }
    }

    /// A path as it is for the process: what is relative is relative to the directory of the run.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        if path.is_absolute() || self.settings.directory.is_empty() {
            return path.to_owned();
        }
        Path::new(&self.settings.directory).join(path)
    }

    /// A variable of the environment: of the task, or of the process.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.settings
            .environment
            .iter()
            .rev()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.clone())
            .or_else(|| std::env::var(name).ok())
    }
}
