//! From text to tokens: the text between tags as it is, and the words within them.
//!
//! The rules for whitespace are those of Jinja 3.1: a minus beside a delimiter strips all whitespace there, a
//! plus keeps what the options would strip, `trim_blocks` takes the first newline after a block or comment,
//! `lstrip_blocks` the blanks before one that begins its line.

use crate::error::Error;

/// How templates are written and what is done about whitespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Syntax {
    /// Begins a statement.
    pub block_start: String,
    /// Ends a statement.
    pub block_end: String,
    /// Begins an expression that is put out.
    pub variable_start: String,
    /// Ends it.
    pub variable_end: String,
    /// Begins a comment.
    pub comment_start: String,
    /// Ends it.
    pub comment_end: String,
    /// A line that begins with this is a statement.
    pub line_statement_prefix: Option<String>,
    /// From this to the end of its line is a comment.
    pub line_comment_prefix: Option<String>,
    /// Whether the first newline after a block is dropped.
    pub trim_blocks: bool,
    /// Whether blanks before a block that begins its line are dropped.
    pub lstrip_blocks: bool,
    /// Whether the newline at the end of the text stays.
    pub keep_trailing_newline: bool,
    /// What newlines become.
    pub newline_sequence: String,
    /// Whether a backslash in a string stands for itself where an expression is put out (not in statements). For
    /// templates from YAML, which has dealt with backslashes already.
    pub literal_backslashes: bool,
    /// Whether the statements of Jinja's extensions are known: `do`, `break`, `continue`.
    pub extensions: bool,
}

impl Syntax {
    /// A text that begins with this says in its first line how it is written.
    pub const HEADER: &'static str = "#jinja2:";

    /// What the first line of a text says about how it is written, and the rest of the text; none if it says nothing.
    pub(crate) fn with_header<'t>(
        &self,
        text: &'t str,
    ) -> Result<Option<(Syntax, &'t str)>, Error> {
        let Some(after) = text.strip_prefix(Self::HEADER) else {
            return Ok(None);
        };
        let wrong = |message: String| Err(Error::failed(message).in_syntax());
        let Some((line, rest)) = after.split_once('\n') else {
            return wrong("Missing newline after '#jinja2:' override.".to_owned());
        };
        let mut syntax = self.clone();
        for pair in line.split(',') {
            if pair.trim().is_empty() {
                return wrong("Empty '#jinja2:' override pair not allowed.".to_owned());
            }
            let Some((key, value)) = pair.split_once(':') else {
                return wrong(format!(
                    "Missing key-value separator `:` in '#jinja2:' override pair {}.",
                    crate::repr::string(pair)
                ));
            };
            syntax.set(key.trim(), value.trim())?;
        }
        Ok(Some((syntax, rest)))
    }

    /// Sets an option by its name from what Python would read as a literal.
    fn set(&mut self, key: &str, written: &str) -> Result<(), Error> {
        let wrong = || {
            Error::failed(format!(
                "invalid value for '#jinja2:' override key {}: {written}",
                crate::repr::string(key)
            ))
            .in_syntax()
        };
        let text = || -> Result<Option<String>, Error> {
            if written == "None" {
                return Ok(None);
            }
            let tokens = expression(written, &Syntax::default()).map_err(|_| wrong())?;
            match tokens.as_slice() {
                [(Token::Str(text), _), (Token::End, _)] => Ok(Some(text.clone())),
                _ => Err(wrong()),
            }
        };
        let flag = || match written {
            "True" => Ok(true),
            "False" => Ok(false),
            _ => Err(wrong()),
        };
        match key {
            "block_start_string" => self.block_start = text()?.ok_or_else(wrong)?,
            "block_end_string" => self.block_end = text()?.ok_or_else(wrong)?,
            "variable_start_string" => self.variable_start = text()?.ok_or_else(wrong)?,
            "variable_end_string" => self.variable_end = text()?.ok_or_else(wrong)?,
            "comment_start_string" => self.comment_start = text()?.ok_or_else(wrong)?,
            "comment_end_string" => self.comment_end = text()?.ok_or_else(wrong)?,
            "line_statement_prefix" => self.line_statement_prefix = text()?,
            "line_comment_prefix" => self.line_comment_prefix = text()?,
            "newline_sequence" => self.newline_sequence = text()?.ok_or_else(wrong)?,
            "trim_blocks" => self.trim_blocks = flag()?,
            "lstrip_blocks" => self.lstrip_blocks = flag()?,
            "keep_trailing_newline" => self.keep_trailing_newline = flag()?,
            _ => {
                return Err(Error::failed(format!(
                    "Invalid '#jinja2:' override key {}.",
                    crate::repr::string(key)
                ))
                .in_syntax());
            }
        }
        Ok(())
    }
}

impl Default for Syntax {
    fn default() -> Self {
        Syntax {
            block_start: "{%".into(),
            block_end: "%}".into(),
            variable_start: "{{".into(),
            variable_end: "}}".into(),
            comment_start: "{#".into(),
            comment_end: "#}".into(),
            line_statement_prefix: None,
            line_comment_prefix: None,
            trim_blocks: false,
            lstrip_blocks: false,
            keep_trailing_newline: false,
            newline_sequence: "\n".into(),
            literal_backslashes: false,
            extensions: false,
        }
    }
}

/// A word of a template.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// Text outside of tags.
    Data(String),
    BlockStart,
    BlockEnd,
    VariableStart,
    VariableEnd,
    Name(String),
    Str(String),
    /// Decimal digits without underscores, of any length.
    Int(String),
    Float(f64),
    /// An operator or bracket.
    Op(&'static str),
    End,
}

impl Token {
    /// The token for people, as Jinja's errors name it.
    pub(crate) fn shown(&self) -> String {
        match self {
            Token::Data(_) => "template data / text".into(),
            Token::BlockStart => "begin of statement block".into(),
            Token::BlockEnd => "end of statement block".into(),
            Token::VariableStart => "begin of print statement".into(),
            Token::VariableEnd => "end of print statement".into(),
            Token::Name(name) | Token::Int(name) => name.clone(),
            Token::Str(text) => text.clone(),
            Token::Float(number) => crate::repr::float(*number),
            Token::Op(op) => (*op).into(),
            Token::End => "end of template".into(),
        }
    }
}

/// A token and the line it begins on, counted from one.
pub(crate) type Spanned = (Token, u32);

const OPERATORS: [&str; 29] = [
    "**", "//", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}",
    ">", "<", "=", ".", ":", "|", ",", ";", "!", "&", "^",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tag {
    Block,
    Variable,
    Comment,
    LineStatement,
    LineComment,
}

struct Lexer<'s> {
    syntax: &'s Syntax,
    text: &'s str,
    at: usize,
    line: u32,
    tokens: Vec<Spanned>,
}

/// The tokens of a whole template.
pub(crate) fn template(source: &str, syntax: &Syntax) -> Result<Vec<Spanned>, Error> {
    let mut text = if source.contains('\r') {
        source.replace("\r\n", "\n").replace('\r', "\n")
    } else {
        source.to_owned()
    };
    if !syntax.keep_trailing_newline && text.ends_with('\n') {
        text.pop();
    }
    let mut lexer = Lexer {
        syntax,
        text: &text,
        at: 0,
        line: 1,
        tokens: Vec::new(),
    };
    lexer.data()?;
    let line = lexer.line;
    lexer.tokens.push((Token::End, line));
    Ok(lexer.tokens)
}

/// The tokens of a single expression, without delimiters.
pub(crate) fn expression(source: &str, syntax: &Syntax) -> Result<Vec<Spanned>, Error> {
    let mut lexer = Lexer {
        syntax,
        text: source,
        at: 0,
        line: 1,
        tokens: Vec::new(),
    };
    lexer.words(None)?;
    let line = lexer.line;
    lexer.tokens.push((Token::End, line));
    Ok(lexer.tokens)
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.text[self.at..]
    }

    fn advance(&mut self, bytes: usize) {
        let passed = &self.text[self.at..self.at + bytes];
        self.line += passed.bytes().filter(|byte| *byte == b'\n').count() as u32;
        self.at += bytes;
    }

    fn push_data(&mut self, text: &str, line: u32) {
        if text.is_empty() {
            return;
        }
        let text = if self.syntax.newline_sequence == "\n" {
            text.to_owned()
        } else {
            text.replace('\n', &self.syntax.newline_sequence)
        };
        self.tokens.push((Token::Data(text), line));
    }

    /// The next tag at or after the present place: where it begins, what it is, and how long its delimiter is.
    fn next_tag(&self) -> Option<(usize, Tag, usize)> {
        let rest = self.rest();
        let syntax = self.syntax;
        let mut found: Option<(usize, Tag, usize)> = None;
        let mut consider = |at: Option<usize>, tag: Tag, length: usize| {
            if let Some(at) = at {
                let better = match found {
                    // At the same place the longer delimiter is meant.
                    Some((other, _, len)) => at < other || at == other && length > len,
                    None => true,
                };
                if better {
                    found = Some((at, tag, length));
                }
            }
        };
        consider(
            rest.find(&syntax.block_start),
            Tag::Block,
            syntax.block_start.len(),
        );
        consider(
            rest.find(&syntax.variable_start),
            Tag::Variable,
            syntax.variable_start.len(),
        );
        consider(
            rest.find(&syntax.comment_start),
            Tag::Comment,
            syntax.comment_start.len(),
        );
        if let Some(prefix) = &syntax.line_statement_prefix {
            let mut from = 0;
            let at = loop {
                let Some(hit) = rest[from..].find(prefix.as_str()).map(|hit| hit + from) else {
                    break None;
                };
                if self.begins_line(self.at + hit) {
                    break Some(hit);
                }
                from = hit + prefix.len();
            };
            consider(at, Tag::LineStatement, prefix.len());
        }
        if let Some(prefix) = &syntax.line_comment_prefix {
            consider(rest.find(prefix.as_str()), Tag::LineComment, prefix.len());
        }
        found
    }

    /// Whether only blanks stand before a place in its line.
    fn begins_line(&self, at: usize) -> bool {
        self.text[..at]
            .bytes()
            .rev()
            .take_while(|byte| *byte != b'\n')
            .all(|byte| byte == b' ' || byte == b'\t')
    }

    fn data(&mut self) -> Result<(), Error> {
        loop {
            let start_line = self.line;
            let Some((offset, tag, length)) = self.next_tag() else {
                let rest = self.rest();
                self.push_data(rest, start_line);
                self.advance(rest.len());
                return Ok(());
            };
            let mut data = &self.rest()[..offset];
            let tag_at = self.at + offset;
            let sign = self.text[tag_at + length..].chars().next();
            match (tag, sign) {
                (Tag::Block | Tag::Variable | Tag::Comment, Some('-')) => data = data.trim_end(),
                (Tag::Block | Tag::Comment, sign)
                    if self.syntax.lstrip_blocks
                        && sign != Some('+')
                        && self.begins_line(tag_at) =>
                {
                    data = data.trim_end_matches([' ', '\t']);
                }
                (Tag::LineStatement, _) => data = data.trim_end_matches([' ', '\t']),
                _ => {}
            }
            self.push_data(data, start_line);
            self.advance(offset + length);
            if tag != Tag::LineStatement
                && tag != Tag::LineComment
                && matches!(sign, Some('-' | '+'))
            {
                self.advance(1);
            }
            match tag {
                Tag::Comment => self.comment()?,
                Tag::LineComment => {
                    let end = self.rest().find('\n').unwrap_or(self.rest().len());
                    self.advance(end);
                }
                Tag::Variable => {
                    let line = self.line;
                    self.tokens.push((Token::VariableStart, line));
                    self.words(Some(Tag::Variable))?;
                }
                Tag::Block => {
                    if self.raw()? {
                        continue;
                    }
                    let line = self.line;
                    self.tokens.push((Token::BlockStart, line));
                    self.words(Some(Tag::Block))?;
                }
                Tag::LineStatement => {
                    let line = self.line;
                    self.tokens.push((Token::BlockStart, line));
                    self.words(Some(Tag::LineStatement))?;
                }
            }
        }
    }

    fn comment(&mut self) -> Result<(), Error> {
        let line = self.line;
        let end = &self.syntax.comment_end;
        let Some(hit) = self.rest().find(end.as_str()) else {
            return Err(Error::syntax("Missing end of comment tag", line));
        };
        let sign = self.rest()[..hit].chars().next_back();
        self.advance(hit + end.len());
        self.after_block(sign);
        Ok(())
    }

    /// What a sign at the end of a block or comment means for what follows.
    fn after_block(&mut self, sign: Option<char>) {
        match sign {
            Some('-') => {
                let rest = self.rest();
                let blank = rest.len() - rest.trim_start().len();
                self.advance(blank);
            }
            Some('+') => {}
            _ => {
                if self.syntax.trim_blocks && self.rest().starts_with('\n') {
                    self.advance(1);
                }
            }
        }
    }

    /// Takes a raw block whole; the delimiter of its start has been passed.
    fn raw(&mut self) -> Result<bool, Error> {
        let rest = self.rest();
        let after = rest.trim_start();
        let Some(after_word) = after.strip_prefix("raw") else {
            return Ok(false);
        };
        let trimmed = after_word.trim_start();
        let (sign, close) = match trimmed.strip_prefix('-') {
            Some(close) => (Some('-'), close),
            None => match trimmed.strip_prefix('+') {
                Some(close) => (Some('+'), close),
                None => (None, trimmed),
            },
        };
        let Some(body) = close.strip_prefix(self.syntax.block_end.as_str()) else {
            return Ok(false);
        };
        let line = self.line;
        self.advance(rest.len() - body.len());
        self.after_block(sign);
        // The end may be written with blanks and signs in it.
        let mut from = 0;
        loop {
            let rest = self.rest();
            let Some(hit) = rest[from..]
                .find(self.syntax.block_start.as_str())
                .map(|hit| hit + from)
            else {
                return Err(Error::syntax("Missing end of raw directive", line));
            };
            let inner = &rest[hit + self.syntax.block_start.len()..];
            let (before, inner) = match inner.strip_prefix('-') {
                Some(inner) => (Some('-'), inner),
                None => match inner.strip_prefix('+') {
                    Some(inner) => (Some('+'), inner),
                    None => (None, inner),
                },
            };
            let Some(word) = inner.trim_start().strip_prefix("endraw") else {
                from = hit + 1;
                continue;
            };
            let word = word.trim_start();
            let (after, word) = match word.strip_prefix('-') {
                Some(word) => (Some('-'), word),
                None => match word.strip_prefix('+') {
                    Some(word) => (Some('+'), word),
                    None => (None, word),
                },
            };
            let Some(tail) = word.strip_prefix(self.syntax.block_end.as_str()) else {
                from = hit + 1;
                continue;
            };
            let mut data = &rest[..hit];
            if before == Some('-') {
                data = data.trim_end();
            } else if self.syntax.lstrip_blocks
                && before != Some('+')
                && self.begins_line(self.at + hit)
            {
                data = data.trim_end_matches([' ', '\t']);
            }
            let start_line = self.line;
            self.push_data(data, start_line);
            let passed = rest.len() - tail.len();
            self.advance(passed);
            self.after_block(after);
            return Ok(true);
        }
    }

    /// The words of a tag up to its end; of the whole text if there is no tag.
    fn words(&mut self, tag: Option<Tag>) -> Result<(), Error> {
        let opened = self.line;
        let mut brackets: Vec<char> = Vec::new();
        loop {
            if tag == Some(Tag::LineStatement) && brackets.is_empty() {
                let rest = self.rest();
                let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
                self.advance(blank);
                let rest = self.rest();
                if rest.is_empty() || rest.starts_with('\n') {
                    let line = self.line;
                    // A colon at the end of a line statement is decoration.
                    if self
                        .tokens
                        .last()
                        .is_some_and(|(token, _)| *token == Token::Op(":"))
                    {
                        self.tokens.pop();
                    }
                    self.tokens.push((Token::BlockEnd, line));
                    if !rest.is_empty() {
                        self.advance(1);
                    }
                    return Ok(());
                }
            } else {
                let rest = self.rest();
                let blank = rest.len() - rest.trim_start().len();
                self.advance(blank);
            }
            let rest = self.rest();
            if brackets.is_empty()
                && let Some(tag) = tag
                && tag != Tag::LineStatement
            {
                let end = match tag {
                    Tag::Variable => &self.syntax.variable_end,
                    _ => &self.syntax.block_end,
                };
                let (sign, close) = match rest.strip_prefix('-') {
                    Some(close) => (Some('-'), close),
                    None => match rest.strip_prefix('+') {
                        Some(close) if tag == Tag::Block => (Some('+'), close),
                        _ => (None, rest),
                    },
                };
                if close.starts_with(end.as_str()) {
                    let line = self.line;
                    self.advance(rest.len() - close.len() + end.len());
                    if tag == Tag::Variable {
                        self.tokens.push((Token::VariableEnd, line));
                        if sign == Some('-') {
                            self.after_block(sign);
                        }
                    } else {
                        self.tokens.push((Token::BlockEnd, line));
                        self.after_block(sign);
                    }
                    return Ok(());
                }
            }
            let Some(first) = rest.chars().next() else {
                return match tag {
                    None | Some(Tag::LineStatement) => Ok(()),
                    Some(_) => Err(Error::syntax(
                        format!(
                            "unexpected end of template, expected '{}'.",
                            if tag == Some(Tag::Variable) {
                                "end of print statement"
                            } else {
                                "end of statement block"
                            }
                        ),
                        opened,
                    )),
                };
            };
            let line = self.line;
            if first.is_alphabetic() || first == '_' {
                let end = rest
                    .find(|c: char| !(c.is_alphanumeric() || c == '_'))
                    .unwrap_or(rest.len());
                self.tokens
                    .push((Token::Name(rest[..end].to_owned()), line));
                self.advance(end);
            } else if first.is_ascii_digit() {
                let (token, length) = number(rest);
                self.tokens.push((token, line));
                self.advance(length);
            } else if first == '"' || first == '\'' {
                let (text, length) = {
                    let literal = self.syntax.literal_backslashes && tag == Some(Tag::Variable);
                    string(rest, first, literal, line)?
                };
                self.tokens.push((Token::Str(text), line));
                self.advance(length);
            } else {
                let Some(op) = OPERATORS.iter().find(|op| rest.starts_with(**op)) else {
                    return Err(Error::syntax(
                        format!(
                            "unexpected char {} at {}",
                            crate::repr::string(&first.to_string()),
                            self.at
                        ),
                        line,
                    ));
                };
                match *op {
                    "(" => brackets.push(')'),
                    "[" => brackets.push(']'),
                    "{" => brackets.push('}'),
                    ")" | "]" | "}" => match brackets.pop() {
                        Some(expected) if op.starts_with(expected) => {}
                        Some(expected) => {
                            return Err(Error::syntax(
                                format!("unexpected '{op}', expected '{expected}'"),
                                line,
                            ));
                        }
                        None => {
                            return Err(Error::syntax(format!("unexpected '{op}'"), line));
                        }
                    },
                    _ => {}
                }
                self.tokens.push((Token::Op(op), line));
                self.advance(op.len());
            }
        }
    }
}

/// A number at the start of a text, and how many bytes it takes.
fn number(text: &str) -> (Token, usize) {
    let bytes = text.as_bytes();
    if bytes[0] == b'0' && bytes.len() > 2 {
        let radix = match bytes[1] {
            b'x' | b'X' => 16,
            b'o' | b'O' => 8,
            b'b' | b'B' => 2,
            _ => 0,
        };
        if radix > 0 {
            let end = text[2..]
                .find(|c: char| !(c.is_digit(radix) || c == '_'))
                .map_or(text.len(), |end| end + 2);
            let digits: String = text[2..end].chars().filter(|c| *c != '_').collect();
            if let Some(value) = num_bigint::BigInt::parse_bytes(digits.as_bytes(), radix) {
                return (Token::Int(value.to_string()), end);
            }
        }
    }
    let digits = |from: usize| {
        let mut end = from;
        while end < bytes.len()
            && (bytes[end].is_ascii_digit()
                || bytes[end] == b'_'
                    && end > from
                    && bytes.get(end + 1).is_some_and(u8::is_ascii_digit))
        {
            end += 1;
        }
        end
    };
    let mut end = digits(0);
    let mut float = false;
    if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
        end = digits(end + 1);
        float = true;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let mut from = end + 1;
        if matches!(bytes.get(from), Some(b'+' | b'-')) {
            from += 1;
        }
        if bytes.get(from).is_some_and(u8::is_ascii_digit) {
            end = digits(from);
            float = true;
        }
    }
    let plain: String = text[..end].chars().filter(|c| *c != '_').collect();
    if float {
        (Token::Float(plain.parse().unwrap_or(f64::NAN)), end)
    } else {
        (Token::Int(plain), end)
    }
}

/// A string at the start of a text, and how many bytes it takes.
fn string(text: &str, quote: char, literal: bool, line: u32) -> Result<(String, usize), Error> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Ok((out, at + c.len_utf8()));
        }
        if c != '\\' {
            out.push(c);
            continue;
        }
        let Some((_, next)) = chars.next() else { break };
        if literal {
            // An escaped quote does not end the string, and both stay.
            out.push('\\');
            out.push(next);
            continue;
        }
        let mut hex = |count: usize| -> Option<char> {
            let mut value = 0_u32;
            for _ in 0..count {
                let (_, digit) = chars.next()?;
                value = value * 16 + digit.to_digit(16)?;
            }
            char::from_u32(value)
        };
        let bad = || Error::syntax("invalid escape in a string", line);
        match next {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'a' => out.push('\u{7}'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'v' => out.push('\u{b}'),
            '\\' | '\'' | '"' => out.push(next),
            '\n' => {}
            'x' => out.push(hex(2).ok_or_else(bad)?),
            'u' => out.push(hex(4).ok_or_else(bad)?),
            'U' => out.push(hex(8).ok_or_else(bad)?),
            '0'..='7' => {
                let mut value = next.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let mut ahead = chars.clone();
                    match ahead.next().and_then(|(_, c)| c.to_digit(8)) {
                        Some(digit) => {
                            value = value * 8 + digit;
                            chars = ahead;
                        }
                        None => break,
                    }
                }
                out.push(char::from_u32(value).ok_or_else(bad)?);
            }
            other => {
                out.push('\\');
                out.push(other);
            }
        }
    }
    Err(Error::syntax("unexpected end of a string", line))
}
