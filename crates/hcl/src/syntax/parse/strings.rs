//! String literals and their escapes.

use super::Parser;
use crate::diagnostic::Diagnostic;
use crate::source::Range;
use crate::syntax::token::{Token, TokenKind};
use crate::text::quote;

impl Parser<'_> {
    /// A quoted string that may not hold template sequences, such as the label of a block.
    pub(super) fn parse_quoted_string(&mut self) -> (String, Range) {
        let open = self.read();
        let open_range = self.range(open);
        if open.kind != TokenKind::OpenQuote {
            self.error_at(
                "Invalid string literal",
                "A quoted string is required here.",
                open_range,
            );
            return (String::new(), open_range);
        }
        let mut value = String::new();
        let end = loop {
            let token = self.read();
            let range = self.range(token);
            match token.kind {
                TokenKind::CloseQuote => break range,
                TokenKind::QuotedLit => value.push_str(&self.unescape(token)),
                TokenKind::TemplateControl | TokenKind::TemplateInterp => {
                    let which = if token.kind == TokenKind::TemplateControl {
                        '%'
                    } else {
                        '$'
                    };
                    self.error_in(
                        "Invalid string literal",
                        format!(
                            "Template sequences are not allowed in this string. To include a literal \"{which}\", double it (as \"{which}{which}\") to escape it."
                        ),
                        range,
                        open_range.to(range),
                    );
                    // Whoever looks at the partial result can see that something was here.
                    value.push(which);
                    value.push_str("{ ... }");
                    self.recover(TokenKind::TemplateEnd);
                }
                TokenKind::Eof => {
                    self.error_in(
                        "Unterminated string literal",
                        "Unable to find the closing quote mark before the end of the file.",
                        range,
                        open_range.to(range),
                    );
                    break range;
                }
                _ => {
                    self.error_in(
                        "Invalid string literal",
                        "This item is not valid in a string literal.",
                        range,
                        open_range.to(range),
                    );
                    self.recover(TokenKind::CloseQuote);
                    break range;
                }
            }
        };
        (value, open_range.to(end))
    }

    /// The text a literal token stands for.
    pub(super) fn unescape(&mut self, token: Token) -> String {
        let text = self.token_text(token);
        let quoted = token.kind == TokenKind::QuotedLit;
        if !text.bytes().any(|byte| matches!(byte, b'\\' | b'$' | b'%')) {
            return text.to_owned();
        }
        let mut value = String::with_capacity(text.len());
        let mut at = 0;
        while let Some(character) = text[at..].chars().next() {
            let rest = &text[at..];
            let length = match character {
                '$' if rest.starts_with("$${") => {
                    value.push_str("${");
                    3
                }
                '%' if rest.starts_with("%%{") => {
                    value.push_str("%{");
                    3
                }
                '\\' if quoted => self.unescape_one(rest, token.start + at as u32, &mut value),
                _ => {
                    value.push(character);
                    character.len_utf8()
                }
            };
            at += length;
        }
        value
    }

    /// Undoes the escape at the start of `rest`, and gives its length.
    fn unescape_one(&mut self, rest: &str, start: u32, value: &mut String) -> usize {
        let Some(selector) = rest[1..].chars().next() else {
            self.invalid_escape(
                start,
                1,
                "Backslash must be followed by an escape sequence selector character.",
            );
            value.push('\\');
            return 1;
        };
        let plain = match selector {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            '"' => '"',
            '\\' => '\\',
            'u' | 'U' => {
                let wanted = if selector == 'u' { 4 } else { 8 };
                let digits = rest[2..]
                    .bytes()
                    .take(wanted)
                    .take_while(u8::is_ascii_hexdigit)
                    .count();
                let escape = &rest[..2 + digits];
                if digits < wanted {
                    let which = if wanted == 4 {
                        "The \\u escape sequence must be followed by four hexadecimal digits."
                    } else {
                        "The \\U escape sequence must be followed by eight hexadecimal digits."
                    };
                    self.invalid_escape(start, escape.len(), which);
                    value.push_str(escape);
                } else {
                    let number = u32::from_str_radix(&escape[2..], 16).unwrap_or(u32::MAX);
                    match char::from_u32(number) {
                        Some(character) => value.push(character),
                        None => {
                            let detail =
                                format!("Cannot encode character U+{number:04x} in UTF-8.");
                            self.invalid_escape(start, escape.len(), detail);
                            value.push_str(escape);
                        }
                    }
                }
                return escape.len();
            }
            other => {
                let length = 1 + other.len_utf8();
                let symbol = quote(&rest[1..length]);
                self.invalid_escape(
                    start,
                    length,
                    format!("The symbol {symbol} is not a valid escape sequence selector."),
                );
                value.push(other);
                return length;
            }
        };
        value.push(plain);
        2
    }

    fn invalid_escape(&mut self, start: u32, length: usize, detail: impl Into<String>) {
        let token = Token {
            kind: TokenKind::QuotedLit,
            start,
            end: start + length as u32,
        };
        let subject = self.range(token);
        self.error(Diagnostic::error("Invalid escape sequence", detail).at(subject));
    }
}
