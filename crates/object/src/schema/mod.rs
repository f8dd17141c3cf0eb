//! What is known about every message of the Kubernetes API.
//!
//! One table of facts (`schema/v1.37.txt`, made by `cargo xtask schema`) drives everything that
//! depends on an object's kind: decoding of JSON, protobuf both ways, strategic merge patches
//! and OpenAPI. [`Schema::builtin`] parses it once.

mod canonical;
mod decode;
mod gvk;
mod json;
mod path;
pub mod shape;
mod table;

use std::collections::HashMap;
use std::sync::OnceLock;

pub use canonical::bytes;
pub use decode::{Checked, DecodeError, UnknownFields, coerce_and_check, decode_json};
pub use gvk::Gvk;
pub use json::{in_document_order, parse_json_strict};

/// Every message, found by name or by kind.
#[derive(Debug)]
pub struct Schema {
    messages: Vec<Message>,
    by_name: HashMap<&'static str, MessageId>,
    by_kind: HashMap<&'static str, Vec<MessageId>>,
}

/// A message's place in its [`Schema`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageId(pub(crate) u32);

/// One message: a kind, or a part of one.
#[derive(Debug)]
pub struct Message {
    /// The OpenAPI's name: `io.k8s.api.core.v1.Pod`.
    pub name: &'static str,
    /// The group, version and kind, if it is a kind.
    pub kind: Option<Gvk>,
    /// How it is written in JSON.
    pub form: Form,
    /// Whether server-side apply treats it as one value (`structType: atomic`, `mapType: atomic`).
    pub atomic: bool,
    /// Its own fields in the order of upstream's JSON; embedded messages are one field.
    pub fields: Vec<Field>,
    /// Indices into `fields` by ascending protobuf number.
    pub(crate) by_tag: Vec<u16>,
    /// All members of the JSON object: embedded messages taken apart, `apiVersion` and `kind` added.
    pub members: Vec<Field>,
    /// Indices into `members`, by name.
    pub(crate) by_member: Vec<u16>,
    /// The name Go's errors give to the type: `v1.Pod`.
    pub(crate) go_type: String,
}

/// How a message is written in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// As an object of its members.
    Object,
    /// As a plain list: the message is a wrapper around its one repeated field.
    List,
    /// As an RFC 3339 time with seconds.
    Time,
    /// As an RFC 3339 time with microseconds.
    MicroTime,
    /// As a Go duration, `1m30s`.
    Duration,
    /// As any JSON; in protobuf as its bytes.
    Json,
    /// As a quantity, `100m`.
    Quantity,
    /// As a string or a 32-bit integer.
    IntOrString,
    /// As a boolean, or the message of its second field.
    MessageOrBool,
    /// As a list of the message of its fields, or one of them.
    MessageOrList,
    /// As a list of strings, or the message of its first field.
    MessageOrStrings,
}

/// The type of a field's value, or of each element of a list or map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// A string.
    String,
    /// A 32-bit integer.
    Int32,
    /// A 64-bit integer.
    Int64,
    /// An unsigned 32-bit integer.
    Uint32,
    /// A boolean.
    Bool,
    /// A floating-point number.
    Double,
    /// Bytes; base64 in JSON.
    Bytes,
    /// A message.
    Message(MessageId),
}

/// Whether a field holds one value or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// One value.
    One,
    /// A list.
    List,
    /// A map from strings.
    Map,
}

/// How the items of a list are told apart when lists are merged (`x-kubernetes-list-type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListType {
    /// Not at all: the list is one value.
    Atomic,
    /// Each item is its own key.
    Set,
    /// By the fields in `list_map_keys`.
    Map,
}

/// One field of a message.
#[derive(Debug, Clone)]
pub struct Field {
    /// The JSON name.
    pub name: &'static str,
    /// The protobuf number; 0 for `apiVersion` and `kind`, which travel in the envelope.
    pub tag: u32,
    /// The type of the value, or of each element.
    pub kind: Type,
    /// One value, a list or a map.
    pub shape: Shape,
    /// Absent and empty are told apart.
    pub pointer: bool,
    /// Left out of JSON when empty.
    pub omit_empty: bool,
    /// Must be given.
    pub required: bool,
    /// May be null.
    pub nullable: bool,
    /// The members of this message stand directly in the JSON object that holds it.
    pub inline: bool,
    /// How a list's items are told apart.
    pub list_type: Option<ListType>,
    /// The keys of a list of type map.
    pub list_map_keys: Box<[&'static str]>,
    /// The map or message is one value for server-side apply.
    pub atomic: bool,
    /// The strategic merge patch strategy, such as `merge` or `merge,retainKeys`.
    pub patch_strategy: &'static str,
    /// The strategic merge patch key; empty when there is none.
    pub patch_merge_key: &'static str,
    /// The name of the Go type where it is a named one; only errors show it.
    pub(crate) go_type: &'static str,
}

impl Field {
    /// Whether a strategic merge patch merges this list item by item.
    pub fn patch_merges(&self) -> bool {
        self.patch_strategy
            .split(',')
            .any(|strategy| strategy == "merge")
    }

    /// Whether a strategic merge patch may name the keys to retain.
    pub fn patch_retains_keys(&self) -> bool {
        self.patch_strategy
            .split(',')
            .any(|strategy| strategy == "retainKeys")
    }

    /// Whether a strategic merge patch replaces the whole value.
    pub fn patch_replaces(&self) -> bool {
        self.patch_strategy
            .split(',')
            .any(|strategy| strategy == "replace")
    }
}

impl Message {
    /// The name without its package: `Pod`.
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    /// The member of this name.
    pub fn member(&self, name: &str) -> Option<&Field> {
        let at = self
            .by_member
            .binary_search_by(|at| self.members[usize::from(*at)].name.cmp(name))
            .ok()?;
        Some(&self.members[usize::from(self.by_member[at])])
    }

    /// The fields by ascending protobuf number.
    pub(crate) fn tagged(&self) -> impl DoubleEndedIterator<Item = &Field> {
        self.by_tag.iter().map(|at| &self.fields[usize::from(*at)])
    }

    /// The field of this protobuf number.
    pub(crate) fn tag(&self, tag: u32) -> Option<&Field> {
        let at = self
            .by_tag
            .binary_search_by_key(&tag, |at| self.fields[usize::from(*at)].tag)
            .ok()?;
        Some(&self.fields[usize::from(self.by_tag[at])])
    }
}

impl Schema {
    /// The messages of the version this program speaks.
    pub fn builtin() -> &'static Self {
        static BUILTIN: OnceLock<Schema> = OnceLock::new();
        BUILTIN.get_or_init(|| table::parse(table_source()))
    }

    /// The message of this name, such as `io.k8s.api.core.v1.Pod`.
    pub fn message(&self, name: &str) -> Option<&Message> {
        self.by_name.get(name).map(|id| self.get(*id))
    }

    /// The message of this kind. The kinds of `meta/v1` (`Status`, `DeleteOptions`, ...) are part of every group.
    pub fn kind(&self, gvk: &Gvk) -> Option<&Message> {
        let mut common = None;
        for message in self
            .by_kind
            .get(gvk.kind.as_str())?
            .iter()
            .map(|id| self.get(*id))
        {
            let kind = message.kind.as_ref()?;
            if kind.group == gvk.group && kind.version == gvk.version {
                return Some(message);
            }
            if kind.group == "meta.k8s.io" {
                common = Some(message);
            }
        }
        common
    }

    /// The message at a place of this schema.
    pub fn get(&self, id: MessageId) -> &Message {
        &self.messages[id.0 as usize]
    }

    /// The message a field's value (or element) is made of, if it is one.
    pub fn message_of(&self, field: &Field) -> Option<&Message> {
        match field.kind {
            Type::Message(id) => Some(self.get(id)),
            _ => None,
        }
    }

    /// All messages, by package and name.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter()
    }
}

/// The text of the table of facts.
pub(crate) fn table_source() -> &'static str {
    include_str!("../../schema/v1.37.txt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_found_with_its_fields() {
        let schema = Schema::builtin();
        let pod = schema.kind(&Gvk::new("", "v1", "Pod")).unwrap();
        assert_eq!(pod.name, "io.k8s.api.core.v1.Pod");
        let spec = schema.message_of(pod.member("spec").unwrap()).unwrap();
        let containers = spec.member("containers").unwrap();
        assert_eq!(
            (containers.tag, containers.shape, containers.patch_merge_key),
            (2, Shape::List, "name")
        );
        assert_eq!(containers.list_type, Some(ListType::Map));
        assert_eq!(&*containers.list_map_keys, ["name"]);
        assert!(pod.member("apiVersion").is_some());
    }

    #[test]
    fn embedded_messages_are_members_of_their_holder() {
        let schema = Schema::builtin();
        let volume = schema.message("io.k8s.api.core.v1.Volume").unwrap();
        assert_eq!(volume.fields.len(), 2);
        assert!(volume.member("emptyDir").is_some());
        assert!(volume.member("volumeSource").is_none());
        let ephemeral = schema
            .message("io.k8s.api.core.v1.EphemeralContainer")
            .unwrap();
        assert!(
            ephemeral.member("image").is_some()
                && ephemeral.member("targetContainerName").is_some()
        );
    }

    #[test]
    fn the_kinds_of_meta_belong_to_every_group() {
        let schema = Schema::builtin();
        let options = schema
            .kind(&Gvk::new("apps", "v1", "DeleteOptions"))
            .unwrap();
        assert_eq!(
            options.name,
            "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
        );
        assert!(schema.kind(&Gvk::new("apps", "v1", "Pod")).is_none());
    }

    #[test]
    fn every_line_of_the_table_was_understood() {
        let lines = include_str!("../../schema/v1.37.txt")
            .lines()
            .filter(|line| !line.starts_with(['#', '=']));
        let (fields, messages): (Vec<&str>, Vec<&str>) =
            lines.partition(|line| line.starts_with(' '));
        let schema = Schema::builtin();
        assert_eq!(schema.messages.len(), messages.len());
        assert_eq!(
            schema
                .messages
                .iter()
                .map(|message| message.fields.len())
                .sum::<usize>(),
            fields.len()
        );
    }
}
