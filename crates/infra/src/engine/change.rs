//! What a plan holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use consort_hcl::{Path, Value};

use super::checks::CheckResults;
use crate::address::{AbsResource, ConfigResource, ProviderConfig, ResourceInstance, Target};
use crate::state::State;

/// What is done to an object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// Nothing.
    NoOp,
    /// It is made.
    Create,
    /// A data source is read while applying.
    Read,
    /// It is changed in place.
    Update,
    /// It is deleted.
    Delete,
    /// It is deleted, then made anew.
    DeleteThenCreate,
    /// It is made anew, then the old one is deleted.
    CreateThenDelete,
    /// It leaves the state and stays as it is.
    Forget,
}

impl Action {
    /// Whether another object takes the place of this one.
    pub fn is_replace(self) -> bool {
        matches!(self, Action::DeleteThenCreate | Action::CreateThenDelete)
    }

    /// The words of the plan's JSON form.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Action::NoOp => &["no-op"],
            Action::Create => &["create"],
            Action::Read => &["read"],
            Action::Update => &["update"],
            Action::Delete => &["delete"],
            Action::DeleteThenCreate => &["delete", "create"],
            Action::CreateThenDelete => &["create", "delete"],
            Action::Forget => &["forget"],
        }
    }

    /// The action of these words.
    pub fn from_words(words: &[&str]) -> Option<Action> {
        [
            Action::NoOp,
            Action::Create,
            Action::Read,
            Action::Update,
            Action::Delete,
            Action::DeleteThenCreate,
            Action::CreateThenDelete,
            Action::Forget,
        ]
        .into_iter()
        .find(|action| action.words() == words)
    }
}

/// Why an action is what it is, where that is not plain.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reason {
    /// An attribute cannot be changed in place.
    ReplaceBecauseCannotUpdate,
    /// The object was left unfinished.
    ReplaceBecauseTainted,
    /// The user asked for it.
    ReplaceByRequest,
    /// Something named in `replace_triggered_by` changes.
    ReplaceByTriggers,
    /// Its block is gone.
    DeleteBecauseNoResourceConfig,
    /// Its block has no repetition any more, or has one now.
    DeleteBecauseWrongRepetition,
    /// Its index is beyond `count`.
    DeleteBecauseCountIndex,
    /// Its key is not in `for_each`.
    DeleteBecauseEachKey,
    /// Its module instance is gone.
    DeleteBecauseNoModule,
    /// What it was to be moved to does not exist.
    DeleteBecauseNoMoveTarget,
    /// The arguments of a data source are not known yet.
    ReadBecauseConfigUnknown,
    /// Something a data source depends on is about to change.
    ReadBecauseDependencyPending,
    /// A data source in a check is read with each apply.
    ReadBecauseCheckNested,
}

impl Reason {
    const ALL: [(Reason, &'static str); 13] = [
        (
            Reason::ReplaceBecauseCannotUpdate,
            "replace_because_cannot_update",
        ),
        (Reason::ReplaceBecauseTainted, "replace_because_tainted"),
        (Reason::ReplaceByRequest, "replace_by_request"),
        (Reason::ReplaceByTriggers, "replace_by_triggers"),
        (
            Reason::DeleteBecauseNoResourceConfig,
            "delete_because_no_resource_config",
        ),
        (
            Reason::DeleteBecauseWrongRepetition,
            "delete_because_wrong_repetition",
        ),
        (
            Reason::DeleteBecauseCountIndex,
            "delete_because_count_index",
        ),
        (Reason::DeleteBecauseEachKey, "delete_because_each_key"),
        (Reason::DeleteBecauseNoModule, "delete_because_no_module"),
        (
            Reason::DeleteBecauseNoMoveTarget,
            "delete_because_no_move_target",
        ),
        (
            Reason::ReadBecauseConfigUnknown,
            "read_because_config_unknown",
        ),
        (
            Reason::ReadBecauseDependencyPending,
            "read_because_dependency_pending",
        ),
        (Reason::ReadBecauseCheckNested, "read_because_check_nested"),
    ];

    /// The word of the plan's JSON form.
    pub fn word(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(reason, _)| *reason == self)
            .map_or("", |(_, word)| word)
    }

    /// The reason of this word.
    pub fn from_word(word: &str) -> Option<Reason> {
        Self::ALL
            .iter()
            .find(|(_, own)| *own == word)
            .map(|(reason, _)| *reason)
    }
}

/// What an object to be imported is known by.
#[derive(Clone, Debug)]
pub struct Importing {
    /// The provider's id for it; empty when it is asked for by its identity.
    pub id: String,
    /// The identity it was asked for by.
    pub identity: Option<Value>,
}

impl Importing {
    /// What the object is known by, for people.
    pub fn shown(&self) -> String {
        match &self.identity {
            Some(identity) => consort_hcl::json::encode(identity, identity.ty())
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .unwrap_or_default(),
            None => self.id.clone(),
        }
    }
}

/// What tells an object from all others, as its provider sees it.
#[derive(Clone, Debug, Default)]
pub struct Identities {
    /// Before the change.
    pub before: Option<Value>,
    /// Afterwards, as far as that is known.
    pub after: Option<Value>,
}

/// A planned change of one object.
#[derive(Clone, Debug)]
pub struct Change {
    /// Which instance.
    pub address: ResourceInstance,
    /// Where it was before it was moved; otherwise the same.
    pub previous_address: ResourceInstance,
    /// The key of a deposed object; none for the current one.
    pub deposed: Option<Arc<str>>,
    /// The provider configuration that does it.
    pub provider: ProviderConfig,
    /// What is done.
    pub action: Action,
    /// Why, where that is not plain.
    pub reason: Option<Reason>,
    /// The object before, marked; null when there is none.
    pub before: Value,
    /// The object afterwards, marked, unknown where only the apply can tell; null when there is none.
    pub after: Value,
    /// The attributes that make a replacement necessary.
    pub replace_paths: Vec<Path>,
    /// The provider's private data for the apply.
    pub private: Bytes,
    /// Set when the object is imported first.
    pub importing: Option<Importing>,
    /// Configuration that was generated for it.
    pub generated_config: Option<String>,
    /// What the provider knows the object by.
    pub identity: Identities,
}

/// A planned change of an output of the root module.
#[derive(Clone, Debug)]
pub struct OutputChange {
    /// What is done.
    pub action: Action,
    /// The value before, null when there was none.
    pub before: Value,
    /// The value afterwards, null when there is none.
    pub after: Value,
    /// Whether either may not be shown.
    pub sensitive: bool,
}

/// Why a change cannot be planned before something else is applied.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DeferredReason {
    /// The provider gave no reason.
    Unknown,
    /// `count` or `for_each` is not known.
    InstanceCountUnknown,
    /// Some argument needed now is not known.
    ResourceConfigUnknown,
    /// The provider's configuration is not known.
    ProviderConfigUnknown,
    /// The provider says that something it needs does not exist.
    AbsentPrerequisite,
    /// Something it depends on is put off itself.
    DeferredPrerequisite,
}

impl DeferredReason {
    /// The reason of this word.
    pub fn from_word(word: &str) -> Option<DeferredReason> {
        [
            DeferredReason::Unknown,
            DeferredReason::InstanceCountUnknown,
            DeferredReason::ResourceConfigUnknown,
            DeferredReason::ProviderConfigUnknown,
            DeferredReason::AbsentPrerequisite,
            DeferredReason::DeferredPrerequisite,
        ]
        .into_iter()
        .find(|reason| reason.word() == word)
    }

    /// The word of the plan's JSON form.
    pub fn word(self) -> &'static str {
        match self {
            DeferredReason::Unknown => "unknown",
            DeferredReason::InstanceCountUnknown => "instance_count_unknown",
            DeferredReason::ResourceConfigUnknown => "resource_config_unknown",
            DeferredReason::ProviderConfigUnknown => "provider_config_unknown",
            DeferredReason::AbsentPrerequisite => "absent_prereq",
            DeferredReason::DeferredPrerequisite => "deferred_prereq",
        }
    }

    /// The reason in words, to follow "because".
    pub fn because(self) -> &'static str {
        match self {
            DeferredReason::Unknown => "its provider says so",
            DeferredReason::InstanceCountUnknown => {
                "its \"count\" or \"for_each\", or that of its module, is not known yet"
            }
            DeferredReason::ResourceConfigUnknown => {
                "its provider cannot plan it before all of its configuration is known"
            }
            DeferredReason::ProviderConfigUnknown => {
                "the configuration of its provider is not known yet"
            }
            DeferredReason::AbsentPrerequisite => {
                "its provider says that something it needs does not exist yet"
            }
            DeferredReason::DeferredPrerequisite => "something it depends on is put off",
        }
    }
}

impl From<crate::provider::Deferred> for DeferredReason {
    fn from(reason: crate::provider::Deferred) -> Self {
        use crate::provider::Deferred;
        match reason {
            Deferred::Unknown => DeferredReason::Unknown,
            Deferred::ResourceConfigUnknown => DeferredReason::ResourceConfigUnknown,
            Deferred::ProviderConfigUnknown => DeferredReason::ProviderConfigUnknown,
            Deferred::AbsentPrerequisite => DeferredReason::AbsentPrerequisite,
        }
    }
}

/// What is put off to a later plan: a block, or one instance of it.
#[derive(Clone, Debug)]
pub struct Deferred {
    /// The block, in the module instance as far as that is known.
    pub resource: AbsResource,
    /// Why.
    pub reason: DeferredReason,
    /// What would become of an instance, if it is known which instances there are.
    pub change: Option<Box<Change>>,
}

impl Deferred {
    /// The address of what is put off: of the instance, or of all instances that there may be.
    pub fn address(&self) -> String {
        match &self.change {
            Some(change) if self.reason != DeferredReason::InstanceCountUnknown => {
                change.address.to_string()
            }
            _ if self.reason == DeferredReason::InstanceCountUnknown => {
                format!("{}[*]", self.resource)
            }
            _ => self.resource.to_string(),
        }
    }
}

/// What kind of plan it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Mode {
    /// Make the world as configured.
    #[default]
    Normal,
    /// Delete everything.
    Destroy,
    /// Only take over what changed outside.
    RefreshOnly,
}

/// What is to be done, decided once. Nothing is left open for the apply but what providers alone can tell.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What kind of plan it is.
    pub mode: Mode,
    /// The changes of all instances, those without change included, in the order of their addresses.
    pub changes: Vec<Change>,
    /// What changed outside since the last apply.
    pub drift: Vec<Change>,
    /// What is put off.
    pub deferred: Vec<Deferred>,
    /// The changes of the root module's outputs.
    pub outputs: BTreeMap<Arc<str>, OutputChange>,
    /// What the checks say.
    pub checks: CheckResults,
    /// The state the plan was made from, as it was stored: moved objects are where they were.
    pub previous_state: State,
    /// The state as it is in the world now, moved objects at their new addresses.
    pub prior_state: State,
    /// The root module's variables, of their types and marked.
    pub variables: BTreeMap<Arc<str>, Value>,
    /// The same as they were given, before they were converted.
    pub given: BTreeMap<Arc<str>, Value>,
    /// The attributes that changed outside and had a part in the changes.
    pub relevant: Vec<(ResourceInstance, Path)>,
    /// What the plan was limited to.
    pub targets: Vec<Target>,
    /// What was left out of it.
    pub excluded: Vec<Target>,
    /// The blocks whose replacements are made before the old object goes, said or forced.
    pub create_before_destroy: std::collections::BTreeSet<ConfigResource>,
    /// When it was made.
    pub timestamp: String,
    /// Whether planning failed; then it cannot be applied.
    pub errored: bool,
}

impl Plan {
    /// Whether an apply would do anything: change an object or an output, or take over moved or drifted ones.
    pub fn has_changes(&self) -> bool {
        self.changes.iter().any(|change| {
            change.action != Action::NoOp
                || change.importing.is_some()
                || change.address != change.previous_address
        }) || self.outputs.values().any(|output| {
            output.action != Action::NoOp
                    // Looking alone takes over only what is known.
                    && (self.mode != Mode::RefreshOnly || output.after.is_wholly_known())
        }) || self.mode == Mode::RefreshOnly && !self.drift.is_empty()
    }

    /// Whether the plan covers the whole configuration.
    pub fn is_complete(&self) -> bool {
        self.targets.is_empty()
            && self.excluded.is_empty()
            && self.deferred.is_empty()
            && !self.errored
    }
}
