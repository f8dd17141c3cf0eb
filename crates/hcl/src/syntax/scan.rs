//! From text to tokens.
//!
//! Follows the scanner of HCL's native syntax: the longest match wins, templates nest in normal code and
//! normal code in templates, a heredoc ends at a line that holds its marker alone.

use super::token::{Token, TokenKind};

/// What the text as a whole is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ScanMode {
    /// A configuration file or an expression.
    Normal,
    /// A template without quotes around it.
    Template,
}

enum Mode<'t> {
    Normal,
    Quoted,
    Heredoc {
        marker: &'t str,
        at_line_start: bool,
    },
    Bare,
}

/// Scans the whole text. The last token is always [`TokenKind::Eof`]. Any text gives tokens.
pub(crate) fn scan(text: &str, mode: ScanMode) -> Vec<Token> {
    let mut scanner = Scanner {
        text,
        bytes: text.as_bytes(),
        at: if text.starts_with('\u{feff}') { 3 } else { 0 },
        tokens: Vec::with_capacity(text.len() / 5 + 8),
        modes: vec![match mode {
            ScanMode::Normal => Mode::Normal,
            ScanMode::Template => Mode::Bare,
        }],
        braces: 0,
        return_braces: Vec::new(),
        heredocs: Vec::new(),
    };
    scanner.run();
    scanner.tokens
}

struct Scanner<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    tokens: Vec<Token>,
    modes: Vec<Mode<'t>>,
    braces: i64,
    /// The brace depths at which a `}` ends a template sequence instead of a block.
    return_braces: Vec<i64>,
    /// Where in `modes` the heredocs are.
    heredocs: Vec<usize>,
}

impl<'t> Scanner<'t> {
    fn run(&mut self) {
        while self.at < self.bytes.len() {
            match self.modes.last() {
                Some(Mode::Quoted) => self.quoted(),
                Some(Mode::Heredoc { .. }) => self.heredoc(),
                Some(Mode::Bare) => self.bare(),
                Some(Mode::Normal) | None => self.normal(),
            }
        }
        self.emit(TokenKind::Eof, self.bytes.len());
    }

    /// Emits a token from the present place up to `end`, and goes there.
    fn emit(&mut self, kind: TokenKind, end: usize) {
        self.tokens.push(Token {
            kind,
            start: self.at as u32,
            end: end as u32,
        });
        self.at = end;
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn normal(&mut self) {
        use TokenKind as K;
        let first = self.bytes[self.at];
        let second = self.byte(1);
        let (kind, length) = match first {
            b' ' | b'\t' => {
                self.at += 1;
                return;
            }
            b'0'..=b'9' => {
                let end = self.number_end();
                return self.emit(K::Number, end);
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let end = ident_end(self.text, self.at);
                return self.emit(K::Ident, end);
            }
            b'#' => return self.line_comment(),
            b'/' if second == Some(b'/') => return self.line_comment(),
            b'/' if second == Some(b'*') => match self.text[self.at + 2..].find("*/") {
                Some(length) => (K::Comment, length + 4),
                None => (K::Slash, 1),
            },
            b'\n' => (K::Newline, 1),
            b'\r' if second == Some(b'\n') => (K::Newline, 2),
            b'=' if second == Some(b'=') => (K::EqualOp, 2),
            b'=' if second == Some(b'>') => (K::FatArrow, 2),
            b'!' if second == Some(b'=') => (K::NotEqual, 2),
            b'>' if second == Some(b'=') => (K::GreaterThanEq, 2),
            b'<' if second == Some(b'=') => (K::LessThanEq, 2),
            b'&' if second == Some(b'&') => (K::And, 2),
            b'|' if second == Some(b'|') => (K::Or, 2),
            b':' if second == Some(b':') => (K::DoubleColon, 2),
            b'.' if second == Some(b'.') && self.byte(2) == Some(b'.') => (K::Ellipsis, 3),
            b'<' if second == Some(b'<') => match self.heredoc_start() {
                Some((marker, end)) => {
                    self.emit(K::OpenHeredoc, end);
                    self.heredocs.push(self.modes.len());
                    self.modes.push(Mode::Heredoc {
                        marker,
                        at_line_start: true,
                    });
                    return;
                }
                None => (K::LessThan, 1),
            },
            b'"' => {
                self.emit(K::OpenQuote, self.at + 1);
                self.modes.push(Mode::Quoted);
                return;
            }
            b'{' => {
                self.braces += 1;
                (K::OpenBrace, 1)
            }
            b'}' => return self.close_brace(1),
            b'~' if second == Some(b'}') => return self.close_brace(2),
            b'[' => (K::OpenBracket, 1),
            b']' => (K::CloseBracket, 1),
            b'(' => (K::OpenParen, 1),
            b')' => (K::CloseParen, 1),
            b'.' => (K::Dot, 1),
            b',' => (K::Comma, 1),
            b'*' => (K::Star, 1),
            b'/' => (K::Slash, 1),
            b'%' => (K::Percent, 1),
            b'+' => (K::Plus, 1),
            b'-' => (K::Minus, 1),
            b'=' => (K::Equal, 1),
            b'<' => (K::LessThan, 1),
            b'>' => (K::GreaterThan, 1),
            b'!' => (K::Bang, 1),
            b'?' => (K::Question, 1),
            b':' => (K::Colon, 1),
            b'&' => (K::BitwiseAnd, 1),
            b'|' => (K::BitwiseOr, 1),
            b'~' => (K::BitwiseNot, 1),
            b'^' => (K::BitwiseXor, 1),
            b';' => (K::Semicolon, 1),
            b'`' => (K::Backtick, 1),
            b'\'' => (K::Apostrophe, 1),
            _ => {
                let end = ident_end(self.text, self.at);
                if end > self.at {
                    (K::Ident, end - self.at)
                } else {
                    (K::Invalid, self.char_length())
                }
            }
        };
        self.emit(kind, self.at + length);
    }

    fn char_length(&self) -> usize {
        self.text[self.at..]
            .chars()
            .next()
            .map_or(1, char::len_utf8)
    }

    fn line_comment(&mut self) {
        let end = self.text[self.at..]
            .find('\n')
            .map_or(self.bytes.len(), |length| self.at + length + 1);
        self.emit(TokenKind::Comment, end);
    }

    /// A number may hold digits, dots and exponents in any order; whether it is one is decided by the parser.
    fn number_end(&self) -> usize {
        let mut next = self.at + 1;
        let mut end = next;
        while let Some(byte) = self.bytes.get(next) {
            match byte {
                b'0'..=b'9' => next += 1,
                b'.' => {
                    next += 1;
                    continue;
                }
                b'e' | b'E' => {
                    let sign = usize::from(matches!(self.bytes.get(next + 1), Some(b'+' | b'-')));
                    if !self
                        .bytes
                        .get(next + 1 + sign)
                        .is_some_and(u8::is_ascii_digit)
                    {
                        break;
                    }
                    next += 2 + sign;
                }
                _ => break,
            }
            end = next;
        }
        end
    }

    /// The marker of a heredoc that starts here, and where its introducer ends.
    fn heredoc_start(&self) -> Option<(&'t str, usize)> {
        let start = self.at + 2 + usize::from(self.byte(2) == Some(b'-'));
        let end = ident_end(self.text, start);
        if end == start {
            return None;
        }
        let rest = &self.bytes[end..];
        let newline = if rest.starts_with(b"\n") {
            1
        } else if rest.starts_with(b"\r\n") {
            2
        } else {
            return None;
        };
        Some((&self.text[start..end], end + newline))
    }

    fn close_brace(&mut self, length: usize) {
        let ends_sequence = self.return_braces.last() == Some(&self.braces);
        // A lone `~}` is given as the end of a sequence too: the parser then says what is wrong with it.
        let kind = if ends_sequence || length == 2 {
            TokenKind::TemplateEnd
        } else {
            TokenKind::CloseBrace
        };
        self.emit(kind, self.at + length);
        self.braces -= 1;
        if ends_sequence {
            self.return_braces.pop();
            self.modes.pop();
        }
    }

    fn begin_sequence(&mut self, kind: TokenKind) {
        let length = 2 + usize::from(self.byte(2) == Some(b'~'));
        self.emit(kind, self.at + length);
        self.braces += 1;
        self.return_braces.push(self.braces);
        if let Some(at) = self.heredocs.last()
            && let Some(Mode::Heredoc { at_line_start, .. }) = self.modes.get_mut(*at)
        {
            *at_line_start = false;
        }
        self.modes.push(Mode::Normal);
    }

    /// At `$` or `%`: begins a sequence, or gives the length of the literal text it stands for.
    fn template_mark(&mut self) -> Option<usize> {
        let mark = self.bytes[self.at];
        let kind = if mark == b'$' {
            TokenKind::TemplateInterp
        } else {
            TokenKind::TemplateControl
        };
        if self.byte(1) == Some(b'{') {
            self.begin_sequence(kind);
            return None;
        }
        if self.byte(1) == Some(mark) && self.byte(2) == Some(b'{') {
            return Some(3 + usize::from(self.byte(3) == Some(b'~')));
        }
        Some(1)
    }

    fn quoted(&mut self) {
        match self.bytes[self.at] {
            b'$' | b'%' => {
                if self.at + 1 == self.bytes.len() {
                    return self.emit(TokenKind::Invalid, self.bytes.len());
                }
                if let Some(length) = self.template_mark() {
                    self.emit(TokenKind::QuotedLit, self.at + length);
                }
            }
            b'"' => {
                self.emit(TokenKind::CloseQuote, self.at + 1);
                self.modes.pop();
            }
            b'\r' | b'\n' => {
                let length = self.bytes[self.at..]
                    .iter()
                    .take_while(|byte| matches!(byte, b'\r' | b'\n'))
                    .count();
                self.emit(TokenKind::QuotedNewline, self.at + length);
            }
            _ => {
                let mut end = self.at;
                while let Some(byte) = self.bytes.get(end) {
                    match byte {
                        b'$' | b'%' | b'"' | b'\r' | b'\n' => break,
                        b'\\' => {
                            if self
                                .bytes
                                .get(end + 1)
                                .is_none_or(|next| matches!(next, b'\r' | b'\n'))
                            {
                                break;
                            }
                            end += 1;
                            end += self.text[end..].chars().next().map_or(1, char::len_utf8);
                        }
                        _ => end += 1,
                    }
                }
                if end == self.at {
                    self.emit(TokenKind::Invalid, self.at + 1);
                } else {
                    self.emit(TokenKind::QuotedLit, end);
                }
            }
        }
    }

    fn heredoc(&mut self) {
        let start = self.at;
        let mut end = start;
        match self.bytes[start] {
            b'$' | b'%' => match self.template_mark() {
                Some(length) => end += length,
                None => return,
            },
            _ => end += literal_length(&self.bytes[start..]),
        }
        let newline = newline_length(&self.bytes[end..]);
        let Some(Mode::Heredoc {
            marker,
            at_line_start,
        }) = self.modes.last_mut()
        else {
            return;
        };
        if newline == 0 {
            *at_line_start = false;
            return self.emit(TokenKind::StringLit, end);
        }
        if *at_line_start && self.text[start..end].trim() == *marker {
            self.emit(TokenKind::CloseHeredoc, end);
            self.emit(TokenKind::Newline, end + newline);
            self.modes.pop();
            self.heredocs.pop();
            return;
        }
        *at_line_start = true;
        self.emit(TokenKind::StringLit, end + newline);
    }

    fn bare(&mut self) {
        let mut end = self.at;
        match self.bytes[self.at] {
            b'$' | b'%' => match self.template_mark() {
                Some(length) => end += length,
                None => return,
            },
            _ => end += literal_length(&self.bytes[self.at..]),
        }
        let newline = newline_length(&self.bytes[end..]);
        self.emit(TokenKind::StringLit, end + newline);
    }
}

/// How many bytes of plain text stand before a mark or the end of the line. A carriage return alone is plain text.
fn literal_length(bytes: &[u8]) -> usize {
    let mut length = 0;
    while let Some(byte) = bytes.get(length) {
        match byte {
            b'$' | b'%' | b'\n' => break,
            b'\r' if bytes.get(length + 1) == Some(&b'\n') => break,
            _ => length += 1,
        }
    }
    length
}

fn newline_length(bytes: &[u8]) -> usize {
    match bytes {
        [b'\n', ..] => 1,
        [b'\r', b'\n', ..] => 2,
        _ => 0,
    }
}

/// Where the identifier that starts at `start` ends; `start` itself if none does.
fn ident_end(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let mut end = start;
    while let Some(byte) = bytes.get(end) {
        if byte.is_ascii() {
            let continues = byte.is_ascii_alphabetic()
                || *byte == b'_'
                || (end > start && (byte.is_ascii_digit() || *byte == b'-'));
            if !continues {
                break;
            }
            end += 1;
            continue;
        }
        let Some(character) = text[end..].chars().next() else {
            break;
        };
        let continues = if end == start {
            unicode_ident::is_xid_start(character)
        } else {
            unicode_ident::is_xid_continue(character)
        };
        if !continues {
            break;
        }
        end += character.len_utf8();
    }
    end
}

/// Whether a text is one identifier as the native syntax has them: letters, digits, `_` and `-`, not starting
/// with a digit or a dash.
pub fn is_identifier(text: &str) -> bool {
    !text.is_empty() && ident_end(text, 0) == text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use TokenKind as K;

    fn kinds(text: &str) -> Vec<TokenKind> {
        scan(text, ScanMode::Normal)
            .iter()
            .map(|token| token.kind)
            .collect()
    }

    #[test]
    fn a_number_ends_before_trailing_dots() {
        assert_eq!(kinds("1..."), [K::Number, K::Ellipsis, K::Eof]);
        assert_eq!(kinds("1.5e+3"), [K::Number, K::Eof]);
        assert_eq!(kinds("1e"), [K::Number, K::Ident, K::Eof]);
    }

    #[test]
    fn templates_nest_and_return_at_the_right_brace() {
        assert_eq!(
            kinds("\"a${ {b = \"${c}\"} }$${d}\""),
            [
                K::OpenQuote,
                K::QuotedLit,
                K::TemplateInterp,
                K::OpenBrace,
                K::Ident,
                K::Equal,
                K::OpenQuote,
                K::TemplateInterp,
                K::Ident,
                K::TemplateEnd,
                K::CloseQuote,
                K::CloseBrace,
                K::TemplateEnd,
                K::QuotedLit,
                K::QuotedLit,
                K::CloseQuote,
                K::Eof
            ]
        );
    }

    #[test]
    fn a_heredoc_ends_at_its_marker_alone_on_a_line() {
        assert_eq!(
            kinds("<<-EOT\n EOT x\n  EOT\n"),
            [
                K::OpenHeredoc,
                K::StringLit,
                K::CloseHeredoc,
                K::Newline,
                K::Eof
            ]
        );
    }
}
