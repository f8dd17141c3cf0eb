//! The machine the controller runs on.
//!
//! Native modules run in this process, on threads that may block; commands and files need nothing else either. What needs a
//! process of its own (another user, a module that must be ended when its time is over, Python) goes to a helper that is
//! started when it is first wanted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use consort_modules::process::session_program;
use consort_modules::protocol::files;
use consort_modules::{Cancel, Invocation, Report};

use super::process::{self, Ended};
use super::reached::{Reached, Way};
use super::{
    Become, Call, Command, Connection, ConnectionSettings, Content, Error, Job, Output, Packed,
    Work,
};

/// The machine the controller runs on.
pub(super) struct Local {
    settings: ConnectionSettings,
    /// A helper, for what cannot be done in this process.
    apart: Reached,
}

impl Local {
    /// For some settings: the directory is where commands begin.
    pub(super) fn new(settings: ConnectionSettings) -> Self {
        Local {
            apart: Reached::new(settings.clone(), Way::Here),
            settings,
        }
    }

    /// A path as it is for this process.
    fn path(&self, path: &str) -> PathBuf {
        Path::new(&self.settings.directory).join(files::expand(path))
    }
}

/// Ends the programs of a module that is given up before it is done.
struct GivenUp {
    cancel: Cancel,
    done: bool,
}

impl Drop for GivenUp {
    fn drop(&mut self) {
        if !self.done {
            self.cancel.cancel();
        }
    }
}

/// Runs something that blocks.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce(Option<Cancel>) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    crate::blocking::blocking(work)
        .await
        .unwrap_or_else(|broken| Err(Error::failed(broken.to_string())))
}

impl Connection for Local {
    fn runs_native<'a>(&'a self, _user: Option<&'a Become>) -> Call<'a, Result<bool, Error>> {
        Box::pin(async { Ok(true) })
    }

    fn module<'a>(
        &'a self,
        mut invocation: Invocation,
        user: Option<&'a Become>,
        timeout: Option<Duration>,
    ) -> Call<'a, Result<Report, Error>> {
        Box::pin(async move {
            if invocation.settings.directory.is_empty() {
                invocation
                    .settings
                    .directory
                    .clone_from(&self.settings.directory);
            }
            if user.is_some() || timeout.is_some() {
                return self.apart.module(invocation, user, timeout).await;
            }
            let Some(module) = consort_modules::find(&invocation.module) else {
                return Err(Error::failed(format!(
                    "There is no native module `{}`.",
                    invocation.module
                )));
            };
            let mut given_up = GivenUp {
                cancel: Cancel::new(),
                done: false,
            };
            let cancel = given_up.cancel.clone();
            let report = blocking(move |ending| {
                let cancel = ending.unwrap_or(cancel);
                Ok(module.run_until(&invocation, Some(cancel)))
            })
            .await;
            given_up.done = true;
            report
        })
    }

    fn packed<'a>(
        &'a self,
        module: &'a Packed,
        mut invocation: Invocation,
        user: Option<&'a Become>,
        timeout: Option<Duration>,
    ) -> Call<'a, Result<Report, Error>> {
        if invocation.settings.directory.is_empty() {
            invocation
                .settings
                .directory
                .clone_from(&self.settings.directory);
        }
        self.apart.packed(module, invocation, user, timeout)
    }

    fn start<'a>(
        &'a self,
        work: Work<'a>,
        job: Job,
        user: Option<&'a Become>,
    ) -> Call<'a, Result<Report, Error>> {
        self.apart.start(work, job, user)
    }

    fn command<'a>(
        &'a self,
        command: Command,
        user: Option<&'a Become>,
        timeout: Option<Duration>,
    ) -> Call<'a, Result<Output, Error>> {
        if user.is_some() {
            return self.apart.command(command, user, timeout);
        }
        Box::pin(async move {
            let shared = self.settings.option("shares_terminal").is_some();
            let mut process = match session_program() {
                Some(setsid) if !shared => {
                    let mut process = tokio::process::Command::new(setsid);
                    process.arg(&self.settings.shell);
                    process
                }
                _ => {
                    let mut process = tokio::process::Command::new(&self.settings.shell);
                    process.process_group(0);
                    process
                }
            };
            process.arg("-c").arg(&command.line);
            process.envs(
                command
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            );
            let directory = match &command.directory {
                Some(directory) => self.path(directory),
                None => PathBuf::from(&self.settings.directory),
            };
            if !directory.as_os_str().is_empty() {
                process.current_dir(directory);
            }
            match process::run(process, &command.input, timeout).await {
                Ended::Well(output) => Ok(output),
                Ended::TimedOut(after) => Err(Error::TimedOut(after)),
                Ended::NotStarted(error) => {
                    Err(Error::failed(format!("{}: {error}", self.settings.shell)))
                }
            }
        })
    }

    fn put<'a>(
        &'a self,
        content: Content<'a>,
        path: &'a str,
        mode: u32,
        user: Option<&'a Become>,
    ) -> Call<'a, Result<(), Error>> {
        if user.is_some() {
            return self.apart.put(content, path, mode, user);
        }
        Box::pin(async move {
            let to = self.path(path);
            match content {
                Content::Bytes(bytes) => {
                    let bytes = bytes.to_vec();
                    blocking(move |_| {
                        files::put(bytes.as_slice(), &to, mode)
                            .map_err(|error| Error::not_transferred(&to, &error))
                    })
                    .await
                }
                Content::File(from) => {
                    let from = from.to_owned();
                    blocking(move |_| {
                        let file = std::fs::File::open(&from).map_err(|error| {
                            Error::failed(format!("cannot read {}: {error}", from.display()))
                        })?;
                        files::put(file, &to, mode)
                            .map_err(|error| Error::not_transferred(&to, &error))
                    })
                    .await
                }
            }
        })
    }

    fn fetch<'a>(
        &'a self,
        path: &'a str,
        to: &'a Path,
        user: Option<&'a Become>,
    ) -> Call<'a, Result<(), Error>> {
        if user.is_some() {
            return self.apart.fetch(path, to, user);
        }
        Box::pin(async move {
            let from = self.path(path);
            let to = to.to_owned();
            blocking(move |_| {
                let file = std::fs::File::open(&from).map_err(|error| {
                    Error::failed(format!("cannot read {}: {error}", from.display()))
                })?;
                files::put(file, &to, process::usual_mode())
                    .map_err(|error| Error::not_transferred(&to, &error))
            })
            .await
        })
    }

    fn temporary<'a>(&'a self, user: Option<&'a Become>) -> Call<'a, Result<String, Error>> {
        if user.is_some() {
            return self.apart.temporary(user);
        }
        Box::pin(async move {
            let base = self.settings.remote_tmp.clone();
            blocking(move |_| {
                files::temporary(&base)
                    .map(|path| path.to_string_lossy().into_owned())
                    .map_err(|error| Error::no_temporary(&base, &error))
            })
            .await
        })
    }

    fn remove<'a>(
        &'a self,
        path: &'a str,
        user: Option<&'a Become>,
    ) -> Call<'a, Result<(), Error>> {
        if user.is_some() {
            return self.apart.remove(path, user);
        }
        Box::pin(async move {
            let path = self.path(path);
            blocking(move |_| {
                files::remove(&path).map_err(|error| {
                    Error::failed(format!("cannot remove {}: {error}", path.display()))
                })
            })
            .await
        })
    }

    fn reset(&self) -> Call<'_, ()> {
        self.apart.reset()
    }

    fn close(&self) -> Call<'_, ()> {
        self.apart.close()
    }
}
