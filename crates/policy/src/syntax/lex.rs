//! Tokens and comments.

use super::tree::Span;
use crate::engine::{Error, Kind};

/// A comment: its place, and its text with the `#`, without blanks at its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Comment {
    pub span: Span,
    pub text: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TokenKind {
    End,
    /// A name or a keyword.
    Name,
    Number,
    String,
    RawString,
    /// The start of a template: `$"` or `` $` ``.
    Template,
    Symbol(&'static str),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Token {
    pub kind: TokenKind,
    pub span: Span,
}

/// Reads tokens where it is asked to; copying it marks a place to come back to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lexer<'a> {
    file: &'a str,
    text: &'a str,
    at: usize,
    line: u32,
    /// The last place whose column was counted, and that column: a long line is counted once.
    counted: (usize, u32),
}

/// Longer before shorter.
const SYMBOLS: [&str; 25] = [
    ":=", "==", "!=", "<=", ">=", "{", "}", "[", "]", "(", ")", ",", ";", ":", ".", "=", "<", ">",
    "+", "-", "*", "/", "%", "|", "&",
];

impl<'a> Lexer<'a> {
    pub(crate) fn new(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            text,
            at: 0,
            line: 1,
            counted: (0, 1),
        }
    }

    /// The byte and the line it stands at.
    pub(crate) fn at(&self) -> (usize, u32) {
        (self.at, self.line)
    }

    /// An error at a place.
    pub(crate) fn error(&self, span: Span, message: impl Into<String>) -> Error {
        Error::new(Kind::Parse, message).at(self.file, span.line, span.column)
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn here(&mut self) -> Span {
        let (from, column) = self.counted;
        let since = u32::try_from(self.text[from..self.at].chars().count()).unwrap_or(u32::MAX);
        self.counted = (self.at, column.saturating_add(since));
        Span {
            start: self.at,
            end: self.at,
            line: self.line,
            column: self.counted.1,
            end_line: self.line,
        }
    }

    /// Goes on by so many bytes and counts the lines in them.
    fn advance(&mut self, bytes: usize) {
        let end = (self.at + bytes).min(self.text.len());
        for (at, _) in self.text[self.at..end].match_indices('\n') {
            self.line += 1;
            self.counted = (self.at + at + 1, 1);
        }
        self.at = end;
    }

    fn until(&mut self, from: Span, bytes: usize) -> Span {
        self.advance(bytes);
        // A token that ends with a line break ends on its line.
        Span {
            end: self.at,
            end_line: self.line,
            ..from
        }
    }

    /// The next token; comments before it are given to `comments`.
    pub(crate) fn next(&mut self, comments: &mut Vec<Comment>) -> Result<Token, Error> {
        loop {
            let rest = self.rest();
            let blank = rest.len()
                - rest
                    .trim_start_matches([' ', '\t', '\r', '\n', '\u{feff}'])
                    .len();
            self.advance(blank);
            let rest = self.rest();
            if !rest.starts_with('#') {
                break;
            }
            let line = rest.split('\n').next().unwrap_or(rest);
            let from = self.here();
            let span = self.until(from, line.len());
            comments.push(Comment {
                span,
                text: line.trim_end().to_owned(),
            });
        }
        let from = self.here();
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(Token {
                kind: TokenKind::End,
                span: from,
            });
        };
        let (kind, length) = match first {
            'a'..='z' | 'A'..='Z' | '_' => (
                TokenKind::Name,
                rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '_')
                    .unwrap_or(rest.len()),
            ),
            '0'..='9' => (TokenKind::Number, self.number(rest, from)?),
            '"' => (TokenKind::String, self.string(rest, from)?),
            '`' => (
                TokenKind::RawString,
                rest[1..].find('`').map(|at| at + 2).ok_or_else(|| {
                    self.error(from, "non-terminated string: a backquote is missing")
                })?,
            ),
            '$' if rest[1..].starts_with(['"', '`']) => (TokenKind::Template, 2),
            _ => match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
                Some(symbol) => (TokenKind::Symbol(symbol), symbol.len()),
                None => {
                    return Err(self.error(from, format!("illegal token: the character {first:?}")));
                }
            },
        };
        Ok(Token {
            kind,
            span: self.until(from, length),
        })
    }

    fn number(&self, rest: &str, from: Span) -> Result<usize, Error> {
        let bytes = rest.as_bytes();
        let digits = |mut at: usize| {
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            at
        };
        let mut end = digits(0);
        if end > 1 && bytes[0] == b'0' {
            return Err(self.error(
                from,
                "illegal number format: a number does not begin with 0",
            ));
        }
        if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
            end = digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits(end + 1 + sign);
            if exponent == end + 1 + sign {
                return Err(self.error(from, "illegal number format: an exponent has digits"));
            }
            end = exponent;
        }
        if bytes
            .get(end)
            .is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_')
        {
            return Err(self.error(from, "illegal number format"));
        }
        Ok(end)
    }

    fn string(&self, rest: &str, from: Span) -> Result<usize, Error> {
        let bytes = rest.as_bytes();
        let mut at = 1;
        loop {
            match bytes.get(at) {
                Some(b'"') => return Ok(at + 1),
                Some(b'\\') => at += 2,
                Some(b'\n') | None => {
                    return Err(
                        self.error(from, "non-terminated string: a double quote is missing")
                    );
                }
                Some(_) => at += 1,
            }
        }
    }

    /// The text of a template up to its next expression or its end: its place, and whether an expression follows.
    pub(crate) fn template_text(&mut self, raw: bool) -> Result<(Span, bool), Error> {
        let from = self.here();
        let bytes = self.rest().as_bytes();
        let mut at = 0;
        loop {
            match bytes.get(at) {
                Some(b'`') if raw => break,
                Some(b'"') if !raw => break,
                Some(b'{') => break,
                Some(b'\\') if !raw || bytes.get(at + 1) == Some(&b'{') => at += 2,
                Some(b'\n') if !raw => {
                    return Err(self.error(from, "non-terminated template string"));
                }
                None => return Err(self.error(from, "non-terminated template string")),
                Some(_) => at += 1,
            }
        }
        let follows = bytes[at] == b'{';
        let span = self.until(from, at);
        self.advance(1);
        Ok((span, follows))
    }
}

/// What a string in double quotes says; `quoted` is with its quotes.
pub(crate) fn unquote(quoted: &str) -> Option<String> {
    // The escapes are those of JSON.
    serde_json::from_str(quoted).ok()
}
