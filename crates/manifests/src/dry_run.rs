//! What would become of one object: asked of the server by a dry run where it can be, worked out here where it
//! cannot.

use std::collections::HashSet;

use consort_object::structural::{default, prune, validate};
use consort_plan::{Pointer, Unknown, below};
use serde_json::{Value, json};

use crate::identity::text;
use crate::objects::{Form, PART, SCORE, Wanted, configuration_at, shown};
use crate::ownership;
use crate::server::{Failure, Run, Server};

/// The namespace in whose stead objects of namespaces to come are tried.
const STAND_IN: &str = "default";

/// What would become of an object.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It would be made.
    Create {
        after: After,
        /// One of its name is there and going.
        going: bool,
        /// Why nobody was asked.
        unasked: Option<Failure>,
    },
    /// It would be changed, or not.
    Update {
        before: Box<Value>,
        /// The same as the server has it, if no list had it.
        live: Option<Value>,
        after: After,
        /// The fields it would own that it does not, if nothing else changes.
        claims: Vec<String>,
        /// The fields it would no longer own.
        gives_up: Vec<String>,
        unasked: Option<Failure>,
    },
    /// It cannot be changed so: another has to take its place.
    Replace {
        before: Box<Value>,
        live: Option<Value>,
        after: After,
        fields: Vec<Pointer>,
    },
    /// It belongs to another score.
    Foreign {
        /// Which, and its part.
        score: String,
        part: String,
    },
    /// The server, or the schema it will have, refuses it.
    Refused(Failure),
    /// The schema of a definition in the part refuses it: by field, what is wrong.
    Invalid(Vec<(String, String)>),
}

/// An object as it would be, with what is not known of it.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct After {
    pub(crate) value: Value,
    pub(crate) unknown: Vec<Unknown>,
}

/// What is asked about one object.
pub(crate) struct Question<'a> {
    pub(crate) wanted: &'a Wanted,
    /// What is applied: what is wanted without what is left to others.
    pub(crate) effective: &'a Value,
    /// What is not known of it.
    pub(crate) unknown: &'a [Unknown],
    /// The object as a list had it.
    pub(crate) live: Option<Value>,
    /// Its namespace is not there yet.
    pub(crate) homeless: bool,
    /// Its score.
    pub(crate) score: &'a str,
}

impl Question<'_> {
    fn path(&self) -> String {
        let key = &self.wanted.key;
        self.wanted.kind.path(&key.namespace, &key.name)
    }

    /// Asks.
    pub(crate) async fn ask(mut self, server: &Server) -> Outcome {
        let live = self.live.take();
        if !self.wanted.served {
            return self.by_schema();
        }
        if self.homeless {
            return self.create(server, false).await;
        }
        if live
            .as_ref()
            .is_some_and(|live| live["metadata"].get("deletionTimestamp").is_some())
        {
            return self.create(server, true).await;
        }
        let body = self.body(live.as_ref());
        match server.apply(&self.path(), &body, Run::Dry).await {
            Ok((true, result)) => Outcome::Create {
                after: self.after(result, true),
                going: false,
                unasked: None,
            },
            Ok((false, result)) => {
                let live = match live {
                    Some(live) => live,
                    None => match self.get(server).await {
                        Ok(live) => live,
                        Err(outcome) => return *outcome,
                    },
                };
                self.update(live, result)
            }
            Err(failure) => self.refused(server, live, failure).await,
        }
    }

    async fn get(&self, server: &Server) -> Result<Value, Box<Outcome>> {
        match server.get(&self.path()).await {
            Ok(Some(live)) => {
                let label = |name: &str| {
                    live["metadata"]["labels"][name]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned()
                };
                let score = label(SCORE);
                if !score.is_empty() && score != self.score {
                    return Err(Box::new(Outcome::Foreign {
                        score,
                        part: label(PART),
                    }));
                }
                if live["metadata"].get("deletionTimestamp").is_some() {
                    return Err(Box::new(self.create(server, true).await));
                }
                Ok(live)
            }
            Ok(None) => Err(Box::new(self.create(server, false).await)),
            Err(failure) => Err(Box::new(Outcome::Refused(failure))),
        }
    }

    fn update(&self, live: Value, result: Value) -> Outcome {
        let claims = ownership::owned_only_by_first(&result, &live);
        let gives_up = ownership::owned_only_by_first(&live, &result);
        Outcome::Update {
            after: self.after(result, false),
            live: Some(live.clone()),
            before: Box::new(shown(live)),
            claims,
            gives_up,
            unasked: None,
        }
    }

    async fn refused(&self, server: &Server, live: Option<Value>, failure: Failure) -> Outcome {
        if failure.is_immutable() {
            let live = match live {
                Some(live) => live,
                None => match self.get(server).await {
                    Ok(live) => live,
                    Err(outcome) => return *outcome,
                },
            };
            let mut fields: Vec<Pointer> = failure
                .causes()
                .iter()
                .map(|(field, _)| pointer_of(field))
                .collect();
            fields.sort();
            fields.dedup();
            return match self.create(server, true).await {
                Outcome::Create { after, .. } => Outcome::Replace {
                    live: Some(live.clone()),
                    before: Box::new(shown(live)),
                    after,
                    fields,
                },
                other => other,
            };
        }
        if self.is_for_the_unknown(&failure) {
            return self.by_hand(live, Some(failure));
        }
        if let Some(schema) = &self.wanted.schema
            && failure.is_about_the_object()
        {
            // The definition changes with this plan: what it will be counts.
            let mut value = self.body(live.as_ref());
            if invalid(&mut value, schema, live.as_ref()).is_empty() {
                return self.by_hand(live, None);
            }
        }
        Outcome::Refused(failure)
    }

    /// Whether a refusal is about the stand-ins of values that are not known.
    fn is_for_the_unknown(&self, failure: &Failure) -> bool {
        if self.unknown.is_empty() || !failure.is_about_the_object() {
            return false;
        }
        let causes = failure.causes();
        causes.iter().any(|(field, _)| {
            let at = pointer_of(field);
            self.unknown
                .iter()
                .any(|unknown| unknown.at.starts_with(&at) || at.starts_with(&unknown.at))
        }) || causes.is_empty()
    }

    /// What would come of it, as far as that can be told without the server: what is wanted over what is there.
    pub(crate) fn by_hand(&self, live: Option<Value>, unasked: Option<Failure>) -> Outcome {
        let mut value = self.effective.clone();
        if let Some(live) = live {
            let before = shown(live);
            value = overlaid(&before, &value);
            return Outcome::Update {
                after: self.marked(value),
                before: Box::new(before),
                live: None,
                claims: Vec::new(),
                gives_up: Vec::new(),
                unasked,
            };
        }
        Outcome::Create {
            after: self.marked(value),
            going: false,
            unasked,
        }
    }

    /// Its kind is not served yet: the schema its definition has says what is wrong with it, and what is filled in.
    fn by_schema(&self) -> Outcome {
        let Some(schema) = &self.wanted.schema else {
            return self.by_hand(None, None);
        };
        let mut value = self.body(None);
        let faults = invalid(&mut value, schema, None);
        if !faults.is_empty() {
            return Outcome::Invalid(faults);
        }
        default::fill(&mut value, schema);
        Outcome::Create {
            after: self.marked(value),
            going: false,
            unasked: None,
        }
    }

    /// What would be made where none is. What is in the way of asking for the object itself (its namespace is to come,
    /// one of its name is there) is stepped round: another namespace, another name.
    async fn create(&self, server: &Server, taken: bool) -> Outcome {
        let key = &self.wanted.key;
        let mut body = self.body(None);
        let mut name = key.name.clone();
        let mut namespace = key.namespace.clone();
        if self.homeless {
            STAND_IN.clone_into(&mut namespace);
            body["metadata"]["namespace"] = json!(namespace);
        }
        for attempt in 0..2 {
            if taken || attempt > 0 {
                name = format!("{}-planned", clipped(&key.name, 40));
                body["metadata"]["name"] = json!(name);
            }
            let path = self.wanted.kind.path(&namespace, &name);
            match server.apply(&path, &body, Run::Dry).await {
                Ok((true, mut result)) => {
                    result["metadata"]["name"] = json!(key.name);
                    if !key.namespace.is_empty() {
                        result["metadata"]["namespace"] = json!(key.namespace);
                    }
                    return Outcome::Create {
                        after: self.after(result, true),
                        going: taken,
                        unasked: None,
                    };
                }
                // One of that name is there as well.
                Ok((false, _)) if attempt == 0 && !taken => {}
                Err(failure)
                    if failure.is_about_the_object()
                        && !taken
                        && !failure.is_immutable()
                        && !self.is_for_the_unknown(&failure) =>
                {
                    return Outcome::Refused(failure);
                }
                // What the stand-ins lack, or have in their way, says nothing of the object.
                Ok(_) => break,
                Err(failure) => {
                    if !failure.is_immutable() {
                        return self.by_hand_going(Some(failure), taken);
                    }
                }
            }
        }
        self.by_hand_going(None, taken)
    }

    fn by_hand_going(&self, unasked: Option<Failure>, taken: bool) -> Outcome {
        match self.by_hand(None, unasked) {
            Outcome::Create { after, unasked, .. } => Outcome::Create {
                after,
                going: taken,
                unasked: unasked.filter(|_| !taken),
            },
            other => other,
        }
    }

    /// What is sent: with something in the places that are not known.
    fn body(&self, live: Option<&Value>) -> Value {
        let mut body = self.effective.clone();
        for fill in &self.wanted.fills {
            if fill.text.is_some() {
                continue;
            }
            let present = live.and_then(|live| {
                let at = translated(&fill.at, self.effective, live)?;
                live.pointer(&at).cloned()
            });
            let Some(place) = body.pointer_mut(&fill.at) else {
                continue;
            };
            match present {
                Some(present) if fill.form != Form::Value => *place = present,
                _ => stand_in(place, fill.form, &fill.unknown),
            }
        }
        if self.wanted.unknown_configuration
            && let Some(place) = body.pointer_mut(&configuration_at())
        {
            *place = json!("0000000000000000");
        }
        body
    }

    /// The answer of a dry run as plans show it.
    fn after(&self, result: Value, new: bool) -> After {
        let uid = text(&result, &["metadata", "uid"]).to_owned();
        let mut value = shown(result);
        let mut unknown = Vec::new();
        if new {
            given_by_the_server(&mut value, self.effective, &uid, &mut unknown);
        }
        let mut after = self.marked(value);
        after.unknown.extend(unknown);
        after.unknown.sort();
        after.unknown.dedup_by(|one, other| one.at == other.at);
        after
    }

    /// A value with null in the places that are not known.
    fn marked(&self, mut value: Value) -> After {
        let mut unknown = Vec::with_capacity(self.unknown.len());
        for one in self.unknown {
            let Some(at) = translated(&one.at, self.effective, &value) else {
                continue;
            };
            if let Some(place) = value.pointer_mut(&at) {
                *place = Value::Null;
                unknown.push(Unknown { at, ..one.clone() });
            }
        }
        unknown.sort();
        After { value, unknown }
    }
}

fn clipped(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].trim_end_matches(['-', '.'])
}

/// What stands in a place that is not known, so that the rest can be checked.
fn stand_in(place: &mut Value, form: Form, unknown: &[Unknown]) {
    match form {
        Form::Text => *place = json!("known-after-apply"),
        Form::Base64 => *place = json!("a25vd24tYWZ0ZXItYXBwbHk="),
        Form::Value => {
            for one in unknown {
                if let Some(place) = place.pointer_mut(&one.at) {
                    *place = of_type(&one.kind);
                }
            }
        }
    }
}

fn of_type(kind: &str) -> Value {
    match kind {
        "number" => json!(1),
        "bool" => json!(false),
        kind if kind.starts_with("list")
            || kind.starts_with("set")
            || kind.starts_with("tuple") =>
        {
            json!([])
        }
        kind if kind.starts_with("map") || kind.starts_with("object") => json!({}),
        _ => json!("known-after-apply"),
    }
}

/// What is wrong with an object by a schema, by field; its unknown fields are taken out.
fn invalid(
    value: &mut Value,
    schema: &consort_object::structural::Structural,
    live: Option<&Value>,
) -> Vec<(String, String)> {
    let unknown = prune::unknown(value, schema, true);
    if !unknown.is_empty() {
        return unknown
            .into_iter()
            .map(|field| {
                let said = format!("unknown field {field:?}");
                (field, said)
            })
            .collect();
    }
    default::fill(value, schema);
    let errors = match live {
        Some(live) => validate::update(value, live, schema, ""),
        None => validate::create(value, schema, ""),
    };
    errors
        .into_iter()
        .map(|error| (error.field.clone(), error.to_string()))
        .collect()
}

/// Marks what a server gives a new object and gives otherwise the next time: addresses, ports, what is made of its
/// identity.
fn given_by_the_server(value: &mut Value, wanted: &Value, uid: &str, unknown: &mut Vec<Unknown>) {
    let mut mark = |value: &mut Value, at: &str, kind: &str| {
        if wanted.pointer(at).is_none()
            && let Some(place) = value.pointer_mut(at)
            && !place.is_null()
            && *place != "None"
            && *place != json!(["None"])
        {
            *place = Value::Null;
            unknown.push(Unknown {
                at: at.to_owned(),
                kind: kind.to_owned(),
                from: None,
            });
        }
    };
    if value["kind"] == "Service" && value["apiVersion"] == "v1" {
        mark(value, "/spec/clusterIP", "string");
        mark(value, "/spec/clusterIPs", "list(string)");
        mark(value, "/spec/healthCheckNodePort", "number");
        let ports = value["spec"]["ports"].as_array().map_or(0, Vec::len);
        for port in 0..ports {
            mark(value, &format!("/spec/ports/{port}/nodePort"), "number");
        }
    }
    if !uid.is_empty() {
        let mut places = Vec::new();
        equal_to(value, uid, "", &mut places);
        for at in places {
            mark(value, &at, "string");
        }
    }
}

fn equal_to(value: &Value, wanted: &str, at: &str, places: &mut Vec<Pointer>) {
    match value {
        Value::String(text) if text == wanted => places.push(at.to_owned()),
        Value::Object(object) => {
            for (name, value) in object {
                equal_to(value, wanted, &below(at, name), places);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                equal_to(value, wanted, &format!("{at}/{index}"), places);
            }
        }
        _ => {}
    }
}

/// What tells the items of a list apart, in the order of trying.
const KEYS: [&str; 9] = [
    "name",
    "containerPort",
    "mountPath",
    "devicePath",
    "port",
    "ip",
    "key",
    "uid",
    "type",
];

/// The place of an item of one list in another.
fn same_item(item: &Value, index: usize, items: &[Value]) -> Option<usize> {
    for key in KEYS {
        let Some(own) = item.get(key) else { continue };
        if let Some(at) = items.iter().position(|other| other.get(key) == Some(own)) {
            return Some(at);
        }
    }
    (index < items.len()).then_some(index)
}

/// A place in one form of an object, in another: items of lists are found by what tells them apart.
pub(crate) fn translated(at: &str, from: &Value, to: &Value) -> Option<Pointer> {
    let (mut from, mut to) = (from, to);
    let mut place = String::new();
    for step in at.split('/').skip(1) {
        let name = step.replace("~1", "/").replace("~0", "~");
        match (from, to) {
            (Value::Array(items), Value::Array(others)) => {
                let index: usize = name.parse().ok()?;
                let item = items.get(index)?;
                let there = same_item(item, index, others)?;
                from = item;
                to = &others[there];
                place = format!("{place}/{there}");
            }
            _ => {
                from = from.get(&name).unwrap_or(&Value::Null);
                to = to.get(&name)?;
                place = below(&place, &name);
            }
        }
    }
    Some(place)
}

/// One object laid over another: mappings are joined, items of lists by what tells them apart.
fn overlaid(under: &Value, over: &Value) -> Value {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            let mut joined = under.clone();
            for (name, value) in over {
                let value = match under.get(name) {
                    Some(own) => overlaid(own, value),
                    None => value.clone(),
                };
                joined.insert(name.clone(), value);
            }
            Value::Object(joined)
        }
        (Value::Array(under), Value::Array(over)) if over.iter().all(Value::is_object) => {
            let mut used = HashSet::new();
            let joined = over
                .iter()
                .map(|item| {
                    let same = KEYS.iter().find_map(|key| {
                        let own = item.get(key)?;
                        under.iter().position(|other| other.get(key) == Some(own))
                    });
                    match same {
                        Some(at) if used.insert(at) => overlaid(&under[at], item),
                        _ => item.clone(),
                    }
                })
                .collect();
            Value::Array(joined)
        }
        _ => over.clone(),
    }
}

/// `spec.template.spec.containers[0].image` as a pointer.
pub(crate) fn pointer_of(field: &str) -> Pointer {
    let mut at = String::new();
    let mut rest = field.trim_start_matches('.');
    while !rest.is_empty() {
        if let Some(within) = rest.strip_prefix('[') {
            let end = within.find(']').unwrap_or(within.len());
            at = below(&at, within[..end].trim_matches('"'));
            rest = within[end..].trim_start_matches(']');
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            at = below(&at, &rest[..end]);
            rest = &rest[end..];
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_again_where_items_of_lists_have_moved() {
        let from = json!({"spec": {"containers": [{"name": "web", "env": [{"name": "A", "value": "x"}]}]}});
        let to = json!({"spec": {"containers": [{"name": "proxy"}, {"name": "web", "env": [{"name": "B"}, {"name": "A", "value": "y"}]}]}});
        assert_eq!(
            translated("/spec/containers/0/env/0/value", &from, &to).as_deref(),
            Some("/spec/containers/1/env/1/value")
        );
        assert_eq!(translated("/spec/replicas", &from, &to), None);
        assert_eq!(
            pointer_of("spec.template.spec.containers[0].image"),
            "/spec/template/spec/containers/0/image"
        );
        assert_eq!(
            pointer_of("metadata.labels[a.b/c]"),
            "/metadata/labels/a.b~1c"
        );
    }

    #[test]
    fn what_the_server_gives_a_new_service_is_not_known() {
        let wanted = json!({"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80}, {"port": 81, "nodePort": 30081}]}});
        let mut value = json!({"apiVersion": "v1", "kind": "Service", "spec": {"clusterIP": "10.0.0.7", "clusterIPs": ["10.0.0.7"],
            "ports": [{"port": 80, "nodePort": 30123}, {"port": 81, "nodePort": 30081}], "selector": {"uid": "u-1"}}});
        let mut unknown = Vec::new();
        given_by_the_server(&mut value, &wanted, "u-1", &mut unknown);
        let told: Vec<&str> = unknown.iter().map(|one| one.at.as_str()).collect();
        assert_eq!(
            told,
            [
                "/spec/clusterIP",
                "/spec/clusterIPs",
                "/spec/ports/0/nodePort",
                "/spec/selector/uid"
            ]
        );
        assert_eq!(value["spec"]["ports"][1]["nodePort"], 30081);
    }
}
