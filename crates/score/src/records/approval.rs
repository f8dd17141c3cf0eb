//! What people decided about blueprints. An approval has the name of its blueprint, so there is one at most, and it is of no
//! use to any other.

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::Api;
use kube::api::{DynamicObject, PostParams};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::seal::post;
use super::{Error, Kind, Records, SCORE_LABEL, code, doing, owner};

/// What was decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// It may be carried out.
    Approve,
    /// It may not.
    Reject,
}

/// What somebody decided about a blueprint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Approval {
    /// The id of the blueprint.
    pub blueprint: String,
    /// What.
    pub decision: Decision,
    /// Who. The server takes an approval only from whom it names.
    pub by: String,
    /// Why, in their words; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// When.
    pub time: Timestamp,
}

impl Records {
    /// Records what somebody decided about a blueprint of a score. It cannot be taken back or changed.
    ///
    /// # Errors
    /// [`Error::Decided`] if somebody did before, and that the server forbids it to those without the right.
    pub async fn decide(&self, score: &str, approval: &Approval) -> Result<(), Error> {
        let id = &approval.blueprint;
        let mut object = DynamicObject::new(id, &Kind::Approval.resource());
        object.metadata.labels = Some([(SCORE_LABEL.to_owned(), score.to_owned())].into());
        object.data = json!({ "spec": approval });
        // It goes when its blueprint goes.
        let about = || format!("deciding about the blueprint {id}");
        if let Some(blueprint) = doing(about, self.objects(Kind::Blueprint).get_opt(id).await)? {
            object.metadata.owner_references = Some(vec![owner(Kind::Blueprint, &blueprint)]);
        }
        match self.objects(Kind::Approval).create(&post(), &object).await {
            Err(error) if code(&error) == Some(409) => match self.approval(id).await? {
                Some(before) => Err(Error::Decided {
                    blueprint: id.clone(),
                    by: before.by,
                    decided: match before.decision {
                        Decision::Approve => "approved",
                        Decision::Reject => "rejected",
                    },
                }),
                None => Err(Error::Api {
                    doing: format!("deciding about the blueprint {id}"),
                    source: Box::new(error),
                }),
            },
            created => {
                doing(|| format!("deciding about the blueprint {id}"), created)?;
                Ok(())
            }
        }
    }

    /// What was decided about a blueprint.
    pub async fn approval(&self, blueprint: &str) -> Result<Option<Approval>, Error> {
        let about = || format!("reading what was decided about the blueprint {blueprint}");
        let found = doing(about, self.objects(Kind::Approval).get_opt(blueprint).await)?;
        let Some(object) = found else {
            return Ok(None);
        };
        let spec = object.data.get("spec").cloned().unwrap_or_default();
        let approval = serde_json::from_value(spec).map_err(|error| Error::Unreadable {
            what: format!("what was decided about the blueprint {blueprint}"),
            why: error.to_string(),
        })?;
        Ok(Some(approval))
    }

    /// The name under which the server knows whoever asks.
    pub async fn whoami(&self) -> Result<String, Error> {
        let reviews: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let review = reviews
            .create(&PostParams::default(), &SelfSubjectReview::default())
            .await;
        let review = doing(|| "asking who this is".to_owned(), review)?;
        let user = review.status.and_then(|status| status.user_info);
        user.and_then(|user| user.username)
            .ok_or_else(|| Error::Unreadable {
                what: "who this is".to_owned(),
                why: "the server did not say".to_owned(),
            })
    }
}
