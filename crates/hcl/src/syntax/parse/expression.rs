//! Expressions.

use std::sync::Arc;

use super::{MAX_POSTFIX, Parser};
use crate::diagnostic::Diagnostics;
use crate::number::Number;
use crate::source::Range;
use crate::syntax::expr::{Call, Expr, For, Kind, Operator, Splat};
use crate::syntax::token::{Token, TokenKind};
use crate::traversal::{Step, Traversal};
use crate::types::Type;
use crate::value::Value;

fn binary_operator(kind: TokenKind) -> Option<Operator> {
    Some(match kind {
        TokenKind::Or => Operator::Or,
        TokenKind::And => Operator::And,
        TokenKind::EqualOp => Operator::Equal,
        TokenKind::NotEqual => Operator::NotEqual,
        TokenKind::GreaterThan => Operator::Greater,
        TokenKind::GreaterThanEq => Operator::GreaterOrEqual,
        TokenKind::LessThan => Operator::Less,
        TokenKind::LessThanEq => Operator::LessOrEqual,
        TokenKind::Plus => Operator::Add,
        TokenKind::Minus => Operator::Subtract,
        TokenKind::Star => Operator::Multiply,
        TokenKind::Slash => Operator::Divide,
        TokenKind::Percent => Operator::Modulo,
        _ => return None,
    })
}

const INVALID_FOR: &str = "Invalid 'for' expression";

impl Parser<'_> {
    pub(super) fn parse_expression(&mut self) -> Expr {
        if !self.enter() {
            return Self::placeholder(self.next_range());
        }
        let expr = self.parse_conditional();
        self.leave();
        expr
    }

    fn parse_conditional(&mut self) -> Expr {
        let start = self.next_range();
        let before = self.diagnostics.len();
        let condition = self.parse_binary(0);
        if self.lost(before) || self.peek().kind != TokenKind::Question {
            return condition;
        }
        self.read();
        let before = self.diagnostics.len();
        let yes = self.parse_expression();
        if self.lost(before) {
            return condition;
        }
        let colon = self.peek();
        if colon.kind != TokenKind::Colon {
            let range = self.range(colon);
            self.error_in(
                "Missing false expression in conditional",
                "The conditional operator (...?...:...) requires a false expression, delimited by a colon.",
                range,
                start.to(range),
            );
            return condition;
        }
        self.read();
        let before = self.diagnostics.len();
        let no = self.parse_expression();
        if self.lost(before) {
            return condition;
        }
        let range = start.to(no.range());
        Expr::new(range, Kind::Conditional { condition, yes, no })
    }

    /// Operators that bind at least as tightly as `level`; those that bind alike become one chain.
    fn parse_binary(&mut self, level: u8) -> Expr {
        let before = self.diagnostics.len();
        let mut left = self.parse_term_with_traversals();
        if self.lost(before) {
            return left;
        }
        // Precedence climbing: chains are built from the tightest level down to the one asked for.
        loop {
            let Some(operator) = binary_operator(self.peek().kind) else {
                return left;
            };
            let at = operator.precedence();
            if at < level {
                return left;
            }
            let mut rest = Vec::new();
            let mut lost = false;
            while let Some(operator) =
                binary_operator(self.peek().kind).filter(|op| op.precedence() == at)
            {
                self.read();
                let before = self.diagnostics.len();
                let right = self.parse_binary_operand(at + 1);
                if self.lost(before) {
                    lost = true;
                    break;
                }
                rest.push((operator, right));
            }
            if let Some((_, last)) = rest.last() {
                let range = left.range().to(last.range());
                left = Expr::new(range, Kind::Binary { first: left, rest });
            }
            if lost {
                return left;
            }
        }
    }

    fn parse_binary_operand(&mut self, level: u8) -> Expr {
        self.parse_binary(level)
    }

    fn parse_term_with_traversals(&mut self) -> Expr {
        let term = self.parse_term();
        self.parse_traversals(term)
    }

    /// Whatever follows a term: attributes, indices, splats.
    fn parse_traversals(&mut self, from: Expr) -> Expr {
        let start = from.range();
        let mut result = from;
        let mut nested = 0;
        loop {
            match self.peek().kind {
                TokenKind::Dot => {
                    let dot = self.read();
                    let dot = self.range(dot);
                    let name = self.peek();
                    match name.kind {
                        TokenKind::Ident => {
                            self.read();
                            let range = dot.to(self.range(name));
                            result = with_step(
                                result,
                                Step::Attribute {
                                    name: self.name(name),
                                    range,
                                },
                            );
                        }
                        TokenKind::Number => {
                            self.read();
                            let key = self.legacy_index(name, name, "");
                            let range = dot.to(self.range(name));
                            result = with_step(result, Step::Index { key, range });
                        }
                        TokenKind::Star => {
                            nested += 1;
                            result = self.parse_attribute_splat(result, start, dot);
                        }
                        _ => {
                            let range = self.range(name);
                            self.error_at(
                                "Invalid attribute name",
                                "An attribute name is required after a dot.",
                                range,
                            );
                            let broken: Diagnostics = self
                                .diagnostics
                                .iter()
                                .last()
                                .cloned()
                                .into_iter()
                                .collect();
                            result = Expr::new(start.to(dot), Kind::Broken(broken));
                            self.recovery = true;
                        }
                    }
                }
                TokenKind::OpenBracket => {
                    nested += 1;
                    result = self.parse_bracket(result, start);
                }
                _ => return result,
            }
            if nested > MAX_POSTFIX {
                let range = self.next_range();
                self.error_at(
                    "Too deeply nested",
                    format!("At most {MAX_POSTFIX} splats and calculated indices may follow one another."),
                    range,
                );
                self.recovery = true;
                self.next = self.tokens.len() - 1;
                return result;
            }
        }
    }

    /// The key of `.0`; `place` is what an error points at, `full` an addition to its hint.
    fn legacy_index(&mut self, token: Token, place: Token, full: &str) -> Value {
        let text = self.token_text(token);
        let Some((first, second)) = text.split_once('.') else {
            return self.number(token);
        };
        let range = self.range(place);
        self.error_at(
            "Invalid legacy index syntax",
            format!(
                "When using the legacy index syntax, chaining two indexes together is not permitted. Use the proper index syntax{full} instead, like [{first}][{second}]."
            ),
            range,
        );
        Value::unknown(Type::Dynamic)
    }

    /// `.*` and the attributes after it, which it applies to each element.
    fn parse_attribute_splat(&mut self, source: Expr, start: Range, dot: Range) -> Expr {
        let star = self.read();
        let marker = self.range(star);
        let first = self.next_range();
        let mut last = marker;
        let mut steps = Vec::new();
        while self.peek().kind == TokenKind::Dot {
            let dot = self.read();
            let dot = self.range(dot);
            let token = self.peek();
            let range = self.range(token);
            match token.kind {
                TokenKind::Number => {
                    self.read();
                    let key = self.legacy_index(token, star, " with a full splat expression [*]");
                    steps.push(Step::Index {
                        key,
                        range: dot.to(range),
                    });
                }
                TokenKind::Ident => {
                    self.read();
                    steps.push(Step::Attribute {
                        name: self.name(token),
                        range: dot.to(range),
                    });
                }
                kind => {
                    if !self.recovery {
                        if kind == TokenKind::Star {
                            self.error_at(
                                "Nested splat expression not allowed",
                                "A splat expression (*) cannot be used inside another attribute-only splat expression.",
                                range,
                            );
                        } else {
                            self.error_at(
                                "Invalid attribute name",
                                "An attribute name is required after a dot.",
                                marker,
                            );
                        }
                    }
                    self.recovery = true;
                    return source;
                }
            }
            last = range;
        }
        let item = Expr::new(dot.to(marker), Kind::SplatItem);
        let each = if steps.is_empty() {
            item
        } else {
            Expr::new(
                first.to(last),
                Kind::Relative {
                    source: item,
                    steps,
                },
            )
        };
        Expr::new(
            start.to(last),
            Kind::Splat(Splat {
                source,
                each,
                marker: dot.to(marker),
            }),
        )
    }

    /// `[*]` with all that follows, or `[key]`.
    fn parse_bracket(&mut self, source: Expr, start: Range) -> Expr {
        let open = self.read();
        let open = self.range(open);
        if self.peek().kind == TokenKind::Star {
            self.read();
            let mut close = self.read();
            if close.kind != TokenKind::CloseBracket && !self.recovery {
                let range = self.range(close);
                self.error_at(
                    "Missing close bracket on splat index",
                    "The star for a full splat operator must be immediately followed by a closing bracket (\"]\").",
                    range,
                );
                close = self.recover(TokenKind::CloseBracket);
            }
            let marker = open.to(self.range(close));
            let item = Expr::new(marker, Kind::SplatItem);
            let each = if self.enter() {
                let each = self.parse_traversals(item);
                self.leave();
                each
            } else {
                item
            };
            let range = start.to(each.range());
            return Expr::new(
                range,
                Kind::Splat(Splat {
                    source,
                    each,
                    marker,
                }),
            );
        }
        self.newlines.push(false);
        let before = self.diagnostics.len();
        let key = self.parse_expression();
        let close = if self.lost(before) {
            self.recover(TokenKind::CloseBracket)
        } else {
            let close = self.read();
            if close.kind != TokenKind::CloseBracket && !self.recovery {
                let range = self.range(close);
                self.error_at(
                    "Missing close bracket on index",
                    "The index operator must end with a closing bracket (\"]\").",
                    range,
                );
                self.recover(TokenKind::CloseBracket)
            } else {
                close
            }
        };
        self.newlines.pop();
        let bracket = open.to(self.range(close));
        let literal = match key.kind() {
            Kind::Literal(value) => Some(value.clone()),
            Kind::Invalid => Some(Value::unknown(Type::Dynamic)),
            Kind::Template { .. } if key.is_string_literal() => key.as_literal().cloned(),
            _ => None,
        };
        match literal {
            Some(key) => with_step(
                source,
                Step::Index {
                    key,
                    range: bracket,
                },
            ),
            None => Expr::new(
                start.to(bracket),
                Kind::Index {
                    collection: source,
                    key,
                    open,
                    bracket,
                },
            ),
        }
    }

    fn parse_term(&mut self) -> Expr {
        let start = self.peek();
        let range = self.range(start);
        match start.kind {
            TokenKind::OpenParen => self.parse_parens(),
            TokenKind::Number => {
                self.read();
                let value = self.number(start);
                Expr::new(range, Kind::Literal(value))
            }
            TokenKind::Ident => {
                self.read();
                if matches!(
                    self.peek().kind,
                    TokenKind::OpenParen | TokenKind::DoubleColon
                ) {
                    return self.finish_call(start);
                }
                let kind = match self.token_text(start) {
                    "true" => Kind::Literal(Value::bool(true)),
                    "false" => Kind::Literal(Value::bool(false)),
                    "null" => Kind::Literal(Value::null(Type::Dynamic)),
                    name => Kind::Traversal(Traversal {
                        root: Arc::from(name),
                        root_range: range,
                        steps: Vec::new(),
                    }),
                };
                Expr::new(range, kind)
            }
            TokenKind::OpenQuote | TokenKind::OpenHeredoc => {
                let flush = start.kind == TokenKind::OpenHeredoc
                    && self.token_text(start).starts_with("<<-");
                let closer = if start.kind == TokenKind::OpenQuote {
                    TokenKind::CloseQuote
                } else {
                    TokenKind::CloseHeredoc
                };
                self.read();
                if !self.enter() {
                    return Self::placeholder(range);
                }
                let (kind, _) = self.parse_template_inner(closer, flush);
                self.leave();
                let whole = range.to(self.previous_range());
                Expr::new(whole, kind)
            }
            TokenKind::Minus | TokenKind::Bang => {
                self.read();
                let operator = if start.kind == TokenKind::Minus {
                    Operator::Negate
                } else {
                    Operator::Not
                };
                if !self.enter() {
                    return Self::placeholder(range);
                }
                let operand = self.parse_term_with_traversals();
                self.leave();
                Expr::new(
                    range.to(operand.range()),
                    Kind::Unary {
                        operator,
                        operand,
                        symbol: range,
                    },
                )
            }
            TokenKind::OpenBracket => self.parse_tuple(),
            TokenKind::OpenBrace => self.parse_object(),
            kind => {
                if !self.recovery {
                    if kind == TokenKind::Eof {
                        self.error_at(
                            "Missing expression",
                            "Expected the start of an expression, but found the end of the file.",
                            range,
                        );
                    } else {
                        self.error_at(
                            "Invalid expression",
                            "Expected the start of an expression, but found an invalid expression token.",
                            range,
                        );
                    }
                }
                self.recovery = true;
                Self::placeholder(range)
            }
        }
    }

    fn parse_parens(&mut self) -> Expr {
        let open = self.read();
        let open = self.range(open);
        self.newlines.push(false);
        let errors = self.diagnostics.len();
        let expr = self.parse_expression();
        if self.diagnostics.len() > errors {
            self.recover(TokenKind::CloseParen);
            self.newlines.pop();
            return expr;
        }
        let close = self.peek();
        if close.kind != TokenKind::CloseParen {
            let range = self.range(close);
            self.error_in(
                "Unbalanced parentheses",
                "Expected a closing parenthesis to terminate the expression.",
                range,
                open.to(range),
            );
            self.recovery = true;
        }
        let close = self.read();
        self.newlines.pop();
        Expr::new(open.to(self.range(close)), Kind::Parens(expr))
    }

    /// The value of a number token.
    pub(super) fn number(&mut self, token: Token) -> Value {
        match Number::parse(self.token_text(token)) {
            Some(number) => Value::number(number),
            None => {
                let range = self.range(token);
                self.error_at(
                    "Invalid number literal",
                    "Failed to recognize the value of this number literal.",
                    range,
                );
                Value::unknown(Type::Number)
            }
        }
    }

    fn finish_call(&mut self, first: Token) -> Expr {
        let first_range = self.range(first);
        let mut name = self.token_text(first).to_owned();
        let mut name_range = first_range;
        let mut open = self.read();
        while open.kind == TokenKind::DoubleColon {
            let part = self.read();
            let range = self.range(part);
            if part.kind != TokenKind::Ident {
                return self.broken_call(
                    "Missing function name",
                    "Function scope resolution symbol :: must be followed by a function name in this scope.",
                    first_range,
                    range,
                );
            }
            name.push_str("::");
            name.push_str(self.token_text(part));
            name_range = first_range.to(range);
            open = self.read();
        }
        let open_range = self.range(open);
        if open.kind != TokenKind::OpenParen {
            return self.broken_call(
                "Missing open parenthesis",
                "Function selector must be followed by an open parenthesis to begin the function call.",
                first_range,
                open_range,
            );
        }
        self.newlines.push(false);
        let mut args = Vec::new();
        let mut expand = false;
        let close = loop {
            if self.peek().kind == TokenKind::CloseParen {
                break self.read();
            }
            let before = self.diagnostics.len();
            args.push(self.parse_expression());
            if self.lost(before) {
                break self.recover(TokenKind::CloseParen);
            }
            let separator = self.read();
            let range = self.range(separator);
            match separator.kind {
                TokenKind::CloseParen => break separator,
                TokenKind::Ellipsis => {
                    expand = true;
                    if self.peek().kind == TokenKind::CloseParen {
                        break self.read();
                    }
                    if !self.recovery {
                        self.error_in(
                            "Missing closing parenthesis",
                            "An expanded function argument (with ...) must be immediately followed by closing parentheses.",
                            range,
                            first_range.to(range),
                        );
                    }
                    break self.recover(TokenKind::CloseParen);
                }
                TokenKind::Comma => {
                    if self.peek().kind == TokenKind::CloseParen {
                        break self.read();
                    }
                }
                TokenKind::Eof => {
                    self.error_at(
                        "Unterminated function call",
                        "There is no closing parenthesis for this function call before the end of the file. This may be caused by incorrect parenthesis nesting elsewhere in this file.",
                        first_range.to(open_range),
                    );
                    break self.recover(TokenKind::CloseParen);
                }
                _ => {
                    self.error_in(
                        "Missing argument separator",
                        "A comma is required to separate each function argument from the next.",
                        range,
                        first_range.to(range),
                    );
                    break self.recover(TokenKind::CloseParen);
                }
            }
        };
        self.newlines.pop();
        let close = self.range(close);
        let call = Call {
            name: Arc::from(name),
            args,
            expand,
            name_range,
            open: open_range,
            close,
        };
        Expr::new(name_range.to(close), Kind::Call(call))
    }

    fn broken_call(&mut self, summary: &str, detail: &str, first: Range, subject: Range) -> Expr {
        self.error_in(summary, detail, subject, first.to(subject));
        let diagnostics: Diagnostics = self
            .diagnostics
            .iter()
            .last()
            .cloned()
            .into_iter()
            .collect();
        self.recover_over(TokenKind::OpenParen);
        Expr::new(first.to(subject), Kind::Broken(diagnostics))
    }

    fn parse_tuple(&mut self) -> Expr {
        let open = self.read();
        let open_range = self.range(open);
        self.newlines.push(false);
        let expr = if self.is_keyword(self.peek(), "for") {
            self.finish_for(open_range, false)
        } else {
            self.finish_tuple(open_range)
        };
        self.newlines.pop();
        expr
    }

    fn finish_tuple(&mut self, open: Range) -> Expr {
        let mut items = Vec::new();
        let close = loop {
            if self.peek().kind == TokenKind::CloseBracket {
                break self.read();
            }
            let before = self.diagnostics.len();
            items.push(self.parse_expression());
            if self.lost(before) {
                break self.recover(TokenKind::CloseBracket);
            }
            let next = self.peek();
            match next.kind {
                TokenKind::CloseBracket => break self.read(),
                TokenKind::Comma => {
                    self.read();
                }
                kind => {
                    if !self.recovery {
                        let range = self.range(next);
                        if kind == TokenKind::Eof {
                            self.error_at(
                                "Unterminated tuple constructor expression",
                                "There is no corresponding closing bracket before the end of the file. This may be caused by incorrect bracket nesting elsewhere in this file.",
                                open,
                            );
                        } else {
                            self.error_in(
                                "Missing item separator",
                                "Expected a comma to mark the beginning of the next item.",
                                range,
                                open.to(range),
                            );
                        }
                    }
                    break self.recover(TokenKind::CloseBracket);
                }
            }
        };
        Expr::new(open.to(self.range(close)), Kind::Tuple { items, open })
    }

    fn parse_object(&mut self) -> Expr {
        let open = self.read();
        let open_range = self.range(open);
        // A `for` may stand on a later line, although line breaks matter in objects.
        self.newlines.push(false);
        let is_for = self.is_keyword(self.peek(), "for");
        self.newlines.pop();
        if is_for {
            return self.finish_for(open_range, true);
        }
        self.newlines.push(true);
        let expr = self.finish_object(open_range);
        self.newlines.pop();
        expr
    }

    fn finish_object(&mut self, open: Range) -> Expr {
        let mut items = Vec::new();
        let close = loop {
            let next = self.peek();
            match next.kind {
                TokenKind::Newline => {
                    self.read();
                    continue;
                }
                TokenKind::CloseBrace => break self.read(),
                _ => {}
            }
            let parenthesised = next.kind == TokenKind::OpenParen;
            let before = self.diagnostics.len();
            let key = self.parse_expression();
            if self.lost(before) {
                break self.recover(TokenKind::CloseBrace);
            }
            let key = Expr::new(
                key.range(),
                Kind::ObjectKey {
                    wrapped: key,
                    parenthesised,
                },
            );
            let next = self.peek();
            if !matches!(next.kind, TokenKind::Equal | TokenKind::Colon) {
                self.missing_value(next, open);
                break self.recover(TokenKind::CloseBrace);
            }
            self.read();
            let before = self.diagnostics.len();
            let value = self.parse_expression();
            if self.lost(before) {
                if matches!(value.kind(), Kind::Broken(_)) {
                    items.push((key, value));
                }
                break self.recover(TokenKind::CloseBrace);
            }
            items.push((key, value));
            let next = self.peek();
            match next.kind {
                TokenKind::CloseBrace => break self.read(),
                TokenKind::Comma | TokenKind::Newline => {
                    self.read();
                }
                kind => {
                    if !self.recovery {
                        if kind == TokenKind::Eof {
                            self.unterminated_object(open);
                        } else {
                            let range = self.range(next);
                            self.error_in(
                                "Missing attribute separator",
                                "Expected a newline or comma to mark the beginning of the next attribute.",
                                range,
                                open.to(range),
                            );
                        }
                    }
                    break self.recover(TokenKind::CloseBrace);
                }
            }
        };
        Expr::new(open.to(self.range(close)), Kind::Object { items, open })
    }

    fn unterminated_object(&mut self, open: Range) {
        self.error_at(
            "Unterminated object constructor expression",
            "There is no corresponding closing brace before the end of the file. This may be caused by incorrect brace nesting elsewhere in this file.",
            open,
        );
    }

    fn missing_value(&mut self, next: Token, open: Range) {
        if self.recovery {
            return;
        }
        let range = self.range(next);
        let (summary, detail) = match next.kind {
            TokenKind::Newline | TokenKind::Comma => (
                "Missing attribute value",
                "Expected an attribute value, introduced by an equals sign (\"=\").",
            ),
            // One way to get here is a name with a dot and a digit in it, which earlier versions of HCL took.
            TokenKind::Ident => (
                "Missing key/value separator",
                "Expected an equals sign (\"=\") to mark the beginning of the attribute value. If you intended to given an attribute name containing periods or spaces, write the name in quotes to create a string literal.",
            ),
            TokenKind::Eof => return self.unterminated_object(open),
            _ => (
                "Missing key/value separator",
                "Expected an equals sign (\"=\") to mark the beginning of the attribute value.",
            ),
        };
        self.error_in(summary, detail, range, open.to(range));
    }

    fn finish_for(&mut self, open: Range, object: bool) -> Expr {
        let close_kind = if object {
            TokenKind::CloseBrace
        } else {
            TokenKind::CloseBracket
        };
        self.newlines.push(false);
        self.read();
        let expr = self.parse_for(open, object, close_kind).unwrap_or_else(|| {
            let close = self.recover(close_kind);
            Self::placeholder(open.to(self.range(close)))
        });
        self.newlines.pop();
        expr
    }

    /// A word that a `for` needs at this place.
    fn for_error(&mut self, open: Range, detail: &str) {
        if !self.recovery {
            let range = self.next_range();
            self.error_in(INVALID_FOR, detail, range, open.to(range));
        }
    }

    /// What follows `for` up to the closing bracket. `None` if the parser lost its place.
    fn parse_for(&mut self, open: Range, object: bool, close_kind: TokenKind) -> Option<Expr> {
        if self.peek().kind != TokenKind::Ident {
            self.for_error(open, "For expression requires variable name after 'for'.");
            return None;
        }
        let token = self.read();
        let mut value_name = self.name(token);
        let mut key_name = None;
        if self.peek().kind == TokenKind::Comma {
            self.read();
            if self.peek().kind != TokenKind::Ident {
                self.for_error(
                    open,
                    "For expression requires value variable name after comma.",
                );
                return None;
            }
            let token = self.read();
            key_name = Some(std::mem::replace(&mut value_name, self.name(token)));
        }
        if !self.is_keyword(self.peek(), "in") {
            self.for_error(
                open,
                "For expression requires the 'in' keyword after its name declarations.",
            );
            return None;
        }
        self.read();
        let before = self.diagnostics.len();
        let collection = self.parse_expression();
        if self.lost(before) {
            return None;
        }
        if self.peek().kind != TokenKind::Colon {
            self.for_error(
                open,
                "For expression requires a colon after the collection expression.",
            );
            return None;
        }
        self.read();
        let before = self.diagnostics.len();
        let mut value = self.parse_expression();
        let mut key = None;
        if self.peek().kind == TokenKind::FatArrow {
            self.read();
            key = Some(std::mem::replace(&mut value, self.parse_expression()));
        }
        if self.lost(before) {
            return None;
        }
        let ellipsis = if self.peek().kind == TokenKind::Ellipsis {
            let token = self.read();
            Some(self.range(token))
        } else {
            None
        };
        let mut condition = None;
        if self.is_keyword(self.peek(), "if") {
            self.read();
            let before = self.diagnostics.len();
            condition = Some(self.parse_expression());
            if self.lost(before) {
                return None;
            }
        }
        let close = if self.peek().kind == close_kind {
            self.read()
        } else {
            self.for_error(
                open,
                "Extra characters after the end of the 'for' expression.",
            );
            self.recover(close_kind)
        };
        let range = open.to(self.range(close));
        match (&key, object) {
            (Some(key), false) => {
                let at = key.range();
                self.error_in(
                    INVALID_FOR,
                    "Key expression is not valid when building a tuple.",
                    at,
                    range,
                );
            }
            (None, true) => {
                let at = value.range();
                self.error_in(
                    INVALID_FOR,
                    "Key expression is required when building an object.",
                    at,
                    range,
                );
            }
            _ => {}
        }
        if let (Some(at), false) = (ellipsis, object) {
            self.error_in(
                INVALID_FOR,
                "Grouping ellipsis (...) cannot be used when building a tuple.",
                at,
                range,
            );
        }
        let group = ellipsis.is_some();
        Some(Expr::new(
            range,
            Kind::For(For {
                key_name,
                value_name,
                collection,
                key,
                value,
                condition,
                group,
                open,
            }),
        ))
    }
}

/// The expression with one more step; a reference simply grows.
fn with_step(mut expr: Expr, step: Step) -> Expr {
    let range = expr.range().to(step.range());
    if let Some(node) = Arc::get_mut(&mut expr.0) {
        match &mut node.kind {
            Kind::Traversal(Traversal { steps, .. }) | Kind::Relative { steps, .. } => {
                steps.push(step);
                node.range = range;
                return expr;
            }
            _ => {}
        }
    }
    Expr::new(
        range,
        Kind::Relative {
            source: expr,
            steps: vec![step],
        },
    )
}
