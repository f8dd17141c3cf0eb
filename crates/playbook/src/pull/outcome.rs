//! What came of a run.

use serde::{Deserialize, Serialize};

/// So many tasks that changed something are told one by one.
pub(super) const MOST_DEEDS: usize = 50;
/// So many that failed.
pub(super) const MOST_FAULTS: usize = 10;
/// The longest text of each, in bytes.
pub(super) const LONGEST: usize = 500;

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Outcome {
    /// The status a command would have ended with: 0 if all went well.
    pub status: i32,
    /// The recap.
    pub counts: Counts,
    /// The tasks that changed something, or in check mode would have: the first of them.
    pub changes: Vec<Deed>,
    /// How many there are.
    pub changed: u64,
    /// What went wrong, and was not ignored or rescued: the first of it.
    pub faults: Vec<Fault>,
    /// How many plays had hosts.
    pub plays: u64,
}

/// The recap, of all hosts together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Counts {
    pub ok: u64,
    pub changed: u64,
    pub unreachable: u64,
    pub failed: u64,
    pub skipped: u64,
    pub rescued: u64,
    pub ignored: u64,
}

/// A task that changed something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Deed {
    /// The task's name.
    pub task: String,
    /// Where it stands: `roles/web/tasks/main.yml:12`, seen from the source.
    pub place: String,
    /// The module.
    pub module: String,
    /// What it changed, as far as its result says: a path, a name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub what: String,
}

/// What went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Fault {
    /// The task's name; none if it was no task.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub task: String,
    /// Where it stands: `site.yml:12`, seen from the source.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// What is wrong.
    pub message: String,
}

impl Fault {
    /// In one line: `site.yml:12: TASK [name]: message`.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if !self.place.is_empty() {
            text.push_str(&self.place);
            text.push_str(": ");
        }
        if !self.task.is_empty() {
            text.push_str(&format!("TASK [{}]: ", self.task));
        }
        text.push_str(&self.message);
        text
    }
}

/// A text in one line and not too long, without what could steer a terminal.
pub(super) fn short(text: &str) -> String {
    let line: String = text
        .trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if line.len() <= LONGEST {
        return line;
    }
    format!("{}...", &line[..line.floor_char_boundary(LONGEST)])
}
