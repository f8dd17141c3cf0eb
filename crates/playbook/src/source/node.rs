//! Values with the places they were written at.

use std::collections::HashMap;
use std::sync::Arc;

use consort_jinja::{Dict, Key, Object, Origin, Str, Value};
use indexmap::IndexMap;
use jiff::civil;

use crate::template::time;

/// A value as it was written, with its place. Sharing one is cheap.
#[derive(Clone, Debug)]
pub struct Node(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    origin: Arc<Origin>,
    content: Content,
    /// Whether it stands in several places (anchors and aliases).
    shared: bool,
}

/// What a node holds.
#[derive(Debug)]
pub enum Content {
    /// A text, number, truth value, point in time, or nothing.
    Scalar(Value),
    /// A list.
    Sequence(Vec<Node>),
    /// A mapping: each key once, in order.
    Mapping(Vec<(Node, Node)>),
}

impl Node {
    pub(crate) fn new(origin: Arc<Origin>, content: Content, shared: bool) -> Self {
        Node(Arc::new(Inner {
            origin,
            content,
            shared,
        }))
    }

    /// A value nobody wrote, at a place.
    pub fn of(value: Value, origin: &Arc<Origin>) -> Self {
        let content = match value {
            Value::List(list) => Content::Sequence(
                list.read()
                    .iter()
                    .map(|item| Node::of(item.clone(), origin))
                    .collect(),
            ),
            Value::Dict(dict) => Content::Mapping(
                dict.read()
                    .iter()
                    .map(|(key, value)| {
                        (
                            Node::of(key.value().clone(), origin),
                            Node::of(value.clone(), origin),
                        )
                    })
                    .collect(),
            ),
            value => Content::Scalar(value),
        };
        let origin = match &content {
            Content::Scalar(Value::Str(text)) => text.origin().unwrap_or(origin),
            _ => origin,
        };
        Node::new(Arc::clone(origin), content, false)
    }

    /// Where it was written.
    pub fn origin(&self) -> &Arc<Origin> {
        &self.0.origin
    }

    /// What it holds.
    pub fn content(&self) -> &Content {
        &self.0.content
    }

    /// The entries, if it is a mapping.
    pub fn mapping(&self) -> Option<&[(Node, Node)]> {
        match &self.0.content {
            Content::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    /// The items, if it is a list.
    pub fn sequence(&self) -> Option<&[Node]> {
        match &self.0.content {
            Content::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The value, if it is neither list nor mapping.
    pub fn scalar(&self) -> Option<&Value> {
        match &self.0.content {
            Content::Scalar(value) => Some(value),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        self.scalar().and_then(Value::as_str)
    }

    /// Whether it is the very same node.
    pub fn is(&self, other: &Node) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether it is nothing.
    pub fn is_none(&self) -> bool {
        matches!(self.0.content, Content::Scalar(Value::None))
    }

    /// The value of a text key, if it is a mapping that has it.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.entry(name).map(|(_, value)| value)
    }

    /// The key and value of a text key.
    pub fn entry(&self, name: &str) -> Option<(&Node, &Node)> {
        self.mapping()?
            .iter()
            .find(|(key, _)| key.as_str() == Some(name))
            .map(|(key, value)| (key, value))
    }

    /// Whether it is a mapping that has a text key.
    pub fn has(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    /// The name of its Python type.
    pub fn type_name(&self) -> &str {
        match &self.0.content {
            Content::Scalar(value) => value.type_name(),
            Content::Sequence(_) => "list",
            Content::Mapping(_) => "dict",
        }
    }

    /// The value, new: lists and dicts in it belong to whoever asked. What stands in several places is one value in them.
    pub fn value(&self) -> Value {
        self.to_value(&mut HashMap::new())
    }

    fn to_value(&self, shared: &mut HashMap<*const Inner, Value>) -> Value {
        let value = match &self.0.content {
            Content::Scalar(value) => return value.clone(),
            _ if self.0.shared && shared.contains_key(&Arc::as_ptr(&self.0)) => {
                return shared[&Arc::as_ptr(&self.0)].clone();
            }
            Content::Sequence(items) => {
                Value::list(items.iter().map(|item| item.to_value(shared)).collect())
            }
            Content::Mapping(_) => Value::Dict(self.to_dict(shared)),
        };
        if self.0.shared {
            shared.insert(Arc::as_ptr(&self.0), value.clone());
        }
        value
    }

    /// The entries as a dict, if it is a mapping; nothing in it otherwise.
    pub fn dict(&self) -> Dict {
        self.to_dict(&mut HashMap::new())
    }

    fn to_dict(&self, shared: &mut HashMap<*const Inner, Value>) -> Dict {
        let entries: IndexMap<Key, Value> = self
            .mapping()
            .unwrap_or_default()
            .iter()
            .filter_map(|(key, value)| {
                Some((
                    Key::new(key.scalar()?.clone()).ok()?,
                    value.to_value(shared),
                ))
            })
            .collect();
        Dict::new(entries)
    }
}

/// A text that is encrypted and could not be opened: `!vault` with a secret that is not known.
#[derive(Clone, Debug)]
pub struct Encrypted {
    /// What was written.
    pub ciphertext: Arc<str>,
    /// Where.
    pub origin: Option<Arc<Origin>>,
    /// Whether what it holds may be a template.
    pub trusted: bool,
    /// Why it could not be opened, if that was tried.
    pub reason: Option<String>,
}

impl Object for Encrypted {
    fn type_name(&self) -> &'static str {
        "EncryptedString"
    }

    fn truth(&self) -> bool {
        true
    }

    fn may_be_stored(&self) -> bool {
        true
    }

    fn equals(&self, other: &dyn Object) -> bool {
        other
            .any()
            .downcast_ref::<Encrypted>()
            .is_some_and(|other| other.ciphertext == self.ciphertext)
    }

    fn refusal(&self) -> Option<consort_jinja::Error> {
        let mut text = Str::new(Arc::clone(&self.ciphertext));
        if let Some(origin) = &self.origin {
            text = text.written_at(Arc::clone(origin));
        }
        Some(consort_jinja::Error::Explained(Arc::new(
            consort_jinja::Explained {
                message: "Attempt to use undecryptable variable.".to_owned(),
                template: Some(text),
                cause: Some(consort_jinja::Error::failed(
                    self.reason.as_deref().unwrap_or(
                        "Decryption failed (no vault secrets were found that could decrypt).",
                    ),
                )),
                ..consort_jinja::Explained::default()
            },
        )))
    }

    fn repr(&self) -> String {
        "EncryptedString(<redacted>)".to_owned()
    }

    fn text(&self) -> String {
        self.ciphertext.to_string()
    }

    fn any(&self) -> &dyn std::any::Any {
        self
    }
}

/// A date, or a date with a time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timestamp {
    /// The date, with midnight where there is no time.
    pub at: civil::DateTime,
    /// Whether there is a time.
    pub timed: bool,
    /// The seconds east of Greenwich, if they are known.
    pub offset: Option<i32>,
}

impl Timestamp {
    /// Reads one as YAML 1.1 writes them.
    ///
    /// # Errors
    /// It is none: Python's message.
    pub fn read(text: &str) -> Result<Self, String> {
        let (date, rest) = match text.find(['T', 't', ' ', '\t']) {
            Some(end) => (&text[..end], Some(text[end + 1..].trim())),
            None => (text, None),
        };
        let mut parts = date
            .split('-')
            .map(|part| part.parse::<i32>().unwrap_or(-1));
        let mut part = || parts.next().unwrap_or(-1);
        let (year, month, day) = (part(), part(), part());
        if year == 0 {
            return Err("year 0 is out of range".to_owned());
        }
        if !(1..=12).contains(&month) {
            return Err(format!("month must be in 1..12, not {month}"));
        }
        let date =
            civil::Date::new(year as i16, month as i8, day.clamp(-1, 99) as i8).map_err(|_| {
                format!("day {day} must be in range 1..31 for month {month} in year {year}")
            })?;
        let Some(rest) = rest else {
            return Ok(Timestamp {
                at: date.to_datetime(civil::Time::midnight()),
                timed: false,
                offset: None,
            });
        };
        let zone = rest.find(['Z', '+', '-']);
        let (clock, zone) = match zone {
            Some(start) => (rest[..start].trim(), Some(&rest[start..])),
            None => (rest, None),
        };
        let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
        let mut parts = clock
            .split(':')
            .map(|part| part.parse::<i8>().unwrap_or(-1));
        let mut part = || parts.next().unwrap_or(-1);
        let (hour, minute, second) = (part(), part(), part());
        let micros: String = fraction.chars().chain("000000".chars()).take(6).collect();
        let micros: i32 = micros.parse().unwrap_or(0);
        let time = civil::Time::new(hour, minute, second, micros * 1000)
            .map_err(|_| "time is out of range".to_owned())?;
        let offset = zone.map(|zone| {
            if zone == "Z" {
                return 0;
            }
            let (hours, minutes) = zone[1..].split_once(':').unwrap_or((&zone[1..], "0"));
            let seconds =
                hours.parse::<i32>().unwrap_or(0) * 3600 + minutes.parse::<i32>().unwrap_or(0) * 60;
            if zone.starts_with('-') {
                -seconds
            } else {
                seconds
            }
        });
        Ok(Timestamp {
            at: date.to_datetime(time),
            timed: true,
            offset,
        })
    }

    /// As a value.
    pub fn into_value(self) -> Value {
        Value::Object(Arc::new(self))
    }

    /// As Python's `isoformat` has it, with what stands between date and time.
    pub fn iso(&self, between: char) -> String {
        let at = self.at;
        let mut text = format!("{:04}-{:02}-{:02}", at.year(), at.month(), at.day());
        if !self.timed {
            return text;
        }
        text.push_str(&format!(
            "{between}{:02}:{:02}:{:02}",
            at.hour(),
            at.minute(),
            at.second()
        ));
        let micros = at.subsec_nanosecond() / 1000;
        if micros > 0 {
            text.push_str(&format!(".{micros:06}"));
        }
        if let Some(offset) = self.offset {
            let sign = if offset < 0 { '-' } else { '+' };
            let minutes = offset.abs() / 60;
            text.push_str(&format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60));
        }
        text
    }
}

impl Object for Timestamp {
    fn type_name(&self) -> &str {
        if self.timed { "datetime" } else { "date" }
    }

    fn truth(&self) -> bool {
        true
    }

    fn may_be_stored(&self) -> bool {
        true
    }

    fn get(&self, name: &str) -> Option<Value> {
        time::attribute(self, name)
    }

    fn call_method(
        &self,
        _: &mut consort_jinja::State<'_, '_>,
        name: &str,
        arguments: &consort_jinja::Arguments,
    ) -> Option<consort_jinja::Result<Value>> {
        time::method(self, name, arguments)
    }

    fn operate(
        &self,
        operator: &str,
        other: &Value,
        reflected: bool,
    ) -> Option<consort_jinja::Result<Value>> {
        time::operate(self, operator, other, reflected)
    }

    fn order(&self, other: &dyn Object) -> Option<std::cmp::Ordering> {
        time::order(self, other)
    }

    fn stored(&self) -> String {
        self.iso('T')
    }

    fn equals(&self, other: &dyn Object) -> bool {
        other.any().downcast_ref::<Timestamp>() == Some(self)
    }

    fn repr(&self) -> String {
        let at = self.at;
        let mut text = format!("{}, {}, {}", at.year(), at.month(), at.day());
        if !self.timed {
            return format!("datetime.date({text})");
        }
        text.push_str(&format!(", {}, {}", at.hour(), at.minute()));
        let micros = at.subsec_nanosecond() / 1000;
        if at.second() != 0 || micros != 0 {
            text.push_str(&format!(", {}", at.second()));
        }
        if micros != 0 {
            text.push_str(&format!(", {micros}"));
        }
        match self.offset {
            None => {}
            Some(0) => text.push_str(", tzinfo=datetime.timezone.utc"),
            Some(offset) => {
                // Python counts days down and seconds up.
                let (days, seconds) = (offset.div_euclid(86400), offset.rem_euclid(86400));
                let days = if days == 0 {
                    String::new()
                } else {
                    format!("days={days}, ")
                };
                text.push_str(&format!(
                    ", tzinfo=datetime.timezone(datetime.timedelta({days}seconds={seconds}))"
                ));
            }
        }
        format!("datetime.datetime({text})")
    }

    fn text(&self) -> String {
        self.iso(' ')
    }

    fn any(&self) -> &dyn std::any::Any {
        self
    }
}
