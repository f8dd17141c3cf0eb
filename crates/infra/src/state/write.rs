//! Writing a state file, byte for byte as Terraform would.

use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;

use super::model::{Object, PathStep, State, Status};
use super::pointers::{ByPointer, place};
use crate::address::{AbsResource, ConfigResource, Key, Mode};

impl State {
    /// The state as a file of version 4: indented by two, resources and instances in Terraform's order, line
    /// feed at the end. The same state always gives the same bytes.
    pub fn write(&self) -> String {
        let mut out = Json::new(self.size());
        out.open('{');
        out.key("version").text.push('4');
        out.key("terraform_version").string(&self.terraform_version);
        out.key("serial").text.push_str(&self.serial.to_string());
        out.key("lineage").string(&self.lineage);
        out.key("outputs").open('{');
        for (name, output) in &self.outputs {
            out.key(name).open('{');
            out.key("value").raw(&output.value);
            out.key("type").raw(&output.kind);
            if output.sensitive {
                out.key("sensitive").text.push_str("true");
            }
            out.close('}');
        }
        out.close('}');
        out.key("resources").open('[');
        let mut resources: Vec<_> = self
            .resources
            .iter()
            .filter(|(address, _)| address.resource.mode != Mode::Ephemeral)
            .map(|(address, resource)| (address.module.to_string(), address, resource))
            .collect();
        resources.sort_by(|(module, address, _), (other_module, other, _)| {
            // Unlike addresses in lists, the file orders modules by their text. "data" < "managed".
            module
                .cmp(other_module)
                .then_with(|| address.resource.cmp(&other.resource))
        });
        for (module, address, resource) in resources {
            out.item().open('{');
            write_head(&mut out, &module, address);
            out.key("provider").string(&resource.provider.to_string());
            out.key("instances").open('[');
            for (key, instance) in &resource.instances {
                if let Some(object) = &instance.current {
                    write_object(out.item(), key, None, object);
                }
                for (deposed, object) in &instance.deposed {
                    write_object(out.item(), key, Some(deposed), object);
                }
            }
            out.close(']');
            out.extra(&resource.extra);
            out.close('}');
        }
        out.close(']');
        out.key("check_results");
        match &self.check_results {
            Some(results) if !results.is_empty() => {
                out.open('[');
                for result in results {
                    out.item().open('{');
                    out.key("object_kind").string(&result.object_kind);
                    out.key("config_addr").string(&result.config_address);
                    out.key("status").string(&result.status);
                    out.key("objects");
                    if result.objects.is_empty() {
                        out.text.push_str("null");
                    } else {
                        out.open('[');
                        for object in &result.objects {
                            out.item().open('{');
                            out.key("object_addr").string(&object.address);
                            out.key("status").string(&object.status);
                            if !object.messages.is_empty() {
                                out.key("failure_messages").open('[');
                                for message in &object.messages {
                                    out.item().string(message);
                                }
                                out.close(']');
                            }
                            out.close('}');
                        }
                        out.close(']');
                    }
                    out.close('}');
                }
                out.close(']');
            }
            _ => out.text.push_str("null"),
        }
        out.extra(&self.extra);
        out.close('}');
        out.text.push('\n');
        out.text
    }

    /// About how long the file becomes: rather too much than too little, so that the text is not moved while
    /// it grows.
    fn size(&self) -> usize {
        let objects = self
            .resources
            .values()
            .flat_map(|resource| resource.instances.values())
            .flat_map(|instance| instance.current.iter().chain(instance.deposed.values()));
        objects
            .map(|object| {
                512 + object.attributes.len() * 2
                    + object.private.len() * 2
                    + object.dependencies.len() * 48
                    + object.sensitive.len() * 256
            })
            .sum::<usize>()
            + self.resources.len() * 256
            + self
                .outputs
                .values()
                .map(|output| 256 + output.value.len() * 2)
                .sum::<usize>()
            + 4096
    }
}

fn write_head(out: &mut Json, module: &str, address: &AbsResource) {
    if !module.is_empty() {
        out.key("module").string(module);
    }
    out.key("mode")
        .string(if address.resource.mode == Mode::Data {
            "data"
        } else {
            "managed"
        });
    out.key("type").string(&address.resource.kind);
    out.key("name").string(&address.resource.name);
}

/// One object as the file holds it, but on one line and without its dependencies.
pub(super) fn write_line(text: &mut String, key: &Key, deposed: Option<&str>, object: &Object) {
    let mut out = Json {
        text: std::mem::take(text),
        compact: true,
        ..Json::default()
    };
    out.open('{');
    write_fields(&mut out, key, deposed, object);
    if object.create_before_destroy {
        out.key("create_before_destroy").text.push_str("true");
    }
    out.extra(&object.extra);
    out.close('}');
    *text = out.text;
}

fn write_object(out: &mut Json, key: &Key, deposed: Option<&str>, object: &Object) {
    out.open('{');
    write_fields(out, key, deposed, object);
    if !object.dependencies.is_empty() {
        out.key("dependencies").open('[');
        for dependency in &*object.dependencies {
            out.item().name(dependency);
        }
        out.close(']');
    }
    if object.create_before_destroy {
        out.key("create_before_destroy").text.push_str("true");
    }
    out.extra(&object.extra);
    out.close('}');
}

/// The fields up to the dependencies.
fn write_fields(out: &mut Json, key: &Key, deposed: Option<&str>, object: &Object) {
    match key {
        Key::None => {}
        Key::Int(index) => out.key("index_key").text.push_str(&index.to_string()),
        Key::String(text) => out.key("index_key").string(text),
    }
    if object.status == Status::Tainted {
        out.key("status").string("tainted");
    }
    if let Some(deposed) = deposed {
        out.key("deposed").string(deposed);
    }
    out.key("schema_version")
        .text
        .push_str(&object.schema_version.to_string());
    match &object.attributes_flat {
        Some(flat) => out.key("attributes_flat").raw(flat),
        None => out.key("attributes").raw(&object.attributes),
    }
    out.key("sensitive_attributes").open('[');
    for path in &object.sensitive {
        out.item().open('[');
        for step in path {
            out.item().open('{');
            match step {
                PathStep::Attribute(name) => {
                    out.key("type").string("get_attr");
                    out.key("value").string(name);
                }
                PathStep::Key(key) => {
                    out.key("type").string("index");
                    out.key("value").open('{');
                    out.key("value").string(key);
                    out.key("type").string("string");
                    out.close('}');
                }
                PathStep::Index(index) => {
                    out.key("type").string("index");
                    out.key("value").open('{');
                    out.key("value").text.push_str(index);
                    out.key("type").string("number");
                    out.close('}');
                }
            }
            out.close('}');
        }
        out.close(']');
    }
    out.close(']');
    if let Some(identity) = &object.identity {
        out.key("identity_schema_version")
            .text
            .push_str(&identity.version.to_string());
        out.key("identity").raw(&identity.value);
    }
    if !object.private.is_empty() {
        out.key("private")
            .string(&base64::engine::general_purpose::STANDARD.encode(&object.private));
    }
}

/// Writes JSON indented by two, as Go's encoder does.
#[derive(Default)]
struct Json {
    text: String,
    depth: usize,
    /// Whether nothing stands yet in the object or list that is open.
    first: bool,
    /// Whether all is on one line.
    compact: bool,
    /// Where in the text each name of a dependency, quotes included, was written first.
    names: ByPointer<Range<usize>>,
}

impl Json {
    fn new(capacity: usize) -> Self {
        Json {
            text: String::with_capacity(capacity),
            ..Json::default()
        }
    }

    fn line(&mut self) {
        if !self.compact {
            new_line(&mut self.text, self.depth);
        }
    }

    /// The name of a resource that is named in many places, made once. What is named lives as long as the
    /// state that is written.
    fn name(&mut self, resource: &Arc<ConfigResource>) {
        if let Some(known) = self.names.get(&place(resource)) {
            self.text.extend_from_within(known.clone());
            return;
        }
        let start = self.text.len();
        self.string(&resource.to_string());
        self.names.insert(place(resource), start..self.text.len());
    }

    fn open(&mut self, bracket: char) {
        self.text.push(bracket);
        self.depth += 1;
        self.first = true;
    }

    fn close(&mut self, bracket: char) {
        self.depth -= 1;
        if !self.first {
            self.line();
        }
        self.first = false;
        self.text.push(bracket);
    }

    fn item(&mut self) -> &mut Self {
        if !self.first {
            self.text.push(',');
        }
        self.first = false;
        self.line();
        self
    }

    fn key(&mut self, name: &str) -> &mut Self {
        self.item().string(name);
        self.text.push_str(": ");
        self
    }

    fn string(&mut self, text: &str) {
        self.text.push('"');
        escape_into(&mut self.text, text);
        self.text.push('"');
    }

    fn raw(&mut self, json: &str) {
        if self.compact {
            self.text.extend(json.lines());
            return;
        }
        indent_into(&mut self.text, json, self.depth);
    }

    fn extra(&mut self, fields: &[(String, Box<serde_json::value::RawValue>)]) {
        for (name, value) in fields {
            self.key(name).raw(value.get());
        }
    }
}

fn new_line(out: &mut String, depth: usize) {
    const BLANKS: &str = "                                ";
    out.push('\n');
    let mut width = depth * 2;
    while width > 0 {
        let part = width.min(BLANKS.len());
        out.push_str(&BLANKS[..part]);
        width -= part;
    }
}

/// Writes `text` as the inside of a JSON string with Go's escapes: those that JSON needs, and `<`, `>`, `&`,
/// U+2028 and U+2029.
pub(crate) fn escape_into(out: &mut String, text: &str) {
    let plain =
        |byte: u8| byte >= 0x20 && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2);
    if text.bytes().all(plain) {
        out.push_str(text);
        return;
    }
    let mut start = 0;
    for (at, c) in text.char_indices() {
        let short = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\u{8}' => "\\b",
            '\u{c}' => "\\f",
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => "",
            _ => continue,
        };
        out.push_str(&text[start..at]);
        start = at + c.len_utf8();
        if short.is_empty() {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push_str(short);
        }
    }
    out.push_str(&text[start..]);
}

/// Writes the JSON text `json` indented, with its first line where the text stands. Strings keep their own
/// escapes, but for those characters that Go escapes always.
fn indent_into(out: &mut String, json: &str, depth: usize) {
    let bytes = json.as_bytes();
    let mut depth = depth;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b' ' | b'\n' | b'\r' | b'\t' => at += 1,
            b'"' => {
                let start = at;
                let mut plain = true;
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    plain &= !matches!(bytes[at], b'<' | b'>' | b'&' | 0xe2);
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at = (at + 1).min(bytes.len());
                let text = &json[start..at];
                if plain {
                    out.push_str(text);
                } else {
                    for c in text.chars() {
                        match c {
                            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                                out.push_str(&format!("\\u{:04x}", u32::from(c)));
                            }
                            c => out.push(c),
                        }
                    }
                }
            }
            open @ (b'{' | b'[') => {
                out.push(open as char);
                at += 1;
                while at < bytes.len() && bytes[at].is_ascii_whitespace() {
                    at += 1;
                }
                if at < bytes.len() && matches!(bytes[at], b'}' | b']') {
                    out.push(bytes[at] as char);
                    at += 1;
                } else {
                    depth += 1;
                    new_line(out, depth);
                }
            }
            close @ (b'}' | b']') => {
                depth = depth.saturating_sub(1);
                new_line(out, depth);
                out.push(close as char);
                at += 1;
            }
            b',' => {
                out.push(',');
                new_line(out, depth);
                at += 1;
            }
            b':' => {
                out.push_str(": ");
                at += 1;
            }
            _ => {
                let start = at;
                while at < bytes.len()
                    && !matches!(
                        bytes[at],
                        b',' | b']' | b'}' | b':' | b' ' | b'\n' | b'\r' | b'\t'
                    )
                {
                    at += 1;
                }
                out.push_str(&json[start..at]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = include_str!("testdata/v4.tfstate");

    #[test]
    fn a_file_terraform_wrote_comes_back_byte_for_byte() {
        let state = State::read(FILE).unwrap();
        assert_eq!(state.resources.len(), 5);
        assert_eq!(state.write(), FILE);
    }

    #[test]
    fn fields_nobody_here_knows_are_kept() {
        let text = FILE.replace(
            "\"schema_version\": 0,",
            "\"schema_version\": 0,\n          \"later\": {\n            \"a\": [1]\n          },",
        );
        let state = State::read(&text).unwrap();
        assert_eq!(
            state.write().matches("\"later\": {").count(),
            text.matches("\"later\": {").count()
        );
        let again = State::read(&state.write()).unwrap();
        assert_eq!(again.write(), state.write());
    }

    #[test]
    fn old_new_and_broken_files_are_told_apart() {
        assert!(matches!(
            State::read("{\"version\": 3}"),
            Err(super::super::ReadError::TooOld(3))
        ));
        assert!(matches!(
            State::read("{\"version\": 5}"),
            Err(super::super::ReadError::TooNew(5))
        ));
        for text in [
            "",
            "[]",
            "{}",
            "{\"version\": 4, \"resources\": [{}]}",
            "{\"version\": 4, \"serial\": -1}",
        ] {
            assert!(State::read(text).is_err(), "{text}");
        }
    }
}
