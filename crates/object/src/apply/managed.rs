//! `metadata.managedFields`: who owns which fields, since when, in which version.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::set::FieldSet;
use crate::text::go_quote;
use crate::time;

/// How a manager came to own its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// It applied them.
    Apply,
    /// It wrote them in any other way.
    Update,
}

impl Operation {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// Who owns fields. Two entries of the same owner are one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner<'a> {
    /// The manager's name.
    pub manager: Cow<'a, str>,
    /// How it came to own them.
    pub operation: Operation,
    /// The version of the fields' names. It tells owners apart for updates only.
    pub api_version: Cow<'a, str>,
    /// The subresource it wrote through; empty for the object itself.
    pub subresource: Cow<'a, str>,
}

impl Owner<'_> {
    /// Whether this is the same owner.
    pub fn is(&self, other: &Owner<'_>) -> bool {
        self.operation == other.operation
            && self.manager == other.manager
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    /// The text by which upstream sorts owners in messages: their JSON.
    pub(super) fn key(&self) -> String {
        let mut key = Map::new();
        let mut set = |name: &str, value: &str| {
            if !value.is_empty() {
                key.insert(name.to_owned(), value.into());
            }
        };
        set("manager", &self.manager);
        set("operation", self.operation.as_str());
        if self.operation == Operation::Update {
            set("apiVersion", &self.api_version);
        }
        set("subresource", &self.subresource);
        Value::Object(key).to_string()
    }

    /// As conflicts name it.
    pub(super) fn title(&self) -> String {
        let mut title = go_quote(&self.manager);
        if !self.subresource.is_empty() {
            title = format!("{title} with subresource {}", go_quote(&self.subresource));
        }
        if self.operation == Operation::Update {
            title = format!("{title} using {}", self.api_version);
        }
        title
    }
}

/// One owner and its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Who.
    pub owner: Owner<'a>,
    /// When it last changed, as it is written.
    pub time: Option<Cow<'a, str>>,
    /// What.
    pub fields: FieldSet<'a>,
    /// How the fields stand in the object, while they are as they were read.
    pub(super) written: Option<&'a Value>,
}

impl<'a> Entry<'a> {
    /// A new entry.
    pub fn new(owner: Owner<'a>, time: Option<Cow<'a, str>>, fields: FieldSet<'a>) -> Self {
        Self {
            owner,
            time,
            fields,
            written: None,
        }
    }

    pub(super) fn set(&mut self, fields: FieldSet<'a>) {
        if fields != self.fields {
            self.written = None;
            self.fields = fields;
        }
    }

    pub(super) fn seconds(&self) -> i64 {
        self.time
            .as_deref()
            .and_then(|time| time::parse(time).ok())
            .map_or(0, jiff::Timestamp::as_second)
    }
}

/// All owners of an object's fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManagedFields<'a>(pub Vec<Entry<'a>>);

impl<'a> ManagedFields<'a> {
    /// Reads `metadata.managedFields`.
    ///
    /// # Errors
    ///
    /// In upstream's words, what is wrong with an entry.
    pub fn parse(list: Option<&'a Value>) -> Result<Self, String> {
        let items = match list {
            None | Some(Value::Null) => return Ok(Self::default()),
            Some(Value::Array(items)) => items,
            Some(_) => return Err("managed fields must be a list".to_owned()),
        };
        let mut all = Self(Vec::with_capacity(items.len()));
        for (at, item) in items.iter().enumerate() {
            let entry = parse_entry(at, item)?;
            match all.position(&entry.owner) {
                Some(at) => all.0[at] = entry,
                None => all.0.push(entry),
            }
        }
        Ok(all)
    }

    /// Whether nobody owns anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entry of an owner.
    pub fn entry(&self, owner: &Owner<'_>) -> Option<&Entry<'a>> {
        self.0.iter().find(|entry| entry.owner.is(owner))
    }

    pub(super) fn position(&self, owner: &Owner<'_>) -> Option<usize> {
        self.0.iter().position(|entry| entry.owner.is(owner))
    }

    /// Takes out the entries without fields.
    pub(super) fn drop_empty(&mut self) {
        self.0.retain(|entry| !entry.fields.is_empty());
    }

    /// Writes `metadata.managedFields` in upstream's order: by operation, time (in seconds), manager,
    /// version and subresource. `None`: there are no owners.
    pub fn write(mut self) -> Option<Value> {
        if self.0.is_empty() {
            return None;
        }
        self.0.sort_by_cached_key(|entry| {
            (
                entry.owner.operation,
                entry.seconds(),
                entry.owner.manager.clone(),
                entry.owner.api_version.clone(),
                entry.owner.subresource.clone(),
            )
        });
        Some(Value::Array(self.0.into_iter().map(write_entry).collect()))
    }
}

fn parse_entry(at: usize, item: &Value) -> Result<Entry<'_>, String> {
    let text = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default();
    let operation = match text("operation") {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return Err("operation must be `Apply` or `Update`".to_owned()),
    };
    if text("apiVersion").is_empty() {
        return Err("apiVersion must not be empty".to_owned());
    }
    match text("fieldsType") {
        "FieldsV1" => {}
        "" => return Err(format!("missing fieldsType in managed fields entry {at}")),
        other => {
            return Err(format!(
                "invalid fieldsType {} in managed fields entry {at}",
                go_quote(other)
            ));
        }
    }
    let written = item.get("fieldsV1").filter(|fields| !fields.is_null());
    let fields = written.map_or_else(|| Ok(FieldSet::default()), FieldSet::parse);
    Ok(Entry {
        owner: Owner {
            manager: text("manager").into(),
            operation,
            api_version: text("apiVersion").into(),
            subresource: text("subresource").into(),
        },
        time: Some(text("time"))
            .filter(|time| !time.is_empty())
            .map(Cow::Borrowed),
        fields: fields.map_err(|why| format!("error decoding set: {why}"))?,
        written,
    })
}

fn write_entry(entry: Entry<'_>) -> Value {
    let mut map = Map::with_capacity(7);
    let owner = entry.owner;
    if !owner.manager.is_empty() {
        map.insert("manager".to_owned(), owner.manager.into());
    }
    map.insert("operation".to_owned(), owner.operation.as_str().into());
    map.insert("apiVersion".to_owned(), owner.api_version.into());
    if let Some(time) = entry.time {
        map.insert("time".to_owned(), time.into());
    }
    map.insert("fieldsType".to_owned(), "FieldsV1".into());
    let fields = entry
        .written
        .map_or_else(|| entry.fields.write(), Value::clone);
    map.insert("fieldsV1".to_owned(), fields);
    if !owner.subresource.is_empty() {
        map.insert("subresource".to_owned(), owner.subresource.into());
    }
    Value::Object(map)
}

/// Whether a list of managed fields asks to forget all of them: it is empty, or one empty entry.
pub fn is_reset(list: &Value) -> bool {
    match list {
        Value::Array(items) => match &items[..] {
            [] => true,
            [one] => one.as_object().is_some_and(|entry| {
                entry.values().all(|value| match value {
                    Value::Null => true,
                    Value::String(text) => text.is_empty(),
                    _ => false,
                })
            }),
            _ => false,
        },
        _ => false,
    }
}

/// Whether two lists of managed fields say the same of everything but times.
pub fn same_but_times(one: &Value, other: &Value) -> bool {
    let entries = |list: &'_ Value| -> Option<Vec<Map<String, Value>>> {
        list.as_array()?
            .iter()
            .map(|entry| {
                let mut entry = entry.as_object()?.clone();
                entry.shift_remove("time");
                Some(entry)
            })
            .collect()
    };
    match (one.as_array(), other.as_array()) {
        (Some(left), Some(right)) if left.len() == right.len() => entries(one) == entries(other),
        _ => false,
    }
}
