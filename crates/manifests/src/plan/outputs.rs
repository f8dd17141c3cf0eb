//! What a part gives to others, and where it is read from.

use std::collections::{BTreeMap, HashMap};

use consort_plan::{Action, Address, Output, Planned, Problem, below};
use serde_json::Value;

use super::{Planning, is_secret};
use crate::field::Field;
use crate::identity::{Key, Named};
use crate::objects::{Objects, Wanted, content_digest};
use crate::part::Manifests;
use crate::payload::Given;
use crate::shared;

/// The outputs of a plan, and how they are told when they are known.
pub(super) type Outputs = (BTreeMap<String, Output>, BTreeMap<String, Given>);

/// The outputs, each with the object and the field it is read from.
pub(super) type Asked<'a> = Vec<(&'a str, usize, Field)>;

pub(super) fn asked_for<'a>(
    part: &'a Manifests,
    objects: &Objects,
) -> Result<Asked<'a>, Vec<Problem>> {
    let mut asked = Vec::new();
    let mut problems = Vec::new();
    for (name, output) in &part.spec.outputs {
        let mut wrong = |field: &str, summary: String| {
            let at = format!("{}/{field}", below("/outputs", name));
            problems.push(Problem {
                location: Some(part.lines.at(&at)),
                ..part.problem(summary)
            });
        };
        let (named, field) = match (Named::parse(&output.object), Field::parse(&output.field)) {
            (Ok(named), Ok(field)) => (named, field),
            (Err(what), _) => {
                wrong("object", what);
                continue;
            }
            (_, Err(what)) => {
                wrong("field", what);
                continue;
            }
        };
        let mut found = objects
            .all
            .iter()
            .enumerate()
            .filter(|(_, wanted)| named.is(&wanted.key, &wanted.kind.version));
        match (found.next(), found.next()) {
            (Some((at, _)), None) => asked.push((name.as_str(), at, field)),
            (None, _) => wrong("object", format!("the part has no {}", output.object)),
            (Some(_), Some(_)) => wrong(
                "object",
                format!("{} may be any of several objects", output.object),
            ),
        }
    }
    if problems.is_empty() {
        Ok(asked)
    } else {
        Err(problems)
    }
}

/// An object whose digest other parts take: its name, its place, and whether what is there changes.
pub(super) type SharedBy = (String, usize, bool);

/// The objects that workloads of other parts use.
pub(super) fn shared_by(part: &Manifests, objects: &Objects, plans: &[Planning]) -> Vec<SharedBy> {
    let gives = part.shared.gives.iter();
    gives
        .filter_map(|key| {
            let at = *objects.by_key.get(key)?;
            let action = plans.get(at)?.action;
            let changes = action.changes() && action != Action::Create;
            Some((key.local("v1"), at, changes))
        })
        .collect()
}

/// The outputs, as far as they are known, and how they are told when they are.
pub(super) fn given(
    part: &Manifests,
    objects: &Objects,
    lives: &HashMap<usize, Value>,
    asked: &Asked<'_>,
    shared: &[SharedBy],
    place_of: &[u32],
    item_of: &[Option<u32>],
) -> Outputs {
    let mut outputs = BTreeMap::new();
    let mut told = BTreeMap::new();
    for (name, at, field) in asked {
        let wanted = &objects.all[*at];
        let live = lives.get(at);
        let said = read(&wanted.key, field, &wanted.value).filter(|_| {
            // A default or a value of another part may stand there later.
            wanted.fills.is_empty() && !wanted.unknown_configuration
        });
        let status = field.first() == "status";
        let value = match (item_of[*at], live) {
            (None, Some(live)) => read(&wanted.key, field, live),
            (Some(_), Some(live)) if !status => {
                said.or_else(|| read(&wanted.key, field, live).filter(|_| is_kept(wanted, field)))
            }
            _ => said,
        };
        let kind = part
            .spec
            .outputs
            .get(*name)
            .and_then(|output| output.kind.clone());
        let value = value.unwrap_or_else(|| {
            let like = live.and_then(|live| read(&wanted.key, field, live));
            let kind = kind.unwrap_or_else(|| type_of(wanted, field, like.as_ref()));
            let from = Address::new(&part.name, &wanted.local());
            Planned::unknown(kind, Some(from))
        });
        let item = item_of[*at];
        told.insert(
            (*name).to_owned(),
            match item {
                Some(item) => Given::Read {
                    item,
                    field: field.as_str().to_owned(),
                },
                None => Given::Known(value.clone()),
            },
        );
        outputs.insert(
            (*name).to_owned(),
            Output {
                value,
                from: vec![place_of[*at]],
            },
        );
    }
    for (name, at, changes) in shared {
        let wanted = &objects.all[*at];
        let digest = wanted
            .fills
            .is_empty()
            .then(|| content_digest(&wanted.key, &wanted.value));
        let from = Address::new(&part.name, &wanted.local());
        let value = shared::given(digest.as_deref(), *changes, &from);
        let given = match item_of[*at] {
            Some(item) => Given::Digest {
                item,
                changes: *changes,
            },
            None => Given::Known(value.clone()),
        };
        told.insert(name.clone(), given);
        let from = vec![place_of[*at]];
        outputs.insert(name.clone(), Output { value, from });
    }
    (outputs, told)
}

/// Whether the field of an object that is changed stays what it is: what servers give once and for all.
fn is_kept(wanted: &Wanted, field: &Field) -> bool {
    wanted.key.group.is_empty()
        && wanted.key.kind == "Service"
        && field.as_str().starts_with("spec.clusterIP")
        || field.as_str() == "metadata.uid"
}

/// The value of a field, with the entries of a `Secret` as text where they are asked for so.
pub(crate) fn read(key: &Key, field: &Field, object: &Value) -> Option<Planned> {
    if is_secret(key) {
        if field.first() == "stringData" {
            let name = field.second_of_two()?;
            let encoded = object.pointer(&below("/data", name))?.as_str()?;
            let bytes =
                base64::Engine::decode(&base64::engine::general_purpose::STANDARD, encoded).ok()?;
            let text = String::from_utf8(bytes).ok()?;
            return Some(Planned::known(Value::from(text)).into_sensitive());
        }
        let (_, value) = field.find(object)?;
        let planned = Planned::known(value.clone());
        return Some(if field.first() == "data" {
            planned.into_sensitive()
        } else {
            planned
        });
    }
    let (_, value) = field.find(object)?;
    (!value.is_null()).then(|| Planned::known(value.clone()))
}

/// The type of a value that is not known, in Terraform's notation.
fn type_of(wanted: &Wanted, field: &Field, like: Option<&Planned>) -> String {
    let text = field.as_str();
    let kind = match like.map(|like| &like.value) {
        Some(Value::String(_)) => "string",
        Some(Value::Number(_)) => "number",
        Some(Value::Bool(_)) => "bool",
        _ if is_secret(&wanted.key) => "string",
        _ if text.ends_with("clusterIP")
            || text.rsplit('.').next() == Some("ip")
            || text.ends_with("hostname")
            || text.starts_with("metadata.") && !text.ends_with('s') =>
        {
            "string"
        }
        _ if text.ends_with("odePort") || text.ends_with("eplicas") => "number",
        _ => "dynamic",
    };
    kind.to_owned()
}
