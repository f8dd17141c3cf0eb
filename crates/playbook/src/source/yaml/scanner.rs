//! The characters of a text to tokens, by the rules and with the words of libyaml 0.2.5.

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
                problem: format!(
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

    fn fetch_end(&mut self) -> Result<()> {
        if self.mark.column != 0 {
            self.mark.column = 0;
            self.mark.line += 1;
        }
        self.unroll(-1);
        self.remove_key()?;
        self.simple_key_allowed = false;
        self.push(Kind::StreamEnd, self.mark);
        self.ended = true;
        Ok(())
    }

    fn fetch_document_indicator(&mut self, kind: Kind) -> Result<()> {
        self.unroll(-1);
        self.remove_key()?;
        self.simple_key_allowed = false;
        self.indicator(3, kind);
        Ok(())
    }

    fn fetch_flow_start(&mut self, kind: Kind) -> Result<()> {
        self.save_key()?;
        if self.flow >= DEPTH {
            return self.error(None, "values are nested too deeply");
        }
        self.keys.push(SimpleKey::default());
        self.flow += 1;
        self.simple_key_allowed = true;
        self.indicator(1, kind);
        Ok(())
    }

    fn fetch_flow_end(&mut self, kind: Kind) -> Result<()> {
        self.remove_key()?;
        if self.flow > 0 {
            self.flow -= 1;
            self.keys.pop();
        }
        self.simple_key_allowed = false;
        self.indicator(1, kind);
        Ok(())
    }

    fn fetch_block_entry(&mut self) -> Result<()> {
        if self.flow == 0 {
            if !self.simple_key_allowed {
                return self.error(
                    None,
                    "block sequence entries are not allowed in this context",
                );
            }
            self.roll(self.mark.column, None, Kind::BlockSequenceStart, self.mark);
        }
        self.remove_key()?;
        self.simple_key_allowed = true;
        self.indicator(1, Kind::BlockEntry);
        Ok(())
    }

    fn fetch_key(&mut self) -> Result<()> {
        if self.flow == 0 {
            if !self.simple_key_allowed {
                return self.error(None, "mapping keys are not allowed in this context");
            }
            self.roll(self.mark.column, None, Kind::BlockMappingStart, self.mark);
        }
        self.remove_key()?;
        self.simple_key_allowed = self.flow == 0;
        self.indicator(1, Kind::Key);
        Ok(())
    }

    fn fetch_value(&mut self) -> Result<()> {
        let key = self.keys.last().copied().unwrap_or_default();
        if key.possible {
            self.tokens.insert(
                key.token - self.parsed,
                Token {
                    kind: Kind::Key,
                    start: key.mark,
                    end: key.mark,
                },
            );
            self.roll(
                key.mark.column,
                Some(key.token),
                Kind::BlockMappingStart,
                key.mark,
            );
            if let Some(key) = self.keys.last_mut() {
                key.possible = false;
            }
            self.simple_key_allowed = false;
        } else {
            if self.flow == 0 {
                if !self.simple_key_allowed {
                    return self.error(None, "mapping values are not allowed in this context");
                }
                self.roll(self.mark.column, None, Kind::BlockMappingStart, self.mark);
            }
            self.simple_key_allowed = self.flow == 0;
        }
        self.indicator(1, Kind::Value);
        Ok(())
    }

    fn fetch_anchor(&mut self, alias: bool) -> Result<()> {
        self.save_key()?;
        self.simple_key_allowed = false;
        let start = self.mark;
        self.skip();
        let mut name = String::new();
        while let Some(c) = self.at(0).filter(|c| is_word(*c)) {
            name.push(c);
            self.skip();
        }
        let ends = self.blankz(0)
            || matches!(
                self.at(0),
                Some('?' | ':' | ',' | ']' | '}' | '%' | '@' | '`')
            );
        if name.is_empty() || !ends {
            return self.error(
                Some(if alias {
                    "while scanning an alias"
                } else {
                    "while scanning an anchor"
                }),
                "did not find expected alphabetic or numeric character",
            );
        }
        self.push(
            if alias {
                Kind::Alias(name)
            } else {
                Kind::Anchor(name)
            },
            start,
        );
        Ok(())
    }

    fn fetch_directive(&mut self) -> Result<()> {
        self.unroll(-1);
        self.remove_key()?;
        self.simple_key_allowed = false;
        let start = self.mark;
        let context = Some("while scanning a directive");
        self.skip();
        let mut name = String::new();
        while let Some(c) = self.at(0).filter(|c| is_word(*c)) {
            name.push(c);
            self.skip();
        }
        if name.is_empty() {
            return self.error(context, "could not find expected directive name");
        }
        if !self.blankz(0) {
            return self.error(context, "found unexpected non-alphabetical character");
        }
        let kind = match name.as_str() {
            "YAML" => {
                self.skip_blanks();
                let major = self.version_number()?;
                if !self.is(0, '.') {
                    return self.error(
                        Some("while scanning a %YAML directive"),
                        "did not find expected digit or '.' character",
                    );
                }
                self.skip();
                Kind::Version(major, self.version_number()?)
            }
            "TAG" => {
                let context = Some("while scanning a %TAG directive");
                self.skip_blanks();
                let handle = self.tag_handle(true)?;
                if !self.blank(0) {
                    return self.error(context, "did not find expected whitespace");
                }
                self.skip_blanks();
                let prefix = self.tag_uri(true, true, None)?;
                if !self.blankz(0) {
                    return self.error(context, "did not find expected whitespace or line break");
                }
                Kind::TagDirective(handle, prefix)
            }
            _ => return self.error(context, "found unknown directive name"),
        };
        self.push(kind, start);
        self.skip_blanks();
        if self.is(0, '#') {
            while !self.breakz(0) {
                self.skip();
            }
        }
        if !self.breakz(0) {
            return self.error(context, "did not find expected comment or line break");
        }
        if self.breaks(0) {
            self.skip_line();
        }
        Ok(())
    }

    fn skip_blanks(&mut self) {
        while self.blank(0) {
            self.skip();
        }
    }

    fn version_number(&mut self) -> Result<u32> {
        let context = Some("while scanning a %YAML directive");
        let mut value = 0;
        let mut length = 0;
        while let Some(digit) = self.at(0).and_then(|c| c.to_digit(10)) {
            length += 1;
            if length > 9 {
                return self.error(context, "found extremely long version number");
            }
            value = value * 10 + digit;
            self.skip();
        }
        if length == 0 {
            return self.error(context, "did not find expected version number");
        }
        Ok(value)
    }

    fn fetch_tag(&mut self) -> Result<()> {
        self.save_key()?;
        self.simple_key_allowed = false;
        let start = self.mark;
        let (handle, suffix) = if self.is(1, '<') {
            self.skip();
            self.skip();
            let suffix = self.tag_uri(true, false, None)?;
            if !self.is(0, '>') {
                return self.error(
                    Some("while scanning a tag"),
                    "did not find the expected '>'",
                );
            }
            self.skip();
            (String::new(), suffix)
        } else {
            let handle = self.tag_handle(false)?;
            if handle.len() > 1 && handle.starts_with('!') && handle.ends_with('!') {
                let suffix = self.tag_uri(false, false, None)?;
                (handle, suffix)
            } else {
                let suffix = self.tag_uri(false, false, Some(&handle))?;
                if suffix.is_empty() {
                    // The tag is `!` alone.
                    (String::new(), "!".to_owned())
                } else {
                    ("!".to_owned(), suffix)
                }
            }
        };
        if !self.blankz(0) && (self.flow == 0 || !self.is(0, ',')) {
            return self.error(
                Some("while scanning a tag"),
                "did not find expected whitespace or line break",
            );
        }
        self.push(Kind::Tag(handle, suffix), start);
        Ok(())
    }

    fn tag_handle(&mut self, directive: bool) -> Result<String> {
        let context = Some(if directive {
            "while scanning a %TAG directive"
        } else {
            "while scanning a tag"
        });
        if !self.is(0, '!') {
            return self.error(context, "did not find expected '!'");
        }
        let mut handle = String::from("!");
        self.skip();
        while let Some(c) = self.at(0).filter(|c| is_word(*c)) {
            handle.push(c);
            self.skip();
        }
        if self.is(0, '!') {
            handle.push('!');
            self.skip();
        } else if directive && handle != "!" {
            return self.error(
                Some("while parsing a %TAG directive"),
                "did not find expected '!'",
            );
        }
        Ok(handle)
    }

    /// `head` is a handle that was no handle but the beginning of the address.
    fn tag_uri(&mut self, flow_too: bool, directive: bool, head: Option<&str>) -> Result<String> {
        let context = Some(if directive {
            "while parsing a %TAG directive"
        } else {
            "while parsing a tag"
        });
        let head = head.unwrap_or("");
        let mut uri = head.get(1..).unwrap_or("").to_owned();
        let mut length = head.len();
        while let Some(c) = self.at(0) {
            let allowed = is_word(c)
                || matches!(
                    c,
                    ';' | '/'
                        | '?'
                        | ':'
                        | '@'
                        | '&'
                        | '='
                        | '+'
                        | '$'
                        | '.'
                        | '%'
                        | '!'
                        | '~'
                        | '*'
                        | '\''
                        | '('
                        | ')'
                )
                || (flow_too && matches!(c, ',' | '[' | ']'));
            if !allowed {
                break;
            }
            if c == '%' {
                uri.push(self.uri_escape(context)?);
            } else {
                uri.push(c);
                self.skip();
            }
            length += 1;
        }
        if length == 0 {
            return self.error(context, "did not find expected tag URI");
        }
        Ok(uri)
    }

    fn uri_escape(&mut self, context: Option<&str>) -> Result<char> {
        let mut bytes = Vec::new();
        let mut width = 0;
        loop {
            let high = self.at(1).and_then(|c| c.to_digit(16));
            let low = self.at(2).and_then(|c| c.to_digit(16));
            let (true, Some(high), Some(low)) = (self.is(0, '%'), high, low) else {
                return self.error(context, "did not find URI escaped octet");
            };
            let byte = (high * 16 + low) as u8;
            if width == 0 {
                width = match byte {
                    0..=0x7f => 1,
                    0xc0..=0xdf => 2,
                    0xe0..=0xef => 3,
                    0xf0..=0xf7 => 4,
                    _ => {
                        return self.error(context, "found an incorrect leading UTF-8 octet");
                    }
                };
            } else if byte & 0xc0 != 0x80 {
                return self.error(context, "found an incorrect trailing UTF-8 octet");
            }
            bytes.push(byte);
            for _ in 0..3 {
                self.skip();
            }
            if bytes.len() == width {
                break;
            }
        }
        match std::str::from_utf8(&bytes)
            .ok()
            .and_then(|t| t.chars().next())
        {
            Some(c) => Ok(c),
            None => self.error(context, "found an incorrect leading UTF-8 octet"),
        }
    }

    fn fetch_block_scalar(&mut self, literal: bool) -> Result<()> {
        self.remove_key()?;
        self.simple_key_allowed = true;
        let context = Some("while scanning a block scalar");
        let start = self.mark;
        self.skip();
        let mut chomp: Option<bool> = None;
        let mut increment = 0;
        for _ in 0..2 {
            match self.at(0) {
                Some(c @ ('+' | '-')) if chomp.is_none() => {
                    chomp = Some(c == '+');
                    self.skip();
                }
                Some('0') if increment == 0 => {
                    return self.error(context, "found an indentation indicator equal to 0");
                }
                Some(c @ '1'..='9') if increment == 0 => {
                    increment = c.to_digit(10).unwrap_or(1) as usize;
                    self.skip();
                }
                _ => break,
            }
        }
        self.skip_blanks();
        if self.is(0, '#') {
            while !self.breakz(0) {
                self.skip();
            }
        }
        if !self.breakz(0) {
            return self.error(context, "did not find expected comment or line break");
        }
        if self.breaks(0) {
            self.skip_line();
        }
        let mut indent = if increment > 0 {
            (self.indent.max(0) as usize) + increment
        } else {
            0
        };
        let mut text = String::new();
        let mut leading_break = String::new();
        let mut trailing = String::new();
        let mut leading_blank = false;
        let mut end = self.block_breaks(&mut indent, &mut trailing)?;
        while self.mark.column == indent && self.at(0).is_some() {
            let trailing_blank = self.blank(0);
            if !literal && leading_break.starts_with('\n') && !leading_blank && !trailing_blank {
                if trailing.is_empty() {
                    text.push(' ');
                }
            } else {
                text.push_str(&leading_break);
            }
            leading_break.clear();
            text.push_str(&trailing);
            trailing.clear();
            leading_blank = self.blank(0);
            while let Some(c) = self.at(0).filter(|c| !is_break(*c)) {
                text.push(c);
                self.skip();
            }
            if self.at(0).is_some() {
                self.read_line(&mut leading_break);
            }
            end = self.block_breaks(&mut indent, &mut trailing)?;
        }
        if chomp != Some(false) {
            text.push_str(&leading_break);
        }
        if chomp == Some(true) {
            text.push_str(&trailing);
        }
        self.tokens.push_back(Token {
            kind: Kind::Scalar(text, Style::Block),
            start,
            end,
        });
        Ok(())
    }

    fn block_breaks(&mut self, indent: &mut usize, breaks: &mut String) -> Result<Mark> {
        let mut widest = 0;
        let mut end = self.mark;
        loop {
            while (*indent == 0 || self.mark.column < *indent) && self.is(0, ' ') {
                self.skip();
            }
            widest = widest.max(self.mark.column);
            if (*indent == 0 || self.mark.column < *indent) && self.is(0, '\t') {
                return self.error(
                    Some("while scanning a block scalar"),
                    "found a tab character where an indentation space is expected",
                );
            }
            if !self.breaks(0) {
                break;
            }
            self.read_line(breaks);
            end = self.mark;
        }
        if *indent == 0 {
            *indent = widest.max((self.indent + 1).max(0) as usize).max(1);
        }
        Ok(end)
    }

    fn fetch_flow_scalar(&mut self, single: bool) -> Result<()> {
        self.save_key()?;
        self.simple_key_allowed = false;
        let context = Some("while scanning a quoted scalar");
        let start = self.mark;
        self.skip();
        let mut text = String::new();
        let mut blanks = String::new();
        let mut leading_break = String::new();
        let mut trailing = String::new();
        loop {
            if self.mark.column == 0
                && (self.document_indicator('-') || self.document_indicator('.'))
            {
                return self.error(context, "found unexpected document indicator");
            }
            if self.at(0).is_none() {
                return self.error(context, "found unexpected end of stream");
            }
            let mut leading_blanks = false;
            while !self.blankz(0) {
                let Some(c) = self.at(0) else { break };
                if single && c == '\'' && self.is(1, '\'') {
                    text.push('\'');
                    self.skip();
                    self.skip();
                } else if c == (if single { '\'' } else { '"' }) {
                    break;
                } else if !single && c == '\\' && self.breaks(1) {
                    self.skip();
                    self.skip_line();
                    leading_blanks = true;
                    break;
                } else if !single && c == '\\' {
                    self.escape(&mut text)?;
                } else {
                    text.push(c);
                    self.skip();
                }
            }
            if self.is(0, if single { '\'' } else { '"' }) {
                break;
            }
            while self.blank(0) || self.breaks(0) {
                if self.blank(0) {
                    if !leading_blanks {
                        blanks.extend(self.at(0));
                    }
                    self.skip();
                } else if leading_blanks {
                    self.read_line(&mut trailing);
                } else {
                    blanks.clear();
                    self.read_line(&mut leading_break);
                    leading_blanks = true;
                }
            }
            if leading_blanks {
                fold(&mut text, &mut leading_break, &mut trailing);
            } else {
                text.push_str(&blanks);
                blanks.clear();
            }
        }
        self.skip();
        let style = if single { Style::Single } else { Style::Double };
        self.push(Kind::Scalar(text, style), start);
        Ok(())
    }

    fn escape(&mut self, text: &mut String) -> Result<()> {
        let context = Some("while parsing a quoted scalar");
        let (c, digits) = match self.at(1) {
            Some('0') => ('\0', 0),
            Some('a') => ('\u{7}', 0),
            Some('b') => ('\u{8}', 0),
            Some('t' | '\t') => ('\t', 0),
            Some('n') => ('\n', 0),
            Some('v') => ('\u{b}', 0),
            Some('f') => ('\u{c}', 0),
            Some('r') => ('\r', 0),
            Some('e') => ('\u{1b}', 0),
            Some(' ') => (' ', 0),
            Some('"') => ('"', 0),
            Some('/') => ('/', 0),
            Some('\\') => ('\\', 0),
            Some('N') => ('\u{85}', 0),
            Some('_') => ('\u{a0}', 0),
            Some('L') => ('\u{2028}', 0),
            Some('P') => ('\u{2029}', 0),
            Some('x') => (' ', 2),
            Some('u') => (' ', 4),
            Some('U') => (' ', 8),
            _ => return self.error(context, "found unknown escape character"),
        };
        self.skip();
        self.skip();
        if digits == 0 {
            text.push(c);
            return Ok(());
        }
        let mut value = 0_u32;
        for offset in 0..digits {
            let Some(digit) = self.at(offset).and_then(|c| c.to_digit(16)) else {
                return self.error(context, "did not find expected hexdecimal number");
            };
            value = value.wrapping_mul(16).wrapping_add(digit);
        }
        let Some(c) = char::from_u32(value) else {
            return self.error(context, "found invalid Unicode character escape code");
        };
        text.push(c);
        for _ in 0..digits {
            self.skip();
        }
        Ok(())
    }

    fn scan_plain(&mut self) -> Result<()> {
        let context = Some("while scanning a plain scalar");
        let start = self.mark;
        let mut end = self.mark;
        let mut text = String::new();
        let mut blanks = String::new();
        let mut leading_break = String::new();
        let mut trailing = String::new();
        let mut leading_blanks = false;
        let indent = self.indent + 1;
        loop {
            if self.mark.column == 0
                && (self.document_indicator('-') || self.document_indicator('.'))
            {
                break;
            }
            if self.is(0, '#') {
                break;
            }
            while !self.blankz(0) {
                let Some(c) = self.at(0) else { break };
                if self.flow > 0
                    && c == ':'
                    && matches!(self.at(1), Some(',' | '?' | '[' | ']' | '{' | '}'))
                {
                    return self.error(context, "found unexpected ':'");
                }
                if (c == ':' && self.blankz(1))
                    || (self.flow > 0 && matches!(c, ',' | '[' | ']' | '{' | '}'))
                {
                    break;
                }
                if leading_blanks {
                    fold(&mut text, &mut leading_break, &mut trailing);
                    leading_blanks = false;
                } else {
                    text.push_str(&blanks);
                }
                blanks.clear();
                text.push(c);
                self.skip();
                end = self.mark;
            }
            if !(self.blank(0) || self.breaks(0)) {
                break;
            }
            while self.blank(0) || self.breaks(0) {
                if self.blank(0) {
                    if leading_blanks && (self.mark.column as isize) < indent && self.is(0, '\t') {
                        return self
                            .error(context, "found a tab character that violates indentation");
                    }
                    if !leading_blanks {
                        blanks.extend(self.at(0));
                    }
                    self.skip();
                } else if leading_blanks {
                    self.read_line(&mut trailing);
                } else {
                    blanks.clear();
                    self.read_line(&mut leading_break);
                    leading_blanks = true;
                }
            }
            if self.flow == 0 && (self.mark.column as isize) < indent {
                break;
            }
        }
        self.tokens.push_back(Token {
            kind: Kind::Scalar(text, Style::Plain),
            start,
            end,
        });
        if leading_blanks {
            self.simple_key_allowed = true;
        }
        Ok(())
    }
}

/// Folds line breaks: one is a space, more are one fewer.
fn fold(text: &mut String, leading_break: &mut String, trailing: &mut String) {
    if leading_break.starts_with('\n') {
        if trailing.is_empty() {
            text.push(' ');
        } else {
            text.push_str(trailing);
        }
    } else {
        text.push_str(leading_break);
        text.push_str(trailing);
    }
    leading_break.clear();
    trailing.clear();
}

fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}'
        | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
}
