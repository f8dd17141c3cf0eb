//! Text to tokens, by the lexical part of the CEL grammar.

use std::sync::Arc;

use crate::source::{Fault, Source};

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    Ident(Arc<str>),
    /// A field name in backquotes.
    Quoted(Arc<str>),
    Int(u64),
    Uint(u64),
    /// A number too large for its type (the text).
    BadInt,
    BadUint,
    Double(f64),
    Text(Arc<str>),
    Bytes(Arc<[u8]>),
    Symbol(&'static str),
    End,
}

/// A token and where it starts and ends (code point offsets).
#[derive(Clone, Debug)]
pub(crate) struct Lexeme {
    pub(crate) token: Token,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

const SYMBOLS: [&str; 27] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!",
    "?", ":", "+", "*", "/", "%", "in", "true", "false",
];

/// Splits a text into tokens; the last is [`Token::End`].
pub(crate) fn tokens(source: &Source) -> Result<Vec<Lexeme>, Vec<Fault>> {
    let mut lexer = Lexer {
        text: source.chars(),
        at: 0,
        faults: Vec::new(),
    };
    let mut lexemes = Vec::new();
    loop {
        lexer.skip_blank();
        let start = lexer.at;
        let Some(token) = lexer.token() else {
            if lexer.faults.len() > 30 {
                return Err(lexer.faults);
            }
            continue;
        };
        let end = token == Token::End;
        lexemes.push(Lexeme {
            token,
            start: start as u32,
            end: lexer.at as u32,
        });
        if end {
            return if lexer.faults.is_empty() {
                Ok(lexemes)
            } else {
                Err(lexer.faults)
            };
        }
    }
}

struct Lexer<'s> {
    text: &'s [char],
    at: usize,
    faults: Vec<Fault>,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.text.get(self.at + ahead).copied()
    }

    fn skip_blank(&mut self) {
        while let Some(c) = self.peek(0) {
            match c {
                ' ' | '\t' | '\r' | '\n' | '\u{c}' => self.at += 1,
                '/' if self.peek(1) == Some('/') => {
                    while self.peek(0).is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    fn fault(&mut self, start: usize, message: String) {
        self.faults.push(Fault {
            place: start as u32,
            message,
        });
    }

    fn unrecognized(&mut self, start: usize) {
        let end = (self.at.max(start + 1)).min(self.text.len());
        self.at = end;
        let shown: String = self.text[start..end]
            .iter()
            .flat_map(|c| match c {
                '\n' => vec!['\\', 'n'],
                '\r' => vec!['\\', 'r'],
                '\t' => vec!['\\', 't'],
                other => vec![*other],
            })
            .collect();
        self.fault(
            start,
            format!("Syntax error: token recognition error at: '{shown}'"),
        );
    }

    /// The next token; none when there was a fault, which has been noted.
    fn token(&mut self) -> Option<Token> {
        let Some(first) = self.peek(0) else {
            return Some(Token::End);
        };
        let start = self.at;
        if let Some((prefix, bytes, raw)) = self.string_prefix() {
            self.at += prefix;
            return self.string(start, bytes, raw);
        }
        if first.is_ascii_alphabetic() || first == '_' {
            while self
                .peek(0)
                .is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
            {
                self.at += 1;
            }
            let name: String = self.text[start..self.at].iter().collect();
            return Some(match name.as_str() {
                "in" => Token::Symbol("in"),
                "true" => Token::Symbol("true"),
                "false" => Token::Symbol("false"),
                "null" => Token::Symbol("null"),
                _ => Token::Ident(name.into()),
            });
        }
        if first.is_ascii_digit()
            || (first == '.' && self.peek(1).is_some_and(|c| c.is_ascii_digit()))
        {
            return Some(self.number());
        }
        if first == '`' {
            let mut end = start + 1;
            while self.text.get(end).is_some_and(|c| {
                c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | ' ')
            }) {
                end += 1;
            }
            if end > start + 1 && self.text.get(end) == Some(&'`') {
                self.at = end + 1;
                return Some(Token::Quoted(
                    self.text[start + 1..end].iter().collect::<String>().into(),
                ));
            }
            self.unrecognized(start);
            return None;
        }
        for symbol in SYMBOLS {
            if symbol
                .chars()
                .enumerate()
                .all(|(ahead, c)| self.peek(ahead) == Some(c))
            {
                self.at += symbol.len();
                return Some(Token::Symbol(symbol));
            }
        }
        self.unrecognized(start);
        None
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek(0).is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Token {
        let start = self.at;
        if self.peek(0) == Some('0')
            && self.peek(1) == Some('x')
            && self.peek(2).is_some_and(|c| c.is_ascii_hexdigit())
        {
            self.at += 2;
            let digits = self.at;
            while self.peek(0).is_some_and(|c| c.is_ascii_hexdigit()) {
                self.at += 1;
            }
            let text: String = self.text[digits..self.at].iter().collect();
            return self.integer(u64::from_str_radix(&text, 16).ok());
        }
        self.digits();
        let mut floating = false;
        if self.peek(0) == Some('.') && self.peek(1).is_some_and(|c| c.is_ascii_digit()) {
            floating = true;
            self.at += 1;
            self.digits();
        }
        if matches!(self.peek(0), Some('e' | 'E')) {
            let sign = usize::from(matches!(self.peek(1), Some('+' | '-')));
            if self.peek(1 + sign).is_some_and(|c| c.is_ascii_digit()) {
                floating = true;
                self.at += 1 + sign;
                self.digits();
            }
        }
        let text: String = self.text[start..self.at].iter().collect();
        if floating {
            return Token::Double(text.parse().unwrap_or(f64::INFINITY));
        }
        self.integer(text.parse().ok())
    }

    fn integer(&mut self, value: Option<u64>) -> Token {
        if matches!(self.peek(0), Some('u' | 'U')) {
            self.at += 1;
            return value.map_or(Token::BadUint, Token::Uint);
        }
        value.map_or(Token::BadInt, Token::Int)
    }

    /// The length of `b`, `r` before a quote, and whether each is there.
    fn string_prefix(&self) -> Option<(usize, bool, bool)> {
        let (mut length, mut bytes, mut raw) = (0, false, false);
        if matches!(self.peek(length), Some('b' | 'B')) {
            bytes = true;
            length += 1;
        }
        if matches!(self.peek(length), Some('r' | 'R')) {
            raw = true;
            length += 1;
        }
        matches!(self.peek(length), Some('"' | '\'')).then_some((length, bytes, raw))
    }

    fn string(&mut self, start: usize, bytes: bool, raw: bool) -> Option<Token> {
        let quote = self.peek(0)?;
        let triple = self.peek(1) == Some(quote) && self.peek(2) == Some(quote);
        self.at += if triple { 3 } else { 1 };
        let mut out = Out {
            bytes,
            buffer: Vec::new(),
        };
        loop {
            let Some(c) = self.peek(0) else {
                self.unrecognized(start);
                return None;
            };
            if c == quote
                && (!triple || (self.peek(1) == Some(quote) && self.peek(2) == Some(quote)))
            {
                self.at += if triple { 3 } else { 1 };
                break;
            }
            if !triple && matches!(c, '\n' | '\r') {
                self.unrecognized(start);
                return None;
            }
            self.at += 1;
            if c == '\\' && !raw {
                if !self.escape(&mut out) {
                    self.at += 1;
                    self.unrecognized(start);
                    return None;
                }
            } else if c == '\r' && triple {
                // Line ends are normalised, as upstream does before it unescapes.
                if self.peek(0) == Some('\n') {
                    self.at += 1;
                }
                out.push('\n');
            } else {
                out.push(c);
            }
        }
        if bytes {
            return Some(Token::Bytes(out.buffer.into()));
        }
        match String::from_utf8(out.buffer) {
            Ok(text) => Some(Token::Text(text.into())),
            Err(_) => {
                self.unrecognized(start);
                None
            }
        }
    }

    /// Reads what follows a backslash; false when it is no escape.
    fn escape(&mut self, out: &mut Out) -> bool {
        let Some(c) = self.peek(0) else { return false };
        let simple = match c {
            'a' => Some('\u{7}'),
            'b' => Some('\u{8}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\u{b}'),
            '"' | '\'' | '\\' | '?' | '`' => Some(c),
            _ => None,
        };
        if let Some(simple) = simple {
            self.at += 1;
            out.push(simple);
            return true;
        }
        let (skip, length, radix) = match c {
            'x' | 'X' => (1, 2, 16),
            'u' => (1, 4, 16),
            'U' => (1, 8, 16),
            '0'..='3' => (0, 3, 8),
            _ => return false,
        };
        if out.bytes && matches!(c, 'u' | 'U') {
            return false;
        }
        let Some(digits) = self.text.get(self.at + skip..self.at + skip + length) else {
            return false;
        };
        if !digits.iter().all(|c| c.is_digit(radix)) {
            return false;
        }
        let code = digits.iter().fold(0u32, |code, c| {
            code.wrapping_mul(radix)
                .wrapping_add(c.to_digit(radix).unwrap_or(0))
        });
        self.at += skip + length;
        if out.bytes {
            out.buffer.push(code as u8);
            return true;
        }
        match char::from_u32(code) {
            Some(c) => {
                out.push(c);
                true
            }
            None => false,
        }
    }
}

struct Out {
    bytes: bool,
    buffer: Vec<u8>,
}

impl Out {
    fn push(&mut self, c: char) {
        self.buffer
            .extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
}
