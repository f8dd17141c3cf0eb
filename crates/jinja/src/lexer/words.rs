//! The words within tags.

use super::{Lexer, Tag, Token};
use crate::error::Error;

const OPERATORS: [&str; 29] = [
    "**", "//", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}",
    ">", "<", "=", ".", ":", "|", ",", ";", "!", "&", "^",
];

impl Lexer<'_> {
    /// The words of a tag up to its end; of the whole text if there is no tag.
    pub(super) fn words(&mut self, tag: Option<Tag>) -> Result<(), Error> {
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
                    string(rest, first, literal, line, self.at)?
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

/// A string at the start of a text, which is at a place in the whole, and how many bytes it takes.
fn string(
    text: &str,
    quote: char,
    literal: bool,
    line: u32,
    place: usize,
) -> Result<(String, usize), Error> {
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
    // A quote that is not closed begins no string.
    Err(Error::syntax(
        format!(
            "unexpected char {} at {place}",
            crate::repr::string(&quote.to_string())
        ),
        line,
    ))
}
