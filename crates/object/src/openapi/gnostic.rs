//! The version 2 document in protobuf, as `gnostic`'s `openapi_v2.Document` has it: the form in which Go
//! clients ask for it.

use serde_json::{Map, Value};

/// The document in protobuf.
pub fn encode(document: &Value) -> Vec<u8> {
    let mut out = Writer::default();
    out.text(1, document.get("swagger"));
    if let Some(info) = document.get("info") {
        out.message(2, |out| {
            out.text(1, info.get("title"));
            out.text(2, info.get("version"));
            out.text(3, info.get("description"));
        });
    }
    out.message(8, |out| {
        for (path, item) in members(document.get("paths")) {
            out.named(2, path, |out| path_item(out, item));
        }
    });
    out.message(9, |out| {
        for (name, definition) in members(document.get("definitions")) {
            out.named(1, name, |out| schema(out, definition));
        }
    });
    for requirement in items(document.get("security")) {
        out.message(12, |out| {
            for (name, scopes) in members(Some(requirement)) {
                out.named(1, name, |out| out.texts(1, Some(scopes)));
            }
        });
    }
    out.message(13, |out| {
        for (name, definition) in members(document.get("securityDefinitions")) {
            out.named(1, name, |out| {
                out.message(2, |out| {
                    out.text(1, definition.get("type"));
                    out.text(2, definition.get("name"));
                    out.text(3, definition.get("in"));
                    out.text(4, definition.get("description"));
                });
            });
        }
    });
    out.0
}

fn members(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn bytes(&mut self, tag: u32, bytes: &[u8]) {
        self.number(u64::from(tag) << 3 | 2);
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, tag: u32, write: impl FnOnce(&mut Writer)) {
        let mut inner = Writer::default();
        write(&mut inner);
        self.bytes(tag, &inner.0);
    }

    /// A name with a value: how maps are written.
    fn named(&mut self, tag: u32, name: &str, write: impl FnOnce(&mut Writer)) {
        self.message(tag, |out| {
            out.bytes(1, name.as_bytes());
            out.message(2, write);
        });
    }

    fn text(&mut self, tag: u32, value: Option<&Value>) {
        if let Some(text) = value.and_then(Value::as_str)
            && !text.is_empty()
        {
            self.bytes(tag, text.as_bytes());
        }
    }

    fn texts(&mut self, tag: u32, value: Option<&Value>) {
        for text in items(value).iter().filter_map(Value::as_str) {
            self.bytes(tag, text.as_bytes());
        }
    }

    fn flag(&mut self, tag: u32, value: Option<&Value>) {
        if value == Some(&Value::Bool(true)) {
            self.number(u64::from(tag) << 3);
            self.number(1);
        }
    }

    fn whole(&mut self, tag: u32, value: Option<&Value>) {
        if let Some(number) = value.and_then(Value::as_i64)
            && number != 0
        {
            self.number(u64::from(tag) << 3);
            self.number(number.cast_unsigned());
        }
    }

    fn float(&mut self, tag: u32, value: Option<&Value>) {
        if let Some(number) = value.and_then(Value::as_f64)
            && number != 0.0
        {
            self.number(u64::from(tag) << 3 | 1);
            self.0.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// Any value is written as YAML, of which JSON is a part.
    fn any(&mut self, tag: u32, value: &Value) {
        self.message(tag, |out| {
            out.bytes(2, format!("{value}\n").as_bytes());
        });
    }

    fn extensions(&mut self, tag: u32, of: &Map<String, Value>) {
        for (name, value) in of.iter().filter(|(name, _)| name.starts_with("x-")) {
            self.message(tag, |out| {
                out.bytes(1, name.as_bytes());
                out.any(2, value);
            });
        }
    }
}

fn path_item(out: &mut Writer, item: &Value) {
    for (tag, method) in [
        (2, "get"),
        (3, "put"),
        (4, "post"),
        (5, "delete"),
        (6, "options"),
        (7, "head"),
        (8, "patch"),
    ] {
        if let Some(value) = item.get(method) {
            out.message(tag, |out| operation(out, value));
        }
    }
    parameters(out, 9, item.get("parameters"));
}

fn operation(out: &mut Writer, value: &Value) {
    out.texts(1, value.get("tags"));
    out.text(2, value.get("summary"));
    out.text(3, value.get("description"));
    out.text(5, value.get("operationId"));
    out.texts(6, value.get("produces"));
    out.texts(7, value.get("consumes"));
    parameters(out, 8, value.get("parameters"));
    out.message(9, |out| {
        for (code, response) in members(value.get("responses")) {
            out.named(1, code, |out| {
                out.message(1, |out| {
                    out.text(1, response.get("description"));
                    if let Some(value) = response.get("schema") {
                        out.message(2, |out| out.message(1, |out| schema(out, value)));
                    }
                });
            });
        }
    });
    out.texts(10, value.get("schemes"));
    out.flag(11, value.get("deprecated"));
    if let Some(map) = value.as_object() {
        out.extensions(13, map);
    }
}

fn parameters(out: &mut Writer, tag: u32, list: Option<&Value>) {
    for value in items(list) {
        let place = value.get("in").and_then(Value::as_str).unwrap_or("");
        out.message(tag, |out| {
            out.message(1, |out| match place {
                "body" => out.message(1, |out| {
                    out.text(1, value.get("description"));
                    out.text(2, value.get("name"));
                    out.text(3, value.get("in"));
                    out.flag(4, value.get("required"));
                    if let Some(value) = value.get("schema") {
                        out.message(5, |out| schema(out, value));
                    }
                }),
                "path" => out.message(2, |out| {
                    out.message(4, |out| {
                        simple(out, value);
                        out.text(5, value.get("type"));
                        out.text(6, value.get("format"));
                        out.flag(19, value.get("uniqueItems"));
                    });
                }),
                _ => out.message(2, |out| {
                    out.message(3, |out| {
                        simple(out, value);
                        out.text(6, value.get("type"));
                        out.text(7, value.get("format"));
                        out.flag(20, value.get("uniqueItems"));
                    });
                }),
            });
        });
    }
}

fn simple(out: &mut Writer, value: &Value) {
    out.flag(1, value.get("required"));
    out.text(2, value.get("in"));
    out.text(3, value.get("description"));
    out.text(4, value.get("name"));
}

fn schema(out: &mut Writer, value: &Value) {
    let Some(map) = value.as_object() else {
        return;
    };
    let get = |name: &str| map.get(name);
    out.text(1, get("$ref"));
    out.text(2, get("format"));
    out.text(3, get("title"));
    out.text(4, get("description"));
    if let Some(default) = get("default") {
        out.any(5, default);
    }
    out.float(6, get("multipleOf"));
    out.float(7, get("maximum"));
    out.flag(8, get("exclusiveMaximum"));
    out.float(9, get("minimum"));
    out.flag(10, get("exclusiveMinimum"));
    out.whole(11, get("maxLength"));
    out.whole(12, get("minLength"));
    out.text(13, get("pattern"));
    out.whole(14, get("maxItems"));
    out.whole(15, get("minItems"));
    out.flag(16, get("uniqueItems"));
    out.whole(17, get("maxProperties"));
    out.whole(18, get("minProperties"));
    out.texts(19, get("required"));
    for value in items(get("enum")) {
        out.any(20, value);
    }
    match get("additionalProperties") {
        Some(Value::Bool(allowed)) => out.message(21, |out| {
            out.number(2 << 3);
            out.number(u64::from(*allowed));
        }),
        Some(value) => out.message(21, |out| out.message(1, |out| schema(out, value))),
        None => {}
    }
    match get("type") {
        Some(kinds @ Value::Array(_)) => out.message(22, |out| out.texts(1, Some(kinds))),
        Some(kind) => out.message(22, |out| out.text(1, Some(kind))),
        None => {}
    }
    if let Some(value) = get("items") {
        out.message(23, |out| out.message(1, |out| schema(out, value)));
    }
    for value in items(get("allOf")) {
        out.message(24, |out| schema(out, value));
    }
    if let Some(properties) = get("properties") {
        out.message(25, |out| {
            for (name, value) in members(Some(properties)) {
                out.named(1, name, |out| schema(out, value));
            }
        });
    }
    if let Some(docs) = get("externalDocs") {
        out.message(29, |out| {
            out.text(1, docs.get("description"));
            out.text(2, docs.get("url"));
        });
    }
    if let Some(example) = get("example") {
        out.any(30, example);
    }
    out.extensions(31, map);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_small_document_has_the_bytes_that_gnostic_writes() {
        let document = json!({
            "swagger": "2.0",
            "info": {"title": "T", "version": "v"},
            "definitions": {"A": {"type": "string", "x-y": [1]}},
        });
        let schema = [
            &[0xb2, 0x01, 8, 0x0a, 6][..],
            b"string",
            &[0xfa, 0x01, 13, 0x0a, 3],
            b"x-y",
            &[0x12, 6, 0x12, 4],
            b"[1]\n",
        ]
        .concat();
        let size = u8::try_from(schema.len()).unwrap();
        let wanted = [
            &[0x0a, 3][..],
            b"2.0",
            &[0x12, 6, 0x0a, 1, b'T', 0x12, 1, b'v'],
            &[0x42, 0],
            &[0x4a, size + 7, 0x0a, size + 5, 0x0a, 1, b'A', 0x12, size],
            &schema,
            &[0x6a, 0],
        ]
        .concat();
        assert_eq!(encode(&document), wanted);
    }
}
