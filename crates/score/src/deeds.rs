//! Who deleted or changed an object of a score, as the server has recorded it: Events of a component of their own.
//!
//! An object does not know who deleted it, and knows of a change only by which program it was made. The server
//! knows the user of each request. It records deeds to objects with the label `consort.dev/score` as Events, which
//! [`of`] finds again for one object.

use std::collections::BTreeMap;

use consort_plan::Change;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Client;
use kube::api::{Api, ListParams};

/// The component that reports deeds.
pub const COMPONENT: &str = "consort-witness";
/// The label that names the score of an object.
pub const SCORE: &str = "consort.dev/score";
/// The label that names the part of an object.
pub const PART: &str = "consort.dev/part";
/// The user who did it, in an Event's annotations.
pub const USER: &str = "consort.dev/user";
/// The program it was done with.
pub const CLIENT: &str = "consort.dev/client";
/// The field manager it was done as.
pub const MANAGER: &str = "consort.dev/manager";

/// What was done to an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Done {
    /// It was deleted.
    Deleted,
    /// It was changed.
    Changed,
}

impl Done {
    /// The reason of the Event.
    pub fn reason(self) -> &'static str {
        match self {
            Done::Deleted => "Deleted",
            Done::Changed => "Changed",
        }
    }
}

/// What somebody did to an object of a score.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deed {
    /// What.
    pub done: Done,
    /// When.
    pub time: Timestamp,
    /// The user.
    pub user: String,
    /// The program, as it calls itself: `kubectl/v1.32.0 (linux/amd64) ...`.
    pub client: Option<String>,
    /// The field manager, if the program named one.
    pub manager: Option<String>,
    /// The object's group and version: `apps/v1`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its score.
    pub score: String,
    /// Its part.
    pub part: Option<String>,
}

impl Deed {
    /// In words: `deleted by ann with kubectl`.
    pub fn text(&self) -> String {
        let word = match self.done {
            Done::Deleted => "deleted",
            Done::Changed => "changed",
        };
        match self.program() {
            Some(program) => format!("{word} by {} with {program}", self.user),
            None => format!("{word} by {}", self.user),
        }
    }

    /// The program's name without versions.
    pub fn program(&self) -> Option<&str> {
        let client = self.client.as_deref().or(self.manager.as_deref())?;
        client
            .split(['/', ' '])
            .next()
            .filter(|name| !name.is_empty())
    }

    /// The Event that records it.
    pub fn to_event(&self) -> Event {
        let namespace = self
            .namespace
            .clone()
            .unwrap_or_else(|| "default".to_owned());
        let mut labels = BTreeMap::from([(SCORE.to_owned(), self.score.clone())]);
        if let Some(part) = &self.part {
            labels.insert(PART.to_owned(), part.clone());
        }
        let mut annotations = BTreeMap::from([(USER.to_owned(), self.user.clone())]);
        for (key, value) in [(CLIENT, &self.client), (MANAGER, &self.manager)] {
            if let Some(value) = value {
                annotations.insert(key.to_owned(), value.clone());
            }
        }
        let mut name = self.name.clone();
        name.truncate(name.floor_char_boundary(200));
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{name}.{}", uuid::Uuid::new_v4().simple())),
                namespace: Some(namespace),
                labels: Some(labels),
                annotations: Some(annotations),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some(self.api_version.clone()),
                kind: Some(self.kind.clone()),
                namespace: self.namespace.clone(),
                name: Some(self.name.clone()),
                uid: Some(self.uid.clone()),
                ..ObjectReference::default()
            },
            reason: Some(self.done.reason().to_owned()),
            message: Some(self.text()),
            type_: Some("Normal".to_owned()),
            source: Some(EventSource {
                component: Some(COMPONENT.to_owned()),
                host: None,
            }),
            reporting_component: Some(COMPONENT.to_owned()),
            first_timestamp: Some(Time(self.time)),
            last_timestamp: Some(Time(self.time)),
            count: Some(1),
            ..Event::default()
        }
    }

    /// The deed an Event records; none if it records none.
    pub fn of_event(event: &Event) -> Option<Self> {
        if event.reporting_component.as_deref() != Some(COMPONENT) {
            return None;
        }
        let done = match event.reason.as_deref()? {
            "Deleted" => Done::Deleted,
            "Changed" => Done::Changed,
            _ => return None,
        };
        let noted = |key: &str| event.metadata.annotations.as_ref()?.get(key).cloned();
        let label = |key: &str| event.metadata.labels.as_ref()?.get(key).cloned();
        let object = &event.involved_object;
        Some(Self {
            done,
            time: event.last_timestamp.as_ref()?.0,
            user: noted(USER)?,
            client: noted(CLIENT),
            manager: noted(MANAGER),
            api_version: object.api_version.clone()?,
            kind: object.kind.clone()?,
            namespace: object.namespace.clone(),
            name: object.name.clone()?,
            uid: object.uid.clone().unwrap_or_default(),
            score: label(SCORE)?,
            part: label(PART),
        })
    }
}

/// The deeds to an object that are still recorded, the last one first. Events live for a limited time.
///
/// # Errors
/// When the server cannot be asked.
pub async fn of(
    client: &Client,
    kind: &str,
    namespace: Option<&str>,
    name: &str,
) -> Result<Vec<Deed>, kube::Error> {
    let events: Api<Event> = Api::namespaced(client.clone(), namespace.unwrap_or("default"));
    let selector = format!(
        "reportingComponent={COMPONENT},involvedObject.kind={kind},involvedObject.name={name}"
    );
    let found = events
        .list(&ListParams::default().fields(&selector).limit(100))
        .await?;
    let mut deeds: Vec<Deed> = found.items.iter().filter_map(Deed::of_event).collect();
    deeds.sort_by_key(|deed| std::cmp::Reverse(deed.time));
    Ok(deeds)
}

/// Kind, namespace and name of the object that a change is about; none if it is about something else.
pub fn object(change: &Change) -> Option<(&str, Option<&str>, &str)> {
    let rest = change
        .address
        .local()
        .strip_prefix(change.kind.as_str())?
        .strip_prefix('/')?;
    let kind = change.kind.rsplit('/').next()?;
    // A type of an object is group, version and kind, or version and kind.
    change.kind.contains('/').then_some(())?;
    Some(match rest.split_once('/') {
        Some((namespace, name)) => (kind, Some(namespace), name),
        None => (kind, None, rest),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use consort_plan::{Action, Address, Reversal};

    #[test]
    fn an_address_of_an_object_names_it() {
        let change = |kind: &str, local: &str| Change {
            address: Address::new("app", local),
            kind: kind.to_owned(),
            action: Action::Create,
            before: None,
            after: None,
            replaces: Vec::new(),
            reasons: Vec::new(),
            moved_from: None,
            drift: Vec::new(),
            reversal: Reversal::Reversible,
            location: None,
        };
        assert_eq!(
            object(&change("apps/v1/Deployment", "apps/v1/Deployment/shop/web")),
            Some(("Deployment", Some("shop"), "web"))
        );
        assert_eq!(
            object(&change("v1/Namespace", "v1/Namespace/shop")),
            Some(("Namespace", None, "shop"))
        );
        assert_eq!(object(&change("null_resource", "null_resource.x")), None);
    }
}
