//! JSON text to a tree, with numbers as they are written and the messages of Go's decoder.

use std::borrow::Cow;

/// Deeper than any document people write; a bound on the stack.
const DEPTH_LIMIT: usize = 512;

/// A JSON value that borrows what it can from the text.
#[derive(Debug)]
pub(crate) enum Node<'t> {
    Null,
    Bool(bool),
    /// A number as it is written.
    Number(&'t str),
    String(Cow<'t, str>),
    Array(Vec<Node<'t>>),
    /// The members as they are written, also where a key is there twice.
    Object(Vec<(Cow<'t, str>, Node<'t>)>),
}

pub(crate) fn parse(text: &[u8]) -> Result<Node<'_>, String> {
    let mut reader = Reader { text, at: 0 };
    let node = reader.value(0)?;
    reader.space();
    if reader.at < text.len() {
        return Err("extraneous data after JSON object".to_owned());
    }
    Ok(node)
}

struct Reader<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Reader<'t> {
    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at += 1;
        }
    }

    fn unexpected(&self, context: &str) -> String {
        let Some(byte) = self.text.get(self.at) else {
            return "unexpected EOF".to_owned();
        };
        let shown = match byte {
            b'\'' => "'\\''".to_owned(),
            b'"' => "'\"'".to_owned(),
            byte => {
                let quoted = crate::text::quote(&char::from(*byte).to_string());
                format!("'{}'", &quoted[1..quoted.len() - 1])
            }
        };
        format!("invalid character {shown} {context}")
    }

    fn value(&mut self, depth: usize) -> Result<Node<'t>, String> {
        if depth > DEPTH_LIMIT {
            return Err("exceeded max depth".to_owned());
        }
        self.space();
        match self.text.get(self.at) {
            None => Err("EOF".to_owned()),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Node::String(self.string()?)),
            Some(b't') => self.literal("true", Node::Bool(true)),
            Some(b'f') => self.literal("false", Node::Bool(false)),
            Some(b'n') => self.literal("null", Node::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => Err(self.unexpected("looking for beginning of value")),
        }
    }

    fn literal(&mut self, word: &str, node: Node<'t>) -> Result<Node<'t>, String> {
        for expected in word.bytes() {
            if self.text.get(self.at) != Some(&expected) {
                let expected = char::from(expected);
                return Err(self.unexpected(&format!("in literal {word} (expecting '{expected}')")));
            }
            self.at += 1;
        }
        Ok(node)
    }

    fn digits(&mut self, context: &str) -> Result<(), String> {
        if !matches!(self.text.get(self.at), Some(b'0'..=b'9')) {
            return Err(self.unexpected(context));
        }
        while let Some(b'0'..=b'9') = self.text.get(self.at) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Node<'t>, String> {
        let start = self.at;
        if self.text[self.at] == b'-' {
            self.at += 1;
        }
        if self.text.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits("in numeric literal")?;
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.text.get(self.at) {
                self.at += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        // Only ASCII was passed over.
        Ok(Node::Number(
            std::str::from_utf8(&self.text[start..self.at]).unwrap_or("0"),
        ))
    }

    fn array(&mut self, depth: usize) -> Result<Node<'t>, String> {
        self.at += 1;
        let mut nodes = Vec::new();
        self.space();
        if self.text.get(self.at) == Some(&b']') {
            self.at += 1;
            return Ok(Node::Array(nodes));
        }
        loop {
            nodes.push(self.value(depth + 1)?);
            self.space();
            match self.text.get(self.at) {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Node::Array(nodes));
                }
                None => return Err("EOF".to_owned()),
                Some(_) => return Err(self.unexpected("after array element")),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Node<'t>, String> {
        self.at += 1;
        let mut members = Vec::new();
        loop {
            self.space();
            match self.text.get(self.at) {
                Some(b'}') if members.is_empty() => {
                    self.at += 1;
                    return Ok(Node::Object(members));
                }
                Some(b'"') => {}
                None => return Err("EOF".to_owned()),
                Some(_) => {
                    return Err(self.unexpected("looking for beginning of object key string"));
                }
            }
            let key = self.string()?;
            self.space();
            match self.text.get(self.at) {
                Some(b':') => self.at += 1,
                None => return Err("EOF".to_owned()),
                Some(_) => return Err(self.unexpected("after object key")),
            }
            let node = self.value(depth + 1)?;
            members.push((key, node));
            self.space();
            match self.text.get(self.at) {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Node::Object(members));
                }
                None => return Err("EOF".to_owned()),
                Some(_) => return Err(self.unexpected("after object key:value pair")),
            }
        }
    }

    fn string(&mut self) -> Result<Cow<'t, str>, String> {
        self.at += 1;
        let start = self.at;
        // Most strings have nothing to unescape.
        loop {
            match self.text.get(self.at) {
                None => return Err("unexpected EOF".to_owned()),
                Some(b'"') => {
                    let text = String::from_utf8_lossy(&self.text[start..self.at]);
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => break,
                Some(0..=0x1f) => return Err(self.unexpected("in string literal")),
                Some(_) => self.at += 1,
            }
        }
        let mut out = self.text[start..self.at].to_vec();
        loop {
            match self.text.get(self.at) {
                None => return Err("unexpected EOF".to_owned()),
                Some(b'"') => {
                    self.at += 1;
                    let text = String::from_utf8_lossy(&out).into_owned();
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => {
                    self.at += 1;
                    self.escape(&mut out)?;
                }
                Some(0..=0x1f) => return Err(self.unexpected("in string literal")),
                Some(byte) => {
                    out.push(*byte);
                    self.at += 1;
                }
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        let byte = match self.text.get(self.at) {
            Some(b @ (b'"' | b'\\' | b'/')) => *b,
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                self.at += 1;
                let c = self.unicode()?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(self.unexpected("in string escape code")),
        };
        out.push(byte);
        self.at += 1;
        Ok(())
    }

    fn hex(&mut self) -> Result<u32, String> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = self
                .text
                .get(self.at)
                .and_then(|b| char::from(*b).to_digit(16));
            let Some(digit) = digit else {
                return Err(self.unexpected("in \\u hexadecimal character escape"));
            };
            value = value * 16 + digit;
            self.at += 1;
        }
        Ok(value)
    }

    /// The character of an escape and, for the first half of a pair, the one after it. A lone half is replaced.
    fn unicode(&mut self) -> Result<char, String> {
        let first = self.hex()?;
        if (0xd800..0xdc00).contains(&first) && self.text[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let second = self.hex()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }
}
