//! From tokens to trees, with the messages and the recovery of HCL's own parser.

mod body;
mod expression;
mod strings;
mod template;
mod traversal;

use std::sync::Arc;

use super::body::Body;
use super::expr::{Expr, Kind};
use super::scan::{ScanMode, scan};
use super::token::{Token, TokenKind};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::source::{Range, Source, Sources};
use crate::traversal::Traversal;

/// How deep expressions and blocks may nest. Whatever walks a tree may recurse: the depth is bounded here.
pub(crate) const MAX_DEPTH: usize = 160;

/// How many `[...]` with keys that are not constant, or splats, may follow one another.
const MAX_POSTFIX: usize = 100;

/// Parses a file of the native syntax. The body is usable in parts even if there are errors.
pub fn parse(
    sources: &mut Sources,
    name: impl Into<Arc<str>>,
    text: impl AsRef<[u8]>,
) -> (Body, Diagnostics) {
    let source = sources.add(name, text);
    parse_source(&source)
}

/// Parses a source that was added before as a file of the native syntax.
pub fn parse_source(source: &Arc<Source>) -> (Body, Diagnostics) {
    let mut parser = Parser::new(
        source,
        source.text(),
        Place::whole(source),
        ScanMode::Normal,
    );
    let body = parser.parse_body(TokenKind::Eof);
    (body, parser.diagnostics)
}

/// Parses one expression, as written after `=`; line breaks do not matter.
pub fn parse_expression(
    sources: &mut Sources,
    name: impl Into<Arc<str>>,
    text: impl AsRef<[u8]>,
) -> (Expr, Diagnostics) {
    let source = sources.add(name, text);
    expression_at(&source, source.text(), Place::whole(&source))
}

/// Parses a text as a template: as between the quotes of a string, but without escapes.
pub fn parse_template(
    sources: &mut Sources,
    name: impl Into<Arc<str>>,
    text: impl AsRef<[u8]>,
) -> (Expr, Diagnostics) {
    let source = sources.add(name, text);
    template_at(&source, source.text(), Place::whole(&source))
}

/// Parses a reference without calculations: names, attributes and indices with literal keys. For command line
/// arguments and the like.
pub fn parse_traversal(
    sources: &mut Sources,
    name: impl Into<Arc<str>>,
    text: impl AsRef<[u8]>,
) -> (Option<Traversal>, Diagnostics) {
    let source = sources.add(name, text);
    traversal_at(&source, source.text(), Place::whole(&source), false)
}

/// As [`parse_traversal`], and `[*]` is allowed in it.
pub fn parse_partial_traversal(
    sources: &mut Sources,
    name: impl Into<Arc<str>>,
    text: impl AsRef<[u8]>,
) -> (Option<Traversal>, Diagnostics) {
    let source = sources.add(name, text);
    traversal_at(&source, source.text(), Place::whole(&source), true)
}

pub(crate) fn expression_at(
    source: &Arc<Source>,
    text: &str,
    place: Place<'_>,
) -> (Expr, Diagnostics) {
    let mut parser = Parser::new(source, text, place, ScanMode::Normal);
    parser.newlines.push(false);
    let expr = parser.parse_expression();
    let next = parser.peek();
    if next.kind != TokenKind::Eof && !parser.recovery {
        let subject = parser.range(next);
        parser.error_at(
            "Extra characters after expression",
            "An expression was successfully parsed, but extra characters were found after it.",
            subject,
        );
    }
    (expr, parser.diagnostics)
}

pub(crate) fn template_at(
    source: &Arc<Source>,
    text: &str,
    place: Place<'_>,
) -> (Expr, Diagnostics) {
    let mut parser = Parser::new(source, text, place, ScanMode::Template);
    let expr = parser.parse_template(TokenKind::Eof, false);
    (expr, parser.diagnostics)
}

pub(crate) fn traversal_at(
    source: &Arc<Source>,
    text: &str,
    place: Place<'_>,
    splats: bool,
) -> (Option<Traversal>, Diagnostics) {
    let mut parser = Parser::new(source, text, place, ScanMode::Normal);
    parser.newlines.push(false);
    let traversal = parser.parse_traversal(splats);
    (traversal, parser.diagnostics)
}

/// Where a parsed text lies in its source: all of it, or a string of the JSON syntax.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    base: u32,
    /// (offset in the text, offset in the source) of each part that escapes moved, in order.
    offsets: &'a [(u32, u32)],
    limit: u32,
}

impl Place<'_> {
    pub(crate) fn whole(source: &Source) -> Place<'static> {
        Place {
            base: 0,
            offsets: &[],
            limit: source.text().len() as u32,
        }
    }

    /// A text that starts at `base`, with its own table of offsets if it had escapes, and ends before `limit`.
    pub(crate) fn within(base: u32, offsets: &[(u32, u32)], limit: u32) -> Place<'_> {
        Place {
            base,
            offsets,
            limit,
        }
    }

    fn resolve(&self, offset: u32) -> u32 {
        let at = match self.offsets.partition_point(|(from, _)| *from <= offset) {
            0 => self.base + offset,
            index => {
                let (from, to) = self.offsets[index - 1];
                to + (offset - from)
            }
        };
        at.min(self.limit)
    }
}

pub(super) struct Parser<'s> {
    source: &'s Arc<Source>,
    text: &'s str,
    place: Place<'s>,
    tokens: Vec<Token>,
    next: usize,
    /// Whether line breaks count, innermost last.
    newlines: Vec<bool>,
    /// Set once the parser has lost its place: later errors are likely to be noise, and most are then kept back.
    recovery: bool,
    depth: usize,
    too_deep: bool,
    diagnostics: Diagnostics,
}

impl<'s> Parser<'s> {
    fn new(source: &'s Arc<Source>, text: &'s str, place: Place<'s>, mode: ScanMode) -> Self {
        let mut parser = Self {
            source,
            text,
            place,
            tokens: scan(text, mode),
            next: 0,
            newlines: vec![true],
            recovery: false,
            depth: 0,
            too_deep: false,
            diagnostics: Diagnostics::new(),
        };
        parser.check_tokens();
        parser
    }

    fn range(&self, token: Token) -> Range {
        Range {
            source: self.source.id(),
            start: self.place.resolve(token.start),
            end: self.place.resolve(token.end),
        }
    }

    fn token_text(&self, token: Token) -> &'s str {
        token.text(self.text)
    }

    fn name(&self, token: Token) -> Arc<str> {
        Arc::from(self.token_text(token))
    }

    fn following(&self) -> (Token, usize) {
        let newlines = self.newlines.last().copied().unwrap_or(true);
        let mut index = self.next;
        while let Some(token) = self.tokens.get(index) {
            match token.kind {
                TokenKind::Comment => {
                    // A comment to the end of the line has taken the line break with it.
                    if newlines && self.token_text(*token).ends_with('\n') {
                        return (
                            Token {
                                kind: TokenKind::Newline,
                                ..*token
                            },
                            index + 1,
                        );
                    }
                }
                TokenKind::Newline if !newlines => {}
                _ => return (*token, index + 1),
            }
            index += 1;
        }
        let end = self.text.len() as u32;
        (
            Token {
                kind: TokenKind::Eof,
                start: end,
                end,
            },
            self.tokens.len(),
        )
    }

    fn peek(&self) -> Token {
        self.following().0
    }

    fn read(&mut self) -> Token {
        let (token, next) = self.following();
        self.next = next;
        token
    }

    fn next_range(&self) -> Range {
        self.range(self.peek())
    }

    fn previous_range(&self) -> Range {
        match self
            .next
            .checked_sub(1)
            .and_then(|index| self.tokens.get(index))
        {
            Some(token) => self.range(*token),
            None => self.next_range(),
        }
    }

    fn error(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    fn error_at(&mut self, summary: &str, detail: impl Into<String>, subject: Range) {
        self.error(Diagnostic::error(summary, detail).at(subject));
    }

    fn error_in(
        &mut self,
        summary: &str,
        detail: impl Into<String>,
        subject: Range,
        context: Range,
    ) {
        self.error(
            Diagnostic::error(summary, detail)
                .at(subject)
                .within(context),
        );
    }

    /// Whether something went wrong since `before` (a count of diagnostics) and the parser has lost its place.
    fn lost(&self, before: usize) -> bool {
        self.recovery && self.diagnostics.len() > before
    }

    fn placeholder(range: Range) -> Expr {
        Expr::new(range, Kind::Invalid)
    }

    fn is_keyword(&self, token: Token, keyword: &str) -> bool {
        token.kind == TokenKind::Ident && self.token_text(token) == keyword
    }

    /// Goes one level deeper, unless that is too deep: then the rest of the text is given up.
    fn enter(&mut self) -> bool {
        if self.depth >= MAX_DEPTH {
            if !self.too_deep {
                self.too_deep = true;
                let subject = self.next_range();
                self.error_at(
                    "Too deeply nested",
                    format!("Blocks, expressions and templates may be nested at most {MAX_DEPTH} levels deep."),
                    subject,
                );
            }
            self.recovery = true;
            self.next = self.tokens.len() - 1;
            return false;
        }
        self.depth += 1;
        true
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Reads up to the closing token of the present pair of brackets.
    fn recover(&mut self, end: TokenKind) -> Token {
        let start = end.opposite();
        self.recovery = true;
        let mut nested = 0;
        loop {
            let token = self.read();
            let kind = if end == TokenKind::TemplateEnd && token.kind == TokenKind::TemplateControl
            {
                TokenKind::TemplateInterp
            } else {
                token.kind
            };
            if Some(kind) == start {
                nested += 1;
            } else if kind == end {
                if nested == 0 {
                    return token;
                }
                nested -= 1;
            } else if kind == TokenKind::Eof {
                return token;
            }
        }
    }

    /// Reads over the next bracketed part that opens with `start`.
    fn recover_over(&mut self, start: TokenKind) {
        loop {
            let token = self.read();
            if token.kind == start || token.kind == TokenKind::Eof {
                break;
            }
        }
        if let Some(end) = start.opposite() {
            self.recover(end);
        }
    }

    /// Reads to the end of the present argument or block.
    fn recover_after_item(&mut self) {
        use TokenKind as K;
        self.recovery = true;
        let mut open: Vec<TokenKind> = Vec::new();
        loop {
            let token = self.read();
            match token.kind {
                K::Newline if open.is_empty() => return,
                K::Eof => return,
                K::OpenBrace
                | K::OpenBracket
                | K::OpenParen
                | K::OpenQuote
                | K::OpenHeredoc
                | K::TemplateInterp
                | K::TemplateControl => open.push(token.kind),
                K::CloseBrace
                | K::CloseBracket
                | K::CloseParen
                | K::CloseQuote
                | K::CloseHeredoc => {
                    while open
                        .last()
                        .is_some_and(|last| last.opposite() != Some(token.kind))
                    {
                        open.pop();
                    }
                    open.pop();
                }
                K::TemplateEnd => {
                    while open
                        .last()
                        .is_some_and(|last| !matches!(last, K::TemplateInterp | K::TemplateControl))
                    {
                        open.pop();
                    }
                    open.pop();
                }
                _ => {}
            }
        }
    }

    /// Says what is wrong with tokens that no valid text has.
    fn check_tokens(&mut self) {
        use TokenKind as K;
        let (mut bitwise, mut backticks, mut apostrophes, mut semicolons) = (0, 0, 0, 0);
        if let Some(at) = self.source.invalid_utf8_at() {
            self.error_at(
                "Invalid character encoding",
                "All input files must be UTF-8 encoded. Ensure that UTF-8 encoding is selected in your editor.",
                Range { source: self.source.id(), start: at, end: at + 1 },
            );
        }
        for index in 0..self.tokens.len() {
            let token = self.tokens[index];
            let (summary, detail) = match token.kind {
                K::BitwiseAnd | K::BitwiseOr | K::BitwiseXor | K::BitwiseNot => {
                    bitwise += 1;
                    if bitwise > 4 {
                        continue;
                    }
                    let detail = match token.kind {
                        K::BitwiseAnd => {
                            "Bitwise operators are not supported. Did you mean boolean AND (\"&&\")?"
                        }
                        K::BitwiseOr => {
                            "Bitwise operators are not supported. Did you mean boolean OR (\"||\")?"
                        }
                        K::BitwiseNot => {
                            "Bitwise operators are not supported. Did you mean boolean NOT (\"!\")?"
                        }
                        _ => "Bitwise operators are not supported.",
                    };
                    ("Unsupported operator", detail)
                }
                K::Backtick => {
                    // Those that close a quoted text say nothing new.
                    let tell = backticks % 2 == 0;
                    if backticks <= 2 {
                        backticks += 1;
                    }
                    if !tell {
                        continue;
                    }
                    (
                        "Invalid character",
                        "The \"`\" character is not valid. To create a multi-line string, use the \"heredoc\" syntax, like \"<<EOT\".",
                    )
                }
                K::Apostrophe => {
                    let tell = apostrophes % 2 == 0;
                    if apostrophes <= 2 {
                        apostrophes += 1;
                    }
                    if !tell {
                        continue;
                    }
                    (
                        "Invalid character",
                        "Single quotes are not valid. Use double quotes (\") to enclose strings.",
                    )
                }
                K::Semicolon => {
                    semicolons += 1;
                    if semicolons > 1 {
                        continue;
                    }
                    (
                        "Invalid character",
                        "The \";\" character is not valid. Use newlines to separate arguments and blocks, and commas to separate items in collection values.",
                    )
                }
                K::QuotedNewline => (
                    "Invalid multi-line string",
                    "Quoted strings may not be split over multiple lines. To produce a multi-line string, either use the \\n escape to represent a newline character or use the \"heredoc\" multi-line template syntax.",
                ),
                K::Invalid => match self.token_text(token) {
                    "\u{1a}" if self.source.invalid_utf8_at().is_some() => continue,
                    "\u{201c}" | "\u{201d}" => (
                        "Invalid character",
                        "\"Curly quotes\" are not valid here. These can sometimes be inadvertently introduced when sharing code via documents or discussion forums. It might help to replace the character with a \"straight quote\".",
                    ),
                    _ => (
                        "Invalid character",
                        "This character is not used within the language.",
                    ),
                },
                _ => continue,
            };
            let subject = self.range(token);
            self.error_at(summary, detail, subject);
        }
    }
}
