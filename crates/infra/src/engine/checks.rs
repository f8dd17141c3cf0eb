//! What conditions said: preconditions, postconditions, validations and assertions.

use std::collections::BTreeMap;

use crate::state::{CheckObject, CheckResult};

/// How a check stands. Orders from the best to the worst that its conditions said.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CheckStatus {
    /// All hold.
    Pass,
    /// Some cannot be told yet.
    Unknown,
    /// Some do not hold.
    Fail,
    /// Some could not be evaluated.
    Error,
}

impl CheckStatus {
    /// The word of files and of JSON forms.
    pub fn word(self) -> &'static str {
        match self {
            CheckStatus::Pass => "pass",
            CheckStatus::Unknown => "unknown",
            CheckStatus::Fail => "fail",
            CheckStatus::Error => "error",
        }
    }

    fn from_word(word: &str) -> CheckStatus {
        match word {
            "pass" => CheckStatus::Pass,
            "fail" => CheckStatus::Fail,
            "error" => CheckStatus::Error,
            _ => CheckStatus::Unknown,
        }
    }
}

/// What kind of block has conditions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Checkable {
    /// A resource with preconditions or postconditions.
    Resource,
    /// An output with preconditions.
    Output,
    /// A `check` block.
    Check,
    /// A variable with validations.
    Variable,
}

impl Checkable {
    /// The word of files and of JSON forms.
    pub fn word(self) -> &'static str {
        match self {
            Checkable::Resource => "resource",
            Checkable::Output => "output_value",
            Checkable::Check => "check",
            Checkable::Variable => "var",
        }
    }

    /// The word of state files.
    fn state_word(self) -> &'static str {
        if self == Checkable::Output {
            "output"
        } else {
            self.word()
        }
    }

    fn from_state_word(word: &str) -> Option<Checkable> {
        [
            Checkable::Resource,
            Checkable::Output,
            Checkable::Check,
            Checkable::Variable,
        ]
        .into_iter()
        .find(|kind| kind.state_word() == word)
    }
}

/// What was said of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectCheck {
    /// The worst of its conditions.
    pub status: CheckStatus,
    /// The messages of those that do not hold.
    pub messages: Vec<String>,
}

/// What was said of the objects of one block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockCheck {
    /// By the object's address. Empty while it is not known what the block expands to.
    pub objects: BTreeMap<String, ObjectCheck>,
}

impl BlockCheck {
    /// The worst of its objects; unknown when there are none yet.
    pub fn status(&self) -> CheckStatus {
        if self.objects.is_empty() {
            return CheckStatus::Unknown;
        }
        let mut status = CheckStatus::Pass;
        for object in self.objects.values() {
            status = status.max(object.status);
        }
        status
    }
}

/// What the checks of a run said, by the block's address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckResults {
    /// The blocks with conditions. A block that was never reached has no objects.
    pub blocks: BTreeMap<(Checkable, String), BlockCheck>,
    /// Blocks that expanded to nothing: they pass.
    pub(super) expanded: std::collections::BTreeSet<(Checkable, String)>,
    /// Objects of which the plan says that there is something to check, and of which nothing was said yet.
    expected: std::collections::BTreeSet<(Checkable, String, String)>,
}

impl CheckResults {
    /// Says that there is a block with conditions.
    pub(super) fn declare(&mut self, kind: Checkable, block: String) {
        self.blocks.entry((kind, block)).or_default();
    }

    /// Says what a block expanded to.
    pub(super) fn expand(&mut self, kind: Checkable, block: &str) {
        self.expanded.insert((kind, block.to_owned()));
    }

    /// Takes over what there is to check from a plan: it stays unknown until something is said of it.
    pub(super) fn expect_objects(&mut self, planned: &CheckResults) {
        for ((kind, block), check) in &planned.blocks {
            for object in check.objects.keys() {
                self.expected.insert((*kind, block.clone(), object.clone()));
                self.blocks
                    .entry((*kind, block.clone()))
                    .or_default()
                    .objects
                    .insert(
                        object.clone(),
                        ObjectCheck {
                            status: CheckStatus::Unknown,
                            messages: Vec::new(),
                        },
                    );
            }
        }
    }

    /// What is known of checks once everything is destroyed: nothing but that the root module has its outputs.
    pub(super) fn forget_objects(&mut self) {
        for ((kind, block), check) in &mut self.blocks {
            check.objects.clear();
            if *kind == Checkable::Output && !block.starts_with("module.") {
                let unknown = ObjectCheck {
                    status: CheckStatus::Unknown,
                    messages: Vec::new(),
                };
                check.objects.insert(block.clone(), unknown);
            }
        }
        self.expanded.clear();
    }

    /// Whether something is known to be wrong with an object.
    pub(super) fn has_failed(&self, kind: Checkable, block: &str, object: &str) -> bool {
        self.blocks
            .get(&(kind, block.to_owned()))
            .and_then(|check| check.objects.get(object))
            .is_some_and(|check| check.status >= CheckStatus::Fail)
    }

    /// Adds what the conditions said of one object.
    pub(super) fn report(
        &mut self,
        kind: Checkable,
        block: &str,
        object: String,
        status: CheckStatus,
        messages: Vec<String>,
    ) {
        let expected = !self.expected.is_empty()
            && self
                .expected
                .remove(&(kind, block.to_owned(), object.clone()));
        let block = self.blocks.entry((kind, block.to_owned())).or_default();
        if expected {
            block.objects.remove(&object);
        }
        let known = block.objects.entry(object).or_insert(ObjectCheck {
            status: CheckStatus::Pass,
            messages: Vec::new(),
        });
        known.status = known.status.max(status);
        known.messages.extend(messages);
    }

    /// How a block stands.
    pub fn status(&self, kind: Checkable, block: &str) -> CheckStatus {
        let key = (kind, block.to_owned());
        match self.blocks.get(&key) {
            Some(found) if found.objects.is_empty() && self.expanded.contains(&key) => {
                CheckStatus::Pass
            }
            Some(found) => found.status(),
            None => CheckStatus::Unknown,
        }
    }

    /// As a state file holds them; none when no block has conditions.
    pub fn to_state(&self) -> Option<Vec<CheckResult>> {
        if self.blocks.is_empty() {
            return None;
        }
        Some(
            self.blocks
                .iter()
                .map(|((kind, block), check)| CheckResult {
                    object_kind: kind.state_word().to_owned(),
                    config_address: block.clone(),
                    status: self.status(*kind, block).word().to_owned(),
                    objects: check
                        .objects
                        .iter()
                        .map(|(address, object)| CheckObject {
                            address: address.clone(),
                            status: object.status.word().to_owned(),
                            messages: object.messages.clone(),
                        })
                        .collect(),
                })
                .collect(),
        )
    }

    /// What a state file holds of them.
    pub fn from_state(results: &[CheckResult]) -> Self {
        let mut found = CheckResults::default();
        for result in results {
            let Some(kind) = Checkable::from_state_word(&result.object_kind) else {
                continue;
            };
            let block = found
                .blocks
                .entry((kind, result.config_address.clone()))
                .or_default();
            for object in &result.objects {
                block.objects.insert(
                    object.address.clone(),
                    ObjectCheck {
                        status: CheckStatus::from_word(&object.status),
                        messages: object.messages.clone(),
                    },
                );
            }
            if result.status == "pass" {
                found.expanded.insert((kind, result.config_address.clone()));
            }
        }
        found
    }
}
