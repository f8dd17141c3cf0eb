//! What a walk tells those who watch it.

use std::time::Duration;

use super::change::Action;
use crate::address::ResourceInstance;

/// What is done with an ephemeral resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EphemeralStep {
    /// It is opened.
    Open,
    /// It is closed.
    Close,
}

/// Something that happens to one object. What stands in it may be shown: no sensitive value is in it.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A provider is asked for the present state.
    RefreshStart {
        /// Which instance.
        address: &'a ResourceInstance,
        /// The key of the object, if it is one that was replaced and is not gone yet.
        deposed: Option<&'a str>,
        /// The object's id, if its type has one.
        id: Option<&'a str>,
    },
    /// It has answered.
    RefreshDone {
        /// Which instance.
        address: &'a ResourceInstance,
        /// The key of the object, if it is one that was replaced and is not gone yet.
        deposed: Option<&'a str>,
    },
    /// A data source is being read.
    ReadStart {
        /// Which instance.
        address: &'a ResourceInstance,
    },
    /// It was read.
    ReadDone {
        /// Which instance.
        address: &'a ResourceInstance,
        /// How long it took.
        took: Duration,
        /// The object's id, if its type has one.
        id: Option<&'a str>,
    },
    /// An ephemeral resource is being opened or closed.
    EphemeralStart {
        /// Which instance.
        address: &'a ResourceInstance,
        /// What is being done.
        step: EphemeralStep,
    },
    /// It was opened or closed.
    EphemeralDone {
        /// Which instance.
        address: &'a ResourceInstance,
        /// What was done.
        step: EphemeralStep,
        /// How long it took.
        took: Duration,
    },
    /// An object is looked for, to be imported.
    ImportPlanned {
        /// Which instance.
        address: &'a ResourceInstance,
        /// What it is known by.
        id: &'a str,
    },
    /// An object that was found is taken over.
    ImportStart {
        /// Which instance.
        address: &'a ResourceInstance,
        /// What it is known by.
        id: &'a str,
    },
    /// It was taken over.
    ImportDone {
        /// Which instance.
        address: &'a ResourceInstance,
        /// What it is known by.
        id: &'a str,
    },
    /// A change begins.
    ApplyStart {
        /// Which instance.
        address: &'a ResourceInstance,
        /// The key of the object, if it is one that was replaced and goes now.
        deposed: Option<&'a str>,
        /// The part of the change that begins: a replacement is a deletion and a creation.
        action: Action,
        /// The object's id, if it has one already.
        id: Option<&'a str>,
    },
    /// A change is made.
    ApplyDone {
        /// Which instance.
        address: &'a ResourceInstance,
        /// The key of the object, if it is one that was replaced and goes now.
        deposed: Option<&'a str>,
        /// What was done.
        action: Action,
        /// The object's id, if it has one.
        id: Option<&'a str>,
        /// How long it took.
        took: Duration,
    },
    /// A change failed.
    ApplyFailed {
        /// Which instance.
        address: &'a ResourceInstance,
        /// The key of the object, if it is one that was replaced and goes now.
        deposed: Option<&'a str>,
        /// What was tried.
        action: Action,
        /// How long it took.
        took: Duration,
    },
    /// A provisioner begins.
    ProvisionStart {
        /// Which instance.
        address: &'a ResourceInstance,
        /// The provisioner's kind.
        kind: &'a str,
    },
    /// A provisioner says something.
    ProvisionOutput {
        /// Which instance.
        address: &'a ResourceInstance,
        /// The provisioner's kind.
        kind: &'a str,
        /// One line.
        line: &'a str,
    },
    /// A provisioner is done.
    ProvisionDone {
        /// Which instance.
        address: &'a ResourceInstance,
        /// The provisioner's kind.
        kind: &'a str,
        /// Whether it failed.
        failed: bool,
    },
}

/// Who watches a walk.
pub trait Watcher: Send + Sync {
    /// Called for each event, from the walk itself: return soon.
    fn event(&self, event: &Event<'_>);
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Watcher for Silent {
    fn event(&self, _event: &Event<'_>) {}
}
