//! What a module works with besides its arguments.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use crate::arguments::{Arguments, Spec, validate};
use crate::invocation::{Failure, Invocation, Settings};
use crate::process::Cancel;
use crate::python;

/// What a module works with besides its arguments.
///
/// A module may share its process with others: it never changes the process's directory, environment, umask or user.
/// Paths it was given go through [`Context::path`] before the system sees them; in results and messages they stay as given.
pub struct Context<'a> {
    /// How the run is set.
    pub settings: &'a Settings,
    /// What it has to warn of; becomes `warnings` of the result. Each text is told once.
    pub warnings: Vec<String>,
    /// What goes out of use; becomes `deprecations` of the result.
    pub deprecations: Vec<Value>,
    /// Ends the run from outside.
    pub cancel: Option<Cancel>,
    /// The values that may not be told; taken out of the result.
    pub(crate) secrets: BTreeSet<String>,
    /// The arguments as they were checked, for `invocation` of the result.
    pub(crate) checked: Option<Map<String, Value>>,
    /// A directory for temporary files, made when it is first asked for and removed with the context.
    temporary: Option<PathBuf>,
}

impl<'a> Context<'a> {
    /// For one call.
    pub fn new(settings: &'a Settings) -> Self {
        Context {
            settings,
            warnings: Vec::new(),
            deprecations: Vec::new(),
            cancel: None,
            secrets: BTreeSet::new(),
            checked: None,
            temporary: None,
        }
    }

    /// What became of an argument later, for `invocation` of the result.
    pub(crate) fn told_as(&mut self, name: &str, value: impl Into<Value>) {
        if let Some(checked) = &mut self.checked {
            checked.insert(name.to_owned(), value.into());
        }
    }

    /// The arguments of the call, checked and converted. Fails with the message Ansible has for what is wrong; is an early
    /// end with `skipped` in check mode if the module does not support it.
    pub fn arguments(
        &mut self,
        spec: &Spec,
        invocation: &Invocation,
    ) -> Result<Arguments, Failure> {
        let called = match self.settings.called.as_str() {
            "" => invocation.module.clone(),
            called => called.to_owned(),
        };
        let checked = validate(self, spec, invocation.arguments.clone());
        self.warnings.extend(checked.warnings);
        for (message, version) in checked.deprecations {
            self.deprecate(&message, &version);
        }
        self.secrets.extend(checked.secrets);
        self.checked = Some(checked.values.clone());
        if let Some(message) = checked.errors.first()
            && !(checked.unsupported && self.settings.ignore_unknown_opts)
        {
            return Err(Failure::new(if checked.unsupported {
                format!("Unsupported parameters for ({called}) module: {message}")
            } else {
                message.clone()
            }));
        }
        if self.settings.check && !spec.check_mode {
            return Err(Failure::skipped(format!(
                "remote module ({called}) does not support check mode"
            )));
        }
        if !self.settings.no_log {
            crate::journal::invoked(self, &called, spec, &checked.aliases, &checked.values);
        }
        Ok(Arguments::new(checked.values))
    }

    /// Warns, once of the same.
    pub fn warn(&mut self, warning: impl Into<String>) {
        let warning = warning.into();
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Warns of something with its cause (`error_as_warning`).
    pub fn warn_because(&mut self, warning: &str, cause: &str) {
        self.warn(format!(
            "{}: {cause}",
            warning.strip_suffix('.').unwrap_or(warning)
        ));
    }

    /// Tells that something goes out of use with a version of ansible-core.
    pub fn deprecate(&mut self, message: &str, version: &str) {
        let entry = json!({
            "msg": message,
            "version": version,
            "collection_name": "ansible.builtin",
        });
        if !self.deprecations.contains(&entry) {
            self.deprecations.push(entry);
        }
    }

    /// A value that may not be told: it is taken out of the result.
    pub fn keep_secret(&mut self, value: &str) {
        if !value.is_empty() {
            self.secrets.insert(value.to_owned());
        }
    }

    /// A path as it is for the process: what is relative is relative to the directory of the run.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        // No path is no file, not the directory of the run.
        let is_nothing = path.as_os_str().is_empty();
        if path.is_absolute() || is_nothing || self.settings.directory.is_empty() {
            return path.to_owned();
        }
        Path::new(&self.settings.directory).join(path)
    }

    /// The directory that relative paths are relative to; no path at all where it is that of the process.
    pub fn directory(&self) -> PathBuf {
        PathBuf::from(&self.settings.directory)
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

    /// The permission bits new files do not get.
    pub fn umask(&self) -> u32 {
        self.settings.umask.unwrap_or_else(process_umask)
    }

    /// Makes a directory and those above it that are missing (`os.makedirs`).
    pub fn make_directories(&self, path: &Path) -> std::io::Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        let above = path.parent().filter(|above| !above.as_os_str().is_empty());
        if let Some(above) = above
            && !above.exists()
        {
            match self.make_directories(above) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(error);
                }
                _ => {}
            }
        }
        std::fs::DirBuilder::new().mode(0o777).create(path)?;
        if let Some(umask) = self.settings.umask {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777 & !umask))?;
        }
        Ok(())
    }

    /// A directory for temporary files of this call, in `remote_tmp`. It goes with the context.
    pub fn temporary_directory(&mut self) -> Result<PathBuf, Failure> {
        if let Some(made) = &self.temporary {
            return Ok(made.clone());
        }
        let mut base = (!self.settings.remote_tmp.is_empty())
            .then(|| self.path(python::expand_path(self, &self.settings.remote_tmp)));
        if let Some(wanted) = &base
            && !wanted.exists()
        {
            use std::os::unix::fs::DirBuilderExt as _;
            match std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(wanted)
            {
                Ok(()) => {}
                Err(error) => {
                    let wanted = wanted.to_string_lossy().into_owned();
                    self.warn_because(
                        &format!(
                            "Unable to use {} as temporary directory, falling back to system default.",
                            python::repr(&wanted)
                        ),
                        &python::os_error_at_text(&error, &wanted),
                    );
                    base = None;
                }
            }
        }
        let base = base.unwrap_or_else(std::env::temp_dir);
        let made = base.join(format!("ansible-moduletmp-{}", uuid::Uuid::new_v4()));
        let made = private_directory(&made).map_err(|error| {
            Failure::unhandled(format!(
                "Failed to create remote module tmp path at dir {}: {}",
                python::repr(&base.to_string_lossy()),
                python::os_error(&error)
            ))
        })?;
        self.temporary = Some(made.clone());
        Ok(made)
    }
}

impl Drop for Context<'_> {
    fn drop(&mut self) {
        if let Some(directory) = self.temporary.take()
            && !self.settings.keep_remote_files
        {
            // What is left behind here is private and harmless.
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

fn private_directory(path: &Path) -> std::io::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().mode(0o700).create(path)?;
    Ok(path.to_owned())
}

/// The umask of this process, which stays what it was at the start. Asking the system for it by `umask` would change it for a
/// moment for all threads.
fn process_umask() -> u32 {
    static UMASK: OnceLock<u32> = OnceLock::new();
    *UMASK.get_or_init(|| {
        std::fs::read_to_string("/proc/self/status")
            .ok()
            .and_then(|status| {
                let line = status.lines().find(|line| line.starts_with("Umask:"))?;
                u32::from_str_radix(line["Umask:".len()..].trim(), 8).ok()
            })
            .unwrap_or(0o022)
    })
}
