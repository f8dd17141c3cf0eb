//! What is told of a resource to whoever says what it is worth: little enough that the many that are alike are judged
//! once, whatever their number.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use consort_plan::{Action, Address, Blueprint, Change, Planned, Reversal};
use serde::Serialize;
use serde_json::Value;

/// What is looked for in resources, as the judge of their worth says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Words in addresses.
    pub(crate) words: HashSet<String>,
    /// Names of labels and tags, in lower case.
    pub(crate) labels: HashSet<String>,
    /// Paths of fields, their steps joined by dots.
    pub(crate) fields: Vec<String>,
    /// Whether nothing but the wanted words in the values of labels counts: what differs in its name alone is alike then.
    pub(crate) labels_by_word: bool,
}

/// What is told of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub(crate) struct Facets<'a> {
    pub(crate) layer: &'a str,
    #[serde(rename = "type")]
    pub(crate) kind: &'a str,
    pub(crate) action: Action,
    pub(crate) pool: u32,
    pub(crate) words: Vec<&'a str>,
    pub(crate) labels: BTreeMap<String, Value>,
    pub(crate) changed: Vec<String>,
    pub(crate) before: BTreeMap<&'a str, Value>,
    pub(crate) after: BTreeMap<&'a str, Value>,
    pub(crate) irreversible: bool,
}

/// Tells of resources.
pub(crate) struct Telling<'a> {
    blueprint: &'a Blueprint,
    wanted: &'a Wanted,
    /// By the first letter of the wanted words, which lengths they have, one bit each: most words of addresses are told
    /// apart from them without being looked up.
    lengths: [u64; 26],
    /// The layer of each part, by where its changes begin.
    layers: Vec<(u32, &'a str)>,
    pools: Pools,
}

impl<'a> Telling<'a> {
    pub(crate) fn new(blueprint: &'a Blueprint, wanted: &'a Wanted) -> Self {
        let mut layers: Vec<_> = blueprint
            .parts
            .iter()
            .map(|part| (part.first, part.layer.as_str()))
            .collect();
        layers.sort_by_key(|(first, _)| *first);
        let mut this = Telling {
            blueprint,
            wanted,
            lengths: lengths(&wanted.words),
            layers,
            pools: Pools::default(),
        };
        this.pools = Pools::of(&this);
        this
    }

    /// The language of the part that a change belongs to.
    pub(crate) fn layer(&self, change: u32) -> &'a str {
        let at = self.layers.partition_point(|(first, _)| *first <= change);
        at.checked_sub(1).map_or("", |at| self.layers[at].1)
    }

    /// The pool of a change, if there is more than one in it, and how many there are.
    pub(crate) fn pool(&self, change: u32) -> Option<(u32, u32)> {
        self.pools.find(change)
    }

    /// How many pools there are: their numbers are below it.
    pub(crate) fn pools(&self) -> usize {
        self.pools.members.len()
    }

    /// The wanted words in a text, sorted.
    pub(crate) fn words(&self, text: &str) -> Vec<&'a str> {
        let bytes = text.as_bytes();
        let mut words = Vec::new();
        let mut at = 0;
        while let Some(first) = bytes.get(at) {
            let letter = first.to_ascii_lowercase().wrapping_sub(b'a');
            if letter >= 26 {
                at += 1;
                continue;
            }
            let begin = at;
            while bytes.get(at).is_some_and(u8::is_ascii_alphabetic) {
                at += 1;
            }
            if self.lengths[usize::from(letter)] & length(at - begin) != 0 {
                let word = text[begin..at].to_ascii_lowercase();
                words.extend(self.wanted.words.get(&word).map(String::as_str));
            }
        }
        words.sort_unstable();
        words.dedup();
        words
    }

    /// What is told of a change. `known` is what the resource is like where the change itself does not say: that of
    /// one that stays as it is.
    pub(crate) fn facets(&self, change: u32, known: Option<&Shown<'_>>) -> Facets<'a> {
        let place = change;
        let change = &self.blueprint.changes[place as usize];
        let shown = change.before.as_ref().map(Shown::of);
        let before = shown.as_ref().or(known);
        let shown = change.after.as_ref().map(Shown::of);
        let after = shown.as_ref();
        let layer = self.layer(place);
        Facets {
            layer,
            kind: &change.kind,
            action: change.action,
            pool: self.pools.find(place).map_or(1, |(_, members)| members),
            words: self.words(named(&change.address, layer)),
            labels: self.labels(before.or(after)),
            changed: if change.action == Action::Update {
                changed(change, layer)
            } else {
                Vec::new()
            },
            before: self.fields(before),
            after: self.fields(after),
            irreversible: change.reversal == Reversal::Irreversible,
        }
    }

    fn labels(&self, planned: Option<&Shown<'_>>) -> BTreeMap<String, Value> {
        let mut labels = BTreeMap::new();
        let Some(planned) = planned else {
            return labels;
        };
        // Tags of cloud resources, labels of objects and of machines; the later ones win.
        for at in [
            "/tags_all",
            "/tags",
            "/labels",
            "/metadata/0/labels",
            "/metadata/labels",
        ] {
            let Some(Value::Object(found)) = planned.value.pointer(at) else {
                continue;
            };
            for (label, value) in found {
                let name = label.to_lowercase();
                let known = matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_));
                if known
                    && self.wanted.labels.contains(&name)
                    && !hides(planned, &consort_plan::below(at, label))
                {
                    labels.insert(name, value.clone());
                }
            }
        }
        if self.wanted.labels_by_word {
            labels.retain(|_, value| {
                let words = match value {
                    Value::String(text) => self.words(&text.to_lowercase()),
                    _ => Vec::new(),
                };
                let said = !words.is_empty();
                *value = Value::String(words.join(" "));
                said
            });
        }
        labels
    }

    fn fields(&self, planned: Option<&Shown<'_>>) -> BTreeMap<&'a str, Value> {
        let mut fields = BTreeMap::new();
        let Some(planned) = planned.filter(|planned| planned.value.is_object()) else {
            return fields;
        };
        for path in &self.wanted.fields {
            let mut pointer = String::new();
            let mut value = Some(planned.value);
            for step in path.split('.') {
                pointer = consort_plan::below(&pointer, step);
                value = value.and_then(|value| value.get(step));
            }
            if let Some(value) = value.filter(|value| !value.is_null() && !value.is_object())
                && !hides(planned, &pointer)
            {
                fields.insert(path.as_str(), value.clone());
            }
        }
        fields
    }
}

/// As far as an address names what a resource is. What a task is called says nothing about its machine.
fn named<'t>(address: &'t Address, layer: &str) -> &'t str {
    match layer {
        "playbook" => &address.as_str()[..address.part().len() + 1 + address.before_key().len()],
        _ => address.as_str(),
    }
}

/// What a resource is like, and the places in it that must not be shown.
pub(crate) struct Shown<'v> {
    pub(crate) value: &'v Value,
    pub(crate) sensitive: Cow<'v, [String]>,
}

impl<'v> Shown<'v> {
    fn of(planned: &'v Planned) -> Self {
        Shown {
            value: &planned.value,
            sensitive: Cow::Borrowed(&planned.sensitive),
        }
    }
}

/// A bit for a length; those of 63 and more share one.
fn length(length: usize) -> u64 {
    1 << length.min(63)
}

fn lengths(words: &HashSet<String>) -> [u64; 26] {
    let mut lengths = [0; 26];
    for word in words {
        let letter = word
            .bytes()
            .next()
            .map_or(u8::MAX, |it| it.wrapping_sub(b'a'));
        if let Some(lengths) = lengths.get_mut(usize::from(letter)) {
            *lengths |= length(word.len());
        }
    }
    lengths
}

/// Whether a place lies in something that must not be shown.
fn hides(planned: &Shown<'_>, at: &str) -> bool {
    planned.sensitive.iter().any(|place| {
        at.strip_prefix(place.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// What the server writes about an object itself.
const SERVERS_OWN: [&str; 6] = [
    "managedFields",
    "generation",
    "resourceVersion",
    "uid",
    "creationTimestamp",
    "selfLink",
];

/// The fields an update changes: those at the top, and of Kubernetes objects those one step below `spec` and `metadata`.
/// What is only unknown afterwards (a value the provider computes) does not count.
fn changed(change: &Change, layer: &str) -> Vec<String> {
    let (Some(before), Some(after)) = (&change.before, &change.after) else {
        return Vec::new();
    };
    let mut fields = Vec::new();
    differing(&before.value, &after.value, |field, old, new| {
        if layer == "manifests" && matches!(field, "spec" | "metadata") {
            differing(old, new, |inner, _, _| {
                if field != "metadata" || !SERVERS_OWN.contains(&inner) {
                    fields.push(format!("{field}.{inner}"));
                }
            });
        } else if (layer != "manifests" || field != "status")
            && !(new.is_null()
                && after
                    .unknown
                    .iter()
                    .any(|at| at.at == consort_plan::below("", field)))
        {
            fields.push(field.to_owned());
        }
    });
    fields.sort();
    fields.dedup();
    fields
}

fn differing<'v>(
    before: &'v Value,
    after: &'v Value,
    mut tell: impl FnMut(&'v str, &'v Value, &'v Value),
) {
    static NOTHING: Value = Value::Null;
    if let Some(before) = before.as_object() {
        for (field, old) in before {
            let new = after.get(field).unwrap_or(&NOTHING);
            if old != new {
                tell(field, old, new);
            }
        }
    }
    if let Some(after) = after.as_object() {
        for (field, new) in after {
            if !new.is_null() && before.get(field).is_none() {
                tell(field, &NOTHING, new);
            }
        }
    }
}

/// Resources that stand in for each other: instances of one block, in Terraform also those whose names differ in a
/// number or one letter at the end, and hosts that have the same task.
#[derive(Default)]
struct Pools {
    /// The pool of each change; [`u32::MAX`] if it is alone.
    of: Vec<u32>,
    /// How many there are in each pool that are there now.
    members: Vec<u32>,
}

impl Pools {
    fn of(telling: &Telling<'_>) -> Self {
        let blueprint = telling.blueprint;
        let mut this = Pools {
            of: vec![u32::MAX; blueprint.changes.len()],
            ..Pools::default()
        };
        let mut known: HashMap<Cow<'_, str>, u32> = HashMap::new();
        for (place, change) in (0_u32..).zip(&blueprint.changes) {
            if change.action == Action::Read || telling.layer(place) == "manifests" {
                continue;
            }
            let stem = match telling.layer(place) {
                // Hosts that have the same task.
                "playbook" => {
                    let address = &change.address;
                    let task = &address.local()[address.before_key().len()..];
                    Some(Cow::Owned(format!("{}/{task}", address.part())))
                }
                _ => stem(telling, change.address.as_str()),
            };
            let Some(stem) = stem else {
                continue;
            };
            let next = this.members.len() as u32;
            let pool = *known.entry(stem).or_insert(next);
            if pool == next {
                this.members.push(0);
            }
            if change.action != Action::Create {
                this.members[pool as usize] += 1;
            }
            this.of[place as usize] = pool;
        }
        this
    }

    fn find(&self, change: u32) -> Option<(u32, u32)> {
        let pool = self
            .of
            .get(change as usize)
            .filter(|pool| **pool != u32::MAX)?;
        let members = *self.members.get(*pool as usize)?;
        (members > 1).then_some((*pool, members))
    }
}

/// What the addresses of a pool's members have in common; none for what can only be alone.
fn stem<'t>(telling: &Telling<'_>, address: &'t str) -> Option<Cow<'t, str>> {
    let bytes = address.as_bytes();
    if !bytes.contains(&b'[') {
        let stem = address.trim_end_matches(|c: char| c.is_ascii_digit());
        if stem.len() < address.len() {
            return (!stem.ends_with('.')).then_some(Cow::Borrowed(stem));
        }
        // `lb_a`, `subnet-b`
        return match bytes {
            [.., b'-' | b'_', b'a'..=b'z'] => Some(Cow::Borrowed(&address[..address.len() - 1])),
            _ => None,
        };
    }
    // One index at the end, as most have it.
    if let (Some(open), [.., b'0'..=b'9', b']']) = (address.find('['), bytes)
        && bytes[open + 1..bytes.len() - 1]
            .iter()
            .all(u8::is_ascii_digit)
    {
        return Some(Cow::Borrowed(&address[..=open]));
    }
    let mut stem = String::with_capacity(address.len());
    let mut rest = address;
    while let Some(open) = rest.find('[') {
        let quoted = rest[open + 1..].starts_with('"');
        // A key may hold brackets, but not a quote that is not escaped.
        let close = if quoted {
            end_of_text(&rest[open + 2..]).map(|at| open + 2 + at)
        } else {
            rest[open..].find(']').map(|at| open + at)
        };
        let Some(close) = close.and_then(|at| rest[at..].find(']').map(|more| at + more)) else {
            break;
        };
        let key = &rest[open + 1..close];
        let last = close + 1 == rest.len();
        stem.push_str(&rest[..=open]);
        // Keys of modules often are environments or regions, which do not stand in for each other.
        if quoted && (!last || !telling.words(key).is_empty()) {
            stem.push_str(key);
        }
        stem.push(']');
        rest = &rest[close + 1..];
    }
    stem.push_str(rest);
    // With `for_each` and with `count` it is the same pool.
    if stem.ends_with("[]") && stem.find('[') == Some(stem.len() - 2) {
        stem.pop();
    }
    Some(Cow::Owned(stem))
}

fn end_of_text(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at),
            _ => {}
        }
    }
    None
}
