//! The objects of a part as they are wanted: from the files and the stanza, with the values of other parts in their
//! places.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use consort_object::structural::Structural;
use consort_plan::{Feed, Input, Lines, Location, Planned, Pointer, Unknown, below};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::field::Field;
use crate::identity::{Key, Named, group_version, text};
use crate::kinds::{Kind, Kinds, guessed};
use crate::references::{configuration, pod_spec};
use crate::shared;
use crate::source::{Document, Fault, Place};
use crate::spec::{Generated, Spec};

/// The label that names the score an object belongs to.
pub(crate) const SCORE: &str = "consort.dev/score";
/// The label that names its part.
pub(crate) const PART: &str = "consort.dev/part";
/// The annotation of pod templates that tells which configuration their pods started with.
pub(crate) const CONFIGURATION: &str = "consort.dev/configuration";

/// Where the description of an object stands.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// In a file.
    File(Place),
    /// In the stanza: the JSON pointer there.
    Stanza(String),
}

/// An object as it is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) key: Key,
    pub(crate) kind: Arc<Kind>,
    /// Whether the server serves its kind already.
    pub(crate) served: bool,
    /// The schema a definition of the part gives its kind.
    pub(crate) schema: Option<Arc<Structural>>,
    pub(crate) origin: Origin,
    /// What is applied; null where that is not known yet.
    pub(crate) value: Value,
    /// What is filled in when it is known.
    pub(crate) fills: Vec<Fill>,
    /// The inputs it is made with, known or not: it waits for whoever gives them.
    pub(crate) takes: Vec<String>,
    /// What must not be shown, besides what is sensitive by its kind.
    pub(crate) sensitive: Vec<Pointer>,
    /// The objects of the score whose contents its pods see.
    pub(crate) configuration: Vec<Used>,
    /// Whether the annotation of its pod template is known only when those are.
    pub(crate) unknown_configuration: bool,
}

/// A `ConfigMap` or `Secret` that pods see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Used {
    pub(crate) key: Key,
    /// The input that tells its digest, if it is of another part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) input: Option<String>,
}

/// A place that gets the value of an input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fill {
    /// Where.
    pub(crate) at: Pointer,
    /// The name of the input.
    pub(crate) input: String,
    /// In which form.
    pub(crate) form: Form,
    /// The text in the place that the value takes the place of; the whole place without it.
    pub(crate) text: Option<String>,
    /// What is not known of it, as the plan says.
    pub(crate) unknown: Vec<Unknown>,
}

/// The form a value takes in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Form {
    /// As it is.
    Value,
    /// As text.
    Text,
    /// As the base64 of its text: the entries of a `Secret`.
    Base64,
}

/// A value as text: itself, or its JSON.
pub(crate) fn as_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Puts a known value in its place.
pub(crate) fn fill(object: &mut Value, fill: &Fill, input: &Value) -> Result<(), String> {
    let place = object
        .pointer_mut(&fill.at)
        .ok_or_else(|| format!("{} is not in the object", fill.at))?;
    *place = match (&fill.text, fill.form) {
        (Some(within), Form::Base64) => {
            let own = decoded(place).unwrap_or_default();
            Value::from(BASE64.encode(own.replace(within.as_str(), &as_text(input))))
        }
        (Some(within), _) => {
            let own = place.as_str().unwrap_or_default();
            Value::from(own.replace(within.as_str(), &as_text(input)))
        }
        (None, Form::Value) => input.clone(),
        (None, Form::Text) => Value::from(as_text(input)),
        (None, Form::Base64) => Value::from(BASE64.encode(as_text(input))),
    };
    Ok(())
}

fn decoded(value: &Value) -> Option<String> {
    let bytes = BASE64.decode(value.as_str()?).ok()?;
    String::from_utf8(bytes).ok()
}

impl Wanted {
    /// Its name within the part.
    pub(crate) fn local(&self) -> String {
        self.key.local(&self.kind.version)
    }

    /// The places in it that are not known yet.
    pub(crate) fn unknown(&self) -> Vec<Unknown> {
        let mut all: Vec<Unknown> = self
            .fills
            .iter()
            .flat_map(|fill| {
                let whole = fill.form != Form::Value || fill.text.is_some();
                if whole {
                    let from = fill.unknown.iter().find_map(|unknown| unknown.from.clone());
                    vec![Unknown {
                        at: fill.at.clone(),
                        kind: "string".to_owned(),
                        from,
                    }]
                } else {
                    fill.unknown
                        .iter()
                        .map(|unknown| Unknown {
                            at: format!("{}{}", fill.at, unknown.at),
                            ..unknown.clone()
                        })
                        .collect()
                }
            })
            .collect();
        all.sort();
        all.dedup_by(|one, other| one.at == other.at);
        all
    }

    /// The same with the place of the annotation of its configuration.
    pub(crate) fn all_unknown(&self, from: Option<consort_plan::Address>) -> Vec<Unknown> {
        let mut all = self.unknown();
        if self.unknown_configuration {
            all.push(Unknown {
                at: configuration_at(),
                kind: "string".to_owned(),
                from,
            });
            all.sort();
        }
        all
    }

    /// The place as plans tell it.
    pub(crate) fn location(&self, lines: &Lines) -> Location {
        match &self.origin {
            Origin::File(place) => place.location(),
            Origin::Stanza(pointer) => lines.at(pointer),
        }
    }
}

/// The place of the annotation of the configuration.
pub(crate) fn configuration_at() -> Pointer {
    below("/spec/template/metadata/annotations", CONFIGURATION)
}

/// What an object's kind makes sensitive: the entries of a `Secret`, and the copy of them that `kubectl apply` keeps.
pub(crate) fn sensitive_by_kind(key: &Key, object: &Value) -> Vec<Pointer> {
    if !(key.group.is_empty() && key.kind == "Secret") {
        return Vec::new();
    }
    let mut all = Vec::new();
    for field in ["data", "stringData"] {
        if let Some(entries) = object.get(field).and_then(Value::as_object) {
            let at = format!("/{field}");
            all.extend(entries.keys().map(|name| below(&at, name)));
        }
    }
    if object["metadata"]["annotations"]
        .get(LAST_APPLIED)
        .is_some()
    {
        all.push(below("/metadata/annotations", LAST_APPLIED));
    }
    all.sort();
    all
}

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What servers write into `metadata`.
const SERVERS: [&str; 8] = [
    "managedFields",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// An object without what only servers write: as it is shown.
pub(crate) fn shown(mut object: Value) -> Value {
    if let Some(object) = object.as_object_mut() {
        object.shift_remove("status");
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in SERVERS {
                metadata.shift_remove(field);
            }
        }
    }
    object
}

/// Brings an object that a user wrote into the form that is applied.
fn bring_into_form(value: &mut Value, key: &Key) -> Result<(), &'static str> {
    let Some(object) = value.as_object_mut() else {
        return Err("an object is a mapping");
    };
    object.shift_remove("status");
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return Err("metadata is no mapping");
    };
    for field in SERVERS {
        metadata.shift_remove(field);
    }
    for field in ["labels", "annotations"] {
        if metadata.get(field).is_some_and(Value::is_null) {
            metadata.shift_remove(field);
        }
    }
    if let Some(annotations) = metadata.get_mut("annotations") {
        let Some(annotations) = annotations.as_object_mut() else {
            return Err("metadata.annotations is no mapping");
        };
        annotations.shift_remove(LAST_APPLIED);
    }
    if key.namespace.is_empty() {
        metadata.shift_remove("namespace");
    } else {
        metadata.insert("namespace".to_owned(), Value::from(key.namespace.as_str()));
    }
    if key.group.is_empty() && key.kind == "Secret" {
        secret_into_form(object)?;
    }
    drop_null_times(value, 0);
    Ok(())
}

/// `stringData` is a way to write `data`: what is applied is owned by the name it is kept under.
fn secret_into_form(object: &mut Map<String, Value>) -> Result<(), &'static str> {
    if let Some(Value::Object(data)) = object.get_mut("data") {
        for value in data.values_mut() {
            // Base64 in several lines is read by the server, and kept in one.
            if let Value::String(text) = value
                && text.contains(char::is_whitespace)
            {
                text.retain(|c| !c.is_whitespace());
            }
        }
    }
    match object.shift_remove("stringData") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(texts)) => {
            let data = object
                .entry("data")
                .or_insert_with(|| Value::Object(Map::new()));
            if data.is_null() {
                *data = Value::Object(Map::new());
            }
            let Some(data) = data.as_object_mut() else {
                return Err("data is no mapping");
            };
            for (name, text) in texts {
                let Value::String(text) = text else {
                    return Err("the entries of stringData are texts");
                };
                data.insert(name, Value::from(BASE64.encode(text)));
            }
            Ok(())
        }
        Some(_) => Err("stringData is no mapping"),
    }
}

/// `creationTimestamp: null`, which tools write into templates, says nothing.
fn drop_null_times(value: &mut Value, depth: usize) {
    if depth > 64 {
        return;
    }
    match value {
        Value::Object(object) => {
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
                && metadata
                    .get("creationTimestamp")
                    .is_some_and(Value::is_null)
            {
                metadata.shift_remove("creationTimestamp");
            }
            for value in object.values_mut() {
                drop_null_times(value, depth + 1);
            }
        }
        Value::Array(items) => {
            for value in items {
                drop_null_times(value, depth + 1);
            }
        }
        _ => {}
    }
}

/// A kind, whether the server serves it, and the schema a definition of the part gives it.
type Known = (Arc<Kind>, bool, Option<Arc<Structural>>);

/// What the objects of a part are made with.
pub(crate) struct Making<'a> {
    pub(crate) part: &'a str,
    pub(crate) score: &'a str,
    pub(crate) spec: &'a Spec,
    pub(crate) lines: &'a Lines,
    pub(crate) inputs: &'a BTreeMap<String, Planned>,
    /// What the server serves; none while it is not there.
    pub(crate) kinds: Option<&'a Kinds>,
    /// What workloads use of other parts.
    pub(crate) shared: &'a BTreeMap<Key, Input>,
}

/// The objects of a part, and what is wrong with their descriptions.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    pub(crate) all: Vec<Wanted>,
    pub(crate) by_key: HashMap<Key, usize>,
    pub(crate) faults: Vec<Fault>,
}

impl Making<'_> {
    /// Makes them.
    pub(crate) fn objects(&self, documents: Vec<Document>) -> Objects {
        let mut objects = Objects::default();
        objects.all.reserve(documents.len());
        for document in documents {
            self.take(document.value, Origin::File(document.place), &mut objects);
        }
        for (field, kind, generated) in [
            ("configMaps", "ConfigMap", &self.spec.config_maps),
            ("secrets", "Secret", &self.spec.secrets),
        ] {
            for (at, one) in generated.iter().enumerate() {
                let pointer = format!("/{field}/{at}");
                self.generate(kind, one, &pointer, &mut objects);
            }
        }
        self.replace(&mut objects);
        self.configure(&mut objects);
        objects
    }

    /// Notes in pod templates which configuration their pods start with.
    fn configure(&self, objects: &mut Objects) {
        let mut digests: HashMap<usize, Option<String>> = HashMap::new();
        for at in 0..objects.all.len() {
            let wanted = &objects.all[at];
            if !rolls(&wanted.key) {
                continue;
            }
            let Some(pod) = pod_spec(&wanted.key.kind, &wanted.value) else {
                continue;
            };
            let mut used = Vec::new();
            let mut known = Vec::new();
            for (kind, name) in configuration(pod) {
                let key = Key::new("", kind, &wanted.key.namespace, name);
                let input = match (objects.by_key.get(&key), self.shared.get(&key)) {
                    (Some(one), _) => {
                        let digest = digests.entry(*one).or_insert_with(|| {
                            let wanted = &objects.all[*one];
                            wanted
                                .fills
                                .is_empty()
                                .then(|| content_digest(&wanted.key, &wanted.value))
                        });
                        known.push(digest.clone());
                        None
                    }
                    (None, Some(input)) => {
                        let given = self.inputs.get(&input.name).and_then(shared::digest);
                        known.push(given.map(str::to_owned));
                        Some(input.name.clone())
                    }
                    (None, None) => continue,
                };
                used.push(Used { key, input });
            }
            if used.is_empty() {
                continue;
            }
            let all: Option<Vec<String>> = known.into_iter().collect();
            let wanted = &mut objects.all[at];
            wanted
                .takes
                .extend(used.iter().filter_map(|used| used.input.clone()));
            wanted.configuration = used;
            wanted.unknown_configuration = all.is_none();
            annotate(&mut wanted.value, all.map(|all| joint_digest(&all)));
        }
    }

    fn fault(&self, origin: &Origin, summary: String, hint: Option<String>) -> Fault {
        Fault {
            location: match origin {
                Origin::File(place) => place.location(),
                Origin::Stanza(pointer) => self.lines.at(pointer),
            },
            summary,
            hint,
        }
    }

    /// The kind of an object; what is wrong with it, if there is none.
    fn kind_of(&self, api_version: &str, kind: &str) -> Result<Known, (String, Option<String>)> {
        let (group, version) = group_version(api_version);
        let Some(kinds) = self.kinds else {
            return Ok((Arc::new(guessed(group, version, kind)), false, None));
        };
        let defined = kinds.defined(group, version, kind);
        let schema = defined.and_then(|defined| defined.schema.clone());
        if let Some(served) = kinds.served(group, version, kind) {
            return Ok((served.clone(), true, schema));
        }
        if let Some(defined) = defined {
            return Ok((defined.kind.clone(), false, schema));
        }
        let elsewhere = kinds.elsewhere(kind);
        let hint = if kinds
            .silent
            .iter()
            .any(|silent| *silent == format!("{group}/{version}"))
        {
            format!("what serves {group}/{version} does not answer (an APIService)")
        } else if elsewhere.is_empty() {
            "its CustomResourceDefinition is neither on the server nor in this part".to_owned()
        } else {
            format!("the server has {kind} in {}", elsewhere.join(", "))
        };
        Err((
            format!("the server has no kind {kind} in {api_version}"),
            Some(hint),
        ))
    }

    fn take(&self, mut value: Value, origin: Origin, objects: &mut Objects) {
        let (api_version, kind_name) = (
            text(&value, &["apiVersion"]).to_owned(),
            text(&value, &["kind"]).to_owned(),
        );
        let name = text(&value, &["metadata", "name"]).to_owned();
        let (kind, served, schema) = match self.kind_of(&api_version, &kind_name) {
            Ok(found) => found,
            Err((summary, hint)) => {
                let fault = self.fault(&origin, format!("{kind_name} {name}: {summary}"), hint);
                objects.faults.push(fault);
                return;
            }
        };
        let namespace = if kind.namespaced {
            match text(&value, &["metadata", "namespace"]) {
                "" => self.namespace(),
                own => own.to_owned(),
            }
        } else {
            String::new()
        };
        let key = Key::new(&kind.group, &kind.kind, &namespace, &name);
        if let Err(wrong) = bring_into_form(&mut value, &key) {
            let fault = self.fault(&origin, format!("{key}: {wrong}"), None);
            objects.faults.push(fault);
            return;
        }
        if let Err(wrong) = self.label(&mut value) {
            let fault = self.fault(&origin, format!("{key}: {wrong}"), None);
            objects.faults.push(fault);
            return;
        }
        if let Some(other) = objects.by_key.get(&key) {
            let first = match &objects.all[*other].origin {
                Origin::File(place) => place.location().to_string(),
                Origin::Stanza(pointer) => self.lines.at(pointer).to_string(),
            };
            let fault = self.fault(
                &origin,
                format!("{key} is described twice, first at {first}"),
                None,
            );
            objects.faults.push(fault);
            return;
        }
        objects.by_key.insert(key.clone(), objects.all.len());
        objects.all.push(Wanted {
            key,
            kind,
            served,
            schema,
            origin,
            value,
            fills: Vec::new(),
            takes: Vec::new(),
            sensitive: Vec::new(),
            configuration: Vec::new(),
            unknown_configuration: false,
        });
    }

    fn namespace(&self) -> String {
        self.spec
            .namespace
            .clone()
            .unwrap_or_else(|| "default".to_owned())
    }

    fn label(&self, value: &mut Value) -> Result<(), &'static str> {
        let metadata = value["metadata"].as_object_mut();
        let labels = metadata.map(|metadata| {
            metadata
                .entry("labels")
                .or_insert_with(|| Value::Object(Map::new()))
        });
        let Some(labels) = labels.and_then(Value::as_object_mut) else {
            return Err("metadata.labels is no mapping");
        };
        labels.insert(SCORE.to_owned(), Value::from(self.score));
        labels.insert(PART.to_owned(), Value::from(self.part));
        Ok(())
    }

    fn generate(&self, kind: &str, one: &Generated, pointer: &str, objects: &mut Objects) {
        let namespace = one.namespace.clone().unwrap_or_else(|| self.namespace());
        let mut value = json!({
            "apiVersion": "v1",
            "kind": kind,
            "metadata": {"name": one.name, "namespace": namespace},
        });
        for (field, entries) in [("labels", &one.labels), ("annotations", &one.annotations)] {
            if !entries.is_empty() {
                value["metadata"][field] = json!(entries);
            }
        }
        let secret = kind == "Secret";
        if secret {
            value["type"] = Value::from(one.kind.as_deref().unwrap_or("Opaque"));
        }
        let form = if secret { Form::Base64 } else { Form::Text };
        let mut data = Map::new();
        let mut fed = Vec::new();
        for (name, feed) in &one.data {
            match feed {
                Feed::Literal(literal) => {
                    let text = as_text(literal);
                    let text = if secret { BASE64.encode(text) } else { text };
                    data.insert(name.clone(), Value::from(text));
                }
                Feed::From(from) => {
                    data.insert(name.clone(), Value::Null);
                    fed.push((below("/data", name), from.from.clone(), name));
                }
            }
        }
        if !data.is_empty() {
            value["data"] = Value::Object(data);
        }
        let before = objects.all.len();
        self.take(value, Origin::Stanza(pointer.to_owned()), objects);
        if objects.all.len() == before {
            return;
        }
        for (at, input, name) in fed {
            let place = below(&format!("{pointer}/data"), name);
            self.feed(
                objects,
                before,
                at,
                &input,
                form,
                None,
                &format!("{place}/from"),
            );
        }
    }

    /// Puts the value of an input into an object, or notes where it goes.
    #[allow(clippy::too_many_arguments)]
    fn feed(
        &self,
        objects: &mut Objects,
        object: usize,
        at: Pointer,
        input: &str,
        form: Form,
        text: Option<String>,
        pointer: &str,
    ) {
        let Some(value) = self.inputs.get(input) else {
            let fault = Fault {
                location: self.lines.at(pointer),
                summary: format!("{input} is given by no part"),
                hint: None,
            };
            objects.faults.push(fault);
            return;
        };
        let wanted = &mut objects.all[object];
        if !value.sensitive.is_empty() {
            if form == Form::Value && text.is_none() {
                wanted
                    .sensitive
                    .extend(value.sensitive.iter().map(|below| format!("{at}{below}")));
            } else {
                wanted.sensitive.push(at.clone());
            }
        }
        let one = Fill {
            at,
            input: input.to_owned(),
            form,
            text,
            unknown: value.unknown.clone(),
        };
        if !wanted.takes.iter().any(|taken| taken == input) {
            wanted.takes.push(input.to_owned());
        }
        if value.is_wholly_known() {
            if let Err(wrong) = fill(&mut wanted.value, &one, &value.value) {
                let fault = Fault {
                    location: self.lines.at(pointer),
                    summary: wrong,
                    hint: None,
                };
                objects.faults.push(fault);
            }
            return;
        }
        if one.text.is_none()
            && let Some(place) = wanted.value.pointer_mut(&one.at)
        {
            *place = if form == Form::Value {
                value.value.clone()
            } else {
                Value::Null
            };
        }
        wanted.fills.push(one);
    }

    fn replace(&self, objects: &mut Objects) {
        for (at, replacement) in self.spec.replacements.iter().enumerate() {
            for (number, to) in replacement.to.iter().enumerate() {
                let pointer = format!("/replacements/{at}/to/{number}");
                let fault = |field: &str, summary: String| Fault {
                    location: self.lines.at(&format!("{pointer}/{field}")),
                    summary,
                    hint: None,
                };
                let (named, field) = match (Named::parse(&to.object), Field::parse(&to.field)) {
                    (Ok(named), Ok(field)) => (named, field),
                    (Err(wrong), _) => {
                        objects.faults.push(fault("object", wrong));
                        continue;
                    }
                    (_, Err(wrong)) => {
                        objects.faults.push(fault("field", wrong));
                        continue;
                    }
                };
                let found: Vec<usize> = objects
                    .all
                    .iter()
                    .enumerate()
                    .filter(|(_, wanted)| named.is(&wanted.key, &wanted.kind.version))
                    .map(|(at, _)| at)
                    .collect();
                let [object] = found[..] else {
                    let summary = if found.is_empty() {
                        format!("the part has no {}", to.object)
                    } else {
                        let all: Vec<String> =
                            found.iter().map(|at| objects.all[*at].local()).collect();
                        format!("{} may be any of {}", to.object, all.join(", "))
                    };
                    objects.faults.push(fault("object", summary));
                    continue;
                };
                let wanted = &mut objects.all[object];
                let secret = wanted.key.group.is_empty() && wanted.key.kind == "Secret";
                let field = match field.second_of_two() {
                    Some(name) if secret && field.first() == "stringData" => {
                        Field::parse(&format!("data[\"{name}\"]")).unwrap_or(field)
                    }
                    _ => field,
                };
                let (place, present) = match field.make(&mut wanted.value) {
                    Ok(made) => made,
                    Err(wrong) => {
                        let summary = format!("{}: {wrong}", to.object);
                        objects.faults.push(fault("field", summary));
                        continue;
                    }
                };
                let form = if secret && field.first() == "data" {
                    Form::Base64
                } else if to.text.is_some() || present.is_string() || is_text(&place) {
                    Form::Text
                } else {
                    Form::Value
                };
                if let Some(within) = &to.text {
                    let own = if form == Form::Base64 {
                        decoded(present)
                    } else {
                        present.as_str().map(str::to_owned)
                    };
                    if within.is_empty() || !own.is_some_and(|own| own.contains(within.as_str())) {
                        let summary =
                            format!("{} of {} has no {within:?}", field.as_str(), to.object);
                        objects.faults.push(fault("text", summary));
                        continue;
                    }
                }
                let from = format!("/replacements/{at}/from");
                self.feed(
                    objects,
                    object,
                    place,
                    &replacement.from,
                    form,
                    to.text.clone(),
                    &from,
                );
            }
        }
    }
}

/// Whether a change of its pod template makes a workload replace its pods by itself.
pub(crate) fn rolls(key: &Key) -> bool {
    matches!(
        (key.group.as_str(), key.kind.as_str()),
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet") | ("argoproj.io", "Rollout")
    )
}

/// Sets the annotation of the configuration; null while it is not known.
pub(crate) fn annotate(value: &mut Value, digest: Option<String>) {
    let Some(template) = value
        .pointer_mut("/spec/template")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    let mut place = template;
    for step in ["metadata", "annotations"] {
        let next = place
            .entry(step)
            .or_insert_with(|| Value::Object(Map::new()));
        if next.is_null() {
            *next = Value::Object(Map::new());
        }
        match next.as_object_mut() {
            Some(next) => place = next,
            None => return,
        }
    }
    place.insert(
        CONFIGURATION.to_owned(),
        digest.map_or(Value::Null, Value::from),
    );
}

/// The digest of what a `ConfigMap` or `Secret` holds.
pub(crate) fn content_digest(key: &Key, value: &Value) -> String {
    let mut hash = Sha256::new();
    hash.update(key.kind.as_bytes());
    hash.update([0]);
    hash.update(key.name.as_bytes());
    for field in ["data", "binaryData"] {
        hash.update([0]);
        let entries: BTreeMap<&String, &Value> = value
            .get(field)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .collect();
        for (name, value) in entries {
            let text = as_text(value);
            hash.update((name.len() as u64).to_be_bytes());
            hash.update(name.as_bytes());
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
    }
    hex(&hash.finalize()[..16])
}

/// The digest of several.
pub(crate) fn joint_digest(digests: &[String]) -> String {
    let mut hash = Sha256::new();
    for digest in digests {
        hash.update(digest.as_bytes());
    }
    hex(&hash.finalize()[..8])
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Places that hold texts and nothing else, in every kind there is.
fn is_text(at: &str) -> bool {
    let mut steps = at.rsplit('/');
    let last = steps.next().unwrap_or_default();
    let parent = steps.next().unwrap_or_default();
    matches!(
        parent,
        "data" | "annotations" | "labels" | "nodeSelector" | "matchLabels" | "args" | "command"
    ) || at.contains("/env/") && last == "value"
        || matches!(last, "image" | "namespace" | "host")
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)]
mod tests {
    use super::*;
    use consort_plan::Address;

    fn spec(text: Value) -> Spec {
        serde_json::from_value(text).unwrap()
    }

    fn document(value: Value) -> Document {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.json"), value.to_string()).unwrap();
        let sources = crate::source::read(
            dir.path(),
            &crate::spec::Paths::One("a.json".into()),
            &Location {
                file: String::new(),
                line: 1,
            },
        );
        sources.documents.into_iter().next().unwrap()
    }

    fn deployment() -> Document {
        document(
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"template": {"spec": {"containers": [{"name": "web", "image": "x",
                "env": [{"name": "URL", "value": "http://HOST:PORT/"}, {"name": "N"}],
                "envFrom": [{"configMapRef": {"name": "settings"}}]}]}}}}),
        )
    }

    fn made(spec: &Spec, inputs: &BTreeMap<String, Planned>, documents: Vec<Document>) -> Objects {
        Making {
            part: "app",
            score: "shop",
            spec,
            lines: &Lines::default(),
            inputs,
            kinds: None,
            shared: &BTreeMap::new(),
        }
        .objects(documents)
    }

    #[test]
    fn values_of_other_parts_go_where_they_are_wanted() {
        let spec = spec(json!({"path": "x", "replacements": [
            {"from": "infra.host", "to": [{"object": "Deployment/web", "field": "spec.template.spec.containers[name=web].env[name=URL].value", "text": "HOST"}]},
            {"from": "infra.count", "to": [
                {"object": "Deployment/web", "field": "spec.replicas"},
                {"object": "Deployment/web", "field": "spec.template.spec.containers[0].env[name=N].value"}]}],
            "secrets": [{"name": "db", "data": {"password": {"from": "infra.password"}, "n": 1}}]}));
        let inputs = BTreeMap::from([
            ("infra.host".to_owned(), Planned::known(json!("db.local"))),
            ("infra.count".to_owned(), Planned::known(json!(3))),
            (
                "infra.password".to_owned(),
                Planned::known(json!("secret")).into_sensitive(),
            ),
        ]);
        let objects = made(&spec, &inputs, vec![deployment()]);
        assert_eq!(objects.faults, []);
        let value = &objects.all[0].value;
        assert_eq!(value["spec"]["replicas"], 3);
        let container = &value["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["env"][0]["value"], "http://db.local:PORT/");
        assert_eq!(container["env"][1]["value"], "3");
        assert_eq!(value["metadata"]["labels"][SCORE], "shop");
        let secret = &objects.all[1];
        assert_eq!(secret.value["data"]["password"], "c2VjcmV0");
        assert_eq!(secret.value["data"]["n"], "MQ==");
        assert_eq!(secret.sensitive, ["/data/password"]);
    }

    #[test]
    fn what_is_not_known_stays_a_typed_unknown_with_its_origin() {
        let spec = spec(json!({"path": "x",
            "replacements": [{"from": "infra.count", "to": [{"object": "Deployment/web", "field": "spec.replicas"}]}],
            "configMaps": [{"name": "settings", "data": {"host": {"from": "infra.host"}, "mode": "fast"}}]}));
        let origin: Address = "infra/machine.db".parse().unwrap();
        let inputs = BTreeMap::from([
            (
                "infra.host".to_owned(),
                Planned::unknown("string", Some(origin.clone())),
            ),
            ("infra.count".to_owned(), Planned::unknown("number", None)),
        ]);
        let objects = made(&spec, &inputs, vec![deployment()]);
        assert_eq!(objects.faults, []);
        let web = &objects.all[0];
        assert!(web.unknown_configuration);
        let unknown = web.all_unknown(Some(origin.clone()));
        assert_eq!(unknown[0].at, "/spec/replicas");
        assert_eq!(unknown[0].kind, "number");
        assert_eq!(unknown[1].at, configuration_at());
        assert_eq!(unknown[1].from, Some(origin.clone()));
        let settings = &objects.all[1];
        assert_eq!(settings.unknown()[0].at, "/data/host");
        assert_eq!(settings.unknown()[0].from, Some(origin));
        assert_eq!(settings.value["data"]["mode"], "fast");
    }

    #[test]
    fn the_configuration_of_pods_is_noted_in_their_template_and_changes_with_it() {
        let note = |mode: &str| {
            let spec = spec(
                json!({"path": "x", "configMaps": [{"name": "settings", "data": {"mode": mode}}]}),
            );
            let objects = made(&spec, &BTreeMap::new(), vec![deployment()]);
            objects.all[0]
                .value
                .pointer(&configuration_at())
                .cloned()
                .unwrap()
        };
        assert_eq!(note("fast"), note("fast"));
        assert_ne!(note("fast"), note("slow"));
    }

    #[test]
    fn texts_of_a_secret_are_applied_as_its_data() {
        let secret = document(
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "uid": "x", "creationTimestamp": null},
            "data": {"a": "YQ\n==\n"}, "stringData": {"b": "b"}, "status": {}}),
        );
        let objects = made(&Spec::of_path("x"), &BTreeMap::new(), vec![secret]);
        let value = &objects.all[0].value;
        assert_eq!(value["data"], json!({"a": "YQ==", "b": "Yg=="}));
        assert!(value.get("stringData").is_none() && value.get("status").is_none());
        assert!(value["metadata"].get("uid").is_none());
        assert_eq!(
            sensitive_by_kind(&objects.all[0].key, value),
            ["/data/a", "/data/b"]
        );
    }
}
