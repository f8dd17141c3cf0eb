//! From text to tokens: the text between tags as it is, and the words within them.
//!
//! The rules for whitespace are those of Jinja 3.1: a minus beside a delimiter strips all whitespace there, a
//! plus keeps what the options would strip, `trim_blocks` takes the first newline after a block or comment,
//! `lstrip_blocks` the blanks before one that begins its line.

mod syntax;
mod words;

use crate::error::Error;

pub use syntax::Syntax;

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
}
