//! The block style of libyaml's emitter: strings and keys in double quotes, those of several lines as literal blocks,
//! lists within maps not indented, long lines folded at spaces.

use crate::value::{Kind, Value};

const INDENT: usize = 2;
const WIDTH: usize = 80;
/// Longer keys, and those of several lines, are written after a question mark.
const SIMPLE_KEY: usize = 128;

pub(super) fn document(value: &Value) -> String {
    let mut emitter = Emitter {
        out: String::new(),
        column: 0,
        indent: None,
        whitespace: true,
        indention: true,
    };
    emitter.node(value, false);
    emitter.line();
    // After a plain scalar alone the end of the document is written.
    if !value.can_iterate() && value.as_str().is_none() {
        emitter.out.push_str("...\n");
    }
    emitter.out
}

struct Emitter {
    out: String,
    column: usize,
    /// Before the first collection there is none.
    indent: Option<usize>,
    /// The last thing written was white space, or what needs none after it.
    whitespace: bool,
    /// Only indentation and indicators were written on this line.
    indention: bool,
}

impl Emitter {
    fn put(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }

    fn put_break(&mut self) {
        self.out.push('\n');
        self.column = 0;
    }

    /// Goes to the indentation of a new line, unless already there.
    fn line(&mut self) {
        let indent = self.indent.unwrap_or(0);
        let there = self.column < indent || self.column == indent && self.whitespace;
        if !self.indention || !there {
            self.put_break();
        }
        while self.column < indent {
            self.put(' ');
        }
        self.whitespace = true;
        self.indention = true;
    }

    fn indicator(&mut self, text: &str, spaced: bool, indention: bool) {
        if spaced && !self.whitespace {
            self.put(' ');
        }
        for c in text.chars() {
            self.put(c);
        }
        self.whitespace = false;
        self.indention = self.indention && indention;
    }

    fn plain(&mut self, text: &str) {
        if !self.whitespace {
            self.put(' ');
        }
        for c in text.chars() {
            self.put(c);
        }
        self.whitespace = false;
        self.indention = false;
    }

    fn node(&mut self, value: &Value, in_mapping: bool) {
        match value.kind() {
            Kind::Null | Kind::Unknown(_) => self.plain("null"),
            Kind::Bool(value) => self.plain(if value { "true" } else { "false" }),
            Kind::Number(number) => self.plain(&number.to_string()),
            Kind::String(text) => self.string(text, false),
            Kind::List(values) | Kind::Set(values) | Kind::Tuple(values) => {
                self.sequence(values, in_mapping);
            }
            Kind::Map(values) | Kind::Object(values) => {
                if values.is_empty() {
                    self.indicator("{", true, false);
                    self.indicator("}", false, false);
                    return;
                }
                let outer = self.deeper(false);
                for (key, value) in values {
                    self.line();
                    if key.len() <= SIMPLE_KEY && !key.contains(is_break) {
                        self.string(key, true);
                        self.indicator(":", false, false);
                    } else {
                        self.indicator("?", true, true);
                        self.string(key, false);
                        self.line();
                        self.indicator(":", true, true);
                    }
                    self.node(value, true);
                }
                self.indent = outer;
            }
        }
    }

    fn sequence(&mut self, values: &[Value], in_mapping: bool) {
        if values.is_empty() {
            self.indicator("[", true, false);
            self.indicator("]", false, false);
            return;
        }
        let outer = self.deeper(in_mapping && !self.indention);
        for value in values {
            self.line();
            self.indicator("-", true, true);
            self.node(value, false);
        }
        self.indent = outer;
    }

    /// Indents further, and gives the indentation to go back to.
    fn deeper(&mut self, stay: bool) -> Option<usize> {
        let outer = self.indent;
        self.indent = Some(match outer {
            None => 0,
            Some(indent) if stay => indent,
            Some(indent) => indent + INDENT,
        });
        outer
    }

    fn string(&mut self, text: &str, key: bool) {
        let outer = self.indent;
        self.indent = Some(outer.map_or(INDENT, |indent| indent + INDENT));
        if text.contains('\n') && !key && literal_allowed(text) {
            self.literal(text);
        } else {
            self.quoted(text, !key);
        }
        self.indent = outer;
    }

    fn literal(&mut self, text: &str) {
        self.indicator("|", true, false);
        if text.starts_with(|c| c == ' ' || is_break(c)) {
            self.indicator(&INDENT.to_string(), false, false);
        }
        let mut from_end = text.chars().rev();
        match (from_end.next(), from_end.next()) {
            (Some(last), _) if !is_break(last) => self.indicator("-", false, false),
            (Some(_), None) => self.indicator("+", false, false),
            (Some(_), Some(before)) if is_break(before) => self.indicator("+", false, false),
            _ => {}
        }
        self.put_break();
        self.indention = true;
        self.whitespace = true;
        let mut breaks = true;
        for c in text.chars() {
            if is_break(c) {
                if c == '\n' {
                    self.put_break();
                } else {
                    self.out.push(c);
                    self.column = 0;
                }
                self.indention = true;
                breaks = true;
            } else {
                if breaks {
                    self.line();
                }
                self.put(c);
                self.indention = false;
                breaks = false;
            }
        }
    }

    fn quoted(&mut self, text: &str, fold: bool) {
        self.indicator("\"", true, false);
        let mark = text.starts_with('\u{feff}');
        let mut spaces = false;
        let mut chars = text.char_indices().peekable();
        while let Some((i, c)) = chars.next() {
            if mark || !is_printable(c) || is_break(c) || c == '"' || c == '\\' {
                self.escape(c);
                spaces = false;
            } else if c == ' ' {
                let within = i > 0 && i + 1 < text.len();
                if fold && !spaces && self.column > WIDTH && within {
                    self.line();
                    if chars.peek().is_some_and(|(_, next)| *next == ' ') {
                        self.put('\\');
                    }
                } else {
                    self.put(c);
                }
                spaces = true;
            } else {
                self.put(c);
                spaces = false;
            }
        }
        self.indicator("\"", false, false);
        self.whitespace = false;
        self.indention = false;
    }

    fn escape(&mut self, c: char) {
        let short = match c {
            '\0' => '0',
            '\x07' => 'a',
            '\x08' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\x0b' => 'v',
            '\x0c' => 'f',
            '\r' => 'r',
            '\x1b' => 'e',
            '"' => '"',
            '\\' => '\\',
            '\u{85}' => 'N',
            '\u{a0}' => '_',
            '\u{2028}' => 'L',
            '\u{2029}' => 'P',
            _ => {
                let code = u32::from(c);
                let text = match code {
                    0..=0xff => format!("\\x{code:02X}"),
                    0x100..=0xffff => format!("\\u{code:04X}"),
                    _ => format!("\\U{code:08X}"),
                };
                for c in text.chars() {
                    self.put(c);
                }
                return;
            }
        };
        self.put('\\');
        self.put(short);
    }
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// What libyaml writes as it is: nothing beyond the basic plane, and no tabs.
fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

/// A literal block keeps neither a space at the end of a line nor what is not printable.
fn literal_allowed(text: &str) -> bool {
    let mut before = 'x';
    for c in text.chars() {
        if !is_printable(c) || is_break(c) && before == ' ' {
            return false;
        }
        before = c;
    }
    before != ' '
}
