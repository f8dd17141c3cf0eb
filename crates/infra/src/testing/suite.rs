//! What became of tests, and how those who watch are told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use consort_hcl::Sources;
use consort_hcl::diagnostic::Diagnostics;

use crate::address::{ProviderSource, ResourceInstance};
use crate::config::Tree;
use crate::engine::Plan;
use crate::provider::schema::Schemas;
use crate::state::State;

/// How a run, a file or all of them ended. Orders from the best to the worst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Status {
    /// It was not come to.
    #[default]
    Pending,
    /// It was left out after something else failed, or after an interrupt.
    Skip,
    /// All that was asserted holds.
    Pass,
    /// Something that was asserted does not hold.
    Fail,
    /// It could not be carried out.
    Error,
}

impl Status {
    /// The word of machine-readable forms.
    pub fn word(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Skip => "skip",
            Status::Pass => "pass",
            Status::Fail => "fail",
            Status::Error => "error",
        }
    }

    /// The worse of two.
    #[must_use]
    pub fn merge(self, other: Status) -> Status {
        self.max(other)
    }
}

/// What a run made, for those who want to see all of it.
#[derive(Clone, Debug)]
pub struct Verbose {
    /// The plan.
    pub plan: Plan,
    /// The state after the apply; none where the run ends with the plan.
    pub state: Option<State>,
    /// The configuration that was run.
    pub tree: Tree,
    /// What the providers offer that have a part in it.
    pub schemas: BTreeMap<ProviderSource, Arc<Schemas>>,
}

/// What became of one run.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// Its name.
    pub name: Arc<str>,
    /// How it ended.
    pub status: Status,
    /// What was found.
    pub diagnostics: Diagnostics,
    /// What it made, where that was asked for.
    pub verbose: Option<Box<Verbose>>,
    /// How many assertions it has.
    pub assertions: usize,
    /// When it began; none if it never did.
    pub started: Option<SystemTime>,
    /// How long it took.
    pub took: Duration,
}

/// What became of one file.
#[derive(Clone, Debug)]
pub struct FileReport {
    /// Its path relative to the configuration.
    pub name: String,
    /// How it ended: the worst of its runs and of the clean-up.
    pub status: Status,
    /// What was found that is no run's.
    pub diagnostics: Diagnostics,
    /// Its runs in order.
    pub runs: Vec<RunReport>,
}

/// How far a run is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// It begins.
    Starting,
    /// It is under way.
    Running,
    /// What it made is being destroyed.
    TearDown,
}

/// Objects that are still there.
#[derive(Clone, Debug, Default)]
pub struct Left {
    /// Each with its key if it is deposed.
    pub objects: Vec<(ResourceInstance, Option<Arc<str>>)>,
}

impl Left {
    /// The managed objects of a state.
    pub fn of(state: &State) -> Left {
        let mut objects = Vec::new();
        for (address, resource) in &state.resources {
            if address.resource.mode != crate::address::Mode::Managed {
                continue;
            }
            for (key, instance) in &resource.instances {
                let instance_address = address.instance(key.clone());
                if instance.current.is_some() {
                    objects.push((instance_address.clone(), None));
                }
                for key in instance.deposed.keys() {
                    objects.push((instance_address.clone(), Some(key.clone())));
                }
            }
        }
        Left { objects }
    }
}

/// Something that happens while tests run.
#[derive(Debug)]
pub enum Event<'a> {
    /// These files with these runs are about to be run.
    Found(&'a BTreeMap<String, Vec<Arc<str>>>),
    /// A file begins.
    FileStarting {
        /// Which.
        file: &'a str,
    },
    /// What the file's runs made is about to be destroyed.
    FileTearDown {
        /// Which.
        file: &'a str,
    },
    /// A file is done, cleaned up.
    FileDone(&'a FileReport),
    /// How far a run is.
    Run {
        /// The file.
        file: &'a str,
        /// The run.
        run: &'a str,
        /// How far.
        progress: Progress,
        /// Since it began that.
        elapsed: Duration,
    },
    /// A run ended.
    RunDone {
        /// The file.
        file: &'a str,
        /// What became of it.
        report: &'a RunReport,
    },
    /// What a run made was destroyed, as far as that went.
    Destroyed {
        /// The file.
        file: &'a str,
        /// The run that made it.
        run: &'a str,
        /// What was found.
        diagnostics: &'a Diagnostics,
        /// What is still there.
        left: &'a Left,
    },
    /// A second interrupt ended a run: nothing is cleaned up.
    Abandoned {
        /// The file.
        file: &'a str,
        /// The run.
        run: &'a str,
        /// What there is of the configuration under test.
        left: &'a Left,
        /// What there is of other modules: the run that made it, the module's source, the objects.
        others: &'a [(Arc<str>, String, Left)],
        /// What was being made, from which module: nothing stands for the configuration under test.
        planned: &'a [ResourceInstance],
        /// The module that was run in place of the configuration under test.
        module: Option<&'a str>,
    },
}

/// Who is told what happens.
pub trait Reporter: Send + Sync {
    /// Called for each event; the sources are those that diagnostics speak of.
    fn event(&self, event: &Event<'_>, sources: &Sources);
}
