//! The characters of a text to tokens, by the rules and with the words of libyaml 0.2.5.

mod properties;
mod scalars;
mod structure;

use std::collections::VecDeque;

use super::{Mark, Problem};

type Result<T, E = Problem> = std::result::Result<T, E>;

/// How a scalar was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Style {
    Plain,
    Single,
    Double,
    Block,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Kind {
    StreamEnd,
    Version(u32, u32),
    TagDirective(String, String),
    DocumentStart,
    DocumentEnd,
    BlockSequenceStart,
    BlockMappingStart,
    BlockEnd,
    FlowSequenceStart,
    FlowSequenceEnd,
    FlowMappingStart,
    FlowMappingEnd,
    BlockEntry,
    FlowEntry,
    Key,
    Value,
    Alias(String),
    Anchor(String),
    Tag(String, String),
    Scalar(String, Style),
}

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: Mark,
    pub(super) end: Mark,
}

#[derive(Clone, Copy, Default)]
struct SimpleKey {
    possible: bool,
    required: bool,
    token: usize,
    mark: Mark,
}

/// How long a key may be that is not marked as one.
const SIMPLE_KEY_LENGTH: usize = 1024;
/// How deep flow collections may nest.
const DEPTH: usize = 1000;

pub(super) struct Scanner {
    chars: Vec<char>,
    mark: Mark,
    tokens: VecDeque<Token>,
    parsed: usize,
    ended: bool,
    simple_key_allowed: bool,
    /// One for each level of flow collections, and one for outside of them.
    keys: Vec<SimpleKey>,
    indent: isize,
    indents: Vec<isize>,
    flow: usize,
}

fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

impl Scanner {
    pub(super) fn new(text: &str) -> Result<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let chars: Vec<char> = text.chars().collect();
        if let Some(index) = chars.iter().position(|c| !is_allowed(*c)) {
            return Err(Problem {
                context: None,
                message: format!(
                    "unacceptable character #x{:04x}: control characters are not allowed in \"<unicode string>\", position {index}",
                    u32::from(chars[index])
                ),
                note: None,
                mark: None,
                own: true,
            });
        }
        Ok(Scanner {
            chars,
            mark: Mark::default(),
            tokens: VecDeque::new(),
            parsed: 0,
            ended: false,
            simple_key_allowed: true,
            keys: vec![SimpleKey::default()],
            indent: -1,
            indents: Vec::new(),
            flow: 0,
        })
    }

    /// The next token, which stays.
    pub(super) fn peek(&mut self) -> Result<&Token> {
        while self.needs_more()? {
            self.fetch()?;
        }
        let mark = self.mark;
        // After the end there is the end.
        if self.tokens.is_empty() {
            self.tokens.push_back(Token {
                kind: Kind::StreamEnd,
                start: mark,
                end: mark,
            });
        }
        Ok(&self.tokens[0])
    }

    /// The next token.
    pub(super) fn take(&mut self) -> Result<Token> {
        self.peek()?;
        let mark = self.mark;
        Ok(match self.tokens.pop_front() {
            Some(token) => {
                self.parsed += 1;
                token
            }
            None => Token {
                kind: Kind::StreamEnd,
                start: mark,
                end: mark,
            },
        })
    }

    fn needs_more(&mut self) -> Result<bool> {
        if self.tokens.is_empty() {
            return Ok(!self.ended);
        }
        self.drop_stale_keys()?;
        Ok(!self.ended
            && self
                .keys
                .iter()
                .any(|key| key.possible && key.token == self.parsed))
    }

    fn at(&self, offset: usize) -> Option<char> {
        self.chars.get(self.mark.index + offset).copied()
    }

    fn is(&self, offset: usize, wanted: char) -> bool {
        self.at(offset) == Some(wanted)
    }

    fn blank(&self, offset: usize) -> bool {
        matches!(self.at(offset), Some(' ' | '\t'))
    }

    fn breaks(&self, offset: usize) -> bool {
        self.at(offset).is_some_and(is_break)
    }

    /// A blank, a line break, or the end.
    fn blankz(&self, offset: usize) -> bool {
        self.at(offset)
            .is_none_or(|c| c == ' ' || c == '\t' || is_break(c))
    }

    fn breakz(&self, offset: usize) -> bool {
        self.at(offset).is_none_or(is_break)
    }

    fn skip(&mut self) {
        self.mark.index += 1;
        self.mark.column += 1;
    }

    fn skip_line(&mut self) {
        if self.is(0, '\r') && self.is(1, '\n') {
            self.mark.index += 2;
        } else {
            self.mark.index += 1;
        }
        self.mark.column = 0;
        self.mark.line += 1;
    }

    /// Reads a line break into a text, as the one it stands for.
    fn read_line(&mut self, into: &mut String) {
        match self.at(0) {
            Some('\u{2028}') => into.push('\u{2028}'),
            Some('\u{2029}') => into.push('\u{2029}'),
            _ => into.push('\n'),
        }
        self.skip_line();
    }

    fn error<T>(&self, context: Option<&str>, problem: &str) -> Result<T> {
        Err(Problem::new(context, problem, self.mark))
    }

    fn drop_stale_keys(&mut self) -> Result<()> {
        let (line, index) = (self.mark.line, self.mark.index);
        for position in 0..self.keys.len() {
            let key = self.keys[position];
            if key.possible && (key.mark.line < line || key.mark.index + SIMPLE_KEY_LENGTH < index)
            {
                if key.required {
                    return self.error(
                        Some("while scanning a simple key"),
                        "could not find expected ':'",
                    );
                }
                self.keys[position].possible = false;
            }
        }
        Ok(())
    }

    fn save_key(&mut self) -> Result<()> {
        if self.simple_key_allowed {
            let required = self.flow == 0 && self.indent == self.mark.column as isize;
            self.remove_key()?;
            if let Some(key) = self.keys.last_mut() {
                *key = SimpleKey {
                    possible: true,
                    required,
                    token: self.parsed + self.tokens.len(),
                    mark: self.mark,
                };
            }
        }
        Ok(())
    }

    fn remove_key(&mut self) -> Result<()> {
        let Some(key) = self.keys.last_mut() else {
            return Ok(());
        };
        if key.possible && key.required {
            return self.error(
                Some("while scanning a simple key"),
                "could not find expected ':'",
            );
        }
        key.possible = false;
        Ok(())
    }

    /// Begins a block at a column that is further in. The token goes before the one numbered `number`, or to the end.
    fn roll(&mut self, column: usize, number: Option<usize>, kind: Kind, mark: Mark) {
        if self.flow > 0 || self.indent >= column as isize {
            return;
        }
        self.indents.push(self.indent);
        self.indent = column as isize;
        let token = Token {
            kind,
            start: mark,
            end: mark,
        };
        match number {
            None => self.tokens.push_back(token),
            Some(number) => self.tokens.insert(number - self.parsed, token),
        }
    }

    fn unroll(&mut self, column: isize) {
        if self.flow > 0 {
            return;
        }
        while self.indent > column {
            self.push(Kind::BlockEnd, self.mark);
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }

    fn push(&mut self, kind: Kind, start: Mark) {
        self.tokens.push_back(Token {
            kind,
            start,
            end: self.mark,
        });
    }

    /// A token of so many characters.
    fn indicator(&mut self, length: usize, kind: Kind) {
        let start = self.mark;
        for _ in 0..length {
            self.skip();
        }
        self.push(kind, start);
    }

    fn fetch(&mut self) -> Result<()> {
        self.skip_to_next_token();
        self.drop_stale_keys()?;
        self.unroll(self.mark.column as isize);
        let Some(c) = self.at(0) else {
            return self.fetch_end();
        };
        let line_start = self.mark.column == 0;
        if line_start && c == '%' {
            return self.fetch_directive();
        }
        if line_start && self.document_indicator('-') {
            return self.fetch_document_indicator(Kind::DocumentStart);
        }
        if line_start && self.document_indicator('.') {
            return self.fetch_document_indicator(Kind::DocumentEnd);
        }
        let flow = self.flow > 0;
        match c {
            '[' => self.fetch_flow_start(Kind::FlowSequenceStart),
            '{' => self.fetch_flow_start(Kind::FlowMappingStart),
            ']' => self.fetch_flow_end(Kind::FlowSequenceEnd),
            '}' => self.fetch_flow_end(Kind::FlowMappingEnd),
            ',' => {
                self.remove_key()?;
                self.simple_key_allowed = true;
                self.indicator(1, Kind::FlowEntry);
                Ok(())
            }
            '-' if self.blankz(1) => self.fetch_block_entry(),
            '?' if flow || self.blankz(1) => self.fetch_key(),
            ':' if flow || self.blankz(1) => self.fetch_value(),
            '*' => self.fetch_anchor(true),
            '&' => self.fetch_anchor(false),
            '!' => self.fetch_tag(),
            '|' if !flow => self.fetch_block_scalar(true),
            '>' if !flow => self.fetch_block_scalar(false),
            '\'' => self.fetch_flow_scalar(true),
            '"' => self.fetch_flow_scalar(false),
            _ => {
                let begins = !matches!(
                    c,
                    '-' | '?'
                        | ':'
                        | ','
                        | '['
                        | ']'
                        | '{'
                        | '}'
                        | '#'
                        | '&'
                        | '*'
                        | '!'
                        | '|'
                        | '>'
                        | '\''
                        | '"'
                        | '%'
                        | '@'
                        | '`'
                ) && !self.blankz(0);
                if begins
                    || (c == '-' && !self.blank(1))
                    || (!flow && matches!(c, '?' | ':') && !self.blankz(1))
                {
                    self.save_key()?;
                    self.simple_key_allowed = false;
                    return self.scan_plain();
                }
                self.error(
                    Some("while scanning for the next token"),
                    "found character that cannot start any token",
                )
            }
        }
    }

    fn document_indicator(&self, c: char) -> bool {
        self.is(0, c) && self.is(1, c) && self.is(2, c) && self.blankz(3)
    }

    fn skip_to_next_token(&mut self) {
        loop {
            if self.mark.index == 0 && self.is(0, '\u{feff}') {
                self.skip();
            }
            // Tabs may stand in flow collections, and where no key can begin.
            while self.is(0, ' ')
                || ((self.flow > 0 || !self.simple_key_allowed) && self.is(0, '\t'))
            {
                self.skip();
            }
            if self.is(0, '#') {
                while !self.breakz(0) {
                    self.skip();
                }
            }
            if !self.breaks(0) {
                return;
            }
            self.skip_line();
            if self.flow == 0 {
                self.simple_key_allowed = true;
            }
        }
    }

    fn skip_blanks(&mut self) {
        while self.blank(0) {
            self.skip();
        }
    }
}

fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}'
        | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
}
