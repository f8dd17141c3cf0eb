//! Blueprints as objects: what people look at in the object, the whole of it sealed beside it.

use consort_plan::{Action, Address, Blueprint, Mode, Source, Verdict};
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::{DynamicObject, ObjectMeta};
use serde::{Deserialize, Serialize};

use super::seal::{What, post};
use super::{Error, Kind, Records, SCORE_LABEL, code, doing, labelled, owner};

/// So many changes are told in the object; the rest is counted.
const TOLD: usize = 500;
/// So many verdicts, each with so many bytes of its message.
const VERDICTS: usize = 100;
const MESSAGE: usize = 1024;

/// Whether a blueprint may be carried out, as far as it says itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum State {
    /// It may.
    Ready,
    /// There is nothing to do.
    Empty,
    /// Somebody has to approve it.
    NeedsApproval,
    /// A policy forbids it.
    Denied,
}

impl State {
    /// That of a blueprint.
    pub fn of(blueprint: &Blueprint) -> Self {
        if blueprint.is_denied() {
            State::Denied
        } else if blueprint.is_empty() {
            State::Empty
        } else if blueprint.blast.needs_approval {
            State::NeedsApproval
        } else {
            State::Ready
        }
    }
}

/// How many resources there are of each action.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Made.
    pub create: u32,
    /// Changed in place.
    pub update: u32,
    /// Replaced.
    pub replace: u32,
    /// Deleted.
    pub delete: u32,
    /// No longer looked after.
    pub forget: u32,
    /// Read.
    pub read: u32,
    /// Left as they are.
    pub unchanged: u32,
}

/// What the object of a blueprint tells. No values are in it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlueprintSummary {
    /// The blueprint's id, which is the name of the object.
    #[serde(skip)]
    pub id: String,
    /// The score.
    pub score: String,
    /// Whether it may be carried out.
    pub state: State,
    /// What it is for.
    pub mode: Mode,
    /// Who asked for it.
    pub author: String,
    /// When it was made.
    pub time: Timestamp,
    /// What it was read from.
    pub source: Source,
    /// The revision it was made from.
    pub parent: u64,
    /// How many resources it changes.
    pub counts: Counts,
    /// Its points, and above how many an approval is needed.
    pub points: u32,
    /// See [`points`](BlueprintSummary::points).
    pub threshold: u32,
    /// Why an approval is needed or may be left out, where policies said so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approval: Vec<String>,
    /// What the policies said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<Verdict>,
    /// The first changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ChangeSummary>,
    /// How many more there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde wants it so
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A change without its values.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChangeSummary {
    /// Which resource.
    pub address: Address,
    /// What is done.
    pub action: Action,
    /// Its points.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub points: u32,
}

impl BlueprintSummary {
    /// That of a blueprint.
    pub fn of(blueprint: &Blueprint, id: &str) -> Self {
        let mut counts = Counts::default();
        let mut points = vec![0; blueprint.changes.len()];
        for each in &blueprint.blast.each {
            if let Some(points) = points.get_mut(each.change as usize) {
                *points = each.points;
            }
        }
        let mut changes = Vec::new();
        let mut more = 0;
        for (change, points) in blueprint.changes.iter().zip(points) {
            *match change.action {
                Action::NoOp => &mut counts.unchanged,
                Action::Read => &mut counts.read,
                Action::Create => &mut counts.create,
                Action::Update => &mut counts.update,
                Action::DeleteThenCreate | Action::CreateThenDelete => &mut counts.replace,
                Action::Delete => &mut counts.delete,
                Action::Forget => &mut counts.forget,
            } += 1;
            if !change.action.changes() {
                continue;
            }
            if changes.len() == TOLD {
                more += 1;
                continue;
            }
            changes.push(ChangeSummary {
                address: change.address.clone(),
                action: change.action,
                points,
            });
        }
        let mut verdicts: Vec<_> = blueprint.verdicts.iter().take(VERDICTS).cloned().collect();
        for verdict in &mut verdicts {
            if verdict.message.len() > MESSAGE {
                verdict
                    .message
                    .truncate(verdict.message.floor_char_boundary(MESSAGE));
                verdict.message.push_str(" ...");
            }
        }
        BlueprintSummary {
            id: id.to_owned(),
            score: blueprint.score.clone(),
            state: State::of(blueprint),
            mode: blueprint.mode.clone(),
            author: blueprint.author.clone(),
            time: blueprint.time,
            source: blueprint.source.clone(),
            parent: blueprint.parent.revision,
            counts,
            points: blueprint.blast.total,
            threshold: blueprint.blast.threshold,
            approval: blueprint.blast.approval.clone(),
            verdicts,
            changes,
            more,
        }
    }

    fn read(object: &DynamicObject) -> Result<Self, Error> {
        let id = object.name_any();
        let spec = object.data.get("spec").cloned().unwrap_or_default();
        let summary = serde_json::from_value(spec).map_err(|error| Error::Unreadable {
            what: format!("the blueprint {id}"),
            why: error.to_string(),
        })?;
        Ok(BlueprintSummary { id, ..summary })
    }
}

impl Records {
    /// Keeps a blueprint and gives its id. Keeping it again changes nothing.
    pub async fn put_blueprint(&self, blueprint: &Blueprint) -> Result<String, Error> {
        let (json, id) = blueprint.to_json();
        let about = || format!("keeping the blueprint {id}");
        let objects = self.objects(Kind::Blueprint);
        let mut object = DynamicObject::new(&id, &Kind::Blueprint.resource());
        object.metadata = ObjectMeta {
            labels: Some([(SCORE_LABEL.to_owned(), blueprint.score.clone())].into()),
            ..object.metadata
        };
        let summary = BlueprintSummary::of(blueprint, &id);
        object.data = serde_json::json!({ "spec": summary });
        let object = match objects.create(&post(), &object).await {
            Err(error) if code(&error) == Some(409) => doing(about, objects.get(&id).await)?,
            created => doing(about, created)?,
        };
        let owner = owner(Kind::Blueprint, &object);
        self.seal(What::Blueprint, &id, &blueprint.score, &owner, json)
            .await?;
        Ok(id)
    }

    /// A blueprint by its id.
    pub async fn blueprint(&self, id: &str) -> Result<Option<Blueprint>, Error> {
        let Some(json) = self.unseal(What::Blueprint, id).await? else {
            return Ok(None);
        };
        let unreadable = |why: String| Error::Unreadable {
            what: format!("the blueprint {id}"),
            why,
        };
        let read = tokio::task::spawn_blocking(move || Blueprint::from_json(&json)).await;
        match read {
            Ok(Ok((blueprint, found))) if found == id => Ok(Some(blueprint)),
            Ok(Ok((_, found))) => Err(unreadable(format!("its digest is {found}"))),
            Ok(Err(error)) => Err(unreadable(error.to_string())),
            Err(ended) => Err(unreadable(ended.to_string())),
        }
    }

    /// What is told of a blueprint.
    pub async fn blueprint_summary(&self, id: &str) -> Result<Option<BlueprintSummary>, Error> {
        let about = || format!("reading the blueprint {id}");
        let object = doing(about, self.objects(Kind::Blueprint).get_opt(id).await)?;
        object.as_ref().map(BlueprintSummary::read).transpose()
    }

    /// What is told of all blueprints of a score, the oldest first; none where the kinds were never installed.
    pub async fn blueprints(&self, score: &str) -> Result<Vec<BlueprintSummary>, Error> {
        let about = || format!("listing the blueprints of {score}");
        let list = match self.objects(Kind::Blueprint).list(&labelled(score)).await {
            Err(error) if code(&error) == Some(404) => return Ok(Vec::new()),
            list => doing(about, list)?,
        };
        let mut summaries = list
            .items
            .iter()
            .map(BlueprintSummary::read)
            .collect::<Result<Vec<_>, _>>()?;
        summaries.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
        Ok(summaries)
    }
}
