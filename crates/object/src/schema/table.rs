//! Reads the table of facts. Its format is described at its head.

use std::collections::HashMap;

use super::{Field, Form, Gvk, ListType, Message, MessageId, Schema, Shape, Type};

/// A package of the table: its alias, full name, group and version.
#[derive(Clone, Copy)]
struct Package {
    alias: &'static str,
    name: &'static str,
    group: &'static str,
    version: &'static str,
}

/// Parses the table. It is part of this program, so what cannot be understood is passed over here and
/// caught by the tests that hold every line to have been read.
pub(super) fn parse(table: &'static str) -> Schema {
    let names = messages(table);
    let mut ids = HashMap::with_capacity(names.len());
    for (at, (package, name)) in names.iter().enumerate() {
        ids.insert((package.alias, *name), MessageId(at as u32));
    }
    let mut schema = Schema {
        messages: Vec::with_capacity(names.len()),
        by_name: HashMap::with_capacity(names.len()),
        by_kind: HashMap::new(),
    };
    let mut package = None;
    for line in table.lines() {
        if line.starts_with('#') {
        } else if let Some(rest) = line.strip_prefix("= ") {
            package = read_package(rest);
        } else if let Some(rest) = line.strip_prefix(' ') {
            if let (Some(package), Some(message)) = (package, schema.messages.last_mut()) {
                message.fields.extend(read_field(rest, package, &ids));
            }
        } else if let Some(package) = package {
            schema.messages.push(read_message(line, package));
        }
    }
    index(&mut schema);
    schema
}

fn messages(table: &'static str) -> Vec<(Package, &'static str)> {
    let mut found = Vec::new();
    let mut package = None;
    for line in table.lines() {
        if let Some(rest) = line.strip_prefix("= ") {
            package = read_package(rest);
        } else if !line.starts_with(['#', ' '])
            && let Some(package) = package
        {
            found.push((package, line.split(' ').next().unwrap_or_default()));
        }
    }
    found
}

fn read_package(line: &'static str) -> Option<Package> {
    let mut words = line.split(' ');
    let (alias, name, group, version) =
        (words.next()?, words.next()?, words.next()?, words.next()?);
    Some(Package {
        alias,
        name,
        group: if group == "-" { "" } else { group },
        version,
    })
}

fn read_message(line: &'static str, package: Package) -> Message {
    let mut words = line.split(' ');
    let name = words.next().unwrap_or_default();
    let mut message = Message {
        // Once per message of a table that lives as long as the program.
        name: String::leak(format!("{}.{name}", package.name)),
        kind: None,
        form: Form::Object,
        atomic: false,
        fields: Vec::new(),
        by_tag: Vec::new(),
        members: Vec::new(),
        by_member: Vec::new(),
        go_type: format!("{}.{name}", package.version),
    };
    for word in words {
        match word.split_once('=') {
            None if word == "K" => {
                message.kind = Some(Gvk::new(package.group, package.version, name));
            }
            Some(("st" | "mt", value)) => message.atomic = value == "atomic",
            Some(("is", form)) => {
                message.form = match form {
                    "list" => Form::List,
                    "time" => Form::Time,
                    "microtime" => Form::MicroTime,
                    "duration" => Form::Duration,
                    "json" => Form::Json,
                    "quantity" => Form::Quantity,
                    "intorstring" => Form::IntOrString,
                    "orbool" => Form::MessageOrBool,
                    "orarray" => Form::MessageOrList,
                    "orstrings" => Form::MessageOrStrings,
                    _ => Form::Object,
                }
            }
            _ => {}
        }
    }
    message
}

fn read_field(
    line: &'static str,
    package: Package,
    ids: &HashMap<(&'static str, &'static str), MessageId>,
) -> Option<Field> {
    let mut words = line.split(' ');
    let (name, tag, kind) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
    let (kind, flags) = kind.split_once('!').unwrap_or((kind, ""));
    let (shape, kind) = match (kind.strip_prefix("[]"), kind.strip_prefix("{}")) {
        (Some(element), _) => (Shape::List, element),
        (_, Some(element)) => (Shape::Map, element),
        _ => (Shape::One, kind),
    };
    let kind = match kind {
        "s" => Type::String,
        "i" => Type::Int32,
        "l" => Type::Int64,
        "u" => Type::Uint32,
        "b" => Type::Bool,
        "d" => Type::Double,
        "y" => Type::Bytes,
        message => {
            Type::Message(*ids.get(&message.rsplit_once('.').unwrap_or((package.alias, message)))?)
        }
    };
    let has = |flag| flags.contains(flag);
    let mut field = Field {
        name,
        tag,
        kind,
        shape,
        pointer: has('p'),
        omit_empty: has('o'),
        required: has('r'),
        nullable: has('n'),
        inline: has('i'),
        list_type: None,
        list_map_keys: Box::default(),
        atomic: false,
        patch_strategy: "",
        patch_merge_key: "",
        go_type: "",
    };
    for word in words {
        match word.split_once('=')? {
            ("lt", "atomic") => field.list_type = Some(ListType::Atomic),
            ("lt", "set") => field.list_type = Some(ListType::Set),
            ("lt", "map") => field.list_type = Some(ListType::Map),
            ("lk", keys) => field.list_map_keys = keys.split(',').collect(),
            ("mt" | "st", value) => field.atomic = value == "atomic",
            ("ps", strategy) => field.patch_strategy = strategy,
            ("pk", key) => field.patch_merge_key = key,
            ("g", name) => field.go_type = name,
            _ => return None,
        }
    }
    Some(field)
}

/// Fills in all that is looked up by.
fn index(schema: &mut Schema) {
    for at in 0..schema.messages.len() {
        let mut members = Vec::new();
        if schema.messages[at].kind.is_some() {
            members.extend(["apiVersion", "kind"].map(type_meta));
        }
        collect_members(schema, at, &mut members);
        let mut by_member: Vec<u16> = (0..members.len() as u16).collect();
        by_member.sort_by_key(|at| members[usize::from(*at)].name);
        let message = &mut schema.messages[at];
        message.by_tag = (0..message.fields.len() as u16).collect();
        message
            .by_tag
            .sort_by_key(|at| message.fields[usize::from(*at)].tag);
        message.members = members;
        message.by_member = by_member;
    }
    for (at, message) in schema.messages.iter().enumerate() {
        let id = MessageId(at as u32);
        schema.by_name.insert(message.name, id);
        if message.kind.is_some() {
            schema
                .by_kind
                .entry(message.short_name())
                .or_default()
                .push(id);
        }
    }
}

fn collect_members(schema: &Schema, at: usize, members: &mut Vec<Field>) {
    for field in &schema.messages[at].fields {
        match field.kind {
            Type::Message(inner) if field.inline => {
                collect_members(schema, inner.0 as usize, members);
            }
            _ => members.push(field.clone()),
        }
    }
}

/// `apiVersion` or `kind`, which every kind has and the table does not repeat.
fn type_meta(name: &'static str) -> Field {
    Field {
        name,
        tag: 0,
        kind: Type::String,
        shape: Shape::One,
        pointer: false,
        omit_empty: true,
        required: false,
        nullable: false,
        inline: false,
        list_type: None,
        list_map_keys: Box::default(),
        atomic: false,
        patch_strategy: "",
        patch_merge_key: "",
        go_type: "",
    }
}
