//! Values on one line, with what is unknown and what is sensitive in them.

use std::collections::{BTreeMap, BTreeSet};

use consort_plan::{Planned, Unknown};
use serde_json::Value;

use super::style::{escaped, quoted};

/// A planned value with its unknown and sensitive places at hand.
#[derive(Default)]
pub(super) struct Sight<'p> {
    unknown: BTreeMap<&'p str, &'p Unknown>,
    sensitive: BTreeSet<&'p str>,
}

impl<'p> Sight<'p> {
    /// The places of a value, those that are sensitive on the other side of the change counted in: what is secret
    /// before or after is not shown at all.
    pub(super) fn of(planned: Option<&'p Planned>, other: Option<&'p Planned>) -> Self {
        let mut sight = Sight::default();
        if let Some(planned) = planned {
            sight.unknown = planned
                .unknown
                .iter()
                .map(|unknown| (unknown.at.as_str(), unknown))
                .collect();
        }
        for planned in planned.into_iter().chain(other) {
            sight
                .sensitive
                .extend(planned.sensitive.iter().map(String::as_str));
        }
        sight
    }

    pub(super) fn unknown(&self, at: &str) -> Option<&'p Unknown> {
        if self.unknown.is_empty() {
            return None;
        }
        self.unknown.get(at).copied()
    }

    pub(super) fn sensitive(&self, at: &str) -> bool {
        !self.sensitive.is_empty() && self.sensitive.contains(at)
    }

    /// Whether something below a place is unknown or sensitive.
    pub(super) fn marks_below(&self, at: &str) -> bool {
        if self.unknown.is_empty() && self.sensitive.is_empty() {
            return false;
        }
        let below = format!("{at}/");
        let first = self.unknown.range(below.as_str()..).next();
        first.is_some_and(|(place, _)| place.starts_with(&below))
            || self
                .sensitive
                .range(below.as_str()..)
                .next()
                .is_some_and(|place| place.starts_with(&below))
    }

    pub(super) fn unknowns(&self) -> impl Iterator<Item = &'p Unknown> {
        self.unknown.values().copied()
    }

    /// A value on one line of at most about `limit` characters; what is longer ends in `...`.
    pub(super) fn inline(&self, at: &str, value: &Value, limit: usize) -> String {
        let mut line = Line {
            sight: self,
            at: at.to_owned(),
            out: String::new(),
            limit,
        };
        line.value(value, 0);
        line.out
    }
}

/// What is said of a value that is not known yet.
pub(super) fn unknown(unknown: &Unknown) -> String {
    let kind = escaped(&unknown.kind);
    match &unknown.from {
        Some(from) => format!(
            "(known after apply: {kind}, from {})",
            escaped(from.as_str())
        ),
        None => format!("(known after apply: {kind})"),
    }
}

pub(super) const SENSITIVE: &str = "(sensitive value)";

/// How deep values are shown.
pub(super) const DEPTH: usize = 64;

struct Line<'s, 'p> {
    sight: &'s Sight<'p>,
    at: String,
    out: String,
    limit: usize,
}

impl Line<'_, '_> {
    fn is_full(&self) -> bool {
        self.out.len() > self.limit
    }

    fn value(&mut self, value: &Value, depth: usize) {
        if self.sight.sensitive(&self.at) {
            self.out.push_str(SENSITIVE);
            return;
        }
        if let Some(place) = self.sight.unknown(&self.at) {
            self.out.push_str(&unknown(place));
            return;
        }
        match value {
            Value::Null => self.out.push_str("null"),
            Value::Bool(value) => self.out.push_str(if *value { "true" } else { "false" }),
            Value::Number(number) => self.out.push_str(&number.to_string()),
            Value::String(text) => {
                let room = self.limit.saturating_sub(self.out.len()).max(16);
                self.out.push_str(&shortened(text, room));
            }
            Value::Array(_) | Value::Object(_) if depth >= DEPTH => self.out.push_str("..."),
            Value::Array(parts) => {
                self.out.push('[');
                for (index, part) in parts.iter().enumerate() {
                    if index > 0 {
                        self.out.push_str(", ");
                    }
                    if self.is_full() {
                        self.out.push_str("...");
                        break;
                    }
                    let end = self.at.len();
                    self.at.push('/');
                    self.at.push_str(&index.to_string());
                    self.value(part, depth + 1);
                    self.at.truncate(end);
                }
                self.out.push(']');
            }
            Value::Object(parts) => {
                self.out.push('{');
                for (index, (name, part)) in parts.iter().enumerate() {
                    if index > 0 {
                        self.out.push_str(", ");
                    }
                    if self.is_full() {
                        self.out.push_str("...");
                        break;
                    }
                    if plain(name) {
                        self.out.push_str(name);
                    } else {
                        self.out.push_str(&quoted(name));
                    }
                    self.out.push_str(": ");
                    let end = self.at.len();
                    push(&mut self.at, name);
                    self.value(part, depth + 1);
                    self.at.truncate(end);
                }
                self.out.push('}');
            }
        }
    }
}

/// A quoted text, its middle left out where it is longer than `room`.
pub(super) fn shortened(text: &str, room: usize) -> String {
    if text.len() <= room {
        return quoted(text);
    }
    let count = text.chars().count();
    if count <= room {
        return quoted(text);
    }
    let keep = room / 2;
    let head: String = text.chars().take(keep).collect();
    let tail: String = text.chars().skip(count - keep).collect();
    let (head, tail) = (quoted(&head), quoted(&tail));
    format!(
        "{}...{} ({count} characters)",
        &head[..head.len() - 1],
        &tail[1..]
    )
}

/// Two long texts that differ, with what they share at both ends left out.
pub(super) fn shortened_pair(before: &str, after: &str, room: usize) -> (String, String) {
    const AROUND: usize = 12;
    if before.len() <= room && after.len() <= room {
        return (quoted(before), quoted(after));
    }
    let old: Vec<char> = before.chars().collect();
    let new: Vec<char> = after.chars().collect();
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let rest = old.len().min(new.len()) - head;
    let tail = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take(rest)
        .take_while(|(a, b)| a == b)
        .count();
    let cut = |text: &[char]| {
        let from = head.saturating_sub(AROUND);
        let to = (text.len() - tail + AROUND).min(text.len());
        let part: String = text[from..to].iter().collect();
        let part = shortened(&part, room);
        let part = &part[1..];
        let (lead, trail) = (
            if from > 0 { "\"..." } else { "\"" },
            if to < text.len() { "..." } else { "" },
        );
        match part.strip_suffix('"') {
            Some(inner) => format!("{lead}{inner}{trail}\""),
            None => format!("{lead}{part}"),
        }
    };
    (cut(&old), cut(&new))
}

/// Whether a key needs no quotes.
pub(super) fn plain(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// Makes a pointer go one step further down.
pub(super) fn push(at: &mut String, step: &str) {
    at.push('/');
    if step.contains(['~', '/']) {
        at.push_str(&step.replace('~', "~0").replace('/', "~1"));
    } else {
        at.push_str(step);
    }
}
