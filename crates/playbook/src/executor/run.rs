//! What a run is set to, and what all of it works with.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::foresight::Foresight;
use super::held;
use super::modules::Modules;
use crate::connection::Connections;
use crate::language::PlaybookLoader;
use crate::output::{Callback, Event, Stats};
use crate::settings::{Settings, Sources};
use crate::source::{Located, Notice, Notices};
use crate::template::Templar;
use crate::variables::Store;

/// What a run is set to beside its settings: what was said on the command line.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools)]
pub struct Options {
    /// How many hosts are worked on at once.
    pub forks: usize,
    /// Say what would be done, and do nothing.
    pub check: bool,
    /// Tell differences.
    pub diff: bool,
    /// The number of `-v`.
    pub verbosity: u8,
    /// The tags that are run: `all` if none were given.
    pub tags: Vec<String>,
    /// The tags that are not.
    pub skip_tags: Vec<String>,
    /// The name of the task to begin at, or a pattern of it.
    pub start_at_task: Option<String>,
    /// Ask before each task.
    pub step: bool,
    /// Run handlers also on hosts that failed.
    pub force_handlers: bool,
    /// The plugin of connections, where nothing else says it.
    pub connection: Option<String>,
    /// The user to log in as, where nothing else says it.
    pub remote_user: Option<String>,
    /// Become another user, where nothing else says it.
    pub r#become: bool,
    /// How.
    pub become_method: Option<String>,
    /// Whom.
    pub become_user: Option<String>,
    /// Options of connection plugins by their names (`private_key_file`, `ssh_common_args`, `timeout`, ...).
    pub connection_options: Vec<(String, String)>,
    /// The password to log in with.
    pub connection_password: Option<String>,
    /// The password to become another user with.
    pub become_password: Option<String>,
    /// The current directory.
    pub directory: PathBuf,
    /// Forget all facts that are kept first.
    pub flush_cache: bool,
    /// Look for what helps with the failures of tasks ([`TaskResult::helps`](crate::output::TaskResult::helps)).
    pub helps: bool,
    /// In check mode: go on past what cannot be known beforehand, and tell it.
    pub foresight: Option<Arc<Foresight>>,
    /// By host, notifications of an earlier run that did not come to their handlers: they count as if they had been made at
    /// the beginning of each play.
    pub notified: HashMap<Arc<str>, Vec<Arc<str>>>,
    /// When it is cancelled no further task begins; those under way end.
    pub stop: CancellationToken,
}

/// What all of a run works with.
pub(super) struct Run {
    pub options: Options,
    pub(super) settings: Arc<Settings>,
    pub(super) store: Arc<Store>,
    pub(super) templar: Templar,
    pub(super) connections: Arc<dyn Connections>,
    pub(super) sources: Arc<Sources>,
    pub(super) notices: Notices,
    pub(super) modules: Modules,
    pub(super) loader: PlaybookLoader,
    pub(super) tell: Tell,
    pub(super) stats: Mutex<Stats>,
}

/// Those who are told what happens.
pub(super) struct Tell(Mutex<Vec<Box<dyn Callback>>>);

impl Tell {
    pub(super) fn new(callbacks: Vec<Box<dyn Callback>>) -> Self {
        Tell(Mutex::new(callbacks))
    }

    /// Tells all of them, the first first.
    pub(super) fn event(&self, event: &Event<'_>) {
        for callback in self.0.lock().iter_mut() {
            callback.event(event);
        }
    }

    /// Warns of something.
    pub(super) fn warn(&self, message: &str) {
        self.event(&Event::Warning(message));
    }

    /// Warns of something that has a place.
    pub(super) fn warning(&self, what: &Located) {
        if held::hold(Notice::Warning(what.clone())).is_some() {
            self.event(&Event::Warning(&what.text()));
        }
    }

    /// Tells something from a level of detail on.
    pub(super) fn detail(&self, level: u8, host: Option<&str>, text: &str) {
        self.event(&Event::Detail { level, host, text });
    }
}

impl Run {
    /// Whether the run may go on.
    ///
    /// # Errors
    /// It was told to end.
    pub(super) fn may_go_on(&self) -> Result<(), Located> {
        if self.options.stop.is_cancelled() {
            return Err(Located::new("The run was ended early"));
        }
        Ok(())
    }

    /// Counts something of a host.
    pub(super) fn count(&self, host: &Arc<str>, add: impl FnOnce(&mut crate::output::Counts)) {
        add(self.stats.lock().hosts.entry(Arc::clone(host)).or_default());
    }

    /// Tells something to who looks for a fault of the program (`ANSIBLE_DEBUG`).
    pub(super) fn debug(&self, text: &str) {
        if self.settings.debug {
            let now = jiff::Timestamp::now().as_microsecond() / 10;
            let (seconds, rest) = (now / 100_000, now % 100_000);
            let line = format!("{:6} {seconds}.{rest:05}: {text}", std::process::id());
            self.tell.detail(0, None, &line);
        }
    }

    /// What the environment or the file of settings says for an option of a plugin.
    pub(super) fn raw(&self, environment: &[&str], keys: &[(&str, &str)]) -> Option<String> {
        self.sources.raw(environment, keys).map(|(text, _)| text)
    }

    /// An option of the command line for connection plugins.
    pub(super) fn connection_option(&self, name: &str) -> Option<&str> {
        self.options
            .connection_options
            .iter()
            .rev()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}
