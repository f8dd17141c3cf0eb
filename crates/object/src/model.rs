//! Objects as they are stored: the JSON bytes, made once, and beside them the few fields that
//! selection, garbage collection and admission need, extracted when the object is written.
//!
//! A writer builds a [`Draft`] from a JSON value. The store chooses the revision and seals the draft
//! into an [`Object`]; only the decimal `metadata.resourceVersion` is spliced in then, nothing is
//! serialised again.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::encodings::Encodings;

/// A point in the store's history. There is one counter for the whole store; on the wire it is a
/// decimal string (`metadata.resourceVersion`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Revision {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// One entry of `metadata.ownerReferences`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Owner {
    /// `apiVersion` of the owner, e.g. `apps/v1`.
    pub api_version: String,
    /// Kind of the owner.
    pub kind: String,
    /// Name of the owner, in the same namespace (or cluster scoped).
    pub name: String,
    /// UID of the owner; the reference is to this incarnation only.
    pub uid: String,
    /// Whether this owner is the managing controller.
    pub controller: bool,
    /// Whether foreground deletion of the owner waits for this dependent.
    pub block_owner_deletion: bool,
}

/// What is extracted from an object when it is written, so that nobody has to parse its JSON to
/// select it. The meaning of each field is that of `metadata` in the Kubernetes API conventions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// `apiVersion` as stored.
    pub api_version: String,
    /// `kind` as stored.
    pub kind: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`; `None` for cluster-scoped objects.
    pub namespace: Option<String>,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`; 0 when absent.
    pub generation: i64,
    /// `metadata.creationTimestamp`, RFC 3339; empty when absent.
    pub creation_timestamp: String,
    /// `metadata.deletionTimestamp`, RFC 3339; `None` unless the object is being deleted.
    pub deletion: Option<String>,
    /// `metadata.labels`, sorted by key.
    pub labels: Vec<(String, String)>,
    /// `metadata.ownerReferences`, in the object's order.
    pub owners: Vec<Owner>,
    /// `metadata.finalizers`, in the object's order.
    pub finalizers: Vec<String>,
    /// Values of the kind's selectable fields, e.g. `("spec.nodeName", "n1")`.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// Extracts the head of an object. `fields` are the kind's selectable fields with their present
    /// values, `metadata.name` and `metadata.namespace` not among them.
    ///
    /// # Errors
    ///
    /// When the value is no object with a `metadata` object and a `metadata.name`, or one of the
    /// extracted fields has the wrong JSON type.
    pub fn extract(value: &Value, fields: Vec<(String, String)>) -> Result<Self, Error> {
        let root = value.as_object().ok_or(Error::Type {
            field: "",
            expected: "object",
        })?;
        let meta = metadata(root)?;
        let name = text(meta, "name", "metadata.name")?.ok_or(Error::NoName)?;
        let mut labels = Vec::new();
        if let Some(map) = object(meta, "labels", "metadata.labels")? {
            labels.reserve_exact(map.len());
            for (key, value) in map {
                let value = value.as_str().ok_or(Error::Type {
                    field: "metadata.labels",
                    expected: "object of strings",
                })?;
                labels.push((key.clone(), value.to_owned()));
            }
            labels.sort_unstable();
        }
        let owners = array(meta, "ownerReferences", "metadata.ownerReferences")?
            .iter()
            .map(owner)
            .collect::<Result<_, _>>()?;
        let finalizers = array(meta, "finalizers", "metadata.finalizers")?
            .iter()
            .map(|f| {
                f.as_str().map(str::to_owned).ok_or(Error::Type {
                    field: "metadata.finalizers",
                    expected: "array of strings",
                })
            })
            .collect::<Result<_, _>>()?;
        let generation = match meta.get("generation") {
            None | Some(Value::Null) => 0,
            Some(value) => value.as_i64().ok_or(Error::Type {
                field: "metadata.generation",
                expected: "integer",
            })?,
        };
        Ok(Self {
            api_version: text(root, "apiVersion", "apiVersion")?.unwrap_or_default(),
            kind: text(root, "kind", "kind")?.unwrap_or_default(),
            name,
            namespace: text(meta, "namespace", "metadata.namespace")?.filter(|ns| !ns.is_empty()),
            uid: text(meta, "uid", "metadata.uid")?.unwrap_or_default(),
            generation,
            creation_timestamp: text(meta, "creationTimestamp", "metadata.creationTimestamp")?
                .unwrap_or_default(),
            deletion: text(meta, "deletionTimestamp", "metadata.deletionTimestamp")?,
            labels,
            owners,
            finalizers,
            fields,
        })
    }

    /// Value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels
            .binary_search_by(|(have, _)| have.as_str().cmp(key))
            .ok()
            .map(|at| self.labels[at].1.as_str())
    }

    /// Value of a selectable field, `metadata.name` and `metadata.namespace` included.
    pub fn field(&self, path: &str) -> Option<&str> {
        match path {
            "metadata.name" => Some(&self.name),
            "metadata.namespace" => Some(self.namespace.as_deref().unwrap_or_default()),
            _ => self
                .fields
                .iter()
                .find(|(have, _)| have == path)
                .map(|(_, value)| value.as_str()),
        }
    }

    /// The owner that is the managing controller, if any.
    pub fn controller(&self) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.controller)
    }

    /// Appends the compact binary form: a format byte, then length-prefixed strings and counts.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(FORMAT);
        for part in [&self.api_version, &self.kind, &self.name] {
            put_text(out, part);
        }
        put_optional(out, self.namespace.as_deref());
        put_text(out, &self.uid);
        put_number(out, zigzag(self.generation));
        put_text(out, &self.creation_timestamp);
        put_optional(out, self.deletion.as_deref());
        put_pairs(out, &self.labels);
        put_number(out, self.owners.len() as u64);
        for owner in &self.owners {
            out.push(u8::from(owner.controller) | u8::from(owner.block_owner_deletion) << 1);
            for part in [&owner.api_version, &owner.kind, &owner.name, &owner.uid] {
                put_text(out, part);
            }
        }
        put_number(out, self.finalizers.len() as u64);
        for finalizer in &self.finalizers {
            put_text(out, finalizer);
        }
        put_pairs(out, &self.fields);
    }

    /// Reads what [`encode`](Self::encode) wrote. The whole input must be used up.
    ///
    /// # Errors
    ///
    /// [`Error::Encoding`] when the bytes are not such a form.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut input = Input(bytes);
        if input.byte()? != FORMAT {
            return Err(Error::Encoding);
        }
        let head = Self {
            api_version: input.text()?,
            kind: input.text()?,
            name: input.text()?,
            namespace: input.optional()?,
            uid: input.text()?,
            generation: unzigzag(input.number()?),
            creation_timestamp: input.text()?,
            deletion: input.optional()?,
            labels: input.many(|i| Ok((i.text()?, i.text()?)))?,
            owners: input.many(|i| {
                let flags = i.byte()?;
                Ok(Owner {
                    api_version: i.text()?,
                    kind: i.text()?,
                    name: i.text()?,
                    uid: i.text()?,
                    controller: flags & 1 != 0,
                    block_owner_deletion: flags & 2 != 0,
                })
            })?,
            finalizers: input.many(Input::text)?,
            fields: input.many(|i| Ok((i.text()?, i.text()?)))?,
        };
        if input.0.is_empty() {
            Ok(head)
        } else {
            Err(Error::Encoding)
        }
    }
}

/// A stored object. Cloning shares head and bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The extracted fields.
    pub head: Arc<Head>,
    /// The revision at which this state was written.
    pub revision: Revision,
    /// The complete JSON text, `metadata.resourceVersion` included.
    pub json: Bytes,
    /// The same object in other forms, made when someone asks for them.
    pub encodings: Encodings,
}

impl Object {
    /// Parses the JSON. Costs time in proportion to the object; selection should use the head.
    ///
    /// # Errors
    ///
    /// When the bytes are no JSON, which a sealed object never shows.
    pub fn value(&self) -> serde_json::Result<Value> {
        serde_json::from_slice(&self.json)
    }
}

/// An object to be written: everything but its revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The extracted fields.
    pub head: Head,
    /// JSON text with an empty string as `metadata.resourceVersion`.
    json: Vec<u8>,
    /// Where in `json` the digits go.
    revision_at: usize,
}

impl Draft {
    /// Serialises an object, whatever `metadata.resourceVersion` it has left out.
    ///
    /// # Errors
    ///
    /// When the value is no object with a `metadata` object.
    pub fn new(head: Head, value: &Value) -> Result<Self, Error> {
        let root = value.as_object().ok_or(Error::Type {
            field: "",
            expected: "object",
        })?;
        metadata(root)?;
        let mut json = Vec::with_capacity(1024);
        let mut revision_at = 0;
        json.push(b'{');
        for (at, (key, value)) in root.iter().enumerate() {
            if at > 0 {
                json.push(b',');
            }
            write_key(&mut json, key)?;
            match value {
                Value::Object(meta) if key == "metadata" => {
                    revision_at = write_metadata(&mut json, meta)?;
                }
                _ => serde_json::to_writer(&mut json, value).map_err(Error::Serialize)?,
            }
        }
        json.push(b'}');
        Ok(Self {
            head,
            json,
            revision_at,
        })
    }

    /// Builds a draft from a value with its head extracted: [`Head::extract`], then [`Draft::new`].
    ///
    /// # Errors
    ///
    /// As those two.
    pub fn from_value(value: &Value, fields: Vec<(String, String)>) -> Result<Self, Error> {
        Self::new(Head::extract(value, fields)?, value)
    }

    /// Takes a stored object's bytes back into a draft, to be written again unchanged or sealed
    /// with another revision. `revision_at` is where its revision's digits begin.
    ///
    /// # Errors
    ///
    /// [`Error::Encoding`] when the digits of `object.revision` are not there.
    pub fn reopen(object: &Object, revision_at: usize) -> Result<Self, Error> {
        let digits = object.revision.to_string();
        let rest = object.json.get(revision_at..).ok_or(Error::Encoding)?;
        let rest = rest
            .strip_prefix(digits.as_bytes())
            .ok_or(Error::Encoding)?;
        let mut json = Vec::with_capacity(object.json.len());
        json.extend_from_slice(&object.json[..revision_at]);
        json.extend_from_slice(rest);
        Ok(Self {
            head: object.head.as_ref().clone(),
            json,
            revision_at,
        })
    }

    /// Offset in the sealed JSON at which the revision's digits begin.
    pub fn revision_at(&self) -> usize {
        self.revision_at
    }

    /// Length of the JSON without the revision's digits, in bytes.
    pub fn len(&self) -> usize {
        self.json.len()
    }

    /// Never true: a draft holds at least `{}`.
    pub fn is_empty(&self) -> bool {
        self.json.is_empty()
    }

    /// The object this draft becomes at `revision`.
    pub fn seal(&self, revision: Revision) -> Object {
        Object {
            head: Arc::new(self.head.clone()),
            revision,
            json: self.sealed_json(revision),
            encodings: Encodings::default(),
        }
    }

    /// As [`seal`](Self::seal), without copying the head.
    pub fn into_sealed(self, revision: Revision) -> Object {
        let json = self.sealed_json(revision);
        Object {
            head: Arc::new(self.head),
            revision,
            json,
            encodings: Encodings::default(),
        }
    }

    fn sealed_json(&self, revision: Revision) -> Bytes {
        let mut digits = [0_u8; 20];
        let digits = decimal(revision.0, &mut digits);
        let mut json = Vec::with_capacity(self.json.len() + digits.len());
        json.extend_from_slice(&self.json[..self.revision_at]);
        json.extend_from_slice(digits);
        json.extend_from_slice(&self.json[self.revision_at..]);
        json.into()
    }
}

/// Why a value cannot become a stored object, or bytes are no head.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object has no `metadata` object.
    #[error("metadata: Required value")]
    NoMetadata,
    /// The object has no `metadata.name`.
    #[error("metadata.name: Required value")]
    NoName,
    /// A field that is extracted has the wrong JSON type.
    #[error("{field}: expected {expected}")]
    Type {
        /// Path of the field; empty for the document itself.
        field: &'static str,
        /// What should have been there.
        expected: &'static str,
    },
    /// Writing JSON failed.
    #[error("serialising the object")]
    Serialize(#[source] serde_json::Error),
    /// Bytes that are no encoded head, or no sealed object.
    #[error("the bytes are no encoded object")]
    Encoding,
}

/// First byte of an encoded head.
pub(crate) const FORMAT: u8 = 1;

fn metadata(root: &Map<String, Value>) -> Result<&Map<String, Value>, Error> {
    match root.get("metadata") {
        None | Some(Value::Null) => Err(Error::NoMetadata),
        Some(value) => value.as_object().ok_or(Error::Type {
            field: "metadata",
            expected: "object",
        }),
    }
}

fn text(map: &Map<String, Value>, key: &str, field: &'static str) -> Result<Option<String>, Error> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Error::Type {
            field,
            expected: "string",
        }),
    }
}

fn object<'a>(
    map: &'a Map<String, Value>,
    key: &str,
    field: &'static str,
) -> Result<Option<&'a Map<String, Value>>, Error> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(Error::Type {
            field,
            expected: "object",
        }),
    }
}

fn array<'a>(
    map: &'a Map<String, Value>,
    key: &str,
    field: &'static str,
) -> Result<&'a [Value], Error> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(array)) => Ok(array),
        Some(_) => Err(Error::Type {
            field,
            expected: "array",
        }),
    }
}

fn owner(value: &Value) -> Result<Owner, Error> {
    const FIELD: &str = "metadata.ownerReferences";
    let map = value.as_object().ok_or(Error::Type {
        field: FIELD,
        expected: "array of objects",
    })?;
    let flag = |key| match map.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(value) => value.as_bool().ok_or(Error::Type {
            field: FIELD,
            expected: "boolean in controller and blockOwnerDeletion",
        }),
    };
    Ok(Owner {
        api_version: text(map, "apiVersion", FIELD)?.unwrap_or_default(),
        kind: text(map, "kind", FIELD)?.unwrap_or_default(),
        name: text(map, "name", FIELD)?.unwrap_or_default(),
        uid: text(map, "uid", FIELD)?.unwrap_or_default(),
        controller: flag("controller")?,
        block_owner_deletion: flag("blockOwnerDeletion")?,
    })
}

fn write_key(json: &mut Vec<u8>, key: &str) -> Result<(), Error> {
    serde_json::to_writer(&mut *json, key).map_err(Error::Serialize)?;
    json.push(b':');
    Ok(())
}

/// Writes `metadata` with an empty resourceVersion and returns where its digits belong. The key
/// stays at its place, or follows the uid, where upstream's encoders have it.
fn write_metadata(json: &mut Vec<u8>, meta: &Map<String, Value>) -> Result<usize, Error> {
    const KEY: &str = "resourceVersion";
    let present = meta.contains_key(KEY);
    let after = if meta.contains_key("uid") {
        "uid"
    } else {
        "name"
    };
    let hole = |json: &mut Vec<u8>| {
        json.extend_from_slice(b"\"resourceVersion\":\"");
        let at = json.len();
        json.push(b'"');
        at
    };
    let mut revision_at = None;
    json.push(b'{');
    let mut first = true;
    for (key, value) in meta {
        if !std::mem::take(&mut first) {
            json.push(b',');
        }
        if key == KEY {
            revision_at = Some(hole(json));
            continue;
        }
        write_key(json, key)?;
        serde_json::to_writer(&mut *json, value).map_err(Error::Serialize)?;
        if !present && key == after {
            json.push(b',');
            revision_at = Some(hole(json));
        }
    }
    let at = if let Some(at) = revision_at {
        at
    } else {
        if !first {
            json.push(b',');
        }
        hole(json)
    };
    json.push(b'}');
    Ok(at)
}

fn decimal(mut number: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &buffer[at..];
        }
    }
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_optional(out: &mut Vec<u8>, text: Option<&str>) {
    out.push(u8::from(text.is_some()));
    if let Some(text) = text {
        put_text(out, text);
    }
}

fn put_pairs(out: &mut Vec<u8>, pairs: &[(String, String)]) {
    put_number(out, pairs.len() as u64);
    for (key, value) in pairs {
        put_text(out, key);
        put_text(out, value);
    }
}

/// What is left to decode.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn byte(&mut self) -> Result<u8, Error> {
        let (first, rest) = self.0.split_first().ok_or(Error::Encoding)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(crate) fn number(&mut self) -> Result<u64, Error> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Error::Encoding)
    }

    /// The bytes of a text, where they stand.
    pub(crate) fn slice(&mut self) -> Result<&'a [u8], Error> {
        let len = usize::try_from(self.number()?).map_err(|_| Error::Encoding)?;
        let (text, rest) = self.0.split_at_checked(len).ok_or(Error::Encoding)?;
        self.0 = rest;
        Ok(text)
    }

    pub(crate) fn str(&mut self) -> Result<&'a str, Error> {
        std::str::from_utf8(self.slice()?).map_err(|_| Error::Encoding)
    }

    fn text(&mut self) -> Result<String, Error> {
        self.str().map(str::to_owned)
    }

    fn optional(&mut self) -> Result<Option<String>, Error> {
        match self.byte()? {
            0 => Ok(None),
            1 => self.text().map(Some),
            _ => Err(Error::Encoding),
        }
    }

    fn many<T>(&mut self, read: impl Fn(&mut Self) -> Result<T, Error>) -> Result<Vec<T>, Error> {
        let count = usize::try_from(self.number()?).map_err(|_| Error::Encoding)?;
        // Each element takes a byte at least, so a damaged count cannot ask for much memory.
        if count > self.0.len() {
            return Err(Error::Encoding);
        }
        (0..count).map(|_| read(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn pod() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "web", "namespace": "shop", "uid": "u-1", "generation": 3,
                "labels": {"tier": "front", "app": "web"},
                "finalizers": ["a/b"],
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web",
                    "uid": "u-0", "controller": true}],
            },
            "spec": {"nodeName": "n1", "note": "\"resourceVersion\":\"\""},
        })
    }

    #[test]
    fn a_sealed_draft_differs_from_its_value_by_the_revision_alone() {
        let draft = Draft::from_value(&pod(), vec![]).unwrap();
        for revision in [0, 7, 10, 99_999, u64::MAX] {
            let object = draft.seal(Revision(revision));
            let mut expected = pod();
            expected["metadata"]["resourceVersion"] = json!(revision.to_string());
            assert_eq!(object.value().unwrap(), expected);
            assert_eq!(Draft::reopen(&object, draft.revision_at()).unwrap(), draft);
        }
    }

    #[test]
    fn a_revision_the_writer_sent_is_replaced_where_it_stood() {
        let mut value = pod();
        value["metadata"]["resourceVersion"] = json!("12");
        let object = Draft::from_value(&value, vec![])
            .unwrap()
            .seal(Revision(13));
        value["metadata"]["resourceVersion"] = json!("13");
        assert_eq!(object.json, serde_json::to_vec(&value).unwrap());
    }

    #[test]
    fn metadata_without_name_and_uid_still_gets_its_revision() {
        let value = json!({"metadata": {}});
        let object = Draft::new(Head::default(), &value)
            .unwrap()
            .seal(Revision(5));
        assert_eq!(&object.json[..], br#"{"metadata":{"resourceVersion":"5"}}"#);
    }

    #[test]
    fn the_head_holds_what_selection_needs() {
        let head = Head::extract(&pod(), vec![("spec.nodeName".into(), "n1".into())]).unwrap();
        assert_eq!(head.label("app"), Some("web"));
        assert_eq!(head.label("nope"), None);
        assert_eq!(head.field("spec.nodeName"), Some("n1"));
        assert_eq!(head.field("metadata.namespace"), Some("shop"));
        assert_eq!(head.controller().map(|o| o.uid.as_str()), Some("u-0"));
    }

    #[test]
    fn wrong_types_are_named_by_field() {
        let mut value = pod();
        value["metadata"]["labels"]["app"] = json!(1);
        let error = Head::extract(&value, vec![]).unwrap_err().to_string();
        assert_eq!(error, "metadata.labels: expected object of strings");
        assert!(matches!(
            Head::extract(&json!({"metadata": {}}), vec![]),
            Err(Error::NoName)
        ));
        assert!(matches!(
            Draft::new(Head::default(), &json!({})),
            Err(Error::NoMetadata)
        ));
    }

    fn heads() -> impl Strategy<Value = Head> {
        let pairs = || proptest::collection::vec((".{0,8}", ".{0,8}"), 0..4);
        let owner =
            (".{0,5}", ".{0,5}", any::<bool>(), any::<bool>()).prop_map(|(name, uid, c, b)| {
                Owner {
                    name,
                    uid,
                    controller: c,
                    block_owner_deletion: b,
                    ..Owner::default()
                }
            });
        (
            (".{0,9}", ".{0,9}", ".{0,9}", proptest::option::of(".{0,9}")),
            (
                any::<i64>(),
                proptest::option::of(".{0,9}"),
                pairs(),
                pairs(),
            ),
            proptest::collection::vec(owner, 0..3),
            proptest::collection::vec(".{0,9}", 0..3),
        )
            .prop_map(|(a, b, owners, finalizers)| Head {
                api_version: a.0,
                kind: a.1,
                name: a.2,
                namespace: a.3,
                generation: b.0,
                deletion: b.1,
                labels: b.2,
                fields: b.3,
                owners,
                finalizers,
                ..Head::default()
            })
    }

    proptest! {
        #[test]
        fn a_head_survives_encoding(head in heads()) {
            let mut bytes = Vec::new();
            head.encode(&mut bytes);
            prop_assert_eq!(Head::decode(&bytes).unwrap(), head);
        }

        #[test]
        fn damaged_heads_are_refused_without_panic(head in heads(), cut in 0_usize..200, noise in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut bytes = Vec::new();
            head.encode(&mut bytes);
            if cut < bytes.len() {
                prop_assert!(Head::decode(&bytes[..cut]).is_err());
            }
            let _ = Head::decode(&noise);
        }
    }
}
