//! What changes in a resource, field by field: only what differs, each with where it lies, what it was and what it
//! becomes.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use consort_plan::{Drift, Planned};
use serde_json::Value;
use similar::{Algorithm, ChangeTag, DiffOp, TextDiff};

use super::inline::{self, DEPTH, SENSITIVE, Sight, plain, push};
use super::style::{escaped, quoted};

/// A field that comes, changes or goes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Field {
    /// Where it lies, for people: `spec.containers[web].image`. Empty for the whole resource.
    pub(super) path: String,
    /// What it was; none where there was nothing.
    pub(super) before: Option<String>,
    /// What it becomes; none where there is nothing then.
    pub(super) after: Option<String>,
    /// The lines of a longer text that differ, in place of both.
    pub(super) lines: Vec<String>,
    /// Whether it is why the resource is replaced.
    pub(super) replaces: bool,
    /// Which of the drifts it puts back.
    pub(super) drift: Option<usize>,
    /// The type of a value that only the resource itself will tell, where there was none before.
    pub(super) told_later: Option<String>,
}

/// What to look at.
pub(super) struct Sides<'p> {
    pub(super) before: Option<&'p Planned>,
    pub(super) after: Option<&'p Planned>,
    /// The places that cannot be changed in place.
    pub(super) replaces: &'p [String],
    pub(super) drift: &'p [Drift],
    /// Places that are left out, with all below them.
    pub(super) hidden: &'p [&'p str],
    /// Whether long values are told whole.
    pub(super) full: bool,
}

/// What is left to say beside the fields.
#[allow(clippy::struct_field_names)]
pub(super) struct Fields {
    pub(super) fields: Vec<Field>,
    /// The places of `replaces` that no field stands for, for people.
    pub(super) replaces: Vec<String>,
    /// The drifts that no field stands for.
    pub(super) drift: Vec<usize>,
}

/// Tells a change apart. The cost is linear in the size of the values, but for lists that are compared element by
/// element, and those have a deadline.
pub(super) fn fields(sides: &Sides<'_>) -> Fields {
    let mut walk = Walk {
        before: Sight::of(sides.before, sides.after),
        after: Sight::of(sides.after, sides.before),
        sides,
        replaces: sides.replaces.iter().map(String::as_str).collect(),
        drift: sides
            .drift
            .iter()
            .enumerate()
            .filter(|(_, drift)| drift.corrected)
            .map(|(index, drift)| (drift.at.as_str(), index))
            .collect(),
        told: BTreeSet::new(),
        drifts_told: BTreeSet::new(),
        seen_unknown: BTreeSet::new(),
        path: String::new(),
        was: String::new(),
        becomes: String::new(),
        fields: Vec::new(),
        named: Vec::new(),
        depth: 0,
        deadline: Instant::now() + Duration::from_millis(200),
    };
    walk.pair(
        sides.before.map(|planned| &planned.value),
        sides.after.map(|planned| &planned.value),
    );
    // Places that are unknown where the value holds nothing at all.
    let missing: Vec<_> = walk
        .after
        .unknowns()
        .filter(|unknown| !walk.seen_unknown.contains(unknown.at.as_str()))
        .filter(|unknown| {
            sides
                .after
                .is_some_and(|after| after.value.pointer(&unknown.at).is_none())
        })
        .collect();
    for unknown in missing {
        walk.fields.push(Field {
            path: dotted(&unknown.at, None),
            after: Some(inline::unknown(unknown)),
            told_later: unknown.from.is_none().then(|| unknown.kind.clone()),
            ..Field::default()
        });
    }
    let replaces = sides
        .replaces
        .iter()
        .filter(|at| !walk.told.contains(at.as_str()))
        .map(|at| {
            let value = sides.after.or(sides.before).map(|planned| &planned.value);
            dotted(at, value)
        })
        .collect();
    let drift = (0..sides.drift.len())
        .filter(|index| !walk.drifts_told.contains(index))
        .collect();
    Fields {
        fields: walk.fields,
        replaces,
        drift,
    }
}

/// A pointer as people write it. With the value, elements of lists are named as they are in fields.
pub(super) fn dotted(at: &str, value: Option<&Value>) -> String {
    let mut out = String::new();
    let mut value = value;
    for step in at.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        match value {
            Some(Value::Array(parts)) => {
                let keys = names(&[parts]);
                let index = step.parse::<usize>().ok();
                let name =
                    index.and_then(|index| keys.as_ref().and_then(|(_, keys)| keys[0].get(index)));
                match name {
                    Some(name) => out.push_str(&format!("[{}]", escaped(name))),
                    None => out.push_str(&format!("[{}]", escaped(&step))),
                }
                value = index.and_then(|index| parts.get(index));
            }
            Some(Value::Object(parts)) => {
                below(&mut out, &step);
                value = parts.get(&step);
            }
            _ if !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit()) => {
                out.push_str(&format!("[{step}]"));
            }
            _ => below(&mut out, &step),
        }
    }
    out
}

fn below(path: &mut String, name: &str) {
    if plain(name) {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
    } else {
        path.push('[');
        path.push_str(&quoted(name));
        path.push(']');
    }
}

/// What elements of lists are called by, the first that all of them have and no two share.
const NAMES: [&str; 9] = [
    "name",
    "key",
    "mountPath",
    "containerPort",
    "port",
    "id",
    "ip",
    "topologyKey",
    "type",
];

/// The key elements of some lists are called by, and their names, list by list.
fn names(lists: &[&[Value]]) -> Option<(&'static str, Vec<Vec<String>>)> {
    if lists.iter().all(|list| list.is_empty()) {
        return None;
    }
    NAMES.into_iter().find_map(|key| {
        let mut all = Vec::with_capacity(lists.len());
        for list in lists {
            let mut known = BTreeSet::new();
            let mut own = Vec::with_capacity(list.len());
            for element in *list {
                let name = match element.get(key)? {
                    Value::String(name) if !name.is_empty() => name.clone(),
                    Value::Number(number) => number.to_string(),
                    _ => return None,
                };
                if !known.insert(name.clone()) {
                    return None;
                }
                own.push(name);
            }
            all.push(own);
        }
        Some((key, all))
    })
}

struct Walk<'s, 'p> {
    before: Sight<'p>,
    after: Sight<'p>,
    sides: &'s Sides<'p>,
    replaces: BTreeSet<&'p str>,
    drift: HashMap<&'p str, usize>,
    told: BTreeSet<String>,
    drifts_told: BTreeSet<usize>,
    seen_unknown: BTreeSet<String>,
    path: String,
    was: String,
    becomes: String,
    fields: Vec<Field>,
    /// Places that hold what an element is called by already.
    named: Vec<String>,
    depth: usize,
    deadline: Instant,
}

/// Values up to this many characters stay on one line when they come or go as a whole.
const SHORT: usize = 60;

impl Walk<'_, '_> {
    fn limit(&self) -> usize {
        if self.sides.full { usize::MAX } else { 160 }
    }

    /// Looks at one place of both sides.
    fn pair(&mut self, before: Option<&Value>, after: Option<&Value>) {
        if self.sides.hidden.iter().any(|at| {
            (*at == self.becomes && after.is_some()) || (*at == self.was && before.is_some())
        }) {
            return;
        }
        if before.is_none() && self.named.last() == Some(&self.becomes) {
            return;
        }
        let unknown = after.and_then(|_| self.after.unknown(&self.becomes));
        let before = before.filter(|value| {
            !value.is_null()
                || self.before.sensitive(&self.was)
                || self.before.unknown(&self.was).is_some()
        });
        let after = after.filter(|value| !value.is_null() || unknown.is_some());
        let secret = (before.is_some() && self.before.sensitive(&self.was))
            || (after.is_some() && self.after.sensitive(&self.becomes));
        if secret {
            if let Some(unknown) = unknown {
                self.seen_unknown.insert(unknown.at.clone());
            }
            if before == after && unknown.is_none() && !self.after.marks_below(&self.becomes) {
                return;
            }
            let shown = |there: bool| there.then(|| SENSITIVE.to_owned());
            let (before, after) = (
                before.as_ref().is_some_and(|value| !value.is_null()),
                after.is_some(),
            );
            if before || after {
                self.told(shown(before), shown(after), Vec::new());
            }
            return;
        }
        if let Some(unknown) = unknown {
            self.seen_unknown.insert(unknown.at.clone());
            let was = before.map(|value| self.text_before(value));
            let told_later =
                (was.is_none() && unknown.from.is_none()).then(|| unknown.kind.clone());
            self.told(was, Some(inline::unknown(unknown)), Vec::new());
            if let Some(field) = self.fields.last_mut() {
                field.told_later = told_later;
            }
            return;
        }
        match (before, after) {
            (None, None) => {}
            (Some(old), Some(new)) if old == new && !self.after.marks_below(&self.becomes) => {}
            (Some(Value::Object(_)), Some(Value::Object(_)))
            | (Some(Value::Array(_)), Some(Value::Array(_)))
                if self.depth < DEPTH =>
            {
                self.containers(before, after);
            }
            (None, Some(new @ (Value::Object(_) | Value::Array(_)))) if self.depth < DEPTH => {
                let text = self.after.inline(&self.becomes, new, SHORT * 2);
                // On one line all of it would be told: not the whole resource, and not where something below is hidden.
                let hides = self.becomes.is_empty() || self.hides_below();
                if !hides && text.len() <= SHORT && !self.after.marks_below(&self.becomes) {
                    self.told(None, Some(text), Vec::new());
                } else {
                    self.containers(None, Some(new));
                }
            }
            (Some(old @ (Value::Object(_) | Value::Array(_))), None)
                if self.depth < DEPTH && self.sides.full =>
            {
                self.containers(Some(old), None);
            }
            (Some(Value::String(old)), Some(Value::String(new))) => self.texts(old, new),
            (old, new) => {
                let old = old.map(|value| self.text_before(value));
                let new = new.map(|value| self.after.inline(&self.becomes, value, self.limit()));
                self.told(old, new, Vec::new());
            }
        }
    }

    fn text_before(&self, value: &Value) -> String {
        let limit = if self.sides.full { usize::MAX } else { SHORT };
        self.before.inline(&self.was, value, limit)
    }

    fn told(&mut self, before: Option<String>, after: Option<String>, lines: Vec<String>) {
        let mut field = Field {
            path: self.path.clone(),
            before,
            after,
            lines,
            ..Field::default()
        };
        for at in [self.was.as_str(), self.becomes.as_str()] {
            // A place, or one above or below it.
            let mut place = Some(at);
            while let Some(at) = place.filter(|at| !at.is_empty()) {
                if let Some(found) = self.replaces.get(at) {
                    self.told.insert((*found).to_owned());
                    field.replaces = true;
                }
                if let Some(index) = self.drift.get(at) {
                    self.drifts_told.insert(*index);
                    field.drift = Some(*index);
                }
                place = at.rfind('/').map(|end| &at[..end]);
            }
            if !self.replaces.is_empty() {
                let below = format!("{at}/");
                for found in self.replaces.range(below.as_str()..) {
                    if !found.starts_with(&below) {
                        break;
                    }
                    self.told.insert((*found).to_owned());
                    field.replaces = true;
                }
            }
        }
        self.fields.push(field);
    }

    /// Goes one step down on the sides where there is something, and back.
    fn step(
        &mut self,
        label: &dyn Fn(&mut String),
        old: Option<(&str, &Value)>,
        new: Option<(&str, &Value)>,
    ) {
        let ends = (self.path.len(), self.was.len(), self.becomes.len());
        label(&mut self.path);
        // A side without a value gets the other's step: its place tells what was replaced or drifted.
        let either = old.or(new).map_or("", |(step, _)| step);
        push(&mut self.was, old.map_or(either, |(step, _)| step));
        push(&mut self.becomes, new.map_or(either, |(step, _)| step));
        self.depth += 1;
        self.pair(old.map(|(_, value)| value), new.map(|(_, value)| value));
        self.depth -= 1;
        self.path.truncate(ends.0);
        self.was.truncate(ends.1);
        self.becomes.truncate(ends.2);
    }

    /// Whether something below the present place is not shown.
    fn hides_below(&self) -> bool {
        let below = format!("{}/", self.becomes);
        self.sides.hidden.iter().any(|at| at.starts_with(&below))
    }

    fn containers(&mut self, before: Option<&Value>, after: Option<&Value>) {
        let told = self.fields.len();
        match (before, after) {
            (before @ (None | Some(Value::Object(_))), after @ (None | Some(Value::Object(_)))) => {
                let empty = serde_json::Map::new();
                let old = before.and_then(Value::as_object).unwrap_or(&empty);
                let new = after.and_then(Value::as_object).unwrap_or(&empty);
                for (name, value) in new {
                    let old = old.get(name).map(|value| (name.as_str(), value));
                    self.step(&|path| below(path, name), old, Some((name, value)));
                }
                for (name, value) in old {
                    if !new.contains_key(name) {
                        self.step(&|path| below(path, name), Some((name, value)), None);
                    }
                }
            }
            (before, after) => {
                let empty = Vec::new();
                let old = before.and_then(Value::as_array).unwrap_or(&empty);
                let new = after.and_then(Value::as_array).unwrap_or(&empty);
                self.lists(old, new);
            }
        }
        // An empty container that comes or goes is a change too; so is one that differs only in what is not shown.
        if self.fields.len() == told
            && (before.is_none() || after.is_none())
            && !self.becomes.is_empty()
            && !self.hides_below()
        {
            let old = before.map(|value| self.text_before(value));
            let new = after.map(|value| self.after.inline(&self.becomes, value, SHORT));
            self.told(old, new, Vec::new());
        }
    }

    fn lists(&mut self, old: &[Value], new: &[Value]) {
        if let Some((key, names)) = names(&[old, new])
            && !self.names_are_secret(key, old.len(), new.len())
        {
            let at: HashMap<&str, usize> = names[0]
                .iter()
                .enumerate()
                .map(|(index, name)| (name.as_str(), index))
                .collect();
            for (index, name) in names[1].iter().enumerate() {
                let was = at.get(name.as_str()).copied();
                if was.is_none() {
                    self.named.push(format!("{}/{index}/{key}", self.becomes));
                }
                self.element(
                    &escaped(name),
                    was.map(|was| (was, &old[was])),
                    Some((index, &new[index])),
                );
                if was.is_none() {
                    self.named.pop();
                }
            }
            let kept: BTreeSet<&str> = names[1].iter().map(String::as_str).collect();
            for (index, name) in names[0].iter().enumerate() {
                if !kept.contains(name.as_str()) {
                    self.element(&escaped(name), Some((index, &old[index])), None);
                }
            }
            return;
        }
        let keys = |list: &[Value], sight: &Sight<'_>, at: &str, side: char| -> Vec<String> {
            list.iter()
                .enumerate()
                .map(|(index, value)| {
                    let place = format!("{at}/{index}");
                    if sight.unknown(&place).is_some() || sight.marks_below(&place) {
                        // Like nothing else.
                        format!("{side}{index}")
                    } else {
                        value.to_string()
                    }
                })
                .collect()
        };
        let was = keys(old, &self.before, &self.was, '<');
        let becomes = keys(new, &self.after, &self.becomes, '>');
        let ops = similar::capture_diff_slices_deadline(
            Algorithm::Myers,
            &was,
            &becomes,
            Some(self.deadline),
        );
        for op in ops {
            match op {
                DiffOp::Equal { .. } => {}
                DiffOp::Delete {
                    old_index, old_len, ..
                } => {
                    for (index, was) in old.iter().enumerate().skip(old_index).take(old_len) {
                        self.element(&index.to_string(), Some((index, was)), None);
                    }
                }
                DiffOp::Insert {
                    new_index, new_len, ..
                } => {
                    for (index, becomes) in new.iter().enumerate().skip(new_index).take(new_len) {
                        self.element(&index.to_string(), None, Some((index, becomes)));
                    }
                }
                DiffOp::Replace {
                    old_index,
                    old_len,
                    new_index,
                    new_len,
                } => {
                    for step in 0..old_len.max(new_len) {
                        let was = (step < old_len).then(|| old_index + step);
                        let becomes = (step < new_len).then(|| new_index + step);
                        let name = becomes.or(was).unwrap_or_default().to_string();
                        self.element(
                            &name,
                            was.map(|index| (index, &old[index])),
                            becomes.map(|index| (index, &new[index])),
                        );
                    }
                }
            }
        }
    }

    /// Whether what elements are called by must not be shown.
    fn names_are_secret(&self, key: &str, old: usize, new: usize) -> bool {
        let any = |sight: &Sight<'_>, at: &str, count: usize| {
            sight.marks_below(at)
                && (0..count).any(|index| {
                    sight.sensitive(&format!("{at}/{index}/{key}"))
                        || sight.sensitive(&format!("{at}/{index}"))
                })
        };
        any(&self.before, &self.was, old) || any(&self.after, &self.becomes, new)
    }

    fn element(&mut self, name: &str, old: Option<(usize, &Value)>, new: Option<(usize, &Value)>) {
        let was = old.map(|(index, _)| index.to_string());
        let becomes = new.map(|(index, _)| index.to_string());
        self.step(
            &|path| {
                path.push('[');
                path.push_str(name);
                path.push(']');
            },
            old.zip(was.as_deref())
                .map(|((_, value), step)| (step, value)),
            new.zip(becomes.as_deref())
                .map(|((_, value), step)| (step, value)),
        );
    }

    fn texts(&mut self, old: &str, new: &str) {
        if let (Some(was), Some(becomes)) = (document(old), document(new))
            && was != becomes
        {
            // Text that is JSON on both sides is told apart by its parts.
            let sides = Sides {
                before: None,
                after: None,
                replaces: &[],
                drift: &[],
                hidden: &[],
                full: self.sides.full,
            };
            let (was, becomes) = (Planned::known(was), Planned::known(becomes));
            let parts = fields(&Sides {
                before: Some(&was),
                after: Some(&becomes),
                ..sides
            });
            let told = !parts.fields.is_empty();
            for part in parts.fields {
                let end = self.path.len();
                self.path.push_str(" (JSON)");
                if !part.path.starts_with('[') && !part.path.is_empty() {
                    self.path.push('.');
                }
                self.path.push_str(&part.path);
                self.told(part.before, part.after, part.lines);
                self.path.truncate(end);
            }
            if told {
                return;
            }
        }
        if old.contains('\n') || new.contains('\n') {
            let lines = different_lines(old, new, self.deadline, self.sides.full);
            self.told(None, None, lines);
            return;
        }
        let (was, becomes) = inline::shortened_pair(old, new, self.limit());
        self.told(Some(was), Some(becomes), Vec::new());
    }
}

/// A text that is a document of JSON.
fn document(text: &str) -> Option<Value> {
    let text = text.trim();
    if !text.starts_with(['{', '[']) || text.len() > 1_000_000 {
        return None;
    }
    serde_json::from_str::<Value>(text)
        .ok()
        .filter(|value| value.is_object() || value.is_array())
}

/// The lines that go (`- `) and come (`+ `), each run of them with its place.
fn different_lines(old: &str, new: &str, deadline: Instant, full: bool) -> Vec<String> {
    const MOST: usize = 40;
    let difference = TextDiff::configure()
        .deadline(deadline)
        .diff_lines(old, new);
    let mut lines = Vec::new();
    let mut gap = true;
    for change in difference.iter_all_changes() {
        let (sign, index) = match change.tag() {
            ChangeTag::Equal => {
                gap = true;
                continue;
            }
            ChangeTag::Delete => ('-', change.old_index()),
            ChangeTag::Insert => ('+', change.new_index()),
        };
        if gap && let Some(index) = index {
            lines.push(format!("@ line {}", index + 1));
        }
        gap = false;
        let text = change.value().trim_end_matches(['\n', '\r']);
        let end = if change.missing_newline() {
            "  (no newline at its end)"
        } else {
            ""
        };
        lines.push(format!("{sign} {}{end}", escaped(text)));
    }
    if !full && lines.len() > MOST {
        let more = lines.len() - MOST;
        lines.truncate(MOST);
        lines.push(format!("... {more} more lines"));
    }
    lines
}
