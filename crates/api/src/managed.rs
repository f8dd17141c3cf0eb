//! Who owns which fields: the managers of writes, and `metadata.managedFields` after them.

use crate::call::Call;
use crate::error::{Failure, Outcome, bad_request};
use crate::handlers::update::Part;
use crate::kind::Kind;
use crate::registry::Registry;
use crate::respond::show;
use crate::values::{ensure, set, take};
use consort_object::apply::{self, Error, FieldSet, Versions, Write};
use consort_object::schema::shape::Shape;
use consort_object::status::Status;
use serde_json::{Map, Value};

/// The longest name of a manager, in bytes.
pub(crate) const MAX_NAME: usize = 128;

/// What the object that is to be written says of its managed fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// What the client sent, if anything; who owns what is yet to be found out.
    Sent,
    /// All there is to say.
    Settled,
}

/// The manager of a write that does not name one: what the client calls itself before the first slash.
pub(crate) fn from_user_agent(agent: &str) -> String {
    let name = agent.split('/').next().unwrap_or_default();
    let mut manager = String::new();
    for letter in name.chars().filter(|letter| !letter.is_control()) {
        if manager.len() + letter.len_utf8() > MAX_NAME {
            break;
        }
        manager.push(letter);
    }
    manager
}

/// The manager of a request: the one it names, or else its client.
pub(crate) fn manager(call: &Call, named: Option<&str>) -> String {
    match named {
        Some(name) => name.to_owned(),
        None => from_user_agent(call.header(http::header::USER_AGENT).unwrap_or_default()),
    }
}

/// The other versions of a kind: all that share its stored objects.
struct Siblings<'r> {
    kind: &'r Kind,
    registry: &'r Registry,
}

impl Versions for Siblings<'_> {
    fn convert<'v>(
        &'v self,
        object: &Value,
        api_version: &str,
    ) -> Result<Option<(Value, Shape<'v>)>, String> {
        let serves = |kind: &&Kind| kind.api_version() == api_version && kind.stored();
        let own = Some(self.kind).filter(serves);
        let Some(target) = own.or_else(|| {
            self.registry
                .kinds()
                .iter()
                .map(AsRef::as_ref)
                .filter(|kind| kind.storage == self.kind.storage)
                .find(serves)
        }) else {
            return Ok(None);
        };
        if let Some(version) = target.custom() {
            return Ok(Some((version.renamed(object), target.schema.shape())));
        }
        let from = object.get("apiVersion").and_then(Value::as_str);
        if from == Some(api_version) {
            return Ok(Some((object.clone(), target.schema.shape())));
        }
        let source = self
            .registry
            .kinds()
            .iter()
            .map(AsRef::as_ref)
            .filter(|kind| kind.storage == self.kind.storage)
            .find(|kind| Some(kind.api_version().as_str()) == from)
            .unwrap_or(self.kind);
        let stored = match source.view {
            Some(view) => (view.store)(object.clone()),
            None => object.clone(),
        };
        Ok(Some((show(target, stored), target.schema.shape())))
    }
}

/// Where ownership is kept: the objects of a kind, reached through one of its parts.
pub(crate) struct Owners<'r> {
    /// The kind.
    pub kind: &'r Kind,
    /// All kinds.
    pub registry: &'r Registry,
    /// The part that is written.
    pub part: Part,
    /// Who writes.
    pub manager: &'r str,
}

impl Owners<'_> {
    fn with<T>(&self, reset: &FieldSet<'_>, run: impl FnOnce(&Write<'_>) -> T) -> T {
        let versions = Siblings {
            kind: self.kind,
            registry: self.registry,
        };
        run(&Write {
            manager: self.manager,
            subresource: self.part.subresource(),
            api_version: &self.kind.api_version(),
            shape: self.kind.schema.shape(),
            versions: &versions,
            reset,
            now: &consort_object::time::now(),
        })
    }

    /// What a write to this part leaves as it is, and nobody owns through it.
    fn reset<'v>(&self, applied: &'v Value) -> FieldSet<'v> {
        match self.part {
            Part::Main | Part::EphemeralContainers | Part::Resize if self.kind.has_status() => {
                FieldSet::of_fields(&[&["status"]])
            }
            Part::Status | Part::Approval => {
                let mut reset = FieldSet::default();
                for name in applied.as_object().into_iter().flat_map(Map::keys) {
                    let kept =
                        name == "status" || (name == "metadata" && self.kind.custom().is_none());
                    if !kept {
                        reset.insert([apply::Element::field(name)]);
                    }
                }
                reset
            }
            _ => FieldSet::default(),
        }
    }

    /// Note in a new or changed object (in its stored form) whose its fields are now. `listed` is what the
    /// client sent as its managed fields.
    pub(crate) fn note(&self, new: &mut Value, old: Option<&Value>, listed: Option<Value>) {
        put(new, listed);
        let list = if self.kind.view.is_some() {
            let shown = show(self.kind, new.clone());
            let before = old.map(|old| show(self.kind, old.clone()));
            let reset = self.reset(&shown);
            self.with(&reset, |write| {
                apply::update(write, before.as_ref(), &shown)
            })
        } else {
            let reset = self.reset(new);
            self.with(&reset, |write| apply::update(write, old, new))
        };
        put(new, list);
    }

    /// Apply a configuration to an object; both are in the form that the kind shows.
    pub(crate) fn apply(&self, live: &Value, applied: &Value, force: bool) -> Outcome<Value> {
        let reset = self.reset(applied);
        self.with(&reset, |write| apply::apply(write, live, applied, force))
            .map_err(refusal)
    }
}

/// Where a kind's objects keep the number of their replicas.
fn replicas<'k>(kind: &'k Kind, api_version: &str) -> Option<Vec<&'k str>> {
    if kind.api_version() != api_version {
        return None;
    }
    Some(match kind.custom() {
        None => vec!["spec", "replicas"],
        Some(version) => version
            .scale()?
            .spec_replicas_path
            .trim_start_matches('.')
            .split('.')
            .collect(),
    })
}

/// The managed fields that an object's scale shows.
pub(crate) fn to_scale(kind: &Kind, object: &Value) -> Option<Value> {
    let list = object["metadata"].get("managedFields");
    // What cannot be read is left as it is when it is written back.
    apply::to_scale(list, |version| replicas(kind, version)).unwrap_or_default()
}

/// The managed fields of an object after a write to its scale.
pub(crate) fn from_scale(kind: &Kind, object: &Value, scale: &Value) -> Option<Value> {
    let list = object["metadata"].get("managedFields");
    let scaled = scale["metadata"].get("managedFields");
    let version = kind.api_version();
    apply::from_scale(list, scaled, &version, |version| replicas(kind, version))
        .unwrap_or_else(|_| list.cloned())
}

/// Ownership of the fields of a scale.
pub(crate) struct ScaleOwners<'r> {
    /// How scales merge.
    pub shape: Shape<'r>,
    /// Who writes.
    pub manager: &'r str,
}

impl ScaleOwners<'_> {
    fn with<T>(&self, run: impl FnOnce(&Write<'_>) -> T) -> T {
        run(&Write {
            manager: self.manager,
            subresource: "scale",
            api_version: "autoscaling/v1",
            shape: self.shape,
            versions: &apply::OneVersion,
            reset: &FieldSet::default(),
            now: &consort_object::time::now(),
        })
    }

    /// The managed fields after an update.
    pub(crate) fn note(&self, live: &Value, new: &Value) -> Option<Value> {
        self.with(|write| apply::update(write, Some(live), new))
    }

    /// Apply a configuration to a scale.
    pub(crate) fn apply(&self, live: &Value, applied: &Value, force: bool) -> Outcome<Value> {
        self.with(|write| apply::apply(write, live, applied, force))
            .map_err(refusal)
    }
}

/// The answer to an apply that did not happen.
pub(crate) fn refusal(error: Error) -> Failure {
    match error {
        Error::Conflicts(conflicts) => Box::new(conflicts.status()),
        Error::Refused(why) => bad_request(why),
        // Upstream answers so, without a reason.
        Error::Failed(why) => Box::new(Status::failure(500, "", why)),
    }
}

/// Take the managed fields out of an object.
pub(crate) fn take_list(object: &mut Value) -> Option<Value> {
    let meta = object.get_mut("metadata")?.as_object_mut()?;
    meta.shift_remove("managedFields")
}

/// Put managed fields into an object, or take them out.
pub(crate) fn put(object: &mut Value, list: Option<Value>) {
    let meta = ensure(object, "metadata");
    match list {
        Some(list) => set(meta, "managedFields", list),
        None => {
            take(meta, "managedFields");
        }
    }
}

/// Admission may change managed fields too, but not into what cannot be read: those before it come back, and the
/// client is told.
pub(crate) fn restore(value: &mut Value, before: impl FnOnce(&mut Value)) -> Option<String> {
    let list = value["metadata"].get("managedFields");
    let why = apply::ManagedFields::parse(list).err()?;
    before(value);
    Some(format!(
        ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating admission controller; please fix your requests: {why}"
    ))
}

/// A write that changes nothing but times changes nothing: the times stay.
pub(crate) fn keep_times(new: &mut Value, old: &Value) {
    let (Some(list), Some(before)) = (
        new["metadata"].get("managedFields"),
        old["metadata"].get("managedFields"),
    ) else {
        return;
    };
    if list != before
        && apply::same_but_times(list, before)
        && same_without(new, old, &["managedFields", "resourceVersion"])
    {
        put(new, Some(before.clone()));
    }
}

/// Whether two objects are the same but for these fields of their metadata.
pub(crate) fn same_without(one: &Value, other: &Value, fields: &[&str]) -> bool {
    let (Some(one), Some(other)) = (one.as_object(), other.as_object()) else {
        return one == other;
    };
    let meta = |one: &Value, other: &Value| {
        let (Some(one), Some(other)) = (one.as_object(), other.as_object()) else {
            return one == other;
        };
        let count = |map: &Map<String, Value>| {
            let left_out = fields.iter().filter(|name| map.contains_key(**name));
            map.len() - left_out.count()
        };
        count(one) == count(other)
            && one
                .iter()
                .filter(|(name, _)| !fields.contains(&name.as_str()))
                .all(|(name, value)| other.get(name) == Some(value))
    };
    one.len() == other.len()
        && one.iter().all(|(name, value)| {
            other.get(name).is_some_and(|other| {
                if name == "metadata" {
                    meta(value, other)
                } else {
                    value == other
                }
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_client_that_names_no_manager_is_called_by_its_first_word() {
        assert_eq!(
            from_user_agent("kubectl/v1.32.0 (linux/amd64) kubernetes/70d3cc9"),
            "kubectl"
        );
        assert_eq!(from_user_agent("a\u{7}b"), "ab");
        assert_eq!(from_user_agent(&"é".repeat(100)).len(), 128);
        assert_eq!(from_user_agent(""), "");
    }

    #[test]
    fn objects_are_compared_but_for_what_is_left_out() {
        let one = json!({"metadata": {"name": "a", "managedFields": [1]}, "spec": {}});
        let other = json!({"metadata": {"name": "a", "resourceVersion": "1"}, "spec": {}});
        assert!(same_without(
            &one,
            &other,
            &["managedFields", "resourceVersion"]
        ));
        assert!(!same_without(&one, &other, &["managedFields"]));
        let third = json!({"metadata": {"name": "a"}, "spec": {"x": 1}});
        assert!(!same_without(&one, &third, &["managedFields"]));
    }
}
