//! The documents that policies are given: the form that policies for Terraform's plans expect, over all parts, with the
//! graph beside it; and single objects.
//!
//! Nothing sensitive gets in. In its place stands `(sensitive value)`, in objects and lists for each leaf, so that
//! their shape can still be judged.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use consort_plan::{Blueprint, Change, Mode, Planned, Source};
use regorus::Value;
use serde_json::Value as Json;

use crate::engine::Document;

/// What stands in place of a sensitive value.
pub(crate) const SENSITIVE: &str = "(sensitive value)";
/// Shorter texts are not looked for in what policies say: they would be found in other words.
const SHORTEST_SECRET: usize = 6;

/// The texts that were masked: none of them may be in what a policy says.
#[derive(Debug, Default)]
pub(crate) struct Secrets(BTreeSet<String>);

impl Secrets {
    fn note(&mut self, value: &Json) {
        match value {
            Json::String(text) if text.len() >= SHORTEST_SECRET => {
                self.0.insert(text.clone());
            }
            Json::Array(items) => items.iter().for_each(|item| self.note(item)),
            Json::Object(fields) => fields.values().for_each(|field| self.note(field)),
            _ => {}
        }
    }

    /// Takes out what may not be told.
    pub(crate) fn scrub(&self, text: String) -> String {
        self.0
            .iter()
            .filter(|secret| secret.as_str() != SENSITIVE)
            .fold(text, |text, secret| {
                if text.contains(secret.as_str()) {
                    text.replace(secret.as_str(), SENSITIVE)
                } else {
                    text
                }
            })
    }
}

/// What policies ask for besides the plan itself; it is left out for those that do not.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wants {
    /// `input.graph`.
    pub(crate) graph: bool,
    /// `input.plan` and `input.run`, as HCP Terraform's agents give them; `input.tfplan` and `input.tfrun`;
    /// `input.terraform`.
    pub(crate) nested: bool,
}

/// An object under construction.
#[derive(Default)]
struct Fields(BTreeMap<Value, Value>);

impl Fields {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(Value::from(name), value.into());
    }

    fn value(self) -> Value {
        Value::from(self.0)
    }
}

fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Value {
    Value::from(texts.into_iter().map(Value::from).collect::<Vec<_>>())
}

/// The document of a whole plan.
pub(crate) fn plan(
    blueprint: &Blueprint,
    documents: &BTreeMap<String, Json>,
    wants: Wants,
    secrets: &mut Secrets,
) -> Document {
    let mut whole = Whole::default();
    let places: HashMap<&str, u32> = if documents.is_empty() {
        HashMap::new()
    } else {
        (0..)
            .zip(&blueprint.changes)
            .map(|(place, change)| (change.address.as_str(), place))
            .collect()
    };
    for part in &blueprint.parts {
        let Some(document) = documents.get(&part.name) else {
            let from = (part.first as usize).min(blueprint.changes.len());
            let to = (from + part.count as usize).min(blueprint.changes.len());
            for change in &blueprint.changes[from..to] {
                if change.before.is_some() || change.after.is_some() {
                    whole.changes.push(of_change(change, &part.layer, secrets));
                }
            }
            continue;
        };
        let locate = |address: &str| {
            let place = places.get(format!("{}/{address}", part.name).as_str())?;
            blueprint.changes.get(*place as usize)
        };
        whole.take(&part.name, &part.layer, document, &locate, secrets);
    }
    let mut fields = whole.fields();
    if wants.nested {
        let nested = Value::from(fields.0.clone());
        let run = run(blueprint);
        for name in ["plan", "tfplan", "terraform"] {
            fields.put(name, nested.clone());
        }
        for name in ["run", "tfrun"] {
            fields.put(name, run.clone());
        }
    }
    let mode = match blueprint.mode {
        Mode::Apply => "apply",
        Mode::Destroy => "destroy",
        Mode::Rollback { .. } => "rollback",
        Mode::Heal => "heal",
    };
    fields.put("mode", mode);
    fields.put("score", blueprint.score.as_str());
    fields.put("author", blueprint.author.as_str());
    fields.put(
        "source",
        Document::new(&blueprint.source).map_or(Value::Null, |source| source.value().clone()),
    );
    fields.put(
        "parts",
        blueprint
            .parts
            .iter()
            .map(|part| {
                let mut fields = Fields::default();
                fields.put("name", part.name.as_str());
                fields.put("layer", part.layer.as_str());
                fields.value()
            })
            .collect::<Vec<_>>(),
    );
    if wants.graph {
        fields.put("graph", graph(blueprint));
    }
    Document::of(fields.value())
}

/// The plans of all parts, put together.
#[derive(Default)]
struct Whole {
    changes: Vec<Value>,
    drift: Vec<Value>,
    outputs: Vec<(String, Value)>,
    planned_values: Module,
    prior: Module,
    variables: Vec<(String, Value)>,
    providers: Vec<(String, Value)>,
    configuration: Module,
    rest: BTreeMap<Value, Value>,
    has_prior: bool,
}

/// A root module of several parts.
#[derive(Default)]
struct Module {
    lists: BTreeMap<String, Vec<Value>>,
    maps: BTreeMap<String, Vec<(String, Value)>>,
    others: BTreeMap<Value, Value>,
}

impl Module {
    /// Takes what is in the root module of a part.
    fn take(&mut self, part: &str, module: &Value) {
        let Ok(fields) = module.as_object() else {
            return;
        };
        for (name, value) in fields.iter() {
            let Ok(name) = name.as_string() else { continue };
            if let Ok(items) = value.as_array() {
                self.lists
                    .entry(name.to_string())
                    .or_default()
                    .extend(items.iter().cloned());
            } else if let Ok(fields) = value.as_object() {
                let map = self.maps.entry(name.to_string()).or_default();
                for (key, value) in fields.iter() {
                    if let Ok(key) = key.as_string() {
                        put_beside(map, part, key, value.clone());
                    }
                }
            } else {
                self.others
                    .insert(Value::String(name.clone()), value.clone());
            }
        }
    }

    fn value(self) -> Value {
        let mut fields = Fields(self.others);
        for (name, items) in self.lists {
            fields.put(&name, items);
        }
        for (name, map) in self.maps {
            fields.put(&name, object(map));
        }
        fields.value()
    }
}

/// Of two parts' things of one name the second is called by its part too.
fn put_beside(map: &mut Vec<(String, Value)>, part: &str, key: &str, value: Value) {
    let taken = map.iter().any(|(known, _)| known == key);
    let key = if taken {
        format!("{part}/{key}")
    } else {
        key.to_owned()
    };
    map.push((key, value));
}

fn object(map: Vec<(String, Value)>) -> Value {
    Value::from(
        map.into_iter()
            .map(|(key, value)| (Value::from(key), value))
            .collect::<BTreeMap<_, _>>(),
    )
}

impl Whole {
    fn take<'b>(
        &mut self,
        part: &str,
        layer: &str,
        document: &Json,
        locate: &dyn Fn(&str) -> Option<&'b Change>,
        secrets: &mut Secrets,
    ) {
        let Some(fields) = document.as_object() else {
            return;
        };
        let marked = Marked::of(document);
        for (name, value) in fields {
            let entries = || value.as_object().into_iter().flatten();
            match name.as_str() {
                "resource_changes" => {
                    for change in value.as_array().into_iter().flatten() {
                        let known = change
                            .get("address")
                            .and_then(Json::as_str)
                            .and_then(locate);
                        let change = of_terraform(change, part, layer, known, secrets);
                        self.changes.push(change);
                    }
                }
                "resource_drift" => {
                    for change in value.as_array().into_iter().flatten() {
                        self.drift
                            .push(of_terraform(change, part, layer, None, secrets));
                    }
                }
                "output_changes" => {
                    for (name, change) in entries() {
                        put_beside(&mut self.outputs, part, name, change_value(change, secrets));
                    }
                }
                "planned_values" => self.planned_values.take(part, &values(value, secrets)),
                "prior_state" => {
                    self.has_prior = true;
                    if let Some(value) = value.get("values") {
                        self.prior.take(part, &values(value, secrets));
                    }
                }
                "variables" => {
                    for (name, variable) in entries() {
                        let mask = Json::Bool(marked.variables.contains(name.as_str()));
                        put_beside(
                            &mut self.variables,
                            part,
                            name,
                            masked(variable, &mask, secrets),
                        );
                    }
                }
                "configuration" => {
                    for (name, provider) in value
                        .get("provider_config")
                        .and_then(Json::as_object)
                        .into_iter()
                        .flatten()
                    {
                        put_beside(
                            &mut self.providers,
                            part,
                            name,
                            provider_config(provider, secrets),
                        );
                    }
                    if let Some(module) = value.get("root_module") {
                        self.configuration
                            .take(part, &configuration(module, "", &marked, secrets));
                    }
                }
                _ => {
                    let value = masked(value, &Json::Null, secrets);
                    self.rest.entry(Value::from(name.as_str())).or_insert(value);
                }
            }
        }
    }

    fn fields(self) -> Fields {
        let mut fields = Fields(self.rest);
        if !fields.0.contains_key(&Value::from("format_version")) {
            fields.put("format_version", "1.2");
        }
        fields.put("resource_changes", self.changes);
        if !self.drift.is_empty() {
            fields.put("resource_drift", self.drift);
        }
        fields.put("output_changes", object(self.outputs));
        fields.put("planned_values", with_root(self.planned_values));
        if self.has_prior {
            let mut state = Fields::default();
            state.put("format_version", "1.0");
            state.put("values", with_root(self.prior));
            fields.put("prior_state", state.value());
        }
        if !self.variables.is_empty() {
            fields.put("variables", object(self.variables));
        }
        let mut configuration = Fields::default();
        if !self.providers.is_empty() {
            configuration.put("provider_config", object(self.providers));
        }
        configuration.put("root_module", self.configuration.value());
        fields.put("configuration", configuration.value());
        fields
    }
}

/// `root_module` and `outputs` of values: they come flattened, so that one rule puts parts together.
fn with_root(mut module: Module) -> Value {
    let mut fields = Fields::default();
    if let Some(outputs) = module.maps.remove("outputs") {
        fields.put("outputs", object(outputs));
    }
    fields.put("root_module", module.value());
    fields.value()
}

/// Values of a state or a plan: outputs and the fields of the root module side by side.
fn values(values: &Json, secrets: &mut Secrets) -> Value {
    let mut fields = match values.get("root_module") {
        Some(module) => match module_values(module, secrets) {
            Value::Object(fields) => {
                Fields(fields.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
            }
            _ => Fields::default(),
        },
        None => Fields::default(),
    };
    if let Some(outputs) = values.get("outputs").and_then(Json::as_object) {
        let outputs = outputs.iter().map(|(name, output)| {
            let sensitive = output.get("sensitive") == Some(&Json::Bool(true));
            let mut fields = Fields::default();
            for (field, value) in output.as_object().into_iter().flatten() {
                let mask = Json::Bool(sensitive && field == "value");
                fields.put(field, masked(value, &mask, secrets));
            }
            (name.clone(), fields.value())
        });
        fields.put("outputs", object(outputs.collect()));
    }
    fields.value()
}

fn module_values(module: &Json, secrets: &mut Secrets) -> Value {
    let mut fields = Fields::default();
    for (name, value) in module.as_object().into_iter().flatten() {
        let items = || value.as_array().into_iter().flatten();
        match name.as_str() {
            "resources" => {
                let mut list = Vec::new();
                for resource in items() {
                    let mask = resource.get("sensitive_values").unwrap_or(&Json::Null);
                    let mut fields = Fields::default();
                    for (name, value) in resource.as_object().into_iter().flatten() {
                        let mask = if name == "values" { mask } else { &Json::Null };
                        fields.put(name, masked(value, mask, secrets));
                    }
                    list.push(fields.value());
                }
                fields.put(name, list);
            }
            "child_modules" => {
                let list: Vec<_> = items()
                    .map(|module| module_values(module, secrets))
                    .collect();
                fields.put(name, list);
            }
            _ => fields.put(name, masked(value, &Json::Null, secrets)),
        }
    }
    fields.value()
}

/// What the configuration of a part marks as sensitive, and the providers' schemas through the changes.
#[derive(Default)]
struct Marked<'a> {
    /// Variables of the root module.
    variables: BTreeSet<&'a str>,
    /// By a resource's address without keys, its attributes that are sensitive anywhere.
    attributes: HashMap<String, BTreeSet<&'a str>>,
}

impl<'a> Marked<'a> {
    fn of(document: &'a Json) -> Self {
        let mut this = Marked::default();
        let root = document.pointer("/configuration/root_module/variables");
        for (name, variable) in root.and_then(Json::as_object).into_iter().flatten() {
            if variable.get("sensitive") == Some(&Json::Bool(true)) {
                this.variables.insert(name);
            }
        }
        let changes = document.get("resource_changes").and_then(Json::as_array);
        for change in changes.into_iter().flatten() {
            let Some(address) = change.get("address").and_then(Json::as_str) else {
                continue;
            };
            for side in ["before_sensitive", "after_sensitive"] {
                let mask = change.get("change").and_then(|change| change.get(side));
                for (attribute, mask) in mask.and_then(Json::as_object).into_iter().flatten() {
                    if marks(mask) {
                        let known = this.attributes.entry(without_keys(address)).or_default();
                        known.insert(attribute);
                    }
                }
            }
        }
        this
    }
}

/// Whether a mask marks anything.
fn marks(mask: &Json) -> bool {
    match mask {
        Json::Bool(marked) => *marked,
        Json::Array(items) => items.iter().any(marks),
        Json::Object(fields) => fields.values().any(marks),
        _ => false,
    }
}

fn without_keys(address: &str) -> String {
    let mut depth = 0_u32;
    let mut text = false;
    let mut escaped = false;
    let mut stem = String::with_capacity(address.len());
    for c in address.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if text => escaped = true,
            '"' if depth > 0 => text = !text,
            '[' if !text => depth += 1,
            ']' if !text => depth = depth.saturating_sub(1),
            _ if depth == 0 => stem.push(c),
            _ => {}
        }
    }
    stem
}

/// A module of the configuration. What is written there for something sensitive is masked too.
fn configuration(module: &Json, prefix: &str, marked: &Marked<'_>, secrets: &mut Secrets) -> Value {
    let mut fields = Fields::default();
    for (name, value) in module.as_object().into_iter().flatten() {
        let entries = || value.as_object().into_iter().flatten();
        match name.as_str() {
            "resources" => {
                let mut list = Vec::new();
                for resource in value.as_array().into_iter().flatten() {
                    let address = resource
                        .get("address")
                        .and_then(Json::as_str)
                        .unwrap_or_default();
                    let sensitive = marked.attributes.get(&format!("{prefix}{address}"));
                    let mut fields = Fields::default();
                    for (name, value) in resource.as_object().into_iter().flatten() {
                        if name == "expressions" {
                            let hidden =
                                |name: &str| sensitive.is_some_and(|all| all.contains(name));
                            fields.put(name, expressions(value, &hidden, secrets));
                        } else {
                            fields.put(name, masked(value, &Json::Null, secrets));
                        }
                    }
                    list.push(fields.value());
                }
                fields.put(name, list);
            }
            "variables" => {
                let mut variables = Fields::default();
                for (name, variable) in entries() {
                    let sensitive = variable.get("sensitive") == Some(&Json::Bool(true));
                    let mask = serde_json::json!({"default": sensitive});
                    variables.put(name, masked(variable, &mask, secrets));
                }
                fields.put(name, variables.value());
            }
            "outputs" => {
                let mut outputs = Fields::default();
                for (name, output) in entries() {
                    let sensitive = output.get("sensitive") == Some(&Json::Bool(true));
                    let mask = serde_json::json!({"expression": {"constant_value": sensitive}});
                    outputs.put(name, masked(output, &mask, secrets));
                }
                fields.put(name, outputs.value());
            }
            "module_calls" => {
                let mut calls = Fields::default();
                for (name, call) in entries() {
                    let inner = call.get("module").unwrap_or(&Json::Null);
                    let hidden = |name: &str| {
                        inner
                            .get("variables")
                            .and_then(|all| all.get(name))
                            .and_then(|variable| variable.get("sensitive"))
                            == Some(&Json::Bool(true))
                    };
                    let mut fields = Fields::default();
                    for (field, value) in call.as_object().into_iter().flatten() {
                        let value = match field.as_str() {
                            "module" => configuration(
                                value,
                                &format!("{prefix}module.{name}."),
                                marked,
                                secrets,
                            ),
                            "expressions" => expressions(value, &hidden, secrets),
                            _ => masked(value, &Json::Null, secrets),
                        };
                        fields.put(field, value);
                    }
                    calls.put(name, fields.value());
                }
                fields.put(name, calls.value());
            }
            _ => fields.put(name, masked(value, &Json::Null, secrets)),
        }
    }
    fields.value()
}

fn expressions(value: &Json, hidden: &dyn Fn(&str) -> bool, secrets: &mut Secrets) -> Value {
    let mut fields = Fields::default();
    for (name, expression) in value.as_object().into_iter().flatten() {
        let value = if hidden(name) {
            constants(expression, secrets)
        } else {
            masked(expression, &Json::Null, secrets)
        };
        fields.put(name, value);
    }
    fields.value()
}

/// The same with every constant masked.
fn constants(value: &Json, secrets: &mut Secrets) -> Value {
    match value {
        Json::Object(all) => {
            let mut fields = Fields::default();
            for (name, value) in all {
                let value = if name == "constant_value" {
                    masked(value, &Json::Bool(true), secrets)
                } else {
                    constants(value, secrets)
                };
                fields.put(name, value);
            }
            fields.value()
        }
        Json::Array(items) => Value::from(
            items
                .iter()
                .map(|item| constants(item, secrets))
                .collect::<Vec<_>>(),
        ),
        other => masked(other, &Json::Null, secrets),
    }
}

/// What the configuration of a provider says outright under a name that secrets have: plans do not tell what the schema
/// of a provider calls sensitive.
fn provider_config(provider: &Json, secrets: &mut Secrets) -> Value {
    let mut fields = Fields::default();
    for (name, value) in provider.as_object().into_iter().flatten() {
        let hidden = |name: &str| {
            let name = name.to_lowercase();
            [
                "secret",
                "password",
                "token",
                "private_key",
                "access_key",
                "credential",
                "client_key",
                "api_key",
            ]
            .iter()
            .any(|word| name.contains(word))
        };
        let value = if name == "expressions" {
            expressions(value, &hidden, secrets)
        } else {
            masked(value, &Json::Null, secrets)
        };
        fields.put(name, value);
    }
    fields.value()
}

/// A change of Terraform's with what is known of it here.
fn of_terraform(
    change: &Json,
    part: &str,
    layer: &str,
    known: Option<&Change>,
    secrets: &mut Secrets,
) -> Value {
    let mut fields = Fields::default();
    for (name, value) in change.as_object().into_iter().flatten() {
        let value = if name == "change" {
            change_value(value, secrets)
        } else {
            masked(value, &Json::Null, secrets)
        };
        fields.put(name, value);
    }
    fields.put("part", part);
    fields.put("layer", layer);
    if let Some(known) = known {
        described(known, &mut fields);
    }
    fields.value()
}

fn described(change: &Change, fields: &mut Fields) {
    if let Some(location) = &change.location {
        let mut place = Fields::default();
        place.put("file", location.file.as_str());
        place.put("line", location.line);
        fields.put("location", place.value());
    }
    if !change.reasons.is_empty() {
        fields.put("reasons", texts(change.reasons.iter().map(String::as_str)));
    }
}

/// `change` of a resource or an output: its values masked as it says itself.
fn change_value(change: &Json, secrets: &mut Secrets) -> Value {
    let mut fields = Fields::default();
    for (name, value) in change.as_object().into_iter().flatten() {
        let mask = match name.as_str() {
            "before" => change.get("before_sensitive"),
            "after" => change.get("after_sensitive"),
            _ => None,
        };
        fields.put(name, masked(value, mask.unwrap_or(&Json::Null), secrets));
    }
    fields.value()
}

/// A value with the leaves that the mask marks left out.
fn masked(value: &Json, mask: &Json, secrets: &mut Secrets) -> Value {
    match mask {
        Json::Bool(true) => {
            secrets.note(value);
            blank(value)
        }
        Json::Object(marks) if !marks.is_empty() => match value {
            Json::Object(all) => {
                let mut fields = Fields::default();
                for (name, value) in all {
                    fields.put(
                        name,
                        masked(value, marks.get(name).unwrap_or(&Json::Null), secrets),
                    );
                }
                fields.value()
            }
            other => masked(other, &Json::Null, secrets),
        },
        Json::Array(marks) if !marks.is_empty() => match value {
            Json::Array(items) => {
                let items = items.iter().enumerate();
                let items = items
                    .map(|(at, item)| masked(item, marks.get(at).unwrap_or(&Json::Null), secrets));
                Value::from(items.collect::<Vec<_>>())
            }
            other => masked(other, &Json::Null, secrets),
        },
        _ => Document::from(value.clone()).value().clone(),
    }
}

/// The shape of a value, without it.
fn blank(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Array(items) => Value::from(items.iter().map(blank).collect::<Vec<_>>()),
        Json::Object(all) => {
            let mut fields = Fields::default();
            for (name, value) in all {
                fields.put(name, blank(value));
            }
            fields.value()
        }
        _ => Value::from(SENSITIVE),
    }
}

/// A change of a layer that has no document of its own, in the form of Terraform's.
fn of_change(change: &Change, layer: &str, secrets: &mut Secrets) -> Value {
    let mut fields = Fields::default();
    fields.put("address", change.address.as_str());
    fields.put("part", change.address.part());
    fields.put("layer", layer);
    fields.put("mode", "managed");
    fields.put("type", change.kind.as_str());
    let local = change.address.local();
    fields.put("name", local.rsplit('/').next().unwrap_or(local));
    fields.put(
        "provider_name",
        if layer == "manifests" {
            "kubernetes"
        } else {
            layer
        },
    );
    if let Some(moved) = &change.moved_from {
        fields.put("previous_address", moved.as_str());
    }
    let mut inner = Fields::default();
    inner.put("actions", texts(change.action.words().iter().copied()));
    for (side, planned) in [("before", &change.before), ("after", &change.after)] {
        let nothing = Planned::default();
        let value = planned.as_ref().unwrap_or(&nothing);
        let mask = places(value.sensitive.iter().map(String::as_str), &value.value);
        inner.put(side, masked(&value.value, &mask, secrets));
        inner.put(
            &format!("{side}_sensitive"),
            Document::from(mask).value().clone(),
        );
        if side == "after" {
            let unknown = places(value.unknown.iter().map(|it| it.at.as_str()), &value.value);
            inner.put("after_unknown", Document::from(unknown).value().clone());
        }
    }
    if !change.replaces.is_empty() {
        let paths = change
            .replaces
            .iter()
            .map(|pointer| texts(steps(pointer).iter().map(String::as_str)));
        inner.put("replace_paths", paths.collect::<Vec<_>>());
    }
    fields.put("change", inner.value());
    described(change, &mut fields);
    fields.value()
}

/// One object, as it will be.
pub(crate) fn object_of(planned: &Planned, secrets: &mut Secrets) -> Document {
    let mask = places(planned.sensitive.iter().map(String::as_str), &planned.value);
    Document::of(masked(&planned.value, &mask, secrets))
}

/// A value masked at some places of it.
pub(crate) fn masked_at(value: &Json, sensitive: &[&str], secrets: &mut Secrets) -> Document {
    let mask = places(sensitive.iter().copied(), value);
    Document::of(masked(value, &mask, secrets))
}

fn steps(pointer: &str) -> Vec<String> {
    pointer
        .split('/')
        .skip(1)
        .map(|step| step.replace("~1", "/").replace("~0", "~"))
        .collect()
}

/// A mask in Terraform's form: `true` at the places, of the shape of the value around them.
fn places<'a>(pointers: impl Iterator<Item = &'a str>, value: &Json) -> Json {
    let mut mask = Json::Object(serde_json::Map::new());
    for pointer in pointers {
        put_mark(&mut mask, &steps(pointer), Some(value));
    }
    mask
}

fn put_mark(mask: &mut Json, steps: &[String], value: Option<&Json>) {
    let Some((step, rest)) = steps.split_first() else {
        *mask = Json::Bool(true);
        return;
    };
    if mask == &Json::Bool(true) {
        return;
    }
    if let Some(Json::Array(items)) = value
        && let Ok(index) = step.parse::<usize>()
        && index < items.len()
    {
        if !mask.is_array() {
            *mask = Json::Array(vec![Json::Object(serde_json::Map::new()); items.len()]);
        }
        if let Some(inner) = mask.get_mut(index) {
            put_mark(inner, rest, items.get(index));
        }
        return;
    }
    if !mask.is_object() {
        *mask = Json::Object(serde_json::Map::new());
    }
    if let Some(fields) = mask.as_object_mut() {
        let inner = fields
            .entry(step.clone())
            .or_insert_with(|| Json::Object(serde_json::Map::new()));
        put_mark(inner, rest, value.and_then(|value| value.get(step)));
    }
}

/// What HCP Terraform tells of a run, as far as there is such a thing here.
fn run(blueprint: &Blueprint) -> Value {
    let mut run = Fields::default();
    run.put("created_at", blueprint.time.to_string());
    run.put("created_by", blueprint.author.as_str());
    run.put("is_destroy", blueprint.mode == Mode::Destroy);
    run.put("refresh", true);
    run.put("refresh_only", false);
    run.put("speculative", false);
    let (commit, message) = match &blueprint.source {
        Source::Git { commit, .. }
        | Source::Directory {
            commit: Some(commit),
            ..
        } => (commit.id.as_str(), commit.subject.as_str()),
        Source::Directory { .. } | Source::Revision { .. } => ("", ""),
    };
    run.put("commit_sha", commit);
    run.put("message", message);
    let mut workspace = Fields::default();
    workspace.put("name", blueprint.score.as_str());
    run.put("workspace", workspace.value());
    run.value()
}

/// `nodes` by address, `dependencies` and `dependents` as `graph.reachable` takes them.
fn graph(blueprint: &Blueprint) -> Value {
    let count = blueprint.changes.len();
    let names: Vec<Value> = blueprint
        .changes
        .iter()
        .map(|change| Value::from(change.address.as_str()))
        .chain(
            blueprint
                .joints
                .iter()
                .map(|joint| Value::from(joint.label.as_str())),
        )
        .collect();
    let mut dependencies: Vec<Vec<Value>> = vec![Vec::new(); names.len()];
    let mut dependents: Vec<Vec<Value>> = vec![Vec::new(); names.len()];
    let mut connect = |dependent: usize, dependency: usize| {
        if dependent < names.len() && dependency < names.len() {
            dependencies[dependent].push(names[dependency].clone());
            dependents[dependency].push(names[dependent].clone());
        }
    };
    for edge in &blueprint.edges {
        connect(edge.dependent as usize, edge.dependency as usize);
    }
    for (node, joint) in (count..).zip(&blueprint.joints) {
        joint
            .dependents
            .iter()
            .for_each(|it| connect(*it as usize, node));
        joint
            .dependencies
            .iter()
            .for_each(|it| connect(node, *it as usize));
    }
    let mut nodes = BTreeMap::new();
    for part in &blueprint.parts {
        let from = (part.first as usize).min(count);
        let to = (from + part.count as usize).min(count);
        for (change, name) in blueprint.changes[from..to].iter().zip(&names[from..to]) {
            let mut node = Fields::default();
            node.put("part", part.name.as_str());
            node.put("layer", part.layer.as_str());
            node.put("type", change.kind.as_str());
            node.put("actions", texts(change.action.words().iter().copied()));
            nodes.insert(name.clone(), node.value());
        }
    }
    let lists = |lists: Vec<Vec<Value>>| {
        let lists = names
            .iter()
            .cloned()
            .zip(lists.into_iter().map(Value::from));
        Value::from(lists.collect::<BTreeMap<_, _>>())
    };
    let mut graph = Fields::default();
    graph.put("nodes", nodes);
    graph.put("dependencies", lists(dependencies));
    graph.put("dependents", lists(dependents));
    graph.value()
}
