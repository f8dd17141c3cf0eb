//! Nodes of values.

use std::collections::HashMap;

use base64::Engine as _;
use consort_jinja::{Error, Key, Result, Value, repr};

use super::{Kind, Node, Style, emitter};
use crate::source::Encrypted;
use crate::source::yaml::{Resolved, resolve};

/// Deeper values are refused: they may hold themselves.
const DEPTH: usize = 200;

/// A value as YAML.
pub(in crate::template) fn dump(value: &Value, style: &Style) -> Result<String> {
    let mut seen = HashMap::new();
    count(value, &mut seen, 0)?;
    let mut representer = Representer {
        style,
        seen,
        anchors: HashMap::new(),
    };
    let node = representer.node(value)?;
    Ok(emitter::emit(&node, style))
}

/// How often each list and dict is met.
fn count(value: &Value, seen: &mut HashMap<usize, usize>, depth: usize) -> Result<()> {
    if depth > DEPTH {
        return Err(Error::Recursion);
    }
    let Some(place) = place(value) else {
        if let Value::Tuple(items) = value {
            for item in items.iter() {
                count(item, seen, depth + 1)?;
            }
        }
        return Ok(());
    };
    let times = seen.entry(place).or_insert(0);
    *times += 1;
    if *times > 1 {
        return Ok(());
    }
    match value {
        Value::List(list) => {
            for item in list.read().iter() {
                count(item, seen, depth + 1)?;
            }
        }
        Value::Dict(dict) => {
            for value in dict.read().values() {
                count(value, seen, depth + 1)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn place(value: &Value) -> Option<usize> {
    match value {
        Value::List(list) => Some(list.place()),
        Value::Dict(dict) => Some(dict.place()),
        _ => None,
    }
}

struct Representer<'s> {
    style: &'s Style,
    seen: HashMap<usize, usize>,
    /// The anchors of what was written already.
    anchors: HashMap<usize, String>,
}

impl Representer<'_> {
    fn node(&mut self, value: &Value) -> Result<Node> {
        let mut anchor = None;
        if let Some(place) = place(value)
            && self.seen.get(&place).is_some_and(|times| *times > 1)
        {
            if let Some(anchor) = self.anchors.get(&place) {
                return Ok(Node {
                    anchor: None,
                    kind: Kind::Alias(anchor.clone()),
                });
            }
            let name = format!("id{:03}", self.anchors.len() + 1);
            self.anchors.insert(place, name.clone());
            anchor = Some(name);
        }
        let kind = match value {
            Value::Undefined(undefined) => return Err(undefined.as_error()),
            Value::None => self.scalar("null".to_owned(), "!!null"),
            Value::Bool(value) => self.scalar(value.to_string(), "!!bool"),
            Value::Int(_) | Value::Big(_) => self.scalar(repr::repr(value), "!!int"),
            Value::Float(number) => self.scalar(float(*number), "!!float"),
            Value::Str(text) => {
                let mut style = self.style.scalars;
                let mut written = text.to_string();
                if let Some(lossy) = self.style.blocks
                    && text.contains(['\n', '\u{85}', '\u{2028}', '\u{2029}'])
                {
                    style = Some('|');
                    if lossy {
                        written = blockable(text);
                    }
                }
                Kind::Scalar {
                    kind: "!!str",
                    plain: is_text(&written),
                    quoted: true,
                    text: written,
                    tag: None,
                    style,
                }
            }
            Value::Bytes(bytes) => Kind::Scalar {
                text: lines(&base64::engine::general_purpose::STANDARD.encode(bytes)),
                tag: Some("!!binary"),
                kind: "!!binary",
                plain: false,
                quoted: false,
                style: Some('|'),
            },
            Value::List(_) | Value::Tuple(_) => self.sequence(&value.iterate()?)?,
            Value::Dict(_) => self.mapping(value.entries().unwrap_or_default())?,
            Value::Object(object) => {
                if let Some(secret) = object.any().downcast_ref::<Encrypted>() {
                    Kind::Scalar {
                        text: secret.ciphertext.to_string(),
                        tag: Some("!vault"),
                        kind: "!vault",
                        plain: false,
                        quoted: false,
                        style: Some('|'),
                    }
                } else if let Some(entries) = value.entries() {
                    self.mapping(entries)?
                } else if let Some(items) = object.items() {
                    self.sequence(&items)?
                } else if object.may_be_stored() {
                    self.scalar(object.text(), "!!timestamp")
                } else {
                    return Err(Error::failed(format!(
                        "('cannot represent an object', {})",
                        object.repr()
                    )));
                }
            }
        };
        Ok(Node { anchor, kind })
    }

    fn scalar(&self, text: String, kind: &'static str) -> Kind {
        Kind::Scalar {
            text,
            tag: None,
            kind,
            plain: true,
            quoted: false,
            style: self.style.scalars,
        }
    }

    fn flow(&self, plain: bool) -> bool {
        self.style.flow.unwrap_or(plain)
    }

    fn sequence(&mut self, items: &[Value]) -> Result<Kind> {
        let mut nodes = Vec::with_capacity(items.len());
        for item in items {
            nodes.push(self.node(item)?);
        }
        let plain = nodes.iter().all(is_plain);
        Ok(Kind::Sequence {
            items: nodes,
            flow: self.flow(plain),
        })
    }

    fn mapping(&mut self, mut entries: Vec<(Key, Value)>) -> Result<Kind> {
        if self.style.sort_keys {
            let texts = entries.iter().all(|(key, _)| key.as_str().is_some());
            let numbers = entries.iter().all(|(key, _)| {
                match key.value() {
                    Value::Int(_) | Value::Bool(_) | Value::Big(_) => true,
                    // What is not a number has no place among numbers.
                    Value::Float(number) => !number.is_nan(),
                    _ => false,
                }
            });
            // Keys of several kinds have no order: they stay as they are.
            if texts || numbers {
                entries.sort_by(|(one, _), (two, _)| {
                    one.value()
                        .order(two.value(), "<")
                        .unwrap_or(std::cmp::Ordering::Equal)
                });
            }
        }
        let mut nodes = Vec::with_capacity(entries.len());
        for (key, value) in &entries {
            nodes.push((self.node(key.value())?, self.node(value)?));
        }
        let plain = nodes
            .iter()
            .all(|(key, value)| is_plain(key) && is_plain(value));
        Ok(Kind::Mapping {
            entries: nodes,
            flow: self.flow(plain),
        })
    }
}

/// Whether a plain scalar is read as a text.
fn is_text(text: &str) -> bool {
    !matches!(text, "!" | "&" | "*") && matches!(resolve(text), Resolved::Text)
}

fn is_plain(node: &Node) -> bool {
    matches!(&node.kind, Kind::Scalar { style: None, .. })
}

fn float(number: f64) -> String {
    if number.is_nan() {
        return ".nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let text = repr::float(number);
    if !text.contains('.') && text.contains('e') {
        return text.replacen('e', ".0e", 1);
    }
    text
}

/// Lines of 76 characters, as `base64.encodebytes` makes them.
fn lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 76 + 1);
    for chunk in text.as_bytes().chunks(76) {
        out.extend(chunk.iter().map(|byte| char::from(*byte)));
        out.push('\n');
    }
    out
}

/// A text without what keeps it from being written as a block: blanks at the ends of lines, tabs, characters that are not
/// printed.
fn blockable(text: &str) -> String {
    let mut column = 0;
    let mut expanded = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        match c {
            '\t' => {
                let blanks = 8 - column % 8;
                expanded.extend(std::iter::repeat_n(' ', blanks));
                column += blanks;
            }
            '\n' | '\r' => {
                expanded.push(c);
                column = 0;
            }
            c => {
                expanded.push(c);
                column += 1;
            }
        }
    }
    expanded.retain(|c| {
        matches!(c as u32, 10 | 32..=126 | 133 | 160..=55295 | 57344..=65533 | 65536..=0x0010_fffd)
            && c != '\u{feff}'
    });
    let mut out = String::with_capacity(expanded.len());
    for c in expanded.chars() {
        if matches!(c, '\n' | '\u{85}' | '\u{2028}' | '\u{2029}') {
            out.truncate(out.trim_end_matches(' ').len());
        }
        out.push(c);
    }
    out
}
