//! Templates: literal text, interpolations and directives.

use std::sync::Arc;

use unicode_segmentation::UnicodeSegmentation as _;

use super::Parser;
use crate::source::Range;
use crate::suggest::did_you_mean;
use crate::syntax::expr::{Expr, For, Kind};
use crate::syntax::token::{Token, TokenKind};
use crate::text::quote;
use crate::value::Value;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Closing {
    EndIf,
    Else,
    EndFor,
}

impl Closing {
    fn name(self) -> &'static str {
        match self {
            Closing::EndIf => "endif",
            Closing::Else => "else",
            Closing::EndFor => "endfor",
        }
    }
}

const UNCLOSED: &str = "Unclosed template interpolation sequence";
const EXTRA: &str = "Extra characters after interpolation expression";

/// A piece of a template, before directives are matched with their ends.
enum Piece {
    Literal {
        text: String,
        range: Range,
    },
    Interpolation {
        expr: Expr,
    },
    If {
        condition: Expr,
        range: Range,
    },
    For {
        key_name: Option<Arc<str>>,
        value_name: Arc<str>,
        collection: Expr,
        range: Range,
    },
    Closing {
        closing: Closing,
        range: Range,
    },
    End {
        range: Range,
    },
}

impl Parser<'_> {
    pub(super) fn parse_template(&mut self, end: TokenKind, flush: bool) -> Expr {
        if !self.enter() {
            return Self::placeholder(self.next_range());
        }
        let (kind, range) = self.parse_template_inner(end, flush);
        self.leave();
        Expr::new(range, kind)
    }

    /// A template up to its closing token. With `flush`, common leading space is taken off its lines.
    pub(super) fn parse_template_inner(&mut self, end: TokenKind, flush: bool) -> (Kind, Range) {
        let (mut pieces, range) = self.parse_pieces(end);
        if flush {
            take_common_indent(&mut pieces);
        }
        let mut pieces = join_literals(pieces);
        if let [Piece::Interpolation { .. }, Piece::End { .. }] = pieces.as_slice()
            && let Piece::Interpolation { expr } = pieces.swap_remove(0)
        {
            return (Kind::Wrap(expr), range);
        }
        let mut tree = Tree {
            pieces: pieces.into_iter().peekable(),
            end: range.at_end(),
            depth: 0,
        };
        let mut parts = Vec::new();
        while !matches!(tree.pieces.peek(), Some(Piece::End { .. }) | None) {
            parts.push(tree.expr(self));
        }
        (Kind::Template { parts }, range)
    }

    fn parse_pieces(&mut self, end: TokenKind) -> (Vec<Piece>, Range) {
        let mut pieces = Vec::new();
        let start = self.next_range();
        let mut trim_next = false;
        let mut can_trim = false;
        let end_range = loop {
            let next = self.read();
            let range = self.range(next);
            if next.kind == end {
                break range;
            }
            let trim = std::mem::take(&mut trim_next);
            let can_trim_previous = std::mem::take(&mut can_trim);
            match next.kind {
                TokenKind::StringLit | TokenKind::QuotedLit => {
                    let mut text = self.unescape(next);
                    if trim {
                        text = String::from(text.trim_start());
                    }
                    pieces.push(Piece::Literal { text, range });
                    can_trim = true;
                }
                TokenKind::TemplateInterp | TokenKind::TemplateControl => {
                    if can_trim_previous
                        && self.token_text(next).ends_with('~')
                        && let Some(Piece::Literal { text, .. }) = pieces.last_mut()
                    {
                        text.truncate(text.trim_end().len());
                    }
                    self.newlines.push(false);
                    trim_next = if next.kind == TokenKind::TemplateInterp {
                        self.parse_interpolation(start, end, &mut pieces)
                    } else {
                        self.parse_directive(start, range, &mut pieces)
                    };
                    self.newlines.pop();
                }
                _ => {
                    if !self.recovery {
                        self.error_in(
                            "Unterminated template string",
                            "No closing marker was found for the string.",
                            range,
                            start.to(range),
                        );
                    }
                    let last = self.recover(end);
                    break self.range(last);
                }
            }
        };
        if pieces.is_empty() {
            pieces.push(Piece::Literal {
                text: String::new(),
                range: start.at_end(),
            });
        }
        pieces.push(Piece::End { range: end_range });
        (pieces, start.to(end_range))
    }

    /// An interpolation after its opening mark. True if space after it is to be trimmed.
    fn parse_interpolation(
        &mut self,
        start: Range,
        end: TokenKind,
        pieces: &mut Vec<Piece>,
    ) -> bool {
        let expr = self.parse_expression();
        pieces.push(Piece::Interpolation { expr });
        let close = self.peek();
        if close.kind == TokenKind::TemplateEnd {
            self.read();
            return self.token_text(close).starts_with('~');
        }
        if !self.recovery {
            let range = self.range(close);
            match close.kind {
                TokenKind::Eof => self.error_at(
                    UNCLOSED,
                    "There is no closing brace for this interpolation sequence before the end of the file. This might be caused by incorrect nesting inside the given expression.",
                    start,
                ),
                TokenKind::Colon => self.error_in(
                    EXTRA,
                    "Template interpolation doesn't expect a colon at this location. Did you intend this to be a literal sequence to be processed as part of another language? If so, you can escape it by starting with \"$${\" instead of just \"${\".",
                    range,
                    start.to(range),
                ),
                // A quote that does not belong here suggests that the brace was forgotten.
                TokenKind::CloseQuote | TokenKind::OpenQuote if end == TokenKind::CloseQuote => self.error_at(
                    UNCLOSED,
                    "There is no closing brace for this interpolation sequence before the end of the quoted template. This might be caused by incorrect nesting inside the given expression.",
                    start,
                ),
                _ => self.error_in(
                    EXTRA,
                    "Expected a closing brace to end the interpolation expression, but found extra characters.\n\nThis can happen when you include interpolation syntax for another language, such as shell scripting, but forget to escape the interpolation start token. If this is an embedded sequence for another language, escape it by starting with \"$${\" instead of just \"${\".",
                    range,
                    start.to(range),
                ),
            }
        }
        self.recover(TokenKind::TemplateEnd);
        false
    }

    /// A directive after its opening mark. True if space after it is to be trimmed.
    fn parse_directive(&mut self, start: Range, open: Range, pieces: &mut Vec<Piece>) -> bool {
        let keyword = self.peek();
        let keyword_range = self.range(keyword);
        if keyword.kind != TokenKind::Ident {
            if !self.recovery {
                self.error_in(
                    "Invalid template directive",
                    "A template directive keyword (\"if\", \"for\", etc) is expected at the beginning of a %{ sequence.",
                    keyword_range,
                    open.to(keyword_range),
                );
            }
            self.recover(TokenKind::TemplateEnd);
            return false;
        }
        self.read();
        let word = self.token_text(keyword);
        match word {
            "if" => {
                let condition = self.parse_expression();
                pieces.push(Piece::If {
                    condition,
                    range: open.to(self.next_range()),
                });
            }
            "else" | "endif" | "endfor" => {
                let closing = match word {
                    "else" => Closing::Else,
                    "endif" => Closing::EndIf,
                    _ => Closing::EndFor,
                };
                pieces.push(Piece::Closing {
                    closing,
                    range: open.to(self.next_range()),
                });
            }
            "for" => {
                let Some((key_name, value_name)) = self.parse_directive_names() else {
                    self.recover(TokenKind::TemplateEnd);
                    return false;
                };
                let collection = self.parse_expression();
                let range = open.to(self.next_range());
                pieces.push(Piece::For {
                    key_name,
                    value_name,
                    collection,
                    range,
                });
            }
            _ => {
                if !self.recovery {
                    let suggestion = did_you_mean(word, ["if", "for", "else", "endif", "endfor"]);
                    self.error_in(
                        "Invalid template control keyword",
                        format!(
                            "{} is not a valid template control keyword.{suggestion}",
                            quote(word)
                        ),
                        keyword_range,
                        open.to(keyword_range),
                    );
                }
                self.recover(TokenKind::TemplateEnd);
                return false;
            }
        }
        let close = self.peek();
        if close.kind == TokenKind::TemplateEnd {
            self.read();
            return self.token_text(close).starts_with('~');
        }
        if !self.recovery {
            let range = self.range(close);
            self.error_in(
                &format!("Extra characters in {word} marker"),
                "Expected a closing brace to end the sequence, but found extra characters.",
                range,
                start.to(range),
            );
        }
        self.recover(TokenKind::TemplateEnd);
        false
    }

    fn parse_directive_names(&mut self) -> Option<(Option<Arc<str>>, Arc<str>)> {
        let first = self.directive_name("For directive requires variable name after 'for'.")?;
        let names = if self.peek().kind == TokenKind::Comma {
            self.read();
            (
                Some(first),
                self.directive_name("For directive requires value variable name after comma.")?,
            )
        } else {
            (None, first)
        };
        if !self.is_keyword(self.peek(), "in") {
            self.directive_error("For directive requires 'in' keyword after names.");
            return None;
        }
        self.read();
        Some(names)
    }

    fn directive_name(&mut self, detail: &str) -> Option<Arc<str>> {
        let token: Token = self.peek();
        if token.kind != TokenKind::Ident {
            self.directive_error(detail);
            return None;
        }
        self.read();
        Some(self.name(token))
    }

    fn directive_error(&mut self, detail: &str) {
        if !self.recovery {
            let range = self.next_range();
            self.error_at("Invalid 'for' directive", detail, range);
        }
    }
}

/// Matches directives with their ends.
struct Tree {
    pieces: std::iter::Peekable<std::vec::IntoIter<Piece>>,
    end: Range,
    depth: usize,
}

impl Tree {
    /// The next piece; the end is never taken.
    fn take(&mut self) -> Piece {
        match self.pieces.peek() {
            None => Piece::End { range: self.end },
            Some(Piece::End { range }) => Piece::End { range: *range },
            Some(_) => self.pieces.next().unwrap_or(Piece::End { range: self.end }),
        }
    }

    fn expr(&mut self, parser: &mut Parser<'_>) -> Expr {
        const UNBALANCED: &str = "The control directives within this template are unbalanced.";
        match self.take() {
            Piece::Literal { text, range } => Expr::literal(Value::string(text), range),
            Piece::Interpolation { expr } => expr,
            Piece::If { condition, range } => self.nested(parser, range, |tree, parser| {
                tree.finish_if(parser, condition, range)
            }),
            Piece::For {
                key_name,
                value_name,
                collection,
                range,
            } => self.nested(parser, range, |tree, parser| {
                tree.finish_for(parser, key_name, value_name, collection, range)
            }),
            Piece::Closing { closing, range } => {
                parser.error_at(
                    &format!("Unexpected {} directive", closing.name()),
                    UNBALANCED,
                    range,
                );
                Parser::placeholder(range)
            }
            Piece::End { range } => {
                parser.error_at("Unexpected end of template", UNBALANCED, range);
                Parser::placeholder(range)
            }
        }
    }

    fn nested(
        &mut self,
        parser: &mut Parser<'_>,
        range: Range,
        parse: impl FnOnce(&mut Self, &mut Parser<'_>) -> Expr,
    ) -> Expr {
        if parser.depth + self.depth >= super::MAX_DEPTH {
            if !parser.too_deep {
                parser.too_deep = true;
                let detail = format!(
                    "Blocks, expressions and templates may be nested at most {} levels deep.",
                    super::MAX_DEPTH
                );
                parser.error_at("Too deeply nested", detail, range);
            }
            self.pieces = Vec::new().into_iter().peekable();
            return Parser::placeholder(range);
        }
        self.depth += 1;
        let expr = parse(self, parser);
        self.depth -= 1;
        expr
    }

    fn finish_if(&mut self, parser: &mut Parser<'_>, condition: Expr, open: Range) -> Expr {
        let (mut yes, mut no) = (Vec::new(), Vec::new());
        let mut in_else = false;
        let place = parser.source.describe(open);
        let end = loop {
            match self.pieces.peek() {
                None | Some(Piece::End { .. }) => {
                    let Piece::End { range } = self.take() else {
                        return Parser::placeholder(open);
                    };
                    if !parser.too_deep {
                        let detail = format!(
                            "The if directive at {place} is missing its corresponding endif directive."
                        );
                        parser.error_at("Unexpected end of template", detail, range);
                    }
                    return Parser::placeholder(range);
                }
                Some(Piece::Closing { closing, range }) => {
                    let (closing, range) = (*closing, *range);
                    self.pieces.next();
                    match closing {
                        Closing::Else if !in_else => {
                            in_else = true;
                            continue;
                        }
                        Closing::EndIf => break range,
                        Closing::Else => {
                            let detail = format!(
                                "Already in the else clause for the if started at {place}."
                            );
                            parser.error_at("Unexpected else directive", detail, range);
                        }
                        Closing::EndFor => {
                            let detail = format!(
                                "Expecting an endif directive for the if started at {place}."
                            );
                            parser.error_at("Unexpected endfor directive", detail, range);
                        }
                    }
                    return Parser::placeholder(range);
                }
                Some(_) => {
                    let expr = self.expr(parser);
                    if in_else {
                        no.push(expr);
                    } else {
                        yes.push(expr);
                    }
                }
            }
        };
        let yes = branch(yes, open.at_end());
        let no = branch(no, end.at_start());
        Expr::new(open.to(end), Kind::Conditional { condition, yes, no })
    }

    fn finish_for(
        &mut self,
        parser: &mut Parser<'_>,
        key_name: Option<Arc<str>>,
        value_name: Arc<str>,
        collection: Expr,
        open: Range,
    ) -> Expr {
        let mut content = Vec::new();
        let place = parser.source.describe(open);
        let end = loop {
            match self.pieces.peek() {
                None | Some(Piece::End { .. }) => {
                    let Piece::End { range } = self.take() else {
                        return Parser::placeholder(open);
                    };
                    if !parser.too_deep {
                        let detail = format!(
                            "The for directive at {place} is missing its corresponding endfor directive."
                        );
                        parser.error_at("Unexpected end of template", detail, range);
                    }
                    return Parser::placeholder(range);
                }
                Some(Piece::Closing { closing, range }) => {
                    let (closing, range) = (*closing, *range);
                    self.pieces.next();
                    match closing {
                        Closing::EndFor => break range,
                        Closing::Else => parser.error_at(
                            "Unexpected else directive",
                            "An else clause is not expected for a for directive.",
                            range,
                        ),
                        Closing::EndIf => {
                            let detail = format!(
                                "Expecting an endfor directive corresponding to the for directive at {place}."
                            );
                            parser.error_at("Unexpected endif directive", detail, range);
                        }
                    }
                    return Parser::placeholder(range);
                }
                Some(_) => content.push(self.expr(parser)),
            }
        };
        let value = branch(content, open.at_end());
        let range = open.to(end);
        let kind = Kind::For(For {
            key_name,
            value_name,
            collection,
            key: None,
            value,
            condition: None,
            group: false,
            open,
        });
        Expr::new(range, Kind::Join(Expr::new(range, kind)))
    }
}

/// What stands between two directives, as a template; an empty string if nothing does.
fn branch(mut parts: Vec<Expr>, at: Range) -> Expr {
    if parts.is_empty() {
        parts.push(Expr::literal(Value::string(""), at));
    }
    let range = match (parts.first(), parts.last()) {
        (Some(first), Some(last)) => first.range().to(last.range()),
        _ => at,
    };
    Expr::new(range, Kind::Template { parts })
}

/// Takes the smallest indentation of any line off all lines. Lines of space alone do not count, and what is
/// interpolated cannot change the result.
fn take_common_indent(pieces: &mut [Piece]) {
    let mut smallest = usize::MAX;
    let mut line_start = true;
    let mut starts = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        if std::mem::take(&mut line_start) {
            match piece {
                Piece::Literal { text, .. } => {
                    let rest = text.trim_start();
                    if !(rest.is_empty() && text.ends_with('\n')) {
                        let indent = text[..text.len() - rest.len()].graphemes(true).count();
                        smallest = smallest.min(indent);
                        starts.push(index);
                    }
                }
                Piece::End { .. } => {}
                _ => smallest = 0,
            }
        }
        if let Piece::Literal { text, .. } = piece
            && text.ends_with('\n')
        {
            line_start = true;
        }
    }
    for index in starts {
        if let Piece::Literal { text, range } = &mut pieces[index] {
            let length = text
                .grapheme_indices(true)
                .nth(smallest)
                .map_or(text.len(), |(at, _)| at);
            text.drain(..length);
            range.start = (range.start + length as u32).min(range.end);
        }
    }
}

/// Joins neighbouring literals, once all trimming is done.
fn join_literals(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        if let Piece::Literal { text, range } = &piece
            && let Some(Piece::Literal {
                text: before,
                range: whole,
            }) = joined.last_mut()
        {
            before.push_str(text);
            whole.end = range.end;
            continue;
        }
        joined.push(piece);
    }
    joined
}
