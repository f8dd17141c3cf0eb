//! What is remembered of hosts: what tasks set there, so that it is known afterwards whose it is.

use std::collections::BTreeMap;

use consort_plan::{Call, Location, Moved, Problem, Seen};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use super::Playbooks;
use super::identity;
use super::told::{Deed, Piece};

/// What is remembered of a host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostRecord {
    /// Its name in the inventory.
    pub host: String,
    /// What tasks of the part set there, in the order they did it.
    pub things: Vec<Thing>,
    /// What the part was made of when all of it was last done there without a failure, as a digest.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sources: String,
    /// Handlers that were notified, or are about to be, and have not run: if a run is cut off, the next one comes to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<String>,
}

/// Something that a task set on a host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Thing {
    /// The task on the host, as plans name it: `web1["Write the page"]`.
    pub address: String,
    /// The item of its loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    /// The task's name, with its role.
    pub task: String,
    /// The full name of the module.
    pub module: String,
    /// Where the task stood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// The arguments by which the thing is known: of a file its path. None for what leaves nothing that has a name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub identity: BTreeMap<String, Json>,
    /// What was asked for, as a digest: if it is the same and something differs, somebody else changed it.
    pub asked: String,
    /// Whether it was made by this part: it was not there before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub made: bool,
    /// Whether the task changed something when it was last done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub changed: bool,
    /// Whom the task became.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub becomes: Option<String>,
}

impl Thing {
    /// In a few words, as people call it: `file /etc/motd`. None for what leaves nothing that has a name.
    pub fn named(&self) -> Option<String> {
        (!self.identity.is_empty()).then(|| identity::named(self))
    }
}

/// Keeps what is known of the hosts of one score.
pub trait Memory: Send + Sync {
    /// What is kept of the hosts of a part. An error is a message.
    fn recall<'a>(&'a self, part: &'a str) -> Call<'a, Result<Vec<HostRecord>, String>>;

    /// Keeps what is known of a host, in the place of what was kept.
    fn keep<'a>(&'a self, part: &'a str, record: &'a HostRecord) -> Call<'a, Result<(), String>>;

    /// Forgets a host.
    fn forget<'a>(&'a self, part: &'a str, host: &'a str) -> Call<'a, Result<(), String>>;
}

impl HostRecord {
    /// What is kept of a task, or of an item of it.
    pub fn find(&self, address: &str, item: Option<&str>) -> Option<&Thing> {
        self.things
            .iter()
            .find(|thing| thing.address == address && thing.item.as_deref() == item)
    }

    /// Whether tasks have set anything there.
    pub(super) fn was_worked_on(&self) -> bool {
        !self.things.is_empty()
    }

    /// Notes a handler that is to run. Whether it was not noted already.
    pub(super) fn await_handler(&mut self, name: &str) -> bool {
        let new = !self.pending.iter().any(|known| known == name);
        if new {
            self.pending.push(name.to_owned());
        }
        new
    }

    /// Takes in what a task did. Whether anything is another now.
    pub(super) fn take_in(&mut self, deed: &Deed) -> bool {
        let mut differs = false;
        for piece in deed.pieces.iter().filter(|piece| !piece.skipped) {
            differs |= self.take_in_piece(deed, piece);
        }
        differs
    }

    fn take_in_piece(&mut self, deed: &Deed, piece: &Piece) -> bool {
        let known = self.things.iter().position(|thing| {
            thing.address == deed.local && thing.item.as_deref() == piece.item.as_deref()
        });
        let identity = identity::of(deed.leaf(), &piece.arguments);
        let before = known.map(|place| &self.things[place]);
        let same = before.filter(|thing| thing.identity == identity);
        // The same thing may have been made by a task of another name.
        let made_before = same.is_some_and(|thing| thing.made)
            || !identity.is_empty()
                && self.things.iter().any(|thing| {
                    thing.made
                        && thing.identity == identity
                        && identity::family(&thing.module) == identity::family(&deed.action)
                });
        let thing = Thing {
            address: deed.local.clone(),
            item: piece.item.clone(),
            task: deed.task.to_string(),
            module: deed.action.clone(),
            location: deed.location.clone(),
            made: made_before || identity::is_made(deed, piece),
            identity,
            asked: asked(deed, piece),
            changed: piece.changed,
            becomes: deed.becomes.clone(),
        };
        match known {
            Some(place) if self.things[place] == thing => false,
            // What it named before is still there: it is kept under the same name until it is undone.
            Some(place) if same.is_none() && !self.things[place].identity.is_empty() => {
                let mut left = std::mem::replace(&mut self.things[place], thing);
                left.address = format!("{} (before)", left.address.trim_end_matches(" (before)"));
                let is_known = self.things.iter().any(|thing| {
                    thing.identity == left.identity
                        && identity::family(&thing.module) == identity::family(&left.module)
                });
                if !is_known {
                    self.things.push(left);
                }
                true
            }
            Some(place) => {
                self.things[place] = thing;
                true
            }
            None => {
                // A task that has another name now, for the same thing.
                self.things.retain(|known| {
                    !(known.address.ends_with(" (before)")
                        && known.identity == thing.identity
                        && identity::family(&known.module) == identity::family(&thing.module))
                });
                self.things.push(thing);
                true
            }
        }
    }
}

impl Playbooks {
    /// What is remembered of the hosts of the part, by name.
    pub(super) async fn recall(&self) -> Result<Vec<HostRecord>, Vec<Problem>> {
        let Some(memory) = &self.environment.memory else {
            return Ok(Vec::new());
        };
        let mut records = memory
            .recall(&self.name)
            .await
            .map_err(|error| vec![self.problem(error)])?;
        records.sort_by(|one, two| one.host.cmp(&two.host));
        Ok(records)
    }

    /// What was seen of the memory when the part was planned.
    pub(super) fn seen(&self, records: &[HostRecord]) -> Vec<Seen> {
        let whole = serde_json::to_vec(records).unwrap_or_default();
        let mut version = String::new();
        if !records.is_empty() {
            version = hex(&Sha256::digest(whole)[..8]);
        }
        vec![Seen {
            what: format!("what {} has set", self.name),
            version,
        }]
    }

    pub(super) async fn has_moved(&self, seen: &[Seen]) -> Result<Vec<Moved>, Vec<Problem>> {
        if self.environment.memory.is_none() {
            return Ok(Vec::new());
        }
        let now = self.seen(&self.recall().await?);
        Ok(seen
            .iter()
            .filter(|seen| {
                now.iter()
                    .any(|now| now.what == seen.what && now.version != seen.version)
            })
            .map(|seen| Moved {
                what: seen.what.clone(),
                how: "another apply was there".to_owned(),
                by: None,
            })
            .collect())
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// What a task asked for, as a digest: its action, what it was given, and the content of the file it wrote.
pub(super) fn asked(deed: &Deed, piece: &Piece) -> String {
    if deed.no_log {
        // Not even a digest of what nobody may see.
        return String::new();
    }
    let mut digest = Sha256::new();
    digest.update(deed.action.as_bytes());
    for (name, value) in &piece.arguments {
        if piece.secret.contains(name) {
            continue;
        }
        digest.update([0]);
        digest.update(name.as_bytes());
        digest.update([1]);
        digest.update(value.to_string().as_bytes());
    }
    if let Some(content) = content(deed, piece) {
        digest.update([2]);
        digest.update(content.as_bytes());
    }
    hex(&digest.finalize()[..16])
}

/// The digest of the content of a file that comes from the controller.
fn content(deed: &Deed, piece: &Piece) -> Option<String> {
    if !matches!(deed.leaf(), "copy" | "template" | "assemble") {
        return None;
    }
    let differences = match &piece.diff {
        Json::Array(all) => all.as_slice(),
        Json::Null => &[],
        one => std::slice::from_ref(one),
    };
    let after = differences
        .iter()
        .find_map(|difference| difference.get("after").and_then(Json::as_str));
    match after {
        Some(after) => Some(hex(&sha1::Sha1::digest(after.as_bytes()))),
        None => piece.content.clone(),
    }
}
